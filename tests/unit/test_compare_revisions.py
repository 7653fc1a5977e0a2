from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from pipelines.errors import ConfigError
from pipelines.measuring.revisions import Checkout, link_extracts, this_checkout
from tests.compare_releases import LINKS, MISSING, OTHER_ROWS, Comparison, Releases, compare, id_columns
from tests.compare_revisions import shown

TABLES = {
    "person": "person_id BIGINT, year_of_birth BIGINT, provider_id BIGINT",
    "provider": "provider_id BIGINT, provider_source_value VARCHAR",
    "visit_occurrence": "visit_occurrence_id BIGINT, person_id BIGINT, visit_start_date DATE, "
    "preceding_visit_occurrence_id BIGINT",
    "measurement": "measurement_id BIGINT, person_id BIGINT, measurement_concept_id BIGINT, value_as_number DOUBLE, "
    "visit_occurrence_id BIGINT",
    "fact_relationship": "fact_id_1 BIGINT, fact_id_2 BIGINT, relationship_concept_id BIGINT",
    "metadata": "metadata_id BIGINT, name VARCHAR, value_as_string VARCHAR",
    "concept": "concept_id BIGINT, concept_name VARCHAR",
}

ROWS = {
    "person": "(1, 1950, 7), (2, 1950, 7), (3, 1980, NULL)",
    "provider": "(7, 'a7'), (8, 'a8')",
    "visit_occurrence": "(11, 1, '2026-01-01', NULL), (12, 1, '2026-01-02', 11), (13, 2, '2026-01-01', NULL)",
    # Two rows of person 2 differ in nothing but their id.
    "measurement": "(21, 1, 900, 5.5, 11), (22, 2, 900, 6.5, 13), (23, 2, 900, 6.5, 13), (24, 1, 901, NULL, 12)",
    "fact_relationship": "(21, 24, 44), (24, 21, 45)",
    "metadata": "(31, 'release', 'r1'), (32, 'vocabulary release', 'v1')",
    "concept": "(900, 'x'), (901, 'y')",
}

RENAMED = """
UPDATE new.person SET person_id = 100 - person_id, provider_id = provider_id + 1000;
UPDATE new.provider SET provider_id = provider_id + 1000, provider_source_value = 'b' || provider_source_value;
UPDATE new.visit_occurrence SET visit_occurrence_id = 24 - visit_occurrence_id, person_id = 100 - person_id,
    preceding_visit_occurrence_id = 24 - preceding_visit_occurrence_id;
UPDATE new.measurement SET measurement_id = 45 - measurement_id, person_id = 100 - person_id,
    visit_occurrence_id = 24 - visit_occurrence_id;
UPDATE new.fact_relationship SET fact_id_1 = 45 - fact_id_1, fact_id_2 = 45 - fact_id_2;
"""
"""Other ids everywhere; visits and measurements get ids that others of them had."""

SHIFTED = RENAMED.replace("100 -", "1000 +").replace("24 -", "1000 +").replace("45 -", "1000 +")
"""Other ids everywhere, none of which there was before."""


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as opened:
        for release in ("old", "new"):
            opened.execute(f"CREATE SCHEMA {release}")
            for table, columns in TABLES.items():
                opened.execute(f"CREATE TABLE {release}.{table} ({columns})")
                opened.execute(f"INSERT INTO {release}.{table} VALUES {ROWS[table]}")
        yield opened


def compared(connection: duckdb.DuckDBPyConnection, *changes: str) -> dict[str, Comparison]:
    for change in changes:
        connection.execute(change)
    return {table.table: table for table in compare(Releases(connection))}


def verdicts(connection: duckdb.DuckDBPyConnection, *changes: str) -> dict[str, str]:
    return {name: table.equal for name, table in compared(connection, *changes).items()}


def different(connection: duckdb.DuckDBPyConnection, *changes: str) -> dict[str, tuple[str, ...]]:
    return {name: table.columns for name, table in compared(connection, *changes).items() if table.equal == "no"}


def test_the_same_rows_are_equal(connection: duckdb.DuckDBPyConnection) -> None:
    assert set(verdicts(connection).values()) == {"yes"}


def test_the_order_of_rows_and_columns_is_no_difference(connection: duckdb.DuckDBPyConnection) -> None:
    changes = (
        "CREATE OR REPLACE TABLE new.concept AS SELECT concept_name, concept_id FROM old.concept ORDER BY concept_id DESC",
        "CREATE OR REPLACE TABLE new.person AS FROM old.person ORDER BY person_id DESC",
    )
    assert set(verdicts(connection, *changes).values()) == {"yes"}


def test_hidden_columns_and_statements_about_the_build_are_not_compared(connection: duckdb.DuckDBPyConnection) -> None:
    changes = (
        "ALTER TABLE new.person ADD COLUMN _source VARCHAR",
        "UPDATE new.metadata SET value_as_string = 'r2' WHERE name = 'release'",
    )
    assert set(verdicts(connection, *changes).values()) == {"yes"}


def test_any_other_statement_is_compared(connection: duckdb.DuckDBPyConnection) -> None:
    change = "UPDATE new.metadata SET value_as_string = 'v2' WHERE metadata_id = 32"
    assert different(connection, change) == {"metadata": ("value_as_string",)}


@pytest.mark.parametrize("renaming", [RENAMED, SHIFTED])
def test_ids_may_be_renamed(connection: duckdb.DuckDBPyConnection, renaming: str) -> None:
    expected = dict.fromkeys(("fact_relationship", "measurement", "person", "provider", "visit_occurrence"), "renamed")
    assert verdicts(connection, renaming) == {**expected, "concept": "yes", "metadata": "yes"}


def test_some_ids_may_be_renamed(connection: duckdb.DuckDBPyConnection) -> None:
    changes = (
        "UPDATE new.measurement SET measurement_id = 99 WHERE measurement_id = 24",
        "UPDATE new.fact_relationship SET fact_id_1 = 99 WHERE fact_id_1 = 24",
        "UPDATE new.fact_relationship SET fact_id_2 = 99 WHERE fact_id_2 = 24",
    )
    found = verdicts(connection, *changes)
    assert found == {**dict.fromkeys(TABLES, "yes"), "measurement": "renamed", "fact_relationship": "renamed"}


CHANGES = pytest.mark.parametrize(
    ("table", "change"),
    [
        pytest.param("measurement", "UPDATE new.measurement SET value_as_number = 7.5 WHERE value_as_number = 5.5", id="value"),
        pytest.param("measurement", "UPDATE new.measurement SET value_as_number = NULL WHERE value_as_number = 5.5", id="null"),
        pytest.param("measurement", "DELETE FROM new.measurement WHERE value_as_number = 5.5", id="row lost"),
        pytest.param("measurement", "INSERT INTO new.measurement FROM new.measurement LIMIT 1", id="row twice"),
        pytest.param("concept", "UPDATE new.concept SET concept_id = 902 WHERE concept_id = 901", id="concept renamed"),
        pytest.param("provider", "UPDATE new.provider SET provider_source_value = 'same'", id="row keys merged"),
        pytest.param("provider", "DELETE FROM new.provider WHERE provider_source_value LIKE '%a8'", id="unused row lost"),
        pytest.param(
            "measurement",
            "UPDATE new.measurement SET visit_occurrence_id = (SELECT max(visit_occurrence_id) FROM new.visit_occurrence "
            "WHERE visit_start_date = '2026-01-02') WHERE value_as_number = 5.5",
            id="key to another row",
        ),
        pytest.param("measurement", "UPDATE new.measurement SET visit_occurrence_id = 555", id="key to no row"),
        pytest.param("measurement", "UPDATE new.measurement SET visit_occurrence_id = NULL", id="no key"),
        pytest.param(
            "fact_relationship", "UPDATE new.fact_relationship SET fact_id_1 = fact_id_2, fact_id_2 = fact_id_1", id="direction"
        ),
        pytest.param(
            "person", "UPDATE new.person SET person_id = (SELECT min(person_id) FROM new.person)", id="people merged in person"
        ),
    ],
)


@CHANGES
def test_a_change_is_a_difference(connection: duckdb.DuckDBPyConnection, table: str, change: str) -> None:
    assert table in different(connection, change)


@CHANGES
def test_a_change_is_a_difference_where_ids_are_renamed(connection: duckdb.DuckDBPyConnection, table: str, change: str) -> None:
    assert different(connection, RENAMED, change)  # ids carry the difference on, so that any table may show it


def test_two_ids_may_not_become_the_same(connection: duckdb.DuckDBPyConnection) -> None:
    merged = [
        f"UPDATE new.{table} SET person_id = 1 WHERE person_id = 2" for table in ("visit_occurrence", "measurement", "person")
    ]
    assert {"person", "visit_occurrence", "measurement"} <= set(different(connection, *merged))


def test_ids_have_the_same_new_name_in_all_tables(connection: duckdb.DuckDBPyConnection) -> None:
    swapped = "UPDATE new.measurement SET person_id = 3 - person_id WHERE measurement_id < 24"
    assert different(connection, swapped) == {"measurement": ("person_id",)}


def test_values_that_swap_rows_are_a_difference(connection: duckdb.DuckDBPyConnection) -> None:
    swapped = "UPDATE new.person SET year_of_birth = 3930 - year_of_birth WHERE person_id IN (1, 3)"
    assert different(connection, swapped) == {"person": (LINKS,)}


def test_values_of_one_row_that_move_to_another_are_named_so(connection: duckdb.DuckDBPyConnection) -> None:
    moved = "UPDATE new.measurement SET measurement_concept_id = 1801 - measurement_concept_id WHERE measurement_id IN (21, 24)"
    assert different(connection, moved) == {"measurement": (OTHER_ROWS,)}


def test_a_difference_stays_with_its_table_where_ids_are_kept(connection: duckdb.DuckDBPyConnection) -> None:
    changed = "UPDATE new.person SET year_of_birth = 1951 WHERE person_id = 1"
    assert different(connection, changed) == {"person": ("year_of_birth",)}


def test_where_ids_are_renamed_the_table_that_differs_is_the_nearest(connection: duckdb.DuckDBPyConnection) -> None:
    found = compared(connection, SHIFTED, "UPDATE new.measurement SET value_as_number = 7.5 WHERE value_as_number = 5.5")
    assert found["measurement"].columns == ("value_as_number",)
    distances = {name: table.distance for name, table in found.items() if table.equal == "no"}
    assert distances.pop("measurement") == 0
    assert min(distances.values()) > 0


def test_missing_tables_and_columns_are_named(connection: duckdb.DuckDBPyConnection) -> None:
    changes = (
        "DROP TABLE new.concept",
        "ALTER TABLE new.person DROP COLUMN year_of_birth",
        "ALTER TABLE new.provider ALTER COLUMN provider_id TYPE INTEGER",
    )
    found = compared(connection, *changes)
    assert found["concept"] == Comparison("concept", 2, 0, "no", (MISSING,))
    assert "year_of_birth" in found["person"].columns
    assert "provider_id" in found["provider"].columns


def test_concepts_are_no_ids_that_may_be_renamed() -> None:
    assert id_columns("concept") == {}
    assert dict(id_columns("death")) == {"person_id": "person"}
    assert not [name for name in id_columns("measurement") if "concept" in name]


def test_what_is_shown_has_counts_and_names_alone(connection: duckdb.DuckDBPyConnection) -> None:
    found = compared(connection, "UPDATE new.measurement SET value_as_number = 98765 WHERE measurement_id = 21")
    text = shown("title", list(found.values()))
    assert "value_as_number" in text
    assert "98765" not in text


def test_extracts_and_key_are_linked(tmp_path: Path) -> None:
    for name in ("landing/gp/a.csv", "truth/people.csv", "restricted/demo.key", "restricted/bronze/table"):
        path = tmp_path / "old" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    link_extracts(tmp_path / "old", tmp_path / "new")
    found = {str(path.relative_to(tmp_path / "new")) for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert found == {"landing/gp/a.csv", "truth/people.csv", "restricted/demo.key"}


def test_a_process_is_measured_and_its_failure_raised(tmp_path: Path) -> None:
    checkout: Checkout = this_checkout()
    used = checkout.run(("-c", "print(bytearray(50_000_000).count(0))"), tmp_path / "log")
    assert used.seconds > 0
    assert used.peak_gib > 0.04
    assert (tmp_path / "log").read_text() == "50000000\n"
    with pytest.raises(ConfigError, match="exit code 3"):
        checkout.run(("-c", "raise SystemExit(3)"), tmp_path / "log")
