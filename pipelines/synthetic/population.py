"""The world that every source reads: the people, their registrations, their conditions and their pathways.

Arrays have one entry per person, the index being the person number, unless the docstring says otherwise.
"""

import zlib
from dataclasses import dataclass
from datetime import date
from enum import IntEnum

import numpy as np
import pandas as pd
import pyarrow as pa

HISTORY_DAYS = 3 * 365
"""Days before the first night for which events are generated in detail."""


class Story(IntEnum):
    """Kinds of people whose rows tests expect in the published CDM; 0 is everybody else."""

    ORDINARY = 0
    FALL = 1
    DIABETES = 2
    MENTAL_HEALTH_SPELL = 3
    IMMUNISATIONS = 4
    DEATH = 5
    COPD_EXACERBATION = 6
    ELECTIVE_HIP = 7
    COMMUNITY_NURSING = 8
    SOCIAL_CARE = 9
    HEART_ATTACK = 10


@dataclass(frozen=True)
class Catalogue:
    """The codes that sources may use, one pandas table per CSV file of `catalogue/`; missing texts are empty."""

    conditions: pd.DataFrame
    drugs: pd.DataFrame
    measurements: pd.DataFrame
    procedures: pd.DataFrame
    observations: pd.DataFrame
    immunisations: pd.DataFrame
    unknown: pd.DataFrame


@dataclass(frozen=True)
class Population:
    """The people. Texts are numpy `U` arrays, dates datetime64[D] with NaT for none.

    `gp_practice2` is the practice a person moved from (empty for most; `moved_on` is the day of the new registration).
    `sex` is 1 (male) or 2 (female); `ethnicity` is the NHS 16+1 letter; `type1` is '', 'dissent' or 'withdrawn'.
    """

    nhs_number: np.ndarray
    given_name: np.ndarray
    surname: np.ndarray
    sex: np.ndarray
    birth_date: np.ndarray
    death_date: np.ndarray
    ethnicity: np.ndarray
    address: np.ndarray
    postcode: np.ndarray
    phone: np.ndarray
    gp_practice: np.ndarray
    gp_practice2: np.ndarray
    registered_on: np.ndarray
    moved_on: np.ndarray
    acute_trust: np.ndarray
    mh_trust: np.ndarray
    community_trust: np.ndarray
    ambulance_trust: np.ndarray
    council: np.ndarray
    gp_guid: np.ndarray
    gp_guid2: np.ndarray
    acute_mrn: np.ndarray
    mh_id: np.ndarray
    community_id: np.ndarray
    ambulance_id: np.ndarray
    council_id: np.ndarray
    story: np.ndarray
    type1: np.ndarray
    national_opt_out: np.ndarray
    local_opt_out: np.ndarray
    objection: np.ndarray
    test_patient: np.ndarray
    onset_person: np.ndarray
    """Person number by condition held (not one per person), ordered by condition, then person."""
    onset_condition: np.ndarray
    """Row of `catalogue.conditions` by condition held."""
    onset_date: np.ndarray
    """First day by condition held."""

    def __len__(self) -> int:
        """The number of people."""
        return len(self.nhs_number)

    def people_in_story(self, kind: Story) -> np.ndarray:
        """Person numbers of the story people of a kind."""
        return np.flatnonzero(self.story == kind)


@dataclass(frozen=True)
class Timeline:
    """The pathways that appear in several sources: one entry is one episode of care of one person, ordered by start.

    Kinds with an ambulance: fall, stroke, mi, copd, sepsis, mh_crisis. `mh_crisis` is admitted by the mental health trust,
    every other kind by the acute trust; `elective_hip` has neither call nor attendance. Times are datetime64[s], NaT where
    the step does not happen; the ids of a step that does not happen are empty.
    """

    person: np.ndarray
    kind: np.ndarray
    call_at: np.ndarray
    scene_at: np.ndarray
    arrive_at: np.ndarray
    admitted_at: np.ndarray
    discharged_at: np.ndarray
    reablement_from: np.ndarray
    call_id: np.ndarray
    epcr_id: np.ndarray
    attendance_id: np.ndarray
    spell_id: np.ndarray

    def of_kind(self, *kinds: str) -> np.ndarray:
        """Positions of the pathways of some kinds."""
        return np.flatnonzero(np.isin(self.kind, kinds))


@dataclass(frozen=True)
class World:
    """Everything that a source module may read to build its tables.

    Events are generated up to and including `last_day`, the day before the last night's extract.
    """

    n: int
    seed: int
    nights: int
    first_night: date
    catalogue: Catalogue
    population: Population
    timeline: Timeline

    def rng(self, name: str) -> np.random.Generator:
        """A random number generator per name, so that a change of one module does not change the draws of another."""
        return named_rng(self.seed, name)

    @property
    def first_day(self) -> np.datetime64:
        """The first day of the detailed history."""
        return np.datetime64(self.first_night, "D") - HISTORY_DAYS

    @property
    def last_day(self) -> np.datetime64:
        """The last day on which an event may happen."""
        return np.datetime64(self.first_night, "D") + self.nights - 2

    def night_of(self, when: np.ndarray) -> np.ndarray:
        """The first night (int8) whose extract has an event of a day or time: the day after; NaT is night 0."""
        days = (when.astype("datetime64[D]") - np.datetime64(self.first_night, "D")).astype("timedelta64[D]")
        nights = np.where(np.isnat(days), -1, days.astype(np.int64)) + 1
        clipped: np.ndarray = np.clip(nights, 0, self.nights - 1).astype(np.int8)
        return clipped

    def has(self, condition: str) -> tuple[np.ndarray, np.ndarray]:
        """Person numbers and onset dates of those with a condition, by its name in the catalogue."""
        rows = np.flatnonzero(self.catalogue.conditions["name"].to_numpy() == condition)
        held = np.isin(self.population.onset_condition, rows)
        return self.population.onset_person[held], self.population.onset_date[held]


@dataclass(frozen=True)
class Truth:
    """One row that must be found in the published CDM: this person, source, table, code as delivered and first day.

    `concept_id` is set only if it is certain; `source_value` is the code as the source delivers it.
    """

    story: str
    person: int
    source: str
    table: str
    source_value: str
    start_date: date
    concept_id: int | None = None


@dataclass(frozen=True)
class SourceData:
    """Everything that a source delivers, before faults are planted.

    A table has the canonical column names of its contract, all texts as the source writes them (null is an empty field), and
    three columns that are not delivered: `_provider` (string), `_night` (int8: the first night that has the row) and
    `_person` (int32, -1 for rows of no person). A table may have `_headers` (string): rows whose text there is not empty
    go to a separate file with that header variant.
    """

    tables: dict[str, pa.Table]
    truth: list[Truth]


def named_rng(seed: int, name: str) -> np.random.Generator:
    """A random number generator that depends on the seed and a name only."""
    return np.random.default_rng([seed, zlib.crc32(name.encode("utf-8"))])
