"""Measurements by analyte: the concept that fits a unit, and the values of all sources in one unit."""

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.frames import join_small
from pipelines.contracts.cdm import CdmTable
from pipelines.mapping.analytes import Analyte, Analytes
from pipelines.omop.conform import conform
from vocab.concepts import is_valid_standard
from vocab.schemas import ddl_of

CONCEPTS_BY_UNIT_SCHEMA = {"concept_id": "bigint", "unit_concept_id": "bigint", "concept_of_unit": "bigint"}
"""One row per concept of an analyte and unit in which a measurement has another concept of it, `concept_of_unit`."""

OF_UNIT = "+unit"
"""What stands after the origin of a concept that was chosen by the unit of its row."""

DECIMALS = 6
"""Decimals of a converted value: 0.57 m are 57 cm, and not what is left of binary fractions."""

ANALYTE_CONCEPTS_SCHEMA = {
    "concept_id": "bigint",
    "analyte": "string",
    "analyte_concept_id": "bigint",
    "analyte_unit_id": "bigint",
    "unitless": "boolean",
    "least": "double",
    "most": "double",
}
"""One row per concept that means an analyte: the standard concept and the unit of the analyte, and what its values can be."""

_FACTORS = {"of_analyte": "string", "of_unit": "bigint", "times": "double", "plus": "double"}


def analyte_concepts(session: SparkSession, concepts: DataFrame, analytes: Analytes) -> DataFrame:
    """ANALYTE_CONCEPTS_SCHEMA, without the analytes whose standard concept or unit the vocabulary does not have."""
    rows = [
        (concept, name, analyte.concept, analytes.units[analyte.unit][0], analyte.unitless, *_bounds(analyte))
        for name, analyte in analytes.analytes.items()
        for concept in analytes.concepts_of(name)
    ]
    listed = session.createDataFrame(rows, ddl_of(ANALYTE_CONCEPTS_SCHEMA))
    usable = concepts.where(is_valid_standard()).select(F.col("concept_id").alias("usable_id"))
    for name in ("analyte_concept_id", "analyte_unit_id"):
        listed = usable.join(F.broadcast(listed), on=F.col("usable_id") == F.col(name), how="inner").drop("usable_id")
    return listed.select(*ANALYTE_CONCEPTS_SCHEMA)


def _bounds(analyte: Analyte) -> tuple[float, float]:
    return analyte.plausible.least, analyte.plausible.most


def concepts_by_unit(session: SparkSession, concepts: DataFrame, analytes: Analytes) -> DataFrame:
    """CONCEPTS_BY_UNIT_SCHEMA, without the concepts that the vocabulary does not have as valid standard ones."""
    listed = session.createDataFrame(list(analytes.by_unit), ddl_of(CONCEPTS_BY_UNIT_SCHEMA))
    usable = concepts.where(is_valid_standard()).select(F.col("concept_id").alias("concept_of_unit"))
    return usable.join(F.broadcast(listed), on="concept_of_unit", how="inner").select(*CONCEPTS_BY_UNIT_SCHEMA)


def with_concept_of_unit(measurements: DataFrame, by_unit: DataFrame) -> DataFrame:
    """Mapped measurements, in which a concept is replaced where its analyte has another one for the unit of the row.

    `measurements` have `_target_concept_id`, `unit_target` and `_map_origin`, which then ends in OF_UNIT. LOINC has a concept
    for moles, for mass and for a ratio of the same analyte; a code names one of them, and only the unit says which.
    """
    keys = by_unit.select(F.col("concept_id").alias("_of"), F.col("unit_concept_id").alias("_in"), "concept_of_unit")
    on = (F.col("_target_concept_id") == F.col("_of")) & (F.col("unit_target") == F.col("_in"))
    joined = measurements.join(F.broadcast(keys), on=on, how="left")
    is_replaced = F.col("concept_of_unit").isNotNull()
    origin = F.when(is_replaced, F.concat(F.coalesce("_map_origin", F.lit("")), F.lit(OF_UNIT)))
    replaced = {
        "_target_concept_id": F.coalesce("concept_of_unit", "_target_concept_id"),
        "_map_origin": origin.otherwise(F.col("_map_origin")),
    }
    return joined.withColumns(replaced).drop("_of", "_in", "concept_of_unit")


def measurement_harmonised(measurements: DataFrame, of_analytes: DataFrame, analytes: Analytes, table: CdmTable) -> DataFrame:
    """One row per measurement whose concept is among `of_analytes` (ANALYTE_CONCEPTS_SCHEMA): its number in the unit of the
    analyte.

    Units: the first concept of `Analyte.unit`. The value is null where there is no number, no unit or one that cannot be
    converted; `conversion_rule` says which, and `implausible_rule` which bound a value is beyond.
    Source: the CDM table measurement, which stays as it is.
    """
    factors = measurements.sparkSession.createDataFrame(_factors(analytes), ddl_of(_FACTORS))
    narrow = measurements.select(
        "measurement_id",
        "person_id",
        "measurement_date",
        F.col("measurement_concept_id").alias("concept_id"),
        F.col("value_as_number").alias("number"),
        "operator_concept_id",
        F.col("unit_concept_id").alias("own_unit_id"),
    )
    known = join_small(narrow, of_analytes, "concept_id")
    implied = F.when(F.col("own_unit_id").isNull() & F.col("unitless"), F.col("analyte_unit_id"))
    in_unit = known.withColumn("unit_id", F.coalesce(F.col("own_unit_id"), implied))
    on = (F.col("analyte") == F.col("of_analyte")) & (F.col("unit_id") == F.col("of_unit"))
    converted = in_unit.join(F.broadcast(factors), on=on, how="left").withColumn("rule", _conversion_rule())
    with_value = converted.withColumn("value", F.when(F.col("number").isNotNull(), _value()))
    values = {
        name: F.col(name) for name in ("measurement_id", "person_id", "measurement_date", "analyte", "analyte_concept_id")
    }
    values |= {
        "value_as_number": F.col("value"),
        "operator_concept_id": F.col("operator_concept_id"),
        "unit_concept_id": F.col("analyte_unit_id"),
        "conversion_rule": F.col("rule"),
        "factor": F.when(F.col("value").isNotNull(), F.col("times")),
        "added": F.when(F.col("value").isNotNull(), F.col("plus")),
        "implausible_rule": F.when(F.col("value") < F.col("least"), F.lit("below_least")).when(
            F.col("value") > F.col("most"), F.lit("above_most")
        ),
    }
    return conform(with_value, values, table)


def _value() -> Column:
    is_own = (F.col("times") == 1.0) & (F.col("plus") == 0.0)
    converted = F.round(F.col("number") * F.col("times") + F.col("plus"), DECIMALS)
    return F.when(is_own, F.col("number")).otherwise(converted)


def _conversion_rule() -> Column:
    """How the value came about, or why there is none."""
    return (
        F.when(F.col("number").isNull(), F.lit("no_number"))
        .when(F.col("unit_id").isNull(), F.lit("no_unit"))
        .when(F.col("times").isNull(), F.lit("other_unit"))
        .when(F.col("own_unit_id").isNull(), F.lit("unit_implied"))
        .when(F.col("own_unit_id") == F.col("analyte_unit_id"), F.lit("as_delivered"))
        .otherwise(F.lit("converted"))
    )


def _factors(analytes: Analytes) -> list[tuple[object, ...]]:
    return [
        (name, unit_concept, how.times, how.plus)
        for name, analyte in analytes.analytes.items()
        for unit, how in analyte.conversions.items()
        for unit_concept in analytes.units[unit]
    ]
