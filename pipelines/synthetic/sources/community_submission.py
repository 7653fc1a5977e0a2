"""Submissions of the community provider: the columns of every table, patients and referrals."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.synthetic import places
from pipelines.synthetic.population import World
from pipelines.synthetic.sources import community_care as care
from pipelines.synthetic.sources.children import is_in_story, number_within
from pipelines.synthetic.sources.monthly import (
    clock_text,
    first_night_of_months,
    month_end,
    month_of,
    monthly_snapshots,
    received_at,
    submission_number,
)
from pipelines.synthetic.sources.rows import assemble, known, same
from pipelines.synthetic.text import date_text, numbered, spread

MOST_MONTHS = 14
STAFF = 25
PROVIDER = places.COMMUNITY_TRUST
DAY = "yyyy-MM-dd"
STAMP = "yyyy-MM-dd HH:mm:ss"
NO_DAY = np.datetime64("NaT", "D")
SERVICES = (care.NURSING, care.HEALTH_VISITING, care.THERAPY)
DISABILITIES = ("01", "02", "03", "05")
REFERRAL_REASON = "01"


@dataclass(frozen=True)
class Care:
    """The drawn activity of the provider."""

    referrals: care.Referrals
    contacts: care.Contacts
    immunisations: care.Immunisations


def submitted(
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


def reported(world: World, columns: dict[str, pa.Array | None], person: np.ndarray, when: np.ndarray) -> pa.Table:
    """A table of rows that are reported in the month in which they happened."""
    return submitted(world, columns, person, month_of(when), world.night_of(when))


def local_ids(world: World, person: np.ndarray) -> dict[str, pa.Array | None]:
    """The local number of each patient."""
    return {"local_patient_id": spread(world.population.community_id, person)}


def patient_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Patients, one row for every month with an open referral, their practices, and the disabilities of a few."""
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
        **local_ids(world, person),
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
        **local_ids(world, once),
        "org_id_gp": spread(people.gp_practice, once),
        "gp_registration_start_date": date_text(people.registered_on[once], DAY),
        "gp_registration_end_date": None,
    }
    disabled = ~is_in_story(world, once) & (rng.random(len(once)) < 0.05)
    disability = {
        **local_ids(world, once[disabled]),
        "disability": spread(list(DISABILITIES), rng.integers(0, len(DISABILITIES), disabled.sum())),
        "disability_impact_perception": same("02", disabled.sum()),
    }
    return {
        "mpi": submitted(world, columns, person, month, night),
        "gp": submitted(world, practice, once, first_month, first_night),
        "disability_type": submitted(world, disability, once[disabled], first_month[disabled], first_night[disabled]),
    }


def referral_tables(world: World, drawn: Care) -> dict[str, pa.Table]:
    """Referrals, one row for every month in which they are open, and the teams they were made to."""
    referrals = drawn.referrals
    snapshots = monthly_snapshots(world, referrals.received, referrals.closed, MOST_MONTHS)
    row = snapshots.thing
    person = referrals.person[row]
    closed = np.where(snapshots.is_closed, referrals.closed[row], np.datetime64("NaT", "s"))
    received = referrals.received[row]
    number = known(referrals.number())
    columns = {
        "service_request_id": number.take(pa.array(row)),
        **local_ids(world, person),
        "org_id_commissioner": same("99X", len(row)),
        "referral_request_received_date": date_text(received, DAY),
        "referral_request_received_time": clock_text(received),
        "service_line_agreement": None,
        "source_of_referral": same("01", len(row)),
        "org_id_referring": spread(world.population.gp_practice, person),
        "referring_staff_group": None,
        "priority_type": same("1", len(row)),
        "primary_referral_reason": same(REFERRAL_REASON, len(row)),
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
        "referral": submitted(world, columns, person, snapshots.month, snapshots.night),
        "service_type_referred_to": reported(world, team, referrals.person, referrals.received),
    }


def staff_table() -> pa.Table:
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
