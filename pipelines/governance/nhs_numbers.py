"""NHS numbers on opt-out lists, in the spellings that people and spreadsheets give them."""

import re

from pipelines.contracts.number_spellings import LOST_ZERO, NO_PART_OF_NUMBER, SPELLED_OTHERWISE, passes_modulus_11

_REPEATED = re.compile(r"([0-9])\1{9}")
_FRAMED = re.compile(r"([0-9])0{8}\1")
"""Placeholders that pass the check: a repeated digit, or a digit on both sides of zeros."""


def nhs_number_in(text: str) -> str | None:
    """The ten digits of an NHS number; None where the text is none.

    A number passes Modulus 11 and is no placeholder. It has every spelling that it may have in deliveries (`digits_of`).
    """
    bare = re.sub(NO_PART_OF_NUMBER, "", text)
    digits = re.sub(SPELLED_OTHERWISE, lambda found: "".join(part or "" for part in found.groups()), bare)
    if re.fullmatch(LOST_ZERO, digits):
        digits = f"0{digits}"
    if not re.fullmatch("[0-9]{10}", digits) or _REPEATED.fullmatch(digits) or _FRAMED.fullmatch(digits):
        return None
    return digits if passes_modulus_11(digits) else None
