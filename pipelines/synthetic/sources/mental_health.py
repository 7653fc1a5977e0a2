"""The mental health extract: the Mental Health Services Data Set v6 of one provider, repeated month by month."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import SourceData, Truth, World
from pipelines.synthetic.sources import mental_health_care as care
from pipelines.synthetic.sources.children import is_told, number_within, truths
from pipelines.synthetic.sources.monthly import (
    clock_text,
    first_night_of_months,
    month_end,
    month_of,
    month_text,
    monthly_snapshots,
    received_at,
    submission_number,
)
from pipelines.synthetic.sources.rows import assemble, known, number_text, same
from pipelines.synthetic.sources.submitted_codes import undivided_padded
from pipelines.synthetic.text import date_text, numbered, replaced, spread

MOST_MONTHS = 14
STAFF = 30
DAY = "yyyy-MM-dd"
STAMP = "yyyy-MM-dd HH:mm:ss"
SUMMER_TIME = ("+00:00", "+01:00")
TEAMS = (care.CRISIS, care.COMMUNITY, care.OLDER)
WARD_CODES = ("MHW01", "MHW02", "MHW03")
SITE = "RZM01"

THERAPIES = ("228557008", "75516001", "409063005", "399684003", "710841007")
"""Cognitive and behavioural therapy, psychotherapy, counselling, care plan, assessment of anxiety (SNOMED CT)."""
FINDINGS = ("6471006", "418420002", "73595000", "160903007")
COMPLAINTS = ("197480006", "6471006", "35489007")
QUALIFIED = ":408730004=410536001"
"""An attribute after a procedure: MHSDS procedures may be post-coordinated."""

PHQ9, GAD7, WELLBEING, MINI_MENTAL = "720433000", "445455005", "718490000", "273617000"
SCORES = ((PHQ9, 27), (GAD7, 21))
INPATIENT_VISIT, OUTPATIENT_VISIT = 9201, 9202
PHQ9_CONCEPT = 3042932


@dataclass(frozen=True)
class Care:
    """Everything that the provider does, as drawn."""

    referrals: care.Referrals
    contacts: care.Contacts
    stays: care.Stays


def build(world: World) -> SourceData:
    """Every table of the mental health extract, and what of it must be found in the published CDM."""
    referrals = care.draw_referrals(world)
    drawn = Care(referrals, care.draw_contacts(world, referrals), care.draw_stays(world, referrals))
    tables = {
        "mpi": _patients(world, drawn),
        "gp": _registrations(world, drawn),
        "accommodation_status": _accommodation(world, drawn),
        "employment_status": _employment(world, drawn),
        "referral": _referral_table(world, drawn),
        "other_service_type": _other_services(world, drawn),
        **_contact_tables(world, drawn),
        **_stay_tables(world, drawn),
        **_coded_tables(world, drawn),
        **_reference_tables(),
    }
    return SourceData(tables, _truth(world, drawn))


def _assembled(
    world: World, columns: dict[str, pa.Array | None], person: np.ndarray, month: np.ndarray, night: np.ndarray
) -> pa.Table:
    """A table with the columns that every table of a submission has."""
    common = {
        "uniq_submission_id": submission_number(month),
        "org_id_prov": spread(world.population.mh_trust, person),
        "national_person_id": numbered("P", person, 9),
        "record_number": numbered("7", person, 9),
        "uniq_month_id": month_text(month),
        "reporting_period_end_date": date_text(month_end(month), DAY),
        "effective_from": date_text(received_at(month, night, world), STAMP),
    }
    return assemble(columns | common, spread(world.population.mh_trust, person), night, person)


def _local_ids(world: World, person: np.ndarray) -> dict[str, pa.Array | None]:
    return {"local_patient_id": spread(world.population.mh_id, person)}


def _open_months(world: World, drawn: Care) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Person, month and first night of every month in which a referral is open or the patient dies."""
    referrals = drawn.referrals
    snapshots = monthly_snapshots(world, referrals.received, _end_of_referral(world, drawn), MOST_MONTHS)
    return first_night_of_months(referrals.person[snapshots.thing], snapshots.month, snapshots.night)


def _end_of_referral(world: World, drawn: Care) -> np.ndarray:
    """When a referral ends: closed, or by death; NaT while open."""
    death = world.population.death_date[drawn.referrals.person].astype("datetime64[s]")
    death = np.where(death > world.last_day.astype("datetime64[s]"), np.datetime64("NaT", "s"), death)
    return np.where(np.isnat(drawn.referrals.closed), death, drawn.referrals.closed)


def _patients(world: World, drawn: Care) -> pa.Table:
    """One row per patient and month; the date of death in the month of death only."""
    people = world.population
    person, month, night = _open_months(world, drawn)
    death = people.death_date[person]
    told_here = (month_of(death) == month) & (death <= world.last_day)
    night = np.where(told_here, np.maximum(night, world.night_of(death)), night)
    has_number = (people.nhs_number != "")[person]
    count = len(person)
    columns = {
        **_local_ids(world, person),
        "org_id_local_patient_id": spread(people.mh_trust, person),
        "org_id_edu_estab": None,
        "nhs_number": spread(people.nhs_number, person),
        "nhs_number_status": spread(["03", "01"], has_number.astype(int)),
        "person_birth_date": date_text(people.birth_date[person], DAY),
        "postcode": spread(people.postcode, person),
        "gender_id_code": spread(people.sex, person),
        "gender_same_at_birth": same("Y", count),
        "gender": spread(people.sex, person),
        "marital_status": spread(["S", "M", "D", "8"], person % 4),
        "ethnic_category": spread(people.ethnicity, person),
        "ethnic_category_2021": None,
        "language_code_preferred": same("en", count),
        "pers_death_date": date_text(np.where(told_here, death, np.datetime64("NaT", "D")), DAY),
    }
    return _assembled(world, columns, person, month, night)


def _first_months(world: World, drawn: Care) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each patient's first month."""
    person, month, night = _open_months(world, drawn)
    first = number_within(person) == 0
    return person[first], month[first], night[first]


def _registrations(world: World, drawn: Care) -> pa.Table:
    person, month, night = _first_months(world, drawn)
    columns = {
        **_local_ids(world, person),
        "gmp_reg": spread(world.population.gp_practice, person),
        "start_date_gmp_registration": date_text(world.population.registered_on[person], DAY),
        "end_date_gmp_registration": None,
    }
    return _assembled(world, columns, person, month, night)


def _accommodation(world: World, drawn: Care) -> pa.Table:
    rng = world.rng("mental_health.accommodation")
    person, month, night = _first_months(world, drawn)
    columns = {
        **_local_ids(world, person),
        "accommodation_type": spread(["01", "02", "03", "04", "10"], rng.integers(0, 5, len(person))),
        "settled_accommodation_ind": same("Y", len(person)),
        "accommodation_type_date": date_text(_seen_in(world, drawn, person), DAY),
        "sch_placement_type": None,
        "accommodation_type_start_date": None,
        "accommodation_type_end_date": None,
    }
    return _assembled(world, columns, person, month, night)


def _employment(world: World, drawn: Care) -> pa.Table:
    rng = world.rng("mental_health.employment")
    person, month, night = _first_months(world, drawn)
    columns = {
        **_local_ids(world, person),
        "employ_status": spread(["01", "02", "03", "04", "05"], rng.integers(0, 5, len(person))),
        "employ_status_start_date": None,
        "employ_status_end_date": None,
        "employ_status_rec_date": date_text(_seen_in(world, drawn, person), DAY),
        "pat_prim_emp_cont_type_mh": None,
        "week_hours_worked": None,
    }
    return _assembled(world, columns, person, month, night)


def _seen_in(world: World, drawn: Care, person: np.ndarray) -> np.ndarray:
    """The day of each person's first referral."""
    first = np.full(len(world.population), np.datetime64("9999-01-01", "s"))
    np.minimum.at(first, drawn.referrals.person, drawn.referrals.received)
    return first[person]


def _referral_table(world: World, drawn: Care) -> pa.Table:
    """Each referral once for every month in which it is open."""
    referrals = drawn.referrals
    ends = _end_of_referral(world, drawn)
    snapshots = monthly_snapshots(world, referrals.received, ends, MOST_MONTHS)
    row = snapshots.thing
    person = referrals.person[row]
    closed = np.where(snapshots.is_closed, referrals.closed[row], np.datetime64("NaT", "s"))
    received = referrals.received[row]
    is_crisis = (referrals.team[row] == care.CRISIS).astype(int)
    columns = {
        "service_request_id": known(referrals.number()).take(pa.array(row)),
        **_local_ids(world, person),
        "org_id_comm": same("99X", len(row)),
        "care_prof_team_local_id": spread([f"T{team}" for team in TEAMS], _team_position(referrals.team[row])),
        "referral_request_received_date": date_text(received, DAY),
        "referral_request_received_time": clock_text(received),
        "nhs_serv_agree_line_id": None,
        "specialised_mh_service_code": None,
        "source_of_referral_mh": spread(["A1", "H1"], is_crisis),
        "org_id_referring_org": spread(world.population.gp_practice, person),
        "referring_care_professional_type": None,
        "clin_resp_priority_type": spread(["3", "1"], is_crisis),
        "prim_reason_referral_mh": spread(["05", "18"], is_crisis),
        "reason_oat": None,
        "decision_to_treat_date": None,
        "decision_to_treat_time": None,
        "disch_plan_creation_date": None,
        "disch_plan_creation_time": None,
        "disch_plan_last_updated_date": None,
        "disch_plan_last_updated_time": None,
        "serv_disch_date": date_text(closed, DAY),
        "serv_disch_time": clock_text(closed),
        "refer_rejection_date": None,
        "refer_rejection_time": None,
        "refer_reject_reason": None,
        "refer_clos_reason": spread(["01"], np.where(np.isnat(closed), -1, 0)),
    }
    return _assembled(world, columns, person, snapshots.month, snapshots.night)


def _team_position(team: np.ndarray) -> np.ndarray:
    return np.array([TEAMS.index(name) for name in team], dtype=np.int64)


def _other_services(world: World, drawn: Care) -> pa.Table:
    """A second team for one referral in ten."""
    referrals = drawn.referrals
    row = np.flatnonzero(np.arange(len(referrals.person)) % 10 == 0)
    columns = {
        "service_request_id": known(referrals.number()).take(pa.array(row)),
        "other_care_prof_team_local_id": same(f"T{care.OLDER}", len(row)),
        "refer_closure_date": None,
        "refer_closure_time": None,
        "refer_rejection_date": None,
        "refer_rejection_time": None,
        "refer_reject_reason": None,
        "refer_clos_reason": None,
    }
    return _of_referral(world, drawn, row, referrals.received[row], columns)


def _of_referral(world: World, drawn: Care, row: np.ndarray, when: np.ndarray, columns: dict[str, pa.Array | None]) -> pa.Table:
    """Rows that hang on a referral, reported in the month in which they happened."""
    return _assembled(world, columns, drawn.referrals.person[row], month_of(when), world.night_of(when))


def _contact_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Contacts, the activity of those attended, who did it, and scores recorded in it."""
    rng = world.rng("mental_health.contact_tables")
    contacts, referrals = drawn.contacts, drawn.referrals
    number = known(contacts.number())
    count = len(contacts.at)
    missed = ~contacts.was_seen
    contact_columns = {
        "care_contact_id": number,
        "service_request_id": known(referrals.number()).take(pa.array(contacts.referral)),
        "care_cont_date": date_text(contacts.at, DAY),
        "care_cont_time": clock_text(contacts.at),
        "other_care_prof_team_local_id": None,
        "org_id_comm": same("99X", count),
        "admin_cat_code": same("01", count),
        "specialised_mh_service_code": None,
        "clin_cont_dur_of_care_cont": spread(["30", "45", "60"], np.where(missed, -1, rng.integers(0, 3, count))),
        "cons_type": same("01", count),
        "care_cont_subj": same("01", count),
        "cons_mechanism_mh": spread(["01", "02", "11"], rng.choice(3, count, p=[0.7, 0.2, 0.1])),
        "act_loc_type_code": spread(["E01", "A01", "B01"], rng.choice(3, count, p=[0.5, 0.3, 0.2])),
        "place_of_safety_ind": same("N", count),
        "site_id_of_treat": same(SITE, count),
        "language_code_treat": same("en", count),
        "interpreter_present_ind": None,
        "com_peri_mh_part_assess_offer_ind": None,
        "planned_care_cont_indicator": same("Y", count),
        "care_cont_patient_ther_mode": same("1", count),
        "attend_status": known(contacts.attended),
        "earliest_reason_offer_date": None,
        "earliest_clin_app_date": None,
        "care_cont_cancel_date": None,
        "care_cont_cancel_reas": None,
        "reasonable_adjustment_made": None,
        "reason_patient_no_imca": None,
        "reason_patient_no_imha": None,
    }
    seen = np.flatnonzero(contacts.was_seen)
    seen_count = len(seen)
    told = is_told(world, referrals.person[contacts.referral[seen]])
    therapy = np.array(THERAPIES)[rng.integers(0, len(THERAPIES), seen_count)]
    therapy = np.where(told, THERAPIES[0], therapy)
    qualified = ~told & (rng.random(seen_count) < 0.05)
    found = np.where(~told & (rng.random(seen_count) < 0.3), rng.integers(0, len(FINDINGS), seen_count), -1)
    weighed = ~told & (rng.random(seen_count) < 0.15)
    act = known(replaced(contacts.number()[seen], "CC", "CA"))
    activity_columns = {
        "care_act_id": act,
        "care_contact_id": number.take(pa.array(seen)),
        "clin_contact_dur_of_care_act": same("30", seen_count),
        "procedure": known(np.char.add(therapy, np.where(qualified, QUALIFIED, ""))),
        "find_scheme_in_use": spread(["04"], np.where(found >= 0, 0, -1)),
        "finding": spread(list(FINDINGS), found),
        "observation": spread(["27113001"], np.where(weighed, 0, -1)),
        "obs_value": number_text(np.where(weighed, rng.normal(78, 14, seen_count), np.nan), 1),
        "unit_of_measurement_ucum": spread(["kg"], np.where(weighed, 0, -1)),
    }
    staff_columns = {"care_act_id": act, "care_prof_local_id": numbered("MHP", 1 + seen % STAFF, 4)}
    scored = np.flatnonzero(contacts.position[seen] % 3 == 0)
    tools = len(SCORES)
    tool = np.tile(np.arange(tools), len(scored))
    activity = np.repeat(scored, tools)
    worst = np.array([most for _, most in SCORES])[tool]
    points = np.floor(rng.beta(2, 2.5, len(tool)) * (worst + 1))
    score_columns = {
        "care_act_id": act.take(pa.array(activity)),
        "coded_ass_tool_type": spread([code for code, _ in SCORES], tool),
        "pers_score": number_text(points, 0),
    }

    def of_contact(row: np.ndarray, columns: dict[str, pa.Array | None]) -> pa.Table:
        return _of_referral(world, drawn, contacts.referral[row], contacts.at[row], columns)

    return {
        "care_contact": of_contact(np.arange(count), contact_columns),
        "care_activity": of_contact(seen, activity_columns),
        "staff_activity": of_contact(seen, staff_columns),
        "score_activity": of_contact(seen[activity], score_columns),
    }


def _stay_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Spells with their ward stays, professionals and legal status; an open one comes again when it has ended."""
    stays, referrals = drawn.stays, drawn.referrals
    snapshots = monthly_snapshots(world, stays.start, stays.end, MOST_MONTHS)
    row, closed = snapshots.thing, snapshots.is_closed
    person = referrals.person[stays.referral[row]]
    end = np.where(closed, stays.end[row], np.datetime64("NaT", "s"))
    start = stays.start[row]
    spell = known(stays.number).take(pa.array(row))
    ended = np.where(np.isnat(end), -1, 0)
    count = len(row)

    def table(columns: dict[str, pa.Array | None]) -> pa.Table:
        return _assembled(world, columns, person, snapshots.month, snapshots.night)

    spell_columns = {
        "hosp_prov_spell_id": spell,
        "service_request_id": known(referrals.number()).take(pa.array(stays.referral[row])),
        "start_date_hosp_prov_spell": date_text(start, DAY),
        "start_time_hosp_prov_spell": clock_text(start),
        "decided_to_admit_date": date_text(start, DAY),
        "decided_to_admit_time": None,
        "source_adm_mh_hosp_prov_spell": same("19", count),
        "meth_adm_mh_hosp_prov_spell": same("25", count),
        "postcode_main_visitor": None,
        "estimated_disch_date_hosp_prov_spell": date_text(start + np.timedelta64(28, "D"), DAY),
        "planned_disch_date_hosp_prov_spell": None,
        "planned_dest_disch": None,
        "disch_date_hosp_prov_spell": date_text(end, DAY),
        "disch_time_hosp_prov_spell": clock_text(end),
        "meth_of_disch_mh_hosp_prov_spell": spread(["1"], ended),
        "dest_of_disch_hosp_prov_spell": spread(["19"], ended),
        "postcode_disch_dest_hosp_prov_spell": None,
    }
    ward_columns = {
        "ward_stay_id": known(np.char.add("W", stays.number)).take(pa.array(row)),
        "ward_code": spread(list(WARD_CODES), person % len(WARD_CODES)),
        "hosp_prov_spell_id": spell,
        "start_date_ward_stay": date_text(start, DAY),
        "start_time_ward_stay": clock_text(start),
        "end_date_mh_trial_leave": None,
        "end_date_ward_stay": date_text(end, DAY),
        "end_time_ward_stay": clock_text(end),
        "mh_admitted_patient_class": same("200", count),
        "specialised_mh_service_code": None,
    }
    professional_columns = {
        "hosp_prov_spell_id": spell,
        "care_prof_local_id": numbered("MHP", 1 + person % STAFF, 4),
        "start_date_ass_care_prof": date_text(start, DAY),
        "end_date_ass_care_prof": date_text(end, DAY),
        "treat_func_code_mh": same("710", count),
    }
    legal_columns = {
        "mh_act_legal_status_class_period_id": known(np.char.add("L", stays.number)).take(pa.array(row)),
        **_local_ids(world, person),
        "start_date_mh_act_legal_status_class": date_text(start, DAY),
        "start_time_mh_act_legal_status_class": clock_text(start),
        "legal_status_class_period_start_reason": same("01", count),
        "expiry_date_mh_act_legal_status_class": date_text(start + np.timedelta64(28, "D"), DAY),
        "expiry_time_mh_act_legal_status_class": None,
        "end_date_mh_act_legal_status_class": date_text(end, DAY),
        "end_time_mh_act_legal_status_class": clock_text(end),
        "legal_status_class_period_end_reason": spread(["01"], ended),
        "legal_status_code": known(stays.legal_status).take(pa.array(row)),
        "mental_cat": None,
    }
    return {
        "hosp_prov_spell": table(spell_columns),
        "ward_stay": table(ward_columns),
        "assigned_care_prof": table(professional_columns),
        "mha_period": table(legal_columns),
    }


def _coded_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Diagnoses, presenting complaint and scores of referrals."""
    rng = world.rng("mental_health.coded_tables")
    referrals = drawn.referrals
    conditions = world.catalogue.conditions
    every = np.arange(len(referrals.person))
    told = is_told(world, referrals.person)
    icd10 = undivided_padded(conditions["icd10"].to_numpy(dtype="U5"))
    snomed = conditions["snomed"].to_numpy(dtype="U18")
    by_icd10 = told | (rng.random(len(every)) < 0.6)
    diagnosed = referrals.received + np.timedelta64(5 * 86400, "s")
    alive = diagnosed.astype("datetime64[D]") <= world.last_day
    every = every[alive]
    number = referrals.number()

    def diagnosis(row: np.ndarray, column: str, code: np.ndarray, is_icd10: np.ndarray) -> pa.Table:
        columns = {
            "service_request_id": known(number[row]),
            "diag_scheme_in_use": spread(["06", "02"], is_icd10.astype(int)),
            column: known(code),
            "coded_diag_timestamp": _timestamp(diagnosed[row]),
        }
        return _of_referral(world, drawn, row, diagnosed[row], columns)

    def of(condition: np.ndarray, is_icd10: np.ndarray) -> np.ndarray:
        return np.where(is_icd10, icd10[condition], snomed[condition])

    names = conditions["name"].to_list()
    anxiety = names.index("Anxiety disorder")
    further = every[~told[every] & (rng.random(len(every)) < 0.25)]
    asked = every[told[every] | (rng.random(len(every)) < 0.5)]
    complaint = np.where(told[asked], 0, rng.integers(0, len(COMPLAINTS), len(asked)))
    assessed = every[rng.random(len(every)) < 0.6]
    tool = np.where(referrals.team[assessed] == care.OLDER, MINI_MENTAL, WELLBEING)
    points = np.floor(rng.beta(2, 2, len(assessed)) * 30)
    return {
        "med_hist_prev_diag": _previous_diagnoses(world, drawn, snomed),
        "prim_diag": diagnosis(every, "prim_diag", of(referrals.condition[every], by_icd10[every]), by_icd10[every]),
        "sec_diag": diagnosis(further, "sec_diag", of(np.full(len(further), anxiety), by_icd10[further]), by_icd10[further]),
        "score_referral": _of_referral(
            world,
            drawn,
            assessed,
            diagnosed[assessed],
            {
                "service_request_id": known(number[assessed]),
                "coded_ass_tool_type": known(tool),
                "pers_score": number_text(points, 0),
                "ass_tool_comp_timestamp": _timestamp(diagnosed[assessed]),
                "care_prof_local_id": numbered("MHP", 1 + assessed % STAFF, 4),
            },
        ),
        "pres_comp": _of_referral(
            world,
            drawn,
            asked,
            referrals.received[asked],
            {
                "service_request_id": known(number[asked]),
                "find_scheme_in_use": same("06", len(asked)),
                "pres_comp": spread(list(COMPLAINTS), complaint),
                "pres_comp_cod_sig": same("1", len(asked)),
                "pres_comp_date": date_text(referrals.received[asked], DAY),
            },
        ),
    }


def _previous_diagnoses(world: World, drawn: Care, snomed: np.ndarray) -> pa.Table:
    """The condition of a first referral as already known a year before it."""
    person, month, night = _first_months(world, drawn)
    first = np.full(len(world.population), -1)
    first[drawn.referrals.person[::-1]] = drawn.referrals.condition[::-1]
    known_since = _seen_in(world, drawn, person) - np.timedelta64(365 * 86400, "s")
    columns = {
        **_local_ids(world, person),
        "diag_scheme_in_use": same("06", len(person)),
        "prev_diag": spread(snomed, first[person]),
        "coded_diag_timestamp": _timestamp(known_since),
    }
    return _assembled(world, columns, person, month, night)


def _timestamp(when: np.ndarray) -> pa.Array:
    """Timestamps with the offset of British winter or summer time, months April to October taken as summer."""
    month = when.astype("datetime64[M]").astype(np.int64) % 12
    summer = ((month >= 3) & (month <= 9)).astype(int)
    texts = date_text(when, "yyyy-MM-ddTHH:mm:ss").to_numpy(zero_copy_only=False).astype("U19")
    return known(np.char.add(texts, np.array(SUMMER_TIME)[summer]))


def _reference_tables() -> dict[str, pa.Table]:
    """Staff, teams and wards."""
    month = np.array([np.datetime64("2024-04", "M")])

    def table(columns: dict[str, pa.Array | None], count: int) -> pa.Table:
        common = {
            "uniq_submission_id": submission_number(np.repeat(month, count)),
            "org_id_prov": same("RZM", count),
            "uniq_month_id": month_text(np.repeat(month, count)),
            "reporting_period_end_date": date_text(month_end(np.repeat(month, count)), DAY),
            "effective_from": date_text(np.repeat(month, count).astype("datetime64[s]"), STAMP),
        }
        nobody = np.full(count, -1)
        return assemble(columns | common, same("RZM", count), np.zeros(count, dtype=np.int8), nobody)

    staff = {
        "care_prof_local_id": numbered("MHP", np.arange(1, STAFF + 1), 4),
        "org_id_care_prof_local_id": same("RZM", STAFF),
        "prof_reg_body_code": spread(["03", "04"], np.arange(STAFF) % 2),
        "prof_reg_entry_id": numbered("98", np.arange(1, STAFF + 1), 5),
        "care_prof_staff_gp_mh": spread(["01", "02"], np.arange(STAFF) % 2),
        "main_spec_code_mh": spread(["710", "715", "950"], np.arange(STAFF) % 3),
        "occ_code": None,
        "care_prof_job_role_code": None,
    }
    team = {
        "care_prof_team_local_id": known(np.array([f"T{name}" for name in TEAMS])),
        "org_id_care_prof_team_local_id": same("RZM", len(TEAMS)),
        "serv_team_type_mh": known(np.array(TEAMS)),
        "serv_team_int_age_group": same("02", len(TEAMS)),
    }
    wards = len(WARD_CODES)
    ward = {
        "ward_code": known(np.array(WARD_CODES)),
        "site_id_of_treat": same(SITE, wards),
        "ward_intended_sex": same("8", wards),
        "ward_intended_clin_care_mh": same("51", wards),
        "ward_age": same("13", wards),
        "ward_type": same("01", wards),
        "ward_sec_level": same("0", wards),
        "locked_ward_ind": same("N", wards),
        "avail_bed_days": same("600", wards),
        "closed_bed_days": same("0", wards),
    }
    return {"staff": table(staff, STAFF), "team": table(team, len(TEAMS)), "ward": table(ward, wards)}


def _truth(world: World, drawn: Care) -> list[Truth]:
    """Spell, legal status, contacts, therapy, score, diagnosis and the death that one month alone tells."""
    referrals, contacts, stays = drawn.referrals, drawn.contacts, drawn.stays
    in_stay, in_contact = referrals.person[stays.referral], referrals.person[contacts.referral]
    scored = np.flatnonzero(contacts.position % 3 == 0)
    died = np.flatnonzero(~np.isnat(world.population.death_date[referrals.person]))
    icd10 = undivided_padded(world.catalogue.conditions["icd10"].to_numpy(dtype="U5"))[referrals.condition]
    diagnosed = referrals.received + np.timedelta64(5 * 86400, "s")
    source = "mental_health"
    return [
        *truths(world, source, "visit_occurrence", in_stay, "MHS501HospProvSpell", stays.start, INPATIENT_VISIT),
        *truths(world, source, "observation", in_stay, stays.legal_status, stays.start),
        *truths(world, source, "visit_occurrence", in_contact, "MHS201CareContact", contacts.at, OUTPATIENT_VISIT),
        *truths(world, source, "procedure_occurrence", in_contact, THERAPIES[0], contacts.at),
        *truths(world, source, "observation", in_contact[scored], PHQ9, contacts.at[scored], PHQ9_CONCEPT),
        *truths(world, source, "condition_occurrence", referrals.person, icd10, diagnosed),
        *truths(world, source, "death", referrals.person[died], "", world.population.death_date[referrals.person[died]]),
    ]
