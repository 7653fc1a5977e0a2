"""Limits, severities and waivers: which checks they are about, what they change, and what they may name."""

from datetime import date
from pathlib import Path

import pytest

from pipelines.contracts.derived import published_tables
from pipelines.contracts.gate_policy import CheckName, GatePolicy, Waiver
from pipelines.contracts.source import load_contracts
from pipelines.errors import ConfigError, QualityGateError
from pipelines.quality.checks import Check, Rule, Severity, Zone
from pipelines.quality.gates import GateResult, Measured, Verdict, judge
from pipelines.quality.policy import KnownNames, Policy
from pipelines.quality.written import require_passed
from pipelines.settings import PACKAGED_CONF_DIR, PACKAGED_MAPPINGS_DIR, load_settings
from tests.builders.policies import packaged, policy

DAY = date(2026, 1, 5)
UNREADABLE = Check(Zone.RUN, "gp_patient@A81001", Rule.UNREADABLE, "date_of_death")
LINK = Check(Zone.OMOP, "measurement", Rule.FOREIGN_KEY, "visit_occurrence_id", "visit_occurrence.visit_occurrence_id")
KNOWN = KnownNames.of(load_contracts(PACKAGED_MAPPINGS_DIR), published_tables("5.4"), ["A81001", "RZ1"])


@pytest.mark.parametrize(
    ("entry", "fits_unreadable", "fits_link"),
    [
        ({"check": "unreadable_share"}, True, False),
        ({"check": "*"}, True, True),
        ({"check": "unreadable_share on run.gp_patient"}, True, False),
        ({"check": "unreadable_share on run.gp_*.date_of_*"}, True, False),
        ({"check": "unreadable_share on run.gp_patient.sex"}, False, False),
        ({"check": "unreadable_share on run.gp_patient@A81001.date_of_death"}, True, False),
        ({"check": "unreadable_share on run.gp_patient@A81002.date_of_death"}, False, False),
        ({"check": "unreadable_share", "provider": "A81001"}, True, False),
        ({"check": "*", "provider": "A8*"}, True, False),
        ({"check": "foreign_key on omop"}, False, True),
        ({"check": "foreign_key on *.*.visit_occurrence_id"}, False, True),
        ({"check": "foreign_key on silver"}, False, False),
        ({"check": str(LINK)}, False, True),
    ],
)
def test_an_entry_is_about_the_checks_that_its_pattern_names(
    entry: dict[str, str], fits_unreadable: bool, fits_link: bool
) -> None:
    given = GatePolicy.model_validate({"limits": [entry | {"allowed": 0.5}]})
    found = [Policy(given, DAY).limited(check).tolerance == 0.5 for check in (UNREADABLE, LINK)]
    assert found == [fits_unreadable, fits_link]


def test_the_last_entry_that_fits_counts_for_share_and_severity_each() -> None:
    given = GatePolicy.model_validate(
        {
            "limits": [
                {"check": "unreadable_share", "allowed": 0.05},
                {"check": "unreadable_share", "provider": "A81001", "allowed": 0.2},
                {"check": "unreadable_share on run.gp_patient", "severity": "warn"},
            ]
        }
    )
    limited = Policy(given, DAY).limited(UNREADABLE)
    assert (limited.tolerance, limited.severity) == (0.2, Severity.WARN)


def waivers(until: str, check: str = str(LINK)) -> Policy:
    waiver = {"check": check, "reason": "known", "owner": "Data quality", "until": until}
    return Policy(GatePolicy.model_validate({"waivers": [waiver]}), DAY)


@pytest.mark.parametrize(
    ("until", "outcome"),
    [("2026-01-06", Verdict.WAIVED), ("2026-01-05", Verdict.WAIVED), ("2026-01-04", Verdict.FAILED)],
)
def test_a_waiver_holds_to_its_last_day_and_is_fatal_after_it(until: str, outcome: Verdict) -> None:
    report = judge([Measured(LINK, 100, 3)], waivers(until))
    (result,) = report.results
    assert (result.verdict, result.passed, result.has_expired) == (outcome, False, outcome is Verdict.FAILED)
    assert report.summary() == {
        "checks": 1,
        "failed": int(outcome is Verdict.FAILED),
        "warnings": 0,
        "waived": int(outcome is Verdict.WAIVED),
    }
    assert result.waiver is not None
    assert GateResult.of(result.record("run")).record("run") == result.record("run")
    if outcome is Verdict.FAILED:
        with pytest.raises(QualityGateError, match=r"\* of 100; its waiver ended on 2026-01-04"):
            require_passed(report)
    else:
        require_passed(report)


def test_a_result_of_an_earlier_version_has_what_it_was_judged_by() -> None:
    stored = GateResult(LINK, 100, 3, passed=False, detail="more", own=LINK).record("run")
    later = ("argument", "detail", "verdict", "waiver_reason", "waiver_owner", "waiver_until", "own_severity", "own_tolerance")
    result = GateResult.of(stored | dict.fromkeys(later))
    assert (result.check.rule, result.violations, result.verdict, result.detail) == (LINK.rule, 3, Verdict.FAILED, "")
    assert result.measured.check.tolerance == LINK.tolerance
    waived = stored | {"waiver_reason": " ", "waiver_owner": "-", "waiver_until": DAY, "verdict": "waived"}
    assert GateResult.of(waived).record("run") == waived


def test_a_waiver_of_a_check_that_holds_or_only_warns_is_not_shown() -> None:
    policy = waivers("2026-01-06", "*")
    warning = Check(Zone.OMOP, "person", Rule.UNIQUE, severity=Severity.WARN)
    report = judge([Measured(LINK, 100, 0), Measured(warning, 5, 2)], policy)
    assert [(result.verdict, result.waiver) for result in report.results] == [(Verdict.PASSED, None), (Verdict.WARNED, None)]


def test_of_two_waivers_the_one_that_ends_last_counts() -> None:
    both = [
        {"check": "foreign_key", "reason": "old", "owner": "A", "until": "2025-01-01"},
        {"check": str(LINK), "reason": "renewed", "owner": "B", "until": "2026-02-01"},
    ]
    waiver = Policy(GatePolicy.model_validate({"waivers": both}), DAY).waiver(LINK)
    assert waiver == Waiver(check=str(LINK), reason="renewed", owner="B", until=date(2026, 2, 1))


def test_nobody_at_all_is_never_let_pass() -> None:
    given = {
        "limits": [{"check": "*", "allowed": 1, "severity": "warn"}],
        "waivers": [{"check": "*", "reason": "r", "owner": "o", "until": "2099-01-01"}],
    }
    report = judge([Measured(Check(Zone.OMOP, "person", Rule.PEOPLE), 1, 1)], Policy(GatePolicy.model_validate(given), DAY))
    assert [str(failure.check) for failure in report.failures] == ["people on omop.person"]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("unreadable_shares", "there is no rule unreadable_shares; is unreadable_share meant?"),
        ("unique on omop.condition_occurence", "there is no table condition_occurence; is condition_occurrence meant?"),
        ("required on omop.person.gender_id", "there is no column gender_id; is gender_concept_id meant?"),
        ("required on omp.person", "there is no zone omp; is omop meant?"),
        ("orphan_share on run.gp_patient@A81O01", "there is no provider A81O01; is A81001 meant?"),
        ("unique on bronze.gp_patient._load_id,_file,_line", None),
        ("required on silver.acute_*.person_id", None),
        ("quarantined_share on run.acute", None),
        ("orphan_share on run.gp_observation.code_key", None),
    ],
)
def test_what_is_named_has_to_be_there(entry: str, fault: str | None) -> None:
    given = GatePolicy.model_validate({"waivers": [{"check": entry, "reason": "r", "owner": "o", "until": "2026-02-01"}]})
    assert KNOWN.faults(given) == ([f"waiver {entry}: {fault}"] if fault else [])
    if fault:
        with pytest.raises(ConfigError, match="limits, waivers and ages name what there is not"):
            KNOWN.require(given)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("gp/A81O01", "change.max_age_days gp/A81O01: there is no provider A81O01; is A81001 meant?"),
        ("gp/a81001", "change.max_age_days gp/a81001: there is no provider a81001; is A81001 meant?"),
        ("gp/A81001", None),
        ("gp", None),
        ("*", None),
    ],
)
def test_a_provider_of_whom_an_age_is_said_has_to_be_there(name: str, fault: str | None) -> None:
    assert KNOWN.faults(GatePolicy.model_validate({"change": {"max_age_days": {name: 3}}})) == ([fault] if fault else [])


def test_the_packaged_limits_name_what_there_is() -> None:
    KNOWN.require(packaged())
    assert policy().limited(UNREADABLE).tolerance == 0.05
    assert packaged().waivers == ()


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("limits: [{check: unique}]", "expected allowed, severity or both"),
        ("limits: [{check: unique, allowed: 2}]", "less than or equal to 1"),
        ("limits: [{check: unique of person, allowed: 1}]", "expected RULE, or RULE on ZONE.TABLE.COLUMN"),
        ("limits: [{check: 'unique on run.gp@A', provider: B, allowed: 1}]", "the provider is named twice"),
        ("waivers: [{check: unique, reason: r, until: 2026-01-01}]", "waivers.0.owner: Field required"),
        ("waivers: [{check: unique, reason: '', owner: o, until: 2026-01-01}]", "waivers.0.reason"),
        (
            "waivers: [{check: unique, reason: ' ', owner: o, until: 2026-01-01}]",
            "waivers.0.reason: Value error, has no",
        ),
        (
            "waivers: [{check: unique, reason: r, owner: '9990000018', until: 2026-01-01}]",
            "waivers.0.owner: Value error, holds",
        ),
        (
            "waivers: [{check: unique, reason: asks 9990000018, owner: o, until: 2026-01-01}]",
            "reason: Value error, holds an",
        ),
        ("waiver: []", "there is no such setting"),
    ],
)
def test_a_fault_names_the_file_and_the_entry(tmp_path: Path, written: str, fault: str) -> None:
    (tmp_path / "quality").mkdir()
    for name in ("base.yaml", "test.yaml"):
        (tmp_path / name).write_text((PACKAGED_CONF_DIR / name).read_text())
    (tmp_path / "quality" / "own.yaml").write_text(written)
    with pytest.raises(ConfigError) as raised:
        load_settings("test", tmp_path)
    assert str(raised.value).startswith(f"{tmp_path.resolve()}/quality/own.yaml: 1 fault\n")
    assert fault in str(raised.value)


def test_a_teams_own_files_come_after_the_packaged_ones_and_overrides_last(tmp_path: Path) -> None:
    (tmp_path / "quality").mkdir()
    for name in ("base.yaml", "test.yaml"):
        (tmp_path / name).write_text((PACKAGED_CONF_DIR / name).read_text())
    (tmp_path / "quality" / "own.yaml").write_text(
        "limits: [{check: mapped_share, allowed: 0.3}]\nchange: {least_people: 7, max_age_days: {gp: 3}}"
    )
    found = load_settings("test", tmp_path, ["gates.limits=[{check: mapped_share on run.gp, allowed: 0.4}]"]).gates
    assert found.limits[: len(packaged().limits)] == packaged().limits
    allowed = [Policy(found, DAY).limited(Check(Zone.RUN, source, Rule.MAPPED)).tolerance for source in ("acute", "gp")]
    assert allowed == [0.3, 0.4]
    assert (found.change.least_people, found.change.least_rows) == (7, 2000)
    assert [found.change.oldest_allowed(*place) for place in (("gp", "P"), ("acute", "P"))] == [3, 62]


def test_the_parts_of_a_name() -> None:
    assert CheckName.of("orphan_share on run.gp_patient@P1.code_key") == ("orphan_share", "run", "gp_patient", "code_key", "P1")
    assert CheckName.of("unique") == ("unique", "*", "*", "*", "")
