"""Typing of delivered text: dates, times, numbers, booleans. Each expression gives null for what it cannot read."""

from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.columns.text import is_code
from pipelines.contracts.source import ColumnType

DEFAULT_DATES = ("1582-10-15", "1800-01-01", "1801-01-01", "1899-12-30", "1900-01-01", "9999-12-31")
"""Dates that systems write where they have none."""

_MONTHS = {name: f"{place:02}" for place, name in enumerate("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), 1)}
_DAY = "([0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}[/ -][A-Za-z]{3}[/ -][0-9]{4}|[0-9]{2}/[0-9]{2}/[0-9]{4})"
_TIME = "([0-9]{2}):?([0-9]{2}):?([0-9]{2})?([.][0-9]+)?(Z|[+-][0-9]{2}:?[0-9]{2})?"


def _month_number(name: Column) -> Column:
    numbers = F.create_map(*[F.lit(one) for pair in _MONTHS.items() for one in pair])
    return F.try_element_at(numbers, F.upper(name))


def _iso_day(text: Column) -> Column:
    """The day a text opens with, as `yyyy-MM-dd`, whether or not there is such a day; null for default dates."""

    def part(start: int, length: int) -> Column:
        return F.substring(text, start, length)

    iso = (
        F.when(text.rlike("^[0-9]{4}-[0-9]{2}-[0-9]{2}"), part(1, 10))
        .when(text.rlike("^[0-9]{8}"), F.concat_ws("-", part(1, 4), part(5, 2), part(7, 2)))
        .when(text.rlike("^[0-9]{2}/[0-9]{2}/[0-9]{4}"), F.concat_ws("-", part(7, 4), part(4, 2), part(1, 2)))
        .when(
            text.rlike("^[0-9]{2}[ -][A-Za-z]{3}[ -][0-9]{4}"),
            F.concat(part(8, 4), F.lit("-"), _month_number(part(4, 3)), F.lit("-"), part(1, 2)),
        )
    )
    return F.when(~iso.isin(*DEFAULT_DATES), iso)


def date_in(text: Column) -> Column:
    """The date a trimmed text opens with: yyyy-MM-dd, yyyyMMdd, dd/MM/yyyy, dd-MMM-yyyy or dd MMM yyyy."""
    return _iso_day(text).try_cast("date")


def time_in(text: Column) -> Column:
    """The time of a trimmed text as `HH:mm:ss`; an offset is dropped, for the clock on the wall is meant."""
    bare = F.regexp_replace(text, "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]", "")
    return _clock(bare, f"^{_TIME}$", 1)


def _clock(text: Column, pattern: str, group: int) -> Column:
    hour, minute, second = (F.regexp_extract(text, pattern, group + place) for place in range(3))
    whole = F.concat_ws(":", hour, minute, F.when(second == "", F.lit("00")).otherwise(second))
    return F.when(whole.rlike("^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$"), whole)


def timestamp_in(text: Column) -> Column:
    """Date and time of a trimmed text; midnight where it holds a date alone."""
    day_alone = text.rlike(f"^{_DAY}$")
    clock = F.when(day_alone, F.lit("00:00:00")).otherwise(_clock(text, f"^{_DAY}[T ]?{_TIME}$", 2))
    return F.try_to_timestamp(F.concat(_iso_day(text), F.lit(" "), clock), F.lit("yyyy-MM-dd HH:mm:ss"))


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
