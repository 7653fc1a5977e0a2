"""Searches a folder for known values: file names, file contents, and decompressed contents.

Of a Parquet file the footer is searched as bytes and decoded, and the pages as the values of all columns. The compressed
bytes of pages are not searched, because they contain accidental texts. A finding names the place of a value, never the value.
"""

import gzip
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

PREFIX = 8
"""Values of at least this many bytes are searched for at every position; shorter ones as whole words only."""

TEXT_SUFFIXES = {".json", "", ".csv", ".md", ".log", ".txt", ".yaml"}
_WORD = re.compile(r"\w+")
_OF_FILES = re.compile(rb'"(size|num\w+|\w*[tT]ime\w*)":[0-9]+')
"""What the engine counts of files (bytes, rows, moments), of one or of all: numbers which are now and then those of a code."""
_GAP = re.compile(rb"(?<=[0-9])[ -](?=[0-9])")


SLOT_BITS = 22
"""Four million slots: of the tens of thousands of values that are looked for, few share one with bytes of another text."""


def _slot(prefixes: np.ndarray) -> np.ndarray:
    """The place of each prefix in a table of slots, by the upper bits of its product with an odd number without pattern."""
    return (prefixes * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - SLOT_BITS)


@dataclass(frozen=True)
class Haystack:
    """Bytes and their origin. `is_text` is false for bytes in which short words would occur by chance."""

    where: str
    content: bytes
    is_text: bool


@dataclass(frozen=True)
class Needles:
    """Values to search for, by kind: `anywhere` also inside longer texts, `words` as whole words only."""

    anywhere: Mapping[str, frozenset[str]]
    words: Mapping[str, frozenset[str]]

    @cached_property
    def prefixes(self) -> np.ndarray:
        """The first bytes of each long value as one number, sorted."""
        heads = {needle[:PREFIX] for needle in self._long}
        return np.sort(np.frombuffer(b"".join(heads), dtype="<u8"))

    @cached_property
    def _slots(self) -> np.ndarray:
        """Whether there may be a prefix, by its slot: looking there takes a tenth of looking among all prefixes."""
        slots = np.zeros(1 << SLOT_BITS, dtype=bool)
        slots[_slot(self.prefixes)] = True
        return slots

    @cached_property
    def _long(self) -> dict[bytes, set[str]]:
        found: dict[bytes, set[str]] = {}
        for kind, values in self.anywhere.items():
            for value in values:
                found.setdefault(value.lower().encode(), set()).add(kind)
        return found

    @cached_property
    def _by_head(self) -> dict[bytes, list[bytes]]:
        heads: dict[bytes, list[bytes]] = {}
        for needle in self._long:
            heads.setdefault(needle[:PREFIX], []).append(needle)
        return heads

    @cached_property
    def _short(self) -> dict[str, list[tuple[str, str]]]:
        """Words and phrases by the longest word in them."""
        found: dict[str, list[tuple[str, str]]] = {}
        for kind, values in self.words.items():
            for value in values:
                words = _WORD.findall(value.lower())
                found.setdefault(max(words, key=len), []).append((value.lower(), kind))
        return found

    def __post_init__(self) -> None:
        short = [kind for kind, values in self.anywhere.items() if any(len(value.encode()) < PREFIX for value in values)]
        if short:
            raise ValueError(f"too short to be looked for anywhere: {short}")

    def kinds_in(self, haystack: Haystack) -> set[str]:
        """The kinds of value that occur, ignoring case."""
        content = haystack.content.lower()
        found = self._anywhere(content)
        if haystack.is_text:
            found |= self._anywhere(_GAP.sub(b"", content)) | self._words(content.decode("utf-8", "replace"))
        return found

    def _anywhere(self, content: bytes) -> set[str]:
        if len(content) < PREFIX or not self._long:
            return set()
        windows = np.ndarray((len(content) - PREFIX + 1,), dtype="<u8", buffer=content, strides=(1,))
        likely = np.flatnonzero(self._slots[_slot(windows)])
        nearest = np.minimum(np.searchsorted(self.prefixes, windows[likely]), len(self.prefixes) - 1)
        places = likely[self.prefixes[nearest] == windows[likely]]
        there = {
            needle
            for place in places.tolist()
            for needle in self._by_head[content[place : place + PREFIX]]
            if content.startswith(needle, place)
        }
        return set().union(*[self._long[needle] for needle in there])

    def _words(self, text: str) -> set[str]:
        there = set(_WORD.findall(text)) & self._short.keys()
        return {
            kind for word in there for value, kind in self._short[word] if re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text)
        }


def findings(needles: Needles, folder: Path, skip: Iterable[Path] = ()) -> list[str]:
    """The findings below a folder: kind and place."""
    left_out = set(skip)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in left_out]
    return sorted(
        f"{kind} in {path.relative_to(folder)}{haystack.where}"
        for path in files
        for haystack in haystacks(path, folder)
        for kind in needles.kinds_in(haystack)
    )


def haystacks(path: Path, folder: Path) -> Iterator[Haystack]:
    """All contents of a file to search."""
    yield Haystack(" (its name)", str(path.relative_to(folder)).encode(), True)
    raw = path.read_bytes()
    if path.parent.name == "_delta_log" and path.suffix == ".json":
        raw = _OF_FILES.sub(b"", raw)
    if raw.startswith(b"PAR1"):
        yield from parquet_haystacks(path, raw)
        return
    yield Haystack("", raw, path.suffix in TEXT_SUFFIXES)
    if raw.startswith(b"\x1f\x8b"):
        yield Haystack(" (unpacked)", gzip.decompress(raw), True)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield Haystack(f" ({name})", archive.read(name), True)


def parquet_haystacks(path: Path, raw: bytes) -> Iterator[Haystack]:
    """The values of each column, and the decoded footer."""
    length = int.from_bytes(raw[-8:-4], "little")
    yield Haystack(" (footer as it is)", raw[-8 - length :], False)
    file = pq.ParquetFile(path)
    statistics = [
        f"{column.statistics.min}\n{column.statistics.max}"
        for group in range(file.metadata.num_row_groups)
        for column in (file.metadata.row_group(group).column(place) for place in range(file.metadata.num_columns))
        if column.statistics is not None and column.statistics.has_min_max
    ]
    stated = [f"{key!r} {value!r}" for key, value in (file.metadata.metadata or {}).items()]
    yield Haystack(" (footer)", "\n".join([*statistics, *stated, str(file.schema)]).encode(), True)
    table = file.read()
    for name in table.column_names:
        yield Haystack(f" (column {name})", column_bytes(table[name]), True)


def column_bytes(column: pa.ChunkedArray) -> bytes:
    """The distinct values of a column, one per line."""
    kind = column.type
    if pa.types.is_nested(kind):
        return str(column.to_pylist()).encode()
    values = pc.unique(column)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return b"\n".join(value.as_py() or b"" for value in values)
    return "\n".join(text or "" for text in pc.cast(values, pa.string()).to_pylist()).encode()
