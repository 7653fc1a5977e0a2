"""The keys of rows that break a failed check: the right ones, as many as are asked for, and no value of a row."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.cdm import delta_schema
from pipelines.contracts.derived import published_tables
from pipelines.contracts.gate_policy import GatePolicy
from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.quality.checks import Check, Rule, Severity
from pipelines.quality.checks import Zone as Checked
from pipelines.quality.failing import OTHER_RULES, failing_rows_table, has_rows, key_columns
from pipelines.quality.gates import FAILING_SCHEMA, Measured, judge
from pipelines.quality.policy import Policy
from pipelines.quality.row_rules import BROKEN
from vocab.schemas import ddl_of

CDM = published_tables("5.4")
CONDITION = "condition_occurrence"
SILVER = {"row_key": "string", "person_id": "bigint", "postcode_area": "string", "_withheld": "string"}
BRONZE = {"_load_id": "string", "_file": "string", "_line": "bigint", "sex": "string"}


def condition(number: int, **values: Any) -> dict[str, Any]:
    fine = {"condition_concept_id": 320128, "condition_source_value": "I10", "person_id": 11, "visit_occurrence_id": 21}
    day = {"condition_start_date": date(2024, 1, 1), "condition_end_date": date(2024, 1, 2)}
    return fine | day | {"condition_occurrence_id": number, "_row_key": f"k{number}"} | values


ROWS: dict[TableName, list[dict[str, Any]]] = {
    TableName(Zone.OMOP, CONDITION): [
        condition(1),
        condition(2, condition_source_value="x" * 51, condition_end_date=date(2023, 1, 1)),
        condition(3, condition_concept_id=9201, visit_occurrence_id=99),
        condition(4, condition_concept_id=77, person_id=None),
        condition(5, condition_concept_id=44821949, condition_source_value="NHS 999 000 0018"),
        condition(6, condition_concept_id=0),
        condition(6, condition_concept_id=0, person_id=2**53),
        condition(7, condition_concept_id=9201),
    ],
    TableName(Zone.OMOP, "visit_occurrence"): [{"visit_occurrence_id": 21}],
    TableName(Zone.VOCABULARY, "concept"): [
        {"concept_id": 0, "domain_id": "Metadata"},
        {"concept_id": 320128, "domain_id": "Condition", "concept_class_id": "Disorder", "standard_concept": "S"},
        {"concept_id": 9201, "domain_id": "Visit", "concept_class_id": "Visit", "standard_concept": "S"},
        {"concept_id": 44821949, "domain_id": "Condition", "concept_class_id": "Disorder"},
    ],
    TableName(Zone.SILVER, "gp_patient"): [
        {"row_key": "a", "person_id": 1, "postcode_area": "PR"},
        {"row_key": "b", "person_id": 1, "postcode_area": "PR1", "_withheld": "sex"},
    ],
    TableName(Zone.BRONZE, "gp_patient"): [
        {"_load_id": "L", "_file": "f", "_line": 1, "sex": "1"},
        {"_load_id": "L", "_file": "f", "_line": 2, "sex": "secret"},
        {"_load_id": "L", "_file": "f", "_line": 2, "sex": "2"},
    ],
}


NOTHING_WAIVED = GatePolicy()


@dataclass(frozen=True)
class Given:
    """Tables as written above."""

    session: SparkSession

    def read(self, zone: Zone, name: str) -> DataFrame:
        schemas: Mapping[Zone, Mapping[str, str]] = {Zone.BRONZE: BRONZE, Zone.SILVER: SILVER}
        schema = schemas.get(zone) or (CDM[name].schema if CDM[name].is_vocabulary else delta_schema(CDM[name]))
        rows = [tuple(row.get(column) for column in schema) for row in ROWS[TableName(zone, name)]]
        return self.session.createDataFrame(rows, ddl_of(schema))


def found(session: SparkSession, *checks: Check, most: int = 20, policy: GatePolicy = NOTHING_WAIVED) -> list[dict[str, Any]]:
    report = judge([Measured(check, 9, 9) for check in checks], Policy(policy, date(2026, 1, 5)))
    table = failing_rows_table(report, "20260105-00001", list(ROWS), CDM, most)
    made = table.make(Given(session))
    assert dict(made.dtypes) == FAILING_SCHEMA
    rows: list[dict[str, Any]] = made.toArrow().to_pylist()
    return rows


def omop(rule: Rule, column: str, argument: str = "") -> Check:
    return Check(Checked.OMOP, CONDITION, rule, column, argument)


CASES: list[tuple[Check, list[Any]]] = [
    (omop(Rule.REQUIRED, "person_id"), [4]),
    (omop(Rule.LENGTH, "condition_source_value", "50"), [2]),
    (omop(Rule.ID_RANGE, "person_id"), [6]),
    (omop(Rule.PERIOD, "condition_start_date", "condition_end_date"), [2]),
    (omop(Rule.CONTENTS, "condition_source_value,stop_reason"), [5]),
    (omop(Rule.UNIQUE, "condition_occurrence_id"), [6, 6]),
    (omop(Rule.AFTER, "condition_end_date", "condition_start_date"), [2]),
    (omop(Rule.FUTURE, "condition_end_date", "2024-01-01"), [1, 3, 4, 5, 6, 6, 7]),
    (omop(Rule.LOW, "condition_end_date", "2024-01-01"), [2]),
    (omop(Rule.HIGH, "condition_end_date", "2024-01-01"), [1, 3, 4, 5, 6, 6, 7]),
    (omop(Rule.CONCEPT_GIVEN, "condition_concept_id"), [6, 6]),
    (omop(Rule.SOURCE_CONCEPT_GIVEN, "condition_concept_id"), [6, 6]),
    (omop(Rule.FOREIGN_KEY, "visit_occurrence_id", "visit_occurrence.visit_occurrence_id"), [3]),
    (omop(Rule.CONCEPT, "condition_concept_id"), [4]),
    (omop(Rule.DOMAIN, "condition_concept_id", "Condition"), [3, 7]),
    (omop(Rule.CONCEPT_CLASS, "condition_concept_id", "Disorder"), [3, 7]),
    (omop(Rule.STANDARD, "condition_concept_id"), [5]),
    (Check(Checked.SILVER, "gp_patient", Rule.POSTCODE_AREA, "postcode_area"), ["row_key=b"]),
    (Check(Checked.SILVER, "gp_patient", Rule.WITHHELD, "_withheld"), ["row_key=b"]),
    (Check(Checked.BRONZE, "gp_patient", Rule.UNIQUE, "_load_id,_file,_line"), ["_load_id=L, _file=f, _line=2"] * 2),
]


def test_the_rows_that_break_each_rule_are_named_by_their_keys(sail: SparkSession) -> None:
    assert {check.rule for check, _ in CASES} == {*BROKEN, *OTHER_RULES}
    assert all(has_rows(check) for check, _ in CASES)
    rows = found(sail, *[check for check, _ in CASES])
    for check, expected in CASES:
        names = ("zone", "table", "column", "rule", "argument")
        keys = [row["key"] for row in rows if all(row[name] == str(getattr(check, name)) for name in names)]
        written = [key if isinstance(key, str) else f"condition_occurrence_id={key}, _row_key=k{key}" for key in expected]
        assert keys == written, str(check)
    assert not any(value in str(rows) for value in ("secret", "999 000 0018", "PR1"))


def test_no_more_rows_than_asked_for_and_those_with_the_least_keys(sail: SparkSession) -> None:
    domain = omop(Rule.DOMAIN, "condition_concept_id", "Condition")
    assert [row["key"] for row in found(sail, domain, most=1)] == ["condition_occurrence_id=3, _row_key=k3"]
    assert found(sail, domain, most=0) == []


def test_waived_checks_have_rows_and_warnings_and_checks_of_a_whole_table_have_none(sail: SparkSession) -> None:
    waiver = {"check": "required", "reason": "r", "owner": "o", "until": "2026-12-31"}
    policy = GatePolicy.model_validate({"waivers": [waiver]})
    warned = Check(Checked.OMOP, CONDITION, Rule.UNIQUE, "condition_occurrence_id", severity=Severity.WARN)
    whole = Check(Checked.OMOP, CONDITION, Rule.COLUMNS), Check(Checked.RUN, "gp", Rule.MAPPED)
    missing = Check(Checked.OMOP, "note", Rule.REQUIRED, "note_id")
    rows = found(sail, omop(Rule.REQUIRED, "person_id"), warned, *whole, missing, policy=policy)
    assert [(row["rule"], row["key"]) for row in rows] == [("required", "condition_occurrence_id=4, _row_key=k4")]


@pytest.mark.parametrize(
    ("zone", "table", "columns", "key"),
    [
        (Zone.OMOP, "person", ["person_id", "gender_concept_id"], ["person_id"]),
        (Zone.OMOP, "event_evidence", ["person_id", "event_table", "event_id"], ["person_id", "event_id"]),
        (Zone.OMOP, "death", ["person_id", "death_date", "_row_key"], ["person_id", "_row_key"]),
    ],
)
def test_a_table_without_a_primary_key_is_named_by_its_ids(zone: Zone, table: str, columns: list[str], key: list[str]) -> None:

    assert key_columns(TableName(zone, table), columns, CDM) == key
