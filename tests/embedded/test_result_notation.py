"""Results as laboratories and practices write them: the number, the operator, and nothing where there is no number."""

from datetime import datetime

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.columns.results import (
    blood_pressure_pair,
    diastolic_in,
    number_in,
    number_or_in,
    operator_in,
    operator_or_in,
    score_in,
    systolic_in,
    unit_behind,
)
from pipelines.mapping.expressions import date_and_time, number_of_dose, unit_of_dose
from tests.embedded.test_columns import evaluated

LESS, AT_MOST, EQUAL, MORE, AT_LEAST = 4171756, 4171754, 4172703, 4172704, 4171755

RESULTS: dict[str, tuple[float | None, int | None]] = {
    "5.2": (5.2, None),
    ".5": (0.5, None),
    "5.": (5.0, None),
    "-1.5": (-1.5, None),
    "\u22121.5": (-1.5, None),
    "+3": (3.0, None),
    "1E+05": (100000.0, None),
    "1,234.5": (1234.5, None),
    "<10": (10.0, LESS),
    "< .5": (0.5, LESS),
    "<\u00a00.5": (0.5, LESS),
    "<-2": (-2.0, LESS),
    "> 1000": (1000.0, MORE),
    ">1,000": (1000.0, MORE),
    "<=5": (5.0, AT_MOST),
    "=<5": (5.0, AT_MOST),
    "< = 5": (5.0, AT_MOST),
    "\u22645": (5.0, AT_MOST),
    ">=90": (90.0, AT_LEAST),
    "=>90": (90.0, AT_LEAST),
    ">= 90": (90.0, AT_LEAST),
    "\u226590": (90.0, AT_LEAST),
    "\u2265 90": (90.0, AT_LEAST),
    "=7": (7.0, EQUAL),
    ">170000000": (170000000.0, MORE),
    "1000000000": (1000000000.0, None),
    "248234008": (None, None),
    "'300202002": (None, None),
    "'142": (142.0, None),
    "'-1.5": (-1.5, None),
    "'1,234": (1234.0, None),
    "'<5": (5.0, LESS),
    "142'": (None, None),
    "''142": (None, None),
    "'": (None, None),
    "<": (None, None),
    "> upper limit": (None, None),
    "<<5": (None, None),
    "5 mmol/L": (None, None),
    "5-10": (None, None),
    "142/88": (None, None),
    "NEG": (None, None),
    "1,23": (None, None),
    "1.2.3": (None, None),
    "~5": (None, None),
    "7,2": (None, None),
    "1 234": (None, None),
    "-0": (0.0, None),
    "NaN": (None, None),
    "inf": (None, None),
    "1e400": (None, None),
    "7.2*": (7.2, None),
    "7.2 **": (7.2, None),
    "7.2 H": (7.2, None),
    "<7.2 LL": (7.2, LESS),
    "7.2 (L)": (7.2, None),
    "7.2 [High]": (7.2, None),
    "7.2 high": (7.2, None),
    "7.2 L": (None, None),
    "7.2 h": (None, None),
    "7.2 (see note)": (None, None),
    "98%": (None, None),
    "2+": (None, None),
    "++": (None, None),
    "12/27": (None, None),
}


def test_numbers_and_operators_are_read_in_every_spelling(sail: SparkSession) -> None:
    texts = list(RESULTS)
    numbers = evaluated(sail, texts, number_in(F.col("t")))
    operators = evaluated(sail, texts, operator_in(F.col("t")))
    assert dict(zip(texts, zip(numbers, operators, strict=True), strict=True)) == RESULTS
    assert evaluated(sail, [None], number_in(F.col("t"))) == evaluated(sail, [None], operator_in(F.col("t"))) == [None]


WITH_UNITS: dict[tuple[str, str | None], tuple[float | None, int | None, str | None]] = {
    ("7.2 mmol/L", None): (7.2, None, "mmol/L"),
    ("7.2mmol/L", "mmol/l"): (7.2, None, "mmol/L"),
    ("<5 mg/L", None): (5.0, LESS, "mg/L"),
    ("1,234 \u00b5mol/L", None): (1234.0, None, "\u00b5mol/L"),
    ("45 %", "%"): (45.0, None, "%"),
    ("250 x10*9/L", None): (250.0, None, "x10*9/L"),
    ("250 10^9/L", "10^9/L"): (250.0, None, "10^9/L"),
    ("90 mL/min/1.73m2", None): (90.0, None, "mL/min/1.73m2"),
    ("12", "g/L"): (12.0, None, None),
    ("7.2 mmol/L", "mg/dL"): (None, None, "mmol/L"),
    ("25010*9/L", None): (None, None, None),
    ("5-10 mmol/L", None): (None, None, None),
    ("120/80 mmHg", None): (None, None, None),
    ("5mg/5ml", None): (None, None, None),
    ("3 positive", None): (None, None, None),
    ("10 pm", None): (None, None, None),
    ("1/2", None): (None, None, None),
    ("mmol/L", None): (None, None, None),
    # the bedside
    ("120 mmHg", None): (120.0, None, "mmHg"),
    ("120mmHg", "mm[Hg]"): (120.0, None, "mmHg"),
    ("37.2 C", None): (37.2, None, "C"),
    ("37.2\u00b0C", "Cel"): (37.2, None, "\u00b0C"),
    ("37.2 \u00baC", "Cel"): (37.2, None, "\u00baC"),
    ("250 \u00d710\u2079/L", "10^9/L"): (250.0, None, "\u00d710\u2079/L"),
    ("250 \u00d710^9/L", None): (250.0, None, "\u00d710^9/L"),
    ("250 x10\u2079/L", None): (250.0, None, "x10\u2079/L"),
    ("250 10\u2079/L", "x10*9/L"): (250.0, None, "10\u2079/L"),
    ("4.5 \u00d710\u00b9\u00b2/L", "x10*12/L"): (4.5, None, "\u00d710\u00b9\u00b2/L"),
    ("4.5 \u00d710\u00b9\u00b2/L", "10^9/L"): (None, None, "\u00d710\u00b9\u00b2/L"),
    ("90 mL/min/1.73m\u00b2", "mL/min/1.73m2"): (90.0, None, "mL/min/1.73m\u00b2"),
    ("90 mL/min/1.73 m\u00b2", None): (90.0, None, "mL/min/1.73 m\u00b2"),
    ("25010\u2079/L", None): (None, None, None),
    ("37.2 deg C", "degrees C"): (37.2, None, "deg C"),
    ("98%", "per cent"): (98.0, None, "%"),
    ("81 kg", "Kgs"): (81.0, None, "kg"),
    ("15 L/min", None): (15.0, None, "L/min"),
    ("72 bpm", "/min"): (72.0, None, "bpm"),
    ("72 beats/min", "{beats}/min"): (72.0, None, "beats/min"),
    ("180 lb", None): (180.0, None, "lb"),
    ("5 \u03bcmol/L", "umol/L"): (5.0, None, "\u03bcmol/L"),
    ("250 x10*9/L", "10^9/L"): (250.0, None, "x10*9/L"),
    (">= 120 mmHg", "mmHg"): (120.0, AT_LEAST, "mmHg"),
    ("7.2 mmol/L (H)", None): (7.2, None, "mmol/L"),
    ("7.2 mmol/L H", "mmol/L"): (7.2, None, "mmol/L"),
    # another unit than that of the column
    ("98.6 F", "Cel"): (None, None, None),
    ("98.6 \u00b0F", "Cel"): (None, None, "\u00b0F"),
    ("180 lb", "kg"): (None, None, "lb"),
    ("1.80 m", "cm"): (None, None, None),
    (">180 cm", "m"): (None, None, "cm"),
    ("16 kPa", "mmHg"): (None, None, "kPa"),
    ("250 10*12/L", "10^9/L"): (None, None, "10*12/L"),
    # a letter that may be something else counts with its column only
    ("1.80 m", None): (None, None, None),
    ("1.80 m", "metres"): (1.8, None, None),
    ("98.6 F", "degF"): (98.6, None, None),
    ("7.2 L", None): (None, None, None),
    ("7.2 L", "mmol/L"): (7.2, None, None),
    ("2.5 L", "litres"): (2.5, None, None),
    ("2.5 L", "mL"): (None, None, None),
    ("2.5 L", "L/min"): (None, None, None),
    ("2.5 l", None): (2.5, None, "l"),
    ("60s", None): (None, None, None),
    ("24 pa", None): (None, None, None),
}


def test_a_number_may_have_the_unit_of_its_column_behind_it_or_one_if_that_is_empty(sail: SparkSession) -> None:
    texts = sail.createDataFrame([(*given, n) for n, given in enumerate(WITH_UNITS)], "text string, unit string, place int")
    said = F.col("text"), F.col("unit")
    read = texts.select("place", number_in(*said), operator_in(*said), unit_behind(F.col("text")))
    found = [tuple(row)[1:] for row in sorted(read.collect())]
    assert dict(zip(WITH_UNITS, found, strict=True)) == WITH_UNITS


PRESSURES: dict[tuple[str, str | None], tuple[bool, float | None, float | None]] = {
    ("120/80", None): (True, 120.0, 80.0),
    ("120/80", "kPa"): (True, 120.0, 80.0),
    ("120 / 80 mmHg", None): (True, 120.0, 80.0),
    ("120/80mm[Hg]", "mmHg"): (True, 120.0, 80.0),
    ("120.0/80.0", "mmHg"): (True, 120.0, 80.0),
    ("120/80 mmHg", "kPa"): (True, None, None),
    ("80/120", None): (False, 80.0, 120.0),
    ("6/9", None): (False, None, None),
    ("120-80", None): (False, None, None),
    ("120/80/60", None): (False, None, None),
}


def test_a_blood_pressure_has_no_numbers_where_its_unit_is_not_that_of_its_column(sail: SparkSession) -> None:
    rows = [(*given, n) for n, given in enumerate(PRESSURES)]
    texts = sail.createDataFrame(rows, "text string, unit string, place int")
    text, unit = F.col("text"), F.col("unit")
    pair = blood_pressure_pair(F.lit("BP"), text, "^BP$").isNotNull()
    read = texts.select("place", pair, systolic_in(text, unit=unit), diastolic_in(text, unit=unit))
    assert dict(zip(PRESSURES, [tuple(row)[1:] for row in sorted(read.collect())], strict=True)) == PRESSURES


SCORES: dict[str, float | None] = {
    "12": 12.0,
    "12.0": 12.0,
    "0.0": 0.0,
    "-2": -2.0,
    "12/27": 12.0,
    "'12 / 27": 12.0,
    "12.0/27": 12.0,
    "27/27": 27.0,
    "8/10": 8.0,
    "0/21": 0.0,
    "12 out of 27": 12.0,
    "12 of 27": 12.0,
    "12.0/27.0": 12.0,
    "GCS 15/15": 15.0,
    "gcs: 14": 14.0,
    "Score: 12/27": 12.0,
    "total score = 3": 3.0,
    "Score 1/2": None,
    "item 3": None,
    "12/27.5": None,
    "28/27": None,
    "1/2": None,
    "3/4": None,
    "12/0": None,
    "12/2024": None,
    "12-13": None,
    "12 mg": None,
    "X": None,
}


def test_a_score_may_have_the_greatest_that_there_is_behind_it(sail: SparkSession) -> None:
    assert dict(zip(SCORES, evaluated(sail, list(SCORES), score_in(F.col("t"))), strict=True)) == SCORES


DOSES: dict[tuple[str | None, str | None], tuple[float | None, str | None]] = {
    ("5", "mg"): (5.0, "mg"),
    ("5", None): (5.0, None),
    ("0.00", "mg"): (0.0, "mg"),
    ("1E+03", "mg"): (1000.0, "mg"),
    ("5mg", None): (5.0, "mg"),
    (" 5 MG ", None): (5.0, "mg"),
    ("'5mg", None): (5.0, "mg"),
    ("1,000\u00a0micrograms", None): (1000.0, "micrograms"),
    (".5\u00b5g", None): (0.5, "\u00b5g"),
    ("2 puff(s)", None): (2.0, "puff(s)"),
    ("5mg", "MG"): (5.0, "MG"),
    ("5mg", "ml"): (None, "ml"),
    ("5e", None): (5.0, "e"),
    ("5-10", "mg"): (None, "mg"),
    ("5-10mg", None): (None, None),
    ("1/2", "tablet"): (None, "tablet"),
    ("<5mg", None): (None, None),
    ("5mg/5ml", None): (None, None),
    ("120/80", None): (None, None),
    ("1,5 mg", None): (None, None),
    ("5 mg po", None): (None, None),
    ("-5", "mg"): (None, "mg"),
    (None, "mg"): (None, "mg"),
}


def test_a_dose_is_one_number_and_perhaps_its_unit(sail: SparkSession) -> None:
    doses = sail.createDataFrame([(*dose, place) for place, dose in enumerate(DOSES)], "dose string, unit string, place int")
    read = doses.select("place", number_of_dose(F.col("dose"), F.col("unit")), unit_of_dose(F.col("dose"), F.col("unit")))
    found = [tuple(row)[1:] for row in sorted(read.collect())]
    assert dict(zip(DOSES, found, strict=True)) == DOSES


SPELLINGS = {
    "": None,
    "<": LESS,
    "<=": AT_MOST,
    "=<": AT_MOST,
    "\u2264": AT_MOST,
    ">": MORE,
    ">=": AT_LEAST,
    "=>": AT_LEAST,
    "\u2265": AT_LEAST,
    "=": EQUAL,
}


operators, blanks = st.sampled_from(list(SPELLINGS)), st.sampled_from(("", " ", "\u00a0"))


@settings(max_examples=8, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(operators, blanks, st.integers(-(10**6), 10**6)), min_size=50, max_size=100))
def test_any_operator_before_any_number(sail: SparkSession, results: list[tuple[str, str, int]]) -> None:
    texts = [f"{operator}{blank if operator else ''}{number / 100:,.2f}" for operator, blank, number in results]
    assert evaluated(sail, texts, number_in(F.col("t"))) == [number / 100 for _, _, number in results]
    assert evaluated(sail, texts, operator_in(F.col("t"))) == [SPELLINGS[operator] for operator, _, _ in results]


NUMBERS_AND_TEXTS: dict[tuple[str | None, str | None, str | None], tuple[float | None, int | None]] = {
    # number, text and unit as delivered
    ("<10", None, None): (10.0, LESS),
    ("7", None, None): (7.0, None),
    (None, ">= 3", None): (3.0, AT_LEAST),
    ("9", "<9", None): (9.0, LESS),
    ("4.5", "<9", None): (9.0, LESS),  # half of the limit
    ("0", "< 9 mg/L", "mg/L"): (9.0, LESS),
    ("<9", "<5", None): (9.0, LESS),
    ("9", "9.1", None): (9.0, None),
    ("9", "<LOD", None): (9.0, None),
    ("9", "raised", None): (9.0, None),
    ("37", "<98.6 F", "Cel"): (None, None),
    (None, "A", None): (None, None),
    (None, None, None): (None, None),
}


def test_the_column_for_numbers_comes_before_the_text_unless_that_alone_has_an_operator(sail: SparkSession) -> None:
    rows = [(*given, place) for place, given in enumerate(NUMBERS_AND_TEXTS)]
    delivered = sail.createDataFrame(rows, "number string, text string, unit string, place int")
    columns = F.col("number"), F.col("text"), F.col("unit")
    read = delivered.select("place", number_or_in(*columns), operator_or_in(*columns))
    found = [tuple(row)[1:] for row in sorted(read.collect())]
    assert dict(zip(NUMBERS_AND_TEXTS, found, strict=True)) == NUMBERS_AND_TEXTS


def test_the_end_of_a_day_is_midnight_of_the_next_and_no_time_is_invented(sail: SparkSession) -> None:
    times = ["24:00:00", "00:00:00", "10:24:00", "23:59:59", None]
    for day, after in (("2024-02-28", datetime(2024, 2, 29)), ("2023-12-31", datetime(2024, 1, 1))):
        found = evaluated(sail, times, date_and_time(F.lit(day).cast("date"), F.col("t")))
        start = datetime.fromisoformat(day)
        wanted = [after, start, start.replace(hour=10, minute=24), start.replace(hour=23, minute=59, second=59), None]
        assert [value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in found] == wanted
