"""Continuous inpatient spells: which hospital provider spells are one stay, and what a readmission is."""

import re
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.derived import CONTINUOUS_INPATIENT_SPELL, CONTINUOUS_INPATIENT_SPELL_VISIT
from pipelines.omop.continuous_spells import continuous_spell_visits, continuous_spells
from pipelines.omop.visits import INPATIENT_VISIT_CONCEPT_ID, OUTPATIENT_VISIT_CONCEPT_ID, VISITS_SCHEMA

PROJECT = Path(__file__).parents[2]
FIRST_OF_MARCH = date(2024, 3, 1)


def stay(number: int, start: int, end: int, **values: Any) -> dict[str, Any]:
    """A provider spell from one day of March to another: by default an emergency from home, discharged there."""
    starts, ends = (FIRST_OF_MARCH + timedelta(days=day - 1) for day in (start, end))
    return {
        "key": str(number),
        "id": number,
        "person_id": 1,
        "concept_id": INPATIENT_VISIT_CONCEPT_ID,
        "start_date": starts,
        "start_datetime": datetime.combine(starts, time(10)),
        "end_date": ends,
        "end_datetime": datetime.combine(ends, time(9)),
        "end_rule": "delivered",
        "came_by": "21",
        "admitted_from_source_value": "19",
        "discharged_to_source_value": "19",
        "patient_classification": "1",
        "care_site_code": "RXN01",
    } | values


def frames(session: SparkSession, *rows: dict[str, Any]) -> tuple[DataFrame, DataFrame]:
    columns = ", ".join(f"{name} {kind}" for name, kind in VISITS_SCHEMA.items())
    visits = session.createDataFrame([tuple(row.get(name) for name in VISITS_SCHEMA) for row in rows], columns)
    links = continuous_spell_visits(visits, CONTINUOUS_INPATIENT_SPELL_VISIT)
    return links, continuous_spells(links, visits, CONTINUOUS_INPATIENT_SPELL)


def spells_of(session: SparkSession, *rows: dict[str, Any]) -> dict[int, tuple[int, int, str | None, int | None]]:
    """By visit: the id of its spell, its number there, what joined it and the days between."""
    links, _ = frames(session, *rows)
    return {
        row.visit_occurrence_id: (row.continuous_inpatient_spell_id, row.visit_number, row.joined_by, row.days_apart)
        for row in links.collect()
    }


TRANSFERRED = {"came_by": "81"}


@pytest.mark.parametrize(
    ("before", "after", "joined_by"),
    [
        ({}, {"came_by": "81"}, "admission_method"),
        ({}, {"came_by": "2b "}, "admission_method"),
        ({}, {"admitted_from_source_value": "49", "came_by": "12"}, "admission_source"),
        ({}, {"admitted_from_source_value": "87", "came_by": None}, "admission_source"),
        ({"discharged_to_source_value": "53"}, {}, "discharge_destination"),
        ({"discharged_to_source_value": "84"}, {"came_by": None, "admitted_from_source_value": None}, "discharge_destination"),
        ({"discharged_to_source_value": "51"}, {"admitted_from_source_value": "51"}, "admission_source"),
        # Home and back: an emergency, a readmission.
        ({}, {}, None),
        ({}, {"came_by": "2A"}, None),
        # By the provider's own emergency department, which is what code 51 means here.
        ({}, {"admitted_from_source_value": "51"}, None),
        # To and from places that are no hospital, or that nobody knows.
        ({"discharged_to_source_value": "54"}, {"admitted_from_source_value": "85"}, None),
        ({"discharged_to_source_value": "99"}, {"admitted_from_source_value": "98", "came_by": "99"}, None),
        # Regular attenders stand alone.
        ({"patient_classification": "3"}, TRANSFERRED, None),
        ({}, TRANSFERRED | {"patient_classification": "4"}, None),
        # Another person.
        ({}, TRANSFERRED | {"person_id": 2}, None),
    ],
)
def test_a_stay_goes_on_where_one_of_the_two_tells_of_a_transfer(
    sail: SparkSession, before: dict[str, Any], after: dict[str, Any], joined_by: str | None
) -> None:
    found = spells_of(sail, stay(1, 1, 5, **before), stay(2, 6, 9, **after))
    expected = (1, 2, joined_by, 1) if joined_by else (2, 1, None, None)
    assert found == {1: (1, 1, None, None), 2: expected}


@pytest.mark.parametrize(("start", "apart"), [(5, 0), (6, 1), (7, 2), (8, None), (3, -2)])
def test_it_goes_on_within_two_days_or_while_the_earlier_one_lasts(sail: SparkSession, start: int, apart: int | None) -> None:
    found = spells_of(sail, stay(1, 1, 5), stay(2, start, 12, **TRANSFERRED))
    assert found[2] == ((2, 1, None, None) if apart is None else (1, 2, "admission_method", apart))


def test_a_transfer_out_of_a_stay_that_goes_on_and_a_later_one_are_of_it(sail: SparkSession) -> None:
    """A ward keeps the bed while the patient is treated elsewhere, twice."""
    found = spells_of(sail, stay(1, 1, 28), stay(2, 4, 6, **TRANSFERRED), stay(3, 20, 22, **TRANSFERRED))
    assert found[3] == (1, 3, "admission_method", -8)


@pytest.mark.parametrize("time_unknown", [(1,), (2,), (1, 2), ()])
def test_a_transfer_on_the_day_of_the_admission_goes_on_from_it_also_without_times(
    sail: SparkSession, time_unknown: tuple[int, ...]
) -> None:
    def stays(*keys: str) -> list[dict[str, Any]]:
        both = [stay(1, 1, 1), stay(2, 1, 9, came_by="2b ") | {"start_datetime": datetime(2024, 3, 1, 16)}]
        unknown = [row | ({"start_datetime": None} if row["id"] in time_unknown else {}) for row in both]
        return [row | {"key": key} for row, key in zip(unknown, keys, strict=True)]

    for keys in (("a", "b"), ("b", "a")):
        _, spells = frames(sail, *stays(*keys))
        (row,) = spells.collect()
        assert (row.continuous_inpatient_spell_id, row.last_visit_occurrence_id, row.spell_end_date) == (1, 2, date(2024, 3, 9))
        # The time of the first day, where one of its visits has it.
        known = [
            moment for key, moment in ((1, datetime(2024, 3, 1, 10)), (2, datetime(2024, 3, 1, 16))) if key not in time_unknown
        ]
        assert row.spell_start_datetime == (min(known) if known else None)


def test_the_time_of_a_later_day_is_not_that_of_the_first(sail: SparkSession) -> None:
    first = stay(1, 1, 5, start_datetime=None, discharged_to_source_value="51")
    _, spells = frames(sail, first, stay(2, 5, 9, came_by="81", end_datetime=None))
    (row,) = spells.collect()
    assert (row.spell_start_date, row.spell_start_datetime) == (date(2024, 3, 1), None)
    assert (row.spell_end_date, row.spell_end_datetime) == (date(2024, 3, 9), None)


def test_what_is_no_hospital_spell_is_in_none(sail: SparkSession) -> None:
    assert spells_of(sail, stay(1, 1, 5, patient_classification=None)) == {}


def test_a_continuous_spell_says_when_it_was_and_how_many_took_part(sail: SparkSession) -> None:
    _, spells = frames(
        sail,
        stay(1, 1, 5, discharged_to_source_value="51"),
        stay(2, 5, 9, came_by="81", care_site_code="RX201"),
        stay(3, 15, 15, patient_classification="2", concept_id=OUTPATIENT_VISIT_CONCEPT_ID, came_by="12", start_datetime=None),
    )
    rows = {row.continuous_inpatient_spell_id: row for row in spells.collect()}
    assert rows[1].asDict() == {
        "continuous_inpatient_spell_id": 1,
        "person_id": 1,
        "spell_start_date": date(2024, 3, 1),
        "spell_start_datetime": datetime(2024, 3, 1, 10),
        "spell_end_date": date(2024, 3, 9),
        "spell_end_datetime": datetime(2024, 3, 9, 9),
        "first_visit_occurrence_id": 1,
        "last_visit_occurrence_id": 2,
        "number_of_visits": 2,
        "number_of_trusts": 2,
        "is_open": "N",
        "is_day_only": "N",
        "admission_method_source_value": "21",
    }
    assert (rows[3].spell_start_datetime, rows[3].is_day_only, rows[3].number_of_trusts) == (None, "Y", 1)


@pytest.mark.parametrize(
    ("stays", "is_day_only"),
    [
        ([stay(1, 1, 1, patient_classification="2")], "Y"),
        ([stay(1, 1, 1, patient_classification="2"), stay(2, 2, 2, patient_classification="2", **TRANSFERRED)], "Y"),
        ([stay(1, 1, 1, patient_classification="3")], "Y"),
        ([stay(1, 1, 2, patient_classification="2", concept_id=OUTPATIENT_VISIT_CONCEPT_ID)], "N"),
        ([stay(1, 1, 2, patient_classification="3", concept_id=OUTPATIENT_VISIT_CONCEPT_ID)], "N"),
        ([stay(1, 1, 1, patient_classification="2"), stay(2, 2, 3, **TRANSFERRED)], "N"),
        ([stay(1, 1, 1)], "N"),
        ([stay(1, 1, 1, patient_classification="8", concept_id=0)], "N"),
        ([stay(1, 1, 4, patient_classification="9", concept_id=0)], "N"),
    ],
)
def test_a_spell_is_of_a_day_only_if_every_visit_is_known_to_be(
    sail: SparkSession, stays: list[dict[str, Any]], is_day_only: str
) -> None:
    _, spells = frames(sail, *stays)
    assert [row.is_day_only for row in spells.collect()] == [is_day_only]


OPEN = {"end_rule": "open", "end_datetime": None}


@pytest.mark.parametrize(
    ("first", "second", "is_open", "last_day"),
    [
        (stay(1, 1, 5), stay(2, 5, 28, came_by="81", **OPEN), "Y", 28),
        # The first trust never sent its discharge: who went home from the second is not in the first.
        (stay(1, 1, 28, **OPEN), stay(2, 5, 9, came_by="81"), "N", 9),
        # Sent back to the first, which still has the patient.
        (stay(1, 1, 28, **OPEN), stay(2, 5, 9, came_by="81", discharged_to_source_value="53"), "Y", 28),
        # The earlier stay ends last.
        (stay(1, 1, 20), stay(2, 5, 9, came_by="81", discharged_to_source_value="53"), "N", 20),
    ],
)
def test_a_spell_is_open_while_the_patient_is_in_hospital(
    sail: SparkSession, first: dict[str, Any], second: dict[str, Any], is_open: str, last_day: int
) -> None:
    _, spells = frames(sail, first, second)
    (row,) = spells.collect()
    assert (row.is_open, row.spell_end_date) == (is_open, date(2024, 3, last_day))


def readmission_query() -> str:
    """The query of the conventions that finds emergency readmissions."""
    text = (PROJECT / "docs" / "conventions.md").read_text(encoding="utf-8")
    found = re.search(r"```sql\n(SELECT later\.continuous.*?)```", text, re.DOTALL)
    assert found
    return found[1]


def test_a_transfer_is_no_readmission(sail: SparkSession) -> None:
    _, spells = frames(
        sail,
        stay(1, 1, 5, discharged_to_source_value="51"),
        stay(2, 5, 9, came_by="81", care_site_code="RX201"),
        stay(3, 20, 22),  # eleven days after going home
        stay(4, 28, 29, came_by="12"),  # planned
        stay(5, 28, 31, person_id=2),
    )
    spells.createOrReplaceTempView("continuous_inpatient_spell")
    assert [tuple(row) for row in sail.sql(readmission_query()).collect()] == [(3, 1)]


def test_readmissions_are_within_thirty_days_of_a_stay_that_has_ended(sail: SparkSession) -> None:
    day_case = {"patient_classification": "2", "concept_id": OUTPATIENT_VISIT_CONCEPT_ID}
    _, spells = frames(
        sail,
        *(stay(1, 1, 5), stay(2, 35, 36)),  # on the thirtieth day
        *(stay(3, 1, 5, person_id=2), stay(4, 36, 37, person_id=2)),
        *(stay(5, 1, 1, person_id=3, **day_case), stay(6, 3, 4, person_id=3)),
        *(stay(7, 1, 20, person_id=4, **OPEN), stay(8, 20, 21, person_id=4)),
    )
    spells.createOrReplaceTempView("continuous_inpatient_spell")
    assert [tuple(row) for row in sail.sql(readmission_query()).collect()] == [(2, 1)]
