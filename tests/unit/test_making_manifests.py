"""A manifest that we write is one that a run accepts, whatever the files hold."""

import gzip
import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import manifest as manifest_command
from jobs.command import start
from pipelines.contracts.delivery_forms import ANY_END
from pipelines.contracts.source import Entity
from pipelines.errors import DeliveryError, OptOutInvalidError
from pipelines.governance.opt_out_lists import OptOutPolicy, read_opt_outs
from pipelines.ingest.checking import verify
from pipelines.ingest.landing import read_delivery
from pipelines.ingest.making_manifests import Records, records_of
from tests.builders.landing import csv_text, deliver_files, opt_out_lists
from tests.unit.test_deliveries import GP

FILE = "x_Admin_Patient_x.csv"
TEXT = csv_text(GP, "patient", [{"patient_guid": "A"}, {"patient_guid": "B"}])
ENTITY = Entity.model_validate({"grain": "g", "files": ["*"], "key": ["a"], "columns": {"a": {}, "b": {}}})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A delivery without a manifest."""
    made = deliver_files(tmp_path, "gp", "P81001", "20260105", {FILE: (TEXT, 2)})
    (made / "manifest.json").unlink()
    return made


def ended(*arguments: str | Path) -> int:
    """The exit code of the command."""
    try:
        start(manifest_command.app, [*map(str, arguments), "--env", "demo"])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def stated(folder: Path) -> dict[str, Any]:
    """The manifest of a folder."""
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


@pytest.mark.parametrize("mode", ["full", "delta"])
def test_a_delivery_with_the_manifest_that_we_write_has_no_fault(folder: Path, mode: str) -> None:
    (folder / ".DS_Store").write_text("x")
    assert ended(folder, "--mode", mode) == 0
    delivery = read_delivery(folder, GP)
    assert (delivery.mode, delivery.extract_date, delivery.rows) == (mode, date(2026, 1, 5), 2)
    assert verify([delivery], {"gp": GP}).set_aside == ()


def test_a_manifest_that_is_there_is_replaced_on_request_only(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(folder, "--mode", "full") == 0
    assert ended(folder, "--mode", "delta") == 12
    assert "--replace writes it again" in capsys.readouterr().err
    assert stated(folder)["mode"] == "full"
    assert ended(folder, "--mode", "delta", "--replace", "--date", "2026-01-04") == 0
    assert (stated(folder)["mode"], stated(folder)["extract_date"]) == ("delta", "2026-01-04")


@pytest.mark.parametrize(
    ("damage", "arguments", "code", "message"),
    [
        (lambda folder: None, (), 2, "full, delta or period"),
        (lambda folder: None, ("--mode", "partial"), 2, "full, delta or period"),
        (lambda folder: (folder / "notes.txt").write_text("x"), ("--mode", "full"), 12, "notes.txt: matches no entity"),
        (lambda folder: (folder / "more").mkdir(), ("--mode", "full"), 12, "more: not a plain file"),
        (lambda folder: (folder / f"y_{FILE}").symlink_to(folder / FILE), ("--mode", "full"), 12, "not a plain file"),
        (lambda folder: (folder / FILE).write_text(""), ("--mode", "full"), 12, f"{FILE}: the file has no header"),
        (lambda folder: (folder / FILE).unlink(), ("--mode", "full"), 12, "there is no file in it"),
        (
            lambda folder: (folder / f"{FILE}.gz").write_bytes(gzip.compress(TEXT.encode())[:40]),
            ("--mode", "full"),
            12,
            f"{FILE}.gz: the gzip file is cut short",
        ),
    ],
)
def test_no_manifest_is_written_of_what_a_run_would_set_aside(
    folder: Path,
    damage: Callable[[Path], object],
    arguments: Sequence[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(folder)
    assert ended(folder, *arguments) == code
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (folder / "manifest.json").exists()


def test_a_folder_that_gives_no_day_or_source_needs_them(folder: Path, tmp_path: Path) -> None:
    renamed = folder.rename(folder.with_name("latest"))
    assert ended(renamed, "--mode", "full") == 2
    assert ended(renamed, "--mode", "full", "--date", "2026-01-05") == 0
    assert ended(tmp_path / "nowhere", "--mode", "full") == 12
    other = tmp_path / "gpp" / "P81001" / "20260105"
    other.mkdir(parents=True)
    assert ended(other, "--mode", "full") == 12


@pytest.mark.parametrize(
    ("text", "records"),
    [
        ("a,b\n", Records(0)),
        ("a,b", Records(0)),
        ("a,b\n1,2\n", Records(1)),
        ("a,b\n1,2", Records(1)),
        ("a,b\r\n1,2\r\n3,4\r\n", Records(2)),
        ("\ufeffa,b\n1,2\n", Records(1)),
        ("a|b\n1|2\n", Records(1)),
        ('a,b\n1,"2\n3"\n4,5\n', Records(2)),
        ('a,b\n1,"2,3"\n', Records(1)),
        ("a,b\n1\n2,3\n", Records(2, 1)),
        ("a,b\n1,2,3\n", Records(1, 1)),
        ("a,b\n\n1,2\n\n", Records(1)),
    ],
)
def test_records_are_counted_as_a_load_counts_them(tmp_path: Path, text: str, records: Records) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode())
    assert records_of(path, ENTITY, ANY_END) == records
    packed = tmp_path / "x.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert records_of(packed, ENTITY, ANY_END) == records


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_counted_or_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        for name in ("x.csv", "x.csv.gz", "x.csv.zip"):
            path = Path(folder) / name
            path.write_bytes(content)
            try:
                found = records_of(path, ENTITY, ANY_END)
            except DeliveryError:
                continue
            assert 0 <= found.malformed <= found.records


def test_the_manifests_that_we_write_of_opt_out_lists_are_accepted(tmp_path: Path) -> None:
    allowed = ["9990000018", "9990000026", "9990000034"]
    opt_out_lists(tmp_path, "20260105", allowed, submitted=[*allowed, "9990000042"])
    policy = OptOutPolicy(21, 0.005, 0.25, 0.5)
    expected = read_opt_outs(tmp_path, policy, date(2026, 1, 5))
    manifests = {}
    for kind in ("national", "local", "objection"):
        folder = tmp_path / "optouts" / kind / "20260105"
        manifests[kind] = stated(folder)
        assert ended(folder) == 12
        assert ended(folder, "--replace") == 0
        by_name = {file["name"]: file for file in manifests[kind]["files"]}
        assert {file["name"]: file for file in stated(folder)["files"]} == by_name
    assert read_opt_outs(tmp_path, policy, date(2026, 1, 5)).facts == expected.facts


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("nhs_number,opted_out_on\n9990000018,2025-01-01\n9990000026,\n", 2),
        ("nhs_number\r\n9990000018\r\n9990000026", 2),
        ("\ufeffNHS Number\n9990000018\n\n\n", 1),
        ("nhs_number\n9990000018\n\x1a", 1),
        ('"nhs_number","opted_out_on"\n"9990000018","2025-01-01"\n', 1),
        ("nhs_number,opted_out_on\n 999 000 0018 ,x\n", 1),
        ("nhs_number\r9990000018\r9990000026\r", 2),
        ("nhs_number\n9990000018\n9990000018\n", 2),
        ("nhs_number,opted_out_on\n9990000018,2025-01-01\n,\n", 2),
        ('nhs_number,opted_out_on\n9990000018,"a ""b"""\n', 1),
    ],
)
def test_entries_of_a_list_are_counted_as_a_run_counts_them(tmp_path: Path, text: str, entries: int) -> None:
    """A list that a run refuses is refused for what is in it, never for the count that we wrote."""
    opt_out_lists(tmp_path, "20260105", ["9990000018"])
    folder = tmp_path / "optouts" / "local" / "20260105"
    (folder / "local.csv").write_bytes(text.encode())
    assert ended(folder, "--replace") == 0
    assert [file["rows"] for file in stated(folder)["files"]] == [entries]
    try:
        assert len(read_opt_outs(tmp_path, OptOutPolicy(21, 0.005, 0.25, 0.5), date(2026, 1, 5)).numbers_opted_out_locally)
    except OptOutInvalidError as error:
        assert "1 of 2 entries are no NHS numbers" in str(error)


@pytest.mark.parametrize(
    ("kind", "name", "content", "message"),
    [
        ("national", "response.dat", None, "files are missing: response.dat"),
        ("national", "extra.dat", "9990000018,\n", "extra.dat: no file of the national list"),
        ("local", "local.csv", 'nhs_number,opted_out_on\n"9990000018,2025-01-01\n', "local.csv: is not CSV from line 2"),
        ("local", "local.csv", b"nhs_number\n\xff\xfe", "local.csv: is not UTF-8 text"),
        ("local", "local.csv", "nhs_number,opted_out_on\n9990000018\n", "local.csv: 1 of 1 entries have not as many fields"),
        ("local", "local.csv", "number\n9990000018\n", "local.csv: columns are missing: nhs_number"),
        ("national", "response.dat", "receipt 2026\n", "response.dat: 1 of 1 lines are no NHS numbers"),
        ("national", "request.dat", "\n", "request.dat: no number in it"),
        ("other", "local.csv", "x", "no kind of opt-out list"),
    ],
)
def test_no_manifest_is_written_of_a_list_that_cannot_be_one(
    tmp_path: Path, kind: str, name: str, content: str | bytes | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    opt_out_lists(tmp_path, "20260105", ["9990000018"])
    folder = tmp_path / "optouts" / kind / "20260105"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").unlink(missing_ok=True)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert ended(folder) == 12
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (folder / "manifest.json").exists()
