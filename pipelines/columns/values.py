"""Reads delivered text as dates, times, numbers, truth values and codes.

A value that is there is either read or **unreadable**: every reader gives null for text that it cannot read, and never
guesses. A date that systems write for a missing one is read; `known` makes it null, because it is empty, not unreadable.
Every typed column of every entity plans its reader, and planning is most of what a small run takes: so a form is an
alternative of a regular expression and not a branch.
"""

from collections.abc import Callable, Iterable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.directions import directions_in
from pipelines.columns.shapes import has_shape
from pipelines.columns.text import FALSE_TEXTS, TRUE_TEXTS, is_code, is_one_of, joined
from pipelines.contracts.shapes import Shape
from pipelines.contracts.source import Column as Delivered
from pipelines.contracts.source import ColumnType, Identifier

DEFAULT_DATES = (
    "0001-01-01",
    "1582-10-15",
    "1753-01-01",
    "1800-01-01",
    "1801-01-01",
    "1899-12-30",
    "1900-01-01",
    "9999-12-31",
)
"""Dates that systems write for a missing date."""

_DEFAULT = f"^({'|'.join(DEFAULT_DATES)})"
_DEFAULT_MOMENT = f"{_DEFAULT}|^1970-01-01 0[01]:00:00$"
"""Counting seconds began then, in London at one o'clock. As a day alone it may be that of the year 1970, or a birth."""

_GAP = "[-/. ]"
_MONTH = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)(?:uary|ruary|ch|il|e|y|ust|t|tember|ober|ember)?"
_DAY_MONTH_YEAR = f"([0-9]{{1,2}}){_GAP}([0-9]{{1,2}}){_GAP}([0-9]{{4}})"
_ORDINAL = "(?:st|nd|rd|th)?"
_SURE_DAY = (
    f"([0-9]{{4}}){_GAP}([0-9]{{1,2}}){_GAP}([0-9]{{1,2}})|([0-9]{{4}})([0-9]{{2}})([0-9]{{2}})(?:[.]0+)?"
    f"|([0-9]{{1,2}}){_ORDINAL}{_GAP}?{_MONTH},?{_GAP}?([0-9]{{4}}|[0-9]{{2}})"
    f"|{_MONTH}{_GAP}{{1,2}}([0-9]{{1,2}}){_ORDINAL},?{_GAP}([0-9]{{4}})"
)
"""A day in an order that cannot be another one. Two digits are a year only after the name of a month.

The month first is as SQL Server writes it, with a second blank before a day of one digit: `Jun  4 2024`. Digits alone may have
become a number with decimals, as pandas makes of a column with gaps: `20240604.0`.
"""
_DAY = f"(?:{_DAY_MONTH_YEAR}|{_SURE_DAY})"

_NAMES_A_MONTH = f"^'?(?:[0-9]{{1,2}}(?:[A-Za-z]{{2}}{_GAP}?|{_GAP})?)?[A-Za-z]{{3}}"
"""Three letters at the beginning, or behind one or two digits: those of a zone stand behind a time."""

_AS_DAY = "$3$4$7$12$15-$2$5$8$11$13-$1$6$9$10$14"
"""The groups of the form that matched; those of the other forms are empty."""


def _without_groups(pattern: str) -> str:
    """The pattern with groups that remember nothing."""
    return pattern.replace("(?:", "(").replace("(", "(?:")


_AM_OR_PM = " ?(?:a|(p))[.]?m[.]?"
_ZONE = "(?: ?(?:Z|UTC|GMT|BST|Europe/London|[+-][0-9]{2}(?::?[0-9]{2})?))?"
_BEHIND_TIME = "(?:[T:]| [0-9]{1,2}[.])[0-9.,:]*(?: ?[ap][.]?m[.]?)?"
_STATED_OFFSET = f"(?i)(?:{_BEHIND_TIME}|^'?[0-9]{{12,14}}[.0-9]*) ?(?:Z|UTC|GMT|BST|([+-])([0-9]{{2}}):?([0-9]{{2}})?)$"
_SUMMER_TIME = "(?i)BST$"
_STATED_UTC = " ?(?:[Zz]|[Uu][Tt][Cc]|[Gg][Mm][Tt]|[+-]00(?::?00)?)$"
_TO_THE_SECOND = "(?:[T: -]|^'?[0-9]{8})[0-9]{1,2}[.:]?[0-9]{2}[.:]?[0-9]{2}"
_FRACTION = f"(?i){_TO_THE_SECOND}[.,:]([0-9]{{1,6}})[0-9]*(?:{_without_groups(_AM_OR_PM)})?{_ZONE}$"
_LONDON = "Europe/London"
_IN_LONDON = f"(?:(?:19|20)[0-9]{{2}}|[A-Za-z]{{3}}[-/. ,]*[0-9]{{2}}[ ,:Tt]).*[0-9Mm.]{_STATED_UTC}"
"""A moment stated in UTC, of a time in which London's clocks kept the minutes of Greenwich: of two digits every year is."""
_CLOCK_DIGITS = "yyyyMMddHHmmss"
_OF_SECOND = "(?:[.,][0-9]+|:[0-9]{3})?"
"""Parts of a second; SQL Server writes those after a 24-hour clock behind a colon, too."""
_CLOCK = f"(?:([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]){_OF_SECOND})?"
_DIGITS = "([01][0-9]|2[0-3])([0-5][0-9])(?:([0-5][0-9])(?:[.][0-9]+)?)?"
_NEXT_MIDNIGHT = "24:?00(?::?00(?:[.,]0+)?)?"
_WITH_SECONDS = "([01]?[0-9]|2[0-3])[.:]([0-5][0-9])[.:]([0-5][0-9])(?:[.,][0-9]+)?"
"""As Oracle, SAS and DB2 write it. With points only with its seconds: `9.30` may be a number of hours."""
_AFTER_DAY = f"(?:T|,? {{1,2}})?{_CLOCK}|{_DIGITS}|[:-]?{_WITH_SECONDS}|{_NEXT_MIDNIGHT}){_ZONE}"
_OF_TWELVE = (
    f"(?:12|(0?[0-9]|1[01]))(?:[:.]([0-5][0-9])(?:[:.]([0-5][0-9])(?:[.,:][0-9]+)?)?)?{_AM_OR_PM}"
    "|(1[3-9]|2[0-3])[:.]([0-5][0-9])(?:[:.]([0-5][0-9])(?:[.,:][0-9]+)?)? ?p[.]?m[.]?"
)
"""A time of a clock of twelve hours, as Oracle and SQL Server write it, perhaps without minutes; its first hour is the twelfth.

An hour after the twelfth is that of a clock of 24 hours, and says so once more.
"""
_OF_TWELVE_AFTER_DAY = f",? {{1,2}}(?:{_OF_TWELVE}){_ZONE}"


_ANY_TIME, _ANY_OF_TWELVE = _without_groups(_AFTER_DAY), _without_groups(_OF_TWELVE_AFTER_DAY)
_DATE = f"(?is)^'?(?:{_DAY_MONTH_YEAR}(?:{_ANY_TIME})?|(?:{_SURE_DAY})(?:{_ANY_TIME}|{_ANY_OF_TWELVE})?)$|^.*$"
_MOMENT = f"(?is)^'?(?:{_without_groups(_DAY)}(?:{_AFTER_DAY})?|(?:{_without_groups(_SURE_DAY)}){_OF_TWELVE_AFTER_DAY})$|^.*$"
"""Digits with the day or the month first and a clock of twelve hours are nearly always in the American order: not read."""
_AS_CLOCK = "0$1$4$7$10$14:0$2$5$8$11$15:0$3$6$9$12$16$13"
"""The groups of the form that matched. Each pattern has all of them: Java takes `$16` for `$1` and a 6 where there is none."""
_ONE_ZERO_TOO_MANY = "0([0-9][0-9])"
_AFTER_NOON = "[Pp]"
_TWELVE_HOURS_ON = "-12:00"
"""A clock behind that of Greenwich by half a day: where it shows nine, it is nine in the evening."""
_IS_NEXT_MIDNIGHT = f"(?i)(?:[T ]|^'?[0-9]{{8}}){_NEXT_MIDNIGHT}{_ZONE}$"

_ISO_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_HOUR_AND_MINUTE = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_PLAIN_TIME = f"^{_HOUR_AND_MINUTE}(?::[0-5][0-9])?$"
_PLAIN_MOMENT = f"^{_ISO_DAY}(?:[T ]{_HOUR_AND_MINUTE}(?::[0-5][0-9])?)?$"
_PLAIN_DAY = f"^{_ISO_DAY}(?:[T ]{_HOUR_AND_MINUTE}(?::[0-5][0-9](?:[.,][0-9]+)?)?{_ZONE.replace('Z', '[Zz]')})?$"
_PLAIN_AND_MORE = f"^{_ISO_DAY}[T ]{_HOUR_AND_MINUTE}:[0-5][0-9](?:[.,][0-9]+)?{_ZONE.replace('Z', '[Zz]')}$"
_LAST_HOUR = "interval 23 hours"
_PM = "[Pp][.]?[Mm][.]?"
_LAST_HOUR_IN_UTC = (
    f"(?:(?:^'?[0-9]{{8}}|[Tt ,])23[:.]?[0-5][0-9](?:[:.]?[0-5][0-9]{_OF_SECOND})?(?: ?{_PM})?"
    f"|[:-]23[.:][0-5][0-9][.:][0-5][0-9](?:[.,][0-9]+)?|[ ,]11(?:[:.][0-5][0-9][0-9.,:]*)? ?{_PM}){_STATED_UTC}"
)
"""The last hour of a day in UTC. It stands behind the day, and never behind another hour: `10:23:30` is in the morning."""
_DAY_FIRST = "^([0-9]{2})/([0-9]{2})/([0-9]{4})"
"""The commonest forms. They are cast nearly as they are: a regular expression of many groups takes twenty times as long."""

_HOUR_AND_POINT = "(0[0-9]|1[0-9]|2[0-3]|[1-9])[.]([0-5][0-9])()"
"""In a column of times. Not with a lone zero before the point: a spreadsheet counts six o'clock as `0.25` of a day."""
_MAYBE_DAY = f"(?:{_without_groups(_DAY)}(?:T|:|,? {{1,2}})|T)?"
_TIME = (
    f"(?i)^{_MAYBE_DAY}(?:([01]?[0-9]|2[0-3]):?([0-5][0-9])(?::?([0-5][0-9]){_OF_SECOND})?"
    f"|{_WITH_SECONDS}|{_HOUR_AND_POINT}|{_OF_TWELVE}){_ZONE}$"
)
_TIME_OF_MIDNIGHT = f"(?i)^{_MAYBE_DAY}{_NEXT_MIDNIGHT}{_ZONE}$"

_CENTURIES = (("^([5-9][0-9])-", "19$1-"), ("^([0-4][0-9])-", "20$1-"))
"""Two digits of a year after the name of a month are those from 1950 to 2049, as the databases which write them say."""

_CENTURY_OF_BIRTH = (("^([3-9][0-9])-", "19$1-"),)
"""Of a birth only digits that cannot be of a year to come; 00 to 29 may be a child or somebody aged a hundred."""

_THOUSANDS = "[0-9]{1,3}(?:,[0-9]{3})+"
_NUMBER = f"^'?[+\u2212-]?(?:(?:[0-9]+|{_THOUSANDS})(?:[.][0-9]*)?|[.][0-9]+)(?:[eE][+-]?[0-9]{{1,2}})?$"
_MOST_DIGITS = 15
"""Whole numbers of more digits are not exact in what spreadsheets, and doubles, make of them."""

_POWERS = "|".join(
    f"[0-9][.]?[0-9]{{{digits}}}0*[eE][+]?0?(?:{'|'.join(map(str, range(digits, _MOST_DIGITS)))})"
    for digits in range(_MOST_DIGITS)
)
_INTEGER = f"^'?[+\u2212-]?(?:(?:[0-9]{{1,{_MOST_DIGITS}}}|[0-9]{{1,3}}(?:,[0-9]{{3}}){{1,4}})(?:[.]0*)?|{_POWERS})$"

_WHOLE = "^'?[+]?0*([0-9]+)(?:[.]0*)?$"
_DECIMAL_IN_KEY = "^'?[+]?0*([0-9]+(?:[.][0-9]*[1-9])?)[.]?0*$"
_ID_AND_MORE = "^'?0*([1-9][0-9]{5,17})(?:[.]0+)?(?:[ \u00a0]*[|][^|]*[|]?)?$"
"""An id of SNOMED CT with its term, or with what a spreadsheet or a padded column adds. The id alone is compared, and kept."""
_ICD10_IN_KEY = "(?i)^([A-Z][0-9]{2})[.]?([0-9]{0,2}|X[0-9])X{0,2}-*(?: ?(?:[AD]|[+*\u2020\u2021]{1,2}))?$"
"""A code of ICD-10, with or without dot, fillers, dagger and asterisk. Codes of Read and CTV3 have other forms, or no dot."""

_TRUE, _FALSE = (f"(?i)^({'|'.join(texts).replace('.', '[.]')})$" for texts in (TRUE_TEXTS, FALSE_TEXTS))

_SERIAL = "^[1-9][0-9]{3,4}(?:[.]0*)?$"
_SERIAL_DAY_ZERO = "1899-12-30"

_PERIOD = "^(?:[1-9][0-9]{0,3}|(?:190[1-9]|19[1-9][0-9]|20[0-9]{2})-[0-9]{2}-[0-9]{2})$"
"""The number of a month, or a day; none that stands for a missing one."""

VERSION_DIGITS = 38
"""The most digits of a number that versions are compared by."""


def date_in(text: Column, *, of_birth: bool = False) -> Column:
    """The date of a trimmed text, default dates included.

    Year, month and day, or day, month and year, padded or not, with `-`, `/`, `.` or a space between them; `yyyyMMdd`; the
    month as a name in any case, then also with a year of two digits. A time may follow. Where that is stated in UTC, the day
    is that in London: one exported at its midnight in summer is `2024-06-11T23:00:00Z`. The American order is not read.
    """
    day = _day_as_written(text, _CENTURY_OF_BIRTH if of_birth else _CENTURIES)
    zone = F.when(text.rlike(_LAST_HOUR_IN_UTC), F.lit(_LONDON)).otherwise(F.lit("UTC"))
    return F.from_utc_timestamp(day.cast("timestamp") + F.expr(_LAST_HOUR), zone).cast("date")


def _day_as_written(text: Column, centuries: Iterable[tuple[str, str]] = _CENTURIES) -> Column:
    """The day in a text that may go on with a time."""
    plain, in_parts = _year_first(text), F.regexp_replace(text, _DATE, _AS_DAY)
    named = in_parts
    for digits, year in centuries:
        named = F.regexp_replace(named, digits, year)
    by_name = F.try_to_timestamp(named, F.lit("yyyy-MMM-d")).cast("date")
    in_digits = F.when(plain.rlike(_PLAIN_DAY), F.substring(plain, 1, 10)).otherwise(in_parts).try_cast("date")
    return F.when(text.rlike(_NAMES_A_MONTH), by_name).otherwise(in_digits)


def birth_date_in(text: Column) -> Column:
    """The date of birth of a trimmed text, as `date_in`; a year of two digits is read where only one century fits."""
    return date_in(text, of_birth=True)


def serial_date_in(text: Column) -> Column:
    """The date of a trimmed text, also where it is the number that a spreadsheet keeps for it (45355 is 2024-03-04)."""
    serial = F.date_add(F.lit(_SERIAL_DAY_ZERO).cast("date"), text.try_cast("double").try_cast("int"))
    return F.when(text.rlike(_SERIAL), serial).otherwise(date_in(text))


def time_in(text: Column) -> Column:
    """The time of a trimmed text as `HH:mm:ss`; a day before it and an offset after it are dropped.

    The clock on the wall is meant, of 24 hours or of twelve (`9:30 PM`). `24:00:00` is the end of the day. Digits without a
    colon have lost no more than the first zero (`930` is 09:30:00).
    """
    plain = F.substring(F.concat(text, F.lit(":00")), 1, 8)
    moment = F.concat(F.lit("2000-01-01 "), _clock_in(text, _TIME)).try_cast("timestamp").cast("string")
    on_clock = F.when(text.rlike(_PLAIN_TIME), plain).when(text.rlike(_TIME), F.substring(moment, 12, 8))
    return on_clock.when(text.rlike(_TIME_OF_MIDNIGHT), F.lit("24:00:00"))


def _clock_in(text: Column, pattern: str) -> Column:
    """The time in a text of a pattern, as an engine casts it; of an afternoon by a clock of twelve hours with an offset."""
    clock = F.regexp_replace(F.regexp_replace(text, pattern, _AS_CLOCK), _ONE_ZERO_TOO_MANY, "$1")
    return F.regexp_replace(clock, _AFTER_NOON, _TWELVE_HOURS_ON)


def timestamp_in(text: Column) -> Column:
    """Date and time of a trimmed text, by the clocks in London; midnight where it holds a date alone.

    A time that is stated in UTC is that of another clock in summer: `2024-06-12T23:30:00Z` is half past midnight on the 13th.
    Any other offset says which clock is meant, and is dropped.
    """
    zone = F.when(text.rlike(_IN_LONDON), F.lit(_LONDON)).otherwise(F.lit("UTC"))
    return F.from_utc_timestamp(_as_written(text), zone)


def _as_written(text: Column) -> Column:
    """Date and time of a trimmed text without its offset; midnight where it holds a date alone, of the next day for 24:00."""
    days = text.rlike(_IS_NEXT_MIDNIGHT).cast("int")
    day = F.date_add(_day_as_written(text), days).cast("string")
    written = F.concat(day, F.lit(" "), _clock_in(text, _MOMENT))
    plain = _year_first(text)
    to_the_second = F.when(plain.rlike(_PLAIN_MOMENT), plain).when(plain.rlike(_PLAIN_AND_MORE), F.substring(plain, 1, 19))
    return to_the_second.otherwise(written).try_cast("timestamp")


def _year_first(text: Column) -> Column:
    """The text with a day that it begins with in the order of ISO 8601: `04/03/2024 10:00` is `2024-03-04 10:00`."""
    return F.regexp_replace(text, _DAY_FIRST, "$3-$2-$1")


def integer_in(text: Column) -> Column:
    """A whole number of up to 15 digits, also if it was written with zero decimals, thousands or as a power of ten."""
    return F.when(text.rlike(_INTEGER), _plain(text).try_cast("double").try_cast("bigint"))


def decimal_in(text: Column) -> Column:
    """A number with a point, with thousands, or with a power of ten; -0 is 0."""
    return F.when(text.rlike(_NUMBER), _plain(text).try_cast("double")) + F.lit(0.0)


def _plain(number: Column) -> Column:
    """The number without thousands and a spreadsheet's apostrophe, and with the minus sign of a keyboard."""
    return F.translate(number, "\u2212,'+", "-")


def period_in(text: Column) -> Column:
    """The reporting period of a trimmed text, the same however it is written; null if it cannot be read.

    Its last day as `2024-06-30`, or the number of its month (months since April 1900, plus 1) in up to four digits.
    """
    written = F.coalesce(date_in(text).cast("string"), integer_in(text).cast("string"))
    return F.nullif(F.regexp_extract(written, _PERIOD, 0), F.lit(""))


def boolean_in(text: Column) -> Column:
    """True or false, in any of the forms that extracts use."""
    return F.when(text.rlike(_TRUE), F.lit(True)).when(text.rlike(_FALSE), F.lit(False))


def presence_of(text: Column) -> Column:
    """True where there is a text."""
    return F.when(text.isNotNull(), F.lit(True))


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
    ColumnType.RESULT: code_in,
    ColumnType.BOOLEAN: boolean_in,
    ColumnType.PRESENCE: presence_of,
    ColumnType.DIRECTIONS: directions_in,
}
"""How each declared type is read from a trimmed text."""


def read(column: Delivered, text: Column) -> Column:
    """The value of a delivered column, from its trimmed text; null if it cannot be read."""
    if column.identifier is Identifier.BIRTH_DATE:
        return birth_date_in(text)
    if column.excel_serial:
        return serial_date_in(text)
    code = F.regexp_replace(text, _ID_AND_MORE, "$1") if column.shape in (Shape.SNOMED, Shape.CLINICAL_CODE) else text
    value = F.when(has_shape(code, column), code) if column.shape else READERS[column.type](_without_unit(column, text))
    return value if column.width is None else padded(value, column.width)


def key_part(column: Delivered, text: Column) -> Column:
    """The trimmed text of a column in the form in which it is part of a key: the same however the value is written.

    A date that cannot be read, and any text that is no date, number, code or list value, is its own form. Null for a code that
    names nobody or nothing (`unknown`), and in the rows of whose key the column is no part: `key_where` asks another column of
    the row.
    """
    where, form = column.key_where, _form_in_key(column, text)
    form = F.when(~is_one_of(form, column.unknown), form) if column.unknown else form
    return F.when(is_one_of(F.col(where.column), where.values), form) if where else form


def _form_in_key(column: Delivered, text: Column) -> Column:
    """The form of a text in a key; that of the words or code which mean the same for those of another release (`same`)."""
    form = _own_form(column, text)
    for current in dict.fromkeys(column.same.values()):
        others = [word for word, same in column.same.items() if same == current]
        is_other = is_one_of(text if column.width is None else form, others)
        form = F.when(is_other, _own_form(column, F.lit(current))).otherwise(form)
    return form


def _without_unit(column: Delivered, text: Column) -> Column:
    """The text without the unit behind its number, if that is the one which the column has."""
    if not column.units:
        return text
    return F.regexp_replace(text, f"(?i)^(.*[0-9.]) ?(?:{'|'.join(column.units)})$", "$1")


def _own_form(column: Delivered, text: Column) -> Column:
    if column.type in (ColumnType.DATE, ColumnType.TIMESTAMP):
        return F.coalesce(READERS[column.type](text).cast("string"), text)
    if column.type is ColumnType.INTEGER or column.shape is Shape.NUMBER:
        return F.regexp_replace(_without_unit(column, text), _WHOLE, "$1")
    if column.type is ColumnType.DECIMAL:
        return F.regexp_replace(_without_unit(column, text), _DECIMAL_IN_KEY, "$1")
    if column.width is not None:
        return padded(text, column.width)
    if column.shape in (Shape.LIST, Shape.LISTED, Shape.SAMPLE):
        return joined(text)
    if column.shape is Shape.CLINICAL_CODE:
        in_key = F.upper(F.regexp_replace(text, _ICD10_IN_KEY, "$1$2"))
        return F.when(text.rlike(_ICD10_IN_KEY), in_key).otherwise(F.regexp_replace(text, _ID_AND_MORE, "$1"))
    if column.shape is Shape.SNOMED:
        return F.regexp_replace(text, _ID_AND_MORE, "$1")
    return F.upper(text) if column.shape is Shape.ORGANISATION_CODE else text


def known(kind: ColumnType, value: Column) -> Column:
    """The value that was read, or null where it is a date that stands for a missing one."""
    patterns = {ColumnType.DATE: _DEFAULT, ColumnType.TIMESTAMP: _DEFAULT_MOMENT}
    return F.when(~value.cast("string").rlike(patterns[kind]), value) if kind in patterns else value


def padded(code: Column, width: int) -> Column:
    """A code with its number in `width` digits: spreadsheets drop zeros (`4` is `04`), others add them or decimals."""
    digits = f"[0-9]{{1,{width}}}"
    filled = F.regexp_replace(code, f"^'?0*({digits})(?:[.]0*)?$", "0" * (width - 1) + "$1")
    return filled if width == 1 else F.regexp_replace(filled, f"^0*([0-9]{{{width}}})$", "$1")


def number_to_sort_by(text: Column) -> Column:
    """A whole number of up to 38 digits as a text that sorts as the number does; null where it is none or negative."""
    digits = F.regexp_extract(text, f"^'?[+]?0*([0-9]{{1,{VERSION_DIGITS}}})(?:[.]0*)?$", 1)
    written = F.when(digits != "", digits).otherwise(integer_in(text).cast("string"))
    plain = F.when(text.rlike(f"^[0-9]{{1,{VERSION_DIGITS}}}$"), text).otherwise(written)
    return F.when(plain.rlike("^[0-9]+$"), F.lpad(plain, VERSION_DIGITS, "0"))


def with_moments_to_sort_by(frame: DataFrame, columns: Iterable[str]) -> DataFrame:
    """`frame` with date and time of text columns as texts that sort by time, to the microsecond, for `moment_to_sort_by`.

    Null where there is none that can be read. Without an offset it is the clock on the wall in London, and the first of two
    hours of one name in October: `2024-10-27 01:30+01:00` comes before `2024-10-27 01:10Z`, and `2024-07-01 09:30Z` after
    `2024-07-01 10:15`. In steps, because an engine plans what is used several times as often as it is used; and what only
    uncommon forms need is computed for their rows only.
    """
    columns = tuple(columns)
    for step in (_moments_year_first, _moments_by_form, _moments_read, _moments_as_instants, _moments_as_digits):
        frame = frame.select("*", *[made.alias(f"{name}{column}") for column in columns for name, made in step(column).items()])
    return frame


def moment_to_sort_by(column: str) -> Column:
    """What `with_moments_to_sort_by` made of a column."""
    return F.col(f"{_SORTS}{column}")


_PLAIN, _COMMON, _REST, _WRITTEN, _INSTANT, _SORTS = "_plain_", "_common_", "_rest_", "_written_", "_instant_", "_sorts_"
"""What stands before the name of a column for each step."""


def _moments_year_first(column: str) -> dict[str, Column]:
    """The text with its year first."""
    return {_PLAIN: _year_first(F.col(column))}


def _moments_by_form(column: str) -> dict[str, Column]:
    """The text with its year first where it is in a common form, else the text as it is; nothing of an empty text."""
    text, plain = F.col(column), F.col(f"{_PLAIN}{column}")
    is_plain = plain.rlike(_PLAIN_MOMENT) & ~plain.rlike(_DEFAULT) & plain.try_cast("timestamp").isNotNull()
    return {_COMMON: F.when(is_plain, plain), _REST: F.when(~is_plain & (text != ""), text)}


def _moments_read(column: str) -> dict[str, Column]:
    """What the clock of an uncommon form says, in seconds."""
    rest = F.col(f"{_REST}{column}")
    return {_WRITTEN: F.when(rest.isNotNull(), F.unix_timestamp(known(ColumnType.TIMESTAMP, _as_written(rest))))}


def _moments_as_instants(column: str) -> dict[str, Column]:
    """The seconds at which a moment with an offset was; null without one."""
    rest = F.col(f"{_REST}{column}")
    west, hours, minutes = (F.regexp_extract(rest, _STATED_OFFSET, group) for group in (1, 2, 3))
    in_summer = F.when(rest.rlike(_SUMMER_TIME), F.lit(3600)).otherwise(F.lit(0))
    ahead = _number_or_zero(hours) * 3600 + _number_or_zero(minutes) * 60 + in_summer
    instant = F.col(f"{_WRITTEN}{column}") - F.when(west == "-", -ahead).otherwise(ahead)
    return {_INSTANT: F.when(rest.rlike(_STATED_OFFSET), instant)}


def _moments_as_digits(column: str) -> dict[str, Column]:
    """Hour, which of two hours of one name, and the rest of the clock."""
    common, rest = F.col(f"{_COMMON}{column}"), F.col(f"{_REST}{column}")
    written, instant = F.timestamp_seconds(f"{_WRITTEN}{column}"), F.col(f"{_INSTANT}{column}")
    in_london, an_hour_before = _in_london(instant), _in_london(instant - 3600)
    is_second = instant.isNotNull() & (F.substring(in_london, 1, 10) == F.substring(an_hour_before, 1, 10))
    clock = F.when(instant.isNotNull(), in_london).otherwise(F.date_format(written, _CLOCK_DIGITS))
    fraction = F.regexp_extract(rest, _FRACTION, 1)
    of_common = F.rpad(F.translate(common, "-T :", ""), 20, "0")
    digits = F.when(rest.isNull(), of_common).otherwise(F.concat(clock, F.rpad(fraction, 6, "0")))
    second = F.when(is_second, "1").otherwise("0")
    return {_SORTS: F.concat(F.substring(digits, 1, 10), second, F.substring(digits, 11, 10))}


def _in_london(seconds: Column) -> Column:
    """What clocks in London show at a moment."""
    return F.date_format(F.from_utc_timestamp(F.timestamp_seconds(seconds), _LONDON), _CLOCK_DIGITS)


def _number_or_zero(digits: Column) -> Column:
    return F.coalesce(digits.try_cast("int"), F.lit(0))
