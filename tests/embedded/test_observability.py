"""Since when, and how long, each provider would have seen a person."""

from datetime import date
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.derived import DERIVED_TABLES
from pipelines.mapping.compile import target_schema
from pipelines.mapping.spec import Target
from pipelines.omop.observability import Coverage, newest_months, observability, spans_of
from tests.builders.extracts import newest_extracts

FIRST, NEWEST = date(2024, 6, 10), date(2026, 1, 5)


def d(text: str) -> date:
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("periods", "months", "captured", "spans"),
    [
        ((), 1, {}, [("extract", FIRST, NEWEST)]),
        ((), 1, {"acute": d("2015-04-01")}, [("extract", d("2015-04-01"), NEWEST)]),
        ((), 1, {"acute": d("2015-04-01"), "acute/RXN": d("2018-01-01")}, [("extract", d("2018-01-01"), NEWEST)]),
        ((), 1, {"acute/RX9": d("2018-01-01"), "gp": d("2000-01-01")}, [("extract", FIRST, NEWEST)]),
        (("1489",), 1, {}, [("submission", d("2024-04-01"), d("2024-04-30"))]),
        (
            ("1", "1488"),
            1,
            {},
            [("submission", d("1900-04-01"), d("1900-04-30")), ("submission", d("2024-03-01"), d("2024-03-31"))],
        ),
        (("2024-11-30", "2024-12-31", "2025-01-31"), 1, {}, [("submission", d("2024-11-01"), d("2025-01-31"))]),
        (
            ("2024-01-31", "2024-03-31"),
            1,
            {},
            [("submission", d("2024-01-01"), d("2024-01-31")), ("submission", d("2024-03-01"), d("2024-03-31"))],
        ),
        (("2024-12-31", "2025-03-31"), 12, {}, [("submission", d("2024-01-01"), d("2025-03-31"))]),
        (("2024-12-31",), 12, {"acute": d("2024-10-15")}, [("submission", d("2024-10-15"), d("2024-12-31"))]),
        (("2026-01-31",), 1, {}, [("submission", d("2026-01-01"), NEWEST)]),  # no later than its newest extract
        (("2024-01-31",), 1, {"acute": d("2024-02-01")}, []),
        (("spring", "99999"), 1, {}, [("extract", FIRST, NEWEST)]),
    ],
)
def test_what_a_provider_delivered_says_when_it_would_have_seen_people(
    periods: tuple[str, ...], months: int, captured: dict[str, date], spans: list[tuple[Any, ...]]
) -> None:
    coverage = Coverage("acute", "RXN", FIRST, NEWEST, periods, months)
    assert list(spans_of(coverage, captured)) == spans


def test_the_newest_month_of_an_entity_is_one_that_had_begun_when_its_provider_delivered() -> None:
    periods = {"A": ("2024-09-30", "2024-12-31", "2024-03-31"), "B": ("2024-01-31", "2099-12-31"), "C": ("spring",), "D": ()}
    coverage = [
        Coverage("acute", provider, FIRST, NEWEST, texts, 3, (("spell", texts), ("ward", texts[:1])))
        for provider, texts in periods.items()
    ]
    assert newest_months(coverage) == {
        ("acute", "A", "spell"): d("2024-12-01"),
        ("acute", "A", "ward"): d("2024-09-01"),
        ("acute", "B", "spell"): d("2024-01-01"),
        ("acute", "B", "ward"): d("2024-01-01"),
    }


def frame_of(session: SparkSession, schema: dict[str, str], rows: list[dict[str, Any]]) -> DataFrame:
    columns = ", ".join(f"{name} {kind}" for name, kind in schema.items())
    return session.createDataFrame([tuple(row.get(name) for name in schema) for row in rows], columns)


def test_each_person_has_the_spans_of_the_providers_that_know_them(sail: SparkSession) -> None:
    registered = {"_source": "gp", "_provider": "P81001"}
    registrations = [
        registered | {"person_id": 1, "start_date": d("1940-01-01"), "end_date": d("2001-01-01")},
        registered | {"person_id": 1, "start_date": d("2010-01-01")},
        registered | {"person_id": 9, "start_date": d("2010-01-01")},  # not in the CDM
    ]
    known = [("acute", "RXN", 1), ("acute", "RXN", 1), ("acute", "RXN", 2), ("acute", "RX9", 3), ("mental_health", "RMH", 2)]
    people = [{"_source": source, "_provider": provider, "person_id": person} for source, provider, person in known]
    coverage = (
        Coverage("gp", "P81001", FIRST, NEWEST),
        Coverage("acute", "RXN", FIRST, NEWEST),
        Coverage("mental_health", "RMH", FIRST, d("2025-02-10"), ("2024-11-30", "2025-01-31")),
    )
    table = observability(
        frame_of(sail, target_schema(Target.OBSERVATION_PERIOD), registrations),
        frame_of(sail, target_schema(Target.PERSON), people),
        sail.createDataFrame([(1, 1950), (2, 2025), (3, 1980)], "person_id bigint, year_of_birth bigint"),
        sail.createDataFrame([(1, d("2025-03-04"))], "person_id bigint, death_date date"),
        newest_extracts(sail, {(known.source, known.provider): known.last_extract for known in coverage}),
        coverage,
        {"gp": d("1990-01-01")},
        DERIVED_TABLES["observability"],
    )
    assert sorted(tuple(row) for row in table.collect()) == [
        (1, "acute", "RXN", "extract", FIRST, d("2025-03-04"), FIRST, NEWEST),  # until the death
        (1, "gp", "P81001", "registration", d("1990-01-01"), d("2001-01-01"), FIRST, NEWEST),
        (1, "gp", "P81001", "registration", d("2010-01-01"), d("2025-03-04"), FIRST, NEWEST),
        (2, "acute", "RXN", "extract", d("2025-01-01"), NEWEST, FIRST, NEWEST),  # from the year of birth
        (2, "mental_health", "RMH", "submission", d("2025-01-01"), d("2025-01-31"), FIRST, d("2025-02-10")),
    ]


def test_registrations_of_providers_that_have_no_spans_are_there(sail: SparkSession) -> None:
    registration = {
        "_source": "gp",
        "_provider": "P81001",
        "person_id": 1,
        "start_date": d("2010-01-01"),
    }
    table = observability(
        frame_of(sail, target_schema(Target.OBSERVATION_PERIOD), [registration | {"person_id": 1}]),
        frame_of(sail, target_schema(Target.PERSON), []),
        sail.createDataFrame([(1, 1950)], "person_id bigint, year_of_birth bigint"),
        sail.createDataFrame([], "person_id bigint, death_date date"),
        newest_extracts(sail, {("gp", "P81001"): NEWEST}),
        (Coverage("gp", "P81001", FIRST, NEWEST),),
        {"gp/P81001": d("2027-01-01")},
        DERIVED_TABLES["observability"],
    )
    assert table.collect() == []
