"""Names that somebody else has given, of folders, files and headers, as messages, results and reports show them."""

import re
from collections.abc import Iterable
from typing import Final

from pipelines.contracts.number_spellings import holds_nhs_number

WITHHELD_NAME: Final = "(name withheld: it holds an NHS number)"

_LIKE_A_HEADER: Final = re.compile(r"[A-Za-z][A-Za-z0-9 _.\-]{0,59}")


def shown(name: str, most: int = 100) -> str:
    """A name as people see it: in one line, not too long, and not at all where it holds an NHS number."""
    if holds_nhs_number(name):
        return WITHHELD_NAME
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= most else f"{plain[:most]}..."


def is_like_a_header(text: str) -> bool:
    """Whether a text that somebody delivered as the name of a column or key may be shown in a message."""
    return bool(_LIKE_A_HEADER.fullmatch(text)) and not holds_nhs_number(text)


def some(names: Iterable[str], most: int = 5) -> str:
    """The first of some names, and how many more there are."""
    listed = sorted(map(shown, names))
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
