"""What is accepted as an Athena download."""

import shutil
import zipfile
from pathlib import Path

import pytest

from pipelines.engine_settings import EngineKind, EngineSettings
from pipelines.terminology.vocabulary import require_readable
from vocab.athena import BLOCK_BYTES, TABLES, blocks_of, rows_of_block, unpacked
from vocab.download import UK_VOCABULARIES, check_download
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
    with pytest.raises(VocabularyError, match=r"PACK_CONTENT.csv lacks amount, box_size"):
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


def test_a_zip_is_refused_where_other_machines_read_it(tmp_path: Path) -> None:
    archive = tmp_path / "athena.zip"
    archive.touch()
    cluster = EngineSettings(kind=EngineKind.SPARK, master="yarn")
    with pytest.raises(VocabularyError, match=r"athena[.]zip: a zip is unpacked on this machine"):
        require_readable(cluster, archive)
    require_readable(cluster, tmp_path)
    require_readable(EngineSettings(kind=EngineKind.SPARK, master="local[2]"), archive)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("twice", "has concept.csv twice; pack one download only"),
        ("damaged", "damaged, download it again"),
        ("password", "cannot be unpacked, as where it has a password; give the unpacked folder"),
    ],
)
def test_a_zip_that_cannot_be_unpacked_is_named(download: Path, tmp_path: Path, harm: str, message: str) -> None:
    archive = tmp_path / "athena.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(download / "CONCEPT.csv", "new/CONCEPT.csv")
        if harm == "twice":
            packed.write(download / "CONCEPT.csv", "old/concept.csv")
    content = bytearray(archive.read_bytes())
    if harm == "damaged":
        content[3000] ^= 0xFF
    if harm == "password":  # as the headers of the member say it
        content[content.index(b"PK\x03\x04") + 6] |= 1
        content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(VocabularyError, match=f"athena.zip: {message}"), unpacked(archive):
        pass


def test_concepts_that_are_there_twice_are_refused(download: Path) -> None:
    path = download / "CONCEPT.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines, lines[1], lines[30]]), encoding="utf-8")
    with pytest.raises(VocabularyError, match=r"CONCEPT.csv has 2 concepts more than once, as after completing CPT4 twice"):
        check_download(download)


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
        for _, start, stop in blocks_of(path)
        for batch in rows_of_block(path, start, stop, ["a", "b"], ["a", "b"])
        for row in batch.to_pylist()
    ]
    assert rows == [{"a": str(n), "b": "x" * (n % 13) or None} for n in range(200)]


def test_a_large_file_is_read_in_bounded_blocks(tmp_path: Path) -> None:
    path = tmp_path / "CONCEPT.csv"
    with path.open("wb") as file:
        file.truncate(3 * BLOCK_BYTES + 1)
    assert [stop - start for _, start, stop in blocks_of(path)] == [BLOCK_BYTES] * 3 + [1]


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


def spoil(path: Path, line: int, column: str, value: str) -> None:
    """Put a value into a column of a line of a file."""
    lines = path.read_text(encoding="utf-8").split("\n")
    place = lines[0].split("\t").index(column)
    cells = lines[line - 1].split("\t")
    cells[place] = value
    lines[line - 1] = "\t".join(cells)
    path.write_text("\n".join(lines), encoding="utf-8")


DATED = [
    ("CONCEPT", "valid_start_date"),
    ("CONCEPT", "valid_end_date"),
    ("CONCEPT_RELATIONSHIP", "valid_start_date"),
    ("DRUG_STRENGTH", "valid_end_date"),
]

NO_DATES = ["01-JAN-1970", "1970/01/01", "1970-1-1", "31.12.2099", "19700230", "1970-13-01", "197001", "0", "NULL", "25569"]


@pytest.mark.parametrize(("stem", "column"), DATED)
def test_a_date_that_cannot_be_read_is_refused_with_file_and_line(download: Path, stem: str, column: str) -> None:
    for line, value in enumerate(NO_DATES[:5], 3):
        spoil(download / f"{stem}.csv", line, column, value)
    with pytest.raises(VocabularyError) as error:
        check_download(download)
    for line in range(3, 8):
        assert f"{stem}.csv line {line}: {column} is not a date as yyyymmdd or yyyy-mm-dd" in str(error.value)
    assert "JAN" not in str(error.value)


@pytest.mark.parametrize("value", NO_DATES)
def test_what_is_no_date_is_refused(download: Path, value: str) -> None:
    spoil(download / "CONCEPT.csv", 20, "valid_start_date", value)
    with pytest.raises(VocabularyError, match=r"CONCEPT.csv line 20: valid_start_date is not a date"):
        check_download(download)


def test_dates_with_and_without_dashes_are_accepted(download: Path) -> None:
    for stem, column in DATED:
        spoil(download / f"{stem}.csv", 2, column, "1970-01-01")
    assert check_download(download).warnings == ()


OUTSIDE = [
    ("CONCEPT", "standard_concept", "Y", "not empty or one of C, S"),
    ("CONCEPT", "standard_concept", "s", "not empty or one of C, S"),
    ("CONCEPT", "invalid_reason", "X", "not empty or one of D, U"),
    ("CONCEPT", "invalid_reason", "Valid", "not empty or one of D, U"),
    ("CONCEPT_RELATIONSHIP", "invalid_reason", "1", "not empty or one of D, U"),
    ("DRUG_STRENGTH", "invalid_reason", "d", "not empty or one of D, U"),
    ("RELATIONSHIP", "is_hierarchical", "true", "not empty or one of 0, 1"),
    ("RELATIONSHIP", "defines_ancestry", "Y", "not empty or one of 0, 1"),
    ("CONCEPT", "concept_id", "12.0", "not a whole number"),
    ("CONCEPT", "concept_id", "", "empty"),
    ("CONCEPT", "domain_id", '"Condition"', "not without quotes"),
    ("CONCEPT", "vocabulary_id", "", "empty"),
    ("CONCEPT", "valid_end_date", "", "empty"),
    ("CONCEPT_RELATIONSHIP", "concept_id_2", "4E+06", "not a whole number"),
    ("CONCEPT_ANCESTOR", "max_levels_of_separation", "one", "not a whole number"),
    ("DRUG_STRENGTH", "amount_value", "1,5", "not a number"),
]


@pytest.mark.parametrize(("stem", "column", "value", "fault"), OUTSIDE)
def test_values_outside_their_list_are_refused(download: Path, stem: str, column: str, value: str, fault: str) -> None:
    spoil(download / f"{stem}.csv", 4, column, value)
    with pytest.raises(VocabularyError, match=f"{stem}.csv line 4: {column} is {fault}"):
        check_download(download)


def test_quoted_files_are_named(download: Path) -> None:
    path = download / "CONCEPT.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    quoted = ["\t".join(f'"{cell}"' for cell in line.split("\t")) for line in lines]
    path.write_text("\n".join(quoted), encoding="utf-8")
    with pytest.raises(VocabularyError, match=r"CONCEPT.csv has quoted fields"):
        check_download(download)


@pytest.mark.parametrize("line", [2, 30])
def test_a_line_of_another_form_is_named(download: Path, line: int) -> None:
    path = download / "CONCEPT_SYNONYM.csv"
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[line - 1] = lines[line - 1].replace("\t", " ", 1)
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(VocabularyError, match=f"CONCEPT_SYNONYM.csv line {line}: 2 fields, 3 expected"):
        check_download(download)


@pytest.mark.parametrize("line", ["Ménière\tM\t1", "M\tMénière\t1"])
def test_another_encoding_is_named(download: Path, line: str) -> None:
    path = download / "CONCEPT_CLASS.csv"
    lines = path.read_bytes().split(b"\n")
    lines[5] = line.encode("latin-1")
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(VocabularyError, match=r"CONCEPT_CLASS.csv line 6: not UTF-8"):
        check_download(download)


def without_concepts(download: Path, vocabulary: str) -> None:
    path = download / "CONCEPT.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    place = lines[0].split("\t").index("vocabulary_id")
    path.write_text("".join(line for line in lines if line.split("\t")[place] != vocabulary), encoding="utf-8")


@pytest.mark.parametrize("vocabulary", UK_VOCABULARIES)
def test_a_listed_vocabulary_without_concepts_is_a_warning(download: Path, vocabulary: str) -> None:
    without_concepts(download, vocabulary)
    found = check_download(download)
    assert found.concepts[vocabulary] == 0
    (warning,) = found.warnings
    assert warning.startswith(f"VOCABULARY lists {vocabulary}, but CONCEPT has 0 concepts of it: its codes will not be mapped")


def test_a_vocabulary_of_the_mappings_without_concepts_is_a_warning(download: Path) -> None:
    without_concepts(download, "HES Specialty")
    assert check_download(download).warnings == ()
    (warning,) = check_download(download, ["HES Specialty", "NHS Unit"]).warnings
    assert warning.startswith("VOCABULARY lists HES Specialty, but CONCEPT has 0 concepts of it")


def test_a_download_with_cpt4_that_was_not_completed_is_a_warning(download: Path) -> None:
    with (download / "VOCABULARY.csv").open("a", encoding="utf-8") as file:
        file.write("CPT4\tCurrent Procedural Terminology\tref\t2024\t44819100\n")
    (warning,) = check_download(download).warnings
    assert "CPT4" in warning
    assert "cpt.sh" in warning


def test_concepts_are_counted_by_vocabulary() -> None:
    found = check_download(DEMO_DIR).concepts
    assert (found["SNOMED"], found["dm+d"], found["Metadata"]) == (482, 102, 0)


def test_faults_in_a_later_block_have_their_line(download: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vocab.athena.BLOCK_BYTES", 5_000)
    spoil(download / "CONCEPT.csv", 1500, "valid_start_date", "yesterday")
    with pytest.raises(VocabularyError, match=r"CONCEPT.csv line 1500: valid_start_date is not a date"):
        check_download(download)
