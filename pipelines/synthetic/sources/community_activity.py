"""Contacts, immunisations and diagnoses of the community extract."""

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import World
from pipelines.synthetic.sources import community_care as care
from pipelines.synthetic.sources.children import is_in_story
from pipelines.synthetic.sources.community_submission import (
    DAY,
    PROVIDER,
    SERVICES,
    STAFF,
    Care,
    local_ids,
    reported,
)
from pipelines.synthetic.sources.monthly import clock_text
from pipelines.synthetic.sources.rows import known, number_text, same
from pipelines.synthetic.sources.submitted_codes import undivided_padded
from pipelines.synthetic.text import date_text, numbered, replaced, spread

PROCEDURES = ("409063005", "399684003", "182836005", "225323000", "91251008")
"""Counselling, care plan, review of medication, smoking cessation, physical therapy (SNOMED CT)."""
FINDINGS = ("1912002", "22253000", "77176002")
WEIGHT, SYSTOLIC, PULSE = "27113001", "271649006", "78564009"
OBSERVATIONS = ((WEIGHT, "kg", 74.0, 14.0), (SYSTOLIC, "mmHg", 134.0, 15.0), (PULSE, "/min", 76.0, 10.0))
DIAGNOSIS_SCHEMES = ("02", "04", "06")
MINI_MENTAL, ALCOHOL = "273617000", "273265007"


def contact_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Contacts, activities of attended contacts with procedures and findings, measurements and scores."""
    rng = world.rng("community.contact_tables")
    contacts, referrals = drawn.contacts, drawn.referrals
    number = known(contacts.number())
    count = len(contacts.at)
    service = np.array([SERVICES.index(name) for name in referrals.service], dtype=np.int64)[contacts.referral]
    contact_columns = {
        "care_contact_id": number,
        "service_request_id": known(referrals.number()).take(pa.array(contacts.referral)),
        "team_id_local": spread([f"CT{name}" for name in SERVICES], service),
        "contact_date": date_text(contacts.at, DAY),
        "contact_time": clock_text(contacts.at),
        "org_id_commissioner": same("99X", count),
        "admin_category": same("01", count),
        "care_contact_duration": spread(["20", "30", "45"], np.where(contacts.was_seen, rng.integers(0, 3, count), -1)),
        "consultation_type": same("01", count),
        "care_contact_subject": same("01", count),
        "cons_mechanism": spread(["01", "02"], (rng.random(count) < 0.15).astype(int)),
        "activity_location_type": spread(["A01", "B01", "E01"], service),
        "treatment_org_site_id": same(f"{PROVIDER}01", count),
        "group_therapy_indicator": same("N", count),
        "attendance_status": known(contacts.attended),
        "reasonable_offer_date": None,
        "clinically_appropriate_date": None,
        "contact_cancellation_date": None,
        "contact_cancellation_reason": None,
        "replacement_appointment_offered_date": None,
        "replacement_appointment_booked_date": None,
    }
    seen = np.flatnonzero(contacts.was_seen)
    in_story = is_in_story(world, referrals.person[contacts.referral[seen]])
    act = known(replaced(contacts.number()[seen], "VC", "VA"))
    activity_columns = _activity_columns(rng, drawn, seen, in_story) | {
        "care_activity_id": act,
        "care_contact_id": number.take(pa.array(seen)),
        "activity_type": same("01", len(seen)),
        "care_professional_id_local": numbered("CMP", 1 + seen % STAFF, 4),
        "care_activity_duration": same("20", len(seen)),
    }
    visited = referrals.service[contacts.referral[seen]] == care.HEALTH_VISITING
    weighed = np.flatnonzero(visited)
    person = referrals.person[contacts.referral[seen[weighed]]]
    years = (contacts.at[seen[weighed]].astype("datetime64[D]") - world.population.birth_date[person]).astype(np.int64) / 365.25
    weight = 3.4 + 6.6 * np.minimum(years, 1) + 2.2 * np.maximum(years - 1, 0) + rng.normal(0, 0.6, len(weighed))
    height = (50 + 25 * np.minimum(years, 1) + 8 * np.maximum(years - 1, 0) + rng.normal(0, 2, len(weighed))) / 100
    observation_columns = {
        "care_activity_id": act.take(pa.array(weighed)),
        "weight": number_text(np.maximum(weight, 2.0), 1),
        "height": number_text(np.where(years >= 2, height, np.nan), 2),
        "length": number_text(np.where(years < 2, height * 100, np.nan), 1),
    }
    scored = np.flatnonzero(~visited & (in_story | (rng.random(len(seen)) < 0.1)))
    score_columns = {
        "care_activity_id": act.take(pa.array(scored)),
        "snomed_id": spread([MINI_MENTAL, ALCOHOL], np.where(in_story[scored], 0, rng.integers(0, 2, len(scored)))),
        "score": number_text(rng.integers(10, 31, len(scored)).astype(float), 0),
    }

    def of_contact(row: np.ndarray, columns: dict[str, pa.Array | None]) -> pa.Table:
        return reported(world, columns, referrals.person[contacts.referral[row]], contacts.at[row])

    return {
        "care_contact": of_contact(np.arange(count), contact_columns),
        "care_activity": of_contact(seen, activity_columns),
        "observation": of_contact(seen[weighed], observation_columns),
        "coded_assessment_contact": of_contact(seen[scored], score_columns),
    }


def _activity_columns(
    rng: np.random.Generator, drawn: Care, seen: np.ndarray, in_story: np.ndarray
) -> dict[str, pa.Array | None]:
    """The procedure of each activity, and the finding or measurement of some; each column has its own scheme list."""
    count = len(seen)
    is_nursing = drawn.referrals.service[drawn.contacts.referral[seen]] == care.NURSING
    procedure = np.where(in_story, 0, rng.integers(0, len(PROCEDURES), count))
    found = np.where(~in_story & (rng.random(count) < 0.15), rng.integers(0, len(FINDINGS), count), -1)
    observed = np.where(is_nursing & (in_story | (rng.random(count) < 0.5)), rng.integers(0, len(OBSERVATIONS), count), -1)
    observed = np.where(in_story & is_nursing, 1, observed)
    mean, sd = np.array([(mean, sd) for *_, mean, sd in OBSERVATIONS]).T
    value = np.where(observed >= 0, rng.normal(mean[observed], sd[observed]), np.nan)
    return {
        "procedure_scheme": same("06", count),
        "coded_procedure": spread(list(PROCEDURES), procedure),
        "finding_scheme": spread(["04"], np.where(found >= 0, 0, -1)),
        "coded_finding": spread(list(FINDINGS), found),
        "observation_scheme": spread(["03"], np.where(observed >= 0, 0, -1)),
        "coded_observation": spread([code for code, *_ in OBSERVATIONS], observed),
        "observation_value": number_text(value, 0),
        "uc_unit_of_measurement": spread([unit for _, unit, *_ in OBSERVATIONS], observed),
    }


def immunisation_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Immunisations by clinical code and by national immunisation type."""
    given = drawn.immunisations
    vaccines = world.catalogue.immunisations
    coded, typed = np.flatnonzero(given.by_code), np.flatnonzero(~given.by_code)
    return {
        "coded_immunisation": reported(
            world,
            {
                **local_ids(world, given.person[coded]),
                "immunisation_date": date_text(given.day[coded], DAY),
                "procedure_scheme": same("06", len(coded)),
                "immunisation_procedure": spread(vaccines["snomed"].to_list(), given.vaccine[coded]),
                "org_id_immunisation_responsible": spread(world.population.gp_practice, given.person[coded]),
            },
            given.person[coded],
            given.day[coded],
        ),
        "immunisation": reported(
            world,
            {
                **local_ids(world, given.person[typed]),
                "immunisation_date": date_text(given.day[typed], DAY),
                "childhood_immunisation_type": spread(vaccines["csds_type"].to_list(), given.vaccine[typed]),
                "org_id_immunisation_responsible": spread(world.population.gp_practice, given.person[typed]),
            },
            given.person[typed],
            given.day[typed],
        ),
    }


def diagnosis_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Diagnoses of referrals in three coding schemes, previous diagnoses of patients, and scores of referrals."""
    rng = world.rng("community.diagnoses")
    referrals = drawn.referrals
    conditions = world.catalogue.conditions
    read = conditions["read"].to_numpy(dtype="U5")
    codes = [undivided_padded(conditions["icd10"].to_numpy(dtype="U5")), read, conditions["snomed"].to_numpy(dtype="U18")]
    diagnosed = np.flatnonzero(referrals.condition >= 0)
    day = referrals.received.astype("datetime64[D]")
    number = known(referrals.number())
    in_story = is_in_story(world, referrals.person)
    history = diagnosed[~in_story[diagnosed] & (rng.random(len(diagnosed)) < 0.3)]
    second = diagnosed[~in_story[diagnosed] & (rng.random(len(diagnosed)) < 0.2)]
    assumed = diagnosed[~in_story[diagnosed] & (rng.random(len(diagnosed)) < 0.1)]
    scored = diagnosed[in_story[diagnosed] | (rng.random(len(diagnosed)) < 0.3)]
    also = np.full(len(second), conditions["name"].to_list().index("Osteoarthritis"))

    def of(row: np.ndarray) -> np.ndarray:
        condition: np.ndarray = referrals.condition[row]
        return condition

    def coded(row: np.ndarray, column: str, condition: np.ndarray) -> dict[str, pa.Array | None]:
        scheme = np.where(in_story[row], 2, rng.integers(0, len(DIAGNOSIS_SCHEMES), len(row)))
        scheme = np.where((read[condition] == "") & (scheme == 1), 2, scheme)
        return {
            "diagnosis_scheme": spread(list(DIAGNOSIS_SCHEMES), scheme),
            column: known(np.choose(scheme, [texts[condition] for texts in codes])),
        }

    def of_referral(row: np.ndarray, column: str, date_column: str, condition: np.ndarray) -> pa.Table:
        columns = {
            "service_request_id": number.take(pa.array(row)),
            **coded(row, column, condition),
            date_column: date_text(day[row], DAY),
        }
        return reported(world, columns, referrals.person[row], day[row])

    previous = {
        **local_ids(world, referrals.person[history]),
        **coded(history, "previous_diagnosis", of(history)),
        "diagnosis_date": date_text(day[history] - 300, DAY),
    }
    scores = {
        "service_request_id": number.take(pa.array(scored)),
        "snomed_id": same(MINI_MENTAL, len(scored)),
        "score": number_text(rng.integers(10, 31, len(scored)).astype(float), 0),
        "assessment_completion_date": date_text(day[scored], DAY),
    }
    return {
        "medical_history": reported(world, previous, referrals.person[history], day[history]),
        "provisional_diagnosis": of_referral(assumed, "provisional_diagnosis", "provisional_diagnosis_date", of(assumed)),
        "primary_diagnosis": of_referral(diagnosed, "primary_diagnosis", "primary_diagnosis_date", of(diagnosed)),
        "secondary_diagnosis": of_referral(second, "secondary_diagnosis", "secondary_diagnosis_date", also),
        "coded_assessment_referral": reported(world, scores, referrals.person[scored], day[scored]),
    }
