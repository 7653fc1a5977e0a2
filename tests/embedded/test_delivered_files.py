"""Files as they arrive, loaded by the embedded engine: every line accounted for, or the file refused by name."""

import gzip
import re
from datetime import date
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.ledger import Disposition
from pipelines.contracts.source import load_contracts
from pipelines.contracts.zones import Zone
from pipelines.errors import DeliveryError
from pipelines.ingest.delivery_log import store_acceptance
from pipelines.ingest.landing import File, read_delivery
from pipelines.ingest.parse import Layout, layout_of, parse_file, read_head
from pipelines.ingest.rows import bronze_rows
from pipelines.nightly import ingest_deliveries
from pipelines.run_context import RunContext
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from tests.builders.damage import damaged_file
from tests.builders.landing import csv_text, deliver_files, opt_out_lists
from tests.builders.runs import ingested_and_curated

GP = load_contracts(PACKAGED_MAPPINGS_DIR, ("gp",))["gp"]
PATIENT = GP.entities["patient"]
DAY = date(2026, 1, 5)
NAME = "x_Admin_Patient_x"
NUMBERS = [f"99900000{end}" for end in ("18", "26", "34", "42")]


def patients(count: int) -> list[dict[str, str]]:
    """Patients of a practice, some with texts that are hard to read."""
    surnames = ("Example", "Zoë", 'O"Neill', "two\nlines", "a,b")
    same = {"organisation_guid": "ORG", "date_of_birth": "1950-06-07", "sex": "F", "processing_id": "1"}
    return [
        same | {"patient_guid": f"P{place}", "nhs_number": NUMBERS[place % 4], "surname": surnames[place % 5]}
        for place in range(count)
    ]


def read(path: Path) -> list[pa.RecordBatch] | None:
    """The rows of a file as the reader gives them; None where the file is refused."""
    try:
        layout, faults = layout_of(read_head(path), PATIENT, PATIENT.used_columns)
        return None if layout is None or faults else list(parse_file(path, "", "", ("patient_guid",), layout))
    except DeliveryError:
        return None


def test_every_line_of_damaged_files_is_loaded_or_quarantined(run: RunContext, tmp_path: Path) -> None:
    expected = {}
    for place in range(120):
        random = Random(place)
        ending, content = damaged_file(csv_text(GP, "patient", patients(random.randrange(2, 12))), random)
        path = tmp_path / f"{NAME}{ending}"
        path.write_bytes(content)
        batches = read(path)
        if batches is not None:
            provider, rows = f"P{place:05}", sum(batch.num_rows for batch in batches)
            deliver_files(tmp_path / "landing", "gp", provider, "20260105", {path.name: (content, rows)})
            expected[provider] = (rows, sum(batch.num_rows - batch.column("_reason").null_count for batch in batches))
    opt_out_lists(tmp_path / "landing", "20260105", NUMBERS[:3], local=NUMBERS[3:])
    ledger = ingested_and_curated(run)
    assert {file.provider: (file.rows, file.malformed) for file in run.register()} == expected
    assert sum(row.rows for row in ledger if row.disposition is Disposition.DELIVERED) == sum(
        rows for rows, _ in expected.values()
    )
    malformed = sum(row.rows for row in ledger if row.reason and row.reason.startswith("malformed:"))
    assert malformed == sum(count for _, count in expected.values()) > 0
    assert 20 < len(expected) < 100


@pytest.mark.parametrize("lines", [1, 2, 100], ids=str)
def test_an_accepted_file_of_which_no_line_fits_is_quarantined_whole(run: RunContext, tmp_path: Path, lines: int) -> None:
    header, *_ = csv_text(GP, "patient", []).split("\n")
    content = "\n".join([header, *["too,few"] * lines])
    folder = deliver_files(tmp_path / "landing", "gp", "P81001", "20260105", {f"{NAME}.csv": (content, lines)})
    store_acceptance(run.settings.storage.restricted, read_delivery(folder, GP), "they send nothing else", run.run_date)
    opt_out_lists(tmp_path / "landing", "20260105", NUMBERS[:3], local=NUMBERS[3:])
    left = [(row.disposition, row.reason, row.rows) for row in ingested_and_curated(run)]
    assert left == [(Disposition.DELIVERED, "", lines), (Disposition.QUARANTINED, "malformed:too_few_fields", lines)]


def test_files_that_are_cut_short_are_refused_by_name_and_leave_nothing(run: RunContext, tmp_path: Path) -> None:
    packed = gzip.compress(csv_text(GP, "patient", patients(9)).encode())
    for provider in ("P81001", "P81002"):
        deliver_files(tmp_path / "landing", "gp", provider, "20260105", {f"{NAME}.csv.gz": (packed[:-4], 9)})
    with pytest.raises(DeliveryError) as refused:
        ingest_deliveries(run)
    for provider in ("P81001", "P81002"):
        fault = rf"gp/{provider}/20260105 is set aside, 1 fault:\n  {NAME}\.csv\.gz: the gzip file is cut short"
        assert re.search(fault, str(refused.value))
    assert run.register() == ()
    assert run.store.paths.records(Zone.BRONZE, "gp_patient", ("_line",)) == []


def test_a_file_that_was_changed_after_its_checksum_was_taken_is_marked(sail: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "gp" / "P81001" / "20260105" / f"{NAME}.csv"
    path.parent.mkdir(parents=True)
    path.write_text(csv_text(GP, "patient", patients(2)))
    layout = layout_of(read_head(path), PATIENT)[0]
    assert isinstance(layout, Layout)
    file = File("patient", path, "f", 2, "0" * 64)
    rows = bronze_rows(sail, [("P81001", file)], {"f": layout}, PATIENT, 1).orderBy("_line").select("_line", "_reason")
    marked = f"refused:gp/P81001/20260105/{NAME}.csv: was changed after its checksum was taken; deliver it again, whole"
    assert [tuple(row) for row in rows.where(F.col("_reason").isNotNull()).collect()] == [(0, marked)]
    assert rows.where(F.col("_reason").isNull()).count() == 2
