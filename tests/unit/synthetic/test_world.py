from datetime import date

import numpy as np
import pytest

from pipelines.errors import ConfigError
from pipelines.synthetic.population import Population, Story, World
from pipelines.synthetic.timeline import PATHWAY_OF_STORY, PATHWAYS
from pipelines.synthetic.world import build_world

FIRST_NIGHT = date(2026, 1, 5)
PEOPLE = 5000


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(PEOPLE, 7, 3, FIRST_NIGHT)


@pytest.fixture(scope="module")
def population(world: World) -> Population:
    return world.population


def test_the_same_seed_gives_the_same_people_and_pathways(world: World) -> None:
    again = build_world(PEOPLE, 7, 3, FIRST_NIGHT)
    for part in ("population", "timeline"):
        mine, theirs = vars(getattr(world, part)), vars(getattr(again, part))
        assert all(np.array_equal(values, theirs[name], equal_nan=values.dtype.kind == "M") for name, values in mine.items())


def test_another_seed_gives_other_people(population: Population) -> None:
    reseeded = build_world(PEOPLE, 8, 3, FIRST_NIGHT).population
    assert (reseeded.nhs_number != population.nhs_number).mean() > 0.9


@pytest.mark.parametrize(("people", "nights"), [(19, 2), (100, 0)])
def test_numbers_that_no_world_can_have_are_refused(people: int, nights: int) -> None:
    with pytest.raises(ConfigError):
        build_world(people, 1, nights, FIRST_NIGHT)


def test_identifiers_are_unique(population: Population) -> None:
    numbered = population.nhs_number[population.nhs_number != ""]
    assert len(np.unique(numbered)) == len(numbered)
    for name in ("gp_guid", "acute_mrn", "mh_id", "community_id", "ambulance_id", "council_id"):
        assert len(np.unique(getattr(population, name))) == PEOPLE


@pytest.mark.parametrize("kind", [kind for kind in Story if kind])
def test_every_kind_of_story_has_six_clean_people(population: Population, kind: Story) -> None:
    in_story = population.people_in_story(kind)
    assert len(in_story) == 6
    assert (population.nhs_number[in_story] != "").all()
    assert (population.type1[in_story] == "").all()
    assert (population.gp_practice2[in_story] == "").all()
    for flag in ("national_opt_out", "local_opt_out", "objection", "test_patient"):
        assert not getattr(population, flag)[in_story].any()
    assert np.isnat(population.death_date[in_story]).all() == (kind is not Story.DEATH)


def test_few_people_have_few_stories() -> None:
    story = build_world(30, 1, 1, FIRST_NIGHT).population.story
    assert (story > 0).sum() == 10


@pytest.mark.parametrize(
    ("share", "least", "most"),
    [
        ("nhs_number", 0.010, 0.014),
        ("national_opt_out", 0.038, 0.042),
        ("local_opt_out", 0.004, 0.006),
        ("objection", 0.0008, 0.0012),
        ("test_patient", 0.0008, 0.0012),
        ("type1", 0.023, 0.027),
        ("death_date", 0.02, 0.09),
    ],
)
def test_shares_are_as_stated(population: Population, share: str, least: float, most: float) -> None:
    values = getattr(population, share)
    if share == "nhs_number":
        values = values == ""
    elif share == "type1":
        values = values != ""
    elif share == "death_date":
        values = ~np.isnat(values)
    assert least <= values.mean() <= most


def test_lives_are_in_order(world: World, population: Population) -> None:
    dead = ~np.isnat(population.death_date)
    assert (population.birth_date < world.last_day).all()
    assert (population.death_date[dead] > population.birth_date[dead]).all()
    assert (population.death_date[dead] <= world.last_day).all()
    person = population.onset_person
    assert (population.onset_date >= population.birth_date[person]).all()
    assert (population.onset_date <= world.last_day).all()
    assert not (population.onset_date > population.death_date[person]).any()


def test_names_can_be_written_in_cp1252_and_some_are_not_ascii(population: Population) -> None:
    text = "".join([*population.given_name, *population.surname])
    text.encode("cp1252")
    assert not text.isascii()


def test_conditions_are_found_by_name(world: World, population: Population) -> None:
    persons, onsets = world.has("Type 2 diabetes mellitus")
    assert np.isin(population.people_in_story(Story.DIABETES), persons).all()
    assert len(persons) == len(onsets)
    assert world.has("no such condition")[0].size == 0


def test_the_steps_of_a_pathway_follow_each_other(world: World) -> None:
    steps = ["call_at", "scene_at", "arrive_at", "admitted_at", "discharged_at", "reablement_from"]
    times = [getattr(world.timeline, step) for step in steps]
    for at, later in enumerate(times):
        for earlier in times[:at]:
            both = ~np.isnat(earlier) & ~np.isnat(later)
            assert (earlier[both] < later[both]).all()
        assert not (later >= (world.last_day + 1)).any()
    assert set(world.timeline.kind) == set(PATHWAYS)


def test_ids_are_there_exactly_where_the_step_is(world: World) -> None:
    timeline = world.timeline
    for ids, step in (
        ("call_id", "call_at"),
        ("epcr_id", "scene_at"),
        ("attendance_id", "arrive_at"),
        ("spell_id", "admitted_at"),
    ):
        values = getattr(timeline, ids)
        assert ((values != "") == ~np.isnat(getattr(timeline, step))).all()
        assert len(np.unique(values[values != ""])) == (values != "").sum()


@pytest.mark.parametrize(("kind", "pathway"), list(PATHWAY_OF_STORY.items()))
def test_the_pathway_of_a_story_is_complete(world: World, kind: Story, pathway: str) -> None:
    for person in world.population.people_in_story(kind):
        mine = np.flatnonzero(world.timeline.person == person)
        assert world.timeline.kind[mine].tolist() == [pathway]
        assert not np.isnat(world.timeline.discharged_at[mine]).any()
        assert np.isnat(world.timeline.call_at[mine]).all() == (not PATHWAYS[pathway].emergency)


def test_an_event_is_delivered_on_the_night_after_its_day(world: World) -> None:
    days = np.array(["2020-01-01", "2026-01-04", "2026-01-05", "2026-01-06", "2026-01-07", "NaT"], dtype="datetime64[D]")
    assert world.night_of(days).tolist() == [0, 0, 1, 2, 2, 0]
    assert world.last_day == np.datetime64("2026-01-06")
