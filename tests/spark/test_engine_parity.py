"""The same nightly load on the embedded engine and on Apache Spark with Delta gives the same tables, ids included."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from deltalake import DeltaTable

from pipelines.io.keys import demo_key_file
from pipelines.synthetic.generate import FIRST_NIGHT, generate
from tests.conftest import PROJECT, Engines

QUICK_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""A JVM that lives for minutes over little data: most of its time would go into compiling."""

QUICK_SPARK = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.sql.codegen.wholeStage": "false",
}

PEOPLE = 60
SEED = 5
RUN_DEPENDENT = {"ledger": ["run_id"]}
"""Columns that name the run and not the data."""

pytestmark = pytest.mark.timeout(1800)


@dataclass(frozen=True)
class Lakes:
    """Two lakehouses made from one landing folder and one key."""

    sail: Path
    spark: Path

    def tables(self, lake: Path) -> set[str]:
        """Every Delta table of a lakehouse, by its place below the folder."""
        return {str(log.parent.relative_to(lake)) for log in lake.glob("*/*/*/_delta_log")}


def _environment() -> dict[str, str]:
    """The variables of this process without what an open Spark leaves there; programs of this environment come first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYSPARK", "SPARK_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "JAVA_TOOL_OPTIONS": QUICK_JVM}


def _load(command: list[str], landing: Path, lake: Path, key: Path) -> None:
    places = {"landing": landing, "restricted": lake / "restricted", "deidentified": lake / "deidentified"}
    settings = [f"storage.{name}={path}" for name, path in places.items()] + [f"key.path={key}"]
    options = [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(
        [*command, *options], cwd=PROJECT, env=_environment(), capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def lakes(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Lakes:
    """One night for a few people, run by both engines as a user would run them."""
    engines.close()
    folder = tmp_path_factory.mktemp("parity")
    generate(PEOPLE, SEED, 1, folder)
    key = folder / "demo.key"
    demo_key_file(key)
    made = Lakes(folder / "sail", folder / "spark")
    python, day = [sys.executable, "-m"], ["--date", FIRST_NIGHT.isoformat()]
    _load([*python, "jobs.vocab", "load", "--env", "demo"], folder / "landing", made.sail, key)
    _load([*python, "jobs.run", "--env", "demo", *day], folder / "landing", made.sail, key)
    shutil.copytree(made.sail / "deidentified" / "vocabulary", made.spark / "deidentified" / "vocabulary")
    quick = ["--set", f"engine.spark_options={json.dumps(QUICK_SPARK)}"]
    submit = ["spark-submit", "jobs/run.py", "--conf-dir", "conf", "--env", "spark"]
    _load([*submit, *day, *quick], folder / "landing", made.spark, key)
    return made


def rows(lake: Path, table: str) -> pd.DataFrame:
    """A table in a fixed order of columns and rows."""
    frame = DeltaTable(str(lake / table)).to_pandas()
    zone = table.split("/")[1]
    frame = frame.drop(columns=RUN_DEPENDENT.get(zone, []))
    columns = sorted(frame.columns)
    return frame[columns].sort_values(columns, ignore_index=True) if len(frame) else frame[columns]


def test_both_engines_make_the_same_tables(lakes: Lakes) -> None:
    assert lakes.tables(lakes.sail) == lakes.tables(lakes.spark)
    zones = {table.split("/")[1] for table in lakes.tables(lakes.sail)}
    assert {"bronze", "linkage", "silver", "stem", "omop", "ledger", "quarantine"} <= zones


def test_every_table_holds_the_same_rows_ids_included(lakes: Lakes) -> None:
    differing = {}
    for table in sorted(lakes.tables(lakes.sail)):
        on_sail, on_spark = rows(lakes.sail, table), rows(lakes.spark, table)
        try:
            pd.testing.assert_frame_equal(on_sail, on_spark, check_exact=True)
        except AssertionError as error:
            differing[table] = f"{len(on_sail)} and {len(on_spark)} rows: {str(error).splitlines()[0]}"
    assert not differing
    assert len(rows(lakes.sail, "deidentified/omop/person")) >= 40
