"""Finds releases and reads their ledgers and gate results, from the configuration and without an engine."""

from typing import TYPE_CHECKING, Any

from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.derived import published_tables
from pipelines.contracts.ledger import LEDGER_SCHEMA, LEDGER_TABLE, SILVER_ROWS_SCHEMA, SILVER_ROWS_TABLE, LedgerRow
from pipelines.contracts.zones import Zone
from pipelines.errors import ReleaseError
from pipelines.release.model import Release
from pipelines.release.reading import PinnedTable, read_pinned
from pipelines.release.store import ReleaseFolder
from pipelines.run_log import in_order
from pipelines.settings import Settings, storage_paths, table_folders

if TYPE_CHECKING:
    from pipelines.quality.gates import GateResult

RELEASES = "releases"
"""The folder of release documents below the de-identified root."""


def release_folder(settings: Settings) -> ReleaseFolder:
    """The release documents of an environment."""
    return ReleaseFolder(settings.storage.deidentified / RELEASES)


def chosen_release(settings: Settings, release_id: str | None = None) -> Release:
    """The release with an id, or the current release. Raises ReleaseError if there is none."""
    folder = release_folder(settings)
    wanted = release_id or folder.current()
    if wanted is None:
        raise ReleaseError("there is no release yet: nhs-omop run makes one")
    return folder.read(wanted)


def cdm_of(release: Release) -> dict[str, CdmTable]:
    """The tables of the CDM version that a release was built for, and the derived ones, by name."""
    return published_tables(release.cdm_version)


def pinned_tables(settings: Settings, release: Release) -> dict[str, PinnedTable]:
    """Path and version of every table of a release; clinical tables first, then vocabulary tables."""
    pinned: dict[str, PinnedTable] = {}
    for zone in (Zone.OMOP, Zone.VOCABULARY):
        for table in release.tables:
            if table.zone == zone and table.name not in pinned:
                path = table_folders(settings).path(zone, table.name)
                pinned[table.name] = PinnedTable(path, table.version, table.rows, table.files)
    return {name: table for name, table in pinned.items() if name in cdm_of(release)}


def require_as_released(settings: Settings, release: Release) -> None:
    """Raises ReleaseError where a table of a release cannot be read any more or has been written anew since."""
    for pinned in pinned_tables(settings, release).values():
        if pinned.files is not None:
            read_pinned(pinned)


def ledger_of(settings: Settings, run_id: str) -> list[LedgerRow]:
    """The ledger of a run; empty if the run stored none."""
    stored = storage_paths(settings).records(Zone.LEDGER, LEDGER_TABLE, tuple(LEDGER_SCHEMA), where=("run_id", run_id))
    return [LedgerRow.of(record) for record in stored]


def silver_rows_of(settings: Settings) -> list[dict[str, Any]]:
    """What became of the silver rows when they were last mapped (SILVER_ROWS_SCHEMA)."""
    return storage_paths(settings).records(Zone.LEDGER, SILVER_ROWS_TABLE, tuple(SILVER_ROWS_SCHEMA))


def gates_of(settings: Settings, run_id: str) -> list["GateResult"]:
    """The gate results of a run; empty if the run did not come to the gates."""
    # Imported here because it brings the engine, which the other readers of releases do without.
    from pipelines.quality.gates import GATE_SCHEMA, GATE_TABLE, GateResult

    stored = storage_paths(settings).records(Zone.LEDGER, GATE_TABLE, tuple(GATE_SCHEMA), where=("run_id", run_id))
    return [GateResult.of(record) for record in stored]


def chosen_run(settings: Settings, run_id: str | None, *more: str) -> str | None:
    """The run with an id, or the last; None where there is none yet. Raises ReleaseError where no run has the id.

    `more` are runs without a ledger, which are taken where they are named.
    """
    known = runs_of(settings)
    if run_id is None:
        return known[-1] if known else None
    if run_id not in (*known, *more):
        raise ReleaseError(f"there is no such run; the last ones: {', '.join(known[-5:]) or 'none'}")
    return run_id


def runs_before(settings: Settings) -> list[str]:
    """Every run that the ledger or a release names.

    A restricted root of an older backup knows less of them than the releases, and a number is never given twice.
    """
    return [*runs_of(settings), *(release.run_id for release in release_folder(settings).oldest_first())]


def runs_of(settings: Settings) -> list[str]:
    """Every run that has a ledger, in the order in which they were begun."""
    return in_order({record["run_id"] for record in storage_paths(settings).records(Zone.LEDGER, LEDGER_TABLE, ("run_id",))})
