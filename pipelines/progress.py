"""How long work says how far it is. Give names and counts only, never a value out of a delivery."""

from collections.abc import Callable

OnProgress = Callable[[str], None]
"""Called after each part of long work with the name of the part."""

Field = str | int | float | bool | None
"""A value that may be shown to people: a name or a count."""


def ignore_progress(_part: str) -> None:
    """For callers that show no progress."""
