"""What a stored table is. Every table is declared once; runner, documents and checks all read the declaration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.zones import Zone


class TableName(NamedTuple):
    """The zone and the name of a table."""

    zone: Zone
    name: str

    @classmethod
    def of(cls, text: str) -> "TableName":
        """The name that messages and documents write as `zone.name`."""
        zone, _, name = text.partition(".")
        return cls(Zone(zone), name)

    def __str__(self) -> str:
        """As messages and documents name it."""
        return f"{self.zone}.{self.name}"


class BelongsTo(StrEnum):
    """What the rows of a table belong to, and so what has to be made again when something changes."""

    PERSON = "person"
    CODE = "code"
    LOAD = "load"
    WHOLE = "whole"


@dataclass(frozen=True)
class Partitions:
    """Some values of the column that a table is partitioned by."""

    column: str
    values: tuple[str, ...] | tuple[int, ...]


class Extent(StrEnum):
    """How much of a table a change affects, where it is not some partitions."""

    WHOLE = "whole"
    NOTHING = "nothing"


Affected = Partitions | Extent


class Inputs(Protocol):
    """The tables that a declaration names as its inputs, and no others."""

    @property
    def session(self) -> SparkSession:
        """The session, for small frames made of parameters."""

    def read(self, zone: Zone, name: str) -> DataFrame:
        """An input as it is now. Raises UndeclaredInputError for a table that the declaration does not name."""


class InputChanges(Protocol):
    """The inputs that are new since a table was last made, when nothing else about the table has changed."""

    @property
    def names(self) -> frozenset[TableName]:
        """The inputs with another version than before."""

    def before(self, zone: Zone, name: str) -> DataFrame:
        """A changed input as it was when the table was last made."""

    def now(self, zone: Zone, name: str) -> DataFrame:
        """Any input as it is now."""


@dataclass(frozen=True)
class Table:
    """The declaration of one stored table.

    `grain` says what one row is. `make` is a pure function of the `inputs`; everything else that decides the rows is in
    `parameters` as text without secrets. `affected` says how much of the table a change of some inputs concerns; without
    it any change makes the whole table again. `replaces` names the partitions that one call of `make` gives: the rest of
    the table stays (a load into bronze). With `keeps_equal` a table that is made again with the same rows keeps its
    version, so that nothing which reads it is made again; for small tables only. `gathers_partitions`: each partition is
    written by one task, as one file; not where one value may have most of the rows.
    """

    name: TableName
    grain: str
    schema: Mapping[str, str]
    belongs_to: BelongsTo
    make: Callable[[Inputs], DataFrame]
    inputs: tuple[TableName, ...] = ()
    parameters: str = ""
    may_hold_identity: bool = False
    partition_by: tuple[str, ...] = ()
    affected: Callable[[InputChanges], Affected] | None = None
    replaces: Partitions | None = None
    keeps_equal: bool = False
    gathers_partitions: bool = True
