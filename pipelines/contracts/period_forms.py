"""How reporting periods are written, so that one period is known whatever form a delivery writes it in.

Regular expressions in the syntax that both engines, Arrow and Python share.
"""

from typing import Final

_YEAR, _AND_TIME = "(?:19|20)[0-9]{2}", "(?:[T ].*)?"
FORMS: Final = (
    (f"^([0-9]{{1,2}})[-/. ]([0-9]{{1,2}})[-/. ]({_YEAR}){_AND_TIME}$", (3, "-", 2, "-", 1)),
    (f"^({_YEAR})[-/.]?([0-9]{{2}})[-/.]?([0-9]{{2}}){_AND_TIME}$", (1, "-", 2, "-", 3)),
    ("-([0-9])-", ("-0", 1, "-")),
    ("-([0-9])$", ("-0", 1)),
    ("^0*([0-9]+)(?:[.]0+)?$", (1,)),
)
"""Patterns in the order in which they are applied, each with what replaces its match, by the numbers of its groups.

The last day of a period is `2025-12-31` however its day is written, and the number of a month has no decimals.
"""


def replacement(parts: tuple[int | str, ...], mark: str) -> str:
    """What replaces a match, with the mark that stands before the number of a group: `$` in Spark, a backslash in Arrow."""
    return "".join(part if isinstance(part, str) else f"{mark}{part}" for part in parts)
