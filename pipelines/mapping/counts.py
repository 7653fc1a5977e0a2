"""How many silver rows each rule keeps and leaves out, and why.

Every check of every rule has a number of its own. So all that is counted are numbers, over one scan for the rules that read
an entity in the same way; what a number says comes to it at the end, when there are a few hundred rows.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import rows_of_group, union_all
from pipelines.contracts.source import SourceContract
from pipelines.mapping.compile import (
    PERSON_BOUND,
    Check,
    checks_of,
    columns_of_checks,
    filled_fields,
    groups_events,
    with_lookups,
)
from pipelines.mapping.spec import Lookup, Rule, Target

COUNTS_SCHEMA = {"source": "string", "entity": "string", "rule": "string", "reason": "string", "rows": "bigint"}
"""One row per rule and reason; an empty reason means kept, DEDUPLICATED kept as part of another row."""

UNKNOWN_PERSON = "person_without_year_of_birth"
"""Reason of rows whose person is not in the CDM, because no source gave a year of birth."""

DEDUPLICATED = "deduplicated"
"""Reason of rows that were kept and are part of another event of their key."""

_LABELS_SCHEMA = "number int, is_known boolean, source string, entity string, rule string, reason string, sign int"


@dataclass(frozen=True)
class SilverSource:
    """Rules of one source, its contract, and the silver tables that the rules read by entity."""

    contract: SourceContract
    rules: tuple[Rule, ...]
    tables: Mapping[str, DataFrame]


@dataclass(frozen=True)
class _NumberedRule:
    """A rule of a source. Its checks have the numbers after `first`, a kept row has `first`, a kept event `first` - 1."""

    rule: Rule
    source: SilverSource
    first: int
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class _Scan:
    """Rules that read an entity in the same way, so that one scan of it counts for all."""

    rules: list[_NumberedRule]
    lookups: dict[str, Lookup]

    def takes(self, rule: _NumberedRule) -> bool:
        """Whether the rule reads the same entity, and no lookup of it has the name of another one."""
        first = self.rules[0]
        is_same = (first.source.contract.source, first.rule.from_) == (rule.source.contract.source, rule.rule.from_)
        agrees = all(self.lookups.get(alias, lookup) == lookup for alias, lookup in rule.rule.lookups.items())
        return is_same and agrees and not groups_events(first.rule) and not groups_events(rule.rule)

    def add(self, rule: _NumberedRule) -> None:
        """Count for one more rule."""
        self.rules.append(rule)
        self.lookups.update(rule.rule.lookups)


def counts_of(sources: Iterable[SilverSource], persons: DataFrame) -> DataFrame:
    """How many silver rows each rule keeps or leaves out, by reason (COUNTS_SCHEMA).

    `persons` (column `person_id`, unique) are the people of the CDM.
    """
    rules = list(_numbered(sources))
    numbers = union_all([frame for scan in _scans(rules) for frame in _numbers(scan)])
    known = F.broadcast(persons.select("person_id", F.lit(True).alias("_known")))
    counted = (
        numbers.join(known, on="person_id", how="left")
        .groupBy("number", F.col("_known").isNotNull().alias("is_known"))
        .agg(rows_of_group().alias("_count"))
    )
    labels = persons.sparkSession.createDataFrame([label for rule in rules for label in _labels(rule)], _LABELS_SCHEMA)
    labelled = counted.join(F.broadcast(labels), on=["number", "is_known"], how="inner")
    keys = [name for name in COUNTS_SCHEMA if name != "rows"]
    summed = labelled.groupBy(*keys).agg(F.sum(F.col("_count") * F.col("sign")).alias("rows"))
    return summed.where(F.col("rows") > 0).select(*COUNTS_SCHEMA)


def _numbered(sources: Iterable[SilverSource]) -> Iterator[_NumberedRule]:
    numbers = count()
    for source in sources:
        for rule in source.rules:
            next(numbers)  # of the kept events
            checks = tuple(checks_of(rule, filled_fields(rule, source.contract)))
            yield _NumberedRule(rule, source, next(numbers), checks)
            for _ in checks:
                next(numbers)


def _scans(rules: Iterable[_NumberedRule]) -> list[_Scan]:
    scans: list[_Scan] = []
    for rule in rules:
        scan = next((scan for scan in scans if scan.takes(rule)), None)
        if scan is None:
            scan = _Scan([], {})
            scans.append(scan)
        scan.add(rule)
    return scans


def _numbers(scan: _Scan) -> list[DataFrame]:
    """One row per silver row and rule: `person_id` and the number of the check that fails or of a kept row.

    Of a rule that groups events also one row per event.
    """
    rules, first = scan.rules, scan.rules[0]
    columns = {column for rule in rules for column in columns_of_checks(rule.rule)}
    frame = with_lookups(first.rule.from_, scan.lookups, first.source.tables, columns)
    numbers = [
        F.coalesce(
            *[F.when(~check.holds, F.lit(rule.first + place)) for place, check in enumerate(rule.checks, 1)], F.lit(rule.first)
        )
        for rule in rules
    ]
    number = numbers[0] if len(numbers) == 1 else F.explode(F.array(*numbers))
    if not groups_events(first.rule):
        return [frame.select("person_id", number.alias("number"))]
    key = filled_fields(first.rule, first.source.contract)["key"]
    rows = frame.select("person_id", number.alias("number"), key.alias("_key"))
    events = rows.where(F.col("number") == first.first).select("person_id", "_key").distinct()
    return [rows.select("person_id", "number"), events.select("person_id", F.lit(first.first - 1).alias("number"))]


def _labels(rule: _NumberedRule) -> Iterator[tuple[int, bool, str, str, str, str, int]]:
    """What the numbers of a rule count for, by whether the person is known."""
    names = rule.source.contract.source, rule.rule.from_, rule.rule.name
    for place, check in enumerate(rule.checks, 1):
        for is_known in (True, False):
            yield rule.first + place, is_known, *names, check.reason, 1
    kept = DEDUPLICATED if groups_events(rule.rule) else ""
    is_asked = rule.rule.to in PERSON_BOUND - {Target.PERSON}
    yield rule.first, True, *names, kept, 1
    yield rule.first, False, *names, UNKNOWN_PERSON if is_asked else kept, 1
    # Of the rows of an event one is kept; the others are deduplicated.
    yield rule.first - 1, True, *names, "", 1
    yield rule.first - 1, True, *names, DEDUPLICATED, -1
