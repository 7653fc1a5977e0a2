"""From the landing folder to bronze: good deliveries are loaded, whatever else lies beside them."""

import gzip
import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from pipelines.contracts.source import SourceContract, load_contracts
from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.curate.tables import curate_tables
from pipelines.declaring import curate_inputs
from pipelines.errors import DeliveryError, DocumentError, RequiredSourceError
from pipelines.ingest.checksums import Checksums
from pipelines.ingest.delivery_log import Withdrawn, read_set_aside, store_acceptance, store_withdrawal, undo_withdrawal
from pipelines.ingest.folders import SetAside
from pipelines.ingest.landing import DeliveryName, read_delivery
from pipelines.ingest.load import Ingested, LoadUnderWay
from pipelines.ingest.profile import FILE_COLUMNS
from pipelines.ingest.register import REGISTER, in_contracts
from pipelines.ingest.required import require_sources
from pipelines.nightly import asked_for_no_longer, ingest_deliveries, new_arrivals, require_day
from pipelines.progress import OnProgress
from pipelines.run_context import RunContext
from pipelines.runner import BuildState
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from tests.builders.landing import csv_text, deliver, deliver_files, file_name, opt_out_lists
from tests.builders.runs import ingested_and_curated, run_in
from tests.unit.ingest.test_register import file

GP = load_contracts(PACKAGED_MAPPINGS_DIR, ("gp",))["gp"]
ANNA, BEN, CEM, DEE, EVE = "9990000018", "9990000026", "9990000034", "9990000042", "9990000050"
FILE = file_name(GP, "patient").removesuffix(".csv") + ".csv"
DAY, NEXT = date(2026, 1, 5), date(2026, 1, 6)


def patient(guid: str, number: str = ANNA) -> dict[str, str]:
    """A registered patient."""
    return {"organisation_guid": "ORG", "patient_guid": guid, "nhs_number": number, "processing_id": "1"}


def taken(run: RunContext) -> dict[str, int]:
    """Rows in bronze of the patients of each delivery that has been loaded, by provider and folder."""
    rows = run.store.read(Zone.BRONZE, "gp_patient").groupBy("_file").count().toArrow().to_pylist()
    counts = {row["_file"]: row["count"] for row in rows}
    return {f"{file.provider}/{file.folder}": counts.get(file.same_as, 0) for file in run.register()}


def refused(outcome: Ingested) -> dict[str, tuple[str, ...]]:
    """The faults of each delivery that was set aside, by its name."""
    return {str(entry.place): entry.faults for entry in outcome.set_aside}


def announce(folder: Path, **change: object) -> None:
    """Change a manifest."""
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(content | change))


def announce_rows(folder: Path, rows: int) -> None:
    """Change the number of records that a manifest announces of its only file."""
    (file,) = json.loads((folder / "manifest.json").read_text())["files"]
    announce(folder, files=[file | {"rows": rows}])


def _cut_archive(folder: Path) -> None:
    """An archive whose beginning can be read and whose end is missing; random letters, so that it is long."""
    text = csv_text(GP, "patient", [patient(f"{n * 7919 % 100_003:x}{n}", BEN) for n in range(40_000)])
    shutil.rmtree(folder)
    whole = gzip.compress(text.encode())
    landing, provider = folder.parents[2], folder.parent.name
    deliver_files(landing, "gp", provider, folder.name, {f"{FILE}.gz": (whole[: len(whole) // 2], 40_000)})


def _again(folder: Path, text: str, rows: int) -> None:
    """Another patient file, in place of the one that is there."""
    shutil.rmtree(folder)
    deliver_files(folder.parents[2], "gp", folder.parent.name, folder.name, {FILE: (text, rows)})


def _with_a_field_more(rows: int, of: int) -> str:
    """Patients, of whose lines some have a delimiter at the end that the header has not."""
    header, *lines = csv_text(GP, "patient", [patient(f"M{n}") for n in range(of)]).splitlines()
    return "\n".join([header, *[f"{line}," for line in lines[:rows]], *lines[rows:]]) + "\n"


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda bad: (bad / "manifest.json").unlink(), "no manifest.json"),
    "broken manifest": (lambda bad: (bad / "manifest.json").write_text("{"), "manifest.json: not a manifest"),
    "changed file": (lambda bad: (bad / FILE).write_text("x"), f"{FILE}: checksum differs from the manifest"),
    "missing file": (lambda bad: (bad / FILE).unlink(), f"1 announced files are missing: {FILE}"),
    "surplus file": (lambda bad: (bad / "y.csv").write_text("x"), "1 files are not in the manifest: y.csv"),
    "too many rows": (lambda bad: announce_rows(bad, 2), f"{FILE}: 1 records, the manifest says 2"),
    "a trailer": (
        lambda bad: _again(bad, csv_text(GP, "patient", [patient("T")]) + "Row count: 1\n", 1),
        f"{FILE}: 2 records (1 of them malformed), the manifest says 1",
    ),
    "a delimiter at the end of most lines": (
        lambda bad: _again(bad, _with_a_field_more(11, of=20), 20),
        f"{FILE}: 11 of 20 records are malformed; at most 50% may be",
    ),
    "no row": (lambda bad: announce_rows(bad, 0), f"{FILE}: 1 records, the manifest says 0"),
    "dated 2099": (lambda bad: announce(bad, extract_date="2099-01-01"), "its extract date is after the run date"),
    "cut archive": (_cut_archive, f"{FILE}.gz: the gzip file is cut short; deliver it again"),
    "of nobody": (lambda bad: announce(bad, provider="P81003"), "manifest.json: source or provider differs"),
}


def test_deliveries_with_a_fault_are_set_aside_and_the_others_load(run: RunContext, landing: Path) -> None:
    """Each fault in the delivery of another practice."""
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A"), patient("B")]})
    half = _with_a_field_more(10, of=20)
    deliver_files(landing, "gp", "P81009", "20260105", {FILE: (half, 20)})
    expected = {}
    for place, (damage, fault) in enumerate(FAULTS.values()):
        damage(deliver(landing, GP, f"P820{place:02}", "20260105", {"patient": [patient(f"C{place}")]}))
        expected[f"gp/P820{place:02}/20260105"] = fault
    outcome = ingest_deliveries(run)
    assert (outcome.deliveries, outcome.rows, taken(run)) == (2, 22, {"P81001/20260105": 2, "P81009/20260105": 20})
    assert {name: faults[0][: len(expected[name])] for name, faults in refused(outcome).items()} == expected
    stored = {str(entry.place): entry for entry in read_set_aside(run.settings.storage.restricted)}
    assert {name: entry.faults for name, entry in stored.items()} == refused(outcome)
    assert {entry.since for entry in stored.values()} == {DAY}
    assert run.store.read(Zone.BRONZE, "gp_patient").count() == 22
    assert not [name for name, entry in stored.items() if ANNA in entry.message]


def test_a_file_that_changes_while_it_is_loaded_is_set_aside_and_leaves_no_row(run: RunContext, landing: Path) -> None:
    """After it was checked and counted, just before it is written."""
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A"), patient("B")]})
    path = deliver(landing, GP, "P81002", "20260105", {"patient": [patient("C")]}) / FILE
    changed = path.read_text().replace("C", "D")

    @contextmanager
    def changing(_name: str, _total: int | None = None) -> Iterator[OnProgress]:
        path.write_text(changed)
        yield lambda _part: None

    outcome = ingest_deliveries(replace(run, show_stage=changing))
    fault = f"{FILE}: was changed after its checksum was taken; deliver it again, whole"
    assert refused(outcome) == {"gp/P81002/20260105": (fault,)}
    assert taken(run) == {"P81001/20260105": 2}
    assert run.store.read(Zone.BRONZE, "gp_patient").count() == 2


def test_nothing_at_all_fails_with_every_reason(run: RunContext, landing: Path) -> None:
    with pytest.raises(DeliveryError, match="nothing has been delivered up to 20260105"):
        ingest_deliveries(run)
    announce_rows(deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A")]}), 7)
    deliver(landing, GP, "P81001", "20260104", {"patient": [patient("A")]}).rename(landing / "gp" / "P81001" / "latest")
    (landing / "GP").mkdir()
    with pytest.raises(DeliveryError) as raised:
        ingest_deliveries(run)
    message = str(raised.value)
    assert f"gp/P81001/20260105 is set aside, 1 fault:\n  {FILE}: 1 records, the manifest says 7" in message
    assert "gp/P81001/latest is set aside, 1 fault:\n  the name of the folder is not a day written yyyymmdd" in message
    assert "GP is set aside, 1 fault:\n  no such source; its name is written gp" in message
    assert run.register() == ()
    assert run.store.paths.records(Zone.BRONZE, "gp_patient", ("_line",)) == [], "what is counted first need not be written"


def test_a_delivery_is_loaded_once_its_fault_is_mended(run: RunContext, landing: Path) -> None:
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A")]})
    folder = deliver(landing, GP, "P81002", "20260105", {"patient": [patient("B"), patient("C")]})
    announce_rows(folder, 3)
    assert list(refused(ingest_deliveries(run))) == ["gp/P81002/20260105"]
    version = run.store.version(Zone.BRONZE, "gp_patient")
    again = ingest_deliveries(replace(run, run_date=NEXT))
    assert (again.deliveries, list(refused(again))) == (0, ["gp/P81002/20260105"])
    assert run.store.version(Zone.BRONZE, "gp_patient") == version, "its files were read again"
    assert read_set_aside(run.settings.storage.restricted)[0].since == DAY
    announce_rows(folder, 2)
    mended = ingest_deliveries(replace(run, run_date=NEXT))
    assert (mended.deliveries, mended.set_aside) == (1, ())
    assert taken(run) == {"P81001/20260105": 1, "P81002/20260105": 2}
    assert read_set_aside(run.settings.storage.restricted) == ()


def test_content_that_only_a_delivery_with_a_fault_had_is_loaded_with_the_next(run: RunContext, landing: Path) -> None:
    """The second delivery repeats a file of the first, which is set aside only after both have been read."""
    announce_rows(deliver(landing, GP, "P81001", "20260104", {"patient": [patient("A")]}), 5)
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A")]})
    assert refused(ingest_deliveries(run)) == {"gp/P81001/20260104": (f"{FILE}: 1 records, the manifest says 5",)}
    assert taken(run) == {"P81001/20260105": 1}


def test_the_records_of_a_repeated_file_are_checked_too(run: RunContext, landing: Path) -> None:
    deliver(landing, GP, "P81001", "20260104", {"patient": [patient("A")]})
    announce_rows(deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A")]}), 400)
    assert refused(ingest_deliveries(run)) == {"gp/P81001/20260105": (f"{FILE}: 1 records, the manifest says 400",)}
    shutil.rmtree(landing / "gp" / "P81001" / "20260105")
    announce_rows(deliver(landing, GP, "P81001", "20260106", {"patient": [patient("A")]}), 400)
    later = ingest_deliveries(replace(run, run_date=NEXT))
    assert refused(later) == {"gp/P81001/20260106": (f"{FILE}: 1 records, the manifest says 400",)}
    assert taken(run) == {"P81001/20260104": 1}


def test_other_contents_in_a_used_folder_are_named_with_the_next_step(run: RunContext, landing: Path) -> None:
    folder = deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A")]}, mode="full")
    ingest_deliveries(run)
    shutil.rmtree(folder)
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A", BEN), patient("B")]}, mode="full")
    (entry,) = ingest_deliveries(run).set_aside
    assert entry.faults == ("a delivery with other contents was loaded from this folder",)
    assert entry.next_step == "nhs-omop withdraw gp/P81001/20260105 --why ..., then run again"
    assert taken(run) == {"P81001/20260105": 1}


def test_a_loaded_delivery_may_leave_the_landing_folder(run: RunContext, landing: Path) -> None:
    folder = deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A")]})
    ingest_deliveries(run)
    assert ingest_deliveries(run) == Ingested(0, 0, ()), "the delivery is there"
    shutil.rmtree(folder)
    assert ingest_deliveries(run) == Ingested(0, 0, ()), "nothing is there"
    folder.mkdir()
    assert ingest_deliveries(run) == Ingested(0, 0, ()), "an empty folder is there"


def test_nothing_is_loaded_or_removed_while_the_register_cannot_be_read(run: RunContext, landing: Path, tmp_path: Path) -> None:
    """Taken for an empty one, what has left the landing folder would be lost, and all of bronze be rows of stopped loads."""
    folder = deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A")]})
    ingest_deliveries(run)
    shutil.rmtree(folder)
    deliver(landing, GP, "P81002", "20260105", {"patient": [patient("B")]})
    register = Path(run.store.path(Zone.CURATION, REGISTER))
    (commit,) = (register / "_delta_log").glob("*.json")
    whole = commit.read_bytes()
    run.runner.state_path.with_name("load.json").write_text('{"form": 1')
    for damaged in (b"", whole[:100]):
        commit.write_bytes(damaged)
        with pytest.raises(DocumentError, match="curation/register: "):
            ingest_deliveries(run)
    commit.write_bytes(whole)
    assert taken(run) == {"P81001/20260105": 1}
    older = shutil.copytree(register, tmp_path / "older")
    ingest_deliveries(run)
    assert taken(run) == {"P81001/20260105": 1, "P81002/20260105": 1}
    newest = register.rename(tmp_path / "newest")
    with pytest.raises(DocumentError, match="curation/register is gone, and version 1 was made: restore the restricted root"):
        ingest_deliveries(run)
    shutil.copytree(older, register)
    with pytest.raises(DocumentError, match="curation/register is at version 0, and version 1 was made: restore"):
        ingest_deliveries(run)
    shutil.rmtree(register)
    newest.rename(register)
    assert taken(run) == {"P81001/20260105": 1, "P81002/20260105": 1}


def test_rows_of_a_load_that_was_stopped_are_removed_unless_it_is_in_the_register(run: RunContext, landing: Path) -> None:
    under_way = run.runner.state_path.with_name("load.json")
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A")]})
    ingest_deliveries(run)
    (file,) = run.register()
    LoadUnderWay(load_id=file.load_id, tables=("gp_patient",)).write(under_way)
    ingest_deliveries(run)
    assert (taken(run), under_way.exists()) == ({"P81001/20260105": 1}, False)
    rows = run.store.read(Zone.BRONZE, "gp_patient").collect()
    frame = run.store.session.createDataFrame(rows, run.store.read(Zone.BRONZE, "gp_patient").schema)
    stopped = frame.selectExpr(*[f"'20260105-stopped' AS {c}" if c == "_load_id" else c for c in frame.columns])
    stopped.write.format("delta").mode("append").save(run.store.path(Zone.BRONZE, "gp_patient"))
    under_way.write_text('{"form": 1')  # of a damaged document nothing is known: every load that has not ended goes
    ingest_deliveries(run)
    assert (run.store.read(Zone.BRONZE, "gp_patient").count(), under_way.exists()) == (1, False)
    stopped.write.format("delta").mode("append").save(run.store.path(Zone.BRONZE, "gp_patient"))
    LoadUnderWay(load_id="20260105-stopped", tables=("gp_patient",)).write(under_way)
    ingest_deliveries(run)
    assert (run.store.read(Zone.BRONZE, "gp_patient").count(), under_way.exists()) == (1, False)
    assert recorded_versions_of(run) == versions_of(run)


@pytest.mark.parametrize(
    ("required", "faults"),
    [
        ({}, []),
        ({"gp": None}, []),
        ({"gp": 2}, []),
        ({"gp": 1}, ["gp: its newest extract is 2 days old, at most 1 are allowed"]),
        ({"gp": 0}, ["gp: its newest extract is 2 days old, at most 0 are allowed"]),
        ({"acute": None}, ["acute: no delivery of it has been loaded"]),
        ({"acute": 5, "gp": 1}, ["acute: no delivery of it", "gp: its newest extract is 2 days old"]),
    ],
)
def test_required_sources_are_there_and_new_enough(required: dict[str, int | None], faults: list[str]) -> None:
    register = [replace(file(0, "full", "a"), extract_date=date(2026, 1, 3))]
    if not faults:
        require_sources(required, register, (), DAY)
        return
    with pytest.raises(RequiredSourceError) as raised:
        require_sources(required, register, (), DAY)
    assert all(fault in str(raised.value) for fault in faults)
    assert raised.value.exit_code == 12


def test_a_required_source_is_not_there_while_its_newest_delivery_is_set_aside(run: RunContext, landing: Path) -> None:
    deliver(landing, GP, "P81001", "20260104", {"patient": [patient("A")]})
    announce_rows(deliver(landing, GP, "P81001", "20260105", {"patient": [patient("B")]}), 2)
    outcome = ingest_deliveries(run)
    with pytest.raises(RequiredSourceError, match="gp: its newest delivery, of 20260105, is set aside"):
        require_sources({"gp": None}, run.register(), outcome.set_aside, DAY)
    deliver(landing, GP, "P81002", "20260105", {"patient": [patient("C")]})
    outcome = ingest_deliveries(run)
    require_sources({"gp": None}, run.register(), outcome.set_aside, DAY)


@pytest.mark.parametrize(
    ("folder", "newest"),
    [
        ("20260106", "20260106"),
        ("20260106_resub", "20260106"),
        ("20260106 (2)", "20260106"),
        ("20260106.part", "20260106"),
        ("2026-01-06", "20260106"),
        ("2026-01-06T0930", "20260106"),
        ("2026_01_06-v2", "20260106"),
        (" 20260106", "20260106"),
        ("20260105_resub", None),
        ("20260104-again", None),
        ("20260107_early", None),
        ("20261399", None),
        ("2026010612", None),
        ("2026-0106", None),
        ("06012026", None),
        ("latest", None),
        ("", None),
    ],
)
def test_a_newest_delivery_counts_by_the_day_at_the_start_of_its_folder(folder: str, newest: str | None) -> None:
    """A folder with a wrong name is set aside; what was delivered in it is newer all the same."""
    register = [replace(file(4, "full", "a"), provider="P81001")]
    entry = SetAside(source="gp", provider="P81001", folder=folder, faults=("the name of the folder is not a day",))
    if newest is None:
        require_sources({"gp": None}, register, [entry], NEXT)
        return
    with pytest.raises(RequiredSourceError, match=f"gp: its newest delivery, of {newest}, is set aside"):
        require_sources({"gp": None}, register, [entry], NEXT)


def withdraw(run: RunContext, folder: str, practice: str = "P81001") -> None:
    """Take a loaded delivery of a practice back."""
    files = [file for file in run.register() if (file.provider, file.folder) == (practice, folder)]
    store_withdrawal(run.settings.storage.restricted, Withdrawn.of_loaded(files, "sent by mistake", NEXT))


def versions_of(run: RunContext) -> dict[str, int | None]:
    """The newest version of every table of bronze, and of the filled columns."""
    names = [TableName(Zone.BRONZE, name) for name in run.store.paths.names(Zone.BRONZE)]
    return {str(name): run.store.version(*name) for name in [*names, TableName(Zone.CURATION, FILE_COLUMNS)]}


def recorded_versions_of(run: RunContext) -> dict[str, int | None]:
    """The same, as the build state has them."""
    state = BuildState.read(run.runner.state_path)
    return {name: state.tables[name].version for name in versions_of(run)} if state else {}


CONTENT_ZONES = (Zone.BRONZE, Zone.CURATION, Zone.SILVER, Zone.QUARANTINE)


def content_of(run: RunContext) -> dict[str, Counter[tuple[object, ...]]]:
    """The rows of every table before OMOP, without the names of loads: these say with which other deliveries it came."""
    content = {}
    for zone in CONTENT_ZONES:
        for path in sorted(Path(run.store.path(zone, "x")).parent.glob("*/_delta_log")):
            frame = DeltaTable(str(path.parent)).to_pandas().drop(columns=["_load_id", "load_id"], errors="ignore")
            rows = frame[sorted(frame.columns)].astype(object)
            content[f"{zone}.{path.parent.name}"] = Counter(rows.where(rows.notna(), None).itertuples(index=False, name=None))
    return content


def consultation(guid: str) -> dict[str, str]:
    """A consultation of a patient."""
    row = {"organisation_guid": "ORG", "consultation_guid": guid, "patient_guid": "A", "processing_id": "1"}
    return row | {"effective_date": "2025-03-04"}


REFERRAL = {"organisation_guid": "ORG", "patient_guid": "A", "observation_guid": "1", "processing_id": "1"}

DELIVERIES: dict[str, dict[str, dict[str, list[dict[str, str]]]]] = {
    "the first of three": {
        "20260103": {"patient": [patient("A"), patient("X", BEN)]},
        "20260104": {"patient": [patient("A")], "consultation": [consultation("1")]},
        "20260105": {"consultation": [consultation("2")]},
    },
    "one that a later one repeats": {
        "20260103": {"patient": [patient("A", CEM)], "consultation": [consultation("1"), consultation("3")]},
        "20260104": {"patient": [patient("A", CEM)]},
        "20260105": {"patient": [patient("A", CEM)], "consultation": [consultation("2")]},
    },
    "the only one of an entity": {
        "20260103": {"referral": [REFERRAL]},
        "20260104": {"patient": [patient("A", DEE)]},
        "20260105": {"patient": [patient("A", DEE), patient("B", EVE)]},
    },
}
"""Deliveries of practices whose people and repeated files are their own; the first of each is withdrawn."""


@pytest.mark.parametrize("mode", ["delta", "full"])
def test_after_a_withdrawal_all_is_as_if_it_had_never_come(sail: SparkSession, tmp_path: Path, mode: str) -> None:
    lakes = {}
    practices = {f"P8100{place}": deliveries for place, deliveries in enumerate(DELIVERIES.values())}
    for lake in ("with", "without"):
        for practice, deliveries in practices.items():
            for day, tables in deliveries.items():
                if lake == "with" or day != "20260103":
                    deliver(tmp_path / lake / "landing", GP, practice, day, tables, mode=mode)
        opt_out_lists(tmp_path / lake / "landing", "20260105", [ANNA, BEN, CEM, DEE, EVE], local=["9990000069"])
        lakes[lake] = run_in(sail, tmp_path / lake, DAY, ("gp",))
        ingested_and_curated(lakes[lake])
    before, without = content_of(lakes["with"]), content_of(lakes["without"])
    assert before["bronze.gp_patient"] != without["bronze.gp_patient"]
    assert before["bronze.gp_consultation"] != without["bronze.gp_consultation"]
    assert before.keys() - without.keys() == {"bronze.gp_referral", "silver.gp_referral"}
    for practice in practices:
        withdraw(lakes["with"], "20260103", practice)
    ingested_and_curated(replace(lakes["with"], run_date=NEXT))
    assert recorded_versions_of(lakes["with"]) == versions_of(lakes["with"])
    ingested_and_curated(replace(lakes["without"], run_date=NEXT))
    assert content_of(lakes["with"]) == content_of(lakes["without"])


def test_content_that_came_on_several_nights_stays_until_the_last_of_them_is_withdrawn(
    sail: SparkSession, tmp_path: Path
) -> None:
    """Rows that move to the file that repeats them move to its load too, where the next withdrawal looks for them."""
    landings = {lake: tmp_path / lake / "landing" for lake in ("with", "without")}
    for landing in landings.values():
        opt_out_lists(landing, "20260105", [ANNA, BEN], local=["9990000034"])
    for day in (3, 4, 5):
        for lake in ("with", "without") if day == 5 else ("with",):
            deliver(landings[lake], GP, "P81001", f"2026010{day}", {"patient": [patient("A")]}, mode="delta")
            run = run_in(sail, tmp_path / lake, DAY + timedelta(days=day), ("gp",))
            ingested_and_curated(run)
            if lake == "with":
                night = run
    for day in (3, 4):
        withdraw(night, f"2026010{day}")
        night = replace(night, run_date=night.run_date + timedelta(days=1))
        ingested_and_curated(night)
        holder = min(file.load_id for file in night.register())
        stored = DeltaTable(str(night.store.path(Zone.BRONZE, "gp_patient"))).to_pandas()
        assert list(stored["_load_id"]) == [holder]
    without = run_in(sail, tmp_path / "without", night.run_date, ("gp",))
    ingested_and_curated(without)
    assert content_of(night) == content_of(without)


def test_a_corrected_delivery_takes_the_place_of_a_withdrawn_one(run: RunContext, landing: Path) -> None:
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A"), patient("B", BEN)]}, mode="full")
    ingest_deliveries(run)
    withdraw(run, "20260105")
    shutil.rmtree(landing / "gp" / "P81001" / "20260105")
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A")]}, mode="full")
    assert ingest_deliveries(replace(run, run_date=NEXT)).deliveries == 1
    assert taken(run) == {"P81001/20260105": 1}
    assert run.store.read(Zone.BRONZE, "gp_patient").count() == 1


@pytest.mark.parametrize("first_comes_with_it", [True, False])
def test_an_undone_withdrawal_is_loaded_again_on_the_same_day(
    run: RunContext, landing: Path, first_comes_with_it: bool
) -> None:
    """A load is named by its day and deliveries, so that of a delivery that came alone has the same name again."""
    deliver(landing, GP, "P81001", "20260104", {"patient": [patient("A")]})
    if not first_comes_with_it:
        ingest_deliveries(run)
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("B"), patient("C")]})
    ingest_deliveries(run)
    columns = run.store.read(Zone.CURATION, FILE_COLUMNS).count()
    withdraw(run, "20260105")
    assert ingest_deliveries(run) == Ingested(0, 0)
    assert ingest_deliveries(run) == Ingested(0, 0)
    assert taken(run) == {"P81001/20260104": 1}
    undo_withdrawal(run.settings.storage.restricted, DeliveryName("gp", "P81001", "20260105"))
    again = ingest_deliveries(run)
    assert (again.deliveries, again.set_aside) == (1, ())
    assert taken(run) == {"P81001/20260104": 1, "P81001/20260105": 2}
    assert run.store.read(Zone.CURATION, FILE_COLUMNS).count() == columns


def test_content_is_read_again_once_its_contract_has_learned_a_column(run: RunContext, landing: Path) -> None:
    """Sent again, or withdrawn and loaded again; what is sent again after that repeats it."""
    opt_out_lists(landing, "20260103", [ANNA, BEN], local=["9990000034"])
    text = csv_text(GP, "patient", [patient("A") | {"sex": "F"}]).replace(",Sex,", ",Geschlecht,")
    contract = GP.model_dump(mode="json")
    contract["entities"]["patient"]["columns"]["sex"]["aliases"] = ["Geschlecht"]
    knowing = replace(run, inputs=replace(run.inputs, contracts={"gp": SourceContract.model_validate(contract)}))

    def sexes(taking: RunContext) -> dict[str, str | None]:
        ingest_deliveries(taking)
        held = {row["_file"]: row["sex"] for row in run.store.read(Zone.BRONZE, "gp_patient").toArrow().to_pylist()}
        return {entry.folder: held[entry.same_as] for entry in run.register()}

    deliver_files(landing, "gp", "P81001", "20260103", {FILE: (text, 1)})
    assert sexes(run) == {"20260103": None}
    for day in ("20260104", "20260105"):
        deliver_files(landing, "gp", "P81001", day, {FILE: (text, 1)})
        found = sexes(knowing)
    assert found == {"20260103": None, "20260104": "F", "20260105": "F"}
    assert sorted(file.folder for file in run.register() if file.same_as == file.file_id) == ["20260103", "20260104"]
    ingested_and_curated(knowing)
    assert [row["sex"] for row in run.store.read(Zone.SILVER, "gp_patient").toArrow().to_pylist()] == ["F"]
    withdraw(run, "20260103")
    ingest_deliveries(knowing)
    undo_withdrawal(run.settings.storage.restricted, DeliveryName("gp", "P81001", "20260103"))
    assert sexes(knowing) == dict.fromkeys(("20260103", "20260104", "20260105"), "F")


def test_the_last_delivery_withdrawn_leaves_nothing(run: RunContext, landing: Path) -> None:
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A")]})
    ingest_deliveries(run)
    withdraw(run, "20260105")
    with pytest.raises(DeliveryError, match="nothing has been delivered"):
        ingest_deliveries(run)
    assert (run.register(), run.store.exists(Zone.BRONZE, "gp_patient")) == ((), False)


def test_a_run_cannot_be_of_a_day_before_what_is_loaded(run: RunContext, landing: Path) -> None:
    """Unless that was withdrawn. What is loaded does not wait."""
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A")]})
    deliver(landing, GP, "P81002", "20260106", {"patient": [patient("B")]})
    later = replace(run, run_date=NEXT)
    ingest_deliveries(later)
    require_day(later)
    with pytest.raises(DeliveryError, match="extracts are loaded up to 2026-01-06, so that a run cannot be of 2026-01-05"):
        require_day(run)
    assert new_arrivals(run, run.register(), Checksums.read(run.settings.storage.restricted)).waiting == ()
    withdraw(run, "20260106", "P81002")
    require_day(run)


PATIENT_COLUMNS = tuple("OrganisationGuid PatientGuid NhsNumber DateOfBirth DateOfDeath Postcode Sex ProcessingId".split())


def extract(
    landing: Path,
    day: str,
    patients: int,
    *,
    mode: str = "full",
    without: Collection[str] = (),
    died: int = 3,
    alive: Sequence[str] = ("",),
    provider: str = "P81001",
) -> Path:
    """A delivery of patients, of whom some have died, without some of the columns; `alive` is written in turn for no day."""
    columns = [name for name in PATIENT_COLUMNS if name not in without]
    lines = [",".join(columns)]
    for n in range(patients):
        death = "2024-03-04" if n < died else alive[n % len(alive)]
        values = dict(zip(PATIENT_COLUMNS, ("ORG", f"P{n}", "", "1950-01-01", death, "", "F", day), strict=True))
        lines.append(",".join(values[name] for name in columns))
    text = "\n".join(lines) + "\n"
    return deliver_files(landing, "gp", provider, day, {FILE: (text, patients)}, mode)


LOST = "patient: columns that had values in earlier deliveries are missing: DateOfDeath"

LOSSES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"without": ["DateOfDeath"]}, (LOST,)),
    ({"without": ["DateOfDeath"], "mode": "delta", "patients": 1}, (LOST,)),
    ({"patients": 0}, ("patient: no record, the last full extract had 40",)),
    ({"patients": 19}, ("patient: 19 records, the last full extract had 40; at most 50% may be gone",)),
    ({"died": 0, "patients": 39}, ()),
    ({"patients": 20}, ()),
    ({"without": ["Postcode"]}, ()),
]
"""How an extract differs from that of 40 patients before it, and its faults."""


def test_an_extract_that_lost_what_it_had_is_set_aside(run: RunContext, landing: Path) -> None:
    """Each loss at another practice, against its own past."""
    practices = [f"P820{place:02}" for place in range(len(LOSSES))]
    for practice in practices:
        extract(landing, "20260104", 40, provider=practice)
    ingest_deliveries(run)
    for practice, (change, _) in zip(practices, LOSSES, strict=True):
        extract(landing, "20260105", **{"patients": 40, "provider": practice, **change})
    lost = {practice: faults for practice, (_, faults) in zip(practices, LOSSES, strict=True) if faults}
    assert refused(ingest_deliveries(run)) == {f"gp/{practice}/20260105": faults for practice, faults in lost.items()}
    loaded = Counter(name.partition("/")[0] for name in taken(run))
    assert loaded == {practice: 1 if practice in lost else 2 for practice in practices}


def test_two_deliveries_of_one_night_are_compared_with_each_other(run: RunContext, landing: Path) -> None:
    extract(landing, "20260103", 40)
    extract(landing, "20260104", 0)
    extract(landing, "20260105", 41)
    outcome = ingest_deliveries(run)
    assert refused(outcome) == {"gp/P81001/20260104": ("patient: no record, the last full extract had 40",)}
    assert taken(run) == {"P81001/20260103": 40, "P81001/20260105": 41}


def test_a_damaged_file_of_a_provider_with_a_past_is_set_aside_for_its_damage(run: RunContext, landing: Path) -> None:
    """Not for the columns that could not be seen in it."""
    extract(landing, "20260104", 40)
    ingest_deliveries(run)
    folder = deliver(landing, GP, "P81001", "20260105", {"patient": [patient("C")]})
    _cut_archive(folder)
    announce(folder, mode="full")
    fault = f"{FILE}.gz: the gzip file is cut short; deliver it again"
    assert refused(ingest_deliveries(run)) == {"gp/P81001/20260105": (fault,)}


def test_values_that_are_gone_are_seen_also_behind_a_repeated_file(run: RunContext, landing: Path) -> None:
    """The second delivery is the same file again, so its columns are known from the first only."""
    for day in ("20260102", "20260103"):
        folder = extract(landing, "20260101", 40, died=40)
        folder.rename(folder.with_name(day))
        announce(folder.with_name(day), extract_date=f"2026-01-{day[6:]}")
    ingest_deliveries(run)
    extract(landing, "20260105", 40, died=0)
    fault = "patient: 100% of the records have no DateOfDeath, usual are 0%; at most 50% more are allowed"
    assert refused(ingest_deliveries(run)) == {"gp/P81001/20260105": (fault,)}


def test_what_stands_for_no_value_is_none(run: RunContext, landing: Path) -> None:
    """Whatever curate takes for no value; anything else is one, also if it cannot be read."""
    extract(landing, "20260104", 40, died=40)
    ingest_deliveries(run)
    nothing = ("", "   ", "NULL", "null", " Null\u00a0", "N/A", "n/a ", "#n/a", "none", "\u00a0", "\u200b\t", " " * 60)
    extract(landing, "20260105", 40, died=0, alive=nothing)
    fault = "patient: 100% of the records have no DateOfDeath, usual are 0%; at most 50% more are allowed"
    assert refused(ingest_deliveries(run)) == {"gp/P81001/20260105": (fault,)}
    extract(landing, "20260106", 40, died=0, alive=("soon", "0", ".", "nulls", "NULL NULL"))
    assert refused(ingest_deliveries(replace(run, run_date=NEXT))) == {"gp/P81001/20260105": (fault,)}


def test_an_accepted_delivery_is_loaded_and_becomes_the_past(run: RunContext, landing: Path) -> None:
    extract(landing, "20260104", 40)
    ingest_deliveries(run)
    folder = extract(landing, "20260105", 10, without=["DateOfDeath"])
    (entry,) = ingest_deliveries(run).set_aside
    assert len(entry.faults) == 2
    assert entry.next_step == "ask the provider; if it is right: nhs-omop accept gp/P81001/20260105 --why ..., then run again"
    store_acceptance(run.settings.storage.restricted, read_delivery(folder, GP), "half of the list moved away", NEXT)
    outcome = ingest_deliveries(run)
    assert (outcome.deliveries, outcome.set_aside, len(outcome.warnings)) == (1, (), 2)
    extract(landing, "20260106", 10, without=["DateOfDeath"])
    later = ingest_deliveries(replace(run, run_date=NEXT))
    assert (later.deliveries, later.set_aside, later.warnings) == (1, (), ())


def test_a_whole_delivery_without_a_file_of_an_entity_that_had_records_is_named(run: RunContext, landing: Path) -> None:
    """Whether the one before it is loaded or new, and once. Of a delivery of changes nothing is said."""
    lines = "".join(f"ORG,{n},A,2025-03-04\n" for n in range(20))
    consultations = ("OrganisationGuid,ConsultationGuid,PatientGuid,EffectiveDate\n" + lines, 20)
    patients: tuple[str | bytes, int] = (csv_text(GP, "patient", [patient("A")]), 1)
    both: dict[str, tuple[str | bytes, int]] = {FILE: patients, "x_CareRecord_Consultation_x.csv": consultations}
    for provider, mode in (("P81001", "full"), ("P81002", "delta")):
        deliver_files(landing, "gp", provider, "20260103", both, mode)
        deliver_files(landing, "gp", provider, "20260104", both, mode)
        deliver_files(landing, "gp", provider, "20260105", {FILE: patients}, mode)
    said = "consultation: no file, the last had 20 records; what came before counts on"
    assert ingest_deliveries(run).warnings == (f"gp/P81001/20260105: {said}",)


def test_an_accepted_delivery_that_changes_is_not_accepted(run: RunContext, landing: Path) -> None:
    extract(landing, "20260104", 40)
    ingest_deliveries(run)
    folder = extract(landing, "20260105", 1)
    store_acceptance(run.settings.storage.restricted, read_delivery(folder, GP), "they moved away", NEXT)
    shutil.rmtree(folder)
    extract(landing, "20260105", 2)
    assert list(refused(ingest_deliveries(run))) == ["gp/P81001/20260105"]


def test_the_past_of_another_provider_does_not_count(run: RunContext, landing: Path) -> None:
    extract(landing, "20260104", 40, provider="P81002")
    extract(landing, "20260105", 1, without=["DateOfDeath"])
    assert ingest_deliveries(run).set_aside == ()


def test_a_late_extract_is_compared_with_what_came_before_its_day(run: RunContext, landing: Path) -> None:
    extract(landing, "20260105", 100)
    ingest_deliveries(run)
    extract(landing, "20260104", 10)
    assert ingest_deliveries(run).set_aside == ()


def test_an_extract_dated_before_a_full_extract_in_an_earlier_folder_is_set_aside(run: RunContext, landing: Path) -> None:
    """It would count for nothing. One that only comes late, or is of another practice, is taken."""
    extract(landing, "20260104", 40)
    wrong = extract(landing, "20260105", 41)
    announce(wrong, extract_date="2025-01-05")
    fault = (
        "its extract date is 2025-01-05, before that of the full extract in the earlier folder 20260104 (2026-01-04): "
        "it would count for nothing"
    )
    far = "its extract date is 2025-01-05, 365 days before the day of its folder; at most 180 days before and 1 after are usual"
    outcome = ingest_deliveries(run)
    assert refused(outcome) == {"gp/P81001/20260105": (fault, far)}
    assert taken(run) == {"P81001/20260104": 40}
    extract(landing, "20260102", 42)
    announce(deliver(landing, GP, "P81002", "20260105", {"patient": [patient("C")]}), extract_date="2025-12-05")
    store_acceptance(run.settings.storage.restricted, read_delivery(wrong, GP), "an extract of last year", NEXT)
    outcome = ingest_deliveries(run)
    assert outcome.set_aside == ()
    assert outcome.warnings == tuple(f"gp/P81001/20260105 (accepted): {said}" for said in (fault, far))


def test_what_is_set_aside_itself_drags_no_later_delivery_along(run: RunContext, landing: Path) -> None:
    """A full extract that lost most of its patients is dated after the good delivery in the next folder."""
    extract(landing, "20260102", 60)
    announce(extract(landing, "20260103", 10), extract_date="2026-01-04")
    announce(extract(landing, "20260104", 5, mode="delta"), extract_date="2026-01-03")
    lost = "patient: 10 records, the last full extract had 60; at most 50% may be gone"
    assert refused(ingest_deliveries(run)) == {"gp/P81001/20260103": (lost,)}
    assert taken(run) == {"P81001/20260102": 60, "P81001/20260104": 5}


def test_an_extract_date_far_from_the_day_of_its_folder_is_set_aside(run: RunContext, landing: Path) -> None:
    """Also of a first delivery, and of changes: nothing but the folder says that the year is wrong."""
    far = "at most 180 days before and 1 after are usual"
    cases = {
        ("P81001", "20260105", "2025-01-05"): f"its extract date is 2025-01-05, 365 days before the day of its folder; {far}",
        ("P81002", "20260105", "2025-07-08"): f"its extract date is 2025-07-08, 181 days before the day of its folder; {far}",
        ("P81003", "20260105", "2025-07-09"): "",
        ("P81004", "20260102", "2026-01-03"): "",
        ("P81005", "20260102", "2026-01-04"): f"its extract date is 2026-01-04, 2 days after the day of its folder; {far}",
    }
    for provider, folder, day in cases:
        announce(deliver(landing, GP, provider, folder, {"patient": [patient("A")]}), extract_date=day)
    deliver(landing, GP, "P81001", "20260104", {"patient": [patient("A")]})
    faults = {f"gp/{provider}/{folder}": (fault,) for (provider, folder, _), fault in cases.items() if fault}
    assert refused(ingest_deliveries(run)) == faults
    assert set(taken(run)) == {"P81001/20260104", "P81003/20260105", "P81004/20260102"}


def organisation(guid: str) -> dict[str, str]:
    """A practice that has closed."""
    return {"organisation_guid": guid, "ods_code": "Y99001", "close_date": "2020-01-01", "processing_id": "1"}


def without(entity: str, *columns: str) -> SourceContract:
    """The contract of the GP source without some columns of an entity, or without the entity."""
    spec = GP.entities[entity]
    kept = {name: column for name, column in spec.columns.items() if name not in columns}
    entities = {**GP.entities, entity: spec.model_copy(update={"columns": kept})}
    if not columns:
        del entities[entity]
    return GP.model_copy(update={"entities": entities})


def by(run: RunContext, **contracts: SourceContract) -> RunContext:
    """The same run with other contracts."""
    return replace(run, inputs=replace(run.inputs, contracts=contracts))


def closed(run: RunContext) -> list[date | None]:
    """When practices closed, as silver has it, those that are open last."""
    rows = run.store.read(Zone.SILVER, "gp_organisation").toArrow().to_pylist()
    return sorted((row["close_date"] for row in rows), key=str)


def test_columns_come_to_a_contract_and_leave_it_between_deliveries(run: RunContext, landing: Path) -> None:
    """A column that a contract has since is null until it is delivered; bronze keeps one that a contract has no longer."""
    opt_out_lists(landing, "20260105", [ANNA, BEN], local=["9990000034"])
    narrow, day = by(run, gp=without("organisation", "close_date")), date(2020, 1, 1)
    deliver(landing, GP, "P81001", "20260101", {"patient": [patient("A")], "organisation": [organisation("1")]})
    ingested_and_curated(narrow)
    ingested_and_curated(run)
    assert closed(run) == [None]
    deliver(landing, GP, "P81001", "20260102", {"organisation": [organisation("2")]})
    ingested_and_curated(run)
    assert closed(run) == [day, None]
    deliver(landing, GP, "P81001", "20260103", {"organisation": [organisation("3")]})
    ingested_and_curated(narrow)
    assert "close_date" not in run.store.read(Zone.SILVER, "gp_organisation").columns
    ingested_and_curated(run)
    assert closed(run) == [day, None, None]
    assert recorded_versions_of(run) == versions_of(run)


def test_sources_and_entities_that_a_run_has_no_longer_are_left_out(sail: SparkSession, tmp_path: Path) -> None:
    """What was delivered of them stays in bronze, so that they may come back; what was made of them goes."""
    contracts = load_contracts(PACKAGED_MAPPINGS_DIR, ("gp", "ambulance"))
    run, landing = run_in(sail, tmp_path, DAY, ("gp", "ambulance")), tmp_path / "landing"
    opt_out_lists(landing, "20260105", [ANNA, BEN], local=["9990000034"])
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A")], "issue_record": []})
    deliver(landing, contracts["ambulance"], "RX9", "20260105", {next(iter(contracts["ambulance"].entities)): []})
    whole = ingested_and_curated(run)
    left: dict[str, set[str]] = {}
    for name, less in {"source": by(run, gp=GP), "entity": by(run, **contracts | {"gp": without("issue_record")})}.items():
        ledger = ingested_and_curated(less)
        assert {(row.source, row.entity) for row in whole} > {(row.source, row.entity) for row in ledger}
        declared = curate_tables(curate_inputs(less, in_contracts(less.register(), less.inputs.contracts)))
        left[name] = {*map(str, asked_for_no_longer(run.runner.known_tables(), {table.name for table in declared}, ()))}
    assert {"curation.records_ambulance", "curation.versions_ambulance"} <= left["source"]
    assert not {name for name in left["source"] if name.startswith("bronze") or "gp" in name}
    assert left["entity"] == {"silver.gp_issue_record", "curation.dispositions_gp_1"}
    assert ingested_and_curated(run) == whole


def test_what_nothing_asks_for_any_more_goes() -> None:
    """Bronze stays, and so do what every run enters something into and what a release pins."""
    stay = ["bronze.gp_patient", "curation.register", "curation.file_columns", "ledger.rows", "ledger.gates", "ledger.figures"]
    stay += ["ledger.failing_rows", "ledger.readable_values", "omop.person", "omop.measurement_harmonised"]
    go = ["silver.gp_patient", "curation.records_gp", "intermediate.analyte_concepts", "omop.drug_dosing", "quarantine.gp"]
    go += ["ledger.gate_measures_silver_gp", "ledger.gate_measures_expectations_omop_person"]
    declared, pinned = {TableName.of("omop.person")}, {TableName.of("omop.measurement_harmonised")}
    assert [*map(str, asked_for_no_longer(map(TableName.of, [*stay, *go]), declared, pinned))] == go
