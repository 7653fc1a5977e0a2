"""Patients of the mental health extract by month, attributes that are recorded once, and their referrals."""

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import World
from pipelines.synthetic.sources import mental_health_care as care
from pipelines.synthetic.sources.mental_health_submission import (
    DAY,
    MOST_MONTHS,
    Care,
    ends_of_referrals,
    first_months,
    first_received,
    local_ids,
    of_referral,
    open_months,
    submitted,
)
from pipelines.synthetic.sources.monthly import clock_text, month_of, monthly_snapshots
from pipelines.synthetic.sources.rows import known, same
from pipelines.synthetic.text import date_text, spread

TEAMS = (care.CRISIS, care.COMMUNITY, care.OLDER)


def patient_table(world: World, drawn: Care) -> pa.Table:
    """One row per patient and month; the date of death in the month of death only."""
    people = world.population
    person, month, night = open_months(world, drawn)
    death = people.death_date[person]
    died_here = (month_of(death) == month) & (death <= world.last_day)
    night = np.where(died_here, np.maximum(night, world.night_of(death)), night)
    has_number = (people.nhs_number != "")[person]
    count = len(person)
    columns = {
        **local_ids(world, person),
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
        "pers_death_date": date_text(np.where(died_here, death, np.datetime64("NaT", "D")), DAY),
    }
    return submitted(world, columns, person, month, night)


def registration_table(world: World, drawn: Care) -> pa.Table:
    """The practice of each patient, reported in the first month."""
    person, month, night = first_months(world, drawn)
    columns = {
        **local_ids(world, person),
        "gmp_reg": spread(world.population.gp_practice, person),
        "start_date_gmp_registration": date_text(world.population.registered_on[person], DAY),
        "end_date_gmp_registration": None,
    }
    return submitted(world, columns, person, month, night)


def accommodation_table(world: World, drawn: Care) -> pa.Table:
    """A type of accommodation of each patient, reported in the first month."""
    rng = world.rng("mental_health.accommodation")
    person, month, night = first_months(world, drawn)
    columns = {
        **local_ids(world, person),
        "accommodation_type": spread(["01", "02", "03", "04", "10"], rng.integers(0, 5, len(person))),
        "settled_accommodation_ind": same("Y", len(person)),
        "accommodation_type_date": date_text(first_received(world, drawn, person), DAY),
        "sch_placement_type": None,
        "accommodation_type_start_date": None,
        "accommodation_type_end_date": None,
    }
    return submitted(world, columns, person, month, night)


def employment_table(world: World, drawn: Care) -> pa.Table:
    """An employment status of each patient, reported in the first month."""
    rng = world.rng("mental_health.employment")
    person, month, night = first_months(world, drawn)
    columns = {
        **local_ids(world, person),
        "employ_status": spread(["01", "02", "03", "04", "05"], rng.integers(0, 5, len(person))),
        "employ_status_start_date": None,
        "employ_status_end_date": None,
        "employ_status_rec_date": date_text(first_received(world, drawn, person), DAY),
        "pat_prim_emp_cont_type_mh": None,
        "week_hours_worked": None,
    }
    return submitted(world, columns, person, month, night)


def reasons_for_referral(drawn: Care) -> np.ndarray:
    """The primary reason of each referral: in crisis (18), or else anxiety (05)."""
    return np.where(drawn.referrals.team == care.CRISIS, "18", "05")


def referral_table(world: World, drawn: Care) -> pa.Table:
    """Each referral once for every month in which it is open."""
    referrals = drawn.referrals
    ends = ends_of_referrals(world, drawn)
    snapshots = monthly_snapshots(world, referrals.received, ends, MOST_MONTHS)
    row = snapshots.thing
    person = referrals.person[row]
    closed = np.where(snapshots.is_closed, referrals.closed[row], np.datetime64("NaT", "s"))
    received = referrals.received[row]
    is_crisis = (referrals.team[row] == care.CRISIS).astype(int)
    reason = known(reasons_for_referral(drawn)).take(pa.array(row))
    columns = {
        "service_request_id": known(referrals.number()).take(pa.array(row)),
        **local_ids(world, person),
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
        "prim_reason_referral_mh": reason,
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
    return submitted(world, columns, person, snapshots.month, snapshots.night)


def _team_position(team: np.ndarray) -> np.ndarray:
    return np.array([TEAMS.index(name) for name in team], dtype=np.int64)


def other_service_table(world: World, drawn: Care) -> pa.Table:
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
    return of_referral(world, drawn, row, referrals.received[row], columns)
