"""The acute extract: commissioning data sets, emergency care, pathology, medicines and observations of two trusts."""

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import SourceData, Truth, World
from pipelines.synthetic.sources import acute_emergency as emergency
from pipelines.synthetic.sources import acute_inpatient as inpatient
from pipelines.synthetic.sources import acute_measures as measures
from pipelines.synthetic.sources import acute_medicines as medicines
from pipelines.synthetic.sources import acute_outpatient as outpatient
from pipelines.synthetic.sources.acute_patient import clinician_table, organisation_table
from pipelines.synthetic.sources.acute_spells import HIP_REPLACEMENT, Spells, draw_spells
from pipelines.synthetic.sources.children import truths
from pipelines.synthetic.sources.submitted_codes import undivided_padded

INPATIENT_VISIT, OUTPATIENT_VISIT, EMERGENCY_VISIT = 9201, 9202, 9203
PARACETAMOL = "322236009"


def build(world: World) -> SourceData:
    """Every table of the acute extract, and the rows that must be in the published CDM."""
    spells = draw_spells(world)
    episodes = inpatient.draw_episodes(world, spells)
    sent = inpatient.draw_submissions(world, spells, episodes)
    appointments = outpatient.draw_appointments(world, spells)
    attendances = emergency.draw_attendances(world, spells)
    orders = medicines.draw_orders(world, spells)
    requests = measures.draw_requests(world, spells, attendances, appointments)
    sets = measures.draw_observation_sets(world, spells, attendances)
    tables: dict[str, pa.Table] = {
        "apc_episode": inpatient.episode_table(world, spells, episodes, sent),
        "apc_diagnosis": inpatient.diagnosis_table(world, spells, episodes, sent),
        "apc_procedure": inpatient.procedure_table(world, spells, episodes, sent),
        "apc_ward_stay": inpatient.ward_stay_table(world, spells, episodes, sent),
        "critical_care_period": inpatient.critical_care_table(world, spells, episodes, sent),
        "op_attendance": outpatient.appointment_table(world, appointments),
        "op_diagnosis": outpatient.appointment_diagnosis_table(world, appointments),
        "op_procedure": outpatient.appointment_procedure_table(world, appointments),
        "ecds_attendance": emergency.attendance_table(world, attendances),
        "ecds_coded_item": emergency.coded_item_table(world, attendances),
        "pathology_result": measures.result_table(world, requests),
        "epma_prescription": medicines.prescription_table(world, spells, orders),
        "epma_administration": medicines.administration_table(world, spells, orders),
        "vital_sign": measures.observation_table(world, sets),
        "clinician": clinician_table(inpatient.CONSULTANTS),
        "organisation": organisation_table(),
    }
    truth = _stays(world, spells) + _attended(world, attendances, appointments) + _measured(world, requests, sets)
    return SourceData(tables, truth)


def _stays(world: World, spells: Spells) -> list[Truth]:
    """Spells with their reason, operation and first dose. Deaths come from the GP extract, the first source."""
    person, start = spells.person, spells.start
    operated = np.flatnonzero(spells.operation != "")
    hips = np.flatnonzero(spells.operation == HIP_REPLACEMENT)
    dose = start + np.timedelta64(3600, "s")
    return [
        *truths(world, "acute", "visit_occurrence", person, "1", start, INPATIENT_VISIT),
        *truths(world, "acute", "condition_occurrence", person, undivided_padded(spells.diagnosis), start),
        *truths(world, "acute", "procedure_occurrence", person[operated], spells.operation[operated], start[operated]),
        *truths(world, "acute", "procedure_occurrence", person[hips], inpatient.LATERALITY, start[hips]),
        *truths(world, "acute", "drug_exposure", person, PARACETAMOL, dose),
    ]


def _attended(world: World, attendances: emergency.Attendances, appointments: outpatient.Appointments) -> list[Truth]:
    return [
        *truths(world, "acute", "visit_occurrence", attendances.person, "01", attendances.arrival, EMERGENCY_VISIT),
        *truths(world, "acute", "visit_occurrence", appointments.person, "2", appointments.at, OUTPATIENT_VISIT),
    ]


def _measured(world: World, requests: measures.Encounters, sets: measures.Encounters) -> list[Truth]:
    systolic, haemoglobin, sample = measures.VITALS["systolic"], "HB", "EDTA blood"
    sampled = np.flatnonzero(requests.kind != "clinic")
    return [
        *truths(world, "acute", "measurement", sets.person, systolic, sets.at),
        *truths(world, "acute", "measurement", requests.person[sampled], haemoglobin, requests.at[sampled]),
        *truths(world, "acute", "specimen", requests.person[sampled], sample, requests.at[sampled]),
    ]
