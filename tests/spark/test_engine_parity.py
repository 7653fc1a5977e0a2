"""The same nightly load on the embedded engine and on Apache Spark with Delta gives the same tables, ids included."""

from pathlib import Path

import pandas as pd
import pytest
from deltalake import DeltaTable

from tests.spark.conftest import Lakes

RUN_DEPENDENT = {"ledger": ["run_id"]}
"""Columns that name the run and not the data."""

pytestmark = pytest.mark.timeout(1800)


def rows(lake: Path, table: str) -> pd.DataFrame:
    """A table in a fixed order of columns and rows."""
    frame = DeltaTable(str(lake / table)).to_pandas()
    zone = table.split("/")[1]
    frame = frame.drop(columns=[name for name in RUN_DEPENDENT.get(zone, []) if name in frame.columns])
    columns = sorted(frame.columns)
    return frame[columns].sort_values(columns, ignore_index=True) if len(frame) else frame[columns]


def test_both_engines_make_the_same_tables(lakes: Lakes) -> None:
    assert lakes.tables(lakes.sail) == lakes.tables(lakes.spark)
    zones = {table.split("/")[1] for table in lakes.tables(lakes.sail)}
    assert {"bronze", "curation", "silver", "intermediate", "omop", "ledger", "quarantine"} <= zones


def test_every_table_holds_the_same_rows_ids_included(lakes: Lakes) -> None:
    differing = {}
    for table in sorted(lakes.tables(lakes.sail)):
        on_sail, on_spark = rows(lakes.sail, table), rows(lakes.spark, table)
        try:
            pd.testing.assert_frame_equal(on_sail, on_spark, check_exact=True)
        except AssertionError as error:
            differing[table] = f"{len(on_sail)} and {len(on_spark)} rows: {str(error).splitlines()[0]}"
    assert not differing
    assert len(rows(lakes.sail, "deidentified/omop/person")) >= 40
