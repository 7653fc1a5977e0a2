"""What became of each silver row: which rules take it, and if none does, why not.

Every check of every rule has a number, and so has every rule for the rows that it takes. So the outcomes of a silver row are an
array of numbers, one of each rule that reads its entity. Equal arrays are counted together in one scan of the entity; what the
numbers say comes to them at the end, when there are a few thousand rows.

A number is the greater, the more it says: those of rules are above those of checks, and of two checks that leave a row out the
more specific one has the greater number. So the greatest number of a row says what became of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true, is_true
from pipelines.columns.frames import rows_of_group, union_all
from pipelines.contracts.ledger import SILVER_ROWS_SCHEMA, Disposition
from pipelines.contracts.source import Identifier, SourceContract
from pipelines.mapping.compile import (
    PERSON_BOUND,
    Check,
    checks_of,
    columns_of_checks,
    filled_fields,
    flat,
    groups_events,
    unreadable_in,
    with_lookups,
)
from pipelines.mapping.spec import Lookup, Rule, Target

OUTCOMES_SCHEMA: Final = {
    "entity": "int",
    "birth": "string",
    "numbers": "string",
    "lost": "string",
    "lost_to": "string",
    "place": "int",
    "value": "string",
    "rows": "bigint",
}
"""How many silver rows of an entity have the same outcomes: the numbers of `Numbering`, separated by commas (null: none).

`birth` says whether their people are in the CDM. `lost` are rules that took the rows and lost them later; `lost_to` has the
first of them, and why. Place 0 counts every row once. The places after it count the rows that no rule takes once more for each
column of `NumberedEntity.closed`, by `value`. Place EVENTS counts the events of rules that group.
"""

LEFT_OUT_ROWS_SCHEMA: Final = {
    "row_key": "string",
    "person_id": "bigint",
    "source": "string",
    "entity": "string",
    "rule": "string",
    "reason": "string",
}
"""One row per mapped row that was left out of OMOP after it had been mapped, for a reason of its own and not of its person."""

EVENTS: Final = -1
"""The place of the events of rules that group them."""

UNKNOWN_PERSON: Final = "person_without_year_of_birth"
"""Reason of rows whose person is not in the CDM, because no source gave a year of birth."""

UNREADABLE_BIRTH: Final = "person_with_unreadable_birth_date"
"""Reason of rows whose person is not in the CDM, because no source gave a year of birth and one gave an unreadable date."""

UNOBSERVED_PERSON: Final = "person_without_observation_period"
"""Reason of rows whose person is not in the CDM, because nothing says when the person was observed."""

LOOKED_UP: Final = "looked_up"
"""Reason of the rows of an entity that rules look up and none reads."""

NO_RULE: Final = "no_rule"
"""Reason of the rows of an entity that no rule reads or looks up, where the mapping does not say why."""

ABSENT, KNOWN, UNREADABLE, UNKNOWN = "absent", "known", "unreadable", "without"
"""What is known of a person: to be left out of the CDM as unobserved, in the CDM, of unreadable birth, without a birth. In the
order of the alphabet what counts first."""

_WHY_ABSENT: Final = {ABSENT: UNOBSERVED_PERSON, UNREADABLE: UNREADABLE_BIRTH, UNKNOWN: UNKNOWN_PERSON}
_WIDTH: Final = 9


Silver = Mapping[str, Mapping[str, DataFrame]]
"""The silver tables by source and entity."""


@dataclass(frozen=True)
class SilverSource:
    """Rules of one source, its contract, and the silver tables that the rules read by entity."""

    contract: SourceContract
    rules: tuple[Rule, ...]
    tables: Mapping[str, DataFrame]


@dataclass(frozen=True)
class NumberedRule:
    """A rule with its numbers: of the rows that it takes, of its events if it groups, and of each check in their order."""

    rule: Rule
    taken: int
    event: int
    checks: tuple[Check, ...]
    numbers: tuple[int, ...]

    @property
    def number(self) -> Column:
        """The number of the first check that a row fails, or of a row that is taken."""
        failed = [(check.fails, F.lit(n)) for check, n in zip(self.checks, self.numbers, strict=True)]
        return first_true(failed, F.lit(self.taken))


@dataclass(frozen=True)
class NumberedEntity:
    """A delivered entity and the rules that read it; `reason` says why none does, where none does."""

    number: int
    contract: SourceContract
    name: str
    rules: tuple[NumberedRule, ...]
    reason: str

    @property
    def lookups(self) -> dict[str, Lookup]:
        """The lookups of all its rules; a mapping with two different ones of one name is refused."""
        return {name: how for numbered in self.rules for name, how in numbered.rule.lookups.items()}

    @cached_property
    def closed(self) -> tuple[str, ...]:
        """The columns with a closed list that its conditions test (`alias.column` of a lookup), or all if nothing reads it."""
        own = self.contract.entities[self.name].columns
        if not self.rules:
            return tuple(name for name, column in own.items() if column.has_closed_list) if self.reason == NO_RULE else ()
        tested = {name for numbered in self.rules for condition in numbered.rule.where for name in condition.columns}
        return tuple(name for name in sorted(tested) if self._has_closed_list(name))

    def _has_closed_list(self, column: str) -> bool:
        alias, _, name = column.rpartition(".")
        found = self.contract.entities[self.lookups[alias].entity if alias else self.name].columns.get(name)
        return found is not None and found.has_closed_list


class Numbering:
    """The numbers of all checks and rules of some sources. They depend on nothing else."""

    def __init__(
        self, sources: Mapping[str, tuple[SourceContract, tuple[Rule, ...]]], unread: Mapping[tuple[str, str], str]
    ) -> None:
        """`sources` have contract and rules by name; `unread` says of the entities that no rule reads why none does."""
        rules = [(source, rule) for source, (_, of_source) in sources.items() for rule in of_source]
        checks = [tuple(checks_of(rule, sources[name][0], filled_fields(rule, sources[name][0]))) for name, rule in rules]
        places = [(order, place) for order, of_rule in enumerate(checks) for place in range(len(of_rule))]
        by_specificity = sorted(places, key=lambda at: _specificity(checks[at[0]], at[1], at[0]))
        numbers = {at: number for number, at in enumerate(by_specificity, 1)}
        for_others = [rule.to not in PERSON_BOUND for _, rule in rules]
        self.first_taken = len(numbers) + 1
        self.first_unbound = self.first_taken + for_others.count(False)
        taken = {n: number for number, n in enumerate(sorted(range(len(rules)), key=for_others.__getitem__), self.first_taken)}
        self.rules = tuple(
            NumberedRule(rule, taken[n], taken[n] + len(rules), checks[n], tuple(numbers[n, p] for p in range(len(checks[n]))))
            for n, (_, rule) in enumerate(rules)
        )
        readers: dict[tuple[str, str], list[NumberedRule]] = {}
        for (source, rule), numbered in zip(rules, self.rules, strict=True):
            readers.setdefault((source, rule.from_), []).append(numbered)
        self.entities = tuple(
            NumberedEntity(n, sources[source][0], name, tuple(readers.get((source, name), ())), unread.get((source, name), ""))
            for n, (source, name) in enumerate(dict.fromkeys([*readers, *unread]))
        )


def _specificity(checks: tuple[Check, ...], place: int, order: int) -> tuple[int, bool, int]:
    """What is greater for a more specific check: the rule came further, it does not choose rows, its rule stands earlier.

    A rule came as far as it had checks before this one, but for those whether a column is readable.
    """
    return sum(not check.unreadable for check in checks[:place]), not checks[place].selects, -order


def outcomes(numbering: Numbering, silver: Silver, persons: DataFrame, unobserved: DataFrame, left_out: DataFrame) -> DataFrame:
    """How many silver rows have the same outcomes (OUTCOMES_SCHEMA).

    `silver` has every entity of `numbering` and what its rules look up. `persons` (column `person_id`, unique) are the people
    of the CDM, `unobserved` those of them who are left out of it, and `left_out` (LEFT_OUT_ROWS_SCHEMA) the mapped rows that
    were left out later.
    """
    rows = union_all([frame for entity in numbering.entities for frame in _rows(entity, silver[entity.contract.source])])
    # Named first, because Sail cannot tell how many rows an array gives and keeps in memory what is named first.
    known = F.broadcast(_births(numbering, silver, persons, unobserved)).join(rows, on="person_id", how="right")
    birth = F.coalesce(F.col("_birth"), F.lit(UNKNOWN)).alias("birth")
    found = _lost(numbering, left_out).join(known.select(birth, *_ROW), on="row_key", how="right")
    shown = F.when(_is_taken(numbering), F.array(F.lit(None).cast("string"))).otherwise(F.col("values"))
    keys = [name for name in OUTCOMES_SCHEMA if name not in ("place", "value", "rows")]
    as_text = {name: F.nullif(F.array_join(F.col(name).cast("array<string>"), ","), F.lit("")) for name in _ARRAYS}
    columns = [as_text.get(name, F.col(name)).alias(name) for name in keys]
    placed = found.select(*columns, "row_key", F.posexplode(shown).alias("_place", "value"))
    place = F.when(F.col("row_key").isNull(), F.lit(EVENTS)).otherwise(F.col("_place")).cast("int")
    counted = placed.select(*keys, place.alias("place"), "value").groupBy(*keys, "place", "value")
    return counted.agg(rows_of_group().alias("rows")).select(*OUTCOMES_SCHEMA)


def left_out_rows(mapped: DataFrame, reason: Column) -> DataFrame:
    """Mapped rows as rows that were left out (LEFT_OUT_ROWS_SCHEMA)."""
    names = {name: F.col(f"_{name}") for name in ("row_key", "source", "entity", "rule")}
    names |= {"person_id": F.col("person_id"), "reason": reason}
    return mapped.select(*[names[name].alias(name) for name in LEFT_OUT_ROWS_SCHEMA])


_ARRAYS: Final = ("numbers", "lost")


def with_arrays(outcomes: DataFrame) -> DataFrame:
    """Outcomes (OUTCOMES_SCHEMA) with their numbers as arrays."""
    return outcomes.withColumns({name: F.split(name, ",").cast("array<int>") for name in _ARRAYS})


_ROW: Final = ("entity", "row_key", "numbers", "values")


def _rows(entity: NumberedEntity, tables: Mapping[str, DataFrame]) -> Iterator[DataFrame]:
    """One row per silver row: `person_id` and _ROW. Then, without a row key, one per event of each rule that groups."""
    contract, name = entity.contract, entity.name
    columns = {column for numbered in entity.rules for column in columns_of_checks(numbered.rule, contract)}
    frame = with_lookups(name, entity.lookups, contract, tables, columns | set(entity.closed))
    numbers = F.array(*[numbered.number for numbered in entity.rules]).cast("array<int>")
    nothing = F.lit(None).cast("string")
    values = F.array(nothing, *[F.col(flat(column)).cast("string") for column in entity.closed])
    number = F.lit(entity.number).alias("entity")
    yield frame.select("person_id", number, "row_key", numbers.alias("numbers"), values.alias("values"))
    for numbered in entity.rules:
        if groups_events(numbered.rule):
            key = filled_fields(numbered.rule, contract)["key"]
            kept = frame.where(numbered.number == numbered.taken).select("person_id", key.alias("_key")).distinct()
            event = F.array(F.lit(numbered.event)).alias("numbers")
            yield kept.select("person_id", number, nothing.alias("row_key"), event, F.array(nothing).alias("values"))


def _births(numbering: Numbering, silver: Silver, persons: DataFrame, unobserved: DataFrame) -> DataFrame:
    """What is known (`_birth`) of the people of the CDM and of those with an unreadable date of birth."""
    frames = [
        persons.select("person_id", F.lit(KNOWN).alias("_birth")),
        unobserved.select("person_id", F.lit(ABSENT).alias("_birth")),
    ]
    for entity in numbering.entities:
        birth = entity.contract.entities[entity.name].identified_by(Identifier.BIRTH_DATE)
        if birth and any(numbered.rule.to is Target.PERSON for numbered in entity.rules):
            described = silver[entity.contract.source][entity.name]
            unread = described.where(unreadable_in(birth) & F.col("person_id").isNotNull())
            frames.append(unread.select("person_id", F.lit(UNREADABLE).alias("_birth")))
    return union_all(frames).groupBy("person_id").agg(F.min("_birth").alias("_birth"))


def _lost(numbering: Numbering, left_out: DataFrame) -> DataFrame:
    """One row per silver row that rules took and lost: `row_key`, `lost`, `lost_to`."""
    labels = [(numbered.rule.name, numbered.taken) for numbered in numbering.rules]
    rules = left_out.sparkSession.createDataFrame(labels, "rule string, _number int")
    first = F.concat_ws("|", F.lpad(F.col("_number").cast("string"), _WIDTH, "0"), F.col("reason"))
    numbered = left_out.join(F.broadcast(rules), on="rule", how="inner").select("row_key", "_number", first.alias("_first"))
    lost = F.array_sort(F.collect_set("_number")).alias("lost")
    return numbered.groupBy("row_key").agg(lost, F.min("_first").alias("lost_to"))


def _remaining() -> Column:
    """The numbers of a row but for the rules that lost it."""
    return F.when(F.col("lost").isNull(), F.col("numbers")).otherwise(F.array_except("numbers", "lost"))


def _is_taken(numbering: Numbering) -> Column:
    """Whether a rule took the row and did not lose it; of a person who is not in the CDM only a rule for other things."""
    return is_true(F.array_max(_remaining()) >= _first_taken(numbering))


def _first_taken(numbering: Numbering) -> Column:
    return F.when(F.col("birth") == KNOWN, F.lit(numbering.first_taken)).otherwise(F.lit(numbering.first_unbound))


def silver_rows(numbering: Numbering, counted: DataFrame) -> DataFrame:
    """What became of the silver rows (SILVER_ROWS_SCHEMA), from their outcomes (OUTCOMES_SCHEMA)."""
    session = counted.sparkSession
    marked = with_arrays(counted.where(F.col("place") > EVENTS)).withColumn("_is_taken", _is_taken(numbering))
    parts = union_all([_mapped(numbering, marked.where("_is_taken")), _untaken(numbering, marked.where("not _is_taken"))])
    names = [(entity.number, entity.contract.source, entity.name, entity.reason) for entity in numbering.entities]
    entities = session.createDataFrame(names, "_entity int, source string, entity string, _reason string")
    closed = [(entity.number, place, name) for entity in numbering.entities for place, name in enumerate(entity.closed, 1)]
    columns = session.createDataFrame(closed, "_entity int, _place int, column string")
    named = parts.join(F.broadcast(entities), on="_entity", how="left")
    placed = named.join(F.broadcast(columns), on=["_entity", "_place"], how="left")
    values = {name: F.coalesce(F.col(name), F.lit("")) for name in SILVER_ROWS_SCHEMA if name not in ("rows", "reason")}
    values |= {"reason": F.coalesce(F.col("reason"), F.col("_reason"), F.lit(""))}
    keys = [values[name].alias(name) for name in SILVER_ROWS_SCHEMA if name != "rows"]
    return placed.groupBy(*keys).agg(F.sum("rows").alias("rows")).select(*SILVER_ROWS_SCHEMA)


def _mapped(numbering: Numbering, taken: DataFrame) -> DataFrame:
    """The rows that rules took, by the rules."""
    labels = [(numbered.taken, numbered.rule.name) for numbered in numbering.rules]
    rules = taken.sparkSession.createDataFrame(labels, "_number int, rule string")
    keys = ("entity", "birth", "numbers", "lost")
    counted = taken.groupBy(*keys).agg(F.sum("rows").alias("_rows"))
    single = counted.select(*keys, "_rows", F.explode(_remaining()).alias("_number"))
    taking = single.where(F.col("_number") >= _first_taken(numbering)).join(F.broadcast(rules), on="_number", how="inner")
    names = F.array_join(F.array_sort(F.collect_set("rule")), ", ")
    named = taking.groupBy(*keys).agg(names.alias("rule"), F.max("_rows").alias("rows"))
    nothing = F.lit(None).cast("string")
    return named.select(
        F.col("entity").alias("_entity"),
        F.lit(0).alias("_place"),
        F.lit(Disposition.MAPPED.value).alias("disposition"),
        "rule",
        F.lit("").alias("reason"),
        nothing.alias("value"),
        "rows",
    )


def _untaken(numbering: Numbering, left: DataFrame) -> DataFrame:
    """The rows that no rule took, by the most specific reason and the rule that has it."""
    labels = left.sparkSession.createDataFrame(list(_reasons(numbering)), "_number int, birth string, rule string, _why string")
    greatest, lost = F.array_max(_remaining()), F.split("lost_to", "[|]")
    was_lost = F.col("lost_to").isNotNull() & F.coalesce(greatest < numbering.first_taken, F.lit(True))
    number = F.when(was_lost, lost.getItem(0).cast("int")).otherwise(greatest)
    chosen = left.select("*", was_lost.alias("_was_lost"), number.alias("_number"))
    named = chosen.join(F.broadcast(labels), on=["_number", "birth"], how="left")
    return named.select(
        F.col("entity").alias("_entity"),
        F.col("place").alias("_place"),
        F.lit(Disposition.UNTAKEN.value).alias("disposition"),
        "rule",
        F.when(F.col("_was_lost"), lost.getItem(1)).otherwise(F.col("_why")).alias("reason"),
        "value",
        "rows",
    )


def _reasons(numbering: Numbering) -> Iterator[tuple[int, str, str, str]]:
    """The rule and the reason of every number, by what is known of the person."""
    for birth in (ABSENT, KNOWN, UNREADABLE, UNKNOWN):
        for numbered in numbering.rules:
            yield numbered.taken, birth, numbered.rule.name, _WHY_ABSENT.get(birth, "")
            for check, number in zip(numbered.checks, numbered.numbers, strict=True):
                yield number, birth, numbered.rule.name, check.reason
