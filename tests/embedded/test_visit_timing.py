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
    started = {"key": "1", "id": 11, "person_id": 5, "start_datetime": datetime(2024, 1, 1, 8, 0, 30)}
    found = visit_timing(rows, frame_of(sail, VISITS_SCHEMA, [started]), VISIT_TIMING).collect()
    assert {(row.visit_occurrence_id, row.person_id) for row in found} == {(11, 5)}
    assert sorted((row.milestone, row.minutes_since_start, row.is_expected, row.priority_source_value) for row in found) == [
        ("arrived", -0.5, "N", "C1"),
        ("discharge_planned", None, "Y", "C1"),
        ("seen", 29.5, "N", "C1"),
    ]
