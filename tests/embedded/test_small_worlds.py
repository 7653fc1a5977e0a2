"""A first small provider: none, one or two rows of a table go through every stage and the gates, and are all accounted for.

The statistics of such tables say that a column has one value, and the engine plans for that.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.columns.frames import rows_of_group
from pipelines.contracts.derived import published_tables
from pipelines.contracts.touched import TOUCHED_BY_SUPPLIES
from pipelines.contracts.zones import Zone
from pipelines.declaring import declared_tables
from pipelines.nightly import ingest_deliveries
from pipelines.quality.gates import GateReport
from pipelines.run_context import RunContext
from pipelines.runner import selected
from tests.builders.landing import deliver
from tests.builders.worlds import NUMBERS, Rows, demo_vocabulary, loaded
from tests.golden.cases import golden_cases, golden_contracts

PRACTICE = "ORG-P81001"
SNOMED = ("38341003", "73211009")


@pytest.fixture(scope="module")
def vocabulary(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the loaded demo vocabulary."""
    return demo_vocabulary(sail, tmp_path_factory.mktemp("vocabulary"))


def practice(patients: int, observations: int, codes: int) -> Rows:
    """One practice: its patients share the observations, and these the codes."""
    common = {"organisation_guid": PRACTICE, "processing_id": "1"}
    return {
        "organisation": [common | {"organisation_name": "Riverside", "ods_code": "P81001"}],
        "patient": [
            common
            | {
                "patient_guid": f"P{place}",
                "nhs_number": NUMBERS[place],
                "sex": "F",
                "date_of_birth": "1950-06-07",
                "date_of_registration": "2001-02-03",
                "patient_type_description": "Regular",
            }
            for place in range(patients)
        ],
        "observation": [
            common
            | {
                "observation_guid": f"O{place}",
                "patient_guid": f"P{place % max(patients, 1)}",
                "code_id": f"C{place % max(codes, 1)}",
                "effective_date": "2024-03-04",
                "effective_date_precision": "YMD",
                "observation_type": "Observation",
            }
            for place in range(observations)
        ],
        "clinical_code": [
            {"code_id": f"C{place}", "snomed_ct_concept_id": SNOMED[place], "processing_id": "1"} for place in range(codes)
        ],
    }


@pytest.mark.parametrize(
    ("patients", "observations", "codes"),
    [
        (0, 0, 0),
        pytest.param(1, 0, 0, marks=pytest.mark.deep),
        pytest.param(1, 1, 0, marks=pytest.mark.deep),
        pytest.param(1, 2, 1, marks=pytest.mark.deep),
        pytest.param(2, 1, 1, marks=pytest.mark.deep),
        pytest.param(3, 3, 1, marks=pytest.mark.deep),
    ],
)
def test_a_small_practice_is_loaded(
    sail: SparkSession, tmp_path: Path, vocabulary: Path, patients: int, observations: int, codes: int
) -> None:
    run, report = loaded(sail, tmp_path, vocabulary, {("gp", "P81001"): practice(patients, observations, codes)})
    assert not report.failures
    rows = {name: run.store.read(Zone.OMOP, name).count() for name in ("person", "condition_occurrence", "observation")}
    assert rows["person"] == patients
    if codes:
        assert rows["condition_occurrence"] == observations


def with_temporary(rows: Rows) -> Rows:
    """The same practice, whose last patient is not registered but temporary."""
    *patients, last = rows["patient"]
    return dict(rows) | {"patient": [*patients, dict(last) | {"patient_type_description": "Temporary"}]}


def counted(run: RunContext, *tables: str) -> dict[str, int]:
    """How many rows tables of OMOP have."""
    return {name: run.store.read(Zone.OMOP, name).count() for name in tables}


WHO = ("person", "condition_occurrence", "observation_period")


@pytest.fixture(scope="module")
def waiting(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory, vocabulary: Path) -> tuple[RunContext, GateReport]:
    """A practice while the other sources have not come; two patients are registered, and a third is kept."""
    delivered = {("gp", "P81001"): with_temporary(practice(3, 3, 2))}
    changed = ("person.earliest_capture.gp/P81001=2010-01-01", "person.unobserved=keep")
    others = ("acute", "ambulance", "community", "mental_health", "social_care")
    return loaded(sail, tmp_path_factory.mktemp("waiting") / "lake", vocabulary, delivered, *changed, waits_for=others)


def test_sources_that_have_not_come_hold_nobody_up_and_nobody_is_observed_before_the_configured_day(
    waiting: tuple[RunContext, GateReport],
) -> None:
    run, report = waiting
    assert not report.failures
    assert run.store.exists(Zone.OMOP, "measurement_harmonised")
    for table, column in (("observation_period", "observation_period_start_date"), ("observability", "span_start_date")):
        assert [row[0] for row in run.store.read(Zone.OMOP, table).select(column).collect()] == [date(2010, 1, 1)] * 2


def test_who_is_in_no_period_is_in_the_cdm_where_that_is_configured(waiting: tuple[RunContext, GateReport]) -> None:
    assert counted(waiting[0], *WHO) == {"person": 3, "condition_occurrence": 3, "observation_period": 2}


@pytest.mark.deep
def test_tables_that_are_left_out_hold_nobody_up(sail: SparkSession, tmp_path: Path, vocabulary: Path) -> None:
    delivered, left_out = {("gp", "P81001"): practice(1, 1, 1)}, ("derived.measurement_harmonised=false", "cdm_version=5.5")
    run, report = loaded(sail, tmp_path, vocabulary, delivered, *left_out, waits_for=("ambulance",))
    assert not report.failures
    assert not run.store.exists(Zone.OMOP, "measurement_harmonised")
    assert run.store.read(Zone.OMOP, "condition_occurrence").count() == 1


STARTS = ["2025-12-01", "2025-12-15", "2026-01-01", "2026-01-03"]


@pytest.fixture(scope="module")
def nights(
    sail: SparkSession, tmp_path_factory: pytest.TempPathFactory, vocabulary: Path
) -> tuple[RunContext, list[list[tuple[str, str]]]]:
    """A practice with four issues after two nights, and the supplies of each; a fifth patient is left out."""
    common = {"organisation_guid": PRACTICE, "effective_date_precision": "YMD", "processing_id": "1"}
    issues = [
        {"patient_guid": "P0", "effective_date": "2025-12-01", "course_duration_in_days": "28"},
        {"patient_guid": "P1", "effective_date": "2025-12-15"},
        {
            "patient_guid": "P2",
            "effective_date": "2026-01-01",
            "quantity": "6",
            "quantity_unit": "tablet",
            "dosage": "one daily",
        },
        {"patient_guid": "P3", "effective_date": "2026-01-03", "course_duration_in_days": "28"},
    ]
    of_the_fifth = dict(practice(5, 5, 1)["observation"][4])
    delivered = dict(with_temporary(practice(5, 0, 1))) | {
        "drug_code": [{"code_id": "D", "dmd_product_code_id": "1019999999106", "processing_id": "1"}],
        "issue_record": [common | issue | {"issue_record_guid": f"I{n}", "code_id": "D"} for n, issue in enumerate(issues)],
        "consultation": [common | {"patient_guid": "P0", "consultation_guid": "C0", "effective_date": "2026-01-05"}],
        "observation": [of_the_fifth],
    }
    changed = ("run.most_touched=1", "person.unobserved=exclude")
    run, report = loaded(sail, tmp_path_factory.mktemp("nights") / "lake", vocabulary, {("gp", "P81001"): delivered}, *changed)
    assert not report.failures
    first = supplies(run)
    seen = common | {"patient_guid": "P0", "consultation_guid": "C1", "effective_date": "2026-01-06"}
    deliver(run.settings.storage.landing, golden_contracts()["gp"], "P81001", "20260107", {"consultation": [seen]}, "delta")
    later = replace(run, run_date=date(2026, 1, 7))
    ingest_deliveries(later)
    tables = declared_tables(later, later.register()).tables
    later.runner.run(selected(tables, ("omop.drug_exposure", "omop.drug_era")))
    return later, [first, supplies(later)]


def test_a_supply_goes_on_with_the_newest_extract_of_its_practice(
    nights: tuple[RunContext, list[list[tuple[str, str]]]],
) -> None:
    """A night that brings nothing of somebody moves the end of what is still taken, and of nothing else."""
    run, (first, second) = nights
    assert first == list(zip(STARTS, ["2025-12-28", "2026-01-05", "2026-01-05", "2026-01-05"], strict=True))
    assert second == list(zip(STARTS, ["2025-12-28", "2026-01-07", "2026-01-06", "2026-01-07"], strict=True))
    named = run.store.read(*TOUCHED_BY_SUPPLIES).select("person_id", "reason").collect()
    assert Counter(row.reason for row in named) == {"row": 1, "supply": 3}


def test_who_is_in_no_period_is_left_out_of_the_cdm_where_that_is_configured(
    nights: tuple[RunContext, list[list[tuple[str, str]]]],
) -> None:
    assert counted(nights[0], *WHO) == {"person": 4, "condition_occurrence": 0, "observation_period": 4}
    assert nights[0].store.read(Zone.INTERMEDIATE, "unobserved_persons").count() == 1


def supplies(run: RunContext) -> list[tuple[str, str]]:
    """The first and the last day of each drug exposure, which are those of its era too."""
    found = [
        sorted(
            (str(row[0]), str(row[1]))
            for row in run.store.read(Zone.OMOP, table).select(f"{name}_start_date", f"{name}_end_date").collect()
        )
        for table, name in (("drug_exposure", "drug_exposure"), ("drug_era", "drug_era"))
    ]
    assert found[0] == found[1]
    return found[0]


def test_a_wrong_date_of_death_leaves_its_person_out_and_stops_nobody(
    sail: SparkSession, tmp_path: Path, vocabulary: Path
) -> None:
    """Nobody is observed ten years after a death: no table has rows of the first person, and the second is released."""
    deliveries: dict[tuple[str, str], dict[str, list[Mapping[str, str]]]] = {}
    acute = [case for case in golden_cases() if case.sources == {"acute"}]
    stays, visits = ([case for case in acute if name in case.expect] for name in ("continuous_inpatient_spell", "visit_timing"))
    died = {NUMBERS[0]: "2014-03-20", NUMBERS[1]: "2024-04-20"}
    for case, number in zip((*stays[:2], *visits[:2]), (*died, *died), strict=True):
        for row in case.rows:
            values = {name: value.replace(case.nhs_number, number) for name, value in row.values.items()}
            values |= {"pds_date_of_death": died[number]} if row.entity == "apc_episode" else {}
            deliveries.setdefault((row.source, row.provider), {}).setdefault(row.entity, []).append(values)
    run, report = loaded(sail, tmp_path, vocabulary, deliveries)
    assert not report.failures
    people = {row.person_id for row in run.store.read(Zone.OMOP, "person").collect()}
    assert len(people) == 1
    tables = [name for name, table in published_tables("5.4").items() if "person_id" in table.schema]
    with_rows = {
        name: {row.person_id for row in run.store.read(Zone.OMOP, name).select("person_id").collect()} for name in tables
    }
    assert {name: found for name, found in with_rows.items() if found - people} == {}
    assert {"continuous_inpatient_spell", "visit_occurrence", "visit_timing"} <= {name for name in tables if with_rows[name]}


def test_one_person_of_each_other_source_is_loaded(sail: SparkSession, tmp_path: Path, vocabulary: Path) -> None:
    """The first golden patient of each source, with one row of each table that it has."""
    chosen = {case.source: case for case in reversed(golden_cases()) if case.sources == {case.source} and case.source != "gp"}
    deliveries: dict[tuple[str, str], dict[str, list[Mapping[str, str]]]] = {}
    for case, number in zip(chosen.values(), NUMBERS, strict=False):
        for row in case.rows:
            values = {name: value.replace(case.nhs_number, number) for name, value in row.values.items()}
            deliveries.setdefault((row.source, row.provider), {}).setdefault(row.entity, [values])
    run, report = loaded(sail, tmp_path, vocabulary, deliveries)
    assert not report.failures
    assert {source for source, _ in deliveries} == {"acute", "ambulance", "community", "mental_health", "social_care"}
    assert run.store.read(Zone.OMOP, "person").count() == len(chosen)


@pytest.mark.parametrize("values", [[], [("a", 1)], [("a", 1), ("a", 1)], [("a", 1), ("a", 2)], [("a", 1), ("b", 1)]], ids=str)
def test_the_size_of_groups_is_aggregated_again(sail: SparkSession, tmp_path: Path, values: list[tuple[str, int]]) -> None:
    place = str(tmp_path / "table")
    sail.createDataFrame(values, "name string, n bigint").write.format("delta").save(place)
    stored = sail.read.format("delta").load(place)
    for keys in (("name",), ("n",), ("name", "n")):
        grouped = stored.groupBy(*keys).agg(rows_of_group().alias("rows"))
        assert dict(grouped.dtypes)["rows"] == "bigint"
        by_key = grouped.groupBy(keys[0]).agg(F.sum("rows").alias("rows"))
        for again in (grouped, by_key):
            assert (again.agg(F.sum("rows").alias("rows")).collect()[0].rows or 0) == len(values)
