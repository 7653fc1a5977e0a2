"""The parts of a trace that need no lakehouse."""

import os
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts.derived import published_tables
from pipelines.contracts.zones import Zone
from pipelines.tracing.derivations import key_columns
from pipelines.tracing.eras import daily_doses
from pipelines.tracing.lake import is_readable
from pipelines.tracing.meanings import RULES, beginning_of, explained, rule_of

KEYS = {
    "measurement": ("measurement_id",),
    "death": ("person_id",),
    "person": ("person_id",),
    "cdm_source": (),
    "concept": ("concept_id",),
    "domain": (),
    "concept_ancestor": (),
    "fact_relationship": ("fact_id_1", "fact_id_2"),
    "episode_event": ("episode_id", "event_id"),
    "event_evidence": ("event_id",),
    "same_fact": ("event_id", "other_event_id"),
    "drug_order_administration": ("order_drug_exposure_id", "administration_drug_exposure_id"),
    "death_record": ("person_id",),
    "visit_timing": ("visit_occurrence_id",),
}


@pytest.mark.parametrize("table", KEYS)
def test_the_columns_by_which_a_row_is_asked_for(table: str) -> None:
    assert key_columns(published_tables("5.4")[table]) == KEYS[table]


REASONS = {
    None: "",
    "": "",
    "national": "",
    "deleted_flag": "the row itself says that it is deleted",
    "missing:nhs_number": "the column needs a value and has none",
    "missing_key": "no part of its key has a value",
    "unreadable:effective_date": "the value of the column is there and cannot be read",
    "orphan:patient": "the record that it belongs to is not there",
    "malformed:too_few_fields": "the line does not have the form of its file",
    "identity_conflict:birth_date": "what its provider says of the person cannot be true of one person",
    "other_person:referral": "it came while the record that it belongs to named somebody else",
    "real_number_outside_production": "its NHS number is not one for tests, and this environment is not for real people",
    "with_patient_contact": "so are the records that refer to it",
}


@pytest.mark.parametrize("reason", REASONS)
def test_reasons_are_explained(reason: str | None) -> None:
    assert explained(reason) == REASONS[reason]


@pytest.mark.parametrize(
    ("rule", "reason"), [("missing", "missing:nhs_number"), ("with", "with_patient_contact"), ("orphan", "orphan:patient")]
)
def test_a_rule_finds_its_reasons(rule: str, reason: str) -> None:
    assert rule in RULES
    assert rule_of(reason) == rule
    assert reason.startswith(beginning_of(rule))


def strength(**values: Any) -> dict[str, Any]:
    parts = ("amount_value", "amount_unit_concept_id", "numerator_value", "numerator_unit_concept_id")
    return dict.fromkeys((*parts, "denominator_value", "denominator_unit_concept_id")) | values


TABLET = strength(amount_value=5.0, amount_unit_concept_id=8576)
SOLUTION = strength(numerator_value=50.0, numerator_unit_concept_id=8576, denominator_unit_concept_id=8587)
DOSES = [
    (TABLET, 28.0, 28, [(8576, 5_000_000)]),
    (TABLET, 56.0, 28, [(8576, 10_000_000)]),
    (TABLET, 1.0, 3, [(8576, 1_666_667)]),
    (TABLET, None, 28, []),
    (TABLET, 28.0, None, []),
    (TABLET, 28.0, 0, []),
    (TABLET, -28.0, 28, []),
    (TABLET, 1e12, 1, []),
    (SOLUTION, 100.0, 10, [(8576, 500_000_000)]),
    (SOLUTION | {"denominator_value": 5.0}, 100.0, 10, []),
    (SOLUTION | {"denominator_unit_concept_id": 8505}, 100.0, 10, []),
    (SOLUTION | {"denominator_unit_concept_id": None}, 100.0, 10, []),
    (TABLET | {"amount_unit_concept_id": None}, 28.0, 28, []),
]
"""A strength, quantity and days supplied, and the daily doses that they make."""


@pytest.mark.parametrize(("drug", "quantity", "days", "expected"), DOSES)
def test_daily_doses(drug: dict[str, Any], quantity: float | None, days: int | None, expected: list[tuple[int, int]]) -> None:
    assert list(daily_doses({"quantity": quantity, "days_supply": days}, [drug])) == expected


def test_a_root_that_is_not_there_or_empty_cannot_be_read(tmp_path: Path) -> None:
    assert not is_readable(tmp_path / "not_there")
    (tmp_path / Zone.CURATION).mkdir()
    assert not is_readable(tmp_path)
    (tmp_path / Zone.CURATION / "register").mkdir()
    assert is_readable(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take the place of another account")
def test_another_account_cannot_read_a_private_root(tmp_path: Path) -> None:
    (tmp_path / Zone.CURATION / "register").mkdir(parents=True)
    tmp_path.chmod(0o700)
    os.seteuid(65534)
    try:
        assert not is_readable(tmp_path)
    finally:
        os.seteuid(0)
