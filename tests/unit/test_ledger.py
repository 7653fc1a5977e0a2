import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts.ledger import LEDGER_SCHEMA, Disposition, LedgerRow, Stage, check_balance, totals_by
from pipelines.errors import LedgerError


def curate(disposition: Disposition, rows: int, reason: str = "", entity: str = "patient") -> LedgerRow:
    return LedgerRow("run", Stage.CURATE, "gp", entity, disposition, rows, reason=reason)


def mapped(disposition: Disposition, rows: int, reason: str = "", stage: Stage = Stage.MAP) -> LedgerRow:
    return LedgerRow("run", stage, "gp", "patient", disposition, rows, rule="gp_person", reason=reason)


def value(disposition: Disposition, rows: int, reason: str) -> LedgerRow:
    return LedgerRow("run", Stage.READ, "gp", "patient", disposition, rows, reason=reason, provider="P81001")


def taken(disposition: Disposition, rows: int, rule: str = "", reason: str = "", entity: str = "patient") -> LedgerRow:
    return LedgerRow("run", Stage.TAKE, "gp", entity, disposition, rows, rule=rule, reason=reason)


BALANCED = [
    curate(Disposition.DELIVERED, 98),
    curate(Disposition.CURRENT, 60),
    curate(Disposition.SUPERSEDED, 10),
    curate(Disposition.DELETED_AT_SOURCE, 2),
    curate(Disposition.DUPLICATE, 8),
    curate(Disposition.QUARANTINED, 5, "unreadable:appointment_date"),
    curate(Disposition.OPTED_OUT, 9, "national"),
    curate(Disposition.OPTED_OUT, 3, "local"),
    curate(Disposition.TEST_PATIENT, 1),
    value(Disposition.GIVEN, 7, "date_of_death"),
    value(Disposition.READ, 5, "date_of_death"),
    value(Disposition.UNREADABLE, 2, "unreadable:date_of_death"),
    taken(Disposition.SILVER, 60),
    taken(Disposition.MAPPED, 40, "gp_person"),
    taken(Disposition.MAPPED, 15, "gp_death, gp_person"),
    taken(Disposition.UNTAKEN, 5, "gp_person", "dummy_patient"),
    mapped(Disposition.SILVER, 60),
    mapped(Disposition.MAPPED, 50),
    mapped(Disposition.EXCLUDED, 10, "not_attended"),
    mapped(Disposition.FANNED_OUT, 4),
    mapped(Disposition.MERGED, 1),
    mapped(Disposition.WRITTEN, 40, "condition_occurrence"),
    mapped(Disposition.WRITTEN, 13, "observation"),
    mapped(Disposition.CODED, 50, stage=Stage.CODE),
    mapped(Disposition.STANDARD, 45, stage=Stage.CODE),
    mapped(Disposition.KNOWN_UNMAPPED, 3, stage=Stage.CODE),
    mapped(Disposition.UNKNOWN, 2, stage=Stage.CODE),
]


def test_a_ledger_that_accounts_for_every_row_balances() -> None:
    check_balance(BALANCED)


@given(st.integers(0, len(BALANCED) - 1), st.integers(-5, 5).filter(bool))
def test_one_row_more_or_less_anywhere_is_found(position: int, change: int) -> None:
    rows = list(BALANCED)
    record = rows[position].record()
    rows[position] = LedgerRow.of(record | {"rows": int(record["rows"]) + change})
    with pytest.raises(LedgerError):
        check_balance(rows)


def test_the_message_names_the_entity_and_both_counts() -> None:
    with pytest.raises(LedgerError) as error:
        check_balance([curate(Disposition.DELIVERED, 10), curate(Disposition.CURRENT, 7), curate(Disposition.DUPLICATE, 2)])
    assert "curate gp.patient: 10 in, 9 accounted for (delivered 10 against current 7," in str(error.value)


def test_a_rule_that_was_not_shown_all_silver_rows_is_found() -> None:
    rows = [
        curate(Disposition.DELIVERED, 10),
        curate(Disposition.CURRENT, 10),
        mapped(Disposition.SILVER, 8),
        mapped(Disposition.MAPPED, 8),
        mapped(Disposition.WRITTEN, 8, "person"),
    ]
    with pytest.raises(LedgerError, match=r"map gp\.patient rule gp_person: shown 8 of 10 silver rows"):
        check_balance(rows)


def test_an_entity_whose_silver_rows_nobody_asked_about_is_found() -> None:
    rows = [curate(d, 9, entity=entity) for entity in ("drug", "patient") for d in (Disposition.DELIVERED, Disposition.CURRENT)]
    taken_rows = [taken(Disposition.SILVER, 9), taken(Disposition.MAPPED, 9, "gp_person")]
    with pytest.raises(LedgerError, match=r"take gp\.drug: shown 0 of 9 silver rows"):
        check_balance(rows + taken_rows)
    of_drugs = [taken(d, 9, reason="no_rule" if d is Disposition.UNTAKEN else "", entity="drug") for d in SILVER_AND_UNTAKEN]
    check_balance(rows + taken_rows + of_drugs)


SILVER_AND_UNTAKEN = (Disposition.SILVER, Disposition.UNTAKEN)


def test_a_silver_row_that_is_counted_twice_is_found() -> None:
    rows = [taken(Disposition.SILVER, 9), taken(Disposition.MAPPED, 9, "gp_person"), taken(Disposition.UNTAKEN, 1, "r", "x")]
    with pytest.raises(LedgerError, match=r"take gp\.patient: 9 in, 10 accounted for"):
        check_balance(rows)


def test_a_row_that_no_rule_took_has_a_reason() -> None:
    with pytest.raises(LedgerError, match=r"untaken \(1 rows\) lacks a reason"):
        check_balance([taken(Disposition.SILVER, 1), taken(Disposition.UNTAKEN, 1)])


def test_a_row_that_left_without_a_reason_is_refused() -> None:
    with pytest.raises(LedgerError, match=r"quarantined \(1 rows\) lacks a reason"):
        check_balance([curate(Disposition.DELIVERED, 1), curate(Disposition.QUARANTINED, 1)])


def test_a_disposition_of_another_stage_is_refused() -> None:
    with pytest.raises(LedgerError, match="merged does not belong to this stage"):
        check_balance([curate(Disposition.MERGED, 0)])


def test_all_faults_are_reported_together() -> None:
    rows = [curate(Disposition.DELIVERED, 1, entity="a"), curate(Disposition.DELIVERED, 1, entity="b")]
    with pytest.raises(LedgerError, match="in 2 places"):
        check_balance(rows)


def test_an_empty_ledger_balances() -> None:
    check_balance([])


def test_a_stored_row_is_read_back_equal() -> None:
    for row in BALANCED:
        assert list(row.record()) == list(LEDGER_SCHEMA)
        assert LedgerRow.of(row.record()) == row


def test_totals_are_added_up_by_the_named_columns() -> None:
    assert totals_by(BALANCED, "disposition", "reason")["opted_out", "national"] == 9
    assert totals_by(BALANCED, "stage")["map",] == 178
