"""The tables of persons, deaths and visits, and of the places that they refer to."""

from pyspark.sql import DataFrame

from pipelines.columns.ids import without_collisions
from pipelines.contracts.tables import BelongsTo, Inputs, Selection, Table, TableName
from pipelines.contracts.touched import NEWEST_EXTRACTS, TOUCHED_BY_CODES
from pipelines.mapping.spec import Target
from pipelines.omop.changes import AffectedScope
from pipelines.omop.continuous_spells import continuous_spell_visits, continuous_spells
from pipelines.omop.deaths import DEATHS_SCHEMA, chosen_deaths, death, death_record, deaths
from pipelines.omop.declared import (
    CONCEPT_MAP,
    DEATHS,
    NEWEST_MONTHS,
    PERSONS,
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
from pipelines.omop.persons import CODED, PERSONS_SCHEMA, person, persons
from pipelines.omop.places import (
    PLACE_KEY,
    PLACES_SCHEMA,
    care_site,
    described_sites,
    location,
    place_keys,
    provider,
)
from pipelines.omop.visit_timing import visit_timing
from pipelines.omop.visits import (
    VISIT_KEY,
    VISITS_SCHEMA,
    has_encounters,
    hospital_rules,
    visit_detail,
    visit_ids,
    visit_occurrence,
    visits,
)


def person_and_visit_tables(inputs: MapInputs) -> list[Table]:
    """Persons, deaths, visits and their details."""
    care_sites, providers, locations = (omop_name(name) for name in ("care_site", "provider", "location"))
    people, death_rows = rows_name(Target.PERSON), rows_name(Target.DEATH)
    return [
        Table(
            name=PERSONS,
            grain="one row per person over all sources",
            schema=PERSONS_SCHEMA,
            belongs_to=BelongsTo.PERSON,
            inputs=(people, CONCEPT_MAP),
            make=lambda made: persons(sound_rows(made, people), made.read(*CONCEPT_MAP), inputs.source_priority),
            parameters=canonical(inputs.source_priority),
            affected=AffectedScope(coded={people: CODED}),
            selection=Selection(TOUCHED_BY_CODES, (people,)),
        ),
        Table(
            name=DEATHS,
            grain="one row per delivered death",
            schema=DEATHS_SCHEMA,
            belongs_to=BelongsTo.PERSON,
            inputs=(death_rows, CONCEPT_MAP),
            make=lambda made: deaths(sound_rows(made, death_rows), made.read(*CONCEPT_MAP), inputs.death_priority),
            parameters=canonical(inputs.death_priority),
            affected=AffectedScope(coded={death_rows: ("cause",)}),
            selection=Selection(TOUCHED_BY_CODES, (death_rows,)),
        ),
        *_visits(inputs, Target.VISIT, VISITS, "visit_occurrence"),
        *_visits(inputs, Target.VISIT_DETAIL, VISIT_DETAILS, "visit_detail"),
        omop_table(
            inputs,
            "person",
            "one row per person",
            (PERSONS, UNOBSERVED, locations, care_sites),
            lambda made: person(
                observed(made, made.read(*PERSONS)),
                made.read(*locations),
                made.read(*care_sites),
                inputs.with_month_of_birth,
                inputs.table("person"),
            ),
            parameters=canonical({"with_month_of_birth": inputs.with_month_of_birth}),
            narrows=(PERSONS,),
        ),
        omop_table(
            inputs,
            "death",
            "one row per person who has died",
            (DEATHS, UNOBSERVED),
            lambda made: death(observed(made, made.read(*DEATHS)), inputs.table("death")),
            narrows=(DEATHS,),
        ),
        omop_table(
            inputs,
            "death_record",
            "one row per delivered death of a person",
            (DEATHS, UNOBSERVED),
            lambda made: death_record(observed(made, made.read(*DEATHS)), inputs.table("death_record")),
            narrows=(DEATHS,),
        ),
        omop_table(
            inputs,
            "visit_occurrence",
            "one row per visit: a spell, an attendance, a contact",
            (VISITS, UNOBSERVED, care_sites, providers),
            lambda made: visit_occurrence(
                observed(made, made.read(*VISITS)),
                made.read(*care_sites),
                made.read(*providers),
                inputs.table("visit_occurrence"),
            ),
            narrows=(VISITS,),
        ),
        *_continuous_spells(inputs),
        omop_table(
            inputs,
            "visit_timing",
            "one row per visit and milestone: when it happened, or is expected",
            (rows_name(Target.VISIT_TIMING), VISITS, UNOBSERVED),
            lambda made: visit_timing(
                sound_rows(made, rows_name(Target.VISIT_TIMING)),
                observed(made, made.read(*VISITS)),
                inputs.table("visit_timing"),
            ),
            narrows=(rows_name(Target.VISIT_TIMING), VISITS),
        ),
        omop_table(
            inputs,
            "visit_detail",
            "one row per part of a visit",
            (VISIT_DETAILS, VISITS, UNOBSERVED, care_sites, providers),
            lambda made: visit_detail(
                observed(made, made.read(*VISIT_DETAILS)),
                observed(made, made.read(*VISITS)),
                made.read(*care_sites),
                made.read(*providers),
                inputs.table("visit_detail"),
            ),
            narrows=(VISIT_DETAILS, VISITS),
        ),
    ]


def _visits(inputs: MapInputs, target: Target, name: TableName, kind: str) -> tuple[Table, Table]:
    """The visits, or details, of all sources, and the collisions of their ids."""
    rows, rules = rows_name(target), inputs.rules_for(target)
    collisions = intermediate(f"{kind}_collisions")
    whole = Table(
        name=name,
        grain="one row per visit" if target is Target.VISIT else "one row per part of a visit",
        schema=VISITS_SCHEMA,
        belongs_to=BelongsTo.PERSON,
        inputs=(rows, CONCEPT_MAP, collisions, NEWEST_EXTRACTS, NEWEST_MONTHS, DEATHS),
        make=lambda made: visits(
            sound_rows(made, rows),
            rules,
            made.read(*CONCEPT_MAP),
            made.read(*collisions),
            made.read(*NEWEST_EXTRACTS),
            made.read(*NEWEST_MONTHS),
            chosen_deaths(made.read(*DEATHS)),
            kind,
        ),
        parameters=canonical(
            {
                "grouped": [rule.name for rule in rules if rule.group],
                "hospital": hospital_rules(rules),
                "encounters": has_encounters(rules),
            }
        ),
        affected=AffectedScope(
            columns={DEATHS: ("person_id", "death_date", "is_chosen")},
            coded={rows: ("concept", "admitted_from", "discharged_to")},
        ),
        selection=Selection(TOUCHED_BY_CODES, (rows, DEATHS)),
    )
    return collisions_table(collisions, (rows,), lambda made: visit_ids(sound_rows(made, rows), kind), VISIT_KEY), whole


def _continuous_spells(inputs: MapInputs) -> tuple[Table, Table]:
    """The continuous inpatient spells, and the visits that they are made of."""
    spell, link = "continuous_inpatient_spell", "continuous_inpatient_spell_visit"
    return (
        omop_table(
            inputs,
            link,
            "one row per hospital provider spell, with the continuous spell that it is part of",
            (VISITS, UNOBSERVED),
            lambda made: continuous_spell_visits(observed(made, made.read(*VISITS)), inputs.table(link)),
            narrows=(VISITS,),
        ),
        omop_table(
            inputs,
            spell,
            "one row per stay in hospital from admission to discharge, over transfers",
            (omop_name(link), VISITS, UNOBSERVED),
            lambda made: continuous_spells(
                made.read(*omop_name(link)), observed(made, made.read(*VISITS)), inputs.table(spell)
            ),
            narrows=(omop_name(link), VISITS),
        ),
    )


def place_tables(inputs: MapInputs) -> list[Table]:
    """Locations, care sites and providers."""
    staff, site_rows = rows_name(Target.PROVIDER), rows_name(Target.CARE_SITE)
    keys, collisions = intermediate("place_keys"), intermediate("place_collisions")
    locations, care_sites = omop_name("location"), omop_name("care_site")
    priority = canonical(inputs.source_priority)

    def sites(made: Inputs) -> DataFrame:
        return described_sites(made.read(*site_rows), inputs.source_priority)

    def places(made: Inputs) -> DataFrame:
        return without_collisions(made.read(*keys), "id", PLACE_KEY, made.read(*collisions))

    def make_keys(made: Inputs) -> DataFrame:
        people, staff_rows, described = made.read(*PERSONS), made.read(*staff), made.read(*site_rows)
        with_code = (people, made.read(*VISITS), made.read(*VISIT_DETAILS), staff_rows, described)
        return place_keys((people, sites(made)), with_code, staff_rows)

    return [
        Table(
            name=keys,
            grain="one row per location, care site and provider",
            schema=PLACES_SCHEMA,
            belongs_to=BelongsTo.WHOLE,
            inputs=(PERSONS, VISITS, VISIT_DETAILS, staff, site_rows),
            make=make_keys,
            parameters=priority,
            keeps_equal=True,
        ),
        collisions_table(collisions, (keys,), lambda made: made.read(*keys), PLACE_KEY),
        omop_table(
            inputs,
            "location",
            "one row per postcode area",
            (keys, collisions),
            lambda made: location(places(made), inputs.table("location")),
            belongs_to=BelongsTo.WHOLE,
            keeps_equal=True,
        ),
        omop_table(
            inputs,
            "care_site",
            "one row per organisation",
            (keys, collisions, site_rows, CONCEPT_MAP, locations),
            lambda made: care_site(
                places(made), sites(made), made.read(*CONCEPT_MAP), made.read(*locations), inputs.table("care_site")
            ),
            parameters=priority,
            belongs_to=BelongsTo.WHOLE,
            keeps_equal=True,
        ),
        omop_table(
            inputs,
            "provider",
            "one row per member of staff",
            (keys, collisions, staff, CONCEPT_MAP, care_sites),
            lambda made: provider(
                places(made), made.read(*staff), made.read(*CONCEPT_MAP), made.read(*care_sites), inputs.table("provider")
            ),
            belongs_to=BelongsTo.WHOLE,
            keeps_equal=True,
        ),
    ]
