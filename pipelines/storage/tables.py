"""Delta tables by zone: the one place where tables are read and written.

Every write selects and casts to the declared schema first, because an engine may otherwise store a wrong type as null
without an error. No table carries column statistics of delivered values in its transaction log, which outlives the rows that
they are of. Tables are found by path or by catalog name; its version and its partitions are asked of the Delta library or the
catalog. Of a log itself no more is read than whether there is a commit (`StoragePaths.frame`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.tables import NOT_DESCRIBED, Description, Partitions, Table
from pipelines.contracts.zones import Zone
from pipelines.errors import OmopPipelineError
from pipelines.storage.paths import StoragePaths as StoragePaths
from pipelines.storage.places import Places


def typed(frame: DataFrame, schema: Mapping[str, str]) -> DataFrame:
    """The columns of `schema` in its order and types."""
    return frame.select(*[F.col(name).cast(kind).alias(name) for name, kind in schema.items()])


@dataclass(frozen=True)
class TableStore:
    """Reads and writes Delta tables in their places, with one session."""

    session: SparkSession
    paths: Places

    def path(self, zone: Zone, name: str) -> str:
        """Where a table is: its path, or its quoted name of three parts."""
        return self.paths.path(zone, name)

    def version(self, zone: Zone, name: str) -> int | None:
        """The newest version of a table; None if there is no such table."""
        return self.paths.version(zone, name)

    def exists(self, zone: Zone, name: str) -> bool:
        """Whether the table has been created."""
        return self.version(zone, name) is not None

    def read(self, zone: Zone, name: str, version: int | None = None) -> DataFrame:
        """The table as a DataFrame, at a version if one is given. Raises OmopPipelineError if there is no such table."""
        return self.paths.frame(self.session, zone, name, version)

    def write(self, frame: DataFrame, table: Table, part: Partitions | None = None) -> int:
        """Store what a declared table was made of, whole or only some partitions, in one commit; gives the version."""
        place = table.name.zone, table.name.name
        if part is None:
            gathered = frame.repartition(*table.partition_by) if table.partition_by and table.gathers_partitions else frame
            self.overwrite(gathered, *place, table.schema, table.partition_by, table.description)
        else:
            self.replace_partitions(frame, *place, table.schema, part, table.description)
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
        self,
        frame: DataFrame,
        zone: Zone,
        name: str,
        schema: Mapping[str, str],
        partition_by: tuple[str, ...] = (),
        described: Description = NOT_DESCRIBED,
    ) -> None:
        """Replace the whole table, its schema included, in one commit."""
        self.paths.overwrite(typed(frame, schema), zone, name, partition_by, described)

    def replace_partitions(
        self,
        frame: DataFrame,
        zone: Zone,
        name: str,
        schema: Mapping[str, str],
        part: Partitions,
        described: Description = NOT_DESCRIBED,
    ) -> None:
        """Replace the rows whose partition column has one of some values, in one commit; repeating it changes nothing.

        Rows of `frame` with other values are left out, so none can land in a partition that is not replaced. Columns that a
        table of an earlier version has not are added first; its rows have no value there. Columns that only the table has stay,
        and the new rows have no value there.
        """
        among = _among(part)
        besides = self.paths.add_columns(self.session, zone, name, schema)
        absent = {column: F.lit(None).cast(kind) for column, kind in besides.items()}
        rows = typed(frame, schema).where(among).withColumns(absent) if absent else typed(frame, schema).where(among)
        self.paths.replace_partitions(rows, zone, name, part, among, described)

    def delete_partitions(self, zone: Zone, name: str, part: Partitions) -> None:
        """Remove the rows whose partition column has one of some values; does nothing where there are none."""
        self.paths.delete_partitions(self.session, zone, name, part, _among(part))

    def drop(self, zone: Zone, name: str) -> None:
        """Remove a table with all its versions; does nothing where there is none."""
        self.paths.drop(self.session, zone, name)

    def partition_values(self, zone: Zone, name: str, column: str) -> frozenset[str]:
        """The values of a partition column that a table holds."""
        return self.paths.partition_values(self.session, zone, name, column)


def _among(part: Partitions) -> str:
    return f"{part.column} IN ({', '.join(_literal(value) for value in part.values)})"


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'"
