"""Facts that a source relates to each other: a laboratory result and the specimen that it was found in."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true
from pipelines.contracts.cdm import CdmTable
from pipelines.omop.conform import conform

DOMAIN_CONCEPT_IDS = {
    "condition_occurrence": 19,
    "drug_exposure": 13,
    "procedure_occurrence": 10,
    "measurement": 21,
    "observation": 27,
    "device_exposure": 17,
    "specimen": 36,
}
"""The concept of the domain whose facts a table holds."""

HAS_SPECIMEN_CONCEPT_ID, SPECIMEN_OF_CONCEPT_ID = 44818756, 44818854
"""The relationship from a result to its specimen, and the one back."""

SPECIMEN = "specimen"


def fact_relationship(results: DataFrame, specimens: DataFrame, table: CdmTable) -> DataFrame:
    """The fact_relationship table: two rows per result and specimen of one key and person, one in each direction.

    Both are events with their ids (`numbered_events`): `results` name a specimen by `specimen_key`, which is the `key` of
    `specimens`.
    """
    taken = specimens.where(F.col("_table") == SPECIMEN)
    named = taken.select(F.col("key").alias("specimen_key"), "person_id", F.col("_id").alias("_specimen_id"))
    pairs = results.join(named, on=["specimen_key", "person_id"], how="inner")
    # Both directions of a pair come from one row, so that the pairs are found once.
    directed = pairs.withColumn("_is_back", F.explode(F.array(F.lit(False), F.lit(True))))
    result = _domain(F.col("_table")), F.col("_id")
    specimen = F.lit(DOMAIN_CONCEPT_IDS[SPECIMEN]), F.col("_specimen_id")
    values = {
        "domain_concept_id_1": _either(specimen[0], result[0]),
        "fact_id_1": _either(specimen[1], result[1]),
        "domain_concept_id_2": _either(result[0], specimen[0]),
        "fact_id_2": _either(result[1], specimen[1]),
        "relationship_concept_id": _either(F.lit(SPECIMEN_OF_CONCEPT_ID), F.lit(HAS_SPECIMEN_CONCEPT_ID)),
    }
    return conform(directed, values, table)


def _either(back: Column, there: Column) -> Column:
    """One value for the way back, from the specimen to the result, and another for the way there."""
    return F.when(F.col("_is_back"), back.cast("bigint")).otherwise(there.cast("bigint"))


def _domain(event_table: Column) -> Column:
    return first_true((event_table == name, F.lit(concept)) for name, concept in DOMAIN_CONCEPT_IDS.items())
