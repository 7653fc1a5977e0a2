"""Figures of a run that people are shown."""

from pipelines.contracts.ledger import Disposition, LedgerRow, Stage, check_balance
from pipelines.quality.figures import doubts, same_facts


def row(disposition: Disposition, rows: int, reason: str = "", stage: Stage = Stage.MAP, entity: str = "entry") -> LedgerRow:
    return LedgerRow("r", stage, "gp", entity, disposition, rows, rule="gp_entry" if stage is Stage.MAP else "", reason=reason)


LEDGER = [
    row(Disposition.IDENTITY_CONFLICT, 12, "P81001:birth_date", Stage.CURATE, ""),
    row(Disposition.IDENTITY_CONFLICT, 3, "P81002:sex", Stage.CURATE, ""),
    row(Disposition.SILVER, 100),
    row(Disposition.MAPPED, 80),
    row(Disposition.EXCLUDED, 9, "implausible:start_after_extract"),
    row(Disposition.EXCLUDED, 11, "no_code"),
    row(Disposition.FLAGGED, 10, "implausible:end_before_start"),
    row(Disposition.WRITTEN, 80, "observation"),
]


def test_doubts_are_shown_by_reason_with_small_numbers_hidden() -> None:
    assert doubts(LEDGER) == {
        "people with an identity conflict": [
            {"reason": "P81001:birth_date", "gp": "*", "total": "*"},
            {"reason": "P81002:sex", "gp": "*", "total": "*"},
            {"reason": "total", "gp": 15, "total": 15},
        ],
        "implausible rows set aside": [
            {"reason": "implausible:start_after_extract", "gp": 9, "total": 9},
            {"reason": "total", "gp": 9, "total": 9},
        ],
        "implausible rows published": [
            {"reason": "implausible:end_before_start", "gp": 10, "total": 10},
            {"reason": "total", "gp": 10, "total": 10},
        ],
    }


def test_a_run_without_doubts_shows_none() -> None:
    assert doubts([row(Disposition.SILVER, 1), row(Disposition.MAPPED, 1)]) == {}


def test_what_is_counted_beside_the_equations_does_not_unbalance_them() -> None:
    check_balance(LEDGER)


def test_facts_of_two_sources_are_shown_by_table_and_confidence_with_small_numbers_hidden() -> None:
    counts = [
        ("measurement", "high", 40),
        ("measurement", "low", 41),
        ("drug_exposure", "low", 18),
        ("drug_exposure", "medium", 20),
    ]
    assert same_facts(counts) == [
        {"table": "drug_exposure", "low": 18, "medium": 20, "high": 0, "total": 38},
        {"table": "measurement", "low": 41, "medium": 0, "high": 40, "total": 81},
        {"table": "total", "low": 59, "medium": 20, "high": 40, "total": 119},
    ]
    (few, *_) = same_facts([*counts[:3], ("drug_exposure", "medium", 2)])
    assert (few["medium"], few["total"]) == ("*", "*")
    assert same_facts([]) == []
