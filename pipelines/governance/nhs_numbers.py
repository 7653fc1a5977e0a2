"""NHS numbers on opt-out lists, in the spellings that people and spreadsheets give them."""

import re

_FILLING = re.compile("[\\s\u200b-\u200d\u2060\ufeff'\u2019\u2010-\u2015\u2212-]")
"""Blanks of any kind, marks without width, apostrophes and dashes."""

_LENGTH = 10
_REPEATED = re.compile(r"([0-9])\1{9}")
_FRAMED = re.compile(r"([0-9])0{8}\1")
"""Placeholders that pass the check: a repeated digit, or a digit on both sides of zeros."""


def nhs_number_in(text: str) -> str | None:
    """The ten digits of an NHS number; None where the text is none.

    A number passes Modulus 11 and is no placeholder. As in deliveries, nine digits have lost their leading zero, and a number
    may end with `.0`.
    """
    digits = re.sub(r"\.0$", "", _FILLING.sub("", text))
    if re.fullmatch("[0-9]{9}", digits):
        digits = f"0{digits}"
    if not re.fullmatch("[0-9]{10}", digits) or _REPEATED.fullmatch(digits) or _FRAMED.fullmatch(digits):
        return None
    total = sum(int(digit) * (_LENGTH - place) for place, digit in enumerate(digits[:-1]))
    return digits if (11 - total % 11) % 11 == int(digits[-1]) else None
