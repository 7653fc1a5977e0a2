"""The mental health extract: the Mental Health Services Data Set v6 of one provider, repeated every month."""

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import SourceData, Truth, World
from pipelines.synthetic.sources import mental_health_care as care
from pipelines.synthetic.sources.children import contact_visits, truths
from pipelines.synthetic.sources.mental_health_activity import PHQ9, THERAPIES, contact_tables, stay_tables
from pipelines.synthetic.sources.mental_health_coded import coded_tables, reference_tables
from pipelines.synthetic.sources.mental_health_patients import (
    accommodation_table,
    employment_table,
    other_service_table,
    patient_table,
    reasons_for_referral,
    referral_table,
    registration_table,
)
from pipelines.synthetic.sources.mental_health_submission import Care
from pipelines.synthetic.sources.submitted_codes import undivided_padded

INPATIENT_VISIT = 9201
PHQ9_CONCEPT = 3042932
REFERRAL_EPISODE = 2_000_000_301


def build(world: World) -> SourceData:
    """Every table of the mental health extract, and the rows that must be in the published CDM."""
    referrals = care.draw_referrals(world)
    drawn = Care(referrals, care.draw_contacts(world, referrals), care.draw_stays(world, referrals))
    tables = {
        "mpi": patient_table(world, drawn),
        "gp": registration_table(world, drawn),
        "accommodation_status": accommodation_table(world, drawn),
        "employment_status": employment_table(world, drawn),
        "referral": referral_table(world, drawn),
        "other_service_type": other_service_table(world, drawn),
        **contact_tables(world, drawn),
        **stay_tables(world, drawn),
        **coded_tables(world, drawn),
        **reference_tables(),
    }
    return SourceData(tables, _truth(world, drawn, tables["care_contact"]))


def _truth(world: World, drawn: Care, contact: pa.Table) -> list[Truth]:
    """Truths of referral, spell, legal status, contacts, therapy, score and diagnosis."""
    referrals, contacts, stays = drawn.referrals, drawn.contacts, drawn.stays
    in_stay, in_contact = referrals.person[stays.referral], referrals.person[contacts.referral]
    scored = np.flatnonzero(contacts.position % 3 == 0)
    icd10 = undivided_padded(world.catalogue.conditions["icd10"].to_numpy(dtype="U5"))[referrals.condition]
    diagnosed = referrals.received + np.timedelta64(5 * 86400, "s")
    visits = contact_visits(contact["cons_mechanism_mh"], contact["act_loc_type_code"])
    source = "mental_health"
    reasons = reasons_for_referral(drawn)
    return [
        *truths(world, source, "episode", referrals.person, reasons, referrals.received, REFERRAL_EPISODE),
        *truths(world, source, "visit_occurrence", in_stay, "MHS501HospProvSpell", stays.start, INPATIENT_VISIT),
        *truths(world, source, "observation", in_stay, stays.legal_status, stays.start),
        *truths(world, source, "visit_occurrence", in_contact, "MHS201CareContact", contacts.at, visits),
        *truths(world, source, "procedure_occurrence", in_contact, THERAPIES[0], contacts.at),
        *truths(world, source, "observation", in_contact[scored], PHQ9, contacts.at[scored], PHQ9_CONCEPT),
        *truths(world, source, "condition_occurrence", referrals.person, icd10, diagnosed),
    ]
