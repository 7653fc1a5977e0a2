"""The clinical tables of the GP extract, from the drawn records."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.synthetic.population import Story, World
from pipelines.synthetic.sources.gp_dictionary import ClinicalCodes
from pipelines.synthetic.sources.gp_practices import Surgery, record_table
from pipelines.synthetic.sources.gp_record import (
    CLINICAL_SOURCES,
    CONSULTATION_SOURCES,
    ENTRY_KINDS,
    Authorisations,
    Consultations,
    Entries,
    Issues,
)
from pipelines.synthetic.sources.rows import number_text, same, yes_no
from pipelines.synthetic.text import date_text, guids, numbered, pick, spread

YEAR_ONLY_SHARE, MONTH_ONLY_SHARE, NO_DATE_SHARE, STRAY_SHARE = 0.15, 0.05, 0.02, 0.0005
OLD_AFTER_DAYS = 10 * 365
NOT_ATTENDED_SHARE = 0.06
APPOINTMENT_SHARE = 0.8
PAST_PROBLEM_SHARE, ENDED_SHARE = 0.33, 0.8


def clock(minute: np.ndarray) -> pa.Array:
    """Minutes of the day as HH:mm:ss."""
    return date_text(np.datetime64("2000-01-01", "s") + minute.astype(np.int64) * 60, "HH:mm:ss")


def consultation_table(
    surgery: Surgery, consultations: Consultations, consultation_guids: pa.Array, slot_guids: pa.Array
) -> pa.Table:
    """Consultations, and the letters and notes that EMIS stores as consultations."""
    rng = surgery.world.rng("gp.consultation_table")
    registration = surgery.at(consultations.person, consultations.day)
    clinician = spread(surgery.staff, surgery.clinicians(rng, registration))
    columns: dict[str, pa.Array | None] = {
        "consultation_guid": consultation_guids,
        "effective_date": date_text(consultations.day),
        "effective_date_precision": same("YMD", len(consultations)),
        "entered_date": date_text(consultations.day),
        "entered_time": clock(consultations.minute),
        "clinician_user_in_role_guid": clinician,
        "entered_by_user_in_role_guid": clinician,
        "appointment_slot_guid": slot_guids,
        "consultation_source_term": spread(list(CONSULTATION_SOURCES), consultations.source),
        "consultation_source_code_id": None,
        "complete": yes_no(np.ones(len(consultations), dtype=bool)),
        "consultation_type": None,
        "deleted": yes_no(np.zeros(len(consultations), dtype=bool)),
        "is_confidential": yes_no(np.zeros(len(consultations), dtype=bool)),
    }
    return record_table(surgery, registration, consultations.day, columns)


def observation_table(
    surgery: Surgery,
    codes: ClinicalCodes,
    entries: Entries,
    entry_guids: pa.Array,
    consultation_guids: pa.Array,
    code_ids: pa.Array,
) -> pa.Table:
    """Every coded entry; values have a unit and a range."""
    world = surgery.world
    rng = world.rng("gp.observation_table")
    count = len(entries)
    registration = surgery.at(entries.person, entries.day)
    clinician = spread(surgery.staff, surgery.clinicians(rng, registration))
    ordinary = world.population.story[entries.person] == Story.ORDINARY
    measured = entries.kind == ENTRY_KINDS.index("Value")
    known_by_code = world.catalogue.measurements.drop_duplicates("snomed").set_index("snomed").reindex(codes.rows["snomed"])
    of_value = np.where(measured, entries.code, -1)
    low, high = known_by_code["low"].to_numpy(), known_by_code["high"].to_numpy()
    outside = measured & ((entries.value < low[entries.code]) | (entries.value > high[entries.code]))
    date, precision = imprecise_dates(rng, world, entries, ordinary)
    stray = ordinary & (rng.random(count) < STRAY_SHARE)
    strangers = guids(rng, int(stray.sum())).to_numpy(zero_copy_only=False)
    patients = np.concatenate([surgery.registrations.guid, strangers.astype("U36")])
    patient = registration.copy()
    patient[stray] = len(surgery.registrations.guid) + np.arange(stray.sum())
    columns: dict[str, pa.Array | None] = {
        "observation_guid": entry_guids,
        "patient_guid": spread(patients, patient),
        "effective_date": date_text(date),
        "effective_date_precision": spread(["YMD", "YM", "Y", "U"], precision),
        "entered_date": date_text(np.maximum(entries.day, world.first_day)),
        "entered_time": None,
        "clinician_user_in_role_guid": clinician,
        "entered_by_user_in_role_guid": clinician,
        "parent_observation_guid": None,
        "code_id": code_ids.take(pa.array(entries.code)),
        "problem_guid": None,
        "associated_text": None,
        "consultation_guid": consultation_guids.take(pa.array(entries.consultation, mask=entries.consultation < 0)),
        "value": number_text(entries.value),
        "numeric_unit": spread(known_by_code["unit"].fillna("").to_numpy(), of_value),
        "observation_type": spread(list(ENTRY_KINDS), entries.kind),
        "numeric_range_low": spread(known_texts(low), of_value),
        "numeric_range_high": spread(known_texts(high), of_value),
        "document_guid": None,
        "qualifiers": None,
        "abnormal": yes_no(outside),
        "abnormal_reason": spread(["LO", "HI"], np.where(outside, (entries.value > high[entries.code]).astype(np.int64), -1)),
        "episode": spread(["First"], np.where(entries.kind == ENTRY_KINDS.index("Problem"), 0, -1)),
        "deleted": yes_no(np.zeros(count, dtype=bool)),
        "is_confidential": yes_no(np.zeros(count, dtype=bool)),
    }
    table = record_table(surgery, registration, entries.day, columns)
    person = pa.array(np.where(stray, -1, entries.person), pa.int32())
    return table.set_column(table.column_names.index("_person"), "_person", person)


def known_texts(numbers: np.ndarray) -> list[str]:
    """Numbers as short texts; empty for NaN."""
    return ["" if np.isnan(number) else f"{number:g}" for number in numbers]


def imprecise_dates(
    rng: np.random.Generator, world: World, entries: Entries, ordinary: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Dates as recorded and their precision (a position in YMD, YM, Y, U): old entries may have a year only, a few no date."""
    chance = rng.random(len(entries))
    old = ordinary & (entries.day < world.last_day - OLD_AFTER_DAYS)
    year_only = old & (chance < YEAR_ONLY_SHARE)
    month_only = old & ~year_only & (chance < YEAR_ONLY_SHARE + MONTH_ONLY_SHARE)
    unknown = ordinary & (entries.consultation < 0) & (chance > 1 - NO_DATE_SHARE)
    date = np.where(month_only, entries.day.astype("datetime64[M]").astype("datetime64[D]"), entries.day)
    date = np.where(year_only, entries.day.astype("datetime64[Y]").astype("datetime64[D]"), date)
    date = np.where(unknown, np.datetime64("NaT", "D"), date).astype("datetime64[D]")
    precision = np.select([unknown, year_only, month_only], [3, 2, 1], 0)
    return date, precision


def problem_table(surgery: Surgery, entries: Entries, entry_guids: pa.Array) -> pa.Table:
    """The problem attributes of the entries that are problems; a third are past problems, some of them without an end date."""
    world = surgery.world
    rng = world.rng("gp.problem_table")
    at = np.flatnonzero(entries.kind == ENTRY_KINDS.index("Problem"))
    person, day = entries.person[at], entries.day[at]
    past = (rng.random(len(at)) < PAST_PROBLEM_SHARE) & (world.population.story[person] == Story.ORDINARY)
    ended = past & (rng.random(len(at)) < ENDED_SHARE)
    last = np.where(np.isnat(world.population.death_date[person]), world.last_day, world.population.death_date[person])
    span = np.maximum((last - day).astype(np.int64), 1)
    end = np.where(ended, day + (rng.random(len(at)) * span).astype(np.int64), np.datetime64("NaT", "D")).astype(
        "datetime64[D]"
    )
    columns: dict[str, pa.Array | None] = {
        "observation_guid": entry_guids.take(pa.array(at)),
        "parent_problem_observation_guid": None,
        "deleted": yes_no(np.zeros(len(at), dtype=bool)),
        "end_date": date_text(end),
        "end_date_precision": spread(["YMD"], np.where(ended, 0, -1)),
        "expected_duration": None,
        "last_review_date": None,
        "last_review_user_in_role_guid": None,
        "parent_problem_relationship": None,
        "problem_status_description": spread(["Active Problem", "Past Problem"], past.astype(np.int64)),
        "significance_description": pick(rng, ["Significant Problem", "Minor Problem"], len(at), [3, 1]),
        "comment": None,
    }
    return record_table(surgery, surgery.at(person, day), day, columns)


def referral_table(surgery: Surgery, entries: Entries, entry_guids: pa.Array) -> pa.Table:
    """The referral attributes of the entries that are referrals."""
    rng = surgery.world.rng("gp.referral_table")
    at = np.flatnonzero(entries.kind == ENTRY_KINDS.index("Referral"))
    columns: dict[str, pa.Array | None] = {
        "observation_guid": entry_guids.take(pa.array(at)),
        "referral_target_organisation_guid": None,
        "referral_urgency": pick(rng, ["Routine", "Urgent", "2 Week Wait", "Soon", "Dated"], len(at), [70, 12, 10, 5, 3]),
        "referral_service_type": pick(rng, ["Assessment", "Investigation", "Management advice"], len(at)),
        "referral_mode": pick(rng, ["Electronic", "Letter"], len(at), [9, 1]),
        "referral_ubrn": numbered("", at + 100_000_000, 12),
        "transport_required": yes_no(np.zeros(len(at), dtype=bool)),
    }
    return record_table(surgery, surgery.at(entries.person[at], entries.day[at]), entries.day[at], columns)


def drug_record_table(
    surgery: Surgery,
    drugs: pd.DataFrame,
    authorisations: Authorisations,
    authorisation_guids: pa.Array,
    entry_guids: pa.Array,
    code_ids: pa.Array,
) -> pa.Table:
    """Medicines that were authorised."""
    rng = surgery.world.rng("gp.drug_record_table")
    count = len(authorisations)
    registration = surgery.at(authorisations.person, authorisations.day)
    entered = np.maximum(authorisations.day, surgery.world.first_day)
    columns: dict[str, pa.Array | None] = {
        "drug_record_guid": authorisation_guids,
        "effective_date": date_text(authorisations.day),
        "effective_date_precision": same("YMD", count),
        "entered_date": date_text(entered),
        "entered_time": None,
        "clinician_user_in_role_guid": spread(surgery.staff, surgery.clinicians(rng, registration)),
        "code_id": code_ids.take(pa.array(authorisations.drug)),
        "dosage": same("As directed", count),
        "quantity": number_text(drugs["quantity"].to_numpy()[authorisations.drug], 0),
        "quantity_unit": spread(drugs["unit"].to_numpy(), authorisations.drug),
        "problem_observation_guid": entry_guids.take(pa.array(authorisations.problem, mask=authorisations.problem < 0)),
        "prescription_type": spread(["Acute", "Repeat"], authorisations.repeat.astype(np.int64)),
        "is_active": yes_no(authorisations.repeat),
        "cancellation_date": None,
        "number_of_issues": None,
        "number_of_issues_authorised": spread(["1", "12"], authorisations.repeat.astype(np.int64)),
        "is_confidential": yes_no(np.zeros(count, dtype=bool)),
        "deleted": yes_no(np.zeros(count, dtype=bool)),
        "expiry_date": None,
    }
    return record_table(surgery, registration, entered, columns)


def _dosages(drugs: pd.DataFrame) -> pa.Array:
    """Directions for each product: how often a day one of it is taken, where its quantity and days say so."""
    a_day = (drugs["quantity"] / drugs["days"]).to_numpy(dtype=float)
    form = np.select([a_day == 1, a_day == 2, a_day == 3], [0, 1, 2], 3)
    return spread(["One To Be Taken Each Day", "Take ONE twice a day", "one 3 times/day", "As directed"], form)


def issue_table(
    surgery: Surgery,
    drugs: pd.DataFrame,
    issues: Issues,
    authorisation_guids: pa.Array,
    consultation_guids: pa.Array,
    code_ids: pa.Array,
) -> pa.Table:
    """Prescriptions issued; vaccines given from stock have no authorisation and no days of supply."""
    rng = surgery.world.rng("gp.issue_table")
    count = len(issues)
    registration = surgery.at(issues.person, issues.day)
    quantity = drugs["quantity"].to_numpy(dtype=float)[issues.drug]
    columns: dict[str, pa.Array | None] = {
        "issue_record_guid": guids(rng, count),
        "drug_record_guid": authorisation_guids.take(pa.array(issues.authorisation, mask=issues.authorisation < 0)),
        "effective_date": date_text(issues.day),
        "effective_date_precision": same("YMD", count),
        "entered_date": date_text(issues.day),
        "entered_time": None,
        "clinician_user_in_role_guid": spread(surgery.staff, surgery.clinicians(rng, registration)),
        "code_id": code_ids.take(pa.array(issues.drug)),
        "dosage": _dosages(drugs).take(pa.array(issues.drug)),
        "quantity": number_text(quantity, 0),
        "quantity_unit": spread(drugs["unit"].to_numpy(), issues.drug),
        "problem_observation_guid": None,
        "course_duration_in_days": number_text(drugs["days"].to_numpy(dtype=float)[issues.drug], 0),
        "estimated_nhs_cost": number_text(quantity * 0.07 + 0.5, 2),
        "is_confidential": yes_no(np.zeros(count, dtype=bool)),
        "emis_code": None,
        "consultation_guid": consultation_guids.take(pa.array(issues.consultation, mask=issues.consultation < 0)),
        "is_privately_prescribed": yes_no(np.zeros(count, dtype=bool)),
        "is_prescribed_as_contraceptive": yes_no(np.zeros(count, dtype=bool)),
        "review_date": None,
        "issue_method_description": pick(rng, ["Electronic", "Print"], count, [9, 1]),
        "deleted": yes_no(np.zeros(count, dtype=bool)),
    }
    return record_table(surgery, registration, issues.day, columns)


def appointment_table(surgery: Surgery, consultations: Consultations) -> tuple[pa.Table, pa.Array]:
    """Booked slots, and for each consultation the GUID of its slot or null; some slots were not attended."""
    world = surgery.world
    rng = world.rng("gp.appointment_table")
    clinical = consultations.source < CLINICAL_SOURCES
    chance = rng.random(len(consultations))
    kept = np.flatnonzero(clinical & (chance < APPOINTMENT_SHARE))
    missed = np.flatnonzero(clinical & (chance > 1 - NOT_ATTENDED_SHARE))
    at = np.concatenate([kept, missed])
    attended = np.arange(len(at)) < len(kept)
    person, day, minute = consultations.person[at], consultations.day[at], consultations.minute[at]
    slot_guids = guids(rng, len(at))
    booked = day - rng.integers(0, 21, len(at))
    length = rng.integers(5, 25, len(at))
    empty = pa.nulls(len(at), pa.string())
    columns: dict[str, pa.Array | None] = {
        "slot_guid": slot_guids,
        "appointment_date": date_text(day),
        "appointment_start_time": clock(minute),
        "planned_duration_in_minutes": same("15", len(at)),
        "send_in_time": where(attended, clock(minute + 4), empty),
        "left_time": where(attended, clock(minute + 4 + length), empty),
        "did_not_attend": yes_no(~attended),
        "patient_wait_in_min": where(attended, same("4", len(at)), empty),
        "appointment_delay_in_min": same("0", len(at)),
        "actual_duration_in_minutes": where(attended, number_text(length.astype(float), 0), empty),
        "session_guid": None,
        "dna_reason_code_id": None,
        "booked_date": date_text(booked),
        "booked_time": clock(minute),
        "slot_status": spread(["DNA", "Left"], attended.astype(np.int64)),
        "slot_type": same("Routine", len(at)),
        "is_bookable_online": yes_no(rng.random(len(at)) < 0.3),
        "booking_method": pick(rng, ["Practice", "Online"], len(at), [4, 1]),
        "mode_of_contact": spread(["Face to face", "Telephone", "Visit", "Online"], consultations.source[at]),
        "is_blocked": yes_no(np.zeros(len(at), dtype=bool)),
        "context_type": same("Care Related Encounter", len(at)),
        "service_setting": same("General Practice", len(at)),
        "national_slot_category_name": same("General Consultation Routine", len(at)),
        "deleted": yes_no(np.zeros(len(at), dtype=bool)),
    }
    slot = np.full(len(consultations), -1)
    slot[kept] = np.arange(len(kept))
    table = record_table(surgery, surgery.at(person, day), day, columns)
    return table, slot_guids.take(pa.array(slot, mask=slot < 0))


def where(flags: np.ndarray, yes: pa.Array, no: pa.Array) -> pa.Array:
    """The first array where the flag is true, else the second."""
    return pc.if_else(pa.array(flags), yes, no)
