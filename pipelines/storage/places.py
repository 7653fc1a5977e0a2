"""Where tables are: by path or by catalog name."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.contracts.zones import Zone

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pipelines.contracts.tables import Description, Partitions


class Places(Protocol):
    """What the tables of every zone are found, read and written by."""

    def names(self, zone: Zone) -> list[str]:
        """The tables of a zone."""

    def path(self, zone: Zone, name: str) -> str:
        """Where a table is: its path, or its quoted name of three parts."""

    def source(self, zone: Zone, name: str, version: int) -> str:
        """How SQL of Spark names a table at a version."""

    def version(self, zone: Zone, name: str) -> int | None:
        """The newest version of a table; None if there is no such table."""

    def row_count(self, zone: Zone, name: str) -> int | None:
        """How many rows a table has, as far as that is known without reading it; None where it is not."""

    def records(
        self, zone: Zone, name: str, columns: Sequence[str], where: tuple[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """The rows of a small table of ours; none if there is no table. With `where`, a column and a value, only such rows."""

    def frame(self, session: "SparkSession", zone: Zone, name: str, version: int | None = None) -> "DataFrame":
        """A table as a DataFrame, at a version if one is given.

        If there is no such table, a folder raises OmopPipelineError now, and a catalog its own error once the table is read.
        """

    def overwrite(
        self, frame: "DataFrame", zone: Zone, name: str, partition_by: Sequence[str], described: "Description", /
    ) -> None:
        """Replace the whole table, its schema included, in one commit."""

    def add_columns(self, session: "SparkSession", zone: Zone, name: str, schema: Mapping[str, str], /) -> Mapping[str, str]:
        """Add the columns of a schema that a table has not; gives those that it has besides, with their types.

        Does nothing where there is no table.
        """

    def replace_partitions(
        self, frame: "DataFrame", zone: Zone, name: str, part: "Partitions", among: str, described: "Description", /
    ) -> None:
        """Replace the rows for which `among`, on the partition column, holds, in one commit."""

    def delete_partitions(self, session: "SparkSession", zone: Zone, name: str, part: "Partitions", among: str, /) -> None:
        """Remove the rows for which `among`, on the partition column, holds."""

    def drop(self, session: "SparkSession", zone: Zone, name: str, /) -> None:
        """Remove a table with all its versions; does nothing where there is none."""

    def partition_values(self, session: "SparkSession", zone: Zone, name: str, column: str, /) -> frozenset[str]:
        """The values of a partition column that a table holds."""
