"""What holds for the packaged mapping of every source."""

import csv
from functools import cache

import pytest

from pipelines.contracts.source import load_contracts
from pipelines.mapping.spec import FIELDS, Mapping, Target, load_mappings
from pipelines.settings import PACKAGED_MAPPINGS_DIR, SOURCES
from vocab.load import DEMO_DIR, LOCAL_DIR

ALWAYS = {Target.PERSON, Target.DEATH, Target.VISIT, Target.EVENT}
WITH_STAFF = ALWAYS | {Target.PROVIDER, Target.CARE_SITE}
REACHED = {"acute": WITH_STAFF, "mental_health": WITH_STAFF, "community": WITH_STAFF}


@cache
def mappings() -> dict[str, Mapping]:
    return load_mappings(PACKAGED_MAPPINGS_DIR, load_contracts(PACKAGED_MAPPINGS_DIR, SOURCES))


@cache
def concepts() -> set[str]:
    """The ids of the demonstration vocabulary and of our own concepts."""
    known = set()
    for folder in (DEMO_DIR, LOCAL_DIR):
        with (folder / "CONCEPT.csv").open(encoding="utf-8", newline="") as file:
            known |= {row["concept_id"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
    return known


@pytest.mark.parametrize("source", SOURCES)
def test_every_rule_has_a_note_the_name_of_its_source_and_a_reason_for_each_condition(source: str) -> None:
    for rule in mappings()[source].rules:
        assert rule.note, rule.name
        assert rule.name.startswith(f"{source}_")
        assert all(condition.reason for condition in rule.where), rule.name


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_reaches_people_deaths_visits_and_events(source: str) -> None:
    assert REACHED.get(source, ALWAYS) <= {rule.to for rule in mappings()[source].rules}


@pytest.mark.parametrize("source", SOURCES)
def test_constant_concepts_are_in_the_demonstration_vocabulary(source: str) -> None:
    for rule in mappings()[source].rules:
        for field, how in rule.fields.items():
            if how.constant is not None and (FIELDS[rule.to][field] == "concept" or field == "type_concept_id"):
                assert str(how.constant) in concepts(), f"{rule.name}.{field}"


def test_a_flag_of_yes_or_no_is_a_column_of_truth_values() -> None:
    """So that every spelling of them is understood."""
    contracts = load_contracts(PACKAGED_MAPPINGS_DIR).values()
    flags = [flag for contract in contracts for entity in contract.entities.values() for flag in entity.flags]
    assert [flag.column for flag in flags if flag.negated] == ["is_activated"]
    assert [flag.column for flag in flags if {*flag.values, *flag.cleared} & {"true", "false", "yes", "no"}] == []
