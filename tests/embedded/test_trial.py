"""A dry run of one delivery says what a load would make of it, and writes nothing."""

import gzip
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipelines.contracts.source import SourceContract
from pipelines.errors import DeliveryError
from pipelines.ingest.delivery_log import Withdrawn, store_acceptance, store_withdrawal
from pipelines.ingest.landing import read_delivery
from pipelines.nightly import ingest_deliveries
from pipelines.settings import Settings, storage_paths
from pipelines.trial import FileTrial, Past, Trial, first_checks, read_records
from tests.builders.landing import csv_text, deliver, deliver_files
from tests.builders.runs import run_in, settings_in
from tests.conftest import PROJECT
from tests.embedded.test_delivery_forms import FORMS, gp, put
from tests.embedded.test_ingest import BEN, FILE, GP, announce, announce_rows, consultation, extract, patient
from tests.embedded.test_periods_of_deliveries import COMMUNITY, services
from tests.unit.ingest.test_register import file

DAY = date(2026, 1, 5)


def tried(session: SparkSession, folder: Path, contract: SourceContract = GP, past: Past | None = None) -> Trial:
    """Both steps of the trial."""
    trial, load = first_checks(folder, contract, {}, DAY)
    return trial if trial.set_aside else read_records(session, load, contract, trial, past)


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


def test_it_counts_records_that_do_not_say_their_period(sail: SparkSession, tmp_path: Path) -> None:
    for provider, mode, reasons in (("RA", "period", {"missing:rp_end_date": 1}), ("RB", "delta", {})):
        services(tmp_path, provider, "20240710", ("R1", "2024-06-30"), ("R2", ""), mode=mode)
        trial = tried(sail, tmp_path / "community" / provider / "20240710", COMMUNITY)
        assert {file.entity: file.quarantined for file in trial.files} == {"mpi": {}, "referral": reasons}


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
    (file,) = trial.files
    assert file.quarantined == {}
    assert 0 < file.records == file.taken < 40_000


def test_a_repeated_file_counts_as_its_first(sail: SparkSession, tmp_path: Path) -> None:
    text = csv_text(GP, "consultation", [consultation("1"), consultation("2")])
    files: dict[str, tuple[str | bytes, int]] = {f"{n}_CareRecord_Consultation_x.csv": (text, 2) for n in "ab"}
    trial = tried(sail, deliver_files(tmp_path, "gp", "P81001", "20260105", files))
    assert [(file.records, file.taken) for file in trial.files] == [(2, 2), (2, 2)]


def test_a_delivery_of_a_later_day_is_tried_as_on_its_day(sail: SparkSession, tmp_path: Path) -> None:
    folder = deliver(tmp_path, GP, "P81001", "20260106", {"patient": [patient("A")]})
    trial = tried(sail, folder)
    assert (trial.set_aside, trial.day, [file.taken for file in trial.files]) == (None, date(2026, 1, 6), [1])
    announce(folder, extract_date="2026-01-07")
    trial = tried(sail, folder)
    assert trial.set_aside
    assert trial.set_aside.faults == ("its extract date is after the run date",)


def test_it_knows_what_only_the_lakehouse_knows(tmp_path: Path) -> None:
    """Each folder as a run would find it that has loaded some deliveries, and from which one was taken back."""
    loaded, other, same, lower, back, rest = (
        deliver(tmp_path, GP, provider, day, {"patient": [patient("A")]})
        for provider, day in (
            ("P81001", "20260101"),
            ("P81001", "20260102"),
            ("P81002", "20260103"),
            ("p81001", "20260103"),
            ("P81001", "20260104"),
            ("P81001", "20260105"),
        )
    )
    entry = replace(file(0, "full", "a"), provider="P81001")
    register = [
        replace(entry, folder="20260101", delivery_id=read_delivery(loaded, GP).delivery_id),
        replace(entry, folder="20260102"),
        replace(entry, folder="20260105"),
    ]
    (rest / "manifest.json").unlink()
    settings = settings_in(tmp_path)
    withdrawn = [read_delivery(back, GP).delivery_id]
    past = Past(storage_paths(settings), register, settings.deliveries, withdrawn=withdrawn)

    def said(folder: Path, past: Past | None) -> str:
        try:
            trial, _ = first_checks(folder, GP, {}, DAY, past)
        except DeliveryError as error:
            return str(error)
        return "; ".join(trial.set_aside.faults) if trial.set_aside else ""

    written = "its provider is written P81001; under two names its records would count twice"
    assert {folder: (said(folder, None), said(folder, past)) for folder in (loaded, other, same, lower, back, rest)} == {
        loaded: ("", ""),
        other: ("", "a delivery with other contents was loaded from this folder"),
        same: ("", ""),
        lower: (written, written),
        back: ("", "gp/P81001/20260104 is withdrawn; nhs-omop withdraw gp/P81001/20260104 --undo takes that back"),
        rest: ("no manifest.json", f"{rest}: a delivery was loaded from it, and what is left of it is none"),
    }
    for folder in (loaded, other, back, rest):
        shutil.rmtree(folder)
    loaded.parent.rmdir()
    assert (said(lower, None), said(lower, past)) == ("", written), "by the lakehouse alone"


def check(folder: Path, settings: Settings, *changed: str) -> subprocess.CompletedProcess[str]:
    """The command, on the lakehouse of these settings, some of them changed."""
    places = [f"storage.{name}={getattr(settings.storage, name)}" for name in ("landing", "restricted", "deidentified")]
    overrides = [text for setting in (*places, *changed) for text in ("--set", setting)]
    process = [sys.executable, "-m", "jobs.cli", "check", str(folder), "--env", "demo", *overrides]
    return subprocess.run(process, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of all files and folders."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


SHRUNKEN = "patient: 10 records, the last full extract had 40; at most 50% may be gone"


@pytest.mark.parametrize(
    ("change", "faults", "warnings"),
    [
        ({}, (), ()),
        ({"patients": 10, "died": 10}, (SHRUNKEN,), ()),
        ({"patients": 0}, ("patient: no record, the last full extract had 40",), ()),
        (
            {"without": ["DateOfDeath"]},
            ("patient: columns that had values in earlier deliveries are missing: DateOfDeath",),
            (),
        ),
        ({"died": 0}, ("patient: 100% of the records have no DateOfDeath, usual are 0%; at most 50% more are allowed",), ()),
        (
            {"patients": 130, "died": 130},
            (),
            ("gp/P81001/20260105: patient: 130 records, the last full extract had 40; at most 200% more are usual",),
        ),
    ],
)
def test_it_says_what_differs_from_what_the_provider_sent_before(
    sail: SparkSession, tmp_path: Path, change: dict[str, Any], faults: tuple[str, ...], warnings: tuple[str, ...]
) -> None:
    run = run_in(sail, tmp_path / "lakehouse", DAY, ("gp",))
    extract(tmp_path / "lakehouse" / "landing", "20260104", 40, died=40)
    folder = extract(tmp_path, "20260105", **{"patients": 40, "died": 40, **change})
    nothing_yet = tried(sail, folder, past=Past(run.store.paths, run.register(), run.settings.deliveries))
    assert (nothing_yet.set_aside, nothing_yet.warnings) == (None, ())
    ingest_deliveries(run)
    trial = tried(sail, folder, past=Past(run.store.paths, run.register(), run.settings.deliveries))
    assert (trial.set_aside.faults if trial.set_aside else (), trial.warnings) == (faults, warnings)
    assert len(trial.files) == 1, "the files are shown all the same"


def test_the_command_compares_with_what_a_run_would_compare_with_and_writes_nothing(sail: SparkSession, tmp_path: Path) -> None:
    run = run_in(sail, tmp_path / "lakehouse", DAY, ("gp",))
    extract(tmp_path / "lakehouse" / "landing", "20260104", 40)
    ingest_deliveries(run)
    folder = extract(tmp_path, "20260105", 10)
    before = everything(tmp_path)
    refused = check(folder, run.settings)
    assert (refused.returncode, SHRUNKEN in refused.stderr) == (12, True), refused.stderr
    assert everything(tmp_path) == before
    restricted = run.settings.storage.restricted
    store_acceptance(restricted, read_delivery(folder, GP), "they moved away", DAY)
    accepted = check(folder, run.settings)
    assert (accepted.returncode, f"(accepted): {SHRUNKEN}" in accepted.stderr) == (0, True), accepted.stderr
    assert "gp/P81001/20260105 has no fault: a run takes it" in accepted.stderr
    (restricted / "accepted.json").unlink()
    store_withdrawal(restricted, Withdrawn.of_loaded(run.register(), "wrong", DAY))
    withdrawn = check(folder, run.settings)
    assert (withdrawn.returncode, SHRUNKEN in withdrawn.stderr) == (0, False), withdrawn.stderr
    announce(folder, extract_date="2126-01-05")
    waiting = check(folder.rename(folder.parent / "21260105"), run.settings)
    assert (waiting.returncode, "waits for its day: a run of 2126-01-05 takes it" in waiting.stderr) == (12, True)
    assert f"{FILE}" in waiting.stdout, "what is in it is shown all the same"
    taken_back = check(tmp_path / "lakehouse" / "landing" / "gp" / "P81001" / "20260104", run.settings)
    assert (taken_back.returncode, "gp/P81001/20260104 is withdrawn" in taken_back.stderr) == (12, True), taken_back.stderr


def test_the_command_needs_no_lakehouse_and_makes_none(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "lakehouse")
    checked = check(extract(tmp_path, "20260105", 10), settings)
    assert (checked.returncode, (tmp_path / "lakehouse").exists()) == (0, False), checked.stderr
    checked = check(tmp_path / "gp" / "P81001" / "20260105", settings, "run.sources=[acute]")
    assert "gp/P81001/20260105 has no fault, but no run takes it: run.sources does not name gp" in checked.stderr
    assert (checked.returncode, "patient" in checked.stdout) == (12, True), "what is in the files is shown all the same"


@pytest.mark.parametrize(
    ("day", "before"), [("20260102", ""), ("20260103", ""), ("20260104", "20260103"), ("20260105", "20260103, 20260104")]
)
def test_it_names_what_a_run_would_take_before_it(tmp_path: Path, day: str, before: str) -> None:
    """One is loaded, one withdrawn, one has a fault: only the others are compared with."""
    days = ("20260101", "20260102", "20260103", "20260104", "20260105")
    folders = {day: deliver(tmp_path, GP, "P81001", day, {"patient": [patient("A")]}) for day in days}
    (deliver(tmp_path, GP, "P81001", "20251231", {"patient": [patient("A")]}) / "manifest.json").unlink()
    settings = settings_in(tmp_path)
    register = [replace(file(0, "full", "a"), provider="P81001", folder="20260101")]
    withdrawn = [] if day == "20260102" else [read_delivery(folders["20260102"], GP).delivery_id]
    past = Past(storage_paths(settings), register, settings.deliveries, withdrawn=withdrawn)
    trial, _ = first_checks(folders[day], GP, {}, DAY, past)
    expected = f"gp/P81001/{day} is not compared with what a run takes before it: {before}"
    assert trial.warnings == ((expected,) if before else ())


@pytest.mark.parametrize("form", FORMS)
def test_a_delivery_without_manifest_is_tried_by_its_form(sail: SparkSession, tmp_path: Path, form: str) -> None:
    contract, text = gp(FORMS[form]), csv_text(GP, "patient", [patient("A"), patient("B", BEN)])
    folder = put(tmp_path, FORMS[form], "20260105", 2, text)
    trial = tried(sail, folder, contract)
    assert (trial.set_aside, [(file.records, file.taken) for file in trial.files]) == (None, [(2, 2)])
    put(tmp_path, FORMS[form], "20260105", 2, text.splitlines(keepends=True)[0])
    trial = tried(sail, folder, contract)
    expected = {"none": (), "control file": (f"{FILE}: 0 records, the control file says 2",)}
    assert (trial.set_aside.faults if trial.set_aside else ()) == expected[form]
