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
from pipelines.contracts.source import Identifier, SourceContract
from pipelines.mapping.compile import (
    PERSON_BOUND,
    Check,
    checks_of,
    columns_of_checks,
    filled_fields,
    groups_events,
    unreadable_in,
    with_lookups,
)
from pipelines.mapping.spec import Lookup, Rule, Target

COUNTS_SCHEMA = {"source": "string", "entity": "string", "rule": "string", "reason": "string", "rows": "bigint"}
"""One row per rule and reason; an empty reason means kept, DEDUPLICATED kept as part of another row."""

UNKNOWN_PERSON = "person_without_year_of_birth"
"""Reason of rows whose person is not in the CDM, because no source gave a year of birth."""

UNREADABLE_BIRTH = "person_with_unreadable_birth_date"
"""Reason of rows whose person is not in the CDM, because no source gave a year of birth and one gave an unreadable date."""

DEDUPLICATED = "deduplicated"
"""Reason of rows that were kept and are part of another event of their key."""

_KNOWN, _UNREADABLE, _UNKNOWN = "known", "unreadable", "without"
"""What is known of the birth of a person: in the order of the alphabet what counts first."""

_LABELS_SCHEMA = "number int, birth string, source string, entity string, rule string, reason string, sign int"


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
    sources = tuple(sources)
    rules = list(_numbered(sources))
    numbers = union_all([frame for scan in _scans(rules) for frame in _numbers(scan)])
    # Named first, because Sail cannot tell how many rows an array gives and keeps in memory what is named first.
    births = F.broadcast(_births(sources, persons))
    counted = (
        births.join(numbers, on="person_id", how="right")
        .groupBy("number", F.coalesce(F.col("_birth"), F.lit(_UNKNOWN)).alias("birth"))
        .agg(rows_of_group().alias("_count"))
    )
    labels = persons.sparkSession.createDataFrame([label for rule in rules for label in _labels(rule)], _LABELS_SCHEMA)
    labelled = counted.join(F.broadcast(labels), on=["number", "birth"], how="inner")
    keys = [name for name in COUNTS_SCHEMA if name != "rows"]
    summed = labelled.groupBy(*keys).agg(F.sum(F.col("_count") * F.col("sign")).alias("rows"))
    return summed.where(F.col("rows") > 0).select(*COUNTS_SCHEMA)


def _births(sources: Iterable[SilverSource], persons: DataFrame) -> DataFrame:
    """What is known of the birth (`_birth`) of the people of the CDM and of those with an unreadable date of birth."""
    frames = [persons.select("person_id", F.lit(_KNOWN).alias("_birth"))]
    for source in sources:
        for entity in dict.fromkeys(rule.from_ for rule in source.rules if rule.to is Target.PERSON):
            birth = source.contract.entities[entity].identified_by(Identifier.BIRTH_DATE)
            if birth:
                unread = source.tables[entity].where(unreadable_in(birth) & F.col("person_id").isNotNull())
                frames.append(unread.select("person_id", F.lit(_UNREADABLE).alias("_birth")))
    return union_all(frames).groupBy("person_id").agg(F.min("_birth").alias("_birth"))


def _numbered(sources: Iterable[SilverSource]) -> Iterator[_NumberedRule]:
    numbers = count()
    for source in sources:
        for rule in source.rules:
            next(numbers)  # of the kept events
            checks = tuple(checks_of(rule, source.contract, filled_fields(rule, source.contract)))
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
    columns = {column for rule in rules for column in columns_of_checks(rule.rule, rule.source.contract)}
    frame = with_lookups(first.rule.from_, scan.lookups, first.source.contract, first.source.tables, columns)
    numbers = [
        F.coalesce(
            *[F.when(check.fails, F.lit(rule.first + place)) for place, check in enumerate(rule.checks, 1)], F.lit(rule.first)
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


def _labels(rule: _NumberedRule) -> Iterator[tuple[int, str, str, str, str, str, int]]:
    """What the numbers of a rule count for, by what is known of the birth of the person."""
    names = rule.source.contract.source, rule.rule.from_, rule.rule.name
    for place, check in enumerate(rule.checks, 1):
        for birth in (_KNOWN, _UNREADABLE, _UNKNOWN):
            yield rule.first + place, birth, *names, check.reason, 1
    kept = DEDUPLICATED if groups_events(rule.rule) else ""
    is_asked = rule.rule.to in PERSON_BOUND - {Target.PERSON}
    yield rule.first, _KNOWN, *names, kept, 1
    yield rule.first, _UNREADABLE, *names, UNREADABLE_BIRTH if is_asked else kept, 1
    yield rule.first, _UNKNOWN, *names, UNKNOWN_PERSON if is_asked else kept, 1
    # Of the rows of an event one is kept; the others are deduplicated.
    yield rule.first - 1, _KNOWN, *names, "", 1
    yield rule.first - 1, _KNOWN, *names, DEDUPLICATED, -1
