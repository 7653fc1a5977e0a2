from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from pipelines.contracts.source import SourceContract, load_contract, normalise_header
from pipelines.synthetic.population import SourceData, Story, World
from pipelines.synthetic.sources import gp
from pipelines.synthetic.world import build_world

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
HIDDEN = {"_provider", "_night", "_person"}


@pytest.fixture(scope="module")
def contract() -> SourceContract:
    return load_contract(MAPPINGS / "gp" / "contract.yaml")


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(400, 5, 3, date(2026, 1, 5))


@pytest.fixture(scope="module")
def data(world: World) -> SourceData:
    return gp.build(world)


@pytest.fixture(scope="module")
def frames(data: SourceData) -> dict[str, pd.DataFrame]:
    return {name: table.to_pandas() for name, table in data.tables.items()}


@pytest.fixture(scope="module")
def coded(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    codes = frames["clinical_code"].drop_duplicates("code_id")
    return frames["observation"].merge(codes, on="code_id", suffixes=("", "_code"))


def test_every_entity_has_the_columns_of_its_contract(data: SourceData, contract: SourceContract) -> None:
    assert set(data.tables) == set(contract.entities)
    for name, table in data.tables.items():
        assert set(table.column_names) - HIDDEN == set(contract.entities[name].columns), name


def test_required_columns_are_filled(frames: dict[str, pd.DataFrame], contract: SourceContract) -> None:
    for name, entity in contract.entities.items():
        for column, spec in entity.columns.items():
            if spec.required:
                assert frames[name][column].notna().all(), f"{name}.{column}"


def test_keys_are_unique_within_a_practice_and_night(frames: dict[str, pd.DataFrame], contract: SourceContract) -> None:
    for name, entity in contract.entities.items():
        assert not frames[name].duplicated(["_provider", "_night", *entity.key]).any(), name


def test_children_belong_to_a_registered_patient_but_for_the_strangers(frames: dict[str, pd.DataFrame]) -> None:
    patients = frames["patient"][["organisation_guid", "patient_guid"]].drop_duplicates()
    for name in ("consultation", "observation", "problem", "referral", "drug_record", "issue_record", "appointment_slot"):
        joined = frames[name].merge(patients, on=["organisation_guid", "patient_guid"], how="left", indicator=True)
        strangers = joined["_merge"] == "left_only"
        assert (joined.loc[strangers, "_person"] == -1).all()
        assert strangers.sum() == ((frames[name]["_person"] == -1).sum() if name == "observation" else 0)


def test_a_problem_has_the_guid_of_its_entry(frames: dict[str, pd.DataFrame]) -> None:
    entries = frames["observation"].loc[frames["observation"]["observation_type"] == "Problem", "observation_guid"]
    assert set(frames["problem"]["observation_guid"]) == set(entries)


def test_a_referral_has_the_guid_of_its_entry(frames: dict[str, pd.DataFrame]) -> None:
    entries = frames["observation"].loc[frames["observation"]["observation_type"] == "Referral", "observation_guid"]
    assert set(frames["referral"]["observation_guid"]) == set(entries)


def test_consultations_of_entries_exist(frames: dict[str, pd.DataFrame]) -> None:
    known = set(frames["consultation"]["consultation_guid"])
    for name in ("observation", "issue_record"):
        assert set(frames[name]["consultation_guid"].dropna()) <= known


def test_a_slot_that_was_not_attended_leads_to_no_consultation(frames: dict[str, pd.DataFrame]) -> None:
    missed = frames["appointment_slot"].loc[frames["appointment_slot"]["did_not_attend"] == "TRUE", "slot_guid"]
    assert len(missed) > 0
    assert not set(missed) & set(frames["consultation"]["appointment_slot_guid"].dropna())


def test_records_before_a_move_are_at_the_former_practice(frames: dict[str, pd.DataFrame], world: World) -> None:
    moved = frames["consultation"][world.population.gp_practice2[frames["consultation"]["_person"]] != ""]
    moved_on = pd.Series(world.population.moved_on[moved["_person"]], index=moved.index)
    before = pd.to_datetime(moved["effective_date"]) < moved_on
    former = pd.Series(world.population.gp_practice2[moved["_person"]], index=moved.index)
    current = pd.Series(world.population.gp_practice[moved["_person"]], index=moved.index)
    assert before.any()
    assert (moved["_provider"] == former.where(before, current)).all()


def test_type_1_dissents_are_recorded_for_the_people_who_made_them(coded: pd.DataFrame, world: World) -> None:
    dissent = coded[coded["read_term_id"].isin(["9Nu0.", "9Nu0"])]
    withdrawal = coded[coded["read_term_id"] == "9Nu1."]
    asked = {number for number, choice in enumerate(world.population.type1) if choice}
    assert set(dissent["_person"]) == asked
    assert {number for number in asked if world.population.type1[number] == "withdrawn"} == set(withdrawal["_person"])


def test_a_withdrawal_is_later_than_its_dissent(coded: pd.DataFrame) -> None:
    dissent = coded[coded["read_term_id"].isin(["9Nu0.", "9Nu0"])].set_index("_person")["entered_date"]
    withdrawal = coded[coded["read_term_id"] == "9Nu1."].set_index("_person")["entered_date"]
    assert (withdrawal > dissent.reindex(withdrawal.index)).all()


def test_the_look_alike_of_the_dissent_is_recorded_for_people_who_made_none(coded: pd.DataFrame, world: World) -> None:
    like = coded[coded["read_term_id"] == "9nu0."]
    assert len(like) > 0
    assert (world.population.type1[like["_person"]] == "").all()


def test_nothing_of_a_story_is_imprecise(frames: dict[str, pd.DataFrame], world: World) -> None:
    entries = frames["observation"][frames["observation"]["_person"] >= 0]
    of_story = entries[world.population.story[entries["_person"]] != Story.ORDINARY]
    assert (of_story["effective_date_precision"] == "YMD").all()


def test_traps_are_there(frames: dict[str, pd.DataFrame]) -> None:
    assert {"Y", "YM", "U"} <= set(frames["observation"]["effective_date_precision"])
    assert frames["observation"].loc[frames["observation"]["effective_date_precision"] == "U", "effective_date"].isna().all()
    assert "1900-01-01" in set(frames["patient"]["date_of_registration"])
    assert frames["issue_record"]["drug_record_guid"].isna().any()
    assert "Dummy" in set(frames["patient"]["patient_type_description"])


def test_a_death_is_known_from_the_night_after_it(frames: dict[str, pd.DataFrame], world: World) -> None:
    patients = frames["patient"].dropna(subset=["date_of_death"])
    known_from = world.night_of(pd.to_datetime(patients["date_of_death"]).to_numpy())
    assert (patients["_night"] == known_from).all()


def test_nothing_happens_after_the_last_day_or_after_death(frames: dict[str, pd.DataFrame], world: World) -> None:
    for name in ("consultation", "observation", "issue_record"):
        rows = frames[name].dropna(subset=["effective_date"])
        rows = rows[rows["_person"] >= 0]
        dates = pd.to_datetime(rows["effective_date"]).to_numpy().astype("datetime64[D]")
        assert (dates <= world.last_day).all()
        assert not (dates > world.population.death_date[rows["_person"]]).any()


def test_the_same_seed_gives_the_same_tables(world: World, data: SourceData) -> None:
    again = gp.build(world)
    assert all(again.tables[name].equals(table) for name, table in data.tables.items())
    assert again.truth == data.truth


def test_truth_is_about_rows_that_are_delivered(data: SourceData, coded: pd.DataFrame) -> None:
    conditions = {
        (row.person, row.source_value, str(row.start_date)) for row in data.truth if row.table == "condition_occurrence"
    }
    delivered = set(zip(coded["_person"], coded["snomed_ct_concept_id"], coded["effective_date"], strict=True))
    assert conditions
    assert conditions <= delivered
    assert len({row.person for row in data.truth}) >= 8


@pytest.mark.parametrize("header", ["ClinicanUserInRoleGuid", "ClinicianUserInRoleGuid", "CLINICIANUSERINROLEGUID"])
def test_the_clinician_is_found_under_every_spelling_that_emis_used(contract: SourceContract, header: str) -> None:
    column = contract.entities["observation"].columns["clinician_user_in_role_guid"]
    assert normalise_header(header) in {normalise_header(name) for name in (column.header or "", *column.aliases)}
