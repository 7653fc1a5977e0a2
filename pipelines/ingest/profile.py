"""What the files of a load hold: their records, how many have a value in each column, and the periods they report."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.columns.text import TRUE_TEXTS
from pipelines.columns.values import period_in
from pipelines.contracts.number_spellings import BLANKS
from pipelines.contracts.source import Entity, SourceContract
from pipelines.contracts.tables import BelongsTo, Partitions, Table, TableName, entered
from pipelines.contracts.zones import Zone
from pipelines.engine_settings import STATEMENTS_AT_ONCE
from pipelines.errors import DeliveryError, StoreError
from pipelines.ingest.arrivals import NewLoad
from pipelines.ingest.empty_values import is_empty, number_of_values
from pipelines.ingest.landing import File
from pipelines.ingest.parse import Layout, parse_file, refusal_of
from pipelines.ingest.register import Count
from pipelines.storage.files import AnyPath, path_of

FILE_COLUMNS = "file_columns"
"""Name of the stored table."""

FILE_COLUMNS_SCHEMA = {
    "load_id": "string",
    "file_id": "string",
    "column": "string",
    "filled": "bigint",
}
"""One row per loaded file and column of its contract that it has: how many records have a value there, or are deleted."""

_COUNTED = pa.schema([("file_id", pa.string()), ("kind", pa.string()), ("name", pa.string()), ("records", pa.int64())])
_FILES_PER_TASK = 4
_AT_A_TIME = threading.Semaphore(STATEMENTS_AT_ONCE)
"""The embedded engine reads many files at once in threads of this process, which then wait for each other's turn in Python."""


class _Kind(StrEnum):
    """What is counted: records with a value in the column `name`, records of the period `name`, all of them, malformed ones.

    `REFUSED` counts nothing: `name` is why the file cannot be read to its end.
    """

    COLUMN = "column"
    PERIOD = "period"
    ALL = "all"
    MALFORMED = "malformed"
    REFUSED = "refused"


Filled = dict[str, dict[str, int]]
"""By file id and column, how many records have a value."""


@dataclass(frozen=True)
class Profile:
    """What some files hold, by file id: values by column, the reporting periods with their records, and all records.

    A file that cannot be read to its end has its reason with the count, and nothing else.
    """

    filled: Filled
    periods: Mapping[str, Mapping[str, int]]
    counts: Mapping[str, Count]


@dataclass(frozen=True)
class _Marks:
    """The columns of an entity that say of which period a record is, and whether it is deleted, with the values that say so."""

    period: str | None
    deleted: str | None
    deleted_by: pa.Array

    @classmethod
    def of(cls, entity: Entity) -> "_Marks":
        flag = entity.deleted
        values = [value.lower() for value in flag.values] or [*TRUE_TEXTS] if flag else []
        return cls(entity.period, flag.column if flag else None, pa.array(values, pa.string()))


def profile_files(session: SparkSession, load: NewLoad, contracts: Mapping[str, SourceContract]) -> Profile:
    """What the files hold that a load would read, in one pass over each of them."""
    places = [(file, contracts[source].entities[entity]) for (source, entity), files in load.files.items() for _, file in files]
    filled: Filled = defaultdict(dict)
    periods: dict[str, Counter[str]] = defaultdict(Counter)
    records: dict[str, dict[str, int]] = defaultdict(dict)
    refused: dict[str, str] = {}
    for row in _profiled(session, load, places) if places else []:
        file_id, kind, name = row["file_id"], row["kind"], row["name"]
        match kind:
            case _Kind.COLUMN:
                filled[file_id][name] = row["records"]
            case _Kind.PERIOD:
                if name is not None:
                    periods[file_id][name] += row["records"]
            case _Kind.REFUSED:
                refused[file_id] = name
            case _:
                records[file_id][kind] = row["records"]
    counts = {file_id: Count(found[_Kind.ALL], found[_Kind.MALFORMED]) for file_id, found in records.items()}
    counts |= {file_id: Count(0, refused=reason) for file_id, reason in refused.items()}
    return Profile(dict(filled), dict(periods), counts)


def _profiled(session: SparkSession, load: NewLoad, places: Sequence[tuple[File, Entity]]) -> list[dict[str, Any]]:
    """The counts of some files, each with its entity, in one statement (_COUNTED). Periods that cannot be read have no name."""
    layouts = {file.file_id: (load.layouts[file.file_id], _Marks.of(entity)) for file, entity in places}

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _counted(batches, layouts)

    listing = session.createDataFrame([(str(file.path), file.file_id) for file, _ in places], "path string, file_id string")
    spread = listing.repartition(len(places) // _FILES_PER_TASK + 1)
    counted = spread.mapInArrow(count, "file_id string, kind string, name string, records bigint")
    if any(entity.period for _, entity in places):
        name = F.when(F.col("kind") == _Kind.PERIOD, period_in(F.col("name"))).otherwise(F.col("name"))
        counted = counted.withColumn("name", name)
    records: list[dict[str, Any]] = counted.toArrow().to_pylist()
    return records


def _counted(batches: Iterator[pa.RecordBatch], layouts: Mapping[str, tuple[Layout, _Marks]]) -> Iterator[pa.RecordBatch]:
    """Runs on the workers."""
    for batch in batches:
        for file in batch.to_pylist():
            layout, marks = layouts[file["file_id"]]
            try:
                with _AT_A_TIME:
                    counts = _of_file(path_of(file["path"]), layout, marks)
            except (DeliveryError, StoreError) as error:
                counts = {(_Kind.REFUSED, refusal_of(error)): 0}
            rows = [
                {"file_id": file["file_id"], "kind": kind, "name": name, "records": records}
                for (kind, name), records in counts.items()
            ]
            yield pa.RecordBatch.from_pylist(rows, schema=_COUNTED)


def _of_file(path: AnyPath, layout: Layout, marks: _Marks) -> dict[tuple[str, str], int]:
    """The records of a file, of each period, and those with a value in each column, by kind and name.

    A record that is deleted counts as one with all values: senders leave out what nobody needs of it.
    """
    period = marks.period
    columns = [name for name in layout.columns if name]
    counts: dict[tuple[str, str], int] = {(_Kind.ALL, ""): 0, (_Kind.MALFORMED, ""): 0}
    counts.update(((_Kind.COLUMN, name), 0) for name in columns)
    for batch in parse_file(path, "", "", columns, layout):
        counts[_Kind.ALL, ""] += batch.num_rows
        counts[_Kind.MALFORMED, ""] += batch.num_rows - batch.column("_reason").null_count
        live, deleted = batch, 0
        if marks.deleted in columns:
            is_deleted = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(batch.column(marks.deleted))), marks.deleted_by)
            live = batch.filter(pc.invert(is_deleted))
            deleted = batch.num_rows - live.num_rows
        for name in columns:
            counts[_Kind.COLUMN, name] += deleted + number_of_values(live.column(name))
        if period in columns:
            given = batch.column(period).filter(pc.invert(is_empty(batch.column(period))))
            for value in pc.value_counts(pc.utf8_trim(given, characters=BLANKS)).to_pylist():
                key = (_Kind.PERIOD, value["values"])
                counts[key] = counts.get(key, 0) + value["counts"]
    return counts


def file_columns_table(filled: Filled, load_id: str) -> Table:
    """What is stored of the columns of the files, of which a load replaces its own rows."""
    rows = [(load_id, file_id, column, count) for file_id, columns in filled.items() for column, count in columns.items()]
    grain = "one row per loaded file and column of its contract that it has: how many records have a value"
    name, own = TableName(Zone.CURATION, FILE_COLUMNS), Partitions("load_id", (load_id,))
    return entered(name, grain, FILE_COLUMNS_SCHEMA, BelongsTo.LOAD, own, rows)
