"""How each provider's files are written: encoding, line ends, delimiter, compression, spelling of headers, file names."""

import csv
import gzip
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.csv as pacsv

from pipelines.contracts.source import Entity
from pipelines.synthetic.population import named_rng
from pipelines.synthetic.text import guids

NO_TIME = (1980, 1, 1, 0, 0, 0)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SPELLINGS: dict[str, Callable[[str], str]] = {"as_is": str, "upper": str.upper, "lower": str.lower}


@dataclass(frozen=True)
class FileFormat:
    """The file format of one provider."""

    encoding: str = "utf-8"
    mark: bool = False
    line_end: str = "\n"
    delimiter: str = ","
    compression: str = ""
    spelling: str = "as_is"

    @property
    def traps(self) -> list[str]:
        """Names of the properties that a reader must detect."""
        found = {
            "cp1252": self.encoding == "cp1252",
            "byte_order_mark": self.mark,
            "crlf": self.line_end == "\r\n",
            "pipe_delimiter": self.delimiter == "|",
            "gzip": self.compression == "gz",
            "zip": self.compression == "zip",
            "header_case": self.spelling != "as_is",
        }
        return [name for name, there in found.items() if there]


FORMATS = {
    "Y99002": FileFormat(mark=True, line_end="\r\n"),
    "Y99003": FileFormat(compression="gz", spelling="lower"),
    "Y99004": FileFormat(encoding="cp1252"),
    "RZ1": FileFormat(line_end="\r\n"),
    "RZ2": FileFormat(encoding="cp1252", spelling="upper"),
    "RZM": FileFormat(delimiter="|"),
    "RZC": FileFormat(mark=True),
    "RZX": FileFormat(compression="gz"),
    "992": FileFormat(encoding="cp1252", compression="zip"),
}
"""Formats that differ from the plain one, by provider."""


def format_of(provider: str) -> FileFormat:
    """The format of a provider's files."""
    return FORMATS.get(provider, FileFormat())


def headers_of(entity: Entity, columns: Sequence[str], layout: FileFormat, variant: str) -> list[str]:
    """The headers of a file; a variant (an older release) takes the first alias of each column that has one."""
    spell = SPELLINGS[layout.spelling]
    named = [(name, entity.columns[name]) for name in columns]
    return [spell(column.aliases[0] if variant and column.aliases else column.header or name) for name, column in named]


def file_name(source: str, entity: Entity, provider: str, day: date, part: str) -> str:
    """A name that the first file pattern of an entity takes; GP files have the five parts of the EMIS bulk extract."""
    stem = entity.files[0].strip("*_.")
    stamp = day.strftime("%Y%m%d")
    if source != "gp":
        return f"{stem}_{provider}_{stamp}{part and '_'}{part}.csv"
    agreement = guids(named_rng(0, f"agreement.{provider}"), 1)[0].as_py()
    return f"{4000 + day.toordinal() % 1000}{part}_{stem}_{stamp}013000_{agreement}.csv"


def csv_bytes(rows: pa.Table, headers: Sequence[str], layout: FileFormat) -> bytes:
    """Header and rows; values are quoted only in a file where one of them needs it."""
    head = csv_line(headers, layout)
    for style in ("none", "needed"):
        sink = pa.BufferOutputStream()
        options = pacsv.WriteOptions(
            include_header=False, delimiter=layout.delimiter, quoting_style=style, eol=layout.line_end, batch_size=16384
        )
        try:
            pacsv.write_csv(rows, sink, options)
        except pa.ArrowInvalid:
            continue
        body: bytes = sink.getvalue().to_pybytes()
        return head + body
    raise AssertionError("a quoted file can hold every value")


def csv_line(values: Sequence[str | None], layout: FileFormat) -> bytes:
    """One record, quoted where needed."""
    text = io.StringIO()
    csv.writer(text, delimiter=layout.delimiter, lineterminator=layout.line_end).writerow(values)
    return text.getvalue().encode("utf-8")


def encoded(content: bytes, layout: FileFormat, name: str) -> bytes:
    """UTF-8 content as the provider delivers it. It contains no time of day, so the bytes are the same every time."""
    if layout.encoding != "utf-8":
        content = content.decode("utf-8").encode(layout.encoding, errors="replace")
    if layout.mark:
        content = BYTE_ORDER_MARK + content
    if layout.compression == "gz":
        return gzip.compress(content, compresslevel=1, mtime=0)
    if layout.compression == "zip":
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as archive:
            archive.writestr(zipfile.ZipInfo(name, NO_TIME), content, zipfile.ZIP_DEFLATED, compresslevel=1)
        return sink.getvalue()
    return content
