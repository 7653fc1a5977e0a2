"""Delta tables by zone: the one place where tables are read and written.

Every write selects and casts to the declared schema first, because an engine may otherwise store a wrong type as null
without an error. No table carries column statistics in its transaction log, which outlives the rows that they are of. Tables
are found by path; whether one exists, its version and its partitions are asked of the Delta library, never read out of its log.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable, Field
from deltalake.schema import PrimitiveType
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.tables import Partitions, Table
from pipelines.contracts.zones import Zone
from pipelines.errors import OmopPipelineError
from pipelines.storage.paths import StoragePaths as StoragePaths

LOG_PROPERTIES = {"delta.enableExpiredLogCleanup": "false", "delta.logRetentionDuration": "interval 7 days"}
"""Upkeep alone shortens the log of a table, because it knows which versions are pinned; writers would do it by age. Spark
refuses to keep a log for less time than removed files, which is a week."""

_PROPERTIES = {"delta.dataSkippingNumIndexedCols": "0", "delta.enableDeletionVectors": "false", **LOG_PROPERTIES}


_DELTA_TYPES = {"bigint": "long", "int": "integer"}
"""What Delta calls the types that Spark names otherwise."""


def typed(frame: DataFrame, schema: Mapping[str, str]) -> DataFrame:
    """The columns of `schema` in its order and types."""
    return frame.select(*[F.col(name).cast(kind).alias(name) for name, kind in schema.items()])


@dataclass(frozen=True)
class TableStore:
    """Reads and writes Delta tables under two roots, with one session."""

    session: SparkSession
    paths: StoragePaths

    def path(self, zone: Zone, name: str) -> str:
        """Where a table lives."""
        return self.paths.path(zone, name)

    def version(self, zone: Zone, name: str) -> int | None:
        """The newest version of a table; None if there is no such table."""
        return self.paths.version(zone, name)

    def exists(self, zone: Zone, name: str) -> bool:
        """Whether the table has been created."""
        return self.version(zone, name) is not None

    def read(self, zone: Zone, name: str, version: int | None = None) -> DataFrame:
        """The table as a DataFrame, at a version if one is given. Raises OmopPipelineError if there is no such table."""
        # Asked of the file system alone: the engine reads the log itself, and tables are read hundreds of times a run.
        # A log without a commit was left by a first write that was killed.
        if not any((Path(self.path(zone, name)) / "_delta_log").glob("*.json")):
            raise OmopPipelineError(f"there is no table {zone}.{name}; has the stage before this one been run?")
        reader = self.session.read.format("delta")
        if version is not None:
            self._forget_checkpoint_after(zone, name, version)
            reader = reader.option("versionAsOf", version)
        return reader.load(self.path(zone, name))

    def _forget_checkpoint_after(self, zone: Zone, name: str, version: int) -> None:
        """Remove the hint at the last checkpoint where a version before it is wanted.

        Sail 0.7.2 begins to look for commits just before the hinted checkpoint or the version, whichever is less, and so misses
        the checkpoint that the version rests on. Delta lets the hint be absent; the next checkpoint writes it again.
        """
        hint = Path(self.path(zone, name)) / "_delta_log" / "_last_checkpoint"
        with suppress(FileNotFoundError):
            if version < json.loads(hint.read_bytes())["version"]:
                hint.unlink()

    def write(self, frame: DataFrame, table: Table, part: Partitions | None = None) -> int:
        """Store what a declared table was made of, whole or only some partitions, in one commit; gives the version."""
        place = table.name.zone, table.name.name
        if part is None:
            gathered = frame.repartition(*table.partition_by) if table.partition_by and table.gathers_partitions else frame
            self.overwrite(gathered, *place, table.schema, table.partition_by)
        else:
            self.replace_partitions(frame, *place, table.schema, part)
        return self._written(table)

    def replace_rows(self, frame: DataFrame, table: Table, keys: DataFrame, on: Sequence[str]) -> int:
        """Replace the rows of a table that have certain keys (columns `on`), in one commit; gives the version.

        The files are written anew: see docs/decisions/0008-nights.md for what that costs, and what else was measured.
        """
        kept = self.read(*table.name).join(F.broadcast(keys), on=list(on), how="left_anti")
        return self.write(typed(kept, table.schema).unionByName(typed(frame, table.schema)), table)

    def _written(self, table: Table) -> int:
        version = self.version(*table.name)
        if version is None:
            raise OmopPipelineError(f"{table.name} was written and cannot be found; is its folder on this machine?")
        return version

    def overwrite(
        self, frame: DataFrame, zone: Zone, name: str, schema: Mapping[str, str], partition_by: tuple[str, ...] = ()
    ) -> None:
        """Replace the whole table, its schema included, in one commit."""
        writer = typed(frame, schema).write.format("delta").mode("overwrite").partitionBy(*partition_by)
        if self.exists(zone, name):
            writer = writer.option("overwriteSchema", "true")
        else:
            writer = writer.options(**_PROPERTIES)
        writer.save(self.path(zone, name))

    def replace_partitions(self, frame: DataFrame, zone: Zone, name: str, schema: Mapping[str, str], part: Partitions) -> None:
        """Replace the rows whose partition column has one of some values, in one commit; repeating it changes nothing.

        Rows of `frame` with other values are left out, so none can land in a partition that is not replaced. Columns that a
        table of an earlier version has not are added first; its rows have no value there.
        """
        among = f"{part.column} IN ({', '.join(_literal(value) for value in part.values)})"
        writer = typed(frame, schema).where(among).write.format("delta").mode("overwrite").partitionBy(part.column)
        if self.exists(zone, name):
            self._add_columns(zone, name, schema)
            writer = writer.option("replaceWhere", among)
        else:
            writer = writer.options(**_PROPERTIES)
        writer.save(self.path(zone, name))

    def _add_columns(self, zone: Zone, name: str, schema: Mapping[str, str]) -> None:
        """Sail 0.7.2 cannot change the schema of a table in a write that replaces partitions."""
        table = DeltaTable(self.path(zone, name))
        there = {field.name for field in table.schema().fields}
        missing = {column: kind for column, kind in schema.items() if column not in there}
        if missing:
            table.alter.add_columns(
                [Field(column, PrimitiveType(_DELTA_TYPES.get(kind, kind))) for column, kind in missing.items()]
            )

    def delete_partitions(self, zone: Zone, name: str, part: Partitions) -> None:
        """Remove the rows whose partition column has one of some values; does nothing where there are none."""
        nothing = self.read(zone, name).limit(0)
        among = f"{part.column} IN ({', '.join(_literal(value) for value in part.values)})"
        nothing.write.format("delta").mode("overwrite").partitionBy(part.column).option("replaceWhere", among).save(
            self.path(zone, name)
        )

    def drop(self, zone: Zone, name: str) -> None:
        """Remove a table with all its versions; does nothing where there is none."""
        shutil.rmtree(self.path(zone, name), ignore_errors=True)

    def partition_values(self, zone: Zone, name: str, column: str) -> frozenset[str]:
        """The values of a partition column that a table holds."""
        if self.version(zone, name) is None:
            return frozenset()
        return frozenset(str(partition[column]) for partition in DeltaTable(self.path(zone, name)).partitions())


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'"
