"""Observation periods of random registrations, contacts and deaths, against a reference that goes day by day."""

from collections import defaultdict
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from pipelines.mapping.compile import target_schema
from pipelines.mapping.spec import Target
from pipelines.omop.periods import CONTACTS_SCHEMA, periods
from tests.builders.extracts import newest_extracts

PROVIDER = "P"
EXTRACTED = {"gp": date(2021, 6, 30), "acute": date(2021, 7, 5)}
CAPTURED = {"gp": date(2016, 1, 1), "acute": date(2015, 6, 1)}
BORN = {person: 2015 if person % 3 else 2017 for person in range(60)}
DAY_ZERO = date(2014, 12, 1)
DAYS = (EXTRACTED["gp"] - DAY_ZERO).days

Registration = tuple[str, int, date, date | None]
"""Source, person, first day, last day."""

Contact = tuple[str, int, date, int]
"""Source, person, first day, days until the last."""

Deaths = dict[int, date]

sources = st.sampled_from(("gp", "acute"))
people = st.integers(0, 39)
days = st.integers(0, DAYS + 60).map(lambda offset: DAY_ZERO + timedelta(offset))
ends = st.one_of(st.none(), days)
registrations = st.lists(st.tuples(sources, st.integers(0, 12), days, ends), max_size=20)
seen = st.integers(0, DAYS).map(lambda offset: DAY_ZERO + timedelta(offset))
"""Days on which something happened: none is after an extract, because such rows are set aside before."""
lengths = st.one_of(st.just(0), st.integers(0, 400))
contact_lists = st.lists(st.tuples(sources, people, seen, lengths), min_size=60, max_size=160)
death_dates = st.dictionaries(people, seen, max_size=12)


def frame_of(session: SparkSession, schema: dict[str, str], rows: list[dict[str, Any]]) -> DataFrame:
    columns = ", ".join(f"{name} {kind}" for name, kind in schema.items())
    return session.createDataFrame([tuple(row.get(name) for name in schema) for row in rows], columns)


def each_day(first: date, last: date) -> set[date]:
    return {first + timedelta(offset) for offset in range((last - first).days + 1)}


def runs(observed: set[date], apart: int) -> list[tuple[date, date]]:
    """First and last day of each run of days that are at most `apart` days apart."""
    found: list[tuple[date, date]] = []
    for day in sorted(observed):
        if found and (day - found[-1][1]).days <= apart:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def expected(registered: list[Registration], happened: list[Contact], died: Deaths) -> list[tuple[int, date, date]]:
    registered_on: dict[int, set[date]] = defaultdict(set)
    contact_on: dict[int, dict[date, date]] = defaultdict(dict)

    def days_of(source: str, person: int, first: date, last: date) -> set[date]:
        first = max(first, date(BORN[person], 1, 1), CAPTURED[source])
        return each_day(first, min(last, EXTRACTED[source], died.get(person, date.max - timedelta(60)) + timedelta(60)))

    for source, person, first, end in registered:
        registered_on[person] |= days_of(source, person, first, end or date.max)
    for source, person, first, length in happened:
        for day in days_of(source, person, first, first + timedelta(length)):
            contact_on[person][day] = max(contact_on[person].get(day, date.min), EXTRACTED[source])
    found = [(person, *run) for person, observed in registered_on.items() for run in runs(observed, 1)]
    for person, until in contact_on.items():
        if not registered_on[person]:
            for first, last in runs(set(until), 548):
                known = max(extracted for day, extracted in until.items() if first <= day <= last)
                ends_at = [last + timedelta(60), known, *([died[person] + timedelta(60)] if person in died else [])]
                found.append((person, first, min(ends_at)))
    return sorted(found)


@settings(max_examples=10, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(registered=registrations, happened=contact_lists, died=death_dates)
def test_periods_equal_the_reference_on_random_histories(
    sail: SparkSession, registered: list[Registration], happened: list[Contact], died: Deaths
) -> None:
    rows = [
        {
            "_source": source,
            "_provider": PROVIDER,
            "_entity": "patient",
            "_rule": "registration",
            "_row_key": f"{place:03}",
            "person_id": person,
            "start_date": first,
            "end_date": last,
            "type_concept_id": 32817,
        }
        for place, (source, person, first, last) in enumerate(registered)
    ]
    contacts = [
        {
            "_source": source,
            "_provider": PROVIDER,
            "person_id": person,
            "start_date": first,
            "end_date": first + timedelta(length),
        }
        for source, person, first, length in happened
    ]
    born = sail.createDataFrame(list(BORN.items()), "person_id bigint, year_of_birth bigint")
    deaths = sail.createDataFrame(list(died.items()), "person_id bigint, death_date date")
    frame = frame_of(sail, target_schema(Target.OBSERVATION_PERIOD), rows)
    newest = newest_extracts(sail, {(source, PROVIDER): day for source, day in EXTRACTED.items()})
    spans = periods(frame, frame_of(sail, CONTACTS_SCHEMA, contacts), born, deaths, newest, CAPTURED)
    found = sorted(tuple(row) for row in spans.select("person_id", "start_date", "end_date").collect())
    assert found == expected(registered, happened, died)
    names = spans.select("person_id", "name").collect()
    assert len(set(names)) == len(names)
    for (person, _, end), (next_person, start, _) in pairwise(found):
        assert person != next_person or start > end
    assert all(end <= max(EXTRACTED.values()) for _, _, end in found)
