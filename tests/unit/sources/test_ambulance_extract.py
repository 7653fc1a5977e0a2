from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.contracts.source import SourceContract, load_contract
from pipelines.synthetic.population import SourceData, Story, World
from pipelines.synthetic.sources import ambulance
from pipelines.synthetic.world import build_world

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
HIDDEN = {"_provider", "_night", "_person"}


@pytest.fixture(scope="module")
def contract() -> SourceContract:
    return load_contract(MAPPINGS / "ambulance" / "contract.yaml")


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(2000, 5, 2, date(2026, 1, 5))


@pytest.fixture(scope="module")
def data(world: World) -> SourceData:
    return ambulance.build(world)


@pytest.fixture(scope="module")
def frames(data: SourceData) -> dict[str, pd.DataFrame]:
    return {name: table.to_pandas() for name, table in data.tables.items()}


def test_every_entity_has_the_columns_of_its_contract(data: SourceData, contract: SourceContract) -> None:
    assert set(data.tables) == set(contract.entities)
    for name, table in data.tables.items():
        assert set(table.column_names) - HIDDEN == set(contract.entities[name].columns), name


def test_keys_are_unique_and_filled(frames: dict[str, pd.DataFrame], contract: SourceContract) -> None:
    for name, entity in contract.entities.items():
        assert not frames[name].duplicated(["_provider", *entity.key]).any(), name
        assert frames[name][list(entity.key)].notna().all().all(), name


def test_calls_and_patient_care_records_are_those_of_the_timeline(frames: dict[str, pd.DataFrame], world: World) -> None:
    seen = ~np.isnat(world.timeline.scene_at)
    assert set(world.timeline.call_id[seen]) <= set(frames["incident"]["call_id"])
    assert set(world.timeline.epcr_id[seen]) <= set(frames["patient_contact"]["epcr_id"])


def test_every_patient_contact_has_its_call_and_crew(frames: dict[str, pd.DataFrame]) -> None:
    contacts = frames["patient_contact"]
    assert set(contacts["call_id"]) == set(frames["incident"]["call_id"])
    assert len(contacts.merge(frames["response"], on=["call_id", "response_id"])) == len(contacts)


def test_some_incidents_have_two_patients_and_some_calls_several_vehicles(frames: dict[str, pd.DataFrame]) -> None:
    assert frames["patient_contact"]["call_id"].duplicated().any()
    assert {"Rapid response vehicle", "Daily Log"} <= set(frames["response"]["resource_type"])


def test_only_who_was_conveyed_has_a_destination(frames: dict[str, pd.DataFrame]) -> None:
    conveyed = frames["response"]["conveyed_flag"] == "Y"
    assert frames["response"].loc[conveyed, ["destination_ods", "at_destination_ts", "handover_ts"]].notna().all().all()
    assert frames["response"].loc[~conveyed, ["destination_ods", "at_destination_ts", "handover_ts"]].isna().all().all()


def test_times_of_a_journey_are_in_order(frames: dict[str, pd.DataFrame]) -> None:
    conveyed = frames["response"][frames["response"]["conveyed_flag"] == "Y"]
    steps = ["allocated_ts", "mobile_ts", "at_scene_ts", "left_scene_ts", "at_destination_ts", "handover_ts", "clear_ts"]
    times = conveyed[steps].apply(pd.to_datetime, dayfirst=True)
    assert (times.diff(axis=1).iloc[:, 1:] > pd.Timedelta(0)).all().all()


def test_deaths_on_scene_are_on_the_day_of_death(frames: dict[str, pd.DataFrame], world: World) -> None:
    died = frames["patient_contact"][frames["patient_contact"]["died_on_scene"] == "Y"]
    days = pd.to_datetime(died["life_extinct_ts"], dayfirst=True).dt.normalize().to_numpy().astype("datetime64[D]")
    assert len(died) > 0
    assert (days == world.population.death_date[died["_person"]]).all()
    assert (world.population.story[died["_person"]] == Story.ORDINARY).all()


def test_what_was_done_hangs_on_a_patient_care_record(frames: dict[str, pd.DataFrame]) -> None:
    known = set(frames["patient_contact"]["epcr_id"])
    for name in ("observation", "medication", "intervention"):
        assert set(frames[name]["epcr_id"]) <= known


def test_oxygen_saturation_is_at_most_a_hundred(frames: dict[str, pd.DataFrame]) -> None:
    saturations = frames["observation"].loc[frames["observation"]["observation_code"] == "103228002", "value_number"]
    assert saturations.astype(float).between(0, 100).all()


def test_medicines_without_a_code_have_a_name_and_belong_to_no_story(frames: dict[str, pd.DataFrame], world: World) -> None:
    uncoded = frames["medication"][frames["medication"]["drug_code"].isna()]
    assert len(uncoded) > 0
    assert (uncoded["code_system"] == "LOCAL").all()
    assert uncoded["drug_name"].notna().all()
    assert (world.population.story[uncoded["_person"]] == Story.ORDINARY).all()


def test_falls_heart_attacks_and_exacerbations_of_the_stories_have_visits(data: SourceData, world: World) -> None:
    visited = {row.person for row in data.truth if row.table == "visit_occurrence"}
    for kind in (Story.FALL, Story.HEART_ATTACK, Story.COPD_EXACERBATION, Story.MENTAL_HEALTH_SPELL):
        assert set(world.population.people_in_story(kind)) <= visited


def test_the_same_seed_gives_the_same_tables(world: World, data: SourceData) -> None:
    again = ambulance.build(world)
    assert all(again.tables[name].equals(table) for name, table in data.tables.items())
