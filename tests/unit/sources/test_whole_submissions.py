"""A whole submission of a national data set is taken: every table of it is an entity or is passed over."""

import pytest

from pipelines.contracts.source import load_contract
from pipelines.ingest.landing import entity_of, is_passed_over
from pipelines.settings import PACKAGED_MAPPINGS_DIR

COMMUNITY = {
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

MENTAL_HEALTH = {
    "MHS000Header": None,
    "MHS001MPI": "mpi",
    "MHS002GP": "gp",
    "MHS003AccommStatus": "accommodation_status",
    "MHS004EmpStatus": "employment_status",
    "MHS005PatInd": None,
    "MHS006MHCareCoord": None,
    "MHS007DisabilityType": None,
    "MHS008CarePlanType": None,
    "MHS009CarePlanAgreement": None,
    "MHS010AssTechToSupportDisTyp": None,
    "MHS011SocPerCircumstances": None,
    "MHS012OverseasVisitorChargCat": None,
    "MHS013MHCurrencyModel": None,
    "MHS014eMED3FitNote": None,
    "MHS101Referral": "referral",
    "MHS102OtherServiceType": "other_service_type",
    "MHS102ServiceTypeReferredTo": "other_service_type",
    "MHS103OtherReasonReferral": None,
    "MHS104RTT": None,
    "MHS105OnwardReferral": None,
    "MHS106DischargePlanAgreement": None,
    "MHS107MedicationPrescription": None,
    "MHS201CareContact": "care_contact",
    "MHS202CareActivity": "care_activity",
    "MHS203OtherAttend": None,
    "MHS204IndirectActivity": None,
    "MHS205PatientSDDI": None,
    "MHS206StaffActivity": "staff_activity",
    "MHS301GroupSession": None,
    "MHS302MHDropInContact": None,
    "MHS401MHActPeriod": "mha_period",
    "MHS402RespClinicianAssignPeriod": None,
    "MHS403ConditionalDischarge": None,
    "MHS404CommTreatOrder": None,
    "MHS405CommTreatOrderRecall": None,
    "MHS501HospProvSpell": "hosp_prov_spell",
    "MHS502WardStay": "ward_stay",
    "MHS503AssignedCareProf": "assigned_care_prof",
    "MHS504DelayedDischarge": None,
    "MHS505RestrictiveIntervention": None,
    "MHS505RestrictiveInterventInc": None,
    "MHS506Assault": None,
    "MHS507SelfHarm": None,
    "MHS509HomeLeave": None,
    "MHS510LeaveOfAbsence": None,
    "MHS511AbsenceWithoutLeave": None,
    "MHS512HospSpellCommAssPer": None,
    "MHS513SubstanceMisuse": None,
    "MHS514TrialLeave": None,
    "MHS515RestrictiveInterventType": None,
    "MHS516PoliceAssistanceRequest": None,
    "MHS517SMHExceptionalPackOfCare": None,
    "MHS518ClinReadyforDischarge": None,
    "MHS601MedHistPrevDiag": "med_hist_prev_diag",
    "MHS603ProvDiag": "prov_diag",
    "MHS604PrimDiag": "prim_diag",
    "MHS605SecDiag": "sec_diag",
    "MHS606CodedScoreAssessmentRefer": "score_referral",
    "MHS607CodedScoreAssessmentCont": "score_activity",
    "MHS607CodedScoreAssessmentAct": "score_activity",
    "MHS608AnonSelfAssess": None,
    "MHS609PresComp": "pres_comp",
    "MHS701CPACareEpisode": None,
    "MHS702CPAReview": None,
    "MHS801ClusterTool": None,
    "MHS802ClusterAssess": None,
    "MHS803CareCluster": None,
    "MHS804FiveForensicPathways": None,
    "MHS901StaffDetails": "staff",
    "MHS902ServiceTeamDetails": "team",
    "MHS903WardDetails": "ward",
}
"""The same of the Mental Health Services Data Set, versions 4 to 6: the tables that NHS England counts
(https://github.com/NHSDigital/mental-health-monthly-statistics, coverage of tables by provider)."""

TABLES = [("community", *of) for of in COMMUNITY.items()] + [("mental_health", *of) for of in MENTAL_HEALTH.items()]
CONTRACTS = {
    source: load_contract(PACKAGED_MAPPINGS_DIR / source / "contract.yaml") for source in ("community", "mental_health")
}


@pytest.mark.parametrize(("source", "table", "entity"), TABLES, ids=[table for _, table, _ in TABLES])
def test_every_table_is_taken_or_passed_over(source: str, table: str, entity: str | None) -> None:
    contract = CONTRACTS[source]
    for name in (f"{table}.csv", f"{table.lower()}_RCM_202404.csv"):
        assert (entity_of(name, contract), is_passed_over(name, contract)) == (entity, entity is None)
