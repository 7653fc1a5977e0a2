"""A code that comes to mean something else: what is adopted is, row by row, what building everything anew gives."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from jobs.steps.map import write
from pipelines.contracts.cdm import CODE_BUCKET
from pipelines.contracts.zones import Zone
from pipelines.omop.build import adopt, build
from pipelines.storage.tables import TableStore
from tests.embedded.test_omop_build import CODE_MAP, map_inputs, store_with_vocabulary

CodeMap = Sequence[tuple[Any, ...]]

OTHER_TARGETS = (
    (4329847, "Condition"),
    (40162522, "Drug"),
    (4097216, "Procedure"),
    (3004249, "Measurement"),
    (4053609, "Observation"),
)
ONLY_WHEN_ADOPTED = {"former_code_map", "changed_codes", "former_event_collisions"}


def tables(store: TableStore) -> dict[str, pd.DataFrame]:
    """Every table that the map stage stores, in a fixed order of rows."""
    found = {}
    for zone in (Zone.INTERMEDIATE, Zone.OMOP):
        for folder in sorted((store.deidentified / zone).iterdir()):
            if folder.name not in ONLY_WHEN_ADOPTED:
                frame = store.read(zone, folder.name).toPandas()
                found[f"{zone}.{folder.name}"] = frame.sort_values(list(frame.columns), ignore_index=True)
    return found


def built(session: SparkSession, folder: Path, code_map: CodeMap) -> TableStore:
    """A lakehouse into which everything was mapped by a code map."""
    store = store_with_vocabulary(session, folder)
    for output in build(map_inputs(session, code_map), store.read):
        write(store, output)
    return store


@pytest.fixture(scope="module")
def before(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lakehouse mapped by CODE_MAP, to be copied."""
    folder = tmp_path_factory.mktemp("before") / "lake"
    built(sail, folder, CODE_MAP)
    return folder


def copy_of(lake: Path, session: SparkSession, folder: Path) -> TableStore:
    """A copy of a lakehouse, to be changed."""
    shutil.copytree(lake, folder)
    return TableStore(session, folder / "restricted", folder / "deidentified")


def adopted(session: SparkSession, store: TableStore, code_map: CodeMap, *, is_new_vocabulary: bool) -> list[str]:
    """Adopt a code map; gives the names of what was written."""
    names = []
    for output in adopt(map_inputs(session, code_map), store.read, is_new_vocabulary=is_new_vocabulary):
        write(store, output)
        names.append(output.name)
    return names


def changed(code: tuple[str, str], targets: Sequence[tuple[int, str]]) -> list[tuple[Any, ...]]:
    """CODE_MAP with these targets for a code; without any it is known and maps to nothing."""
    others = [row for row in CODE_MAP if row[:2] != code]
    source = next(row[3] for row in CODE_MAP if row[:2] == code)
    rows = [(*code, place, source, target, domain, None, "local") for place, (target, domain) in enumerate(sorted(targets))]
    return others + (rows or [(*code, 0, source, 0, None, None, "none")])


def assert_same(one: TableStore, other: TableStore) -> None:
    """Both lakehouses hold the same tables."""
    left, right = tables(one), tables(other)
    assert left.keys() == right.keys()
    for name, frame in left.items():
        pd.testing.assert_frame_equal(frame, right[name], obj=name)


@pytest.mark.parametrize(
    ("code", "targets"),
    [
        (("ICD10", "J45.9"), [(4053609, "Observation")]),
        (("ICD10", "I65.2"), [(4329847, "Condition")]),
        (("NHS Unit", "mmol/l"), []),
        (("NHS Gender", "1"), [(8532, "Gender")]),
    ],
    ids=["other_domain", "fewer_targets", "unit", "person"],
)
def test_adopting_a_code_map_equals_building_anew(
    sail: SparkSession, before: Path, tmp_path: Path, code: tuple[str, str], targets: list[tuple[int, str]]
) -> None:
    after = changed(code, targets)
    store = copy_of(before, sail, tmp_path / "adopted")
    former = tables(store)
    adopted(sail, store, after, is_new_vocabulary=False)
    assert_same(store, built(sail, tmp_path / "anew", after))
    assert any(not frame.equals(former[name]) for name, frame in tables(store).items() if name.startswith("omop."))


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, phases=[Phase.generate])
@given(data=st.data())
def test_any_changes_at_once_equal_building_anew(
    sail: SparkSession, before: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    codes = sorted({row[:2] for row in CODE_MAP if row[0] in ("ICD10", "Read", "NHS Local Pathology")})
    after = CODE_MAP
    for code in data.draw(st.lists(st.sampled_from(codes), min_size=1, max_size=4, unique=True)):
        targets = data.draw(st.lists(st.sampled_from(OTHER_TARGETS), max_size=3, unique=True))
        after = [row for row in after if row[:2] != code] + [row for row in changed(code, targets) if row[:2] == code]
    folder = tmp_path_factory.mktemp("adopt")
    store = copy_of(before, sail, folder / "adopted")
    adopted(sail, store, after, is_new_vocabulary=data.draw(st.booleans()))
    assert_same(store, built(sail, folder / "anew", after))


def test_only_tables_and_buckets_with_a_changed_code_are_written(sail: SparkSession, before: Path, tmp_path: Path) -> None:
    store = copy_of(before, sail, tmp_path / "lake")
    conditions = tmp_path / "lake" / "deidentified" / "omop" / "condition_occurrence"
    former = {path.name for path in conditions.glob(f"{CODE_BUCKET}=*/*.parquet")}
    written = adopted(sail, store, changed(("ICD10", "J45.9"), [(4329847, "Condition")]), is_new_vocabulary=False)
    assert not {"person", "visit_occurrence", "measurement", "stem", "drug_exposure", "observation_period"} & set(written)
    assert "episode" in written  # what it is about has changed
    assert "fact_relationship" not in written  # no event has moved
    there = {path.name for path in conditions.glob(f"{CODE_BUCKET}=*/*.parquet")}
    assert len(there - former) == 1
    assert len(former) > 1
