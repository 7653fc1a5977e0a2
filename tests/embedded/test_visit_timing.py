"""The milestones of a visit: which count, and how long after its start they were."""

from datetime import date, datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.derived import VISIT_TIMING
from pipelines.mapping.compile import target_schema
from pipelines.mapping.spec import Target
from pipelines.omop.visit_timing import visit_timing
from pipelines.omop.visits import VISITS_SCHEMA

EXTRACTED_ON = date(2024, 1, 2)


def frame_of(session: SparkSession, schema: dict[str, str], rows: list[dict[str, Any]]) -> DataFrame:
    columns = ", ".join(f"{name} {kind}" for name, kind in schema.items())
    return session.createDataFrame([tuple(row.get(name) for name in schema) for row in rows], columns)


def test_the_earliest_moment_counts_and_only_what_is_expected_may_be_to_come(sail: SparkSession) -> None:
    first = {
        "visit_key": "1",
        "person_id": 5,
        "priority": "C1",
        "arrived": datetime(2024, 1, 1, 8),
        "seen": datetime(2024, 1, 1, 9, 0, 30),
        "departed": datetime(2024, 1, 3),  # the day after the extract
        "discharge_planned": date(2030, 1, 1),
        "_extracted_on": EXTRACTED_ON,
    }
    again = {"visit_key": "1", "person_id": 5, "seen": datetime(2024, 1, 1, 8, 30), "_extracted_on": EXTRACTED_ON}
    of_no_visit = {"visit_key": "2", "person_id": 5, "seen": datetime(2024, 1, 1, 8, 30), "_extracted_on": EXTRACTED_ON}
    rows = frame_of(sail, target_schema(Target.VISIT_TIMING), [first, again, of_no_visit])
    started = {
        "key": "1",
        "id": 11,
        "person_id": 5,
        "start_date": date(2024, 1, 1),
        "start_datetime": datetime(2024, 1, 1, 8, 0, 30),
    }
    found = visit_timing(rows, frame_of(sail, VISITS_SCHEMA, [started]), VISIT_TIMING).collect()
    assert {(row.visit_occurrence_id, row.person_id) for row in found} == {(11, 5)}
    assert sorted((row.milestone, row.minutes_since_start, row.is_expected, row.priority_source_value) for row in found) == [
        ("arrived", -0.5, "N", "C1"),
        ("discharge_planned", None, "Y", "C1"),
        ("seen", 29.5, "N", "C1"),
    ]


MOMENTS = {
    "call_connected": (datetime(1970, 1, 1), None),  # a filler
    "clock_started": (datetime(2024, 6, 10, 0, 1), -1439.0),  # the day before
    "call_coded": (datetime(2024, 6, 9, 23, 59), None),
    "vehicle_allocated": (datetime(2023, 6, 11, 0, 5), None),  # the year before
    "at_scene": (datetime(2025, 6, 11, 0, 15), None),  # the year after
    "left_scene": (datetime(2024, 6, 18, 0, 0), 10080.0),  # seven days later
    "handed_over": (datetime(2024, 6, 19, 0, 0), None),
}
"""The moments of a visit that starts on 11 June at midnight, and how many minutes from its start they are.

None where they are no moments of it.
"""


def test_a_moment_far_from_the_start_of_its_visit_is_none_of_it(sail: SparkSession) -> None:
    common = {"visit_key": "1", "person_id": 5, "_extracted_on": date(2026, 1, 5)}
    wrong = common | {name: moment for name, (moment, _) in MOMENTS.items()} | {"discharge_planned": date(2030, 1, 1)}
    right = common | {"vehicle_allocated": datetime(2024, 6, 11, 0, 5)}  # another record of the visit
    rows = frame_of(sail, target_schema(Target.VISIT_TIMING), [wrong, right])
    starts = {"key": "1", "id": 11, "person_id": 5, "start_date": date(2024, 6, 11), "start_datetime": datetime(2024, 6, 11)}
    found = visit_timing(rows, frame_of(sail, VISITS_SCHEMA, [starts]), VISIT_TIMING).collect()
    assert {row.milestone: row.minutes_since_start for row in found} == {
        "clock_started": -1439.0,
        "vehicle_allocated": 5.0,
        "left_scene": 10080.0,
        "discharge_planned": None,
    }
