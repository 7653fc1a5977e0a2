"""Texts that are kept without what identifies a person, and numbers too.

A value that holds an identifier is taken out as a whole, whatever column it came in; so is one without the shape of its column.
All kept texts of a row are looked at as one array: an engine then plans the search once a table, and not once a column.
"""

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import is_true
from pipelines.contracts.identifiers import DATE, IDENTIFYING, SNOMED_ID
from pipelines.contracts.number_spellings import DIGIT, NUMBER_IN_TEXT
from pipelines.contracts.shapes import IN_LOWER_CASE, LABELS, NO_LABEL
from pipelines.contracts.source import WITHHELD, ColumnType
from pipelines.contracts.source import Column as Delivered


def identifies(text: Column) -> Column:
    """Whether a text holds a valid NHS number in any spelling, a National Insurance number, a postcode, a telephone number, an
    e-mail address or a date of birth, or is a date that looks like a code.

    Null for null. One pattern decides about nearly every value; numbers are computed only for those that have ten digits.
    """
    has_number = F.exists(F.regexp_extract_all(text, F.lit(NUMBER_IN_TEXT), F.lit(1)), _passes_modulus_11)
    return (
        F.when(text.rlike(f"{IDENTIFYING}|{DATE}"), F.lit(True))
        .when(text.rlike(NUMBER_IN_TEXT) & ~text.rlike(SNOMED_ID), has_number)
        .when(text.isNotNull(), F.lit(False))
    )


def _passes_modulus_11(number: Column) -> Column:
    """Whether the ten digits in a text are a number with its check digit; short, because every table plans it."""
    digits = F.regexp_extract_all(number, F.lit(DIGIT), F.lit(1))
    weighted = F.transform(digits, lambda digit, place: digit.cast("int") * (F.lit(10) - place))
    return F.aggregate(weighted, F.lit(0), lambda total, part: total + part) % 11 == 0


def has_shape(text: Column, column: Delivered) -> Column:
    """Whether a trimmed text has the shape that the contract declares for its column; null for null."""
    seen = F.lower(text) if column.shape in IN_LOWER_CASE else text
    fits = seen.rlike(column.pattern or "")
    return fits & ~seen.rlike(NO_LABEL) if column.shape in LABELS else fits


def _large(number: str) -> Column:
    """A number that may be an NHS number, as a text; null for all smaller ones, which nearly all are."""
    size = F.abs(number)
    return F.when(size.between(10**9, 10**10 - 1), size.cast("bigint").cast("string"))


def without_identifiers(rows: DataFrame, columns: Mapping[str, Delivered], numbers: Sequence[str] = ()) -> DataFrame:
    """`rows` without the kept texts and the values of `numbers` that identify somebody, and without the texts that do not have
    their shape; `_withheld` names their columns.

    Codes and results without their shape are unreadable: of them only identifiers are looked for here.
    """
    if not columns and not numbers:
        return rows.withColumn(WITHHELD, F.lit(None).cast("string"))
    texts = [name for name, column in columns.items() if column.type is ColumnType.TEXT and column.shape]
    asked = {"_identifies": F.transform(F.array(*columns, *map(_large, numbers)), identifies)}
    asked |= {"_misshapen": F.array(*[~has_shape(F.col(name), columns[name]) for name in texts])} if texts else {}
    out = {name: F.get("_identifies", F.lit(place)) for place, name in enumerate(columns)}
    out |= {name: out[name] | F.get("_misshapen", F.lit(place)) for place, name in enumerate(texts)}
    found = {name: F.get("_identifies", F.lit(place)) for place, name in enumerate(numbers, len(columns))}
    out |= {name: is_true(is_found) for name, is_found in found.items()}
    judged = rows.withColumns(asked).withColumn("_out", F.array(*out.values()))
    names = F.array(*[F.lit(name) for name in out])
    named = F.transform("_out", lambda is_out, place: F.when(is_out, F.get(names, place)))
    values = {name: F.when(~F.get("_out", F.lit(place)), F.col(name)) for place, name in enumerate(out)}
    withheld = F.nullif(F.concat_ws(",", named), F.lit(""))
    return judged.withColumns(values | {WITHHELD: withheld}).drop("_out", *asked)
