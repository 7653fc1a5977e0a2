"""How NHS numbers are spelled, in deliveries and on opt-out lists.

Regular expressions in the syntax that both engines and Python share.
"""

import re
from typing import Final

BLANKS: Final = "\x00 \t\r\n\x0b\x0c\x1a\x85\u00a0\u00ad\u1680\u2028\u2029\u202f\u205f\u2060\u3000\ufeff" + "".join(
    chr(mark) for mark in (*range(0x2000, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
)
"""Blanks of any width, marks without one, ends of lines, zero bytes, and the sign that ends a file on old systems."""

APOSTROPHE: Final = "'"
"""The sign before a value by which spreadsheets keep it a text (`'0123`)."""

NO_PART_OF_NUMBER: Final = f"[{BLANKS}\u2010-\u2015\u2212'\u2018\u2019\u201c\u201d`\"=-]"
"""Blanks, dashes, quotes, and the signs of `=\"9990000018\"` or `'9990000018`, by which spreadsheets keep it a text."""

SPELLED_OTHERWISE: Final = (
    "^([0-9])[.]?([0-9]{9})[eE][+]?0?9$|^([0-9])[.]?([0-9]{8})[eE][+]?0?8$|^0{2,10}([1-9][0-9]{9})(?:[.]0*)?$"
    "|^([0-9]{3})[./_]([0-9]{3})[./_]([0-9]{4})$|^([0-9]),([0-9]{3}),([0-9]{3}),([0-9]{3})(?:[.]0*)?$|[.]0*$"
)
"""A number as a power of ten with all its digits, which are the groups, with zeros that fill it, in groups of three, three and
four digits, with the commas of thousands, or decimals behind it.

One zero before ten digits fills nothing: so telephone numbers begin.
"""
DIGITS_SPELLED: Final = "".join(f"${group}" for group in range(1, 13))
"""The digits of a number that SPELLED_OTHERWISE found; the groups of its other forms are empty."""

ROUNDED: Final = "'?[0-9](?:[.][0-9]{1,5})?[eE][+][0-9]{2}"
"""An id as spreadsheets show long numbers: many have been rounded to it."""

TEXT_OF_SPREADSHEET: Final = '^="([^"]*)"$'
"""How spreadsheets keep a text of digits from becoming a number; the text is the group."""

LOST_ZERO: Final = "^[0-9]{9}$"
"""A number that has lost its leading zero in a column of numbers."""

_BETWEEN: Final = "[^0-9A-Za-z]{1,3}"
_BETWEEN_TWO: Final = "[^0-9A-Za-z.]{1,3}"
NUMBER_IN_TEXT: Final = (
    "(?:^|[^0-9.]|[^0-9][.])("
    "[0-9](?: ?[0-9]){9}"
    f"|[0-9]{{3}}{_BETWEEN}[0-9]{{3}}{_BETWEEN}[0-9]{{4}}"
    f"|[0-9]{{4}}{_BETWEEN}[0-9]{{3}}{_BETWEEN}[0-9]{{3}}"
    "|(?:[0-9]{2}-){4}[0-9]{2}"
    f"|(?:[0-9]{_BETWEEN}){{9}}[0-9]"
    f"|[0-9]{{3}}{_BETWEEN_TWO}[0-9]{{7}}"
    f"|[0-9]{{4}}{_BETWEEN_TWO}[0-9]{{6}}"
    f"|[0-9]{{5}}{_BETWEEN_TWO}[0-9]{{5}}"
    f"|[0-9]{{6}}{_BETWEEN_TWO}[0-9]{{4}}"
    "|[1-9](?:[,.'_ ][0-9]{3}){3}"
    "|0{2,10}[1-9][0-9]{9}"
    "|[0-9][.][0-9]{9}[eE][+]?0?9"
    "|[0-9]{2}[.][0-9]{8}[eE][+]?0?8"
    "|0[.][1-9][0-9]{9}[eE][+]?10"
    ")(?:$|[^0-9])"
)
"""What may be a number within a text: ten digits, together, in groups, filled with zeros, or as a spreadsheet writes a large
number. A lone first digit and a dash is none: so the Care Quality Commission writes its ids."""

DIGIT: Final = "(?:^0[.0]0*)?([0-9])(?:[eE].*)?"
"""A digit of such a number, which is the group; no power of ten is among them, and no zeros that fill it. No number begins with
two of its own."""

_TIME: Final = "20(?:1[3-9]|[2-9][0-9])(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:[01][0-9]|2[0-3])"
"""The hour of a day, as names of files have it. No NHS or CHI number of the United Kingdom begins so."""


def passes_modulus_11(digits: str) -> bool:
    """Whether the last of ten digits is the check digit of the others."""
    return sum(int(digit) * (10 - place) for place, digit in enumerate(digits)) % 11 == 0


def holds_nhs_number(text: str) -> bool:
    """Whether a valid NHS number is anywhere in a text."""
    found = ("".join(re.findall(DIGIT, spelled)) for spelled in re.findall(f"(?={NUMBER_IN_TEXT})", text))
    return any(passes_modulus_11(digits) for digits in found if not re.fullmatch(_TIME, digits))
