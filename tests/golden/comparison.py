"""Whether the rows of a person are the expected ones, no more, no less; and how a difference is shown."""

from collections.abc import Sequence

from tests.golden.cases import Expected


def is_pairing(expected: Sequence[Expected], actual: Sequence[Expected]) -> bool:
    """Whether every expected row can be paired with an actual row of its own that has its values, and none is left over."""
    if len(expected) != len(actual):
        return False
    if not expected:
        return True
    first, *others = expected
    return any(
        is_pairing(others, [*actual[:place], *actual[place + 1 :]])
        for place, row in enumerate(actual)
        if all(row[name] == value for name, value in first.items())
    )


def difference(table: str, expected: Sequence[Expected], actual: Sequence[Expected]) -> str:
    """Expected and actual rows one below the other, marked where a row has no counterpart."""
    lines = [f"{table}: {len(expected)} rows expected, {len(actual)} found"]
    lines += [f"  expected {_shown(row)}" for row in expected]
    lines += [f"  found    {_shown(row)}" for row in actual]
    return "\n".join(lines)


def _shown(row: Expected) -> str:
    return ", ".join(f"{name}: {'null' if value is None else value}" for name, value in row.items())
