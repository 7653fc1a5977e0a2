"""Declarations changed for a test: logs that follow everybody, and edges of the graph that are broken on purpose."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import pytest

from pipelines.contracts.tables import Affected, Extent, InputChanges, Table, TableName
from pipelines.declaring import Declared, declared_tables

EVERYBODY = 1000.0
"""A share that is never reached: of a handful of people most are touched every night."""


@contextmanager
def declarations(change: Callable[[Table], Table]) -> Iterator[None]:
    """Runs take every declared table as a function gives it."""

    def changed(*arguments: Any) -> Declared:
        declared = declared_tables(*arguments)
        curated, mapped, measures = (
            tuple(map(change, tables)) for tables in (declared.curated, declared.mapped, declared.measures)
        )
        return replace(declared, curated=curated, mapped=mapped, measures=measures)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.nightly.declared_tables", changed)
        yield


def followed_to_the_end(table: Table) -> Table:
    """A log that names what has changed however much it is, so that nothing is made whole for its sake."""
    log = getattr(table, "log", None)
    return table if log is None else _with(table, log=replace(log, most=EVERYBODY))


class Broken(StrEnum):
    """How an edge of the graph is broken."""

    NOT_FOLLOWED = "not followed"
    """A change of the input makes nothing again."""
    NOT_NARROWED = "not narrowed"
    """The input is read whole where the table is made for touched persons."""


@dataclass(frozen=True)
class Edge:
    """A table, one of its inputs, and how the edge between them is broken."""

    table: str
    input: str
    broken: Broken = Broken.NOT_FOLLOWED
    by_log: bool = False
    """Whether the table is a log of what has changed, or is made by one."""

    def __str__(self) -> str:
        """As tests and messages name it."""
        return f"{self.table} <- {self.input}, {self.broken}"

    def broken_in(self, table: Table) -> Table:
        """The table without this edge; any other table as it is."""
        if str(table.name) != self.table:
            return table
        cut = TableName.of(self.input)
        if cut not in table.inputs:
            raise ValueError(f"{self.table} has no input {self.input}")
        declared: Any = table
        if self.broken is Broken.NOT_NARROWED:
            selection = declared.selection
            narrows = tuple(name for name in selection.narrows if name != cut)
            return _with(table, selection=replace(selection, narrows=narrows))
        if self.by_log:
            named = declared.log.named
            return _with(table, log=replace(declared.log, named=lambda changes: named(_Hiding(changes, cut))))
        return replace(table, affected=_affected_by_others(table, cut))


def _affected_by_others(table: Table, cut: TableName) -> Callable[[InputChanges], Affected]:
    def affected(changes: InputChanges) -> Affected:
        others = changes.names - {cut}
        if not others:
            return Extent.NOTHING
        return table.affected(changes) if table.affected else Extent.WHOLE

    return affected


@dataclass(frozen=True)
class _Hiding:
    """The changes of a log's inputs, without one that has changed."""

    changes: InputChanges
    hidden: TableName

    @property
    def names(self) -> frozenset[TableName]:
        return self.changes.names - {self.hidden}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.changes, name)


def _with(table: Table, **changes: Any) -> Table:
    return replace(table, **changes)
