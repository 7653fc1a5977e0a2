"""The same fact from two recorders: which rows are linked, to which, and how surely. Cases written out."""

from datetime import date, datetime
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.cdm import cdm_tables, delta_schema
from pipelines.contracts.derived import SAME_FACT
from pipelines.omop.same_facts import RULES, same_fact

SODIUM, PULSE, ASPIRIN = 3019550, 3027018, 1112807
ASTHMA, STROKE, PAIN, SCAN, CANNULA = 317009, 381316, 77670, 4013636, 4052413
MMOL_L, PER_MINUTE = 8753, 8541
NEBULIZER, ALLERGY, SMOKER = 4219814, 43530807, 4298794
GIVEN, ORDERED, ISSUED = 32818, 32838, 32839
MONDAY, TUESDAY = date(2025, 3, 3), date(2025, 3, 4)
MORNING, NOON = datetime(2025, 3, 3, 8, 30), datetime(2025, 3, 3, 12)

STARTS = {
    "condition_occurrence": ("condition", "condition_start"),
    "device_exposure": ("device", "device_exposure_start"),
    "drug_exposure": ("drug", "drug_exposure_start"),
    "measurement": ("measurement", "measurement"),
    "observation": ("observation", "observation"),
    "procedure_occurrence": ("procedure", "procedure"),
}


def event(table: str, event_id: int, source: str, concept: int, at: date | datetime = MONDAY, **more: Any) -> dict[str, Any]:
    """A row of an event table, coded unless it says otherwise, with a time if `at` has one. The source may be `gp/A`."""
    prefix, start = STARTS[table]
    moment = {f"{start}_datetime": at} if isinstance(at, datetime) else {}
    return {
        f"{table}_id": event_id,
        "person_id": 1,
        f"{prefix}_concept_id": concept,
        f"{start}_date": at.date() if isinstance(at, datetime) else at,
        "_evidence": "coded",
        "_source": source.partition("/")[0],
        "_recorder": source.partition("/")[2] or "RXN",
        **moment,
        **more,
    }


def result(event_id: int, source: str, number: float | None, at: date | datetime = MONDAY, **more: Any) -> dict[str, Any]:
    """A sodium of the laboratory."""
    said = {"value_as_number": number, "unit_concept_id": MMOL_L, "_evidence": "laboratory"}
    return event("measurement", event_id, source, SODIUM, at, **(said | more))


def pulse(event_id: int, source: str, at: date | datetime = MONDAY) -> dict[str, Any]:
    """A pulse of 72."""
    return event("measurement", event_id, source, PULSE, at, value_as_number=72.0, unit_concept_id=PER_MINUTE)


def linked(session: SparkSession, **given: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The rows of same_fact without the person, in order."""
    frames = {name: frame_of(session, name, given.get(name, [])) for name in RULES}
    made = same_fact(frames, SAME_FACT)
    assert made.dtypes == list(SAME_FACT.schema.items())
    assert {row.person_id for row in made.collect()} <= {1}
    return sorted(tuple(row)[1:] for row in made.collect())


def frame_of(session: SparkSession, table: str, rows: list[dict[str, Any]]) -> DataFrame:
    schema = delta_schema(cdm_tables("5.4")[table])
    ddl = ", ".join(f"{name} {kind}" for name, kind in schema.items())
    return session.createDataFrame([tuple(row.get(name) for name in schema) for row in rows], ddl)


SAME_RESULTS = {
    "laboratory and practice": ([result(1, "acute", 140.0), result(2, "gp", 140.0)], [(2, 1, "high")]),
    "the one with a time stands": ([result(1, "acute", 140.0), result(2, "gp", 140.0, NOON)], [(1, 2, "high")]),
    "taken and reported": ([result(1, "acute", 140.0, MORNING), result(2, "gp", 140.0, NOON)], [(2, 1, "medium")]),
    "one of them of a laboratory": (
        [result(1, "acute", 140.0), result(2, "gp", 140.0, _evidence="coded")],
        [(2, 1, "high")],
    ),
    "one source only": ([result(1, "acute", 140.0), result(2, "acute", 140.0)], []),
    "another value": ([result(1, "acute", 140.0), result(2, "gp", 141.0)], []),
    "another day": ([result(1, "acute", 140.0), result(2, "gp", 140.0, TUESDAY)], []),
    "another unit": ([result(1, "acute", 140.0), result(2, "gp", 140.0, unit_concept_id=None)], []),
    "another operator": ([result(1, "acute", 5.0, operator_concept_id=4171756), result(2, "gp", 5.0)], []),
    "another person": ([result(1, "acute", 140.0), result(2, "gp", 140.0, person_id=2)], []),
    "no value": ([result(1, "acute", None), result(2, "gp", None)], []),
    "value concept 0": (
        [result(n, source, None, value_as_concept_id=0) for n, source in ((1, "acute"), (2, "gp"))],
        [],
    ),
    "the same category": (
        [result(n, source, None, value_as_concept_id=9191) for n, source in ((1, "acute"), (2, "gp"))],
        [(2, 1, "high")],
    ),
    "no concept": (
        [result(n, source, 140.0, measurement_concept_id=0) for n, source in ((1, "acute"), (2, "gp"))],
        [],
    ),
    "known to the month": ([result(1, "acute", 140.0), result(2, "gp", 140.0, _date_precision="month")], []),
    "known to the month by both": (
        [result(n, practice, 140.0, _date_precision="month") for n, practice in ((1, "gp/A"), (2, "gp/B"))],
        [(2, 1, "high")],
    ),
    "known to the day": ([result(1, "acute", 140.0), result(2, "gp", 140.0, _date_precision="day")], [(2, 1, "high")]),
    "three sources": (
        [result(1, "acute", 140.0), result(2, "gp", 140.0), result(3, "community", 140.0)],
        [(2, 1, "high"), (3, 1, "high")],
    ),
    "copied from practice to practice": ([result(1, "gp/B", 140.0), result(2, "gp/A", 140.0)], [(1, 2, "high")]),
    "copied twice, and of a hospital": (
        [result(n, place, 140.0) for n, place in ((1, "gp/A"), (2, "gp/B"), (3, "gp/C"), (4, "acute"))],
        [(1, 4, "high"), (2, 4, "high"), (3, 4, "high")],
    ),
    "two hospitals at two times": ([result(1, "acute/A", 140.0, MORNING), result(2, "acute/B", 140.0, NOON)], [(2, 1, "low")]),
    "one trust in two sources": ([result(1, "acute/A", 140.0), result(2, "community/A", 140.0)], [(2, 1, "high")]),
    "one practice": ([result(1, "gp/A", 140.0), result(2, "gp/A", 140.0)], []),
    "twice in both": (
        [
            result(1, "acute", 140.0, MORNING),
            result(2, "acute", 140.0, NOON),
            result(3, "gp", 140.0, MORNING),
            result(4, "gp", 140.0, NOON),
        ],
        [(3, 1, "high"), (4, 2, "high")],
    ),
    "twice in one of them": (
        [result(1, "acute", 140.0, MORNING), result(2, "gp", 140.0, MORNING), result(3, "gp", 140.0, NOON)],
        [(2, 1, "high")],
    ),
    "a reading at one time": ([pulse(1, "ambulance", MORNING), pulse(2, "acute", MORNING)], [(1, 2, "high")]),
    "a reading at two times": ([pulse(1, "ambulance", MORNING), pulse(2, "acute", NOON)], [(2, 1, "low")]),
    "a reading without a time": ([pulse(1, "ambulance", MORNING), pulse(2, "gp")], [(2, 1, "medium")]),
}


def test_results_of_two_recorders_are_linked_where_all_that_they_say_is_the_same(sail: SparkSession) -> None:
    """All cases at once: one person each, who is also the number in front of the ids."""
    people = {name: place for place, name in enumerate(SAME_RESULTS, start=1)}
    rows, expected = [], []
    for name, (given, links) in SAME_RESULTS.items():
        for row in given:
            person = 100 * people[name] + row["person_id"]
            rows.append(row | {"person_id": person, "measurement_id": 100 * people[name] + row["measurement_id"]})
        ids = 100 * people[name]
        expected += [(ids + 1, "measurement", ids + event, ids + other, "same_result", how) for event, other, how in links]
    frames = {name: frame_of(sail, name, rows if name == "measurement" else []) for name in RULES}
    found = sorted(tuple(row) for row in same_fact(frames, SAME_FACT).collect())
    assert found == sorted(expected)


def test_other_events_are_linked_by_concept_and_day_and_what_else_they_say(sail: SparkSession) -> None:
    conditions = [
        event("condition_occurrence", 11, "gp", ASTHMA),
        event("condition_occurrence", 12, "acute", ASTHMA),
        event("condition_occurrence", 13, "ambulance", STROKE, _evidence="suspected"),
        event("condition_occurrence", 14, "acute", STROKE),
        event("condition_occurrence", 15, "ambulance", PAIN, MORNING),
        event("condition_occurrence", 16, "acute", PAIN, NOON),
    ]
    procedures = [
        event("procedure_occurrence", 11, "gp", SCAN),
        event("procedure_occurrence", 12, "acute", SCAN, NOON),
        event("procedure_occurrence", 13, "ambulance", CANNULA, MORNING),
        event("procedure_occurrence", 14, "acute", CANNULA, NOON),
    ]
    drugs = [
        event("drug_exposure", 21, "ambulance", ASPIRIN, MORNING, drug_type_concept_id=GIVEN),
        event("drug_exposure", 22, "acute", ASPIRIN, MORNING, drug_type_concept_id=GIVEN),
        event("drug_exposure", 23, "gp", ASPIRIN, drug_type_concept_id=ORDERED),
    ]
    devices = [
        event("device_exposure", 31, "gp/A", NEBULIZER, device_type_concept_id=ISSUED),
        event("device_exposure", 32, "gp/B", NEBULIZER, device_type_concept_id=ISSUED),
        event("device_exposure", 33, "gp/C", NEBULIZER, device_type_concept_id=GIVEN),
    ]
    observations = [
        event("observation", 41, "gp/A", ALLERGY, value_as_concept_id=ASPIRIN),
        event("observation", 42, "gp/B", ALLERGY, value_as_concept_id=ASPIRIN),
        event("observation", 43, "gp/A", ALLERGY, value_as_concept_id=0),
        event("observation", 44, "gp/B", ALLERGY, value_as_concept_id=0),
        event("observation", 45, "gp/A", SMOKER),
        event("observation", 46, "gp/B", SMOKER),
        event("observation", 47, "gp/C", SMOKER, value_as_string="Urgent"),
        event("observation", 48, "mental_health", SMOKER, _evidence="reported"),
        event("observation", 49, "gp/A", SMOKER, qualifier_concept_id=5),
    ]
    found = linked(
        sail,
        condition_occurrence=conditions,
        procedure_occurrence=procedures,
        drug_exposure=drugs,
        device_exposure=devices,
        observation=observations,
    )
    assert found == [
        ("condition_occurrence", 11, 12, "same_code_same_day", "medium"),
        ("condition_occurrence", 13, 14, "same_code_same_day", "low"),
        ("condition_occurrence", 16, 15, "same_code_same_day", "medium"),
        ("device_exposure", 32, 31, "same_device_same_day", "medium"),
        ("drug_exposure", 21, 22, "same_drug_same_day", "high"),
        ("observation", 42, 41, "same_statement", "medium"),
        ("observation", 46, 45, "same_statement", "medium"),
        ("observation", 48, 45, "same_statement", "low"),
        ("procedure_occurrence", 11, 12, "same_code_same_day", "medium"),
        ("procedure_occurrence", 14, 13, "same_code_same_day", "low"),
    ]


@pytest.mark.parametrize("table", RULES)
def test_equal_ids_of_two_tables_are_not_compared(sail: SparkSession, table: str) -> None:
    given = {name: [event(name, 7, "gp", ASTHMA, value_as_number=1.0)] for name in RULES}
    given[table].append(event(table, 8, "acute", ASTHMA, value_as_number=1.0))
    assert [row[:3] for row in linked(sail, **given)] == [(table, 7, 8)]
