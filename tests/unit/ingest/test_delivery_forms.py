"""Deliveries without our manifest: with the control files of their senders, or with none, as their contract says."""

import codecs
import gzip
import hashlib
import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.contracts.delivery_forms import ANY_END, ControlFile, DeliveryForm, Ending, Trailer, Whole
from pipelines.contracts.source import SourceContract
from pipelines.contracts.yaml_files import parse_yaml
from pipelines.errors import DeliveryError
from pipelines.ingest.checking import verify
from pipelines.ingest.checksums import Checksums
from pipelines.ingest.control_files import Listed, listed_by
from pipelines.ingest.folders import landed_in
from pipelines.ingest.landing import MANIFEST, Delivery, read_delivery
from pipelines.ingest.making_manifests import delivery_manifest, write_manifest
from pipelines.ingest.parse import layout_of, parse_file, read_head
from pipelines.storage.files import AnyPath, entry_at
from tests.conftest import PROJECT
from tests.unit.ingest.test_landing import CONTRACT

DAY = "20260105"
TEXT = "guid,nhs_number\n1,9990000018\n2,9990000026\n"
MORE = "guid,nhs_number\n3,9990000034\n"
MD5 = hashlib.md5(TEXT.encode(), usedforsecurity=False).hexdigest()
SHA256 = hashlib.sha256(TEXT.encode()).hexdigest()
COUNTS = {"files": ["*.ctl"], "columns": {"name": "FileName", "records": "Record Count"}}
SUMS = {"files": ["*.sha256"], "delimiter": "blanks", "header": False, "columns": {"sha256": 1, "name": 2}}


def contract(*forms: dict[str, Any]) -> SourceContract:
    """The contract of the tests with some forms of deliveries."""
    return SourceContract.model_validate(CONTRACT.model_dump(mode="json") | {"deliveries": forms})


def by_control(**change: Any) -> SourceContract:
    """A contract whose providers send a control file."""
    return contract({"mode": "full", "control": COUNTS | change})


def put(landing: Path, **files: str | bytes) -> Path:
    """A folder of a delivery; `a_csv` is a file `a.csv`."""
    folder = landing / "gp" / "A" / DAY
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        raw = content.encode() if isinstance(content, str) else content
        (folder / name.replace("_", ".")).write_bytes(raw)
    return folder


def faults(folder: Path, spec: SourceContract) -> str:
    """What is wrong with a delivery before its records are read; empty if nothing is."""
    try:
        delivery = read_delivery(folder, spec)
    except DeliveryError as error:
        return str(error)
    return "; ".join(fault for entry in verify([delivery], {"gp": spec}).set_aside for fault in entry.faults)


def listed(content: bytes, **change: Any) -> list[tuple[Any, ...]]:
    """Name, records and checksums that a control file `patients.csv.ctl` says."""
    found = listed_by(["patients.csv.ctl"], [content], ControlFile.model_validate(COUNTS | change))
    return [(file.name, file.rows, *((stated.kind.value, stated.digest) for stated in file.checksums)) for file in found]


@pytest.mark.parametrize(
    ("content", "change", "expected"),
    [
        ("FileName,Record Count\na.csv,2\nb.csv,0\n", {}, [("a.csv", 2), ("b.csv", 0)]),
        ("record_count,other,FILENAME\r\n2,x,a.csv\r\n", {}, [("a.csv", 2)]),
        ('"FileName","Record Count"\n"a, b.csv","002"\n', {}, [("a, b.csv", 2)]),
        ("FileName , Record Count\n a.csv , 2 \n\n\n\x1a", {}, [("a.csv", 2)]),
        ("FileName|Record Count\na.csv|3", {"delimiter": "|", "besides": 1}, [("a.csv", 2)]),
        ('FileName,Record Count\na.csv,"1,234,567"\nb.csv,"1,000"\n', {}, [("a.csv", 1234567), ("b.csv", 1000)]),
        ('FileName, "Record Count"\n"a.csv", "12"\n "b.csv" , "1,012" \n', {}, [("a.csv", 12), ("b.csv", 1012)]),
        ('"FileName" | "Record Count"\n"a.csv" | 12\n', {"delimiter": "|"}, [("a.csv", 12)]),
        ("a.csv\t2\t2026-01-05\n", {"delimiter": "\t", "header": False, "columns": {"name": 1, "records": 2}}, [("a.csv", 2)]),
        (f"{SHA256}  a b.csv\n", SUMS, [("a b.csv", None, ("sha256", SHA256))]),
        (f"{SHA256.upper()} *./a.csv\n", SUMS, [("a.csv", None, ("sha256", SHA256))]),
        (f"{MD5}\n", {"header": False, "columns": {"md5": 1}}, [("patients.csv", None, ("md5", MD5))]),
        ("Rows\n17\n", {"columns": {"records": "rows"}}, [("patients.csv", 17)]),
        (f"file;n;m\na.csv;2;{MD5}\n", {"delimiter": ";", "columns": {"name": "file", "records": "n", "md5": "m"}},
         [("a.csv", 2, ("md5", MD5))]),
        ("FileName\na.csv\n", {"columns": {"name": "FileName"}}, [("a.csv", None)]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_control_files_are_read_in_the_form_that_the_contract_says(
    content: str, change: dict[str, Any], expected: list[tuple[Any, ...]], form: str
) -> None:
    assert listed(content.encode(form), **change) == expected


@pytest.mark.parametrize(
    ("said", "there"),
    [("A.Patient.CSV", "a.patient.csv"), ("a.patient.csv", "A.PATIENT.csv"), ("Zoe\u0308.patient.csv", "zo\u00eb.patient.csv")],
)
def test_control_file_and_manifest_may_write_a_name_otherwise_than_the_folder(tmp_path: Path, said: str, there: str) -> None:
    folder = put(tmp_path, x_ctl=f"FileName,Record Count\n{said},2\n")
    (folder / there).write_text(TEXT)
    assert faults(folder, by_control()) == ""
    assert [file.path.name for file in read_delivery(folder, by_control()).files] == [there]
    listed_file = {"name": said.swapcase(), "rows": 2, "sha256": SHA256}
    manifest = {"source": "gp", "provider": "A", "extract_date": "2026-01-05", "mode": "full", "files": [listed_file]}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert faults(folder, by_control()) == ""
    assert [file.path.name for file in read_delivery(folder, by_control()).files] == [there]


def test_of_two_names_that_differ_in_case_the_one_that_is_said_counts(tmp_path: Path) -> None:
    folder = put(tmp_path, x_ctl="FileName,Record Count\nb.patient.csv,2\n")
    for name in ("B.patient.csv", "B.PATIENT.csv"):
        (folder / name).write_text(TEXT)
    assert faults(folder, by_control()) == "there is no file in it"
    (folder / "b.patient.csv").write_text(TEXT)
    assert faults(folder, by_control()) == "2 files are not in the control file: B.PATIENT.csv, B.patient.csv"


def test_a_name_in_another_encoding_stays_a_name() -> None:
    assert listed("FileName,Record Count\nZoë.csv,2\n".encode("cp1252")) == [("Zoë.csv", 2)]
    assert listed(codecs.BOM_UTF16_BE + "FileName,Record Count\nZoë.csv,2\n".encode("utf-16-be")) == [("Zoë.csv", 2)]


@pytest.mark.parametrize(
    ("content", "change", "fault"),
    [
        (b"", {}, "the control file has no header"),
        (b"FileName,Record Count\n", {}, "the control file lists no file"),
        (b"", {"header": False, "columns": {"name": 1, "records": 2}}, "the control file lists no file"),
        (b"File,Record Count\na.csv,2\n", {}, "columns are missing or there twice: FileName"),
        (b"FileName,Record Count,filename\na.csv,2,b\n", {}, "columns are missing or there twice: FileName"),
        (b"FileName,Record Count\na.csv\n", {}, "line 2 has no number of records"),
        (
            b"FileName,Record Count\na.csv,two\nb.csv,-1\n",
            {},
            "line 2 has no number of records, line 3 has no number of records",
        ),
        (b"FileName,Record Count\na.csv,1.0\n", {}, "line 2 has no number of records"),
        (b'FileName,Record Count\na.csv,"1,00"\nb.csv,"12,34,567"\n', {}, "line 2 has no number of records, line 3 has no"),
        (b"FileName,Record Count\na.csv,0\n", {"besides": 1}, "line 2 has no number of records"),
        (b"FileName,Record Count\n,2\n", {}, "line 2 has no name of a file"),
        (b'FileName,Record Count\n"a.csv,2\n', {}, "line 2 is not CSV"),
        (b"abc a.csv\n", SUMS, "line 1 has no checksum sha256"),
        (MD5.encode() + b" a.csv\n", SUMS, "line 1 has no checksum sha256"),
        (b"1\n2\n", {"header": False, "columns": {"records": 1}}, "has 2 lines where it can be about one file only"),
        (b"PK\x03\x04\x00\x00", {}, "columns are missing or there twice: FileName, Record Count"),
        (b"\xff\xfeF", {}, "the content is UTF-16 and damaged"),
        (b"\x00\xff\xfe\x81", {}, "FileName"),
    ],
)
def test_a_control_file_that_is_none_is_named_with_its_lines(content: bytes, change: dict[str, Any], fault: str) -> None:
    with pytest.raises(DeliveryError) as raised:
        listed(content, **change)
    assert str(raised.value).startswith("patients.csv.ctl: ")
    assert fault in str(raised.value)


@given(st.binary(max_size=80), st.sampled_from([{}, SUMS, {"header": False, "columns": {"records": 1}}]))
def test_any_bytes_are_a_control_file_or_refused(content: bytes, change: dict[str, Any]) -> None:
    try:
        found = listed_by(["x.ctl"], [content], ControlFile.model_validate(COUNTS | change))
    except DeliveryError as error:
        assert str(error).startswith("x.ctl: ")
    else:
        assert all(isinstance(file, Listed) and file.name for file in found)


CONTROL = f"FileName,Record Count,Hash\na.patient.csv,2,{MD5}\n"
WITH_MD5 = {"columns": {"name": "FileName", "records": "Record Count", "md5": "Hash"}}


def test_a_delivery_with_a_control_file_has_the_mode_of_its_contract_and_the_day_of_its_folder(tmp_path: Path) -> None:
    folder = put(tmp_path, a_patient_csv=TEXT, x_ctl=CONTROL)
    (folder / ".DS_Store").write_text("x")
    (folder / "._x.ctl").write_text("x")
    delivery = read_delivery(folder, by_control(**WITH_MD5))
    assert (delivery.mode, f"{delivery.extract_date:%Y%m%d}", delivery.rows) == ("full", DAY, 2)
    (file,) = delivery.files
    assert (file.path.name, file.entity, file.rows, file.sha256) == ("a.patient.csv", "patient", 2, SHA256)
    assert faults(folder, by_control(**WITH_MD5)) == ""


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"a_patient_csv": TEXT}, "no control file and no manifest.json"),
        ({"x_ctl": CONTROL}, "there is no file in it"),
        (
            {"a_patient_csv": TEXT, "x_ctl": CONTROL + f"b.patient.csv,1,{MD5}\n"},
            "1 announced files are missing: b.pat",
        ),
        (
            {"a_patient_csv": TEXT, "b_patient_csv": MORE, "x_ctl": CONTROL},
            "1 files are not in the control file: b.patient.csv",
        ),
        ({"a_patient_csv": TEXT, "notes_txt": "x", "x_ctl": CONTROL}, "1 files are not in the control file: notes.txt"),
        ({"a_patient_csv": MORE, "x_ctl": CONTROL}, "a.patient.csv: checksum differs from the control file"),
        ({"a_patient_csv": TEXT, "x_ctl": CONTROL.replace(",2,", ",two,")}, "x.ctl: line 2 has no number of records"),
        ({"a_patient_csv": TEXT, "x_ctl": CONTROL * 2}, "x.ctl: line 3 has no number of records"),
        ({"a_patient_csv": TEXT, "x_ctl": CONTROL, "y_ctl": CONTROL}, "the control file: 1 files are announced more than once"),
        ({"a_patient_csv": TEXT, "x_ctl": CONTROL.replace("a.p", "../a.p")}, "the control file: 1 names are paths"),
        ({"a_patient_csv": TEXT, "x_ctl": CONTROL.replace("a.p", "C:\\a.p")}, "the control file: 1 names are paths"),
        (
            {"a_csv": TEXT, "x_ctl": CONTROL.replace("a.patient", "a")},
            "1 files match no entity of mappings/gp/contract.yaml, nor its passed_over: a.csv",
        ),
        (
            {"a_patient_csv": "x\n1\n", "x_ctl": CONTROL.replace(f",{MD5}", "," + hashlib.md5(b"x\n1\n").hexdigest())},
            "a.patient.csv: required columns are missing",
        ),
    ],
)
def test_what_differs_from_the_control_file_is_named(tmp_path: Path, files: dict[str, str], fault: str) -> None:
    assert fault in faults(put(tmp_path, **files), by_control(**WITH_MD5))


def test_a_control_file_per_file_may_be_called_like_it(tmp_path: Path) -> None:
    spec = by_control(files=["*.md5"], header=False, columns={"md5": 1})
    folder = put(tmp_path, a_patient_csv=TEXT, a_patient_csv_md5=MD5, b_patient_csv=MORE)
    assert faults(folder, spec) == "1 files are not in the control file: b.patient.csv"
    put(tmp_path, b_patient_csv_md5=hashlib.md5(MORE.encode(), usedforsecurity=False).hexdigest())
    assert faults(folder, spec) == ""
    assert read_delivery(folder, spec).rows is None


def test_a_control_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    folder = put(tmp_path, a_patient_csv=TEXT)
    (tmp_path / "elsewhere").write_text(CONTROL)
    (folder / "x.ctl").symlink_to(tmp_path / "elsewhere")
    assert "x.ctl: no plain file" in faults(folder, by_control(**WITH_MD5))


def manifest(folder: Path, spec: SourceContract) -> AnyPath:
    """The manifest that we write for a folder."""
    return write_manifest(
        folder, delivery_manifest(folder, spec, "delta", read_delivery(folder, spec).extract_date)[0], replace=True
    )


def test_a_manifest_counts_where_there_is_one_and_the_control_file_may_not_say_otherwise(tmp_path: Path) -> None:
    spec = by_control(**WITH_MD5)
    folder = put(tmp_path, a_patient_csv=TEXT, x_ctl=CONTROL)
    before = read_delivery(folder, spec)
    path = manifest(folder, spec)
    delivery = read_delivery(folder, spec)
    assert (delivery.mode, delivery.said_by, delivery.rows) == ("delta", "the manifest", 2)
    assert delivery.delivery_id != before.delivery_id
    assert faults(folder, spec) == ""
    for change, fault in (
        (CONTROL.replace(",2,", ",3,"), "a.patient.csv: the manifest says 2 records, the control file 3"),
        (CONTROL.replace(MD5, "0" * 32), "a.patient.csv: checksum differs from the control file"),
        (
            CONTROL.replace("a.p", "c.p"),
            "1 files are not in the control file: a.patient.csv; 1 files are not in the manifest: c.pat",
        ),
        ("FileName\n", "x.ctl: columns are missing or there twice: Record Count, Hash"),
    ):
        put(tmp_path, x_ctl=change)
        assert fault in faults(folder, spec)
    (folder / "x.ctl").unlink()
    assert faults(folder, spec) == ""
    path.rename(folder / "Manifest.json")
    assert manifest(folder, spec) == folder / "Manifest.json"
    assert sorted(there.name for there in folder.iterdir()) == ["Manifest.json", "a.patient.csv"]
    path.write_text("{")
    assert faults(folder, spec) == "manifest.json: not a manifest: it is no JSON"


def test_without_either_the_files_are_those_in_the_folder(tmp_path: Path) -> None:
    spec = contract({"mode": "delta", "complete": ["line_end"]})
    folder = put(tmp_path, a_patient_csv=TEXT, b_patient_csv=MORE)
    (folder / "Thumbs.db").write_text("x")
    delivery = read_delivery(folder, spec)
    assert [(file.path.name, file.rows, file.ending.complete) for file in delivery.files] == [
        ("a.patient.csv", None, frozenset({Whole.LINE_END})),
        ("b.patient.csv", None, frozenset({Whole.LINE_END})),
    ]
    assert (delivery.mode, delivery.rows, faults(folder, spec)) == ("delta", None, "")
    (folder / "notes.txt").write_text("x")
    assert faults(folder, spec) == "1 files match no entity of mappings/gp/contract.yaml, nor its passed_over: notes.txt"
    (folder / "notes.txt").unlink()
    (folder / "more").mkdir()
    assert faults(folder, spec) == "1 folders inside the delivery: more"
    (folder / "more").rmdir()
    (folder / "c.patient.csv").symlink_to(folder / "a.patient.csv")
    assert faults(folder, spec) == "1 symbolic links, where only files are read: c.patient.csv"
    for path in folder.iterdir():
        path.unlink()
    assert faults(folder, spec) == "there is no file in it"


@pytest.mark.parametrize("name", [
    "a.patient.csv.filepart", "a.patient.csv.part", "a.patient.csv.PARTIAL", "a.patient.csv.crdownload", "a.patient.csv.tmp",
    "a.patient.csv.download", "a.patient.csv.gz.incomplete", "a.patient.tmp", ".a.patient.csv.x8Kz2q", ".a.patient.csv",
])  # fmt: skip
def test_a_folder_with_an_unfinished_transfer_waits_for_its_end(tmp_path: Path, name: str) -> None:
    spec = contract({"mode": "full", "complete": ["line_end", "all_fields"]})
    folder = put(tmp_path, a_patient_csv=TEXT)
    (folder / name).write_text(TEXT)
    landed = landed_in(folder, spec, date(2026, 1, 5))
    assert [(entry.faults, entry.next_step) for entry in landed.set_aside] == [
        (
            (f"a transfer is under way: {name}",),
            "wait for its end, then run again; if none is under way, remove what it left behind",
        )
    ]
    with pytest.raises(DeliveryError, match="called as a file that is still coming"):
        delivery_manifest(folder, spec, "full", date(2026, 1, 5))
    (folder / name).unlink()
    assert [delivery.name for delivery in landed_in(folder, spec, date(2026, 1, 5)).deliveries] == [f"gp/A/{DAY}"]


def test_what_lies_beside_a_delivered_file_is_named_and_not_loaded(tmp_path: Path) -> None:
    spec = contract({"mode": "full", "complete": ["line_end", "all_fields"]})
    folder = put(tmp_path, a_patient_csv=TEXT)
    beside = [f"a.patient.csv{end}" for end in (".BAK", ".bak", ".md5", ".old", ".orig", ".sha1", ".sha256", ".sha512", "~")]
    for name in beside:
        (folder / name).write_text(MORE)
    delivery = read_delivery(folder, spec)
    found = verify([delivery], {"gp": spec})
    assert [file.path.name for file in delivery.files] == ["a.patient.csv"]
    assert ([*found.set_aside], sorted(found.ignored)) == ([], [f"gp/A/{DAY}/{name}" for name in beside])
    with pytest.raises(DeliveryError, match=r"a\.patient\.csv~: called as .* one that lies beside a delivered file"):
        delivery_manifest(folder, spec, "full", date(2026, 1, 5))
    for name in ("notes.tmp", "notes.md5", ".notes", "notes~"):
        (folder / name).write_text("x")
    assert faults(folder, spec).startswith("4 files match no entity of mappings/gp/contract.yaml"), "like no file of an entity"


def test_files_that_the_contract_passes_over_are_named_and_not_loaded(tmp_path: Path) -> None:
    spec = contract({"mode": "delta", "complete": ["line_end"]}).model_copy(update={"passed_over": ("*notes*", "*patient*")})
    folder = put(tmp_path, a_patient_csv=TEXT)
    (folder / "My NOTES.txt").write_text("x")
    assert [file.path.name for file in read_delivery(folder, spec).files] == ["a.patient.csv"]
    assert faults(folder, spec) == ""
    assert verify([read_delivery(folder, spec)], {"gp": spec}).ignored == ("gp/A/20260105/My NOTES.txt",)


def test_only_providers_that_the_contract_names_may_leave_the_manifest_out(tmp_path: Path) -> None:
    folder = put(tmp_path, a_patient_csv=TEXT)
    assert faults(folder, contract({"providers": ["B"], "mode": "full", "complete": ["line_end"]})) == "no manifest.json"
    spec = contract(
        {"mode": "full", "complete": ["line_end"]}, {"providers": ["A"], "mode": "delta", "complete": ["all_fields"]}
    )
    assert read_delivery(folder, spec).mode == "delta"
    assert read_delivery(folder.parent.rename(folder.parent.with_name("B")) / DAY, spec).mode == "full"


def test_a_delivery_without_what_it_always_has_may_still_be_on_its_way(tmp_path: Path) -> None:
    two = CONTRACT.model_dump(mode="json")
    two["entities"]["visit"] = two["entities"]["patient"] | {"files": ["*visit*"]}
    two["deliveries"] = [{"mode": "full", "complete": ["line_end"], "needs": ["patient", "visit"]}]
    spec = SourceContract.model_validate(two)
    folder = put(tmp_path, a_patient_csv=TEXT)
    assert faults(folder, spec).startswith("no file of visit, which every delivery needs by mappings/gp/contract.yaml")
    put(tmp_path, a_visit_csv=TEXT)
    assert faults(folder, spec) == ""


@pytest.mark.parametrize("said_by", ["folder", "control file"])
def test_a_name_that_is_no_unicode_is_refused(tmp_path: Path, said_by: str) -> None:
    folder = put(tmp_path, b_patient_csv=MORE)
    (folder / os.fsdecode(b"\x81.patient.csv")).write_text(TEXT)
    spec = contract({"mode": "full", "complete": ["line_end"]})
    if said_by == "control file":
        spec = by_control(columns={"records": 2, "name": 1}, header=False)
        (folder / "x.ctl").write_bytes(b"b.patient.csv,1\n\x81.patient.csv,2\n")
    assert "1 names are in an unknown encoding: ?.patient.csv" in faults(folder, spec)


def ids(folder: Path, spec: SourceContract) -> str:
    """The id of a delivery."""
    return read_delivery(folder, spec).delivery_id


@pytest.mark.parametrize(
    "form",
    [
        {"mode": "full", "complete": ["line_end"]},
        {"mode": "full", "control": COUNTS},
        {"mode": "full", "control": SUMS},
    ],
)
def test_a_delivery_keeps_its_id_until_its_content_changes(tmp_path: Path, form: dict[str, Any]) -> None:
    spec = contract(form)
    control = {"x_ctl": "FileName,Record Count\na.patient.csv,2\n", "x_sha256": f"{SHA256}  a.patient.csv\n"}
    wanted = {name: text for name, text in control.items() if form.get("control", {}).get("files") == [f"*.{name[2:]}"]}
    folder = put(tmp_path, a_patient_csv=TEXT, **wanted)
    first = ids(folder, spec)
    assert ids(folder, spec) == first
    assert ids(folder, contract(form | {"mode": "delta", "needs": ["patient"]})) == first
    changed = TEXT.replace("9990000018", "9990000042")
    put(tmp_path, a_patient_csv=changed)
    if "x_sha256" in wanted:
        assert "checksum differs" in faults(folder, spec)
        put(tmp_path, x_sha256=wanted["x_sha256"].replace(SHA256, hashlib.sha256(changed.encode()).hexdigest()))
    assert ids(folder, spec) != first


def test_checksums_are_taken_again_only_of_files_that_were_touched(tmp_path: Path) -> None:
    path = put(tmp_path, a_patient_csv=TEXT) / "a.patient.csv"
    (tmp_path / "restricted").mkdir()
    taken = Checksums()
    assert taken.of(entry_at(path)) == SHA256
    taken.store(tmp_path / "restricted")
    kept = tmp_path / "restricted" / "checksums.json"
    assert kept.stat().st_mode & 0o077 == 0
    kept.write_text(kept.read_text().replace(SHA256, "known"))
    assert Checksums.read(tmp_path / "restricted").of(entry_at(path)) == "known"
    path.write_text(MORE)
    again = Checksums.read(tmp_path / "restricted")
    assert again.of(entry_at(path)) == hashlib.sha256(MORE.encode()).hexdigest()
    path.unlink()
    gone = Checksums.read(tmp_path / "restricted")
    assert gone.of(entry_at(path)) == ""
    gone.store(tmp_path / "restricted")
    assert json.loads(kept.read_text())["entries"] == []


def records(tmp_path: Path, content: bytes, ending: Ending, name: str = "patient.csv") -> int:
    """The records of a file that has to end in some way. Raises DeliveryError where it does not."""
    path = tmp_path / name
    path.write_bytes(content)
    layout, _ = layout_of(read_head(path), CONTRACT.entities["patient"], ending=ending)
    assert layout
    return sum(batch.num_rows for batch in parse_file(path, "", "", (), layout))


def ends(*signs: Whole, trailer: Trailer | None = None) -> Ending:
    """How a file has to end."""
    return Ending(trailer, frozenset(signs))


H = "guid,nhs_number\n"
TRAILER = Trailer(begins="TRL", records=2)


@pytest.mark.parametrize(
    ("text", "ending", "expected"),
    [
        (TEXT, ends(Whole.LINE_END, Whole.ALL_FIELDS), 2),
        (TEXT.replace("\n", "\r\n"), ends(Whole.LINE_END), 2),
        (TEXT.replace("\n", "\r"), ends(Whole.LINE_END), 2),
        (TEXT + "\n\n\x1a", ends(Whole.LINE_END), 2),
        (H, ends(Whole.LINE_END, Whole.ALL_FIELDS), 0),
        (H + '1,"9990000018\n"\n', ends(Whole.LINE_END, Whole.ALL_FIELDS), 1),
        (TEXT[:-1], ANY_END, 2),
        (TEXT[:-1], ends(Whole.ALL_FIELDS), 2),
        (TEXT[:-1], ends(Whole.LINE_END), "the last line has no line end"),
        (TEXT[:-5], ends(Whole.LINE_END), "the last line has no line end"),
        (H.strip(), ends(Whole.LINE_END), "the last line has no line end"),
        (TEXT + "3\n", ends(Whole.LINE_END), 3),
        (TEXT + "3\n", ends(Whole.ALL_FIELDS), "1 of 3 records are malformed"),
        (TEXT + "3", ends(Whole.ALL_FIELDS), "1 of 3 records are malformed"),
        (H + '1,"9990000018\n', ends(Whole.LINE_END, Whole.ALL_FIELDS), "1 of 1 records are malformed"),
        (TEXT + "1,2,3\n", ends(Whole.ALL_FIELDS), "1 of 3 records are malformed"),
        (TEXT + "TRL,2\n", ends(trailer=TRAILER), 2),
        (TEXT + "trl,002", ends(trailer=TRAILER), 2),
        (TEXT + '"TRL","2",20260105\r\n\r\n\n', ends(trailer=TRAILER), 2),
        (TEXT + "TRL,2\n", ends(Whole.LINE_END, Whole.ALL_FIELDS, trailer=TRAILER), 2),
        (TEXT + '"TRL", "2"\n', ends(trailer=TRAILER), 2),
        (TEXT + 'TRL,"1,002"\n', ends(trailer=TRAILER), "2 records, its trailer says 1002"),
        (TEXT.replace(",", "|") + "TRL|1,002\n", ends(trailer=TRAILER), "2 records, its trailer says 1002"),
        (TEXT.replace(",", "|") + "TRL|0,002\n", ends(trailer=TRAILER), 2),
        (TEXT.replace(",", "|") + "TRL|1,02\n", ends(trailer=TRAILER), "its trailer has no number of records"),
        (TEXT + '3,"' + "x" * 200_000, ends(trailer=TRAILER), "the last line is no trailer"),
        (TEXT + "TRL,-2\n", ends(trailer=TRAILER), "its trailer has no number of records"),
        (H + "TRL,0\n", ends(trailer=TRAILER), 0),
        (TEXT + "TRL,4\n", ends(trailer=Trailer(begins="TRL", records=2, besides=2)), 2),
        (TEXT + "TRL,3\n", ends(trailer=TRAILER), "2 records, its trailer says 3"),
        (TEXT + "TRL,1\n", ends(trailer=TRAILER), "2 records, its trailer says 1"),
        (TEXT + "TRL,two\n", ends(trailer=TRAILER), "its trailer has no number of records"),
        (TEXT + "TRL\n", ends(trailer=TRAILER), "its trailer has no number of records"),
        (TEXT, ends(trailer=TRAILER), "the last line is no trailer"),
        (H, ends(trailer=TRAILER), "the last line is no trailer"),
        (TEXT + "TRL,2\n4,5\n", ends(trailer=TRAILER), "the last line is no trailer"),
        (H + "".join(f"{n},9990000018\n" for n in range(300_000)) + "TRL,300000\n", ends(trailer=TRAILER), 300_000),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["plain", "gzip", "utf-16"])
def test_a_file_that_does_not_end_as_it_has_to_is_refused(
    tmp_path: Path, text: str, ending: Ending, expected: int | str, form: str
) -> None:
    content = text.encode("utf-16" if form == "utf-16" else "utf-8")
    name = "patient.csv"
    if form == "gzip":
        content, name = gzip.compress(content), "patient.csv.gz"
    if isinstance(expected, int):
        assert records(tmp_path, content, ending, name) == expected
        return
    with pytest.raises(DeliveryError, match=expected):
        records(tmp_path, content, ending, name)


@given(st.integers(min_value=len(H), max_value=len(TEXT) + 6))
def test_a_file_with_a_trailer_that_was_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, end: int) -> None:
    whole = f"{TEXT}TRL,2\n"
    folder = tmp_path_factory.mktemp("cut")
    if whole[:end].rstrip("\n") == whole.rstrip("\n"):
        assert records(folder, whole[:end].encode(), ends(trailer=TRAILER)) == 2
    else:
        with pytest.raises(DeliveryError):
            records(folder, whole[:end].encode(), ends(trailer=TRAILER))


def test_a_manifest_for_files_with_a_trailer_counts_their_records(tmp_path: Path) -> None:
    spec = contract({"mode": "full", "trailer": {"begins": "TRL", "records": 2}})
    folder = put(tmp_path, a_patient_csv=f"{TEXT}TRL,2\n")
    manifest(folder, spec)
    assert read_delivery(folder, spec).rows == 2
    assert json.loads((folder / MANIFEST).read_text())["files"][0]["rows"] == 2
    put(tmp_path, a_patient_csv=f"{TEXT}TRL,3\n")
    with pytest.raises(DeliveryError, match="2 records, its trailer says 3"):
        manifest(folder, spec)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"mode": "full"}, "nothing says when a file is whole"),
    ({"mode": "full", "control": {"files": ["x"], "columns": {"name": "f"}}}, "nothing says when a file is whole"),
    ({"complete": ["line_end"]}, "mode"),
    ({"mode": "weekly", "complete": ["line_end"]}, "mode"),
    ({"mode": "full", "complete": ["whole"]}, "complete.0"),
    ({"mode": "full", "control": {"files": [], "columns": {"records": "n"}}}, "control.files"),
    ({"mode": "full", "control": {"files": ["x"], "columns": {}}}, "control.columns"),
    ({"mode": "full", "control": {"files": ["x"], "columns": {"crc": "n"}}}, "control.columns"),
    ({"mode": "full", "control": {"files": ["x"], "columns": {"records": 2}}}, "for positions set header: false"),
    (
        {"mode": "full", "control": {"files": ["x"], "header": False, "columns": {"records": "n"}}},
        "expected the position of each",
    ),
    (
        {"mode": "full", "control": {"files": ["x"], "header": False, "columns": {"records": 0}}},
        "expected the position of each",
    ),
    (
        {"mode": "full", "control": {"files": ["x"], "columns": {"name": "n", "records": "n"}}},
        "one column is given for two things",
    ),
    ({"mode": "full", "control": {"files": ["x"], "delimiter": "-", "columns": {"records": "n"}}}, "control.delimiter"),
    ({"mode": "full", "control": COUNTS, "colour": "red"}, "colour"),
    ({"mode": "full", "trailer": {"begins": " ", "records": 2}}, "trailer.begins"),
    ({"mode": "full", "trailer": {"begins": "T", "records": 1}}, "trailer.records"),
]


@pytest.mark.parametrize(("form", "fault"), WRONG)
def test_a_form_that_cannot_be_is_refused(form: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault.replace(".", r"\.")):
        DeliveryForm.model_validate(form)


@pytest.mark.parametrize(
    ("forms", "fault"),
    [
        ([{"providers": ["A", "A"]}], "deliveries: two forms for A"),
        ([{"providers": ["A", "B"]}, {"providers": ["B"]}], "deliveries: two forms for B"),
        ([{}, {}], "deliveries: two forms for all others"),
        ([{"needs": ["visit"]}], "deliveries.0.needs: no entity visit with files"),
        ([{"mode": "period"}], "deliveries.0.mode: period, but no entity has a period"),
    ],
)
def test_forms_that_do_not_fit_their_contract_are_refused(forms: list[dict[str, Any]], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        contract(*[{"mode": "full", "complete": ["line_end"]} | form for form in forms])


def test_the_example_of_the_page_on_deliveries_is_one() -> None:
    page = (PROJECT / "docs" / "deliveries.md").read_text()
    example = page.partition("## Without our manifest")[2].partition("```yaml\n")[2].partition("```")[0]
    forms = [DeliveryForm.model_validate(form) for form in parse_yaml(example)["deliveries"]]
    assert [(form.providers, form.mode, form.control is None) for form in forms] == [
        (("Y90001",), "full", False),
        (("Y90002",), "delta", True),
    ]


def test_the_delivery_says_by_whom_its_files_are_listed(tmp_path: Path) -> None:
    folder = put(tmp_path, a_patient_csv=TEXT, x_ctl="FileName,Record Count\na.patient.csv,2\n")
    found: Delivery = read_delivery(folder, by_control())
    assert (found.said_by, found.control_files) == ("the control file", ("x.ctl",))
