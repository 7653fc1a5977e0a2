"""The event tables, and those of episodes, observation periods and eras."""

from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.columns.ids import COLLISIONS_SCHEMA
from pipelines.contracts.cdm import CODE_BUCKET
from pipelines.contracts.tables import BelongsTo, Inputs, Selection, Table, TableName
from pipelines.contracts.touched import NEWEST_EXTRACTS, NEWEST_SCHEMA, TOUCHED_BY_CODES, TOUCHED_BY_PLACES, TOUCHED_BY_SUPPLIES
from pipelines.contracts.zones import Zone
from pipelines.mapping.spec import Target
from pipelines.omop.analytes import CONCEPTS_BY_UNIT_SCHEMA
from pipelines.omop.changes import ROUTE, AffectedScope, EventScope
from pipelines.omop.codes import (
    coded_fields,
)
from pipelines.omop.deaths import DATED_TABLES, chosen_deaths, event_after_death
from pipelines.omop.declared import (
    CONCEPT,
    CONCEPT_MAP,
    CONCEPTS_BY_UNIT,
    DEATHS,
    DRUG_STRENGTH,
    EVENT_COLLISIONS,
    NEWEST_MONTHS,
    PERIODS,
    PERSONS,
    ROUTES,
    UNOBSERVED,
    VISIT_DETAILS,
    VISITS,
    MapInputs,
    canonical,
    collisions_table,
    intermediate,
    observed,
    omop_name,
    omop_table,
    rows_name,
    sound_rows,
)
from pipelines.omop.drugs import DRUG_EXPOSURE, STRENGTH_COLUMNS, drug_dosing, drug_order_administration
from pipelines.omop.episodes import (
    EPISODE_KEY,
    EPISODES_SCHEMA,
    NEWEST_MONTHS_SCHEMA,
    episode,
    episode_event,
    episode_ids,
    episodes,
    links_of,
)
from pipelines.omop.eras import ERA_KEY, ERA_TABLES, ERAS_SCHEMA, DrugVocabulary, era_ids, era_table, eras
from pipelines.omop.events import CONCEPT_FIELDS, EVENT_KEY, EventInputs, event_ids, event_table, numbered_events
from pipelines.omop.evidence import event_evidence
from pipelines.omop.observability import newest_months, observability
from pipelines.omop.periods import (
    CONTACTS_SCHEMA,
    PERIOD_KEY,
    PERIODS_SCHEMA,
    contacts,
    observation_period,
    period_ids,
    periods,
    unobserved,
)
from pipelines.omop.places import (
    provider_index,
)
from pipelines.omop.relationships import fact_relationship
from pipelines.omop.same_facts import RULES, same_fact
from pipelines.omop.stem import (
    STEM_SCHEMA,
)
from pipelines.omop.visits import (
    inside_visits,
    visit_index,
    visit_names,
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
            (*stems, ROUTES, collisions, UNOBSERVED),
            lambda made: fact_relationship(
                _events_with(inputs, made, "specimen_key"),
                _events_with(inputs, made, "key"),
                inputs.table("fact_relationship"),
            ),
            affected=AffectedScope(columns={ROUTES: ROUTE, UNOBSERVED: ("person_id",)}),
        ),
        omop_table(
            inputs,
            "event_evidence",
            "one row per event of the event tables",
            tuple(omop_name(name) for name in CONCEPT_FIELDS),
            lambda made: event_evidence(
                {name: made.read(*omop_name(name)) for name in CONCEPT_FIELDS}, inputs.table("event_evidence")
            ),
            narrows=tuple(omop_name(name) for name in CONCEPT_FIELDS),
            log=TOUCHED_BY_SUPPLIES,
        ),
        _event_after_death(inputs),
        _same_fact(inputs),
    ]


def _event_after_death(inputs: MapInputs) -> Table:
    tables = {name: omop_name(name) for name in DATED_TABLES}
    return omop_table(
        inputs,
        "event_after_death",
        "one row per event or visit that starts after the death of its person",
        (*tables.values(), omop_name("death")),
        lambda made: event_after_death(
            {name: made.read(*table) for name, table in tables.items()},
            made.read(*omop_name("death")),
            inputs.table("event_after_death"),
        ),
        keeps_equal=True,
        narrows=(*tables.values(), omop_name("death")),
        log=TOUCHED_BY_SUPPLIES,
    )


def _same_fact(inputs: MapInputs) -> Table:
    tables = {name: omop_name(name) for name in RULES}
    return omop_table(
        inputs,
        "same_fact",
        "one row per event that another source, or another provider or practice, recorded too",
        tuple(tables.values()),
        lambda made: same_fact({name: made.read(*table) for name, table in tables.items()}, inputs.table("same_fact")),
        narrows=tuple(tables.values()),
        log=TOUCHED_BY_SUPPLIES,
    )


def _event_table(inputs: MapInputs, name: str) -> Table:
    table, coded = inputs.table(name), coded_fields(inputs.rules, Target.EVENT)
    providers = omop_name("provider")
    strengths, deaths, extracts = ((DRUG_STRENGTH,), (DEATHS,), (NEWEST_EXTRACTS,)) if name == DRUG_EXPOSURE else ((), (), ())
    read = (*inputs.stems, ROUTES, CONCEPT_MAP, VISITS, VISIT_DETAILS, providers)
    of_units = {CONCEPTS_BY_UNIT: tuple(CONCEPTS_BY_UNIT_SCHEMA)} if name == "measurement" else {}

    def make(made: Inputs) -> DataFrame:
        details, whole = observed(made, made.read(*VISIT_DETAILS)), observed(made, made.read(*VISITS))
        events = EventInputs(
            stem=observed(made, _stem_rows(inputs, made)),
            routes=made.read(*ROUTES),
            concept_map=made.read(*CONCEPT_MAP),
            visits=visit_names(whole),
            visit_details=visit_index(inside_visits(details, whole)),
            providers=provider_index(made.read(*providers)),
            collisions=made.read(*EVENT_COLLISIONS),
            coded=coded,
            strengths=made.read(*DRUG_STRENGTH) if strengths else None,
            deaths=chosen_deaths(made.read(*DEATHS)) if deaths else None,
            extracts=made.read(*NEWEST_EXTRACTS) if extracts else None,
            by_unit=made.read(*CONCEPTS_BY_UNIT) if of_units else None,
        )
        return event_table(table, events)

    fields_in_use = tuple(field for field in CONCEPT_FIELDS[name] if field in coded)
    read_columns = {
        VISITS: ("key", "id", "encounter_key", "named_from", "named_until"),
        VISIT_DETAILS: ("key", "id", "visit_key"),
        providers: ("provider_source_value", "provider_id"),
        EVENT_COLLISIONS: tuple(COLLISIONS_SCHEMA),
        **of_units,
        UNOBSERVED: ("person_id",),
        **dict.fromkeys(strengths, STRENGTH_COLUMNS),
        **dict.fromkeys(deaths, ("person_id", "death_date", "is_chosen")),
        **dict.fromkeys(extracts, tuple(NEWEST_SCHEMA)),
    }
    return omop_table(
        inputs,
        name,
        _GRAINS[name],
        (*read, EVENT_COLLISIONS, UNOBSERVED, *strengths, *deaths, *extracts, *of_units),
        make,
        parameters=canonical(fields_in_use),
        affected=EventScope(name, inputs.stems, fields_in_use, read_columns),
        partition_by=(CODE_BUCKET,),
        narrows=(*inputs.stems, VISITS, VISIT_DETAILS, *deaths),
        log=TOUCHED_BY_SUPPLIES if extracts else TOUCHED_BY_PLACES,
    )


def drug_tables(inputs: MapInputs) -> list[Table]:
    """What is derived of drug exposures, beside the tables of the CDM."""
    drugs = omop_name(DRUG_EXPOSURE)
    return [
        omop_table(
            inputs,
            "drug_dosing",
            "one row per drug exposure",
            (drugs,),
            lambda made: drug_dosing(made.read(*drugs), inputs.table("drug_dosing")),
            narrows=(drugs,),
            log=TOUCHED_BY_SUPPLIES,
        ),
        omop_table(
            inputs,
            "drug_order_administration",
            "one row per drug that was given for an order, and the row of the order that has this drug",
            (*inputs.stems, drugs),
            lambda made: drug_order_administration(
                _stem_rows(inputs, made, "order_key"), made.read(*drugs), inputs.table("drug_order_administration")
            ),
            narrows=(*inputs.stems, drugs),
            log=TOUCHED_BY_SUPPLIES,
        ),
    ]


def _stem_rows(inputs: MapInputs, made: Inputs, key: str | None = None) -> DataFrame:
    """The events of all sources; with `key` those that have a value in this column."""
    if not inputs.stems:
        return made.session.createDataFrame([], ddl_of(STEM_SCHEMA))
    stems = [sound_rows(made, stem) for stem in inputs.stems]
    return union_all(stems if key is None else [stem.where(F.col(key).isNotNull()) for stem in stems])


def _events_with(inputs: MapInputs, made: Inputs, key: str) -> DataFrame:
    """The events that have a key in a column, with their tables and ids."""
    return numbered_events(observed(made, _stem_rows(inputs, made, key)), made.read(*ROUTES), made.read(*EVENT_COLLISIONS))


def _newest_months(inputs: MapInputs) -> Table:
    """The newest month that each provider has submitted of an entity: a new one makes again only what it no longer has."""
    rows = [(*place, day) for place, day in sorted(newest_months(inputs.coverage).items())]
    return Table(
        name=NEWEST_MONTHS,
        grain="one row per source, provider and entity: the first day of the newest month that it has submitted",
        schema=NEWEST_MONTHS_SCHEMA,
        belongs_to=BelongsTo.WHOLE,
        make=lambda made: made.session.createDataFrame(rows, ddl_of(NEWEST_MONTHS_SCHEMA)),
        parameters=repr(rows),
        keeps_equal=True,
    )


def episode_tables(inputs: MapInputs) -> list[Table]:
    """Episodes of care and what happened in them, and until when their sources have submitted."""
    rows, collisions, stored = rows_name(Target.EPISODE), intermediate("episode_collisions"), intermediate("episodes")

    def make_events(made: Inputs) -> DataFrame:
        links = (
            links_of(made.read(*VISITS), F.lit("visit_occurrence"), F.col("id")),
            links_of(_events_with(inputs, made, "episode_key"), F.col("_table"), F.col("_id")),
        )
        return episode_event(observed(made, made.read(*stored)), links, made.read(*CONCEPT), inputs.table("episode_event"))

    return [
        _newest_months(inputs),
        collisions_table(collisions, (rows,), lambda made: episode_ids(sound_rows(made, rows)), EPISODE_KEY),
        Table(
            name=stored,
            grain="one row per episode of care",
            schema=EPISODES_SCHEMA,
            belongs_to=BelongsTo.PERSON,
            inputs=(rows, CONCEPT_MAP, collisions, NEWEST_MONTHS, DEATHS),
            make=lambda made: episodes(
                sound_rows(made, rows),
                made.read(*CONCEPT_MAP),
                made.read(*collisions),
                chosen_deaths(made.read(*DEATHS)),
                made.read(*NEWEST_MONTHS),
            ),
            affected=AffectedScope(
                columns={DEATHS: ("person_id", "death_date", "is_chosen")}, coded={rows: ("concept", "object")}
            ),
            selection=Selection(TOUCHED_BY_CODES, (rows, DEATHS)),
        ),
        omop_table(
            inputs,
            "episode",
            "one row per episode of care",
            (stored, UNOBSERVED),
            lambda made: episode(observed(made, made.read(*stored)), inputs.table("episode")),
            narrows=(stored,),
        ),
        omop_table(
            inputs,
            "episode_event",
            "one row per visit or event of an episode of care",
            (stored, VISITS, *inputs.stems, ROUTES, EVENT_COLLISIONS, CONCEPT, UNOBSERVED),
            make_events,
            affected=AffectedScope(
                columns={
                    ROUTES: ROUTE,
                    UNOBSERVED: ("person_id",),
                    VISITS: ("id", "person_id", "episode_key"),
                    stored: ("key", "person_id", "id"),
                }
            ),
        ),
    ]


def period_tables(inputs: MapInputs) -> list[Table]:
    """Observation periods, the people who have none, and when each provider would have seen them."""
    registrations, people = rows_name(Target.OBSERVATION_PERIOD), rows_name(Target.PERSON)
    collisions = intermediate("period_collisions")
    registering = [source.name for source in inputs.sources if source.rules(Target.OBSERVATION_PERIOD)]

    def make(made: Inputs) -> DataFrame:
        return periods(
            sound_rows(made, registrations),
            contacts(_stem_rows(inputs, made), made.read(*ROUTES), made.read(*VISITS)),
            made.read(*PERSONS),
            chosen_deaths(made.read(*DEATHS)),
            made.read(*NEWEST_EXTRACTS),
            inputs.captured_from,
        )

    def make_unobserved(made: Inputs) -> DataFrame:
        found = unobserved(made.read(*PERSONS), made.read(*PERIODS))
        return found.limit(0) if inputs.keeps_unobserved else found

    def make_observability(made: Inputs) -> DataFrame:
        return observability(
            sound_rows(made, registrations),
            sound_rows(made, people).where(~F.col("_source").isin(registering)),
            observed(made, made.read(*PERSONS)),
            chosen_deaths(made.read(*DEATHS)),
            made.read(*NEWEST_EXTRACTS),
            inputs.coverage,
            inputs.captured_from,
            inputs.table("observability"),
        )

    return [
        Table(
            name=PERIODS,
            grain="one row per observation period",
            schema=PERIODS_SCHEMA,
            belongs_to=BelongsTo.PERSON,
            inputs=(registrations, *inputs.stems, ROUTES, VISITS, PERSONS, DEATHS, NEWEST_EXTRACTS),
            make=make,
            parameters=canonical(inputs.captured_from),
            affected=AffectedScope(
                columns={
                    ROUTES: ("_code_key", "table"),
                    VISITS: tuple(CONTACTS_SCHEMA),
                    PERSONS: ("person_id", "year_of_birth"),
                    DEATHS: ("person_id", "death_date", "is_chosen"),
                }
            ),
        ),
        Table(
            name=UNOBSERVED,
            grain="one row per person without an observation period, who is left out of the CDM",
            schema={"person_id": "bigint"},
            belongs_to=BelongsTo.PERSON,
            inputs=(PERSONS, PERIODS),
            make=make_unobserved,
            parameters=canonical({"keeps_unobserved": inputs.keeps_unobserved}),
            keeps_equal=True,
        ),
        collisions_table(collisions, (PERIODS,), lambda made: period_ids(made.read(*PERIODS)), PERIOD_KEY),
        omop_table(
            inputs,
            "observation_period",
            "one row per stretch of time in which a person was observed",
            (PERIODS, collisions),
            lambda made: observation_period(made.read(*PERIODS), made.read(*collisions), inputs.table("observation_period")),
        ),
        omop_table(
            inputs,
            "observability",
            "one row per person, provider and span in which care by the provider would have been seen",
            (registrations, people, PERSONS, DEATHS, UNOBSERVED, NEWEST_EXTRACTS),
            make_observability,
            parameters=canonical([inputs.coverage, inputs.captured_from]),
            affected=AffectedScope(
                columns={
                    PERSONS: ("person_id", "year_of_birth"),
                    DEATHS: ("person_id", "death_date", "is_chosen"),
                    UNOBSERVED: ("person_id",),
                }
            ),
        ),
    ]


def era_tables(inputs: MapInputs) -> list[Table]:
    """Eras of conditions, ingredients and doses."""
    conditions, drugs = omop_name("condition_occurrence"), omop_name("drug_exposure")
    vocabulary = (CONCEPT, TableName(Zone.VOCABULARY, "concept_ancestor"), DRUG_STRENGTH)
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
            selection=Selection(TOUCHED_BY_SUPPLIES, (conditions, drugs)),
        ),
        collisions_table(collisions, (stored,), lambda made: era_ids(made.read(*stored)), ERA_KEY),
        *[
            omop_table(
                inputs,
                name,
                _GRAINS[name],
                (stored, collisions),
                partial(make_table, name),
                narrows=(stored,),
                log=TOUCHED_BY_SUPPLIES,
            )
            for name in ERA_TABLES
        ],
    ]
