"""Draws rows that belong to other rows: their number and order by parent, and the conditions of the person then."""

from datetime import date

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import Story, Truth, World

OUTPATIENT_VISIT, HOME_VISIT, REMOTE_VISIT = 9202, 581476, 722455

FACE_TO_FACE, AT_HOME = "01", "A01"
"""CONSULTATION MECHANISM and ACTIVITY LOCATION TYPE CODE that decide the visit concept of a contact."""


def children_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parent index and position from 0 of each child, parents in order."""
    parent = np.repeat(np.arange(len(counts)), counts)
    return parent, number_within(parent)


def number_within(parent: np.ndarray) -> np.ndarray:
    """Position from 0 of each row among the neighbouring rows of the same parent."""
    if len(parent) == 0:
        return np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.r_[True, parent[1:] != parent[:-1]])
    lengths = np.diff(np.r_[starts, len(parent)])
    return np.arange(len(parent)) - np.repeat(starts, lengths)


def joined(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions in `left` and `right` of every pair of equal values; `right` must be sorted."""
    first = np.searchsorted(right, left, side="left")
    counts = np.searchsorted(right, left, side="right") - first
    parent, position = children_of(counts)
    return parent, first[parent] + position


def conditions_held(
    world: World, person: np.ndarray, when: np.ndarray, setting: str, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Up to `most` conditions that a person had by a day, among those of a setting: parent index and catalogue row."""
    people = world.population
    known_here = (
        world.catalogue.conditions["setting"].str.split("|").map(lambda settings: setting in settings).to_numpy(dtype=bool)
    )
    useful = np.flatnonzero(known_here[people.onset_condition])
    useful = useful[np.argsort(people.onset_person[useful], kind="stable")]
    parent, held = joined(person, people.onset_person[useful])
    condition = people.onset_condition[useful][held]
    by_then = people.onset_date[useful][held] < when.astype("datetime64[D]")[parent]
    parent, condition = parent[by_then], condition[by_then]
    few = number_within(parent) < most
    return parent[few], condition[few]


def day_between(rng: np.random.Generator, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """A day from `first` to `last`, both included; `first` if `last` is earlier."""
    span = np.maximum((last.astype("datetime64[D]") - first.astype("datetime64[D]")).astype(np.int64), 0)
    days: np.ndarray = first.astype("datetime64[D]") + np.floor(rng.random(len(first)) * (span + 1)).astype("timedelta64[D]")
    return days


def at_hours(rng: np.random.Generator, days: np.ndarray, opens: int = 8, closes: int = 18) -> np.ndarray:
    """A time of each day within opening hours, on a five-minute mark."""
    minutes = rng.integers(opens * 12, closes * 12, len(days)) * 5
    times: np.ndarray = days.astype("datetime64[s]") + (minutes * 60).astype("timedelta64[s]")
    return times


def last_of_life(world: World, person: np.ndarray) -> np.ndarray:
    """The last day on which something can be recorded about each person: the day before death or the world's last day."""
    death = world.population.death_date[person] - 1
    return np.where(np.isnat(death), world.last_day, np.minimum(death, world.last_day)).astype("datetime64[D]")


def is_in_story(world: World, person: np.ndarray) -> np.ndarray:
    """Which rows belong to story people, on whom nothing is planted."""
    in_story: np.ndarray = world.population.story[person] != Story.ORDINARY
    return in_story


def truths(
    world: World,
    source: str,
    table: str,
    person: np.ndarray,
    value: np.ndarray | str,
    when: np.ndarray,
    concept_id: np.ndarray | int | None = None,
) -> list[Truth]:
    """One truth per row of a story person. Rows are arrays of person, source value, day and, if certain, concept id."""
    values = np.full(len(person), value) if isinstance(value, str) else value
    concepts = concept_id if isinstance(concept_id, np.ndarray) else np.full(len(person), concept_id, dtype=object)
    found = []
    for row in np.flatnonzero(is_in_story(world, person)):
        story = Story(world.population.story[person[row]]).name.lower()
        day: date = when[row].astype("datetime64[D]").item()
        concept = None if concepts[row] is None else int(concepts[row])
        found.append(Truth(story, int(person[row]), source, table, str(values[row]), day, concept))
    return found


def contact_visits(mechanism: pa.ChunkedArray, location: pa.ChunkedArray) -> np.ndarray:
    """The visit concept of each contact: remote unless it is face to face (01), else at home (A01), else as an outpatient."""
    is_remote = mechanism.to_numpy() != FACE_TO_FACE
    at_home = location.to_numpy() == AT_HOME
    return np.where(is_remote, REMOTE_VISIT, np.where(at_home, HOME_VISIT, OUTPATIENT_VISIT))
