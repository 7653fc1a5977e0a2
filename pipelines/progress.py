"""How long work says how far it has come. Give names and counts only, never a value out of a delivery."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

OnProgress = Callable[[str], None]
"""Called with the name of a part when that part of a long task is finished."""

Field = str | int | float | bool | None
"""A value that may be displayed: a name or a count."""

_COMMANDS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal takes for a command, what turns the direction of a text, and halves of characters."""


def printable(text: str) -> str:
    """A text that may come from elsewhere, with a question mark for what would not be printed but done."""
    return _COMMANDS.sub("?", text)


ShowStage = Callable[[str, int | None], AbstractContextManager[OnProgress]]
"""Called at the start of a stage with its name and the number of its parts, None where that is not known."""


def ignore_progress(_part: str) -> None:
    """For callers that show no progress."""


@contextmanager
def no_stages(_name: str, _total: int | None = None) -> Iterator[OnProgress]:
    """A `ShowStage` for callers that show no progress."""
    yield ignore_progress
