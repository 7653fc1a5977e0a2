"""Episodes of care: for how long a service looked after a person, as its source states it, and what happened meanwhile.

A source states an episode as a record of its own, such as a referral from receipt to discharge. Visits and events belong to it
when they carry its key; nothing is derived from dates.
"""

from collections.abc import Iterable, Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import is_true
from pipelines.columns.frames import union_all
from pipelines.columns.ids import omop_id, without_collisions
from pipelines.contracts.cdm import CdmTable
from pipelines.mapping.plausibility import Check
from pipelines.omop.codes import with_concepts
from pipelines.omop.conform import conform

EPISODES_SCHEMA = {
    "key": "string",
    "id": "bigint",
    "person_id": "bigint",
    "concept_id": "bigint",
    "object_concept_id": "bigint",
    "start_date": "date",
    "start_datetime": "timestamp",
    "end_date": "date",
    "end_datetime": "timestamp",
    "end_rule": "string",
    "type_concept_id": "bigint",
    "source_value": "string",
    "source_concept_id": "bigint",
    "_source": "string",
    "_entity": "string",
    "_rule": "string",
    "_row_key": "string",
}
"""One row per episode with its id. `end_rule`: delivered, open (no end is known), died, last_submission, before_start or
after_extract."""

NEWEST_MONTHS_SCHEMA = {"_source": "string", "_provider": "string", "_entity": "string", "_newest_month": "date"}
"""One row per source, provider and entity: the first day of the newest month that was submitted with a file of the entity."""

SUBMITTED_BY = ("_source", "_provider", "_entity")
"""What finds the newest month of a row."""

EPISODE_KEY = ("key",)
"""What names an episode: its key in the source."""

CDM_VOCABULARY, FIELD_CLASS = "CDM", "Field"
"""Where Athena keeps a concept for each field of the CDM, named `table.field`."""

_LINKS = ("episode_key", "person_id", "field", "event_id")


def episode_ids(episode_rows: DataFrame) -> DataFrame:
    """EPISODE_KEY and `id` of every episode."""
    return episode_rows.select("key", _episode_id().alias("id"))


def _episode_id() -> Column:
    return omop_id(F.lit("episode"), F.col("key"))


def episodes(
    episode_rows: DataFrame, concept_map: DataFrame, collisions: DataFrame, deaths: DataFrame, newest_months: DataFrame
) -> DataFrame:
    """One row per episode (EPISODES_SCHEMA) from the rows of Target.EPISODE: concepts looked up, end decided, id given.

    An end before the start is not believed: the episode ends on the day it begins, and `end_rule` says so; nor is one after the
    extract: the episode has none. An episode without an end is open until its source states one, the person dies, or a newer
    submission no longer has it: then it ends with the last that has (`open_until`). `deaths` has `person_id` and `death_date`,
    one row a person, `newest_months` is NEWEST_MONTHS_SCHEMA.
    """
    died = F.broadcast(deaths.select("person_id", F.col("death_date").alias("_died")))
    rows = episode_rows.join(died, on="person_id", how="left")
    rows = rows.join(F.broadcast(newest_months), on=list(SUBMITTED_BY), how="left")
    coded = with_concepts(rows, ("concept", "object"), concept_map)
    unique = without_collisions(coded.withColumn("id", _episode_id()), "id", EPISODE_KEY, collisions)
    is_backwards = is_true(F.col("end_date") < F.col("start_date"))
    has_no_end = F.col("end_date").isNull()
    death = F.when(has_no_end & (F.col("_died") >= F.col("start_date")), F.col("_died"))
    is_gone = has_no_end & (F.col("open_until") < F.col("_newest_month"))
    last_submission = F.when(is_gone, F.greatest("start_date", "open_until"))
    is_later = F.coalesce(F.col("end_datetime") >= F.col("start_datetime"), F.lit(True))
    values = {
        "concept_id": F.coalesce(F.col("concept_target"), F.lit(0)),
        "object_concept_id": F.coalesce(F.col("object_target"), F.lit(0)),
        "end_date": F.when(is_backwards, F.col("start_date")).otherwise(
            F.coalesce(F.col("end_date"), F.least(death, last_submission))
        ),
        # Of an end before the start on one day only the day is believed.
        "end_datetime": F.when(~is_backwards & is_later, F.col("end_datetime")),
        "end_rule": F.when(death <= F.coalesce(last_submission, death), F.lit("died"))
        .when(is_gone, F.lit("last_submission"))
        .when(F.col("_flagged") == str(Check.END_AFTER_EXTRACT), F.lit("after_extract"))
        .when(is_backwards, F.lit("before_start"))
        .when(F.col("end_date").isNull(), F.lit("open"))
        .otherwise(F.lit("delivered")),
        "source_value": F.coalesce(F.col("source_value"), F.col("concept_source_value")),
        "source_concept_id": F.coalesce(F.col("concept_source_concept"), F.lit(0)),
    }
    return unique.select(*[values.get(name, F.col(name)).cast(kind).alias(name) for name, kind in EPISODES_SCHEMA.items()])


def episode(stored: DataFrame, table: CdmTable) -> DataFrame:
    """The episode table from the stored episodes."""
    parts = ("concept_id", "object_concept_id", "start_date", "start_datetime", "end_date", "end_datetime")
    values = {f"episode_{name}": F.col(name) for name in (*parts, "type_concept_id", "source_value", "source_concept_id")}
    same = ("person_id", "_source", "_rule", "_row_key")
    own = {"episode_id": F.col("id"), "_end_rule": F.col("end_rule")}
    return conform(stored, values | own | {name: F.col(name) for name in same}, table)


def links_of(rows: DataFrame, table: Column, event_id: Column) -> DataFrame:
    """The rows with an episode's key: `episode_key`, `person_id`, `event_id`, and `field`, the key that the id is of."""
    columns = {"field": F.concat(table, F.lit("."), table, F.lit("_id")), "event_id": event_id}
    return rows.select(*[columns.get(name, F.col(name)).alias(name) for name in _LINKS])


def episode_event(stored: DataFrame, links: Iterable[DataFrame], concepts: DataFrame, table: CdmTable) -> DataFrame:
    """The episode_event table: one row per visit or event that carries the key of an episode of the same person.

    `links` come from `links_of`. `concepts` is CONCEPT: of the concept of a field the vocabulary has to know, or it is 0.
    """
    keys = stored.select(F.col("key").alias("episode_key"), "person_id", F.col("id").alias("episode_id"))
    linked = union_all(links).join(keys, on=["episode_key", "person_id"], how="inner")
    named = linked.join(F.broadcast(_field_concepts(concepts)), on="field", how="left")
    values: Mapping[str, Column] = {
        "episode_id": F.col("episode_id"),
        "event_id": F.col("event_id"),
        "episode_event_field_concept_id": F.coalesce(F.col("field_concept_id"), F.lit(0)),
    }
    return conform(named, values, table)


def _field_concepts(concepts: DataFrame) -> DataFrame:
    """`field` and `field_concept_id` of the fields that the vocabulary has a standard concept for."""
    is_field = (F.col("vocabulary_id") == CDM_VOCABULARY) & (F.col("concept_class_id") == FIELD_CLASS)
    is_usable = (F.col("standard_concept") == "S") & F.col("invalid_reason").isNull()
    named = concepts.where(is_field & is_usable).select(F.lower("concept_name").alias("field"), "concept_id")
    return named.groupBy("field").agg(F.min("concept_id").alias("field_concept_id"))
