"""A whole submission of the Community Services Data Set is taken: every table of it is an entity or is passed over."""

import pytest

from pipelines.contracts.source import load_contract
from pipelines.ingest.landing import entity_of, is_passed_over
from pipelines.settings import PACKAGED_MAPPINGS_DIR

CONTRACT = load_contract(PACKAGED_MAPPINGS_DIR / "community" / "contract.yaml")

TABLES = {
    "CYP000Header": None,
    "CYP001MPI": "mpi",
    "CYP002GP": "gp",
    "CYP003AccomType": None,
    "CYP004CarePlanType": None,
    "CYP005CarePlanAgreement": None,
    "CYP006SocPerCircumstances": None,
    "CYP007EmpStatus": None,
    "CYP008OverseasVisitorChargCat": None,
    "CYP101Referral": "referral",
    "CYP102ServiceTypeReferredTo": "service_type_referred_to",
    "CYP103OtherReasonReferral": None,
    "CYP104RTT": None,
    "CYP105OnwardReferral": None,
    "CYP201CareContact": "care_contact",
    "CYP202CareActivity": "care_activity",
    "CYP301GroupSession": None,
    "CYP401SpecialEducationalNeed": None,
    "CYP402SVF": None,
    "CYP403CPP": None,
    "CYP404AssTechToSupportDisTyp": None,
    "CYP501CodedImm": "coded_immunisation",
    "CYP502Imm": "immunisation",
    "CYP601MedicalHistory": "medical_history",
    "CYP602DisabilityType": "disability_type",
    "CYP603NewbornHearingScreening": None,
    "CYP604BloodSpotResult": None,
    "CYP605IPE": None,
    "CYP606ProvDiag": "provisional_diagnosis",
    "CYP607PrimDiag": "primary_diagnosis",
    "CYP608SecDiag": "secondary_diagnosis",
    "CYP609CodedAssessmentReferral": "coded_assessment_referral",
    "CYP610BreastfeedingStatus": None,
    "CYP611Obs": "observation",
    "CYP612CodedAssessmentContact": "coded_assessment_contact",
    "CYP613AnonSelfAssessment": None,
    "CYP901StaffDetails": "staff",
}
"""The tables of version 1.6 with the entity that takes them; None: no rule needs them."""


@pytest.mark.parametrize(("table", "entity"), TABLES.items(), ids=TABLES)
def test_every_table_is_taken_or_passed_over(table: str, entity: str | None) -> None:
    for name in (f"{table}.csv", f"{table.lower()}_RCM_202404.csv"):
        assert (entity_of(name, CONTRACT), is_passed_over(name, CONTRACT)) == (entity, entity is None)
