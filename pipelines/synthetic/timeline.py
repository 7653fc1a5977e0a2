"""Draws the pathways that appear in several sources: a call, an attendance, an admission, reablement at home."""

from dataclasses import dataclass, fields

import numpy as np

from pipelines.synthetic.population import HISTORY_DAYS, Population, Story, Timeline, named_rng

PATHWAYS_BY_AGE = ((0, 0.12), (18, 0.25), (65, 0.55), (80, 1.1))
"""Mean number of pathways in the detailed history, by lower age limit."""
LEAST_DAYS_BETWEEN = 60
LEAST_DAYS_FROM_BIRTH = 30
WALK_IN_SHARE = 0.25
STORY_PATHWAY_DAYS = (100, 400)
NOT_YET = np.datetime64("NaT", "s")


@dataclass(frozen=True)
class Pathway:
    """A kind of pathway: who has it, how often each step happens, days in hospital."""

    youngest: int
    weight: float
    emergency: bool
    conveyed: float
    admitted: float
    stay_days: tuple[int, int]
    reablement: float


PATHWAYS = {
    "fall": Pathway(55, 5.0, True, 0.65, 0.6, (3, 20), 0.5),
    "stroke": Pathway(50, 1.2, True, 0.98, 0.95, (5, 25), 0.4),
    "mi": Pathway(40, 1.5, True, 0.97, 0.95, (2, 7), 0.0),
    "copd": Pathway(50, 1.8, True, 0.9, 0.75, (2, 8), 0.1),
    "sepsis": Pathway(0, 1.0, True, 0.95, 0.9, (3, 14), 0.1),
    "mh_crisis": Pathway(16, 0.8, True, 0.8, 0.4, (10, 40), 0.0),
    "elective_hip": Pathway(55, 1.0, False, 0.0, 1.0, (2, 5), 0.3),
}
KINDS = np.array(list(PATHWAYS))
PATHWAY_OF_STORY = {
    Story.FALL: "fall",
    Story.MENTAL_HEALTH_SPELL: "mh_crisis",
    Story.COPD_EXACERBATION: "copd",
    Story.ELECTIVE_HIP: "elective_hip",
    Story.HEART_ATTACK: "mi",
}


def draw_timeline(population: Population, seed: int, first_night: np.datetime64, last_day: np.datetime64) -> Timeline:
    """The pathways of all people; those of story people are complete and end months before the first night."""
    rng = named_rng(seed, "timeline")
    person, kind, start, in_story = _starts(rng, population, first_night, last_day)
    complete = Timeline(person=person, kind=KINDS[kind], **_steps(rng, kind, start, in_story), **_no_ids(len(person)))
    return _with_ids(_until(complete, last_day))


def _starts(
    rng: np.random.Generator, population: Population, first_night: np.datetime64, last_day: np.datetime64
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Person, kind, start and whether it belongs to a story, ordered by start; a person's pathways do not overlap."""
    ages = (last_day - population.birth_date).astype(np.int64) / 365.25
    rates = np.zeros(len(population))
    for age, rate in PATHWAYS_BY_AGE:
        rates[ages >= age] = rate
    rates[population.story != Story.ORDINARY] = 0.0
    person = np.repeat(np.arange(len(population)), rng.poisson(rates))
    weights = np.array([np.where(ages[person] >= way.youngest, way.weight, 0.0) for way in PATHWAYS.values()])
    cumulative = weights.cumsum(axis=0)
    kind = (rng.random(len(person)) * cumulative[-1] >= cumulative).sum(axis=0)
    day = last_day - rng.integers(0, HISTORY_DAYS, len(person))

    story_person = np.flatnonzero(np.isin(population.story, list(PATHWAY_OF_STORY)))
    names = [PATHWAY_OF_STORY[Story(population.story[number])] for number in story_person]
    person = np.concatenate([story_person, person])
    kind = np.concatenate([np.array([list(PATHWAYS).index(name) for name in names], dtype=np.int64), kind])
    day = np.concatenate([first_night - rng.integers(*STORY_PATHWAY_DAYS, len(story_person)), day])
    in_story = np.arange(len(person)) < len(story_person)

    alive = ~(population.death_date[person] < day + LEAST_DAYS_BETWEEN)
    alive &= day > population.birth_date[person] + LEAST_DAYS_FROM_BIRTH
    by_person = np.lexsort((day, person))
    follows = np.zeros(len(person), dtype=bool)
    same = person[by_person][1:] == person[by_person][:-1]
    soon = (day[by_person][1:] - day[by_person][:-1]).astype(np.int64) < LEAST_DAYS_BETWEEN
    follows[by_person[1:]] = same & soon
    start = day.astype("datetime64[s]") + rng.integers(0, 24 * 3600, len(person))
    kept = np.flatnonzero(alive & ~follows)
    kept = kept[np.lexsort((person[kept], start[kept]))]
    return person[kept], kind[kept], start[kept], in_story[kept]


def _steps(rng: np.random.Generator, kind: np.ndarray, start: np.ndarray, in_story: np.ndarray) -> dict[str, np.ndarray]:
    """Times of the steps by kind; each step needs the step before it; in a story all steps happen."""
    count = len(kind)
    ways = list(PATHWAYS.values())

    def happens(share: np.ndarray) -> np.ndarray:
        return in_story | (rng.random(count) < share)

    def later(when: np.ndarray, least: int, most: int) -> np.ndarray:
        return when + rng.integers(least, most, count)

    emergency = np.array([way.emergency for way in ways])[kind]
    called = emergency & happens(np.full(count, 1 - WALK_IN_SHARE))
    call_at = np.where(called, start, NOT_YET)
    scene_at = later(call_at, 7 * 60, 45 * 60)
    conveyed = happens(np.array([way.conveyed for way in ways])[kind])
    by_ambulance = np.where(conveyed, later(scene_at, 40 * 60, 110 * 60), NOT_YET)
    arrive_at = np.where(called, by_ambulance, np.where(emergency, start, NOT_YET))
    admitted = happens(np.array([way.admitted for way in ways])[kind])
    ready = np.where(emergency, later(arrive_at, 3600, 6 * 3600), start)
    admitted_at = np.where(admitted, ready, NOT_YET)
    shortest, longest = np.array([way.stay_days for way in ways])[kind].T
    stay = rng.integers(shortest * 86400, longest * 86400)
    discharged_at = admitted_at + stay
    helped = happens(np.array([way.reablement for way in ways])[kind]) & np.array([way.reablement > 0 for way in ways])[kind]
    reablement_from = np.where(helped, discharged_at + 86400, NOT_YET)
    return {
        "call_at": call_at,
        "scene_at": scene_at,
        "arrive_at": arrive_at,
        "admitted_at": admitted_at,
        "discharged_at": discharged_at,
        "reablement_from": reablement_from,
    }


def _until(timeline: Timeline, last_day: np.datetime64) -> Timeline:
    """The timeline without the steps after the last day."""
    end = (last_day + 1).astype("datetime64[s]")
    parts = {field.name: getattr(timeline, field.name) for field in fields(timeline)}
    times = {name: np.where(values >= end, NOT_YET, values) for name, values in parts.items() if values.dtype.kind == "M"}
    return Timeline(**(parts | times))


def _no_ids(count: int) -> dict[str, np.ndarray]:
    return {name: np.full(count, "", dtype="U10") for name in ("call_id", "epcr_id", "attendance_id", "spell_id")}


def _with_ids(timeline: Timeline) -> Timeline:
    """The timeline with a numbered id for every step that happens."""
    parts = {field.name: getattr(timeline, field.name) for field in fields(timeline)}
    numbers = np.char.mod("%08d", np.arange(1, len(timeline.person) + 1))
    steps = {
        "call_id": ("CD", "call_at"),
        "epcr_id": ("EP", "scene_at"),
        "attendance_id": ("AE", "arrive_at"),
        "spell_id": ("SP", "admitted_at"),
    }
    ids = {name: np.where(np.isnat(parts[time]), "", np.char.add(prefix, numbers)) for name, (prefix, time) in steps.items()}
    return Timeline(**(parts | ids))
