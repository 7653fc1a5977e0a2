"""The tables of the map and derive stage, from silver to the OMOP CDM, each declared once.

`map_tables` gives the declarations; the runner makes the tables in the order of their inputs. In the order of the data:

1. mapped rows of every target; the stem, which has one row per source event; the people of the CDM;
2. the codes in use, their concepts (`concept_map`), and the routes of events into the event tables;
3. one record a person over all sources; spells, attendances and contacts with their ends; the places they refer to;
4. the event tables, episodes, observation periods and eras;
5. what the database says about itself, and the ledger of the stage.
"""

from dataclasses import fields
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import rows_of_group, union_all
from pipelines.contracts.cdm import EVENT_TABLES, cdm_tables
from pipelines.contracts.tables import BelongsTo, Inputs, Table
from pipelines.contracts.touched import NEWEST_EXTRACTS
from pipelines.mapping.compile import PERSON_BOUND
from pipelines.mapping.outcomes import LEFT_OUT_ROWS_SCHEMA
from pipelines.mapping.plausibility import flagged_counts, set_aside_rows
from pipelines.mapping.spec import Target
from pipelines.omop.changes import ROUTE, AffectedScope
from pipelines.omop.conform import empty_table
from pipelines.omop.deaths import chosen_deaths
from pipelines.omop.declared import (
    CONCEPT,
    DEATHS,
    KNOWN,
    PERIODS,
    PERSONS,
    ROUTES,
    ROW_TABLES,
    UNOBSERVED,
    VISIT_DETAILS,
    VISITS,
    MapInputs,
    canonical,
    intermediate,
    observed,
    omop_name,
    omop_table,
    rows_name,
    sound_rows,
)
from pipelines.omop.eras import ERA_TABLES
from pipelines.omop.event_tables import (
    drug_tables,
    episode_tables,
    era_tables,
    event_tables,
    period_tables,
)
from pipelines.omop.events import CONCEPT_FIELDS
from pipelines.omop.ledger import LEFT_OUT_SCHEMA, MAP_LEDGER_SCHEMA, WRITTEN_SCHEMA, code_ledger, map_ledger, written_rows
from pipelines.omop.measurement_tables import measurement_tables
from pipelines.omop.outcome_tables import LEFT_OUT_ROWS, MAP_COUNTS, outcome_tables
from pipelines.omop.periods import not_fanned_out, registrations_outside, rows_of_unobserved
from pipelines.omop.person_tables import person_and_visit_tables, place_tables
from pipelines.omop.persons import without_year_of_birth
from pipelines.omop.places import (
    described_sites,
)
from pipelines.omop.row_tables import code_tables, row_tables
from pipelines.omop.source import cdm_source, metadata
from pipelines.omop.touched import touched_tables
from pipelines.omop.visits import days_not_believed, without_visit


def map_tables(inputs: MapInputs) -> list[Table]:
    """The declaration of every table that the map and derive stage stores."""
    return [
        *row_tables(inputs),
        *touched_tables(inputs),
        *code_tables(inputs),
        *person_and_visit_tables(inputs),
        *place_tables(inputs),
        *event_tables(inputs),
        *drug_tables(inputs),
        *measurement_tables(inputs),
        *episode_tables(inputs),
        *period_tables(inputs),
        *era_tables(inputs),
        *description_tables(inputs),
        *ledger_tables(inputs),
    ]


def description_tables(inputs: MapInputs) -> list[Table]:
    """What the database says about itself, and the tables of the CDM that no source fills."""
    described = inputs.described_as

    def make_empty(name: str, made: Inputs) -> DataFrame:
        return empty_table(made.session, inputs.table(name))

    empty = [name for name, table in cdm_tables(inputs.cdm_version).items() if name not in BUILT and not table.is_vocabulary]
    return [
        omop_table(
            inputs,
            "cdm_source",
            "the one row that describes the database",
            (CONCEPT,),
            lambda made: cdm_source(described, made.read(*CONCEPT), inputs.table("cdm_source")),
            parameters=canonical({item.name: getattr(described, item.name) for item in fields(described)}),
            belongs_to=BelongsTo.WHOLE,
        ),
        omop_table(
            inputs,
            "metadata",
            "one row per statement about the database",
            (),
            lambda made: metadata(made.session, described, inputs.table("metadata")),
            parameters=canonical(described.statements),
            belongs_to=BelongsTo.WHOLE,
        ),
        *[
            omop_table(inputs, name, "no row: no source has it", (), partial(make_empty, name), belongs_to=BelongsTo.WHOLE)
            for name in empty
        ],
    ]


BUILT = frozenset(
    {"cdm_source", "metadata", "location", "care_site", "provider", "person", "death", "observation_period"}
    | {"visit_occurrence", "visit_detail", "fact_relationship", "episode", "episode_event", *CONCEPT_FIELDS, *ERA_TABLES}
)
"""The tables that the map stage fills."""


def ledger_tables(inputs: MapInputs) -> list[Table]:
    """The ledger of the stage."""
    people, registrations = rows_name(Target.PERSON), rows_name(Target.OBSERVATION_PERIOD)
    details, timings, visit_rows = (rows_name(to) for to in (Target.VISIT_DETAIL, Target.VISIT_TIMING, Target.VISIT))
    left_out, written = (intermediate(name) for name in ("map_left_out", "map_written"))
    places = {"provider": rows_name(Target.PROVIDER), "care_site": rows_name(Target.CARE_SITE)}
    others = {"person": PERSONS, "observation_period": PERIODS, **places}
    tables = {name: omop_name(name) for name in EVENT_TABLES if name in BUILT} | others
    events = [rule.name for rule in inputs.rules_for(Target.EVENT)]
    about_people = (*(rows_name(target) for target in ROW_TABLES if target in PERSON_BOUND), *inputs.stems)
    # Not registrations: unobserved people have none of which a day can be observed, and those are counted for that reason.
    counted_by_person = [name for name in about_people if name != registrations]

    def make_left_out_rows(made: Inputs) -> DataFrame:
        registered, born, died = sound_rows(made, registrations), made.read(*PERSONS), chosen_deaths(made.read(*DEATHS))
        *observed_parts, observed_visits = (observed(made, sound_rows(made, name)) for name in (details, timings, visit_rows))
        return union_all(
            [
                set_aside_rows([made.read(*name) for name in about_people]),
                *[without_visit(parts, observed_visits) for parts in observed_parts],
                registrations_outside(registered, born, died, made.read(*NEWEST_EXTRACTS), inputs.captured_from),
            ]
        )

    def make_left_out(made: Inputs) -> DataFrame:
        unobserved = made.read(*UNOBSERVED)
        excluded = [
            made.read(*LEFT_OUT_ROWS).groupBy("source", "entity", "rule", "reason").agg(rows_of_group().alias("rows")),
            without_year_of_birth(sound_rows(made, people), made.read(*KNOWN)),
            rows_of_unobserved([sound_rows(made, name) for name in counted_by_person], unobserved),
        ]
        replaced = days_not_believed(*[observed(made, made.read(*name)) for name in (VISITS, VISIT_DETAILS)])
        flagged = flagged_counts([made.read(*name) for name in about_people]).unionByName(replaced)
        parts = [union_all(excluded).withColumn("disposition", F.lit("excluded"))]
        parts.append(flagged.withColumn("disposition", F.lit("flagged")))
        if inputs.stems:
            stem = union_all([sound_rows(made, name) for name in inputs.stems])
            parts.append(not_fanned_out(stem, made.read(*ROUTES), unobserved))
        return union_all(parts)

    def make_written(made: Inputs) -> DataFrame:
        frames = {table: made.read(*name) for table, name in tables.items()}
        frames["person"] = observed(made, frames["person"])
        frames["care_site"] = described_sites(frames["care_site"], inputs.source_priority)
        return written_rows(frames)

    def make_ledger(made: Inputs) -> DataFrame:
        ways = made.read(*ROUTES)
        mapped = map_ledger(made.read(*MAP_COUNTS), made.read(*left_out), ways, made.read(*written), events)
        return mapped.unionByName(code_ledger(ways))

    return [
        Table(
            name=LEFT_OUT_ROWS,
            grain="one row per mapped row that is left out for a reason of its own and not of its person",
            schema=LEFT_OUT_ROWS_SCHEMA,
            belongs_to=BelongsTo.PERSON,
            inputs=(*about_people, PERSONS, DEATHS, UNOBSERVED, NEWEST_EXTRACTS),
            make=make_left_out_rows,
            parameters=canonical(inputs.captured_from),
            affected=AffectedScope(
                columns={
                    PERSONS: ("person_id", "year_of_birth"),
                    DEATHS: ("person_id", "death_date", "is_chosen"),
                    UNOBSERVED: ("person_id",),
                }
            ),
        ),
        *outcome_tables(inputs),
        Table(
            name=left_out,
            grain="one row per mapping rule and reason for which mapped rows are left out (excluded) or published all the same",
            schema=LEFT_OUT_SCHEMA,
            belongs_to=BelongsTo.WHOLE,
            inputs=(*about_people, KNOWN, UNOBSERVED, ROUTES, LEFT_OUT_ROWS, VISITS, VISIT_DETAILS),
            make=make_left_out,
            affected=AffectedScope(columns={ROUTES: ROUTE, UNOBSERVED: ("person_id",)}),
        ),
        Table(
            name=written,
            grain="one row per mapping rule and table that it gave rows to",
            schema=WRITTEN_SCHEMA,
            belongs_to=BelongsTo.WHOLE,
            inputs=(*tables.values(), UNOBSERVED),
            make=make_written,
            parameters=canonical(inputs.source_priority),
        ),
        Table(
            name=intermediate("map_ledger"),
            grain="one row per mapping rule, disposition and reason",
            schema=MAP_LEDGER_SCHEMA,
            belongs_to=BelongsTo.WHOLE,
            inputs=(MAP_COUNTS, left_out, written, ROUTES),
            make=make_ledger,
            parameters=canonical(events),
        ),
    ]
