"""The content of a delivered file as text: UTF-8 in whole lines, whatever it was written in.

| content | is read as |
|---|---|
| begins with the mark of UTF-8 or UTF-16 | that, without the mark |
| its first two characters have a zero byte each, on the same side | UTF-16 without a mark |
| anything else | each line UTF-8, or cp1252 where it is no UTF-8: some files are joined from several systems |

A line ends with LF, CR LF or CR and is passed on with LF. A mark at the start of any line is left out: files with marks were
joined. So is Ctrl-Z at the end, the end of a file for DOS.
"""

import codecs
import re
from collections.abc import Iterable, Iterator

from pipelines.errors import DeliveryError

LONGEST_LINE = 64 << 20
"""A line is held in memory: one of more bytes than this is an error."""

UNDECODABLE = b"\xed\xb2"
"""Where a line has bytes that are neither UTF-8 nor cp1252, each is passed on as a lone surrogate (PEP 383), and these are
the first two bytes of it. They occur in no valid UTF-8."""

_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UTF_32_ZEROS = ([False, True, True, True], [True, True, True, False])
"""Which of the first four bytes are zero where the first character is a letter of ASCII and there is no mark."""

_CTRL_Z = b"\x1a"
_MARKS = re.compile(b"(?m)^(?:" + codecs.BOM_UTF8 + b")+")


def lines_of(blocks: Iterator[bytes], place: str, *, ended: bool = False) -> Iterator[bytes]:
    """The content in blocks of whole lines, each line with LF at its end, the last one too.

    Raises DeliveryError naming `place` where content in UTF-16 is damaged, is UTF-32, or has a line over LONGEST_LINE; with
    `ended` also where the last line has no line end.
    """
    for block in _whole_lines(_without_end_mark(_eight_bit(blocks, place)), place, ended=ended):
        yield _utf8(block.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in block else block)


def _eight_bit(blocks: Iterator[bytes], place: str) -> Iterator[bytes]:
    """The content without a byte order mark; UTF-16 as UTF-8, anything else as it is."""
    first = b""
    while len(first) < 4 and (block := next(blocks, None)):
        first += block
    if first.startswith(_UTF_32) or [byte == 0 for byte in first[:4]] in _UTF_32_ZEROS:
        raise DeliveryError(f"{place}: the content is UTF-32; deliver it as UTF-8")
    if first.startswith(codecs.BOM_UTF8):
        first = first[3:]
    encoding, mark = _utf_16_form(first)
    if encoding is None:
        yield first
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        yield decoder.decode(first[mark:]).encode()
        for block in blocks:
            yield decoder.decode(block).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeDecodeError as error:
        raise DeliveryError(f"{place}: the content is UTF-16 and damaged or cut short; deliver it again") from error


def _utf_16_form(start: bytes) -> tuple[str | None, int]:
    """The form of UTF-16 that content begins in, and the length of its mark; None where it is something else."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if start.startswith(mark):
            return encoding, len(mark)
    match [byte == 0 for byte in start[:4]]:
        case [False, True, False, True]:
            return "utf-16-le", 0
        case [True, False, True, False]:
            return "utf-16-be", 0
        case _:
            return None, 0


def _without_end_mark(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The content up to the Ctrl-Z at its end; line ends and further ones may follow that."""
    held = b""
    for block in blocks:
        content = held + block
        end = content.find(_CTRL_Z, len(content.rstrip(b"\x1a\r\n")))
        end = len(content) if end < 0 else end
        held = content[end:]
        yield content[:end]


def _whole_lines(blocks: Iterable[bytes], place: str, *, ended: bool) -> Iterator[bytes]:
    """The same content cut after line ends; the last line gets one if it has none.

    A CR that ends a block is not taken for a line end before it is seen whether LF follows.
    """
    parts: list[bytes] = []
    held = 0
    for block in blocks:
        end = max(block.rfind(b"\n"), block.rfind(b"\r", 0, -1)) + 1
        if end:
            yield b"".join((*parts, block[:end]))
            parts, held = [], 0
        if end < len(block):
            parts.append(block[end:])
            held += len(block) - end
        if held > LONGEST_LINE:
            raise DeliveryError(f"{place}: a line is longer than {LONGEST_LINE >> 20} MiB; deliver it with line ends")
    last = b"".join(parts)
    if last:
        if ended and not last.endswith(b"\r"):
            raise DeliveryError(f"{place}: the last line has no line end, so that the file was cut short; deliver it again")
        yield last if last.endswith(b"\r") else last + b"\n"


def _utf8(lines: bytes) -> bytes:
    """Whole lines as UTF-8, without the byte order marks that they begin with where files with marks were joined."""
    if lines.isascii():
        return lines
    if codecs.BOM_UTF8 in lines:
        lines = _MARKS.sub(b"", lines)
    try:
        lines.decode()
    except UnicodeDecodeError:
        return b"\n".join(line if line.isascii() else _line_as_utf8(line) for line in lines.split(b"\n"))
    return lines


def _line_as_utf8(line: bytes) -> bytes:
    try:
        line.decode()
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="surrogateescape").encode("utf-8", errors="surrogatepass")
    return line
