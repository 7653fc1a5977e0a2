"""Admitted patient care of the acute extract: episodes with their diagnoses, operations, ward stays and critical care.

An episode that was in a nightly extract while unfinished is sent again when it is finished, with its diagnoses coded.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import World
from pipelines.synthetic.sources.acute_patient import patient_columns, site_codes
from pipelines.synthetic.sources.acute_spells import HIP_REPLACEMENT, Spells
from pipelines.synthetic.sources.children import children_of, conditions_held, is_in_story, number_within
from pipelines.synthetic.sources.rows import assemble, known, number_text, same
from pipelines.synthetic.sources.submitted_codes import icd10_as_submitted, opcs4_as_submitted, with_unknown
from pipelines.synthetic.text import date_text, numbered, spread

DAY = "yyyyMMdd"
CLOCK = "HH:mm:ss"
STAMP = "yyyy-MM-dd HH:mm:ss"
NO_TIME = np.datetime64("NaT", "s")
UNCODED = "R69X"
"""The placeholder for the primary diagnosis until an episode is coded."""

MOST_COMORBIDITIES = 5
UNKNOWN_SHARE = 0.003
PROCEDURE_DATE_MISSING_SHARE = 0.2
CRITICAL_CARE_SHARE = {"sepsis": 0.3, "mi": 0.2, "stroke": 0.1, "last_days": 0.15}
FALLS = ("W190", "W010")
LATERALITY = "Z942"
WARDS = tuple(f"WD{number:02d}" for number in range(1, 13))
SPECIALTY_OF = {
    "fall": ("110", "110"), "stroke": ("300", "328"), "mi": ("320", "320"), "copd": ("340", "340"), "sepsis": ("300", "326"),
    "elective_hip": ("110", "110"), "booked": ("100", "100"), "last_days": ("430", "430"),
}  # fmt: skip
"""Main specialty and treatment function of each kind of spell."""


@dataclass(frozen=True)
class Episodes:
    """Consultant episodes: the spell of each, its place in the spell, start and end; `end` is NaT while it is open."""

    spell: np.ndarray
    position: np.ndarray
    start: np.ndarray
    end: np.ndarray
    is_last: np.ndarray

    def identifiers(self) -> pa.Array:
        """The CDS unique identifier of each episode."""
        return numbered("CDSAPC", np.arange(1, len(self.spell) + 1), 10)


def draw_episodes(world: World, spells: Spells) -> Episodes:
    """One to three episodes per spell, more for longer stays; one for story people."""
    rng = world.rng("acute.episodes")
    until = spells.until(world)
    days = (until - spells.start).astype(np.int64) / 86400
    ordinary = ~is_in_story(world, spells.person)
    more = ((days > 4) & (rng.random(len(spells)) < 0.4)).astype(np.int64) + ((days > 12) & (rng.random(len(spells)) < 0.3))
    counts = 1 + more * ordinary
    spell, position = children_of(counts)
    length = (until - spells.start).astype(np.int64)[spell] // counts[spell]
    start = spells.start[spell] + (position * length).astype("timedelta64[s]")
    is_last = position == counts[spell] - 1
    end = np.where(is_last, spells.end[spell], start + length.astype("timedelta64[s]"))
    return Episodes(spell, position, start, end, is_last)


@dataclass(frozen=True)
class Submissions:
    """One entry per submission: the episode, whether its spell is finished, the first night, the time of writing."""

    episode: np.ndarray
    is_finished: np.ndarray
    night: np.ndarray
    written_at: np.ndarray


def draw_submissions(world: World, spells: Spells, episodes: Episodes) -> Submissions:
    """The finished record of each episode, preceded by the unfinished one if the patient was in on an earlier night."""
    spell_end = spells.end[episodes.spell]
    finished = np.flatnonzero(~np.isnat(spell_end))
    first_night = world.night_of(episodes.start)
    seen_in = np.isnat(spell_end) | (first_night < world.night_of(spell_end))
    unfinished = np.flatnonzero(seen_in)
    return Submissions(
        episode=np.concatenate([unfinished, finished]),
        is_finished=np.repeat([False, True], [len(unfinished), len(finished)]),
        night=np.concatenate([first_night[unfinished], world.night_of(spell_end[finished])]),
        written_at=np.concatenate([episodes.start[unfinished], spell_end[finished]]) + np.timedelta64(1800, "s"),
    )


def episode_table(world: World, spells: Spells, episodes: Episodes, sent: Submissions) -> pa.Table:
    """One row per submission of an episode."""
    rng = world.rng("acute.episode_table")
    episode, finished = sent.episode, sent.is_finished
    spell = episodes.spell[episode]
    person = spells.person[spell]
    count = len(episode)

    def once_finished(values: np.ndarray) -> np.ndarray:
        return np.where(finished, values, NO_TIME)

    died = spells.died[spell]
    discharge = once_finished(spells.end[spell])
    episode_end = np.where(finished | ~episodes.is_last[episode], episodes.end[episode], NO_TIME)
    to_home = rng.choice(np.array(["19", "19", "19", "54", "65", "51"]), count)
    to_home = np.where(is_in_story(world, person), "19", to_home)
    method = np.where(finished, np.where(died, "4", "1"), "8")
    destination = np.where(finished, np.where(died, "79", to_home), "98")
    kinds = list(SPECIALTY_OF)
    kind = np.searchsorted(np.sort(kinds), spells.kind[spell])
    by_name = [SPECIALTY_OF[name] for name in sorted(kinds)]
    columns = {
        "cds_unique_identifier": episodes.identifiers().take(pa.array(episode)),
        "cds_type": spread(["190", "130"], finished.astype(int)),
        "cds_update_type": same("9", count),
        "cds_applicable_datetime": date_text(sent.written_at, STAMP),
        "record_last_updated": date_text(sent.written_at, STAMP),
        **patient_columns(world, person),
        "pds_date_of_death": date_text(np.where(died & finished, discharge, NO_TIME), DAY),
        "hospital_provider_spell_number": known(spells.number).take(pa.array(spell)),
        "episode_number": number_text(episodes.position[episode] + 1.0, 0),
        "last_episode_indicator": spread(["2", "1"], episodes.is_last[episode].astype(int)),
        "patient_classification": spread(["1", "2"], spells.is_day_case[spell].astype(int)),
        "administrative_category": same("01", count),
        "admission_method": known(spells.method).take(pa.array(spell)),
        "admission_source": same("19", count),
        "admission_date": date_text(spells.start[spell], DAY),
        "admission_time": date_text(spells.start[spell], CLOCK),
        "discharge_date": date_text(discharge, DAY),
        "discharge_time": date_text(discharge, CLOCK),
        "discharge_method": known(method),
        "discharge_destination": known(destination),
        "episode_start_date": date_text(episodes.start[episode], DAY),
        "episode_start_time": date_text(episodes.start[episode], CLOCK),
        "episode_end_date": date_text(episode_end, DAY),
        "episode_end_time": date_text(episode_end, CLOCK),
        "consultant_code": consultant_codes(spell),
        "main_specialty_code": spread([main for main, _ in by_name], kind),
        "treatment_function_code": spread([treatment for _, treatment in by_name], kind),
    }
    return assemble(columns, spread(world.population.acute_trust, person), sent.night, person)


CONSULTANTS = 40


def consultant_codes(number: np.ndarray) -> pa.Array:
    """The consultant responsible for each spell or appointment."""
    return numbered("C99", 1 + number % CONSULTANTS, 5)


def diagnosis_table(world: World, spells: Spells, episodes: Episodes, sent: Submissions) -> pa.Table:
    """Diagnoses of each submission: the uncoded placeholder while unfinished, then primary, comorbidities, external cause."""
    rng = world.rng("acute.diagnosis_table")
    conditions = world.catalogue.conditions
    spell = episodes.spell[sent.episode]
    finished = np.flatnonzero(sent.is_finished)
    parent, condition = conditions_held(
        world, spells.person[spell[finished]], episodes.start[sent.episode[finished]], "acute", MOST_COMORBIDITIES
    )
    comorbidity = conditions["icd10"].to_numpy(dtype="U5")[condition]
    differs = (comorbidity != "") & (comorbidity != spells.diagnosis[spell[finished]][parent])
    parent, comorbidity = finished[parent[differs]], comorbidity[differs]
    fell = finished[np.isin(spells.kind[spell[finished]], ("fall",))]
    unfinished = np.flatnonzero(~sent.is_finished)

    unknown = _unknown(world, "ICD10")
    plain = is_in_story(world, spells.person[spell[parent]])
    comorbidity = with_unknown(rng, comorbidity, unknown, UNKNOWN_SHARE, plain)
    row = np.concatenate([finished, parent, fell, unfinished])
    rank = np.repeat([0, 1, 2, 0], [len(finished), len(parent), len(fell), len(unfinished)])
    codes = np.concatenate(
        [
            spells.diagnosis[spell[finished]],
            comorbidity,
            np.array(FALLS)[rng.integers(0, len(FALLS), len(fell))],
            np.full(len(unfinished), UNCODED),
        ]
    )
    order = np.lexsort((rank, row))
    row, codes = row[order], codes[order]
    sequence = number_within(row)
    person = spells.person[spell[row]]
    columns = {
        "cds_unique_identifier": episodes.identifiers().take(pa.array(sent.episode[row])),
        "record_last_updated": date_text(sent.written_at[row], STAMP),
        "diagnosis_sequence": number_text(sequence + 1.0, 0),
        "diagnosis_scheme": same("02", len(row)),
        "diagnosis_code": known(icd10_as_submitted(rng, codes, is_in_story(world, person))),
        "present_on_admission": spread(["Y"], np.zeros(len(row), dtype=int)),
    }
    return assemble(columns, spread(world.population.acute_trust, person), sent.night[row], person)


def _unknown(world: World, vocabulary: str) -> np.ndarray:
    unknown = world.catalogue.unknown
    codes: np.ndarray = unknown.loc[unknown["vocabulary"] == vocabulary, "code"].to_numpy(dtype="U20")
    return codes


def procedure_table(world: World, spells: Spells, episodes: Episodes, sent: Submissions) -> pa.Table:
    """Operations of the first episode of each finished spell, hip replacements with the side; one in five has no date."""
    rng = world.rng("acute.procedure_table")
    spell = episodes.spell[sent.episode]
    operated = np.flatnonzero(sent.is_finished & (episodes.position[sent.episode] == 0) & (spells.operation[spell] != ""))
    sided = operated[spells.operation[spell[operated]] == HIP_REPLACEMENT]
    row = np.concatenate([operated, sided])
    rank = np.repeat([0, 1], [len(operated), len(sided)])
    codes = np.concatenate([spells.operation[spell[operated]], np.full(len(sided), LATERALITY)])
    order = np.lexsort((rank, row))
    row, codes, rank = row[order], codes[order], rank[order]
    person = spells.person[spell[row]]
    in_story = is_in_story(world, person)
    codes = with_unknown(rng, codes, _unknown(world, "OPCS4"), UNKNOWN_SHARE, in_story)
    start = episodes.start[sent.episode[row]]
    performed = np.where(~in_story & (rng.random(len(row)) < PROCEDURE_DATE_MISSING_SHARE), NO_TIME, start)
    columns = {
        "cds_unique_identifier": episodes.identifiers().take(pa.array(sent.episode[row])),
        "record_last_updated": date_text(sent.written_at[row], STAMP),
        "procedure_sequence": number_text(rank + 1.0, 0),
        "procedure_scheme": same("02", len(row)),
        "procedure_code": known(opcs4_as_submitted(rng, codes, in_story)),
        "procedure_date": date_text(performed, DAY),
        "main_operating_professional": consultant_codes(spell[row]),
    }
    return assemble(columns, spread(world.population.acute_trust, person), sent.night[row], person)


def ward_stay_table(world: World, spells: Spells, episodes: Episodes, sent: Submissions) -> pa.Table:
    """One or two ward stays per episode; the second begins halfway through the episode."""
    rng = world.rng("acute.ward_stays")
    until = np.where(np.isnat(episodes.end), (world.last_day + 1).astype("datetime64[s]"), episodes.end)
    length = (until - episodes.start).astype(np.int64)
    counts = 1 + ((length > 2 * 86400) & (rng.random(len(length)) < 0.4))
    first_ward = rng.integers(0, len(WARDS), len(length))
    row, position = children_of(counts[sent.episode])
    episode = sent.episode[row]
    half = (length[episode] // 2).astype("timedelta64[s]")
    start = np.where(position == 1, episodes.start[episode] + half, episodes.start[episode])
    is_last = position == counts[episode] - 1
    known_end = sent.is_finished[row] | ~episodes.is_last[episode]
    end = np.where(is_last, np.where(known_end, episodes.end[episode], NO_TIME), episodes.start[episode] + half)
    person = spells.person[episodes.spell[episode]]
    columns = {
        "cds_unique_identifier": episodes.identifiers().take(pa.array(episode)),
        "record_last_updated": date_text(sent.written_at[row], STAMP),
        "ward_stay_sequence": number_text(position + 1.0, 0),
        "ward_code": spread(list(WARDS), (first_ward[episode] + position) % len(WARDS)),
        "site_code": site_codes(world, person),
        "start_date": date_text(start, DAY),
        "start_time": date_text(start, CLOCK),
        "end_date": date_text(end, DAY),
        "end_time": date_text(end, CLOCK),
    }
    return assemble(columns, spread(world.population.acute_trust, person), sent.night[row], person)


def critical_care_table(world: World, spells: Spells, episodes: Episodes, sent: Submissions) -> pa.Table:
    """Critical care at the beginning of some severe spells that are finished."""
    rng = world.rng("acute.critical_care")
    spell = episodes.spell[sent.episode]
    share = np.array([CRITICAL_CARE_SHARE.get(kind, 0.0) for kind in spells.kind])
    in_unit = (rng.random(len(spells)) < share) & ~is_in_story(world, spells.person)
    row = np.flatnonzero(sent.is_finished & (episodes.position[sent.episode] == 0) & in_unit[spell])
    episode, person = sent.episode[row], spells.person[spell[row]]
    start = episodes.start[episode] + np.timedelta64(3600, "s")
    end = start + ((episodes.end[episode] - start).astype(np.int64) * 2 // 3).astype("timedelta64[s]")
    days = np.maximum((end - start).astype(np.int64) // 86400, 1)
    ventilated = rng.random(len(row)) < 0.4
    columns = {
        "cds_unique_identifier": episodes.identifiers().take(pa.array(episode)),
        "record_last_updated": date_text(sent.written_at[row], STAMP),
        "cc_local_identifier": numbered("CC", np.arange(1, len(row) + 1), 6),
        "cc_type": same("ADULT", len(row)),
        "unit_function": same("01", len(row)),
        "start_date": date_text(start, DAY),
        "start_time": date_text(start, CLOCK),
        "end_date": date_text(end, DAY),
        "end_time": date_text(end, CLOCK),
        "adv_resp_days": number_text(np.where(ventilated, days, 0).astype(float), 0),
        "basic_resp_days": number_text(np.where(ventilated, 0, days).astype(float), 0),
        "adv_cardio_days": number_text(np.zeros(len(row)), 0),
        "basic_cardio_days": number_text(days.astype(float), 0),
        "renal_days": number_text(np.zeros(len(row)), 0),
        "neuro_days": number_text(np.zeros(len(row)), 0),
        "level2_days": number_text(np.where(ventilated, 0, days).astype(float), 0),
        "level3_days": number_text(np.where(ventilated, days, 0).astype(float), 0),
        "discharge_status": same("01", len(row)),
    }
    return assemble(columns, spread(world.population.acute_trust, person), sent.night[row], person)
