"""The mapping files of GP, ambulance and social care contain the expected rules."""

from pathlib import Path

import pytest

from pipelines.contracts.source import load_contract
from pipelines.mapping.spec import Mapping, Rule, load_mapping

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
VOCABULARY = MAPPINGS.parent / "vocab"
SOURCES = ("gp", "ambulance", "social_care")


@pytest.fixture(scope="module")
def mappings() -> dict[str, Mapping]:
    return {
        source: load_mapping(MAPPINGS / source / "mapping.yaml", load_contract(MAPPINGS / source / "contract.yaml"))
        for source in SOURCES
    }


def rule(mappings: dict[str, Mapping], name: str) -> Rule:
    return next(rule for mapping in mappings.values() for rule in mapping.rules if rule.name == name)


def reason_for(rule: Rule, column: str, value: str) -> str | None:
    """The reason under which a row with one decisive value is left out, or None."""
    for condition in rule.where:
        if condition.column == column:
            kept = condition.in_ is None or value in condition.in_
            if not kept or (condition.not_in and value in condition.not_in):
                return condition.reason
    return None


@pytest.mark.parametrize("source", SOURCES)
def test_every_event_of_a_visit_names_the_key_of_that_visit(mappings: dict[str, Mapping], source: str) -> None:
    columns = {rule.name: rule.fields["visit_key"].copy_ or "" for rule in mappings[source].rules if "visit_key" in rule.fields}
    assert columns
    assert [name for name, column in columns.items() if not column.rpartition(".")[2].endswith("_key")] == []


@pytest.mark.parametrize(
    ("category", "reason"),
    [
        ("Ethnicity", "ethnicity"),
        ("Administration", "administrative_entry"),
        ("Conditions", None),
        ("Biochemistry", None),
    ],
)
def test_gp_categories_that_are_no_facts_about_the_patient_make_no_event(
    mappings: dict[str, Mapping], category: str, reason: str | None
) -> None:
    found = None
    for condition in rule(mappings, "gp_observation").where:
        if condition.column == "code.emis_code_category_description" and category in (condition.not_in or ()):
            found = condition.reason
    assert found == reason


def test_letters_and_notes_are_no_visits(mappings: dict[str, Mapping]) -> None:
    consultation = rule(mappings, "gp_consultation")
    for term in ("Administration note", "Letter from outpatients", "Text message to patient"):
        assert reason_for(consultation, "consultation_source_term", term) == "administrative_entry"
    assert reason_for(consultation, "consultation_source_term", "GP Surgery") is None


def test_a_registration_from_1900_is_no_observation_period(mappings: dict[str, Mapping]) -> None:
    registration = rule(mappings, "gp_registration")
    assert reason_for(registration, "date_of_registration", "1900-01-01") == "unknown_start"
    assert reason_for(registration, "patient_type_description", "Temporary") == "not_fully_registered"


def test_local_codes_are_never_searched_for_in_a_national_terminology(mappings: dict[str, Mapping]) -> None:
    candidates = rule(mappings, "gp_observation").fields["concept"].concept or ()
    order = [(code.column, code.vocabulary) for code in candidates]
    for column, national in (("code.snomed_ct_concept_id", "SNOMED"), ("code.read_term_id", "Read")):
        assert order.index((column, "EMIS Local")) < order.index((column, national))


def test_a_relatives_illness_is_a_value_and_not_a_condition(mappings: dict[str, Mapping]) -> None:
    history = rule(mappings, "gp_family_history")
    assert history.domain == "Observation"
    assert history.fields["concept"].constant == 4167217
    assert history.fields["value"].concept


def test_only_issues_are_drug_exposures(mappings: dict[str, Mapping]) -> None:
    assert {mapping_rule.from_ for mapping_rule in mappings["gp"].rules if mapping_rule.domain == "Drug"} == {
        "issue_record",
        "observation",
    }


def test_attributes_of_the_person_are_taken_when_somebody_looked(mappings: dict[str, Mapping]) -> None:
    for name in ("dementia", "autism", "visual_impairment", "hearing_impairment", "accommodation", "employment"):
        attribute = rule(mappings, f"social_care_{name}")
        assert reason_for(attribute, "event_type", "Service") == "attribute_repeated"
        assert reason_for(attribute, "event_type", "Assessment") is None


def test_a_care_home_stay_is_a_visit_and_home_support_is_not(mappings: dict[str, Mapping]) -> None:
    stay = rule(mappings, "social_care_care_home_stay")
    assert reason_for(stay, "service_component", "Long term nursing care") is None
    assert reason_for(stay, "service_component", "Home support or domiciliary care") == "not_in_a_care_home"
