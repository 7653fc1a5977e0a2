"""Reads results as people write them: a number, perhaps with an operator before it, and with its unit or a mark behind it.

One reader for every source. A number is read only where nobody can take it for one of another unit: the unit behind it is that
of the column for units, or that column is empty. What is no single number stays a text.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.columns.choices import is_true, once

BLANK = "[ \t\u00a0\u2007\u2009\u202f]*"
_OPERATOR = f"(?:[<>\u2264\u2265=]{BLANK}=?|=[<>])"
_NUMBER = "[\u2212-]?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:[.][0-9]*)?|[.][0-9]+)(?:[eE][+-]?[0-9]{1,2})?"

_A_MINUTE = "(?: ?/ ?| per )min(?:ute)?"
_DEGREE = "[\u00b0\u00ba\u02da]"
"""The sign of degrees, and the ordinal and the ring that are typed for it."""

_SPELLINGS = (
    "%|per ?cent",
    "mm ?/?(?:hg|\\[hg\\]|\\(hg\\))",
    f"bpm|rpm|1?{_A_MINUTE}|(?:beats?|\\{{beats\\}}|breaths?|\\{{breaths\\}}){_A_MINUTE}",
    f"(?:{_DEGREE}|deg(?:ree)?s?[.]?)? ?(?:c|cel|celsius|celcius|centigrade)|\u2103",
    f"(?:{_DEGREE}|deg(?:ree)?s?[.]?)? ?(?:f|fahrenheit)|\\[degf\\]",
    "kgs?|kilograms?",
    "g|gms?|grams?",
    "lbs?|pounds?|\\[lb_us\\]",
    "cms?|centimetres?",
    "m|metres?|meters?",
    "inch(?:es)?|\\[in_us\\]",
    "kg/m(?:2|\u00b2|\\^2|\\*\\*2)",
    f"lpm|(?:l|litres?|liters?){_A_MINUTE}",
    "mls?|millilitres?",
    "l|litres?|liters?",
    "s|secs?|seconds?",
)
"""Units with many spellings, those of one unit together. In lower case."""

_POWERS = {3: "\u00b3", 6: "\u2076", 9: "\u2079", 12: "\u00b9\u00b2"}
_COUNTS = tuple(f"(?:[x\u00d7] ?)?10 ?(?:[*^]{{0,2}} ?{power}|{raised}) ?/ ?l" for power, raised in _POWERS.items())
"""Counts by the litre: `x10*9/L`, `10^9/L`, `\u00d710\u2079/L`."""

_AMOUNT = "(?:[munpfk\u00b5\u03bc]|mc)?(?:mol|g|iu|u|units?|eq|osm)|[mdu\u00b5\u03bc]?l|fl"
_OTHERS = (
    "kpa|cm ?h2o|mms?|ms|msecs?|mins?|minutes?|hrs?|hours?|days?|weeks?|months?|years?|yrs?|mm/h|mm/hr"
    f"|(?:{_AMOUNT})(?:/(?:[md]?l|m?mol|k?g|min|h|hr|24 ?hr?s?|day|min/1[.]73 ?m[2\u00b2]))?"
    f"|(?:[x\u00d7] ?| )10 ?(?:[*^]? ?[0-9]{{1,2}}|{'|'.join(_POWERS.values())})/l"
)
_UNIT = f"(?:{'|'.join(_SPELLINGS)}|{_OTHERS})"
"""The units of laboratories and of the bedside, and no other words: any word may stand behind a number (`3 positive`)."""

_LEVEL = "H{1,2}|LL|HIGH|High|high|LOW|Low|low"
_MARK = f"[*#]{{1,3}}|{_LEVEL}|[(\\[] ?(?:{_LEVEL}|L|N|A|h|l) ?[)\\]]"
"""How a laboratory marks a result that is high, low, normal or not: `*`, `H`, `(L)`."""

RESULT_PATTERN = f"^'?{_OPERATOR}?{BLANK}[+]?({_NUMBER}){BLANK}(?:(?:{_MARK})|((?i:{_UNIT})?)(?:{BLANK}(?:{_MARK}|L))?)$"
"""A number, with or without an operator, a unit and a mark: `5.2`, `<0.5`, `>= 1,000`, `1E+05`, `7.2 mmol/L`, `98%`, `7.2 (H)`.

By an apostrophe before it a spreadsheet keeps it a text: `'142`.
"""

PLAIN_NUMBER = "^[0-9]{1,8}(?:[.][0-9]+)?$"
"""Nearly all results are plain numbers. They are told apart first: RESULT_PATTERN takes many times as long."""

_HAS_OPERATOR = "^'?[<>\u2264\u2265=]"

_AMBIGUOUS = ("L", "m", "M", "F", "f", "s", "S")
"""Units that may be something else: a mark for low, minutes or months, the gauge of a catheter, a plural (`60s`). Only the
column for units can say which."""

_VOLUME = "(?i)^(?:[mdcu\u00b5\u03bc]?ls?|lpm|(?:milli)?lit(?:re|er)s?)(?:$|[ /])"
_SAME = "|".join(f"(?:{spellings})\n(?:{spellings})" for spellings in (*_SPELLINGS, *_COUNTS))

ANSWER_IDS = ("248234008", "130987000", "300202002", "450847001", "422768004")
"""The answers of ACVPU as ids of SNOMED CT: alert, confused, responds to voice, to pain, unresponsive. They are no numbers,
though numbers may be as long: a viral load of `>170000000`. Source: the value set CareConnect-ACVPU-1."""

PAIR_PATTERN = "^'?([0-9]{2,3})(?:[.]0+)? */ *([0-9]{2,3})(?:[.]0+)? *([Mm][Mm] ?[(\\[]?[Hh][Gg][)\\]]?)?$"
"""Two numbers as a blood pressure is written: `142/88`, with or without its unit."""

_LABEL = "(?i:^'?(?:gcs|total score|total|score)[ :=]+)"
_OF_TOTAL = "^'?([0-9]{1,3})(?:[.]0+)? ?(?:/|(?:out )?of) ?([1-9][0-9]{1,2})(?:[.]0+)?$"
"""A score with the greatest that there is, of 10 or more: `12/27`. A smaller one may be the other of two ratings: `1/2`."""


def unit_behind(text: Column) -> Column:
    """The unit behind the number of a result (`mmol/L` of `7.2 mmol/L`); null where there is none that is sure."""
    behind = once(_behind(text), lambda behind: F.when(~behind.isin("", *_AMBIGUOUS), behind))
    return F.when(~F.trim(text).rlike(PLAIN_NUMBER), behind)


def number_in(text: Column, unit: Column | None = None) -> Column:
    """The number in a result such as `5.2`, `<0.5` or `7.2 (H)`; null where there is none, or the answer of a scale (ACVPU).

    It may have the unit of the column `unit` behind it in any spelling, or any unit if that column is empty. Without such a
    column it has none: nothing could say what the number counts.
    """
    bare = F.trim(text)
    number = F.translate(F.regexp_extract(bare, RESULT_PATTERN, 1), "\u2212,", "-")
    read = F.when(~number.isin("", *ANSWER_IDS) & _agrees(_behind(text), unit), number)
    return F.when(bare.rlike(PLAIN_NUMBER), bare).otherwise(read).try_cast("double") + F.lit(0.0)  # -0 is 0


def number_or_in(number: Column, text: Column, unit: Column | None = None) -> Column:
    """The number in the column for numbers; that of the result text where that column is empty, or where the text alone has an
    operator (`<5` beside 2.5). `unit` as in `number_in`.
    """
    return once(_result_of(number, text), lambda result: number_in(result, unit))


def _result_of(number: Column, text: Column) -> Column:
    """The result in the column for numbers, or in the text where that is empty, or where it alone has an operator.

    Beside `<5` the column for numbers may have the limit, half of it, or 0. The text is what was reported.
    """
    bare = F.trim(text)
    is_reported = bare.rlike(_HAS_OPERATOR) & bare.rlike(RESULT_PATTERN) & ~is_true(F.trim(number).rlike(_HAS_OPERATOR))
    return F.when(is_reported | number.isNull(), text).otherwise(number)


def operator_in(text: Column, unit: Column | None = None) -> Column:
    """OMOP operator concept of a result text with a number, in any spelling of the operator; null for a bare number.

    < 4171756, <= 4171754, = 4172703, > 4172704, >= 4171755. A unit behind the number is as in `number_in`.
    """
    is_read = F.trim(text).rlike(RESULT_PATTERN) & _agrees(_behind(text), unit)
    number = F.when(F.trim(text).rlike(_HAS_OPERATOR), F.when(is_read, F.translate(F.trim(text), "'", "")))
    return once(number, _operator_of)


def _operator_of(number: Column) -> Column:
    return (
        F.when(number.rlike(f"^(?:\u2264|<{BLANK}=|=<)"), F.lit(4171754))
        .when(number.rlike(f"^(?:\u2265|>{BLANK}=|=>)"), F.lit(4171755))
        .when(number.startswith("<"), F.lit(4171756))
        .when(number.startswith(">"), F.lit(4172704))
        .when(number.startswith("="), F.lit(4172703))
        .cast("bigint")
    )


def operator_or_in(number: Column, text: Column, unit: Column | None = None) -> Column:
    """OMOP operator concept of the result whose number `number_or_in` gives."""
    return once(_result_of(number, text), lambda result: operator_in(result, unit))


def score_in(text: Column) -> Column:
    """The number of a score, which may have its name before it and the greatest that there is behind it (`Score: 12/27`)."""
    bare = F.regexp_replace(F.trim(text), _LABEL, "")
    score, greatest = (F.regexp_extract(bare, _OF_TOTAL, place) for place in (1, 2))
    is_of_total = score.try_cast("int") <= greatest.try_cast("int")
    return F.when(is_of_total, score.try_cast("double")).otherwise(number_in(bare))


def rating_in(text: Column, scale: Column, unknown_is_nine: list[str]) -> Column:
    """The number of a score; null for 9 on a scale of `unknown_is_nine`, whose raters give 0 to 4, or 9 for not known.

    So does the Health of the Nation Outcome Scale: METeOR 676216 counts "recorded in the HoNOS tool as 9 - Unknown" as unknown.
    """
    number = score_in(text)
    return F.when(~((number == 9) & scale.isin(*unknown_is_nine)), number)


def blood_pressure_pair(code: Column, text: Column, codes: str, number: Column | None = None) -> Column:
    """The text where it is a systolic over a diastolic pressure under one code for both, else null.

    `codes` is the regular expression of such codes. A first number below the second is no such pair. An empty text is looked
    for in the column for numbers, if there is one.
    """
    written = F.trim(_text_or_number(text, number))
    is_pair = F.trim(code).rlike(codes) & written.rlike(PAIR_PATTERN) & (systolic_in(written) >= diastolic_in(written))
    return F.when(is_pair, written)


def systolic_in(text: Column, number: Column | None = None, unit: Column | None = None) -> Column:
    """The first number of a text such as `142/88`, or of the column for numbers; null where it is none, or of another unit."""
    return _number_of_pair(_text_or_number(text, number), 1, unit)


def diastolic_in(text: Column, number: Column | None = None, unit: Column | None = None) -> Column:
    """The second number of a text such as `142/88`, or of the column for numbers; null where it is none, or of another unit."""
    return _number_of_pair(_text_or_number(text, number), 2, unit)


def _text_or_number(text: Column, number: Column | None) -> Column:
    return text if number is None else F.coalesce(text, number)


def _number_of_pair(text: Column, place: int, unit: Column | None) -> Column:
    number = F.nullif(F.regexp_extract(F.trim(text), PAIR_PATTERN, place), F.lit(""))
    if unit is not None:
        number = F.when(_agrees(F.regexp_extract(F.trim(text), PAIR_PATTERN, 3), unit), number)
    return number.try_cast("double")


def _behind(text: Column) -> Column:
    """What stands behind the number of a result as its unit; empty where nothing does, or there is no number."""
    return F.trim(F.regexp_extract(F.trim(text), RESULT_PATTERN, 2))


def _agrees(said: Column, unit: Column | None) -> Column:
    """Whether a number is one of the column `unit`, by the unit that is `said` behind it; true where none is."""
    if unit is None:
        return said == ""

    def by_column(behind: Column) -> Column:
        is_same = _joined(behind) == _joined(unit)
        is_spelling = F.concat(F.lower(behind), F.lit("\n"), F.lower(F.trim(unit))).rlike(f"^(?:{_SAME})$")
        is_mark = (behind == "L") & ~unit.rlike(_VOLUME)
        by_itself = F.when(unit.isNull(), ~behind.isin(*_AMBIGUOUS))
        return F.when(behind == "", F.lit(True)).otherwise(by_itself.otherwise(is_same | is_spelling | is_mark))

    return once(said, by_column)


def _joined(unit: Column) -> Column:
    """A unit in lower case without blanks, micro as u, times as x, a square as 2 and every sign of degrees as one."""
    return F.translate(F.lower(unit), "\u00b5\u03bc\u00d7\u00b2\u00ba\u02da ", "uux2\u00b0\u00b0")
