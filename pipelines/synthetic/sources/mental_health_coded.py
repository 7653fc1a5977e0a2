"""Diagnoses, complaints and scores of the mental health extract, and the tables of staff, teams and wards."""

import numpy as np
import pyarrow as pa

from pipelines.synthetic import places
from pipelines.synthetic.population import World
from pipelines.synthetic.sources import mental_health_care as care
from pipelines.synthetic.sources.children import is_in_story
from pipelines.synthetic.sources.mental_health_activity import SITE, WARD_CODES
from pipelines.synthetic.sources.mental_health_patients import TEAMS
from pipelines.synthetic.sources.mental_health_submission import (
    DAY,
    STAFF,
    STAMP,
    Care,
    first_months,
    first_received,
    local_ids,
    of_referral,
    submitted,
    timestamp_text,
)
from pipelines.synthetic.sources.monthly import month_end, month_text, submission_number
from pipelines.synthetic.sources.rows import assemble, known, number_text, same
from pipelines.synthetic.sources.submitted_codes import undivided_padded
from pipelines.synthetic.text import date_text, numbered, spread

COMPLAINTS = ("197480006", "6471006", "35489007")
WELLBEING, ALCOHOL, MINI_MENTAL = "718490000", "273265007", "273617000"
PROVIDER = places.MENTAL_HEALTH_TRUST

VERSION_6 = np.datetime64("2024-04-01")
"""From this day on no provisional diagnoses are submitted."""


def coded_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Diagnoses, presenting complaint and scores of referrals."""
    rng = world.rng("mental_health.coded_tables")
    referrals = drawn.referrals
    conditions = world.catalogue.conditions
    every = np.arange(len(referrals.person))
    in_story = is_in_story(world, referrals.person)
    icd10 = undivided_padded(conditions["icd10"].to_numpy(dtype="U5"))
    snomed = conditions["snomed"].to_numpy(dtype="U18")
    by_icd10 = in_story | (rng.random(len(every)) < 0.6)
    diagnosed = referrals.received + np.timedelta64(5 * 86400, "s")
    alive = diagnosed.astype("datetime64[D]") <= world.last_day
    every = every[alive]
    number = referrals.number()

    def diagnosis(
        row: np.ndarray, column: str, code: np.ndarray, is_icd10: np.ndarray, made: str = "coded_diag_timestamp"
    ) -> pa.Table:
        columns = {
            "service_request_id": known(number[row]),
            "diag_scheme_in_use": spread(["06", "02"], is_icd10.astype(int)),
            column: known(code),
            made: timestamp_text(diagnosed[row]),
        }
        return of_referral(world, drawn, row, diagnosed[row], columns)

    def of(condition: np.ndarray, is_icd10: np.ndarray) -> np.ndarray:
        code: np.ndarray = np.where(is_icd10, icd10[condition], snomed[condition])
        return code

    names = conditions["name"].to_list()
    anxiety = names.index("Anxiety disorder")
    assumed = every[~in_story[every] & (every % 4 == 0) & (diagnosed[every] < VERSION_6)]
    further = every[~in_story[every] & (rng.random(len(every)) < 0.25)]
    asked = every[in_story[every] | (rng.random(len(every)) < 0.5)]
    complaint = np.where(in_story[asked], 0, rng.integers(0, len(COMPLAINTS), len(asked)))
    assessed = every[rng.random(len(every)) < 0.6]
    tool = np.where(rng.random(len(assessed)) < 0.1, WELLBEING, ALCOHOL)
    tool = np.where(referrals.team[assessed] == care.OLDER, MINI_MENTAL, tool)
    points = np.floor(rng.beta(2, 2, len(assessed)) * 30)
    return {
        "med_hist_prev_diag": previous_diagnosis_table(world, drawn, snomed),
        "prov_diag": diagnosis(
            assumed,
            "prov_diag",
            of(referrals.condition[assumed], by_icd10[assumed]),
            by_icd10[assumed],
            made="coded_prov_diag_timestamp",
        ),
        "prim_diag": diagnosis(every, "prim_diag", of(referrals.condition[every], by_icd10[every]), by_icd10[every]),
        "sec_diag": diagnosis(further, "sec_diag", of(np.full(len(further), anxiety), by_icd10[further]), by_icd10[further]),
        "score_referral": of_referral(
            world,
            drawn,
            assessed,
            diagnosed[assessed],
            {
                "service_request_id": known(number[assessed]),
                "coded_ass_tool_type": known(tool),
                "pers_score": number_text(points, 0),
                "ass_tool_comp_timestamp": timestamp_text(diagnosed[assessed]),
                "care_prof_local_id": numbered("MHP", 1 + assessed % STAFF, 4),
            },
        ),
        "pres_comp": of_referral(
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


def previous_diagnosis_table(world: World, drawn: Care, snomed: np.ndarray) -> pa.Table:
    """The condition of a first referral, recorded as a diagnosis of the year before."""
    person, month, night = first_months(world, drawn)
    first = np.full(len(world.population), -1)
    first[drawn.referrals.person[::-1]] = drawn.referrals.condition[::-1]
    known_since = first_received(world, drawn, person) - np.timedelta64(365 * 86400, "s")
    columns = {
        **local_ids(world, person),
        "diag_scheme_in_use": same("06", len(person)),
        "prev_diag": spread(snomed, first[person]),
        "coded_diag_timestamp": timestamp_text(known_since),
    }
    return submitted(world, columns, person, month, night)


def reference_tables() -> dict[str, pa.Table]:
    """Staff, teams and wards."""
    month = np.array([np.datetime64("2024-04", "M")])

    def table(columns: dict[str, pa.Array | None], count: int) -> pa.Table:
        common = {
            "uniq_submission_id": submission_number(np.repeat(month, count)),
            "org_id_prov": same(PROVIDER, count),
            "uniq_month_id": month_text(np.repeat(month, count)),
            "reporting_period_end_date": date_text(month_end(np.repeat(month, count)), DAY),
            "effective_from": date_text(np.repeat(month, count).astype("datetime64[s]"), STAMP),
        }
        no_person = np.full(count, -1)
        return assemble(columns | common, same(PROVIDER, count), np.zeros(count, dtype=np.int8), no_person)

    staff = {
        "care_prof_local_id": numbered("MHP", np.arange(1, STAFF + 1), 4),
        "org_id_care_prof_local_id": same(PROVIDER, STAFF),
        "prof_reg_body_code": spread(["03", "04"], np.arange(STAFF) % 2),
        "prof_reg_entry_id": numbered("98", np.arange(1, STAFF + 1), 5),
        "care_prof_staff_gp_mh": spread(["01", "02"], np.arange(STAFF) % 2),
        "main_spec_code_mh": spread(["710", "715", "950"], np.arange(STAFF) % 3),
        "occ_code": None,
        "care_prof_job_role_code": None,
    }
    team = {
        "care_prof_team_local_id": known(np.array([f"T{name}" for name in TEAMS])),
        "org_id_care_prof_team_local_id": same(PROVIDER, len(TEAMS)),
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
