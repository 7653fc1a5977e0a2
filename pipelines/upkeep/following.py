"""Which versions of tables the build state and the kept releases name, and how the build state follows upkeep.

Upkeep gives a table a new version with the same rows. Were that one not put down in the build state, the next run would make
everything again that reads the table.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from pipelines.contracts.tables import TableName
from pipelines.release.model import Release
from pipelines.runner import BuildState
from pipelines.storage.maintenance import same_rows_since
from pipelines.storage.paths import StoragePaths


def recorded_versions(state_path: Path) -> dict[TableName, set[int]]:
    """Every version of a table that the build state names: what is stored, and what that was made from."""
    state = BuildState.read(state_path) or BuildState()
    named: dict[TableName, set[int]] = {}
    for name, built in state.tables.items():
        named.setdefault(TableName.of(name), set()).add(built.version)
        for read, version in built.inputs.items():
            named.setdefault(TableName.of(read), set()).add(version)
    return named


def pinned_versions(releases: Iterable[Release]) -> dict[TableName, set[int]]:
    """Every version of a table that some releases pin."""
    pinned: dict[TableName, set[int]] = {}
    for pin in (pin for release in releases for pin in release.tables):
        pinned.setdefault(TableName.of(f"{pin.zone}.{pin.name}"), set()).add(pin.version)
    return pinned


def follow_versions(state_path: Path, paths: StoragePaths, tables: Iterable[TableName]) -> None:
    """Give recorded versions of some tables the number of the newest one where only upkeep lies between the two.

    Their rows are the same, so what was made of the one was made of the other. Doing it again changes nothing.
    """
    recorded = recorded_versions(state_path)
    moved: dict[tuple[str, int], int] = {}
    for name in tables:
        newest = paths.version(*name)
        if newest is not None:
            same = same_rows_since(paths.path(*name), newest, min(recorded.get(name, {newest})))
            moved |= {(str(name), version): newest for version in recorded.get(name, ()) if same <= version < newest}
    state = BuildState.read(state_path)
    if state is not None and moved:
        _renumbered(state, moved).write(state_path)


def _renumbered(state: BuildState, moved: Mapping[tuple[str, int], int]) -> BuildState:
    tables = {
        name: built.model_copy(
            update={
                "version": moved.get((name, built.version), built.version),
                "inputs": {read: moved.get((read, version), version) for read, version in built.inputs.items()},
            }
        )
        for name, built in state.tables.items()
    }
    return state.model_copy(update={"tables": tables})
