"""What a report is made of: tables of figures that are safe for those who are to see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from pipelines.quality.suppression import SMALLEST_SHOWN, shown

Cell = str | int | float | bool | None


class Edition(StrEnum):
    """Who may see a report: `full` has every number and stays in the restricted root, `suppressed` hides small ones."""

    FULL = "full"
    SUPPRESSED = "suppressed"

    @property
    def smallest_shown(self) -> int:
        """The smallest number of rows or people that is shown; 1 hides none."""
        return SMALLEST_SHOWN if self is Edition.SUPPRESSED else 1

    def shown(self, number: int) -> int | str:
        """A number of rows or people, or the sign for a hidden one."""
        return shown(number, self.smallest_shown)


class Topic(StrEnum):
    """What a table of the report is about. On the page it is in the part of its topic."""

    ROWS = "rows"
    OPT_OUTS = "opt_outs"
    CODES = "codes"
    GATES = "gates"
    DELIVERIES = "deliveries"


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the report. `empty` is the text that replaces a table without rows.

    On the page, numbers in the columns `bars` have a bar beside them; `total` rows have none.
    """

    form: ClassVar[str] = "table"

    title: str
    rows: Sequence[Mapping[str, Cell]]
    note: str = ""
    empty: str = "None."
    topic: Topic = Topic.ROWS
    bars: tuple[str, ...] = ()
