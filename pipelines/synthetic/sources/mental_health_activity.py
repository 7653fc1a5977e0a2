"""Contacts and hospital spells of the mental health extract, with the rows that belong to them."""

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import World
from pipelines.synthetic.sources.children import is_in_story
from pipelines.synthetic.sources.mental_health_submission import (
    DAY,
    MOST_MONTHS,
    STAFF,
    Care,
    local_ids,
    of_referral,
    submitted,
)
from pipelines.synthetic.sources.monthly import clock_text, monthly_snapshots
from pipelines.synthetic.sources.rows import known, number_text, same
from pipelines.synthetic.text import date_text, numbered, replaced, spread

WARD_CODES = ("MHW01", "MHW02", "MHW03")
SITE = "RZM01"

THERAPIES = ("228557008", "75516001", "409063005", "399684003", "710841007")
"""Cognitive and behavioural therapy, psychotherapy, counselling, care plan, assessment of anxiety (SNOMED CT)."""
FINDINGS = ("6471006", "418420002", "73595000", "160903007")
QUALIFIED = ":408730004=385658003"
"""The context of a procedure after it, done: MHSDS procedures may be post-coordinated."""

PHQ9, GAD7 = "720433000", "445455005"
SCORES = ((PHQ9, 27), (GAD7, 21))


def contact_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Contacts, activities of attended contacts, their staff, and scores recorded in them."""
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
    in_story = is_in_story(world, referrals.person[contacts.referral[seen]])
    therapy = np.array(THERAPIES)[rng.integers(0, len(THERAPIES), seen_count)]
    therapy = np.where(in_story, THERAPIES[0], therapy)
    qualified = ~in_story & (rng.random(seen_count) < 0.05)
    found = np.where(~in_story & (rng.random(seen_count) < 0.3), rng.integers(0, len(FINDINGS), seen_count), -1)
    weighed = ~in_story & (rng.random(seen_count) < 0.15)
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
        return of_referral(world, drawn, contacts.referral[row], contacts.at[row], columns)

    return {
        "care_contact": of_contact(np.arange(count), contact_columns),
        "care_activity": of_contact(seen, activity_columns),
        "staff_activity": of_contact(seen, staff_columns),
        "score_activity": of_contact(seen[activity], score_columns),
    }


def stay_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Spells with their ward stays, professionals and legal status; an open spell is sent again when it has ended."""
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
        return submitted(world, columns, person, snapshots.month, snapshots.night)

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
        "site_id_of_treat": None,
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
        **local_ids(world, person),
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
