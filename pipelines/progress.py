"""How long work says how far it has come. Give names and counts only, never a value out of a delivery."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

OnProgress = Callable[[str], None]
"""Called with the name of a part when that part of a long task is finished."""

Field = str | int | float | bool | None
"""A value that may be displayed: a name or a count."""

ShowStage = Callable[[str, int | None], AbstractContextManager[OnProgress]]
"""Called at the start of a stage with its name and the number of its parts, None where that is not known."""


def ignore_progress(_part: str) -> None:
    """For callers that show no progress."""


@contextmanager
def no_stages(_name: str, _total: int | None = None) -> Iterator[OnProgress]:
    """A `ShowStage` for callers that show no progress."""
    yield ignore_progress
