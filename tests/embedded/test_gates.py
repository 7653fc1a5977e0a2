"""Every gate holds on a small valid lake of Delta tables, and is seen to fail on planted bad data."""

import shutil
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
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
from pipelines.quality.written import require_passed, sentence
from pipelines.runner import Runner
from pipelines.storage.tables import TableStore
from tests.builders.checked_lake import (
    CDM,
    CHECKED,
    CONTRACT,
    RUN_DATE,
    Checked,
    Plant,
    Planted,
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
def valid(lake: TableStore, measured: Path, tmp_path: Path) -> TableStore:
    """The valid lake with its measures, which a test may change."""
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    return with_measures(lake, tmp_path)


@pytest.fixture
def checked(lake: TableStore, measured: Path, tmp_path: Path) -> Checked:
    """Runs the gates on the valid lake with later versions of some tables; what does not read them is not counted again."""
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)

    def check(*plants: Planted) -> GateReport:
        tables = {TableName(Zone(zone), table): lake.read(Zone(zone), table) for zone, table, _ in plants}
        for zone, table, plant in plants:
            tables[TableName(Zone(zone), table)] = plant(tables[TableName(Zone(zone), table)])
        store = with_measures(lake, tmp_path, *tables)
        for name, planted in tables.items():
            shutil.copytree(lake.path(*name), store.path(*name))
            planted.write.format("delta").option("overwriteSchema", "true").mode("overwrite").save(store.path(*name))
        return gates(store)

    return check


def value(column: str, new: object) -> Plant:
    return lambda rows: rows.withColumn(column, F.lit(new).cast(dict(rows.dtypes)[column]))


def test_a_valid_lake_passes_every_gate(valid: TableStore) -> None:
    report = gates(valid)
    require_passed(report)
    assert report.summary() == {"checks": CHECKS, "failed": 0, "warnings": 0, "waived": 0}


def test_a_value_that_was_taken_out_is_counted_and_stops_nothing(checked: Checked) -> None:
    report = checked(("silver", "gp_patient", value("_withheld", "sex")))
    require_passed(report)
    assert [sentence(warning, full=True) for warning in report.warnings] == ["withheld on silver.gp_patient._withheld: 1 of 1"]


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


def test_measures_hold_one_row_per_check_and_nothing_that_is_allowed(valid: TableStore) -> None:
    rows = valid.paths.records(Zone.LEDGER, "gate_measures_omop", list(MEASURE_SCHEMA))
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


def test_a_check_that_was_not_counted_stops_the_run(valid: TableStore, tmp_path: Path) -> None:
    measures = valid.read(Zone.LEDGER, "gate_measures_bronze_gp").where("rule <> 'unique'")
    measures.write.format("delta").mode("overwrite").save(valid.path(Zone.LEDGER, "gate_measures_bronze_gp"))
    with pytest.raises(
        QualityGateError, match=r"1 checks were not counted[\s\S]*unique on bronze\.gp_patient\._load_id,_file,_line"
    ):
        run_gates(valid.paths, CHECKED, {"gp": CONTRACT}, CDM, RUN_DATE, [], policy())
    shutil.rmtree(tmp_path / "ledger")
    with pytest.raises(QualityGateError, match=r"ledger\.gate_measures_bronze_gp holds no measures"):
        run_gates(valid.paths, CHECKED, {"gp": CONTRACT}, CDM, RUN_DATE, [], policy())


def test_the_results_of_a_run_are_stored_beside_those_of_others(valid: TableStore, tmp_path: Path) -> None:
    report = gates(valid)
    runner = Runner(valid, tmp_path / "state.json")
    for run_id in ("r1", "r2", "r2"):
        runner.run([results_table(report, run_id)])
    stored = valid.paths.records(Zone.LEDGER, GATE_TABLE, list(GATE_SCHEMA))
    assert [sum(record["run_id"] == run for record in stored) for run in ("r1", "r2")] == [CHECKS, CHECKS]
    results = {sentence(GateResult.of(record), full=True) for record in stored if record["run_id"] == "r2"}
    assert results == {sentence(result, full=True) for result in report.results}


Fault = tuple[str, str, Plant, str]
CONTENTS = "contents on omop.condition_occurrence.stop_reason,condition_source_value,condition_status_source_value: 1 of 1"


def doubled(rows: DataFrame) -> DataFrame:
    return rows.unionAll(rows)


def emptied(rows: DataFrame) -> DataFrame:
    return rows.where("false")


def patient(zone: str, plant: Plant, message: str) -> Fault:
    return zone, "gp_patient", plant, message


def condition(column: str, new: object, message: str) -> Fault:
    return "omop", "condition_occurrence", value(column, new), message


def omop(table: str, plant: Plant, message: str) -> Fault:
    return "omop", table, plant, message


ROUNDS: list[list[Fault]] = [
    [
        patient("bronze", lambda rows: rows.drop("sex"), "columns on bronze.gp_patient: 1 of 7"),
        patient("silver", lambda rows: rows.withColumn("extra", F.lit(1)), "columns on silver.gp_patient: 1 of 9"),
        patient("silver", value("person_id", None), "required on silver.gp_patient.person_id: 1 of 1"),
        condition("condition_source_value", "NHS 999 000 0018", CONTENTS),
        condition("condition_concept_id", 77, "concept_known on omop.condition_occurrence.condition_concept_id: 1 of 1"),
        omop("person", doubled, "unique on omop.person.person_id: 2 of 2"),
        omop(
            "visit_occurrence",
            value("visit_end_date", date(2064, 1, 1)),
            "not_in_future on omop.visit_occurrence.visit_end_date: 1 of 1",
        ),
        omop(
            "measurement",
            value("measurement_datetime", "2025-01-02 00:00:01"),
            "not_in_future on omop.measurement.measurement_datetime: 1 of 1",
        ),
        omop("cdm_source", emptied, "not_empty on omop.cdm_source: 1 of 1"),
    ],
    [
        patient("bronze", value("_file", None), "required on bronze.gp_patient._file: 1 of 1"),
        patient(
            "silver", lambda rows: rows.withColumn("nhs_number", F.lit("x")), "no_identifier on silver.gp_patient: 1 of 10"
        ),
        patient("silver", value("person_id", 2**53), "id_range on silver.gp_patient.person_id: 1 of 1"),
        condition("condition_source_value", "PR1 2AB", CONTENTS),
        condition(
            "condition_concept_id", 2_000_000_009, "concept_known on omop.condition_occurrence.condition_concept_id: 1 of 1"
        ),
        omop("person", value("year_of_birth", None), "required on omop.person.year_of_birth: 1 of 1"),
        omop(
            "visit_occurrence",
            value("visit_end_date", date(2023, 1, 1)),
            "start_before_end on omop.visit_occurrence.visit_start_date: 1 of 1, 1.0% allowed",
        ),
        omop(
            "observation_period",
            value("observation_period_end_date", date(2022, 1, 1)),
            "start_before_end on omop.observation_period.observation_period_start_date: 1 of 1",
        ),
    ],
    [
        patient("bronze", doubled, "unique on bronze.gp_patient._load_id,_file,_line: 2 of 2"),
        patient("silver", lambda rows: rows.withColumn("sex", F.lit(1).cast("bigint")), "columns on silver.gp_patient: 1 of 9"),
        patient("silver", value("postcode_area", "PR1"), "postcode_area on silver.gp_patient.postcode_area: 1 of 1"),
        condition("condition_source_value", "07700 900123", CONTENTS),
        condition("condition_concept_id", 9201, "concept_domain on omop.condition_occurrence.condition_concept_id: 1 of 1"),
        condition("_rule", None, "required on omop.condition_occurrence._rule: 1 of 1"),
        omop("person", emptied, "foreign_key on omop.visit_occurrence.person_id: 1 of 1"),
        omop(
            "observation_period",
            value("observation_period_id", 0),
            "id_range on omop.observation_period.observation_period_id: 1 of 1",
        ),
    ],
    [
        patient("silver", doubled, "unique on silver.gp_patient.row_key: 2 of 2"),
        condition("condition_source_value", "a@example.org", CONTENTS),
        condition(
            "condition_concept_id", 44821949, "concept_standard on omop.condition_occurrence.condition_concept_id: 1 of 1"
        ),
        condition("_evidence", None, "required on omop.condition_occurrence._evidence: 1 of 1"),
        condition("visit_occurrence_id", 99, "foreign_key on omop.condition_occurrence.visit_occurrence_id: 1 of 1"),
    ],
    [
        condition(
            "condition_source_value",
            "9990000018" * 5 + "x",
            "length on omop.condition_occurrence.condition_source_value: 1 of 1",
        ),
        omop("condition_occurrence", lambda rows: rows.drop("stop_reason"), "columns on omop.condition_occurrence: 1 of 25"),
    ],
]
"""Faults that are planted together: of different checks, and none is a reason for the message of another."""

NEVER_SHOWN = ("9990000018", "999 000 0018", "PR1", "07700", "example.org")


@pytest.mark.parametrize("faults", ROUNDS, ids=[f"{len(faults)} faults" for faults in ROUNDS])
def test_planted_faults_are_named_with_rule_table_and_count_and_without_a_value(checked: Checked, faults: list[Fault]) -> None:
    messages = [message for _, _, _, message in faults]
    assert len({message.rpartition(":")[0] for message in messages}) == len(messages)
    report = checked(*[(zone, table, plant) for zone, table, plant, _ in faults])
    assert {*messages} - {sentence(failure, full=True) for failure in report.failures} == set()
    with pytest.raises(QualityGateError) as error:
        require_passed(report)
    said = str(error.value)
    unsaid = [check for check in (message.partition(":")[0] for message in messages) if f"  {check}: * of " not in said]
    assert unsaid == []
    assert [text for text in NEVER_SHOWN if text in said] == []


def test_an_unmapped_and_a_local_concept_pass(checked: Checked) -> None:
    def both(rows: DataFrame) -> DataFrame:
        local = value("condition_concept_id", 2_000_000_001)(value("condition_occurrence_id", 32)(rows))
        return value("condition_concept_id", 0)(rows).unionAll(local)

    require_passed(checked(("omop", "condition_occurrence", both)))


def test_a_missing_table_fails_and_so_does_what_points_to_it(lake: TableStore, tmp_path: Path) -> None:
    there = CHECKED - {TableName(Zone.OMOP, "visit_occurrence")}
    failures = {sentence(failure, full=True) for failure in gates(with_measures(lake, tmp_path), there).failures}
    assert failures == {
        "exists on omop.visit_occurrence: 1 of 1",
        "foreign_key on omop.condition_occurrence.visit_occurrence_id: 1 of 1",
    }


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
