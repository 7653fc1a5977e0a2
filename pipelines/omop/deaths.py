"""Deaths: every delivered one, the one of each person that counts, and what is recorded after it."""

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.contracts.cdm import CdmTable
from pipelines.omop.codes import with_concepts
from pipelines.omop.conform import conform, priority

DEATHS_SCHEMA = {
    "person_id": "bigint",
    "death_date": "date",
    "death_datetime": "timestamp",
    "is_chosen": "boolean",
    "type_concept_id": "bigint",
    "cause_concept_id": "bigint",
    "cause_source_value": "string",
    "cause_source_concept_id": "bigint",
    "_source": "string",
    "_provider": "string",
    "_rule": "string",
    "_row_key": "string",
}
"""One row per delivered death. `is_chosen`: the death table has this one."""

DATED_TABLES = {
    "condition_occurrence": "condition_start_date",
    "device_exposure": "device_exposure_start_date",
    "drug_exposure": "drug_exposure_start_date",
    "measurement": "measurement_date",
    "observation": "observation_date",
    "procedure_occurrence": "procedure_date",
    "specimen": "specimen_date",
    "visit_occurrence": "visit_start_date",
    "visit_detail": "visit_detail_start_date",
}
"""The tables whose rows are looked at, each with the day on which a row starts."""


def deaths(death_rows: DataFrame, concept_map: DataFrame, sources: Sequence[str]) -> DataFrame:
    """Every delivered death (DEATHS_SCHEMA), of which one a person is chosen.

    That is the death of the source named first in `sources`; of several the one recorded last, where a source says when that
    was, then the latest, then one with a cause, then one with a time.
    """
    coded = with_concepts(death_rows, ("cause",), concept_map)
    order = (
        priority(sources),
        F.col("recorded_on").desc_nulls_last(),
        F.col("death_date").desc(),
        F.col("cause_source_value").isNull(),
        F.col("death_datetime").desc_nulls_last(),
        F.col("_row_key"),
        F.col("_rule"),
    )
    place = F.row_number().over(Window.partitionBy("person_id").orderBy(*order))
    values = {
        "is_chosen": place == 1,
        "cause_concept_id": F.col("cause_target"),
        "cause_source_concept_id": F.col("cause_source_concept"),
    }
    return coded.select(*[values.get(name, F.col(name)).cast(kind).alias(name) for name, kind in DEATHS_SCHEMA.items()])


def chosen_deaths(deaths: DataFrame) -> DataFrame:
    """The chosen death of each person who has died."""
    return deaths.where(F.col("is_chosen"))


def death(deaths: DataFrame, table: CdmTable) -> DataFrame:
    """The death table from the stored deaths: the chosen one of each person."""
    same = ("person_id", "death_date", "death_datetime", "cause_concept_id", "cause_source_value", "cause_source_concept_id")
    values = {name: F.col(name) for name in (*same, "_source", "_rule", "_row_key")}
    return conform(chosen_deaths(deaths), values | {"death_type_concept_id": F.col("type_concept_id")}, table)


def death_record(deaths: DataFrame, table: CdmTable) -> DataFrame:
    """The death_record table from the stored deaths: all of them, with where each comes from and whether it was chosen."""
    same = ("person_id", "death_date", "death_datetime", "cause_concept_id", "cause_source_value", "cause_source_concept_id")
    values = {name: F.col(name) for name in same} | {
        "death_type_concept_id": F.col("type_concept_id"),
        "source": F.col("_source"),
        "provider": F.col("_provider"),
        "mapping_rule": F.col("_rule"),
        "is_chosen": F.col("is_chosen").cast("bigint"),
    }
    return conform(deaths, values, table)


def event_after_death(tables: Mapping[str, DataFrame], deaths: DataFrame, table: CdmTable) -> DataFrame:
    """The event_after_death table: one row per row of `tables` (DATED_TABLES) that starts after the death of its person.

    `deaths` is the death table: one row a person.
    """
    dated = [
        frame.select(
            "person_id",
            F.lit(name).alias("event_table"),
            F.col(f"{name}_id").alias("event_id"),
            F.col(DATED_TABLES[name]).alias("event_date"),
        )
        for name, frame in tables.items()
    ]
    died = F.broadcast(deaths.select("person_id", "death_date"))
    late = union_all(dated).join(died, on="person_id", how="inner").where(F.col("event_date") > F.col("death_date"))
    days = F.datediff("event_date", "death_date")
    names = ("person_id", "event_table", "event_id", "event_date", "death_date")
    return conform(late, {name: F.col(name) for name in names} | {"days_after": days}, table)
