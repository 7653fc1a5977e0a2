"""What the mapping language accepts, and its messages about wrong files."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pipelines.contracts.source import SourceContract, load_contract, load_contracts
from pipelines.errors import ContractError
from pipelines.mapping.compile import target_schema
from pipelines.mapping.spec import FIELDS, Mapping, Rule, Target, ValueOf, load_mapping, load_mappings
from pipelines.settings import PACKAGED_MAPPINGS_DIR

CONTRACT = SourceContract.model_validate(
    {
        "source": "gp",
        "title": "General practice",
        "entities": {
            "entry": {
                "grain": "one entry",
                "files": ["x"],
                "key": ["id"],
                "columns": {"id": {"identifier": "record_id"}, "day": {"type": "date"}, "code": {"type": "code"}},
            }
        },
    }
)

CODE = {"concept": [{"column": "code", "vocabulary": "Read"}]}
TYPE = {"constant": 32817, "note": "from a record"}
FILLED = {"concept": CODE, "start_date": {"copy": "day"}, "type_concept_id": TYPE}


def rule(**changes: Any) -> dict[str, Any]:
    return {"name": "r", "from": "entry", "to": "event", "domain": "Condition", "evidence": "coded", "fields": FILLED} | changes


def faults_of(content: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        Rule.model_validate(content)
    return str(caught.value)


def test_a_complete_rule_is_accepted() -> None:
    assert Rule.model_validate(rule()).fields["start_date"].columns == ("day",)


def test_every_unfitting_field_is_reported_at_once() -> None:
    fields = {"concept": {"copy": "code"}, "start_date": CODE, "colour": {"copy": "code"}}
    found = faults_of(rule(fields=fields, domain="Spaceship"))
    for fault in (
        "colour: event has no such field",
        "type_concept_id: required for event",
        "concept: needs a concept",
        "start_date: is not a concept field",
        "domain: expected one of Condition",
    ):
        assert fault in found


def test_only_the_concept_of_an_event_is_of_a_code() -> None:
    of_code = {"of": [{"column": "code", "vocabulary": "Read"}]}
    stated = {"constant": 3004249, "note": "Systolic blood pressure"} | of_code
    accepted = Rule.model_validate(rule(fields=FILLED | {"concept": stated}))
    assert accepted.fields["concept"].columns == ("code",)
    assert Mapping(source="gp", rules=(accepted,)).vocabularies == {"Read"}
    assert "type_concept_id: only the concept" in faults_of(rule(fields=FILLED | {"type_concept_id": TYPE | of_code}))
    assert "unit: only the concept" in faults_of(rule(fields=FILLED | {"unit": stated}))


def test_only_an_event_is_the_value_of_a_concept() -> None:
    allergy = {"concept": 43530807, "note": "Allergic disposition", "unless": ["Condition", "Observation"]}
    assert Rule.model_validate(rule(value_of=allergy)).value_of == ValueOf(
        concept=43530807, note="Allergic disposition", unless=("Condition", "Observation")
    )
    person = {"name": "gp_person", "from": "patient", "to": "person", "fields": {}, "value_of": allergy}
    assert "value_of: only events have values" in faults_of(person)
    assert "Illness: expected Condition" in faults_of(rule(value_of=allergy | {"unless": ["Illness", "Condition"]}))
    assert "unless" in faults_of(rule(value_of=allergy | {"unless": []}))


def test_events_have_a_key_exactly_where_the_rule_groups_them() -> None:
    keyed = FILLED | {"key": {"copy": "code"}}
    assert Rule.model_validate(rule(fields=keyed, group=True)).group
    for wrong in (rule(fields=keyed), rule(group=True)):
        assert "key: events have a key if, and only if" in faults_of(wrong)


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ({"copy": "code", "constant": 1}, "exactly one of"),
        ({}, "exactly one of"),
        ({"constant": 1}, "needs a note"),
        ({"copy": "code", "of": [{"column": "code", "vocabulary": "Read"}]}, "only a constant is of a code"),
        ({"expression": "guess"}, "unknown expression"),
        ({"concept": [{"vocabulary": "Read"}]}, "one of column or code"),
        ({"concept": [{"column": "code", "code": "1", "vocabulary": "Read"}]}, "one of column or code"),
    ],
)
def test_a_field_is_filled_in_exactly_one_way(how: dict[str, Any], fault: str) -> None:
    assert fault in faults_of(rule(fields=FILLED | {"status": how}))


@pytest.mark.parametrize(
    ("evidence", "fault"),
    [
        (None, "required for events"),
        ([], "required for events"),
        ("rumour", "should be 'reported', 'dispatched', 'suspected', 'coded', 'problem_list', 'laboratory' or 'history'"),
        ([{"column": "code", "present": "coded"}], "the last candidate, and no other"),
        (["coded", {"column": "code", "present": "suspected"}], "the last candidate, and no other"),
        (["coded", "suspected"], "the last candidate, and no other"),
        ([{"column": "code"}, "coded"], "give values or present"),
        ([{"column": "code", "values": {"1": "sure"}}, "coded"], "should be 'reported'"),
        ([{"column": "code", "value": {"1": "suspected"}}, "coded"], "Extra inputs"),
    ],
)
def test_events_say_how_they_are_known_by_one_grade_or_by_candidates_that_end_in_one(evidence: Any, fault: str) -> None:
    assert fault in faults_of(rule(evidence=evidence))


def test_only_events_have_a_grade_of_evidence() -> None:
    visit = rule(to="visit", domain=None)
    assert "evidence: required for events, and for them only" in faults_of(visit)
    assert Rule.model_validate(visit | {"evidence": None}).grades == ()


def test_columns_that_decide_evidence_have_to_exist_and_are_read(tmp_path: Path) -> None:
    decided = [{"column": "nowhere", "present": "suspected"}, {"column": "other.code", "values": {"1": "history"}}, "coded"]
    with pytest.raises(ContractError, match="evidence: no silver column nowhere"):
        load_mapping(write(tmp_path, rule(evidence=decided)), CONTRACT)
    read = Mapping.model_validate(
        {"source": "gp", "rules": [rule(evidence=[{"column": "grade", "present": "coded"}, "coded"])]}
    )
    assert read.columns_read["entry"] == {"day", "code", "grade"}


def test_a_condition_has_exactly_one_test() -> None:
    assert "exactly one of in" in faults_of(rule(where=[{"column": "code", "reason": "x"}]))
    assert "exactly one of in" in faults_of(rule(where=[{"column": "code", "in": ["1"], "present": True, "reason": "x"}]))


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({}, "one of column or expression"),
        ({"column": "code", "expression": "number_in", "args": {"text": "code"}}, "one of column or expression"),
        ({"expression": "guess"}, "unknown expression"),
    ],
)
def test_a_condition_tests_one_column_or_one_known_expression(value: dict[str, Any], fault: str) -> None:
    assert fault in faults_of(rule(where=[{"present": True, "reason": "x"} | value]))


def test_columns_of_a_condition_by_expression_have_to_exist(tmp_path: Path) -> None:
    where = [{"expression": "number_in", "args": {"text": "nowhere"}, "present": True, "reason": "x"}]
    with pytest.raises(ContractError, match=r"where\.x: no silver column nowhere"):
        load_mapping(write(tmp_path, rule(where=where)), CONTRACT)


def write(folder: Path, *rules: dict[str, Any], source: str = "gp") -> Path:
    path = folder / "gp" / "mapping.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({"source": source, "rules": list(rules)}), encoding="utf-8")
    return path


def test_names_that_are_not_in_the_contract_are_reported_together(tmp_path: Path) -> None:
    wrong = rule(
        where=[{"column": "nowhere", "present": True, "reason": "x"}],
        fields=FILLED | {"stop_reason": {"copy": "other.code"}},
        **{
            "with": {
                "other": {"entity": "gone", "on": "day"},
                "self": {"entity": "entry", "on": "day", "without": {"no": ["x"]}},
                "named": {"entity": "entry", "on": "row_key", "by": "day", "empty_first": ["none"]},
            }
        },
    )
    with pytest.raises(ContractError) as caught:
        load_mapping(write(tmp_path, wrong, source="acute"), CONTRACT)
    message = str(caught.value)
    for fault in (
        "where.x: no silver column nowhere",
        "fields.stop_reason",
        "no entity gone",
        "r.with.self.without: no silver column self.no",
        "r.with.named.by: entry has no reference day",
        "r.with.named.empty_first: no silver column named.none",
        "source: expected gp",
        "7 faults",
    ):
        assert fault in message


def test_only_of_several_rows_one_is_chosen(tmp_path: Path) -> None:
    wrong = rule(**{"with": {"self": {"entity": "entry", "on": "row_key", "empty_first": ["day"]}}})
    with pytest.raises(ContractError, match="only one of several rows is chosen"):
        load_mapping(write(tmp_path, wrong), CONTRACT)


def test_an_entity_that_a_rule_reads_or_that_is_not_there_cannot_be_unread(tmp_path: Path) -> None:
    path = write(tmp_path, rule())
    path.write_text(
        path.read_text(encoding="utf-8") + "unread: {entry: reference_data, gone: reference_data}", encoding="utf-8"
    )
    with pytest.raises(ContractError) as caught:
        load_mapping(path, CONTRACT)
    assert "unread.entry: a rule reads it" in str(caught.value)
    assert "unread.gone: no entity gone" in str(caught.value)


def test_one_name_of_two_lookups_from_an_entity_is_refused(tmp_path: Path) -> None:
    by_key = {"with": {"other": {"entity": "entry", "on": "row_key"}}}
    by_code = {"with": {"other": {"entity": "entry", "on": "code"}}}
    load_mapping(write(tmp_path, rule(**by_key), rule(name="s", **by_key)), CONTRACT)
    with pytest.raises(ContractError, match=r"s\.with\.other: in another rule from entry this name is of another lookup"):
        load_mapping(write(tmp_path, rule(**by_key), rule(name="s", **by_code)), CONTRACT)


def test_identifiers_cannot_be_mapped(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no silver column id"):
        load_mapping(write(tmp_path, rule(fields=FILLED | {"source_value": {"copy": "id"}})), CONTRACT)


def test_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, rule(), rule())
    with pytest.raises(ContractError, match="same name: r"):
        load_mappings(tmp_path, {"gp": CONTRACT})


def test_each_concept_field_has_four_columns_and_no_column_occurs_twice() -> None:
    for target in Target:
        schema = target_schema(target)
        for field, kind in FIELDS[target].items():
            parts = {f"{field}_{part}" for part in ("concept_id", "vocabulary", "code", "source_value")}
            assert parts <= schema.keys() if kind == "concept" else schema[field] == kind
    assert list(target_schema(Target.EVENT))[:5] == ["_source", "_entity", "_rule", "_row_key", "person_id"]


def test_columns_that_rules_read_are_known_by_entity_through_every_lookup() -> None:
    fields = FILLED | {"end_date": {"copy": "other.day"}, "visit_key": {"copy": "code"}}
    lookups = {
        "first": {"entity": "parent", "on": "day", "without": {"state": ["x"]}},
        "other": {"entity": "entry", "on": "first.link", "without": {"day": ["x"]}},
        "named": {"entity": "child", "on": "first.link", "by": "parent_key"},
    }
    where = [{"column": "first.kind", "present": True, "reason": "none"}]
    given = {"source": "gp", "rules": [rule(fields=fields, where=where, **{"with": lookups})]}
    assert Mapping.model_validate(given).columns_read == {
        "entry": {"day", "code"},
        "parent": {"link", "kind", "state"},
        "child": {"parent_key"},
    }


def test_columns_that_neither_a_rule_nor_curate_reads_are_known_by_entity() -> None:
    contracts = load_contracts(PACKAGED_MAPPINGS_DIR)
    mappings = load_mappings(PACKAGED_MAPPINGS_DIR, contracts)
    unread = {source: mapping.unread_columns(contracts[source]) for source, mapping in mappings.items()}
    assert "issue_method_description" in unread["gp"]["issue_record"]
    assert not {"quantity", "effective_date", "processing_id", "deleted"} & set(unread["gp"]["issue_record"])
    assert not {"slot_status", "mode_of_contact"} & set(unread["gp"]["appointment_slot"])  # by look-up
    assert unread["gp"]["organisation"] == ("cdb", "open_date", "close_date")
    assert unread["acute"]["apc_diagnosis"] == ("present_on_admission",)
    assert unread["community"]["service_type_referred_to"][0] == "team_type"  # of an entity that no rule reads


def test_columns_that_curate_needs_are_in_use() -> None:
    contract = load_contract(PACKAGED_MAPPINGS_DIR / "gp" / "contract.yaml")
    flags = {"deleted", "dummy_type", "patient_type_description", "spine_sensitive", "is_confidential"}
    patient = {"organisation_guid", "patient_guid", "processing_id", "nhs_number", "date_of_birth"}
    assert contract.entities["patient"].used_columns == patient | flags | {"postcode", "usual_gp_user_in_role_guid"}
    slot = contract.entities["appointment_slot"]
    assert slot.used_columns == {"organisation_guid", "slot_guid", "patient_guid", "processing_id", "deleted"}
