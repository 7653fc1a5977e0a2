"""Every mapping rule has a golden patient, and no rule changes without a change of its golden patients."""

import pytest

from tests.golden.rules_lock import COMMAND, Marks, faults, is_agreed, locked_sources, marks_locked, marks_now


@pytest.mark.parametrize("source", locked_sources())
def test_rules_and_golden_patients_keep_up_with_each_other(source: str) -> None:
    now, locked = marks_now(source), marks_locked(source)
    found = faults(now, locked)
    assert not found, "\n".join(found)
    assert is_agreed(now, locked), f"rules or golden patients of {source} changed together: look at both, then run {COMMAND}"


@pytest.mark.parametrize(
    ("now", "locked", "found"),
    [
        (Marks("a", "x"), Marks("a", "x"), []),
        (Marks("b", "y"), Marks("a", "x"), []),
        (Marks("a", "y"), Marks("a", "x"), []),
        (Marks("b", "x"), Marks("a", "x"), ["gp_person: the rule changed and its golden patients did not; change or add one"]),
        (Marks("a", ""), Marks("a", ""), ["gp_person: no golden patient names this rule; add one"]),
    ],
    ids=["same", "both", "cases_only", "rule_only", "without_case"],
)
def test_a_changed_rule_needs_a_changed_golden_patient(now: Marks, locked: Marks, found: list[str]) -> None:
    assert faults({"gp_person": now}, {"gp_person": locked}) == found
    assert is_agreed({"gp_person": now}, {"gp_person": locked}) is (now == locked)


def test_a_new_rule_is_not_agreed_on() -> None:
    assert not is_agreed({"gp_person": Marks("a", "x")}, {})
