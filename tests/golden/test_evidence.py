"""What must hold of the evidence of all golden patients, whatever their rules."""

from collections import Counter
from typing import Any

import pytest

from pipelines.contracts.cdm import ROUTED_TABLES
from pipelines.mapping.spec import Target
from tests.golden.cases import golden_mappings
from tests.golden.lakehouse import Published

SUSPECTED, PRELIMINARY = "suspected", 32899
PROBLEM_LIST, LISTED = "problem_list", 32840
HISTORY_OF_EVENT, FAMILY_HISTORY = 1340204, 4167217
REPORTED_COMPLAINT, REPORTED_BY_DISPATCH = 3019237, 2000000331

GRADES = {"reported", "dispatched", "suspected", "coded", "problem_list", "laboratory", "history"}

Row = dict[str, Any]


@pytest.fixture(scope="module")
def events(published: Published) -> dict[str, list[Row]]:
    """The rows of every event table."""
    return {table: published.tables[table] for table in ROUTED_TABLES if table in published.tables}


def test_every_event_has_exactly_one_row_of_evidence(published: Published, events: dict[str, list[Row]]) -> None:
    stated = Counter(
        (row["person_id"], row["event_table"], row["event_id"], row["evidence"]) for row in published.tables["event_evidence"]
    )
    expected = Counter(
        (row["person_id"], table, row[f"{table}_id"], row["_evidence"]) for table, rows in events.items() for row in rows
    )
    of_these = Counter({key: count for key, count in stated.items() if key[1] in events})
    assert of_these == expected
    assert set(stated.values()) == {1}
    assert {evidence for _, _, _, evidence in stated} == GRADES
    assert {row["date_precision"] for row in published.tables["event_evidence"]} == {"day", "month", "year"}


def test_the_standard_fields_say_what_the_grade_says(events: dict[str, list[Row]]) -> None:
    conditions, observations = events["condition_occurrence"], events["observation"]
    assert all((row["_evidence"] == SUSPECTED) == (row["condition_status_concept_id"] == PRELIMINARY) for row in conditions)
    assert all((row["_evidence"] == PROBLEM_LIST) == (row["condition_type_concept_id"] == LISTED) for row in conditions)
    assert not [row for row in conditions if row["_evidence"] in ("dispatched", "history")]
    assert not [row for row in conditions if row["condition_status_concept_id"] == 0]
    by_concept = {
        HISTORY_OF_EVENT: "history",
        FAMILY_HISTORY: "history",
        REPORTED_COMPLAINT: "reported",
        REPORTED_BY_DISPATCH: "dispatched",
    }
    found = {(row["observation_concept_id"], row["_evidence"]) for row in observations}
    assert {pair for pair in found if pair[0] in by_concept} == set(by_concept.items())


def test_an_era_has_a_condition_that_is_more_than_suspected(published: Published) -> None:
    known = {
        (row["person_id"], row["condition_concept_id"])
        for row in published.tables["condition_occurrence"]
        if row["_evidence"] != SUSPECTED and row["condition_concept_id"]
    }
    eras = published.tables["condition_era"]
    assert {(row["person_id"], row["condition_concept_id"]) for row in eras} == known
    counted = sum(row["condition_occurrence_count"] for row in eras)
    conditions = published.tables["condition_occurrence"]
    assert counted == sum(row["_evidence"] != SUSPECTED and row["condition_concept_id"] != 0 for row in conditions)


def test_rules_of_complaints_calls_and_history_make_no_coded_events() -> None:
    grade = {
        rule.name: rule.grades for mapping in golden_mappings().values() for rule in mapping.rules if rule.to is Target.EVENT
    }
    said = [name for name in grade if any(word in name for word in ("complaint", "dispatch", "previous", "family_history"))]
    assert {name: [str(candidate) for candidate in grade[name]] for name in said} == {
        "acute_chief_complaint": ["reported"],
        "ambulance_chief_complaint": ["reported"],
        "ambulance_dispatch": ["dispatched"],
        "community_previous_diagnosis": ["history"],
        "gp_family_history": ["history"],
        "gp_family_history_code": ["history"],
        "mental_health_presenting_complaint": ["reported"],
        "mental_health_previous_diagnosis": ["history"],
    }
