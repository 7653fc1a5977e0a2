"""Eras: stretches of time in which a person had a condition, took an ingredient, or took it at one dose.

What OHDSI's own scripts conclude from condition_occurrence and drug_exposure: spans of one person and one thing, of which
each begins at most PERSISTENCE_DAYS after all before it have ended, are one era. Three kinds of spans, one form to merge them:

- condition eras: a condition without an end lasts until the day after its start; concept 0 makes none, and nor does what is
  only suspected: an era says that the person is assumed to have the condition, and has no field that could say otherwise;
- drug eras: each exposure counts for every ingredient of its drug;
- dose eras: the same where strength, quantity and days supplied make the daily dose known.
"""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.columns.choices import is_true
from pipelines.columns.frames import union_all
from pipelines.columns.ids import omop_id, without_collisions
from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.evidence import PRELIMINARY_DIAGNOSIS
from pipelines.omop.conform import conform
from pipelines.omop.events import MAX_DAYS_SUPPLY

PERSISTENCE_DAYS = 30
"""Days without a record that an era outlasts."""

INGREDIENT = "Ingredient"
"""Concept class of the standard concepts that drug eras are about (RxNorm and RxNorm Extension)."""

HOUR_CONCEPT_ID = 8505
"""Unit of strengths that a drug gives off by the hour; how long each unit of quantity lasts is not known."""

MAX_DAILY_DOSE = 10**9
"""A greater daily dose is no dose."""

ERAS_SCHEMA = {
    "_kind": "string",
    "person_id": "bigint",
    "concept_id": "bigint",
    "unit_concept_id": "bigint",
    "dose_millionths": "bigint",
    "start_date": "date",
    "end_date": "date",
    "records": "bigint",
    "gap_days": "bigint",
}
"""One row per era; `_kind` is the table it is for. Unit and dose (in millionths of the unit) belong to dose eras only.

`records` counts the spans in the era, `gap_days` its days that no span covers, as OHDSI counts them: the days from the end
of one stretch to the start of the next, so that stretches on consecutive days are one day apart.
"""

ERA_TABLES = ("condition_era", "drug_era", "dose_era")

ERA_KEY = ("_kind", "person_id", "concept_id", "unit_concept_id", "dose_millionths", "start_date")
"""What names an era."""

_THING = ("concept_id", "unit_concept_id", "dose_millionths")
_SPAN = ("person_id", *_THING, "start_date", "end_date")
_DAY_CODES = 2**22
_DAY_ZERO = 719_528
"""Days from 0000-01-01 to 1970-01-01: with it every date is a whole number between 0 and _DAY_CODES."""


@dataclass(frozen=True)
class DrugVocabulary:
    """What drug and dose eras look up: CONCEPT, CONCEPT_ANCESTOR and DRUG_STRENGTH."""

    concepts: DataFrame
    ancestors: DataFrame
    strengths: DataFrame


def eras(conditions: DataFrame, drugs: DataFrame, vocabulary: DrugVocabulary) -> DataFrame:
    """The condition, drug and dose eras of all people (ERAS_SCHEMA), from condition_occurrence and drug_exposure."""
    taken = ingredient_spans(drugs, vocabulary)
    spans = {
        "condition_era": condition_spans(conditions),
        "drug_era": taken.select(*_SPAN),
        "dose_era": dose_spans(taken, vocabulary.strengths),
    }
    merged = [merged_spans(frame).withColumn("_kind", F.lit(kind)) for kind, frame in spans.items()]
    return union_all([frame.select(*ERAS_SCHEMA) for frame in merged])


def condition_spans(conditions: DataFrame) -> DataFrame:
    """One row per condition with a concept, unless it is only suspected.

    An end that is missing or before the start is the day after the start.
    """
    is_suspected = is_true(F.col("condition_status_concept_id") == PRELIMINARY_DIAGNOSIS)
    known = conditions.where((F.col("condition_concept_id") != 0) & ~is_suspected)
    start, end = F.col("condition_start_date"), F.col("condition_end_date")
    return known.select(
        "person_id",
        F.col("condition_concept_id").alias("concept_id"),
        *_no_dose(),
        start.alias("start_date"),
        F.when(end >= start, end).otherwise(F.date_add(start, 1)).alias("end_date"),
    )


def _ingredients(vocabulary: DrugVocabulary) -> DataFrame:
    """`concept_id` of an ingredient and `drug_concept_id` for every drug that it is in."""
    ingredients = vocabulary.concepts.where((F.col("concept_class_id") == INGREDIENT) & (F.col("standard_concept") == "S"))
    return vocabulary.ancestors.join(
        F.broadcast(ingredients.select(F.col("concept_id").alias("ancestor_concept_id"))), on="ancestor_concept_id", how="inner"
    ).select(F.col("ancestor_concept_id").alias("concept_id"), F.col("descendant_concept_id").alias("drug_concept_id"))


def ingredient_spans(drugs: DataFrame, vocabulary: DrugVocabulary) -> DataFrame:
    """One row per drug exposure and ingredient of its drug, with `drug_concept_id`, `quantity` and `days_supply`."""
    parts = _ingredients(vocabulary)
    # Of all drugs of the vocabulary only those that were taken are worth sending to every task.
    in_use = drugs.select("drug_concept_id").distinct()
    known_parts = parts.join(F.broadcast(in_use), on="drug_concept_id", how="left_semi")
    return drugs.join(F.broadcast(known_parts), on="drug_concept_id", how="inner").select(
        "person_id",
        "concept_id",
        *_no_dose(),
        F.col("drug_exposure_start_date").alias("start_date"),
        F.col("drug_exposure_end_date").alias("end_date"),
        "drug_concept_id",
        F.col("quantity").cast("double").alias("quantity"),
        F.col("days_supply").cast("double").alias("days_supply"),
    )


def dose_spans(taken: DataFrame, strengths: DataFrame) -> DataFrame:
    """The rows of `ingredient_spans` whose daily dose is known: strength times quantity over days supplied.

    Days beyond MAX_DAYS_SUPPLY are no length of a course here either.

    The quantity counts the pieces of a drug with a fixed amount, and the denominator's unit (millilitre, actuation) of one
    with a concentration. Of a concentration in a package of known size the quantity may count packages or contents, and of
    one per hour neither: there the dose is not known.
    """
    is_concentration = F.col("denominator_value").isNull() & (F.col("denominator_unit_concept_id") != HOUR_CONCEPT_ID)
    by_amount = F.col("amount_value").isNotNull()
    valid = strengths.where(F.col("invalid_reason").isNull())
    per_piece = valid.select(
        "drug_concept_id",
        F.col("ingredient_concept_id").alias("concept_id"),
        F.when(by_amount, F.col("amount_value")).when(is_concentration, F.col("numerator_value")).alias("_strength"),
        F.when(by_amount, F.col("amount_unit_concept_id")).otherwise(F.col("numerator_unit_concept_id")).alias("_unit"),
    ).where(F.col("_strength").isNotNull() & F.col("_unit").isNotNull())
    in_use = taken.select("drug_concept_id").distinct()
    known = per_piece.join(F.broadcast(in_use), on="drug_concept_id", how="left_semi")
    dosed = taken.where((F.col("quantity") > 0) & F.col("days_supply").between(1, MAX_DAYS_SUPPLY)).join(
        F.broadcast(known), on=["drug_concept_id", "concept_id"], how="inner"
    )
    daily = dosed.withColumn("_daily", F.col("_strength") * F.col("quantity") / F.col("days_supply"))
    plausible = daily.where((F.col("_daily") > 0) & (F.col("_daily") < MAX_DAILY_DOSE))
    dose = {
        "unit_concept_id": F.col("_unit"),
        # Whole millionths: equal doses are equal, and an id never depends on how an engine writes a fraction.
        "dose_millionths": F.floor(F.col("_daily") * 1_000_000 + 0.5).cast("bigint"),
    }
    return plausible.select(*[dose[name].alias(name) if name in dose else F.col(name) for name in _SPAN])


def _no_dose() -> list[Column]:
    return [F.lit(None).cast("bigint").alias(name) for name in ("unit_concept_id", "dose_millionths")]


def merged_spans(spans: DataFrame, persistence_days: int = PERSISTENCE_DAYS) -> DataFrame:
    """The eras that spans make (ERAS_SCHEMA without `_kind`).

    One window by person. The spans of each thing follow those of the thing before; the greatest end so far is carried as a
    number whose upper part is the place of the thing, so that no end of another thing is taken for one of this.
    """
    by_thing = Window.partitionBy("person_id").orderBy(*_THING)
    in_order = Window.partitionBy("person_id").orderBy(*_THING, "start_date", "end_date")
    start, end = (F.unix_date(F.col(name)).cast("bigint") + _DAY_ZERO for name in ("start_date", "end_date"))
    base = F.col("_thing") * F.lit(_DAY_CODES)
    coded = spans.withColumn("_thing", F.dense_rank().over(by_thing).cast("bigint")).withColumn("_end", base + end)
    before = coded.withColumn("_before", F.max("_end").over(in_order.rowsBetween(Window.unboundedPreceding, -1)))
    reached = F.when(F.col("_before") >= base, F.col("_before") - base)
    uncovered = before.withColumn("_uncovered", start - reached)
    is_new = F.col("_uncovered").isNull() | (F.col("_uncovered") > persistence_days)
    opened = uncovered.withColumn("_new", is_new.cast("int"))
    numbered = opened.withColumn("_era", F.sum("_new").over(in_order.rowsBetween(Window.unboundedPreceding, 0)))
    gap = F.when((F.col("_new") == 0) & (F.col("_uncovered") > 0), F.col("_uncovered")).otherwise(F.lit(0))
    return numbered.groupBy("person_id", "_era", *_THING).agg(
        F.min("start_date").alias("start_date"),
        F.max("end_date").alias("end_date"),
        F.count(F.lit(1)).alias("records"),
        F.sum(gap.cast("bigint")).alias("gap_days"),
    )


def era_ids(eras: DataFrame) -> DataFrame:
    """The stored eras with their `id`."""
    return eras.withColumn("id", omop_id(*[F.col(name) for name in ERA_KEY]))


def era_table(eras: DataFrame, collisions: DataFrame, table: CdmTable) -> DataFrame:
    """condition_era, drug_era or dose_era from the stored eras."""
    own = without_collisions(era_ids(eras.where(F.col("_kind") == table.name)), "id", ERA_KEY, collisions)
    concept = "condition_concept_id" if table.name == "condition_era" else "drug_concept_id"
    values = {
        f"{table.name}_id": F.col("id"),
        "person_id": F.col("person_id"),
        concept: F.col("concept_id"),
        f"{table.name}_start_date": F.col("start_date"),
        f"{table.name}_end_date": F.col("end_date"),
        "condition_occurrence_count": F.col("records"),
        "drug_exposure_count": F.col("records"),
        "gap_days": F.col("gap_days"),
        "unit_concept_id": F.col("unit_concept_id"),
        "dose_value": F.col("dose_millionths") / F.lit(1_000_000.0),
    }
    return conform(own, values, table)
