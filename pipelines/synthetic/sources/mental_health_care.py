"""Draws the care of the mental health provider: referrals, contacts, hospital spells, periods under the Act."""

from dataclasses import dataclass

import numpy as np

from pipelines.synthetic.population import Story, World
from pipelines.synthetic.sources.children import at_hours, children_of, conditions_held, day_between, is_in_story, last_of_life

NO_TIME = np.datetime64("NaT", "s")
REFERRED_SHARE = 0.35
CRISIS, COMMUNITY, OLDER = "C02", "A06", "A10"
"""Teams: crisis resolution, community mental health, older people's."""

CONTACTS = (3, 12)
DAYS_BETWEEN_CONTACTS = 14
STORY_CONTACTS = 6
ATTENDED = {"5": 0.74, "6": 0.06, "3": 0.1, "2": 0.05, "4": 0.04, "7": 0.01}
SEEN = ("5", "6")
DETAINED = ("02", "03", "01")
DETAINED_WEIGHTS = (0.55, 0.2, 0.25)
STORY_LEGAL_STATUS = "02"


@dataclass(frozen=True)
class Referrals:
    """Referrals, one entry each: received and closed (NaT while open), condition (catalogue row), team."""

    person: np.ndarray
    received: np.ndarray
    closed: np.ndarray
    condition: np.ndarray
    team: np.ndarray
    pathway: np.ndarray
    """Position in the timeline of the crisis that caused a referral, or -1."""

    def number(self) -> np.ndarray:
        """A local identifier of each referral."""
        return np.char.add("SR", np.char.mod("%08d", np.arange(1, len(self.person) + 1)))


def draw_referrals(world: World) -> Referrals:
    """A referral for some of those with a mental health condition, one for each crisis, one to the memory clinic in stories."""
    rng = world.rng("mental_health.referrals")
    people, timeline = world.population, world.timeline
    everyone = np.arange(len(people))
    parent, condition = conditions_held(world, everyone, np.full(len(people), world.last_day), "mh", 1)
    chosen = (rng.random(len(parent)) < REFERRED_SHARE) & ~is_in_story(world, parent)
    person, condition = parent[chosen], condition[chosen]
    end_of_view = last_of_life(world, person)
    earliest = np.maximum(world.first_day, people.birth_date[person] + 366 * 4)
    possible = earliest < end_of_view - 30
    person, condition, earliest, end_of_view = (part[possible] for part in (person, condition, earliest, end_of_view))
    received = at_hours(rng, day_between(rng, earliest, end_of_view - 30))
    team = np.where(rng.random(len(person)) < 0.8, COMMUNITY, OLDER)

    crisis = timeline.of_kind("mh_crisis")
    starts = np.where(np.isnat(timeline.call_at[crisis]), timeline.arrive_at[crisis], timeline.call_at[crisis])
    names = world.catalogue.conditions["name"].to_list()
    depression, dementia = names.index("Depressive disorder"), names.index("Dementia")
    memory = people.people_in_story(Story.DEATH)
    memory_received = at_hours(rng, people.death_date[memory] - 200)
    person = np.concatenate([person, timeline.person[crisis], memory])
    received = np.concatenate([received, starts, memory_received])
    condition = np.concatenate([condition, np.full(len(crisis), depression), np.full(len(memory), dementia)])
    team = np.concatenate([team, np.full(len(crisis), CRISIS), np.full(len(memory), OLDER)])
    pathway = np.concatenate([np.full(possible.sum(), -1), crisis, np.full(len(memory), -1)])

    discharge = np.where(pathway >= 0, timeline.discharged_at[pathway], NO_TIME)
    from_ = np.where(np.isnat(discharge), received, discharge)
    closed = at_hours(rng, from_.astype("datetime64[D]") + rng.integers(60, 300, len(person)))
    still_open = (closed.astype("datetime64[D]") >= last_of_life(world, person)) | (people.story[person] == Story.DEATH)
    admitted = np.where(pathway >= 0, timeline.admitted_at[pathway], NO_TIME)
    still_open |= ~np.isnat(admitted) & np.isnat(discharge)
    return Referrals(person, received, np.where(still_open, NO_TIME, closed), condition, team, pathway)


@dataclass(frozen=True)
class Contacts:
    """Contacts with a service: referral, time, attendance."""

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
        return np.char.add("CC", np.char.mod("%09d", np.arange(1, len(self.at) + 1)))


def draw_contacts(world: World, referrals: Referrals) -> Contacts:
    """Contacts every other week from the referral on, or from discharge if it led to a hospital stay."""
    rng = world.rng("mental_health.contacts")
    in_story = is_in_story(world, referrals.person)
    counts = np.where(in_story, STORY_CONTACTS, rng.integers(*CONTACTS, len(in_story)))
    referral, position = children_of(counts)
    discharged = np.where(referrals.pathway >= 0, world.timeline.discharged_at[referrals.pathway], NO_TIME)
    admitted = np.where(referrals.pathway >= 0, world.timeline.admitted_at[referrals.pathway], NO_TIME)
    in_hospital = ~np.isnat(admitted) & np.isnat(discharged)
    start = np.where(np.isnat(discharged), referrals.received, discharged).astype("datetime64[D]")
    at = at_hours(rng, start[referral] + 3 + position * DAYS_BETWEEN_CONTACTS + rng.integers(0, 5, len(referral)))
    end = np.where(np.isnat(referrals.closed), last_of_life(world, referrals.person).astype("datetime64[s]"), referrals.closed)
    possible = (at < end[referral]) & ~in_hospital[referral]
    referral, position, at = referral[possible], position[possible], at[possible]
    attended = rng.choice(np.array(list(ATTENDED)), len(referral), p=list(ATTENDED.values()))
    return Contacts(referral, position, at, np.where(in_story[referral], "5", attended))


@dataclass(frozen=True)
class Stays:
    """Mental health spells: referral, start, end (NaT while open), identifier."""

    referral: np.ndarray
    start: np.ndarray
    end: np.ndarray
    number: np.ndarray
    legal_status: np.ndarray


def draw_stays(world: World, referrals: Referrals) -> Stays:
    """The admissions of the timeline's crises."""
    rng = world.rng("mental_health.stays")
    timeline = world.timeline
    came_in = (referrals.pathway >= 0) & (timeline.spell_id[referrals.pathway] != "")
    referral = np.flatnonzero(came_in)
    pathway = referrals.pathway[referral]
    status = rng.choice(np.array(DETAINED), len(referral), p=DETAINED_WEIGHTS)
    in_story = is_in_story(world, referrals.person[referral])
    return Stays(
        referral=referral,
        start=timeline.admitted_at[pathway],
        end=timeline.discharged_at[pathway],
        number=timeline.spell_id[pathway],
        legal_status=np.where(in_story, STORY_LEGAL_STATUS, status),
    )
