"""Columns that identify a patient, the trust and its sites, equal in every file of the acute extract."""

import numpy as np
import pyarrow as pa

from pipelines.synthetic import places
from pipelines.synthetic.population import World
from pipelines.synthetic.sources.rows import assemble, known, same
from pipelines.synthetic.text import date_text, numbered, spread

SITES = ("01", "02")
TRUST_NAMES = ("Northern Vale", "Western Moor")
SPECIALTIES = ("110", "300", "320", "340", "100", "430", "101", "301")
NIGHT_OF_REFERENCE = 0


def identity_columns(world: World, person: np.ndarray) -> dict[str, pa.Array | None]:
    """NHS number with its status, and the local number that the trust uses."""
    has_number = (world.population.nhs_number != "")[person]
    return {
        "nhs_number": spread(world.population.nhs_number, person),
        "nhs_number_status": spread(["03", "01"], has_number.astype(int)),
        "local_patient_identifier": spread(world.population.acute_mrn, person),
    }


def patient_columns(world: World, person: np.ndarray) -> dict[str, pa.Array | None]:
    """Provider and site, identity and demographics of a commissioning data set row."""
    people = world.population
    return {
        "provider_org_code": spread(people.acute_trust, person),
        "site_code": site_codes(world, person),
        **identity_columns(world, person),
        "person_birth_date": date_text(people.birth_date[person], "yyyyMMdd"),
        "gender_code": spread(people.sex, person),
        "ethnic_category": spread(people.ethnicity, person),
        "postcode": spread(people.postcode, person),
        "gp_practice_code": spread(people.gp_practice, person),
    }


def site_codes(world: World, person: np.ndarray) -> pa.Array:
    """The site where each person is treated: every other person at the trust's second one."""
    sites = [trust + site for trust in places.ACUTE_TRUSTS for site in SITES]
    trust = np.searchsorted(np.array(places.ACUTE_TRUSTS), world.population.acute_trust[person])
    return spread(sites, trust * len(SITES) + person % len(SITES))


def organisation_table() -> pa.Table:
    """The trusts and their sites, delivered by each trust."""
    trusts = places.ACUTE_TRUSTS
    codes = [code for trust in trusts for code in (trust, *[trust + site for site in SITES])]
    kinds = ("Hospitals NHS Trust", "Infirmary", "General Hospital")
    names = [f"{trust} {kind}" for trust in TRUST_NAMES for kind in kinds]
    parents = [parent for trust in trusts for parent in ("", trust, trust)]
    count = len(codes)
    columns = {
        "org_code": known(np.array(codes)),
        "org_name": known(np.array(names)),
        "parent_org_code": known(np.array(parents)),
        "postcode": known(np.repeat(["PR1 9ZZ", "BB1 9ZZ"], count // len(trusts))),
        "role": known(np.array(["RO197", "RO198", "RO198"] * len(trusts))),
    }
    return assemble(columns, known(np.repeat(trusts, count // len(trusts))), *_reference(count))


def clinician_table(consultants: int) -> pa.Table:
    """The consultants of each trust."""
    trusts = places.ACUTE_TRUSTS
    number = np.tile(np.arange(consultants), len(trusts))
    columns = {
        "consultant_code": numbered("C99", 1 + number, 5),
        "registration_issuer": same("03", len(number)),
        "registration_number": numbered("99", 1 + number, 5),
        "main_specialty_code": spread(list(SPECIALTIES), number % len(SPECIALTIES)),
    }
    return assemble(columns, known(np.repeat(trusts, consultants)), *_reference(len(number)))


def _reference(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Night and person of reference rows: all from the first night and of no person."""
    return np.full(count, NIGHT_OF_REFERENCE), np.full(count, -1)
