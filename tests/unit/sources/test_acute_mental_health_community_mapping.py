"""The mapping files of acute, mental health and community contain the expected rules."""

from pathlib import Path

import pytest

from pipelines.contracts.source import SourceContract, load_contract
from pipelines.mapping.spec import Mapping, Rule, VocabularyBy, load_mapping

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
VOCABULARY = MAPPINGS.parent / "vocab"
SOURCES = ("acute", "mental_health", "community")


@pytest.fixture(scope="module")
def contracts() -> dict[str, SourceContract]:
    return {source: load_contract(MAPPINGS / source / "contract.yaml") for source in SOURCES}


@pytest.fixture(scope="module")
def mappings(contracts: dict[str, SourceContract]) -> dict[str, Mapping]:
    return {source: load_mapping(MAPPINGS / source / "mapping.yaml", contracts[source]) for source in SOURCES}


def rule(mappings: dict[str, Mapping], name: str) -> Rule:
    return next(rule for mapping in mappings.values() for rule in mapping.rules if rule.name == name)


def scheme(mappings: dict[str, Mapping], name: str) -> dict[str, str]:
    """The coding schemes of the concept of a rule."""
    code = (rule(mappings, name).fields["concept"].concept or ())[0]
    assert isinstance(code.vocabulary, VocabularyBy)
    return code.vocabulary.values


@pytest.mark.parametrize("source", SOURCES)
def test_links_are_keyed_references(mappings: dict[str, Mapping], source: str) -> None:
    for mapping_rule in mappings[source].rules:
        for field in ("visit_key", "visit_detail_key", "provider_key", "preceding_key", "episode_key", "specimen_key"):
            if field in mapping_rule.fields:
                columns = mapping_rule.fields[field].columns
                assert columns, f"{mapping_rule.name}.{field}"
                assert all(column.endswith("_key") for column in columns), f"{mapping_rule.name}.{field}"


@pytest.mark.parametrize("source", SOURCES)
def test_no_rule_writes_free_text_or_names(
    mappings: dict[str, Mapping], contracts: dict[str, SourceContract], source: str
) -> None:
    for mapping_rule in mappings[source].rules:
        identifiers = {
            name
            for name, column in contracts[source].entities[mapping_rule.from_].columns.items()
            if column.identifier is not None
        }
        for field, how in mapping_rule.fields.items():
            assert not identifiers & set(how.columns), f"{mapping_rule.name}.{field}"


def test_results_and_visits_of_a_trust_share_their_kinds_of_key(
    mappings: dict[str, Mapping], contracts: dict[str, SourceContract]
) -> None:
    acute = contracts["acute"].entities
    keys = {
        ("acute_visit_spell", "key"): "spell",
        ("acute_visit_outpatient", "key"): "outpatient_attendance",
        ("acute_visit_emergency", "key"): "emergency_attendance",
        ("acute_visit_spell", "encounter_key"): "encounter",
        ("acute_visit_outpatient", "encounter_key"): "encounter",
        ("acute_visit_emergency", "encounter_key"): "encounter",
        ("acute_pathology_result", "visit_key"): "encounter",
        ("acute_vital_sign", "visit_key"): "encounter",
        ("acute_prescription", "visit_key"): "spell",
    }
    for (name, field), entity in keys.items():
        mapping_rule = rule(mappings, name)
        assert acute[mapping_rule.from_].references[mapping_rule.fields[field].copy_ or ""].entity == entity, (name, field)


def test_only_attended_appointments_become_visits(mappings: dict[str, Mapping]) -> None:
    for name, column in (
        ("acute_visit_outpatient", "attended_code"),
        ("mental_health_visit_contact", "attend_status"),
        ("community_visit_contact", "attendance_status"),
    ):
        assert {condition.column: condition.in_ for condition in rule(mappings, name).where}[column] == ("5", "6")


def test_uncoded_episodes_are_left_out_for_a_reason(mappings: dict[str, Mapping]) -> None:
    uncoded = rule(mappings, "acute_diagnosis_inpatient").where[0]
    assert "R69" in (uncoded.not_in or ())
    assert uncoded.reason == "not_coded_yet"


def test_each_column_of_the_monthly_data_sets_has_its_own_scheme_numbers(mappings: dict[str, Mapping]) -> None:
    assert scheme(mappings, "mental_health_activity_finding")["04"] == "SNOMED"
    assert "04" not in scheme(mappings, "mental_health_primary_diagnosis")
    assert scheme(mappings, "mental_health_presenting_complaint")["02"] == "ICD10"
    assert scheme(mappings, "community_primary_diagnosis")["04"] == "Read"
    assert scheme(mappings, "community_finding")["04"] == "SNOMED"
    assert scheme(mappings, "community_coded_observation")["03"] == "SNOMED"
    assert scheme(mappings, "community_finding")["03"] == "CTV3"


def test_the_date_of_death_is_read_from_every_month(mappings: dict[str, Mapping], contracts: dict[str, SourceContract]) -> None:
    assert contracts["mental_health"].entities["mpi"].key == ("local_patient_id", "uniq_month_id")
    assert rule(mappings, "mental_health_death").from_ == "mpi"
