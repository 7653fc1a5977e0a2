"""Synthea people have no NHS number: they are kept by approval only, and what identifies them ends at curate."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipelines.contracts.source import SourceContract, load_contracts
from pipelines.contracts.zones import Zone
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from tests.builders.landing import deliver, opt_out_lists
from tests.builders.runs import ingested_and_curated, run_in

SYNTHEA = load_contracts(PACKAGED_MAPPINGS_DIR, ("synthea",))["synthea"]
DAY = date(2026, 1, 5)
ADDRESS_QUESTION, HEIGHT = "56799-0", "8302-2"
BY_APPROVAL = ("opt_outs.unverifiable=include_with_approval", "opt_outs.approval=synthetic people")


def answer(code: str, value: str) -> dict[str, str]:
    keys = {"observed_ts": "2025-01-02T10:00:00Z", "patient": "A", "encounter": "E"}
    return keys | {"code": code, "value": value, "type": "text"}


def silver_after(session: SparkSession, folder: Path, *overrides: str) -> dict[str, list[dict[str, Any]]]:
    # A social security number has nine digits and must never be taken for an NHS number that lost its zero.
    person = {"id": "A", "birthdate": "1950-06-07", "ssn": "999-00-0001", "zip": "02155", "gender": "F"}
    rows = {"patients": [person], "observations": [answer(ADDRESS_QUESTION, "1 Any Road"), answer(HEIGHT, "170")]}
    deliver(folder / "landing", SYNTHEA, "sample", f"{DAY:%Y%m%d}", rows)
    opt_out_lists(folder / "landing", f"{DAY:%Y%m%d}", ["9990000018"], local=["9990000026"])
    run = run_in(session, folder, DAY, ("synthea",), *overrides)
    ingested_and_curated(run)
    return {name: run.store.read(Zone.SILVER, f"synthea_{name}").toArrow().to_pylist() for name in rows}


def test_people_without_a_number_are_kept_by_approval_only(sail: SparkSession, tmp_path: Path) -> None:
    assert silver_after(sail, tmp_path / "without") == {"patients": [], "observations": []}
    kept = silver_after(sail, tmp_path / "with", *BY_APPROVAL)
    assert [len(rows) for rows in kept.values()] == [1, 2]
    assert (kept["patients"][0]["year_of_birth"], kept["patients"][0]["postcode_area"]) == (1950, None)


def test_the_answer_to_the_question_for_the_address_ends_at_curate(sail: SparkSession, tmp_path: Path) -> None:
    found = {row["code"]: row["value"] for row in silver_after(sail, tmp_path, *BY_APPROVAL)["observations"]}
    assert found == {ADDRESS_QUESTION: None, HEIGHT: "170"}


def test_a_contract_that_withholds_by_an_unknown_column_is_refused() -> None:
    content = SYNTHEA.model_dump(by_alias=True)
    content["entities"]["observations"]["withhold"]["value"]["column"] = "nowhere"
    with pytest.raises(ValueError, match=r"observations\.withhold: no column nowhere"):
        SourceContract.model_validate(content)
