"""An analyst finds what the generator planted: the rows of every story, and every person who is or is not in the release."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import duckdb
import pandas as pd
import pytest

from pipelines.contracts.derived import published_tables
from pipelines.synthetic.population import Story
from tests.e2e.world import LOCAL_IDS, DemoWorld, records

CDM = published_tables("5.4")
KINDS = [kind.name.lower() for kind in Story if kind]
PEOPLE_PER_KIND = 4
SOURCES = set(LOCAL_IDS)
REASONS = {"test_patient", "objection", "local", "national", "unverifiable"}


class Row(NamedTuple):
    """One published row in the form of a truth, with the source in its provenance."""

    source: str
    table: str
    source_value: str
    date: str
    concept_id: int


class Published(NamedTuple):
    """The rows of the release that stories may contain, by person, and the people of each table."""

    rows: dict[int, Counter[Row]]
    people: dict[str, set[int]]


class Linked(NamedTuple):
    """The restricted linkage table: people by NHS number and by the local identifiers of a source."""

    by_number: dict[str, set[int]]
    by_local_id: dict[tuple[str, str], set[int]]

    def with_number(self, person: dict[str, str]) -> int:
        """The person linked by the NHS number."""
        (found,) = self.by_number[person["nhs_number"]]
        return found

    def any_of(self, person: dict[str, str]) -> set[int]:
        """Everyone linked by the NHS number or a local identifier."""
        local = [(source, person[column]) for source, columns in LOCAL_IDS.items() for column in columns if person[column]]
        return self.by_number.get(person["nhs_number"], set()).union(*[self.by_local_id.get(key, set()) for key in local])


@pytest.fixture(scope="module")
def linked(world: DemoWorld) -> Linked:
    by_number: dict[str, set[int]] = {}
    by_local_id: dict[tuple[str, str], set[int]] = {}
    for row in records(world.rows("curation", "link")):
        if row["linked_number"]:
            by_number.setdefault(row["linked_number"], set()).add(row["person_id"])
        by_local_id.setdefault((row["_source"], row["local_id"].upper()), set()).add(row["person_id"])
    return Linked(by_number, by_local_id)


@pytest.fixture(scope="module")
def published(world: DemoWorld) -> Published:
    rows: dict[int, Counter[Row]] = {}
    people: dict[str, set[int]] = {}
    with duckdb.connect(str(world.duckdb), read_only=True) as release:
        for table in person_bound(release):
            owner = "subject_id" if "subject_id" in columns_of(release, table) else "person_id"
            people[table] = {person for (person,) in release.execute(f'SELECT DISTINCT {owner} FROM "{table}"').fetchall()}
        for table in ("death", *[name for name in people if f"{name}_id" in columns_of(release, name)]):
            if table in {row["table"] for row in world.truth("stories")}:
                for person, row in published_rows(world, release, table):
                    rows.setdefault(person, Counter())[row] += 1
    return Published(rows, people)


def person_bound(release: duckdb.DuckDBPyConnection) -> list[str]:
    """The tables whose rows are about a person, according to the catalogue of the release."""
    sql = "SELECT DISTINCT table_name FROM information_schema.columns WHERE column_name IN ('person_id', 'subject_id')"
    return sorted(name for (name,) in release.execute(sql).fetchall())


def columns_of(release: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    return {column[0] for column in release.execute(f'DESCRIBE "{table}"').fetchall()}


def published_rows(world: DemoWorld, release: duckdb.DuckDBPyConnection, table: str) -> Iterator[tuple[int, Row]]:
    """Every published row of a table with its person; the source is that of the row of the same key in Delta.

    Of a death that several sources tell one is published: death_record has all of them.
    """
    if table == "death":
        columns = "source, person_id, cause_source_value, death_date, cause_concept_id"
        for source, person, source_value, day, concept_id in release.execute(f"SELECT {columns} FROM death_record").fetchall():
            yield person, Row(source, table, source_value or "", day.isoformat(), concept_id or 0)
        return
    prefix = table.removesuffix("_occurrence").removesuffix("_exposure")
    start = f"{table}_start_date" if table.endswith("_exposure") else f"{prefix}_start_date"
    date = start if start in columns_of(release, table) else f"{prefix}_date"
    key, value, concept = f"{table}_id", f"{prefix}_source_value", f"{prefix}_concept_id"
    sources = world.rows("omop", table, [key, "_source"]).set_index(key)["_source"]
    found = release.execute(f'SELECT {key}, person_id, {value}, {date}, {concept} FROM "{table}"').fetchall()
    for name, person, source_value, day, concept_id in found:
        yield person, Row(sources[name], table, source_value or "", day.isoformat(), concept_id or 0)


@pytest.fixture(scope="module")
def stories(world: DemoWorld) -> pd.DataFrame:
    """The rows that must be found, with the place of their person among the people of the story."""
    planted = pd.DataFrame(world.truth("stories")).astype({"person": int})
    planted["place"] = planted.groupby("story")["person"].rank(method="dense").astype(int) - 1
    return planted


@pytest.mark.parametrize("place", range(PEOPLE_PER_KIND))
@pytest.mark.parametrize("kind", KINDS)
def test_every_row_of_a_story_is_published(
    kind: str, place: int, world: DemoWorld, stories: pd.DataFrame, linked: Linked, published: Published
) -> None:
    planted = stories[(stories["story"] == kind) & (stories["place"] == place)]
    (person,) = planted["person"].unique()
    found = published.rows[linked.with_number(world.truth("people")[person])]
    missing = [
        wanted
        for wanted in records(planted)
        if not any(
            (row.source, row.table, row.source_value, row.date)
            == (wanted["source"], wanted["table"], wanted["source_value"], wanted["start_date"])
            and wanted["concept_id"] in ("", str(row.concept_id))
            for row in found
        )
    ]
    assert not missing, f"{len(missing)} of {len(planted)} rows are not there, the first: {missing[0]}"


def test_a_row_that_is_planted_several_times_is_published_as_often(
    world: DemoWorld, stories: pd.DataFrame, linked: Linked, published: Published
) -> None:
    people = world.truth("people")
    keys = ["person", "source", "table", "source_value", "start_date"]
    counted = stories.groupby(keys).size()
    assert counted.max() > 1
    fewer = []
    for (person, *wanted), times in counted.items():
        found = published.rows[linked.with_number(people[person])]
        there = sum(number for row, number in found.items() if list(row[:4]) == wanted)
        fewer += [(person, *wanted, times, there)] if there < times else []
    assert not fewer, f"{len(fewer)} of {len(counted)} are there less often, the first: {fewer[0]}"


def test_stories_are_many_and_of_all_sources(stories: pd.DataFrame) -> None:
    people = stories.groupby("story")["person"].nunique()
    assert people.to_dict() == dict.fromkeys(KINDS, PEOPLE_PER_KIND)
    assert people.sum() >= 40
    assert set(stories["source"]) == SOURCES
    assert (stories.groupby("source")["person"].nunique() >= 8).all()


def test_the_published_tables_of_persons_are_those_of_the_cdm(published: Published) -> None:
    assert {"person", "death", "visit_occurrence", "observation_period", "measurement", "note", "cohort"} <= set(
        published.people
    )
    assert set(published.people) == {
        name for name, table in CDM.items() if {"person_id", "subject_id"} & {column.name for column in table.columns}
    }


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_who_is_out_has_no_row_in_any_table(reason: str, world: DemoWorld, linked: Linked, published: Published) -> None:
    out = [person for person in world.truth("people") if person["status_last"] == reason]
    assert out, "the seed has nobody of this kind"
    for person in out:
        ids = linked.any_of(person)
        there = {table: len(ids & people) for table, people in published.people.items() if ids & people}
        assert not there, f"person {person['person']} of the truth has rows in {sorted(there)}"


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_who_is_out_has_no_row_in_silver_or_stem(reason: str, world: DemoWorld, linked: Linked) -> None:
    out = [linked.any_of(person) for person in world.truth("people") if person["status_last"] == reason]
    ids = set().union(*out)
    assert bool(ids) is (reason != "test_patient")  # who is linked to nobody has no row anywhere
    of_people = {name: rows for name in world.tables("silver", "intermediate") if "person_id" in (rows := world.rows(*name))}
    assert {("silver", "gp_patient"), ("intermediate", "stem_gp")} <= set(of_people)
    assert [name for name, rows in of_people.items() if ids & set(rows["person_id"].dropna())] == []


def test_who_is_out_was_delivered(world: DemoWorld) -> None:
    """Otherwise the tests above would pass because there was nothing to leave out."""
    delivered = set(world.rows("bronze", "gp_patient", ["patient_guid"])["patient_guid"])
    for reason in REASONS:
        out = [person for person in world.truth("people") if person["status_last"] == reason]
        assert {person["gp_guid"] for person in out} <= delivered, reason


def test_who_is_kept_is_there(world: DemoWorld, linked: Linked, published: Published) -> None:
    """All but those whose number is wrong in every source, who may have opted out, and those without a period."""
    faulty = {fault["person"] for fault in world.truth("number_faults") if fault["fault"] != "number_spaced"}
    kept = [person for person in world.truth("people") if person["status_last"] == "kept"]
    there = [person for person in kept if linked.by_number.get(person["nhs_number"], set()) & published.people["person"]]
    unlinked = [person for person in kept if person["nhs_number"] not in linked.by_number]
    nobody = set(world.rows("intermediate", "unobserved_persons")["person_id"])
    unobserved = [person for person in kept if linked.by_number.get(person["nhs_number"], set()) & nobody]
    assert len(there) > 100
    assert len(unobserved) == len(nobody)
    assert len(there) + len(unlinked) + len(unobserved) == len(kept)
    assert {person["person"] for person in unlinked} <= faulty


def test_there_is_no_other_person(world: DemoWorld, linked: Linked, published: Published) -> None:
    numbers = {person["nhs_number"] for person in world.truth("people") if person["status_last"] == "kept"}
    kept = set().union(*[linked.by_number.get(number, set()) for number in numbers])
    for table, people in published.people.items():
        assert people <= kept, f"{table}: {len(people - kept)} people are not kept by the truth"


def test_opt_outs_of_the_second_night_count(world: DemoWorld, linked: Linked) -> None:
    people = world.truth("people")
    first = world.rows("omop", "person", ["person_id"], version=0)["person_id"].to_numpy()
    last = world.rows("omop", "person", ["person_id"])["person_id"].to_numpy()
    left = [person for person in people if person["status_first"] == "kept" and person["status_last"] != "kept"]
    came_back = [person for person in people if person["status_first"] != "kept" and person["status_last"] == "kept"]
    assert left
    assert came_back
    assert all(linked.with_number(person) in first and linked.with_number(person) not in last for person in left)
    assert all(linked.with_number(person) not in first and linked.with_number(person) in last for person in came_back)


def test_a_type_one_opt_out_removes_gp_rows_only(world: DemoWorld, linked: Linked) -> None:
    objecting = [person for person in world.truth("people") if person["gp"] == "out" and person["status_last"] == "kept"]
    assert objecting
    ids = {linked.with_number(person) for person in objecting}
    sources: Counter[str] = Counter()
    for zone, table in [*world.tables("omop"), *world.tables("intermediate")]:
        rows = world.rows(zone, table)
        if {"person_id", "_source"} <= set(rows):
            sources.update(rows.loc[rows["person_id"].isin(ids), "_source"])
    for _, table in world.tables("silver"):
        if table.startswith("gp_"):
            rows = world.rows("silver", table)
            assert "person_id" not in rows or not rows["person_id"].isin(ids).any(), table
    assert sources["gp"] == 0
    assert sum(sources.values()) > 0
    per_person = world.rows("omop", "visit_occurrence", ["person_id"])["person_id"]
    assert ids <= set(per_person), "somebody with a Type 1 opt-out has lost the visits to other providers"
