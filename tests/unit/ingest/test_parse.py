"""Files as providers write them, into rows of text with their line numbers."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from pipelines.contracts.source import Entity
from pipelines.errors import DeliveryError
from pipelines.ingest.parse import layout_of, parse_file, read_head

ENTITY = Entity.model_validate(
    {
        "grain": "a row",
        "files": ["x*"],
        "key": ["a"],
        "columns": {"a": {"header": "A Column", "identifier": "record_id"}, "b": {}, "c": {"aliases": ["Cee"]}},
    }
)
Rows = list[tuple[int, str | None, tuple[str | None, ...]]]


def parsed(folder: Path, content: bytes, name: str = "x.csv") -> Rows:
    """Line, reason and values (a, b, c) of each row of a file."""
    path = folder / name
    path.write_bytes(content)
    layout, faults = layout_of(read_head(path), ENTITY)
    assert layout is not None
    assert not faults
    rows = [row for batch in parse_file(path, "P", "f", ("a", "b", "c"), layout) for row in batch.to_pylist()]
    assert {(row["_provider"], row["_file"]) for row in rows} <= {("P", "f")}
    return [(row["_line"], row["_reason"], (row["a"], row["b"], row["c"])) for row in rows]


def zipped(*members: tuple[str, bytes]) -> bytes:
    """A zip of files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


PLAIN = b"A_COLUMN,b,cee\n1,2,3\n4,,6\n"
TWO_ROWS: Rows = [(2, None, ("1", "2", "3")), (3, None, ("4", "", "6"))]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (PLAIN, "x.csv"),
        (PLAIN.rstrip(b"\n"), "x.csv"),
        (b"\xef\xbb\xbf" + PLAIN, "x.csv"),
        (PLAIN.replace(b"\n", b"\r\n"), "x.csv"),
        (PLAIN.replace(b"\n", b"\r"), "x.csv"),
        (PLAIN.replace(b",", b"|"), "x.csv"),
        (PLAIN.replace(b",", b"\t"), "x.csv"),
        (PLAIN.decode().encode("utf-16"), "x.csv"),
        (gzip.compress(PLAIN), "x.csv.gz"),
        (zipped(("x.csv", PLAIN)), "x.zip"),
    ],
    ids=["plain", "no_last_newline", "bom", "crlf", "cr", "pipe", "tab", "utf16", "gzip", "zip"],
)
def test_every_way_of_writing_a_table_gives_the_same_rows(tmp_path: Path, content: bytes, name: str) -> None:
    assert parsed(tmp_path, content, name) == TWO_ROWS


def test_columns_are_found_by_name_and_undeclared_ones_are_left_out(tmp_path: Path) -> None:
    assert parsed(tmp_path, b"c,Extra,A COLUMN\n3,x,1\n") == [(2, None, ("1", None, "3"))]


def test_of_the_old_and_the_new_name_of_an_item_the_new_one_is_read(tmp_path: Path) -> None:
    assert parsed(tmp_path, b"cee,a column,c,b\nold,1,new,2\n") == [(2, None, ("1", "2", "new"))]


def test_text_that_is_not_utf8_is_read_as_cp1252(tmp_path: Path) -> None:
    assert parsed(tmp_path, "a column,b,c\n1,Zo\u00eb,O\u2019Neill\n".encode("cp1252")) == [
        (2, None, ("1", "Zo\u00eb", "O\u2019Neill"))
    ]


def test_malformed_lines_are_kept_with_their_reason_and_the_rest_is_read(tmp_path: Path) -> None:
    content = b'a column,b,c\n1,"x\ny",3\n2,"open,3\n4,5,6\n7,8\n9,1,2,3\n\n"5","say ""no""",6\n'
    none = (None, None, None)
    assert parsed(tmp_path, content) == [
        (2, None, ("1", "x\ny", "3")),
        (4, "malformed:unclosed_quote", none),
        (5, None, ("4", "5", "6")),
        (6, "malformed:too_few_fields", none),
        (7, "malformed:too_many_fields", none),
        (9, None, ("5", 'say "no"', "6")),
    ]


@pytest.mark.parametrize("content", [b"a column,b,c\n", b"a column,b,c"])
def test_a_header_without_rows_gives_no_row(tmp_path: Path, content: bytes) -> None:
    assert parsed(tmp_path, content) == []


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (b"b,c\n", "required columns are missing: A Column"),
        (b"a column,b,B\n", "column b appears 2 times"),
        (b"", "the file has no header"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(header: bytes, fault: str) -> None:
    assert layout_of(header, ENTITY)[1] == [fault]


@pytest.mark.parametrize(
    ("header", "faults"),
    [
        (b"a column,b\n", []),
        (b"a column,b,\n", []),
        (
            b"a column,b,See,1 Elm Rd\n",
            ["columns in use are missing: c; the contract does not know 2 of its headers: See, 1 more"],
        ),
        (b"a column,c,Extra\n", []),
    ],
    ids=["not_delivered", "blank_header", "renamed", "not_in_use"],
)
def test_a_column_in_use_may_be_absent_but_not_under_another_name(header: bytes, faults: list[str]) -> None:
    assert layout_of(header, ENTITY, in_use={"c"})[1] == faults


def test_nothing_is_shown_of_a_first_line_that_is_not_understood() -> None:
    assert layout_of(b"9990000018,Smith,F\n", ENTITY)[1] == [
        "required columns are missing: A Column; the contract does not know 3 of its headers"
    ]


def test_a_zip_of_several_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(zipped(("x.csv", PLAIN), ("y.csv", PLAIN)))
    with pytest.raises(DeliveryError, match="exactly one file; found 2"):
        read_head(path)
