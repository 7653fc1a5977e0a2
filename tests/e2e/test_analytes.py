"""What studies of laboratory results and vital signs rest on: one concept and one unit per analyte, and source concepts."""

import csv
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from tests.e2e.world import DemoWorld

CATALOGUE = Path(__file__).parents[2] / "pipelines" / "synthetic" / "catalogue" / "measurements.csv"
COMMONEST = 30
MOST_WITHOUT_SOURCE_CONCEPT = 0.10
"""The threshold of DataQualityDashboard for source concepts of measurements and observations."""


@pytest.fixture(scope="module")
def measurements(world: DemoWorld) -> pd.DataFrame:
    """The measurements, with the name that the catalogue has for their code."""
    with CATALOGUE.open(encoding="utf-8", newline="") as file:
        names = {
            row[code]: row["name"] for row in csv.DictReader(file) for code in ("snomed", "loinc", "local_code") if row[code]
        }
    rows = world.rows("omop", "measurement")
    return rows.assign(name=rows["measurement_source_value"].map(names))


def test_the_commonest_measurements_have_one_concept_over_all_sources(measurements: pd.DataFrame) -> None:
    by_name = measurements.dropna(subset=["name"]).groupby("name")
    commonest = by_name.size().nlargest(COMMONEST).index
    assert len(commonest) == COMMONEST
    concepts = by_name["measurement_concept_id"].unique().loc[commonest]
    assert {name: sorted(found) for name, found in concepts.items() if len(found) != 1} == {}
    sources = by_name["_source"].nunique().loc[commonest]
    assert (sources > 1).sum() >= COMMONEST // 3  # the test is about several sources


def test_every_analyte_has_one_unit_and_a_row_for_each_of_its_measurements(
    world: DemoWorld, measurements: pd.DataFrame
) -> None:
    harmonised = world.rows("omop", "measurement_harmonised")
    assert harmonised["measurement_id"].is_unique
    assert (harmonised.groupby("analyte")["unit_concept_id"].nunique() == 1).all()
    assert (harmonised.groupby("analyte")["analyte_concept_id"].nunique() == 1).all()
    joined = harmonised.merge(measurements, on="measurement_id", suffixes=("", "_delivered"), validate="one_to_one")
    assert len(joined) == len(harmonised)
    assert (joined["person_id"] == joined["person_id_delivered"]).all()
    of_analytes = measurements["measurement_concept_id"].isin(joined["measurement_concept_id"].unique())
    assert of_analytes.sum() == len(harmonised)
    as_delivered = joined[joined["conversion_rule"] == "as_delivered"]
    assert len(as_delivered) > len(joined) / 2
    assert (as_delivered["value_as_number"] == as_delivered["value_as_number_delivered"]).all()
    assert (as_delivered["unit_concept_id"] == as_delivered["unit_concept_id_delivered"]).all()
    without_value = joined["conversion_rule"].isin(["no_number", "no_unit", "other_unit"])
    assert (joined["value_as_number"].isna() == without_value).all()


@pytest.mark.parametrize("table", ["measurement", "observation"])
def test_few_rows_lack_a_source_concept(world: DemoWorld, table: str) -> None:
    rows = world.rows("omop", table)
    lacking = rows[rows[f"{table}_source_concept_id"] == 0]
    share = len(lacking) / len(rows)
    assert share <= MOST_WITHOUT_SOURCE_CONCEPT, Counter(lacking["_rule"]).most_common(10)
