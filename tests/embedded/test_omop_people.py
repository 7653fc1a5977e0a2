"""One person, one death and whole observation periods out of several records."""

from datetime import date
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.cdm import cdm_tables
from pipelines.contracts.derived import DERIVED_TABLES
from pipelines.mapping.compile import target_schema
from pipelines.mapping.spec import Target
from pipelines.omop.codes import CODE_MAP_SCHEMA
from pipelines.omop.deaths import death, death_record, deaths, event_after_death
from pipelines.omop.periods import CONTACTS_SCHEMA, PERIODS_SCHEMA, merged_spans, periods, registrations_outside
from pipelines.omop.persons import persons, without_year_of_birth
from pipelines.omop.places import care_site_code
from tests.builders.extracts import newest_extracts

MALE, FEMALE = 8507, 8532
EXTRACTED = date(2026, 1, 5)


def frame_of(session: SparkSession, schema: dict[str, str], rows: list[dict[str, Any]]) -> DataFrame:
    columns = ", ".join(f"{name} {kind}" for name, kind in schema.items())
    return session.createDataFrame([tuple(row.get(name) for name in schema) for row in rows], columns)


@pytest.fixture(scope="module")
def concept_map(sail: SparkSession) -> DataFrame:
    rows = [("NHS Gender", "1", MALE), ("NHS Gender", "2", FEMALE), ("NHS Gender", "9", 0)]
    keys = ("source_vocabulary_id", "source_code", "target_concept_id")
    return frame_of(sail, CODE_MAP_SCHEMA, [dict(zip(keys, row, strict=True)) | {"ordinal": 0} for row in rows])


def record(source: str, key: str, gender: str | None, day: str | None = None, **values: Any) -> dict[str, Any]:
    recorded = date.fromisoformat(day) if day else None
    coded = {"gender_vocabulary": "NHS Gender", "gender_code": gender, "gender_source_value": gender}
    return {"_source": source, "_row_key": key, "_rule": source, "person_id": 1, "recorded_on": recorded} | coded | values


def merged(session: SparkSession, concept_map: DataFrame, rows: list[dict[str, Any]], *columns: str) -> list[tuple[Any, ...]]:
    frame = frame_of(session, target_schema(Target.PERSON), rows)
    return [tuple(row) for row in persons(frame, concept_map, ("gp", "acute")).select(*columns).collect()]


def test_source_priority_comes_before_recency_and_known_before_unknown(sail: SparkSession, concept_map: DataFrame) -> None:
    rows = [
        record("acute", "b", "1", "2025-01-01", year_of_birth=1951),
        record("gp", "a", "2", "2001-01-01", year_of_birth=1950),
        record("gp", "c", "9", "2024-01-01", postcode_area="PR"),
        record("community", "d", "1", "2026-01-01", year_of_birth=1999, care_site_code="X"),
    ]
    columns = ("year_of_birth", "gender_concept_id", "gender_source_value", "postcode_area", "care_site_code", "_source")
    for order in (rows, rows[::-1]):
        assert merged(sail, concept_map, order, *columns) == [(1950, FEMALE, "2", "PR", "X", "gp")]


def test_a_code_that_names_no_practice_does_not_hide_the_practice_that_another_source_knows(
    sail: SparkSession, concept_map: DataFrame
) -> None:
    """What hospitals send of who is not registered, or of whom they do not know it, in any case and with blanks."""
    for code in ("V81999", "v81997 ", "V81998", "X99999", ""):
        rows = [
            record("acute", "a", "1", "2025-01-01", year_of_birth=1950, care_site_code=code),
            record("community", "b", "1", "2024-01-01", care_site_code="P81001"),
        ]
        assert merged(sail, concept_map, rows, "care_site_code") == [("P81001",)]


def test_a_trust_in_the_five_characters_of_a_site_is_the_trust(sail: SparkSession) -> None:
    sites = {
        "RXN00": "RXN",
        "rxn00 ": "RXN",
        "RXN": "RXN",
        "RXN01": "RXN01",
        "RXN10": "RXN10",
        "P81000": "P81000",
        "TDH00": None,
    }
    rows = sail.createDataFrame([(code,) for code in sites], "care_site_code string")
    found = rows.select("care_site_code", care_site_code().alias("key")).collect()
    assert {row["care_site_code"]: row["key"] for row in found} == sites


def test_an_unknown_gender_keeps_the_first_delivered_value(sail: SparkSession, concept_map: DataFrame) -> None:
    rows = [record("acute", "b", "X", year_of_birth=1951), record("gp", "a", None), record("gp", "c", "9")]
    assert merged(sail, concept_map, rows, "gender_concept_id", "gender_source_value") == [(0, "9")]


def test_a_person_without_a_year_of_birth_is_none(sail: SparkSession, concept_map: DataFrame) -> None:
    assert merged(sail, concept_map, [record("gp", "a", "1", month_of_birth=3)], "person_id") == []


def test_people_left_out_for_an_unreadable_date_of_birth_are_told_from_those_without_one(sail: SparkSession) -> None:
    common: dict[str, Any] = {"_source": "gp", "_entity": "patient", "_rule": "r"}
    rows = [(1, "born"), (2, "born"), (2, None), (3, None), (4, None)]
    people = [
        common | {"person_id": person, "_row_key": f"{place}", "birth_unreadable": unread}
        for place, (person, unread) in enumerate(rows)
    ]
    known = sail.createDataFrame([(1,), (4,)], "person_id bigint")
    counted = without_year_of_birth(frame_of(sail, target_schema(Target.PERSON), people), known).collect()
    assert {(row.reason, row.rows) for row in counted} == {
        ("unreadable:born", 1),
        ("person_with_unreadable_birth_date", 1),
        ("person_without_year_of_birth", 1),
    }


def test_one_death_a_person_from_the_first_source_then_the_latest(sail: SparkSession, concept_map: DataFrame) -> None:
    rows = [
        {"_source": "acute", "_row_key": "a", "person_id": 1, "death_date": date(2024, 1, 4), "cause_source_value": "I21"},
        {"_source": "gp", "_row_key": "b", "person_id": 1, "death_date": date(2024, 1, 3)},
        {"_source": "gp", "_row_key": "c", "person_id": 1, "death_date": date(2024, 1, 2), "cause_source_value": "I21"},
        {"_source": "acute", "_row_key": "d", "person_id": 2, "death_date": date(2023, 1, 1)},
        {"_source": "acute", "_row_key": "e", "person_id": 2, "death_date": date(2023, 1, 1), "cause_source_value": "I21"},
        {"_source": "council", "_row_key": "f", "person_id": 2, "death_date": date(2025, 1, 1)},  # not in the order: last
        {"_source": "gp", "_row_key": "g", "person_id": 3, "death_date": date(2024, 1, 9), "recorded_on": date(2024, 3, 31)},
        {"_source": "gp", "_row_key": "h", "person_id": 3, "death_date": date(2024, 1, 5), "recorded_on": date(2024, 6, 30)},
        {"_source": "gp", "_row_key": "i", "person_id": 3, "death_date": date(2024, 1, 10)},
    ]
    frame = frame_of(sail, target_schema(Target.DEATH), [row | {"type_concept_id": 32817} for row in rows])
    stored = deaths(frame, concept_map, ("gp", "acute"))
    table = death(stored, cdm_tables("5.4")["death"])
    found = sorted(tuple(row) for row in table.select("person_id", "death_date", "_row_key").collect())
    assert found == [(1, date(2024, 1, 3), "b"), (2, date(2023, 1, 1), "e"), (3, date(2024, 1, 5), "h")]
    kept = (
        death_record(stored, DERIVED_TABLES["death_record"]).select("person_id", "source", "death_date", "is_chosen").collect()
    )
    assert sorted(tuple(row) for row in kept) == [
        (1, "acute", date(2024, 1, 4), 0),
        (1, "gp", date(2024, 1, 2), 0),
        (1, "gp", date(2024, 1, 3), 1),
        (2, "acute", date(2023, 1, 1), 0),
        (2, "acute", date(2023, 1, 1), 1),
        (2, "council", date(2025, 1, 1), 0),
        (3, "gp", date(2024, 1, 5), 1),
        (3, "gp", date(2024, 1, 9), 0),
        (3, "gp", date(2024, 1, 10), 0),
    ]


def test_what_starts_after_the_day_of_death_is_marked(sail: SparkSession) -> None:
    visits = [(11, 1, date(2024, 1, 2)), (12, 1, date(2024, 1, 3)), (13, 1, date(2024, 2, 2)), (14, 2, date(2030, 1, 1))]
    drugs = [(11, 1, date(2024, 1, 4))]
    tables = {
        "visit_occurrence": sail.createDataFrame(visits, "visit_occurrence_id bigint, person_id bigint, visit_start_date date"),
        "drug_exposure": sail.createDataFrame(
            drugs, "drug_exposure_id bigint, person_id bigint, drug_exposure_start_date date"
        ),
    }
    died = sail.createDataFrame([(1, date(2024, 1, 3))], "person_id bigint, death_date date")
    marked = event_after_death(tables, died, DERIVED_TABLES["event_after_death"]).collect()
    assert sorted(tuple(row) for row in marked) == [
        (1, "drug_exposure", 11, date(2024, 1, 4), date(2024, 1, 3), 1),
        (1, "visit_occurrence", 13, date(2024, 2, 2), date(2024, 1, 3), 30),
    ]


def span(person: int, name: str, start: str, end: str) -> dict[str, Any]:
    return {
        "person_id": person,
        "name": name,
        "start_date": date.fromisoformat(start),
        "end_date": date.fromisoformat(end),
        "type_concept_id": 32817,
        "_until": EXTRACTED,
    }


def test_spans_that_touch_overlap_or_contain_each_other_become_one(sail: SparkSession) -> None:
    rows = [
        span(1, "long", "2020-01-01", "2020-12-31"),
        span(1, "inside", "2020-02-01", "2020-03-01"),
        span(1, "after", "2021-01-02", "2021-02-01"),  # one day after the end of the long one is missing
        span(1, "next", "2021-02-02", "2021-03-01"),
        span(2, "other", "2020-06-01", "2020-06-02"),
    ]
    frame = frame_of(sail, PERIODS_SCHEMA | {"_until": "date"}, rows)

    def found(days_apart: int) -> list[tuple[Any, ...]]:
        merged_rows = merged_spans(frame, days_apart).select("person_id", "name", "start_date", "end_date").collect()
        return sorted(tuple(row) for row in merged_rows)

    other = (2, "other", date(2020, 6, 1), date(2020, 6, 2))
    assert found(1) == [
        (1, "after", date(2021, 1, 2), date(2021, 3, 1)),
        (1, "long", date(2020, 1, 1), date(2020, 12, 31)),
        other,
    ]
    assert found(2) == [(1, "long", date(2020, 1, 1), date(2021, 3, 1)), other]


PEOPLE = [(1, 2000), (2, 2000), (3, 2000), (4, 2000), (5, 2000), (6, 2000)]

REGISTERED: list[dict[str, Any]] = [
    {"person_id": 1, "_row_key": "a", "start_date": date(1900, 1, 1), "end_date": date(2030, 1, 1)},
    {"person_id": 2, "_row_key": "b", "start_date": date(2027, 1, 1)},
    {"person_id": 2, "_row_key": "c", "start_date": date(2010, 1, 1), "end_date": date(2009, 1, 1)},
    {"person_id": 5, "_row_key": "d", "start_date": date(2010, 1, 1)},
    {"person_id": 5, "_row_key": "e", "start_date": date(2021, 4, 2)},  # begins 61 days after the death
]


def contact(person: int, start: str, end: str = "", source: str = "acute", provider: str = "RXN") -> dict[str, Any]:
    return {
        "person_id": person,
        "start_date": date.fromisoformat(start),
        "end_date": date.fromisoformat(end or start),
        "_source": source,
        "_provider": provider,
    }


def periods_of(
    session: SparkSession, contacts: list[dict[str, Any]], captured_from: dict[str, date] | None = None
) -> list[tuple[Any, ...]]:
    """Person, start, end and name of the periods by REGISTERED and some contacts."""
    people, died = people_and_deaths(session)
    seen = frame_of(session, CONTACTS_SCHEMA, contacts)
    found = periods(registrations_of(session), seen, people, died, newest(session), captured_from or {})
    return sorted(tuple(row) for row in found.select("person_id", "start_date", "end_date", "name").collect())


def newest(session: SparkSession) -> DataFrame:
    providers = [("gp", "P81001"), ("acute", "RXN"), ("acute", "RX9"), ("mental_health", "RX9")]
    return newest_extracts(session, dict.fromkeys(providers, EXTRACTED) | {("acute", "OLD"): date(2025, 12, 5)})


def registrations_of(session: SparkSession) -> DataFrame:
    common = {"type_concept_id": 32817, "_source": "gp", "_provider": "P81001", "_entity": "patient", "_rule": "r"}
    return frame_of(session, target_schema(Target.OBSERVATION_PERIOD), [row | common for row in REGISTERED])


def people_and_deaths(session: SparkSession) -> tuple[DataFrame, DataFrame]:
    people = session.createDataFrame(PEOPLE, "person_id bigint, year_of_birth bigint")
    died = [(5, date(2021, 1, 31)), (6, date(2021, 1, 31))]
    return people, session.createDataFrame(died, "person_id bigint, death_date date")


BY_REGISTRATION = [(1, date(2000, 1, 1), EXTRACTED, "a"), (5, date(2010, 1, 1), date(2021, 4, 1), "d")]


@pytest.mark.parametrize(
    ("contacts", "expected"),
    [
        ([contact(3, "1900-01-01")], []),
        ([contact(4, "1999-12-31")], []),
        ([contact(3, "2005-01-01")], [(3, date(2005, 1, 1), date(2005, 3, 2))]),
        ([contact(1, "2005-01-01")], []),  # registered
        ([contact(3, "2005-01-01"), contact(3, "2006-07-03")], [(3, date(2005, 1, 1), date(2006, 9, 1))]),  # 548 days
        (
            [contact(3, "2005-01-01"), contact(3, "2006-07-04")],  # 549 days
            [(3, date(2005, 1, 1), date(2005, 3, 2)), (3, date(2006, 7, 4), date(2006, 9, 2))],
        ),
        (
            [contact(3, "2005-01-01", "2010-01-01"), contact(3, "2006-01-01"), contact(3, "2010-01-02")],
            [(3, date(2005, 1, 1), date(2010, 3, 3))],  # from the start to the end of a visit
        ),
        ([contact(3, "2025-12-01")], [(3, date(2025, 12, 1), EXTRACTED)]),
        (
            [contact(3, "2025-12-01", provider="OLD"), contact(3, "2025-12-02")],
            [(3, date(2025, 12, 1), EXTRACTED)],  # the newest extract of the providers concerned
        ),
        ([contact(6, "2021-01-20")], [(6, date(2021, 1, 20), date(2021, 3, 21))]),
        ([contact(6, "2021-03-30"), contact(6, "2021-08-01")], [(6, date(2021, 3, 30), date(2021, 4, 1))]),
        ([contact(6, "2021-04-02")], []),  # more than 60 days after the death
        ([contact(7, "2021-04-02")], []),  # nobody in the CDM
    ],
)
def test_contacts_say_when_a_person_was_observed(
    sail: SparkSession, contacts: list[dict[str, Any]], expected: list[tuple[Any, ...]]
) -> None:
    named = [(person, start, end, f"contacts:{start}") for person, start, end in expected]
    assert periods_of(sail, contacts) == sorted(BY_REGISTRATION + named)


def test_nobody_is_observed_before_the_earliest_capture(sail: SparkSession) -> None:
    captured = {"gp": date(2015, 1, 1), "acute": date(2005, 1, 1), "acute/RXN": date(2010, 1, 1), "acute/R": date(2000, 1, 1)}
    contacts = [
        contact(3, "2009-12-31"),
        contact(3, "2009-12-30", "2010-01-02"),
        contact(4, "2004-12-31", provider="RX9"),
        contact(4, "2005-01-01", provider="RX9"),
        contact(4, "2006-01-01", provider="RX9", source="mental_health"),
    ]
    assert periods_of(sail, contacts, captured) == [
        (1, date(2015, 1, 1), EXTRACTED, "a"),
        (3, date(2010, 1, 1), date(2010, 3, 3), "contacts:2010-01-01"),
        (4, date(2005, 1, 1), date(2006, 3, 2), "contacts:2005-01-01"),
        (5, date(2015, 1, 1), date(2021, 4, 1), "d"),
    ]


def test_registrations_of_which_no_day_can_be_observed_are_counted(sail: SparkSession) -> None:
    people, died = people_and_deaths(sail)
    outside = registrations_outside(registrations_of(sail), people, died, newest(sail), {}).collect()
    assert [(row.rule, row.reason) for row in outside] == [("r", "registration_outside_extract")] * 3
    later = registrations_outside(registrations_of(sail), people, died, newest(sail), {"gp": date(2021, 4, 2)}).collect()
    assert len(later) == 4
