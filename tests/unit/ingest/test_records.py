"""Lines to records: one rule for every text, whoever splits it."""

import csv
import io
from collections.abc import Iterable
from itertools import count, repeat

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ingest import records as module
from pipelines.ingest.record_reader import RecordReader
from pipelines.ingest.records import Records, records_of

Row = tuple[int, str | None, tuple[str, ...]]
"""Line, reason and fields of a record; of a malformed one its text in place of the fields."""

OPEN, FEW, MANY = "malformed:unclosed_quote", "malformed:too_few_fields", "malformed:too_many_fields"


def rows(found: Iterable[Records]) -> list[Row]:
    return [
        (line, reason, (text,) if reason else tuple(column[place].as_py() for column in records.fields))
        for records in found
        for place, (line, reason, text) in enumerate(
            zip(records.lines.to_pylist(), records.reasons.to_pylist(), records.texts.to_pylist(), strict=True)
        )
    ]


def blocks_of(text: str, lines: int) -> list[bytes]:
    """Text in blocks of some lines each."""
    every = [line + b"\n" for line in text.encode().split(b"\n")[:-1]]
    return [b"".join(every[start : start + lines]) for start in range(0, len(every), lines)]


def read(text: str, width: int = 3, lines_of_a_block: int = 1000) -> list[Row]:
    return rows(records_of(blocks_of(text, lines_of_a_block), ",", width))


def read_without_arrow(text: str, width: int) -> list[Row]:
    found, line, content = [], 2, text.encode()
    while content:
        taken = module._split(content, line, ",", width, is_last=True)
        found += rows([taken.records])
        line, content = line + taken.lines, content[taken.size :]
    return found


def by_letter(text: str, width: int) -> list[Row]:
    """The rule as a reader that looks at one letter after the other."""
    found: list[Row] = []
    position, line = 0, 2
    while position < len(text):
        start, fields = position, list[str]()
        reason: str | None
        while True:
            if text[position] == '"':
                value, end = quoted_by_letter(text, position, fields_missing=width - len(fields) - 1)
            else:
                value, end = unquoted_by_letter(text, position)
            if value is None:
                reason, end = OPEN, text.index("\n", position)
                break
            fields.append(value)
            position = end + 1
            if text[end] == "\n":
                reason = FEW if len(fields) < width else MANY if len(fields) > width else None
                break
        record, position = text[start:end], end + 1
        if record.strip() or "," in record:
            found.append((line, reason, (record,) if reason else tuple(fields)))
        line += 1 + record.count("\n")
    return found


def unquoted_by_letter(text: str, start: int) -> tuple[str | None, int]:
    end = start
    while text[end] not in ",\n":
        end += 1
    return text[start:end], end


def quoted_by_letter(text: str, start: int, fields_missing: int) -> tuple[str | None, int]:
    value, position, doubles = "", start + 1, True
    while position < len(text):
        if text[position] != '"':
            value += text[position]
            position += 1
        elif doubles and text[position + 1] == '"':
            value += '"'
            position += 2
        else:
            end = position + 1
            while text[end] == " ":
                end += 1
            if text[end] == "," or (text[end] == "\n" and (doubles or fields_missing <= 0)):
                return value + text[position + 1 : end], end
            if text[position - 1] in ",\n":
                return None, position
            value, position, doubles = value + '"', position + 1, False
    return None, position


CASES: dict[str, tuple[str, list[Row]]] = {
    "plain": ("1,2,3\n,,\n", [(2, None, ("1", "2", "3")), (3, None, ("", "", ""))]),
    "quoted": ('"1","a,b","c""d"\n', [(2, None, ("1", "a,b", 'c"d'))]),
    "two_lines": ('1,"a\nb",3\n4,5,6\n', [(2, None, ("1", "a\nb", "3")), (4, None, ("4", "5", "6"))]),
    "empty_line_in_text": ('1,"a\n\nb",3\n', [(2, None, ("1", "a\n\nb", "3"))]),
    "inch": ('1,scar of 5" left,3\n', [(2, None, ("1", 'scar of 5" left', "3"))]),
    "inch_and_two_lines": (
        '1,scar of 5" left,3\n4,"a\nb",6\n7,6" by 4",9\n',
        [(2, None, ("1", 'scar of 5" left', "3")), (3, None, ("4", "a\nb", "6")), (5, None, ("7", '6" by 4"', "9"))],
    ),
    "quotes_within_quotes": ('1,"said "no" twice",3\n', [(2, None, ("1", 'said "no" twice', "3"))]),
    "quotes_within_quotes_at_the_end": ('1,"said "no"",3\n', [(2, None, ("1", 'said "no"', "3"))]),
    "quotes_within_two_lines": ('1,"a\nsaid "no"\nb",3\n', [(2, None, ("1", 'a\nsaid "no"\nb', "3"))]),
    "quotes_at_the_end_of_a_short_line": ('1,"a "b"\n"4","5","6"\n', [(2, OPEN, ('1,"a "b"',)), (3, None, ("4", "5", "6"))]),
    "backslash": ('1,"say \\"no\\" now",3\n', [(2, None, ("1", 'say \\"no\\" now', "3"))]),
    "backslash_at_the_end": ('1,"C:\\",3\n', [(2, None, ("1", "C:\\", "3"))]),
    "blank_after_quote": ('"1" ,"2","3"  \n', [(2, None, ("1 ", "2", "3  "))]),
    "blank_lines": ("1,2,3\n\n  \n4,5,6\n", [(2, None, ("1", "2", "3")), (5, None, ("4", "5", "6"))]),
    "few_and_many": ("1,2\n1,2,3,\n1,2,3\n", [(2, FEW, ("1,2",)), (3, MANY, ("1,2,3,",)), (4, None, ("1", "2", "3"))]),
    "many_in_two_lines": ('1,"a\nb",3,4\n', [(2, MANY, ('1,"a\nb",3,4',))]),
    "open_to_the_end": ('1,"a,3\n4,5,6\n', [(2, OPEN, ('1,"a,3',)), (3, None, ("4", "5", "6"))]),
    "open_then_quoted": ('1,"a,3\n4,"x",6\n', [(2, OPEN, ('1,"a,3',)), (3, None, ("4", "x", "6"))]),
    "open_then_all_quoted": ('"1","2","a\n"4","5","6"\n', [(2, OPEN, ('"1","2","a',)), (3, None, ("4", "5", "6"))]),
    "open_in_second_line": (
        '1,"a\nb","c\n"4","5","6"\n',
        [(2, OPEN, ('1,"a\nb","c',)), (4, None, ("4", "5", "6"))],
    ),
    "closed_one_field_late": ('1,"a,"b",3\n', [(2, OPEN, ('1,"a,"b",3',))]),
    "other_line_separators": ("1,a\u2028b\x0bc\x0c\x1c\x85,3\n", [(2, None, ("1", "a\u2028b\x0bc\x0c\x1c\x85", "3"))]),
    "nul": ('1,a\x00b,"\x00"\n', [(2, None, ("1", "a\x00b", "\x00"))]),
    "mark_within": ("\ufeff1,\ufeff,3\n", [(2, None, ("\ufeff1", "\ufeff", "3"))]),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("lines_of_a_block", [1, 2, 1000])
def test_a_text_has_these_records(text: str, expected: list[Row], lines_of_a_block: int) -> None:
    assert read(text, lines_of_a_block=lines_of_a_block) == expected


def test_one_column_may_be_quoted_and_empty() -> None:
    assert read('a\n\n""\n" "\n  \n', width=1) == [(2, None, ("a",)), (4, None, ("",)), (5, None, (" ",))]


@pytest.mark.parametrize(
    "text",
    [
        "line\n" * 250,
        "x" * 200_000 + "\n" + "y" * 10,
        "x" * 17_000_000,
        ("x" * 99 + "\n") * 50_000,
        '""' * 300_000,
        "\n" * 100_000,
    ],
    ids=["250_lines", "200_kB", "17_MB", "50_000_lines", "quotes", "only_line_ends"],
)
def test_a_text_may_be_as_long_as_it_likes(text: str) -> None:
    expected = [(2, None, ("1", text.replace('""', '"'), "3")), (3 + text.count("\n"), None, ("4", "5", "6"))]
    assert read(f'1,"{text}",3\n4,5,6\n') == expected


FRAGMENTS = (
    *('"', '""', '"a"', '"a,b"', '"a\nb"', '"a""b"', '"\n"', '",', '"\n', '" ,', '\\"', '5" left', '"5" left"'),
    *(",", ",", ",", "\n", "\n", "1,2,3\n", '"x","y","z"\n', '"p\nq",2,3\n', ",,\n", "1,2\n", "\n\n", "  \n"),
    *(" ", "a", "\x00", "\ufeff", "\u2028", "\u3000", "\x0b", "\x1c", "\x85", "\x1a", "é", "\t", "\\", "'", "x" * 300),
)
VALUES = (
    "",
    "1",
    "x y",
    " ",
    '"q"',
    '"a,b"',
    '"m\nn"',
    '"d""d"',
    '""',
    '""""',
    '"\n"',
    '"\n""\n"',
    '"\ufeff"',
    "é",
    '5" l',
    '"5" l"',
)
hostile = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)
nearly_good = st.lists(st.lists(st.sampled_from(VALUES), min_size=3, max_size=3).map(",".join), max_size=12).map("\n".join)


@settings(max_examples=2500, deadline=None, derandomize=True)
@given(text=st.one_of(hostile, nearly_good), width=st.sampled_from([3, 3, 3, 2, 1]), lines=st.integers(1, 8))
def test_arrow_or_not_and_however_it_comes_in_blocks_the_records_are_the_same(text: str, width: int, lines: int) -> None:
    whole = f"{text}\n"
    expected = by_letter(whole, width)
    assert read_without_arrow(whole, width) == expected
    assert read(whole, width) == expected
    assert read(whole, width, lines_of_a_block=lines) == expected


VALUE = st.text(st.sampled_from('ab",\n \t\x00é\ufeff\u2028'), max_size=6)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    table=st.lists(st.tuples(VALUE, VALUE, VALUE), min_size=1, max_size=20),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_what_a_csv_writer_wrote_is_read_as_it_was(table: list[tuple[str, str, str]], quoting: int) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=quoting).writerows(table)  # type: ignore[arg-type]
    assert [fields for _, _, fields in read(text.getvalue())] == table


def test_arrow_splits_what_is_beyond_doubt() -> None:
    content = b'1,"a\nb",3\n4,"c""d",6\n7,5" l,9\n1,2,3\n'
    taken = module._split_by_arrow(content, 2, ",", 3)
    assert taken is not None
    assert rows([taken.records]) == [(2, None, ("1", "a\nb", "3")), (4, None, ("4", 'c"d', "6"))]
    assert (taken.size, taken.lines, taken.rest_is_unfinished) == (21, 3, False)


def test_arrow_passes_over_empty_lines() -> None:
    taken = module._split_by_arrow(b'1,2,3\n\n\n4,"a\n\nb",6\n\n7,8,9\n\n', 2, ",", 3)
    assert taken is not None
    expected = [(2, None, ("1", "2", "3")), (5, None, ("4", "a\n\nb", "6")), (9, None, ("7", "8", "9"))]
    assert rows([taken.records]) == expected


@pytest.mark.parametrize("empty", [b"\n", b"  \n"])
@pytest.mark.parametrize("width", [3, 1])
def test_runs_of_empty_lines_are_passed_over_as_a_whole(empty: bytes, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = count()
    record = RecordReader.record
    monkeypatch.setattr(RecordReader, "record", lambda reader, start: (next(asked), record(reader, start))[1])
    line = b",".join([b"1"] * width) + b"\n"
    found = records_of([line, *repeat(empty * 100_000, 5), line], ",", width)
    assert rows(found) == [(2, None, ("1",) * width), (500_003, None, ("1",) * width)]
    assert next(asked) < 10


@pytest.mark.parametrize(
    "line",
    [b"1,2,3\n", b'1,"a\nb",3\n', b'1,scar of 5" left,3\n', b"1,2\n"],
    ids=["plain", "two_lines", "inch", "malformed"],
)
def test_memory_does_not_grow_with_the_file(line: bytes) -> None:
    block = line * (100_000 // len(line))
    most = found = 0
    for records in records_of(repeat(block, 20), ",", 3):
        found += len(records.lines)
        most = max(most, pa.total_allocated_bytes())
    assert found == 20 * (100_000 // len(line))
    assert most < 4 << 20


def test_an_open_quote_is_given_up_when_its_text_is_too_long_for_memory() -> None:
    block = b"4,5,6\n" * 200_000
    waiting = iter([b'1,"a,3\n', *repeat(block, 80)])
    found = records_of(waiting, ",", 3)
    assert rows([next(found)]) == [(2, OPEN, ('1,"a,3',))]
    left = sum(1 for _ in waiting)
    assert 20 < left < 30
    assert sum(len(records.lines) for records in found) == (80 - left) * 200_000
