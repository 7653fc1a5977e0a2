"""What the declarations of the map stage have in common: the inputs of the stage, the names of its tables, their forms."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.ids import COLLISIONS_SCHEMA, find_collisions
from pipelines.contracts.cdm import CdmTable, delta_schema
from pipelines.contracts.column_notes import cdm_keys, cdm_notes
from pipelines.contracts.derived import published_tables
from pipelines.contracts.source import SourceContract
from pipelines.contracts.tables import Affected, BelongsTo, InputChanges, Inputs, Selection, Table, TableName
from pipelines.contracts.touched import TOUCHED_BY_PLACES
from pipelines.contracts.zones import Zone
from pipelines.mapping.analytes import NO_ANALYTES, Analytes
from pipelines.mapping.plausibility import Plausibility, sound
from pipelines.mapping.spec import Mapping as SourceMapping
from pipelines.mapping.spec import Rule, Target
from pipelines.omop.observability import Coverage
from pipelines.omop.source import CdmSource
from vocab.local_maps import LocalMap

ROW_TABLES = {
    Target.PERSON: "person_rows",
    Target.DEATH: "death_rows",
    Target.VISIT: "visit_rows",
    Target.VISIT_DETAIL: "visit_detail_rows",
    Target.OBSERVATION_PERIOD: "registration_rows",
    Target.PROVIDER: "provider_rows",
    Target.CARE_SITE: "care_site_rows",
    Target.EPISODE: "episode_rows",
    Target.VISIT_TIMING: "visit_timing_rows",
}
"""Where the mapped rows of each target are stored, in Zone.INTERMEDIATE; those of events are in the stem of each source."""


@dataclass(frozen=True)
class MappedSource:
    """A source with its contract and its mapping."""

    contract: SourceContract
    mapping: SourceMapping

    @property
    def name(self) -> str:
        """The name of the source."""
        return self.contract.source

    def rules(self, *targets: Target) -> tuple[Rule, ...]:
        """The rules for some targets, in the order of the mapping."""
        return tuple(rule for rule in self.mapping.rules if rule.to in targets)


@dataclass(frozen=True)
class MapInputs:
    """What the map stage is declared from.

    `delivered` holds the silver tables that exist, by name (`source_entity`). `local_maps` are those that fit the
    vocabulary. `source_priority` decides between sources that describe one person or place. Mapped rows are judged by the
    rules of `plausibility`. `analytes` says which concepts mean the same. Of several deaths of a person
    that of the source named first in `death_priority` counts. Nobody is observed before `captured_from`: days by source, or
    by source and provider (`acute/RXN`). `coverage` has what each provider has delivered. With `keeps_unobserved` people
    without an observation period are in the CDM. Where more than the share `most_touched` of the people is touched, everything
    is made again.
    """

    sources: tuple[MappedSource, ...]
    delivered: frozenset[str]
    local_maps: tuple[LocalMap, ...]
    source_priority: tuple[str, ...]
    plausibility: Plausibility
    described_as: CdmSource
    analytes: Analytes = NO_ANALYTES
    with_measurement_harmonised: bool = True
    with_month_of_birth: bool = False
    death_priority: tuple[str, ...] = ()
    captured_from: Mapping[str, date] = field(default_factory=dict)
    coverage: tuple[Coverage, ...] = ()
    keeps_unobserved: bool = False
    cdm_version: str = "5.4"
    most_touched: float = 0.3

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of all sources."""
        return tuple(rule for source in self.sources for rule in source.mapping.rules)

    def rules_for(self, target: Target) -> tuple[Rule, ...]:
        """The rules of all sources for one target."""
        return tuple(rule for rule in self.rules if rule.to is target)

    def table(self, name: str) -> CdmTable:
        """The contract of a table of the CDM or of a derived one."""
        return published_tables(self.cdm_version)[name]

    @property
    def stems(self) -> tuple[TableName, ...]:
        """The stem of every source that has events."""
        return tuple(stem_of(source.name) for source in self.sources if source.rules(Target.EVENT))


def stem_of(source: str) -> TableName:
    """The table of the events of a source."""
    return intermediate(f"stem_{source}")


def row_table(target: Target, source: str) -> TableName:
    """The table that has the mapped rows of a target from a source."""
    return stem_of(source) if target is Target.EVENT else rows_name(target)


def collisions_table(
    name: TableName,
    reads: tuple[TableName, ...],
    ids: Callable[[Inputs], DataFrame],
    key: tuple[str, ...],
    id_column: str = "id",
    affected: Callable[[InputChanges], Affected] | None = None,
) -> Table:
    """The keys of some rows that get another id because two of them have the same one; nearly always none."""
    return Table(
        name=name,
        grain="one row per key whose id another key has too",
        schema=COLLISIONS_SCHEMA,
        belongs_to=BelongsTo.WHOLE,
        inputs=reads,
        make=lambda made: find_collisions(ids(made), id_column, key),
        affected=affected,
        keeps_equal=True,
    )


def omop_table(
    inputs: MapInputs,
    name: str,
    grain: str,
    reads: tuple[TableName, ...],
    make: Callable[[Inputs], DataFrame],
    *,
    parameters: str = "",
    belongs_to: BelongsTo = BelongsTo.PERSON,
    affected: Callable[[InputChanges], Affected] | None = None,
    keeps_equal: bool = False,
    partition_by: tuple[str, ...] = (),
    narrows: tuple[TableName, ...] = (),
    log: TableName = TOUCHED_BY_PLACES,
) -> Table:
    """A table of the CDM or a derived one. The runner compares its schema, and with it the version of the CDM.

    With `narrows`, the inputs that it takes the rows of touched persons from, it is made again for those only whom `log` names.
    """
    return Table(
        name=omop_name(name),
        grain=grain,
        schema=delta_schema(inputs.table(name)),
        belongs_to=belongs_to,
        inputs=reads,
        make=make,
        parameters=parameters,
        affected=affected,
        keeps_equal=keeps_equal,
        partition_by=partition_by,
        selection=Selection(log, narrows) if narrows else None,
        notes=cdm_notes(inputs.table(name)),
        never_null=cdm_keys(inputs.table(name)),
    )


def omop_name(name: str) -> TableName:
    """A table of the CDM."""
    return TableName(Zone.OMOP, name)


def intermediate(name: str) -> TableName:
    """A table between silver and the CDM."""
    return TableName(Zone.INTERMEDIATE, name)


def rows_name(target: Target) -> TableName:
    """The table of the mapped rows of a target other than events."""
    return intermediate(ROW_TABLES[target])


def sound_rows(made: Inputs, name: TableName) -> DataFrame:
    """The mapped rows about people in a table, without those that a plausibility rule sets aside."""
    return sound(made.read(*name))


def observed(made: Inputs, rows: DataFrame) -> DataFrame:
    """Rows about people without those of people who are left out of the CDM because nothing says when they were observed."""
    return rows.join(F.broadcast(made.read(*UNOBSERVED)), on="person_id", how="left_anti")


def canonical(value: object) -> str:
    """What decides rows, as text: equal for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


KNOWN = intermediate("known_persons")
CODES = intermediate("codes")
LOCAL_MAPS = intermediate("local_maps")
CONCEPT_MAP = intermediate("concept_map")
ROUTES = intermediate("routes")
PERSONS = intermediate("persons")
NEWEST_MONTHS = intermediate("newest_months")
VISITS = intermediate("visits")
VISIT_DETAILS = intermediate("visit_details")
CONCEPTS_BY_UNIT = intermediate("concepts_by_unit")
EVENT_COLLISIONS = intermediate("event_collisions")
DEATHS = intermediate("deaths")
PERIODS = intermediate("periods")
UNOBSERVED = intermediate("unobserved_persons")
CONCEPT = TableName(Zone.VOCABULARY, "concept")
CONCEPT_RELATIONSHIP = TableName(Zone.VOCABULARY, "concept_relationship")
DRUG_STRENGTH = TableName(Zone.VOCABULARY, "drug_strength")
