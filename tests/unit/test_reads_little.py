import json
from pathlib import Path

import pytest

from pipelines import run_context
from pipelines.run_context import reads_little
from pipelines.settings import Settings, load_settings

PLACES = (
    "landing/gp/Y99001/20260105/patients.csv",
    "restricted/bronze/gp_patient/p.parquet",
    "deidentified/vocabulary/concept/p.parquet",
)


def put(settings: Settings, place: str, size: int) -> None:
    path = settings.storage.landing.parent / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"0" * size)


@pytest.mark.parametrize("place", PLACES)
def test_deliveries_bronze_and_vocabulary_count(place: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_context, "LITTLE_BYTES", 30)
    assert reads_little(settings)
    for other in PLACES:
        put(settings, other, 10)
    assert reads_little(settings)
    put(settings, place, 11)
    assert not reads_little(settings)


def test_tables_that_are_made_of_them_do_not_count(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_context, "LITTLE_BYTES", 30)
    put(settings, "deidentified/omop/person/p.parquet", 31)
    assert reads_little(settings)


def test_what_is_in_catalogs_is_not_taken_for_little(tmp_path: Path) -> None:
    catalog = {"identifiable": "secure", "deidentified": "research"}
    places = [f"storage.{name}={tmp_path / name}" for name in ("landing", "restricted", "deidentified")]
    assert not reads_little(load_settings("test", overrides=[*places, f"storage.catalog={json.dumps(catalog)}"]))
