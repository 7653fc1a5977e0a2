"""Figures of a run that people are shown."""

from pipelines.contracts.ledger import Disposition, LedgerRow, Stage, check_balance
from pipelines.quality.figures import doubts, row_figures, run_figures, same_facts, silver_outcomes, untaken_values


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


def outcome(
    disposition: Disposition, entity: str, rows: int, rule: str = "", reason: str = "", source: str = "gp"
) -> LedgerRow:
    return LedgerRow("r", Stage.TAKE, source, entity, disposition, rows, rule=rule, reason=reason)


OUTCOMES = [
    outcome(Disposition.SILVER, "consultation", 170),
    outcome(Disposition.MAPPED, "consultation", 60, "gp_consultation"),
    outcome(Disposition.MAPPED, "consultation", 20, "gp_consultation, gp_other"),
    outcome(Disposition.UNTAKEN, "consultation", 90, "gp_consultation", "letter"),
    outcome(Disposition.SILVER, "slot", 41),
    outcome(Disposition.UNTAKEN, "slot", 41, reason="looked_up"),
    outcome(Disposition.SILVER, "cld", 16, source="social_care"),
    outcome(Disposition.MAPPED, "cld", 9, "social_care_person", source="social_care"),
    outcome(Disposition.UNTAKEN, "cld", 7, "social_care_person", "no_date", source="social_care"),
    LedgerRow("r", Stage.MAP, "gp", "consultation", Disposition.WRITTEN, 85, rule="gp_consultation", reason="visit_occurrence"),
    LedgerRow("r", Stage.MAP, "gp", "consultation", Disposition.WRITTEN, 25, rule="gp_other", reason="observation"),
    LedgerRow("r", Stage.MAP, "social_care", "cld", Disposition.WRITTEN, 9, rule="social_care_person", reason="person"),
]


def test_silver_rows_are_shown_once_each_with_small_numbers_hidden() -> None:
    columns = ("source", "entity", "outcome", "reason", "rows", "omop_rows")
    assert [tuple(figure[name] for name in columns) for figure in silver_outcomes(OUTCOMES)] == [
        ("gp", "consultation", "mapped", "", 80, 110),
        ("gp", "consultation", "untaken", "letter", 90, ""),
        ("gp", "slot", "untaken", "looked_up", 41, ""),
        ("gp", "total", "", "", 211, ""),
        ("social_care", "cld", "mapped", "", "*", "*"),
        ("social_care", "cld", "untaken", "no_date", "*", ""),
        ("social_care", "total", "", "", 16, ""),
    ]
    assert silver_outcomes([]) == []


def test_the_sum_of_silver_rows_does_not_give_away_what_the_flow_hides() -> None:
    """Of 23 delivered rows 21 are current: a sum of 21 would say that two were duplicates, which the flow hides."""
    ledger = [
        LedgerRow("r", Stage.CURATE, "gp", "consultation", Disposition.CURRENT, 211),
        LedgerRow("r", Stage.CURATE, "gp", "consultation", Disposition.DUPLICATE, 30),
        LedgerRow("r", Stage.CURATE, "social_care", "cld", Disposition.CURRENT, 21),
        LedgerRow("r", Stage.CURATE, "social_care", "cld", Disposition.DUPLICATE, 2),
        outcome(Disposition.MAPPED, "consultation", 211, "gp_consultation"),
        outcome(Disposition.MAPPED, "cld", 12, "social_care_person", source="social_care"),
        outcome(Disposition.UNTAKEN, "cld", 9, "social_care_person", "no_date", source="social_care"),
    ]
    columns = ("source", "delivered", "current", "duplicate")
    assert [tuple(figure[name] for name in columns) for figure in row_figures(ledger).flow] == [
        ("gp", "*", "*", "*"),
        ("social_care", "*", "*", "*"),
        ("total", 264, 232, 32),
    ]
    assert [(figure["source"], figure["entity"], figure["rows"]) for figure in silver_outcomes(ledger)] == [
        ("gp", "consultation", "*"),
        ("gp", "total", "*"),
        ("social_care", "cld", "*"),
        ("social_care", "cld", "*"),
        ("social_care", "total", "*"),
    ]


def value(source: str, entity: str, reason: str, column: str, text: str, rows: int) -> dict[str, object]:
    place = {"source": source, "entity": entity, "disposition": "untaken", "rule": "", "reason": reason}
    return place | {"column": column, "value": text, "rows": rows}


VALUES = [
    value("gp", "consultation", "letter", "", "", 90),
    value("gp", "consultation", "letter", "kind", "Letter", 60),
    value("gp", "consultation", "letter", "kind", "Text", 30),
    value("gp", "consultation", "letter", "done", "true", 87),
    value("gp", "consultation", "letter", "done", "", 3),
    value("gp", "slot", "looked_up", "", "", 41),
    value("social_care", "cld", "no_date", "", "", 7),
    value("social_care", "cld", "no_date", "kind", "Review", 7),
]


def test_values_of_rows_that_no_rule_took_are_shown_where_the_number_of_rows_is() -> None:
    columns = ("source", "entity", "reason", "column", "value", "rows")
    assert [tuple(figure[name] for name in columns) for figure in untaken_values(OUTCOMES, VALUES)] == [
        ("gp", "consultation", "letter", "done", "", "*"),
        ("gp", "consultation", "letter", "done", "true", "*"),
        ("gp", "consultation", "letter", "kind", "Letter", 60),
        ("gp", "consultation", "letter", "kind", "Text", 30),
    ]


def test_values_of_another_run_are_not_shown() -> None:
    assert untaken_values(OUTCOMES, [*VALUES, value("gp", "slot", "looked_up", "", "", 1)]) == []
    assert untaken_values(OUTCOMES, []) == []


OF_A_RUN = [
    row(Disposition.DELIVERED, 1000, stage=Stage.CURATE),
    row(Disposition.CURRENT, 960, stage=Stage.CURATE),
    row(Disposition.OPTED_OUT, 3, "national", Stage.CURATE),
    row(Disposition.QUARANTINED, 37, "short_row", Stage.CURATE),
    row(Disposition.IDENTITY_CONFLICT, 2, "P81001:sex", Stage.CURATE, ""),
    row(Disposition.ORPHAN, 4, "orphan:code", Stage.REFER),
    row(Disposition.MATCHED, 90, stage=Stage.OPT_OUT, entity="local"),
    row(Disposition.UNMATCHED, 5, "number_unknown", Stage.OPT_OUT, "local"),
    row(Disposition.UNREADABLE, 6, "unreadable:sex", Stage.READ),
    row(Disposition.WITHHELD, 114, "withheld:sex", Stage.READ),
    row(Disposition.CODED, 200, stage=Stage.CODE),
    row(Disposition.STANDARD, 195, stage=Stage.CODE),
    row(Disposition.UNKNOWN, 5, stage=Stage.CODE),
    row(Disposition.EXCLUDED, 3, "implausible:start_after_extract"),
    row(Disposition.UNTAKEN, 7, "not_mapped", Stage.TAKE),
    row(Disposition.WRITTEN, 951, "observation"),
]


def test_a_run_hides_the_small_numbers_that_the_report_hides() -> None:
    assert run_figures(OF_A_RUN) == {
        "rows_in": 1000,
        "current": 960,
        "opted_out": "*",
        "quarantined": "*",
        "orphans": "*",
        "opt_out_entries": 95,
        "opt_out_entries_unmatched": "*",
        "unreadable": "*",
        "withheld": 110,
        "mapped": "98%",
        "identity_conflicts": "*",
        "implausible": "*",
        "taken_by_no_rule": "*",
        "omop_rows": 950,
    }
    in_full = run_figures(OF_A_RUN, 1)
    assert (in_full["opted_out"], in_full["opt_out_entries_unmatched"], in_full["omop_rows"]) == (3, 5, 951)
    assert run_figures([])["opted_out"] == 0
