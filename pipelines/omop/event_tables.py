"""The event tables, and those of episodes, observation periods and eras."""

from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.columns.ids import COLLISIONS_SCHEMA
from pipelines.contracts.cdm import CODE_BUCKET
from pipelines.contracts.tables import BelongsTo, Inputs, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.mapping.spec import Target
from pipelines.omop.analytes import CONCEPTS_BY_UNIT_SCHEMA
from pipelines.omop.changes import ROUTE, AffectedScope, EventScope
from pipelines.omop.codes import (
    coded_fields,
)
from pipelines.omop.declared import (
    CONCEPT,
    CONCEPT_MAP,
    CONCEPTS_BY_UNIT,
    EVENT_COLLISIONS,
    PERSONS,
    ROUTES,
    VISIT_DETAILS,
    VISITS,
    MapInputs,
    canonical,
    collisions_table,
    intermediate,
    omop_name,
    omop_table,
    rows_name,
    sound_rows,
)
from pipelines.omop.episodes import EPISODE_KEY, EPISODES_SCHEMA, episode, episode_event, episode_ids, episodes, links_of
from pipelines.omop.eras import ERA_KEY, ERA_TABLES, ERAS_SCHEMA, DrugVocabulary, era_ids, era_table, eras
from pipelines.omop.events import CONCEPT_FIELDS, EVENT_KEY, EventInputs, event_ids, event_table, numbered_events
from pipelines.omop.periods import PERIOD_KEY, PERIODS_SCHEMA, observation_period, period_ids, periods
from pipelines.omop.places import (
    provider_index,
)
from pipelines.omop.relationships import fact_relationship
from pipelines.omop.stem import (
    STEM_SCHEMA,
)
from pipelines.omop.visits import (
    inside_visits,
    visit_index,
)
from vocab.schemas import ddl_of

_GRAINS = {
    "condition_occurrence": "one row per event and target concept of the domain Condition",
    "device_exposure": "one row per event and target concept of the domain Device",
    "drug_exposure": "one row per event and target concept of the domain Drug",
    "measurement": "one row per event and target concept of the domain Measurement",
    "observation": "one row per event and target concept of the domain Observation or of a domain without a table",
    "procedure_occurrence": "one row per event and target concept of the domain Procedure",
    "specimen": "one row per event and target concept of the domain Specimen",
    "condition_era": "one row per stretch of time in which a person had a condition",
    "drug_era": "one row per stretch of time in which a person took an ingredient",
    "dose_era": "one row per stretch of time in which a person took an ingredient at one dose",
}


def event_tables(inputs: MapInputs) -> list[Table]:
    """The event tables, and how their events relate to each other."""
    stems = inputs.stems
    collisions = EVENT_COLLISIONS

    def ids(made: Inputs) -> DataFrame:
        return event_ids(_stem_rows(inputs, made), made.read(*ROUTES))

    return [
        collisions_table(collisions, (*stems, ROUTES), ids, EVENT_KEY, "_id", AffectedScope(columns={ROUTES: ROUTE})),
        *[_event_table(inputs, name) for name in CONCEPT_FIELDS],
        omop_table(
            inputs,
            "fact_relationship",
            "two rows per laboratory result and specimen, one in each direction",
            (*stems, ROUTES, collisions),
            lambda made: fact_relationship(
                _events_with(inputs, made, "specimen_key"),
                _events_with(inputs, made, "key"),
                inputs.table("fact_relationship"),
            ),
            affected=AffectedScope(columns={ROUTES: ROUTE}),
        ),
    ]


def _event_table(inputs: MapInputs, name: str) -> Table:
    table, coded = inputs.table(name), coded_fields(inputs.rules, Target.EVENT)
    providers = omop_name("provider")
    of_units = {CONCEPTS_BY_UNIT: tuple(CONCEPTS_BY_UNIT_SCHEMA)} if name == "measurement" else {}

    def make(made: Inputs) -> DataFrame:
        details, whole = made.read(*VISIT_DETAILS), made.read(*VISITS)
        events = EventInputs(
            stem=_stem_rows(inputs, made),
            routes=made.read(*ROUTES),
            concept_map=made.read(*CONCEPT_MAP),
            visits=visit_index(whole),
            visit_details=visit_index(inside_visits(details, whole)),
            providers=provider_index(made.read(*providers)),
            collisions=made.read(*EVENT_COLLISIONS),
            coded=coded,
            by_unit=made.read(*CONCEPTS_BY_UNIT) if of_units else None,
        )
        return event_table(table, events)

    fields_in_use = tuple(field for field in CONCEPT_FIELDS[name] if field in coded)
    read_columns = {
        VISITS: ("key", "id"),
        VISIT_DETAILS: ("key", "id", "visit_key"),
        providers: ("provider_source_value", "provider_id"),
        EVENT_COLLISIONS: tuple(COLLISIONS_SCHEMA),
        **of_units,
    }
    return omop_table(
        inputs,
        name,
        _GRAINS[name],
        (*inputs.stems, ROUTES, CONCEPT_MAP, VISITS, VISIT_DETAILS, providers, EVENT_COLLISIONS, *of_units),
        make,
        parameters=canonical(fields_in_use),
        affected=EventScope(name, inputs.stems, fields_in_use, read_columns),
        partition_by=(CODE_BUCKET,),
    )


def _stem_rows(inputs: MapInputs, made: Inputs, key: str | None = None) -> DataFrame:
    """The events of all sources; with `key` those that have a value in this column."""
    if not inputs.stems:
        return made.session.createDataFrame([], ddl_of(STEM_SCHEMA))
    stems = [sound_rows(made, stem) for stem in inputs.stems]
    return union_all(stems if key is None else [stem.where(F.col(key).isNotNull()) for stem in stems])


def _events_with(inputs: MapInputs, made: Inputs, key: str) -> DataFrame:
    """The events that have a key in a column, with their tables and ids."""
    return numbered_events(_stem_rows(inputs, made, key), made.read(*ROUTES), made.read(*EVENT_COLLISIONS))


def episode_tables(inputs: MapInputs) -> list[Table]:
    """Episodes of care, and what happened in them."""
    rows, collisions, stored = rows_name(Target.EPISODE), intermediate("episode_collisions"), intermediate("episodes")

    def make_events(made: Inputs) -> DataFrame:
        links = (
            links_of(made.read(*VISITS), F.lit("visit_occurrence"), F.col("id")),
            links_of(_events_with(inputs, made, "episode_key"), F.col("_table"), F.col("_id")),
        )
        return episode_event(made.read(*stored), links, made.read(*CONCEPT), inputs.table("episode_event"))

    return [
        collisions_table(collisions, (rows,), lambda made: episode_ids(sound_rows(made, rows)), EPISODE_KEY),
        Table(
            name=stored,
            grain="one row per episode of care",
            schema=EPISODES_SCHEMA,
            belongs_to=BelongsTo.PERSON,
            inputs=(rows, CONCEPT_MAP, collisions),
            make=lambda made: episodes(sound_rows(made, rows), made.read(*CONCEPT_MAP), made.read(*collisions)),
            affected=AffectedScope(coded={rows: ("concept", "object")}),
        ),
        omop_table(
            inputs,
            "episode",
            "one row per episode of care",
            (stored,),
            lambda made: episode(made.read(*stored), inputs.table("episode")),
        ),
        omop_table(
            inputs,
            "episode_event",
            "one row per visit or event of an episode of care",
            (stored, VISITS, *inputs.stems, ROUTES, EVENT_COLLISIONS, CONCEPT),
            make_events,
            affected=AffectedScope(
                columns={
                    ROUTES: ROUTE,
                    VISITS: ("id", "person_id", "episode_key"),
                    stored: ("key", "person_id", "id"),
                }
            ),
        ),
    ]


def period_tables(inputs: MapInputs) -> list[Table]:
    """Observation periods."""
    registrations, stored, collisions = (
        rows_name(Target.OBSERVATION_PERIOD),
        intermediate("periods"),
        intermediate("period_collisions"),
    )

    def make(made: Inputs) -> DataFrame:
        dated = [(sound_rows(made, stem), "start_date") for stem in inputs.stems] + [(made.read(*VISITS), "start_date")]
        born = made.read(*PERSONS)
        return periods(sound_rows(made, registrations), dated, born, inputs.observation_gap_days)

    return [
        Table(
            name=stored,
            grain="one row per observation period",
            schema=PERIODS_SCHEMA,
            belongs_to=BelongsTo.PERSON,
            inputs=(registrations, *inputs.stems, VISITS, PERSONS),
            make=make,
            parameters=canonical({"gap_days": inputs.observation_gap_days}),
            affected=AffectedScope(columns={VISITS: ("person_id", "start_date"), PERSONS: ("person_id", "year_of_birth")}),
        ),
        collisions_table(collisions, (stored,), lambda made: period_ids(made.read(*stored)), PERIOD_KEY),
        omop_table(
            inputs,
            "observation_period",
            "one row per stretch of time in which a person was observed",
            (stored, collisions),
            lambda made: observation_period(made.read(*stored), made.read(*collisions), inputs.table("observation_period")),
        ),
    ]


def era_tables(inputs: MapInputs) -> list[Table]:
    """Eras of conditions, ingredients and doses."""
    conditions, drugs = omop_name("condition_occurrence"), omop_name("drug_exposure")
    vocabulary = (CONCEPT, TableName(Zone.VOCABULARY, "concept_ancestor"), TableName(Zone.VOCABULARY, "drug_strength"))
    stored, collisions = intermediate("eras"), intermediate("era_collisions")

    def make_table(name: str, made: Inputs) -> DataFrame:
        return era_table(made.read(*stored), made.read(*collisions), inputs.table(name))

    return [
        Table(
            name=stored,
            grain="one row per era of a condition, an ingredient or a dose",
            schema=ERAS_SCHEMA,
            belongs_to=BelongsTo.PERSON,
            inputs=(conditions, drugs, *vocabulary),
            make=lambda made: eras(
                made.read(*conditions), made.read(*drugs), DrugVocabulary(*[made.read(*name) for name in vocabulary])
            ),
        ),
        collisions_table(collisions, (stored,), lambda made: era_ids(made.read(*stored)), ERA_KEY),
        *[omop_table(inputs, name, _GRAINS[name], (stored, collisions), partial(make_table, name)) for name in ERA_TABLES],
    ]
