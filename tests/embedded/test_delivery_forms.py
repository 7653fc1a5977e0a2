"""Deliveries with a control file of their sender, or with none, are loaded exactly once and compared with the past."""

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipelines.contracts.source import SourceContract
from pipelines.contracts.zones import Zone
from pipelines.ingest.checksums import Checksums
from pipelines.ingest.delivery_log import Withdrawn, read_set_aside, read_withdrawn, store_acceptance, store_withdrawal
from pipelines.ingest.folders import find_deliveries
from pipelines.ingest.history import delivery_history
from pipelines.ingest.landing import read_delivery
from pipelines.nightly import ingest_deliveries
from pipelines.run_context import RunContext
from tests.builders.landing import csv_text, deliver
from tests.builders.runs import run_in
from tests.embedded.test_ingest import BEN, DAY, FILE, GP, NEXT, patient, refused, taken

NONE = {"mode": "full", "complete": ["line_end", "all_fields"]}
COUNTS = {"mode": "full", "control": {"files": ["*.ctl"], "columns": {"name": "file", "records": "rows"}}}
FORMS: dict[str, dict[str, Any]] = {"none": NONE, "control file": COUNTS}


def gp(form: dict[str, Any]) -> SourceContract:
    """The contract of the GP source, with a form of delivery for one provider."""
    return SourceContract.model_validate(GP.model_dump(mode="json") | {"deliveries": [form | {"providers": ["P81001"]}]})


def put(landing: Path, form: dict[str, Any], day: str, patients: int, text: str = "") -> Path:
    """A delivery without manifest, with a control file where its form has one."""
    folder = landing / "gp" / "P81001" / day
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(text or csv_text(GP, "patient", [patient(f"{day}{n}") for n in range(patients)]))
    if "control" in form:
        (folder / "x.ctl").write_text(f"file,rows\n{FILE},{patients}\n")
    return folder


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each form."""
    name: str = request.param
    return FORMS[name]


@pytest.fixture
def run(sail: SparkSession, tmp_path: Path, form: dict[str, Any]) -> RunContext:
    """A run of the GP source, one provider of which delivers in this form."""
    made = run_in(sail, tmp_path, DAY, ("gp",))
    return replace(made, inputs=replace(made.inputs, contracts={"gp": gp(form)}))


def test_each_is_loaded_once_with_the_rows_that_are_found(run: RunContext, landing: Path, form: dict[str, Any]) -> None:
    put(landing, form, "20260104", 2)
    put(landing, form, "20260105", 3)
    deliver(landing, GP, "P81002", "20260105", {"patient": [patient("X", BEN)]})
    outcome = ingest_deliveries(run)
    assert (outcome.deliveries, outcome.rows, outcome.set_aside) == (3, 6, ())
    assert taken(run) == {"P81001/20260104": 2, "P81001/20260105": 3, "P81002/20260105": 1}
    entries = {file.folder: file for file in run.register() if file.provider == "P81001"}
    assert {folder: (file.rows, file.malformed, file.mode, file.extract_date) for folder, file in entries.items()} == {
        "20260104": (2, 0, "full", date(2026, 1, 4)),
        "20260105": (3, 0, "full", date(2026, 1, 5)),
    }
    version = run.store.version(Zone.BRONZE, "gp_patient")
    again = ingest_deliveries(replace(run, run_date=NEXT))
    assert (again.deliveries, again.set_aside) == (0, ())
    assert run.store.version(Zone.BRONZE, "gp_patient") == version


def test_the_same_content_again_adds_no_row_and_has_its_rows_in_the_register(
    run: RunContext, landing: Path, form: dict[str, Any]
) -> None:
    text = csv_text(GP, "patient", [patient("A"), patient("B", BEN)])
    put(landing, form, "20260104", 2, text)
    ingest_deliveries(run)
    put(landing, form, "20260105", 2, text)
    assert ingest_deliveries(run).rows == 2
    assert run.store.read(Zone.BRONZE, "gp_patient").count() == 2
    assert sorted((file.folder, file.rows) for file in run.register()) == [("20260104", 2), ("20260105", 2)]


def test_another_content_in_a_used_folder_is_seen(run: RunContext, landing: Path, form: dict[str, Any]) -> None:
    folder = put(landing, form, "20260105", 2)
    ingest_deliveries(run)
    (folder / FILE).write_text((folder / FILE).read_text().replace("202601050", "202601059"))
    assert refused(ingest_deliveries(run)) == {
        "gp/P81001/20260105": ("a delivery with other contents was loaded from this folder",)
    }
    shutil.rmtree(folder)
    folder.mkdir()
    assert refused(ingest_deliveries(run)) == {}, "an empty folder is what is left of a loaded delivery"


def test_a_file_that_was_cut_short_is_set_aside_and_loaded_once_it_is_whole(
    run: RunContext, landing: Path, form: dict[str, Any]
) -> None:
    whole = csv_text(GP, "patient", [patient("A"), patient("B", BEN)])
    deliver(landing, GP, "P81002", "20260105", {"patient": [patient("X", BEN)]})
    put(landing, form, "20260105", 3, whole[:-30])
    fault = f"{FILE}: the last line has no line end, so that the file was cut short; deliver it again"
    if "control" in form:
        fault = f"{FILE}: 2 records (1 of them malformed), the control file says 3"
    assert refused(ingest_deliveries(run)) == {"gp/P81001/20260105": (fault,)}
    assert taken(run) == {"P81002/20260105": 1}
    put(landing, form, "20260105", 2, whole)
    assert ingest_deliveries(run).set_aside == ()
    assert taken(run) == {"P81001/20260105": 2, "P81002/20260105": 1}


def test_a_shrunken_extract_is_set_aside_and_can_be_accepted(run: RunContext, landing: Path, form: dict[str, Any]) -> None:
    put(landing, form, "20260104", 40)
    ingest_deliveries(run)
    folder = put(landing, form, "20260105", 10)
    fault = "patient: 10 records, the last full extract had 40; at most 50% may be gone"
    assert refused(ingest_deliveries(run)) == {"gp/P81001/20260105": (fault,)}
    store_acceptance(run.settings.storage.restricted, read_delivery(folder, gp(form)), "they moved away", NEXT)
    outcome = ingest_deliveries(run)
    assert (outcome.deliveries, outcome.rows, outcome.set_aside) == (1, 10, ())


def test_a_delivery_that_was_taken_back_stays_away(run: RunContext, landing: Path, form: dict[str, Any]) -> None:
    put(landing, form, "20260104", 2)
    waiting = put(landing, form, "20260105", 3)
    store_withdrawal(run.settings.storage.restricted, Withdrawn.of_landed(read_delivery(waiting, gp(form)), "wrong", DAY))
    ingest_deliveries(run)
    assert taken(run) == {"P81001/20260104": 2}
    put(landing, form, "20260106", 1)
    assert states(run, gp(form)) == [
        ("20260104", "loaded", 2),
        ("20260105", "withdrawn", 3 if "control" in form else None),
        ("20260106", "waiting", 1 if "control" in form else None),
    ]
    store_withdrawal(run.settings.storage.restricted, Withdrawn.of_loaded(run.register(), "wrong too", DAY))
    outcome = ingest_deliveries(replace(run, run_date=NEXT))
    assert (outcome.deliveries, taken(run)) == (1, {"P81001/20260106": 1})


def states(run: RunContext, contract: SourceContract) -> list[tuple[str, str, int | None]]:
    """Folder, state and records of every delivery."""
    restricted = run.settings.storage.restricted
    landed = find_deliveries(run.settings.storage.landing, {"gp": contract}, NEXT, checksums=Checksums.read(restricted))
    facts = delivery_history(landed, run.register(), read_set_aside(restricted), read_withdrawn(restricted))
    return [(entry.place.folder, entry.state.value, entry.rows) for entry in facts]
