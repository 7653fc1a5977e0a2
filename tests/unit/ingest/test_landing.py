"""Deliveries are found, checked against manifest and contract, and rejected whole."""

import json
from pathlib import Path

import pytest

from pipelines.contracts.source import SourceContract
from pipelines.errors import DeliveryError
from pipelines.ingest.landing import Delivery, find_deliveries, verify
from tests.builders.landing import deliver, deliver_files

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


def found(landing: Path) -> list[Delivery]:
    """The deliveries of the landing folder."""
    return find_deliveries(landing, {"gp": CONTRACT})


def checked(landing: Path) -> int:
    """The number of files that have a layout after all checks."""
    return len(verify(found(landing), {"gp": CONTRACT}))


def test_deliveries_are_in_the_order_of_their_days(tmp_path: Path) -> None:
    for provider, day in (("B", "20260106"), ("A", "20260107"), ("A", "20260105")):
        deliver(tmp_path, CONTRACT, provider, day, ROWS)
    assert [delivery.name for delivery in found(tmp_path)] == ["gp/A/20260105", "gp/B/20260106", "gp/A/20260107"]
    assert checked(tmp_path) == 3


def test_a_delivery_has_the_same_id_until_its_content_changes(tmp_path: Path) -> None:
    folder = deliver(tmp_path, CONTRACT, "A", "20260105", ROWS)
    first = found(tmp_path)[0].delivery_id
    assert found(tmp_path)[0].delivery_id == first
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"mode": "full"}))
    assert found(tmp_path)[0].delivery_id != first


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"provider": "OTHER"}, "source or provider differs"),
        ({"mode": "partial"}, "wrong or missing: mode"),
        ({"files": [{"name": "unknown.csv", "rows": 1, "sha256": "0"}]}, "1 files match no entity"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object], fault: str) -> None:
    folder = deliver(tmp_path, CONTRACT, "A", "20260105", ROWS)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | change))
    with pytest.raises(DeliveryError, match=fault):
        found(tmp_path)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    (deliver(tmp_path, CONTRACT, "A", "20260105", ROWS) / "manifest.json").unlink()
    with pytest.raises(DeliveryError, match=r"no manifest\.json"):
        found(tmp_path)


def test_changed_missing_and_surplus_files_are_refused_without_showing_values(tmp_path: Path) -> None:
    changed = deliver(tmp_path, CONTRACT, "A", "20260105", ROWS)
    path = next(changed.glob("*.csv"))
    path.write_text(path.read_text().replace("9990000018", "9990000026"))
    next(deliver(tmp_path, CONTRACT, "B", "20260105", ROWS).glob("*.csv")).unlink()
    (deliver(tmp_path, CONTRACT, "C", "20260105", ROWS) / "more_patient.csv").write_text("x")
    with pytest.raises(DeliveryError) as raised:
        checked(tmp_path)
    message = str(raised.value)
    assert "A/20260105/xpatientx.csv: checksum differs" in message
    assert "B/20260105: 1 announced files are missing" in message
    assert "C/20260105: 1 files are not in the manifest" in message
    assert "99900000" not in message


def test_a_file_without_a_required_column_is_refused(tmp_path: Path) -> None:
    deliver_files(tmp_path, "gp", "A", "20260105", {"patient.csv": ("nhs_number\n9990000018\n", 1)})
    with pytest.raises(DeliveryError, match="required columns are missing: guid"):
        checked(tmp_path)


def test_a_column_that_curate_needs_under_another_name_is_refused_and_both_names_are_said(tmp_path: Path) -> None:
    deliver_files(tmp_path, "gp", "A", "20260105", {"patient.csv": ("guid,NHS No\n1,9990000018\n", 1)})
    with pytest.raises(DeliveryError) as raised:
        checked(tmp_path)
    fault = "columns in use are missing: nhs_number; the contract does not know 1 of its headers: NHS No"
    assert f"gp/A/20260105/patient.csv: {fault}" in str(raised.value)
    assert "aliases in mappings/<source>/contract.yaml" in str(raised.value)


def test_a_column_that_a_rule_reads_counts_as_in_use(tmp_path: Path) -> None:
    sex = {"grain": "g", "files": ["*patient*"], "key": ["guid"], "columns": {"guid": {}, "sex": {}}}
    contract = SourceContract.model_validate({"source": "gp", "title": "t", "entities": {"patient": sex}})
    deliver_files(tmp_path, "gp", "A", "20260105", {"patient.csv": ("guid,Gender\n1,F\n", 1)})
    deliveries = find_deliveries(tmp_path, {"gp": contract})
    assert len(verify(deliveries, {"gp": contract})) == 1
    with pytest.raises(DeliveryError, match=r"columns in use are missing: sex; .* 1 of its headers: Gender"):
        verify(deliveries, {"gp": contract}, {"gp": {"patient": frozenset({"sex"})}})
