"""Synthetic downloads: the layout of Athena, and links to existing concepts."""

from pathlib import Path

import pytest

from vocab.athena import TABLES
from vocab.download import check_download
from vocab.load import DEMO_DIR
from vocab.synthetic import FIRST_ID, write_download

CONCEPTS = 1_000


@pytest.fixture(scope="module")
def download(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    write_download(folder, CONCEPTS)
    return folder


def synthetic(folder: Path, stem: str) -> list[list[str]]:
    """The rows after those of the demonstration."""
    name = f"{stem}.csv"
    own = len((DEMO_DIR / name).read_text(encoding="utf-8").splitlines())
    return [line.split("\t") for line in (folder / name).read_text(encoding="utf-8").splitlines()[own:]]


def test_it_is_a_complete_download_in_the_proportions_of_a_real_one(tmp_path: Path) -> None:
    reported: list[str] = []
    rows = write_download(tmp_path, CONCEPTS, on_progress=reported.append)
    assert check_download(tmp_path).warnings == ()
    assert reported == list(TABLES)
    assert {stem: rows[stem] for stem in ("CONCEPT", "CONCEPT_RELATIONSHIP", "CONCEPT_ANCESTOR")} == {
        "CONCEPT": 1_000,
        "CONCEPT_RELATIONSHIP": 6_250,
        "CONCEPT_ANCESTOR": 10_000,
    }
    assert {stem: len(synthetic(tmp_path, stem)) for stem in TABLES} == rows


@pytest.mark.parametrize("stem", TABLES)
def test_every_row_has_every_column(download: Path, stem: str) -> None:
    assert {len(row) for row in synthetic(download, stem)} <= {len(TABLES[stem])}


def test_ids_are_unique_and_codes_of_no_vocabulary(download: Path) -> None:
    rows = synthetic(download, "CONCEPT")
    assert [int(row[0]) for row in rows] == [FIRST_ID + n for n in range(CONCEPTS)]
    assert all(row[6].startswith("SYN") for row in rows)
    assert len({row[6] for row in rows}) == CONCEPTS
    assert any('"' in row[1] for row in rows)
    assert {row[5] for row in rows} == {"S", ""}


def test_every_concept_maps_to_a_standard_one_and_back(download: Path) -> None:
    standard = {row[0] for row in synthetic(download, "CONCEPT") if row[5] == "S"}
    edges = synthetic(download, "CONCEPT_RELATIONSHIP")
    maps = {(first, second) for first, second, kind, *_ in edges if kind == "Maps to"}
    assert {first for first, _ in maps} == {str(FIRST_ID + n) for n in range(CONCEPTS)}
    assert {second for _, second in maps} <= standard
    assert {(second, first) for first, second, kind, *_ in edges if kind == "Mapped from"} == maps
    assert {row[2] for row in edges} == {"Maps to", "Mapped from", "Is a", "Subsumes"}


def test_every_standard_concept_is_its_own_ancestor(download: Path) -> None:
    rows = synthetic(download, "CONCEPT_ANCESTOR")
    own = {row[0] for row in rows if row[2:] == ["0", "0"] and row[0] == row[1]}
    assert own == {row[0] for row in synthetic(download, "CONCEPT") if row[5] == "S"}


def test_a_seed_gives_one_download(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_download(tmp_path / name, 100, seed)
    content = {name: [path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in "abc"}
    assert content["a"] == content["b"]
    assert content["a"] != content["c"]
