from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from pipelines.contracts.ledger import Disposition, LedgerRow, Stage
from pipelines.quality.figures import Figure, row_figures, silver_outcomes
from pipelines.quality.suppression import (
    HIDDEN,
    SMALLEST_SHOWN,
    TOTAL,
    Place,
    Suppressed,
    suppressed,
    suppressed_breakdowns,
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


_COUNTS = st.sampled_from([0, 0, 1, 1, 1, 2, 5, 7, 8, 20, 300])

tables = st.integers(1, 4).flatmap(
    lambda columns: st.lists(st.lists(_COUNTS, min_size=columns, max_size=columns), min_size=1, max_size=4)
)

MOST = 10_000
"""More than any number of an example."""


def certain(
    shown: Mapping[str, Suppressed], exact: Mapping[str, Suppressed], same: Mapping[Place, Place], *, only_rows: bool = False
) -> list[Place]:
    """The hidden cells of tables that can have one value only, given what is shown, found by linear programs.

    One equation a row and column: its parts add up to its total. A hidden number is at least 1, for zeros are shown. `same`
    are cells that are one number. What is whole at its corners, as sums of tables are, needs no whole numbers asked for.
    """
    cells = {(name, r, c): n for name, table in shown.items() for r, row in table.items() for c, n in row.items()}
    hidden = list(dict.fromkeys(same.get(cell, cell) for cell, n in cells.items() if n == HIDDEN))
    if not hidden:
        return []
    equations = []
    for name, table in shown.items():
        columns = list(table[TOTAL])
        lines = [[(name, r, c) for c in columns] for r in table]
        lines += [] if only_rows else [[(name, r, c) for r in table] for c in columns]
        for line in lines:
            equation = np.zeros(len(hidden))
            for cell in line:
                if cells[cell] == HIDDEN:
                    equation[hidden.index(same.get(cell, cell))] += -1 if cell is line[-1] else 1
            equations.append(equation)
    values = np.array([exact[name][r][c] for name, r, c in hidden], dtype=float)
    matrix = np.array(equations)
    open_ones = set(range(len(hidden)))

    def try_to_move(aims: np.ndarray) -> None:
        found = linprog(aims, A_eq=matrix, b_eq=matrix @ values, bounds=(1, MOST), method="highs").x
        open_ones.difference_update(np.flatnonzero(abs(found - values) > 0.5).tolist())

    everything = np.random.default_rng(0).uniform(0.5, 1.5, len(hidden))
    for aims in (everything, -everything):
        try_to_move(aims)
    for place in sorted(open_ones):
        for aim in (1, -1):
            if place in open_ones:
                try_to_move(aim * np.eye(len(hidden))[place])
    return [hidden[place] for place in sorted(open_ones)]


@settings(max_examples=100, derandomize=True, deadline=None)
@given(tables)
def test_no_hidden_number_follows_from_the_shown_ones(numbers: list[list[int]]) -> None:
    counts = {f"r{i}": {f"c{j}": n for j, n in enumerate(row)} for i, row in enumerate(numbers)}
    shown, exact = suppressed(counts), suppressed(counts, 1)
    visible = [n for cells in shown.values() for n in cells.values() if n != HIDDEN]
    assert all(isinstance(number, int) and (number == 0 or number >= SMALLEST_SHOWN) for number in visible)
    assert all(n in (HIDDEN, exact[row][column]) for row, cells in shown.items() for column, n in cells.items())
    assert certain({TOTAL: shown}, {TOTAL: exact}, {}) == []


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ([1] * 8, [HIDDEN] * 9),
        ([1] * 8 + [30], [*[HIDDEN] * 9, 38]),
        ([1] * 7 + [2], [*[HIDDEN] * 8, 9]),
        ([1] * 9 + [0], [*[HIDDEN] * 9, 0, HIDDEN]),
    ],
)
def test_a_total_of_as_many_as_there_are_hidden_numbers_gives_none_away(row: list[int], shown: list[int | str]) -> None:
    """A hidden number is at least 1, so that a total of 8 would say of eight of them that each is 1."""
    table = suppressed(
        {"gp": {f"c{place}": n for place, n in enumerate(row)}, "acute": dict.fromkeys(map("c{}".format, range(len(row))), 50)}
    )
    assert list(table["gp"].values()) == shown


@pytest.mark.parametrize(
    ("total", "parts", "shown"),
    [
        (52, {"gp": 40, "acute": 3, "ambulance": 9}, (52, {"gp": 40, "acute": HIDDEN, "ambulance": HIDDEN})),
        (47, {"gp": 40, "acute": 3, "ambulance": 4}, (47, {"gp": HIDDEN, "acute": HIDDEN, "ambulance": HIDDEN})),
        (48, {"gp": 40, "acute": 3, "ambulance": 5}, (48, {"gp": 40, "acute": HIDDEN, "ambulance": HIDDEN})),
        (48, {"gp": 40, "acute": 8, "ambulance": 0}, (48, {"gp": 40, "acute": 8, "ambulance": 0})),
        (7, {"gp": 7}, (HIDDEN, {"gp": HIDDEN})),
        (0, {}, (0, {})),
        (8, dict.fromkeys("abcdefgh", 1), (HIDDEN, dict.fromkeys("abcdefgh", HIDDEN))),
        (28, dict.fromkeys("abcdefgh", 1) | {"i": 20}, (28, dict.fromkeys("abcdefghi", HIDDEN))),
        (28, dict.fromkeys("abcdefgh", 1) | {"i": 9, "j": 11}, (28, dict.fromkeys("abcdefghi", HIDDEN) | {"j": 11})),
        (9, dict.fromkeys("abcdefg", 1) | {"h": 2}, (9, dict.fromkeys("abcdefgh", HIDDEN))),
    ],
)
def test_a_small_part_of_a_shown_total_takes_another_with_it(
    total: int, parts: dict[str, int], shown: tuple[int | str, dict[str, int | str]]
) -> None:
    found, (broken_down,) = suppressed_breakdowns(total, [parts])
    assert (found, broken_down) == shown


def test_a_total_that_one_breakdown_would_give_away_is_hidden_in_all() -> None:
    """By concept there are nine ones; by source and month the numbers would add up to the total that is hidden for that."""
    concepts, sources, months = dict.fromkeys("abcdefghi", 1), {"gp": 9}, {"2024-05": 0, "2024-06": 9}
    assert suppressed_breakdowns(9, [concepts, sources, months]) == (
        HIDDEN,
        [dict.fromkeys("abcdefghi", HIDDEN), {"gp": HIDDEN}, {"2024-05": 0, "2024-06": HIDDEN}],
    )
    assert suppressed_breakdowns(60, [{"gp": 40, "acute": 20}], hides_total=True) == (HIDDEN, [{"gp": 40, "acute": HIDDEN}])


def broken_down_in_two(parts: list[int], sizes: list[int]) -> dict[int, int]:
    """Another way to break the same total down: as many parts as there are sizes, the last takes what is left."""
    rest, other = sum(parts), {}
    for place, size in enumerate(sizes):
        other[place] = min(size, rest)
        rest -= other[place]
    return other | {len(sizes): rest}


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(_COUNTS, max_size=9), st.lists(_COUNTS, max_size=4))
def test_no_hidden_part_follows_from_a_total_and_its_breakdowns(parts: list[int], sizes: list[int]) -> None:
    breakdowns = [dict(enumerate(parts)), broken_down_in_two(parts, sizes)]
    shown_total, shown = suppressed_breakdowns(sum(parts), breakdowns)
    small = [n for parts in (*shown, {0: shown_total}) for n in parts.values() if n != HIDDEN and 0 < int(n) < SMALLEST_SHOWN]
    assert small == []
    # Each breakdown as a table of one row; their totals are one number.
    tables = {
        f"{place}": {TOTAL: {**{f"{part}": n for part, n in parts.items()}, TOTAL: shown_total}}
        for place, parts in enumerate(shown)
    }
    exact: dict[str, Suppressed] = {
        f"{place}": {TOTAL: {**{f"{part}": n for part, n in parts.items()}, TOTAL: sum(parts.values())}}
        for place, parts in enumerate(breakdowns)
    }
    assert certain(tables, exact, {("1", TOTAL, TOTAL): ("0", TOTAL, TOTAL)}, only_rows=True) == []


Row = list[int]
parts_of_sources = st.integers(2, 4).flatmap(
    lambda sources: st.lists(st.lists(_COUNTS, min_size=sources, max_size=sources), min_size=1, max_size=3)
)


def broken_down(parts: list[Row], others: list[Row]) -> dict[str, dict[str, dict[str, int]]]:
    """Sources by outcome, and one of the outcomes by reason: the sums of the reasons are numbers of the first table."""
    sources = [f"s{number}" for number in range(len(parts[0]))]
    reasons = {f"r{number}": dict(zip(sources, row, strict=True)) for number, row in enumerate(parts)}
    outcomes = {
        source: {"out": sum(row[source] for row in reasons.values())}
        | {f"o{number}": row[place % len(row)] for number, row in enumerate(others)}
        for place, source in enumerate(sources)
    }
    return {"outcomes": outcomes, "reasons": reasons}


@settings(max_examples=100, derandomize=True, deadline=None)
@given(parts_of_sources, tables)
def test_a_number_that_one_table_hides_does_not_follow_from_another(parts: list[Row], others: list[Row]) -> None:
    """All equations of both tables at once, with the numbers that are in both as one unknown."""
    counts, columns = broken_down(parts, others), {"reasons": ("outcomes", "out")}
    shown, exact = suppressed_together(counts, columns), suppressed_together(counts, columns, 1)
    same = {("reasons", TOTAL, source): ("outcomes", source, "out") for source in shown["outcomes"]}
    assert all(shown[a][b][c] == shown[d][e][f] for (a, b, c), (d, e, f) in same.items())
    assert certain(shown, exact, same) == []


def test_a_number_shown_by_a_total_of_another_table_is_hidden_there_too() -> None:
    """Community and social care are hidden in the flow, so the sums of their reasons may not be shown either."""
    flow = {"community": {"out": 95, "in": 900}, "gp": {"out": 700, "in": 9000}, "social_care": {"out": 5, "in": 80}}
    why = {"national": {"community": 49, "gp": 400, "social_care": 3}, "other": {"community": 46, "gp": 300, "social_care": 2}}
    shown = suppressed_together({"flow": flow, "why": why}, {"why": ("flow", "out")})
    assert shown["flow"]["social_care"]["out"] == shown["flow"]["community"]["out"] == HIDDEN
    assert shown["why"][TOTAL]["social_care"] == shown["why"][TOTAL]["community"] == HIDDEN
    assert shown["flow"]["gp"]["out"] == shown["why"][TOTAL]["gp"] == 700


def counted(stage: Stage, source: str, disposition: Disposition, rows: int, reason: str = "") -> LedgerRow:
    return LedgerRow("r", stage, source, "entry", disposition, rows, reason=reason)


@st.composite
def ledgers(draw: st.DrawFn) -> list[LedgerRow]:
    """Up to three sources whose rows have outcomes with reasons; what became of the current ones is counted too."""
    ledger = []
    for source in ("acute", "gp", "social_care")[: draw(st.integers(1, 3))]:
        reasons = [(d, why) for d in (Disposition.QUARANTINED, Disposition.OPTED_OUT) for why in ("a", "b")]
        for disposition, reason in ((Disposition.DUPLICATE, ""), (Disposition.SUPERSEDED, ""), *reasons):
            ledger.append(counted(Stage.CURATE, source, disposition, draw(_COUNTS), reason))
        untaken = [counted(Stage.TAKE, source, Disposition.UNTAKEN, draw(_COUNTS), why) for why in ("x", "y")]
        silver = [counted(Stage.TAKE, source, Disposition.MAPPED, draw(_COUNTS)), *untaken]
        ledger += [*silver, counted(Stage.CURATE, source, Disposition.CURRENT, sum(row.rows for row in silver))]
    return ledger


def reported(ledger: list[LedgerRow], smallest_shown: int) -> dict[str, Suppressed]:
    """The tables of a report as tables with totals, by name."""

    def table(rows: list[Figure], name: str, total: str) -> Suppressed:
        cells = {str(row.pop(name)): row for row in [dict(row) for row in rows]}
        whole = {key: {**row, TOTAL: row.pop(total)} for key, row in cells.items()}
        return {key: {column: n if isinstance(n, int) else str(n) for column, n in row.items()} for key, row in whole.items()}

    figures = row_figures(ledger, smallest_shown)
    sources = [str(row["source"]) for row in figures.flow[:-1]]
    tables = {"flow": table(figures.flow, "source", "delivered")}
    parts = {"opted_out": figures.opted_out, "quarantined": figures.quarantined}
    tables |= {name: table(rows, "reason", TOTAL) for name, rows in parts.items() if rows}
    silver: Suppressed = {}
    for row in silver_outcomes(ledger, smallest_shown):
        shown = row["rows"] if isinstance(row["rows"], int) else HIDDEN
        if row["entity"] == TOTAL:
            silver.setdefault(TOTAL, {})[str(row["source"])] = shown
        else:
            key = f"{row['source']} {row['outcome']} {row['reason']}"
            silver[key] = {**dict.fromkeys(sources, 0), str(row["source"]): shown, TOTAL: shown}
    totals = {source: silver[TOTAL][source] for source in sources}
    silver[TOTAL] = {**totals, TOTAL: tables["flow"][TOTAL][Disposition.CURRENT]}
    return tables | {"silver": {key: silver[key] for key in (*(silver.keys() - {TOTAL}), TOTAL)}}


@settings(max_examples=40, derandomize=True, deadline=None)
@given(ledgers())
def test_no_hidden_number_of_a_report_follows_from_its_other_tables(ledger: list[LedgerRow]) -> None:
    """The sums of the reasons, and of what became of the silver rows, are numbers of the first table."""
    shown, exact = reported(ledger, SMALLEST_SHOWN), reported(ledger, 1)
    columns = {"silver": "current", "opted_out": "opted_out", "quarantined": "quarantined"}
    same: dict[Place, Place] = {
        (name, TOTAL, source): (("flow", TOTAL, column) if source == TOTAL else ("flow", source, column))
        for name, column in columns.items()
        for source in shown.get(name, {}).get(TOTAL, {})
    }
    same |= {("silver", key, TOTAL): ("silver", key, key.split()[0]) for key in shown["silver"] if key != TOTAL}
    assert [(a, d) for (a, b, c), (d, e, f) in same.items() if shown[a][b][c] != shown[d][e][f]] == []
    assert certain(shown, exact, same) == []
