"""What is accepted as an Athena download."""

import shutil
import zipfile
from pathlib import Path

import pytest

from vocab.athena import BLOCK_BYTES, TABLES, UK_VOCABULARIES, _blocks, _rows, check_download, unpacked
from vocab.errors import VocabularyError
from vocab.load import DEMO_DIR, LOCAL_DIR, LOCAL_STEMS


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """A copy of the demonstration vocabulary that a test may spoil."""
    return Path(shutil.copytree(DEMO_DIR, tmp_path / "athena"))


def test_the_demonstration_is_a_complete_download() -> None:
    found = check_download(DEMO_DIR)
    assert found.release == "v5.0 30-AUG-24 (demo)"
    assert set(found.file_bytes) == set(TABLES)
    assert set(UK_VOCABULARIES) <= set(found.vocabularies)
    assert found.warnings == ()


def test_the_demonstration_is_small() -> None:
    assert sum(check_download(DEMO_DIR).file_bytes.values()) < 2_000_000


def test_every_fault_is_reported_at_once(download: Path) -> None:
    (download / "DOMAIN.csv").unlink()
    (download / "CONCEPT.csv").write_text("concept_id\tconcept_name\n1\tone\n", encoding="utf-8")
    (download / "VOCABULARY.csv").write_text("vocabulary_id,vocabulary_name\n", encoding="utf-8")
    with pytest.raises(VocabularyError) as error:
        check_download(download)
    message = str(error.value)
    assert "DOMAIN.csv is missing" in message
    assert "CONCEPT.csv lacks domain_id" in message
    assert "VOCABULARY.csv is not separated by tabs" in message


def test_an_optional_file_is_checked_where_it_is_there(download: Path) -> None:
    (download / "PACK_CONTENT.csv").write_text("pack_concept_id\tdrug_concept_id\n1\t2\n", encoding="utf-8")
    with pytest.raises(VocabularyError, match=r"PACK_CONTENT.csv lacks amount_integer, box_size"):
        check_download(download)


def test_a_download_without_a_release_is_refused(download: Path) -> None:
    path = download / "VOCABULARY.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("None\t")), encoding="utf-8")
    with pytest.raises(VocabularyError, match="no row 'None' with the release"):
        check_download(download)


def test_a_missing_uk_vocabulary_is_a_warning(download: Path) -> None:
    path = download / "VOCABULARY.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("dm+d\t")), encoding="utf-8")
    assert check_download(download).warnings == ("dm+d is not in the download: its codes will not be mapped",)


def test_file_names_and_headers_match_in_any_case(download: Path) -> None:
    path = download / "CONCEPT.csv"
    header, rest = path.read_text(encoding="utf-8").split("\n", 1)
    path.unlink()
    (download / "concept.csv").write_text(f"\ufeff{header.upper()}\n{rest}", encoding="utf-8")
    assert check_download(download).release == "v5.0 30-AUG-24 (demo)"


def test_a_zip_is_unpacked_whatever_folders_it_has(download: Path, tmp_path: Path) -> None:
    archive = tmp_path / "athena.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in download.glob("*.csv"):
            packed.write(path, f"../vocabulary/{path.name}")
    with unpacked(archive) as folder:
        assert check_download(folder).release == "v5.0 30-AUG-24 (demo)"
        unpacked_to = folder
    assert not unpacked_to.exists()


def test_neither_folder_nor_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match="neither a folder nor a zip"), unpacked(tmp_path / "none"):
        pass


@pytest.mark.parametrize("block", [1, 7, 10, 64, 100_000])
def test_blocks_of_any_size_give_every_line_once(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{n}\t{'x' * (n % 13)}" for n in range(200)]
    path = tmp_path / "DOMAIN.csv"
    path.write_text("\n".join(["a\tb", *lines]) + ("\n" if block % 2 else ""), encoding="utf-8")
    monkeypatch.setattr("vocab.athena.BLOCK_BYTES", block)
    rows = [
        row
        for _, start, stop in _blocks(path)
        for batch in _rows(path, start, stop, ["a", "b"], ["a", "b"])
        for row in batch.to_pylist()
    ]
    assert rows == [{"a": str(n), "b": "x" * (n % 13) or None} for n in range(200)]


def test_a_large_file_is_read_in_bounded_blocks(tmp_path: Path) -> None:
    path = tmp_path / "CONCEPT.csv"
    with path.open("wb") as file:
        file.truncate(3 * BLOCK_BYTES + 1)
    assert [stop - start for _, start, stop in _blocks(path)] == [BLOCK_BYTES] * 3 + [1]


def test_local_concepts_keep_to_their_range() -> None:
    ids = [int(line.split("\t")[0]) for line in (LOCAL_DIR / "CONCEPT.csv").read_text(encoding="utf-8").splitlines()[1:]]
    assert len(ids) == len(set(ids))
    assert all(2_000_000_000 <= concept_id < 2_000_100_000 for concept_id in ids)


def test_demonstration_ids_above_two_thousand_million_are_its_own() -> None:
    readme = (DEMO_DIR / "README.md").read_text(encoding="utf-8")
    ids = [int(line.split("\t")[0]) for line in (DEMO_DIR / "CONCEPT.csv").read_text(encoding="utf-8").splitlines()[1:]]
    own = [concept_id for concept_id in ids if concept_id >= 2_000_000_000]
    assert len(ids) == len(set(ids))
    assert all(concept_id >= 2_000_100_000 for concept_id in own)
    assert all(f"| {concept_id} |" in readme for concept_id in own)


@pytest.mark.parametrize("stem", LOCAL_STEMS)
def test_local_files_have_the_columns_of_a_download(stem: str) -> None:
    header = (LOCAL_DIR / f"{stem}.csv").read_text(encoding="utf-8").split("\n", 1)[0]
    assert header.split("\t") == list(TABLES[stem])
