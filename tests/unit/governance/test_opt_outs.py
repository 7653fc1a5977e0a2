"""Opt-out lists: any doubt stops the run; every cause has its own exit code and no message shows an entry."""

import hashlib
import json
from datetime import date
from pathlib import Path

import pytest

from pipelines.errors import OmopPipelineError, OptOutEmptyError, OptOutInvalidError, OptOutMissingError, OptOutStaleError
from pipelines.governance.opt_out_lists import OptOutFiles, OptOutPolicy, read_opt_outs
from tests.builders.landing import opt_out_lists

ANNA, BEN, CARL = "9990000018", "9990000026", "9990000034"
DAY = date(2026, 1, 26)
POLICY = OptOutPolicy(max_age_days=21, least_national_share=0.005, most_national_share=0.25)


def read(landing: Path, day: date = DAY, last_used: dict[str, date] | None = None) -> OptOutFiles:
    """Read the lists as a run on a day does."""
    return read_opt_outs(landing, POLICY, day, last_used)


def rewrite(folder: Path, name: str, text: str) -> None:
    """Change a file and its checksum in the manifest."""
    (folder / name).write_text(text)
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        if file["name"] == name:
            file["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_the_newest_lists_up_to_the_run_date_are_read(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, "20260105", [ANNA])
    opt_out_lists(tmp_path, "20260120", [ANNA, BEN], local=["999 000-0034"], objections=[("", "RX1", "M1", "upheld")])
    opt_out_lists(tmp_path, "20260127", [CARL])
    lists = read(tmp_path)
    assert lists.numbers_allowed == (ANNA, BEN)
    assert lists.numbers_opted_out_locally == (CARL,)
    assert lists.objections == (("", "RX1", "M1"),)
    assert [(fact.kind, fact.as_at, fact.entries) for fact in lists.facts] == [
        ("national", date(2026, 1, 20), 2),
        ("local", date(2026, 1, 20), 1),
        ("objection", date(2026, 1, 20), 1),
    ]
    assert ANNA not in repr(lists)


def test_refused_objections_do_not_count(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, "20260120", [ANNA], objections=[(ANNA, "", "", "refused"), (BEN, "", "", "Upheld")])
    assert read(tmp_path).objections == ((BEN, "", ""),)


@pytest.mark.parametrize("kind", ["national", "local", "objection"])
def test_a_missing_list_stops(tmp_path: Path, kind: str) -> None:
    opt_out_lists(tmp_path, "20260120", [ANNA])
    for path in (tmp_path / "optouts" / kind / "20260120").iterdir():
        path.unlink()
    (tmp_path / "optouts" / kind / "20260120").rmdir()
    with pytest.raises(OptOutMissingError, match=f"the {kind} opt-out list is missing"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("national", "response.dat", ""),
        ("national", "response.dat", "\n,\n"),
        ("local", "local.csv", "nhs_number,opted_out_on\n"),
        ("objection", "objections.csv", ""),
    ],
)
def test_an_empty_list_stops(tmp_path: Path, kind: str, name: str, text: str) -> None:
    opt_out_lists(tmp_path, "20260120", [ANNA])
    rewrite(tmp_path / "optouts" / kind / "20260120", name, text)
    with pytest.raises(OptOutEmptyError, match=name):
        read(tmp_path)


@pytest.mark.parametrize(("day", "stale"), [(date(2026, 1, 26), False), (date(2026, 1, 27), True)])
def test_a_list_of_22_days_stops_and_one_of_21_does_not(tmp_path: Path, day: date, stale: bool) -> None:
    opt_out_lists(tmp_path, "20260105", [ANNA])
    if stale:
        with pytest.raises(OptOutStaleError, match="22 days old, at most 21"):
            read(tmp_path, day)
    else:
        assert read(tmp_path, day).numbers_allowed == (ANNA,)


def test_a_list_older_than_the_one_last_used_stops(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, "20260120", [ANNA])
    with pytest.raises(OptOutStaleError, match="older than the local list that the last run used"):
        read(tmp_path, last_used={"local": date(2026, 1, 21)})


@pytest.mark.parametrize(
    ("kind", "name", "text", "fault"),
    [
        ("national", "response.dat", f"{ANNA},\nSUCCESS\n", "1 of 2 lines are no NHS numbers"),
        ("national", "response.dat", f"{ANNA},\n{BEN},\n", "1 numbers were never submitted"),
        ("local", "local.csv", "number\n1\n", "columns are missing: nhs_number"),
        ("local", "local.csv", "nhs_number\n123\n", "1 of 1 entries are no NHS numbers"),
        ("objection", "objections.csv", f"nhs_number,provider,local_id,decision\n{ANNA},,,maybe\n", "1 of 1 entries lack"),
        ("objection", "objections.csv", "nhs_number,provider,local_id,decision\n,RX1,,upheld\n", "1 of 1 entries lack"),
    ],
)
def test_a_list_that_makes_no_sense_stops(tmp_path: Path, kind: str, name: str, text: str, fault: str) -> None:
    opt_out_lists(tmp_path, "20260120", [ANNA])
    rewrite(tmp_path / "optouts" / kind / "20260120", name, text)
    with pytest.raises(OptOutInvalidError, match=fault) as raised:
        read(tmp_path)
    assert ANNA not in str(raised.value)


@pytest.mark.parametrize(("allowed", "fits"), [(190, True), (200, False), (100, False)])
def test_an_implausible_share_of_opt_outs_stops(tmp_path: Path, allowed: int, fits: bool) -> None:
    numbers = [f"{9990000000 + place}" for place in range(200)]
    opt_out_lists(tmp_path, "20260120", numbers[:allowed], numbers)
    if fits:
        assert len(read(tmp_path).numbers_allowed) == allowed
    else:
        with pytest.raises(OptOutInvalidError, match="of 200 submitted numbers are opted out"):
            read(tmp_path)


def test_a_changed_file_stops(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, "20260120", [ANNA])
    (tmp_path / "optouts" / "national" / "20260120" / "response.dat").write_text(f"{BEN},\n")
    with pytest.raises(OptOutInvalidError, match=r"response\.dat: checksum differs"):
        read(tmp_path)


def test_every_cause_has_an_exit_code_of_its_own() -> None:
    codes = [error.exit_code for error in OmopPipelineError.__subclasses__()]
    assert len(set(codes)) == len(codes)
