"""One fault of every kind that DataQualityDashboard looks for, in small stored tables: exactly its check counts it."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.quality.checks import DQD_NAMES, Check, Rule, Severity
from pipelines.quality.checks import Zone as CheckedZone
from pipelines.quality.dqd import dqd_checks
from pipelines.quality.gates import GateReport
from pipelines.quality.measure import measures
from pipelines.quality.written import sentence
from tests.builders.checked_lake import (
    CDM,
    CHECKED,
    CONCEPTS,
    CONDITION,
    CONDITION_ERA,
    DRUG,
    DRUG_ERA,
    EVENT,
    MEASUREMENT,
    OBSERVATION,
    PERIOD,
    PERSON,
    PROCEDURE,
    RUN_DATE,
    VISIT,
    build_checked_lake,
    concept_rows,
    frame,
    gates,
    schema_of,
    with_measures,
)

Row = Mapping[str, Any]

MAN, WOMAN = 8507, 8532
MG_DL, MMOL_L = 8840, 8753
SODIUM, CHOLESTEROL = 3019550, 37393449
TESTICULAR_HYPOFUNCTION, DISORDER_OF_MALE_GENITALS, BELOW_IT = 26662, 4090861, 195862
MALE_DISORDERS = f"{DISORDER_OF_MALE_GENITALS} 4025213"
"""What OHDSI's check names of the disorders that only men have."""

FURTHER_CONCEPTS = [
    (WOMAN, "Gender", "Gender", "S"),
    (MG_DL, "Unit", "Unit", "S"),
    (MMOL_L, "Unit", "Unit", "S"),
    (SODIUM, "Measurement", "Lab Test", "S"),
    (CHOLESTEROL, "Observation", "Observable Entity", "S"),
    (TESTICULAR_HYPOFUNCTION, "Condition", "Disorder", "S"),
    (BELOW_IT, "Condition", "Disorder", "S"),
    (40164929, "Drug", "Clinical Drug", "S"),
    (4301351, "Procedure", "Procedure", None),
    (2615739, "Device", "HCPCS", "S"),
    (4001225, "Specimen", "Specimen", "S"),
    (32533, "Episode", "Disease Episode", "S"),
]


def like(row: Row, number: int, **changes: object) -> Row:
    """A row like another, with an id of its own: that of the first field that is one."""
    key = next(name for name in row if name.endswith("_id") and not name.startswith("_"))
    return {**row, key: number, **changes}


DEVICE = EVENT | {
    "device_exposure_id": 110,
    "person_id": 11,
    "device_concept_id": 2615739,
    "device_exposure_start_date": date(2024, 1, 2),
    "device_type_concept_id": 32817,
}
NOTE = EVENT | {
    "note_id": 120,
    "person_id": 11,
    "note_date": date(2024, 1, 2),
    "note_type_concept_id": 32817,
    "note_class_concept_id": 0,
    "note_text": "",
    "encoding_concept_id": 0,
    "language_concept_id": 0,
}
EPISODE = EVENT | {
    "_end_rule": "delivered",
    "episode_id": 130,
    "person_id": 11,
    "episode_concept_id": 32533,
    "episode_object_concept_id": 0,
    "episode_start_date": date(2024, 1, 2),
    "episode_type_concept_id": 32817,
}
SPECIMEN = EVENT | {
    "specimen_id": 140,
    "person_id": 11,
    "specimen_concept_id": 4001225,
    "specimen_date": date(2024, 1, 2),
    "specimen_type_concept_id": 32817,
}
PLAN: Row = {"payer_plan_period_id": 150, "person_id": 11, "payer_plan_period_start_date": date(2024, 1, 2)}
LINK: Row = {"domain_concept_id_1": 0, "fact_id_1": 1, "domain_concept_id_2": 0, "fact_id_2": 2}

# Of nobody a day of birth is known. Person 11 is a man born in 1950, 12 a woman born in 1960, 13 a man who died; 14 was never
# observed.
TABLES: dict[str, Sequence[Row]] = {
    "concept": concept_rows([*CONCEPTS, *FURTHER_CONCEPTS]),
    "concept_ancestor": [
        {
            "ancestor_concept_id": DISORDER_OF_MALE_GENITALS,
            "descendant_concept_id": BELOW_IT,
            "min_levels_of_separation": 1,
            "max_levels_of_separation": 1,
        }
    ],
    "person": [PERSON, like(PERSON, 12, gender_concept_id=WOMAN, year_of_birth=1960), like(PERSON, 13), like(PERSON, 14)],
    "death": [
        EVENT | {"person_id": 13, "death_date": date(2020, 1, 1), "death_type_concept_id": 32817},
    ],
    # Two periods of 12: the second starts on the day after the first. None of 14.
    "observation_period": [
        PERIOD,
        like(PERIOD, 42, person_id=12, observation_period_end_date=date(2023, 12, 31)),
        like(PERIOD, 43, person_id=12, observation_period_start_date=date(2024, 1, 1)),
        like(
            PERIOD,
            44,
            person_id=13,
            observation_period_start_date=date(2018, 1, 1),
            observation_period_end_date=date(2020, 2, 1),
        ),
    ],
    "visit_occurrence": [VISIT, like(VISIT, 22), like(VISIT, 23, visit_end_date=date(2064, 1, 1))],
    # 12 has what only men have, once of its concept and once below another; 13 has the first too, but no era.
    "condition_occurrence": [
        CONDITION,
        like(CONDITION, 32, person_id=12, condition_concept_id=TESTICULAR_HYPOFUNCTION),
        like(
            CONDITION,
            33,
            person_id=13,
            condition_concept_id=TESTICULAR_HYPOFUNCTION,
            condition_start_date=date(2020, 2, 1),
            visit_occurrence_id=None,
        ),
        like(CONDITION, 34, person_id=12, condition_concept_id=BELOW_IT),
    ],
    "condition_era": [CONDITION_ERA, like(CONDITION_ERA, 92, person_id=12)],
    # 366 days of supply, and a negative number of refills.
    "drug_exposure": [
        like(DRUG, 52, days_supply=366, refills=0),
        like(DRUG, 53, days_supply=365, refills=-1),
        like(DRUG, 54, verbatim_end_date=date(2023, 12, 31)),
    ],
    # Not an ingredient.
    "drug_era": [DRUG_ERA, like(DRUG_ERA, 102, drug_concept_id=40164929)],
    # 8 days after the visit, and 7; not a standard concept; a source concept of 0.
    "procedure_occurrence": [
        like(PROCEDURE, 62, procedure_date=date(2024, 1, 11), visit_occurrence_id=21),
        like(PROCEDURE, 63, procedure_date=date(2024, 1, 10), visit_occurrence_id=21),
        like(PROCEDURE, 64, procedure_concept_id=4301351),
        like(PROCEDURE, 65, procedure_source_concept_id=0),
        like(PROCEDURE, 66, procedure_source_concept_id=4301351),
    ],
    # Of 30 rows one is not mapped, which is little; but its source value is one of two. A unit that is said and not known, a
    # wrong one, none, and one that is unknown; a moment in the year before birth.
    "measurement": [
        *[like(MEASUREMENT, 200 + n, measurement_source_value="A") for n in range(23)],
        like(MEASUREMENT, 230, measurement_concept_id=0, measurement_source_value="B"),
        like(MEASUREMENT, 231, measurement_source_value="A", unit_source_value="drops"),
        like(MEASUREMENT, 232, measurement_source_value="A", measurement_concept_id=SODIUM, unit_concept_id=MG_DL),
        like(MEASUREMENT, 233, measurement_source_value="A", measurement_concept_id=SODIUM, unit_concept_id=MMOL_L),
        like(MEASUREMENT, 234, measurement_source_value="A", measurement_concept_id=SODIUM),
        like(MEASUREMENT, 235, measurement_source_value="A", person_id=12, measurement_datetime=datetime(1959, 12, 31, 12)),
        like(MEASUREMENT, 236, measurement_source_value="A", person_id=12, measurement_datetime=datetime(1960, 1, 1, 12)),
    ],
    # Below and above what cholesterol can be; in another unit it is something else. 61 days after death, and 60.
    "observation": [
        like(OBSERVATION, 82, observation_concept_id=CHOLESTEROL, unit_concept_id=MG_DL, value_as_number=49.0),
        like(OBSERVATION, 83, observation_concept_id=CHOLESTEROL, unit_concept_id=MG_DL, value_as_number=501.0),
        like(OBSERVATION, 84, observation_concept_id=CHOLESTEROL, unit_concept_id=MG_DL, value_as_number=50.0),
        like(OBSERVATION, 85, observation_concept_id=CHOLESTEROL, unit_concept_id=MMOL_L, value_as_number=1.0),
        like(OBSERVATION, 86, person_id=13, observation_date=date(2020, 3, 2)),
        like(OBSERVATION, 87, person_id=13, observation_date=date(2020, 3, 1)),
    ],
    # A visit detail that is not there; a unit that is a gender.
    "device_exposure": [DEVICE, like(DEVICE, 111, visit_detail_id=9), like(DEVICE, 112, unit_concept_id=MAN)],
    # Before 1 June of the year of birth, and on it.
    "note": [like(NOTE, 121, note_date=date(1950, 5, 31)), like(NOTE, 122, note_date=date(1950, 6, 1))],
    "episode": [
        EPISODE,
        like(EPISODE, 131, episode_end_date=date(2024, 1, 1)),
        like(EPISODE, 132, episode_end_date=date(2024, 1, 2)),
    ],
    "specimen": [SPECIMEN, like(SPECIMEN, 141, quantity=0.5), like(SPECIMEN, 142, quantity=1.0)],
    "payer_plan_period": [PLAN],
    "care_site": [{"care_site_id": 5}, {"care_site_id": 5}, {"care_site_id": 6}],
    "fact_relationship": [{**LINK, "relationship_concept_id": 0}, {**LINK, "relationship_concept_id": 77}],
    "cdm_source": [],
    "cost": [],
    "metadata": [],
}

ERRORS = {
    "exists on omop.note_nlp: 1 of 1",
    "columns on omop.metadata: 1 of 9",
    "columns on omop.cost: 1 of 22",
    "required on omop.payer_plan_period.payer_plan_period_end_date: 1 of 1",
    "unique on omop.care_site.care_site_id: 2 of 3",
    "foreign_key on omop.device_exposure.visit_detail_id: 1 of 3",
    "concept_known on omop.fact_relationship.relationship_concept_id: 1 of 2",
    "concept_domain on omop.device_exposure.unit_concept_id: 1 of 3",
    "concept_class on omop.drug_era.drug_concept_id: 1 of 2",
    "concept_standard on omop.procedure_occurrence.procedure_concept_id: 1 of 5",
    "start_before_end on omop.episode.episode_start_date: 1 of 2, 1.0% allowed",
    "no_overlap on omop.observation_period: 1 of 3",
    # Ours, and stricter than OHDSI's
    "not_in_future on omop.visit_occurrence.visit_end_date: 1 of 3",
    "not_empty on omop.cdm_source: 1 of 1",
}
WARNINGS = {
    "persons_covered on omop.observation_period: 1 of 4",
    "eras_made on omop.condition_era: 1 of 3",
    "concept_given on omop.measurement.unit_concept_id: 1 of 3, 5.0% allowed",
    "source_concept_given on omop.procedure_occurrence.procedure_source_concept_id: 1 of 2, 10.0% allowed",
    "values_mapped on omop.measurement.measurement_source_value: 1 of 2, 10.0% allowed",
    "not_too_low on omop.drug_exposure.refills: 1 of 2, 1.0% allowed",
    "not_too_low on omop.specimen.quantity: 1 of 2, 1.0% allowed",
    "not_too_high on omop.drug_exposure.days_supply: 1 of 2, 1.0% allowed",
    f"not_too_low on omop.observation.observation_concept_id={CHOLESTEROL},unit_concept_id={MG_DL}: 1 of 3, 5.0% allowed",
    f"not_too_high on omop.observation.observation_concept_id={CHOLESTEROL},unit_concept_id={MG_DL}: 1 of 3, 5.0% allowed",
    "not_before on omop.note.note_date: 1 of 2, 1.0% allowed",
    "not_before on omop.drug_exposure.verbatim_end_date: 1 of 3, 1.0% allowed",
    "after_birth on omop.measurement.measurement_datetime: 1 of 2, 1.0% allowed",
    "before_death on omop.observation.observation_date: 1 of 2, 1.0% allowed",
    "within_visit on omop.procedure_occurrence.procedure_date: 1 of 2, 5.0% allowed",
    f"plausible_unit on omop.measurement.measurement_concept_id={SODIUM}: 1 of 3, 5.0% allowed",
    f"plausible_gender on omop.condition_occurrence.condition_concept_id={TESTICULAR_HYPOFUNCTION}: 1 of 2, 5.0% allowed",
    f"plausible_gender_below on omop.condition_occurrence.condition_concept_id={MALE_DISORDERS}: 1 of 1, 2.0% allowed",
}


@pytest.fixture(scope="module")
def report(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> GateReport:
    """What the gates say of the tables with all the faults."""
    lake = build_checked_lake(sail, tmp_path_factory.mktemp("lake"))
    planted = [TableName(Zone.VOCABULARY if CDM[name].is_vocabulary else Zone.OMOP, name) for name in TABLES]
    store = with_measures(lake, tmp_path_factory.mktemp("faults"), *planted)
    for zone, name in planted:
        rows = frame(sail, schema_of(CDM[name]), TABLES[name])
        if name == "metadata":
            rows = rows.drop("value_as_number")
        if name == "cost":
            rows = rows.withColumn("total_cost", rows["total_cost"].cast("string"))
        rows.write.format("delta").save(store.path(zone, name))
    return gates(store, CHECKED - {TableName(Zone.OMOP, "note_nlp")})


def test_every_fault_is_counted_by_its_check_and_by_no_other(report: GateReport) -> None:
    assert {sentence(failure, full=True) for failure in report.failures} == ERRORS
    assert {sentence(warning, full=True) for warning in report.warnings} == WARNINGS


def test_every_check_of_the_dashboard_is_seen_to_fail(report: GateReport) -> None:
    failed = [result.check for result in (*report.failures, *report.warnings)]
    assert {name for check in failed for name in check.dqd} == {name for names in DQD_NAMES.values() for name in names}
    assert {check.rule for check in failed} >= set(DQD_NAMES)


def test_a_concept_that_no_row_has_is_not_judged(report: GateReport) -> None:
    concerned = {result.check.column for result in report.results if result.check.concepts}
    assert concerned == {
        f"observation_concept_id={CHOLESTEROL},unit_concept_id={MG_DL}",
        f"observation_concept_id={CHOLESTEROL},unit_concept_id={MMOL_L}",
        f"measurement_concept_id={SODIUM}",
        f"measurement_concept_id={MEASUREMENT['measurement_concept_id']}",
        f"condition_concept_id={TESTICULAR_HYPOFUNCTION}",
        f"condition_concept_id={MALE_DISORDERS}",
    }


def test_definitions_name_fields_of_the_cdm_and_can_fail() -> None:
    checks = [check for table in CDM for check in dqd_checks(table, RUN_DATE)]
    assert len(checks) == 760
    for check in checks:
        assert set(check.columns) <= set(CDM[check.table].schema), str(check)
        assert 0 <= check.tolerance < 1
        assert check.dqd
    assert len({(check.rule, check.table, check.column) for check in checks}) == len(checks)
    assert {check.rule for check in checks if check.severity is Severity.ERROR} == {"no_overlap"}
    assert [check.argument for check in checks if check.column == "year_of_birth"] == ["1850", "2026"]


def counted(session: SparkSession, checks: Sequence[Check], **tables: Sequence[Row]) -> dict[str, tuple[int, int]]:
    """Violations and rows of some checks on tables in memory, by rule."""
    frames = {(CheckedZone.OMOP, name): frame(session, schema_of(CDM[name]), rows) for name, rows in tables.items()}
    found = measures(session, checks, frames).toArrow().to_pylist()
    return {row["rule"]: (row["violations"], row["rows"]) for row in found}


@pytest.mark.parametrize(
    ("born", "day", "before_june", "before_birth"),
    [
        ({}, date(1990, 5, 31), 1, 0),
        ({}, date(1990, 6, 1), 0, 0),
        ({}, date(1990, 1, 1), 1, 0),
        ({}, date(1989, 12, 31), 1, 1),
        ({"month_of_birth": 9}, date(1990, 8, 31), 0, 1),
        ({"month_of_birth": 9}, date(1990, 9, 1), 0, 0),
        ({"month_of_birth": 9, "day_of_birth": 15}, date(1990, 9, 14), 0, 1),
        ({"month_of_birth": 2, "day_of_birth": 31}, date(1990, 1, 1), 1, 0),  # no such day: nothing is known of it
        ({"birth_datetime": datetime(1990, 9, 15, 12)}, date(1990, 9, 14), 1, 1),
        ({"birth_datetime": datetime(1990, 9, 15, 12)}, date(1990, 9, 15), 0, 0),
        ({"year_of_birth": None}, date(1800, 1, 1), 0, 0),
    ],
)
def test_what_is_before_birth(sail: SparkSession, born: Row, day: date, before_june: int, before_birth: int) -> None:
    checks = [
        Check(CheckedZone.OMOP, "note", Rule.AFTER, "note_date", "person.birth_datetime"),
        Check(CheckedZone.OMOP, "note", Rule.AFTER_BIRTH, "note_date"),
    ]
    person = {"person_id": 1, "year_of_birth": 1990, **born}
    notes: list[Row] = [{"person_id": 1, "note_date": day}, {"person_id": 1}, {"person_id": 2, "note_date": day}]
    found = counted(sail, checks, person=[person], note=notes)
    assert found == {"not_before": (before_june, 3), "after_birth": (before_birth, 2)}


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        (["2020-01-01/2020-12-31"], (0, 1)),
        (["2020-01-01/2020-12-31", "2021-01-02/2021-12-31"], (0, 1)),
        (["2020-01-01/2020-12-31", "2021-01-01/2021-12-31"], (1, 1)),
        (["2021-01-01/2021-12-31", "2020-01-01/2020-12-31"], (1, 1)),
        (["2020-01-01/2020-12-31", "2020-06-01/2020-06-30"], (1, 1)),
        (["2020-01-01/2020-12-31", "2020-01-01/2020-12-31", "2020-12-31/2022-01-01"], (1, 1)),
        ([], (0, 0)),
    ],
)
def test_which_observation_periods_overlap(sail: SparkSession, spans: list[str], expected: tuple[int, int]) -> None:
    periods = []
    for number, span in enumerate(spans):
        start, _, end = span.partition("/")
        periods.append(
            {
                "observation_period_id": number,
                "person_id": 1,
                "observation_period_start_date": date.fromisoformat(start),
                "observation_period_end_date": date.fromisoformat(end),
            }
        )
    checks = [Check(CheckedZone.OMOP, "observation_period", Rule.NO_OVERLAP)]
    found = counted(sail, checks, person=[{"person_id": 1}, {"person_id": 2}], observation_period=periods)
    assert found == {"no_overlap": expected}


@pytest.mark.parametrize(
    ("conditions", "eras", "persons", "eras_made"),
    [
        ([(1, 5), (2, 0)], [1], (1, 2), (0, 1)),  # what is not mapped needs no era
        ([(1, 5), (2, 6)], [1, 1], (1, 2), (1, 2)),
        ([(1, 5), (1, 6)], [], (2, 2), (1, 1)),
        ([(2, 0)], [], (2, 2), (0, 0)),
        ([(3, 5)], [3], (2, 2), (0, 1)),  # nobody of the CDM
        ([], [1, 2], (0, 2), (0, 0)),
    ],
)
def test_who_has_no_era(
    sail: SparkSession,
    conditions: list[tuple[int, int]],
    eras: list[int],
    persons: tuple[int, int],
    eras_made: tuple[int, int],
) -> None:
    checks = [Check(CheckedZone.OMOP, "condition_era", rule) for rule in (Rule.PERSONS, Rule.ERAS)]
    found = counted(
        sail,
        checks,
        person=[{"person_id": 1}, {"person_id": 2}],
        condition_occurrence=[{"person_id": person, "condition_concept_id": concept} for person, concept in conditions],
        condition_era=[{"person_id": person} for person in eras],
    )
    assert found == {"persons_covered": persons, "eras_made": eras_made}


def test_without_people_nothing_about_them_is_counted(sail: SparkSession) -> None:
    checks = [Check(CheckedZone.OMOP, "note", Rule.AFTER_BIRTH, "note_date"), Check(CheckedZone.OMOP, "note", Rule.PERSONS)]
    found = counted(sail, checks, note=[{"person_id": 1, "note_date": date(1990, 1, 1)}])
    assert found == {"after_birth": (0, 0), "persons_covered": (0, 0)}
