"""What identifies a person inside kept texts: NHS numbers, postcodes, telephone numbers and e-mail addresses.

A value that holds one is taken out as a whole, whatever column it came in. All kept texts of a row are looked at as one array:
an engine then plans the test once a table, and not once a column.
"""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.source import WITHHELD

_FROM, _TO = "(?:^|[^0-9A-Za-z])", "(?:$|[^0-9A-Za-z])"

_MAIL = "[0-9A-Za-z_]@[0-9A-Za-z-]+[.][A-Za-z]"

_PHONE = (
    "(?:^|[^0-9A-Za-z.])(?:"
    "0[1235789][0-9]{8,9}"
    "|[(]?0[1235789][0-9]{1,3}[)]?[ -][0-9]{3,4}[ -]?[0-9]{2,4}"
    "|(?:[+]44|0044)[ -]?(?:[(]0[)])?[ -]?[1235789][0-9]{1,4}[ -]?[0-9]{3,4}[ -]?[0-9]{2,4}"
    "|[+][1-9][0-9]{0,2}(?:[ -]?[0-9]){8,12}"
    f"){_TO}"
)
"""British numbers with or without groups, and foreign ones with their plus; eight digits alone are a date."""

_ONE, _TWO = "[BEGLMNSW][0-9]", "[A-PR-UWYZ][A-HK-Y][0-9]"
_INWARD = "[0-9][ABD-HJLNP-UW-Z]{2}"
_POSTCODE = (
    f"{_FROM}(?:(?i:(?:{_ONE}[0-9A-Z]?|{_TWO}[0-9A-Z]?|GIR)[ \\u00a0]{{1,3}}{_INWARD})"
    f"|(?i:(?:{_ONE}[0-9A-Z]|{_TWO}[0-9A-Z]?|GIR){_INWARD})"
    f"|{_ONE}{_INWARD}){_TO}"
)
"""Postcodes of the United Kingdom with and without a space. Five characters without one are a Read code unless in capitals."""

_BETWEEN, _BETWEEN_TWO = "[^0-9A-Za-z:]{1,3}", "[^0-9A-Za-z:.]{1,3}"
_NUMBER = (
    "(?:^|[^0-9.]|[^0-9][.])("
    "[0-9](?: ?[0-9]){9}"
    f"|[0-9]{{3}}{_BETWEEN}[0-9]{{3}}{_BETWEEN}[0-9]{{4}}"
    f"|[0-9]{{4}}{_BETWEEN}[0-9]{{3}}{_BETWEEN}[0-9]{{3}}"
    "|(?:[0-9]{2}-){4}[0-9]{2}"
    f"|(?:[0-9]{_BETWEEN}){{9}}[0-9]"
    f"|[0-9]{{3}}{_BETWEEN_TWO}[0-9]{{7}}"
    f"|[0-9]{{5}}{_BETWEEN_TWO}[0-9]{{5}}"
    f"|[0-9]{{6}}{_BETWEEN_TWO}[0-9]{{4}}"
    ")(?:$|[^0-9])"
)
"""Ten digits, together or in groups. A lone first digit and a dash is none: so the Care Quality Commission writes its ids."""

_SNOMED_ID = "^[1235][0-9]{6}0[012][0-9]$"
"""Ten digits that are an id of SNOMED CT (partition 00, 01 or 02), in a range of which England issues no NHS numbers."""


def identifies(text: Column) -> Column:
    """Whether a text holds a valid NHS number in any grouping, a postcode, a telephone number or an e-mail address.

    Null for null. One pattern decides about nearly every value; numbers are computed only for those that have ten digits.
    """
    has_number = F.exists(F.regexp_extract_all(text, F.lit(_NUMBER), F.lit(1)), _passes_modulus_11)
    return (
        F.when(text.rlike(f"{_MAIL}|{_PHONE}|{_POSTCODE}"), F.lit(True))
        .when(text.rlike(_NUMBER) & ~text.rlike(_SNOMED_ID), has_number)
        .when(text.isNotNull(), F.lit(False))
    )


def _passes_modulus_11(number: Column) -> Column:
    """Whether the ten digits in a text are a number with its check digit; short, because every table plans it."""
    digits = F.regexp_extract_all(number, F.lit("[0-9]"), F.lit(0))
    weighted = F.transform(digits, lambda digit, place: digit.cast("int") * (F.lit(10) - place))
    return F.aggregate(weighted, F.lit(0), lambda total, part: total + part) % 11 == 0


def without_identifiers(rows: DataFrame, texts: Sequence[str]) -> DataFrame:
    """`rows` without the values of some text columns that identify a person; `_withheld` names the columns they were in."""
    if not texts:
        return rows.withColumn(WITHHELD, F.lit(None).cast("string"))
    names = F.array(*[F.lit(name) for name in texts])
    found = rows.withColumn("_found", F.transform(F.array(*texts), identifies))
    named = F.transform("_found", lambda is_found, place: F.when(is_found, F.get(names, place)))
    values = {name: F.when(~F.get("_found", F.lit(place)), F.col(name)) for place, name in enumerate(texts)}
    return found.withColumns(values | {WITHHELD: F.nullif(F.concat_ws(",", named), F.lit(""))}).drop("_found")
