"""The tables of what was counted for the expectations of a team: one for each table that a suite names."""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby
from typing import Final

from pyspark.sql import DataFrame

from pipelines.columns.frames import union_all
from pipelines.contracts.tables import BelongsTo, Inputs, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import QualityGateError
from pipelines.quality.expectations.by_library import counts_by_library
from pipelines.quality.expectations.counting import COUNT_SCHEMA, counts, is_counted
from pipelines.quality.expectations.suites import Expectation
from pipelines.quality.gates import Measured
from pipelines.storage.documents import digest_of
from pipelines.storage.places import Places
from vocab.schemas import ddl_of

PREFIX: Final = "gate_measures_expectations"


def expectation_tables(expectations: Collection[Expectation], checked: Collection[TableName]) -> list[Table]:
    """The tables of counts, for those of the named tables that are there: made again when table or expectations change."""
    return [_declared(table, asked) for table, asked in _by_table(expectations) if table in checked]


def expectations_measured(
    paths: Places, expectations: Collection[Expectation], checked: Collection[TableName]
) -> list[Measured]:
    """What was counted for every expectation; no engine is asked. A table that is not there breaks what is expected of it.

    Raises QualityGateError where an expectation was not counted: it must not pass unseen.
    """
    measured = []
    for table, asked in _by_table(expectations):
        if table not in checked:
            measured += [Measured(expectation.check, 0, 1) for expectation in asked]
            continue
        records = paths.records(Zone.LEDGER, _name(table), tuple(COUNT_SCHEMA))
        stored = {record["expectation"]: record for record in records}
        unseen = [expectation.place for expectation in asked if expectation.text not in stored]
        if unseen:
            raise QualityGateError(f"not counted on {table}; nothing was published\n  " + "\n  ".join(unseen))
        counted = [(expectation, stored[expectation.text]) for expectation in asked]
        measured += [Measured(expectation.check, record["rows"], record["violations"]) for expectation, record in counted]
    return measured


def _by_table(expectations: Collection[Expectation]) -> Iterator[tuple[TableName, list[Expectation]]]:
    ordered = sorted(expectations, key=lambda expectation: (expectation.table, expectation.text))
    for table, asked in groupby(ordered, key=lambda expectation: expectation.table):
        yield table, list(asked)


def _name(table: TableName) -> str:
    return f"{PREFIX}_{table.zone}_{table.name}"


def _declared(table: TableName, asked: Sequence[Expectation]) -> Table:
    return Table(
        name=TableName(Zone.LEDGER, _name(table)),
        grain=f"one row per expectation of {table}: the rows that it looks at, and those that break it",
        schema=COUNT_SCHEMA,
        belongs_to=BelongsTo.WHOLE,
        make=_make(table, asked),
        inputs=(table,),
        parameters=digest_of(*[repr((e.text, sorted(e.kwargs.items()))) for e in asked]),
    )


def _make(table: TableName, asked: Sequence[Expectation]) -> Callable[[Inputs], DataFrame]:
    def make(inputs: Inputs) -> DataFrame:
        frame = inputs.read(*table)
        own = [expectation for expectation in asked if is_counted(expectation)]
        others = [expectation for expectation in asked if not is_counted(expectation)]
        frames = [counts(frame, own)] if own else []
        if others:
            rows = list(counts_by_library(frame, others))
            frames.append(inputs.session.createDataFrame(rows, ddl_of(COUNT_SCHEMA)))
        return union_all(frames)

    return make
