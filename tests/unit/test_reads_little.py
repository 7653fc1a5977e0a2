import json
from pathlib import Path

import pytest

from pipelines import run_context
from pipelines.engine_settings import EngineKind, EngineSettings
from pipelines.run_context import reads_little
from pipelines.settings import Settings, load_settings

PLACES = (
    "landing/gp/Y99001/20260105/patients.csv",
    "restricted/bronze/gp_patient/p.parquet",
    "deidentified/vocabulary/concept/p.parquet",
)


@pytest.fixture
def local(settings: Settings) -> Settings:
    """An environment whose engine is a Spark on this machine."""
    return settings.model_copy(update={"engine": EngineSettings(kind=EngineKind.SPARK)})


def put(settings: Settings, place: str, size: int) -> None:
    path = settings.storage.landing.parent / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"0" * size)


@pytest.mark.parametrize("place", PLACES)
def test_deliveries_bronze_and_vocabulary_count(place: str, local: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_context, "LITTLE_BYTES", 30)
    assert reads_little(local)
    for other in PLACES:
        put(local, other, 10)
    assert reads_little(local)
    put(local, place, 11)
    assert not reads_little(local)


def test_tables_that_are_made_of_them_do_not_count(local: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_context, "LITTLE_BYTES", 30)
    put(local, "deidentified/omop/person/p.parquet", 31)
    assert reads_little(local)


def test_what_is_in_catalogs_is_not_taken_for_little(tmp_path: Path) -> None:
    catalog = {"identifiable": "secure", "deidentified": "research"}
    places = ["engine.kind=spark", *(f"storage.{name}={tmp_path / name}" for name in ("landing", "restricted", "deidentified"))]
    assert not reads_little(load_settings("test", overrides=[*places, f"storage.catalog={json.dumps(catalog)}"]))


def test_it_is_not_looked_for_where_it_does_not_count(settings: Settings) -> None:
    assert not reads_little(settings)


def test_a_folder_that_cannot_be_read_is_not_taken_for_little(local: Settings) -> None:
    assert reads_little(local)
    storage = local.storage.model_copy(update={"landing": local.storage.landing.parent / ("x" * 300)})
    assert not reads_little(local.model_copy(update={"storage": storage}))
