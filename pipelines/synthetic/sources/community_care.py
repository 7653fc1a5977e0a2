"""Draws the care of the community provider: referrals to a service, their contacts, immunisations of children."""

from dataclasses import dataclass

import numpy as np

from pipelines.synthetic.population import Story, World
from pipelines.synthetic.sources.children import at_hours, children_of, conditions_held, day_between, is_in_story, last_of_life

NURSING, HEALTH_VISITING, THERAPY = "12", "16", "23"
"""Service types: district nursing, health visiting, physiotherapy."""

NO_TIME = np.datetime64("NaT", "s")
NURSING_SHARE = 0.3
NURSING_FROM_AGE = 60
CHILD_AGE = 5
AFTER_HOSPITAL_SHARE = 0.4
DAYS_BETWEEN = {NURSING: 7, HEALTH_VISITING: 60, THERAPY: 10}
CONTACTS = {NURSING: (6, 20), HEALTH_VISITING: (3, 6), THERAPY: (3, 9)}
STORY_CONTACTS = 8
ATTENDED = {"5": 0.8, "6": 0.05, "3": 0.07, "2": 0.04, "4": 0.03, "7": 0.01}
SEEN = ("5", "6")


@dataclass(frozen=True)
class Referrals:
    """Referrals, one entry each: received, discharged (NaT while open), the service, the condition (catalogue row or -1)."""

    person: np.ndarray
    received: np.ndarray
    closed: np.ndarray
    service: np.ndarray
    condition: np.ndarray

    def number(self) -> np.ndarray:
        """A local identifier of each referral."""
        return np.char.add("CR", np.char.zfill(np.arange(1, len(self.person) + 1).astype("U8"), 8))


def draw_referrals(world: World) -> Referrals:
    """District nursing for older people with a condition, health visiting for small children, therapy after hospital."""
    rng = world.rng("community.referrals")
    people, timeline = world.population, world.timeline
    ages = (world.last_day - people.birth_date).astype(np.int64) / 365.25
    everyone = np.arange(len(people))
    parent, held = conditions_held(world, everyone, np.full(len(people), world.last_day), "community", 1)
    nursed = (ages[parent] >= NURSING_FROM_AGE) & (rng.random(len(parent)) < NURSING_SHARE) & ~is_in_story(world, parent)
    in_story = np.flatnonzero(np.isin(people.story, (Story.COMMUNITY_NURSING, Story.DIABETES)))
    children = np.flatnonzero(ages < CHILD_AGE)
    helped = ~np.isnat(timeline.reablement_from) & (
        is_in_story(world, timeline.person) | (rng.random(len(timeline.person)) < AFTER_HOSPITAL_SHARE)
    )
    ulcer = world.catalogue.conditions["name"].to_list().index("Pressure ulcer")
    hip = world.catalogue.conditions["name"].to_list().index("Fracture of neck of femur")
    parts = [
        (parent[nursed], NURSING, held[nursed]),
        (in_story, NURSING, np.full(len(in_story), ulcer)),
        (children, HEALTH_VISITING, np.full(len(children), -1)),
        (timeline.person[helped], THERAPY, np.where(timeline.kind[helped] == "fall", hip, -1)),
    ]
    person = np.concatenate([rows for rows, *_ in parts])
    service = np.concatenate([np.full(len(rows), name) for rows, name, _ in parts])
    condition = np.concatenate([codes for *_, codes in parts])
    view = last_of_life(world, person)
    story_view = np.datetime64(world.first_night, "D") - 150
    earliest = np.maximum(world.first_day, people.birth_date[person] + 10)
    drawn = day_between(rng, earliest, view - 60)
    drawn = np.where(service == HEALTH_VISITING, np.maximum(earliest, world.first_day), drawn)
    drawn = np.where(is_in_story(world, person) & (service == NURSING), story_view, drawn)
    drawn[service == THERAPY] = timeline.reablement_from[helped].astype("datetime64[D]")
    possible = (drawn >= earliest) & (drawn <= view)
    person, service, condition, drawn, view = (part[possible] for part in (person, service, condition, drawn, view))
    received = at_hours(rng, drawn)
    closed = received + (rng.integers(70, 200, len(person)) * 86400).astype("timedelta64[s]")
    still_open = (closed.astype("datetime64[D]") > view) | (service == HEALTH_VISITING)
    return Referrals(person, received, np.where(still_open, NO_TIME, closed), service, condition)


@dataclass(frozen=True)
class Contacts:
    """Contacts: referral, position within the referral, time, attendance."""

    referral: np.ndarray
    position: np.ndarray
    at: np.ndarray
    attended: np.ndarray

    @property
    def was_seen(self) -> np.ndarray:
        """Whether the patient was seen."""
        return np.isin(self.attended, SEEN)

    def number(self) -> np.ndarray:
        """A local identifier of each contact."""
        return np.char.add("VC", np.char.zfill(np.arange(1, len(self.at) + 1).astype("U9"), 9))


def draw_contacts(world: World, referrals: Referrals) -> Contacts:
    """Contacts at the rhythm of each service, attended by story people."""
    rng = world.rng("community.contacts")
    in_story = is_in_story(world, referrals.person)
    services = list(CONTACTS)
    service = np.array([services.index(name) for name in referrals.service], dtype=np.int64)
    least, most = np.array([CONTACTS[name] for name in services]).T
    counts = np.where(in_story, STORY_CONTACTS, rng.integers(least[service], most[service]))
    gap = np.array([DAYS_BETWEEN[name] for name in services])[service]
    referral, position = children_of(counts)
    day = referrals.received[referral].astype("datetime64[D]") + 2 + position * gap[referral]
    at = at_hours(rng, day)
    end = np.where(
        np.isnat(referrals.closed), (last_of_life(world, referrals.person) + 1).astype("datetime64[s]"), referrals.closed
    )
    possible = at < end[referral]
    referral, position, at = referral[possible], position[possible], at[possible]
    attended = rng.choice(np.array(list(ATTENDED)), len(referral), p=list(ATTENDED.values()))
    return Contacts(referral, position, at, np.where(in_story[referral], "5", attended))


@dataclass(frozen=True)
class Immunisations:
    """Immunisations: person, day, row of `catalogue.immunisations`, whether recorded by clinical code or by national type."""

    person: np.ndarray
    day: np.ndarray
    vaccine: np.ndarray
    by_code: np.ndarray


SCHEDULE = (
    ("Rotavirus vaccination", 60), ("Meningitis B vaccination", 62), ("Pneumococcal vaccination", 90),
    ("Measles, mumps and rubella vaccination", 370),
)  # fmt: skip
"""Childhood immunisations and the age in days at which they are due."""
CODED_SHARE = 0.5


def draw_immunisations(world: World) -> Immunisations:
    """The immunisations of the schedule that small children have reached the age for."""
    rng = world.rng("community.immunisations")
    people = world.population
    names = world.catalogue.immunisations["name"].to_list()
    has_code = (world.catalogue.immunisations["snomed"] != "").to_numpy()
    ages = (world.last_day - people.birth_date).astype(np.int64)
    children = np.flatnonzero((ages < CHILD_AGE * 365) & ~(people.death_date <= world.last_day))
    person = np.tile(children, len(SCHEDULE))
    vaccine = np.repeat([names.index(name) for name, _ in SCHEDULE], len(children))
    due = np.repeat([days for _, days in SCHEDULE], len(children))
    late = np.where(is_in_story(world, person), 3, rng.integers(0, 40, len(person)))
    day = people.birth_date[person] + due + late
    in_story = is_in_story(world, person)
    given = (day <= world.last_day) & (in_story | (rng.random(len(person)) < 0.9))
    person, vaccine, day, in_story = person[given], vaccine[given], day[given], in_story[given]
    by_code = has_code[vaccine] & (in_story | (rng.random(len(person)) < CODED_SHARE))
    return Immunisations(person, day, vaccine, by_code)
