"""Content in whatever it was written in, as UTF-8 in whole lines."""

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import DeliveryError
from pipelines.ingest import text as module
from pipelines.ingest.text import lines_of

TEXT = "name,place\r\nZoë,“Ōtaki” – 5€\r\nO’Neill,x\r\n"
UNIX = TEXT.replace("\r\n", "\n").encode()
CP1252 = TEXT.replace("Ō", "O").encode("cp1252")


def lines(content: bytes, size: int = 7) -> bytes:
    """The lines of content that comes in blocks of some bytes."""
    found = list(lines_of(iter([content[start : start + size] for start in range(0, len(content), size)]), "the/file.csv"))
    assert all(block.endswith(b"\n") for block in found)
    return b"".join(found)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (TEXT.encode(), UNIX),
        (codecs.BOM_UTF8 + TEXT.encode(), UNIX),
        (TEXT.encode("utf-16"), UNIX),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), UNIX),
        (TEXT.encode("utf-16-le"), UNIX),
        (TEXT.encode("utf-16-be"), UNIX),
        (CP1252, UNIX.replace("Ō".encode(), b"O")),
        (TEXT.replace("\r\n", "\r").encode(), UNIX),
        (TEXT.encode().rstrip(), UNIX),
        (TEXT.encode() + b"\x1a", UNIX),
        (TEXT.encode() + b"\x1a\r\n", UNIX),
        (TEXT.encode().rstrip() + b"\x1a" * 100, UNIX),
        ((TEXT + "\x1a").encode("utf-16"), UNIX),
        (b"a\r\nb\rc\nd\n\re\r\r\nf", b"a\nb\nc\nd\n\ne\n\nf\n"),
        (b"a\x1ab\n\x1a\nc\n", b"a\x1ab\n\x1a\nc\n"),
        ("a\u2028b\x0b\x0c\x1c\x85\n".encode(), "a\u2028b\x0b\x0c\x1c\x85\n".encode()),
        (b"a\x00b,\x00\n", b"a\x00b,\x00\n"),
        ("Zoë\n".encode() + "Zoë\n".encode("cp1252") + b"Zoe\n", "Zoë\nZoë\nZoe\n".encode()),
        (b"\xef\xbb\xbf\x1a", b""),
        (b"", b""),
    ],
    ids=[
        *("utf8", "utf8_mark", "utf16_le_mark", "utf16_be_mark", "utf16_le", "utf16_be", "cp1252", "cr", "no_last_line_end"),
        *("ctrl_z", "ctrl_z_line", "many_ctrl_z", "utf16_ctrl_z", "mixed_line_ends", "ctrl_z_within", "other_separators"),
        *("nul", "two_encodings", "only_ctrl_z", "nothing"),
    ],
)
def test_text_is_utf8_in_lines(content: bytes, expected: bytes, size: int) -> None:
    assert lines(content, size) == expected


def test_bytes_that_are_no_character_are_marked_and_no_others() -> None:
    assert module.UNDECODABLE in lines(b"ok\nZo\x81\x8d\n")
    assert module.UNDECODABLE not in lines("한국어 \ud7ff\ue000\ufffd 😀\n".encode())


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    content=st.lists(st.sampled_from([b"a", b"\xc3\xab", b"\xeb", b"\n", b"\r", b"\r\n", b"\x1a", b"\x81", b","])).map(b"".join)
)
def test_the_same_lines_however_the_content_comes_in_blocks(content: bytes) -> None:
    whole = lines(b"x" + content, 1000)
    assert lines(b"x" + content, 1) == whole
    assert lines(b"x" + content, 3) == whole


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (TEXT.encode("utf-16")[:-1], "UTF-16 and damaged or cut short"),
        (TEXT.encode("utf-16-be")[:-1], "UTF-16 and damaged or cut short"),
        (TEXT.encode("utf-16")[:20] + b"\x00" + TEXT.encode("utf-16")[20:], "UTF-16 and damaged or cut short"),
        (TEXT.encode("utf-16-le") + b"\x00\xd8\x00\x00", "UTF-16 and damaged or cut short"),
        (TEXT.encode("utf-32"), "UTF-32"),
        (codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"), "UTF-32"),
        (TEXT.encode("utf-32-le"), "UTF-32"),
        (TEXT.encode("utf-32-be"), "UTF-32"),
    ],
    ids=[
        *("cut", "cut_without_mark", "shifted", "half_a_pair"),
        *("utf32_le_mark", "utf32_be_mark", "utf32_le", "utf32_be"),
    ],
)
def test_what_cannot_be_decoded_is_refused_by_its_name(content: bytes, rule: str) -> None:
    with pytest.raises(DeliveryError, match=f"^the/file.csv: the content is {rule}"):
        lines(content)


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(DeliveryError, match=r"^the/file\.csv: a line is longer than 64 MiB"):
        list(lines_of((bytes(1 << 20) for _ in range(100)), "the/file.csv"))
