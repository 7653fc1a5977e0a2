"""Where the tables of each zone lie, and the reading of small ones without an engine.

The libraries that read Delta are imported when a table is read, because settings import this module, and `--help` or a wrong
setting needs none of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.contracts.zones import RESTRICTED_ZONES, Zone

if TYPE_CHECKING:
    from pyarrow.fs import SubTreeFileSystem


@dataclass(frozen=True)
class StoragePaths:
    """Where each zone lies: below the restricted or the de-identified root."""

    restricted: Path
    deidentified: Path

    def path(self, zone: Zone, name: str) -> str:
        """Where a table lives."""
        root = self.restricted if zone in RESTRICTED_ZONES else self.deidentified
        return str(root / zone.value / name)

    def names(self, zone: Zone) -> list[str]:
        """The tables that have a folder in a zone."""
        root = Path(self.path(zone, ""))
        return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []

    def version(self, zone: Zone, name: str) -> int | None:
        """The newest version of a table; None if there is no such table."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            return DeltaTable(self.path(zone, name)).version()
        except (TableNotFoundError, DeltaError, OSError):
            return None

    def records(
        self, zone: Zone, name: str, columns: Sequence[str], where: tuple[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """The rows of a small table of ours (ledger, gate results), read without an engine; none if there is no table.

        With `where`, a column and a value, only the rows that have the value there. A column that a table of an earlier version
        has not is null.
        """
        from deltalake import DeltaTable
        from pyarrow import dataset

        if self.version(zone, name) is None:
            return []
        chosen = dataset.field(where[0]) == where[1] if where else None
        path = self.path(zone, name)
        files = DeltaTable(path).to_pyarrow_dataset(filesystem=files_below(path))
        there = [name for name in columns if name in files.schema.names]
        records: list[dict[str, Any]] = files.to_table(columns=there, filter=chosen).to_pylist()
        return records if len(there) == len(columns) else [{name: record.get(name) for name in columns} for record in records]


def files_below(path: str) -> "SubTreeFileSystem":
    """The file system by which pyarrow reads a Delta table.

    The one that deltalake gives is called from threads of pyarrow through Python: a thread that is still closing a file when
    a command ends aborts the process.
    """
    from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

    return SubTreeFileSystem(path, LocalFileSystem())
