import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.quality.suppression import (
    HIDDEN,
    SMALLEST_SHOWN,
    TOTAL,
    Place,
    suppressed,
    suppressed_parts,
    suppressed_together,
)


def test_small_numbers_are_hidden_and_noughts_are_not() -> None:
    table = suppressed({"gp": {"a": 3, "b": 0, "c": 500, "d": 90}, "acute": {"a": 200, "b": 0, "c": 400, "d": 80}})
    assert table["gp"]["a"] == HIDDEN
    assert table["gp"]["b"] == 0
    assert table["gp"]["c"] == 500


def test_a_lone_small_number_takes_another_with_it_in_its_row_and_column() -> None:
    table = suppressed({"gp": {"a": 3, "c": 500}, "acute": {"a": 200, "c": 400}})
    assert [cell for row in table.values() for cell in row.values()].count(HIDDEN) >= 4


def test_numbers_that_are_all_large_stay() -> None:
    table = suppressed({"gp": {"a": 8, "b": 100}})
    assert table == {"gp": {"a": 8, "b": 100, TOTAL: 108}, TOTAL: {"a": 8, "b": 100, TOTAL: 108}}


def test_a_table_with_one_small_number_hides_its_total() -> None:
    assert suppressed({"gp": {"a": 3}})[TOTAL][TOTAL] == HIDDEN


tables = st.integers(1, 4).flatmap(
    lambda columns: st.lists(
        st.lists(st.sampled_from([0, 0, 1, 2, 5, 7, 8, 20, 300]), min_size=columns, max_size=columns), min_size=1, max_size=4
    )
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(tables)
def test_no_hidden_number_follows_from_the_shown_ones(numbers: list[list[int]]) -> None:
    counts = {f"r{i}": {f"c{j}": n for j, n in enumerate(row)} for i, row in enumerate(numbers)}
    shown = suppressed(counts)
    rows, columns = list(shown), list(shown[TOTAL])
    hidden = [(r, c) for r in rows for c in columns if shown[r][c] == HIDDEN]
    visible = [shown[r][c] for r in rows for c in columns if shown[r][c] != HIDDEN]
    assert all(isinstance(number, int) and (number == 0 or number >= SMALLEST_SHOWN) for number in visible)
    if not hidden:
        return
    # One equation a row and column: what is hidden in it, the total taken away, equals a known number.
    equations = np.array(
        [[(1 if c != TOTAL else -1) * (r == row) for r, c in hidden] for row in rows]
        + [[(1 if r != TOTAL else -1) * (c == column) for r, c in hidden] for column in columns],
        dtype=float,
    )
    rank = np.linalg.matrix_rank(equations)
    for position in range(len(hidden)):
        unit = np.zeros((1, len(hidden)))
        unit[0, position] = 1
        assert np.linalg.matrix_rank(np.vstack([equations, unit])) > rank


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        ({"gp": 40, "acute": 3, "ambulance": 9}, {"gp": 40, "acute": HIDDEN, "ambulance": HIDDEN}),
        ({"gp": 40, "acute": 3, "ambulance": 4}, {"gp": HIDDEN, "acute": HIDDEN, "ambulance": HIDDEN}),
        ({"gp": 40, "acute": 3, "ambulance": 5}, {"gp": 40, "acute": HIDDEN, "ambulance": HIDDEN}),
        ({"gp": 40, "acute": 8, "ambulance": 0}, {"gp": 40, "acute": 8, "ambulance": 0}),
        ({"gp": 7}, {"gp": HIDDEN}),
        ({}, {}),
    ],
)
def test_a_small_part_of_a_shown_total_takes_another_with_it(parts: dict[str, int], shown: dict[str, int | str]) -> None:
    assert suppressed_parts(parts) == shown


@given(st.dictionaries(st.integers(), st.integers(0, 20), max_size=6))
def test_no_hidden_part_follows_from_the_others_and_a_shown_total(parts: dict[int, int]) -> None:
    hidden = [n for part, n in parts.items() if suppressed_parts(parts)[part] == HIDDEN]
    assert {n for n in parts.values() if 0 < n < SMALLEST_SHOWN} <= {*hidden}
    if hidden and sum(parts.values()) >= SMALLEST_SHOWN:
        assert len(hidden) > 1
        assert sum(hidden) >= SMALLEST_SHOWN


Row = list[int]
parts_of_sources = st.integers(2, 4).flatmap(
    lambda sources: st.lists(
        st.lists(st.sampled_from([0, 0, 1, 2, 5, 7, 8, 20, 300]), min_size=sources, max_size=sources), min_size=1, max_size=3
    )
)


def broken_down(parts: list[Row], others: list[Row]) -> tuple[dict[str, dict[str, dict[str, int]]], list[tuple[Place, Place]]]:
    """Sources by outcome, and one of the outcomes by reason: the sums of the reasons are numbers of the first table."""
    sources = [f"s{number}" for number in range(len(parts[0]))]
    reasons = {f"r{number}": dict(zip(sources, row, strict=True)) for number, row in enumerate(parts)}
    outcomes = {
        source: {"out": sum(row[source] for row in reasons.values())}
        | {f"o{number}": row[place % len(row)] for number, row in enumerate(others)}
        for place, source in enumerate(sources)
    }
    same: list[tuple[Place, Place]] = [
        (("outcomes", source, "out"), ("reasons", TOTAL, source)) for source in (*sources, TOTAL)
    ]
    return {"outcomes": outcomes, "reasons": reasons}, same


@settings(max_examples=300, derandomize=True, deadline=None)
@given(parts_of_sources, tables)
def test_a_number_that_one_table_hides_does_not_follow_from_another(parts: list[Row], others: list[Row]) -> None:
    """All equations of both tables at once, with the numbers that are in both as one unknown."""
    counts, same = broken_down(parts, others)
    shown = suppressed_together(counts, same)
    alias = {second: first for first, second in same}
    cells = {
        (name, row, column): n for name, table in shown.items() for row, found in table.items() for column, n in found.items()
    }
    assert all((cells[first] == HIDDEN) == (cells[second] == HIDDEN) for first, second in same)
    hidden = list(dict.fromkeys(alias.get(cell, cell) for cell, n in cells.items() if n == HIDDEN))
    equations = []
    for name, table in shown.items():
        columns = list(table[TOTAL])
        lines = [[(name, row, column) for column in columns] for row in table]
        lines += [[(name, row, column) for row in table] for column in columns]
        for line in lines:
            equation = np.zeros(len(hidden))
            for cell in line:
                if cells[cell] == HIDDEN:
                    equation[hidden.index(alias.get(cell, cell))] += -1 if cell is line[-1] else 1
            equations.append(equation)
    rank = np.linalg.matrix_rank(np.array(equations)) if hidden else 0
    for position in range(len(hidden)):
        unit = np.zeros((1, len(hidden)))
        unit[0, position] = 1
        assert np.linalg.matrix_rank(np.vstack([*equations, unit])) > rank


def test_a_number_shown_by_a_total_of_another_table_is_hidden_there_too() -> None:
    """Community and social care are hidden in the flow, so the sums of their reasons may not be shown either."""
    flow = {"community": {"out": 95, "in": 900}, "gp": {"out": 700, "in": 9000}, "social_care": {"out": 5, "in": 80}}
    why = {"national": {"community": 49, "gp": 400, "social_care": 3}, "other": {"community": 46, "gp": 300, "social_care": 2}}
    same: list[tuple[Place, Place]] = [(("flow", source, "out"), ("why", TOTAL, source)) for source in flow]
    shown = suppressed_together({"flow": flow, "why": why}, same)
    assert shown["flow"]["social_care"]["out"] == shown["flow"]["community"]["out"] == HIDDEN
    assert shown["why"][TOTAL]["social_care"] == shown["why"][TOTAL]["community"] == HIDDEN
    assert shown["flow"]["gp"]["out"] == shown["why"][TOTAL]["gp"] == 700
