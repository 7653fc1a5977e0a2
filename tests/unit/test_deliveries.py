"""The commands about deliveries, on a landing folder and documents alone."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from jobs import accept as accept_command
from jobs import deliveries as deliveries_command
from jobs import withdraw as withdraw_command
from jobs.command import start
from jobs.deliveries import history_of
from pipelines.contracts.source import load_contracts
from pipelines.ingest.arrivals import recipe_of
from pipelines.ingest.delivery_log import Withdrawn, read_accepted, read_withdrawn, store_set_aside, store_withdrawal
from pipelines.ingest.folders import Landed, SetAside, set_aside
from pipelines.ingest.history import delivery_history
from pipelines.ingest.landing import DeliveryName, read_delivery
from pipelines.settings import PACKAGED_MAPPINGS_DIR, Settings
from tests.builders.landing import deliver
from tests.builders.runs import settings_in
from tests.unit.ingest.test_register import file

GP = load_contracts(PACKAGED_MAPPINGS_DIR, ("gp",))["gp"]
PATIENTS = {"patient": [{"patient_guid": "A", "nhs_number": "9990000018"}]}
DAY = date(2026, 1, 5)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of the demo in a folder of the test."""
    return settings_in(tmp_path)


@pytest.fixture
def landing(settings: Settings, tmp_path: Path) -> Path:
    """The landing folder."""
    assert settings.storage.landing == tmp_path / "landing"
    return tmp_path / "landing"


def options(settings: Settings) -> list[str]:
    """What names the folders of the test to a command."""
    places = settings.storage
    pairs = [("landing", places.landing), ("restricted", places.restricted), ("deidentified", places.deidentified)]
    return ["--env", "demo", *[text for name, place in pairs for text in ("--set", f"storage.{name}={place}")]]


def states(settings: Settings, day: date = DAY) -> list[tuple[str, str, str]]:
    """Name, state and reason of every delivery."""
    return [(str(entry.place), entry.state.value, entry.reason) for entry in history_of(settings, day)]


def ended(app: object, settings: Settings, arguments: Sequence[str]) -> int:
    """The exit code of a command."""
    try:
        start(app, [*arguments, *options(settings)])  # type: ignore[arg-type]
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_every_state_has_its_reason_and_next_step() -> None:
    """Loaded and withdrawn from the register and the documents, the others from the landing folder."""
    register = [file(0, "full", "a"), file(1, "delta", "b"), file(1, "delta", "c"), file(2, "delta", "d")]
    gone = Withdrawn.of_loaded([register[3]], "sent by mistake", date(2026, 1, 9))
    landed = Landed(
        set_aside=[
            SetAside(source="gp", provider="P", folder="latest", faults=("the name is no day",), next_step="rename it"),
            SetAside(source="gp", provider="P", folder="20260101", faults=("no manifest.json",)),
        ],
        waiting=[DeliveryName("gp", "P", "20260109"), DeliveryName("gp", "P", "20260101")],
    )
    facts = delivery_history(landed, register, [], [gone])
    assert [(str(f.place), f.state.value, f.rows, f.mode, f.reason, f.next_step) for f in facts] == [
        ("gp/P/20260101", "loaded", 1, "full", "", ""),
        ("gp/P/20260102", "loaded", 2, "delta", "", ""),
        ("gp/P/20260103", "withdrawn", 1, "delta", "sent by mistake",
         "nhs-omop withdraw gp/P/20260103 --undo, if it is to be loaded again"),
        ("gp/P/20260109", "waiting", None, "", "its day is after the run date", "wait for its day"),
        ("gp/P/latest", "set aside", None, "", "the name is no day", "rename it"),
    ]  # fmt: skip


def test_what_no_run_has_seen_waits_and_what_the_last_run_set_aside_keeps_its_reason(settings: Settings, landing: Path) -> None:
    deliver(landing, GP, "P81001", "20260104", PATIENTS)
    folder = deliver(landing, GP, "P81001", "20260105", PATIENTS)
    deliver(landing, GP, "P81001", "20260106", PATIENTS)
    assert states(settings) == [
        ("gp/P81001/20260104", "waiting", "no run has looked at it yet"),
        ("gp/P81001/20260105", "waiting", "no run has looked at it yet"),
        ("gp/P81001/20260106", "waiting", "its day is after the run date"),
    ]
    found = next(entry for entry in history_of(settings, DAY) if entry.place.folder == "20260105")
    assert (found.rows, found.extract_date) == (1, DAY)
    seen = read_delivery(folder, GP)
    entry = SetAside(
        source="gp", provider="P81001", folder="20260105", delivery_id=seen.delivery_id, faults=("x: checksum differs",)
    )
    store_set_aside(settings.storage.restricted, [entry], DAY)
    assert states(settings)[1] == ("gp/P81001/20260105", "set aside", "x: checksum differs")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"mode": "full"}))
    assert states(settings)[1] == ("gp/P81001/20260105", "waiting", "no run has looked at it yet")


def test_the_command_lists_what_is_asked_for(settings: Settings, landing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deliver(landing, GP, "P81001", "20260104", PATIENTS)
    deliver(landing, GP, "P81002", "20260104", PATIENTS).rename(landing / "gp" / "P81002" / "latest")
    assert ended(deliveries_command.app, settings, ["--json", "--state", "set-aside"]) == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (row["provider"], row["folder"], row["state"]) == ("P81002", "latest", "set aside")
    assert "rename the folder" in row["next_step"]
    assert ended(deliveries_command.app, settings, ["--json", "--provider", "P81001"]) == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (row["folder"], row["state"], row["rows"]) == ("20260104", "waiting", 1)
    assert ended(deliveries_command.app, settings, ["--state", "lost"]) == 2


def test_a_delivery_that_waits_can_be_withdrawn_and_the_withdrawal_undone(settings: Settings, landing: Path) -> None:
    deliver(landing, GP, "P81001", "20260104", PATIENTS)
    name = "gp/P81001/20260104"
    assert ended(withdraw_command.app, settings, [name, "--why", "wrong extract"]) == 0
    assert states(settings) == [(name, "withdrawn", "wrong extract")]
    (entry,) = read_withdrawn(settings.storage.restricted)
    assert (str(entry.place), entry.rows, entry.mode, entry.extract_date) == (name, 1, "delta", date(2026, 1, 4))
    assert ended(withdraw_command.app, settings, [name, "--why", "again"]) == 12
    assert ended(withdraw_command.app, settings, [name, "--undo"]) == 0
    assert states(settings) == [(name, "waiting", "no run has looked at it yet")]
    assert ended(withdraw_command.app, settings, [name, "--undo"]) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gp/P81001/20260109", "--why", "x"], "has not been loaded and cannot be withdrawn: there is no such delivery in the"),
        (["gp/p81001/20260104", "--why", "x"], "has not been loaded and cannot be withdrawn: there is no such delivery in the"),
        (["GP/P81001/20260104", "--why", "x"], "cannot be withdrawn: no such source is loaded"),
        (["gp/P81001", "--why", "x"], "name a delivery as SOURCE/PROVIDER/FOLDER"),
        (["gp/P81001/20260104/x", "--why", "x"], "name a delivery as SOURCE/PROVIDER/FOLDER"),
        (["gp/P81001/20260104"], "needs a reason"),
        (["gp/P81001/20260104", "--why", " "], "needs a reason"),
        (
            ["gp/P81001/20260104", "--why", "asks for 999 000 0018"],
            "--why holds an NHS or National Insurance number, a postcode,",
        ),
        (["gp/../gp", "--why", "x"], "cannot be withdrawn"),
    ],
)
def test_what_cannot_be_withdrawn_is_refused(
    settings: Settings, landing: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(landing, GP, "P81001", "20260104", PATIENTS)
    assert ended(withdraw_command.app, settings, arguments) == 12
    assert message in " ".join(capsys.readouterr().err.split())
    assert read_withdrawn(settings.storage.restricted) == ()


def test_a_withdrawn_delivery_is_kept_once(settings: Settings) -> None:
    entry = Withdrawn.of_loaded([file(0, "full", "a")], "x", DAY)
    store_withdrawal(settings.storage.restricted, entry)
    assert read_withdrawn(settings.storage.restricted) == (entry,)
    assert (settings.storage.restricted / "withdrawn.json").stat().st_mode & 0o077 == 0


def test_a_delivery_is_accepted_once_and_by_name(settings: Settings, landing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deliver(landing, GP, "P81001", "20260104", PATIENTS)
    name = "gp/P81001/20260104"
    for arguments, message in (
        ([name], "needs a reason"),
        ([name, "--why", "without 9990000018"], "it would be kept and shown: name nobody in it"),
        (["gp/P81001/20260105", "--why", "x"], "cannot be accepted: there is no such delivery in the landing folder"),
        (["gp/p81001/20260104", "--why", "x"], "cannot be accepted: there is no such delivery in the landing folder"),
        (["gpp/P81001/20260104", "--why", "x"], "cannot be accepted: no such source is loaded"),
    ):
        assert ended(accept_command.app, settings, arguments) == 12
        assert message in " ".join(capsys.readouterr().err.split())
    assert ended(accept_command.app, settings, [name, "--why", "they moved"]) == 0
    (entry,) = read_accepted(settings.storage.restricted)
    assert (entry.folder, entry.why) == ("20260104", "they moved")
    assert ended(accept_command.app, settings, [name, "--why", "they moved"]) == 12


def test_a_delivery_with_a_fault_that_accepting_does_not_lift_is_not_accepted(
    settings: Settings, landing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lifts = "cannot be accepted: that lifts limits on what may differ from the past, and no other fault: "
    changed, misnamed, spelled, unread, ahead = (
        deliver(landing, GP, provider, day, PATIENTS)
        for provider, day in (
            ("P81001", "20260101"),
            ("P81001", "20260102"),
            ("p81001", "20260103"),
            ("P81002", "20260104"),
            ("P81002", "20991231"),
        )
    )
    next(changed.glob("*.csv")).write_text("x")
    misnamed = misnamed.rename(misnamed.with_name("20260102_resub"))
    seen = read_delivery(unread, GP)
    fault = "x.csv: 1 records, the manifest says 2"
    entry = set_aside(seen, [fault], recipe=recipe_of(GP))
    store_set_aside(settings.storage.restricted, [entry], DAY)
    for folder, said in (
        (changed, f"{next(changed.glob('*.csv')).name}: checksum differs from the manifest"),
        (misnamed, "the name of the folder is not a day written yyyymmdd"),
        (spelled, "its provider is written P81001; under two names its records would count twice"),
        (unread, fault),
    ):
        name = "/".join(folder.parts[-3:])
        assert ended(accept_command.app, settings, [name, "--why", "x"]) == 12
        assert f"{name} {lifts}{said}" in " ".join(capsys.readouterr().err.split())
    assert read_accepted(settings.storage.restricted) == ()
    announced = json.loads((ahead / "manifest.json").read_text())
    (ahead / "manifest.json").write_text(json.dumps(announced | {"extract_date": "2026-01-05"}))
    assert ended(accept_command.app, settings, ["gp/P81002/20991231", "--why", "x"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "gp/P81002/20991231 is accepted; a run of 2099-12-31 or later loads it, if it finds no other fault" in said


def test_a_delivery_of_a_day_to_come_is_listed_once_when_it_is_withdrawn(settings: Settings, landing: Path) -> None:
    deliver(landing, GP, "P81001", "20260109", PATIENTS)
    name = "gp/P81001/20260109"
    assert states(settings) == [(name, "waiting", "its day is after the run date")]
    assert ended(withdraw_command.app, settings, [name, "--why", "wrong extract"]) == 0
    assert states(settings) == [(name, "withdrawn", "wrong extract")]


def test_what_is_loaded_or_withdrawn_is_not_accepted(
    settings: Settings, landing: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it withdrawn twice, whether it is still in the landing folder or not."""
    folder, name = deliver(landing, GP, "P81001", "20260104", PATIENTS), "gp/P81001/20260104"
    entry = replace(file(0, "full", "a"), provider="P81001", folder="20260104")

    def refusal(command: object) -> str:
        assert ended(command, settings, [name, "--why", "x"]) == 12
        return " ".join(capsys.readouterr().err.split())

    monkeypatch.setattr("pipelines.run_context.read_register", lambda _paths: (entry,))
    assert "cannot be accepted: a delivery was loaded from this folder already" in refusal(accept_command.app)
    monkeypatch.undo()
    assert ended(withdraw_command.app, settings, [name, "--why", "x"]) == 0
    undo = f"nhs-omop withdraw {name} --undo takes that back"
    assert f"cannot be accepted: it is withdrawn; {undo}" in refusal(accept_command.app)
    assert f"is withdrawn already; {undo}" in refusal(withdraw_command.app)
    shutil.rmtree(folder)
    gone = "it is withdrawn and no longer in the landing folder"
    assert f"cannot be accepted: {gone}" in refusal(accept_command.app)
    assert f"cannot be withdrawn: {gone}" in refusal(withdraw_command.app)
    assert read_accepted(settings.storage.restricted) == ()
