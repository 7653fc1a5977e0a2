"""Names of earlier versions of MHSDS and CSDS, and data dictionary names, reach the columns of the contracts."""

from pathlib import Path

import pytest

from pipelines.contracts.source import SourceContract, load_contract
from pipelines.ingest.parse import layout_of

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
OLD_NAMES = {
    ("mental_health", "care_contact"): {
        "CareContactId": "care_contact_id",
        "ServiceRequestId": "service_request_id",
        "CareContDate": "care_cont_date",
        "AttendOrDNACode": "attend_status",
        "ConsMediumUsed": "cons_mechanism_mh",
        "OrgIDProvider": "org_id_prov",
    },
    ("mental_health", "care_activity"): {
        "CareActID": "care_act_id",
        "CareContactID": "care_contact_id",
        "CodeProcAndProcStatus": "procedure",
        "CodeFind": "finding",
        "CodeObs": "observation",
        "UnitMeasure": "unit_of_measurement_ucum",
    },
    ("mental_health", "hosp_prov_spell"): {
        "HospProvSpellNum": "hosp_prov_spell_id",
        "ServiceRequestID": "service_request_id",
        "StartDateHospProvSpell": "start_date_hosp_prov_spell",
        "SourceAdmCodeHospProvSpell": "source_adm_mh_hosp_prov_spell",
        "AdmMethCodeHospProvSpell": "meth_adm_mh_hosp_prov_spell",
        "DischMethCodeHospProvSpell": "meth_of_disch_mh_hosp_prov_spell",
        "DischDestCodeHospProvSpell": "dest_of_disch_hosp_prov_spell",
    },
    ("mental_health", "gp"): {
        "LocalPatientId": "local_patient_id",
        "GMPCodeReg": "gmp_reg",
        "StartDateGMPRegistration": "start_date_gmp_registration",
    },
    ("mental_health", "ward_stay"): {
        "WardStayId": "ward_stay_id",
        "HospProvSpellNum": "hosp_prov_spell_id",
        "StartDateWardStay": "start_date_ward_stay",
        "SiteIDOfTreat": "site_id_of_treat",
        "HospitalBedTypeMH": "mh_admitted_patient_class",
    },
    ("mental_health", "score_referral"): {
        "ServiceRequestId": "service_request_id",
        "CodedAssToolType": "coded_ass_tool_type",
        "PersScore": "pers_score",
        "AssToolCompDate": "ass_tool_comp_timestamp",
    },
    ("mental_health", "other_service_type"): {
        "ServiceRequestId": "service_request_id",
        "CareProfTeamLocalId": "other_care_prof_team_local_id",
        "ReferRejectionDate": "refer_rejection_date",
        "ReferRejectReason": "refer_reject_reason",
    },
    ("mental_health", "prov_diag"): {
        "ServiceRequestId": "service_request_id",
        "ProvDiag": "prov_diag",
        "ProvDiagDate": "coded_prov_diag_timestamp",
    },
    ("mental_health", "prim_diag"): {
        "ServiceRequestID": "service_request_id",
        "PrimDiag": "prim_diag",
        "DiagDate": "coded_diag_timestamp",
    },
    ("community", "mpi"): {
        "LOCAL PATIENT IDENTIFIER (EXTENDED)": "local_patient_id",
        "NHS NUMBER": "nhs_number",
        "NHS NUMBER STATUS INDICATOR CODE": "nhs_number_status",
        "PERSON BIRTH DATE": "date_of_birth",
        "PERSON STATED GENDER CODE": "gender",
        "ETHNIC CATEGORY": "ethnic_category",
        "PERSON DEATH DATE": "date_of_death",
        "REPORTING PERIOD END DATE": "rp_end_date",
        "EFFECTIVE FROM": "effective_from",
    },
    ("community", "care_contact"): {
        "CARE CONTACT IDENTIFIER": "care_contact_id",
        "SERVICE REQUEST IDENTIFIER": "service_request_id",
        "CARE CONTACT DATE": "contact_date",
        "CARE CONTACT TIME": "contact_time",
        "CLINICAL CONTACT DURATION OF CARE CONTACT": "care_contact_duration",
        "CONSULTATION MEDIUM USED": "cons_mechanism",
        "ATTENDED OR DID NOT ATTEND CODE": "attendance_status",
        "ORGANISATION SITE IDENTIFIER (OF TREATMENT)": "treatment_org_site_id",
    },
    ("community", "care_activity"): {
        "CARE ACTIVITY IDENTIFIER": "care_activity_id",
        "CARE CONTACT IDENTIFIER": "care_contact_id",
        "CARE PROFESSIONAL LOCAL IDENTIFIER": "care_professional_id_local",
        "CODED OBSERVATION (CLINICAL TERMINOLOGY)": "coded_observation",
        "OBSERVATION VALUE": "observation_value",
        "UCUM UNIT OF MEASUREMENT": "uc_unit_of_measurement",
    },
    ("community", "primary_diagnosis"): {
        "SERVICE REQUEST IDENTIFIER": "service_request_id",
        "DIAGNOSIS SCHEME IN USE": "diagnosis_scheme",
        "PRIMARY DIAGNOSIS (CODED CLINICAL ENTRY)": "primary_diagnosis",
        "DIAGNOSIS DATE": "primary_diagnosis_date",
    },
}


@pytest.fixture(scope="module")
def contracts() -> dict[str, SourceContract]:
    return {source: load_contract(MAPPINGS / source / "contract.yaml") for source in ("mental_health", "community")}


@pytest.mark.parametrize(("source", "entity"), OLD_NAMES)
def test_old_names_fill_the_columns_of_the_contract(contracts: dict[str, SourceContract], source: str, entity: str) -> None:
    names = OLD_NAMES[source, entity]
    # What the table requires beyond the old names, as its newest version writes it.
    columns = contracts[source].entities[entity].columns
    rest = {column.header: name for name, column in columns.items() if column.required and name not in names.values()}
    head = ",".join([*names, *filter(None, rest)]) + "\n"
    layout, faults = layout_of(head.encode(), contracts[source].entities[entity])
    assert [fault for fault in faults if "required" not in fault] == []
    assert layout is not None
    assert layout.columns == (*names.values(), *rest.values())


@pytest.mark.parametrize(
    ("source", "entity", "old", "new", "column"),
    [
        ("mental_health", "care_contact", "AttendOrDNACode", "AttendStatus", "attend_status"),
        ("mental_health", "score_referral", "AssToolCompDate", "AssToolCompTimestamp", "ass_tool_comp_timestamp"),
        ("community", "care_contact", "ATTENDED OR DID NOT ATTEND CODE", "ATTENDANCE STATUS", "attendance_status"),
    ],
)
def test_of_the_old_and_the_new_name_side_by_side_the_new_one_counts(
    contracts: dict[str, SourceContract], source: str, entity: str, old: str, new: str, column: str
) -> None:
    layout, _ = layout_of(f"{old},{new}\n".encode(), contracts[source].entities[entity])
    assert layout is not None
    assert layout.columns == (None, column)
    assert layout.others == ((column, 0),)
