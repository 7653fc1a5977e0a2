"""Step two: bronze into silver; people linked, opt-outs applied, identity left behind."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.steps.context import RunContext
from jobs.steps.parallel import each
from pipelines.columns.frames import union_all
from pipelines.columns.ids import COLLISIONS_SCHEMA, find_collisions, shared_ids, without_collisions
from pipelines.contracts.ledger import Disposition, LedgerRow, Stage
from pipelines.contracts.source import Via
from pipelines.contracts.type_one import TypeOneCodes
from pipelines.contracts.zones import Zone
from pipelines.curate.dispositions import (
    child_dispositions,
    direct_dispositions,
    orphan_dispositions,
    reference_dispositions,
    shared_dispositions,
    shared_key,
)
from pipelines.curate.linkage import LINK_SCHEMA, identities_in, linked_identities
from pipelines.curate.opt_outs import PERSON_SCHEMA, OptOutLists, opt_outs_by_person
from pipelines.curate.rows import silver_rows
from pipelines.curate.type_one import people_with_type_one, type_one_codes
from pipelines.curate.versions import DIRECT_VERSION_SCHEMA, DISPOSITION_SCHEMA, FILE_SCHEMA, EntityOf, version_rows
from pipelines.governance.opt_out_lists import OptOutFiles
from pipelines.ingest.register import ActiveFile, Registered, active_files
from pipelines.settings import Unverifiable

IDENTITY, LINK, PERSON = "identity", "link", "person"
SHARED, COLLISION = "person_shared_id", "person_collision"
LINES = "lines"
PERSON_ID = ("person_id", ("person_key",))

QUARANTINE_SCHEMA = dict.fromkeys(("source", "entity", "provider", "folder", "file_name"), "string") | {
    "line": "bigint",
    "reason": "string",
}
"""One row per quarantined line: where it was delivered and why it cannot be used. What it says stands in bronze."""

Files = dict[tuple[str, str], DataFrame]


def curate(run: RunContext, lists: OptOutFiles, codes: TypeOneCodes | None) -> list[LedgerRow]:
    """Build every silver table from the registered bronze rows, and count what became of each delivered row.

    `codes` is None where the source that holds the Type 1 codes is not loaded.
    """
    register = run.register()
    files = _files(run, active_files(register))
    levels = list(_levels(run, files))
    entities = [entity for level in levels for entity in level]
    naming_people = [entity for entity in entities if entity.spec.subject.direct]
    with run.console.stage("curate to silver", total=len(naming_people) + 2 * len(entities) + 3) as stage:

        def write_versions(entity: EntityOf) -> None:
            rows = version_rows(_bronze(run, entity), files[entity.source, entity.name], entity, run.pads)
            run.store.overwrite(rows, Zone.CURATION, _versions(entity), DIRECT_VERSION_SCHEMA)
            stage.advance(f"{entity.table}: versions")

        def write_dispositions(entity: EntityOf) -> None:
            run.store.overwrite(
                _dispositions_of(run, entity, files, codes), Zone.CURATION, _dispositions(entity), DISPOSITION_SCHEMA
            )
            stage.advance(f"{entity.table}: dispositions")

        def write_silver(entity: EntityOf) -> None:
            dispositions = run.store.read(Zone.CURATION, _dispositions(entity))
            rows = silver_rows(_bronze(run, entity), dispositions, entity, run.pads)
            run.store.overwrite(rows, Zone.SILVER, entity.table, entity.spec.silver_columns)
            stage.advance(f"{entity.table}: silver")

        each(naming_people, write_versions)
        _link(run, naming_people)
        stage.advance("people")
        _apply_opt_outs(run, lists, codes, entities, files)
        stage.advance("opt-outs")
        for level in levels:
            each(level, write_dispositions)
        each(entities, write_silver)
        _write_quarantine(run, entities, register)
        stage.advance("quarantine")
    return [*_delivered(run, register), *_counted(run, entities)]


def _versions(entity: EntityOf) -> str:
    return f"versions_{entity.table}"


def _dispositions(entity: EntityOf) -> str:
    return f"dispositions_{entity.table}"


def _bronze(run: RunContext, entity: EntityOf) -> DataFrame:
    return run.store.read(Zone.BRONZE, entity.table)


def _files(run: RunContext, standing: dict[tuple[str, str], list[ActiveFile]]) -> Files:
    schema = ", ".join(f"{name} {kind}" for name, kind in FILE_SCHEMA.items())
    return {
        place: run.store.session.createDataFrame([(one.file_id, one.effective, one.fresh) for one in listed], schema)
        for place, listed in standing.items()
    }


def _levels(run: RunContext, files: Files) -> Iterator[list[EntityOf]]:
    """The delivered entities in groups, each after the groups that its rows belong to."""
    waiting = [
        EntityOf(contract, name)
        for source, contract in run.contracts.items()
        for name in contract.entities
        if (source, name) in files
    ]
    there = {(one.source, one.name) for one in waiting}
    done: set[tuple[str, str]] = set()
    while waiting:
        ready = [one for one in waiting if _owners(one) & there <= done]
        yield ready
        done |= {(one.source, one.name) for one in ready}
        waiting = [one for one in waiting if (one.source, one.name) not in done]


def _owners(entity: EntityOf) -> set[tuple[str, str]]:
    subject = entity.spec.subject
    return {(entity.source, link.entity) for link in (subject.via, subject.shared) if link}


def _link(run: RunContext, naming_people: list[EntityOf]) -> None:
    stated = [
        identities_in(run.store.read(Zone.CURATION, _versions(entity)), entity.source, run.production)
        for entity in naming_people
    ]
    store = run.store
    store.overwrite(linked_identities(union_all(stated), run.pads), Zone.CURATION, IDENTITY, LINK_SCHEMA)
    linked = store.read(Zone.CURATION, IDENTITY)
    store.overwrite(shared_ids(linked, *PERSON_ID), Zone.CURATION, SHARED, {"collided_id": "bigint"})
    collisions = find_collisions(linked, *PERSON_ID, store.read(Zone.CURATION, SHARED))
    store.overwrite(collisions, Zone.CURATION, COLLISION, COLLISIONS_SCHEMA)
    unique = without_collisions(linked, *PERSON_ID, store.read(Zone.CURATION, COLLISION))
    store.overwrite(unique, Zone.CURATION, LINK, LINK_SCHEMA)


def _lists(run: RunContext, lists: OptOutFiles) -> OptOutLists:
    def frame(**columns: Iterable[str]) -> DataFrame:
        table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
        return run.store.session.createDataFrame(table, ", ".join(f"{name} string" for name in columns))

    numbers, providers, local_ids = zip(*lists.objections, strict=True) if lists.objections else ((), (), ())
    return OptOutLists(
        frame(nhs_number=lists.numbers_allowed),
        frame(nhs_number=lists.numbers_opted_out_locally),
        frame(nhs_number=numbers, _provider=providers, local_id=local_ids),
    )


def _apply_opt_outs(
    run: RunContext, lists: OptOutFiles, codes: TypeOneCodes | None, entities: list[EntityOf], files: Files
) -> None:
    links = run.store.read(Zone.CURATION, LINK)
    policy = run.settings.opt_outs.unverifiable
    type_one = _type_one(run, codes, {(one.source, one.name): one for one in entities}, files, links)
    people = opt_outs_by_person(links, _lists(run, lists), type_one, policy is Unverifiable.EXCLUDE)
    run.store.overwrite(people, Zone.CURATION, PERSON, PERSON_SCHEMA)


def _type_one(
    run: RunContext, codes: TypeOneCodes | None, entities: dict[tuple[str, str], EntityOf], files: Files, links: DataFrame
) -> DataFrame:
    record = entities.get((codes.source, codes.observation.entity)) if codes else None
    dictionary = entities.get((codes.source, codes.dictionary.entity)) if codes else None
    if codes is None or record is None or dictionary is None or record.spec.subject.via is None:
        return links.select("person_id").limit(0)
    patient = entities[codes.source, record.spec.subject.via.entity]
    known = direct_people(run, patient, links)
    coded = type_one_codes(_bronze(run, dictionary), codes)
    place = (record.source, record.name)
    return people_with_type_one(_bronze(run, record), coded, files[place], known, record, codes, run.pads, run.run_date)


def direct_people(run: RunContext, entity: EntityOf, links: DataFrame) -> DataFrame:
    """The valid records of an entity that names its people, with the person of each: `row_key`, `person_id`."""
    everybody_in = (
        links.select("person_id")
        .distinct()
        .select("person_id", F.lit(None).cast("string").alias("opt_out"), F.lit(False).alias("type_one"))
    )
    versions = run.store.read(Zone.CURATION, _versions(entity))
    dispositions = direct_dispositions(versions, links, everybody_in, entity.source, "", run.production)
    return dispositions.where(F.col("disposition") == "current").select("row_key", "person_id")


def _dispositions_of(run: RunContext, entity: EntityOf, files: Files, codes: TypeOneCodes | None) -> DataFrame:
    subject = entity.spec.subject
    store = run.store
    if subject.direct:
        versions = store.read(Zone.CURATION, _versions(entity))
        links, people = store.read(Zone.CURATION, LINK), store.read(Zone.CURATION, PERSON)
        return direct_dispositions(versions, links, people, entity.source, codes.source if codes else "", run.production)
    versions = version_rows(_bronze(run, entity), files[entity.source, entity.name], entity, run.pads)
    owner = subject.via or subject.shared
    if owner is None:
        return reference_dispositions(versions)
    parent = EntityOf(entity.contract, owner.entity)
    if (parent.source, parent.name) not in files:
        return orphan_dispositions(versions, parent.name)
    parent_dispositions = store.read(Zone.CURATION, _dispositions(parent))
    if isinstance(owner, Via):
        return child_dispositions(versions, parent_dispositions, parent.name)
    keys = _shared_keys(run, entity, owner.columns)
    referring = _shared_keys(run, parent, owner.theirs)
    owners = referring.join(parent_dispositions.where(F.col("is_winner")), on=["_file", "_line"], how="inner")
    return shared_dispositions(versions, keys, owners.select("_shared_key", "disposition"), parent.name)


def _shared_keys(run: RunContext, entity: EntityOf, columns: tuple[str, ...]) -> DataFrame:
    return _bronze(run, entity).select("_file", "_line", shared_key(columns).alias("_shared_key"))


def _delivered(run: RunContext, register: list[Registered]) -> Iterator[LedgerRow]:
    """What came in, as the manifests say, and the repeated files, whose records are duplicates as a whole."""
    totals: dict[tuple[str, str], list[int]] = {}
    for one in register:
        total = totals.setdefault((one.source, one.entity), [0, 0])
        total[0] += one.rows
        total[1] += one.rows if one.same_as != one.file_id else 0
    for (source, entity), (rows, repeated) in sorted(totals.items()):
        yield LedgerRow(run.run_id, Stage.CURATE, source, entity, Disposition.DELIVERED, rows)
        if repeated:
            yield LedgerRow(run.run_id, Stage.CURATE, source, entity, Disposition.DUPLICATE, repeated, reason="repeated_file")


def _all_dispositions(run: RunContext, entities: list[EntityOf]) -> DataFrame:
    """The dispositions of all entities, each row with its `source` and `entity`."""
    frames = [
        run.store.read(Zone.CURATION, _dispositions(entity)).select(
            F.lit(entity.source).alias("source"),
            F.lit(entity.name).alias("entity"),
            "_file",
            "_line",
            "disposition",
            "reason",
        )
        for entity in entities
    ]
    return union_all(frames)


def _write_quarantine(run: RunContext, entities: list[EntityOf], register: list[Registered]) -> None:
    """One table of the lines that could not be used, for whoever has to ask a provider for better ones."""
    named = [(one.file_id, one.provider, one.folder, one.file_name) for one in register]
    files = run.store.session.createDataFrame(named, "_file string, provider string, folder string, file_name string")
    lines = _all_dispositions(run, entities).where(F.col("disposition") == "quarantined").withColumnRenamed("_line", "line")
    run.store.overwrite(lines.join(F.broadcast(files), on="_file", how="left"), Zone.QUARANTINE, LINES, QUARANTINE_SCHEMA)


def _counted(run: RunContext, entities: list[EntityOf]) -> Iterator[LedgerRow]:
    """What became of the rows in bronze, in one pass over the dispositions of all entities."""
    counted = _all_dispositions(run, entities).groupBy("source", "entity", "disposition", "reason")
    for one in counted.agg(F.count("*").alias("rows")).toArrow().to_pylist():
        yield LedgerRow(
            run.run_id,
            Stage.CURATE,
            one["source"],
            one["entity"],
            Disposition(one["disposition"]),
            one["rows"],
            reason=one["reason"] or "",
        )
