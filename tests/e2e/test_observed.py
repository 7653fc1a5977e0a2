"""Observation periods, observability and deaths of generated people, against the published rows themselves."""

import pandas as pd
import pytest

from pipelines.contracts.derived import published_tables
from tests.e2e.world import LAST_NIGHT, DemoWorld

BY_CONTACT = 32882
CONTACTS = {
    "visit_occurrence": ("visit_start_date", "visit_end_date"),
    "drug_exposure": ("drug_exposure_start_date", "drug_exposure_start_date"),
    "measurement": ("measurement_date", "measurement_date"),
    "procedure_occurrence": ("procedure_date", "procedure_date"),
}
"""The tables of contacts, each with the columns of the first and the last day."""


@pytest.fixture(scope="module")
def periods(world: DemoWorld) -> pd.DataFrame:
    """Every observation period: person, start, end and type, in order."""
    rows = world.rows("omop", "observation_period").rename(
        columns=lambda name: name.removeprefix("observation_period_").removeprefix("period_")
    )
    return rows.sort_values(["person_id", "start_date"], ignore_index=True)


@pytest.fixture(scope="module")
def contacts(world: DemoWorld) -> pd.DataFrame:
    """Every contact: person, first and last day."""
    frames = []
    for table, (first, last) in CONTACTS.items():
        rows = world.rows("omop", table, ["person_id", *dict.fromkeys((first, last))])
        frames.append(pd.DataFrame({"person_id": rows["person_id"], "first": rows[first], "last": rows[last]}))
    return pd.concat(frames).sort_values(["person_id", "first", "last"], ignore_index=True)


def test_every_person_has_a_period_and_nobody_else_has_rows(world: DemoWorld, periods: pd.DataFrame) -> None:
    people = set(world.rows("omop", "person")["person_id"])
    assert people == set(periods["person_id"])
    left_out = set(world.rows("intermediate", "unobserved_persons")["person_id"])
    assert left_out
    assert not people & left_out
    for name, table in published_tables("5.4").items():
        if "person_id" in table.schema:
            assert set(world.rows("omop", name, ["person_id"])["person_id"]) <= people, name


def test_periods_never_overlap_nor_reach_beyond_extract_and_death(world: DemoWorld, periods: pd.DataFrame) -> None:
    assert (periods["start_date"] <= periods["end_date"]).all()
    before = periods.groupby("person_id")["end_date"].shift()
    assert not (periods["start_date"] <= before)[before.notna()].any()
    assert periods["end_date"].max() <= LAST_NIGHT
    died = world.rows("omop", "death").set_index("person_id")["death_date"]
    known = periods[periods["person_id"].isin(died.index)]
    days = pd.to_datetime(known["end_date"]) - pd.to_datetime(known["person_id"].map(died))
    assert len(days)
    assert days.dt.days.max() <= 60


def test_no_day_of_a_period_by_contacts_is_far_from_them(periods: pd.DataFrame, contacts: pd.DataFrame) -> None:
    by_contact = periods[periods["type_concept_id"] == BY_CONTACT]
    assert len(by_contact)
    for period in by_contact.itertuples():
        own = contacts[(contacts["person_id"] == period.person_id) & (contacts["last"] >= period.start_date)]
        own = own[own["first"] <= period.end_date]
        assert own["first"].min() == period.start_date
        reached = pd.to_datetime(own["last"]).cummax()
        gaps = (pd.to_datetime(own["first"]) - reached.shift()).dt.days.dropna()
        assert (gaps <= 548).all()
        assert (pd.Timestamp(period.end_date) - reached.max()).days <= 60


def test_no_contact_of_people_without_registration_is_outside_a_period(
    world: DemoWorld, periods: pd.DataFrame, contacts: pd.DataFrame
) -> None:
    born = world.rows("omop", "person").set_index("person_id")["year_of_birth"]
    died = pd.to_datetime(world.rows("omop", "death").set_index("person_id")["death_date"])
    for person, own in periods[periods["type_concept_id"] == BY_CONTACT].groupby("person_id"):
        for contact in contacts[contacts["person_id"] == person].itertuples():
            is_late = person in died and (pd.Timestamp(contact.first) - died[person]).days > 60
            is_inside = ((own["start_date"] <= contact.first) & (contact.first <= own["end_date"])).any()
            assert is_inside or is_late or contact.first.year < born[person]


def test_each_delivered_death_is_kept_and_the_chosen_one_published(world: DemoWorld) -> None:
    kept = world.rows("omop", "death_record")
    chosen = kept[kept["is_chosen"] == 1]
    assert not chosen["person_id"].duplicated().any()
    assert set(kept["person_id"]) == set(chosen["person_id"])
    deaths = world.rows("omop", "death", ["person_id", "death_date"])
    assert set(zip(chosen["person_id"], chosen["death_date"], strict=True)) == set(
        zip(deaths["person_id"], deaths["death_date"], strict=True)
    )


def test_events_after_death_are_those_of_the_tables(world: DemoWorld) -> None:
    marked = world.rows("omop", "event_after_death")
    died = world.rows("omop", "death").set_index("person_id")["death_date"]
    visits = world.rows("omop", "visit_occurrence", ["visit_occurrence_id", "person_id", "visit_start_date"])
    known = visits[visits["person_id"].isin(died.index)]
    late = known[pd.to_datetime(known["visit_start_date"]) > pd.to_datetime(known["person_id"].map(died))]
    assert set(late["visit_occurrence_id"]) == set(marked[marked["event_table"] == "visit_occurrence"]["event_id"])
    assert (marked["days_after"] > 0).all()


def test_every_source_says_since_when_it_would_have_seen_a_person(world: DemoWorld) -> None:
    spans = world.rows("omop", "observability")
    bases = {source: set(of_source["basis"]) for source, of_source in spans.groupby("source")}
    assert bases == {
        "gp": {"registration"},
        "acute": {"extract"},
        "ambulance": {"extract"},
        "mental_health": {"submission"},
        "community": {"submission"},
        "social_care": {"submission"},
    }
    assert (spans["span_start_date"] <= spans["span_end_date"]).all()
    assert spans["span_end_date"].max() <= LAST_NIGHT
