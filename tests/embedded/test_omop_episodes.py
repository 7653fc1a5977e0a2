"""Episodes of care: how each ends, and what belongs to it."""

from datetime import date, datetime
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.ids import COLLISIONS_SCHEMA
from pipelines.contracts.cdm import cdm_tables
from pipelines.mapping.compile import target_schema
from pipelines.mapping.spec import Target
from pipelines.omop.codes import CODE_MAP_SCHEMA
from pipelines.omop.episodes import (
    EPISODES_SCHEMA,
    NEWEST_MONTHS_SCHEMA,
    episode,
    episode_event,
    episode_ids,
    episodes,
    links_of,
)
from vocab.athena import TABLES
from vocab.schemas import ddl_of

REFERRAL, DEPRESSION, REFERRAL_RECORD = 2_000_000_301, 440383, 32842
ANNA, BEN = 101, 102
FIELD_OF_VISITS, FIELD_OF_CONDITIONS, OTHER = 2_000_099_991, 2_000_099_992, 2_000_099_993
"""Concepts of fields, of this test only."""

LINKS = "episode_key string, person_id bigint, event_id bigint"


def frame_of(session: SparkSession, schema: dict[str, str], rows: list[dict[str, Any]]) -> DataFrame:
    columns = ", ".join(f"{name} {kind}" for name, kind in schema.items())
    return session.createDataFrame([tuple(row.get(name) for name in schema) for row in rows], columns)


def made(session: SparkSession, *rows: dict[str, Any], collisions: tuple[dict[str, Any], ...] = ()) -> DataFrame:
    """The episodes of mapped rows that are Anna's referrals unless they say otherwise."""
    common: dict[str, Any] = {"person_id": ANNA, "concept_concept_id": REFERRAL, "type_concept_id": REFERRAL_RECORD}
    common |= {"_source": "mental_health", "_provider": "RX1", "_entity": "referral"}
    mapped = frame_of(session, target_schema(Target.EPISODE), [common | row for row in rows])
    concept_map = [("NHS MHSDS Referral Reason", "04", 0, 0, DEPRESSION, "Condition", None, "local")]
    known = session.createDataFrame(concept_map, ", ".join(f"{name} {kind}" for name, kind in CODE_MAP_SCHEMA.items()))
    died = session.createDataFrame([(BEN, date(2024, 5, 1))], "person_id bigint, death_date date")
    newest = session.createDataFrame([("mental_health", "RX1", "referral", date(2024, 6, 1))], ddl_of(NEWEST_MONTHS_SCHEMA))
    return episodes(mapped, known, frame_of(session, COLLISIONS_SCHEMA, list(collisions)), died, newest)


@pytest.mark.parametrize(
    ("given", "end_date", "end_datetime", "rule"),
    [
        ({}, None, None, "open"),
        ({"end_date": date(2024, 6, 3)}, date(2024, 6, 3), None, "delivered"),
        (
            {"end_date": date(2024, 6, 3), "end_datetime": datetime(2024, 6, 3, 16)},
            date(2024, 6, 3),
            datetime(2024, 6, 3, 16),
            "delivered",
        ),
        ({"end_date": date(2024, 4, 2), "end_datetime": datetime(2024, 4, 2)}, date(2024, 4, 2), None, "delivered"),
        ({"end_date": date(2024, 4, 1), "end_datetime": datetime(2024, 4, 1, 16)}, date(2024, 4, 2), None, "before_start"),
        ({"person_id": BEN}, date(2024, 5, 1), None, "died"),
        ({"person_id": BEN, "_flagged": "end_after_extract"}, date(2024, 5, 1), None, "died"),
        ({"person_id": BEN, "end_date": date(2024, 6, 3)}, date(2024, 6, 3), None, "delivered"),
        ({"person_id": BEN, "start_date": date(2024, 6, 3)}, None, None, "open"),  # it began after the death
        ({"open_until": date(2024, 5, 31)}, date(2024, 5, 31), None, "last_submission"),
        ({"open_until": date(2024, 6, 30)}, None, None, "open"),
        ({"open_until": date(2024, 5, 31), "_provider": "RX2"}, None, None, "open"),  # which submitted nothing newer
        ({"open_until": date(2024, 5, 31), "_entity": "mha_period"}, None, None, "open"),  # of which nothing newer came
        ({"open_until": date(2024, 5, 31), "end_date": date(2024, 6, 3)}, date(2024, 6, 3), None, "delivered"),
        ({"open_until": date(2024, 3, 31)}, date(2024, 4, 2), None, "last_submission"),
        ({"person_id": BEN, "open_until": date(2024, 4, 30)}, date(2024, 4, 30), None, "last_submission"),
        ({"person_id": BEN, "open_until": date(2024, 5, 31)}, date(2024, 5, 1), None, "died"),
    ],
)
def test_the_end_of_an_episode_is_as_delivered_unless_it_lies_before_the_start(
    sail: SparkSession, given: dict[str, Any], end_date: date | None, end_datetime: datetime | None, rule: str
) -> None:
    start = {"key": "r", "start_date": date(2024, 4, 2), "start_datetime": datetime(2024, 4, 2, 9, 30)}
    (row,) = made(sail, start | given).collect()
    assert (row["end_date"], row["end_datetime"], row["end_rule"]) == (end_date, end_datetime, rule)
    assert row["start_datetime"] == datetime(2024, 4, 2, 9, 30)


def test_what_an_episode_is_about_is_looked_up(sail: SparkSession) -> None:
    reason = {"object_vocabulary": "NHS MHSDS Referral Reason", "object_code": "04", "object_source_value": "04"}
    rows = made(sail, {"key": "a", "source_value": "04"} | reason, {"key": "b"} | reason | {"object_code": "99"}, {"key": "c"})
    found = {row["key"]: (row["concept_id"], row["object_concept_id"], row["source_value"]) for row in rows.collect()}
    assert found == {"a": (REFERRAL, DEPRESSION, "04"), "b": (REFERRAL, 0, None), "c": (REFERRAL, 0, None)}


HASH_OF_R = -3438145299073893278
"""xxhash64 of the text `r`."""


def test_an_episode_whose_id_another_has_takes_the_reassigned_id(sail: SparkSession) -> None:
    (before,) = made(sail, {"key": "r"}).collect()
    (drawn,) = episode_ids(frame_of(sail, {"key": "string"}, [{"key": "r"}])).collect()
    assert before["id"] == drawn["id"]
    collision = {"_key": "1:r", "_key_hash": HASH_OF_R, "collided_id": before["id"], "reassigned_id": 7}
    (after,) = made(sail, {"key": "r"}, collisions=(collision,)).collect()
    assert after["id"] == 7


def test_the_table_has_the_columns_of_the_cdm(sail: SparkSession) -> None:
    given = {"key": "r", "_rule": "mental_health_referral", "_row_key": "r", "start_date": date(2024, 4, 2)}
    (row,) = episode(made(sail, given), cdm_tables("5.4")["episode"]).collect()
    assert row["episode_id"] == made(sail, given).collect()[0]["id"]
    assert (row["person_id"], row["episode_concept_id"], row["episode_type_concept_id"]) == (ANNA, REFERRAL, REFERRAL_RECORD)
    assert (row["_source"], row["_rule"], row["_row_key"]) == ("mental_health", "mental_health_referral", "r")


def concepts(session: SparkSession) -> DataFrame:
    """A vocabulary with the fields of two tables, and look-alikes that are none."""
    common = {"vocabulary_id": "CDM", "concept_class_id": "Field", "standard_concept": "S"}
    visits, conditions = "visit_occurrence.visit_occurrence_id", "condition_occurrence.condition_occurrence_id"
    rows = [
        {"concept_id": FIELD_OF_VISITS, "concept_name": visits},
        {"concept_id": FIELD_OF_CONDITIONS, "concept_name": conditions.upper()},
        {"concept_id": OTHER, "concept_name": visits, "invalid_reason": "D"},
        {"concept_id": OTHER + 1, "concept_name": visits, "concept_class_id": "Table"},
        {"concept_id": OTHER + 2, "concept_name": "observation.observation_id", "standard_concept": None},
        {"concept_id": OTHER + 3, "concept_name": "observation.observation_id", "vocabulary_id": "Else"},
    ]
    return frame_of(session, TABLES["CONCEPT"], [common | row for row in rows])


def test_events_are_linked_by_key_and_person_and_name_the_field_of_their_id(sail: SparkSession) -> None:
    stored = frame_of(
        sail, EPISODES_SCHEMA, [{"key": "r", "id": 1, "person_id": ANNA}, {"key": "q", "id": 2, "person_id": BEN}]
    )
    visits = sail.createDataFrame([("r", ANNA, 11), ("r", BEN, 12), ("gone", ANNA, 13), (None, ANNA, 14)], LINKS)
    events = sail.createDataFrame(
        [("r", ANNA, 21, "condition_occurrence"), ("q", BEN, 22, "observation")], f"{LINKS}, _table string"
    )
    links = (
        links_of(visits, F.lit("visit_occurrence"), F.col("event_id")),
        links_of(events, F.col("_table"), F.col("event_id")),
    )
    rows = episode_event(stored, links, concepts(sail), cdm_tables("5.4")["episode_event"]).collect()
    assert sorted(tuple(row) for row in rows) == [(1, 11, FIELD_OF_VISITS), (1, 21, FIELD_OF_CONDITIONS), (2, 22, 0)]
