"""What identifies a person inside texts: National Insurance numbers, postcodes, telephone numbers, e-mail addresses, and dates
that look like codes. NHS numbers are in `number_spellings`.

Regular expressions in the syntax that both engines and Python share.
"""

import re
from typing import Final

from pipelines.contracts.number_spellings import holds_nhs_number

_FROM, _TO = "(?:^|[^0-9A-Za-z])", "(?:$|[^0-9A-Za-z])"

_MAIL = "[0-9A-Za-z_]@[0-9A-Za-z-]+[.][A-Za-z]"

_APART = "[-._/ ]"

_PHONE = (
    "(?:^|[^0-9A-Za-z.])(?i:t|m|tel|mob|phone)?(?:"
    "0[1235789][0-9]{8,9}"
    "|44(?:1[1-9]|[2378][0-9])[0-9]{8}"
    f"|[(]?0[1235789][0-9]{{1,3}}[)]?{_APART}[0-9]{{3,4}}{_APART}?[0-9]{{2,4}}"
    "|(?:[+]44|0044)[ -]?(?:[(]0[)])?[ -]?[1235789][0-9]{1,4}[ -]?[0-9]{3,4}[ -]?[0-9]{2,4}"
    "|[+][1-9][0-9]{0,2}(?:[ -]?[0-9]){8,12}"
    f"){_TO}"
)
"""British numbers with or without groups, and foreign ones with their plus; eight digits alone are a date.

Twelve digits that begin with 44 are no id of SNOMED CT: there 1000 would follow, which begins the namespaces of long ids."""

_ONE, _TWO = "[BEGLMNSW][0-9]", "[A-PR-UWYZ][A-HK-Y][0-9]"
_INWARD = "[0-9][ABD-HJLNP-UW-Z]{2}"
_POSTCODE = (
    f"{_FROM}(?:(?i:(?:{_ONE}[0-9A-Z]?|{_TWO}[0-9A-Z]?|GIR)[-._/ \\u00a0]{{1,3}}{_INWARD})"
    f"|(?i:(?:{_ONE}[0-9A-Z]|{_TWO}[0-9A-Z]?|GIR){_INWARD})"
    f"|{_ONE}{_INWARD}){_TO}"
)
"""Postcodes of the United Kingdom, with a space, with a mark in its place, and without. Five characters without one are a Read
code unless in capitals."""

_INSURANCE = f"{_FROM}[A-Za-z]{{2}}(?:{_APART}?[0-9]{{2}}){{3}}{_APART}?[A-Da-d]{_TO}"
"""National Insurance numbers: two letters, six digits, a letter from A to D."""

IDENTIFYING: Final = f"{_MAIL}|{_PHONE}|{_POSTCODE}|{_INSURANCE}"

_MONTH = (
    "(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?)"
)
_YEAR, _DAY, _BETWEEN, _APART_OR_NOT = "(?:19|20)[0-9]{2}", "[0-9]{1,2}(?:st|nd|rd|th)?", "[-./_:]", "[-./_ ,]{0,2}"
_MM, _DD = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
DATE: Final = (
    "^(?:[A-Za-z][A-Za-z.]{0,4}[-.:_ ]{0,2})?(?:"
    f"{_DAY}{_APART_OR_NOT}{_MONTH}{_APART_OR_NOT}(?:{_YEAR}|[0-9]{{2}})"
    f"|{_MONTH}{_APART_OR_NOT}{_DAY}(?:{_APART_OR_NOT}{_YEAR}|[-./_][0-9]{{2}})"
    f"|{_YEAR}{_APART_OR_NOT}{_MONTH}{_APART_OR_NOT}[0-9]{{1,2}})$"
    "|^[A-Za-z][A-Za-z.]{0,4}[-.:_ ]{0,2}(?:"
    f"{_YEAR}{_BETWEEN}[0-9]{{1,2}}{_BETWEEN}[0-9]{{1,2}}|[0-9]{{1,2}}{_BETWEEN}[0-9]{{1,2}}{_BETWEEN}{_YEAR})$"
    f"|^(?i:b|d|bd|born|birth)[-.:_ ]{{0,2}}(?:{_YEAR}{_MM}{_DD}|{_DD}{_MM}{_YEAR})$"
    f"|^19[0-9]{{2}}{_MM}{_DD}[Tt ]?(?:[01][0-9]|2[0-3])(?:[0-5][0-9]){{1,2}}$"
    f"|{_FROM}(?i:d[.]?o[.]?b)[^0-9A-Za-z]{{0,3}}(?:[0-9][-./ ]?){{4}}"
)
"""Dates that codes look like: of a month by its name, behind letters, or a time of the last century, no id of SNOMED CT
(the namespace 1000 would be the zeroth of October); and what is said to be a date of birth."""

SNOMED_ID: Final = "^[1235][0-9]{6}0[012][0-9]$"
"""Ten digits that are an id of SNOMED CT (partition 00, 01 or 02), in a range of which England issues no NHS numbers."""


def names_somebody(text: str) -> bool:
    """Whether a text that somebody has written holds an identifier of a person. Dates, which such texts have, are none."""
    return holds_nhs_number(text) or re.search(IDENTIFYING, text) is not None
