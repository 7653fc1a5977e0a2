"""Counts of checks on concepts: what kind they are, in which unit and with which number they come, what maps to none."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import is_true
from pipelines.columns.frames import rows_of_group, union_all
from pipelines.quality.checks import Check, Rule
from pipelines.quality.counting import Positions, TableKey, Tables, counts, number, omop, sum_where

KIND_RULES: Final = (Rule.CONCEPT, Rule.DOMAIN, Rule.CONCEPT_CLASS, Rule.STANDARD)
"""Rules on what kind of concept a field holds."""

CONCEPT_RULES: Final = (*KIND_RULES, Rule.VALUES_MAPPED, Rule.UNIT)


def concept_counts(by_table: Mapping[TableKey, list[Check]], positions: Positions, tables: Tables) -> Iterator[DataFrame]:
    """Counts of the checks on concepts; one scan of each table for the kinds, one for each of the other rules."""
    yield from _faults(by_table, positions, tables)
    yield from _unmapped_values(by_table, positions, tables)
    for key, checks in by_table.items():
        units = [check for check in checks if check.rule is Rule.UNIT]
        if units:
            yield _units(tables[key], units, positions)
        values = [check for check in checks if check.concepts and check.rule in (Rule.LOW, Rule.HIGH)]
        if values:
            yield _values(tables[key], values, positions)


def _faults(by_table: Mapping[TableKey, list[Check]], positions: Positions, tables: Tables) -> Iterator[DataFrame]:
    """Rows whose concept is not what the field is for. Concept 0 says "unmapped" and always passes.

    Rows are grouped by all concepts of their table first, which leaves far fewer than the table has.
    """
    concepts = tables.get(omop("concept"))
    asked = _asked(by_table, *KIND_RULES)
    if concepts is None or not asked:
        return
    fields = [(key, name) for key, checks in asked.items() for name in dict.fromkeys(check.column for check in checks)]
    uses = [_concept_uses(tables[key], [(n, name) for n, (at, name) in enumerate(fields) if at == key]) for key in asked]
    by_field = union_all(uses).select("first", "n", F.posexplode("values").alias("place", "value"))
    known = concepts.select(
        F.col("concept_id").cast("bigint").alias("value"),
        F.lit(True).alias("known"),
        F.col("domain_id").alias("domain"),
        F.col("concept_class_id").alias("concept_class"),
        is_true((F.col("standard_concept") == "S") & F.col("invalid_reason").isNull()).alias("standard"),
    )
    rules = concepts.sparkSession.createDataFrame(
        [
            (fields.index((key, check.column)), positions[check], str(check.rule), check.argument)
            for key, checks in asked.items()
            for check in checks
        ],
        "field int, position int, rule string, argument string",
    )
    used = by_field.where(F.col("value").isNotNull()).select((F.col("first") + F.col("place")).alias("field"), "value", "n")
    kinds = used.join(known, on="value", how="left").join(rules, on="field", how="inner")
    # Rows without a concept count for the other kinds: they are counted with the rows of the table.
    rows = sum_where(F.col("rule") == str(Rule.STANDARD))
    faults = sum_where((F.col("value") != 0) & _breaks_kind())
    yield counts(kinds.groupBy("position").agg(rows.alias("rows"), faults.alias("violations")))


def _concept_uses(frame: DataFrame, fields: Sequence[tuple[int, str]]) -> DataFrame:
    """How often each combination of concepts occurs in some fields of a table."""
    grouped = frame.groupBy(*[name for _, name in fields]).agg(rows_of_group().alias("n"))
    values = F.array(*[F.col(name).cast("bigint") for _, name in fields])
    return grouped.select(number(fields[0][0], "first"), "n", values.alias("values"))


def _breaks_kind() -> Column:
    """True where the concept of a use breaks the rule: it is not known, or known and of another kind."""
    rule = F.col("rule")
    other_kind = (
        F.when(rule == str(Rule.DOMAIN), ~F.col("domain").eqNullSafe(F.col("argument")))
        .when(rule == str(Rule.CONCEPT_CLASS), ~F.col("concept_class").eqNullSafe(F.col("argument")))
        .when(rule == str(Rule.STANDARD), ~F.col("standard"))
        .otherwise(F.lit(False))
    )
    return F.when(F.col("known").isNull(), rule == str(Rule.CONCEPT)).otherwise(other_kind)


def _unmapped_values(by_table: Mapping[TableKey, list[Check]], positions: Positions, tables: Tables) -> Iterator[DataFrame]:
    """Different source values, and those of which any row has concept 0."""
    frames = []
    for key, checks in _asked(by_table, Rule.VALUES_MAPPED).items():
        for check in checks:
            is_unmapped = F.coalesce((F.col(check.argument) == 0).cast("int"), F.lit(0))
            frames.append(
                tables[key].select(number(positions[check]), F.col(check.column).alias("value"), is_unmapped.alias("unmapped"))
            )
    if frames:
        values = union_all(frames).groupBy("position", "value").agg(F.max("unmapped").alias("unmapped"))
        yield counts(values.groupBy("position").agg(F.sum(F.lit(1)).alias("rows"), F.sum("unmapped").alias("violations")))


def _units(frame: DataFrame, checks: Sequence[Check], positions: Positions) -> DataFrame:
    """Rows of each concept whose unit is known or missing, and those whose unit is not one of its units."""
    (field, _) = checks[0].columns
    grouped = frame.groupBy(F.col(field).alias("concept"), F.col("unit_concept_id").alias("unit"))
    uses = grouped.agg(rows_of_group().alias("n")).where(F.col("unit").isNull() | (F.col("unit") != 0))
    allowed = frame.sparkSession.createDataFrame(
        [(positions[check], *check.concepts[0], [int(unit) for unit in check.argument.split()]) for check in checks],
        "position int, concept bigint, units array<bigint>",
    )
    judged = uses.join(F.broadcast(allowed), on="concept", how="inner")
    breaks = F.col("unit").isNotNull() & ~F.array_contains("units", F.col("unit"))
    return counts(judged.groupBy("position").agg(F.sum("n").alias("rows"), sum_where(breaks).alias("violations")))


def _values(frame: DataFrame, checks: Sequence[Check], positions: Positions) -> DataFrame:
    """Numbers of each concept in a unit, and those beyond a limit."""
    field, unit, _ = checks[0].columns
    limits = frame.sparkSession.createDataFrame(
        [
            (positions[check], *(ids[0] for ids in check.concepts), check.rule is Rule.HIGH, float(check.argument))
            for check in checks
        ],
        "position int, concept bigint, unit bigint, is_high boolean, limit double",
    )
    numbers = frame.select(
        F.col(field).cast("bigint").alias("concept"),
        F.col(unit).cast("bigint").alias("unit"),
        F.col("value_as_number").cast("double").alias("value"),
    ).where(F.col("value").isNotNull())
    judged = numbers.join(F.broadcast(limits), on=["concept", "unit"], how="inner")
    breaks = F.when(F.col("is_high"), F.col("value") > F.col("limit")).otherwise(F.col("value") < F.col("limit"))
    return counts(judged.groupBy("position").agg(F.sum(F.lit(1)).alias("rows"), F.sum(breaks.cast("int")).alias("violations")))


def _asked(by_table: Mapping[TableKey, list[Check]], *rules: Rule) -> dict[TableKey, list[Check]]:
    asked = {key: [check for check in checks if check.rule in rules] for key, checks in by_table.items()}
    return {key: checks for key, checks in asked.items() if checks}
