"""Which codes two vocabularies map differently."""

from typing import Any

import pytest

from vocab.changes import CodeTargets, Kind, changes, targets_by_code

A = ("ICD10", "J45.9")


def row(target: int, domain: str | None = "Condition", value: int | None = None, code: tuple[str, str] = A) -> dict[str, Any]:
    return {
        "source_vocabulary_id": code[0],
        "source_code": code[1],
        "target_concept_id": target,
        "target_domain_id": domain,
        "value_as_concept_id": value,
    }


def test_a_code_has_all_its_targets_with_values_and_domains() -> None:
    found = targets_by_code([row(1), row(2, "Observation", 9), row(0, None, code=("ICD10", "U06.0"))])
    assert found == {A: CodeTargets(frozenset({(1, None), (2, 9)}), frozenset({"Condition", "Observation"}))}


@pytest.mark.parametrize(
    ("old", "new", "kind", "moves"),
    [
        ([row(1)], [row(1)], None, False),
        ([row(0, None)], [], None, False),
        ([row(1), row(2)], [row(2), row(1)], None, False),
        ([row(1)], [], Kind.LOSS, False),
        ([row(1)], [row(0, None)], Kind.LOSS, False),
        ([], [row(1)], Kind.GAIN, False),
        ([row(1)], [row(2)], Kind.RETARGET, False),
        ([row(1)], [row(2, "Drug")], Kind.RETARGET, True),
        ([row(1)], [row(1), row(2)], Kind.RETARGET, False),
        ([row(1, value=5)], [row(1, value=6)], Kind.RETARGET, False),
        ([row(1)], [row(1, "Observation")], Kind.DOMAIN_MOVE, True),
    ],
)
def test_each_kind_of_change(old: list[dict[str, Any]], new: list[dict[str, Any]], kind: Kind | None, moves: bool) -> None:
    found = changes(targets_by_code(old), targets_by_code(new))
    assert [(change.vocabulary, change.code, change.kind, change.moves) for change in found] == (
        [(*A, kind, moves)] if kind else []
    )


def test_changes_are_in_the_order_of_codes() -> None:
    codes = [("Read", "a"), ("ICD10", "b"), ("ICD10", "a")]
    found = changes(targets_by_code(row(1, code=code) for code in codes), {})
    assert [(change.vocabulary, change.code) for change in found] == sorted(codes)
