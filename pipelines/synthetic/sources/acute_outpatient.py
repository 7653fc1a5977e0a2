"""Outpatient appointments of the acute extract, attended or not, with the few diagnoses and procedures that are coded."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import World
from pipelines.synthetic.sources.acute_inpatient import DAY, STAMP, consultant_codes
from pipelines.synthetic.sources.acute_patient import patient_columns
from pipelines.synthetic.sources.acute_spells import Spells
from pipelines.synthetic.sources.children import (
    at_hours,
    conditions_held,
    day_between,
    is_in_story,
    last_of_life,
    number_within,
)
from pipelines.synthetic.sources.rows import assemble, known, number_text, same
from pipelines.synthetic.sources.submitted_codes import icd10_as_submitted, opcs4_as_submitted
from pipelines.synthetic.text import date_text, numbered, spread

APPOINTMENTS_BY_AGE = ((0, 0.8), (18, 1.2), (50, 2.5), (70, 4.0))
"""Mean number of appointments in the detailed history, by lower age limit."""

ATTENDED = {"5": 0.76, "6": 0.05, "3": 0.08, "2": 0.06, "4": 0.04, "7": 0.01}
SEEN = ("5", "6")
FIRST_ATTENDANCE = {"1": 0.25, "2": 0.55, "3": 0.06, "4": 0.12, "5": 0.02}
SPECIALTIES = ("110", "300", "320", "340", "100", "430", "101", "301")
CODED_SHARE = 0.15
PROCEDURE_SHARE = 0.1
PROCEDURES = ("U192", "U216", "U208", "H229", "G451")
FOLLOW_UP_DAYS = 42


@dataclass(frozen=True)
class Appointments:
    """Outpatient appointments: time, attendance, kind."""

    person: np.ndarray
    at: np.ndarray
    attended: np.ndarray
    first_attendance: np.ndarray

    @property
    def was_seen(self) -> np.ndarray:
        """Whether the patient came and was treated: neither missed nor an administrative clock stop."""
        seen: np.ndarray = np.isin(self.attended, SEEN) & (self.first_attendance != "5")
        return seen

    def identifiers(self, prefix: str) -> pa.Array:
        """A number for each appointment."""
        return numbered(prefix, np.arange(1, len(self.person) + 1), 8)


def draw_appointments(world: World, spells: Spells) -> Appointments:
    """Appointments by age, and a follow-up after each hospital stay that the patient survived, attended by story people."""
    rng = world.rng("acute.appointments")
    people = world.population
    ages = (world.last_day - people.birth_date).astype(np.int64) / 365.25
    rate = np.zeros(len(people))
    for age, mean in APPOINTMENTS_BY_AGE:
        rate[ages >= age] = mean
    person = np.repeat(np.arange(len(people)), rng.poisson(rate))
    person = person[~is_in_story(world, person)]
    earliest = np.maximum(people.birth_date[person], world.first_day)
    day = day_between(rng, earliest, last_of_life(world, person))

    survived = ~spells.died & ~np.isnat(spells.end)
    patient = spells.person[survived]
    after = spells.end[survived].astype("datetime64[D]") + FOLLOW_UP_DAYS
    person, day = np.concatenate([person, patient]), np.concatenate([day, after])
    possible = (day <= last_of_life(world, person)) & (day > people.birth_date[person]) & (day >= world.first_day)
    person, day = person[possible], day[possible]
    in_story = is_in_story(world, person)
    attended = rng.choice(np.array(list(ATTENDED)), len(person), p=list(ATTENDED.values()))
    kind = rng.choice(np.array(list(FIRST_ATTENDANCE)), len(person), p=list(FIRST_ATTENDANCE.values()))
    return Appointments(person, at_hours(rng, day), np.where(in_story, "5", attended), np.where(in_story, "2", kind))


def appointment_table(world: World, appointments: Appointments) -> pa.Table:
    """One row per appointment."""
    rng = world.rng("acute.appointment_table")
    person, count = appointments.person, len(appointments.person)
    specialty = rng.integers(0, len(SPECIALTIES), count)
    written = appointments.at + np.timedelta64(7200, "s")
    columns = {
        "cds_unique_identifier": appointments.identifiers("CDSOP"),
        "cds_type": same("020", count),
        "cds_update_type": same("9", count),
        "cds_applicable_datetime": date_text(written, STAMP),
        "record_last_updated": date_text(written, STAMP),
        **patient_columns(world, person),
        "attendance_identifier": appointments.identifiers("OA"),
        "appointment_date": date_text(appointments.at, DAY),
        "appointment_time": date_text(appointments.at, "HH:mm"),
        "attended_code": known(appointments.attended),
        "first_attendance": known(appointments.first_attendance),
        "outcome": spread(["1", "2", "3"], rng.integers(0, 3, count)),
        "consultation_medium": spread(["01", "02"], np.isin(appointments.first_attendance, ("3", "4")).astype(int)),
        "expected_duration": spread(["15", "20", "30"], rng.integers(0, 3, count)),
        "source_of_referral": spread(["03", "01", "11"], rng.integers(0, 3, count)),
        "referral_received_date": date_text(appointments.at - np.timedelta64(60, "D"), DAY),
        "priority": spread(["1", "2", "3"], rng.choice(3, count, p=[0.8, 0.12, 0.08])),
        "consultant_code": consultant_codes(np.arange(count)),
        "main_specialty_code": spread(list(SPECIALTIES), specialty),
        "treatment_function_code": spread(list(SPECIALTIES), specialty),
    }
    return assemble(columns, spread(world.population.acute_trust, person), world.night_of(appointments.at), person)


def appointment_diagnosis_table(world: World, appointments: Appointments) -> pa.Table:
    """Diagnoses of the few appointments that are coded: up to two that the patient has."""
    rng = world.rng("acute.appointment_diagnoses")
    in_story = is_in_story(world, appointments.person)
    coded = np.flatnonzero(appointments.was_seen & (in_story | (rng.random(len(in_story)) < CODED_SHARE)))
    parent, condition = conditions_held(world, appointments.person[coded], appointments.at[coded], "acute", 2)
    codes = world.catalogue.conditions["icd10"].to_numpy(dtype="U5")[condition]
    row, codes = coded[parent[codes != ""]], codes[codes != ""]
    columns = {
        **_of_appointment(appointments, row),
        "diagnosis_sequence": number_text(number_within(row) + 1.0, 0),
        "diagnosis_scheme": same("02", len(row)),
        "diagnosis_code": known(icd10_as_submitted(rng, codes, in_story[row])),
    }
    return _rows(world, appointments, row, columns)


def appointment_procedure_table(world: World, appointments: Appointments) -> pa.Table:
    """A procedure at some appointments; half of them have no date of their own."""
    rng = world.rng("acute.appointment_procedures")
    in_story = is_in_story(world, appointments.person)
    row = np.flatnonzero(appointments.was_seen & ~in_story & (rng.random(len(in_story)) < PROCEDURE_SHARE))
    codes = np.array(PROCEDURES)[rng.integers(0, len(PROCEDURES), len(row))]
    performed = np.where(rng.random(len(row)) < 0.5, appointments.at[row], np.datetime64("NaT", "s"))
    columns = {
        **_of_appointment(appointments, row),
        "procedure_sequence": number_text(np.ones(len(row)), 0),
        "procedure_scheme": same("02", len(row)),
        "procedure_code": known(opcs4_as_submitted(rng, codes, in_story[row])),
        "procedure_date": date_text(performed, DAY),
        "main_operating_professional": consultant_codes(row),
    }
    return _rows(world, appointments, row, columns)


def _of_appointment(appointments: Appointments, row: np.ndarray) -> dict[str, pa.Array | None]:
    return {
        "cds_unique_identifier": appointments.identifiers("CDSOP").take(pa.array(row)),
        "record_last_updated": date_text(appointments.at[row] + np.timedelta64(7200, "s"), STAMP),
    }


def _rows(world: World, appointments: Appointments, row: np.ndarray, columns: dict[str, pa.Array | None]) -> pa.Table:
    person = appointments.person[row]
    return assemble(columns, spread(world.population.acute_trust, person), world.night_of(appointments.at[row]), person)
