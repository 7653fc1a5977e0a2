"""Files as providers write them, into rows of text with their line numbers."""

import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.contracts.source import Entity
from pipelines.errors import DeliveryError, StoreError
from pipelines.ingest.parse import fault_of_refusal, layout_of, parse_batches, parse_file, read_head
from tests.builders.object_store import ACCOUNT, variables

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


def test_the_old_and_the_new_name_of_a_column_side_by_side_are_one_column(tmp_path: Path) -> None:
    content = b"Cee,A_COLUMN,c,b\nold,1, NULL ,x\n,2,new,x\nold,3,new,x\nNULL,4,new,x\n,5,,x\n"
    assert [values[2] for _, _, values in parsed(tmp_path, content)] == ["old", "new", "new", "new", ""]
    layout, _ = layout_of(b"a,c,Cee,other\n", ENTITY)
    assert layout is not None
    assert layout.undeclared == 1
    assert layout_of(b"a,c,Cee,Cee\n", ENTITY)[1] == ["column c appears 2 times"]


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
        (PLAIN.decode().encode("utf-16-le"), "x.csv"),
        (PLAIN + b"\x1a", "x.csv"),
        (PLAIN.replace(b"\n", b"\r\n") + b"\x1a\r\n", "x.csv"),
        (PLAIN.replace(b",b,", b',"b",'), "x.csv"),
        (gzip.compress(PLAIN), "x.csv.gz"),
        (zipped(("x.csv", PLAIN)), "x.zip"),
    ],
    ids=[
        "plain",
        "no_last_newline",
        "bom",
        "crlf",
        "cr",
        "pipe",
        "tab",
        "utf16",
        "utf16_without_mark",
        "ctrl_z",
        "ctrl_z_line",
        "quoted_header",
        "gzip",
        "zip",
    ],
)
def test_every_way_of_writing_a_table_gives_the_same_rows(tmp_path: Path, content: bytes, name: str) -> None:
    assert parsed(tmp_path, content, name) == TWO_ROWS


MARK = b"\xef\xbb\xbf"
HEADER_AGAIN = "malformed:header_again"
TRIALS = ((2, ("TRL", "b", "3")), (3, ("Total", "", "IgE")), (4, ("Trials", "1", "2")))


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"A Column,b,cee\n1,2,3\n" + MARK + b"A COLUMN,B,Cee\n4,5,6\n", [(3, HEADER_AGAIN, ("A COLUMN", None, None))]),
        (b"a,b,c\n1,2,3\na,b,c\n4,5,6\n", [(3, HEADER_AGAIN, ("a", None, None))]),
        (b'"a","b","c"\n1,2,3\n"A" , B,c\n4,5,6\n', [(3, HEADER_AGAIN, ("A", None, None))]),
        (b"a |b|c\n--|----|----\n1 |2|3\n4 |5|6\n", [(2, HEADER_AGAIN, ("--", None, None))]),
        (b"a,b,c\n1,2,3\nTRAILER,1,\n", [(3, "malformed:trailer", ("TRAILER", None, None))]),
        (b'b,a,c\n2,1,3\n"Total ","1,234",2026-01-05\n', [(3, "malformed:trailer", ("1", None, None))]),
        (b"a,b,c\nTRL,b,3\nTotal,,IgE\nTrials,1,2\n", [(place, None, row) for place, row in TRIALS]),
        (b"a,b,c\na,b,other\n1,2,3\n", [(2, None, ("a", "b", "other"))]),
        (b"a,b,c\n--,b,3\n1,2,3\n", [(2, None, ("--", "b", "3"))]),
    ],
    ids=[
        "joined_with_mark",
        "joined",
        "quoted_in_other_case",
        "rules_of_sqlcmd",
        "trailer",
        "total",
        "no_trailer",
        "one_value_differs",
        "no_rule",
    ],
)
def test_a_header_that_comes_again_and_a_trailer_are_no_records(tmp_path: Path, content: bytes, rows: Rows) -> None:
    assert [row for row in parsed(tmp_path, content) if row[1] or not str(row[2][0]).strip().isdigit()] == rows


@pytest.mark.parametrize(
    "content",
    [
        PLAIN[:15] + MARK + PLAIN[15:],
        MARK + MARK + PLAIN.replace(b"4,", MARK + b'"4",'),
        PLAIN[:15].decode().encode("utf-16") + PLAIN[15:].decode().encode("utf-16"),
        PLAIN.replace(b"1,2", b'="1","=""2"""'),
        PLAIN.replace(b"cee\n", b"cee,\n"),
        PLAIN.replace(b"cee\n", b'cee,""\n'),
    ],
    ids=[
        "mark_inside",
        "marks_before_quotes",
        "joined_utf16",
        "texts_of_spreadsheets",
        "header_ends_with_delimiter",
        "quoted_end",
    ],
)
def test_a_file_that_was_joined_or_written_by_a_spreadsheet_gives_the_same_rows(tmp_path: Path, content: bytes) -> None:
    assert parsed(tmp_path, content) == TWO_ROWS


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a,b,c,\n1,2,3\n4,5,6,\n", "malformed:too_few_fields"),
        (b"a,b,c\n1,SMITH, J,\n4,BROWN, K,\n", "malformed:too_many_fields"),
    ],
)
def test_a_delimiter_too_many_is_not_guessed_away(tmp_path: Path, content: bytes, reason: str) -> None:
    assert parsed(tmp_path, content)[0] == (2, reason, ("1", None, None))


@pytest.mark.parametrize("header", ["'a','b','c'", "\u201ca\u201d,\u201cb\u201d", "`a`|`b`|`c`"])
def test_a_file_quoted_by_other_signs_is_refused(header: str) -> None:
    assert layout_of(f"{header}\n".encode(), ENTITY)[1] == [
        'its fields are quoted by other signs than "; deliver it again with these'
    ]


def test_columns_are_found_by_name_and_undeclared_ones_are_left_out(tmp_path: Path) -> None:
    assert parsed(tmp_path, b"c,Extra,A COLUMN\n3,x,1\n") == [(2, None, ("1", None, "3"))]


def test_of_the_old_and_the_new_name_of_an_item_the_new_one_is_read(tmp_path: Path) -> None:
    assert parsed(tmp_path, b"cee,a column,c,b\nold,1,new,2\n") == [(2, None, ("1", "2", "new"))]


def test_text_that_is_not_utf8_is_read_as_cp1252(tmp_path: Path) -> None:
    assert parsed(tmp_path, "a column,b,c\n1,Zo\u00eb,O\u2019Neill\n".encode("cp1252")) == [
        (2, None, ("1", "Zo\u00eb", "O\u2019Neill"))
    ]


def test_malformed_lines_are_kept_with_their_reason_and_their_key_and_the_rest_is_read(tmp_path: Path) -> None:
    content = b'a column,b,c\n1,"x\ny",3\n2,"open,3\n4,5,6\n7,8\n9,1,2,3\n\n"5","say ""no""",6\n'
    assert parsed(tmp_path, content) == [
        (2, None, ("1", "x\ny", "3")),
        (4, "malformed:unclosed_quote", ("2", None, None)),
        (5, None, ("4", "5", "6")),
        (6, "malformed:too_few_fields", ("7", None, None)),
        (7, "malformed:too_many_fields", ("9", None, None)),
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
            b"a column,b,See,1 Elm Rd\n1,2,3,4\n",
            ["columns in use are missing: c; the contract does not know 2 of its headers: See, 1 more"],
        ),
        (
            b'a column,b,See,Smith John 9990000018\n\n1,2,3,"4,\n5"\n',
            ["columns in use are missing: c; the contract does not know 2 of its headers: See, 1 more"],
        ),
        (b"a column,c,Extra\n", []),
    ],
    ids=["not_delivered", "blank_header", "renamed", "identifying", "not_in_use"],
)
def test_a_column_in_use_may_be_absent_but_not_under_another_name(header: bytes, faults: list[str]) -> None:
    assert layout_of(header, ENTITY, in_use={"c"})[1] == faults


def test_nothing_is_shown_of_a_first_line_that_is_not_understood() -> None:
    assert layout_of(b"9990000018,Smith,F\n", ENTITY)[1] == [
        "required columns are missing: A Column; the contract does not know 3 of its headers"
    ]


PATIENT = Entity.model_validate(
    {
        "grain": "a row",
        "files": ["x*"],
        "key": ["guid"],
        "columns": {name: {} for name in ("guid", "surname", "sex", "town", "birth_date", "nhs_number")},
    }
)
WHOLE = "guid,surname,sex,town,birth_date,nhs_number"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{WHOLE}A1,Smith,F,Leeds,1950-01-02,x\nB2,Jones,M,York,1951-01-02,y\n",
         "6 of its headers: its first line has 11 fields and the next 6, as where the line end is missing"),
        (f"{WHOLE}A1,Smith,,,,\nB2,Jones,,,,\n",
         "2 of its headers: its first line has 11 fields and the next 6, as where the line end is missing"),
        (f"{WHOLE}A1,Smith,,,,\n",
         "2 of its headers: its first line has 11 fields and the next is not there, as where the line end is missing"),
        (f"{WHOLE}\x85A1,Smith,,,,\x85B2,Jones,,,,\x85",
         "4 of its headers: its first line has 16 fields and the next is not there, as where the line end is missing"),
        (f"{WHOLE}\u2028A1,Smith,,,,\u2028",
         "2 of its headers: its first line has 11 fields and the next is not there, as where the line end is missing"),
        (f"{WHOLE.removesuffix(',nhs_number')},A1,Smith,,,\nB2,Jones,,,\n",
         "2 of its headers: its first line has 10 fields and the next 5, as where the line end is missing"),
        (f"{WHOLE}A1,Smith,,,,\n{WHOLE}B2,Jones,,,,\n", "2 of its headers: nhs_number with more text, 1 more"),
        (f"Of Anna Smith{WHOLE.removesuffix(',nhs_number')}\nA1,Jones,M,York,x\n", "1 of its headers: guid with more text"),
        (f"Smith,F,Leeds\n{WHOLE}\nA1,Jones,M,York,x,y\n", "3 of its headers"),
        ("A1,Smith,F,Leeds,1950-01-02,x\nB2,Jones,M,York,1951-01-02,y\n", "6 of its headers"),
        (f"{WHOLE.replace(',', '^')}^Smith\nA1^Smith\n", "1 of its headers"),
        ("guid,surname,sex,town,birth_date,NHS Nr\nA1|Smith|F|Leeds|x|y\n",
         "1 of its headers: its first line has 6 fields and the next 1, as where the line end is missing"),
        ("guid,surname,sex,town,birth_date,NHS Nr\nA1,Smith,F,Leeds,x,y\n", "1 of its headers: NHS Nr"),
        ("guid,surname,sex,town,birth_date_time,Born,NHS Nr\nA1,Smith,F,Leeds,x,y,z\n",
         "3 of its headers: birth_date with more text, 2 more"),
    ],
)  # fmt: skip
def test_no_value_of_a_record_is_shown_as_a_header(content: str, said: str) -> None:
    """Line ends missing or of another kind, no header, two lines before the records, or another delimiter."""
    (fault,) = (
        fault for fault in layout_of(content.encode(), PATIENT, in_use=set(PATIENT.columns))[1] if "are missing" in fault
    )
    assert fault.partition("; the contract does not know ")[2] == said
    assert not any(value in fault for value in ("Smith", "Leeds", "1950", "A1"))


def test_a_delimiter_within_a_quoted_header_is_not_counted(tmp_path: Path) -> None:
    assert parsed(tmp_path, b'"a column"|b|c|"d,e,f,g,h"\n1|2|3|4\n') == [(2, None, ("1", "2", "3"))]


def test_a_first_line_ends_where_lines_end(tmp_path: Path) -> None:
    assert parsed(tmp_path, "a column,b,c,\u2028d\x0b\n1,2,3,4\n".encode()) == [(2, None, ("1", "2", "3"))]


def test_a_line_of_bytes_that_are_no_text_is_kept_apart(tmp_path: Path) -> None:
    assert parsed(tmp_path, b"a column,b,c\n1,2,Zo\xeb\n4,5,Zo\x81\n7,8,9\n") == [
        (2, None, ("1", "2", "Zo\u00eb")),
        (3, "malformed:encoding", ("4", None, None)),
        (4, None, ("7", "8", "9")),
    ]


def test_a_file_that_cannot_be_opened_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "gp" / "P81001" / "20260105" / "x.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(zipped(("x.csv", PLAIN), ("y.csv", PLAIN)))
    with pytest.raises(DeliveryError, match=r"^gp/P81001/20260105/x\.zip: a zip must hold exactly one file; found 2"):
        read_head(path)


def test_a_store_that_does_not_answer_is_told_to_the_driver_and_is_no_fault_of_a_file() -> None:
    """Nobody listens on the port, so that no server is needed."""
    listed = [{"path": "s3://bucket/gp/P/20260105/x.csv", "provider": "P", "file_id": "x", "sha256": "0" * 64}]
    layout = layout_of(b"a column,b,c\n", ENTITY)[0]
    assert layout
    with variables({**ACCOUNT, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}):
        batches = parse_batches(iter([pa.RecordBatch.from_pylist(listed, schema=LISTING)]), ("a", "b", "c"), {"x": layout})
        (row,) = pa.Table.from_batches(list(batches)).to_pylist()
    assert (row["_file"], row["_line"], row["_raw"]) == ("x", 0, "")
    with pytest.raises(StoreError, match=r"^s3://bucket/gp/P/20260105/x\.csv: the store cannot be reached"):
        fault_of_refusal(row["_reason"])
    assert fault_of_refusal("refused:gp/P/20260105/x.csv: cut short") == "gp/P/20260105/x.csv: cut short"


LISTING = pa.schema([(name, pa.string()) for name in ("path", "provider", "file_id", "sha256")])


def test_a_file_that_cannot_be_read_to_its_end_has_a_row_that_says_so_and_others_are_read(tmp_path: Path) -> None:
    content = b"a column,b,c\n" + b"".join(b"%d,%d,3\n" % (number, number * number) for number in range(50_000))
    files = {"cut.csv.gz": gzip.compress(content)[:-100], "whole.csv": PLAIN, "changed.csv": PLAIN}
    listed = []
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
        taken = hashlib.sha256(b"" if name == "changed.csv" else raw).hexdigest()
        listed.append({"path": str(tmp_path / name), "provider": "P", "file_id": name, "sha256": taken})
    layouts = dict.fromkeys(files, layout_of(b"a column,b,c\n", ENTITY)[0])
    found = parse_batches(iter([pa.RecordBatch.from_pylist(listed, schema=LISTING)]), ("a", "b", "c"), layouts)  # type: ignore[arg-type]
    rows = pa.Table.from_batches(list(found)).to_pylist()
    place = "/".join(tmp_path.parts[-3:])
    assert [(row["_file"], row["_line"], row["_reason"]) for row in rows if row["_reason"]] == [
        ("cut.csv.gz", 0, f"refused:{place}/cut.csv.gz: the gzip file is cut short; deliver it again"),
        ("changed.csv", 0, f"refused:{place}/changed.csv: was changed after its checksum was taken; deliver it again, whole"),
    ]
    assert [row["a"] for row in rows if row["_file"] == "whole.csv"] == ["1", "4"]
