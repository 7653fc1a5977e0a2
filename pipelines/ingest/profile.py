"""What the files of a load hold: how many records have a value in each column, and the reporting periods of the records."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from pipelines.contracts.source import SourceContract
from pipelines.contracts.tables import BelongsTo, Partitions, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.engine_settings import STATEMENTS_AT_ONCE
from pipelines.errors import DeliveryError
from pipelines.ingest.arrivals import NewLoad
from pipelines.ingest.landing import File
from pipelines.ingest.parse import Layout, parse_file
from pipelines.runner import run_in_parallel
from vocab.schemas import ddl_of

FILE_COLUMNS = "file_columns"
"""Name of the stored table."""

FILE_COLUMNS_SCHEMA = {
    "load_id": "string",
    "file_id": "string",
    "column": "string",
    "filled": "bigint",
}
"""One row per loaded file and column of its contract that it has: how many of its records have a value there."""

_COUNTED = pa.schema([("file_id", pa.string()), ("column", pa.string()), ("period", pa.string()), ("filled", pa.int64())])
_FILES_PER_TASK = 4

Filled = dict[str, dict[str, int]]
"""By file id and column, how many records have a value."""


@dataclass(frozen=True)
class Profile:
    """What some files hold: values by column, and the reporting periods of their rows, both by file id."""

    filled: Filled
    periods: Mapping[str, tuple[str, ...]]


def profile_files(session: SparkSession, load: NewLoad, contracts: Mapping[str, SourceContract]) -> Profile:
    """What the files hold that a load would read, in one pass over each of them.

    A file that cannot be read to its end is left out: the load itself finds that.
    """
    places = [
        (file, contracts[source].entities[entity].period) for (source, entity), files in load.files.items() for _, file in files
    ]
    counted: list[dict[str, Any]] = []
    parts = [places[n::STATEMENTS_AT_ONCE] for n in range(STATEMENTS_AT_ONCE)]
    run_in_parallel([part for part in parts if part], lambda part: counted.extend(_profiled(session, load, part)))
    filled: Filled = defaultdict(dict)
    periods: dict[str, list[str]] = defaultdict(list)
    for row in counted:
        if row["period"] is None:
            filled[row["file_id"]][row["column"]] = row["filled"]
        else:
            periods[row["file_id"]].append(row["period"])
    return Profile(dict(filled), {file_id: tuple(found) for file_id, found in periods.items()})


def _profiled(session: SparkSession, load: NewLoad, places: Sequence[tuple[File, str | None]]) -> list[dict[str, Any]]:
    """The counts of some files, each with the column of its period, in one statement (_COUNTED)."""
    layouts = {file.file_id: (load.layouts[file.file_id], period) for file, period in places}

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _counted(batches, layouts)

    listing = session.createDataFrame([(str(file.path), file.file_id) for file, _ in places], "path string, file_id string")
    spread = listing.repartition(len(places) // _FILES_PER_TASK + 1)
    counted = spread.mapInArrow(count, "file_id string, column string, period string, filled bigint").toArrow()
    records: list[dict[str, Any]] = counted.to_pylist()
    return records


def _counted(batches: Iterator[pa.RecordBatch], layouts: Mapping[str, tuple[Layout, str | None]]) -> Iterator[pa.RecordBatch]:
    """Runs on the workers."""
    for batch in batches:
        for file in batch.to_pylist():
            layout, period = layouts[file["file_id"]]
            try:
                counts = _of_file(Path(file["path"]), layout, period)
            except DeliveryError:
                continue
            rows = [
                {"file_id": file["file_id"], "column": column, "period": value, "filled": records}
                for (column, value), records in counts.items()
            ]
            yield pa.RecordBatch.from_pylist(rows, schema=_COUNTED)


def _of_file(path: Path, layout: Layout, period: str | None) -> Mapping[tuple[str, str | None], int]:
    """Records with a value by column, and records of each period."""
    columns = [name for name in layout.columns if name]
    counts: dict[tuple[str, str | None], int] = dict.fromkeys(((name, None) for name in columns), 0)
    for batch in parse_file(path, "", "", columns, layout):
        for name in columns:
            counts[name, None] += pc.sum(pc.not_equal(batch.column(name), "")).as_py() or 0
        if period in columns:
            values = pc.value_counts(pc.utf8_trim_whitespace(batch.column(period)))
            for value in values.to_pylist():
                if value["values"]:
                    counts[period, value["values"]] = counts.get((period, value["values"]), 0) + value["counts"]
    return counts


def file_columns_table(filled: Filled, load_id: str) -> Table:
    """What is stored of the columns of the files, of which a load replaces its own rows."""
    rows = [(load_id, file_id, column, count) for file_id, columns in filled.items() for column, count in columns.items()]
    return Table(
        name=TableName(Zone.CURATION, FILE_COLUMNS),
        grain="one row per loaded file and column of its contract that it has: how many records have a value",
        schema=FILE_COLUMNS_SCHEMA,
        belongs_to=BelongsTo.LOAD,
        make=lambda tables: tables.session.createDataFrame(rows, ddl_of(FILE_COLUMNS_SCHEMA)),
        parameters=repr((load_id, rows)),
        partition_by=("load_id",),
        replaces=Partitions("load_id", (load_id,)),
    )
