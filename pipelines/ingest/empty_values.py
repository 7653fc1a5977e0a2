"""Which delivered texts are values: the same that `trimmed` of pipelines.columns.text takes for one."""

from functools import cache
from itertools import product

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.columns.text import NULL_TEXTS
from pipelines.contracts.number_spellings import APOSTROPHE, BLANKS

_NULLS = {"".join(letters) for text in NULL_TEXTS for letters in product(*({c.lower(), c.upper()} for c in text))}
_LONGEST_NULL = max(map(len, _NULLS))


@cache
def _null_values() -> pa.Array:
    """The texts of `_NULLS`. Made when they are needed: pyarrow imports pandas for its first array."""
    return pa.array(sorted(_NULLS))


def _trimmed(texts: pa.Array) -> pa.Array:
    return pc.utf8_rtrim(pc.utf8_ltrim(texts, characters=BLANKS + APOSTROPHE), characters=BLANKS)


def is_empty(texts: pa.Array) -> pa.Array:
    """Whether each text is missing, or stands for a missing one."""
    bare = _trimmed(texts)
    return pc.or_(pc.is_null(bare), pc.is_in(bare, value_set=_null_values()))


def number_of_values(texts: pa.Array) -> int:
    """How many texts are values."""
    bare = _trimmed(texts)
    short = bare.filter(pc.less_equal(pc.binary_length(bare), _LONGEST_NULL))  # few have to be looked up
    nothing = pc.sum(pc.is_in(short, value_set=_null_values())).as_py() or 0
    return len(bare) - int(bare.null_count + nothing)
