"""One delivery is read from its manifest as senders write it, or refused with the reason."""

import codecs
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from pipelines.contracts.source import SourceContract
from pipelines.errors import DeliveryError
from pipelines.governance.opt_out_lists import ListManifest
from pipelines.ingest.landing import Delivery, Manifest, day_of, manifest_in, read_delivery
from tests.builders.landing import deliver

CONTRACT = SourceContract.model_validate(
    {
        "source": "gp",
        "title": "t",
        "entities": {
            "patient": {
                "grain": "a patient",
                "files": ["*patient*"],
                "key": ["guid"],
                "subject": {"direct": {"nhs_number": "nhs_number", "local_id": "guid"}},
                "columns": {"guid": {"identifier": "local_id"}, "nhs_number": {"identifier": "nhs_number"}},
            }
        },
    }
)
ROWS = {"patient": [{"guid": "1", "nhs_number": "9990000018"}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A delivery without faults."""
    return deliver(tmp_path, CONTRACT, "A", "20260105", ROWS)


def stated(folder: Path) -> dict[str, Any]:
    """The manifest of a delivery."""
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


def with_manifest(folder: Path, content: object) -> Delivery:
    """The delivery read with another manifest."""
    (folder / "manifest.json").write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read_delivery(folder, CONTRACT)


def test_a_delivery_has_the_same_id_until_its_content_changes(folder: Path) -> None:
    first = read_delivery(folder, CONTRACT)
    assert read_delivery(folder, CONTRACT).delivery_id == first.delivery_id
    assert (first.name, first.extract_date, first.mode, first.rows) == ("gp/A/20260105", date(2026, 1, 5), "delta", 1)
    assert with_manifest(folder, stated(folder) | {"mode": "full"}).delivery_id != first.delivery_id


ANOTHER = {"name": "unknown.csv", "rows": 1, "sha256": "0"}


def named(name: str) -> dict[str, object]:
    """A manifest that announces a file of this name."""
    return {"files": [{"name": name, "rows": 1, "sha256": "0"}]}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"provider": "OTHER"}, "source or provider differs"),
        ({"source": "acute"}, "source or provider differs"),
        ({"mode": "partial"}, "wrong or missing: mode"),
        ({"extract_date": "05/01/2026"}, "wrong or missing: extract_date"),
        ({"extract_date": 1767571200}, "wrong or missing: extract_date"),
        ({"extract_date": "1767571200"}, "wrong or missing: extract_date"),
        ({"extract_date": 20260105}, "wrong or missing: extract_date"),
        ({"extract_date": "2026-1-5"}, "wrong or missing: extract_date"),
        ({"extract_date": "2026-01-05T09:30:00"}, "wrong or missing: extract_date"),
        ({"extract_date": True}, "wrong or missing: extract_date"),
        ({"extract_date": "20260230"}, "wrong or missing: extract_date"),
        *[({"extract_date": day}, "is before 1990") for day in ("0001-01-01", "1970-01-01", "19891231")],
        ({"files": []}, "announces no file"),
        ({"files": "patient.csv"}, "wrong or missing: files"),
        ({"files": ["patient.csv"]}, r"wrong or missing: files\.0"),
        ({"files": [{"name": "patient.csv", "rows": -5, "sha256": "0"}]}, r"wrong or missing: files\.0\.rows"),
        ({"files": [{"name": "patient.csv", "rows": 1.5, "sha256": "0"}]}, r"wrong or missing: files\.0\.rows"),
        ({"files": [{"name": "patient.csv", "rows": True, "sha256": "0"}]}, r"wrong or missing: files\.0\.rows"),
        ({"files": [{"name": "patient.csv", "sha256": "0"}]}, r"wrong or missing: files\.0\.rows"),
        ({"files": [ANOTHER]}, "1 files match no entity"),
        ({"files": [ANOTHER | {"name": "a_patient.csv"}, ANOTHER | {"name": "A_Patient.csv"}]}, "announced more than once"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(folder: Path, change: dict[str, object], fault: str) -> None:
    with pytest.raises(DeliveryError, match=fault):
        with_manifest(folder, stated(folder) | change)


@pytest.mark.parametrize(
    "name",
    [
        "../../x_patient.csv",
        "../20260104/x_patient.csv",
        "/etc/patient.csv",
        "../../B/20260105/x_patient.csv",
        "sub/x_patient.csv",
        "./x_patient.csv",
        "sub\\x_patient.csv",
        "C:\\landing\\x_patient.csv",
        "C:x_patient.csv",
        "\\\\server\\share\\x_patient.csv",
        "..",
        ".",
        "",
        "x_patient.csv\x00.txt",
    ],
)
def test_a_manifest_that_names_a_path_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(DeliveryError, match="1 names are paths, where only the name of a file in this folder is allowed"):
        with_manifest(folder, stated(folder) | named(name))


@settings(deadline=None)
@given(st.text(max_size=30))
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    """Whatever a manifest names: what is read lies directly in the folder of the delivery."""
    with TemporaryDirectory() as landing:
        folder = deliver(Path(landing), CONTRACT, "A", "20260105", ROWS)
        for wanted in (f"{name}patient", f"patient{name}.csv"):
            try:
                delivery = with_manifest(folder, stated(folder) | named(wanted))
            except DeliveryError:
                continue
            assert [file.path.parent for file in delivery.files] == [folder]
            assert [file.path.name for file in delivery.files] == [wanted]


def test_a_manifest_that_is_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "manifest.json").rename(tmp_path / "elsewhere.json")
    (folder / "manifest.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(DeliveryError, match="symbolic link"):
        read_delivery(folder, CONTRACT)


def test_a_manifest_that_is_too_large_is_not_read(folder: Path) -> None:
    """A file of three terabytes without content: whoever reads it runs out of memory."""
    with (folder / "manifest.json").open("r+b") as manifest:
        manifest.truncate(3 << 40)
    with pytest.raises(DeliveryError, match=r"^manifest\.json: lists no files: it is larger than 16 MiB$"):
        read_delivery(folder, CONTRACT)


def test_a_folder_without_a_manifest_is_refused(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(DeliveryError, match=r"no manifest\.json"):
        read_delivery(folder, CONTRACT)


def _capitals(content: dict[str, Any]) -> dict[str, Any]:
    return content | {"files": [file | {"sha256": file["sha256"].upper()} for file in content["files"]]}


WINDOWS: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "SHA-256 in capitals": lambda content: json.dumps(_capitals(content)).encode(),
    "SHA-256 with blanks": lambda content: json.dumps(content).replace('"sha256": "', '"sha256": " ').encode(),
    "UTF-8 with a mark": lambda content: codecs.BOM_UTF8 + json.dumps(content).encode(),
    "UTF-16 with a mark": lambda content: json.dumps(content).encode("utf-16"),
    "UTF-16 BE with a mark": lambda content: codecs.BOM_UTF16_BE + json.dumps(content).encode("utf-16-be"),
    "CRLF": lambda content: json.dumps(content, indent=2).replace("\n", "\r\n").encode(),
    "Ctrl-Z at the end": lambda content: json.dumps(content).encode() + b"\r\n\x1a",
    "mode in capitals": lambda content: json.dumps(content | {"mode": "Delta"}).encode(),
    "day without dashes": lambda content: json.dumps(content | {"extract_date": "20260105"}).encode(),
    "day with midnight": lambda content: json.dumps(content | {"extract_date": "2026-01-05T00:00:00"}).encode(),
    "rows as text": lambda content: json.dumps(content).replace('"rows": 1', '"rows": "1"').encode(),
    "all of it": lambda content: codecs.BOM_UTF8 + json.dumps(_capitals(content), indent=1).replace("\n", "\r\n").encode(),
}


@pytest.mark.parametrize("form", WINDOWS)
def test_a_manifest_as_made_on_windows_is_read(folder: Path, form: str) -> None:
    expected = read_delivery(folder, CONTRACT)
    found = with_manifest(folder, WINDOWS[form](stated(folder)))
    assert found.files == expected.files
    assert (found.extract_date, found.mode, found.unknown_keys) == (expected.extract_date, expected.mode, ())


def test_unknown_keys_are_left_out_and_named(folder: Path) -> None:
    content = stated(folder) | {"comment": "made by hand", "9990000018": "x"}
    content["files"][0]["size"] = 12
    assert with_manifest(folder, content).unknown_keys == ("comment", "an unusual key", "files.size")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe\x00", b"[" * 100_000, b"\x80\x81", b"1"])
def test_what_is_no_manifest_is_refused(folder: Path, content: bytes) -> None:
    with pytest.raises(DeliveryError, match="not a manifest"):
        with_manifest(folder, content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"mode": "full", "source": "gp", "mode": "delta"}', "mode"),
        (b'{"files": [{"name": "a.csv", "rows": 1, "rows": 2}]}', "rows"),
        (b'{"x": {"9990000018": 1, "9990000018": 1}}', "an unusual key"),
    ],
)
@pytest.mark.parametrize("kind", [Manifest, ListManifest])
def test_a_key_that_stands_twice_is_refused(content: bytes, said: str, kind: type[BaseModel]) -> None:
    with pytest.raises(DeliveryError, match=f"^not a manifest; written twice: {said}$"):
        manifest_in(content, kind)


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_manifest_or_refused(content: bytes) -> None:
    with pytest.raises(DeliveryError, match="not a manifest"):
        manifest_in(content, Manifest)


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("20260105", date(2026, 1, 5)),
        ("20240229", date(2024, 2, 29)),
        ("20261399", None),
        ("20250229", None),
        ("20260105_resub", None),
        ("2026-01-05", None),
        ("latest", None),
        ("2026010", None),
        ("202601051", None),
        (" 20260105", None),
        ("20260105 ", None),
        ("٢٠٢٦٠١٠٥", None),
        ("00000000", None),
        ("", None),
    ],
)
def test_the_name_of_a_folder_is_a_day_or_none(name: str, day: date | None) -> None:
    assert day_of(name) == day
