"""Delta tables by zone: the one place where tables are read and written.

Every write selects and casts to the declared schema first, because an engine may otherwise store a wrong type as null
without an error. Tables below the restricted root carry no column statistics in their transaction log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.zones import RESTRICTED_ZONES, Zone
from pipelines.errors import OmopPipelineError

_NO_STATISTICS = {"delta.dataSkippingNumIndexedCols": "0", "delta.enableDeletionVectors": "false"}
_PLAIN = {"delta.enableDeletionVectors": "false"}


def typed(frame: DataFrame, schema: Mapping[str, str]) -> DataFrame:
    """The columns of `schema` in its order and types."""
    return frame.select(*[F.col(name).cast(kind).alias(name) for name, kind in schema.items()])


@dataclass(frozen=True)
class TableStore:
    """Reads and writes Delta tables under two roots, with one session."""

    session: SparkSession
    restricted: Path
    deidentified: Path

    def path(self, zone: Zone, name: str) -> str:
        """Where a table lives."""
        root = self.restricted if zone in RESTRICTED_ZONES else self.deidentified
        return str(root / zone.value / name)

    def exists(self, zone: Zone, name: str) -> bool:
        """Whether the table has been created."""
        return (Path(self.path(zone, name)) / "_delta_log").is_dir()

    def read(self, zone: Zone, name: str, version: int | None = None) -> DataFrame:
        """The table as a DataFrame, at a version if one is given. Raises OmopPipelineError if there is no such table."""
        if not self.exists(zone, name):
            raise OmopPipelineError(f"there is no table {zone}.{name}; has the stage before this one been run?")
        reader = self.session.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        return reader.load(self.path(zone, name))

    def overwrite(
        self, frame: DataFrame, zone: Zone, name: str, schema: Mapping[str, str], partition_by: tuple[str, ...] = ()
    ) -> None:
        """Replace the whole table, its schema included, in one commit."""
        rows = typed(frame, schema)
        if partition_by:
            # One task writes a partition, so that it is one file and not one of every task.
            rows = rows.repartition(*partition_by)
        writer = rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true").partitionBy(*partition_by)
        if not self.exists(zone, name):
            writer = writer.options(**self._properties(zone))
        writer.save(self.path(zone, name))

    def replace_slice(
        self, frame: DataFrame, zone: Zone, name: str, schema: Mapping[str, str], column: str, value: str
    ) -> None:
        """Replace the rows whose partition column has this value, in one commit; repeating it changes nothing.

        Rows of `frame` that belong to another slice are refused by construction: the column is set to the value.
        """
        slice_ = typed(frame.withColumn(column, F.lit(value)), schema)
        writer = slice_.write.format("delta").mode("overwrite").partitionBy(column)
        if self.exists(zone, name):
            writer = writer.option("replaceWhere", f"{column} = '{value}'")
        else:
            writer = writer.options(**self._properties(zone))
        writer.save(self.path(zone, name))

    def replace_parts(
        self, frame: DataFrame, zone: Zone, name: str, schema: Mapping[str, str], column: str, values: Sequence[int]
    ) -> None:
        """Replace the partitions of a table that have one of these values, in one commit; rows of others are left out."""
        among = f"{column} IN ({', '.join(str(value) for value in values)})"
        writer = typed(frame.where(among), schema).write.format("delta").mode("overwrite").partitionBy(column)
        writer.option("replaceWhere", among).save(self.path(zone, name))

    def delete_slice(self, zone: Zone, name: str, column: str, value: str) -> None:
        """Remove the rows whose partition column has this value; does nothing where there are none."""
        nothing = self.read(zone, name).limit(0)
        writer = nothing.write.format("delta").mode("overwrite").partitionBy(column)
        writer.option("replaceWhere", f"{column} = '{value}'").save(self.path(zone, name))

    def version(self, zone: Zone, name: str) -> int:
        """The newest version of a table: the highest numbered commit in its log."""
        log = Path(self.path(zone, name)) / "_delta_log"
        return max(int(commit.stem) for commit in log.glob("[0-9]*.json") if commit.stem.isdigit())

    def _properties(self, zone: Zone) -> dict[str, str]:
        return _NO_STATISTICS if zone in RESTRICTED_ZONES else _PLAIN
