"""Upkeep by SQL on Spark: the same rules, and what is kept can be read by both."""

from datetime import date

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.tables import Partitions, TableName
from pipelines.contracts.zones import Zone
from pipelines.release.model import Release, TablePin
from pipelines.release.published import release_folder
from pipelines.release.store import Hold
from pipelines.run_inputs import build_state_path
from pipelines.runner import BuildState, BuiltTable
from pipelines.settings import Settings, UpkeepSettings
from pipelines.storage.maintenance import executor_for, on_disk
from pipelines.terminology.vocabulary import store_of
from pipelines.upkeep.keeping import keep_up, would_do
from tests.builders.publications import RELEASE

BRONZE, PERSON, ROWS = TableName(Zone.BRONZE, "gp_journal"), TableName(Zone.OMOP, "person"), TableName(Zone.LEDGER, "rows")
NIGHTS = 6


@pytest.mark.deep
def test_a_lake_on_spark_is_kept_up(spark: SparkSession, settings: Settings) -> None:
    settings.storage.restricted.mkdir(mode=0o700)
    settings.storage.deidentified.mkdir()
    policy = UpkeepSettings(keep_releases=1, keep_days=0, keep_runs=3, small_files=5)
    settings = settings.model_copy(update={"upkeep": policy})
    store = store_of(spark, settings)
    for night in range(NIGHTS):
        load, run = f"l{night:02}", f"202601{night + 1:02}-{night + 1:05}"
        rows = spark.range(4).repartition(2, "id").select(F.lit(load).alias("_load"), "id")
        store.replace_partitions(rows, *BRONZE, {"_load": "string", "id": "bigint"}, Partitions("_load", (load,)))
        store.overwrite(spark.range(night).repartition(2, "id"), *PERSON, {"id": "bigint"})
        counts = spark.range(1).select(F.lit(run).alias("run_id"), "id")
        store.replace_partitions(counts, *ROWS, {"run_id": "string", "id": "bigint"}, Partitions("run_id", (run,)))
    newest = NIGHTS - 1
    reader = BuiltTable(recipe="r", parameters="p", inputs={str(BRONZE): newest}, version=newest, whole_since=newest)
    BuildState(tables={str(PERSON): reader}).write(build_state_path(settings))
    pinned = {"20260104-held": 3, "20260106-last": newest}
    for release_id, version in pinned.items():
        release_folder(settings).write(release_of(release_id, version))
    hold = Hold(release_id="20260104-held", owner="study 12", reason="it rests on it", at="2026-01-04")
    release_folder(settings).put_hold(hold)
    executor = executor_for(spark)
    said = would_do(settings)
    report = keep_up(settings, executor, thorough=True)
    assert (said.releases, said.runs) == (report.releases, report.runs)
    assert len(report.runs) == NIGHTS - 3
    changed = {table.name: table for table in report.tables}
    assert (changed[BRONZE].joined, changed[BRONZE].after.files) == (NIGHTS, NIGHTS)
    assert changed[PERSON].versions == (NIGHTS, 2)
    for version in pinned.values():
        assert store.read(*PERSON, version=version).count() == version
        assert DeltaTable(store.path(*PERSON), version=version).to_pyarrow_table().num_rows == version
    assert store.read(*BRONZE).count() == 4 * NIGHTS
    assert {row["run_id"] for row in store.read(*ROWS).collect()} == {f"2026010{day}-0000{day}" for day in (4, 5, 6)}
    state = BuildState.read(build_state_path(settings))
    assert state is not None
    assert state.tables[str(PERSON)].inputs[str(BRONZE)] == store.version(*BRONZE) != newest
    assert keep_up(settings, executor, thorough=True).tables == []
    release_folder(settings).lift_hold(hold.release_id, hold.owner, at="2026-01-06", reason="ended", day=date(2026, 1, 6))
    keep_up(settings, executor, thorough=True)
    assert on_disk(store.path(*PERSON)).files == changed[PERSON].after.files - 2


def release_of(release_id: str, version: int) -> Release:
    return RELEASE.model_copy(
        update={
            "release_id": release_id,
            "run_id": f"{release_id[:8]}-000{release_id[6:8]}",
            "run_date": date.fromisoformat(release_id[:8]),
            "tables": (TablePin(zone=PERSON.zone.value, name=PERSON.name, version=version, rows=version),),
        }
    )
