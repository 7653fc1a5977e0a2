"""Converts UK clinical codes to the form in which Athena writes them.

Deliveries write one code in many ways: SUS sends `I10X` for I10, EMIS sends `G20..-1` for Read G20..00, councils send
list values in any case. `normalise` gives the one form that is searched for. `broader_forms` gives the less specific codes
that replace a code which is not in its vocabulary:

- ICD-10: five to four to three characters, external causes to three.
- Read: a synonym to its preferred term.
- NHS Ethnic Category, NHS Ethnic Group: a local code to its national letter.
- AMPDS: a dispatch code to its card.

Normalising twice changes nothing. The codes of every vocabulary that is not named here are local list values; they are
compared ignoring case and repeated blanks; those of units whichever signs they have for micro, degrees and powers.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from pyspark.sql import Column
from pyspark.sql import functions as F

CDM_CODE_LENGTH = 50
"""Characters that the CDM allows for a code."""

CUT_MARK_LENGTH = 9
"""Length of the mark at the end of a shortened code: a tilde and the first digits of the SHA-256 of the whole code."""

Reading = TypeVar("Reading", bound=Hashable)

_BLANK_CHARACTERS = " \t\r\n\u00a0"
_BLANKS = "[ \\t\\r\\n\\u00a0]"
_ICD10 = "^([A-Z][0-9]{2})([0-9]?)([0-9]?)(X[0-9X]?)?-*(?:[AD]|[+*]{1,2})?$"
_ICD10_EXTERNAL_CAUSE = "^([WX][0-9]{2}|Y[0-2][0-9]|Y3[0-4])[.]"
_OPCS4 = "^([A-Z][0-9]{2})([0-9]?)[&-]*$"
_READ_SYNONYM = "-[0-9]+$"
_READ_TERM = "^.{5}[1-9][0-9A-Z]$"
"""A Read code with the number of a synonym. An id of SNOMED CT with seven digits has zeros there (3723001)."""
_CTV3_WITH_TERM = "^[0-9A-Za-z.]{5}00$"
_READ_SHORT = "^[0-9A-Za-z]{1,5}[.]*$"
OWN_ETHNIC_CATEGORY = "^(?:[A-Za-z][0-9]{1,2}|(?:[A-CE-MO-QS-Za-ce-mo-qs-z][A-Za-z]|[Dd][A-JL-Za-jl-z]|[Rr][A-EG-Za-eg-z]))$"
"""A letter of the national list of ethnic categories (NHS Data Dictionary: ETHNIC CATEGORY) with what a trust appends to it.

Two letters that say that nobody knows are none: `NA`, `NK`, `NS` and others with N, which would be Black African, `DK` (do not
know) and `RF` (refused).
"""
_SUPERSCRIPTS = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
_SCTID = "^[=<({ ]*0*([1-9][0-9]{5,17})([^0-9].*)?$"


def _nothing_broader(_: Column) -> list[Column]:
    return []


@dataclass(frozen=True)
class _Form:
    """How the codes of a vocabulary are written, and which less specific codes replace a normalised one that is not in it."""

    normal: Callable[[Column], Column]
    broader: Callable[[Column], list[Column]] = _nothing_broader


def _bare(code: Column) -> Column:
    """The code without outer blanks; null where nothing is left."""
    return F.nullif(F.btrim(code, F.lit(_BLANK_CHARACTERS)), F.lit(""))


def _compact(code: Column) -> Column:
    """Upper case without blanks and dots, because classification codes are typed in many ways; null for a placeholder."""
    compact = F.upper(F.regexp_replace(code, f"{_BLANKS}|[.]", ""))
    return F.nullif(F.regexp_replace(compact, "^[&-]*$", ""), F.lit(""))


def _dotted(compact: Column, pattern: str, parts: str) -> Column:
    """Category, dot, further characters. A value that does not look like a code of the classification stays compact.

    A compact value has no dot of its own, so a last one is that of a category without further characters.
    """
    return F.rtrim(F.regexp_replace(compact, pattern, parts), F.lit("."))


def _icd10(code: Column) -> Column:
    # By position: letter, two digits, a digit or the filler X, a digit or a filler (X, -), dagger (D, +) or asterisk (A, *).
    # T08X0 is the undivided T08 with a fifth character. It has no fourth character, so the code is the category.
    return _dotted(F.translate(_compact(code), "\u2020\u2021", "++"), _ICD10, "$1.$2$3")


def _icd10_broader(normal: Column) -> list[Column]:
    # Only a value of the form of a code has a dot. The morphology M80003 (M8000/3, a tumour) has none: it is no M80.
    has_form = F.substring(normal, 4, 1) == "."
    three = F.when(has_form, F.substring(normal, 1, 3))
    # Athena has the external causes W00-Y34 with three characters only: the fourth is the place, the fifth the activity.
    four = F.when(has_form & (F.length(normal) == 6) & ~normal.rlike(_ICD10_EXTERNAL_CAUSE), F.substring(normal, 1, 5))
    return [four, three]


def _opcs4(code: Column) -> Column:
    return _dotted(_compact(code), _OPCS4, "$1.$2")


def _read(code: Column) -> Column:
    # Athena writes seven characters: five of code and two of term. Case is significant (Eu00. is not EU00.).
    bare = F.regexp_replace(_bare(code), _READ_SYNONYM, "")
    return F.when(bare.rlike(_READ_SHORT) & (F.length(bare) <= 5), F.concat(F.rpad(bare, 5, "."), F.lit("00"))).otherwise(bare)


def _read_broader(normal: Column) -> list[Column]:
    return [F.when(normal.rlike(_READ_TERM), F.concat(F.substring(normal, 1, 5), F.lit("00")))]


def _ctv3(code: Column) -> Column:
    # Five characters. Some systems add the 00 of a Read code; seven digits may be an id of SNOMED CT instead.
    bare = _bare(code)
    with_term = bare.rlike(_CTV3_WITH_TERM) & bare.rlike("[A-Za-z.]")
    five = F.when(with_term, F.substring(bare, 1, 5)).otherwise(bare)
    return F.when(F.length(five) < 5, F.rpad(five, 5, ".")).otherwise(five)


def _sctid(code: Column) -> Column:
    # A post-coordinated expression begins with its focus concept: 71388002 |Procedure| : 363589002 = ...
    return F.regexp_replace(_bare(code), _SCTID, "$1")


def _upper(code: Column) -> Column:
    return F.upper(_bare(code))


def _ethnic_category_broader(normal: Column) -> list[Column]:
    # Trusts append a character of their own to the national letter (A1, AB). A word (Not stated) begins with no code.
    return [F.when(normal.rlike(OWN_ETHNIC_CATEGORY), F.substring(normal, 1, 1))]


def _list_value(code: Column) -> Column:
    return F.lower(F.regexp_replace(_bare(code), f"{_BLANKS}+", " "))


def _unit(code: Column) -> Column:
    # Micro is u, times x, powers are plain digits, and a sign of degrees, an ordinal or a ring is deg:
    # µmol/L is umol/L, °C deg C, m² m2, ×10⁹/L x10^9/L.
    powers = F.regexp_replace(code, f"10([{_SUPERSCRIPTS}])", "10^$1")
    plain = F.translate(powers, f"\u00b5\u03bc\u00d7{_SUPERSCRIPTS}\u2103", "uux0123456789C")
    return _list_value(F.regexp_replace(plain, "[\u00b0\u00ba\u02da]", "deg "))


def _ampds_broader(normal: Column) -> list[Column]:
    # Card, determinant level and number (17D03): the card is the chief complaint.
    return [F.when(normal.rlike("^[0-9]{2}[a-z]"), F.substring(normal, 1, 2))]


_WRITTEN_AS_IS = (
    "ABMS", "ATC", "CMS Place of Service", "CVX", "Cancer Modifier", "Condition Status", "Ethnicity", "Gender",
    "HES Specialty", "ICDO3", "Medicare Specialty", "NHS Place of Service", "NUCC", "Race", "RxNorm", "RxNorm Extension",
    "Type Concept", "UCUM", "UK Biobank", "Visit",
)  # fmt: skip
_LIST = _Form(_list_value)

_FORMS = {
    "ICD10": _Form(_icd10, _icd10_broader),
    "OPCS4": _Form(_opcs4),
    "Read": _Form(_read, _read_broader),
    "CTV3": _Form(_ctv3),
    "SNOMED": _Form(_sctid),
    "dm+d": _Form(_sctid),
    "LOINC": _Form(_upper),
    "NHS Ethnic Category": _Form(_upper, _ethnic_category_broader),
    "NHS Ethnic Group": _Form(_list_value, _ethnic_category_broader),
    "NHS Unit": _Form(_unit),
    "AMPDS": _Form(_list_value, _ampds_broader),
} | dict.fromkeys(_WRITTEN_AS_IS, _Form(_bare))


def normalise(vocabulary_id: str, code: Column) -> Column:
    """The code in the form that its vocabulary uses; null if no code was delivered.

    A value that does not look like a code of the vocabulary is only trimmed, so that it is counted as unknown and not lost.
    """
    return _FORMS.get(vocabulary_id, _LIST).normal(code)


def normal_form(vocabulary: Column, code: Column) -> Column:
    """The form that `normalise` gives, where the vocabulary is a column."""
    chosen, *others = _names_by(lambda form: form.normal).items()
    found = F.when(vocabulary.isin(*chosen[1]), chosen[0](code))
    for normal, names in others:
        found = found.when(vocabulary.isin(*names), normal(code))
    return found.otherwise(_list_value(code))


def cdm_code(normal: Column) -> Column:
    """The code as SOURCE_TO_CONCEPT_MAP and CONCEPT have it.

    A code that is longer than the CDM allows is shortened and ends in a mark of the whole text, so that two codes cannot
    become equal.
    """
    mark = F.concat(F.lit("~"), F.substring(F.sha2(normal, 256), 1, CUT_MARK_LENGTH - 1))
    cut = F.concat(F.substring(normal, 1, CDM_CODE_LENGTH - CUT_MARK_LENGTH), mark)
    return F.when(F.char_length(normal) > CDM_CODE_LENGTH, cut).otherwise(normal)


def broader_forms(vocabulary: Column, normal: Column) -> list[Column]:
    """The less specific codes that replace a normalised code, the most specific first; null where there is none."""
    steps: list[list[Column]] = []
    for broader, names in _names_by(lambda form: form.broader).items():
        for step, column in enumerate(broader(normal)):
            steps += [[]] if step == len(steps) else []
            steps[step].append(F.when(vocabulary.isin(*names), column))
    return [F.coalesce(*columns) for columns in steps]


def _names_by(part: Callable[[_Form], Reading]) -> dict[Reading, list[str]]:
    """The vocabularies that share a part of their form: each is an expression to plan only once."""
    names: dict[Reading, list[str]] = {}
    for name, form in _FORMS.items():
        names.setdefault(part(form), []).append(name)
    return names
