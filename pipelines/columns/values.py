"""Typing of delivered text: dates, times, numbers, booleans. Each expression gives null for what it cannot read."""

from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.columns.text import is_code
from pipelines.contracts.source import ColumnType

DEFAULT_DATES = ("1582-10-15", "1800-01-01", "1801-01-01", "1899-12-30", "1900-01-01", "9999-12-31")
"""Dates that systems write where they have none."""

DATE_FORMS = (
    ("^[0-9]{4}-[0-9]{2}-[0-9]{2}", 10, "yyyy-MM-dd"),
    ("^[0-9]{8}", 8, "yyyyMMdd"),
    ("^[0-9]{2}/[0-9]{2}/[0-9]{4}", 10, "dd/MM/yyyy"),
    ("^[0-9]{2}-[A-Za-z]{3}-[0-9]{4}", 11, "dd-MMM-yyyy"),
    ("^[0-9]{2} [A-Za-z]{3} [0-9]{4}", 11, "dd MMM yyyy"),
)
"""How a date may open a text: pattern, length, format."""

TIME_PATTERN = "([0-9]{2}):?([0-9]{2})(:?([0-9]{2}))?([.][0-9]+)?(Z|[+-][0-9]{2}:?[0-9]{2})?$"


def _month_in_title_case(text: Column) -> Column:
    return F.concat(F.substring(text, 1, 3), F.upper(F.substring(text, 4, 1)), F.lower(F.substring(text, 5, 100)))


def date_in(text: Column) -> Column:
    """The date a trimmed text opens with, in any of DATE_FORMS; null for default dates."""
    found: Column = F.lit(None).cast("date")
    for pattern, length, form in reversed(DATE_FORMS):
        part = F.substring(text, 1, length)
        part = _month_in_title_case(part) if "MMM" in form else part
        found = F.when(text.rlike(pattern), F.try_to_timestamp(part, F.lit(form)).cast("date")).otherwise(found)
    return F.when(~F.date_format(found, "yyyy-MM-dd").isin(*DEFAULT_DATES), found)


def time_in(text: Column) -> Column:
    """The time a trimmed text ends with, as `HH:mm:ss`; an offset is dropped, for the clock on the wall is meant."""
    bare = F.regexp_replace(text, "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]", "")
    pattern = f"^{TIME_PATTERN}"
    hour, minute, second = (F.regexp_extract(bare, pattern, group) for group in (1, 2, 4))
    second = F.when(second == "", F.lit("00")).otherwise(second)
    is_time = bare.rlike(pattern) & (hour <= "23") & (minute <= "59") & (second <= "59")
    return F.when(is_time, F.concat_ws(":", hour, minute, second))


def timestamp_in(text: Column) -> Column:
    """Date and time of a trimmed text; midnight where it holds a date alone."""
    day = date_in(text)
    tail = F.regexp_extract(text, f"[T ]?{TIME_PATTERN}", 0)
    has_time = text.rlike(f"^([0-9]{{8}}|.{{10,11}}[T ]){TIME_PATTERN}") | text.rlike(f"^[0-9]{{8}}[T ]{TIME_PATTERN}")
    time = F.when(has_time, time_in(F.regexp_replace(tail, "^[T ]", "")))
    text_of_day = F.date_format(day, "yyyy-MM-dd")
    whole = F.concat_ws(" ", text_of_day, F.coalesce(time, F.lit("00:00:00")))
    return F.when(day.isNotNull() & (time.isNotNull() | ~has_time), F.try_to_timestamp(whole, F.lit("yyyy-MM-dd HH:mm:ss")))


def integer_in(text: Column) -> Column:
    """A whole number, also where it was written with zero decimals."""
    return F.when(text.rlike("^[+-]?[0-9]{1,15}([.]0+)?$"), F.regexp_extract(text, "^[+]?(-?[0-9]+)", 1).cast("bigint"))


def decimal_in(text: Column) -> Column:
    """A decimal number with a point."""
    return F.when(text.rlike("^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,2})?$"), text.try_cast("double"))


def boolean_in(text: Column) -> Column:
    """True or false from the ways in which extracts write them."""
    lowered = F.lower(text)
    return F.when(lowered.isin("true", "t", "yes", "y", "1"), F.lit(True)).when(
        lowered.isin("false", "f", "no", "n", "0"), F.lit(False)
    )


def code_in(text: Column) -> Column:
    """The value where it can be a code."""
    return F.when(is_code(text), text)


def text_in(text: Column) -> Column:
    """The value itself."""
    return text


READERS: dict[ColumnType, Callable[[Column], Column]] = {
    ColumnType.TEXT: text_in,
    ColumnType.CODE: code_in,
    ColumnType.DATE: date_in,
    ColumnType.TIMESTAMP: timestamp_in,
    ColumnType.TIME: time_in,
    ColumnType.INTEGER: integer_in,
    ColumnType.DECIMAL: decimal_in,
    ColumnType.BOOLEAN: boolean_in,
}
"""How each declared type is read from a trimmed text."""
