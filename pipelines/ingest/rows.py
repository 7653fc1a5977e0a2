"""Bronze rows: what stood in a file, as text, with the file and line it stood in."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.source import Entity
from pipelines.ingest.landing import File
from pipelines.ingest.parse import Layout, parse_batches, row_ddl

MISSING = "\x00"
"""Stands for a missing value in the content hash, so that it differs from an empty one."""


def bronze_schema(entity: Entity) -> dict[str, str]:
    """Columns of a bronze table: the line columns, the delivered columns as text, the content hash and the load."""
    lines = {"_provider": "string", "_file": "string", "_line": "bigint", "_reason": "string", "_raw": "string"}
    return lines | dict.fromkeys(entity.columns, "string") | {"_row_hash": "bigint", "_load_id": "string"}


def bronze_rows(
    session: SparkSession, files: Sequence[tuple[str, File]], layouts: Mapping[str, Layout], entity: Entity, partitions: int
) -> DataFrame:
    """One row per data record of the files (provider, file), malformed lines included with their reason.

    The files are listed to the engine and parsed by its workers, so their paths must be visible there. A file that cannot be
    read to its end, or no longer has the checksum it was listed with, has one row more with a reason that begins with REFUSED.
    """
    columns = tuple(entity.columns)
    wanted = {file.file_id: layouts[file.file_id] for _, file in files}

    def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return parse_batches(batches, columns, wanted)

    listing = session.createDataFrame(
        [(str(file.path), provider, file.file_id, file.sha256) for provider, file in files],
        "path string, provider string, file_id string, sha256 string",
    )
    spread = listing.repartition(max(1, min(len(files), partitions)))
    content = [F.coalesce(F.col(name), F.lit(MISSING)) for name in columns]
    # Sail 0.7.2 panics at a batch in which nothing that is hashed was delivered, as where all lines are malformed: these have
    # their text, and null leaves the hash of a good line as it is.
    return spread.mapInArrow(parse, row_ddl(columns)).withColumn("_row_hash", F.xxhash64(*content, F.col("_raw")))
