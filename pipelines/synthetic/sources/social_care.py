"""The adult social care extract: the Client Level Data file of every council.

Specific traps: one council writes Release 1 headers and spellings until October 2025, services are open in one submission
and closed in the next, some end after the person died, attributes are unknown on some rows, carers known by association have
no name, birth date or NHS number.
"""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.synthetic.population import SourceData, Story, Truth, World
from pipelines.synthetic.sources.rows import assemble, known, number_text
from pipelines.synthetic.sources.social_care_values import (
    ACCOMMODATIONS,
    ASSESSMENT,
    ASSOCIATED,
    CARER,
    CLIENT_TYPES,
    COMPONENTS,
    EMPLOYMENTS,
    ETHNICITIES,
    EVENT_TYPES,
    HOME_SUPPORT,
    LOCATIONS,
    LONG_TERM_SUPPORT,
    OUTCOMES,
    REABLEMENT,
    RELEASE_1_SPELLINGS,
    REQUEST,
    RESIDENTIAL,
    RESIDENTIAL_COMPONENTS,
    RESPITE,
    REVIEW,
    SERVICE,
    SERVICES,
    SUPPORT_REASONS,
    USER,
)
from pipelines.synthetic.text import date_text, numbered, spread

FORM = "dd/MM/yyyy"
DAY = np.timedelta64(1, "D")
NO_DAY = np.datetime64("NaT", "D")
YEAR_DAYS = 365.25
RELEASE_1_COUNCIL = "992"
RELEASE_2_FROM = np.datetime64("2025-10-01")
CLIENT_SHARES = ((18, 0.012), (65, 0.07), (80, 0.22))
"""Share of people who asked the council for support in the detailed history, by lower age limit."""
CARER_SHARE, BY_ASSOCIATION_SHARE = 0.006, 0.001
NOT_HELPED_SHARE, CLOSED_SHARE, LATER_SUBMISSION_SHARE, UNKNOWN_SHARE = 0.3, 0.35, 0.5, 0.04
REABLEMENT_DAYS = 42
AFTER_DEATH_DAYS = 12


@dataclass(frozen=True)
class Events:
    """One event per entry; `component` is a position in COMPONENTS or -1, `client` in CLIENT_TYPES; `end` NaT is open."""

    person: np.ndarray
    type: np.ndarray
    start: np.ndarray
    end: np.ndarray
    component: np.ndarray
    client: np.ndarray

    def __len__(self) -> int:
        """The number of events."""
        return len(self.person)

    def take(self, at: np.ndarray) -> "Events":
        """Some of the events."""
        return Events(**{field.name: getattr(self, field.name)[at] for field in fields(self)})


def build(world: World) -> SourceData:
    """The file of Client Level Data and the rows that must be in the published CDM."""
    once = draw_events(world)
    events = submitted(world, once)
    return SourceData({"cld": cld_table(world, events)}, truth_of(world, once))


def draw_events(world: World) -> Events:
    """Requests and resulting events, reablement after hospital, carers, and people known by association."""
    rng = world.rng("social_care.events")
    people = world.population
    person, asked = draw_clients(world, rng)
    story = people.story[person] == Story.SOCIAL_CARE
    helped = story | (rng.random(len(person)) >= NOT_HELPED_SHARE)
    assessed = asked + rng.integers(5, 30, len(person))
    shares = np.array([share for _, share in SERVICES.values()])
    component = rng.choice(len(COMPONENTS), len(person), p=shares / shares.sum())
    component[story] = np.where(person[story] % 3 == 0, RESIDENTIAL, HOME_SUPPORT)
    started = assessed + rng.integers(3, 25, len(person))
    closed = ~story & (rng.random(len(person)) < CLOSED_SHARE)
    ended = np.where(closed, started + rng.integers(30, 400, len(person)), NO_DAY).astype("datetime64[D]")
    died = people.death_date[person]
    ended = np.where(~np.isnat(died), np.fmin(ended, died + rng.integers(0, AFTER_DEATH_DAYS, len(person))), ended)
    parts = [
        events_of(person, REQUEST, asked, asked + 2),
        events_of(person[helped], ASSESSMENT, assessed[helped], assessed[helped] + 1),
        events_of(person[helped], SERVICE, started[helped], ended[helped], component[helped]),
    ]
    for year in (1, 2):
        reviewed = started + year * 365
        due = helped & ~(ended < reviewed)
        parts.append(events_of(person[due], REVIEW, reviewed[due], reviewed[due] + 3))
    timeline = world.timeline
    after = np.flatnonzero(~np.isnat(timeline.reablement_from))
    first = timeline.reablement_from[after].astype("datetime64[D]")
    reabled = timeline.person[after]
    to_reable = np.full(len(after), REABLEMENT)
    parts.append(events_of(reabled, ASSESSMENT, first - 2, first - 2, to_reable))
    parts.append(events_of(reabled, SERVICE, first, first + REABLEMENT_DAYS, to_reable))
    adult = (world.last_day - people.birth_date).astype(np.int64) > 35 * YEAR_DAYS
    ordinary = (people.story == Story.ORDINARY) & adult
    carers = np.flatnonzero(ordinary & (rng.random(world.n) < CARER_SHARE))
    since = world.last_day - rng.integers(30, 1000, len(carers))
    parts.append(events_of(carers, ASSESSMENT, since, since + 1, client=CARER))
    parts.append(events_of(carers, SERVICE, since + 9, np.full(len(carers), NO_DAY), np.full(len(carers), RESPITE), CARER))
    known = np.flatnonzero(ordinary & (rng.random(world.n) < BY_ASSOCIATION_SHARE))
    parts.append(events_of(known, REQUEST, world.last_day - rng.integers(30, 1000, len(known)), None, client=ASSOCIATED))
    return happened(world, joined(parts))


def draw_clients(world: World, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Persons and days of requests for support: adults by age, and the people of the social care story."""
    people = world.population
    ages = (world.last_day - people.birth_date).astype(np.int64) / YEAR_DAYS
    shares = np.zeros(world.n)
    for age, share in CLIENT_SHARES:
        shares[ages >= age] = share
    shares[people.story != Story.ORDINARY] = 0.0
    shares[people.story == Story.SOCIAL_CARE] = 1.0
    person = np.flatnonzero(rng.random(world.n) < shares)
    return person, world.last_day - rng.integers(120, 1000, len(person))


def events_of(
    person: np.ndarray,
    kind: int,
    start: np.ndarray,
    end: np.ndarray | None,
    component: np.ndarray | None = None,
    client: int = USER,
) -> Events:
    """Events of one type; all but services end on the day they start unless `end` is set."""
    count = len(person)
    return Events(
        person.astype(np.int64),
        np.full(count, kind),
        start.astype("datetime64[D]"),
        (start if end is None else end).astype("datetime64[D]"),
        np.full(count, -1) if component is None else component,
        np.full(count, client),
    )


def happened(world: World, events: Events) -> Events:
    """The events that began before death and by the last day. Services that end later are open; other events are dropped."""
    died = world.population.death_date[events.person]
    began = (events.start <= world.last_day) & ~(died < events.start)
    open_still = ~(events.end <= world.last_day)
    kept = np.flatnonzero(began & ((events.type == SERVICE) | ~open_still))
    events = events.take(kept)
    events.end[open_still[kept]] = NO_DAY
    return events


def submitted(world: World, events: Events) -> Events:
    """The events with some services in two submissions: open in the first, closed in the later one."""
    rng = world.rng("social_care.submissions")
    ordinary = world.population.story[events.person] == Story.ORDINARY
    closed = (events.type == SERVICE) & ~np.isnat(events.end) & ordinary
    spans = quarter_end(events.end) > quarter_end(events.start)
    twice = np.flatnonzero(closed & spans & (rng.random(len(events)) < LATER_SUBMISSION_SHARE))
    earlier = events.take(twice)
    earlier.end[:] = NO_DAY
    return joined([events, earlier])


def joined(parts: list[Events]) -> Events:
    """The events of several parts, concatenated."""
    return Events(**{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Events)})


def reported(events: Events) -> np.ndarray:
    """The day on which an event may be reported: its end, or the start of a service that is open."""
    return np.where(np.isnat(events.end), events.start, events.end)


def period_end_of(world: World, events: Events) -> np.ndarray:
    """The last day of the submission that has an event; none lies after the last extract."""
    ends: np.ndarray = np.minimum(quarter_end(reported(events)), world.last_day)
    return ends


def in_release_1(world: World, events: Events) -> np.ndarray:
    """Whether an event was submitted in the headers and spellings of Release 1."""
    of_council = world.population.council[events.person] == RELEASE_1_COUNCIL
    submitted: np.ndarray = of_council & (period_end_of(world, events) < RELEASE_2_FROM)
    return submitted


def quarter_end(day: np.ndarray) -> np.ndarray:
    """The last day of the quarter of a day."""
    months = day.astype("datetime64[M]").astype(np.int64)
    return (months // 3 * 3 + 3).astype("datetime64[M]").astype("datetime64[D]") - DAY


@dataclass(frozen=True)
class Attributes:
    """The attributes of people at the council, one entry per person."""

    reason: np.ndarray
    dementia: np.ndarray
    autism: np.ndarray
    visual: np.ndarray
    hearing: np.ndarray


def draw_attributes(world: World) -> Attributes:
    """Support reasons and flags, from the conditions that people have."""
    rng = world.rng("social_care.attributes")

    def have(*names: str) -> np.ndarray:
        flags = np.zeros(world.n, dtype=bool)
        for name in names:
            flags[world.has(name)[0]] = True
        return flags

    dementia = have("Dementia", "Alzheimer's disease", "Vascular dementia")
    autism = have("Autism spectrum disorder")
    reason = rng.choice(2, world.n, p=[0.75, 0.25])
    reason[have("Schizophrenia", "Bipolar disorder", "Recurrent depression")] = 4
    reason[autism | have("Intellectual disability")] = 3
    reason[dementia] = 2
    story = world.population.story == Story.SOCIAL_CARE
    return Attributes(reason, dementia | story, autism, rng.random(world.n) < 0.08, rng.random(world.n) < 0.14)


def cld_table(world: World, events: Events) -> pa.Table:
    """The file: one row per event and submission, the person's attributes on each."""
    rng = world.rng("social_care.table")
    people, person, count = world.population, events.person, len(events)
    attributes = draw_attributes(world)
    council = people.council[person]
    period_end, release_1 = period_end_of(world, events), in_release_1(world, events)
    ordinary = people.story[person] == Story.ORDINARY
    unknown = ordinary & (rng.random(count) < UNKNOWN_SHARE)
    detailed = events.client != ASSOCIATED
    service, review = events.type == SERVICE, events.type == REVIEW
    assessment, request = events.type == ASSESSMENT, events.type == REQUEST
    user = np.where(detailed, person, -1)
    ethnicity = pd.Series(range(len(ETHNICITIES)), index=list(ETHNICITIES)).reindex(people.ethnicity[person]).to_numpy()
    died = people.death_date[person]
    short = (events.component == REABLEMENT).astype(np.int64)
    component = np.where(service, events.component, -1)
    in_home = np.isin(component, RESIDENTIAL_COMPONENTS)
    reason = np.where(events.client == USER, attributes.reason[person], 5)

    def text(values: list[str], at: np.ndarray) -> pa.Array:
        return released(values, at, release_1)

    def flag(flags: np.ndarray) -> pa.Array:
        return spread(["No", "Yes", "Unknown"], np.where(unknown, 2, flags[person].astype(np.int64)))

    columns: dict[str, pa.Array | None] = {
        "la_code": known(council),
        "reporting_period_start_date": date_text(period_end - 364, FORM),
        "reporting_period_end_date": date_text(period_end, FORM),
        "nhs_number": spread(people.nhs_number, user),
        "la_person_unique_identifier": spread(people.council_id, person),
        "gp_practice_name": None,
        "gp_practice_code": spread(people.gp_practice, user),
        "first_name": spread(people.given_name, np.where(release_1, user, -1)),
        "last_name": spread(people.surname, np.where(release_1, user, -1)),
        "gender": spread(["Male", "Female"], np.where(detailed, people.sex[person].astype(np.int64) - 1, -1)),
        "ethnicity": text(list(ETHNICITIES.values()), np.where(detailed, ethnicity, -1)),
        "date_of_birth": date_text(np.where(detailed, people.birth_date[person], NO_DAY), FORM),
        "date_of_death": date_text(np.where(detailed & (died <= period_end), died, NO_DAY), FORM),
        "client_type": text(CLIENT_TYPES, events.client),
        "primary_support_reason": text(SUPPORT_REASONS, np.where(detailed, np.where(unknown, 6, reason), -1)),
        "postcode": spread(people.postcode, user),
        "accommodation_status": text(ACCOMMODATIONS, np.where(detailed, accommodation(person, in_home, unknown), -1)),
        "employment_status": text(EMPLOYMENTS, np.where(detailed, employment(world, person, unknown), -1)),
        "has_unpaid_carer": spread(["No", "Yes", "Unknown"], np.where(unknown, 2, person % 2)),
        "autism_spectrum_disorder": flag(attributes.autism),
        "visual_impairment": spread(
            ["No visual impairment", "Partial sight/sight impaired", "Unknown"], np.where(unknown, 2, attributes.visual[person])
        ),
        "hearing_impairment": spread(
            ["No hearing impairment", "Hard of hearing", "Unknown"], np.where(unknown, 2, attributes.hearing[person])
        ),
        "dementia": flag(attributes.dementia),
        "client_funding_status": spread(["Joint client and social care funded"], np.where(service, 0, -1)),
        "event_type": spread(EVENT_TYPES, events.type),
        "event_reference": numbered("EV", np.arange(count), 8),
        "event_start_date": date_text(events.start, FORM),
        "event_end_date": date_text(events.end, FORM),
        "event_description": spread(["As discussed with the family"], np.where(request, 0, -1)),
        "event_outcome": text(OUTCOMES, outcome(events)),
        "request_route_of_access": spread(
            ["Community / Other route", "Discharge from Hospital"], np.where(request, person % 2, -1)
        ),
        "assessment_type": spread(["Long term assessment", "Short term assessment"], np.where(assessment, short, -1)),
        "eligible_needs_identified": spread(["Yes"], np.where(assessment, 0, -1)),
        "method_of_assessment": spread(["Service user only"], np.where(assessment, 0, -1)),
        "total_hrs_caring_per_week": spread(["20-34"], np.where(events.client == CARER, 0, -1)),
        "number_of_adults_cared_for": spread(["1"], np.where(events.client == CARER, 0, -1)),
        "adult_1_linked_person": None,
        "adult_2_linked_person": None,
        "adult_3_linked_person": None,
        "service_type": text([kind for kind, _ in SERVICES.values()], component),
        "service_component": text(COMPONENTS, component),
        "delivery_mechanism": spread(["CASSR commissioned support"], np.where(service & (rng.random(count) < 0.7), 0, -1)),
        "provider_cqc_location_name": None,
        "provider_cqc_location_id": spread(LOCATIONS, np.where(service, person % len(LOCATIONS), -1)),
        "review_reason": spread(["Planned review"], np.where(review, 0, -1)),
        "review_outcomes_achieved": spread(["Fully achieved", "Partially achieved"], np.where(review, person % 2, -1)),
        "method_of_review": spread(["Service user and carer"], np.where(review, 0, -1)),
        "unit_cost": number_text(np.where(service, 180.0 + person % 40, np.nan), 2),
        "cost_frequency": spread(["Weekly"], np.where(service, 0, -1)),
        "planned_units_per_week": number_text(np.where(service, 1.0 + person % 6, np.nan)),
    }
    headers = spread(["", "r1"], release_1.astype(np.int64))
    return assemble(columns, known(council), world.night_of(reported(events)), person, headers)


def released(values: list[str], at: np.ndarray, release_1: np.ndarray) -> pa.Array:
    """The text of `values` at each index, in the spelling of Release 1 for its rows; null for a negative index."""
    both = values + [RELEASE_1_SPELLINGS.get(value, value) for value in values]
    return spread(both, np.where(at < 0, -1, at + len(values) * release_1))


def accommodation(person: np.ndarray, in_home: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Position in ACCOMMODATIONS."""
    return np.select([in_home, unknown], [len(ACCOMMODATIONS) - 2, len(ACCOMMODATIONS) - 1], person % (len(ACCOMMODATIONS) - 2))


def employment(world: World, person: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Position in EMPLOYMENTS."""
    ages = (world.last_day - world.population.birth_date[person]).astype(np.int64) / YEAR_DAYS
    return np.select([unknown, ages >= 66], [len(EMPLOYMENTS) - 1, 0], person % (len(EMPLOYMENTS) - 1))


def outcome(events: Events) -> np.ndarray:
    """Position in OUTCOMES, by event type and whether the event has ended."""
    open_still = np.isnat(events.end)
    of_service = np.where(open_still, 3, 4)
    return np.select([events.type == REQUEST, events.type == ASSESSMENT, events.type == REVIEW], [0, 1, 3], of_service)


def truth_of(world: World, events: Events) -> list[Truth]:
    """Truths of the story people: assessment, service and its episode, stay in a care home, dementia."""
    release_1 = in_release_1(world, events)
    truth = []
    for at in np.flatnonzero(world.population.story[events.person] != Story.ORDINARY):
        person, day = int(events.person[at]), events.start[at].item()
        story = Story(world.population.story[person])
        component = COMPONENTS[events.component[at]]
        service = RELEASE_1_SPELLINGS.get(component, component) if release_1[at] else component
        found = []
        if events.type[at] == ASSESSMENT:
            found.append(("procedure_occurrence", "Assessment"))
        if events.type[at] == SERVICE:
            found.append(("observation", service))
            kind, _ = SERVICES[component]
            if kind.startswith(LONG_TERM_SUPPORT):
                found.append(("episode", RELEASE_1_SPELLINGS.get(kind, kind) if release_1[at] else kind))
        if events.type[at] == SERVICE and events.component[at] in RESIDENTIAL_COMPONENTS:
            found.append(("visit_occurrence", service))
        if events.type[at] == ASSESSMENT and story is Story.SOCIAL_CARE:
            found.append(("condition_occurrence", "DEMENTIA"))
        truth += [Truth(story.name.lower(), person, "social_care", table, code, day) for table, code in found]
    return truth
