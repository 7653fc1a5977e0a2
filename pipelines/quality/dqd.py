"""What DataQualityDashboard would say of a release: its checks as data, counted as it counts them.

`dqd_checks.csv` has one row per check, field and concept, with OHDSI's limit: facts of the definitions of
OHDSI/DataQualityDashboard (Apache-2.0, January 2026) for CDM 5.4. Checks with a limit of 100 % cannot fail and are not there.
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import rows_of_group, union_all

COUNTS_SCHEMA: Final = {"position": "int", "violated": "bigint", "counted": "bigint"}
"""One row per check that could be made: its place among the checks, the rows (people, values) that break it, all of them."""

PERSON: Final = "person"


class DqdRule(StrEnum):
    """The checks, by the names that DataQualityDashboard gives them."""

    PERSON_COMPLETENESS = "measurePersonCompleteness"
    """People without a row in the table, of all people."""
    STANDARD_CONCEPT = "standardConceptRecordCompleteness"
    """Rows whose concept is 0, of those with a concept. With `argument`, the source value of an optional concept: also rows
    that have this value and no concept."""
    SOURCE_CONCEPT = "sourceConceptRecordCompleteness"
    """Rows whose source concept is 0, of those that have one."""
    SOURCE_VALUE = "sourceValueCompleteness"
    """Source values of which any row has concept 0 (in the field `argument`), of all different values; none counts as one."""
    TEMPORAL_AFTER = "plausibleTemporalAfter"
    """Rows dated before the field `argument`, of all rows; where no day of birth is known, 1 June of the year is taken."""
    UNITS = "plausibleUnitConceptIds"
    """Rows of `concept` whose unit is known and not among `argument` (-1: none), of those whose unit is known or missing."""


@dataclass(frozen=True, slots=True)
class DqdCheck:
    """One check of a table or a field. `threshold` is the share in per cent that may break it."""

    rule: DqdRule
    table: str
    field: str
    argument: str
    concept: int | None
    threshold: float

    def __str__(self) -> str:
        """The check as documents name it: rule, table and field, and concept."""
        place = f"{self.rule} {self.table}" + (f".{self.field}" if self.field else "")
        return place if self.concept is None else f"{place} {self.concept}"


@dataclass(frozen=True, slots=True)
class DqdResult:
    """A check with what was counted; `counted` is more than 0."""

    check: DqdCheck
    violated: int
    counted: int

    @property
    def percentage(self) -> float:
        """The share that breaks the check, in per cent."""
        return 100 * self.violated / self.counted

    @property
    def passed(self) -> bool:
        """Whether the share is within OHDSI's limit."""
        return self.percentage <= self.check.threshold


@cache
def dqd_checks() -> tuple[DqdCheck, ...]:
    """Every check of `dqd_checks.csv`, in its order."""
    with files(__package__).joinpath("dqd_checks.csv").open(encoding="utf-8") as lines:
        return tuple(
            DqdCheck(
                rule=DqdRule(row["check"]),
                table=row["table"],
                field=row["field"],
                argument=row["argument"],
                concept=int(row["concept"]) if row["concept"] else None,
                threshold=float(row["threshold"]),
            )
            for row in csv.DictReader(lines)
        )


def dqd_results(checks: Sequence[DqdCheck], counts: Iterable[Mapping[str, int]]) -> list[DqdResult]:
    """The checks that apply, with their counts (COUNTS_SCHEMA); those of which nothing could be counted do not."""
    made = {row["position"]: row for row in counts if row["counted"]}
    return [
        DqdResult(check, made[position]["violated"], made[position]["counted"])
        for position, check in enumerate(checks)
        if position in made
    ]


def dqd_counts(checks: Sequence[DqdCheck], tables: Mapping[str, DataFrame]) -> DataFrame:
    """COUNTS_SCHEMA of the checks whose table is among `tables`; `person` has to be.

    One scan of each table, and one more of those whose units are looked at.
    """
    asked: dict[str, dict[int, DqdCheck]] = defaultdict(dict)
    for position, check in enumerate(checks):
        if check.table in tables:
            asked[check.table][position] = check
    people = tables[PERSON].agg(F.count(F.lit(1)).alias("_people"))
    births = tables[PERSON].select("person_id", _birth().alias("_birth"))
    frames = [frame for name, of_table in asked.items() for frame in _counts(tables[name], of_table, births, people)]
    return union_all(frames).select(*[F.col(name).cast(kind).alias(name) for name, kind in COUNTS_SCHEMA.items()])


def _birth() -> Column:
    first_of_june = F.make_date(F.col("year_of_birth").cast("int"), F.lit(6), F.lit(1))
    return F.coalesce(F.col("birth_datetime").cast("date"), first_of_june)


def _counts(frame: DataFrame, checks: Mapping[int, DqdCheck], births: DataFrame, people: DataFrame) -> Iterator[DataFrame]:
    by_rows = {position: check for position, check in checks.items() if check.rule is not DqdRule.UNITS}
    units = {position: check for position, check in checks.items() if check.rule is DqdRule.UNITS}
    if by_rows:
        yield _of_rows(frame, by_rows, births, people)
    if units:
        yield _of_units(frame, units)


def _of_rows(frame: DataFrame, checks: Mapping[int, DqdCheck], births: DataFrame, people: DataFrame) -> DataFrame:
    """The counts of the checks on single rows and on different values of them, from one aggregate of the table."""
    needs_birth = any(check.argument.startswith(f"{PERSON}.") for check in checks.values())
    dated = frame.join(F.broadcast(births), on="person_id", how="left") if needs_birth else frame
    pairs = {position: _COUNTERS[check.rule](check) for position, check in checks.items()}
    named = {
        f"_{kind}_{position}": counter
        for position, pair in pairs.items()
        for kind, counter in zip(("violated", "counted"), pair, strict=True)
    }
    counted = dated.agg(*[counter.alias(name) for name, counter in named.items()]).crossJoin(people)
    entries = []
    for position, check in checks.items():
        violated, of = F.col(f"_violated_{position}"), F.col(f"_counted_{position}")
        if check.rule is DqdRule.PERSON_COMPLETENESS:
            violated, of = F.col("_people") - of, F.col("_people")
        parts = {"position": F.lit(position), "violated": violated, "counted": of}
        entries.append(F.struct(*[parts[name].cast(kind).alias(name) for name, kind in COUNTS_SCHEMA.items()]))
    return counted.select(F.explode(F.array(*entries)).alias("entry")).select("entry.*")


def _person_completeness(_: DqdCheck) -> tuple[Column, Column]:
    return F.count(F.lit(None).cast("int")), F.count_distinct(F.col("person_id"))


def _concept_completeness(check: DqdCheck) -> tuple[Column, Column]:
    concept = F.col(check.field)
    if not check.argument:
        return F.count(F.when(concept == 0, F.lit(1))), F.count(concept)
    is_said = concept.isNull() & F.col(check.argument).isNotNull()
    return F.count(F.when((concept == 0) | is_said, F.lit(1))), F.count(F.when(concept.isNotNull() | is_said, F.lit(1)))


def _value_completeness(check: DqdCheck) -> tuple[Column, Column]:
    value = F.coalesce(F.col(check.field), F.lit(""))
    return F.count_distinct(F.when(F.col(check.argument) == 0, value)), F.count_distinct(value)


def _temporal_after(check: DqdCheck) -> tuple[Column, Column]:
    after = F.col("_birth" if check.argument.startswith(f"{PERSON}.") else check.argument)
    return F.count(F.when(F.col(check.field).cast("timestamp") < after.cast("timestamp"), F.lit(1))), F.count(F.lit(1))


_COUNTERS: Final[Mapping[DqdRule, Callable[[DqdCheck], tuple[Column, Column]]]] = {
    DqdRule.PERSON_COMPLETENESS: _person_completeness,
    DqdRule.STANDARD_CONCEPT: _concept_completeness,
    DqdRule.SOURCE_CONCEPT: _concept_completeness,
    DqdRule.SOURCE_VALUE: _value_completeness,
    DqdRule.TEMPORAL_AFTER: _temporal_after,
}
"""What is counted for a check: what breaks it, and all."""


def _of_units(frame: DataFrame, checks: Mapping[int, DqdCheck]) -> DataFrame:
    """The counts of the checks on units, from the rows by concept and unit, which are few."""
    field = next(iter(checks.values())).field
    grouped = frame.groupBy(F.col(field).alias("concept"), F.col("unit_concept_id").alias("unit"))
    uses = grouped.agg(rows_of_group().alias("n")).where(F.col("unit").isNull() | (F.col("unit") != 0))
    allowed = frame.sparkSession.createDataFrame(
        [(position, check.concept, [int(unit) for unit in check.argument.split()]) for position, check in checks.items()],
        "position int, concept bigint, units array<bigint>",
    )
    breaks = F.col("unit").isNotNull() & ~F.array_contains("units", F.col("unit"))
    judged = uses.join(F.broadcast(allowed), on="concept", how="inner")
    return judged.groupBy("position").agg(
        F.sum(F.when(breaks, F.col("n")).otherwise(F.lit(0))).alias("violated"), F.sum("n").alias("counted")
    )
