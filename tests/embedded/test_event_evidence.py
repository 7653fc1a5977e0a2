"""How events are known, in the event tables and in the table that publishes it: cases written out, and one row per event."""

from typing import Any

from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.cdm import ROUTED_TABLES, cdm_tables, delta_schema
from pipelines.contracts.derived import EVENT_EVIDENCE
from pipelines.omop.events import CONCEPT_FIELDS
from pipelines.omop.evidence import event_evidence


def events_of(session: SparkSession, table: str, rows: list[dict[str, Any]]) -> DataFrame:
    schema = delta_schema(cdm_tables("5.4")[table])
    named = [{"person_id": 1, f"{table}_id": row.pop("id"), **row} for row in rows]
    ddl = ", ".join(f"{name} {kind}" for name, kind in schema.items())
    return session.createDataFrame([tuple(row.get(name) for name in schema) for row in named], ddl)


def test_every_event_has_one_row_with_its_grade_and_a_day_unless_said_otherwise(sail: SparkSession) -> None:
    given = {
        "condition_occurrence": [
            {"id": 11, "_evidence": "suspected"},
            {"id": 12, "_evidence": "problem_list", "_date_precision": "month", "_end_date_precision": "year"},
        ],
        "procedure_occurrence": [{"id": 11, "person_id": 2, "_evidence": "coded", "_date_precision": "year"}],
        "observation": [{"id": 13, "_evidence": "dispatched", "_date_precision": "day"}],
    }
    frames = {table: events_of(sail, table, given.get(table, [])) for table in CONCEPT_FIELDS}
    made = event_evidence(frames, EVENT_EVIDENCE)
    assert made.dtypes == list(EVENT_EVIDENCE.schema.items())
    assert sorted(map(tuple, made.collect()), key=str) == [
        (1, "condition_occurrence", 11, "suspected", "day", None),
        (1, "condition_occurrence", 12, "problem_list", "month", "year"),
        (1, "observation", 13, "dispatched", "day", None),
        (2, "procedure_occurrence", 11, "coded", "year", None),
    ]


def test_the_tables_that_have_evidence_are_those_that_events_are_routed_to() -> None:
    assert set(CONCEPT_FIELDS) == set(ROUTED_TABLES)
    for table in ROUTED_TABLES:
        assert {"_evidence", "_date_precision", "_end_date_precision"} <= set(delta_schema(cdm_tables("5.4")[table]))
