"""What the comparison of two lakes finds, and what it leaves out."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from tests.histories.lake import differences

ROWS = {"person_id": [1, 1, 2], "_rule": ["a", "a", "b"], "_load_id": ["x", "x", "x"]}


def found(
    folder: Path, nights: dict[str, Any], full: dict[str, Any], table: str = "deidentified/silver/gp_patient"
) -> list[str]:
    for name, rows in (("nights", nights), ("full", full)):
        place = folder / name / table
        place.mkdir(parents=True)
        write_deltalake(place, pa.table(rows))
    return [str(difference) for difference in differences(folder / "nights", folder / "full")]


def test_the_same_rows_in_another_order_of_another_load_are_equal(tmp_path: Path) -> None:
    other = {"_load_id": ["y", "y", "y"], "_rule": ["b", "a", "a"], "person_id": [2, 1, 1]}
    assert found(tmp_path, ROWS, other) == []


def test_another_value_is_a_difference_by_rule(tmp_path: Path) -> None:
    assert found(tmp_path, ROWS, ROWS | {"person_id": [1, 1, 3]}) == [
        "silver.gp_patient: only after the nights {'b': 1}, only in the full build {'b': 1}"
    ]


def test_a_row_that_is_there_more_often_is_a_difference(tmp_path: Path) -> None:
    full = {"person_id": [1, 2], "_rule": ["a", "b"], "_load_id": ["x", "x"]}
    assert found(tmp_path, ROWS, full) == ["silver.gp_patient: only after the nights {'a': 1}, only in the full build {}"]


def test_another_type_is_a_difference(tmp_path: Path) -> None:
    (difference,) = found(tmp_path, ROWS, ROWS | {"person_id": pa.array([1, 1, 2], pa.int32())})
    assert difference.endswith("; other columns: person_id int32, person_id int64")


def test_a_table_that_only_one_lake_has_is_a_difference(tmp_path: Path) -> None:
    place = tmp_path / "nights/deidentified/omop/person"
    place.mkdir(parents=True)
    write_deltalake(place, pa.table(ROWS))
    (difference,) = found(tmp_path, ROWS, ROWS)
    assert difference.startswith("omop.person: only after the nights {'a': 2, 'b': 1}")


def test_tables_of_runs_are_not_compared(tmp_path: Path) -> None:
    assert found(tmp_path, ROWS, ROWS | {"_rule": ["c", "c", "c"]}, "restricted/curation/touched_persons_codes") == []
