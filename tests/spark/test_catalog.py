"""Tables by name in catalogs: two nights of all six sources on Apache Spark leave what the embedded engine leaves in folders.

Everything in catalogs is done by the command lines of the Databricks job, called as a Python wheel task calls them, in a
session that is there already. The first night is the task that releases alone, the second is the whole job. Apache Spark has
one catalog that knows Delta tables, so both kinds of zones are in it; volumes are folders.
"""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.engine import open_session
from pipelines.nightly import nightly
from pipelines.quality.gates import Verdict
from pipelines.release.published import cdm_of, chosen_release, gates_of, ledger_of, release_folder
from pipelines.settings import Settings, load_settings, storage_paths
from pipelines.synthetic.demo_key import demo_key_file
from pipelines.synthetic.generate import FIRST_NIGHT, SOURCES, generate
from pipelines.terminology.vocabulary import load, store_of
from tests.builders.bundle import call_as_wheel_task, tasks, values_here
from tests.builders.policies import limit
from tests.conftest import Engines
from tests.spark.test_nights_on_spark import on_spark
from vocab.load import DEMO_DIR

pytestmark = [pytest.mark.deep, pytest.mark.timeout(2 * 3600)]

PEOPLE, SEED, NIGHTS = 24, 7, 2
CATALOG = "spark_catalog"

OF_RUNS = frozenset({"run_id", "_load_id", "load_id"})
"""Columns that name runs and loads by their moment."""


def lines_of(volumes: Path, night: int, job: str = "nightly") -> dict[str, list[str]]:
    """The command line of each task of a job for a night, with what only Databricks has replaced."""
    day = (FIRST_NIGHT + timedelta(night)).isoformat()
    here = [
        "environment=demo",  # production refuses NHS numbers of the test range and the demo vocabulary
        f"key={{kind: file, path: {volumes / 'key'}}}",
        "opt_outs.national_share.least=0",  # of so few people
        limit("orphan_share", 1),
    ]
    added = [word for setting in here for word in ("--set", setting)]
    return {task: [*words, *added] for task, words in tasks(job, values_here(volumes, CATALOG, CATALOG, day, SOURCES))}


def settings_of(line: list[str], *more: str) -> Settings:
    """The settings that a command line asks for, and others after them."""
    given = [value for option, value in pairwise(line) if option == "--set"]
    return load_settings("databricks", overrides=[*given, *more])


def tables(settings: Settings) -> set[TableName]:
    return {TableName(zone, name) for zone in Zone for name in storage_paths(settings).names(zone)}


def rows(frame: DataFrame) -> pd.DataFrame:
    """The rows of a table as a multiset, without the columns that name runs."""
    found: pd.DataFrame = frame.drop(*OF_RUNS).toPandas()
    columns = sorted(found.columns)  # of a folder the columns that partition it come last
    return found[columns].astype(str).sort_values(columns, ignore_index=True)


def all_rows(session: SparkSession, settings: Settings, names: set[TableName]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Every table as it is now."""
    store = store_of(session, settings)
    for name in sorted(names):
        yield str(name), rows(store.read(*name))


def released_rows(session: SparkSession, settings: Settings) -> Iterator[tuple[str, pd.DataFrame]]:
    """Every table of every release as it is pinned, fields of the CDM only."""
    places = storage_paths(settings)
    for release_id in release_folder(settings).ids():
        release = chosen_release(settings, release_id)
        for pin in release.tables:
            if pin.name in cdm_of(release):
                fields = list(cdm_of(release)[pin.name].schema)
                frame = places.frame(session, Zone(pin.zone), pin.name, pin.version)
                yield f"{release_id} {pin.name}", rows(frame.select(*fields))


def in_folders(folder: Path, volumes: Path) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """The tables, and those of the releases, that the embedded engine leaves in folders after the same nights."""
    engine = "engine={kind: sail, shared_network: a test that goes on after the command}"
    places = [f"storage.{root}={folder / root}" for root in ("restricted", "deidentified")]
    own = ["storage.catalog=null", engine, *places]
    settings = settings_of(lines_of(volumes, 0)["release"], *own)
    load(settings)
    for night in range(NIGHTS):
        nightly(settings, FIRST_NIGHT + timedelta(night))
    with open_session(settings.engine) as session:
        return dict(all_rows(session, settings, tables(settings))), dict(released_rows(session, settings))


def unlike(found: Iterator[tuple[str, pd.DataFrame]], expected: dict[str, pd.DataFrame]) -> dict[str, str]:
    """The tables that are not as expected, with the first difference; those that are missing too."""
    differences = {}
    left = dict(expected)
    for name, frame in found:
        try:
            pd.testing.assert_frame_equal(frame, left.pop(name), check_dtype=False)
        except AssertionError as error:
            differences[name] = f"{len(frame)} rows: " + " ".join(str(error).split())[:300]
    return differences | dict.fromkeys(left, "not there")


def test_a_lake_in_catalogs_is_a_lake_in_folders(java: None, engines: Engines, tmp_path: Path) -> None:
    engines.close()
    volumes = tmp_path / "volumes"
    generate(PEOPLE, SEED, NIGHTS, tmp_path)
    shutil.copytree(tmp_path / "landing", volumes / CATALOG / "landing/extracts")
    shutil.copytree(DEMO_DIR, volumes / CATALOG / "documents/vocabulary")
    (volumes / CATALOG / "documents/reports").mkdir()
    demo_key_file(volumes / "key")
    expected, expected_releases = in_folders(tmp_path / "folders", volumes)

    first, second = (lines_of(volumes, night) for night in range(NIGHTS))
    settings = settings_of(second["release"])
    with open_session(load_settings("test", overrides=on_spark()).engine, little=True) as session:
        call_as_wheel_task(lines_of(volumes, 0, "vocabulary")["vocabulary"])
        call_as_wheel_task(first["release"])
        call_as_wheel_task(first["publish"])
        for line in second.values():
            call_as_wheel_task(line)
        assert {str(name) for name in tables(settings)} == set(expected)
        assert unlike(all_rows(session, settings, tables(settings)), expected) == {}
        views = {
            f"{release_id} {view}": f"{CATALOG}.cdm_{release_id.replace('-', '_')}.{view}"
            for release_id, _, view in (name.partition(" ") for name in expected_releases)
        }
        assert unlike(((name, rows(session.table(view))) for name, view in views.items()), expected_releases) == {}
        check_release(session, settings)
        assert not [*volumes.rglob("_delta_log")]


def check_release(session: SparkSession, settings: Settings) -> None:
    """The current release passed its gates, has a ledger, and is what the followed views show."""
    release = chosen_release(settings)
    gates = gates_of(settings, release.run_id)
    assert [gate for gate in gates if gate.verdict is Verdict.FAILED] == []
    assert len(gates) > 1000
    assert ledger_of(settings, release.run_id)
    shown = session.table(f"{CATALOG}.cdm.current_release").collect()[0]
    assert shown["release_id"] == release.release_id
    assert session.table(f"{CATALOG}.cdm.person").count() == release.pin("omop", "person").rows
    described = session.sql(f"DESCRIBE TABLE EXTENDED {CATALOG}.omop.person").collect()
    assert {row["col_name"]: row["data_type"] for row in described}["Comment"].startswith("one row per")
