"""The form of a trace: its steps in their order, each a few facts or a list."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.progress import Field


@dataclass(frozen=True, slots=True)
class Section:
    """One step of a trace. `rows` are shown one below the other; with `is_one` there is one, of which each fact has a line.

    `more` is how many rows there are beside those shown, `how` what the title says besides to people.
    """

    title: str
    rows: tuple[Mapping[str, Field], ...]
    is_one: bool = False
    more: int = 0
    how: str = ""


def facts(title: str, **values: Field) -> Section:
    """A step about one thing; what is not known of it is left out."""
    return Section(title, ({name: value for name, value in values.items() if value not in (None, "")},), is_one=True)
