"""Emergency care of the acute extract: attendances, sent again while open, and their coded entries."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import World
from pipelines.synthetic.sources.acute_inpatient import STAMP
from pipelines.synthetic.sources.acute_patient import patient_columns
from pipelines.synthetic.sources.acute_spells import Spells
from pipelines.synthetic.sources.children import at_hours, day_between, is_in_story, last_of_life, number_within
from pipelines.synthetic.sources.rows import assemble, known, number_text, same
from pipelines.synthetic.text import date_text, numbered, spread

WALK_INS_BY_AGE = ((0, 0.9), (18, 0.6), (65, 0.7))
"""Mean number of attendances outside the timeline in the detailed history, by lower age limit."""

DEPARTMENTS = {"01": 0.6, "02": 0.05, "03": 0.25, "04": 0.05, "05": 0.05}
"""Types of the departments of walk-ins with their shares; everybody else goes to a major department (01)."""

RESENT_SHARE = 0.15
NO_TIME = np.datetime64("NaT", "s")

AMBULANCE, OWN_TRANSPORT = "1048031000000100", "1048071000000103"
ACUITIES = ("1064891000000107", "1064911000000105", "1064901000000108", "1077241000000103", "1077251000000100")
TREATED, LEFT_BEFORE_TREATMENT = "182992009", "1066321000000107"
TO_HOME, TO_WARD = "306689006", "306706006"
CONFIRMED, SUSPECTED = "410605003", "415684004"
SUSPECTED_SHARE = 0.12

COMPLAINTS = {
    "fall": "1912002", "stroke": "404640003", "mi": "29857009", "copd": "267036007", "sepsis": "386661006",
    "mh_crisis": "197480006",
}  # fmt: skip
DIAGNOSES = {
    "fall": "5913000", "stroke": "230690007", "mi": "57054005", "copd": "13645005", "sepsis": "91302008",
    "mh_crisis": "35489007",
}  # fmt: skip
"""Chief complaint and diagnosis of each kind of pathway (SNOMED CT)."""

MINOR = (
    ("Head injury", "82271004", "82271004"),
    ("Abdominal pain", "21522001", "68566005"),
    ("Headache", "25064002", "37796009"),
    ("Cough", "49727002", "50417007"),
    ("Eruption", "271807003", "43116000"),
    ("Vomiting", "422400008", "25374005"),
    ("Palpitations", "80313002", "49436004"),
    ("Syncope", "271594007", "271594007"),
)
"""Walk-in attendances: name, chief complaint, diagnosis."""

INVESTIGATIONS = ("29303009", "399208008", "77477000")
TREATMENTS = ("14152002", "57485005", "430193006")
NEWS2 = "1104051000000101"
RESPIRATORY_RATE, OXYGEN_SATURATION = "86290005", "103228002"
FALL_ON_SAME_LEVEL = "217154006"


@dataclass(frozen=True)
class Attendances:
    """Emergency care attendances; `contact` is the ambulance contact of people who were conveyed."""

    person: np.ndarray
    arrival: np.ndarray
    departure: np.ndarray
    identifier: np.ndarray
    kind: np.ndarray
    complaint: np.ndarray
    diagnosis: np.ndarray
    contact: np.ndarray
    is_admitted: np.ndarray

    def cds_identifiers(self) -> pa.Array:
        """The CDS unique identifier of each attendance."""
        return numbered("CDSEC", np.arange(1, len(self.person) + 1), 9)


def draw_attendances(world: World, spells: Spells) -> Attendances:
    """Arrivals of the timeline, who leave for the ward on admission, and walk-ins by age."""
    timeline = world.timeline
    rng = world.rng("acute.attendances")
    at = np.flatnonzero(timeline.attendance_id != "")
    stay = (rng.integers(3600, 6 * 3600, len(at))).astype("timedelta64[s]")
    to_ward = np.isin(timeline.attendance_id[at], spells.attendance[spells.attendance != ""])
    departure = np.where(to_ward, timeline.admitted_at[at], timeline.arrive_at[at] + stay)

    people = world.population
    ages = (world.last_day - people.birth_date).astype(np.int64) / 365.25
    rate = np.zeros(len(people))
    for age, mean in WALK_INS_BY_AGE:
        rate[ages >= age] = mean
    walk_in = np.repeat(np.arange(len(people)), rng.poisson(rate))
    walk_in = walk_in[~is_in_story(world, walk_in)]
    latest = last_of_life(world, walk_in)
    earliest = np.maximum(people.birth_date[walk_in] + 1, world.first_day)
    walk_in, earliest, latest = (part[earliest <= latest] for part in (walk_in, earliest, latest))
    arrival = at_hours(rng, day_between(rng, earliest, latest), 0, 23)
    minor = rng.integers(0, len(MINOR), len(walk_in))
    _, complaints, diagnoses = (np.array(column) for column in zip(*MINOR, strict=True))
    numbers = np.char.add("AW", np.char.mod("%08d", np.arange(1, len(walk_in) + 1)))
    kind = timeline.kind[at]
    return Attendances(
        person=np.concatenate([timeline.person[at], walk_in]),
        arrival=np.concatenate([timeline.arrive_at[at], arrival]),
        departure=np.concatenate([departure, arrival + rng.integers(1800, 5 * 3600, len(walk_in))]),
        identifier=np.concatenate([timeline.attendance_id[at], numbers]),
        kind=np.concatenate([kind, np.full(len(walk_in), "minor")]),
        complaint=np.concatenate([np.array([COMPLAINTS[name] for name in kind], dtype="U16"), complaints[minor]]),
        diagnosis=np.concatenate([np.array([DIAGNOSES[name] for name in kind], dtype="U16"), diagnoses[minor]]),
        contact=np.concatenate([timeline.epcr_id[at], np.full(len(walk_in), "")]),
        is_admitted=np.concatenate([to_ward, np.zeros(len(walk_in), dtype=bool)]),
    )


def _department_types(world: World, attendances: Attendances) -> np.ndarray:
    rng = world.rng("acute.department_types")
    drawn = rng.choice(np.array(list(DEPARTMENTS)), len(attendances.person), p=list(DEPARTMENTS.values()))
    types: np.ndarray = np.where(attendances.kind == "minor", drawn, "01")
    return types


def attendance_table(world: World, attendances: Attendances) -> pa.Table:
    """One row per attendance, and an earlier row of the open attendance if that was sent."""
    rng = world.rng("acute.attendance_table")
    count = len(attendances.person)
    in_story = is_in_story(world, attendances.person)
    seen_open = world.night_of(attendances.arrival) < world.night_of(attendances.departure)
    resent = np.flatnonzero(seen_open | (~in_story & (rng.random(count) < RESENT_SHARE)))
    row = np.concatenate([resent, np.arange(count)])
    is_closed = np.repeat([False, True], [len(resent), count])
    left = ~in_story & ~attendances.is_admitted & (rng.random(count) < 0.03)
    acuity = rng.integers(0, len(ACUITIES), count)

    person, arrival = attendances.person[row], attendances.arrival[row]
    departure = np.where(is_closed, attendances.departure[row], NO_TIME)
    written = np.where(is_closed, attendances.departure[row], arrival) + np.timedelta64(600, "s")
    admitted = attendances.is_admitted[row] & is_closed
    columns = {
        "cds_unique_identifier": attendances.cds_identifiers().take(pa.array(row)),
        "cds_type": same("011", len(row)),
        "cds_update_type": same("9", len(row)),
        "cds_applicable_datetime": date_text(written, STAMP),
        "record_last_updated": date_text(written, STAMP),
        **patient_columns(world, person),
        "attendance_identifier": known(attendances.identifier).take(pa.array(row)),
        "department_type": known(_department_types(world, attendances)).take(pa.array(row)),
        "arrival_datetime": date_text(arrival, STAMP),
        "arrival_mode_snomed": spread([OWN_TRANSPORT, AMBULANCE], (attendances.contact[row] != "").astype(int)),
        "attendance_category": same("1", len(row)),
        "attendance_source_snomed": None,
        "acuity_snomed": spread(list(ACUITIES), acuity[row]),
        "chief_complaint_snomed": known(attendances.complaint).take(pa.array(row)),
        "initial_assessment_datetime": date_text(arrival + np.timedelta64(900, "s"), STAMP),
        "seen_datetime": date_text(np.where(is_closed, arrival + np.timedelta64(1800, "s"), NO_TIME), STAMP),
        "departure_datetime": date_text(departure, STAMP),
        "decision_to_admit_datetime": date_text(np.where(admitted, departure - np.timedelta64(1200, "s"), NO_TIME), STAMP),
        "discharge_status_snomed": spread([TREATED, LEFT_BEFORE_TREATMENT], np.where(is_closed, left[row].astype(int), -1)),
        "discharge_destination_snomed": spread([TO_HOME, TO_WARD], np.where(is_closed, admitted.astype(int), -1)),
        "ambulance_care_contact_identifier": known(attendances.contact).take(pa.array(row)),
    }
    night = world.night_of(np.where(is_closed, attendances.departure[row], arrival))
    return assemble(columns, spread(world.population.acute_trust, person), night, person)


def coded_item_table(world: World, attendances: Attendances) -> pa.Table:
    """Entries of each attendance: diagnosis, investigation, treatment, observations and score, the cause of a fall."""
    rng = world.rng("acute.coded_items")
    count = len(attendances.person)
    in_story = is_in_story(world, attendances.person)
    every = np.arange(count)

    def some(share: float) -> np.ndarray:
        return np.flatnonzero(in_story | (rng.random(count) < share))

    investigated, treated, observed = some(0.6), some(0.4), some(0.5)
    fell = np.flatnonzero(attendances.kind == "fall")
    breaths = np.clip(rng.normal(18, 3, len(observed)), 10, 36).round()
    oxygen = np.clip(rng.normal(96, 2, len(observed)), 82, 100).round()
    groups = (
        ("DIAGNOSIS", every, attendances.diagnosis, None, ""),
        ("INVESTIGATION", investigated, np.array(INVESTIGATIONS)[rng.integers(0, 3, len(investigated))], None, ""),
        ("TREATMENT", treated, np.array(TREATMENTS)[rng.integers(0, 3, len(treated))], None, ""),
        ("OBSERVATION", observed, np.full(len(observed), RESPIRATORY_RATE), breaths, "/min"),
        ("OBSERVATION", observed, np.full(len(observed), OXYGEN_SATURATION), oxygen, "%"),
        ("ASSESSMENT", observed, np.full(len(observed), NEWS2), rng.integers(0, 8, len(observed)).astype(float), ""),
        ("INJURY", fell, np.full(len(fell), FALL_ON_SAME_LEVEL), None, ""),
    )
    row = np.concatenate([rows for _, rows, *_ in groups])
    group = np.repeat(np.arange(len(groups)), [len(rows) for _, rows, *_ in groups])
    code = np.concatenate([codes for _, _, codes, *_ in groups])
    value = np.concatenate([np.full(len(rows), np.nan) if given is None else given for _, rows, _, given, _ in groups])
    item_type = np.array([name for name, *_ in groups])[group]
    order = np.lexsort((group, item_type, row))
    row, group, code, value, item_type = (part[order] for part in (row, group, code, value, item_type))
    names, type_number = np.unique(item_type, return_inverse=True)
    person = attendances.person[row]
    suspected = (rng.random(len(row)) < SUSPECTED_SHARE) & ~in_story[row]
    qualifier = np.where(item_type == "DIAGNOSIS", suspected.astype(int), -1)
    done_at = attendances.arrival[row] + np.timedelta64(2400, "s")
    columns = {
        "cds_unique_identifier": attendances.cds_identifiers().take(pa.array(row)),
        "record_last_updated": date_text(attendances.departure[row], STAMP),
        "item_type": known(item_type),
        "sequence": number_text(number_within(row * len(names) + type_number) + 1.0, 0),
        "code": known(code),
        "qualifier": spread([CONFIRMED, SUSPECTED], qualifier),
        "value": number_text(value, 0),
        "unit": spread([unit for *_, unit in groups], group),
        "event_datetime": date_text(np.where(item_type == "DIAGNOSIS", NO_TIME, done_at), STAMP),
        "clinician_id": numbered("99", 1 + row % 40, 5),
    }
    night = world.night_of(attendances.departure[row])
    return assemble(columns, spread(world.population.acute_trust, person), night, person)
