"""Condition, drug and dose eras: named cases, and random histories against a reference that compares every pair of spans."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from pipelines.columns.ids import COLLISIONS_SCHEMA
from pipelines.contracts.cdm import cdm_tables, delta_schema
from pipelines.omop.eras import DrugVocabulary, condition_spans, era_ids, era_table, eras, merged_spans
from vocab.athena import TABLES

ASTHMA, ECZEMA = 317009, 133834
ASPIRIN, CLOPIDOGREL, INSULIN = 1112807, 1322184, 1516976
ASPIRIN_TABLET, BOTH_TABLET, INSULIN_VIAL, ASPIRIN_PATCH = 1, 2, 3, 4
MILLIGRAM, UNIT, MILLILITRE, HOUR = 8576, 8510, 8587, 8505

ANCESTORS = [
    (ASPIRIN, ASPIRIN),
    (ASPIRIN, ASPIRIN_TABLET),
    (ASPIRIN, BOTH_TABLET),
    (CLOPIDOGREL, BOTH_TABLET),
    (INSULIN, INSULIN_VIAL),
    (ASPIRIN, ASPIRIN_PATCH),
    (ASPIRIN_TABLET, ASPIRIN_TABLET),
]
STRENGTHS: list[dict[str, Any]] = [
    {"drug_concept_id": ASPIRIN_TABLET, "ingredient_concept_id": ASPIRIN, "amount_value": 75.0},
    {"drug_concept_id": BOTH_TABLET, "ingredient_concept_id": ASPIRIN, "amount_value": 75.0},
    {"drug_concept_id": BOTH_TABLET, "ingredient_concept_id": CLOPIDOGREL, "amount_value": 50.0, "invalid_reason": "D"},
    {
        "drug_concept_id": INSULIN_VIAL,
        "ingredient_concept_id": INSULIN,
        "numerator_value": 100.0,
        "numerator_unit_concept_id": UNIT,
        "denominator_unit_concept_id": MILLILITRE,
    },
    {
        "drug_concept_id": ASPIRIN_PATCH,
        "ingredient_concept_id": ASPIRIN,
        "numerator_value": 1.0,
        "numerator_unit_concept_id": MILLIGRAM,
        "denominator_unit_concept_id": HOUR,
    },
]

Span = tuple[int, int, date, date]
"""Person, concept, first day, last day."""


def frame_of(session: SparkSession, schema: dict[str, str], rows: Iterable[dict[str, Any]]) -> DataFrame:
    columns = ", ".join(f"{name} {kind}" for name, kind in schema.items())
    return session.createDataFrame([tuple(row.get(name) for name in schema) for row in rows], columns)


def d(text: str) -> date:
    return date.fromisoformat(text)


@pytest.fixture(scope="module")
def vocabulary(sail: SparkSession) -> DrugVocabulary:
    ingredients = [
        {"concept_id": ingredient, "concept_class_id": "Ingredient", "standard_concept": "S"}
        for ingredient in (ASPIRIN, CLOPIDOGREL, INSULIN)
    ]
    tablets = [{"concept_id": drug, "concept_class_id": "Clinical Drug", "standard_concept": "S"} for drug in (1, 2, 3, 4)]
    pairs = [{"ancestor_concept_id": above, "descendant_concept_id": below} for above, below in ANCESTORS]
    strengths = [{"amount_unit_concept_id": MILLIGRAM} | row if "amount_value" in row else row for row in STRENGTHS]
    return DrugVocabulary(
        frame_of(sail, TABLES["CONCEPT"], ingredients + tablets),
        frame_of(sail, TABLES["CONCEPT_ANCESTOR"], pairs),
        frame_of(sail, TABLES["DRUG_STRENGTH"], strengths),
    )


def conditions_of(
    session: SparkSession, rows: Iterable[tuple[int, int, date, date | None] | tuple[int, int, date, date | None, int]]
) -> DataFrame:
    names = ("person_id", "condition_concept_id", "condition_start_date", "condition_end_date", "condition_status_concept_id")
    schema = delta_schema(cdm_tables("5.4")["condition_occurrence"])
    return frame_of(session, schema, [dict(zip(names, row, strict=False)) for row in rows])


def drugs_of(
    session: SparkSession, rows: Iterable[tuple[int, int, date, date] | tuple[int, int, date, date, float, int]]
) -> DataFrame:
    names = ("person_id", "drug_concept_id", "drug_exposure_start_date", "drug_exposure_end_date", "quantity", "days_supply")
    schema = delta_schema(cdm_tables("5.4")["drug_exposure"])
    return frame_of(session, schema, [dict(zip(names, row, strict=False)) for row in rows])


def found(frame: DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in frame.select(*columns).collect())


def test_a_condition_without_a_usable_end_lasts_until_the_next_day_and_concept_0_makes_no_era(sail: SparkSession) -> None:
    rows = [
        (1, ASTHMA, d("2024-01-01"), None),
        (1, ASTHMA, d("2024-03-01"), d("2024-02-01")),
        (1, 0, d("2024-01-01"), None),
    ]
    spans = condition_spans(conditions_of(sail, rows))
    assert found(spans, "concept_id", "start_date", "end_date") == [
        (ASTHMA, d("2024-01-01"), d("2024-01-02")),
        (ASTHMA, d("2024-03-01"), d("2024-03-02")),
    ]


def test_what_is_suspected_makes_no_era_and_does_not_lengthen_one(sail: SparkSession) -> None:
    preliminary, primary, resolved = 32899, 32902, 32906
    rows = [
        (1, ASTHMA, d("2024-01-01"), None, preliminary),
        (1, ASTHMA, d("2024-01-10"), d("2024-01-12"), primary),
        (1, ASTHMA, d("2024-02-01"), d("2024-02-02"), preliminary),
        (1, ASTHMA, d("2024-02-28"), d("2024-02-28"), 0),
        (2, ASTHMA, d("2024-01-01"), None, preliminary),
        (3, ASTHMA, d("2024-01-01"), d("2024-01-05"), resolved),
    ]
    merged = merged_spans(condition_spans(conditions_of(sail, rows)))
    assert found(merged, "person_id", "concept_id", "start_date", "end_date", "records") == [
        (1, ASTHMA, d("2024-01-10"), d("2024-01-12"), 1),
        (1, ASTHMA, d("2024-02-28"), d("2024-02-28"), 1),
        (3, ASTHMA, d("2024-01-01"), d("2024-01-05"), 1),
    ]


def test_thirty_days_after_the_end_are_the_same_era_and_thirty_one_are_not(sail: SparkSession) -> None:
    rows = [
        (1, ASTHMA, d("2024-01-01"), d("2024-01-10")),
        (1, ASTHMA, d("2024-02-09"), d("2024-02-10")),
        (1, ASTHMA, d("2024-03-13"), d("2024-03-14")),
        (1, ECZEMA, d("2024-01-05"), d("2024-01-06")),
        (2, ASTHMA, d("2024-01-05"), d("2024-01-06")),
    ]
    merged = merged_spans(condition_spans(conditions_of(sail, rows)))
    assert found(merged, "person_id", "concept_id", "start_date", "end_date", "records") == [
        (1, ECZEMA, d("2024-01-05"), d("2024-01-06"), 1),
        (1, ASTHMA, d("2024-01-01"), d("2024-02-10"), 2),
        (1, ASTHMA, d("2024-03-13"), d("2024-03-14"), 1),
        (2, ASTHMA, d("2024-01-05"), d("2024-01-06"), 1),
    ]


def test_a_drug_counts_for_each_of_its_ingredients_with_the_days_between_exposures(
    sail: SparkSession, vocabulary: DrugVocabulary
) -> None:
    drugs = drugs_of(
        sail,
        [
            (1, ASPIRIN_TABLET, d("2024-01-01"), d("2024-01-28")),
            (1, BOTH_TABLET, d("2024-02-07"), d("2024-03-05")),
            (1, ASPIRIN, d("2024-03-01"), d("2024-03-10")),
            (1, 999, d("2024-03-01"), d("2024-03-10")),
        ],
    )
    stored = eras(conditions_of(sail, []), drugs, vocabulary)
    columns = ("_kind", "concept_id", "start_date", "end_date", "records", "gap_days")
    assert found(stored, *columns) == [
        ("drug_era", ASPIRIN, d("2024-01-01"), d("2024-03-10"), 3, 10),
        ("drug_era", CLOPIDOGREL, d("2024-02-07"), d("2024-03-05"), 1, 0),
    ]


def test_dose_eras_part_where_the_dose_changes_and_need_strength_quantity_and_days(
    sail: SparkSession, vocabulary: DrugVocabulary
) -> None:
    drugs = drugs_of(
        sail,
        [
            (1, ASPIRIN_TABLET, d("2024-01-01"), d("2024-01-28"), 28.0, 28),
            (1, BOTH_TABLET, d("2024-01-29"), d("2024-02-25"), 28.0, 28),
            (1, ASPIRIN_TABLET, d("2024-02-26"), d("2024-03-24"), 56.0, 28),
            (1, INSULIN_VIAL, d("2024-01-01"), d("2024-01-30"), 10.0, 30),
            (1, ASPIRIN_PATCH, d("2024-06-01"), d("2024-06-30"), 10.0, 30),
            (1, ASPIRIN_TABLET, d("2024-07-01"), d("2024-07-28")),
            (1, ASPIRIN_TABLET, d("2024-07-01"), d("2024-07-28"), 28.0, 0),
            (1, ASPIRIN_TABLET, d("2024-09-01"), d("2024-09-07"), 56.0, 9999),
            (1, ASPIRIN_TABLET, d("2024-09-01"), d("2024-09-07"), 56.0, 3651),
            (1, ASPIRIN_TABLET, d("2024-09-01"), d("2024-09-07"), 56.0, -1),
            (2, ASPIRIN_TABLET, d("2004-01-01"), d("2013-12-28"), 3650.0, 3650),
        ],
    )
    stored = eras(conditions_of(sail, []), drugs, vocabulary)
    table = era_table(stored, frame_of(sail, COLLISIONS_SCHEMA, []), cdm_tables("5.4")["dose_era"])
    columns = ("drug_concept_id", "unit_concept_id", "dose_value", "dose_era_start_date", "dose_era_end_date")
    assert found(table, *columns) == [
        (ASPIRIN, MILLIGRAM, 75.0, d("2004-01-01"), d("2013-12-28")),
        (ASPIRIN, MILLIGRAM, 75.0, d("2024-01-01"), d("2024-02-25")),
        (ASPIRIN, MILLIGRAM, 150.0, d("2024-02-26"), d("2024-03-24")),
        (INSULIN, UNIT, 33.333333, d("2024-01-01"), d("2024-01-30")),
    ]


def test_ids_are_unique_and_name_the_era_by_its_start_alone(sail: SparkSession, vocabulary: DrugVocabulary) -> None:
    drugs = drugs_of(sail, [(1, ASPIRIN_TABLET, d("2024-01-01"), d("2024-01-28"), 28.0, 28)])
    short = eras(conditions_of(sail, [(1, ASTHMA, d("2024-01-01"), None)]), drugs, vocabulary)
    grown = eras(
        conditions_of(sail, [(1, ASTHMA, d("2024-01-01"), None), (1, ASTHMA, d("2024-01-20"), d("2024-02-02"))]),
        drugs,
        vocabulary,
    )
    ids = found(era_ids(short), "_kind", "id")
    assert len({era_id for _, era_id in ids}) == 3
    assert found(era_ids(grown), "_kind", "id") == ids


DAY_ZERO = d("2019-12-15")
days = st.integers(0, 200).map(lambda offset: DAY_ZERO + timedelta(offset))


@st.composite
def histories(draw: st.DrawFn, concepts: Sequence[int]) -> list[Span]:
    """A few dozen people with a handful of spans each; starts and lengths lie so close that many gaps are near 30 days."""
    spans = []
    for person in range(draw(st.integers(20, 40))):
        for _ in range(draw(st.integers(0, 7))):
            start, length = draw(days), draw(st.sampled_from((0, 1, 1, 5, 29, 30, 31, 60)))
            spans.append((person, draw(st.sampled_from(concepts)), start, start + timedelta(length)))
    return spans


def together(spans: list[tuple[date, date]], apart: int) -> list[list[tuple[date, date]]]:
    """Groups of spans that are linked, directly or through others, by lying at most `apart` days from each other."""
    groups: list[list[tuple[date, date]]] = []
    for start, end in spans:
        near = [
            group
            for group in groups
            if any((start - other_end).days <= apart and (other_start - end).days <= apart for other_start, other_end in group)
        ]
        merged = [span for group in near for span in group]
        groups = [group for group in groups if group not in near] + [[*merged, (start, end)]]
    return groups


def expected_eras(spans: Iterable[Span]) -> list[tuple[int, int, date, date, int, int]]:
    """Person, concept, start, end, number of spans, days of the era minus days of its stretches."""
    by_thing = defaultdict(list)
    for person, concept, start, end in spans:
        by_thing[person, concept].append((start, end))
    result = []
    for thing, listed in by_thing.items():
        for group in together(listed, 30):
            start, end = min(start for start, _ in group), max(end for _, end in group)
            stretches = [(min(s for s, _ in stretch), max(e for _, e in stretch)) for stretch in together(group, 0)]
            gap = (end - start).days - sum((last - first).days for first, last in stretches)
            result.append((*thing, start, end, len(group), gap))
    return sorted(result)


few = settings(
    max_examples=8, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
COLUMNS = ("person_id", "concept_id", "start_date", "end_date", "records", "gap_days")


@few
@given(spans=histories((ASTHMA, ECZEMA)), lost=st.sets(st.integers(0, 100)))
def test_condition_eras_equal_the_reference_on_random_histories(sail: SparkSession, spans: list[Span], lost: set[int]) -> None:
    rows = [(*span[:3], None if place in lost else span[3]) for place, span in enumerate(spans)]
    whole = [(*row[:3], row[3] or row[2] + timedelta(1)) for row in rows]
    merged = merged_spans(condition_spans(conditions_of(sail, rows)))
    assert found(merged, *COLUMNS) == expected_eras(whole)


@few
@given(spans=histories((ASPIRIN_TABLET, BOTH_TABLET, INSULIN_VIAL, 999)))
def test_drug_eras_equal_the_reference_on_random_histories(
    sail: SparkSession, vocabulary: DrugVocabulary, spans: list[Span]
) -> None:
    taken = [
        (person, above, first, last) for person, drug, first, last in spans for above, below in ANCESTORS[:6] if below == drug
    ]
    stored = eras(conditions_of(sail, []), drugs_of(sail, spans), vocabulary)
    assert found(stored.where("_kind = 'drug_era'"), *COLUMNS) == expected_eras(taken)
