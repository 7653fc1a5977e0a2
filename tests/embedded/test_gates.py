"""Every gate holds on a small valid lake of Delta tables, and is seen to fail on planted bad data."""

import shutil
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.derived import DERIVED_TABLES
from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import QualityGateError
from pipelines.quality.checks import Severity, omop_checks
from pipelines.quality.expectations.suites import Expectation
from pipelines.quality.expectations.tables import expectation_tables, expectations_measured
from pipelines.quality.gates import GATE_SCHEMA, GATE_TABLE, GateReport, GateResult, judge
from pipelines.quality.measure import MEASURE_SCHEMA
from pipelines.quality.tables import results_table, run_gates
from pipelines.runner import Runner
from pipelines.storage.tables import TableStore
from tests.builders.checked_lake import (
    CDM,
    CHECKED,
    CONTRACT,
    RUN_DATE,
    Checked,
    Plant,
    build_checked_lake,
    gates,
    measure,
    with_measures,
)
from tests.builders.policies import policy

CHECKS = 1114 + sum(len(list(omop_checks(table, RUN_DATE))) for table in DERIVED_TABLES.values())
"""How many checks the gates make of the tables of the CDM, of one source, and of the derived tables."""


@pytest.fixture(scope="module")
def lake(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> TableStore:
    return build_checked_lake(sail, tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def measured(lake: TableStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The measures of the valid lake, with what they were made from."""
    folder = tmp_path_factory.mktemp("measured")
    measure(with_measures(lake, folder))
    return folder


@pytest.fixture
def checked(lake: TableStore, measured: Path, tmp_path: Path) -> Checked:
    """Runs the gates on the valid lake with a later version of one table; what does not read it is not counted again."""
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)

    def check(zone: str, table: str, plant: Plant) -> GateReport:
        name = TableName(Zone(zone), table)
        store = with_measures(lake, tmp_path, name)
        shutil.copytree(lake.path(*name), store.path(*name))
        planted = plant(lake.read(*name)).write.format("delta").option("overwriteSchema", "true")
        planted.mode("overwrite").save(store.path(*name))
        return gates(store)

    return check


def value(column: str, new: object) -> Plant:
    return lambda rows: rows.withColumn(column, F.lit(new).cast(dict(rows.dtypes)[column]))


def test_a_valid_lake_passes_every_gate(lake: TableStore, tmp_path: Path) -> None:
    report = gates(with_measures(lake, tmp_path))
    report.require_passed()
    assert report.summary() == {"checks": CHECKS, "failed": 0, "warnings": 0, "waived": 0}


def test_a_value_that_was_taken_out_is_counted_and_stops_nothing(checked: Checked) -> None:
    report = checked("silver", "gp_patient", value("_withheld", "sex"))
    report.require_passed()
    assert [str(warning) for warning in report.warnings] == ["withheld on silver.gp_patient._withheld: 1 of 1"]


def test_measures_are_counted_again_only_where_a_checked_table_has_changed(lake: TableStore, tmp_path: Path) -> None:
    patients = TableName(Zone.SILVER, "gp_patient")
    store = with_measures(lake, tmp_path, patients)
    lake.read(*patients).write.format("delta").save(store.path(*patients))
    assert measure(store) == [
        "gate_measures_bronze_gp",
        "gate_measures_omop",
        "gate_measures_omop_concepts",
        "gate_measures_omop_links",
        "gate_measures_omop_people",
        "gate_measures_silver_gp",
        "gate_measures_vocabulary",
    ]
    assert measure(store) == []
    value("postcode_area", "PR1")(lake.read(*patients)).write.format("delta").mode("overwrite").save(store.path(*patients))
    assert measure(store) == ["gate_measures_silver_gp"]


def test_measures_hold_one_row_per_check_and_nothing_that_is_allowed(lake: TableStore, tmp_path: Path) -> None:
    store = with_measures(lake, tmp_path)
    measure(store)
    rows = store.paths.records(Zone.LEDGER, "gate_measures_omop", list(MEASURE_SCHEMA))
    periods = [row for row in rows if row["table"] == "visit_occurrence" and row["rule"] == "start_before_end"]
    assert sorted(periods, key=lambda row: row["column"]) == [
        {
            "zone": "omop",
            "table": "visit_occurrence",
            "column": f"visit_start_{kind}",
            "rule": "start_before_end",
            "argument": f"visit_end_{kind}",
            "rows": known,
            "violations": 0,
        }
        for kind, known in (("date", 1), ("datetime", 0))
    ]


def test_a_check_that_was_not_counted_stops_the_run(lake: TableStore, tmp_path: Path) -> None:
    store = with_measures(lake, tmp_path)
    with pytest.raises(QualityGateError, match=r"ledger\.gate_measures_bronze_gp holds no measures"):
        run_gates(store.paths, CHECKED, {"gp": CONTRACT}, CDM, RUN_DATE, [], policy())
    measure(store)
    measures = store.read(Zone.LEDGER, "gate_measures_bronze_gp").where("rule <> 'unique'")
    measures.write.format("delta").mode("overwrite").save(store.path(Zone.LEDGER, "gate_measures_bronze_gp"))
    with pytest.raises(
        QualityGateError, match=r"1 checks were not counted[\s\S]*unique on bronze\.gp_patient\._load_id,_file,_line"
    ):
        run_gates(store.paths, CHECKED, {"gp": CONTRACT}, CDM, RUN_DATE, [], policy())


def test_the_results_of_a_run_are_stored_beside_those_of_others(lake: TableStore, tmp_path: Path) -> None:
    store = with_measures(lake, tmp_path)
    report = gates(store)
    runner = Runner(store, tmp_path / "state.json")
    for run_id in ("r1", "r2", "r2"):
        runner.run([results_table(report, run_id)])
    stored = store.paths.records(Zone.LEDGER, GATE_TABLE, list(GATE_SCHEMA))
    assert [sum(record["run_id"] == run for record in stored) for run in ("r1", "r2")] == [CHECKS, CHECKS]
    results = {str(GateResult.of(record)) for record in stored if record["run_id"] == "r2"}
    assert results == {str(result) for result in report.results}


PLANTED: list[tuple[str, str, Plant, str]] = [
    ("bronze", "gp_patient", lambda rows: rows.drop("sex"), "columns on bronze.gp_patient: 1 of 7"),
    ("bronze", "gp_patient", value("_file", None), "required on bronze.gp_patient._file: 1 of 1"),
    ("bronze", "gp_patient", lambda rows: rows.unionAll(rows), "unique on bronze.gp_patient._load_id,_file,_line: 2 of 2"),
    ("silver", "gp_patient", lambda rows: rows.withColumn("extra", F.lit(1)), "columns on silver.gp_patient: 1 of 9"),
    (
        "silver",
        "gp_patient",
        lambda rows: rows.withColumn("nhs_number", F.lit("x")),
        "no_identifier on silver.gp_patient: 1 of 10",
    ),
    (
        "silver",
        "gp_patient",
        lambda rows: rows.withColumn("sex", F.lit(1).cast("bigint")),
        "columns on silver.gp_patient: 1 of 9",
    ),
    *[
        (
            "omop",
            "condition_occurrence",
            value("condition_source_value", planted),
            "contents on omop.condition_occurrence.stop_reason,condition_source_value,condition_status_source_value: 1 of 1",
        )
        for planted in ("NHS 999 000 0018", "PR1 2AB", "07700 900123", "a@example.org")
    ],
    ("silver", "gp_patient", value("person_id", None), "required on silver.gp_patient.person_id: 1 of 1"),
    ("silver", "gp_patient", lambda rows: rows.unionAll(rows), "unique on silver.gp_patient.row_key: 2 of 2"),
    ("silver", "gp_patient", value("person_id", 2**53), "id_range on silver.gp_patient.person_id: 1 of 1"),
    ("silver", "gp_patient", value("postcode_area", "PR1"), "postcode_area on silver.gp_patient.postcode_area: 1 of 1"),
    ("omop", "person", lambda rows: rows.unionAll(rows), "unique on omop.person.person_id: 2 of 2"),
    ("omop", "person", value("year_of_birth", None), "required on omop.person.year_of_birth: 1 of 1"),
    ("omop", "person", lambda rows: rows.where("false"), "foreign_key on omop.visit_occurrence.person_id: 1 of 1"),
    (
        "omop",
        "condition_occurrence",
        value("visit_occurrence_id", 99),
        "foreign_key on omop.condition_occurrence.visit_occurrence_id: 1 of 1",
    ),
    (
        "omop",
        "condition_occurrence",
        value("condition_source_value", "x" * 51),
        "length on omop.condition_occurrence.condition_source_value: 1 of 1",
    ),
    (
        "omop",
        "condition_occurrence",
        value("condition_concept_id", 77),
        "concept_known on omop.condition_occurrence.condition_concept_id: 1 of 1",
    ),
    (
        "omop",
        "condition_occurrence",
        value("condition_concept_id", 2_000_000_009),
        "concept_known on omop.condition_occurrence.condition_concept_id: 1 of 1",
    ),
    (
        "omop",
        "condition_occurrence",
        value("condition_concept_id", 9201),
        "concept_domain on omop.condition_occurrence.condition_concept_id: 1 of 1",
    ),
    (
        "omop",
        "condition_occurrence",
        value("condition_concept_id", 44821949),
        "concept_standard on omop.condition_occurrence.condition_concept_id: 1 of 1",
    ),
    ("omop", "cdm_source", lambda rows: rows.where("false"), "not_empty on omop.cdm_source: 1 of 1"),
    (
        "omop",
        "visit_occurrence",
        value("visit_end_date", date(2064, 1, 1)),
        "not_in_future on omop.visit_occurrence.visit_end_date: 1 of 1",
    ),
    (
        "omop",
        "measurement",
        value("measurement_datetime", "2025-01-02 00:00:01"),
        "not_in_future on omop.measurement.measurement_datetime: 1 of 1",
    ),
    ("omop", "condition_occurrence", value("_rule", None), "required on omop.condition_occurrence._rule: 1 of 1"),
    ("omop", "condition_occurrence", value("_evidence", None), "required on omop.condition_occurrence._evidence: 1 of 1"),
    ("omop", "condition_occurrence", lambda rows: rows.drop("stop_reason"), "columns on omop.condition_occurrence: 1 of 25"),
    (
        "omop",
        "visit_occurrence",
        value("visit_end_date", date(2023, 1, 1)),
        "start_before_end on omop.visit_occurrence.visit_start_date: 1 of 1, 1.0% allowed",
    ),
    (
        "omop",
        "observation_period",
        value("observation_period_end_date", date(2022, 1, 1)),
        "start_before_end on omop.observation_period.observation_period_start_date: 1 of 1",
    ),
    (
        "omop",
        "observation_period",
        value("observation_period_id", 0),
        "id_range on omop.observation_period.observation_period_id: 1 of 1",
    ),
]


@pytest.mark.parametrize(("zone", "table", "plant", "message"), PLANTED, ids=[case[3].split(":")[0] for case in PLANTED])
def test_a_planted_fault_is_named_with_rule_table_and_count(
    checked: Checked, zone: str, table: str, plant: Plant, message: str
) -> None:
    report = checked(zone, table, plant)
    with pytest.raises(QualityGateError) as error:
        report.require_passed()
    assert f"  {message}" in str(error.value).splitlines()


@pytest.mark.parametrize("concept", [0, 2_000_000_001])
def test_an_unmapped_and_a_local_concept_pass(checked: Checked, concept: int) -> None:
    checked("omop", "condition_occurrence", value("condition_concept_id", concept)).require_passed()


def test_a_missing_table_fails_and_so_does_what_points_to_it(lake: TableStore, tmp_path: Path) -> None:
    there = CHECKED - {TableName(Zone.OMOP, "visit_occurrence")}
    failures = {str(failure) for failure in gates(with_measures(lake, tmp_path), there).failures}
    assert failures == {
        "exists on omop.visit_occurrence: 1 of 1",
        "foreign_key on omop.condition_occurrence.visit_occurrence_id: 1 of 1",
    }


def test_messages_hold_no_value_of_a_row(checked: Checked) -> None:
    report = checked("omop", "condition_occurrence", value("condition_source_value", "9990000018" * 6))
    with pytest.raises(QualityGateError) as error:
        report.require_passed()
    assert "9990000018" not in str(error.value)


def test_what_a_suite_expects_is_counted_in_tables_of_its_own_and_judged_with_the_gates(
    lake: TableStore, tmp_path: Path
) -> None:
    person, gone = TableName(Zone.OMOP, "person"), TableName(Zone.SILVER, "gp_consultation")
    people = "expect_table_row_count_to_be_between"

    def asked(least: int, *, also: tuple[TableName, ...] = ()) -> list[Expectation]:
        born = "expect_column_values_to_be_between"
        kwargs = {"column": "year_of_birth", "min_value": 1900.0, "max_value": 2000.0}
        return [
            Expectation("s", "s.yaml", 1, person, born, kwargs),
            *[Expectation("s", "s.yaml", 2, table, people, {"min_value": least}, Severity.WARN) for table in (person, *also)],
        ]

    store = with_measures(lake, tmp_path)
    runner = Runner(store, Path(store.path(Zone.LEDGER, "state.json")))
    measures = {"omop.person": "ledger.gate_measures_expectations_omop_person"}

    def judged(expectations: list[Expectation]) -> tuple[list[str], dict[str, tuple[int, int, bool]]]:
        made = runner.run(expectation_tables(expectations, CHECKED))
        report = judge(expectations_measured(store.paths, expectations, CHECKED))
        return [str(name) for name in made], {str(r.check): (r.rows, r.violations, r.passed) for r in report.results}

    born = (
        "expectation on omop.person.s: expect_column_values_to_be_between("
        "column=year_of_birth, max_value=2000.0, min_value=1900.0)"
    )
    assert judged(asked(1)) == (
        [measures["omop.person"]],
        {born: (1, 0, True), f"expectation on omop.person.s: {people}(min_value=1)": (1, 0, True)},
    )
    assert judged(asked(1))[0] == []
    assert judged(asked(2, also=(gone,))) == (
        [measures["omop.person"]],
        {
            born: (1, 0, True),
            f"expectation on omop.person.s: {people}(min_value=2)": (1, 1, False),
            f"expectation on silver.gp_consultation.s: {people}(min_value=2)": (0, 1, False),
        },
    )
    with pytest.raises(QualityGateError, match=r"not counted on omop.person; .*\n  s.yaml: expectation 2 \("):
        expectations_measured(store.paths, asked(3), CHECKED)
