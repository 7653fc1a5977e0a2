"""Step five: the tables of the run become a release that readers see."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

from jobs.steps.context import RunContext
from pipelines import __version__
from pipelines.columns.frames import union_all
from pipelines.contracts.cdm import cdm_tables
from pipelines.contracts.zones import Zone
from pipelines.ingest.register import Registered
from pipelines.quality.gates import GateReport
from pipelines.release.model import Code, Extract, Gates, Release, pins, release_id_of
from pipelines.release.published import release_folder
from pipelines.run_inputs import RunInputs
from pipelines.settings import Settings


def stem_inputs_of(settings: Settings, prepared: RunInputs, register: list[Registered]) -> dict[str, Any]:
    """Everything that decides what silver and the stem hold, as plain data."""
    return {
        "deliveries": sorted({one.delivery_id for one in register}),
        "opt_outs": {one.kind: one.sha256 for one in prepared.opt_outs.facts},
        "configuration": settings.fingerprint,
        "rules": prepared.rules_digest,
        "key": prepared.key_id,
        "code": __version__,
    }


def inputs_of(settings: Settings, prepared: RunInputs, register: list[Registered]) -> dict[str, Any]:
    """Everything that decides what a release holds, as plain data."""
    vocabulary = {"vocabulary": prepared.vocabulary["digest"], "local_maps": prepared.local_maps_digest}
    return stem_inputs_of(settings, prepared, register) | vocabulary


def release(run: RunContext, prepared: RunInputs, report: GateReport, input_fingerprint: str) -> Release:
    """Pin the versions of every CDM table under one id and make it the current release."""
    register = run.register()
    newest: dict[tuple[str, str], Any] = {}
    for one in register:
        newest[one.source, one.provider] = max(newest.get((one.source, one.provider), one.extract_date), one.extract_date)
    made = Release(
        release_id=release_id_of(run.run_date, input_fingerprint),
        run_id=run.run_id,
        run_date=run.run_date,
        cdm_version=run.settings.cdm_version,
        vocabulary_version=prepared.vocabulary["release"],
        code=Code(version=__version__, commit=_commit()),
        configuration=run.settings.fingerprint,
        key_id=prepared.key_id,
        extracts=tuple(Extract(source=s, provider=p, extract_date=day) for (s, p), day in sorted(newest.items())),
        opt_outs={one.kind: one.as_at for one in prepared.opt_outs.facts},
        input_fingerprint=input_fingerprint,
        gates=Gates(**report.summary()),
        tables=pins(_versions(run)),
    )
    folder = release_folder(run.settings)
    folder.write(made.release_id, made.document())
    folder.point_at(made.release_id, action="release", at=run.run_date.isoformat())
    return made


def _versions(run: RunContext) -> list[tuple[str, str, int, int]]:
    zones = {
        name: zone
        for name, table in cdm_tables(run.settings.cdm_version).items()
        for zone in (Zone.VOCABULARY if table.is_vocabulary else Zone.OMOP,)
        if run.store.exists(zone, name)
    }
    rows = _row_counts(run, zones)
    return [(zone.value, name, run.store.version(zone, name), rows[name]) for name, zone in zones.items()]


def _row_counts(run: RunContext, zones: Mapping[str, Zone]) -> dict[str, int]:
    """Rows of every table, in one job."""
    counts = [
        run.store.read(zone, name).agg(F.count("*").alias("rows")).select(F.lit(name).alias("name"), "rows")
        for name, zone in zones.items()
    ]
    return {one["name"]: one["rows"] for one in union_all(counts).toArrow().to_pylist()}


def _commit() -> str | None:
    """The commit of the checkout that the code runs from; None for an installed wheel."""
    here = Path(__file__).resolve().parent
    command = ("git", "-C", str(here), "rev-parse", "--short=12", "HEAD")
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None
