"""Converts UK clinical codes to the form in which Athena writes them.

Deliveries write one code in many ways: SUS sends `I10X` for I10, EMIS sends `G20..-1` for Read G20..00, councils send
list values in any case. `normalise` gives the one form that is searched for. `lookup_forms` adds the less specific codes that
replace a code which is not in its vocabulary:

- ICD-10: five to four to three characters, external causes to three.
- Read: a synonym to its preferred term.
- NHS Ethnic Category: a local code to its national letter.
- AMPDS: a dispatch code to its card.

Normalising twice changes nothing. The codes of every vocabulary that is not named here are local list values; they are
compared ignoring case and repeated blanks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

_BLANKS = "[ \\t\\r\\n\\u00a0]"
_ICD10 = "^([A-Z][0-9]{2})([0-9]?)([0-9]?)(X[0-9]?)?-*[AD+*]?$"
_ICD10_EXTERNAL_CAUSE = "^([WX][0-9]{2}|Y[0-2][0-9]|Y3[0-4])[.]"
_OPCS4 = "^([A-Z][0-9]{2})([0-9]?)[&-]*$"
_READ_SYNONYM = "-[0-9]+$"
_READ_SHORT = "^[0-9A-Za-z]{1,5}[.]*$"
_SCTID = "^[=<( ]*([0-9]{6,18})([^0-9].*)?$"


def _nothing_broader(_: Column) -> list[Column]:
    return []


@dataclass(frozen=True)
class _Form:
    """How the codes of a vocabulary are written, and which less specific codes replace one that is not in it."""

    normal: Callable[[Column], Column]
    broader: Callable[[Column], list[Column]] = _nothing_broader


def _bare(code: Column) -> Column:
    """The code without outer blanks; null where nothing is left."""
    return F.nullif(F.regexp_replace(code, f"^{_BLANKS}+|{_BLANKS}+$", ""), F.lit(""))


def _compact(code: Column) -> Column:
    """Upper case without blanks and dots, because classification codes are typed in many ways; null for a placeholder."""
    compact = F.upper(F.regexp_replace(code, f"{_BLANKS}|[.]", ""))
    return F.when(~compact.rlike("^[&-]*$"), compact)


def _dotted(compact: Column, pattern: str, extra_groups: Sequence[int]) -> Column:
    """Category, dot, further characters. A value that does not look like a code of the classification stays compact."""
    category = F.regexp_extract(compact, pattern, 1)
    extra = F.concat(*[F.regexp_extract(compact, pattern, group) for group in extra_groups])
    return F.when(~compact.rlike(pattern), compact).otherwise(
        F.when(extra == "", category).otherwise(F.concat(category, F.lit("."), extra))
    )


def _icd10(code: Column) -> Column:
    # By position: letter, two digits, a digit or the filler X, a digit or the filler -, dagger (D, +) or asterisk (A, *).
    # T08X0 is the undivided T08 with a fifth character. It has no fourth character, so the code is the category.
    return _dotted(F.translate(_compact(code), "†", "D"), _ICD10, (2, 3))


def _icd10_broader(code: Column) -> list[Column]:
    normal = _icd10(code)
    three = F.when(F.length(normal) > 3, F.substring(normal, 1, 3))
    # Athena has the external causes W00-Y34 with three characters only: the fourth is the place, the fifth the activity.
    four = F.when((F.length(normal) == 6) & ~normal.rlike(_ICD10_EXTERNAL_CAUSE), F.substring(normal, 1, 5))
    return [four, three]


def _opcs4(code: Column) -> Column:
    return _dotted(_compact(code), _OPCS4, (2,))


def _read(code: Column) -> Column:
    # Athena writes seven characters: five of code and two of term. Case is significant (Eu00. is not EU00.).
    bare = F.regexp_replace(_bare(code), _READ_SYNONYM, "")
    return F.when(bare.rlike(_READ_SHORT) & (F.length(bare) <= 5), F.concat(F.rpad(bare, 5, "."), F.lit("00"))).otherwise(bare)


def _read_broader(code: Column) -> list[Column]:
    normal = _read(code)
    return [F.when((F.length(normal) == 7) & ~normal.endswith("00"), F.concat(F.substring(normal, 1, 5), F.lit("00")))]


def _ctv3(code: Column) -> Column:
    bare = _bare(code)
    return F.when(F.length(bare) < 5, F.rpad(bare, 5, ".")).otherwise(bare)


def _sctid(code: Column) -> Column:
    # A post-coordinated expression begins with its focus concept: 71388002 |Procedure| : 363589002 = ...
    bare = _bare(code)
    return F.when(bare.rlike(_SCTID), F.regexp_extract(bare, _SCTID, 1)).otherwise(bare)


def _upper(code: Column) -> Column:
    return F.upper(_bare(code))


def _ethnic_category_broader(code: Column) -> list[Column]:
    # Trusts append letters of their own to the national letter (A1, AB); the first is the national code.
    normal = _upper(code)
    return [F.when((F.length(normal) > 1) & normal.rlike("^[A-Z]"), F.substring(normal, 1, 1))]


def _list_value(code: Column) -> Column:
    return F.lower(F.regexp_replace(_bare(code), f"{_BLANKS}+", " "))


def _ampds_broader(code: Column) -> list[Column]:
    # Card, determinant level and number (17D03): the card is the chief complaint.
    normal = _list_value(code)
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
    "AMPDS": _Form(_list_value, _ampds_broader),
} | dict.fromkeys(_WRITTEN_AS_IS, _Form(_bare))


def normalise(vocabulary_id: str, code: Column) -> Column:
    """The code in the form that its vocabulary uses; null if no code was delivered.

    A value that does not look like a code of the vocabulary is only trimmed, so that it is counted as unknown and not lost.
    """
    return _FORMS.get(vocabulary_id, _LIST).normal(code)


def lookup_forms(vocabulary: Column, code: Column) -> list[Column]:
    """The codes to search for, the most specific first, where the vocabulary is a column.

    The first column is the normalised code; the others are less specific codes, null where there is none.
    """
    steps = max(len(form.broader(code)) for form in _FORMS.values())
    cases: list[list[tuple[Column, Column]]] = [[] for _ in range(steps + 1)]
    for name, form in _FORMS.items():
        for step, column in enumerate([form.normal(code), *form.broader(code)]):
            cases[step].append((vocabulary == name, column))
    first = F.coalesce(*[F.when(mine, column) for mine, column in cases[0]])
    known = vocabulary.isin(*_FORMS)
    further = [F.coalesce(*[F.when(mine, column) for mine, column in step]) for step in cases[1:]]
    return [F.when(known, first).otherwise(_list_value(code)), *further]
