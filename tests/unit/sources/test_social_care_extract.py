from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.contracts.source import SourceContract, load_contract, normalise_header
from pipelines.synthetic.population import SourceData, Story, World
from pipelines.synthetic.sources import social_care
from pipelines.synthetic.sources.social_care_values import RELEASE_1_SPELLINGS
from pipelines.synthetic.world import build_world

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
HIDDEN = {"_provider", "_night", "_person", "_headers"}


@pytest.fixture(scope="module")
def contract() -> SourceContract:
    return load_contract(MAPPINGS / "social_care" / "contract.yaml")


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(3000, 5, 2, date(2026, 1, 5))


@pytest.fixture(scope="module")
def data(world: World) -> SourceData:
    return social_care.build(world)


@pytest.fixture(scope="module")
def rows(data: SourceData) -> pd.DataFrame:
    return data.tables["cld"].to_pandas()


def day_of(texts: pd.Series) -> np.ndarray:
    days: np.ndarray = pd.to_datetime(texts, format="%d/%m/%Y").to_numpy().astype("datetime64[D]")
    return days


def test_the_file_has_the_columns_of_its_contract(data: SourceData, contract: SourceContract) -> None:
    assert set(data.tables) == {"cld"}
    assert set(data.tables["cld"].column_names) - HIDDEN == set(contract.entities["cld"].columns)


def test_an_event_is_sent_once_per_submission(rows: pd.DataFrame, contract: SourceContract) -> None:
    assert not rows.duplicated(["_provider", "reporting_period_end_date", *contract.entities["cld"].key]).any()


def test_services_are_open_in_one_submission_and_closed_in_a_later_one(rows: pd.DataFrame, contract: SourceContract) -> None:
    spelled = rows.replace({new: old for old, new in RELEASE_1_SPELLINGS.items()})
    key_of_services = [name for name in contract.entities["cld"].key if name != "event_end_date"]
    repeated = spelled[spelled.duplicated(["_provider", *key_of_services], keep=False)]
    assert len(repeated) > 0
    assert (repeated["event_type"] == "Service").all()
    is_open = repeated["event_end_date"].isna()
    assert is_open.sum() == (~is_open).sum()


def test_only_services_may_be_open(rows: pd.DataFrame) -> None:
    assert set(rows.loc[rows["event_end_date"].isna(), "event_type"]) == {"Service"}


def test_release_1_headers_and_spellings_come_from_one_council_before_october_2025(rows: pd.DataFrame) -> None:
    release_1 = rows["_headers"].notna()
    assert set(rows.loc[release_1, "_provider"]) == {"992"}
    assert (day_of(rows.loc[release_1, "reporting_period_end_date"]) < np.datetime64("2025-10-01")).all()
    assert {"Service User"} <= set(rows.loc[release_1, "client_type"])
    assert {"Service user"} <= set(rows.loc[~release_1, "client_type"])


def test_names_are_in_release_1_only(rows: pd.DataFrame) -> None:
    assert rows.loc[rows["_headers"].isna(), ["first_name", "last_name"]].isna().all().all()


def test_the_first_alias_of_each_column_is_its_release_1_header(contract: SourceContract) -> None:
    for name, column in contract.entities["cld"].columns.items():
        assert column.aliases, name
        assert "_" not in column.aliases[0].replace("Person_ID", ""), name


def test_reablement_follows_hospital(rows: pd.DataFrame, world: World) -> None:
    reabled = rows[rows["service_component"] == "Reablement"]
    due = {
        (int(person), str(day))
        for person, day in zip(world.timeline.person, world.timeline.reablement_from.astype("datetime64[D]"), strict=True)
        if not np.isnat(day)
    }
    assert set(zip(reabled["_person"], day_of(reabled["event_start_date"]).astype(str), strict=True)) <= due


def test_carers_known_by_association_have_neither_birth_date_nor_number(rows: pd.DataFrame) -> None:
    known = rows[rows["client_type"].str.endswith("by association")]
    assert len(known) > 0
    assert known[["nhs_number", "date_of_birth", "postcode", "gender"]].isna().all().all()


def test_no_event_starts_after_death_or_after_the_last_day(rows: pd.DataFrame, world: World) -> None:
    start = day_of(rows["event_start_date"])
    assert (start <= world.last_day).all()
    assert not (start > world.population.death_date[rows["_person"]]).any()


def test_some_services_end_after_the_person_died(rows: pd.DataFrame, world: World) -> None:
    closed = rows.dropna(subset=["event_end_date"])
    assert (day_of(closed["event_end_date"]) > world.population.death_date[closed["_person"]]).any()


def test_the_people_of_the_story_are_assessed_and_supported(data: SourceData, world: World) -> None:
    for person in world.population.people_in_story(Story.SOCIAL_CARE):
        tables = {row.table for row in data.truth if row.person == person}
        assert {"procedure_occurrence", "observation", "condition_occurrence"} <= tables


def test_headers_of_both_releases_are_one_column(contract: SourceContract) -> None:
    columns = contract.entities["cld"].columns
    spellings = [normalise_header(name) for column in columns.values() for name in {column.header or "", *column.aliases}]
    owners = {normalise_header(column.header or ""): name for name, column in columns.items()}
    assert len(owners) == len(columns)
    assert normalise_header("Autism Spectrum Disorder (ASD)") in spellings
