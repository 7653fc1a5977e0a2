"""Deliveries are checked against manifest and contract; each with a fault is set aside whole, the others are not."""

import gzip
import os
import zipfile
from pathlib import Path

import pytest

from pipelines.contracts.delivered_names import WITHHELD_NAME
from pipelines.contracts.source import SourceContract
from pipelines.ingest.checking import Checked, verify
from pipelines.ingest.landing import read_delivery
from tests.builders.landing import deliver, deliver_files
from tests.unit.ingest.test_landing import CONTRACT, ROWS


def checked(*folders: Path) -> Checked:
    """The deliveries in some folders after all checks."""
    return verify([read_delivery(folder, CONTRACT) for folder in folders], {"gp": CONTRACT})


def faults(*folders: Path) -> dict[str, list[str]]:
    """The faults of each delivery that is set aside, by its name."""
    return {str(entry.place): list(entry.faults) for entry in checked(*folders).set_aside}


def test_changed_missing_and_surplus_files_set_their_deliveries_aside_and_no_other(tmp_path: Path) -> None:
    changed, missing, surplus, good = (deliver(tmp_path, CONTRACT, provider, "20260105", ROWS) for provider in "ABCD")
    path = next(changed.glob("*.csv"))
    path.write_text(path.read_text().replace("9990000018", "9990000026"))
    next(missing.glob("*.csv")).unlink()
    (surplus / "more_patient.csv").write_text("x")
    found = checked(changed, missing, surplus, good)
    assert [delivery.name for delivery in found.deliveries] == ["gp/D/20260105"]
    assert len(found.layouts) == 1
    assert {entry.provider: entry.faults for entry in found.set_aside} == {
        "A": ("xpatientx.csv: checksum differs from the manifest",),
        "B": ("1 announced files are missing: xpatientx.csv",),
        "C": ("1 files are not in the manifest: more_patient.csv",),
    }
    assert all("99900000" not in entry.message for entry in found.set_aside)


def test_no_fault_names_a_file_by_an_nhs_number(tmp_path: Path) -> None:
    """Whatever is wrong: the file, its header, its place in the folder."""
    name, content = "patient SMITH John 9990000018 DOB 1950-01-02.csv", "guid,nhs_number\n"
    changed, headless, surplus = (
        deliver_files(tmp_path, "gp", provider, "20260105", {name if provider != "C" else "patient.csv": (text, 0)})
        for provider, text in (("A", content), ("B", ""), ("C", content))
    )
    (changed / name).write_text("changed")
    for other in (name, "._9990000018.csv"):
        (surplus / other).write_text("x")
    found = checked(changed, headless, surplus)
    messages = [*(entry.message for entry in found.set_aside), *found.ignored]
    assert len(messages) == 4
    assert all(WITHHELD_NAME in message for message in messages)
    assert "9990000018" not in "".join(messages)


@pytest.mark.parametrize("name", ["Manifest.json", "MANIFEST.JSON", "manifest.JSON"])
def test_a_manifest_has_its_name_in_any_case(tmp_path: Path, name: str) -> None:
    folder = deliver(tmp_path, CONTRACT, "A", "20260105", ROWS)
    expected = read_delivery(folder, CONTRACT)
    (folder / "manifest.json").rename(folder / name)
    assert read_delivery(folder, CONTRACT) == expected
    assert faults(folder) == {}


def test_of_two_manifests_the_one_with_the_usual_name_counts(tmp_path: Path) -> None:
    folder = deliver(tmp_path, CONTRACT, "A", "20260105", ROWS)
    (folder / "MANIFEST.JSON").write_text("{}")
    assert faults(folder) == {"gp/A/20260105": ["1 files are not in the manifest: MANIFEST.JSON"]}


def test_links_and_folders_inside_a_delivery_are_refused(tmp_path: Path) -> None:
    linked = deliver(tmp_path, CONTRACT, "A", "20260105", ROWS)
    (linked / "xpatientx.csv").rename(tmp_path / "elsewhere.csv")
    (linked / "xpatientx.csv").symlink_to(tmp_path / "elsewhere.csv")
    nested = deliver(tmp_path, CONTRACT, "B", "20260105", ROWS)
    (nested / "more").mkdir()
    piped = deliver(tmp_path, CONTRACT, "C", "20260105", ROWS)
    os.mkfifo(piped / "pipe.csv")
    assert faults(linked, nested, piped) == {
        "gp/A/20260105": ["1 symbolic links, where only files are read: xpatientx.csv"],
        "gp/B/20260105": ["1 folders inside the delivery: more"],
        "gp/C/20260105": ["1 pipes, sockets or devices, where only files are read: pipe.csv"],
    }


def test_junk_in_a_delivery_is_named_and_ignored(tmp_path: Path) -> None:
    folder = deliver(tmp_path, CONTRACT, "A", "20260105", ROWS)
    for name in (".DS_Store", "Thumbs.db", "~$x.csv", "._xpatientx.csv"):
        (folder / name).write_text("x")
    (folder / "__MACOSX").mkdir()
    found = checked(folder)
    assert [delivery.name for delivery in found.deliveries] == ["gp/A/20260105"]
    assert sorted(found.ignored) == [
        f"gp/A/20260105/{name}" for name in (".DS_Store", "._xpatientx.csv", "Thumbs.db", "__MACOSX", "~$x.csv")
    ]


def test_a_file_without_a_required_column_is_refused(tmp_path: Path) -> None:
    folder = deliver_files(tmp_path, "gp", "A", "20260105", {"patient.csv": ("nhs_number\n9990000018\n", 1)})
    assert faults(folder) == {"gp/A/20260105": ["patient.csv: required columns are missing: guid"]}


def test_a_column_that_curate_needs_under_another_name_is_refused_and_both_names_are_said(tmp_path: Path) -> None:
    folder = deliver_files(tmp_path, "gp", "A", "20260105", {"patient.csv": ("guid,NHS No\n1,9990000018\n", 1)})
    message = checked(folder).set_aside[0].message
    assert "columns in use are missing: nhs_number; the contract does not know 1 of its headers: NHS No" in message
    assert "aliases in mappings/gp/contract.yaml" in message


def test_a_column_that_a_rule_reads_counts_as_in_use(tmp_path: Path) -> None:
    sex = {"grain": "g", "files": ["*patient*"], "key": ["guid"], "columns": {"guid": {}, "sex": {}}}
    contract = SourceContract.model_validate({"source": "gp", "title": "t", "entities": {"patient": sex}})
    folder = deliver_files(tmp_path, "gp", "A", "20260105", {"patient.csv": ("guid,Gender\n1,F\n", 1)})
    deliveries = [read_delivery(folder, contract)]
    assert len(verify(deliveries, {"gp": contract}).deliveries) == 1
    (refused,) = verify(deliveries, {"gp": contract}, {"gp": {"patient": frozenset({"sex"})}}).set_aside
    assert "columns in use are missing: sex" in refused.faults[0]
    assert "1 of its headers: Gender" in refused.faults[0]


def _zip(tmp_path: Path, members: dict[str, bytes]) -> bytes:
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path.read_bytes()


@pytest.mark.parametrize("name", ["patient.csv.gz", "patient.csv.zip", "patient.csv"])
def test_an_archive_that_cannot_be_opened_is_refused_by_name(tmp_path: Path, name: str) -> None:
    text = b"guid,nhs_number\n" + b"1,9990000018\n" * 50
    content = {
        "patient.csv.gz": gzip.compress(text)[:8],
        "patient.csv.zip": _zip(tmp_path, {"patient.csv": text})[:60],
        "patient.csv": b"",
    }[name]
    folder = deliver_files(tmp_path, "gp", "A", "20260105", {name: (content, 50)})
    good = deliver(tmp_path, CONTRACT, "B", "20260105", ROWS)
    found = checked(folder, good)
    assert [delivery.name for delivery in found.deliveries] == ["gp/B/20260105"]
    assert [fault.partition(":")[0] for entry in found.set_aside for fault in entry.faults] == [name]
