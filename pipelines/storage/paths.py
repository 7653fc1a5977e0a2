"""Tables by path: where those of each zone lie, and the reading of small ones without an engine.

The libraries that read Delta are imported when a table is read, because settings import this module, and `--help` or a wrong
setting needs none of them.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pipelines.contracts.zones import RESTRICTED_ZONES, Zone
from pipelines.errors import DocumentError, OmopPipelineError
from pipelines.spark_options import FILES_ARE_LISTED, option_of
from pipelines.storage.files import why

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyarrow.fs import SubTreeFileSystem
    from pyspark.sql import DataFrame, DataFrameWriter, SparkSession

    from pipelines.contracts.tables import Description, Partitions

LOG_PROPERTIES = {"delta.enableExpiredLogCleanup": "false", "delta.logRetentionDuration": "interval 7 days"}
"""Upkeep alone shortens the log of a table, because it knows which versions are pinned; writers would do it by age. Spark
refuses to keep a log for less time than removed files, which is a week."""

_PROPERTIES = {"delta.dataSkippingNumIndexedCols": "0", "delta.enableDeletionVectors": "false", **LOG_PROPERTIES}

_DELTA_TYPES = {"bigint": "long", "int": "integer"}
"""What Delta calls the types that Spark names otherwise."""

_SPARK_TYPES = {delta: spark for spark, delta in _DELTA_TYPES.items()}

_OF_PATTERNS = frozenset("{}[]*?\\")
"""Characters by which Spark takes the path of a file for a pattern, and may read a file twice."""


@dataclass(frozen=True)
class StoragePaths:
    """Where each zone lies: below the restricted or the de-identified root."""

    restricted: Path
    deidentified: Path

    def path(self, zone: Zone, name: str) -> str:
        """Where a table lives."""
        root = self.restricted if zone in RESTRICTED_ZONES else self.deidentified
        return str(root / zone.value / name)

    def source(self, zone: Zone, name: str, version: int) -> str:
        """How SQL of Spark names a table at a version."""
        return f"delta.`{self.path(zone, name)}` VERSION AS OF {version}"

    def names(self, zone: Zone) -> list[str]:
        """The tables that have a folder in a zone."""
        root = Path(self.path(zone, ""))
        return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []

    def version(self, zone: Zone, name: str) -> int | None:
        """The newest version of a table; None if there is no such table. Raises DocumentError if its log cannot be read."""
        table = opened(self.path(zone, name))
        return None if table is None else table.version()

    def row_count(self, zone: Zone, name: str) -> int | None:
        """The rows of a table, from its log alone; None where there is no table or the log does not say."""
        table = opened(self.path(zone, name))
        if table is None:
            return None
        files = table.get_add_actions(flatten=True)
        if "num_records" not in files.schema.names:
            return None
        counts = [*files.column("num_records").to_pylist()]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def records(
        self, zone: Zone, name: str, columns: Sequence[str], where: tuple[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """The rows of a small table of ours (ledger, gate results), read without an engine; none if there is no table.

        With `where`, a column and a value, only the rows that have the value there. A column that a table of an earlier version
        has not is null.
        """
        from pyarrow import dataset

        path = self.path(zone, name)
        table = opened(path)
        if table is None:
            return []
        chosen = dataset.field(where[0]) == where[1] if where else None
        files = table.to_pyarrow_dataset(filesystem=files_below(path))
        there = [name for name in columns if name in files.schema.names]
        records: list[dict[str, Any]] = files.to_table(columns=there, filter=chosen).to_pylist()
        return records if len(there) == len(columns) else [{name: record.get(name) for name in columns} for record in records]

    def frame(self, session: "SparkSession", zone: Zone, name: str, version: int | None = None) -> "DataFrame":
        """A table as a DataFrame, at a version if one is given. Raises OmopPipelineError if there is no such table."""
        # Asked of the file system alone: the engine reads the log itself, and tables are read hundreds of times a run.
        # A log without a commit was left by a first write that was killed.
        if not any((Path(self.path(zone, name)) / "_delta_log").glob("*.json")):
            raise OmopPipelineError(f"there is no table {zone}.{name}; has the stage before this one been run?")
        path = self.path(zone, name)
        if _lists_files(session) and not _OF_PATTERNS & set(path):
            return _files_of(session, path, version)
        reader = session.read.format("delta")
        if version is not None:
            self._forget_checkpoint_after(zone, name, version)
            reader = reader.option("versionAsOf", version)
        return reader.load(path)

    def _forget_checkpoint_after(self, zone: Zone, name: str, version: int) -> None:
        """Remove the hint at the last checkpoint where a version before it is wanted.

        Sail 0.7.2 begins to look for commits just before the hinted checkpoint or the version, whichever is less, and so misses
        the checkpoint that the version rests on. Delta lets the hint be absent; the next checkpoint writes it again.
        """
        hint = Path(self.path(zone, name)) / "_delta_log" / "_last_checkpoint"
        with suppress(FileNotFoundError):
            if version < json.loads(hint.read_bytes())["version"]:
                hint.unlink()

    def overwrite(self, frame: "DataFrame", zone: Zone, name: str, partition_by: Sequence[str], _: "Description") -> None:
        """Replace the whole table, its schema included, in one commit. A path has no place for a description."""
        writer = frame.write.format("delta").partitionBy(*partition_by)
        if self.version(zone, name) is not None:
            writer = writer.mode("overwrite").option("overwriteSchema", "true")
        else:
            writer = _first(writer)
        writer.save(self.path(zone, name))

    def add_columns(self, _session: "SparkSession", zone: Zone, name: str, schema: Mapping[str, str]) -> Mapping[str, str]:
        """Add the columns of a schema that a table has not; gives those that it has besides, with their types.

        Sail 0.7.2 cannot change the schema of a table in a write that replaces partitions.
        """
        from deltalake import Field
        from deltalake.schema import PrimitiveType

        table = opened(self.path(zone, name))
        if table is None:
            return {}
        there = {field.name: field.type for field in table.schema().fields}
        missing = {column: kind for column, kind in schema.items() if column not in there}
        if missing:
            table.alter.add_columns(
                [Field(column, PrimitiveType(_DELTA_TYPES.get(kind, kind))) for column, kind in missing.items()]
            )
        besides = {column: json.loads(kind.to_json()) for column, kind in there.items() if column not in schema}
        return {column: _SPARK_TYPES.get(kind, kind) for column, kind in besides.items()}

    def replace_partitions(
        self, frame: "DataFrame", zone: Zone, name: str, part: "Partitions", among: str, _: "Description"
    ) -> None:
        """Replace the rows for which `among`, on the partition column, holds, in one commit."""
        writer = frame.write.format("delta").partitionBy(part.column)
        if self.version(zone, name) is not None:
            writer = writer.mode("overwrite").option("replaceWhere", among)
        else:
            writer = _first(writer)
        writer.save(self.path(zone, name))

    def delete_partitions(self, session: "SparkSession", zone: Zone, name: str, part: "Partitions", among: str) -> None:
        """Remove the rows for which `among`, on the partition column, holds."""
        nothing = self.frame(session, zone, name).limit(0)
        writer = nothing.write.format("delta").mode("overwrite").partitionBy(part.column)
        writer.option("replaceWhere", among).save(self.path(zone, name))

    def drop(self, _session: "SparkSession", zone: Zone, name: str) -> None:
        """Remove a table with all its versions; does nothing where there is none."""
        shutil.rmtree(self.path(zone, name), ignore_errors=True)

    def partition_values(self, _session: "SparkSession", zone: Zone, name: str, column: str) -> frozenset[str]:
        """The values of a partition column that a table holds."""
        table = opened(self.path(zone, name))
        return frozenset() if table is None else frozenset(str(partition[column]) for partition in table.partitions())


def _first(writer: "DataFrameWriter") -> "DataFrameWriter":
    """The writer of the first rows of a table. There is nothing to replace: to overwrite, Spark would look for its files."""
    return writer.mode("append").options(**_PROPERTIES)


def opened(path: str, version: int | None = None) -> "DeltaTable | None":
    """A table at its newest version, or at another one; None where nothing was ever committed.

    Raises DocumentError where its log cannot be read: were it taken for no table, its rows would be lost. A commit of no bytes,
    which a machine without power or a copy to a full disk leaves, the library takes for one that changes nothing.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    log = Path(path) / "_delta_log"
    try:
        table = DeltaTable(path, version=version)
    except (DeltaError, OSError) as error:
        if not _is_committed(log):
            return None
        raise _unreadable(path, "its log is damaged") from error
    with suppress(FileNotFoundError):  # a checkpoint has it
        if not (log / f"{table.version():020}.json").stat().st_size:
            raise _unreadable(path, f"version {table.version()} in its log is an empty file")
    return table


def _is_committed(log: Path) -> bool:
    """Whether a log has a commit. Raises DocumentError where it may not be read."""
    try:
        return any(entry.suffix == ".json" for entry in log.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(str(log.parent), why(error)) from error


def _unreadable(path: str, fault: str) -> DocumentError:
    return DocumentError(f"{path}: {fault}; see who may read it, or restore the table from a backup")


@cache
def _lists_files(session: "SparkSession") -> bool:
    """Whether tables are given to a session as files. Asked of it once."""
    return option_of(session, FILES_ARE_LISTED) == "true"


def _files_of(session: "SparkSession", path: str, version: int | None) -> "DataFrame":
    """A Delta table at a version as the files that its log names, all in one partition.

    Spark reads such a log by statements of its own, for every table and each time it is read: in a small run they cost more
    than all others. The Delta library reads it in a few milliseconds. Rows that are known to be in one partition need no
    exchange before they are joined or grouped.
    """
    from deltalake import DeltaTable
    from pyspark.sql.types import StructType

    table = DeltaTable(path, version=version)
    schema = StructType.fromJson(json.loads(table.schema().to_json()))
    reader = session.read.schema(schema).option("basePath", path)
    files = [unquote(str(file)) for file in table.get_add_actions().column("path").to_pylist()]
    return reader.parquet(*[f"{path}/{file}" for file in files]).select(*schema.names).coalesce(1)


def files_below(path: str) -> "SubTreeFileSystem":
    """The file system by which pyarrow reads a Delta table.

    The one that deltalake gives is called from threads of pyarrow through Python: a thread that is still closing a file when
    a command ends aborts the process.
    """
    from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

    return SubTreeFileSystem(path, LocalFileSystem())
