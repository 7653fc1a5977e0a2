"""Tables by name in catalogs, such as Unity Catalog: one schema per zone, and no path anywhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.column_notes import EVERYWHERE
from pipelines.contracts.tables import Description, Partitions
from pipelines.contracts.zones import RESTRICTED_ZONES, Zone
from pipelines.errors import EngineError, OmopPipelineError

Answer = TypeVar("Answer")

PERSON_ID: Final = "person_id"
"""The column by which tables are clustered that have it: a table of one catalog is read by person most of all."""


@dataclass(frozen=True)
class CatalogTables:
    """Where each zone lies: a schema in the catalog for identifiable zones, or in that for de-identified ones.

    `prefix` begins the name of every schema. `session_of` gives the session that the catalogs are asked with; it is called
    when something is asked. `retention_days` is how long old versions of a table can be read: releases pin them.
    """

    identifiable: str
    deidentified: str
    prefix: str
    retention_days: int
    session_of: Callable[[], SparkSession]

    def schema(self, zone: Zone) -> str:
        """The quoted name of the schema of a zone."""
        catalog = self.identifiable if zone in RESTRICTED_ZONES else self.deidentified
        return f"{_quoted(catalog)}.{_quoted(self.prefix + zone.value)}"

    def path(self, zone: Zone, name: str) -> str:
        """The quoted name of a table, of three parts."""
        return f"{self.schema(zone)}.{_quoted(name)}"

    def source(self, zone: Zone, name: str, version: int) -> str:
        """How SQL of Spark names a table at a version."""
        return f"{self.path(zone, name)} VERSION AS OF {version}"

    def names(self, zone: Zone) -> list[str]:
        """The tables of a zone; none where it has no schema."""
        session = self.session_of()
        if not self._asked(zone, lambda: session.catalog.databaseExists(self.schema(zone))):
            return []
        found = session.sql(f"SHOW TABLES IN {self.schema(zone)}").collect()
        return sorted(row["tableName"] for row in found if not row["isTemporary"])

    def version(self, zone: Zone, name: str) -> int | None:
        """The newest version of a table; None if there is no such table."""
        session = self.session_of()
        if not self._exists(session, zone, name):
            return None
        return int(session.sql(f"DESCRIBE HISTORY {self.path(zone, name)} LIMIT 1").collect()[0]["version"])

    def row_count(self, zone: Zone, name: str) -> int | None:
        """None: a catalog would have to read the table."""
        del zone, name
        return None

    def records(
        self, zone: Zone, name: str, columns: Sequence[str], where: tuple[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """The rows of a small table of ours (ledger, gate results); none if there is no table.

        With `where`, a column and a value, only the rows that have the value there. A column that a table of an earlier version
        has not is null.
        """
        session = self.session_of()
        if not self._exists(session, zone, name):
            return []
        rows = self.frame(session, zone, name)
        chosen = rows if where is None else rows.where(F.col(where[0]) == where[1])
        there = [name for name in columns if name in rows.columns]
        records: list[dict[str, Any]] = chosen.select(*there).toArrow().to_pylist()
        return records if len(there) == len(columns) else [{name: record.get(name) for name in columns} for record in records]

    def frame(self, session: SparkSession, zone: Zone, name: str, version: int | None = None) -> DataFrame:
        """A table as a DataFrame, at a version if one is given."""
        if version is None:
            return session.table(self.path(zone, name))
        return session.sql(f"SELECT * FROM {self.source(zone, name, version)}")  # noqa: S608 - a name of ours

    def overwrite(self, frame: DataFrame, zone: Zone, name: str, partition_by: Sequence[str], described: Description) -> None:
        """Replace all rows of a table. One that is not there, or has other columns, is created empty first.

        What a table was before can still be read at its former versions.
        """
        if self._columns(frame.sparkSession, zone, name) != frame.dtypes:
            self._create(frame, zone, name, partition_by, described)
        self._written(frame, zone, name)

    def add_columns(self, session: SparkSession, zone: Zone, name: str, schema: Mapping[str, str]) -> Mapping[str, str]:
        """Add the columns of a schema that a table has not; gives those that it has besides, with their types.

        Does nothing where there is no table.
        """
        there = self._columns(session, zone, name)
        if there is None:
            return {}
        known = dict(there)
        missing = ", ".join(f"{_quoted(column)} {kind}" for column, kind in schema.items() if column not in known)
        if missing:
            session.sql(f"ALTER TABLE {self.path(zone, name)} ADD COLUMNS ({missing})")
        return {column: kind for column, kind in known.items() if column not in schema}

    def replace_partitions(
        self, frame: DataFrame, zone: Zone, name: str, part: Partitions, among: str, described: Description
    ) -> None:
        """Replace the rows for which `among` holds, in one commit; a table that is not there is created empty first."""
        if not self._exists(frame.sparkSession, zone, name):
            self._create(frame, zone, name, (part.column,), described)
        self._written(frame, zone, name, F.expr(among))

    def _written(self, frame: DataFrame, zone: Zone, name: str, replaced: Column | None = None) -> None:
        """Replace the rows for which a condition holds, else all, in one commit.

        Delta 4.4 takes the clustering from a table that is overwritten whole, unless it is told that this is by a condition.
        Raises OmopPipelineError where a column that is never null would be.
        """
        writer = frame.writeTo(self.path(zone, name))
        try:
            if replaced is None:
                writer.option("replaceWhere", "true").overwrite(F.lit(True))
            else:
                writer.overwrite(replaced)
        except Exception as error:  # a session of Spark and one of a server raise different classes, executors others
            if _REFUSED_NULL not in str(error):
                raise
            raise OmopPipelineError(
                f"{zone}.{name}: a row has no value in a column that is never null; nothing was written. Report it: this is a "
                "fault of the software"
            ) from error

    def _create(self, frame: DataFrame, zone: Zone, name: str, partition_by: Sequence[str], described: Description) -> None:
        columns = ", ".join(_declared(column, kind, described) for column, kind in frame.dtypes)
        properties = ", ".join(f"'{key}' = '{value}'" for key, value in self._properties(frame.columns).items())
        laid_out = ""
        if partition_by:
            laid_out = f"PARTITIONED BY ({', '.join(map(_quoted, partition_by))})"
        elif PERSON_ID in frame.columns:
            laid_out = f"CLUSTER BY ({_quoted(PERSON_ID)})"
        session = frame.sparkSession
        session.sql(f"CREATE SCHEMA IF NOT EXISTS {self.schema(zone)}")
        session.sql(
            f"CREATE OR REPLACE TABLE {self.path(zone, name)} ({columns}) USING DELTA {laid_out}"
            f" COMMENT {_literal(described.grain)} TBLPROPERTIES ({properties})"
        )

    def _properties(self, columns: Sequence[str]) -> Mapping[str, str]:
        """Statistics are kept of nothing but the pseudonym that a table is clustered by, since a log outlives its rows."""
        kept = f"interval {self.retention_days} days"
        retention = {"delta.logRetentionDuration": kept, "delta.deletedFileRetentionDuration": kept}
        if PERSON_ID in columns:
            return retention | {"delta.dataSkippingStatsColumns": PERSON_ID}
        return retention | {"delta.dataSkippingNumIndexedCols": "0"}

    def _columns(self, session: SparkSession, zone: Zone, name: str) -> list[tuple[str, str]] | None:
        return session.table(self.path(zone, name)).dtypes if self._exists(session, zone, name) else None

    def _exists(self, session: SparkSession, zone: Zone, name: str) -> bool:
        """Whether a table is there. Raises EngineError where that cannot be said: it must not pass for a missing table."""
        return self._asked(zone, lambda: session.catalog.tableExists(self.path(zone, name)))

    def _asked(self, zone: Zone, question: Callable[[], Answer]) -> Answer:
        try:
            return question()
        except Exception as error:  # a session of Spark and one of a server raise different classes, all with one meaning
            raise EngineError(
                f"storage.catalog: {self.schema(zone)} cannot be asked ({type(error).__name__}); see that the catalog is there "
                "and that this account may use it"
            ) from error

    def delete_partitions(self, session: SparkSession, zone: Zone, name: str, _part: Partitions, among: str) -> None:
        """Remove the rows for which `among` holds."""
        session.sql(f"DELETE FROM {self.path(zone, name)} WHERE {among}")  # noqa: S608 - names and run ids of ours

    def drop(self, session: SparkSession, zone: Zone, name: str) -> None:
        """Remove a table with all its versions; does nothing where there is none."""
        session.sql(f"DROP TABLE IF EXISTS {self.path(zone, name)}")

    def partition_values(self, session: SparkSession, zone: Zone, name: str, column: str) -> frozenset[str]:
        """The values of a partition column that a table holds."""
        if not self._exists(session, zone, name):
            return frozenset()
        return frozenset(str(row[0]) for row in session.table(self.path(zone, name)).select(column).distinct().collect())


_REFUSED_NULL: Final = "DELTA_NOT_NULL_CONSTRAINT_VIOLATED"


def _declared(column: str, kind: str, described: Description) -> str:
    """A column in the statement that creates a table, with what is said of it and whether it may be null."""
    note = described.columns.get(column) or EVERYWHERE.get(column)
    constraint = " NOT NULL" if column in described.never_null else ""
    return f"{_quoted(column)} {kind}{constraint}" + (f" COMMENT {_literal(note)}" if note else "")


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
