"""Releases as the commands see them: by configuration, without an engine."""

from pathlib import Path

from pipelines.contracts.cdm import CdmTable, cdm_tables
from pipelines.contracts.ledger import LEDGER_SCHEMA, LEDGER_TABLE, LedgerRow
from pipelines.contracts.zones import RESTRICTED_ZONES, Zone
from pipelines.errors import ReleaseError
from pipelines.quality.gates import GATE_SCHEMA, GATE_TABLE, GateResult
from pipelines.release.model import Release, release_of
from pipelines.release.publish.duckdb_file import PinnedTable, read_records
from pipelines.release.store import ReleaseFolder
from pipelines.settings import Settings

RELEASES = "releases"
"""The folder of release documents below the de-identified root."""


def release_folder(settings: Settings) -> ReleaseFolder:
    """The release documents of an environment."""
    return ReleaseFolder(Path(settings.storage.deidentified) / RELEASES)


def chosen_release(settings: Settings, release_id: str | None = None) -> Release:
    """The release of that id, or the current one. Raises ReleaseError if there is none."""
    folder = release_folder(settings)
    wanted = release_id or folder.current()
    if wanted is None:
        raise ReleaseError("there is no release yet: nhs-omop run makes one")
    return release_of(folder.read(wanted))


def cdm_of(release: Release) -> dict[str, CdmTable]:
    """The tables of the CDM version that a release was built for."""
    return cdm_tables(release.cdm_version)


def pinned_tables(settings: Settings, release: Release) -> dict[str, PinnedTable]:
    """Where each CDM table of a release lies, and its version; clinical tables first, then those of the vocabulary."""
    pinned: dict[str, PinnedTable] = {}
    for zone in (Zone.OMOP, Zone.VOCABULARY):
        for table in release.tables:
            if table.zone == zone and table.name not in pinned:
                pinned[table.name] = PinnedTable(_path(settings, zone, table.name), table.version)
    return {name: table for name, table in pinned.items() if name in cdm_of(release)}


def ledger_of(settings: Settings, run_id: str) -> list[LedgerRow]:
    """The ledger of a run; empty if the run stored none."""
    path = _path(settings, Zone.LEDGER, LEDGER_TABLE)
    return [LedgerRow.of(record) for record in read_records(path, LEDGER_SCHEMA, "run_id", run_id)]


def gates_of(settings: Settings, run_id: str) -> list[GateResult]:
    """The gate results of a run; empty if the run did not come to the gates."""
    path = _path(settings, Zone.LEDGER, GATE_TABLE)
    return [GateResult.of(record) for record in read_records(path, GATE_SCHEMA, "run_id", run_id)]


def runs_of(settings: Settings) -> list[str]:
    """Every run that has a ledger, in the order of their ids."""
    records = read_records(_path(settings, Zone.LEDGER, LEDGER_TABLE), {"run_id": "string"})
    return sorted({record["run_id"] for record in records})


def _path(settings: Settings, zone: Zone, name: str) -> str:
    root = settings.storage.restricted if zone in RESTRICTED_ZONES else settings.storage.deidentified
    return str(Path(root) / zone.value / name)
