"""Builds delivered tables from arrays."""

import numpy as np
import pyarrow as pa

from pipelines.synthetic.text import spread


def assemble(
    columns: dict[str, pa.Array | None],
    provider: pa.Array,
    night: np.ndarray,
    person: np.ndarray,
    headers: pa.Array | None = None,
) -> pa.Table:
    """A table of `SourceData`: the delivered columns in order; None for a column that is always empty."""
    count = len(provider)
    empty = pa.nulls(count, pa.string())
    filled = {name: empty if values is None else values for name, values in columns.items()}
    filled["_provider"] = provider
    filled["_night"] = pa.array(night, pa.int8())
    filled["_person"] = pa.array(person, pa.int32())
    if headers is not None:
        filled["_headers"] = headers
    return pa.table(filled)


def same(text: str, count: int) -> pa.Array:
    """The same text on every row."""
    return spread([text], np.zeros(count, dtype=np.int64))


def yes_no(flags: np.ndarray, no: str = "FALSE", yes: str = "TRUE") -> pa.Array:
    """Flags as the source writes them."""
    return spread([no, yes], flags.astype(np.int64))


def number_text(values: np.ndarray, decimals: int = 1) -> pa.Array:
    """Numbers as text; null for NaN."""
    missing = np.isnan(values)
    rounded = np.round(np.where(missing, 0, values), decimals)
    numbers = pa.array(rounded.astype(np.int64) if decimals == 0 else rounded, mask=missing)
    return numbers.cast(pa.string())


def known(texts: np.ndarray) -> pa.Array:
    """Texts as an Arrow array; null for the empty text."""
    return spread(texts, np.arange(len(texts)))
