"""DataQualityDashboard's checks: what each counts, on a few rows, and that their definitions fit the CDM."""

from datetime import date, datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.cdm import cdm_tables
from pipelines.quality.dqd import DqdCheck, DqdRule, dqd_checks, dqd_counts, dqd_results

SODIUM, GLUCOSE, PAIN_SCORE = 3019550, 3004501, 43055141
MMOL_L, MG_DL = 8753, 8840

Rows = list[dict[str, Any]]


def rows_of(session: SparkSession, table: str, rows: Rows) -> DataFrame:
    schema = cdm_tables("5.4")[table].schema
    ddl = ", ".join(f"{name} {kind}" for name, kind in schema.items())
    return session.createDataFrame([tuple(row.get(name) for name in schema) for row in rows], ddl)


def test_each_check_counts_what_the_dashboard_counts(sail: SparkSession) -> None:
    people: Rows = [
        {"person_id": 1, "year_of_birth": 1990},
        {"person_id": 2, "year_of_birth": 1990, "birth_datetime": datetime(1990, 9, 1)},
        {"person_id": 3, "year_of_birth": 1990},
    ]
    # Born on 1 June, as far as is known, and on 1 September.
    measurements: Rows = [
        {"person_id": 1, "measurement_concept_id": SODIUM, "measurement_date": date(1990, 5, 31), "unit_concept_id": MMOL_L},
        {"person_id": 1, "measurement_concept_id": SODIUM, "measurement_date": date(1990, 6, 1), "unit_concept_id": MG_DL},
        {"person_id": 1, "measurement_concept_id": SODIUM, "measurement_date": date(2020, 1, 1), "unit_concept_id": None},
        {"person_id": 1, "measurement_concept_id": SODIUM, "measurement_date": date(2020, 1, 1), "unit_concept_id": 0},
        {"person_id": 2, "measurement_concept_id": PAIN_SCORE, "measurement_date": date(1990, 8, 31), "unit_concept_id": None},
        {"person_id": 2, "measurement_concept_id": PAIN_SCORE, "measurement_date": date(1990, 9, 1), "unit_concept_id": MMOL_L},
        {"person_id": 2, "measurement_concept_id": 0, "measurement_date": date(2020, 1, 1), "measurement_source_value": "X"},
        {
            "person_id": 2,
            "measurement_concept_id": GLUCOSE,
            "measurement_date": date(2020, 1, 1),
            "measurement_source_value": "X",
        },
        {
            "person_id": 2,
            "measurement_concept_id": GLUCOSE,
            "measurement_date": date(2020, 1, 1),
            "measurement_source_value": "Y",
        },
    ]
    conditions: Rows = [
        {"condition_concept_id": 1, "condition_source_concept_id": 0, "condition_status_source_value": "active"},
        {"condition_concept_id": 1, "condition_source_concept_id": 5, "condition_status_concept_id": 0},
        {"condition_concept_id": 1, "condition_status_concept_id": 32902, "condition_status_source_value": "main"},
        {"condition_concept_id": 0, "condition_source_concept_id": 0},
    ]
    spells: Rows = [
        {"visit_start_date": date(2020, 1, 2), "visit_end_date": date(2020, 1, 1)},
        {"visit_start_date": date(2020, 1, 2), "visit_end_date": date(2020, 1, 2)},
    ]
    expected = {
        DqdCheck(DqdRule.PERSON_COMPLETENESS, "measurement", "", "", None, 0): (1, 3),
        DqdCheck(DqdRule.PERSON_COMPLETENESS, "observation_period", "", "", None, 0): (3, 3),
        DqdCheck(DqdRule.STANDARD_CONCEPT, "measurement", "measurement_concept_id", "", None, 5): (1, 9),
        DqdCheck(
            DqdRule.STANDARD_CONCEPT,
            "condition_occurrence",
            "condition_status_concept_id",
            "condition_status_source_value",
            None,
            5,
        ): (2, 3),
        DqdCheck(DqdRule.SOURCE_CONCEPT, "condition_occurrence", "condition_source_concept_id", "", None, 10): (2, 3),
        DqdCheck(DqdRule.SOURCE_VALUE, "measurement", "measurement_source_value", "measurement_concept_id", None, 10): (1, 3),
        DqdCheck(DqdRule.TEMPORAL_AFTER, "measurement", "measurement_date", "person.birth_datetime", None, 1): (2, 9),
        DqdCheck(DqdRule.TEMPORAL_AFTER, "visit_occurrence", "visit_end_date", "visit_start_date", None, 1): (1, 2),
        DqdCheck(DqdRule.UNITS, "measurement", "measurement_concept_id", f"{MMOL_L} 9557", SODIUM, 5): (1, 3),
        DqdCheck(DqdRule.UNITS, "measurement", "measurement_concept_id", "-1", PAIN_SCORE, 5): (1, 2),
        # Nothing to count: no row of the concept, of the table, or no table.
        DqdCheck(DqdRule.UNITS, "measurement", "measurement_concept_id", "-1", 3013682, 5): None,
        DqdCheck(DqdRule.STANDARD_CONCEPT, "specimen", "specimen_concept_id", "", None, 5): None,
        DqdCheck(DqdRule.STANDARD_CONCEPT, "drug_exposure", "drug_concept_id", "", None, 5): None,
    }
    tables: dict[str, Rows] = {
        "person": people,
        "measurement": measurements,
        "condition_occurrence": conditions,
        "visit_occurrence": spells,
        "observation_period": [],
        "specimen": [],
    }
    checks = tuple(expected)
    frames = {name: rows_of(sail, name, rows) for name, rows in tables.items()}
    counts = dqd_counts(checks, frames).toArrow().to_pylist()
    found = {result.check: (result.violated, result.counted) for result in dqd_results(checks, counts)}
    assert found == {check: pair for check, pair in expected.items() if pair is not None}


def test_a_share_at_the_limit_passes() -> None:
    check = DqdCheck(DqdRule.SOURCE_CONCEPT, "measurement", "measurement_source_concept_id", "", None, 10)
    shares = {(10, 100): True, (11, 100): False, (0, 3): True}
    for (violated, counted), passes in shares.items():
        (result,) = dqd_results([check], [{"position": 0, "violated": violated, "counted": counted}])
        assert result.passed is passes


def test_definitions_name_fields_of_the_cdm() -> None:
    cdm = cdm_tables("5.4")
    for check in dqd_checks():
        names = [name for name in (check.field, check.argument) if name and check.rule is not DqdRule.UNITS]
        fields = set(cdm[check.table].schema) | {"person.birth_datetime"}
        assert set(names) <= fields, str(check)
        assert 0 <= check.threshold < 100
        assert (check.concept is not None) == (check.rule is DqdRule.UNITS)
    assert len({str(check) + check.argument for check in dqd_checks()}) == len(dqd_checks())
