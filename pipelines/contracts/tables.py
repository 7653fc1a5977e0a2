"""What a stored table is. Every table is declared once; runner, documents and checks all read the declaration."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pipelines.contracts.zones import Zone
from vocab.schemas import ddl_of

if TYPE_CHECKING:  # settings import this module, and a command without an engine starts without pyspark
    from pyspark.sql import DataFrame, SparkSession


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


@dataclass(frozen=True)
class Selection:
    """How a table is made for some of its rows only.

    `log` is the table that names what has changed (`Log`); a row belongs to what is named there by the columns `on`, which the
    log and the inputs in `narrows` have too. A row of the table depends only on rows of those inputs with the same values
    there, and on other inputs, whose changes the log follows. `others` are inputs that have not these columns, each with the
    columns by which the log names the rows of it that the named rows are made of.
    """

    log: TableName
    narrows: tuple[TableName, ...]
    on: tuple[str, ...] = ("person_id",)
    others: Mapping[TableName, tuple[str, ...]] = field(default_factory=dict)

    def narrowed_by(self, name: TableName) -> tuple[str, ...]:
        """The columns by which an input is narrowed; none where all of it is read."""
        return self.on if name in self.narrows else self.others.get(name, ())


@dataclass(frozen=True)
class Log:
    """What makes a table the log of what has changed, of which others are made again for what it names.

    Its rows are numbered by CHANGE, so that each reader takes those that are new to it. `named` gives the columns of the log
    but that number for the changes of some inputs; `follows` names the inputs whose changes it translates (others are only
    searched). `of` is the table whose rows, one for each thing that could be named, say how many there are; `by` are the
    columns of the log that say which one an entry names. Where more than the share `most` of them is named at once, each
    counted once however many entries it has, nothing is, and everything is made whole.
    """

    named: "Callable[[InputChanges], DataFrame]"
    follows: tuple[TableName, ...]
    of: TableName
    most: float
    by: tuple[str, ...] = ("person_id",)


CHANGE = "change"
"""The column that numbers the entries of a log: the version of the log that brought them."""


class Extent(StrEnum):
    """How much of a table a change affects, where it is not some partitions."""

    WHOLE = "whole"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Selected:
    """What a log names since one of its versions."""

    selection: Selection
    since: int


Affected = Partitions | Extent | Selected


class Inputs(Protocol):
    """The tables that a declaration names as its inputs, and no others."""

    @property
    def session(self) -> "SparkSession":
        """The session, for small frames made of parameters."""

    def read(self, zone: Zone, name: str) -> "DataFrame":
        """An input as it is now. Raises UndeclaredInputError for a table that the declaration does not name."""


class InputChanges(Protocol):
    """The inputs that are new since a table was last made, when nothing else about the table has changed."""

    @property
    def session(self) -> "SparkSession":
        """The session, for small frames."""

    @property
    def names(self) -> frozenset[TableName]:
        """The inputs with another version than before."""

    def before(self, zone: Zone, name: str) -> "DataFrame":
        """A changed input as it was when the table was last made."""

    def now(self, zone: Zone, name: str) -> "DataFrame":
        """Any input as it is now."""

    def added(self, zone: Zone, name: str) -> "DataFrame":
        """The entries of a log among the inputs that are new."""


@dataclass(frozen=True)
class Description:
    """What a catalog is told of a table: what one row is, what its columns are, and which of them no row is without."""

    grain: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    never_null: frozenset[str] = frozenset()


NOT_DESCRIBED = Description()
"""Of a table that is written without a declaration."""


@dataclass(frozen=True)
class Table:
    """The declaration of one stored table.

    `grain` says what one row is. `make` is a pure function of the `inputs`; everything else that decides the rows is in
    `parameters` as text without secrets. `affected` says how much of the table a change of some inputs concerns; without
    it any change makes the whole table again. `replaces` names the partitions that one call of `make` gives: the rest of
    the table stays (a load into bronze). With `keeps_equal` a table that is made again with the same rows keeps its
    version, so that nothing which reads it is made again; for small tables only. `gathers_partitions`: each partition is
    written by one task, as one file; not where one value may have most of the rows. With `selection` it is made for what has
    changed only; `log` makes it the log that says so, of which `make` gives an empty one. `parts_of` are inputs partitioned as
    the table is: of them only the partitions are read that are made. `notes` says what its own columns are (others:
    `column_notes.EVERYWHERE`), and `never_null` names those that a row cannot be made without.
    """

    name: TableName
    grain: str
    schema: Mapping[str, str]
    belongs_to: BelongsTo
    make: "Callable[[Inputs], DataFrame]"
    inputs: tuple[TableName, ...] = ()
    parameters: str = ""
    may_hold_identity: bool = False
    partition_by: tuple[str, ...] = ()
    affected: Callable[[InputChanges], Affected] | None = None
    replaces: Partitions | None = None
    keeps_equal: bool = False
    gathers_partitions: bool = True
    selection: Selection | None = None
    log: Log | None = None
    parts_of: tuple[TableName, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    never_null: frozenset[str] = frozenset()

    @property
    def description(self) -> Description:
        """What a catalog is told of it."""
        return Description(self.grain, self.notes, self.never_null)

    def __post_init__(self) -> None:
        """A table is made again after the log that says for what: the log is one of its inputs."""
        if self.selection is not None and self.selection.log not in self.inputs:
            object.__setattr__(self, "inputs", (*self.inputs, self.selection.log))


def entered(
    name: TableName,
    grain: str,
    schema: Mapping[str, str],
    belongs_to: BelongsTo,
    own: Partitions,
    rows: Sequence[tuple[Any, ...]],
) -> Table:
    """A table into which each load or run enters `rows` of its own: they are all that the partitions `own` then have."""
    return Table(
        name=name,
        grain=grain,
        schema=schema,
        belongs_to=belongs_to,
        make=lambda inputs: inputs.session.createDataFrame(rows, ddl_of(schema)),
        parameters=repr((own.values, rows)),
        partition_by=(own.column,),
        replaces=own,
    )
