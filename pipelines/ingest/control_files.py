"""Control files of senders, as their contract describes them."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pipelines.contracts.delivered_names import shown
from pipelines.contracts.delivery_forms import ControlFile, Stated, count_in
from pipelines.contracts.source import normalise_header
from pipelines.errors import DeliveryError
from pipelines.ingest.checksums import Checksum
from pipelines.ingest.opening import BLOCK
from pipelines.ingest.text import lines_of

_MOST_FAULTS = 5


class Listed(NamedTuple):
    """What is said of one file: its name, its data records (None: not said), and its checksums."""

    name: str
    rows: int | None = None
    checksums: tuple[Checksum, ...] = ()


def listed_by(names: Sequence[str], contents: Sequence[bytes], form: ControlFile) -> tuple[Listed, ...]:
    """What control files say of the files that they list.

    Raises DeliveryError, which names the control file and its lines, never what stands there.
    """
    listed: list[Listed] = []
    faults: list[str] = []
    for name, content in zip(names, contents, strict=True):
        try:
            listed += _listed(name, content, form)
        except DeliveryError as error:
            faults.append(f"{shown(name)}: {error}")
    if faults:
        raise DeliveryError("; ".join(faults))
    return tuple(listed)


def _listed(name: str, content: bytes, form: ControlFile) -> list[Listed]:
    lines = list(_lines(content, form))
    if form.header:
        if not lines:
            raise DeliveryError("the control file has no header")
        positions = _positions(lines.pop(0)[1], form)
    else:
        positions = {stated: int(column) - 1 for stated, column in form.columns.items()}
    if not lines:
        raise DeliveryError("the control file lists no file")
    if Stated.NAME not in positions and len(lines) > 1:
        raise DeliveryError(f"has {len(lines)} lines where it can be about one file only, because it has no column of names")
    listed, wrong = [], []
    for line, fields in lines:
        entry = _entry(name, fields, positions, form)
        if isinstance(entry, Listed):
            listed.append(entry)
        else:
            wrong.append(f"line {line} has no {entry}")
    if wrong:
        more = f" and {len(wrong) - _MOST_FAULTS} more" if len(wrong) > _MOST_FAULTS else ""
        raise DeliveryError(f"{', '.join(wrong[:_MOST_FAULTS])}{more}")
    return listed


def _lines(content: bytes, form: ControlFile) -> Iterator[tuple[int, list[str]]]:
    """The fields of every line that is not empty, with its number."""
    blocks = (content[start : start + BLOCK] for start in range(0, len(content), BLOCK))
    try:
        text = b"".join(lines_of(blocks, "")).decode("utf-8", errors="surrogatepass")
    except DeliveryError as error:
        raise DeliveryError(str(error).removeprefix(": ")) from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        if form.delimiter == "blanks":
            most = -1 if form.header else max(map(int, form.columns.values())) - 1
            yield number, line.split(maxsplit=most)
            continue
        bare = re.sub(f'" +(?={re.escape(form.delimiter)}|$)', '"', line)
        try:
            yield number, next(csv.reader([bare], delimiter=form.delimiter, strict=True, skipinitialspace=True))
        except csv.Error as error:
            raise DeliveryError(f"line {number} is not CSV; its quotes are not closed") from error


def _positions(header: Sequence[str], form: ControlFile) -> dict[Stated, int]:
    names = [normalise_header(text) for text in header]
    wanted = {stated: normalise_header(str(column)) for stated, column in form.columns.items()}
    missing = [str(form.columns[stated]) for stated, name in wanted.items() if names.count(name) != 1]
    if missing:
        raise DeliveryError(f"columns are missing or there twice: {', '.join(missing)}")
    return {stated: names.index(name) for stated, name in wanted.items()}


def _entry(control: str, fields: Sequence[str], positions: Mapping[Stated, int], form: ControlFile) -> Listed | str:
    """What a line says; for a line that does not say it, what is wanting."""
    name, rows, checksums = control.rpartition(".")[0], None, []
    for stated, position in positions.items():
        text = fields[position].strip() if position < len(fields) else ""
        if stated is Stated.NAME:
            name = text.removeprefix("*" if form.delimiter == "blanks" else "").removeprefix("./")
        elif stated is Stated.RECORDS:
            count = count_in(text)
            if count is None or count < form.besides:
                return "number of records"
            rows = count - form.besides
        elif not re.fullmatch(f"[0-9a-fA-F]{{{stated.digits}}}", text):
            return f"checksum {stated.value}"
        else:
            checksums.append(Checksum(stated, text.casefold(), "the control file"))
    return Listed(name, rows, tuple(checksums)) if name else "name of a file"
