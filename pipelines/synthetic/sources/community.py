"""The community extract: the Community Services Data Set v1.6 of one provider, repeated every month."""

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import SourceData, Truth, World
from pipelines.synthetic.sources import community_care as care
from pipelines.synthetic.sources.children import contact_visits, truths
from pipelines.synthetic.sources.community_activity import (
    PROCEDURES,
    SYSTOLIC,
    contact_tables,
    diagnosis_tables,
    immunisation_tables,
)
from pipelines.synthetic.sources.community_submission import (
    REFERRAL_REASON,
    Care,
    patient_tables,
    referral_tables,
    staff_table,
)

REFERRAL_EPISODE = 2_000_000_302


def build(world: World) -> SourceData:
    """Every table of the community extract, and the rows that must be in the published CDM."""
    referrals = care.draw_referrals(world)
    drawn = Care(referrals, care.draw_contacts(world, referrals), care.draw_immunisations(world))
    tables = {
        **patient_tables(world, drawn),
        **referral_tables(world, drawn),
        **contact_tables(world, drawn),
        **immunisation_tables(world, drawn),
        **diagnosis_tables(world, drawn),
        "staff": staff_table(),
    }
    return SourceData(tables, _truth(world, drawn, tables["care_contact"]))


def _truth(world: World, drawn: Care, contact: pa.Table) -> list[Truth]:
    """Truths of referrals, contacts with procedures and measurements, the reason for the referral, and immunisations."""
    referrals, contacts, given = drawn.referrals, drawn.contacts, drawn.immunisations
    person = referrals.person[contacts.referral]
    nursed = np.flatnonzero(referrals.service[contacts.referral] == care.NURSING)
    diagnosed = np.flatnonzero(referrals.condition >= 0)
    snomed = world.catalogue.conditions["snomed"].to_numpy(dtype="U18")[referrals.condition[diagnosed]]
    coded = np.flatnonzero(given.by_code)
    vaccine = world.catalogue.immunisations["snomed"].to_numpy(dtype="U18")[given.vaccine[coded]]
    visits = contact_visits(contact["cons_mechanism"], contact["activity_location_type"])
    source = "community"
    return [
        *truths(world, source, "episode", referrals.person, REFERRAL_REASON, referrals.received, REFERRAL_EPISODE),
        *truths(world, source, "visit_occurrence", person, "CYP201CareContact", contacts.at, visits),
        *truths(world, source, "procedure_occurrence", person, PROCEDURES[0], contacts.at),
        *truths(world, source, "measurement", person[nursed], SYSTOLIC, contacts.at[nursed]),
        *truths(world, source, "condition_occurrence", referrals.person[diagnosed], snomed, referrals.received[diagnosed]),
        *truths(world, source, "drug_exposure", given.person[coded], vaccine, given.day[coded]),
    ]
