"""The GP extract: the EMIS bulk tables of every practice.

Specific traps: problems that duplicate their entry, EMIS-local codes, Read codes without dots, a code that differs from the
Type 1 dissent in case only, family history under the code of the illness, letters stored as consultations, year-only and
unknown dates, registrations that start on 1900-01-01, entries of unknown patients, issues without an authorisation.
"""

from datetime import date

import numpy as np
import pandas as pd

from pipelines.synthetic.population import SourceData, Story, Truth, World
from pipelines.synthetic.sources.gp_dictionary import (
    ClinicalCodes,
    clinical_code_columns,
    clinical_codes,
    drug_code_columns,
    drug_codes,
)
from pipelines.synthetic.sources.gp_practices import (
    agreement_table,
    code_table,
    open_surgery,
    organisation_table,
    patient_table,
    staff_table,
)
from pipelines.synthetic.sources.gp_record import (
    ENTRY_KINDS,
    HBA1C,
    Consultations,
    Entries,
    Issues,
    draw_consultations,
    draw_entries,
    draw_prescriptions,
)
from pipelines.synthetic.sources.gp_tables import (
    appointment_table,
    consultation_table,
    drug_record_table,
    issue_table,
    observation_table,
    problem_table,
    referral_table,
)
from pipelines.synthetic.text import guids


def build(world: World) -> SourceData:
    """All tables of the GP extract and the rows that must be in the published CDM."""
    codes, drugs = clinical_codes(world.catalogue), drug_codes(world.catalogue)
    surgery = open_surgery(world)
    consultations = draw_consultations(world)
    entries = draw_entries(world, codes, consultations)
    authorisations, issues = draw_prescriptions(world, codes, drugs, consultations, entries)
    consultation_guids = guids(world.rng("gp.consultation_guids"), len(consultations))
    entry_guids = guids(world.rng("gp.entry_guids"), len(entries))
    drug_guids = guids(world.rng("gp.authorisation_guids"), len(authorisations))
    code_columns, drug_columns = clinical_code_columns(codes), drug_code_columns(drugs)
    code_ids, drug_ids = code_columns["code_id"], drug_columns["code_id"]
    slots, slot_guids = appointment_table(surgery, consultations)
    tables = {
        "patient": patient_table(surgery),
        "organisation": organisation_table(surgery),
        "sharing_organisation": agreement_table(surgery),
        "user_in_role": staff_table(surgery),
        "consultation": consultation_table(surgery, consultations, consultation_guids, slot_guids),
        "observation": observation_table(surgery, codes, entries, entry_guids, consultation_guids, code_ids),
        "problem": problem_table(surgery, entries, entry_guids),
        "referral": referral_table(surgery, entries, entry_guids),
        "drug_record": drug_record_table(surgery, drugs, authorisations, drug_guids, entry_guids, drug_ids),
        "issue_record": issue_table(surgery, drugs, issues, drug_guids, consultation_guids, drug_ids),
        "appointment_slot": slots,
        "clinical_code": code_table(surgery, code_ids, code_columns),
        "drug_code": code_table(surgery, drug_ids, drug_columns),
    }
    return SourceData(tables, truth_of(world, codes, drugs, consultations, entries, issues))


def truth_of(
    world: World, codes: ClinicalCodes, drugs: pd.DataFrame, consultations: Consultations, entries: Entries, issues: Issues
) -> list[Truth]:
    """The truths: the first consultation of every story person, and the rows that the practice adds to each story."""
    people = world.population
    snomed = codes.rows["snomed"].to_numpy()[entries.code]
    kind = {name: entries.kind == number for number, name in enumerate(ENTRY_KINDS)}
    truth = []
    for number in np.flatnonzero(people.story != Story.ORDINARY):
        story = Story(people.story[number])
        of_person = entries.person == number
        found: list[tuple[str, str, np.datetime64]] = []
        seen = np.flatnonzero((consultations.person == number) & (consultations.source == 0))
        found += [("visit_occurrence", "GP Surgery", consultations.day[at]) for at in seen[:1]]
        if story in (Story.DIABETES, Story.MENTAL_HEALTH_SPELL, Story.COPD_EXACERBATION, Story.ELECTIVE_HIP):
            problems = np.flatnonzero(of_person & kind["Problem"])
            found += [("condition_occurrence", snomed[at], entries.day[at]) for at in problems]
        if story is Story.DIABETES:
            tests = np.flatnonzero(of_person & (snomed == HBA1C))
            found += [("measurement", HBA1C, entries.day[at]) for at in tests[:1]]
            issued = np.flatnonzero((issues.person == number) & (issues.consultation < 0))
            found += [("drug_exposure", drugs["dmd"].iloc[issues.drug[at]], issues.day[at]) for at in issued[:1]]
        if story is Story.IMMUNISATIONS:
            given = np.flatnonzero(of_person & kind["Immunisation"])
            found += [("drug_exposure", snomed[at], entries.day[at]) for at in given]
        if story is Story.DEATH:
            found.append(("death", "", people.death_date[number]))
        truth += [truth_at(story, int(number), *row) for row in found]
    return truth


def truth_at(story: Story, person: int, table: str, source_value: str, day: np.datetime64) -> Truth:
    """One truth."""
    first: date = day.astype("datetime64[D]").item()
    return Truth(story.name.lower(), person, "gp", table, source_value, first)
