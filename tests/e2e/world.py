"""A small generated world run through the real steps, and ways to read the result without an engine."""

import csv
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from deltalake import DeltaTable

from jobs.demo import demo_settings
from jobs.publish import publish_release
from jobs.stages import stage
from pipelines.nightly import RunResult, nightly
from pipelines.settings import Settings
from pipelines.synthetic.demo_key import demo_key_file
from pipelines.synthetic.generate import FIRST_NIGHT, generate
from pipelines.terminology.vocabulary import load

PEOPLE = 120
"""This number gives exactly four people to each of the ten stories."""

SEED = 22
"""With this seed every kind of opt-out occurs, one is withdrawn and one decided on the second night; the test patient
is in more sources than the practice."""

NIGHTS = 2
LAST_NIGHT = FIRST_NIGHT + timedelta(days=NIGHTS - 1)

LOCAL_IDS = {
    "gp": ("gp_guid", "gp_guid2"),
    "acute": ("acute_mrn",),
    "mental_health": ("mh_id",),
    "community": ("community_id",),
    "ambulance": ("ambulance_id",),
    "social_care": ("council_id",),
}
"""The columns of people.csv with the local identifiers of each source."""


@dataclass(frozen=True)
class DemoWorld:
    """A folder after `nhs-omop demo`, with the result of each night and the recorded output."""

    folder: Path
    outcomes: tuple[RunResult, ...] = ()

    @property
    def settings(self) -> Settings:
        """The settings of the demo with everything below the folder."""
        return demo_settings(self.folder)

    @property
    def duckdb(self) -> Path:
        """The published release."""
        return self.folder / "cdm.duckdb"

    @property
    def log(self) -> Path:
        """Everything that was written to standard output, standard error and the Python log."""
        return self.folder / "run.log"

    def truth(self, name: str) -> list[dict[str, str]]:
        """The rows of a file of the truth folder."""
        with (self.folder / "truth" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def rows(self, zone: str, table: str, columns: list[str] | None = None, version: int | None = None) -> pd.DataFrame:
        """A Delta table of either root."""
        return DeltaTable(str(self.table_path(zone, table)), version=version).to_pandas(columns=columns)

    def table_path(self, zone: str, table: str) -> Path:
        """The path of a Delta table in either root."""
        roots = (self.folder / root / zone / table for root in ("restricted", "deidentified"))
        return next(path for path in roots if (path / "_delta_log").is_dir())

    def tables(self, *zones: str) -> Iterator[tuple[str, str]]:
        """Zone and name of every Delta table in some zones."""
        for zone in zones:
            for root in ("restricted", "deidentified"):
                for log in sorted((self.folder / root / zone).glob("*/_delta_log")):
                    yield zone, log.parent.name

    def versions(self) -> dict[str, int]:
        """The newest version of every Delta table."""
        logs = sorted(self.folder.glob("*/*/*/_delta_log"))
        return {str(log.parent.relative_to(self.folder)): DeltaTable(str(log.parent)).version() for log in logs}

    def copied_to(self, folder: Path) -> "DemoWorld":
        """A copy that a test may change."""
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder)


def build_world(folder: Path) -> DemoWorld:
    """Generate the extracts, run the nights as `nhs-omop demo` does and publish the last release."""
    generate(PEOPLE, SEED, NIGHTS, folder)
    settings = demo_settings(folder)
    demo_key_file(folder / "restricted" / "demo.key")
    load(settings)
    outcomes = tuple(nightly(settings, night_of(place), show_stage=stage) for place in range(NIGHTS))
    publish_release(settings, folder / "cdm.duckdb")
    return DemoWorld(folder, outcomes)


def night_of(place: int) -> date:
    """The run date of a night; 0 is the first."""
    return FIRST_NIGHT + timedelta(days=place)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame, null for what is missing."""
    rows: list[dict[str, Any]] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return rows
