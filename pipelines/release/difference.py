"""What is different between two releases: rows added, removed and changed, by table, source, month and concept."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import attrgetter, methodcaller, or_
from typing import Any, Final

from pipelines.contracts.cdm import ROUTED_TABLES
from pipelines.contracts.derived import EVENT_EVIDENCE
from pipelines.progress import Field
from pipelines.quality.suppression import EVERYBODY, HIDDEN, SMALLEST_SHOWN, suppressed_breakdowns

KINDS: Final = ("added", "removed", "changed")

_DIMENSIONS: Final = ("sources", "months", "concepts")
"""By what the rows of a table are broken down."""

NOT_GIVEN: Final = "(none)"
"""What stands for the source, month or concept of a row that has none, in a table whose other rows may have one."""

Figure = int | str
"""A number of rows, or the sign for a hidden one."""


@dataclass(frozen=True)
class Part:
    """How many rows of one table are different that have one source, month or concept.

    `people` says for each kind whose rows these are, as sets of bits (EVERYBODY); None where the rows name no person.
    """

    table: str
    value: str
    added: Figure
    removed: Figure
    changed: Figure
    people: tuple[int | None, ...] = field(default=(EVERYBODY,) * len(KINDS), compare=False, repr=False)

    def people_of(self, kind: str, others: int) -> int:
        """Whose rows of a kind these are; of a table that names no person, `others`."""
        people = self.people[KINDS.index(kind)]
        return others if people is None else people

    @property
    def concept_id(self) -> int | None:
        """The value where it is a concept."""
        return int(self.value) if self.value.isdigit() else None

    @property
    def size(self) -> int:
        """The rows that are shown as different."""
        return sum(figure for figure in (self.added, self.removed, self.changed) if isinstance(figure, int))


@dataclass(frozen=True)
class Versions:
    """The versions of a vocabulary table in two releases, none where one has no such table, and their rows."""

    table: str
    before: int | None
    after: int | None
    rows_before: int
    rows_after: int


@dataclass(frozen=True)
class Difference:
    """Parts of the tables that are not the same in two releases. `tables` has one part for each table, whose value is empty.

    Months are `yyyy-mm`, concepts are ids, of which `names` has the names. The parts of a dimension add up to that of their
    table, which has none where its rows have no such field.
    """

    tables: tuple[Part, ...]
    sources: tuple[Part, ...]
    months: tuple[Part, ...]
    concepts: tuple[Part, ...]
    names: Mapping[str, str]
    vocabulary: tuple[Versions, ...]

    def suppressed(self) -> "Difference":
        """The same with small numbers hidden, and as many others that none of them follows from what is shown.

        A number of rows is small as well if they are of few people: who has opted out may have left hundreds. Rows of tables
        that name no person are taken to be of everybody who has a row in the others. `event_evidence` has a row for each row of
        the event tables, so its number is hidden where one of theirs is.
        """
        shown: dict[tuple[str, str, str, str], Figure] = {}
        everybody = reduce(or_, (people or 0 for part in self.tables for people in part.people), 0) or EVERYBODY
        for kind in KINDS:
            rows = {name: _by_table(getattr(self, name), attrgetter(kind)) for name in _DIMENSIONS}
            people = {name: _by_table(getattr(self, name), methodcaller("people_of", kind, everybody)) for name in _DIMENSIONS}
            totals = {part.table: part for part in self.tables}
            hides_events = False
            for table in sorted(totals, key=lambda name: name == EVENT_EVIDENCE.name):
                of_few = totals[table].people_of(kind, everybody).bit_count() < SMALLEST_SHOWN
                total, breakdowns = suppressed_breakdowns(
                    getattr(totals[table], kind),
                    [rows[name].get(table, {}) for name in _DIMENSIONS],
                    hides_total=of_few or (hides_events and table == EVENT_EVIDENCE.name),
                    people=[people[name].get(table, {}) for name in _DIMENSIONS],
                )
                hides_events |= total == HIDDEN and table in ROUTED_TABLES
                for name, figures in (("tables", {"": total}), *zip(_DIMENSIONS, breakdowns, strict=True)):
                    shown |= {(name, table, value, kind): figure for value, figure in figures.items()}
        dimensions: dict[str, Any] = {
            name: tuple(
                replace(part, **{kind: shown[name, part.table, part.value, kind] for kind in KINDS})
                for part in getattr(self, name)
            )
            for name in ("tables", *_DIMENSIONS)
        }
        return replace(self, **dimensions)

    def shown(self, top: int | None = None) -> dict[str, list[dict[str, Field]]]:
        """The rows of each dimension by its title; of sources, months and concepts the `top` largest if that is given."""
        largest = {name: _largest(getattr(self, name), top) for name in _DIMENSIONS}
        concepts = [
            _row(part, {"concept_id": part.concept_id, "concept": self.names.get(part.value)}) for part in largest["concepts"]
        ]
        return {
            "by table": [_row(part, {}) for part in self.tables],
            "by source": [_row(part, {"source": part.value}) for part in largest["sources"]],
            "by month": [_row(part, {"month": part.value}) for part in largest["months"]],
            "by concept": concepts,
            "vocabulary tables": [
                {"name": table.table, "rows_before": table.rows_before, "rows_after": table.rows_after}
                for table in self.vocabulary
            ],
        }


def _largest(parts: tuple[Part, ...], top: int | None) -> list[Part]:
    """By what is shown of them: an order by hidden numbers would tell of these."""
    return sorted(parts, key=lambda part: (-part.size, part.table, part.value))[:top]


def _row(part: Part, value: dict[str, Field]) -> dict[str, Field]:
    return {"name": part.table, **value, "added": part.added, "removed": part.removed, "changed": part.changed}


def _by_table(parts: Iterable[Part], figure: Callable[[Part], int]) -> dict[str, dict[str, int]]:
    """One figure of each part, by table and value."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for part in parts:
        found[part.table][part.value] = figure(part)
    return found
