"""The delivered entities of a run, and the order in which their rows find their persons."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.columns.keyed import message_of, message_of_known
from pipelines.columns.values import key_part
from pipelines.contracts.source import Entity, SourceContract


@dataclass(frozen=True)
class EntityOf:
    """An entity with its name and its source's contract."""

    contract: SourceContract
    name: str

    @property
    def source(self) -> str:
        """The source's name."""
        return self.contract.source

    @property
    def spec(self) -> Entity:
        """The entity's declaration."""
        return self.contract.entities[self.name]

    @property
    def table(self) -> str:
        """The name of its tables in bronze and silver."""
        return f"{self.source}_{self.name}"

    @property
    def owner(self) -> str | None:
        """The entity whose rows decide about the rows of this one; None where rows name their person or nobody."""
        link = self.spec.subject.via or self.spec.subject.shared
        return link.entity if link else None

    def own_message(self) -> Column:
        """The name of a row of trimmed values as the text that is hashed; parts of its key may be missing."""
        return message_of(self._parts(self.name, self.spec.key))

    def message_of(self, entity: str, columns: tuple[str, ...], may_be_empty: Collection[str] = ()) -> Column:
        """The name of the row of `entity` that our trimmed `columns` point to; null where one of them is missing.

        They are read as the columns of its key are: where that is a day, our moment points to its day. A row that says no
        reporting period points to one that says none.
        """
        parts = self._parts(entity, columns, may_be_empty)
        first = len(parts) - len(columns)
        periods = [first + place for place, column in enumerate(columns) if column == self.spec.period]
        return message_of_known(parts, periods)

    def _parts(self, entity: str, columns: tuple[str, ...], may_be_empty: Collection[str] = ()) -> list[Column]:
        named = self.contract.entities[entity]
        read = {ours: key_part(named.columns[theirs], F.col(ours)) for theirs, ours in zip(named.key, columns, strict=True)}
        values = [F.coalesce(part, F.lit("")) if ours in may_be_empty else part for ours, part in read.items()]
        return [F.lit(self.source), F.lit(entity), F.col("_provider"), *values]


def levels(contract: SourceContract, delivered: Iterable[str]) -> Iterator[list[EntityOf]]:
    """The delivered entities of a source in groups, each after the groups whose rows decide about its rows."""
    there = set(delivered)
    waiting = [EntityOf(contract, name) for name in contract.entities if name in there]
    done: set[str] = set()
    while waiting:
        ready = [entity for entity in waiting if entity.owner is None or entity.owner not in there or entity.owner in done]
        yield ready
        done |= {entity.name for entity in ready}
        waiting = [entity for entity in waiting if entity.name not in done]
