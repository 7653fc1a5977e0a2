"""Directions for medicines: the closed forms that are kept, what is read from them, and what is refused."""

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.columns.directions import (
    amount_in,
    as_needed,
    daily_amount_in,
    days_in,
    directions_in,
    dose_in,
    dose_unit_in,
    doses_per_day_in,
    frequency_in,
    in_milligrams,
    unit_in,
)
from tests.embedded.test_columns import evaluated

KEPT: dict[str, tuple[str, float | None, str | None, float | None, int | None]] = {
    "Take ONE tablet TWICE a day": ("1 tablet twice a day", 1, "tablet", 2, None),
    "1 tablet(s) BD": ("1 tablet twice a day", 1, "tablet", 2, None),
    "1 patch(es) every 3 days": ("1 patch every 3 days", 1, "patch", 1 / 3, None),
    "1 tablet twice a day": ("1 tablet twice a day", 1, "tablet", 2, None),
    "One To Be Taken Each Day": ("1 once a day", 1, None, 1, None),
    "ONE TO BE TAKEN TWO TIMES A DAY": ("1 twice a day", 1, None, 2, None),
    "one daily": ("1 once a day", 1, None, 1, None),
    "1 od": ("1 once a day", 1, None, 1, None),
    "1 BD": ("1 twice a day", 1, None, 2, None),
    "2 TDS": ("2 3 times a day", 2, None, 3, None),
    "Two capsules q.d.s.": ("2 capsule 4 times a day", 2, "capsule", 4, None),
    "b.d.": ("twice a day", None, None, 2, None),
    "once daily": ("once a day", None, None, 1, None),
    "twice a day": ("twice a day", None, None, 2, None),
    "3 times a day": ("3 times a day", None, None, 3, None),
    "1 tablet three times/day": ("1 tablet 3 times a day", 1, "tablet", 3, None),
    "one tablet four times daily with food": ("1 tablet 4 times a day with food", 1, "tablet", 4, None),
    "1 cap tds after meals": ("1 capsule 3 times a day after food", 1, "capsule", 3, None),
    "500mg every 8 hours": ("500 mg every 8 hours", 500, "mg", 3, None),
    "500 milligrams every eight hours": ("500 mg every 8 hours", 500, "mg", 3, None),
    "12 hourly": ("every 12 hours", None, None, 2, None),
    "1g q6h": ("1 gram every 6 hours", 1, "gram", 4, None),
    "every 48 hours": ("every 48 hours", None, None, 0.5, None),
    "1 every 4-6 hours when required": ("1 every 4-6 hours as needed", 1, None, None, None),
    "one every four to six hours prn": ("1 every 4-6 hours as needed", 1, None, None, None),
    "one at night": ("1 once a day at night", 1, None, 1, None),
    "1 tablet nocte": ("1 tablet once a day at night", 1, "tablet", 1, None),
    "One tablet each morning": ("1 tablet once a day in the morning", 1, "tablet", 1, None),
    "1 mane": ("1 once a day in the morning", 1, None, 1, None),
    "one once daily in the evening": ("1 once a day in the evening", 1, None, 1, None),
    "1 in the morning and at night": ("1 twice a day", 1, None, 2, None),
    "1 tablet on alternate days": ("1 tablet every 2 days", 1, "tablet", 0.5, None),
    "one tablet every other day": ("1 tablet every 2 days", 1, "tablet", 0.5, None),
    "1 patch every 3 days": ("1 patch every 3 days", 1, "patch", 1 / 3, None),
    "70mg once weekly": ("70 mg once a week", 70, "mg", 1 / 7, None),
    "one tablet twice a week": ("1 tablet twice a week", 1, "tablet", 2 / 7, None),
    "1 injection every two weeks": ("1 injection every 14 days", 1, "injection", 1 / 14, None),
    "half a tablet daily": ("0.5 tablet once a day", 0.5, "tablet", 1, None),
    "1/2 tablet bd": ("0.5 tablet twice a day", 0.5, "tablet", 2, None),
    "1\u00bd tablets od": ("1.5 tablet once a day", 1.5, "tablet", 1, None),
    "5ml three times a day": ("5 ml 3 times a day", 5, "ml", 3, None),
    "Take one 5ml spoonful tds": ("5 ml 3 times a day", 5, "ml", 3, None),
    "Two 5ml spoonfuls at night": ("10 ml once a day at night", 10, "ml", 1, None),
    "62.5 micrograms daily": ("62.5 microgram once a day", 62.5, "microgram", 1, None),
    "20 IU nocte": ("20 unit once a day at night", 20, "unit", 1, None),
    "Inhale 2 puffs twice a day": ("2 puff twice a day", 2, "puff", 2, None),
    "2 puffs PRN": ("2 puff as needed", 2, "puff", None, None),
    "1-2 tablets up to four times a day when required": (
        "1-2 tablet up to 4 times a day as needed",
        None,
        "tablet",
        None,
        None,
    ),
    "one or two at night": ("1-2 once a day at night", None, None, None, None),
    "max 8 tablets a day": ("up to 8 tablet once a day", None, "tablet", None, None),
    "1 tablet twice a day for 7 days": ("1 tablet twice a day for 7 days", 1, "tablet", 2, 7),
    "one three times a day for one week": ("1 3 times a day for 7 days", 1, None, 3, 7),
    "ONE twice a day for two weeks": ("1 twice a day for 2 weeks", 1, None, 2, 14),
    "as directed": ("as directed", None, None, None, None),
    "MDU": ("as directed", None, None, None, None),
    "2 tablets as directed": ("2 tablet as directed", 2, "tablet", None, None),
    "500mg STAT": ("500 mg at once", 500, "mg", None, None),
}
"""Directions as they are typed: the form that is kept, the dose and its unit, doses a day, and the days of the course."""

REFUSED = (
    "",
    "one daily for Mary Smith",
    "1 tablet daily, ring 01772 900123",
    "take 2 when Dr Jones says so",
    "9990000018",
    "1 tablet 9990000018 times a day",
    "apply 1% cream twice a day",
    "apply thinly twice a day",
    "10mg/kg twice a day",
    "1? tablet daily",
    "tablet",
    "1 tablet",
    "1 2 tablets daily",
    "1,000 units daily",
    "once a month",
    "1 tablet once a day for 1 month",
    "1 tablet once a day for 12 weeks",
    "25 times a day",
    "0 times a day",
    "every 0 hours",
    "one in the morning and two at night",
    "1 tablet daily, then 2 tablets daily",
    "stop 1 daily",
    "not 1 daily",
    "take one a day increasing to two",
    "1 tablet jeden Tag",
    "1 tablet dai\u0142y",
)
"""What is no closed form: of all of it nothing is kept."""


def test_directions_are_kept_in_one_form_and_read(sail: SparkSession) -> None:
    """The table of KEPT; what was kept is a closed form itself."""
    kept = [form for form, *_ in KEPT.values()]
    assert evaluated(sail, list(KEPT), directions_in(F.col("t"))) == kept
    assert evaluated(sail, kept, directions_in(F.col("t"))) == kept
    readers = (dose_in, dose_unit_in, doses_per_day_in, days_in)
    for place, reader in enumerate(readers, 1):
        assert evaluated(sail, kept, reader(F.col("t"))) == [expected[place] for expected in KEPT.values()], reader.__name__


def test_any_other_text_is_refused_whole(sail: SparkSession) -> None:
    """One word, number or sign too many and nothing is kept."""
    assert evaluated(sail, [*REFUSED, None], directions_in(F.col("t"))) == [None] * (len(REFUSED) + 1)


@settings(max_examples=5, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(sorted(KEPT)), st.text(min_size=1, max_size=12)), min_size=40, max_size=40))
def test_what_is_kept_has_only_words_of_the_grammar(sail: SparkSession, pairs: list[tuple[str, str]]) -> None:
    """Directions with any text before, after or between them are refused, or kept in one of their own forms."""
    typed = [f"{directions} {noise}" for directions, noise in pairs] + [f"{noise}{directions}" for directions, noise in pairs]
    words = {word for form, *_ in KEPT.values() for word in form.split() if word.isalpha()}
    for form in evaluated(sail, typed, directions_in(F.col("t"))):
        assert form is None or {word for word in str(form).split() if word.isalpha()} <= words | UNITS


UNITS = {"unit", "litre", "gram", "mg", "dose", "nanogram", "microgram"}
"""Units that a single letter after directions may be."""


def test_how_much_a_day_takes_of_a_quantity(sail: SparkSession) -> None:
    """Dose and quantity have one unit, or pieces are counted; a mass is so many pieces where their strength is known."""
    cases: dict[tuple[str, str | None, float | None], float | None] = {
        ("1 tablet twice a day", "tablet", None): 2.0,
        ("1 tablet twice a day", "Tabs", 500.0): 2.0,
        ("1 twice a day", "capsules", None): 2.0,
        ("5 ml 3 times a day", "ml", None): 15.0,
        ("1 gram twice a day", "tablet", 500.0): 4.0,
        ("62.5 microgram once a day", "tablet", 0.125): 0.5,
        ("500 mg twice a day", "tablet", None): None,
        ("500 mg twice a day", "ml", 500.0): None,
        ("1 tablet twice a day", "capsule", 500.0): None,
        ("1 tablet as needed", "tablet", 500.0): None,
        ("2 puff twice a day", "inhaler", None): None,
        ("1 twice a day", "ml", None): None,
        ("1 tablet twice a day", "ml", None): None,
        ("1 tablet twice a day", None, 500.0): None,
        ("1 capsule twice a day", "box", None): None,
        ("twice a day", "tablet", None): None,
    }
    rows = [(place, *case) for place, case in enumerate(cases)]
    frame = sail.createDataFrame(rows, "place int, directions string, unit string, piece_mg double").orderBy("place")
    read = frame.select(daily_amount_in(F.col("directions"), F.col("unit"), F.col("piece_mg")).alias("daily"))
    assert [row["daily"] for row in read.toArrow().to_pylist()] == list(cases.values())


def test_amounts_of_mass_in_milligrams(sail: SparkSession) -> None:
    """Units of mass only."""
    units = ["mg", "g", "micrograms", "ng", "ml", "tablet", None]
    amounts = [2.0, 2000.0, 0.002, 0.000002, None, None, None]
    assert evaluated(sail, units, in_milligrams(F.lit(2.0), F.col("t"))) == amounts


def test_units_and_amounts_have_one_form(sail: SparkSession) -> None:
    """Spellings of a unit; a dose with a unit that nobody knows is no amount."""
    spellings = ["Tablets", "mg", "MILLIGRAMS", "mcg", "Units", "puffs", "mL", "Tablet(s)", "patch(es)", "scoop", "", None]
    forms = ["tablet", "mg", "mg", "microgram", "unit", "puff", "ml", "tablet", "patch", None, None, None]
    assert evaluated(sail, spellings, unit_in(F.col("t"))) == forms
    doses = ["1000", "0.5", "2.50", "0", "-1", None]
    amounts = ["1000 mg", "0.5 mg", "2.5 mg", None, None, None]
    assert evaluated(sail, doses, amount_in(F.col("t").try_cast("double"), F.lit("mg"))) == amounts


def test_what_is_taken_as_needed_says_so_once_and_in_a_closed_form(sail: SparkSession) -> None:
    said = {
        "twice a day": "twice a day as needed",
        "twice a day for 7 days": "twice a day as needed for 7 days",
        "twice a day for 2 weeks": "twice a day as needed for 2 weeks",
        "as directed": "as directed as needed",
        "once a day as directed for 3 days": "once a day as needed for 3 days",
        "2 tablet twice a day with food": "2 tablet twice a day with food as needed",
        "as needed": "as needed",
        "up to 4 times a day": "up to 4 times a day as needed",
        None: "as needed",
    }
    assert evaluated(sail, list(said), as_needed(F.col("t"))) == list(said.values())
    assert evaluated(sail, list(said.values()), directions_in(F.col("t"))) == list(said.values())


def test_a_frequency_is_what_follows_the_dose(sail: SparkSession) -> None:
    """A number of times is no dose."""
    directions = ["1 tablet twice a day", "1-2 up to 4 times a day", "3 times a day", "2 puff as needed", "as directed"]
    frequencies = ["twice a day", "up to 4 times a day", "3 times a day", "as needed", "as directed"]
    assert evaluated(sail, directions, frequency_in(F.col("t"))) == frequencies
