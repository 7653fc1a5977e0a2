"""The tables of a run become a release that readers see."""

import logging
import subprocess
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

from pyspark.sql import functions as F

from pipelines import __version__
from pipelines.columns.frames import union_all
from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.ingest.register import Registered
from pipelines.quality.gates import GateReport
from pipelines.release.model import Code, Extract, Gates, Release, TablePin, fingerprint_of, release_id_of
from pipelines.release.published import release_folder
from pipelines.release.reading import digest_of_data_files, read_delta
from pipelines.run_inputs import RunInputs
from pipelines.settings import Settings
from pipelines.storage.paths import StoragePaths
from pipelines.storage.rights import share
from pipelines.storage.tables import TableStore

log = logging.getLogger(__name__)


def inputs_fingerprint(settings: Settings, inputs: RunInputs, register: Iterable[Registered]) -> str:
    """The fingerprint of everything that decides what a release holds."""
    return fingerprint_of(
        {
            "deliveries": sorted({file.delivery_id for file in register}),
            "opt_outs": {facts.kind: facts.sha256 for facts in inputs.opt_outs.facts},
            "configuration": settings.fingerprint,
            "rules": inputs.rules_digest,
            "key": inputs.key_id,
            "code": __version__,
            "vocabulary": inputs.vocabulary.digest,
            "local_maps": inputs.local_maps_digest,
            "expectations": inputs.expectations_digest,
        }
    )


def make_release(
    settings: Settings,
    inputs: RunInputs,
    register: Iterable[Registered],
    run_id: str,
    run_date: date,
    report: GateReport,
    pins: tuple[TablePin, ...],
) -> Release:
    """Write down the tables of a run as a release and make it the current one, unless a rollback holds."""
    register = tuple(register)
    fingerprint = inputs_fingerprint(settings, inputs, register)
    made = Release(
        release_id=release_id_of(run_date, fingerprint),
        run_id=run_id,
        run_date=run_date,
        cdm_version=settings.cdm_version,
        vocabulary_version=inputs.vocabulary.release,
        code=Code(version=__version__, commit=_commit()),
        configuration=settings.fingerprint,
        key_id=inputs.key_id,
        extracts=_newest_extracts(register),
        opt_outs={facts.kind: facts.as_at for facts in inputs.opt_outs.facts},
        input_fingerprint=fingerprint,
        gates=Gates(**report.summary()),
        tables=pins,
    )
    folder = release_folder(settings)
    made = folder.write(made)
    share(settings.storage.deidentified, settings.storage.restricted)
    held = folder.held_rollback()
    if held is None:
        folder.point_at(made.release_id, action="release", at=run_date.isoformat())
    else:
        log.warning(
            "release %s is made, and readers still see %s: it was rolled back to on %s; nhs-omop rollback --lift ends that",
            made.release_id,
            held.release_id,
            held.at,
        )
    return made


def _newest_extracts(register: Iterable[Registered]) -> tuple[Extract, ...]:
    newest: dict[tuple[str, str], date] = {}
    for file in register:
        place = file.source, file.provider
        newest[place] = max(newest.get(place, file.extract_date), file.extract_date)
    return tuple(
        Extract(source=source, provider=provider, extract_date=day) for (source, provider), day in sorted(newest.items())
    )


def pins_of(store: TableStore, released: Mapping[str, CdmTable], versions: Mapping[TableName, int]) -> tuple[TablePin, ...]:
    """The versions of the tables of a release, with their rows.

    `versions` are those of the run itself; only a table that no run makes or reads is pinned as it is now.
    """
    pinned: dict[TableName, int] = {}
    for name, table in released.items():
        place = TableName(Zone.VOCABULARY if table.is_vocabulary else Zone.OMOP, name)
        version = versions.get(place, store.version(*place))
        if version is not None:
            pinned[place] = version
    rows = _row_counts(store, pinned)
    return tuple(
        TablePin(zone=zone.value, name=name, version=version, rows=rows[name], files=_files(store, zone, name, version))
        for (zone, name), version in sorted(pinned.items())
    )


def _files(store: TableStore, zone: Zone, name: str, version: int) -> str | None:
    """The digest of the files of a table at a version; None where a catalog has them."""
    paths = store.paths
    return digest_of_data_files(read_delta(paths.path(zone, name), version)) if isinstance(paths, StoragePaths) else None


def _row_counts(store: TableStore, pinned: Mapping[TableName, int]) -> dict[str, int]:
    """Rows of every table at its version, in one job."""
    counts = [
        store.read(*place, version=version).agg(F.count(F.lit(1)).alias("rows")).select(F.lit(place.name).alias("name"), "rows")
        for place, version in pinned.items()
    ]
    return {row["name"]: row["rows"] for row in union_all(counts).toArrow().to_pylist()}


def _commit() -> str | None:
    """The commit of the checkout that the code runs from; None for an installed wheel."""
    here = Path(__file__).resolve().parent
    command = ("git", "-C", str(here), "rev-parse", "--short=12", "HEAD")
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None
