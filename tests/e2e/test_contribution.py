"""Every source contributes rows to the release, according to the provenance of the rows."""

import pandas as pd
import pytest

from pipelines.contracts.cdm import EVENT_TABLES
from tests.e2e.world import LOCAL_IDS, DemoWorld

ROW_TABLES = {
    "person": "person_rows",
    "provider": "provider_rows",
    "care_site": "care_site_rows",
    "observation_period": "registration_rows",
}
"""OMOP tables without provenance columns, and the source rows that they are made from."""


@pytest.fixture(scope="module")
def contributions(world: DemoWorld) -> dict[str, dict[str, int]]:
    """Rows by source and OMOP table."""
    there = {table for _, table in world.tables("omop")}
    frames = {table: world.rows("omop", table, ["_source"]) for table in EVENT_TABLES if table in there}
    frames |= {table: world.rows("intermediate", rows, ["_source"]) for table, rows in ROW_TABLES.items()}
    counted = pd.concat(frames, names=["table"]).groupby(["table", "_source"]).size()
    return {source: counted.xs(source, level="_source").to_dict() for source in LOCAL_IDS}


@pytest.mark.parametrize("source", sorted(LOCAL_IDS))
def test_a_source_contributes_to_four_tables_at_least(source: str, contributions: dict[str, dict[str, int]]) -> None:
    assert len(contributions[source]) >= 4, contributions[source]


@pytest.mark.parametrize("source", sorted(LOCAL_IDS))
def test_a_source_tells_of_visits_or_events_of_its_own(source: str, contributions: dict[str, dict[str, int]]) -> None:
    clinical = set(contributions[source]) & set(EVENT_TABLES)
    assert len(clinical) >= 3, clinical


def test_every_row_names_a_source_that_is_loaded(world: DemoWorld) -> None:
    sources = {
        table: set(rows["_source"]) for zone, table in world.tables("omop") if "_source" in (rows := world.rows(zone, table))
    }
    assert {"visit_occurrence", "condition_occurrence", "measurement"} <= {table for table, named in sources.items() if named}
    assert {table: named for table, named in sources.items() if not named <= set(LOCAL_IDS)} == {}
