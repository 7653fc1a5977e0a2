"""The practices: staff, registered patients and the tables that describe them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.synthetic import places
from pipelines.synthetic.population import Story, World
from pipelines.synthetic.sources.rows import assemble, known, same, yes_no
from pipelines.synthetic.text import date_text, guids, numbered, pick, spread

STAFF_PER_PRACTICE = 12
CLINICAL_STAFF = 9
JOBS = (
    [("R0260", "General Medical Practitioner")] * 4
    + [("R0270", "Salaried General Practitioner")] * 2
    + [("R0600", "Specialist Nurse Practitioner"), ("R0620", "Staff Nurse"), ("R1480", "Healthcare Assistant")]
    + [
        ("R1290", "Pharmacist"),
        ("R8008", "Admin/Clinical Support Access Role"),
        ("R8008", "Admin/Clinical Support Access Role"),
    ]
)
FIRST_PROCESSING_ID = 4_100_000
UNKNOWN_START = np.datetime64("1900-01-01")
ONE_IN_WITH_UNKNOWN_START = 211
PATIENT_TYPES = {"Regular": 0.97, "Temporary": 0.015, "Private": 0.01, "Emergency": 0.005, "Dummy": 0.0}
REGULAR, DUMMY = 0, 4


@dataclass(frozen=True)
class Registrations:
    """One registration per entry: current registrations by person number, then former ones of people who moved."""

    person: np.ndarray
    practice: np.ndarray
    guid: np.ndarray
    start: np.ndarray
    end: np.ndarray
    former: np.ndarray
    """Per person: the position of the former registration or -1."""


@dataclass(frozen=True)
class Surgery:
    """The practices, their staff and the columns shared by all tables; staff of practice p are at p * STAFF_PER_PRACTICE on."""

    world: World
    codes: np.ndarray
    organisation: np.ndarray
    staff: np.ndarray
    registrations: Registrations

    def at(self, person: np.ndarray, day: np.ndarray) -> np.ndarray:
        """The registration that a record of a person and day belongs to."""
        former = self.registrations.former[person]
        earlier = (former >= 0) & (day < self.world.population.moved_on[person])
        return np.where(earlier, former, person)

    def clinicians(self, rng: np.random.Generator, registration: np.ndarray) -> np.ndarray:
        """A random clinician of the practice of each registration, as a position in the staff."""
        first: np.ndarray = self.registrations.practice[registration] * STAFF_PER_PRACTICE
        return first + rng.integers(0, CLINICAL_STAFF, len(registration))


def open_surgery(world: World) -> Surgery:
    """The practices with their staff and everybody's registrations."""
    people = world.population
    practices = np.unique(np.concatenate([people.gp_practice, people.gp_practice2[people.gp_practice2 != ""]]))
    rng = world.rng("gp.organisations")
    movers = np.flatnonzero(people.gp_practice2 != "")
    former = np.full(world.n, -1)
    former[movers] = world.n + np.arange(len(movers))
    moved = people.gp_practice2 != ""
    end = np.where(np.isnat(people.death_date), people.death_date, people.death_date + 7).astype("datetime64[D]")
    end[end > world.last_day] = np.datetime64("NaT")
    registrations = Registrations(
        person=np.concatenate([np.arange(world.n), movers]),
        practice=np.searchsorted(practices, np.concatenate([people.gp_practice, people.gp_practice2[movers]])),
        guid=np.concatenate([people.gp_guid, people.gp_guid2[movers]]),
        start=np.concatenate([np.where(moved, people.moved_on, people.registered_on), people.registered_on[movers]]),
        end=np.concatenate([end, people.moved_on[movers]]),
        former=former,
    )
    organisation = guids(rng, len(practices)).to_numpy(zero_copy_only=False).astype("U36")
    staff = guids(rng, len(practices) * STAFF_PER_PRACTICE).to_numpy(zero_copy_only=False).astype("U36")
    return Surgery(world, practices, organisation, staff, registrations)


def record_table(
    surgery: Surgery, registration: np.ndarray, entered: np.ndarray, columns: dict[str, pa.Array | None]
) -> pa.Table:
    """A table whose rows belong to registrations, with the columns that all such tables have."""
    night = surgery.world.night_of(entered)
    practice = surgery.registrations.practice[registration]
    own = {
        "patient_guid": spread(surgery.registrations.guid, registration),
        "organisation_guid": spread(surgery.organisation, practice),
        "processing_id": processing_ids(night),
    }
    person = surgery.registrations.person[registration]
    return assemble(own | columns, spread(surgery.codes, practice), night, person)


def processing_ids(night: np.ndarray) -> pa.Array:
    """The processing id of a night's extract."""
    return pa.array(FIRST_PROCESSING_ID + night.astype(np.int64) * 100).cast(pa.string())


def patient_table(surgery: Surgery) -> pa.Table:
    """One row per registration; people who died after the first extract have a second row from the night it is known."""
    world, people, all_rows = surgery.world, surgery.world.population, surgery.registrations
    current = np.arange(len(all_rows.person)) < world.n
    known_late = np.flatnonzero(current & (world.night_of(people.death_date[all_rows.person]) > 0))
    row = np.concatenate([np.arange(len(all_rows.person)), known_late])
    later = np.arange(len(row)) >= len(all_rows.person)
    person = all_rows.person[row]
    rng = world.rng("gp.patients")
    ordinary = people.story[person] == Story.ORDINARY
    start = all_rows.start[row].copy()
    start[ordinary & (row % ONE_IN_WITH_UNKNOWN_START == 7)] = UNKNOWN_START
    night = np.where(later, world.night_of(people.death_date[person]), 0).astype(np.int8)
    hidden = ~later & (world.night_of(people.death_date[person]) > 0)
    nothing = np.datetime64("NaT", "D")
    kind = rng.choice(len(PATIENT_TYPES), len(row), p=list(PATIENT_TYPES.values()))
    kind[later] = kind[known_late]
    kind[~ordinary | (all_rows.former[person] >= 0)] = REGULAR
    kind[people.test_patient[person]] = DUMMY
    compact = np.char.replace(people.postcode, " ", "")
    columns: dict[str, pa.Array | None] = {
        "patient_guid": spread(all_rows.guid, row),
        "organisation_guid": spread(surgery.organisation, all_rows.practice[row]),
        "usual_gp_user_in_role_guid": spread(surgery.staff, all_rows.practice[row] * STAFF_PER_PRACTICE + row % 4),
        "sex": spread(["M", "F"], people.sex[person].astype(np.int64) - 1),
        "date_of_birth": date_text(people.birth_date[person]),
        "date_of_death": date_text(np.where(hidden, nothing, people.death_date[person])),
        "title": spread(["Mr", "Ms"], people.sex[person].astype(np.int64) - 1),
        "given_name": spread(people.given_name, person),
        "middle_names": None,
        "surname": spread(people.surname, person),
        "date_of_registration": date_text(start),
        "nhs_number": spread(people.nhs_number, person),
        "patient_number": numbered("", person + 1, 6),
        "patient_type_description": spread(list(PATIENT_TYPES), kind),
        "dummy_type": yes_no(people.test_patient[person]),
        "house_name_flat_number": None,
        "number_and_street": spread(people.address, person),
        "village": None,
        "town": None,
        "county": None,
        "postcode": spread(compact, person),
        "residential_institute_code": None,
        "nhs_number_status": None,
        "carer_name": None,
        "carer_relation": None,
        "person_guid": spread(all_rows.guid, row),
        "date_of_deactivation": date_text(np.where(hidden, nothing, all_rows.end[row])),
        "deleted": yes_no(np.zeros(len(row), dtype=bool)),
        "spine_sensitive": yes_no(np.zeros(len(row), dtype=bool)),
        "is_confidential": yes_no(np.zeros(len(row), dtype=bool)),
        "email_address": None,
        "home_phone": None,
        "mobile_phone": spread(people.phone, person),
        "external_usual_gp_guid": None,
        "external_usual_gp": None,
        "external_usual_gp_organisation": None,
        "contact_comments": None,
        "processing_id": processing_ids(night),
    }
    return assemble(columns, spread(surgery.codes, all_rows.practice[row]), night, person)


def organisation_table(surgery: Surgery) -> pa.Table:
    """Each practice as it describes itself."""
    count = len(surgery.codes)
    first = np.zeros(count, dtype=np.int8)
    columns: dict[str, pa.Array | None] = {
        "organisation_guid": known(surgery.organisation),
        "cdb": numbered("", np.arange(count) + 29_001, 5),
        "organisation_name": known(np.char.add("Practice ", surgery.codes)),
        "ods_code": known(surgery.codes),
        "parent_organisation_guid": None,
        "ccg_organisation_guid": None,
        "organisation_type": same("GP Practice", count),
        "open_date": same("1974-04-01", count),
        "close_date": None,
        "main_location_guid": None,
        "processing_id": processing_ids(first),
    }
    return assemble(columns, known(surgery.codes), first, np.full(count, -1))


def agreement_table(surgery: Surgery) -> pa.Table:
    """That each practice shares its records."""
    count = len(surgery.codes)
    columns: dict[str, pa.Array | None] = {
        "organisation_guid": known(surgery.organisation),
        "is_activated": same("true", count),
        "last_modified_date": same("2020-04-01 09:00:00", count),
        "disabled": same("false", count),
        "deleted": same("false", count),
    }
    return assemble(columns, known(surgery.codes), np.zeros(count, dtype=np.int8), np.full(count, -1))


def staff_table(surgery: Surgery) -> pa.Table:
    """The staff of each practice."""
    rng = surgery.world.rng("gp.staff")
    count = len(surgery.staff)
    position = np.arange(count)
    practice = position // STAFF_PER_PRACTICE
    first = np.zeros(count, dtype=np.int8)
    columns: dict[str, pa.Array | None] = {
        "user_in_role_guid": known(surgery.staff),
        "organisation_guid": spread(surgery.organisation, practice),
        "title": same("Dr", count),
        "given_name": pick(rng, list(places.GIVEN_NAMES_FEMALE), count),
        "surname": pick(rng, list(places.SURNAMES), count),
        "job_category_code": spread([code for code, _ in JOBS], position % STAFF_PER_PRACTICE),
        "job_category_name": spread([name for _, name in JOBS], position % STAFF_PER_PRACTICE),
        "contract_start_date": same("2015-04-01", count),
        "contract_end_date": None,
        "registration_number": numbered("", position + 7_000_000, 7),
        "processing_id": processing_ids(first),
    }
    return assemble(columns, spread(surgery.codes, practice), first, np.full(count, -1))


def code_table(surgery: Surgery, code_ids: pa.Array, columns: dict[str, pa.Array | None]) -> pa.Table:
    """A central code table, delivered with every practice's files."""
    practices = len(surgery.codes)
    size = len(code_ids)
    position = pa.array(np.tile(np.arange(size), practices))
    first = np.zeros(size * practices, dtype=np.int8)
    repeated = {name: None if values is None else values.take(position) for name, values in columns.items()}
    repeated["processing_id"] = processing_ids(first)
    return assemble(repeated, spread(surgery.codes, np.repeat(np.arange(practices), size)), first, np.full(len(first), -1))
