"""The generated acute, mental health and community extracts keep their contracts and contain their stories and traps."""

from datetime import date
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.contracts.source import SourceContract, load_contract
from pipelines.synthetic.population import SourceData, Story, World
from pipelines.synthetic.world import build_world

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
SOURCES = ("acute", "mental_health", "community")
PEOPLE = 1000

MEASURED = {"weight", "height", "length"}
"""The values that tell the rows of one community activity apart: each row has some of them."""


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(PEOPLE, 11, 2, date(2025, 6, 2))


@pytest.fixture(scope="module")
def extracts(world: World) -> dict[str, SourceData]:
    return {source: import_module(f"pipelines.synthetic.sources.{source}").build(world) for source in SOURCES}


@pytest.fixture(scope="module")
def contracts() -> dict[str, SourceContract]:
    return {source: load_contract(MAPPINGS / source / "contract.yaml") for source in SOURCES}


def delivered(data: SourceData, entity: str) -> pd.DataFrame:
    return data.tables[entity].to_pandas()


def rows_of(data: SourceData, entity: str, person: int) -> pd.DataFrame:
    rows = delivered(data, entity)
    return rows[rows["_person"] == person]


def story_people(world: World) -> np.ndarray:
    return np.flatnonzero(world.population.story != Story.ORDINARY)


@pytest.mark.parametrize("source", SOURCES)
def test_every_entity_with_files_has_a_table_with_the_columns_of_its_contract(
    extracts: dict[str, SourceData], contracts: dict[str, SourceContract], source: str
) -> None:
    expected = {name: set(entity.columns) for name, entity in contracts[source].entities.items() if entity.files}
    found = {
        name: {column for column in table.column_names if not column.startswith("_")}
        for name, table in extracts[source].tables.items()
    }
    assert found == expected


@pytest.mark.parametrize("source", SOURCES)
def test_keys_and_required_columns_are_never_empty(
    extracts: dict[str, SourceData], contracts: dict[str, SourceContract], source: str
) -> None:
    for name, entity in contracts[source].entities.items():
        if entity.files:
            table = extracts[source].tables[name]
            needed = set(entity.key) | {column for column, spec in entity.columns.items() if spec.required}
            needed -= MEASURED if name == "observation" else set()
            assert {column: table[column].null_count for column in needed} == dict.fromkeys(needed, 0)


@pytest.mark.parametrize("source", SOURCES)
def test_the_rows_of_one_key_differ_in_their_version(
    extracts: dict[str, SourceData], contracts: dict[str, SourceContract], source: str
) -> None:
    for name, entity in contracts[source].entities.items():
        if entity.files:
            rows = delivered(extracts[source], name)
            assert not rows.duplicated([*entity.key, *entity.version, "_provider", "_night"]).any(), name


@pytest.mark.parametrize("source", SOURCES)
def test_references_lead_to_rows_of_the_other_entity(
    extracts: dict[str, SourceData], contracts: dict[str, SourceContract], source: str
) -> None:
    contract = contracts[source]
    for name, entity in contract.entities.items():
        links = {key: (link.entity, link.columns) for key, link in entity.references.items()}
        if entity.subject.via:
            links["via"] = (entity.subject.via.entity, entity.subject.via.columns)
        for key, (parent, columns) in links.items():
            if contract.entities[parent].files and entity.files:
                theirs = delivered(extracts[source], parent)[list(contract.entities[parent].key)]
                ours = delivered(extracts[source], name)[list(columns)].dropna()
                known = set(map(tuple, theirs.to_numpy()))
                assert set(map(tuple, ours.to_numpy())) <= known, f"{name}.{key}"


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_world_gives_the_same_extract(world: World, extracts: dict[str, SourceData], source: str) -> None:
    again = import_module(f"pipelines.synthetic.sources.{source}").build(world)
    assert all(again.tables[name].equals(table) for name, table in extracts[source].tables.items())
    assert again.truth == extracts[source].truth


@pytest.mark.parametrize("source", SOURCES)
def test_a_world_without_stories_or_pathways_still_gives_every_table(source: str) -> None:
    few = build_world(20, 3, 1, date(2025, 6, 2))
    data = import_module(f"pipelines.synthetic.sources.{source}").build(few)
    assert data.tables


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_tells_stories_of_at_least_eight_people(extracts: dict[str, SourceData], source: str) -> None:
    assert len({truth.person for truth in extracts[source].truth}) >= 8
    assert len({truth.table for truth in extracts[source].truth}) >= 4


@pytest.mark.parametrize("source", SOURCES)
def test_truth_is_about_story_people_alone(world: World, extracts: dict[str, SourceData], source: str) -> None:
    assert {truth.person for truth in extracts[source].truth} <= set(story_people(world).tolist())


def test_the_fall_runs_from_arrival_to_operation(world: World, extracts: dict[str, SourceData]) -> None:
    data = extracts["acute"]
    for person in world.population.people_in_story(Story.FALL):
        attendance = rows_of(data, "ecds_attendance", person).iloc[-1]
        episode = rows_of(data, "apc_episode", person).iloc[0]
        diagnoses = rows_of(data, "apc_diagnosis", person)["diagnosis_code"].tolist()
        operations = rows_of(data, "apc_procedure", person)["procedure_code"].tolist()
        assert attendance["arrival_datetime"][:10].replace("-", "") <= episode["admission_date"]
        assert attendance["ambulance_care_contact_identifier"]
        assert diagnoses[0] == "S720"
        assert diagnoses[-1] in ("W190", "W010")
        assert operations == ["W371", "Z942"]


def test_a_death_in_hospital_ends_the_last_episode(world: World, extracts: dict[str, SourceData]) -> None:
    episodes = delivered(extracts["acute"], "apc_episode")
    for person in world.population.people_in_story(Story.DEATH):
        last = episodes[(episodes["_person"] == person) & (episodes["discharge_method"] == "4")]
        death = str(world.population.death_date[person]).replace("-", "")
        assert last["discharge_date"].tolist() == [death]
        assert last["discharge_destination"].tolist() == ["79"]


def test_a_mental_health_death_is_reported_in_one_month_only(world: World, extracts: dict[str, SourceData]) -> None:
    patients = delivered(extracts["mental_health"], "mpi")
    for person in world.population.people_in_story(Story.DEATH):
        months = patients[patients["_person"] == person]
        assert len(months) > 1
        assert months["pers_death_date"].notna().sum() == 1


def test_open_referrals_are_sent_again_in_every_month_with_a_later_period(extracts: dict[str, SourceData]) -> None:
    for source, period in (("mental_health", "reporting_period_end_date"), ("community", "rp_end_date")):
        referrals = delivered(extracts[source], "referral")
        periods = referrals.groupby("service_request_id")[period]
        assert (periods.size() > 1).any()
        assert periods.apply(lambda values: values.is_monotonic_increasing).all()


def test_diagnoses_are_padded_as_hospitals_do(world: World, extracts: dict[str, SourceData]) -> None:
    diagnoses = delivered(extracts["acute"], "apc_diagnosis")
    codes = diagnoses["diagnosis_code"]
    assert codes.str.match("^[A-Z][0-9]{2}X$").any()
    assert codes.str.contains("-").any()
    assert codes.str.endswith("D").any()
    of_stories = codes[diagnoses["_person"].isin(story_people(world))]
    assert of_stories.str.fullmatch("[A-Z][0-9]{2}[0-9X]").all()


def test_operations_carry_fillers_and_lack_dates(extracts: dict[str, SourceData]) -> None:
    operations = delivered(extracts["acute"], "apc_procedure")
    assert operations["procedure_code"].str.endswith("&").any()
    assert 0.05 < operations["procedure_date"].isna().mean() < 0.35


def test_results_beyond_the_method_have_an_operator(extracts: dict[str, SourceData]) -> None:
    results = delivered(extracts["acute"], "pathology_result")
    assert (results.loc[results["test_name"] == "C-reactive protein", "result_value"] == "<5").any()
    assert results["result_value"].str.startswith(">90").any()


def test_doses_not_given_have_a_reason_and_no_time(extracts: dict[str, SourceData]) -> None:
    doses = delivered(extracts["acute"], "epma_administration")
    not_given = doses[doses["not_given_flag"] == "true"]
    assert len(not_given)
    assert not_given["given_datetime"].isna().all()
    assert not_given["not_given_reason"].notna().all()
    assert doses.loc[doses["not_given_flag"] == "false", "given_datetime"].notna().all()


def test_emergency_attendances_are_sent_open_before_they_are_closed(extracts: dict[str, SourceData]) -> None:
    attendances = delivered(extracts["acute"], "ecds_attendance")
    repeated = attendances[attendances.duplicated("cds_unique_identifier", keep=False)]
    by_attendance = repeated.sort_values("cds_applicable_datetime").groupby("cds_unique_identifier")["departure_datetime"]
    assert len(by_attendance)
    assert by_attendance.apply(lambda times: pd.isna(times.iloc[0])).all()
    assert by_attendance.apply(lambda times: pd.notna(times.iloc[-1])).all()


@pytest.mark.parametrize(
    ("source", "entity", "column"),
    [
        ("acute", "op_attendance", "attended_code"),
        ("mental_health", "care_contact", "attend_status"),
        ("community", "care_contact", "attendance_status"),
    ],
)
def test_missed_and_cancelled_appointments_are_delivered(
    extracts: dict[str, SourceData], source: str, entity: str, column: str
) -> None:
    assert {"2", "3", "4", "5", "6"} <= set(delivered(extracts[source], entity)[column])


def test_one_trust_charts_blood_pressures_as_pairs_and_the_other_as_two_numbers(
    world: World, extracts: dict[str, SourceData]
) -> None:
    rows = delivered(extracts["acute"], "vital_sign")
    ordinary = rows[~rows["_person"].isin(story_people(world))]
    codes = ordinary.groupby("_provider")["observation_code"].agg(set)
    assert {"75367002"} <= codes["RZ2"]
    assert not {"271649006", "271650006"} & codes["RZ2"]
    assert {"271649006", "271650006"} <= codes["RZ1"]
    pairs = rows[rows["observation_code"] == "75367002"]
    assert pairs["value_number"].isna().all()
    systolic, diastolic = pairs["value_text"].str.split("/", expand=True).astype(int).to_numpy().T
    assert (systolic > diastolic).all()
    assert rows["observation_id"].is_unique


def test_a_request_is_answered_from_a_sample_of_each_kind_its_tests_need(extracts: dict[str, SourceData]) -> None:
    rows = delivered(extracts["acute"], "pathology_result")
    kinds = rows.groupby("test_name")["specimen_type"].agg(set)
    assert (kinds["Haemoglobin"], kinds["Creatinine"], kinds["Glucose"]) == ({"EDTA blood"}, {"Serum"}, {"Fluoride plasma"})
    assert rows.groupby("order_id")["specimen_type"].nunique().max() > 1
    taken = rows.groupby(["order_id", "specimen_type"])["collected_datetime"].nunique()
    assert (taken == 1).all()
