"""Millions of delivered texts without a Python loop: identifiers, dates and times as Arrow string arrays.

Every text of one call has the same width, so the characters are written to one byte matrix, which Arrow uses without a copy.
"""

import numpy as np
import pyarrow as pa

HEX_UPPER = np.frombuffer(b"0123456789ABCDEF", dtype=np.uint8)
MONTHS = np.frombuffer(b"JanFebMarAprMayJunJulAugSepOctNovDec", dtype=np.uint8).reshape(12, 3)
MONTHS_UPPER = np.frombuffer(b"JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC", dtype=np.uint8).reshape(12, 3)
FIELDS = {"yyyy": 4, "dd": 2, "MM": 2, "MMM": 3, "HH": 2, "mm": 2, "ss": 2, "MON": 3}


def fixed_width(characters: np.ndarray, missing: np.ndarray | None = None) -> pa.Array:
    """One string per row of a byte matrix (ASCII); null where `missing`."""
    rows, width = characters.shape
    limit = np.iinfo(np.int32).max // max(width, 1)
    if rows > limit:
        parts = [slice(start, start + limit) for start in range(0, rows, limit)]
        arrays = [fixed_width(characters[part], None if missing is None else missing[part]) for part in parts]
        return pa.concat_arrays([array.cast(pa.large_string()) for array in arrays])
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    bitmap = None
    if missing is not None and missing.any():
        bitmap = pa.py_buffer(np.packbits(~missing, bitorder="little").tobytes())
    data = np.ascontiguousarray(characters)
    return pa.Array.from_buffers(pa.string(), rows, [bitmap, pa.py_buffer(offsets), pa.py_buffer(data)])


def write_digits(characters: np.ndarray, start: int, width: int, values: np.ndarray) -> None:
    """Write `values`, padded with zeros to `width`, into the columns from `start` of a byte matrix."""
    rest = values
    for position in range(start + width - 1, start - 1, -1):
        rest, digit = np.divmod(rest, 10)
        characters[:, position] = digit + ord("0")


def numbered(prefix: str, values: np.ndarray, width: int) -> pa.Array:
    """`prefix` and the zero-padded number, for instance C00000012."""
    head = np.frombuffer(prefix.encode("ascii"), dtype=np.uint8)
    characters = np.empty((len(values), len(head) + width), dtype=np.uint8)
    characters[:, : len(head)] = head
    write_digits(characters, len(head), width, np.asarray(values, dtype=np.int64))
    return fixed_width(characters)


def guids(rng: np.random.Generator, count: int) -> pa.Array:
    """`count` random GUIDs of version 4, in upper case with dashes, as EMIS writes them."""
    digits = rng.integers(0, 16, size=(count, 32), dtype=np.uint8)
    digits[:, 12] = 4
    digits[:, 16] = 8 + digits[:, 16] % 4
    characters = np.full((count, 36), ord("-"), dtype=np.uint8)
    start = 0
    for at, length in ((0, 8), (9, 4), (14, 4), (19, 4), (24, 12)):
        characters[:, at : at + length] = HEX_UPPER[digits[:, start : start + length]]
        start += length
    return fixed_width(characters)


def date_text(values: np.ndarray, form: str = "yyyy-MM-dd") -> pa.Array:
    """Dates or times as text; null for NaT.

    `form` is made of yyyy, MM, MMM (Jan), MON (JAN), dd, HH, mm, ss and literal characters: `dd/MM/yyyy HH:mm`.
    """
    missing = np.isnat(values)
    seconds = np.where(missing, np.datetime64(0, "s"), values.astype("datetime64[s]"))
    days = seconds.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    of_day = (seconds - days).astype(np.int64)
    month = months.astype(np.int64) % 12
    numbers = {
        "yyyy": months.astype("datetime64[Y]").astype(np.int64) + 1970,
        "MM": month + 1,
        "dd": (days - months).astype(np.int64) + 1,
        "HH": of_day // 3600,
        "mm": of_day // 60 % 60,
        "ss": of_day % 60,
    }
    parts = _parts(form)
    characters = np.empty((len(values), sum(FIELDS.get(part, 1) for part in parts)), dtype=np.uint8)
    start = 0
    for part in parts:
        width = FIELDS.get(part, 1)
        if part in numbers:
            write_digits(characters, start, width, numbers[part])
        elif part in ("MMM", "MON"):
            characters[:, start : start + 3] = (MONTHS if part == "MMM" else MONTHS_UPPER)[month]
        else:
            characters[:, start] = ord(part)
        start += width
    return fixed_width(characters, missing)


def _parts(form: str) -> list[str]:
    """Fields and single literal characters of a form, in order."""
    names = sorted(FIELDS, key=len, reverse=True)
    parts, at = [], 0
    while at < len(form):
        part = next((name for name in names if form.startswith(name, at)), form[at])
        parts.append(part)
        at += len(part)
    return parts


def pick(rng: np.random.Generator, values: list[str], count: int, weights: list[float] | None = None) -> pa.Array:
    """`count` random draws from a short list of texts; the empty text becomes null."""
    chances = None if weights is None else np.asarray(weights, dtype=float) / sum(weights)
    return spread(values, rng.choice(len(values), size=count, p=chances))


def spread(values: list[str] | np.ndarray, indices: np.ndarray) -> pa.Array:
    """The text of `values` at each index; null for a negative index or the empty text."""
    texts = pa.array([value or None for value in values], pa.string())
    at = pa.array(indices, pa.int64(), mask=np.asarray(indices) < 0)
    return texts.take(at)


def replaced(texts: np.ndarray, old: str, new: str) -> np.ndarray:
    """Texts with one part replaced; numpy fails on an empty array."""
    return np.char.replace(texts, old, new) if len(texts) else texts
