"""Step three: silver into the OMOP CDM."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from enum import StrEnum

from pyspark.sql import DataFrame

from jobs.steps.context import RunContext
from jobs.steps.release import inputs_of
from pipelines import __version__
from pipelines.contracts.ledger import LedgerRow
from pipelines.contracts.zones import Zone
from pipelines.omop.build import MapInputs, Output, adopt, build
from pipelines.omop.source import CdmSource
from pipelines.omop.stem import SilverSource, entities_in_use
from pipelines.release.model import fingerprint_of, release_id_of
from pipelines.run_inputs import RunInputs
from pipelines.storage.tables import TableStore
from pipelines.terminology.vocabulary import store_local_maps
from vocab.concept_map import resolve_codes
from vocab.local_maps import LocalMap, TargetFault, approved_maps, faulty_targets, without_faulty


class News(StrEnum):
    """What is new since the stored result was mapped."""

    EVERYTHING = "everything"
    VOCABULARY = "vocabulary"
    LOCAL_MAPS = "local_maps"


def map_to_omop(run: RunContext, prepared: RunInputs, news: News = News.EVERYTHING) -> list[LedgerRow]:
    """Build every OMOP table from silver, or what of them the news concern; the part of the ledger that this stage adds."""
    usable = _usable_maps(run, prepared)
    maps = approved_maps(run.store.session, usable)
    store_local_maps(run.store, run.settings, usable, maps)
    inputs = _inputs(run, prepared, maps)
    with run.console.stage("map to OMOP") as stage:
        if news is News.EVERYTHING:
            outputs = build(inputs, run.store.read)
        else:
            outputs = adopt(inputs, run.store.read, is_new_vocabulary=news is News.VOCABULARY)
        for output in outputs:
            write(run.store, output)
            stage.advance(output.name)
    ledger = run.store.read(Zone.INTERMEDIATE, "map_ledger").toArrow().to_pylist()
    return [LedgerRow.of({"run_id": run.run_id, **row}) for row in ledger]


def _usable_maps(run: RunContext, prepared: RunInputs) -> tuple[LocalMap, ...]:
    """The local maps that fit the vocabulary. Those of vocabularies that no enabled source uses need not."""
    approved = approved_maps(run.store.session, prepared.local_maps)
    faulty = faulty_targets(approved, run.store.read(Zone.VOCABULARY, "concept")).toArrow().to_pylist()
    in_use = frozenset[str]().union(*(mapping.vocabularies for mapping in run.mappings.values()))
    usable = without_faulty(prepared.local_maps, [TargetFault(**row) for row in faulty], in_use)
    left_out = len(prepared.local_maps) - len(usable)
    if left_out:
        run.console.warning("local maps of codes that no enabled source uses do not fit the vocabulary", left_out=left_out)
    return usable


def write(store: TableStore, output: Output) -> None:
    """Store what the map stage made, whole or in its buckets."""
    place = (output.zone, output.name, output.schema)
    if output.buckets is None:
        store.overwrite(output.frame, *place, output.partition_by)
    else:
        (column,) = output.partition_by
        store.replace_parts(output.frame, *place, column, output.buckets)


def _inputs(run: RunContext, prepared: RunInputs, maps: DataFrame) -> MapInputs:
    store = run.store
    concepts, relationships = (store.read(Zone.VOCABULARY, name) for name in ("concept", "concept_relationship"))
    register = run.register()
    extracted = {
        source: max(one.extract_date for one in register if one.source == source)
        for source in run.contracts
        if any(one.source == source for one in register)
    }
    return MapInputs(
        sources=tuple(_sources(run)),
        resolve=lambda codes: resolve_codes(codes, concepts, relationships, maps),
        source_priority=run.settings.person.source_priority,
        extract_dates=extracted,
        described_as=_described(run, prepared, extracted),
        with_month_of_birth=run.settings.person.month_of_birth,
        cdm_version=run.settings.cdm_version,
    )


def _described(run: RunContext, prepared: RunInputs, extracted: Mapping[str, date]) -> CdmSource:
    """What the tables say about themselves. Nothing of it tells one run of the same inputs from another."""
    inputs = fingerprint_of(inputs_of(run.settings, prepared, run.register()))
    return CdmSource(
        name="NHS Secure Data Environment OMOP CDM",
        abbreviation="NHS SDE OMOP",
        holder=run.settings.cdm_holder,
        description=f"Built by nhs-omop from {', '.join(extracted)}.",
        etl_reference="nhs-omop",
        extracted_on=max(extracted.values(), default=run.run_date),
        built_on=run.run_date,
        release=release_id_of(run.run_date, inputs),
        cdm_version=run.settings.cdm_version,
        vocabulary_version=prepared.vocabulary["release"],
        extracts=extracted,
        versions={
            "nhs-omop version": __version__,
            "vocabulary release": prepared.vocabulary["release"],
            "configuration": run.settings.fingerprint,
            "mapping rules": prepared.rules_digest,
            "local code maps": prepared.local_maps_digest,
        },
    )


def _sources(run: RunContext) -> Iterator[SilverSource]:
    for name, contract in run.contracts.items():
        mapping = run.mappings[name]
        yield SilverSource(contract, mapping, dict(_silver(run, name, entities_in_use(mapping))))


def _silver(run: RunContext, source: str, entities: Iterable[str]) -> Iterator[tuple[str, DataFrame]]:
    """The silver tables of a source; an entity that was never delivered has an empty one."""
    for entity in entities:
        table = f"{source}_{entity}"
        if run.store.exists(Zone.SILVER, table):
            yield entity, run.store.read(Zone.SILVER, table)
        else:
            columns = run.contracts[source].entities[entity].silver_columns
            schema = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            yield entity, run.store.session.createDataFrame([], schema)
