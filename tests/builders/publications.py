"""A release of one small table, made without an engine."""

from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake

from pipelines.contracts.cdm import CdmColumn, CdmTable
from pipelines.release.model import Code, Gates, Release
from pipelines.release.publish.publication import Publication
from pipelines.release.reading import PinnedTable

RELEASE = Release(
    release_id="20240105-aaaaaaaa",
    run_id="r1",
    run_date=date(2024, 1, 5),
    cdm_version="5.4",
    vocabulary_version="demo",
    code=Code(version="0.1.0"),
    configuration="c" * 64,
    key_id="k",
    extracts=(),
    opt_outs={},
    input_fingerprint="f" * 64,
    gates=Gates(checks=1, failed=0, warnings=0),
    tables=(),
)
TABLE = CdmTable(
    name="kept",
    is_vocabulary=False,
    columns=(
        CdmColumn("kept_id", "bigint", nullable=False),
        CdmColumn("text", "string", nullable=True),
        CdmColumn("amount", "double", nullable=True),
        CdmColumn("day", "date", nullable=True),
        CdmColumn("moment", "timestamp", nullable=True),
    ),
    primary_key="kept_id",
)
SCHEMA = pa.schema(
    [
        ("kept_id", pa.int64()),
        ("text", pa.string()),
        ("amount", pa.float64()),
        ("day", pa.date32()),
        ("moment", pa.timestamp("us", tz="UTC")),
        ("_hidden", pa.string()),
    ]
)
Row = tuple[int, str | None, float | None, date | None, datetime | None]


def publication(folder: Path, rows: list[Row], *, pinned_rows: int | None = None) -> Publication:
    """A release of one table."""
    columns = list(zip(*rows, strict=True)) or [()] * 5
    arrays = [pa.array(values, kind) for values, kind in zip(columns, SCHEMA.types, strict=False)]
    table = pa.table([*arrays, pa.array(["no"] * len(rows), pa.string())], schema=SCHEMA)
    write_deltalake(str(folder), table)
    pinned = {TABLE.name: PinnedTable(str(folder), 0, len(rows) if pinned_rows is None else pinned_rows)}
    return Publication(RELEASE, "5.4", {TABLE.name: TABLE}, pinned)
