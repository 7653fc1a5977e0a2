"""Converts delivered text to dates, times, numbers and booleans. Every expression gives null for text it cannot read."""

from collections.abc import Callable, Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.columns.text import is_code
from pipelines.contracts.source import ColumnType

DEFAULT_DATES = ("1582-10-15", "1800-01-01", "1801-01-01", "1899-12-30", "1900-01-01", "9999-12-31")
"""Dates that systems write for a missing date."""

_DEFAULT_DAYS_BY_NAME = ("15-OCT-1582", "01-JAN-1800", "01-JAN-1801", "30-DEC-1899", "01-JAN-1900", "31-DEC-9999")

_ISO_DAY = "^[0-9]{4}-[0-9]{2}-[0-9]{2}"
_NUMBERED_DAY = "(?s)^(?:([0-9]{4})([0-9]{2})([0-9]{2})|([0-9]{2})/([0-9]{2})/([0-9]{4})).*"
_AS_ISO = "$1$6-$2$5-$3$4"
"""The groups of the form that matched; those of the other form are empty."""

_NAMED_DAY = "(?s)^([0-9]{2})[ -]([A-Za-z]{3})[ -]([0-9]{4}).*"

_DAY = "(?:[0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}[/ -][A-Za-z]{3}[/ -][0-9]{4}|[0-9]{2}/[0-9]{2}/[0-9]{4})"
_CLOCK = "([01][0-9]|2[0-3]):?([0-5][0-9]):?([0-5][0-9])?([.][0-9]+)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?$"
_AS_CLOCK = "$1:$2:$3"
_MIDNIGHT = "00:00:00"


def _none_of(defaults: Iterable[str]) -> str:
    """The pattern of texts that are nothing but one of the defaults, without regard to case."""
    return f"(?i)^({'|'.join(defaults)})$"


def date_in(text: Column) -> Column:
    """The date a trimmed text opens with: yyyy-MM-dd, yyyyMMdd, dd/MM/yyyy, dd-MMM-yyyy or dd MMM yyyy.

    Null for default dates. Every date column of every entity plans this expression, and planning is most of what a small
    run takes: each form is one replacement, the commonest form needs none, and months by name are only read where no other
    form fits.
    """
    iso = F.when(text.rlike(_ISO_DAY), F.substring(text, 1, 10)).otherwise(F.regexp_replace(text, _NUMBERED_DAY, _AS_ISO))
    numbered = F.regexp_replace(iso, _none_of(DEFAULT_DATES), "")
    named = F.regexp_replace(F.regexp_replace(text, _NAMED_DAY, "$1-$2-$3"), _none_of(_DEFAULT_DAYS_BY_NAME), "")
    return F.coalesce(numbered.try_cast("date"), F.try_to_timestamp(named, F.lit("dd-MMM-yyyy")).cast("date"))


def time_in(text: Column) -> Column:
    """The time of a trimmed text as `HH:mm:ss`; an offset is dropped, for the clock on the wall is meant."""
    return _clock(text, f"^(?:[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ])?{_CLOCK}")


def _clock(text: Column, pattern: str) -> Column:
    """`HH:mm:ss` of a text that matches; seconds that are not there are zero."""
    return F.when(text.rlike(pattern), F.rpad(F.regexp_replace(text, pattern, _AS_CLOCK), len(_MIDNIGHT), "0"))


def timestamp_in(text: Column) -> Column:
    """Date and time of a trimmed text; midnight where it holds a date alone."""
    clock = F.when(text.rlike(f"^{_DAY}$"), F.lit(_MIDNIGHT)).otherwise(_clock(text, f"^{_DAY}[T ]?{_CLOCK}"))
    return F.concat(date_in(text).cast("string"), F.lit(" "), clock).try_cast("timestamp")


def integer_in(text: Column) -> Column:
    """A whole number, also if it was written with zero decimals."""
    return F.when(text.rlike("^[+-]?[0-9]{1,15}([.]0+)?$"), F.regexp_extract(text, "^[+]?(-?[0-9]+)", 1).cast("bigint"))


def decimal_in(text: Column) -> Column:
    """A decimal number with a point."""
    return F.when(text.rlike("^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,2})?$"), text.try_cast("double"))


def boolean_in(text: Column) -> Column:
    """True or false, in any of the forms that extracts use."""
    lowered = F.lower(text)
    return F.when(lowered.isin("true", "t", "yes", "y", "1"), F.lit(True)).when(
        lowered.isin("false", "f", "no", "n", "0"), F.lit(False)
    )


def code_in(text: Column) -> Column:
    """The value if it can be a code."""
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
