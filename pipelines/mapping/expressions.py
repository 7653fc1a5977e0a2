"""Named expressions that mapping files may use. Each takes columns by parameter name and gives one column."""

from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as F

Expression = Callable[..., Column]

NUMBER_PATTERN = "^[<>]?=? *(-?[0-9]+([.][0-9]+)?)$"

PAIR_PATTERN = "^([0-9]{2,3}) */ *([0-9]{2,3}) *([Mm][Mm] ?[(\\[]?[Hh][Gg][)\\]]?)?$"
"""Two numbers as a blood pressure is written: `142/88`, with or without its unit."""


def date_and_time(date: Column, time: Column) -> Column:
    """Timestamp from a date and an `HH:mm:ss` text; midnight where the time is missing."""
    text = F.concat(F.date_format(date, "yyyy-MM-dd"), F.lit(" "), F.coalesce(time, F.lit("00:00:00")))
    return F.try_to_timestamp(text, F.lit("yyyy-MM-dd HH:mm:ss"))


def minutes_after(date: Column, time: Column, minutes: Column) -> Column:
    """The moment that many minutes after a date and its time; null where one of the three is missing."""
    began = F.when(time.isNotNull(), date_and_time(date, time))
    return F.timestamp_seconds(F.unix_timestamp(began) + minutes * 60)


def date_of(timestamp: Column) -> Column:
    """The calendar day of a timestamp."""
    return timestamp.cast("date")


def number_in(text: Column) -> Column:
    """The number in a result text such as `5.2`, `<0.5` or `> 90`; null where there is none."""
    return F.nullif(F.regexp_extract(F.trim(text), NUMBER_PATTERN, 1), F.lit("")).try_cast("double")


def number_or_in(number: Column, text: Column) -> Column:
    """The number as delivered, or the one in the result text where the number is missing."""
    return F.coalesce(number, number_in(text))


def operator_in(text: Column) -> Column:
    """OMOP operator concept of a result text: < 4171756, <= 4171754, > 4172704, >= 4171755; null for a bare number."""
    trimmed = F.trim(text)
    return (
        F.when(trimmed.startswith("<="), F.lit(4171754))
        .when(trimmed.startswith(">="), F.lit(4171755))
        .when(trimmed.startswith("<"), F.lit(4171756))
        .when(trimmed.startswith(">"), F.lit(4172704))
        .cast("bigint")
    )


def blood_pressure_pair(code: Column, text: Column, codes: str) -> Column:
    """The text where it is a systolic over a diastolic pressure under one code for both, else null.

    `codes` is the regular expression of such codes. A first number below the second is no such pair.
    """
    written = F.trim(text)
    is_pair = F.trim(code).rlike(codes) & written.rlike(PAIR_PATTERN) & (systolic_in(text) >= diastolic_in(text))
    return F.when(is_pair, written)


def systolic_in(text: Column) -> Column:
    """The first number of a text such as `142/88`; null where it is none."""
    return _number_of_pair(text, 1)


def diastolic_in(text: Column) -> Column:
    """The second number of a text such as `142/88`; null where it is none."""
    return _number_of_pair(text, 2)


def _number_of_pair(text: Column, place: int) -> Column:
    return F.nullif(F.regexp_extract(F.trim(text), PAIR_PATTERN, place), F.lit("")).try_cast("double")


def first_of(first: Column, second: Column) -> Column:
    """The first value, or the second where the first is missing."""
    return F.coalesce(first, second)


def date_of_first(first: Column, second: Column) -> Column:
    """The calendar day of the first timestamp, or of the second where the first is missing."""
    return F.coalesce(first, second).cast("date")


def diagnosis_status(position: Column) -> Column:
    """OMOP condition status by the place in the list of diagnoses: 1 is primary (32902), any later one secondary (32908)."""
    return F.when(position == 1, F.lit(32902)).when(position > 1, F.lit(32908)).cast("bigint")


EXPRESSIONS: dict[str, Expression] = {
    expression.__name__: expression
    for expression in (
        date_and_time,
        minutes_after,
        date_of,
        number_in,
        number_or_in,
        operator_in,
        blood_pressure_pair,
        systolic_in,
        diastolic_in,
        first_of,
        date_of_first,
        diagnosis_status,
    )
}
