"""The declared tables of curate: from bronze to silver, with everything decided on the way.

records → versions → identities and persons → dispositions → silver. Only silver leaves the restricted root.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.frames import differences, union_all
from pipelines.columns.ids import COLLISIONS_SCHEMA, find_collisions, shared_ids, without_collisions
from pipelines.columns.keyed import Pads
from pipelines.contracts.column_notes import silver_notes
from pipelines.contracts.ledger import DISPOSITIONS, PERSON
from pipelines.contracts.source import LINE, LOAD, SourceContract
from pipelines.contracts.tables import (
    CHANGE,
    Affected,
    BelongsTo,
    Extent,
    InputChanges,
    Inputs,
    Log,
    Partitions,
    Selection,
    Table,
    TableName,
)
from pipelines.contracts.touched import (
    EXTRACT_SCHEMA,
    NEWEST_EXTRACTS,
    NEWEST_SCHEMA,
    TOUCHED,
    TOUCHED_SCHEMA,
    extracts_of,
)
from pipelines.contracts.type_one import TypeOneCodes
from pipelines.contracts.zones import Zone
from pipelines.curate.dispositions import DISPOSITION_SCHEMA, disposition_rows, with_person
from pipelines.curate.entities import EntityOf, levels
from pipelines.curate.linkage import (
    CONFLICT_SCHEMA,
    LINK_SCHEMA,
    NAMING_ROW_SCHEMA,
    OTHER_IDENTITY_SCHEMA,
    SAID_SCHEMA,
    STATED_IDENTITY_SCHEMA,
    identities_in,
    identity_conflicts,
    linked_identities,
    other_identities,
    rows_naming_people,
    stated_identities,
)
from pipelines.curate.opt_outs import (
    ENTRY_SCHEMA,
    PERSON_SCHEMA,
    ListEntry,
    OptOutLists,
    list_entries,
    marked_confidential,
    matched_entries,
    opt_outs_by_person,
)
from pipelines.curate.records import RECORD_SCHEMA, SEPARATOR, record_rows
from pipelines.curate.references import REFERENCE_SCHEMA, counted_references, reference_counts
from pipelines.curate.rows import silver_rows
from pipelines.curate.touched import (
    CHANGED_SCHEMA,
    changed_rows,
    of_changed_files,
    of_changed_references,
    of_changed_rows,
)
from pipelines.curate.type_one import TYPE_ONE_SCHEMA, people_with_type_one, type_one_codes
from pipelines.curate.unreadable import FLAGGED_SCHEMA, READABLE_SCHEMA, Place, flagged_rows, readable_values
from pipelines.curate.versions import CAME_AGAIN_SCHEMA, FILE_SCHEMA, VERSION_SCHEMA, came_again, valid_rows, version_rows
from pipelines.errors import OptOutReferenceError
from pipelines.governance.opt_out_lists import OptOutFiles
from pipelines.ingest.register import (
    REGISTER,
    ActiveFile,
    Registered,
    active_files,
    delivered_beside,
    delivered_by_provider,
    extracts_by_file,
)
from vocab.schemas import ddl_of

STATED, IDENTITY, LINK, TYPE_ONE = "stated_identities", "identities", "link", "type_one"
PERSON_COLLISIONS = "person_collisions"
OTHER_IDENTITIES = "other_identities"
CONFLICTS = "identity_conflicts"
OUTCOMES = "row_outcomes"
OPT_OUT_ENTRIES = "opt_out_entries"
REFERENCES = "references"
CAME_AGAIN = "came_again"
LINES = "lines"
FLAGGED, READABLE = "unreadable_rows", "readable_values"
PERSON_ID = ("person_id", ("person_key",))

QUARANTINE_SCHEMA = dict.fromkeys(("source", "entity", "provider", "folder", "file_name"), "string") | {
    "line": "bigint",
    "reason": "string",
}
"""One row per quarantined line: where it was delivered and why it cannot be used. Its content is in bronze."""

OUTCOME_SCHEMA = dict.fromkeys(("source", "entity", "disposition", "reason"), "string") | {"rows": "bigint"}
"""One row per source, entity, disposition and reason with its number of delivered rows."""


@dataclass(frozen=True, repr=False)
class CurateInputs:
    """What the declarations of curate depend on besides tables.

    `key_id` is a one-way mark of the key behind `pads`. `type_one` is None where the source of the Type 1 codes is not loaded.
    `excludes_unverifiable`: people without a usable number cannot be checked against the national list and are left out.
    `excludes_confidential`: people and rows that their source marks as confidential are left out.
    `sets_conflicts_aside`: the rows of identities that contradict each other are quarantined. Where more than the share
    `most_touched` of rows or people has changed, everything is made again.
    """

    contracts: Mapping[str, SourceContract]
    register: tuple[Registered, ...]
    pads: Pads
    key_id: str
    opt_outs: OptOutFiles
    type_one: TypeOneCodes | None
    production: bool
    excludes_unverifiable: bool
    excludes_confidential: bool
    sets_conflicts_aside: bool
    most_touched: float = 0.3

    @cached_property
    def files(self) -> dict[tuple[str, str], list[ActiveFile]]:
        """The active files of each delivered source and entity."""
        return active_files(self.register)

    @property
    def providers(self) -> frozenset[tuple[str, str]]:
        """The source and the name of every provider that has delivered anything."""
        return frozenset((file.source, file.provider) for file in self.register)

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that have delivered anything."""
        return tuple(source for source in self.contracts if any(place[0] == source for place in self.files))

    def levels(self, source: str) -> list[list[EntityOf]]:
        """The delivered entities of a source in the order in which their rows are decided."""
        return list(levels(self.contracts[source], [entity for owner, entity in self.files if owner == source]))

    def entities(self, source: str) -> list[EntityOf]:
        """The delivered entities of a source."""
        return [entity for level in self.levels(source) for entity in level]

    def naming_people(self, source: str) -> list[str]:
        """The delivered entities of a source whose rows name their person."""
        return [entity.name for entity in self.entities(source) if entity.spec.subject.direct]

    def restating_people(self, source: str) -> list[str]:
        """Those of which each reporting period, or each record, says anew who the person is."""
        direct = {entity.name: entity.spec.subject.direct for entity in self.entities(source)}
        return [name for name, subject in direct.items() if subject and subject.restated]

    def marking_people(self, source: str) -> list[str]:
        """The delivered entities of a source whose rows may mark their person as confidential, unless that is not followed."""
        if not self.excludes_confidential:
            return []
        return [entity.name for entity in self.entities(source) if entity.spec.subject.direct and entity.spec.confidential]


def curate_tables(inputs: CurateInputs) -> list[Table]:
    """Every table of curate for what has been delivered.

    Raises OptOutReferenceError where a provider's Type 1 opt-outs could not be seen.
    """
    _check_type_one(inputs)
    tables = [table for source in inputs.sources for table in (_records(inputs, source), _versions(inputs, source))]
    tables += [
        _stated_identities(inputs),
        _identity(inputs),
        _person_collisions(),
        _link(),
        _conflicts(),
        _other_identities(inputs),
    ]
    tables += [_type_one(inputs), _person(inputs)]
    for source in inputs.sources:
        for level, entities in enumerate(inputs.levels(source)):
            tables.append(_dispositions(inputs, source, level, entities))
            tables += [_silver(inputs, entity, level) for entity in entities]
    return [
        *tables,
        *[_changed_rows(inputs, source) for source in inputs.sources],
        *_extracts(inputs),
        _touched_persons(inputs),
        _quarantine(inputs),
        _outcomes(inputs),
        _opt_out_entries(inputs),
        _references(inputs),
        _came_again(inputs),
        _flagged(inputs),
    ]


def _curation(name: str) -> TableName:
    return TableName(Zone.CURATION, name)


def _records(inputs: CurateInputs, source: str) -> Table:
    entities, register = inputs.entities(source), _curation(REGISTER)
    bronze = tuple(TableName(Zone.BRONZE, entity.table) for entity in entities)

    def make(tables: Inputs) -> DataFrame:
        delivered = {entity.name: tables.read(Zone.BRONZE, entity.table) for entity in entities}
        return record_rows(delivered, entities, inputs.pads)

    def affected(changes: InputChanges) -> Affected:
        """The loads of which the register has other files with rows than before; bronze changes with it only."""
        if register not in changes.names:
            return Extent.WHOLE
        own = (F.col("source") == source) & (F.col("file_id") == F.col("same_as"))
        before, now = changes.before(*register).where(own), changes.now(*register).where(own)
        loads = differences(before, now, ("load_id", "file_id")).select("load_id").distinct().toArrow()
        changed = tuple(sorted(loads["load_id"].to_pylist()))
        return Partitions(LOAD, changed) if changed else Extent.NOTHING

    return Table(
        name=_curation(f"records_{source}"),
        grain=f"one row per delivered row of {source}: its record, its version and what it says of its person",
        schema=RECORD_SCHEMA,
        belongs_to=BelongsTo.LOAD,
        make=make,
        inputs=(*bronze, register),
        parameters=repr((inputs.contracts[source].model_dump_json(exclude={"deliveries", "row_by_row"}), inputs.key_id)),
        may_hold_identity=True,
        partition_by=(LOAD,),
        gathers_partitions=False,
        affected=affected,
        parts_of=bronze,
    )


def _versions(inputs: CurateInputs, source: str) -> Table:
    records = _curation(f"records_{source}")
    contract = inputs.contracts[source]
    own = [file for file in inputs.register if file.source == source and file.provider not in contract.row_by_row]
    beside = delivered_beside(own) if contract.whole else {}
    listed = {
        (
            file.file_id,
            file.effective,
            file.is_current,
            file.by_period,
            SEPARATOR.join(("", *file.replaced, "")),
            SEPARATOR.join(("", *sorted(contract.whole.keys() & beside.get(file.file_id, ())), "")),
        )
        for entity in inputs.entities(source)
        for file in inputs.files[source, entity.name]
    }
    with_one_per = [entity.name for entity in inputs.entities(source) if entity.spec.one_per]

    def make(tables: Inputs) -> DataFrame:
        files = tables.session.createDataFrame(sorted(listed), ddl_of(FILE_SCHEMA))
        of_records = tables.read(*records)
        return version_rows(of_records, files, with_one_per, contract.whole, by_submission=contract.submissions is not None)

    return Table(
        name=_curation(f"versions_{source}"),
        grain=f"one row per delivered row of {source}: whether it is the valid one of its record",
        schema=VERSION_SCHEMA,
        belongs_to=BelongsTo.PERSON,
        make=make,
        inputs=(records,),
        parameters=repr((with_one_per, contract.whole, contract.submissions is not None, sorted(listed))),
        may_hold_identity=True,
        partition_by=("entity",),
        gathers_partitions=False,
    )


def _naming(inputs: CurateInputs) -> dict[str, list[str]]:
    """By source the delivered entities whose rows name their person."""
    return {source: names for source in inputs.sources if (names := inputs.naming_people(source))}


def _stated(
    tables: Inputs,
    naming: Mapping[str, list[str]],
    stated_in: Callable[[DataFrame, list[str], str], DataFrame],
    schema: Mapping[str, str],
) -> list[DataFrame]:
    """What the rows of each source say of their persons, in the columns of `schema`."""
    found = [stated_in(tables.read(Zone.CURATION, f"versions_{source}"), names, source) for source, names in naming.items()]
    return found or [tables.session.createDataFrame([], ddl_of(schema))]


def _stated_identities(inputs: CurateInputs) -> Table:
    naming = _naming(inputs)
    restated = {source: inputs.restating_people(source) for source in naming}

    def stated_in(versions: DataFrame, names: list[str], source: str) -> DataFrame:
        return identities_in(versions, names, source, restated[source])

    def make(tables: Inputs) -> DataFrame:
        return stated_identities(_stated(tables, naming, stated_in, dict.fromkeys(SAID_SCHEMA, "string")), inputs.production)

    return Table(
        name=_curation(STATED),
        grain="one row per identity that any source states (provider, local identifier, usable number), with the birth dates "
        "and sexes of its rows",
        schema=STATED_IDENTITY_SCHEMA,
        belongs_to=BelongsTo.PERSON,
        make=make,
        inputs=tuple(_curation(f"versions_{source}") for source in naming),
        parameters=repr((naming, restated, inputs.production)),
        may_hold_identity=True,
    )


def _identity(inputs: CurateInputs) -> Table:
    return Table(
        name=_curation(IDENTITY),
        grain="one row per identity that any source states: the person it is of and how that was found",
        schema=LINK_SCHEMA,
        belongs_to=BelongsTo.PERSON,
        make=lambda tables: linked_identities(tables.read(Zone.CURATION, STATED), inputs.pads),
        inputs=(_curation(STATED),),
        parameters=inputs.key_id,
        may_hold_identity=True,
    )


def _person_collisions() -> Table:
    def make(tables: Inputs) -> DataFrame:
        linked = tables.read(Zone.CURATION, IDENTITY)
        return find_collisions(linked, *PERSON_ID, shared_ids(linked, *PERSON_ID))

    return Table(
        name=_curation(PERSON_COLLISIONS),
        grain="one row per person whose id another person had first, with the id that was given instead",
        schema=COLLISIONS_SCHEMA,
        belongs_to=BelongsTo.PERSON,
        make=make,
        inputs=(_curation(IDENTITY),),
        keeps_equal=True,
    )


def _link() -> Table:
    def make(tables: Inputs) -> DataFrame:
        collisions = tables.read(Zone.CURATION, PERSON_COLLISIONS)
        return without_collisions(tables.read(Zone.CURATION, IDENTITY), *PERSON_ID, collisions)

    return Table(
        name=_curation(LINK),
        grain="one row per identity that any source states, with a person id that is nobody else's",
        schema=LINK_SCHEMA,
        belongs_to=BelongsTo.PERSON,
        make=make,
        inputs=(_curation(IDENTITY), _curation(PERSON_COLLISIONS)),
        may_hold_identity=True,
    )


def _conflicts() -> Table:
    return Table(
        name=_curation(CONFLICTS),
        grain="one row per person, provider and conflict: what its rows say of the person cannot be true of one person",
        schema=CONFLICT_SCHEMA,
        belongs_to=BelongsTo.PERSON,
        make=lambda tables: identity_conflicts(tables.read(Zone.CURATION, LINK)),
        inputs=(_curation(LINK),),
    )


def _other_identities(inputs: CurateInputs) -> Table:
    naming = _naming(inputs)

    def make(tables: Inputs) -> DataFrame:
        rows = _stated(tables, naming, rows_naming_people, NAMING_ROW_SCHEMA)
        return other_identities(rows, tables.read(Zone.CURATION, LINK), inputs.production)

    return Table(
        name=_curation(OTHER_IDENTITIES),
        grain="one row per person, local identifier and NHS number that rows of theirs state, or stated before, and that they "
        "are not linked by",
        schema=OTHER_IDENTITY_SCHEMA,
        belongs_to=BelongsTo.PERSON,
        make=make,
        inputs=(*[_curation(f"versions_{source}") for source in naming], _curation(LINK)),
        parameters=repr((naming, inputs.production)),
        may_hold_identity=True,
        keeps_equal=True,
    )


@dataclass(frozen=True)
class _TypeOneEntities:
    """The delivered entities that Type 1 opt-outs are read from."""

    codes: TypeOneCodes
    record: EntityOf
    dictionary: EntityOf
    patient: EntityOf


def _type_one_entities(inputs: CurateInputs) -> _TypeOneEntities | None:
    """None where the source of the codes has not delivered what they are read from: then they can be seen of nobody."""
    codes = inputs.type_one
    if codes is None or codes.source not in inputs.sources:
        return None
    delivered = {entity.name: entity for entity in inputs.entities(codes.source)}
    record, dictionary = delivered.get(codes.observation.entity), delivered.get(codes.dictionary.entity)
    patient = delivered.get(record.owner or "") if record else None
    return _TypeOneEntities(codes, record, dictionary, patient) if record and dictionary and patient else None


def _check_type_one(inputs: CurateInputs) -> None:
    """Refuse providers whose GP record cannot be searched for Type 1 codes: it has entries, and no dictionary explains them."""
    codes = inputs.type_one
    if codes is None:
        return
    readable: dict[str, set[str]] = {codes.observation.entity: set(), codes.dictionary.entity: set()}
    for file in inputs.register:
        if file.source == codes.source and file.entity in readable and file.rows > file.malformed:
            readable[file.entity].add(file.provider)
    blind = sorted(readable[codes.observation.entity] - readable[codes.dictionary.entity])
    if blind:
        patterns = " or ".join(inputs.contracts[codes.source].entities[codes.dictionary.entity].files)
        raise OptOutReferenceError(
            f"{codes.source}: {len(blind)} providers have delivered {codes.observation.entity} and no usable row of "
            f"{codes.dictionary.entity}, so that nobody's Type 1 opt-out can be seen there: {', '.join(blind)}. Ask them to "
            f"deliver it ({patterns}), or take back the withdrawal of a delivery that had it, then run again"
        )


def _type_one(inputs: CurateInputs) -> Table:
    found = _type_one_entities(inputs)
    names: tuple[TableName, ...] = ()
    if found:
        bronze = [TableName(Zone.BRONZE, entity.table) for entity in (found.record, found.dictionary)]
        names = (*bronze, _curation(f"versions_{found.codes.source}"), _curation(LINK), NEWEST_EXTRACTS)

    def make(tables: Inputs) -> DataFrame:
        if found is None:
            return tables.session.createDataFrame([], ddl_of(TYPE_ONE_SCHEMA))
        observations, dictionary, versions, links, newest = (tables.read(*name) for name in names)
        people = with_person(valid_rows(versions, found.patient.name), links, found.codes.source, inputs.production)
        known = people.where(~F.col("_is_wrong") & F.col("person_id").isNotNull()).select("row_key", "person_id")
        coded = type_one_codes(dictionary, found.codes)
        return people_with_type_one(observations, coded, versions, known, newest, found.codes)

    return Table(
        name=_curation(TYPE_ONE),
        grain="one row per person whose GP-held data may not be used, and why",
        schema=TYPE_ONE_SCHEMA,
        belongs_to=BelongsTo.PERSON,
        make=make,
        inputs=names,
        parameters=repr((found.codes.model_dump_json(), inputs.production)) if found else "",
        keeps_equal=True,
    )


def _person(inputs: CurateInputs) -> Table:
    marking = {source: names for source in inputs.sources if (names := inputs.marking_people(source))}

    def make(tables: Inputs) -> DataFrame:
        links, others, type_one = (tables.read(Zone.CURATION, name) for name in (LINK, OTHER_IDENTITIES, TYPE_ONE))
        lists = opt_out_frames(tables.session, inputs)
        versions = {source: tables.read(Zone.CURATION, f"versions_{source}") for source in marking}
        confidential = [marked_confidential(versions[source], names, source) for source, names in marking.items()]
        return opt_outs_by_person(links, others, lists, type_one, confidential, inputs.excludes_unverifiable)

    return Table(
        name=_curation(PERSON),
        grain="one row per linked person: the opt-out that removes all rows, and whether Type 1 applies",
        schema=PERSON_SCHEMA,
        belongs_to=BelongsTo.PERSON,
        make=make,
        inputs=(
            _curation(LINK),
            _curation(OTHER_IDENTITIES),
            _curation(TYPE_ONE),
            *[_curation(f"versions_{source}") for source in marking],
        ),
        parameters=repr((_lists_used(inputs), inputs.excludes_unverifiable, marking)),
    )


def _opt_out_entries(inputs: CurateInputs) -> Table:
    def make(tables: Inputs) -> DataFrame:
        links, others = tables.read(Zone.CURATION, LINK), tables.read(Zone.CURATION, OTHER_IDENTITIES)
        return matched_entries(links, others, opt_out_frames(tables.session, inputs))

    return Table(
        name=TableName(Zone.LEDGER, OPT_OUT_ENTRIES),
        grain="one row per opt-out list and reason why entries match nobody (empty: they match) with its number of entries",
        schema=ENTRY_SCHEMA,
        belongs_to=BelongsTo.WHOLE,
        make=make,
        inputs=(_curation(LINK), _curation(OTHER_IDENTITIES)),
        parameters=repr(_lists_used(inputs)),
    )


def _lists_used(inputs: CurateInputs) -> tuple[object, ...]:
    """What decides whom the lists name, besides the people: the lists, the providers, and how local ids are compared."""
    lists = sorted((facts.kind, facts.sha256) for facts in inputs.opt_outs.facts)
    local_ids = {source: contract.local_ids for source, contract in inputs.contracts.items()}
    return lists, sorted(inputs.providers), local_ids


def opt_out_frames(session: SparkSession, inputs: CurateInputs) -> OptOutLists:
    """The lists of a run as frames."""
    lists = inputs.opt_outs
    entries = list_entries(lists.numbers_opted_out_locally, lists.objections, inputs.providers)
    columns = list(zip(*entries, strict=True)) or [()] * len(ListEntry._fields)
    schema = {"entry": "bigint"} | dict.fromkeys(ListEntry._fields[1:], "string")

    def frame(columns: Mapping[str, pa.Array], schema: Mapping[str, str]) -> DataFrame:
        return session.createDataFrame(pa.table(dict(columns)), ddl_of(schema))

    kinds = {"bigint": pa.int64(), "string": pa.string()}
    written = {name: pa.array(values, kinds[kind]) for (name, kind), values in zip(schema.items(), columns, strict=True)}
    checked = (lists.numbers_allowed, lists.numbers_refused)
    allowed, refused = (frame({"nhs_number": pa.array(numbers, pa.string())}, {"nhs_number": "string"}) for numbers in checked)
    local_ids = {source: contract.local_ids for source, contract in inputs.contracts.items()}
    return OptOutLists(allowed, refused, frame(written, schema), local_ids)


def dispositions_of(source: str, level: int) -> TableName:
    """The table with the dispositions of the entities of one level of a source."""
    return _curation(f"{DISPOSITIONS}{source}_{level}")


def _dispositions(inputs: CurateInputs, source: str, level: int, entities: list[EntityOf]) -> Table:
    versions = _curation(f"versions_{source}")
    level_of = {entity.name: place for place, members in enumerate(inputs.levels(source)) for entity in members}
    owners = {entity.owner: level_of[entity.owner] for entity in entities if entity.owner in level_of}
    policy = inputs.production, inputs.sets_conflicts_aside, inputs.excludes_confidential
    agreements = sorted(inputs.contracts[source].agreements)
    people = (_curation(LINK), _curation(PERSON)) if any(entity.spec.subject.direct for entity in entities) else ()

    def make(tables: Inputs) -> DataFrame:
        rows = tables.read(*versions)
        owned = {
            owner: tables.read(*dispositions_of(source, place)).where(F.col("entity") == owner)
            for owner, place in owners.items()
        }
        links, opt_outs = (tables.read(*name) for name in people) if people else (rows, rows)
        type_one_source = inputs.type_one.source if inputs.type_one else ""
        return disposition_rows(entities, rows, owned, links, opt_outs, type_one_source, *policy)

    return Table(
        name=dispositions_of(source, level),
        grain=f"one row per delivered row of {', '.join(entity.name for entity in entities)}: its person and what became of it",
        schema=DISPOSITION_SCHEMA,
        belongs_to=BelongsTo.PERSON,
        make=make,
        inputs=(versions, *dict.fromkeys(dispositions_of(source, place) for place in owners.values()), *people),
        parameters=repr(([entity.spec.subject.model_dump_json() for entity in entities], agreements, *policy)),
        may_hold_identity=True,
        partition_by=("entity",),
        gathers_partitions=False,
    )


def _silver(inputs: CurateInputs, entity: EntityOf, level: int) -> Table:
    dispositions = dispositions_of(entity.source, level)

    def make(tables: Inputs) -> DataFrame:
        decided = tables.read(*dispositions).where(F.col("entity") == entity.name)
        return silver_rows(tables.read(Zone.BRONZE, entity.table), decided, entity, inputs.pads)

    bronze = TableName(Zone.BRONZE, entity.table)
    return Table(
        name=TableName(Zone.SILVER, entity.table),
        grain=entity.spec.grain,
        schema=entity.spec.silver_columns,
        belongs_to=BelongsTo.PERSON if entity.spec.subject.is_one_person else BelongsTo.WHOLE,
        make=make,
        inputs=(bronze, dispositions),
        parameters=repr((entity.spec.model_dump_json(), inputs.key_id)),
        selection=Selection(_changed_name(entity.source), (dispositions,), ("row_key",), {bronze: LINE}),
        notes=silver_notes(entity.spec),
        never_null=frozenset({"row_key", "_file"}),
    )


def _changed_name(source: str) -> TableName:
    return _curation(f"changed_rows_{source}")


def _changed_rows(inputs: CurateInputs, source: str) -> Table:
    """The log by which silver is made again."""
    decided = [dispositions_of(source, level) for level in range(len(inputs.levels(source)))]
    bronze = [TableName(Zone.BRONZE, entity.table) for entity in inputs.entities(source)]

    def named(changes: InputChanges) -> DataFrame:
        changed = [name for name in decided if name in changes.names]
        return changed_rows(
            [changes.before(*name) for name in changed], [changes.now(*name) for name in changed], changes.session
        )

    return Table(
        name=_changed_name(source),
        grain=f"one row per change and delivered row of {source} that has come into silver, left it or has another person",
        schema=CHANGED_SCHEMA,
        belongs_to=BelongsTo.LOAD,
        make=lambda tables: tables.session.createDataFrame([], ddl_of(CHANGED_SCHEMA)),
        # What is new in bronze has a disposition, so its changes are followed there.
        inputs=(*decided, *bronze, _curation(f"versions_{source}")),
        partition_by=(CHANGE,),
        log=Log(named, (*decided, *bronze), of=_curation(f"versions_{source}"), most=inputs.most_touched, by=LINE),
    )


def _extracts(inputs: CurateInputs) -> list[Table]:
    """From which extract each file is, and the newest extract of each provider; also of sources that have not delivered yet."""
    by_file = extracts_by_file(inputs.register)
    files = {source: sorted((file, days[0]) for file, days in by_file.get(source, {}).items()) for source in inputs.contracts}
    newest = sorted((*place, found.newest) for place, found in delivered_by_provider(inputs.register).items())

    def table(name: TableName, grain: str, schema: dict[str, str], rows: list[tuple[object, ...]]) -> Table:
        return Table(
            name=name,
            grain=grain,
            schema=schema,
            belongs_to=BelongsTo.WHOLE,
            make=lambda tables: tables.session.createDataFrame(rows, ddl_of(schema)),
            parameters=repr(rows),
            keeps_equal=True,
        )

    return [
        *[
            table(
                extracts_of(source),
                f"one row per file of {source} with rows: the day of the extract that delivered it last",
                EXTRACT_SCHEMA,
                [*days],
            )
            for source, days in files.items()
        ],
        table(NEWEST_EXTRACTS, "one row per source and provider: the day of its newest extract", NEWEST_SCHEMA, [*newest]),
    ]


def _touched_persons(inputs: CurateInputs) -> Table:
    """The log by which mapped rows are made again."""
    entities = [entity for source in inputs.sources for entity in inputs.entities(source)]
    silver = {(entity.source, entity.name): TableName(Zone.SILVER, entity.table) for entity in entities}
    shared = {
        place: name for place, name in silver.items() if not inputs.contracts[place[0]].entities[place[1]].subject.is_one_person
    }
    logs = [_changed_name(source) for source in inputs.sources]
    referring = [entity for entity in entities if entity.spec.subject.is_one_person]
    extracts = {source: extracts_of(source) for source in inputs.sources}

    def named(changes: InputChanges) -> DataFrame:
        frames = [changes.session.createDataFrame([], ddl_of(TOUCHED_SCHEMA)).drop(CHANGE)]
        frames += [of_changed_rows(changes.added(*name)) for name in logs if name in changes.names]
        for (source, entity), name in shared.items():
            if name in changes.names:
                by_column = [
                    (changes.now(*silver[owner.source, owner.name]), column)
                    for owner in referring
                    for column, reference in owner.spec.references.items()
                    if (owner.source, reference.entity) == (source, entity)
                ]
                frames += of_changed_references(changes.before(*name), changes.now(*name), by_column, f"{source}_{entity}")
        for source, name in extracts.items():
            if name in changes.names:
                rows = [changes.now(*decided) for owner, decided in _all_dispositions(inputs) if owner == source]
                frames.append(of_changed_files(changes.before(*name), changes.now(*name), rows))
        return union_all(frames).distinct()

    return Table(
        name=TOUCHED,
        grain="one row per change, person and reason for which what is mapped of the person is made again",
        schema=TOUCHED_SCHEMA,
        belongs_to=BelongsTo.PERSON,
        make=lambda tables: tables.session.createDataFrame([], ddl_of(TOUCHED_SCHEMA)),
        inputs=(
            *logs,
            *silver.values(),
            *extracts.values(),
            *[name for _, name in _all_dispositions(inputs)],
            _curation(PERSON),
        ),
        partition_by=(CHANGE,),
        log=Log(named, (*logs, *shared.values(), *extracts.values()), of=_curation(PERSON), most=inputs.most_touched),
    )


def _all_dispositions(inputs: CurateInputs) -> list[tuple[str, TableName]]:
    """The dispositions of all entities: source and table of each level."""
    return [
        (source, dispositions_of(source, level)) for source in inputs.sources for level in range(len(inputs.levels(source)))
    ]


def _with_source(tables: Inputs, named: list[tuple[str, TableName]], *columns: str | Column) -> DataFrame:
    return union_all([tables.read(*name).select(F.lit(source).alias("source"), *columns) for source, name in named])


def _quarantine(inputs: CurateInputs) -> Table:
    """One table of the lines that could not be used, for whoever has to ask a provider for better ones."""
    named = _all_dispositions(inputs)
    known = [(file.file_id, file.provider, file.folder, file.file_name) for file in inputs.register]

    def make(tables: Inputs) -> DataFrame:
        files = tables.session.createDataFrame(known, "_file string, provider string, folder string, file_name string")
        rows = _with_source(tables, named, "entity", "_file", F.col("_line").alias("line"), "disposition", "reason")
        quarantined = rows.where(F.col("disposition") == "quarantined")
        return quarantined.join(F.broadcast(files), on="_file", how="left")

    return Table(
        name=TableName(Zone.QUARANTINE, LINES),
        grain="one row per quarantined line: where it was delivered and why it cannot be used",
        schema=QUARANTINE_SCHEMA,
        belongs_to=BelongsTo.LOAD,
        make=make,
        inputs=tuple(name for _, name in named),
        parameters=repr(sorted(known)),
    )


def _outcomes(inputs: CurateInputs) -> Table:
    named = _all_dispositions(inputs)

    def make(tables: Inputs) -> DataFrame:
        rows = _with_source(tables, named, "entity", "disposition", "reason")
        return rows.groupBy("source", "entity", "disposition", "reason").agg(F.count(F.lit(1)).alias("rows"))

    return Table(
        name=TableName(Zone.LEDGER, OUTCOMES),
        grain="one row per source, entity, disposition and reason with its number of delivered rows",
        schema=OUTCOME_SCHEMA,
        belongs_to=BelongsTo.WHOLE,
        make=make,
        inputs=tuple(name for _, name in named),
    )


def _references(inputs: CurateInputs) -> Table:
    entities = [entity for source in inputs.sources for entity in inputs.entities(source) if counted_references(entity)]
    sources = list(dict.fromkeys(entity.source for entity in entities))

    def make(tables: Inputs) -> DataFrame:
        if not entities:
            return tables.session.createDataFrame([], ddl_of(REFERENCE_SCHEMA))
        silver = {entity.table: tables.read(Zone.SILVER, entity.table) for entity in entities}
        versions = {source: tables.read(Zone.CURATION, f"versions_{source}") for source in sources}
        return reference_counts(tables.session, entities, silver, versions)

    return Table(
        name=TableName(Zone.LEDGER, REFERENCES),
        grain="one row per source, entity, provider and reference: rows that refer to another row, and those that find none",
        schema=REFERENCE_SCHEMA,
        belongs_to=BelongsTo.WHOLE,
        make=make,
        inputs=(
            *(TableName(Zone.SILVER, entity.table) for entity in entities),
            *(_curation(f"versions_{source}") for source in sources),
        ),
        parameters=repr([(entity.table, counted_references(entity)) for entity in entities]),
    )


def _came_again(inputs: CurateInputs) -> Table:
    whole = {source: contract.whole.keys() for source, contract in inputs.contracts.items() if source in inputs.sources}
    held = {
        source: sorted(
            (file.file_id,) for entity in sorted(entities) for file in inputs.files.get((source, entity), ()) if file.is_current
        )
        for source, entities in whole.items()
        if entities
    }

    def make(tables: Inputs) -> DataFrame:
        frames = [tables.session.createDataFrame([], ddl_of(CAME_AGAIN_SCHEMA))]
        for source, files in held.items():
            current = tables.session.createDataFrame(files, "_file string")
            versions = tables.read(Zone.CURATION, f"versions_{source}")
            frames.append(came_again(versions, current, sorted(whole[source]), source))
        return union_all(frames)

    return Table(
        name=TableName(Zone.LEDGER, CAME_AGAIN),
        grain="one row per source, entity that comes whole with its parent, and provider: the rows that came again or were "
        "withdrawn, and those that were withdrawn",
        schema=CAME_AGAIN_SCHEMA,
        belongs_to=BelongsTo.WHOLE,
        make=make,
        inputs=tuple(_curation(f"versions_{source}") for source in held),
        parameters=repr([(source, sorted(whole[source]), files) for source, files in held.items()]),
    )


def _silver_frames(tables: Inputs, entities: Iterable[EntityOf]) -> dict[Place, DataFrame]:
    return {(entity.source, entity.name): tables.read(Zone.SILVER, entity.table) for entity in entities}


def _flagged(inputs: CurateInputs) -> Table:
    entities = [entity for source in inputs.sources for entity in inputs.entities(source)]
    return Table(
        name=TableName(Zone.LEDGER, FLAGGED),
        grain="one row per source, entity, provider and set of unreadable and withheld columns: its number of silver rows",
        schema=FLAGGED_SCHEMA,
        belongs_to=BelongsTo.WHOLE,
        make=lambda tables: flagged_rows(_silver_frames(tables, entities)),
        inputs=tuple(TableName(Zone.SILVER, entity.table) for entity in entities),
    )


def readable_table(contracts: Mapping[str, SourceContract], columns: Mapping[Place, Iterable[str]]) -> Table:
    """The values that were read of some columns, of which others are unreadable: made only where there are any."""
    entities = [EntityOf(contracts[source], entity) for source, entity in columns]
    specs = {(entity.source, entity.name): entity.spec for entity in entities}
    return Table(
        name=TableName(Zone.LEDGER, READABLE),
        grain="one row per source, entity, provider and column of which any value is unreadable: how many were read",
        schema=READABLE_SCHEMA,
        belongs_to=BelongsTo.WHOLE,
        make=lambda tables: readable_values(_silver_frames(tables, entities), specs, columns),
        inputs=tuple(TableName(Zone.SILVER, entity.table) for entity in entities),
        parameters=repr([(place, list(names)) for place, names in columns.items()]),
    )
