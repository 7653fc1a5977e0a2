"""Upkeep of Delta tables: fewer files, fewer versions, a shorter log. No row of any table is changed by it.

What is due is decided elsewhere, from what the Delta library says of a table. Two executors write to tables: the library
itself where the embedded engine runs, SQL on Spark. Which files nothing needs any more the library says for both: it takes
the versions to be kept by number. Spark's VACUUM goes by age, and forgets after a week when a file was removed from a table,
so that it would take files of a pinned version.
"""

import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from deltalake import DeltaTable
from pyspark.sql import SparkSession

from pipelines.storage.paths import LOG_PROPERTIES, opened

TARGET_BYTES = 128 * 2**20
"""The size that compacted files have, about."""

_OF_UPKEEP = frozenset({"OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES"})
"""Operations in the history of a table that leave its rows as they are."""


@dataclass(frozen=True)
class Commit:
    """One version of a table: when it was written, and whether it made the whole table again or left the rows alone."""

    version: int
    at: datetime
    is_whole: bool
    is_upkeep: bool


@dataclass(frozen=True)
class DeltaFacts:
    """What the log of a table says of its newest version.

    `sizes` are the bytes of its files, by partition.
    """

    version: int
    partitioned_by: tuple[str, ...]
    sizes: Mapping[tuple[object, ...], tuple[int, ...]]
    keeps_log: bool

    @property
    def files(self) -> int:
        """How many files the newest version has."""
        return sum(map(len, self.sizes.values()))


def facts_of(path: str) -> DeltaFacts | None:
    """What the log says of a table; None where there is no table. Raises DocumentError if it cannot be read."""
    table = opened(path)
    if table is None:
        return None
    files = table.get_add_actions(flatten=True)
    partitioned_by = tuple(table.metadata().partition_columns)
    keys = [files.column(f"partition.{name}").to_pylist() for name in partitioned_by]
    sizes: dict[tuple[object, ...], list[int]] = {}
    for place, size in enumerate(files.column("size_bytes").to_pylist()):
        sizes.setdefault(tuple(key[place] for key in keys), []).append(size)
    return DeltaFacts(
        version=table.version(),
        partitioned_by=partitioned_by,
        sizes={key: tuple(found) for key, found in sizes.items()},
        keeps_log=LOG_PROPERTIES.items() <= table.metadata().configuration.items(),
    )


def files_at(path: str, version: int | None = None) -> dict[str, int]:
    """The files of a version of a table, the newest unless one is given, with their bytes.

    Raises DeltaError or TableNotFoundError where there is no such version to read.
    """
    files = DeltaTable(path, version=version).get_add_actions(flatten=True)
    return dict(zip(files.column("path").to_pylist(), files.column("size_bytes").to_pylist(), strict=True))


def commits_of(path: str, newest: int | None = None) -> list[Commit]:
    """The versions in the log of a table, the newest first; only so many if a number is given."""
    return [_commit(entry) for entry in DeltaTable(path).history(newest)]


def same_rows_since(path: str, version: int, oldest: int) -> int:
    """The first version, not before `oldest`, that has the rows of `version`: after it there was nothing but upkeep."""
    for commit in commits_of(path, version - oldest):
        if commit.version != version or not commit.is_upkeep:
            break
        version -= 1
    return version


@dataclass(frozen=True)
class OnDisk:
    """What a table takes: its data files of all versions, the files of its log, and the bytes of both."""

    files: int
    log_files: int
    size: int

    def without(self, files: Collection[Path]) -> "OnDisk":
        """The same once some data files are gone."""
        gone = sum(file.stat().st_size for file in files)
        return OnDisk(self.files - len(files), self.log_files, self.size - gone)


def on_disk(path: str) -> OnDisk:
    """What a table takes, by listing its folder."""
    counted: Counter[str] = Counter()
    for folder, _, names in os.walk(path):
        kind = "log" if Path(folder).name == "_delta_log" else "data"
        counted[kind] += len(names)
        counted["bytes"] += sum(Path(folder, name).stat().st_size for name in names)
    return OnDisk(counted["data"], counted["log"], counted["bytes"])


def unneeded_files(path: str, keep_days: int, keep: Collection[int]) -> list[Path]:
    """The files of a table that no version in `keep`, which names the newest too, and none of the last days needs.

    Also what killed writes have left: the folder is looked at, not the log alone.
    """
    names = DeltaTable(path).vacuum(
        retention_hours=24 * keep_days, dry_run=True, enforce_retention_duration=False, full=True, keep_versions=sorted(keep)
    )
    return [Path(path, name) for name in names]


class Executor(Protocol):
    """Does the upkeep of one table. Nobody else may be writing to it."""

    def keep_log(self, path: str) -> None:
        """See to it that no writer shortens the log of the table."""

    def compact(self, path: str) -> None:
        """Put small files of each partition together."""

    def drop_partitions(self, path: str, column: str, values: Collection[str]) -> None:
        """Remove the rows of some partitions."""

    def shorten_log(self, path: str, oldest: int) -> None:
        """Remove the log entries that no version from `oldest` on needs."""


def executor_for(session: SparkSession | None) -> Executor:
    """The executor that works by SQL in a session of Spark, or the Delta library without one."""
    return _Library() if session is None else _Sql(session)


class _Library:
    """Upkeep by the Delta library, in this process."""

    def keep_log(self, path: str) -> None:
        DeltaTable(path).alter.set_table_properties(dict(LOG_PROPERTIES))

    def compact(self, path: str) -> None:
        DeltaTable(path).optimize.compact(target_size=TARGET_BYTES)

    def drop_partitions(self, path: str, column: str, values: Collection[str]) -> None:
        DeltaTable(path).delete(_among(column, values))

    def shorten_log(self, path: str, oldest: int) -> None:
        # Upkeep writes versions too, and with them an engine misses its turn to do this.
        DeltaTable(path).create_checkpoint()
        _shorten_log(path, oldest)


@dataclass(frozen=True)
class _Sql:
    """Upkeep by Spark."""

    session: SparkSession

    def keep_log(self, path: str) -> None:
        properties = ", ".join(f"'{name}' = '{value}'" for name, value in LOG_PROPERTIES.items())
        self.session.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ({properties})")

    def compact(self, path: str) -> None:
        self.session.sql(f"OPTIMIZE delta.`{path}`")

    def drop_partitions(self, path: str, column: str, values: Collection[str]) -> None:
        self.session.sql(f"DELETE FROM delta.`{path}` WHERE {_among(column, values)}")  # noqa: S608 - names and run ids of ours

    def shorten_log(self, path: str, oldest: int) -> None:
        _shorten_log(path, oldest)


def _commit(entry: Mapping[str, Any]) -> Commit:
    parameters = entry.get("operationParameters", {})
    of_a_part = parameters.get("mode") != "Overwrite" or parameters.get("predicate") not in (None, "[]")
    operation = entry.get("operation", "")
    return Commit(
        version=entry["version"],
        at=datetime.fromtimestamp(entry["timestamp"] / 1000, UTC),
        is_whole=not of_a_part,
        is_upkeep=operation in _OF_UPKEEP,
    )


def _shorten_log(path: str, oldest: int) -> None:
    """Asked of the version itself, the library keeps everything from the last checkpoint before it on."""
    DeltaTable(path, version=oldest).cleanup_metadata()
    log = Path(path) / "_delta_log"
    entries = {entry.stem for entry in log.glob("*.json")}
    for checksum in log.glob("*.crc"):  # of which the library knows nothing
        if checksum.stem not in entries and checksum.stem.isdigit():
            checksum.unlink()


def _among(column: str, values: Collection[str]) -> str:
    quoted = ", ".join(f"'{value}'" for value in sorted(values))
    return f"{column} IN ({quoted})"
