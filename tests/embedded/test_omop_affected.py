"""A code that gets another concept: what is made again is, row by row, what making everything would give."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from pipelines.contracts.cdm import CODE_BUCKET
from pipelines.contracts.zones import Zone
from pipelines.storage.tables import StoragePaths, TableStore
from tests.embedded.test_omop_build import CODE_MAP, map_inputs, run_map, store_with_silver, tables_with

CodeMap = Sequence[tuple[Any, ...]]

OTHER_TARGETS = (
    (4329847, "Condition"),
    (40162522, "Drug"),
    (4097216, "Procedure"),
    (3004249, "Measurement"),
    (4053609, "Observation"),
)


def tables(store: TableStore) -> dict[str, pd.DataFrame]:
    """Every table that the map stage stores, in a fixed order of rows."""
    found = {}
    for zone in (Zone.INTERMEDIATE, Zone.OMOP):
        for name in store.paths.names(zone):
            frame = pd.DataFrame(store.read(zone, name).toPandas())
            found[f"{zone}.{name}"] = frame.sort_values(list(frame.columns), ignore_index=True)
    return found


def built(session: SparkSession, folder: Path, code_map: CodeMap) -> TableStore:
    """A lakehouse into which everything was mapped by a code map."""
    store = store_with_silver(session, folder)
    rebuilt(store, folder, code_map)
    return store


def rebuilt(store: TableStore, folder: Path, code_map: CodeMap) -> list[str]:
    """Bring a lakehouse up to date with a code map; gives the names of the tables that were made or found to be equal."""
    return run_map(store, folder, tables_with(map_inputs(), code_map))


@pytest.fixture(scope="module")
def before(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lakehouse mapped by CODE_MAP, to be copied."""
    folder = tmp_path_factory.mktemp("before") / "lake"
    built(sail, folder, CODE_MAP)
    return folder


def copy_of(lake: Path, session: SparkSession, folder: Path) -> TableStore:
    """A copy of a lakehouse, to be changed."""
    shutil.copytree(lake, folder)
    return TableStore(session, StoragePaths(folder / "restricted", folder / "deidentified"))


def changed(code: tuple[str, str], targets: Sequence[tuple[int, str]]) -> list[tuple[Any, ...]]:
    """CODE_MAP with these targets for a code; without any it is known and maps to nothing."""
    others = [row for row in CODE_MAP if row[:2] != code]
    source = next(row[3] for row in CODE_MAP if row[:2] == code)
    rows: list[tuple[Any, ...]] = [
        (*code, place, source, target, domain, None, "local") for place, (target, domain) in enumerate(sorted(targets))
    ]
    return others + (rows or [(*code, 0, source, 0, None, None, "none")])


def assert_same(rebuilt: TableStore, whole: TableStore) -> None:
    """Both lakehouses hold the same tables."""
    left, right = tables(rebuilt), tables(whole)
    assert left.keys() == right.keys()
    for name, frame in left.items():
        pd.testing.assert_frame_equal(frame, right[name], obj=name)


@pytest.mark.parametrize(
    ("code", "targets"),
    [
        (("ICD10", "J45.9"), [(4053609, "Observation")]),
        pytest.param(("ICD10", "I65.2"), [(4329847, "Condition")], marks=pytest.mark.deep),
        pytest.param(("NHS Unit", "mmol/l"), [], marks=pytest.mark.deep),
        pytest.param(("NHS Gender", "1"), [(8532, "Gender")], marks=pytest.mark.deep),
    ],
    ids=["other_domain", "fewer_targets", "unit", "person"],
)
def test_rebuilding_what_is_affected_equals_building_everything(
    sail: SparkSession, before: Path, tmp_path: Path, code: tuple[str, str], targets: list[tuple[int, str]]
) -> None:
    after = changed(code, targets)
    store = copy_of(before, sail, tmp_path / "affected")
    former = tables(store)
    rebuilt(store, tmp_path / "affected", after)
    assert_same(store, built(sail, tmp_path / "everything", after))
    assert any(not frame.equals(former[name]) for name, frame in tables(store).items() if name.startswith("omop."))


@pytest.mark.deep
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, phases=[Phase.generate])
@given(data=st.data())
def test_any_changes_at_once_equal_building_everything(
    sail: SparkSession, before: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    codes = sorted({row[:2] for row in CODE_MAP if row[0] in ("ICD10", "Read", "NHS Local Pathology")})
    after = CODE_MAP
    for code in data.draw(st.lists(st.sampled_from(codes), min_size=1, max_size=4, unique=True)):
        targets = data.draw(st.lists(st.sampled_from(OTHER_TARGETS), max_size=3, unique=True))
        after = [row for row in after if row[:2] != code] + [row for row in changed(code, targets) if row[:2] == code]
    folder = tmp_path_factory.mktemp("changes")
    store = copy_of(before, sail, folder / "affected")
    rebuilt(store, folder / "affected", after)
    assert_same(store, built(sail, folder / "everything", after))


def test_only_tables_and_buckets_with_a_changed_code_are_written(sail: SparkSession, before: Path, tmp_path: Path) -> None:
    store = copy_of(before, sail, tmp_path / "lake")
    conditions = tmp_path / "lake" / "deidentified" / "omop" / "condition_occurrence"
    files = {path.name for path in conditions.glob(f"{CODE_BUCKET}=*/*.parquet")}
    versions = versions_of(store)
    rebuilt(store, tmp_path / "lake", changed(("ICD10", "J45.9"), [(4329847, "Condition")]))
    written = {name for name, version in versions_of(store).items() if version != versions[name]}
    assert written == {
        "intermediate.code_map",
        "intermediate.concept_map",
        "intermediate.routes",
        "intermediate.unmapped_codes",
        "intermediate.episodes",  # what an episode is about has changed
        "intermediate.eras",
        "intermediate.map_ledger",
        "intermediate.map_written",
        "omop.condition_era",
        "omop.condition_occurrence",
        "omop.dose_era",
        "omop.drug_era",
        "omop.episode",
        "omop.event_evidence",
        "omop.same_fact",
    }
    there = {path.name for path in conditions.glob(f"{CODE_BUCKET}=*/*.parquet")}
    assert len(there - files) == 1
    assert len(files) > 1


def versions_of(store: TableStore) -> dict[str, int | None]:
    """The version of every table that the map stage stores."""
    return {
        f"{zone}.{name}": store.version(zone, name)
        for zone in (Zone.INTERMEDIATE, Zone.OMOP)
        for name in store.paths.names(zone)
    }


def test_a_map_of_no_code_in_use_makes_nothing_again(sail: SparkSession, before: Path, tmp_path: Path) -> None:
    store = copy_of(before, sail, tmp_path / "lake")
    versions = versions_of(store)
    rebuilt(store, tmp_path / "lake", [*CODE_MAP, ("ICD10", "A00.9", 0, 0, 4329847, "Condition", None, "local")])
    assert versions_of(store) == versions
