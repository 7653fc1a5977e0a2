"""A dry run of one delivery says what a load would make of it, and writes nothing."""

import gzip
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pipelines.errors import DeliveryError
from pipelines.trial import FileTrial, Trial, first_checks, read_records
from tests.builders.landing import csv_text, deliver, deliver_files
from tests.embedded.test_ingest import BEN, FILE, GP, announce_rows, consultation, patient

DAY = date(2026, 1, 5)


def tried(session: SparkSession, folder: Path) -> Trial:
    """Both steps of the trial."""
    trial, load = first_checks(folder, GP, {}, DAY)
    return trial if trial.set_aside else read_records(session, load, GP, trial)


def test_it_counts_what_is_taken_quarantined_and_missing(sail: SparkSession, tmp_path: Path) -> None:
    text = csv_text(GP, "patient", [patient("A"), patient("B", BEN), {"organisation_guid": "O"}, {}]) + "too,few\n"
    consultations = "OrganisationGuid,ConsultationGuid,PatientGuid,EffectiveDate\nORG,1,A,2025-03-04\nORG,2,,\n"
    files: dict[str, tuple[str | bytes, int]] = {FILE: (text, 5), "x_CareRecord_Consultation_x.csv": (consultations, 2)}
    trial = tried(sail, deliver_files(tmp_path, "gp", "P81001", "20260105", files))
    assert trial.set_aside is None
    by_entity = {file.entity: file for file in trial.files}
    reasons = {"malformed:too_few_fields": 1, "missing:patient_guid": 1, "missing_key": 1}
    assert by_entity["patient"] == FileTrial(FILE, "patient", 5, reasons, (), 0)
    assert by_entity["patient"].taken == 2
    found = by_entity["consultation"]
    assert (found.records, "ProcessingId" in found.missing, "EffectiveDate" in found.missing) == (2, True, False)
    assert "observation" in trial.absent
    assert not {"patient", "consultation"} & {*trial.absent}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gp"]


def test_it_sets_aside_what_a_run_would_set_aside(sail: SparkSession, tmp_path: Path) -> None:
    folder = deliver(tmp_path, GP, "P81001", "20260105", {"patient": [patient("A")]})
    announce_rows(folder, 2)
    trial = tried(sail, folder)
    assert trial.set_aside
    assert trial.set_aside.faults == (f"{FILE}: 1 records, the manifest says 2",)
    assert [file.records for file in trial.files] == [1]
    (folder / FILE).write_text("x")
    trial = tried(sail, folder)
    assert trial.set_aside
    assert trial.set_aside.faults == (f"{FILE}: checksum differs from the manifest",)
    assert trial.files == ()
    (folder / "manifest.json").unlink()
    trial = tried(sail, folder)
    assert trial.set_aside
    assert trial.set_aside.faults == ("no manifest.json",)
    assert "nhs-omop manifest DIR" in trial.set_aside.next_step


def test_a_file_that_is_damaged_further_on_is_named(sail: SparkSession, tmp_path: Path) -> None:
    text = csv_text(GP, "patient", [patient(f"{n * 7919 % 100_003:x}{n}", BEN) for n in range(40_000)])
    whole = gzip.compress(text.encode())
    name = f"{FILE}.gz"
    folder = deliver_files(tmp_path, "gp", "P81001", "20260105", {name: (whole[: len(whole) // 2], 40_000)})
    trial = tried(sail, folder)
    assert trial.set_aside
    assert trial.set_aside.faults == (f"{name}: the gzip file is cut short; deliver it again",)


def test_a_repeated_file_counts_as_its_first(sail: SparkSession, tmp_path: Path) -> None:
    text = csv_text(GP, "consultation", [consultation("1"), consultation("2")])
    files: dict[str, tuple[str | bytes, int]] = {f"{n}_CareRecord_Consultation_x.csv": (text, 2) for n in "ab"}
    trial = tried(sail, deliver_files(tmp_path, "gp", "P81001", "20260105", files))
    assert [(file.records, file.taken) for file in trial.files] == [(2, 2), (2, 2)]


def test_a_delivery_of_a_later_day_waits(tmp_path: Path) -> None:
    folder = deliver(tmp_path, GP, "P81001", "20260106", {"patient": [patient("A")]})
    with pytest.raises(DeliveryError, match="its day is after 2026-01-05"):
        first_checks(folder, GP, {}, DAY)
