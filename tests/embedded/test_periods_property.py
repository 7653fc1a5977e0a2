"""Observation periods of random registrations and events, against a reference that goes day by day."""

from collections import defaultdict
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from pipelines.mapping.compile import target_schema
from pipelines.mapping.spec import Target
from pipelines.omop.periods import periods

EXTRACTED = {"gp": date(2021, 6, 30), "acute": date(2021, 7, 5)}
BORN = {person: 2020 if person % 3 else 2021 for person in range(60)}
DAY_ZERO = date(2019, 12, 1)

Registration = tuple[str, int, date, date | None]
"""Source, person, first day, last day."""

Event = tuple[int, date]

people = st.integers(0, 39)
days = st.integers(0, 640).map(lambda offset: DAY_ZERO + timedelta(offset))
ends = st.one_of(st.none(), days)
registrations = st.lists(st.tuples(st.sampled_from(("gp", "acute")), people, days, ends), min_size=20, max_size=60)
seen = st.integers(0, 577).map(lambda offset: DAY_ZERO + timedelta(offset))
"""Days on which something happened: none is after an extract, because such rows are set aside before."""
events = st.lists(st.tuples(people, seen), min_size=20, max_size=90)


def frame_of(session: SparkSession, schema: dict[str, str], rows: list[dict[str, Any]]) -> DataFrame:
    columns = ", ".join(f"{name} {kind}" for name, kind in schema.items())
    return session.createDataFrame([tuple(row.get(name) for name in schema) for row in rows], columns)


def each_day(first: date, last: date) -> set[date]:
    return {first + timedelta(offset) for offset in range((last - first).days + 1)}


def runs(observed: set[date], gap_days: int) -> list[tuple[date, date]]:
    """First and last day of each run of days, runs with at most `gap_days` days missing between them taken as one."""
    found: list[tuple[date, date]] = []
    for day in sorted(observed):
        if found and (day - found[-1][1]).days - 1 <= gap_days:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def expected(registered: list[Registration], happened: list[Event], gap_days: int) -> list[tuple[int, date, date]]:
    observed: dict[int, set[date]] = defaultdict(set)
    for source, person, first, last in registered:
        until = min(last or EXTRACTED[source], EXTRACTED[source])
        observed[person] |= each_day(max(first, date(BORN[person], 1, 1)), until)
    active: dict[int, set[date]] = defaultdict(set)
    for person, day in happened:
        if date(BORN[person], 1, 1) <= day:
            active[person].add(day)
    for person, listed in active.items():
        if not observed[person]:
            observed[person] = each_day(min(listed), max(listed))
    return sorted((person, *run) for person, days_seen in observed.items() for run in runs(days_seen, gap_days))


@pytest.mark.parametrize("gap_days", [0, 30])
@settings(max_examples=6, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(registered=registrations, happened=events)
def test_periods_equal_the_reference_on_random_histories(
    sail: SparkSession, gap_days: int, registered: list[Registration], happened: list[Event]
) -> None:
    rows = [
        {
            "_source": source,
            "_entity": "patient",
            "_rule": "registration",
            "_row_key": f"{place:03}",
            "person_id": person,
            "start_date": first,
            "end_date": last,
            "type_concept_id": 32817,
            "_known_until": EXTRACTED[source],
        }
        for place, (source, person, first, last) in enumerate(registered)
    ]
    born = sail.createDataFrame(list(BORN.items()), "person_id bigint, year_of_birth bigint")
    dated = sail.createDataFrame(happened, "person_id bigint, day date")
    frame = frame_of(sail, target_schema(Target.OBSERVATION_PERIOD), rows)
    spans = periods(frame, [(dated, "day")], born, gap_days).select("person_id", "start_date", "end_date")
    found = sorted(tuple(row) for row in spans.collect())
    assert found == expected(registered, happened, gap_days)
    for (person, _, end), (next_person, start, _) in pairwise(found):
        assert person != next_person or start > end + timedelta(1)
    assert all(end <= max(EXTRACTED.values()) for _, _, end in found)
