"""A release pins the versions of its own run, and counts the rows of these."""

from pathlib import Path

from pyspark.sql import SparkSession

from pipelines.contracts.derived import released_tables
from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.making_releases import pins_of
from pipelines.release.model import TablePin
from pipelines.storage.paths import StoragePaths
from pipelines.storage.tables import TableStore


def test_what_was_written_after_the_run_is_not_pinned(sail: SparkSession, tmp_path: Path) -> None:
    store = TableStore(sail, StoragePaths(tmp_path / "restricted", tmp_path / "deidentified"))
    schema = {"id": "bigint"}
    for zone, name in ((Zone.OMOP, "person"), (Zone.OMOP, "death"), (Zone.VOCABULARY, "concept")):
        for rows in (1, 3):
            store.overwrite(sail.range(rows), zone, name, schema)
    versions = {TableName(Zone.OMOP, "person"): 0, TableName(Zone.VOCABULARY, "concept"): 0}
    pins = pins_of(store, released_tables("5.4", ()), versions)
    assert [len(pin.files or "") for pin in pins] == [64, 64, 64]
    assert tuple(pin.model_copy(update={"files": None}) for pin in pins) == (
        TablePin(zone="omop", name="death", version=1, rows=3),
        TablePin(zone="omop", name="person", version=0, rows=1),
        TablePin(zone="vocabulary", name="concept", version=0, rows=1),
    )


def test_a_derived_table_that_the_run_did_not_make_is_not_pinned(sail: SparkSession, tmp_path: Path) -> None:
    store = TableStore(sail, StoragePaths(tmp_path / "restricted", tmp_path / "deidentified"))
    for name in ("person", "measurement_harmonised"):
        store.overwrite(sail.range(2), Zone.OMOP, name, {"id": "bigint"})
    for made in ({"person"}, {"person", "measurement_harmonised"}):
        versions = {TableName(Zone.OMOP, name): 0 for name in made}
        assert {pin.name for pin in pins_of(store, released_tables("5.4", made), versions)} == made
