"""What is different between two releases: rows added, removed and changed, by table, source, month and concept."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pipelines.progress import Field
from pipelines.quality.suppression import suppressed_parts

KINDS: Final = ("added", "removed", "changed")

NOT_GIVEN: Final = "(none)"
"""What stands for the source, month or concept of a row that has none, in a table whose other rows may have one."""

Figure = int | str
"""A number of rows, or the sign for a hidden one."""


@dataclass(frozen=True)
class Part:
    """How many rows of one table are different that have one source, month or concept."""

    table: str
    value: str
    added: Figure
    removed: Figure
    changed: Figure

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
        """The same with small numbers hidden, and as many others that none of them follows from the number of its table."""
        return Difference(
            tables=_suppressed(self.tables, by_table=False),
            sources=_suppressed(self.sources),
            months=_suppressed(self.months),
            concepts=_suppressed(self.concepts),
            names=self.names,
            vocabulary=self.vocabulary,
        )

    def shown(self, top: int | None = None) -> dict[str, list[dict[str, Field]]]:
        """The rows of each dimension by its title; of sources, months and concepts the `top` largest if that is given."""
        largest = {name: _largest(getattr(self, name), top) for name in ("sources", "months", "concepts")}
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


def _suppressed(parts: Iterable[Part], *, by_table: bool = True) -> tuple[Part, ...]:
    """Parts with small numbers hidden, `by_table` with others where the number of the table would give one away."""
    ordered = tuple(parts)
    groups: dict[str, list[int]] = {}
    for place, part in enumerate(ordered):
        groups.setdefault(part.table if by_table else f"{part.table}{place}", []).append(place)
    shown: dict[tuple[int, str], Figure] = {}
    for places in groups.values():
        for kind in KINDS:
            counts = {place: getattr(ordered[place], kind) for place in places}
            shown |= {(place, kind): figure for place, figure in suppressed_parts(counts).items()}
    return tuple(Part(part.table, part.value, *(shown[place, kind] for kind in KINDS)) for place, part in enumerate(ordered))
