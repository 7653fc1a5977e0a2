"""Where events go whose rule states the concept, and what their source concept is; on the embedded engine."""

from datetime import date
from typing import Any

from pyspark.sql import SparkSession

from pipelines.mapping.spec import Rule, ValueOf
from pipelines.omop.codes import CODE_MAP_SCHEMA, CODES_SCHEMA, routes
from vocab.schemas import ddl_of

DAY = date(2024, 3, 4)
RULE = Rule.model_validate(
    {
        "name": "pressure",
        "from": "entry",
        "to": "event",
        "domain": "Measurement",
        "evidence": "coded",
        "fields": {
            "concept": {"constant": 3004249, "note": "systolic", "of": [{"column": "code", "vocabulary": "SNOMED"}]},
            "start_date": {"copy": "day"},
            "type_concept_id": {"constant": 32817, "note": "EHR"},
        },
    }
)


ALLERGY = Rule.model_validate(
    {
        "name": "allergy",
        "from": "entry",
        "to": "event",
        "domain": "Observation",
        "value_of": {"concept": 43530807, "note": "Allergic disposition", "unless": ["Condition", "Observation"]},
        "evidence": "coded",
        "fields": {
            "concept": {"concept": [{"column": "code", "vocabulary": "SNOMED"}]},
            "start_date": {"copy": "day"},
            "type_concept_id": {"constant": 32817, "note": "EHR"},
        },
    }
)


RELATIVE = ALLERGY.model_copy(
    update={"name": "relative", "value_of": ValueOf(concept=4167217, note="Family history", unless=("Observation",))}
)


def routed(sail: SparkSession, code: str | None, concept_id: int | None, rule: Rule = RULE) -> list[tuple[Any, ...]]:
    """The routes of one event: ordinal, table, target, source concept, value concept and origin."""
    vocabulary = "SNOMED" if code else None
    codes = [("event", "gp", "entry", rule.name, "concept", vocabulary, code, concept_id, 7, DAY, DAY)]
    code_map = [
        ("SNOMED", "two", 0, 11, 21, "Condition", 31, "athena"),
        ("SNOMED", "two", 1, 11, 22, "Procedure", 32, "athena"),
        ("SNOMED", "one", 0, 12, 23, "Observation", None, "athena"),
        ("SNOMED", "drug", 0, 13, 24, "Drug", 34, "athena"),
        ("SNOMED", "unmapped drug", 0, 14, 0, None, None, "none"),
        ("SNOMED", "unknown", 0, 0, 0, None, None, "none"),
    ]
    found = routes(
        sail.createDataFrame(codes, ddl_of(CODES_SCHEMA)),
        sail.createDataFrame(code_map, ddl_of(CODE_MAP_SCHEMA)),
        [RULE, ALLERGY, RELATIVE],
    ).collect()
    columns = ("ordinal", "table", "target_concept_id", "source_concept_id", "value_as_concept_id", "map_origin")
    return sorted(tuple(row[name] for name in columns) for row in found)


def test_a_stated_concept_has_the_source_concept_of_the_code_it_was_made_of(sail: SparkSession) -> None:
    assert routed(sail, "one", 3004249) == [(0, "measurement", 3004249, 12, None, None)]


def test_a_code_with_two_targets_is_one_event_where_the_rule_states_the_concept(sail: SparkSession) -> None:
    assert routed(sail, "two", 3004249) == [(0, "measurement", 3004249, 11, None, None)]
    assert routed(sail, "two", None) == [
        (0, "condition_occurrence", 21, 11, 31, "athena"),
        (1, "procedure_occurrence", 22, 11, 32, "athena"),
    ]


def test_a_stated_concept_without_a_known_code_has_no_source_concept(sail: SparkSession) -> None:
    assert routed(sail, "unknown", 3004249) == [(0, "measurement", 3004249, 0, None, None)]
    assert routed(sail, None, 3004249) == [(0, "measurement", 3004249, 0, None, None)]


def test_a_stated_concept_of_this_project_is_its_own_source_concept(sail: SparkSession) -> None:
    assert routed(sail, None, 2000000321) == [(0, "measurement", 2000000321, 2000000321, None, None)]
    assert routed(sail, "one", 2000000321) == [(0, "measurement", 2000000321, 12, None, None)]


def test_what_is_no_finding_is_the_value_of_the_concept_that_the_rule_has_for_it(sail: SparkSession) -> None:
    found = {code: routed(sail, code, None, ALLERGY) for code in ("one", "two", "drug", "unmapped drug", "unknown")}
    assert found == {
        "one": [(0, "observation", 23, 12, None, "athena")],
        "two": [(0, "condition_occurrence", 21, 11, 31, "athena"), (1, "observation", 43530807, 11, 22, "athena")],
        "drug": [(0, "observation", 43530807, 13, 24, "athena")],
        "unmapped drug": [(0, "observation", 0, 14, None, "none")],
        "unknown": [(0, "observation", 0, 0, None, "none")],
    }
    assert routed(sail, "drug", None) == [(0, "drug_exposure", 24, 13, 34, "athena")]


def test_an_illness_is_the_value_where_the_rule_takes_none_for_its_own(sail: SparkSession) -> None:
    assert {code: routed(sail, code, None, RELATIVE) for code in ("one", "two", "unknown")} == {
        "one": [(0, "observation", 23, 12, None, "athena")],
        "two": [(0, "observation", 4167217, 11, 21, "athena"), (1, "observation", 4167217, 11, 22, "athena")],
        "unknown": [(0, "observation", 0, 0, None, "none")],
    }
