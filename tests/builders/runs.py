"""Runs over a temporary lakehouse."""

from datetime import date
from pathlib import Path

from pyspark.sql import SparkSession

from jobs.console import Console
from jobs.steps.context import RunContext
from pipelines.columns.keyed import Pads
from pipelines.contracts.source import load_contracts
from pipelines.governance.keys import DEMO_KEY, derive, hmac_pads
from pipelines.settings import PACKAGED_MAPPINGS_DIR, Settings, load_settings
from pipelines.storage.tables import TableStore

PADS = Pads({purpose: hmac_pads(derive(DEMO_KEY, purpose)) for purpose in ("row", "person")})


def settings_in(folder: Path, *overrides: str) -> Settings:
    """The demo's settings with everything below a folder."""
    places = [f"storage.{name}={folder / name}" for name in ("landing", "restricted", "deidentified")]
    return load_settings("demo", overrides=[*places, *overrides])


def run_in(session: SparkSession, folder: Path, run_date: date, sources: tuple[str, ...], *overrides: str) -> RunContext:
    """A run on a day over the lakehouse in a folder, with the real contracts of some sources and no mappings."""
    settings = settings_in(folder, *overrides)
    store = TableStore(session, settings.storage.restricted, settings.storage.deidentified)
    contracts = load_contracts(PACKAGED_MAPPINGS_DIR, sources)
    return RunContext(f"{run_date:%Y%m%d}", run_date, settings, contracts, {}, store, PADS, Console())
