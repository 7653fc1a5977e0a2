"""The checks of DataQualityDashboard that no contract gives: its facts as data, as checks of the gates.

`dqd_checks.csv` has one row per check, table or field, and concept, with OHDSI's limit in per cent: facts of the definitions of
OHDSI/DataQualityDashboard (Apache-2.0, January 2026) for CDM 5.4. Not there are checks with a limit of 100 %, which cannot
fail, and those that a check of `omop_checks` makes already (`DQD_NAMES`).
"""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Final

from pipelines.quality.checks import DQD_NAMES, Check, Rule, Severity, Zone

UNIT: Final = "unit_concept_id"

NEXT_YEAR: Final = "next_year"
"""A limit of a year of birth: the year after that of the run."""

FATAL: Final = (Rule.NO_OVERLAP,)
"""What OHDSI calls fatal, among the rules of `dqd_checks.csv`; whatever else is beyond a limit of theirs is a warning."""


def dqd_checks(table: str, run_date: date) -> Iterator[Check]:
    """The checks of `dqd_checks.csv` on a table of the CDM."""
    for row in _rows().get(table, ()):
        rule = _RULES[row["check"]]
        column = row["field"]
        if row["concept"]:
            column += f"={row['concept']}" + (f",{UNIT}={row['unit']}" if row["unit"] else "")
        yield Check(
            zone=Zone.OMOP,
            table=table,
            rule=rule,
            column=column,
            argument=str(run_date.year + 1) if row["argument"] == NEXT_YEAR else row["argument"],
            tolerance=float(row["threshold"]) / 100,
            severity=Severity.ERROR if rule in FATAL else Severity.WARN,
        )


_RULES: Final = {names[0]: rule for rule, names in DQD_NAMES.items() if rule is not Rule.FUTURE}


@cache
def _rows() -> Mapping[str, list[Mapping[str, str]]]:
    by_table: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    with files(__package__).joinpath("dqd_checks.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            by_table[row["table"]].append(row)
    return by_table
