"""One landing folder loaded by both engines, as a user would run them."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.synthetic.demo_key import demo_key_file
from pipelines.synthetic.generate import FIRST_NIGHT, generate
from tests.builders.landing import also_allowed
from tests.builders.policies import limit
from tests.conftest import PROJECT, Engines
from tests.golden.lakehouse import golden_deliveries

PEOPLE = 60
SEED = 5


@dataclass(frozen=True)
class Lakes:
    """Two lakehouses made from one landing folder and one key."""

    sail: Path
    spark: Path

    def tables(self, lake: Path) -> set[str]:
        """Every Delta table of a lakehouse, by its place below the folder."""
        return {str(log.parent.relative_to(lake)) for log in lake.glob("*/*/*/_delta_log")}


def environment() -> dict[str, str]:
    """The variables of this process without what an open Spark leaves there; programs of this environment come first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYSPARK", "SPARK_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path}


def _load(command: list[str], landing: Path, lake: Path, key: Path) -> None:
    places = {"landing": landing, "restricted": lake / "restricted", "deidentified": lake / "deidentified"}
    settings = [f"storage.{name}={path}" for name, path in places.items()]
    # All golden patients may be used, so fewer of all people have opted out than is plausible.
    # Some of them show how attributes that differ are combined, so identities that contradict each other are linked.
    # Many refer to rows that their case does not need, and some show what becomes of codes that no map has.
    settings += [f"key.path={key}", "opt_outs.national_share.least=0", "person.on_conflict=link", "person.unobserved=keep"]
    settings += [limit("orphan_share", 1), limit("mapped_share", 0.5)]
    options = [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(
        [*command, *options], cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="session")
def lakes(java: None, engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Lakes:
    """One night for some generated people and all golden patients, loaded by both engines."""
    engines.close()
    folder = tmp_path_factory.mktemp("parity")
    generate(PEOPLE, SEED, 1, folder)
    also_allowed(folder / "landing", f"{FIRST_NIGHT:%Y%m%d}", golden_deliveries(folder / "landing"))
    key = folder / "demo.key"
    demo_key_file(key)
    made = Lakes(folder / "sail", folder / "spark")
    python, day = [sys.executable, "-m"], ["--date", FIRST_NIGHT.isoformat()]
    _load([*python, "jobs.vocab", "load", "--env", "demo"], folder / "landing", made.sail, key)
    _load([*python, "jobs.run", "--env", "demo", *day], folder / "landing", made.sail, key)
    shutil.copytree(made.sail / "deidentified" / "vocabulary", made.spark / "deidentified" / "vocabulary")
    submit = ["spark-submit", "jobs/submit.py", "run", "--conf-dir", "conf", "--env", "spark"]
    _load([*submit, *day, "--set", "engine.memory_gib=4"], folder / "landing", made.spark, key)
    return made
