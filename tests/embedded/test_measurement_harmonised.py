"""Measurements in one unit per analyte, against values written out; on the embedded engine."""

from datetime import date
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.cdm import delta_schema
from pipelines.contracts.derived import MEASUREMENT_HARMONISED
from pipelines.mapping.analytes import NO_ANALYTES, Analytes, load_analytes
from pipelines.mapping.plausibility import load_plausibility
from pipelines.omop.analytes import (
    ANALYTE_CONCEPTS_SCHEMA,
    CONCEPTS_BY_UNIT_SCHEMA,
    analyte_concepts,
    concepts_by_unit,
    measurement_harmonised,
    with_concept_of_unit,
)
from pipelines.omop.declared import MapInputs
from pipelines.omop.source import CdmSource
from pipelines.omop.tables import map_tables
from pipelines.settings import PACKAGED_MAPPINGS_DIR, DerivedSettings

ANALYTES = load_analytes(PACKAGED_MAPPINGS_DIR)
DAY = date(2024, 3, 4)
COLUMNS = (
    "measurement_id bigint, person_id bigint, measurement_date date, measurement_concept_id bigint, value_as_number double, "
    "operator_concept_id bigint, unit_concept_id bigint"
)


def measurements(sail: SparkSession, *rows: tuple[int, float | None, int | None]) -> DataFrame:
    """Concept, number and unit of each measurement; the ids count from 1."""
    whole = [(place, 7, DAY, concept, number, None, unit) for place, (concept, number, unit) in enumerate(rows, start=1)]
    return sail.createDataFrame(whole, COLUMNS)


def concepts(sail: SparkSession, *rows: tuple[int, str | None, str | None]) -> DataFrame:
    """Id, standard flag and reason of invalidity of each concept."""
    return sail.createDataFrame(list(rows), "concept_id bigint, standard_concept string, invalid_reason string")


def every_concept(sail: SparkSession, analytes: Analytes = ANALYTES) -> DataFrame:
    """A vocabulary with all concepts and units of the analytes."""
    ids = {id_ for analyte in analytes.analytes.values() for id_ in (analyte.concept, *analyte.by_unit.values())}
    ids |= {id_ for units in analytes.units.values() for id_ in units}
    return concepts(sail, *[(id_, "S", None) for id_ in sorted(ids)])


def harmonised(delivered: DataFrame, analytes: Analytes = ANALYTES) -> DataFrame:
    """The harmonised values of measurements, with a vocabulary that has everything."""
    session = delivered.sparkSession
    of_analytes = analyte_concepts(session, every_concept(session, analytes), analytes)
    return measurement_harmonised(delivered, of_analytes, analytes, MEASUREMENT_HARMONISED)


CONVERTED = [
    # analyte, concept, number, its unit, value, unit of the analyte
    ("systolic_blood_pressure", 3004249, 16.0, 44777602, 120.00992, 8876),  # kPa
    ("heart_rate", 3027018, 72.0, 8483, 72.0, 8541),  # counts per minute
    ("body_temperature", 3020891, 100.4, 9289, 38.0, 586323),  # degree Fahrenheit
    ("body_height", 3036277, 1.72, 9546, 172.0, 8582),  # meter
    ("body_height", 3036277, 0.57, 9546, 57.0, 8582),  # meter, which binary fractions would make 56.99999999999999
    ("body_height", 3036277, 1720.0, 8588, 172.0, 8582),  # millimeter
    ("body_height", 3036277, 68.0, 9330, 172.72, 8582),  # inch
    ("body_height", 607590, 172.0, 8582, 172.0, 8582),  # centimeter, under a concept that means the same
    ("body_weight", 3025315, 3450.0, 8504, 3.45, 9529),  # gram
    ("body_weight", 4099154, 150.0, 8739, 68.038856, 9529),  # pound, under a concept that means the same
    ("haemoglobin", 3000963, 13.6, 8713, 136.0, 8636),  # gram per deciliter
    ("white_cells", 3000905, 7.2, 8848, 7.2, 9444),  # thousand per microliter
    ("platelets", 3024929, 255000.0, 9442, 255.0, 9444),  # million per liter
    ("red_cells", 3020416, 4.6, 8815, 4.6, 8734),  # million per microliter
    ("haematocrit", 3023314, 41.0, 8554, 0.41, 44777604),  # percent
    ("haematocrit", 3023314, 0.41, 8523, 0.41, 44777604),  # ratio
    ("estimated_glomerular_filtration_rate", 40764999, 62.0, 9117, 62.0, 720870),
    ("creatinine", 3016723, 1.0, 8840, 88.4, 8749),  # milligram per deciliter
    ("creatinine", 3020564, 0.1, 8753, 100.0, 8749),  # millimole per liter
    ("urea", 3013682, 14.0, 8840, 4.998, 8753),  # milligram of nitrogen per deciliter
    ("urine_albumin_creatinine_ratio", 3034485, 30.0, 9072, 3.3936, 9075),  # microgram per milligram
    ("calcium", 3015377, 10.0, 8840, 2.495, 8753),  # milligram per deciliter
    ("albumin", 3024561, 4.2, 8713, 42.0, 8636),  # gram per deciliter
    ("alanine_aminotransferase", 3006923, 0.5, 32995, 30.0, 8645),  # microkatal per liter
    ("alkaline_phosphatase", 3035995, 82.0, 8923, 82.0, 8645),  # international unit per liter
    ("bilirubin", 3006140, 1.0, 8840, 17.1, 8749),  # milligram per deciliter
    ("c_reactive_protein", 3020460, 0.8, 8840, 8.0, 8751),  # milligram per deciliter
    ("ferritin", 3001122, 110.0, 8842, 110.0, 8748),  # nanogram per milliliter
    ("glucose", 3004501, 100.0, 8840, 5.551, 8753),  # milligram per deciliter
    ("haemoglobin_a1c", 3004410, 7.0, 8554, 52.993, 9579),  # percent
    ("cholesterol", 3019900, 200.0, 8840, 5.172, 8753),  # milligram per deciliter
    ("triglycerides", 3025839, 150.0, 8840, 1.6935, 8753),  # milligram per deciliter
    ("thyrotropin", 3009201, 2.2, 8860, 2.2, 44777578),  # microunit per milliliter
    ("free_thyroxine", 3008486, 1.2, 8817, 15.444, 8729),  # nanogram per deciliter
    ("vitamin_b12", 3009035, 200.0, 8729, 271.08, 8725),  # picomole per liter
    ("folate", 3021960, 10.0, 8736, 4.414, 8748),  # nanomole per liter
    ("troponin_t", 3019800, 0.014, 8748, 14.0, 8725),  # microgram per liter
    ("d_dimer", 3051714, 0.42, 8751, 420.0, 8748),  # milligram per liter
]


def test_values_are_converted_to_the_unit_of_the_analyte(sail: SparkSession) -> None:
    delivered = measurements(sail, *[(concept, number, unit) for _, concept, number, unit, *_ in CONVERTED])
    frame = harmonised(delivered)
    assert dict(frame.dtypes) == delta_schema(MEASUREMENT_HARMONISED)
    rows = sorted(frame.collect(), key=lambda row: row.measurement_id)
    found = [(row.analyte, row.value_as_number, row.unit_concept_id) for row in rows]
    assert found == [(analyte, value, unit) for analyte, _, _, _, value, unit in CONVERTED]
    assert {(row.conversion_rule, row.person_id, row.measurement_date) for row in rows} == {
        ("converted", 7, DAY),
        ("as_delivered", 7, DAY),  # the height in centimeter
    }
    assert [row.analyte_concept_id for row in rows] == [ANALYTES.analytes[row.analyte].concept for row in rows]


SHARED = {
    ("diastolic_blood_pressure", "kPa"),
    *[
        (name, unit)
        for name in ("white_cells", "platelets", "neutrophils", "lymphocytes", "eosinophils")
        for unit in ("10*3/uL", "10*6/L")
    ],
    *[(name, "ukat/L") for name in ("aspartate_aminotransferase", "alkaline_phosphatase", "gamma_glutamyl_transferase")],
    *[(name, "mg/dL") for name in ("hdl_cholesterol", "ldl_cholesterol")],
}
"""Conversions by a factor that another analyte above shares."""


def test_every_conversion_that_is_declared_has_a_value_written_out() -> None:
    units = {concept: unit for unit, concepts in ANALYTES.units.items() for concept in concepts}
    shown = {(analyte, units[unit]) for analyte, _, _, unit, *_ in CONVERTED}
    assert {(name, unit) for name, analyte in ANALYTES.analytes.items() for unit in analyte.units} - shown - SHARED == set()


@pytest.mark.parametrize(
    ("concept", "number", "unit", "rule", "value", "implausible"),
    [
        (3025315, 71.5, 9529, "as_delivered", 71.5, None),
        (3025315, 71.5, None, "no_unit", None, None),
        (3025315, 71.5, 0, "other_unit", None, None),
        (3025315, 71.5, 8582, "other_unit", None, None),  # centimeter
        (3025315, None, 9529, "no_number", None, None),
        (3025315, None, None, "no_number", None, None),
        (3027018, 72.0, None, "unit_implied", 72.0, None),
        (3027018, 72.0, 0, "other_unit", None, None),
        (3027018, 5.0, None, "unit_implied", 5.0, "below_least"),
        (3004249, 29.99, 8876, "as_delivered", 29.99, "below_least"),
        (3004249, 30.0, 8876, "as_delivered", 30.0, None),
        (3004249, 350.0, 8876, "as_delivered", 350.0, None),
        (3004249, 350.01, 8876, "as_delivered", 350.01, "above_most"),
        (3004249, -142.0, 8876, "as_delivered", -142.0, "below_least"),
        (3036277, 1.72, 8582, "as_delivered", 1.72, "below_least"),  # metres said to be centimetres
        (3036277, 172.0, 9546, "converted", 17200.0, "above_most"),  # centimetres said to be metres
    ],
)
def test_the_rule_says_how_a_value_came_about_and_what_it_breaks(
    sail: SparkSession,
    concept: int,
    number: float | None,
    unit: int | None,
    rule: str,
    value: float | None,
    implausible: str | None,
) -> None:
    (row,) = harmonised(measurements(sail, (concept, number, unit))).collect()
    assert (row.conversion_rule, row.value_as_number, row.implausible_rule) == (rule, value, implausible)
    assert (row.factor is None, row.added is None) == (value is None, value is None)


def test_what_is_no_analyte_has_no_row(sail: SparkSession) -> None:
    delivered = measurements(sail, (37208353, 2.0, 44777566), (0, 5.0, 8840), (4326744, 142.0, 8876))
    assert harmonised(delivered).collect() == []


def test_without_analytes_there_are_no_rows(sail: SparkSession) -> None:
    delivered = measurements(sail, (3025315, 71.5, 9529))
    assert harmonised(delivered, NO_ANALYTES).collect() == []


def test_an_analyte_needs_its_concept_and_its_unit_in_the_vocabulary(sail: SparkSession) -> None:
    weight, kilogram, height, pressure, mercury = 3025315, 9529, 3036277, 3004249, 8876
    known = concepts(
        sail, (weight, "S", None), (kilogram, "S", None), (height, "S", None), (pressure, None, None), (mercury, "S", None)
    )
    found = analyte_concepts(sail, known, ANALYTES)
    assert dict(found.dtypes) == ANALYTE_CONCEPTS_SCHEMA
    assert sorted(tuple(row) for row in found.collect()) == [
        (weight, "body_weight", weight, kilogram, False, 0.2, 500.0),
        (4099154, "body_weight", weight, kilogram, False, 0.2, 500.0),
    ]


def test_a_concept_of_a_unit_is_one_of_the_vocabulary(sail: SparkSession) -> None:
    known = concepts(sail, (3004410, "S", None), (3016723, None, None), (3004501, "S", "D"))
    found = concepts_by_unit(sail, known, ANALYTES).collect()
    assert sorted(tuple(row) for row in found) == [
        (40762352, 8554, 3004410),
        (40762352, 8737, 3004410),
        (40762352, 9225, 3004410),
    ]


def test_a_concept_of_another_property_than_the_unit_is_replaced_both_ways() -> None:
    creatinine = {(concept, unit, fitting) for concept, unit, fitting in ANALYTES.by_unit if fitting in (3016723, 3020564)}
    assert creatinine == {
        (3020564, 8840, 3016723),  # moles, but in milligram per deciliter
        (3016723, 8749, 3020564),  # mass, but in micromole per liter
        (3016723, 8753, 3020564),  # mass, but in millimole per liter
    }


def mapped(sail: SparkSession, *rows: tuple[int, int | None, str | None]) -> list[tuple[Any, ...]]:
    """Concept and origin after the unit, of rows with a concept, a unit and an origin."""
    keyed = [(place, *row) for place, row in enumerate(rows)]
    frame = sail.createDataFrame(keyed, "place int, _target_concept_id bigint, unit_target bigint, _map_origin string")
    by_unit = sail.createDataFrame(
        [(40762352, 8554, 3004410)], ", ".join(f"{name} {kind}" for name, kind in CONCEPTS_BY_UNIT_SCHEMA.items())
    )
    found = with_concept_of_unit(frame, by_unit)
    assert found.columns == frame.columns
    return [(row["_target_concept_id"], row["_map_origin"]) for row in sorted(found.collect(), key=lambda row: row["place"])]


def test_the_concept_of_a_row_is_that_of_its_unit(sail: SparkSession) -> None:
    assert mapped(
        sail,
        (40762352, 8554, "athena+analyte"),
        (40762352, 8554, None),
        (40762352, 9579, "local"),
        (40762352, None, "local"),
        (40762352, 0, "local"),
        (3023314, 8554, "local"),
    ) == [
        (3004410, "athena+analyte+unit"),
        (3004410, "+unit"),
        (40762352, "local"),
        (40762352, "local"),
        (40762352, "local"),
        (3023314, "local"),
    ]


@pytest.mark.parametrize("is_on", [True, False])
def test_the_table_is_declared_unless_it_is_switched_off(is_on: bool) -> None:
    inputs = MapInputs(
        sources=(),
        delivered=frozenset(),
        local_maps=(),
        source_priority=(),
        plausibility=load_plausibility(PACKAGED_MAPPINGS_DIR),
        described_as=CdmSource("", "", "", "", "", DAY, DAY, "", "5.4", "", {}, {}),
        analytes=ANALYTES,
        with_measurement_harmonised=is_on,
    )
    names = {table.name.name for table in map_tables(inputs)}
    assert ("measurement_harmonised" in names, "analyte_concepts" in names) == (is_on, is_on)
    assert {"measurement", "concepts_by_unit"} <= names


def test_the_switch_is_on_by_default() -> None:
    assert DerivedSettings().measurement_harmonised
