"""What the files of a delivery hold, column by column: how many records have a value."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from pipelines.contracts.tables import BelongsTo, Partitions, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import DeliveryError
from pipelines.ingest.arrivals import NewLoad
from pipelines.ingest.checking import DAMAGED
from pipelines.ingest.parse import Layout, parse_file
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

_FILLED = pa.schema([("file_id", pa.string()), ("column", pa.string()), ("filled", pa.int64())])
_FILES_PER_TASK = 4

Filled = dict[str, dict[str, int]]
"""By file id and column, how many records have a value."""


def filled_columns(session: SparkSession, load: NewLoad) -> Filled:
    """How many records have a value in each column of the files that a load would read, in one pass over all of them.

    A file that cannot be read to its end is left out: the load itself finds that.
    """
    files = [file for of_entity in load.files.values() for _, file in of_entity]
    layouts = {file.file_id: load.layouts[file.file_id] for file in files}

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _counted(batches, layouts)

    listing = session.createDataFrame([(str(file.path), file.file_id) for file in files], "path string, file_id string")
    spread = listing.repartition(len(files) // _FILES_PER_TASK + 1)
    counted = spread.mapInArrow(count, "file_id string, column string, filled bigint").toArrow()
    filled: Filled = defaultdict(dict)
    for row in counted.to_pylist():
        filled[row["file_id"]][row["column"]] = row["filled"]
    return dict(filled)


def _counted(batches: Iterator[pa.RecordBatch], layouts: Mapping[str, Layout]) -> Iterator[pa.RecordBatch]:
    """Runs on the workers."""
    for batch in batches:
        for file in batch.to_pylist():
            layout = layouts[file["file_id"]]
            columns = [name for name in layout.columns if name]
            try:
                filled = _of_file(Path(file["path"]), columns, layout)
            except (DeliveryError, *DAMAGED):
                continue
            rows = [{"file_id": file["file_id"], "column": name, "filled": filled[name]} for name in columns]
            yield pa.RecordBatch.from_pylist(rows, schema=_FILLED)


def _of_file(path: Path, columns: Sequence[str], layout: Layout) -> Mapping[str, int]:
    filled = dict.fromkeys(columns, 0)
    for batch in parse_file(path, "", "", columns, layout):
        for name in columns:
            filled[name] += pc.sum(pc.not_equal(batch.column(name), "")).as_py() or 0
    return filled


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
