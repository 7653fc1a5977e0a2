"""Drug exposures: quantities and lengths of courses by strength and directions, and doses linked to their orders."""

from datetime import date
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipelines.contracts.derived import DRUG_ORDER_ADMINISTRATION
from pipelines.contracts.touched import NEWEST_SCHEMA
from pipelines.omop.drugs import drug_order_administration, with_course, with_latest_end
from pipelines.omop.events import drug_end_date, drug_end_rule
from vocab.schemas import ddl_of

TABLETS, CREAM, TWO_SUBSTANCES, ONCE_TABLETS, IN_GRAMS = 1, 2, 3, 4, 5
STRENGTHS = [
    (TABLETS, 500.0, 8576, None),
    (CREAM, None, None, None),
    (TWO_SUBSTANCES, 250.0, 8576, None),
    (TWO_SUBSTANCES, 125.0, 8576, None),
    (ONCE_TABLETS, 500.0, 8576, "D"),
    (IN_GRAMS, 1.0, 8504, None),
]
STRENGTH = "drug_concept_id bigint, amount_value double, amount_unit_concept_id bigint, invalid_reason string"
DRUG = (
    "_target_concept_id bigint, quantity double, dose_unit_source_value string, sig string, days_supply bigint,"
    " prescribed_days bigint, start_date date, end_date date, _extracted_on date,"
    " person_id bigint, _source string, _provider string"
)
START, EXTRACT = date(2024, 3, 1), date(2024, 3, 20)


def course(session: SparkSession, died: date | None = None, **drug: Any) -> dict[str, Any]:
    """What comes of one drug exposure that is delivered when it starts; the newest extract of its provider is of EXTRACT."""
    names = [part.split()[0] for part in DRUG.replace(", ", ",").split(",")]
    values = {"start_date": START, "_extracted_on": START, "person_id": 1, "_source": "gp", "_provider": "P1"} | drug
    rows = session.createDataFrame([tuple(values.get(name) for name in names)], DRUG)
    deaths = session.createDataFrame([(1, died)] if died else [], "person_id bigint, death_date date")
    extracts = session.createDataFrame([("gp", "P1", EXTRACT), ("gp", "P2", date(2024, 5, 1))], ddl_of(NEWEST_SCHEMA))
    read = with_course(with_latest_end(rows, deaths, extracts), session.createDataFrame(STRENGTHS, STRENGTH), rows)
    ended = read.select("_counted", drug_end_date().alias("end"), drug_end_rule().alias("rule"))
    return dict(ended.toArrow().to_pylist()[0])


COUNTED = [
    (TABLETS, 1000.0, "mg", 2.0),
    (TABLETS, 1.0, "g", 2.0),
    (TABLETS, 250.0, "milligrams", 0.5),
    (TABLETS, 28.0, "tablet", 28.0),
    (TABLETS, 28.0, None, 28.0),
    (TABLETS, 5.0, "ml", 5.0),
    (CREAM, 30.0, "gram", 30.0),
    (TWO_SUBSTANCES, 375.0, "mg", 375.0),
    (ONCE_TABLETS, 1000.0, "mg", 1000.0),
    (IN_GRAMS, 1.0, "g", 1.0),
    (0, 1000.0, "mg", 1000.0),
]


@pytest.mark.parametrize(("drug", "quantity", "unit", "counted"), COUNTED)
def test_pieces_are_counted_where_one_valid_strength_is_a_fixed_amount(
    sail: SparkSession, drug: int, quantity: float, unit: str | None, counted: float
) -> None:
    found = course(sail, _target_concept_id=drug, quantity=quantity, dose_unit_source_value=unit)
    assert found["_counted"] == counted


MARCH = {day: date(2024, 3, day) for day in range(1, 32)}
ENDS: list[tuple[dict[str, Any], date, str]] = [
    ({"end_date": MARCH[9], "days_supply": 3}, MARCH[9], "delivered"),
    ({"end_date": date(2024, 2, 1), "days_supply": 3}, MARCH[3], "days_supplied"),
    ({"days_supply": 3, "sig": "twice a day for 5 days"}, MARCH[3], "days_supplied"),
    ({"days_supply": 3650}, EXTRACT, "days_supplied"),
    ({"days_supply": 3651}, START, "same_day"),
    ({"days_supply": -1, "prescribed_days": 10}, MARCH[10], "written_prescription"),
    ({"sig": "1 twice a day for 5 days", "quantity": 28.0, "dose_unit_source_value": "tablet"}, MARCH[5], "duration_stated"),
    ({"sig": "1 tablet twice a day", "quantity": 14.0, "dose_unit_source_value": "tablets"}, MARCH[7], "quantity_by_dose"),
    ({"sig": "1 tablet twice a day", "quantity": 15.0, "dose_unit_source_value": "tablets"}, MARCH[8], "quantity_by_dose"),
    ({"sig": "1 gram 4 times a day", "quantity": 32.0, "dose_unit_source_value": "tablet"}, MARCH[4], "quantity_by_dose"),
    ({"sig": "1 tablet once a week", "quantity": 2.0, "dose_unit_source_value": "tablet"}, MARCH[14], "quantity_by_dose"),
    ({"sig": "1 tablet once a day", "quantity": 28.0, "dose_unit_source_value": "tablet"}, EXTRACT, "quantity_by_dose"),
    ({"sig": "1 tablet once a day", "quantity": 0.0, "dose_unit_source_value": "tablet"}, START, "same_day"),
    ({"sig": "1 tablet once a day", "quantity": 365.0, "dose_unit_source_value": "tablet"}, EXTRACT, "quantity_by_dose"),
    ({"sig": "1 tablet once a day", "quantity": 366.0, "dose_unit_source_value": "tablet"}, START, "same_day"),
    ({"sig": "1 tablet once a day", "quantity": -28.0, "dose_unit_source_value": "tablet"}, START, "same_day"),
    ({"sig": "1 as needed", "quantity": 9.0, "dose_unit_source_value": "tablet"}, START, "same_day"),
    ({"sig": "1 tablet once a day"}, START, "same_day"),
    ({"prescribed_days": 30}, EXTRACT, "written_prescription"),
    ({"prescribed_days": 30, "_provider": "P2"}, MARCH[30], "written_prescription"),
    ({}, START, "same_day"),
    ({"days_supply": 14, "died": MARCH[5]}, MARCH[5], "days_supplied"),
    ({"days_supply": 14, "died": MARCH[14]}, MARCH[14], "days_supplied"),
    ({"days_supply": 3, "died": MARCH[5]}, MARCH[3], "days_supplied"),
    ({"days_supply": 28, "died": MARCH[25]}, EXTRACT, "days_supplied"),
    ({"sig": "1 twice a day for 5 days", "died": MARCH[2]}, MARCH[2], "duration_stated"),
    ({"prescribed_days": 30, "died": START}, START, "written_prescription"),
    ({"prescribed_days": 30, "died": date(2024, 2, 20)}, START, "written_prescription"),
    ({"end_date": MARCH[9], "died": MARCH[5]}, MARCH[9], "delivered"),
    ({"died": date(2024, 2, 20)}, START, "same_day"),
]  # fmt: skip


@pytest.mark.parametrize(("drug", "end", "rule"), ENDS)
def test_the_first_rule_of_themis_that_applies_gives_the_end(
    sail: SparkSession, drug: dict[str, Any], end: date, rule: str
) -> None:
    found = course(sail, _target_concept_id=TABLETS, **drug)
    assert (found["end"], found["rule"]) == (end, rule)


def test_a_dose_is_linked_to_the_row_of_its_order_that_has_its_drug_else_to_all_of_it(sail: SparkSession) -> None:
    anna, ben = 101, 102
    exposures = [
        (anna, "o1", "o1", "A", 1),  # a code of two drugs
        (anna, "o1", "o1", "B", 2),
        (anna, "o1", "d1", "B", 11),
        (anna, "o1", "d1", "A", 12),
        (anna, "o1", "d2", "A", 13),
        (anna, "o1", "d3", "C", 14),  # another product than the one ordered
        (anna, "o1", "d4", None, None),  # no drug, but a device
        (ben, "o1", "d5", "A", 16),
        (anna, "gone", "d6", "A", 17),
        (ben, "o2", "o2", None, None),
        (ben, "o2", "d7", "A", 18),
        (ben, "o3", "o3", "A", 4),
        (ben, "o3", "d8", "A", 19),
        (ben, "o3", "d9", "B", 20),
        (ben, "o3", "d10", "A", 21),  # of more drugs than ordered
        (ben, "o3", "d10", "B", 22),
        (ben, "o4", "o4", "none", 5),  # a name without a concept
        (ben, "o4", "d11", "none", 23),
        (ben, "o4", "d12", "A", 24),
    ]
    concepts = {"A": TABLETS, "B": CREAM, "C": TWO_SUBSTANCES, "none": 0}
    keys = [(row_key, "r", order_key) for _, order_key, row_key, _, _ in exposures]
    events = sail.createDataFrame(list(dict.fromkeys(keys)), "_row_key string, _rule string, order_key string")
    rows_of_drugs = [(row_key, "r", who, concepts[drug], n) for who, _, row_key, drug, n in exposures if drug]
    rows_of_drugs.append(("d2", "of another rule", anna, TABLETS, 25))
    drugs = sail.createDataFrame(
        rows_of_drugs, "_row_key string, _rule string, person_id bigint, drug_concept_id bigint, drug_exposure_id bigint"
    )
    rows = drug_order_administration(events, drugs, DRUG_ORDER_ADMINISTRATION)
    assert rows.columns == [*DRUG_ORDER_ADMINISTRATION.schema]
    assert sorted(tuple(row) for row in rows.collect()) == [
        (anna, 1, 12, "order_named"),
        (anna, 1, 13, "order_named"),
        (anna, 1, 14, "order_named"),
        (anna, 2, 11, "order_named"),
        (anna, 2, 14, "order_named"),
        (ben, 4, 19, "order_named"),
        (ben, 4, 20, "order_named"),
        (ben, 4, 21, "order_named"),
        (ben, 4, 22, "order_named"),
        (ben, 5, 23, "order_named"),
        (ben, 5, 24, "order_named"),
    ]
