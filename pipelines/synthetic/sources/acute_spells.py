"""Draws hospital stays, which every table of the acute extract uses."""

from dataclasses import dataclass, fields

import numpy as np

from pipelines.synthetic.population import Story, World
from pipelines.synthetic.sources.children import at_hours, day_between, is_in_story, last_of_life

NOT_YET = np.datetime64("NaT", "s")
ELECTIVE_SHARE = 0.35
DIED_IN_HOSPITAL_SHARE = 0.5
LONGEST_LAST_STAY_DAYS = 9


@dataclass(frozen=True)
class Reason:
    """Reasons for admission: ICD-10 codes with weights (stories use the first), operation, method."""

    diagnoses: tuple[tuple[str, float], ...]
    operation: str
    method: str


REASONS = {
    "fall": Reason((("S720", 0.6), ("S525", 0.2), ("S099", 0.2)), "", "21"),
    "stroke": Reason((("I639", 0.7), ("I64", 0.3)), "U051", "21"),
    "mi": Reason((("I219", 1.0),), "K751", "21"),
    "copd": Reason((("J449", 1.0),), "E858", "21"),
    "sepsis": Reason((("A419", 1.0),), "X292", "21"),
    "elective_hip": Reason((("M169", 1.0),), "W371", "11"),
    "last_days": Reason((("J189", 0.4), ("A419", 0.2), ("I509", 0.2), ("C349", 0.2)), "", "22"),
}
OPERATED_SHARE = {"stroke": 0.9, "mi": 0.7, "copd": 0.2, "sepsis": 0.6, "elective_hip": 1.0}
HIP_FRACTURE = "S720"
HIP_REPLACEMENT = "W371"

ELECTIVES = (
    ("Gallstones", "J183", False),
    ("Appendicitis", "H019", False),
    ("Malignant tumour of colon", "H073", False),
    ("Osteoarthritis of knee", "W401", False),
    ("Ulcerative colitis", "H229", True),
    ("Gastro-oesophageal reflux disease", "G451", True),
    ("Ischaemic heart disease", "K492", True),
    ("Chronic kidney disease stage 4", "X403", True),
    ("Malignant tumour of breast", "X728", True),
    ("Benign prostatic hyperplasia", "M653", False),
    ("Anaemia", "X338", True),
    ("Cataract", "", True),
    ("Hyperlipidaemia", "", True),
)
"""Booked admissions for people with a condition: condition of the catalogue, operation (OPCS-4), whether it is a day case."""


@dataclass(frozen=True)
class Spells:
    """Hospital provider spells, one entry each; `end` is NaT while open, `attendance` empty for booked admissions."""

    person: np.ndarray
    start: np.ndarray
    end: np.ndarray
    number: np.ndarray
    kind: np.ndarray
    diagnosis: np.ndarray
    operation: np.ndarray
    method: np.ndarray
    is_day_case: np.ndarray
    died: np.ndarray
    attendance: np.ndarray

    def __len__(self) -> int:
        """The number of spells."""
        return len(self.person)

    def until(self, world: World) -> np.ndarray:
        """The end of each spell, or the end of the last day if the spell is open."""
        return np.where(np.isnat(self.end), (world.last_day + 1).astype("datetime64[s]") - 60, self.end)


def draw_spells(world: World) -> Spells:
    """Admissions of the timeline, booked admissions for conditions that people have, and stays that end in death."""
    parts = [_from_timeline(world), _booked(world), _last_days(world)]
    columns = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Spells)}
    closing = (world.last_day + 1).astype("datetime64[s]")
    columns["end"] = np.where(columns["end"] >= closing, NOT_YET, columns["end"])
    return Spells(**columns)


def _from_timeline(world: World) -> Spells:
    timeline = world.timeline
    at = np.flatnonzero((timeline.spell_id != "") & (timeline.kind != "mh_crisis"))
    rng = world.rng("acute.spells.timeline")
    person, kind = timeline.person[at], timeline.kind[at]
    in_story = is_in_story(world, person)
    diagnosis = _diagnoses(rng, kind, in_story)
    operated = in_story | (rng.random(len(at)) < np.array([OPERATED_SHARE.get(name, 0.0) for name in kind]))
    operation = np.where(operated, np.array([REASONS[name].operation for name in kind], dtype="U4"), "")
    operation = np.where(diagnosis == HIP_FRACTURE, HIP_REPLACEMENT, operation)
    return Spells(
        person=person,
        start=timeline.admitted_at[at],
        end=timeline.discharged_at[at],
        number=timeline.spell_id[at],
        kind=kind,
        diagnosis=diagnosis,
        operation=operation,
        method=np.array([REASONS[name].method for name in kind], dtype="U2"),
        is_day_case=np.zeros(len(at), dtype=bool),
        died=np.zeros(len(at), dtype=bool),
        attendance=timeline.attendance_id[at],
    )


def _diagnoses(rng: np.random.Generator, kind: np.ndarray, in_story: np.ndarray) -> np.ndarray:
    drawn = rng.random(len(kind))
    diagnosis = np.full(len(kind), "", dtype="U5")
    for name, reason in REASONS.items():
        codes, weights = zip(*reason.diagnoses, strict=True)
        of_kind = kind == name
        choice = np.searchsorted(np.cumsum(weights), np.where(in_story, 0.0, drawn)[of_kind], side="right")
        diagnosis[of_kind] = np.array(codes)[np.minimum(choice, len(codes) - 1)]
    return diagnosis


def _booked(world: World) -> Spells:
    rng = world.rng("acute.spells.booked")
    conditions = world.catalogue.conditions.set_index("name")
    persons, days, diagnoses, operations, day_cases = [], [], [], [], []
    for name, operation, within_a_day in ELECTIVES:
        person, onset = world.has(name)
        booked = (rng.random(len(person)) < ELECTIVE_SHARE) & ~is_in_story(world, person)
        person, onset = person[booked], np.maximum(onset[booked], world.first_day)
        latest = last_of_life(world, person) - 14
        possible = latest > onset
        persons.append(person[possible])
        days.append(day_between(rng, onset[possible], latest[possible]))
        diagnoses.append(np.full(possible.sum(), conditions.loc[name, "icd10"], dtype="U5"))
        operations.append(np.full(possible.sum(), operation, dtype="U4"))
        day_cases.append(np.full(possible.sum(), within_a_day))
    person = np.concatenate(persons).astype(np.int64)
    is_day_case = np.concatenate(day_cases)
    start = at_hours(rng, np.concatenate(days), 7, 11)
    hours = np.where(is_day_case, rng.integers(4, 9, len(person)), rng.integers(30, 150, len(person)))
    count = len(person)
    return Spells(
        person=person,
        start=start,
        end=start + (hours * 3600).astype("timedelta64[s]"),
        number=_numbers("SB", count),
        kind=np.full(count, "booked"),
        diagnosis=np.concatenate(diagnoses),
        operation=np.concatenate(operations),
        method=rng.choice(np.array(["11", "12", "13"]), count),
        is_day_case=is_day_case,
        died=np.zeros(count, dtype=bool),
        attendance=np.full(count, ""),
    )


def _last_days(world: World) -> Spells:
    rng = world.rng("acute.spells.last_days")
    people = world.population
    in_hospital = (people.story == Story.DEATH) | (rng.random(len(people)) < DIED_IN_HOSPITAL_SHARE)
    in_view = (people.death_date > world.first_day + LONGEST_LAST_STAY_DAYS) & (people.death_date <= world.last_day)
    person = np.flatnonzero(in_hospital & in_view)
    count = len(person)
    death = people.death_date[person]
    kind = np.full(count, "last_days")
    return Spells(
        person=person,
        start=at_hours(rng, death - rng.integers(1, LONGEST_LAST_STAY_DAYS, count)),
        end=at_hours(rng, death, 18, 23),
        number=_numbers("SL", count),
        kind=kind,
        diagnosis=_diagnoses(rng, kind, is_in_story(world, person)),
        operation=np.full(count, "", dtype="U4"),
        method=np.full(count, REASONS["last_days"].method),
        is_day_case=np.zeros(count, dtype=bool),
        died=np.ones(count, dtype=bool),
        attendance=np.full(count, ""),
    )


def _numbers(prefix: str, count: int) -> np.ndarray:
    return np.char.add(prefix, np.char.mod("%08d", np.arange(1, count + 1)))
