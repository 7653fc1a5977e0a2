import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from pipelines.contracts.cdm import (
    EVENT_TABLES,
    PROVENANCE_COLUMNS,
    ROUTED_TABLES,
    cdm_tables,
    delta_schema,
    provenance_columns,
)
from pipelines.contracts.derived import published_tables
from pipelines.contracts.ledger import Disposition, LedgerRow, Stage, check_balance
from pipelines.errors import ConfigError, QualityGateError
from pipelines.quality.change import untaken_checks
from pipelines.quality.checks import DQD_NAMES, Check, Rule, Severity, Zone, concept_fields, omop_checks
from pipelines.quality.figures import opt_out_entries, orphans, unreadable
from pipelines.quality.gates import GateReport, GateResult, Measured, judge, share_checks, unreadable_checks
from pipelines.quality.written import require_passed, sentence
from tests.builders.policies import limit, policy

NUMBERS, LOCAL_IDS = "unmatched_opt_outs on run.opt_outs.number", "unmatched_opt_outs on run.opt_outs.local_id"

DAY = date(2025, 1, 1)
PAGE = Path(__file__).resolve().parents[3] / "docs" / "quality.md"


@pytest.mark.parametrize(("version", "count"), [("5.4", 39), ("5.5", 42)])
def test_every_table_of_the_version_has_a_contract(version: str, count: int) -> None:
    assert len(cdm_tables(version)) == count


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"5\.4, 5\.5"):
        cdm_tables("6.0")


def test_ids_are_wide_and_lengths_are_those_of_the_cdm() -> None:
    person = cdm_tables("5.4")["person"]
    assert person.primary_key == "person_id"
    assert person.column("person_id").type == "bigint"
    assert person.column("person_source_value").length == 50
    assert person.column("gender_concept_id").is_concept
    assert person.column("location_id").references == ("location", "location_id")


def test_a_key_that_only_the_model_needs_is_not_one() -> None:
    tables = cdm_tables("5.4")
    assert tables["cdm_source"].primary_key is None
    assert tables["concept_ancestor"].primary_key is None
    assert tables["death"].primary_key == "person_id"


@pytest.mark.parametrize("version", ["5.4", "5.5"])
def test_every_concept_field_is_a_link_to_the_vocabulary(version: str) -> None:
    fields = [(t.name, c) for t in cdm_tables(version).values() for c in t.columns if c.name.endswith("_concept_id")]
    assert {name for name, column in fields if not column.is_concept} == set()
    assert {column.type for _, column in fields} == {"bigint"}


def test_only_event_tables_have_provenance_columns() -> None:
    for table in cdm_tables("5.4").values():
        provenance = set(provenance_columns(table))
        assert set(PROVENANCE_COLUMNS) <= provenance if table.name in EVENT_TABLES else not provenance
        assert provenance <= set(delta_schema(table)) - set(table.schema)


def test_drug_exposures_have_to_say_how_their_end_was_chosen() -> None:
    tables = cdm_tables("5.4")
    asked = {(check.column, check.rule) for check in omop_checks(tables["drug_exposure"], DAY)}
    assert ("_end_rule", Rule.REQUIRED) in asked
    assert ("_map_origin", Rule.REQUIRED) not in asked
    assert "_end_rule" not in provenance_columns(tables["condition_occurrence"])


def test_events_of_the_event_tables_have_to_say_how_they_are_known() -> None:
    tables = cdm_tables("5.4")
    for table in ROUTED_TABLES:
        asked = {check.column for check in omop_checks(tables[table], DAY) if check.rule is Rule.REQUIRED}
        assert "_evidence" in asked
        assert not {"_date_precision", "_end_date_precision"} & asked
    assert "_evidence" not in provenance_columns(tables["visit_occurrence"])


def test_every_fact_about_a_concept_field_is_about_a_field_that_exists() -> None:
    tables = published_tables("5.4")
    for table, field in concept_fields():
        assert tables[table].column(field).is_concept


def test_checks_are_derived_for_keys_required_fields_links_and_domains() -> None:
    checks = {
        (check.rule, check.column, check.argument) for check in omop_checks(cdm_tables("5.4")["condition_occurrence"], DAY)
    }
    assert (Rule.UNIQUE, "condition_occurrence_id", "") in checks
    assert (Rule.REQUIRED, "condition_start_date", "") in checks
    assert (Rule.FOREIGN_KEY, "person_id", "person.person_id") in checks
    assert (Rule.FOREIGN_KEY, "visit_occurrence_id", "visit_occurrence.visit_occurrence_id") in checks
    assert (Rule.DOMAIN, "condition_concept_id", "Condition") in checks
    assert (Rule.LENGTH, "condition_source_value", "50") in checks
    assert (Rule.PERIOD, "condition_start_date", "condition_end_date") in checks


def test_violations_within_the_tolerance_pass() -> None:
    check = Check(Zone.OMOP, "visit_occurrence", Rule.PERIOD, "visit_start_date", "visit_end_date", tolerance=0.01)
    assert judge([Measured(check, 200, 2)]).results[0].passed
    assert not judge([Measured(check, 200, 3)]).results[0].passed


def test_a_warning_does_not_stop_the_release() -> None:
    report = judge([Measured(Check(Zone.OMOP, "person", Rule.UNIQUE, "person_id", severity=Severity.WARN), 5, 2)])
    require_passed(report)
    assert report.summary() == {"checks": 1, "failed": 0, "warnings": 1, "waived": 0}


@pytest.mark.parametrize(
    ("rows", "violations", "said"),
    [(900, 20, "20 of 900"), (900, 2, "* of 900"), (5, 2, "* of *"), (900, 898, "* of 900"), (1, 3, "* of *")],
)
def test_the_error_names_rule_and_table_and_hides_small_counts(rows: int, violations: int, said: str) -> None:
    report = judge(
        [
            Measured(Check(Zone.OMOP, "person", Rule.UNIQUE, "person_id"), rows, violations, "2 in gp"),
            Measured(Check(Zone.OMOP, "person", Rule.REQUIRED, "person_id"), 5, 0),
        ]
    )
    with pytest.raises(QualityGateError) as error:
        require_passed(report)
    assert str(error.value).splitlines() == [
        "1 of 2 gates failed; nothing was published and the last release stands",
        f"  unique on omop.person.person_id: {said}",
    ]


def judged(ledger: list[LedgerRow], *overrides: str) -> GateReport:
    """What the ledger comes to by the packaged limits, and some after them."""
    by = policy(*overrides)
    unreadable_too = unreadable_checks(ledger, {("gp", "patient", "kind"), ("gp", "consultation", "date_of_death")})
    return judge([*share_checks(ledger, by), *unreadable_too], by)


def test_too_many_quarantined_rows_and_too_few_mapped_ones_fail() -> None:
    ledger = [
        LedgerRow("run", Stage.CURATE, "gp", "patient", Disposition.DELIVERED, 100),
        LedgerRow("run", Stage.CURATE, "gp", "patient", Disposition.QUARANTINED, 6, reason="short_row"),
        LedgerRow("run", Stage.CODE, "gp", "patient", Disposition.CODED, 100, rule="gp_condition"),
        LedgerRow("run", Stage.CODE, "gp", "patient", Disposition.STANDARD, 89, rule="gp_condition"),
    ]
    failures = {sentence(failure, full=True) for failure in judged(ledger).failures}
    assert failures == {
        "quarantined_share on run.gp: 6 of 100, 5.0% allowed",
        "quarantined_share on run.gp_patient: 6 of 100, 5.0% allowed",
        "mapped_share on run.gp: 11 of 100, 10.0% allowed",
    }
    assert judged(ledger, limit("quarantined_share", 0.06), limit("mapped_share", 0.11)).failures == ()


@pytest.mark.parametrize(
    ("named_by", "reasons", "listed", "limits", "failed"),
    [
        ("number", {"number_unknown": 100}, 100, [], True),
        ("number", {"number_unknown": 96}, 100, [], True),
        ("number", {"number_unknown": 95}, 100, [], False),
        ("number", {"number_unknown": 99}, 99, [], False),
        ("number", {"number_unknown": 1}, 2, [limit(NUMBERS, 0)], True),
        ("number", {"number_unknown": 0}, 2, [limit(NUMBERS, 0)], False),
        ("number", {"number_unknown": 100}, 100, [limit(NUMBERS, 1)], False),
        ("local_id", {"local_id_unknown": 1}, 1, [], True),
        ("local_id", {"provider_unknown": 1}, 1, [], True),
        ("local_id", {"provider_unknown": 1}, 2, [], False),
        ("local_id", {"provider_unknown": 1, "local_id_unknown": 1}, 3, [], True),
        ("local_id", {"provider_unknown": 1, "local_id_unknown": 1}, 4, [], False),
        ("local_id", {"local_id_unknown": 1}, 9, [limit(LOCAL_IDS, 0.1)], True),
        ("local_id", {"local_id_unknown": 1}, 10, [limit(LOCAL_IDS, 0.1)], False),
    ],
)
def test_too_many_opt_out_entries_that_match_nobody_fail(
    named_by: str, reasons: dict[str, int], listed: int, limits: list[str], failed: bool
) -> None:
    def entries(disposition: Disposition, rows: int, reason: str) -> LedgerRow:
        return LedgerRow("run", Stage.OPT_OUT, "opt_outs", "objection", disposition, rows, reason=reason)

    ledger = [entries(Disposition.LISTED, listed, named_by)]
    ledger += [entries(Disposition.UNMATCHED, rows, reason) for reason, rows in reasons.items()]
    ledger.append(entries(Disposition.MATCHED, listed - sum(reasons.values()), ""))
    check_balance(ledger)
    failures = [sentence(failure, full=True) for failure in judged(ledger, *limits).failures]
    assert bool(failures) == failed
    assert all(
        text.startswith(f"unmatched_opt_outs on run.opt_outs.{named_by}: {sum(reasons.values())} of") for text in failures
    )


@pytest.mark.parametrize(
    ("of_practices", "share", "failed"),
    [
        ([(100, 100), (1000, 0), (1000, 0), (1000, 0)], 0.05, ["@P0"]),
        ([(6, 6), (1000, 0)], 0.05, ["@P0"]),
        ([(5, 5), (1000, 0)], 0.05, []),
        ([(100, 5), (100, 5)], 0.05, []),
        ([(50, 5), (50, 5)], 0.05, [""]),
        ([(1000, 50)], 0.05, []),
        ([(1000, 51)], 0.05, ["", "@P0"]),
        ([(1000, 51)], 0.06, []),
        ([(1000, 1)], 0.0, ["", "@P0"]),
        ([(1000, 0)], 0.0, []),
        ([(1000, 1000)], 1.0, []),
        ([(0, 0)], 0.05, []),
    ],
)
def test_too_many_rows_whose_other_row_is_missing_fail(
    of_practices: list[tuple[int, int]], share: float, failed: list[str]
) -> None:
    ledger = []
    for at, (referred, missing) in enumerate(of_practices):
        for outcome, rows, reason in (
            (Disposition.REFERRED, referred, "code_key"),
            (Disposition.FOUND, referred - missing, "code_key"),
            (Disposition.ORPHAN, missing, "orphan:code_key"),
        ):
            place = Stage.REFER, "gp", "observation", outcome
            ledger.append(LedgerRow("run", *place, rows, reason=reason, provider=f"P{at}"))
    check_balance(ledger)
    failures = judged(ledger, limit("orphan_share", share)).failures
    assert [str(failure.check) for failure in failures] == [f"orphan_share on run.gp_observation{p}.code_key" for p in failed]
    shown = {row["provider"]: row["rows"] for row in orphans(ledger)}
    assert set(shown) == {f"P{at}" for at, (_, missing) in enumerate(of_practices) if missing} | ({""} if shown else set())


@pytest.mark.parametrize(("unknown", "failed"), [(0, False), (200, False), (201, True), (1000, True)])
def test_too_many_rows_left_out_for_codes_that_cannot_be_looked_up_fail(unknown: int, failed: bool) -> None:
    def rows(disposition: Disposition, n: int, reason: str = "") -> LedgerRow:
        return LedgerRow("run", Stage.CURATE, "gp", "observation", disposition, n, reason=reason)

    ledger = [rows(Disposition.DELIVERED, 1000), rows(Disposition.CURRENT, 1000 - unknown)]
    ledger += [rows(Disposition.OPTED_OUT, unknown, "type_one_unknown")]
    failures = [sentence(failure, full=True) for failure in judged(ledger).failures]
    assert failures == ([f"orphan_share on run.gp.type_one_unknown: {unknown} of 1000, 20.0% allowed"] if failed else [])


def test_the_entries_of_lists_are_shown_with_small_numbers_hidden() -> None:
    rows = [("local", "matched", "", 90), ("local", "unmatched", "number_unknown", 10), ("objection", "matched", "", 20)]
    ledger = [
        LedgerRow("run", Stage.OPT_OUT, "opt_outs", kind, Disposition(outcome), n, reason=reason)
        for kind, outcome, reason, n in [*rows, ("objection", "unmatched", "local_id_unknown", 3)]
    ]
    shown = opt_out_entries(ledger)
    assert [row["list"] for row in shown] == ["local", "objection", "total"]
    assert shown[1]["local_id_unknown"] == "*"
    assert opt_out_entries([]) == []


def read(provider: str, column: str, given: int, unreadable: int) -> list[LedgerRow]:
    """The ledger of the values that a provider gave of a column."""
    outcomes = {
        Disposition.GIVEN: (given, column),
        Disposition.READ: (given - unreadable, column),
        Disposition.UNREADABLE: (unreadable, f"unreadable:{column}"),
    }
    return [
        LedgerRow("run", Stage.READ, "gp", "patient", outcome, rows, reason=reason, provider=provider)
        for outcome, (rows, reason) in outcomes.items()
    ]


def test_too_many_unreadable_values_of_one_column_at_one_provider_fail() -> None:
    ledger = [
        *read("P1", "date_of_death", 100, 6),
        *read("P2", "date_of_death", 6, 6),
        *read("P3", "date_of_death", 5, 5),
        *read("P4", "date_of_death", 120, 6),
        *read("P4", "date_of_birth", 1000, 51),
    ]
    assert {sentence(failure, full=True) for failure in judged(ledger).failures} == {
        "unreadable_share on run.gp_patient@P1.date_of_death: 6 of 100, 5.0% allowed",
        "unreadable_share on run.gp_patient@P2.date_of_death: 6 of 6, 5.0% allowed",
        "unreadable_share on run.gp_patient@P4.date_of_birth: 51 of 1000, 5.0% allowed",
    }
    assert judged(ledger, limit("unreadable_share", 1)).failures == ()


def test_unreadable_values_of_a_column_that_nothing_reads_are_a_warning_unless_a_limit_says_otherwise() -> None:
    ledger = [*read("P1", "kind", 100, 90), *read("P1", "date_of_death", 100, 6), *read("P2", "kind", 100, 5)]
    report = judged(ledger)
    assert [sentence(found, full=True) for found in report.warnings] == [
        "unreadable_share on run.gp_patient@P1.kind: 90 of 100, 5.0% allowed",
    ]
    assert [found.check.column for found in report.failures] == ["date_of_death"]
    strict = "gates.limits=[{check: unreadable_share on run.gp_patient, severity: error}]"
    assert {found.check.column for found in judged(ledger, strict).failures} == {"kind", "date_of_death"}


def test_unreadable_values_are_shown_by_provider_and_column_without_small_numbers() -> None:
    assert unreadable(
        [*read("P1", "date_of_death", 100, 60), *read("P2", "date_of_death", 90, 50), *read("P2", "sex", 9, 3)]
    ) == [
        {"source": "gp", "provider": "P1", "entity": "patient", "column": "date_of_death", "values": 60},
        {"source": "gp", "provider": "P2", "entity": "patient", "column": "date_of_death", "values": "*"},
        {"source": "gp", "provider": "P2", "entity": "patient", "column": "sex", "values": "*"},
        {"source": "total", "provider": "", "entity": "", "column": "", "values": 113},
    ]
    assert unreadable([]) == []


def test_a_stored_result_comes_back_the_same() -> None:
    own = Check(Zone.OMOP, "person", Rule.UNIQUE, "person_id", "argument")
    judged_by = replace(own, tolerance=0.1, severity=Severity.WARN)
    result = GateResult(judged_by, 5, 2, passed=False, detail="more", own=own)
    assert GateResult.of(result.record("run")) == result


def test_the_page_of_checks_names_every_rule_with_the_names_of_the_dashboard() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\w, ]*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    named = {rule: tuple(filter(None, names.strip().split(", "))) for rule, names in rows}
    assert named == {str(rule): DQD_NAMES.get(rule, ()) for rule in Rule}


@pytest.mark.parametrize(
    ("check", "names"),
    [
        (Check(Zone.OMOP, "person", Rule.REQUIRED, "year_of_birth"), ("isRequired", "measureValueCompleteness")),
        (Check(Zone.OMOP, "condition_occurrence", Rule.REQUIRED, "_rule"), ()),
        (Check(Zone.OMOP, "event_evidence", Rule.REQUIRED, "person_id"), ()),
        (Check(Zone.SILVER, "gp_patient", Rule.UNIQUE, "row_key"), ()),
        (Check(Zone.OMOP, "person", Rule.LENGTH, "person_source_value", "50"), ()),
    ],
)
def test_only_checks_of_the_cdm_have_names_of_the_dashboard(check: Check, names: tuple[str, ...]) -> None:
    assert check.dqd == names


@pytest.mark.parametrize(
    ("check", "columns", "concepts"),
    [
        (Check(Zone.OMOP, "visit", Rule.PERIOD, "start", "end"), ("start", "end"), ()),
        (Check(Zone.OMOP, "note", Rule.AFTER, "note_date", "person.birth_datetime"), ("note_date",), ()),
        (Check(Zone.OMOP, "drug", Rule.CONCEPT_GIVEN, "concept", "source_value"), ("concept", "source_value"), ()),
        (Check(Zone.OMOP, "drug", Rule.CONCEPT_GIVEN, "concept"), ("concept",), ()),
        (Check(Zone.OMOP, "drug", Rule.HIGH, "days_supply", "365"), ("days_supply",), ()),
        (Check(Zone.OMOP, "m", Rule.UNIT, "concept=5", "1 2"), ("concept", "unit_concept_id"), ((5,),)),
        (Check(Zone.OMOP, "o", Rule.LOW, "concept=5,unit=6", "1"), ("concept", "unit", "value_as_number"), ((5,), (6,))),
        (Check(Zone.OMOP, "c", Rule.GENDER_BELOW, "concept=5 7", "8507"), ("concept",), ((5, 7),)),
        (Check(Zone.BRONZE, "b", Rule.UNIQUE, "_file,_line"), ("_file", "_line"), ()),
    ],
)
def test_a_check_says_what_it_reads_and_of_which_concepts(
    check: Check, columns: tuple[str, ...], concepts: tuple[tuple[int, ...], ...]
) -> None:
    assert (check.columns, check.concepts) == (columns, concepts)


def taken(silver: int, untaken: int, entity: str = "consultation") -> list[LedgerRow]:
    outcomes = {Disposition.SILVER: silver, Disposition.MAPPED: silver - untaken, Disposition.UNTAKEN: untaken}
    return [LedgerRow("run", Stage.TAKE, "gp", entity, d, rows, reason="letter") for d, rows in outcomes.items()]


@pytest.mark.parametrize(
    ("before", "now", "failing"),
    [
        (taken(200, 20), taken(400, 80), []),  # a tenth, then a fifth: ten in a hundred more
        (taken(200, 20), taken(400, 81), [(400, 41)]),
        (taken(200, 0), taken(100, 11), [(100, 11)]),
        (taken(200, 0), taken(99, 99), []),  # too few rows
        (taken(99, 0), taken(400, 400), []),
        ([], taken(400, 400), []),  # nothing to compare with
        (taken(200, 0, "slot"), taken(400, 400), []),
        (taken(200, 190), taken(400, 400), []),
        (taken(200, 190), taken(400, 0), []),
    ],
)
def test_rows_that_no_rule_takes_are_judged_by_their_share_before(
    before: list[LedgerRow], now: list[LedgerRow], failing: list[tuple[int, int]]
) -> None:
    failures = judge(untaken_checks(now, before), policy()).failures
    assert [(f.rows, f.violations) for f in failures] == failing
    assert {(f.check.table, str(f.check.rule)) for f in failures} <= {("gp_consultation", "untaken_share")}
