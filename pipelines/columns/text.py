"""Delivered text: trimmed values, codes, flags."""

import re
from collections.abc import Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.contracts.number_spellings import APOSTROPHE, BLANKS, ROUNDED

NULL_TEXTS = ("", "NULL", "N/A", "#N/A", "NONE", "\\N", "(NULL)", "[NULL]", "<NULL>")
"""What providers, and the programs that they export with, write for a missing value, in any case, after trimming."""

TRUE_TEXTS = ("true", "t", "yes", "y", "1", "01", "1.", "1.0", "1.00", "-1", "-1.0")
"""What providers write for true, in any case, after trimming."""

FALSE_TEXTS = ("false", "f", "no", "n", "0", "00", "0.", "0.0", "0.00")
"""What providers write for false, in any case, after trimming."""

_IS_NULL_TEXT = f"(?i)^(?:{'|'.join(map(re.escape, NULL_TEXTS))})$"

CODE_PATTERN = (
    "^[A-Za-z0-9(<>=+*&#%/.,:;|_' {}\\[\\]\\^\u00b5\u03bc\u00b0\u00ba\u02da\u00d7\u2103\u00b2\u00b3\u2070\u00b9\u2074-\u2079"
    "\u2013\u2020\u2021\u2264\u2265\u00b1\\-)]{1,200}$"
)
"""What a code, unit or list value may look like; anything else (an at sign, a line break, accented text) is not a code.

The characters outside ASCII are those of units (micro in both of its forms, degree in all three, times, powers), the dash of
list values, the daggers of ICD-10, and the signs of results (at most, at least, plus or minus).
"""


_NOBODY = (
    f"^(?:[^0-9A-Za-z]*|[0 .-]+|{ROUNDED}"
    "|[^0-9a-z]*(?:(?:unknown|unk|unidentified|undefined|unspecified|unborn|untraced|anon|anonymous|anonymi[sz]ed"
    "|n[ /.]?k|n[ /.]?a[.]?|nil|nan|null|missing|blank|redacted|suppressed|withheld|pending|invalid|default|dummy|test|temp"
    "|temporary|baby|new|tb[ac]|x+(?:[ -]+x+)*|no[ _-]?(?:id|number|nhs[ _-]?(?:no|number)|value|match)"
    "|none[ _-](?:known|recorded|stated|given|available)"
    "|not[ _-]?(?:known|recorded|stated|given|available|applicable|provided|supplied|found|held|on[ _-]?file|traced|assigned))"
    "(?:[ _-]*(?:unknown|person|patient|male|female|baby|null))?)[^0-9a-z]*"
    "|[^0-9a-z]*0[^1-9a-z]*|#[a-z0/]+[!?])$"
)
"""What is written where nobody knew an identifier: signs, zeros, words that say so, errors of spreadsheets; or where it was
rounded. In lower case."""

_MARKS_IN_POSTCODE = "-._/"
"""What people write instead of the blank of a postcode, or behind it."""

_JOINTS = " _-\u00a0\u2010\u2011\u2013"
"""Blanks and dashes between the words of a list value."""


def trimmed(value: Column) -> Column:
    """The value without outer BLANKS and APOSTROPHE; null if it is one of NULL_TEXTS."""
    bare = F.rtrim(F.ltrim(value, F.lit(BLANKS + APOSTROPHE)), F.lit(BLANKS))
    return F.when(~bare.rlike(_IS_NULL_TEXT), bare)


def is_code(value: Column) -> Column:
    """Whether a trimmed value can be a code."""
    return value.rlike(CODE_PATTERN)


def is_one_of(value: Column, values: Iterable[str]) -> Column:
    """Whether a trimmed value is one of `values`, ignoring case and how its words are joined (`entered-in-error`).

    A missing value is the empty one of `values`, so that it is in no list that does not have it.
    """
    listed = [text.upper().translate(dict.fromkeys(map(ord, _JOINTS))) for text in values]
    return joined(F.concat_ws("", value)).isin(*listed)


def joined(value: Column) -> Column:
    """A value of a list in upper case, without what joins or separates its words."""
    return F.translate(F.upper(value), _JOINTS, "")


def names_nobody(identifier: Column) -> Column:
    """Whether a trimmed identifier of a person is none (`UNKNOWN`, `N/K`, `000000`, `9.43E+09`): many people have it."""
    return F.lower(identifier).rlike(_NOBODY)


def is_rounded(identifier: Column) -> Column:
    """Whether a trimmed identifier is a power of ten, as spreadsheets show long numbers: many have been rounded to it."""
    return identifier.rlike(f"^{ROUNDED}$")


def postcode_area(value: Column) -> Column:
    """The first letters of a trimmed postcode (`PR` of `PR1 2AB`); null for pseudo postcodes (ZZ) and other texts."""
    joined_up = F.translate(F.upper(value), f"{BLANKS}{_MARKS_IN_POSTCODE}", "")
    area = F.regexp_extract(joined_up, "^([A-Z]{1,2})[0-9][0-9A-Z]?[0-9][A-Z]{2}$", 1)
    return F.when((area != "") & (area != "ZZ"), area)
