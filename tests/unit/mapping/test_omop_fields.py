"""The OMOP fields that the documentation names for a field of the mapping language."""

import pytest

from pipelines.contracts.source import load_contracts
from pipelines.mapping.omop_fields import omop_fields, omop_table
from pipelines.mapping.spec import Rule, Target, load_mappings
from pipelines.settings import PACKAGED_MAPPINGS_DIR

CONTRACTS = load_contracts(PACKAGED_MAPPINGS_DIR)
RULES = {rule.name: rule for mapping in load_mappings(PACKAGED_MAPPINGS_DIR, CONTRACTS).values() for rule in mapping.rules}

SPECIALTY = ("specialty_concept_id", "specialty_source_value", "specialty_source_concept_id")

WITHOUT_A_FIELD = {
    *("key", "order", "recorded_on", "episode_key", "encounter_key"),
    *("came_by", "patient_classification", "conveyed", "destination_code", "open_until"),
}
"""Fields that only order, group, link or tell apart rows, in targets other than events."""


@pytest.mark.parametrize(
    ("rule", "field", "table", "fields"),
    [
        ("gp_person", "postcode_area", "person", ("location_id",)),
        ("gp_death", "type_concept_id", "death", ("death_type_concept_id",)),
        ("gp_care_site", "care_site_code", "care_site", ("care_site_source_value", "care_site_id")),
        ("gp_provider", "specialty", "provider", SPECIALTY),
        ("gp_registration", "type_concept_id", "observation_period", ("period_type_concept_id",)),
        ("gp_consultation", "start_date", "visit_occurrence", ("visit_start_date",)),
        ("gp_consultation", "concept", "visit_occurrence", ("visit_concept_id", "visit_source_concept_id")),
        ("gp_issue", "concept", "drug_exposure", ("drug_concept_id", "drug_source_concept_id")),
        ("gp_issue", "start_date", "drug_exposure", ("drug_exposure_start_date",)),
        ("gp_observation", "start_date", "observation", ("observation_date",)),
        ("gp_observation", "end_date", "observation", ()),
        ("mental_health_referral", "object", "episode", ("episode_object_concept_id",)),
        ("gp_observation", "unit", "observation", ("unit_concept_id", "unit_source_value")),
    ],
)
def test_a_field_ends_where_the_stage_puts_it(rule: str, field: str, table: str, fields: tuple[str, ...]) -> None:
    assert omop_table(RULES[rule]) == table
    assert omop_fields(RULES[rule], field) == fields


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_field_of_a_rule_for_a_table_of_its_own_ends_somewhere(rule: Rule) -> None:
    if rule.to is not Target.EVENT:
        assert [name for name in rule.fields if not omop_fields(rule, name) and name not in WITHOUT_A_FIELD] == []
    else:
        assert omop_fields(rule, "concept")
        assert omop_fields(rule, "start_date")
