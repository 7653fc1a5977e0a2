"""What the tables of a run are declared from: its settings and inputs, and what has been delivered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pipelines import __version__
from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.derived import released_tables
from pipelines.contracts.source import SourceContract
from pipelines.contracts.tables import Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.curate.tables import CurateInputs, curate_tables
from pipelines.ingest.register import Registered, delivered_by_provider
from pipelines.making_releases import inputs_fingerprint
from pipelines.omop.declared import MapInputs, MappedSource
from pipelines.omop.observability import Coverage
from pipelines.omop.source import CdmSource
from pipelines.omop.tables import map_tables
from pipelines.quality.expectations.tables import expectation_tables
from pipelines.quality.release_figures import ROUTES, figures_table
from pipelines.quality.tables import gate_tables
from pipelines.release.model import release_id_of
from pipelines.run_context import RunContext
from pipelines.settings import LeftOut, OnConflict, Unobserved
from pipelines.terminology.vocabulary import usable_local_maps
from vocab.local_maps import LocalMap


@dataclass(frozen=True)
class Declared:
    """The declared tables of a run.

    `released` describes the tables that its release has, `checked` are those that the gates look at. `local_maps` are the maps
    that are used.
    """

    curated: tuple[Table, ...]
    mapped: tuple[Table, ...]
    measures: tuple[Table, ...]
    released: Mapping[str, CdmTable]
    checked: tuple[TableName, ...]
    local_maps: tuple[LocalMap, ...]

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table that curate, map and the gates store."""
        return (*self.curated, *self.mapped, *self.measures)


def declared_tables(run: RunContext, register: Sequence[Registered]) -> Declared:
    """The tables for what has been delivered.

    Local maps are checked against the vocabulary here, before anything is written: one that does not fit changes nothing.
    """
    to_map = map_inputs(run, register)
    mapped = map_tables(to_map)
    released = released_tables(run.settings.cdm_version, {table.name.name for table in mapped if table.name.zone is Zone.OMOP})
    checked = _checked_tables(run, register, mapped, released)
    figures = figures_table(checked, released, with_routes=ROUTES in {table.name for table in mapped})
    expected = expectation_tables(run.inputs.expectations, checked)
    measures = [*gate_tables(checked, run.inputs.contracts, released, run.run_date), figures, *expected]
    curated = curate_tables(curate_inputs(run, register))
    return Declared(tuple(curated), tuple(mapped), tuple(measures), released, tuple(checked), to_map.local_maps)


def curate_inputs(run: RunContext, register: Sequence[Registered]) -> CurateInputs:
    """What the tables of curate are declared from."""
    return CurateInputs(
        contracts=run.inputs.contracts,
        register=tuple(register),
        pads=run.inputs.pads,
        key_id=run.inputs.key_id,
        opt_outs=run.inputs.opt_outs,
        type_one=run.inputs.type_one,
        production=run.production,
        excludes_unverifiable=run.settings.opt_outs.unverifiable is LeftOut.EXCLUDE,
        excludes_confidential=run.settings.opt_outs.confidential is LeftOut.EXCLUDE,
        sets_conflicts_aside=run.settings.person.on_conflict is OnConflict.SET_ASIDE,
        most_touched=run.settings.run.most_touched,
    )


def map_inputs(run: RunContext, register: Sequence[Registered]) -> MapInputs:
    """What the tables of map and derive are declared from."""
    inputs = run.inputs
    extracted: dict[str, date] = {}
    for file in register:
        extracted[file.source] = max(extracted.get(file.source, file.extract_date), file.extract_date)
    return MapInputs(
        sources=tuple(MappedSource(contract, inputs.mappings[source]) for source, contract in inputs.contracts.items()),
        delivered=frozenset(f"{file.source}_{file.entity}" for file in register),
        local_maps=usable_local_maps(run.store, run.settings, inputs.local_maps, inputs.mappings, inputs.vocabulary),
        source_priority=run.settings.person.source_priority,
        plausibility=inputs.plausibility,
        analytes=inputs.analytes,
        described_as=_described(run, register, extracted),
        with_measurement_harmonised=run.settings.derived.measurement_harmonised,
        with_month_of_birth=run.settings.person.month_of_birth,
        death_priority=run.settings.person.death_priority,
        captured_from=run.settings.person.earliest_capture,
        coverage=_coverage(inputs.contracts, register),
        keeps_unobserved=run.settings.person.unobserved is Unobserved.KEEP,
        cdm_version=run.settings.cdm_version,
        most_touched=run.settings.run.most_touched,
    )


def _coverage(contracts: Mapping[str, SourceContract], register: Iterable[Registered]) -> tuple[Coverage, ...]:
    """What each provider of each source has delivered."""
    found = []
    for (source, provider), delivered in sorted(delivered_by_provider(register).items()):
        lengths = {entity.period_months for entity in contracts[source].entities.values() if entity.period}
        months = min(lengths, default=1)
        days = delivered.first, delivered.newest
        found.append(Coverage(source, provider, *days, delivered.periods, months, delivered.by_entity))
    return tuple(found)


def _described(run: RunContext, register: Sequence[Registered], extracted: Mapping[str, date]) -> CdmSource:
    """What the tables say about themselves. Nothing of it tells two runs of the same inputs apart."""
    settings, inputs = run.settings, run.inputs
    extracts = {source: extracted[source] for source in inputs.contracts if source in extracted}
    return CdmSource(
        name="NHS Secure Data Environment OMOP CDM",
        abbreviation="NHS SDE OMOP",
        holder=settings.cdm_holder,
        description=f"Built by nhs-omop from {', '.join(extracts)}.",
        etl_reference="nhs-omop",
        extracted_on=max(extracts.values(), default=run.run_date),
        built_on=run.run_date,
        release=release_id_of(run.run_date, inputs_fingerprint(settings, inputs, register)),
        cdm_version=settings.cdm_version,
        vocabulary_version=inputs.vocabulary.release,
        extracts=extracts,
        versions={
            "nhs-omop version": __version__,
            "vocabulary release": inputs.vocabulary.release,
            "configuration": settings.fingerprint,
            "mapping rules": inputs.rules_digest,
            "local code maps": inputs.local_maps_digest,
        },
    )


def _checked_tables(
    run: RunContext, register: Sequence[Registered], mapped: Sequence[Table], released: Mapping[str, CdmTable]
) -> list[TableName]:
    """The tables that the gates check: what was delivered, in bronze and silver, and the tables of the CDM."""
    delivered = sorted({f"{file.source}_{file.entity}" for file in register})
    names = [TableName(zone, name) for zone in (Zone.BRONZE, Zone.SILVER) for name in delivered]
    made = [table.name for table in mapped if table.name.zone in (Zone.OMOP, Zone.VOCABULARY)]
    loaded = [
        TableName(Zone.VOCABULARY, name)
        for name, table in released.items()
        if table.is_vocabulary and run.store.exists(Zone.VOCABULARY, name)
    ]
    return [*names, *dict.fromkeys([*made, *loaded])]
