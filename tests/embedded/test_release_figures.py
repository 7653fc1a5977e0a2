"""The figures of a release, counted on written rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from random import Random
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.cdm import EVENT_TABLES, delta_schema
from pipelines.contracts.derived import published_tables
from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.omop.codes import ROUTES_SCHEMA
from pipelines.quality.release_figures import FIGURE_SCHEMA, day_of, figures_table
from vocab.schemas import ddl_of

CDM = published_tables("5.4")
GP, ACUTE = {"_source": "gp"}, {"_source": "acute"}
BP = {"person_id": 1, "measurement_concept_id": 3004249, "unit_concept_id": 8876, "measurement_date": date(2025, 11, 3)}
ROWS: dict[str, list[dict[str, Any]]] = {
    "person": [{"person_id": 1}, {"person_id": 2}],
    "condition_occurrence": [
        GP | {"person_id": 1, "condition_start_date": date(2025, 10, 31)},
        GP | {"person_id": 1, "condition_start_date": date(2025, 10, 1)},
        ACUTE | {"person_id": 2, "condition_start_date": date(2025, 11, 1)},
    ],
    "measurement": [
        GP | BP | {"value_as_number": 120.0},
        GP | BP | {"value_as_number": 131.0},
        GP | BP | {"value_as_number": None},
        GP | BP | {"unit_concept_id": None, "value_as_number": 7.0},
        GP | BP | {"measurement_concept_id": 0, "value_as_number": 9.0},
    ],
    "visit_occurrence": [
        ACUTE | {"person_id": 1, "visit_concept_id": 9201, "visit_start_date": date(2025, 1, 1), "visit_end_date": end}
        for end in (date(2025, 1, 4), date(2025, 1, 1), None)
    ],
}
ROUTE = {"source": "gp", "entity": "observation", "rule": "r", "vocabulary": "SNOMED", "code": "1", "rows": 5}
ROUTES = [
    ROUTE | {"target_concept_id": 10},
    ROUTE | {"target_concept_id": 11},
    ROUTE | {"code": "2", "rows": 3, "target_concept_id": 0},
    ROUTE | {"code": None, "rows": 9, "target_concept_id": 12},
]


@dataclass(frozen=True)
class Given:
    """Tables as written above."""

    session: SparkSession
    rows: Mapping[str, list[dict[str, Any]]] = field(default_factory=lambda: ROWS)

    def read(self, zone: Zone, name: str) -> DataFrame:
        if zone is Zone.INTERMEDIATE:
            return self._frame(ROUTES_SCHEMA, ROUTES)
        return self._frame(delta_schema(CDM[name]), self.rows.get(name, []))

    def _frame(self, schema: Mapping[str, str], rows: list[dict[str, Any]]) -> DataFrame:
        return self.session.createDataFrame([tuple(row.get(name) for name in schema) for row in rows], ddl_of(schema))


@pytest.fixture(scope="module")
def figures(sail: SparkSession) -> list[tuple[Any, ...]]:
    checked = [TableName(Zone.OMOP, name) for name in (*ROWS, "location", "cdm_source")]
    table = figures_table(checked, CDM, with_routes=True)
    assert TableName(Zone.OMOP, "cdm_source") not in table.inputs
    made = table.make(Given(sail))
    assert dict(made.dtypes) == FIGURE_SCHEMA
    return sorted((tuple(row.values()) for row in made.toArrow().to_pylist()), key=str)


def test_rows_people_months_mapping_and_means_are_counted(figures: list[tuple[Any, ...]]) -> None:
    assert figures == sorted(
        [
            ("rows", "person", "", "", 2, None, None, None),
            ("rows", "location", "", "", 0, None, None, None),
            ("people", "person", "", "", 2, None, None, None),
            ("people", "condition_occurrence", "", "", 2, None, None, None),
            ("people", "measurement", "", "", 1, None, None, None),
            ("people", "visit_occurrence", "", "", 1, None, None, None),
            ("month", "condition_occurrence", "gp", "2025-10", 2, None, None, None),
            ("month", "condition_occurrence", "acute", "2025-11", 1, None, None, None),
            ("month", "measurement", "gp", "2025-11", 5, None, None, None),
            ("month", "visit_occurrence", "acute", "2025-01", 3, None, None, None),
            ("mapped", "", "gp", "SNOMED", 8, 5, None, None),
            ("value", "measurement", "", "3004249/8876", 2, None, 125.5, 5.5),
            ("value", "measurement", "", "3004249/0", 1, None, 7.0, 0.0),
            ("stay", "visit_occurrence", "", "9201", 2, None, 1.5, 1.5),
        ],
        key=str,
    )


MEASUREMENT = TableName(Zone.OMOP, "measurement")


def mean_of(session: SparkSession, values: list[float]) -> float:
    """The figure of one measurement, of values in this order."""
    table = figures_table([MEASUREMENT], CDM, with_routes=False)
    given = Given(session, {"measurement": [GP | BP | {"value_as_number": value} for value in values]})
    (found,) = [row["mean"] for row in table.make(given).toArrow().to_pylist() if row["figure"] == "value"]
    return float(found)


def test_a_mean_is_the_same_in_whatever_order_values_are_added(sail: SparkSession) -> None:
    """160 values of 250.61 in all: 1.5663125 each, which lies between two places."""
    values = [1.57, 0.1, 3.03, 2.2] * 20 + [0.7, 0.3, 1.1, 2.01] * 19 + [0.7, 0.3, 1.1, 32.42]
    assert len(values) == 160
    for order in range(8):
        Random(order).shuffle(values)
        assert mean_of(sail, values) == 1.566313


def test_a_number_beyond_all_measure_is_in_no_mean(sail: SparkSession) -> None:
    assert mean_of(sail, [1.0, 2.0, 1e300]) == 1.5


def test_the_day_of_an_event_is_that_on_which_it_begins() -> None:
    assert {name: day_of(CDM[name]) for name in EVENT_TABLES} == {
        "condition_occurrence": "condition_start_date",
        "death": "death_date",
        "device_exposure": "device_exposure_start_date",
        "drug_exposure": "drug_exposure_start_date",
        "episode": "episode_start_date",
        "measurement": "measurement_date",
        "note": "note_date",
        "observation": "observation_date",
        "procedure_occurrence": "procedure_date",
        "specimen": "specimen_date",
        "visit_detail": "visit_detail_start_date",
        "visit_occurrence": "visit_start_date",
    }
