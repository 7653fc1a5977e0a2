"""The tables that say what became of every silver row: which rules took it, or why none did."""

from functools import cached_property
from typing import Final

from pyspark.sql import DataFrame

from pipelines.contracts.ledger import SILVER_ROWS_SCHEMA, SILVER_ROWS_TABLE
from pipelines.contracts.tables import BelongsTo, Inputs, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.mapping.counts import COUNTS_SCHEMA, counts_of
from pipelines.mapping.outcomes import (
    LOOKED_UP,
    NO_RULE,
    OUTCOMES_SCHEMA,
    Numbering,
    outcomes,
    silver_rows,
)
from pipelines.mapping.spec import Rule
from pipelines.omop.declared import KNOWN, UNOBSERVED, MapInputs, MappedSource, canonical, intermediate
from pipelines.omop.row_tables import decides, silver_source

SILVER_ROWS: Final = TableName(Zone.LEDGER, SILVER_ROWS_TABLE)
LEFT_OUT_ROWS: Final = intermediate("left_out_rows")
MAP_COUNTS: Final = intermediate("map_counts")
_OUTCOMES: Final = intermediate("map_outcomes")


def outcome_tables(inputs: MapInputs) -> list[Table]:
    """The outcomes of silver rows, how many rows each rule keeps and leaves out, and what became of each row once."""
    read = _Read(inputs)
    parameters = read.parameters
    return [
        Table(
            name=_OUTCOMES,
            grain="one row per entity and outcomes of its silver rows, and value of a closed list if no rule takes them",
            schema=OUTCOMES_SCHEMA,
            belongs_to=BelongsTo.WHOLE,
            inputs=(*read.silver, KNOWN, UNOBSERVED, LEFT_OUT_ROWS),
            make=read.outcomes,
            parameters=parameters,
        ),
        Table(
            name=MAP_COUNTS,
            grain="one row per mapping rule and reason for which silver rows are kept or left out",
            schema=COUNTS_SCHEMA,
            belongs_to=BelongsTo.WHOLE,
            inputs=(_OUTCOMES,),
            make=lambda made: counts_of(read.numbering, made.read(*_OUTCOMES)),
            parameters=parameters,
        ),
        Table(
            name=SILVER_ROWS,
            grain="one row per entity and outcome of its silver rows, and value of a closed list if no rule takes them",
            schema=SILVER_ROWS_SCHEMA,
            belongs_to=BelongsTo.WHOLE,
            inputs=(_OUTCOMES,),
            make=lambda made: silver_rows(read.numbering, made.read(*_OUTCOMES)),
            parameters=parameters,
        ),
    ]


class _Read:
    """What is read of silver: every entity that was delivered, and what rules look up."""

    def __init__(self, inputs: MapInputs) -> None:
        self._sources, self._delivered = inputs.sources, inputs.delivered

    @property
    def silver(self) -> tuple[TableName, ...]:
        """The silver tables, all entities that were delivered."""
        return tuple(
            TableName(Zone.SILVER, f"{source.name}_{entity}") for source in self._sources for entity in self._entities(source)
        )

    @property
    def parameters(self) -> str:
        """What of the sources decides the outcomes, as text."""
        closed = {
            f"{source.name}.{name}": [column for column, how in entity.columns.items() if how.has_closed_list]
            for source in self._sources
            for name, entity in source.contract.entities.items()
        }
        unread = [[*at, reason] for at, reason in self._unread.items()]
        return canonical([{source.name: decides(source, self._rules(source)) for source in self._sources}, closed, unread])

    @cached_property
    def numbering(self) -> Numbering:
        """The numbers of all checks and rules."""
        return Numbering({source.name: (source.contract, self._rules(source)) for source in self._sources}, self._unread)

    def outcomes(self, made: Inputs) -> DataFrame:
        """How many silver rows have the same outcomes."""
        tables = {
            source.name: silver_source(made, source, self._rules(source), self._delivered, self._entities(source)).tables
            for source in self._sources
        }
        return outcomes(self.numbering, tables, made.read(*KNOWN), made.read(*UNOBSERVED), made.read(*LEFT_OUT_ROWS))

    def _entities(self, source: MappedSource) -> tuple[str, ...]:
        return tuple(entity for entity in source.contract.entities if f"{source.name}_{entity}" in self._delivered)

    def _rules(self, source: MappedSource) -> tuple[Rule, ...]:
        """The rules that have something to read."""
        return tuple(rule for rule in source.mapping.rules if rule.from_ in self._entities(source))

    @property
    def _unread(self) -> dict[tuple[str, str], str]:
        """Why no rule reads an entity, for each that none reads."""
        found = {}
        for source in self._sources:
            read = {rule.from_ for rule in source.mapping.rules}
            found_by_key = {lookup.entity for rule in source.mapping.rules for lookup in rule.lookups.values()}
            for entity in self._entities(source):
                if entity not in read:
                    by_default = LOOKED_UP if entity in found_by_key else NO_RULE
                    found[source.name, entity] = source.mapping.unread.get(entity, by_default)
        return found
