"""The community extract: the Community Services Data Set v1.6 of one provider, repeated month by month."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import SourceData, Truth, World
from pipelines.synthetic.sources import community_care as care
from pipelines.synthetic.sources.children import is_told, number_within, truths
from pipelines.synthetic.sources.monthly import (
    clock_text,
    first_night_of_months,
    month_end,
    month_of,
    monthly_snapshots,
    received_at,
    submission_number,
)
from pipelines.synthetic.sources.rows import assemble, known, number_text, same
from pipelines.synthetic.sources.submitted_codes import undivided_padded
from pipelines.synthetic.text import date_text, numbered, replaced, spread

MOST_MONTHS = 14
STAFF = 25
PROVIDER = "RZC"
DAY = "yyyy-MM-dd"
STAMP = "yyyy-MM-dd HH:mm:ss"
NO_DAY = np.datetime64("NaT", "D")
SERVICES = (care.NURSING, care.HEALTH_VISITING, care.THERAPY)

PROCEDURES = ("409063005", "399684003", "182836005", "225323000", "91251008")
"""Counselling, care plan, review of medication, smoking cessation, physical therapy (SNOMED CT)."""
FINDINGS = ("1912002", "22253000", "77176002")
WEIGHT, SYSTOLIC, PULSE = "27113001", "271649006", "78564009"
OBSERVATIONS = ((WEIGHT, "kg", 74.0, 14.0), (SYSTOLIC, "mmHg", 134.0, 15.0), (PULSE, "/min", 76.0, 10.0))
DIAGNOSIS_SCHEMES = ("02", "04", "06")
MINI_MENTAL, ALCOHOL = "273617000", "273265007"
DISABILITIES = ("01", "02", "03", "05")
OUTPATIENT_VISIT = 9202


@dataclass(frozen=True)
class Care:
    """Everything that the provider does, as drawn."""

    referrals: care.Referrals
    contacts: care.Contacts
    immunisations: care.Immunisations


def build(world: World) -> SourceData:
    """Every table of the community extract, and what of it must be found in the published CDM."""
    referrals = care.draw_referrals(world)
    drawn = Care(referrals, care.draw_contacts(world, referrals), care.draw_immunisations(world))
    tables = {
        **_patient_tables(world, drawn),
        **_referral_tables(world, drawn),
        **_contact_tables(world, drawn),
        **_immunisation_tables(world, drawn),
        **_diagnosis_tables(world, drawn),
        "staff": _staff(),
    }
    return SourceData(tables, _truth(world, drawn))


def _assembled(
    world: World, columns: dict[str, pa.Array | None], person: np.ndarray, month: np.ndarray, night: np.ndarray
) -> pa.Table:
    """A table with the columns that every table of a submission has."""
    common = {
        "unique_submission_id": submission_number(month),
        "org_id_provider": spread(world.population.community_trust, person),
        "national_person_id": numbered("P", person, 9),
        "record_number": numbered("7", person, 9),
        "rp_end_date": date_text(month_end(month), DAY),
        "effective_from": date_text(received_at(month, night, world), STAMP),
    }
    return assemble(columns | common, spread(world.population.community_trust, person), night, person)


def _reported(world: World, columns: dict[str, pa.Array | None], person: np.ndarray, when: np.ndarray) -> pa.Table:
    """Rows reported in the month in which they happened."""
    return _assembled(world, columns, person, month_of(when), world.night_of(when))


def _local_ids(world: World, person: np.ndarray) -> dict[str, pa.Array | None]:
    return {"local_patient_id": spread(world.population.community_id, person)}


def _patient_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Patients, once for every month in which a referral is open, with their practice and the disabilities of a few."""
    rng = world.rng("community.patients")
    people, referrals, immunised = world.population, drawn.referrals, drawn.immunisations
    snapshots = monthly_snapshots(world, referrals.received, referrals.closed, MOST_MONTHS)
    person, month, night = first_night_of_months(
        np.concatenate([referrals.person[snapshots.thing], immunised.person]),
        np.concatenate([snapshots.month, month_of(immunised.day)]),
        np.concatenate([snapshots.night, world.night_of(immunised.day)]),
    )
    death = people.death_date[person]
    death = np.where((death <= world.last_day) & (month >= month_of(death)), death, NO_DAY)
    night = np.where(np.isnat(death), night, np.maximum(night, world.night_of(death)))
    has_number = (people.nhs_number != "")[person]
    columns = {
        **_local_ids(world, person),
        "org_id_local_patient_id": spread(people.community_trust, person),
        "org_id_education_establishment": None,
        "nhs_number": spread(people.nhs_number, person),
        "nhs_number_status": spread(["03", "01"], has_number.astype(int)),
        "date_of_birth": date_text(people.birth_date[person], DAY),
        "postcode": spread(people.postcode, person),
        "gender": spread(people.sex, person),
        "ethnic_category": spread(people.ethnicity, person),
        "ethnic_category_2021": None,
        "language_preferred": same("en", len(person)),
        "relationship_main_carer": None,
        "hvfav_date": None,
        "child_looked_after_indicator": None,
        "safeguarding_indicator": None,
        "disability_supervision_and_care_indicator": None,
        "education_assessment": None,
        "discussed_preferred_death_location_indicator": None,
        "risk_of_unexpected_death_indicator": None,
        "death_location_preferred_type": None,
        "date_of_death": date_text(death, DAY),
        "death_location_actual_type": None,
        "not_at_preferred_location_reason": None,
        "nhs_number_mother": None,
        "nhs_number_status_mother": None,
    }
    first = number_within(person) == 0
    once, first_month, first_night = person[first], month[first], night[first]
    practice = {
        **_local_ids(world, once),
        "org_id_gp": spread(people.gp_practice, once),
        "gp_registration_start_date": date_text(people.registered_on[once], DAY),
        "gp_registration_end_date": None,
    }
    disabled = ~is_told(world, once) & (rng.random(len(once)) < 0.05)
    disability = {
        **_local_ids(world, once[disabled]),
        "disability": spread(list(DISABILITIES), rng.integers(0, len(DISABILITIES), disabled.sum())),
        "disability_impact_perception": same("02", disabled.sum()),
    }
    return {
        "mpi": _assembled(world, columns, person, month, night),
        "gp": _assembled(world, practice, once, first_month, first_night),
        "disability_type": _assembled(world, disability, once[disabled], first_month[disabled], first_night[disabled]),
    }


def _referral_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Each referral once for every month in which it is open, and the team it was made to."""
    referrals = drawn.referrals
    snapshots = monthly_snapshots(world, referrals.received, referrals.closed, MOST_MONTHS)
    row = snapshots.thing
    person = referrals.person[row]
    closed = np.where(snapshots.is_closed, referrals.closed[row], np.datetime64("NaT", "s"))
    received = referrals.received[row]
    number = known(referrals.number())
    columns = {
        "service_request_id": number.take(pa.array(row)),
        **_local_ids(world, person),
        "org_id_commissioner": same("99X", len(row)),
        "referral_request_received_date": date_text(received, DAY),
        "referral_request_received_time": clock_text(received),
        "service_line_agreement": None,
        "source_of_referral": same("01", len(row)),
        "org_id_referring": spread(world.population.gp_practice, person),
        "referring_staff_group": None,
        "priority_type": same("1", len(row)),
        "primary_referral_reason": same("01", len(row)),
        "discharge_date": date_text(closed, DAY),
        "discharge_letter_issued_date": None,
    }
    service = np.array([SERVICES.index(name) for name in referrals.service], dtype=np.int64)
    team = {
        "service_request_id": number,
        "team_id_local": spread([f"CT{name}" for name in SERVICES], service),
        "team_type": spread(list(SERVICES), service),
        "referral_closure_date": None,
        "referral_rejection_date": None,
        "referral_closure_reason": None,
        "referral_rejection_reason": None,
    }
    return {
        "referral": _assembled(world, columns, person, snapshots.month, snapshots.night),
        "service_type_referred_to": _reported(world, team, referrals.person, referrals.received),
    }


def _contact_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Contacts, the activity of those attended with what was done and found, measurements and scores."""
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
    told = is_told(world, referrals.person[contacts.referral[seen]])
    act = known(replaced(contacts.number()[seen], "VC", "VA"))
    activity_columns = _activity_columns(rng, drawn, seen, told) | {
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
    scored = np.flatnonzero(~visited & (told | (rng.random(len(seen)) < 0.1)))
    score_columns = {
        "care_activity_id": act.take(pa.array(scored)),
        "snomed_id": spread([MINI_MENTAL, ALCOHOL], np.where(told[scored], 0, rng.integers(0, 2, len(scored)))),
        "score": number_text(rng.integers(10, 31, len(scored)).astype(float), 0),
    }

    def of_contact(row: np.ndarray, columns: dict[str, pa.Array | None]) -> pa.Table:
        return _reported(world, columns, referrals.person[contacts.referral[row]], contacts.at[row])

    return {
        "care_contact": of_contact(np.arange(count), contact_columns),
        "care_activity": of_contact(seen, activity_columns),
        "observation": of_contact(seen[weighed], observation_columns),
        "coded_assessment_contact": of_contact(seen[scored], score_columns),
    }


def _activity_columns(rng: np.random.Generator, drawn: Care, seen: np.ndarray, told: np.ndarray) -> dict[str, pa.Array | None]:
    """What was done in each activity, and in some what was found or measured; each column has a scheme list of its own."""
    count = len(seen)
    is_nursing = drawn.referrals.service[drawn.contacts.referral[seen]] == care.NURSING
    procedure = np.where(told, 0, rng.integers(0, len(PROCEDURES), count))
    found = np.where(~told & (rng.random(count) < 0.15), rng.integers(0, len(FINDINGS), count), -1)
    observed = np.where(is_nursing & (told | (rng.random(count) < 0.5)), rng.integers(0, len(OBSERVATIONS), count), -1)
    observed = np.where(told & is_nursing, 1, observed)
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


def _immunisation_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Immunisations by clinical code and by national immunisation type."""
    given = drawn.immunisations
    vaccines = world.catalogue.immunisations
    coded, typed = np.flatnonzero(given.by_code), np.flatnonzero(~given.by_code)
    return {
        "coded_immunisation": _reported(
            world,
            {
                **_local_ids(world, given.person[coded]),
                "immunisation_date": date_text(given.day[coded], DAY),
                "procedure_scheme": same("06", len(coded)),
                "immunisation_procedure": spread(vaccines["snomed"].to_list(), given.vaccine[coded]),
                "org_id_immunisation_responsible": spread(world.population.gp_practice, given.person[coded]),
            },
            given.person[coded],
            given.day[coded],
        ),
        "immunisation": _reported(
            world,
            {
                **_local_ids(world, given.person[typed]),
                "immunisation_date": date_text(given.day[typed], DAY),
                "childhood_immunisation_type": spread(vaccines["csds_type"].to_list(), given.vaccine[typed]),
                "org_id_immunisation_responsible": spread(world.population.gp_practice, given.person[typed]),
            },
            given.person[typed],
            given.day[typed],
        ),
    }


def _diagnosis_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Diagnoses of referrals in three coding schemes, what a patient had before, and scores of referrals."""
    rng = world.rng("community.diagnoses")
    referrals = drawn.referrals
    conditions = world.catalogue.conditions
    read = conditions["read"].to_numpy(dtype="U5")
    codes = [undivided_padded(conditions["icd10"].to_numpy(dtype="U5")), read, conditions["snomed"].to_numpy(dtype="U18")]
    diagnosed = np.flatnonzero(referrals.condition >= 0)
    day = referrals.received.astype("datetime64[D]")
    number = known(referrals.number())
    told = is_told(world, referrals.person)
    history = diagnosed[~told[diagnosed] & (rng.random(len(diagnosed)) < 0.3)]
    second = diagnosed[~told[diagnosed] & (rng.random(len(diagnosed)) < 0.2)]
    assumed = diagnosed[~told[diagnosed] & (rng.random(len(diagnosed)) < 0.1)]
    scored = diagnosed[told[diagnosed] | (rng.random(len(diagnosed)) < 0.3)]
    also = np.full(len(second), conditions["name"].to_list().index("Osteoarthritis"))

    def of(row: np.ndarray) -> np.ndarray:
        return referrals.condition[row]

    def coded(row: np.ndarray, column: str, condition: np.ndarray) -> dict[str, pa.Array | None]:
        scheme = np.where(told[row], 2, rng.integers(0, len(DIAGNOSIS_SCHEMES), len(row)))
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
        return _reported(world, columns, referrals.person[row], day[row])

    previous = {
        **_local_ids(world, referrals.person[history]),
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
        "medical_history": _reported(world, previous, referrals.person[history], day[history]),
        "provisional_diagnosis": of_referral(assumed, "provisional_diagnosis", "provisional_diagnosis_date", of(assumed)),
        "primary_diagnosis": of_referral(diagnosed, "primary_diagnosis", "primary_diagnosis_date", of(diagnosed)),
        "secondary_diagnosis": of_referral(second, "secondary_diagnosis", "secondary_diagnosis_date", also),
        "coded_assessment_referral": _reported(world, scores, referrals.person[scored], day[scored]),
    }


def _staff() -> pa.Table:
    """Nurses, health visitors and therapists."""
    month = np.repeat(np.array([np.datetime64("2024-04", "M")]), STAFF)
    columns = {
        "care_professional_id_local": numbered("CMP", np.arange(1, STAFF + 1), 4),
        "registration_body": same("04", STAFF),
        "registration_entry_id": numbered("97", np.arange(1, STAFF + 1), 5),
        "staff_group": spread(["01", "02"], np.arange(STAFF) % 2),
        "occupation_code": None,
        "job_role_code": None,
        "unique_submission_id": submission_number(month),
        "org_id_provider": same(PROVIDER, STAFF),
        "rp_end_date": date_text(month_end(month), DAY),
        "effective_from": date_text(month.astype("datetime64[s]"), STAMP),
    }
    return assemble(columns, same(PROVIDER, STAFF), np.zeros(STAFF, dtype=np.int8), np.full(STAFF, -1))


def _truth(world: World, drawn: Care) -> list[Truth]:
    """Contacts with what was done and measured, the reason for the referral, immunisations."""
    referrals, contacts, given = drawn.referrals, drawn.contacts, drawn.immunisations
    person = referrals.person[contacts.referral]
    nursed = np.flatnonzero(referrals.service[contacts.referral] == care.NURSING)
    diagnosed = np.flatnonzero(referrals.condition >= 0)
    snomed = world.catalogue.conditions["snomed"].to_numpy(dtype="U18")[referrals.condition[diagnosed]]
    coded = np.flatnonzero(given.by_code)
    vaccine = world.catalogue.immunisations["snomed"].to_numpy(dtype="U18")[given.vaccine[coded]]
    source = "community"
    return [
        *truths(world, source, "visit_occurrence", person, "CYP201CareContact", contacts.at, OUTPATIENT_VISIT),
        *truths(world, source, "procedure_occurrence", person, PROCEDURES[0], contacts.at),
        *truths(world, source, "measurement", person[nursed], SYSTOLIC, contacts.at[nursed]),
        *truths(world, source, "condition_occurrence", referrals.person[diagnosed], snomed, referrals.received[diagnosed]),
        *truths(world, source, "procedure_occurrence", given.person[coded], vaccine, given.day[coded]),
    ]
