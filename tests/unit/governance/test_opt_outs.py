"""Opt-out lists: any doubt stops the run; every cause has its own exit code and no message shows an entry."""

import errno
import hashlib
import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import (
    ConfigError,
    DeliveryError,
    OmopPipelineError,
    OptOutEmptyError,
    OptOutInvalidError,
    OptOutMissingError,
    OptOutStaleError,
)
from pipelines.governance.nhs_numbers import nhs_number_in
from pipelines.governance.opt_out_lists import OptOutFiles, UsedList, read_opt_outs
from pipelines.governance.opt_out_manifests import list_manifest
from pipelines.storage import files
from pipelines.storage.files import AnyPath
from pipelines.synthetic.nhs_numbers import break_check_digit, valid_numbers
from tests.builders.landing import opt_out_lists
from tests.builders.runs import POLICY

ANNA, BEN, CARL = "9990000018", "9990000026", "9990000034"
DAY = date(2026, 1, 26)
FOLDER = "20260120"
NUMBERS = [str(number) for number in valid_numbers()[:250]]


def read(
    landing: Path, day: date = DAY, last_used: dict[str, UsedList] | None = None, today: date | None = None
) -> OptOutFiles:
    """Read the lists as a run on a day does."""
    return read_opt_outs(landing, POLICY, day, last_used, today)


def folder_of(landing: Path, kind: str, day: str = FOLDER) -> Path:
    """The folder of a list."""
    return landing / "optouts" / kind / day


def rewrite(folder: Path, name: str, content: str | bytes, rows: int | None = None) -> None:
    """Change a file and its checksum in the manifest; `rows` changes what the manifest announces."""
    raw = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(raw)
    change(folder, name, sha256=hashlib.sha256(raw).hexdigest(), **({} if rows is None else {"rows": rows}))


def change(folder: Path, name: str, **facts: object) -> None:
    """Change what a manifest says of a file."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        if file["name"] == name:
            file |= facts
    (folder / "manifest.json").write_text(json.dumps(manifest))


def state(folder: Path, **facts: object) -> None:
    """Change what a manifest says of its list."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | facts))


def test_the_newest_lists_up_to_the_run_date_are_read(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, "20260105", [ANNA])
    opt_out_lists(tmp_path, "20260120", [ANNA, BEN], local=["999 000-0034"], objections=[("", "RX1", "M1", "upheld")])
    opt_out_lists(tmp_path, "20260127", [CARL])
    lists = read(tmp_path, today=date(2026, 1, 27))
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


def test_a_local_id_may_be_kept_a_text_by_a_spreadsheet_and_one_that_it_rounded_stops(tmp_path: Path) -> None:
    kept = [("", "RXN", '="0012"', "upheld"), (BEN, "RXN", "9.43E+09", "upheld"), ("", "RXN", "9.430000018E+09", "upheld")]
    kept.append(("", "'RXN", "'0013\u00a0", "upheld"))
    opt_out_lists(tmp_path, "20260120", [ANNA], objections=kept)
    by_number = (BEN, "RXN", "9.43E+09")
    by_id = [("", "RXN", text) for text in ("0012", "9.430000018E+09", "0013")]
    assert read(tmp_path).objections == (by_id[0], by_number, *by_id[1:])
    rounded = [("", "RXN", text, "upheld") for text in ("9.43E+09", "1e+11", "'1.23457E+11")]
    opt_out_lists(tmp_path / "rounded", "20260120", [ANNA], objections=[*kept, *rounded])
    with pytest.raises(OptOutInvalidError, match="3 of 7 entries lack a decision"):
        read(tmp_path / "rounded")


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


@pytest.mark.parametrize(
    ("last_used", "step"),
    [(date(2026, 1, 21), "fetch the newest one"), (date(2026, 1, 26), "the run is of a day before it: give a later --date")],
)
def test_a_list_older_than_the_one_last_used_stops(tmp_path: Path, last_used: date, step: str) -> None:
    """Where the newest list is there and the clock of the machine went back, no list is to be fetched."""
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    with pytest.raises(OptOutStaleError, match=f"older than the local list that the last run used; {step}"):
        read(tmp_path, date(2026, 1, 25), last_used={"local": UsedList(last_used)})


def test_a_run_before_the_first_list_says_that_it_is(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, "20260120", [ANNA])
    with pytest.raises(
        OptOutMissingError, match="up to the run date 2026-01-19; there is 20260120: the run is of a day before it"
    ):
        read(tmp_path, date(2026, 1, 19), today=date(2026, 1, 21))


HEADER = "nhs_number,provider,local_id,decision,decided_on\n"


@pytest.mark.parametrize(
    ("kind", "name", "text", "fault"),
    [
        ("national", "response.dat", f"{ANNA},\nSUCCESS\n", "1 of 2 lines are no NHS numbers"),
        ("national", "response.dat", f"{ANNA},\n{BEN},\n", "1 numbers were never submitted"),
        ("national", "response.dat", f"{ANNA},{BEN}\n", "1 of 1 lines are no NHS numbers"),
        ("national", "response.dat", "9990000019\n", "1 of 1 lines are no NHS numbers"),
        ("national", "request.dat", f"{ANNA},\n9999999999,\n", "1 of 2 lines are no NHS numbers"),
        ("local", "local.csv", "number\n1\n", "columns are missing: nhs_number"),
        ("local", "local.csv", "nhs_number\n123\n", "1 of 1 entries are no NHS numbers"),
        ("local", "local.csv", f"nhs_number\n{ANNA}\n9990000019\n", "1 of 2 entries are no NHS numbers"),
        ("local", "local.csv", f"nhs_number,surname\n{ANNA},Example\n", "columns twice or that the list does not have"),
        ("local", "local.csv", f"nhs_number,NHS Number\n{ANNA},{BEN}\n", "columns twice or that the list does not have"),
        ("local", "local.csv", f"{ANNA},2025-01-01\n{BEN},2025-01-01\n", "columns are missing: nhs_number"),
        ("local", "local.csv", f"nhs_number;opted_out_on\n{ANNA};2025-01-01\n", "columns are missing: nhs_number"),
        ("local", "local.csv", f"nhs_number,opted_out_on\n{ANNA}\n", "1 of 1 entries have not as many fields"),
        ("local", "local.csv", f"nhs_number,opted_out_on\n{ANNA},2025-01-01,{BEN}\n", "1 of 1 entries have not as many"),
        ("local", "local.csv", f'nhs_number,opted_out_on\n{ANNA},"2025-01-01\n{BEN},2025-01-01\n', "from line 2; correct its"),
        (
            "local",
            "local.csv",
            f'nhs_number,opted_out_on\n{ANNA},"2025\n{BEN},2025"\n{CARL},2025\n',
            "several lines from line 2",
        ),
        ("local", "local.csv", f'nhs_number,opted_out_on\n"{ANNA},2025\n"{BEN}",2025\n', "from line 2; correct its quotes"),
        ("objection", "objections.csv", f"nhs_number,provider,local_id,decision\n{ANNA},,,maybe\n", "1 of 1 entries lack"),
        ("objection", "objections.csv", "nhs_number,provider,local_id,decision\n,RX1,,upheld\n", "1 of 1 entries lack"),
        ("objection", "objections.csv", HEADER + "9990000019,,,refused,\n", "1 of 1 entries are no NHS numbers"),
        ("objection", "objections.csv", HEADER + '"",RX1,"0012,upheld,\n', "from line 2; correct its quotes"),
    ],
)
def test_a_list_that_makes_no_sense_stops(tmp_path: Path, kind: str, name: str, text: str, fault: str) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA], [ANNA, CARL])
    rewrite(folder_of(tmp_path, kind), name, text, len(text.splitlines()) - (kind != "national"))
    with pytest.raises(OptOutInvalidError, match=fault) as raised:
        read(tmp_path)
    assert not [number for number in (ANNA, BEN, "9990000019", "Example") if number in str(raised.value)]


@pytest.mark.parametrize(
    "content",
    [
        f"nhs_number\n{ANNA}\n".encode("utf-16"),
        f"nhs_number\n{ANNA}\n".encode("utf-16-le"),
        f"nhs_number,opted_out_on\n{ANNA},J\u00e4nner\n".encode("cp1252"),
        b"PK\x03\x04" + bytes(range(256)),
    ],
    ids=["utf-16", "utf-16 without mark", "cp1252", "workbook"],
)
def test_a_list_in_another_encoding_stops(tmp_path: Path, content: bytes) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    rewrite(folder_of(tmp_path, "local"), "local.csv", content)
    with pytest.raises(OptOutInvalidError, match=r"local\.csv"):
        read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        f"NHS Number\r\n{BEN}\r\n{CARL}\r\n",
        f"\ufeffnhs_number\n{BEN}\n{CARL}\n",
        f'"nhs_number"\n"{BEN}"\n"{CARL}"\n',
        f"nhs_number\n\n{BEN}\n\n{CARL}",
        f"nhs_number\r{BEN}\r{CARL}\r",
        f"nhs_number\n'{BEN}\n999\u2009000\u20110034\n",
        f"nhs_number\n{BEN}.0\n\u200b{CARL}\u200d\n",
        f"opted_out_on,NHS_NUMBER\n2025-01-01,{BEN}\n,{CARL}\n\x1a",
        f"nhs_number\r\n{BEN}\r\n{CARL}\r\n\x1a\r\n",
        f"nhs_number\n{BEN}\n{CARL}\x1a\x1a\n\n",
        f'"nhs_number", "opted_out_on"\n"{BEN}", "2025-01-01"\n"{CARL}", ""\n',
    ],
)
def test_a_local_list_as_spreadsheets_write_it_is_read(tmp_path: Path, content: str) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    rewrite(folder_of(tmp_path, "local"), "local.csv", content, 2)
    assert read(tmp_path).numbers_opted_out_locally == (BEN, CARL)


def test_the_other_lists_may_end_with_the_sign_of_old_systems_and_have_blanks_before_quotes(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA], [ANNA, CARL])
    rewrite(folder_of(tmp_path, "national"), "response.dat", f"{ANNA},\r\n\x1a\r\n")
    rewrite(folder_of(tmp_path, "objection"), "objections.csv", HEADER + '"", "RX1", "M1", "upheld", ""\n\x1a\n', 1)
    lists = read(tmp_path)
    assert (lists.numbers_allowed, lists.objections) == ((ANNA,), (("", "RX1", "M1"),))


@pytest.mark.parametrize(
    ("as_at", "day"),
    [
        ("2026-01-19", date(2026, 1, 19)),
        ("20260119", date(2026, 1, 19)),
        ("19/01/2026", None),
        ("1768780800", None),
        (1768780800, None),
        (20260119, None),
        (True, None),
    ],
)
def test_the_day_of_a_list_is_written_as_that_of_a_delivery(tmp_path: Path, as_at: object, day: date | None) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    state(folder_of(tmp_path, "local"), as_at=as_at)
    if day is None:
        with pytest.raises(OptOutInvalidError, match="wrong or missing: as_at"):
            read(tmp_path)
        return
    assert [fact.as_at for fact in read(tmp_path).facts if fact.kind == "local"] == [day]


@pytest.mark.parametrize(
    ("there", "said"), [("LOCAL.CSV", "local.csv"), ("local.csv", "Local.CSV"), ("Local.csv", "LOCAL.CSV")]
)
def test_a_file_of_a_list_has_its_name_in_any_case(tmp_path: Path, there: str, said: str) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA], local=[BEN])
    expected, folder = read(tmp_path).facts, folder_of(tmp_path, "local")
    (folder / "local.csv").rename(folder / there)
    (announced,) = json.loads((folder / "manifest.json").read_text())["files"]
    state(folder, files=[announced | {"name": said}])
    lists = read(tmp_path)
    assert (lists.numbers_opted_out_locally, lists.facts) == ((BEN,), expected)
    made, _ = list_manifest(folder, date(2026, 1, 20))
    (folder / "manifest.json").write_text(made.model_dump_json())
    assert read(tmp_path).facts == expected
    (folder / "LoCaL.csv").write_text(f"nhs_number\n{CARL}\n")
    with pytest.raises((OptOutInvalidError, OptOutMissingError), match=r"local\.csv is missing|could be a list: LoCaL\.csv"):
        read(tmp_path)


@pytest.mark.parametrize("rows", [0, 1, 3, 10, -5, -1, "2", 2.5, None, True])
@pytest.mark.parametrize(
    ("kind", "name"),
    [("local", "local.csv"), ("objection", "objections.csv"), ("national", "response.dat"), ("national", "request.dat")],
)
def test_a_list_has_exactly_the_entries_that_its_manifest_announces(tmp_path: Path, kind: str, name: str, rows: object) -> None:
    objections = [(ANNA, "", "", "upheld"), (BEN, "", "", "refused")]
    opt_out_lists(tmp_path, FOLDER, [ANNA, BEN], local=[ANNA, BEN], objections=objections)
    assert len(read(tmp_path).numbers_opted_out_locally) == 2
    change(folder_of(tmp_path, kind), name, rows=rows)
    with pytest.raises(OptOutInvalidError, match=r"has 2 entries, its manifest says|wrong or missing: files\.[01]\.rows"):
        read(tmp_path)


def test_a_second_announced_file_stops(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    folder = folder_of(tmp_path, "local")
    (folder / "local_2.csv").write_text(f"nhs_number\n{BEN}\n")
    manifest = json.loads((folder / "manifest.json").read_text())
    more = {"name": "local_2.csv", "rows": 1, "sha256": hashlib.sha256((folder / "local_2.csv").read_bytes()).hexdigest()}
    state(folder, files=[*manifest["files"], more])
    with pytest.raises(OptOutInvalidError, match="announces 2 files, and the local list has 1"):
        read(tmp_path)
    state(folder, files=[manifest["files"][0], manifest["files"][0]])
    with pytest.raises(OptOutInvalidError, match="announces 2 files"):
        read(tmp_path)


def test_a_file_that_is_not_announced_stops_and_junk_does_not(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    folder = folder_of(tmp_path, "local")
    for junk in (".DS_Store", "Thumbs.db", "desktop.ini", "~$local.csv", "._local.csv"):
        (folder / junk).write_text("")
        (folder.parent / junk).write_text("")
        (folder.parent.parent / junk).write_text("")
    assert read(tmp_path).numbers_opted_out_locally == (ANNA,)
    (folder / "local_2.csv").write_text(f"nhs_number\n{BEN}\n")
    with pytest.raises(OptOutInvalidError, match=r"1 names are not understood and could be a list: local_2\.csv"):
        read(tmp_path)


def test_a_list_that_is_a_link_stops(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    folder = folder_of(tmp_path, "local")
    (folder / "local.csv").rename(tmp_path / "elsewhere.csv")
    (folder / "local.csv").symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(OptOutInvalidError, match=r"local\.csv is a link"):
        read(tmp_path)


def test_a_manifest_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    manifest = folder_of(tmp_path, "local") / "manifest.json"
    manifest.unlink()
    manifest.symlink_to("local.csv")
    with pytest.raises(OptOutInvalidError, match=r"optouts/local/20260120: manifest\.json is a link to another place"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("kind", "name", "most"),
    [("national", "manifest.json", 16), ("local", "local.csv", 1024), ("national", "response.dat", 1024)],
)
def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, kind: str, name: str, most: int) -> None:
    """Of three terabytes without content: whoever reads it runs out of memory."""
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    with (folder_of(tmp_path, kind) / name).open("r+b") as file:
        file.truncate(3 << 40)
    with pytest.raises(OptOutInvalidError, match=rf"^optouts/{kind}/20260120/{name}: is larger than {most} MiB"):
        read(tmp_path)


def test_no_manifest_is_made_for_a_list_that_is_too_large(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    with (folder_of(tmp_path, "local") / "local.csv").open("r+b") as file:
        file.truncate(3 << 40)
    with pytest.raises(DeliveryError, match=r"local\.csv: is larger than 1024 MiB"):
        list_manifest(folder_of(tmp_path, "local"), DAY)


@pytest.mark.parametrize("name", ["20260121", "2026-01-21", "2026_01_21", "2026.01.21"])
def test_the_newest_list_is_found_whatever_form_its_day_has(tmp_path: Path, name: str) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA], local=[ANNA])
    opt_out_lists(tmp_path / "new", "20260121", [ANNA], local=[BEN])
    folder_of(tmp_path / "new", "local", "20260121").rename(folder_of(tmp_path, "local", name))
    assert read(tmp_path).numbers_opted_out_locally == (BEN,)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "latest",
            "20260121_resub",
            "20261399",
            "2026-1-21",
            "21-01-2026",
            "2026-01.21",
            "202601",
            "2026012",
            ".20260121.part",
        ),
        *("20260230", "20260121 ", "new list", "local.csv", "2026\u06601\u066021"),
    ],
)
@pytest.mark.parametrize("kind", ["national", "local", "objection"])
def test_a_name_that_is_not_understood_stops(tmp_path: Path, kind: str, name: str) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    folder_of(tmp_path, kind, name).mkdir()
    with pytest.raises(OptOutInvalidError, match="not understood, and could be the newest list"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["Local", "locals", "type1", "20260121", "local.csv"])
def test_a_kind_of_list_that_is_not_known_stops(tmp_path: Path, name: str) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    (tmp_path / "optouts" / name).mkdir()
    with pytest.raises(OptOutInvalidError, match=f"landing/optouts: 1 names are not understood and could be a list: {name}"):
        read(tmp_path)


def test_a_later_list_waits_and_one_of_the_future_stops(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA], local=[ANNA])
    opt_out_lists(tmp_path, "20260127", [ANNA], local=[BEN])
    assert read(tmp_path, today=date(2026, 1, 27)).numbers_opted_out_locally == (ANNA,)
    for today in (None, date(2026, 1, 26), date(2025, 12, 31)):
        with pytest.raises(OptOutInvalidError, match="20260127: is of a day in the future"):
            read(tmp_path, today=today)


@pytest.mark.parametrize(
    ("as_at", "earlier", "fault"),
    [
        ("2026-01-20", "2026-01-19", None),
        ("2026-01-19", "2026-01-19", None),
        ("2026-01-18", "2026-01-19", "is older than the list in 20260119, by their as-at dates"),
        ("2026-01-18", "2026-01-25", None),
        ("2026-01-21", "2026-01-19", "as at a day after the day of its folder"),
    ],
)
def test_the_newest_folder_has_the_newest_list(tmp_path: Path, as_at: str, earlier: str, fault: str | None) -> None:
    opt_out_lists(tmp_path, "20260119", [ANNA], local=[BEN])
    opt_out_lists(tmp_path, FOLDER, [ANNA], local=[CARL])
    state(folder_of(tmp_path, "local"), as_at=as_at)
    state(folder_of(tmp_path, "local", "20260119"), as_at=earlier)
    if fault is None:
        assert read(tmp_path).numbers_opted_out_locally == (CARL,)
    else:
        with pytest.raises(OptOutInvalidError, match=fault):
            read(tmp_path)


def test_two_folders_of_one_day_stop(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    folder_of(tmp_path, "local", "2026-01-20").mkdir()
    with pytest.raises(OptOutInvalidError, match="2026-01-20 and 20260120 are of the same day"):
        read(tmp_path)


@pytest.mark.parametrize(("kind", "name"), [("local", "local.csv"), ("objection", "objections.csv")])
def test_a_list_of_nobody_needs_someone_who_says_so(tmp_path: Path, kind: str, name: str) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA], local=[], objections=[])
    lists = read(tmp_path)
    assert (lists.numbers_opted_out_locally, lists.objections) == ((), ())
    for nobody in (None, "", "  "):
        state(folder_of(tmp_path, kind), none_stated_by=nobody)
        with pytest.raises((OptOutEmptyError, OptOutInvalidError), match="none_stated_by"):
            read(tmp_path)
    state(folder_of(tmp_path, kind), none_stated_by="governance lead")
    rewrite(folder_of(tmp_path, kind), name, "")
    with pytest.raises(OptOutEmptyError, match="the file is empty"):
        read(tmp_path)


def test_a_list_with_entries_may_not_be_stated_to_have_none(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA], [ANNA, BEN])
    for kind in ("national", "local", "objection"):
        manifest = (folder_of(tmp_path, kind) / "manifest.json").read_text()
        state(folder_of(tmp_path, kind), none_stated_by="governance lead")
        with pytest.raises(OptOutInvalidError, match="its manifest states that the list leaves out nobody"):
            read(tmp_path)
        (folder_of(tmp_path, kind) / "manifest.json").write_text(manifest)


@pytest.mark.parametrize("asked", [1, 2, 10, 199, 200, 250])
def test_a_response_equal_to_its_request_stops_unless_it_is_stated(tmp_path: Path, asked: int) -> None:
    opt_out_lists(tmp_path, FOLDER, NUMBERS[:asked])
    assert len(read(tmp_path).numbers_allowed) == asked
    state(folder_of(tmp_path, "national"), none_stated_by=None)
    with pytest.raises(OptOutInvalidError, match="as if it were the request itself"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("before", "now", "fits"),
    [
        *((10, 10, True), (10, 12, True), (10, 8, True), (10, 7, False), (10, 1, False), (5, 4, True), (5, 3, False)),
        *((2, 1, True), (3, 1, False), (1, 0, True), (2, 0, False), (20, 16, True), (20, 15, False), (None, 1, True)),
    ],
)
@pytest.mark.parametrize("kind", ["national", "local", "objection"])
def test_a_list_that_lost_too_many_people_stops(tmp_path: Path, kind: str, before: int | None, now: int, fits: bool) -> None:
    people, others = NUMBERS[:now], NUMBERS[100:250]
    nationally = people if kind == "national" else NUMBERS[:1]
    locally = people if kind == "local" else [ANNA]
    objections = [(number, "", "", "upheld") for number in (people if kind == "objection" else [ANNA])]
    asked = [*others[: max(1, 5 * len(nationally))], *nationally]
    opt_out_lists(tmp_path, FOLDER, [number for number in asked if number not in nationally], asked, locally, objections)
    last_used = {kind: UsedList(date(2026, 1, 19), before)}
    if fits:
        assert {facts.kind: facts.left_out for facts in read(tmp_path, last_used=last_used).facts}[kind] == now
    else:
        with pytest.raises(OptOutInvalidError, match=f"leaves out {now} people, {before} before; at most 20% may leave"):
            read(tmp_path, last_used=last_used)


@pytest.mark.parametrize(("allowed", "fits"), [(190, True), (199, True), (100, False)])
def test_an_implausible_share_of_opt_outs_stops(tmp_path: Path, allowed: int, fits: bool) -> None:
    opt_out_lists(tmp_path, FOLDER, NUMBERS[:allowed], NUMBERS[:200])
    if fits:
        assert len(read(tmp_path).numbers_allowed) == allowed
    else:
        with pytest.raises(OptOutInvalidError, match="of 200 submitted numbers are opted out"):
            read(tmp_path)


@pytest.mark.parametrize("folder", ["", "local", f"local/{FOLDER}"])
def test_a_folder_that_may_not_be_read_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    refused, entries = tmp_path / "optouts" / folder, files.entries_in

    def entries_but_of_one(place: AnyPath) -> list[files.Entry]:
        if place == refused:
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return entries(place)

    monkeypatch.setattr(files, "entries_in", entries_but_of_one)  # root may read whatever its mode
    with pytest.raises(OptOutInvalidError, match=f"^{refused}: cannot be read: Permission denied; check who may read it$"):
        read(tmp_path)


def test_a_changed_file_stops(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    (folder_of(tmp_path, "national") / "response.dat").write_text(f"{BEN},\n")
    with pytest.raises(OptOutInvalidError, match=r"response\.dat: checksum differs"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["response.dat", "request.dat"])
def test_every_file_of_a_list_decides_its_digest(tmp_path: Path, name: str) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA], [ANNA, BEN])
    before = read(tmp_path).facts[0].sha256
    more = {"response.dat": f"{ANNA}\n", "request.dat": f"{ANNA}\n{BEN}\n"}
    rewrite(folder_of(tmp_path, "national"), name, more[name])
    assert read(tmp_path).facts[0].sha256 != before


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["manifest.json", "Manifest.json", "MANIFEST.JSON"])
def test_a_manifest_as_windows_writes_it_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, encoding: str
) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    path = folder_of(tmp_path, "local") / "manifest.json"
    manifest = json.loads(path.read_text()) | {"made_by": "an export", ANNA: "x"}
    manifest["files"][0]["sha256"] = manifest["files"][0]["sha256"].upper()
    path.rename(path.with_name("written"))
    path.with_name("written").rename(path.with_name(name))
    path.with_name(name).write_text(json.dumps(manifest, indent=2).replace("\n", "\r\n"), encoding=encoding)
    before = read(tmp_path).facts[1]
    assert (before.entries, before.left_out) == (1, 1)
    assert "keys that mean nothing here: an unusual key, made_by" in caplog.text
    assert ANNA not in caplog.text


def test_two_manifests_of_one_list_stop(tmp_path: Path) -> None:
    opt_out_lists(tmp_path, FOLDER, [ANNA])
    path = folder_of(tmp_path, "local") / "manifest.json"
    path.with_name("MANIFEST.JSON").write_bytes(path.read_bytes())
    with pytest.raises(OptOutInvalidError, match=r"1 names are not understood and could be a list: MANIFEST\.JSON"):
        read(tmp_path)


@given(st.sampled_from(NUMBERS), st.lists(st.sampled_from(" \u00a0\u2009\u202f\u200b\u2060-\u2011'"), min_size=11, max_size=11))
def test_a_number_is_read_in_any_spelling(number: str, filling: list[str]) -> None:
    written = "".join(fill + digit for fill, digit in zip(filling, f"{number} ", strict=True))
    assert nhs_number_in(written) == number


@given(st.sampled_from(NUMBERS), st.integers(0, 9), st.integers(1, 9))
def test_a_number_with_one_wrong_digit_is_none(number: str, place: int, shift: int) -> None:
    digit = str((int(number[place]) + shift) % 10)
    assert nhs_number_in(number[:place] + digit + number[place + 1 :]) is None


def test_the_numbers_read_are_those_that_generated_extracts_draw() -> None:
    numbers = valid_numbers()[::997].astype("U10")
    assert [nhs_number_in(number) for number in numbers] == list(numbers)
    assert {nhs_number_in(number) for number in break_check_digit(numbers)} == {None}
    assert {nhs_number_in(text) for text in ("0000000000", "9999999999", "1000000001", "12345", "", "99900000181")} == {None}
    assert nhs_number_in("987654321") is None
    assert nhs_number_in("12345674") is None


def test_every_cause_has_an_exit_code_of_its_own() -> None:
    codes = [error.exit_code for error in OmopPipelineError.__subclasses__()]
    assert len(set(codes)) == len(codes)


def test_a_landing_folder_that_is_not_there_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^storage\.landing: there is no folder {tmp_path}/none;"):
        read_opt_outs(tmp_path / "none", POLICY, DAY)
