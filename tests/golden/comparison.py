"""Compares the rows of a person with the expected rows exactly, and shows the difference."""

from collections.abc import Sequence

from tests.golden.cases import Expected


def is_pairing(expected: Sequence[Expected], actual: Sequence[Expected]) -> bool:
    """Whether expected and actual rows can be paired one to one so that every pair agrees in the expected values."""
    if len(expected) != len(actual):
        return False
    if not expected:
        return True
    first, *remaining = expected
    return any(
        is_pairing(remaining, [*actual[:place], *actual[place + 1 :]])
        for place, row in enumerate(actual)
        if all(row[name] == value for name, value in first.items())
    )


def difference(table: str, expected: Sequence[Expected], actual: Sequence[Expected]) -> str:
    """Expected rows, then actual rows; rows without a counterpart are marked."""
    lines = [f"{table}: {len(expected)} rows expected, {len(actual)} found"]
    lines += [f"  expected {_shown(row)}" for row in expected]
    lines += [f"  found    {_shown(row)}" for row in actual]
    return "\n".join(lines)


def _shown(row: Expected) -> str:
    return ", ".join(f"{name}: {'null' if value is None else value}" for name, value in row.items())
