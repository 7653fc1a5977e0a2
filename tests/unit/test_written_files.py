"""Files that people write, saved in another encoding or broken: every reader says which file, which line and what to do."""

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from pipelines.contracts.source import load_contract, load_contracts
from pipelines.contracts.type_one import load_type_one_codes
from pipelines.errors import ConfigError, ContractError, OptOutInvalidError, OptOutMissingError, ReleaseError
from pipelines.mapping.analytes import load_analytes
from pipelines.mapping.plausibility import load_plausibility
from pipelines.mapping.spec import load_mapping
from pipelines.quality.expectations.suites import read_expectations
from pipelines.release.reading import run_query
from pipelines.settings import PACKAGED_CONF_DIR, PACKAGED_MAPPINGS_DIR, load_settings
from pipelines.terminology.descriptions import read_code_tables
from vocab.errors import VocabularyError
from vocab.local_maps import declared_vocabularies, read_local_maps
from vocab.written_files import InvalidTextError, read_rows

GP = load_contracts(PACKAGED_MAPPINGS_DIR, ("gp",))["gp"]

READERS: dict[str, tuple[type[Exception], Callable[[Path], object]]] = {
    "conf/test.yaml": (ConfigError, lambda root: load_settings("test", root / "conf")),
    "conf/quality/limits.yaml": (ConfigError, lambda root: load_settings("test", root / "conf")),
    "conf/quality/expectations/own.yaml": (
        ConfigError,
        lambda root: read_expectations(root / "conf/quality/expectations", {}),
    ),
    "mappings/gp/contract.yaml": (ContractError, lambda root: load_contract(root / "mappings/gp/contract.yaml")),
    "mappings/gp/mapping.yaml": (ContractError, lambda root: load_mapping(root / "mappings/gp/mapping.yaml", GP)),
    "mappings/analytes.yaml": (ContractError, lambda root: load_analytes(root / "mappings")),
    "mappings/analyte_concepts.csv": (ContractError, lambda root: load_analytes(root / "mappings")),
    "mappings/plausibility.yaml": (ContractError, lambda root: load_plausibility(root / "mappings")),
    "mappings/code_tables.csv": (ContractError, lambda root: read_code_tables(root / "mappings")),
    "mappings/opt_outs/type1.yaml": (
        OptOutInvalidError,
        lambda root: load_type_one_codes(root / "mappings/opt_outs/type1.yaml", GP),
    ),
    "mappings/concepts/nhs_gender.csv": (VocabularyError, lambda root: read_local_maps(root / "mappings/concepts")),
    "mappings/concepts/vocabularies.csv": (VocabularyError, lambda root: declared_vocabularies(root / "mappings/concepts")),
}


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of configuration and mappings, of which a test spoils one file and puts it back."""
    root = tmp_path_factory.mktemp("written")
    shutil.copytree(PACKAGED_CONF_DIR, root / "conf")
    shutil.copytree(PACKAGED_MAPPINGS_DIR, root / "mappings")
    for name in READERS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("name", READERS)
def test_other_encodings_are_refused_with_file_and_line(name: str, packaged: Path) -> None:
    error, read = READERS[name]
    file = packaged / name
    before = file.read_bytes()
    comment = b"" if name.endswith(".csv") else b"# "
    last = before.count(b"\n") + 1
    for content, said in (
        (before + comment + b"caf\xe9\n", rf"line {last}: a letter that is not UTF-8; save the file as UTF-8"),
        (before.decode().encode("utf-16"), r"line 1: the file is UTF-16; save it as UTF-8"),
    ):
        file.write_bytes(content)
        try:
            with pytest.raises(error, match=rf"{file.name}\b.* {said}"):
                read(packaged)
        finally:
            file.write_bytes(before)


@pytest.mark.parametrize("name", [name for name in READERS if name.startswith("mappings")])
def test_a_folder_in_the_place_of_a_file_is_no_unexpected_error(name: str, packaged: Path) -> None:
    error, read = READERS[name]
    file = packaged / name
    before = file.read_bytes()
    file.unlink()
    file.mkdir()
    try:
        with pytest.raises((error, OptOutMissingError)):
            read(packaged)
    finally:
        file.rmdir()
        file.write_bytes(before)


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ('a,b\n1,2\n3,"4\n', 3, "not valid CSV: unexpected end of data"),
        ('a,b\n1,"2"x\n', 2, "not valid CSV: ',' expected after '\"'"),
        ("a\n1\n", 1, "lacks columns b"),
        ("", 1, "lacks columns a, b"),
        (f"a,b\n1,{'x' * 200_000}\n", 2, r"not valid CSV: field larger than field limit \(131072\)"),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_line(content: str, line: int, reason: str, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidTextError, match=f"^line {line}: {reason}$"):
        read_rows(tmp_path / "own.csv", ("a", "b"))


def test_rows_have_their_lines_and_what_is_beyond_the_header(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes(b'\xef\xbb\xbfa,b\r\n"1\r\n2",3\r\n\r\n4,5,6\r\n7\r\n')
    rows = [(3, {"a": "1\r\n2", "b": "3"}), (5, {"a": "4", "b": "5", None: ["6"]}), (6, {"a": "7", "b": None})]
    assert read_rows(tmp_path / "own.csv", ("a", "b")) == rows


def test_a_query_in_another_encoding_is_refused() -> None:
    with duckdb.connect(":memory:") as connection, pytest.raises(ReleaseError, match="a letter in it is not UTF-8"):
        run_query(connection, "select '\udcff'")
