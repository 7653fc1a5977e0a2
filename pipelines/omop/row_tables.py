"""The tables of mapped rows, of the stem, and of the codes that they hold."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from pyspark.sql import DataFrame

from pipelines.columns.frames import union_all
from pipelines.contracts.tables import BelongsTo, Inputs, Selection, Table, TableName
from pipelines.contracts.touched import TOUCHED, extracts_of
from pipelines.contracts.zones import Zone
from pipelines.mapping.compile import PERSON_BOUND, target_schema
from pipelines.mapping.outcomes import SilverSource
from pipelines.mapping.spec import Rule, Target
from pipelines.omop.codes import (
    CODE_MAP_SCHEMA,
    CODES_SCHEMA,
    ROUTES_SCHEMA,
    UNMAPPED_SCHEMA,
    MappedRows,
    coded_fields,
    codes_in_use,
    distinct_codes,
    first_concepts,
    routes,
    unmapped_codes,
)
from pipelines.omop.declared import (
    CODES,
    CONCEPT,
    CONCEPT_MAP,
    CONCEPT_RELATIONSHIP,
    KNOWN,
    LOCAL_MAPS,
    ROUTES,
    ROW_TABLES,
    MapInputs,
    MappedSource,
    canonical,
    intermediate,
    rows_name,
    sound_rows,
    stem_of,
)
from pipelines.omop.stem import (
    KNOWN_PERSONS_SCHEMA,
    STEM_SCHEMA,
    Judge,
    entities_in_use,
    is_person_bound,
    known_persons,
    rows_of,
)
from vocab.concept_map import resolve_codes, with_standard_of_analyte
from vocab.local_maps import APPROVED, LOCAL_MAPS_SCHEMA, approved_maps, source_to_concept_map
from vocab.schemas import ddl_of

SOURCE_TO_CONCEPT_MAP = "source_to_concept_map"

_ROW_GRAINS = {
    Target.PERSON: "one row per silver row that describes a person",
    Target.DEATH: "one row per silver row that states a death",
    Target.VISIT: "one row per silver row that states a visit or a part of one",
    Target.VISIT_DETAIL: "one row per silver row that states a part of a visit",
    Target.OBSERVATION_PERIOD: "one row per silver row that states a registration",
    Target.PROVIDER: "one row per silver row that describes a member of staff",
    Target.CARE_SITE: "one row per silver row that describes an organisation",
    Target.EPISODE: "one row per silver row that states an episode of care",
    Target.VISIT_TIMING: "one row per silver row that has the moments of a visit",
}


def row_tables(inputs: MapInputs) -> list[Table]:
    """The mapped rows of every target, the stems, and the people of the CDM."""
    known = Table(
        name=intermediate("known_persons"),
        grain="one row per person with a year of birth in some source",
        schema=KNOWN_PERSONS_SCHEMA,
        belongs_to=BelongsTo.PERSON,
        inputs=(rows_name(Target.PERSON),),
        make=lambda made: known_persons(sound_rows(made, rows_name(Target.PERSON))),
        keeps_equal=True,
        selection=Selection(TOUCHED, (rows_name(Target.PERSON),)),
    )
    rows = [_rows_of_target(inputs, target) for target in ROW_TABLES]
    stems = [_stem(inputs, source) for source in inputs.sources if source.rules(Target.EVENT)]
    return [known, *rows, *stems]


def _rows_of_target(inputs: MapInputs, target: Target) -> Table:
    is_bound, is_judged = is_person_bound(target), target in PERSON_BOUND
    extracts = [extracts_of(source.name) for source in inputs.sources if source.rules(target)] if is_judged else []

    def make(made: Inputs, sources: tuple[SilverSource, ...]) -> DataFrame:
        if not sources:
            return made.session.createDataFrame([], ddl_of(target_schema(target)))
        judge = _judge(inputs, made, extracts) if is_judged else None
        return rows_of(target, sources, made.read(*KNOWN) if is_bound else None, judge)

    return _from_silver(
        inputs,
        rows_name(target),
        grain=_ROW_GRAINS[target],
        schema=target_schema(target),
        targets=(target,),
        make=make,
        reads=(*([KNOWN] if is_bound else []), *extracts),
        belongs_to=BelongsTo.PERSON if is_judged else BelongsTo.WHOLE,
        is_judged=is_judged,
    )


def _stem(inputs: MapInputs, source: MappedSource) -> Table:
    extracts = [extracts_of(source.name)]

    def make(made: Inputs, sources: tuple[SilverSource, ...]) -> DataFrame:
        return rows_of(Target.EVENT, sources, made.read(*KNOWN), _judge(inputs, made, extracts))

    return _from_silver(
        inputs,
        stem_of(source.name),
        grain=f"one row per event of the source {source.name}",
        schema=STEM_SCHEMA,
        targets=(Target.EVENT,),
        make=make,
        reads=(KNOWN, *extracts),
        belongs_to=BelongsTo.PERSON,
        sources=(source,),
        is_judged=True,
    )


def _from_silver(
    inputs: MapInputs,
    name: TableName,
    *,
    grain: str,
    schema: Mapping[str, str],
    targets: tuple[Target, ...],
    make: Callable[[Inputs, tuple[SilverSource, ...]], DataFrame],
    reads: tuple[TableName, ...],
    belongs_to: BelongsTo,
    sources: tuple[MappedSource, ...] | None = None,
    is_judged: bool = False,
) -> Table:
    """A table that the rules of some sources for some targets make from silver; one of judged rows by person."""
    used = [source for source in (inputs.sources if sources is None else sources) if source.rules(*targets)]
    silver = {
        TableName(Zone.SILVER, f"{source.name}_{entity}"): source.contract.entities[entity].subject.is_one_person
        for source in used
        for entity in entities_in_use(source.rules(*targets))
        if f"{source.name}_{entity}" in inputs.delivered
    }
    of_persons = (*[table for table, is_one_person in silver.items() if is_one_person], *([KNOWN] if KNOWN in reads else []))
    return Table(
        name=name,
        grain=grain,
        schema=schema,
        belongs_to=belongs_to,
        inputs=(*silver, *reads),
        make=lambda made: make(
            made, tuple(silver_source(made, source, source.rules(*targets), inputs.delivered) for source in used)
        ),
        parameters=canonical(
            [
                {source.name: decides(source, source.rules(*targets)) for source in used},
                _judges(inputs) if is_judged else None,
            ]
        ),
        selection=Selection(TOUCHED, of_persons) if is_judged else None,
    )


def silver_source(
    made: Inputs, source: MappedSource, rules: tuple[Rule, ...], delivered: frozenset[str], others: Iterable[str] = ()
) -> SilverSource:
    """A source with the silver tables that rules read, and `others`; an entity that was never delivered has an empty one."""
    tables = {}
    for entity in (*entities_in_use(rules), *others):
        if f"{source.name}_{entity}" in delivered:
            tables[entity] = made.read(Zone.SILVER, f"{source.name}_{entity}")
        else:
            tables[entity] = made.session.createDataFrame([], ddl_of(source.contract.entities[entity].silver_columns))
    return SilverSource(source.contract, rules, tables)


def decides(source: MappedSource, rules: tuple[Rule, ...]) -> dict[str, object]:
    """What of a source decides its mapped rows: the rules without their notes, and the silver columns they may read."""
    columns = {entity: dict(source.contract.entities[entity].silver_columns) for entity in entities_in_use(rules)}
    return {"rules": [rule.model_dump(mode="json", exclude=_NOTES) for rule in rules], "silver": columns}


def _judge(inputs: MapInputs, made: Inputs, extracts: Iterable[TableName]) -> Judge:
    return Judge(inputs.plausibility, union_all([made.read(*name) for name in extracts]))


def _judges(inputs: MapInputs) -> object:
    """What of the plausibility rules decides how mapped rows are judged."""
    return inputs.plausibility.model_dump(mode="json", exclude=_RULE_NOTES)


_RULE_NOTES: Final[Any] = {"rules": {"__all__": {"note"}}, "values": {"__all__": {"note"}}, "units": {"__all__": {"note"}}}

_NOTES: Final[Any] = {"note": True, "value_of": {"note"}, "fields": {"__all__": {"note"}}}


def code_tables(inputs: MapInputs) -> list[Table]:
    """The codes in use, the local maps, the concepts of codes, the routes of events, and the codes that nobody has mapped."""
    fields_in_use = {
        f"{source.name}.{target}": coded_fields(source.rules(target), target) for source in inputs.sources for target in Target
    }
    domains = {
        rule.name: (rule.domain, rule.value_of and rule.value_of.model_dump(exclude={"note"}))
        for rule in inputs.rules_for(Target.EVENT)
    }
    all_rows = (*map(rows_name, ROW_TABLES), *inputs.stems)
    code_map, concept_map = intermediate("code_map"), CONCEPT_MAP
    return [
        Table(
            name=CODES,
            grain="one row per mapping rule, concept field and code (or concept of the rule) that mapped rows hold",
            schema=CODES_SCHEMA,
            belongs_to=BelongsTo.CODE,
            inputs=all_rows,
            make=lambda made: codes_in_use(_mapped_rows(inputs, made)),
            parameters=canonical(fields_in_use),
        ),
        _local_maps(inputs),
        Table(
            name=TableName(Zone.VOCABULARY, SOURCE_TO_CONCEPT_MAP),
            grain="one row per approved local map of a code to a concept",
            schema=inputs.table(SOURCE_TO_CONCEPT_MAP).schema,
            belongs_to=BelongsTo.CODE,
            inputs=(LOCAL_MAPS,),
            make=lambda made: source_to_concept_map(made.read(*LOCAL_MAPS)),
            keeps_equal=True,
        ),
        Table(
            name=code_map,
            grain="one row per code in use and target concept",
            schema=CODE_MAP_SCHEMA,
            belongs_to=BelongsTo.CODE,
            inputs=(CODES, CONCEPT, CONCEPT_RELATIONSHIP, LOCAL_MAPS),
            make=partial(_code_map, inputs),
            parameters=canonical(inputs.analytes.standard),
            keeps_equal=True,
        ),
        Table(
            name=concept_map,
            grain="one row per code in use, with its first target concept",
            schema=CODE_MAP_SCHEMA,
            belongs_to=BelongsTo.CODE,
            inputs=(code_map,),
            make=lambda made: first_concepts(made.read(*code_map)),
            keeps_equal=True,
        ),
        Table(
            name=ROUTES,
            grain="one row per mapping rule of events, code (or concept of the rule) and target concept",
            schema=ROUTES_SCHEMA,
            belongs_to=BelongsTo.CODE,
            inputs=(CODES, code_map),
            make=lambda made: routes(made.read(*CODES), made.read(*code_map), inputs.rules),
            parameters=canonical(domains),
            keeps_equal=True,
        ),
        Table(
            name=intermediate("unmapped_codes"),
            grain="one row per mapping rule, concept field and code without a standard concept",
            schema=UNMAPPED_SCHEMA,
            belongs_to=BelongsTo.CODE,
            inputs=(CODES, concept_map, *all_rows),
            make=lambda made: unmapped_codes(made.read(*CODES), made.read(*concept_map), _mapped_rows(inputs, made)),
            parameters=canonical(fields_in_use),
        ),
    ]


def _code_map(inputs: MapInputs, made: Inputs) -> DataFrame:
    concepts = made.read(*CONCEPT)
    codes, relationships = distinct_codes(made.read(*CODES)), made.read(*CONCEPT_RELATIONSHIP)
    resolved = resolve_codes(codes, concepts, relationships, made.read(*LOCAL_MAPS))
    return with_standard_of_analyte(resolved, concepts, inputs.analytes.standard)


def _local_maps(inputs: MapInputs) -> Table:
    approved = [local_map for local_map in inputs.local_maps if local_map.status == APPROVED]
    return Table(
        name=LOCAL_MAPS,
        grain="one row per approved local map of a code to a concept, the code as it is looked up",
        schema=LOCAL_MAPS_SCHEMA,
        belongs_to=BelongsTo.CODE,
        make=lambda made: approved_maps(made.session, approved),
        parameters=canonical([{name: getattr(row, name) for name in LOCAL_MAPS_SCHEMA} for row in approved]),
        keeps_equal=True,
    )


def _mapped_rows(inputs: MapInputs, made: Inputs) -> list[MappedRows]:
    """The mapped rows of every target, events by source, with the rules that made them."""
    rows = [
        MappedRows(
            target,
            sound_rows(made, rows_name(target)) if target in PERSON_BOUND else made.read(*rows_name(target)),
            inputs.rules_for(target),
        )
        for target in ROW_TABLES
    ]
    events = [
        MappedRows(Target.EVENT, sound_rows(made, stem_of(source.name)), source.rules(Target.EVENT))
        for source in inputs.sources
        if source.rules(Target.EVENT)
    ]
    return rows + events
