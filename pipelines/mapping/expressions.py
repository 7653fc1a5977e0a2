"""Named expressions that mapping files may use. Each takes columns by parameter name and gives one column."""

from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.columns import directions
from pipelines.columns.choices import first_true, is_true, once
from pipelines.columns.directions import amount_in, frequency_in, unit_in
from pipelines.columns.results import (
    BLANK,
    blood_pressure_pair,
    diastolic_in,
    number_in,
    number_or_in,
    operator_in,
    operator_or_in,
    rating_in,
    score_in,
    systolic_in,
    unit_behind,
)
from pipelines.columns.terms import about_relatives, immunisation_given, no_allergy_said
from pipelines.columns.text import is_one_of
from pipelines.contracts.evidence import DatePrecision
from vocab.codes import OWN_ETHNIC_CATEGORY

Expression = Callable[..., Column]

DOSE_PATTERN = (
    "^'?[+]?((?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:[.][0-9]*)?|[.][0-9]+)(?:e[+-]?[0-9]{1,2})?)"
    f"{BLANK}([a-z\u00b5\u03bc]*(?:[(]e?s[)])?)$"
)
"""A dose in lower case: a number, and perhaps one word for its unit (`5mg`, `2 puff(s)`)."""

UNKNOWN_PRECISIONS = ("U", "Unknown")
"""The precisions with which EMIS says that nothing is known of a date (EffectiveDatePrecision, EndDatePrecision)."""

FIRST_KNOWN = ("first_of", "date_of_first", "within_stay", "date_within_stay", "day_of_sample", "day_of_medicine")
"""The expressions that give the first of their columns `first` and `second` that has a value."""

BELIEVED_WHERE_NEAR = ("within_stay", "date_within_stay", "day_of_sample", "day_of_medicine")
"""Those of them that give another day than the first one where that is too far away."""

DAYS_AROUND_STAY = 7
"""What is more days before the start or after the end of a stay is not of it. DataQualityDashboard asks for as much
(withinVisitDates), and 99 % of dates of operations are so near the start of their episode (UK Biobank, field 41282)."""


DAYS_IN_LABORATORY = 366
"""Nobody takes a sample so many days before its report: the year was mistyped. Cultures and genetic tests take months."""

MOST_DAYS_OF_A_YEAR = 334
"""What is further away from when it was to be has the year mistyped: a contact from the end of the month that it was submitted
for, where a wrong year is at least 335 days away; an order from when it was authorised; a dose from when it was due."""


def national_ethnic_category(category: Column) -> Column:
    """The national letter of an ethnic category to which a trust appended its own character (`D1`, `ga`); else as it is."""
    bare = F.trim(category)
    return F.when(bare.rlike(OWN_ETHNIC_CATEGORY), F.substring(bare, 1, 1)).otherwise(bare)


def key_of_statement(of: Column, category: Column) -> Column:
    """What names a statement of an ethnic category, however many records of a patient or a spell repeat it."""
    return F.concat(of, F.lit("|"), F.upper(national_ethnic_category(category)))


def code_without_fillers(code: Column) -> Column:
    """A code in capitals without blanks, dots and what fills its places: `R69` of `r69.x`, `R69X9`, `R69XXD` and `R69-`.

    Null where nothing is left: hospitals send `&` and `-` for no code.
    """
    bare = F.translate(F.upper(code), " \u00a0.&-", "")
    return F.nullif(F.regexp_replace(bare, "^([A-Z][0-9]{2})X[0-9X]?[AD+*]?$", "$1"), F.lit(""))


def attribute_in(code: Column, attribute: str) -> Column:
    """The SNOMED CT id that an expression gives an attribute: `385660001` of `75516001:408730004=385660001`, with terms or not.

    `attribute` is the id of the attribute. Empty where the expression does not have it, null without a code.
    """
    return F.regexp_extract(code, f"(?:^|[^0-9]){attribute}(?: *[|][^|]*[|])? *=[^0-9]*([0-9]{{6,18}})", 1)


def date_and_time(date: Column, time: Column) -> Column:
    """Timestamp from a date and an `HH:mm:ss` text; null without a time, midnight of the next day for 24:00:00.

    No time is invented: nobody could tell a midnight that was delivered from one that was not.
    """
    day = F.date_add(date, time.startswith("24").cast("int")).cast("string")
    return F.concat(day, F.lit(" "), F.regexp_replace(time, "^24", "00")).try_cast("timestamp")


def date_and_time_of_day(date: Column, time: Column, day: Column) -> Column:
    """As `date_and_time`, where the time is of this date: null where it is of another day."""
    return F.when(F.coalesce(day, date) == date, date_and_time(date, time))


def stay_key(spell: Column, stay: Column, date: Column, time: Column | None = None) -> Column:
    """What names a stay within a spell, however many episodes repeat it: what it is of, and when it began."""
    parts = [part for part in (stay, date, time) if part is not None]
    return F.concat(spell, *[F.concat(F.lit("|"), F.coalesce(part.cast("string"), F.lit(""))) for part in parts])


def place_in_spell(date: Column, number: Column) -> Column:
    """What puts the episodes of a spell in order: the day on which each begins, then its number; last where that has none.

    Numbers come wrong, and 98 and 99 are none. So pipelines for Hospital Episode Statistics order them, by EPISTART first
    (https://github.com/HFAnalyticsLab/HES_pipeline, src/spells.R).
    """
    return F.unix_date(date) * 100 + F.coalesce(F.when(number.between(0, 99), number), F.lit(99))


def last_day_of_spell(discharge: Column, indicator: Column, end_of_episode: Column) -> Column:
    """The day of discharge; where none was delivered, that on which the last episode of the spell (indicator 1) ended.

    A spell ends with its last episode.
    """
    return F.coalesce(discharge, F.when(is_one_of(indicator, ["1"]), end_of_episode))


def death_by_discharge(method: Column, year_of_birth: Column, admission: Column) -> Column:
    """The method of discharge, null where it says stillborn (5) of somebody who is not known to be newborn.

    That is born in the year of the admission or the one before. On the record of a delivery the baby was stillborn, and the
    mother has not died.
    """
    is_newborn = is_true(F.year(admission) - year_of_birth <= 1)
    return F.when((method != "5") | is_newborn, method)


def rejected_by_every_team(
    team: Column, date: Column, reason: Column, other: Column, other_date: Column, other_reason: Column
) -> Column:
    """Whether every team that a referral of mental health was made to rejected it: its own, and the `other` ones.

    `other` is a team that did not reject it, if there is one. Before version 6 a referral has no team of its own.
    """
    rejected, rejected_by_other = (
        F.coalesce(day.cast("string"), why).isNotNull() for day, why in ((date, reason), (other_date, other_reason))
    )
    took_it = team.isNotNull() & ~rejected
    return F.when(other.isNull(), rejected).otherwise(rejected_by_other & ~took_it)


def minutes_after(date: Column, time: Column, minutes: Column) -> Column:
    """The moment that many minutes after a date and its time; null where one of the three is missing."""
    return F.timestamp_seconds(F.unix_timestamp(date_and_time(date, time)) + minutes * 60)


def date_of(timestamp: Column) -> Column:
    """The calendar day of a timestamp."""
    return timestamp.cast("date")


def last_day_alive(day: Column, died: Column) -> Column:
    """A day, or that of a death before it: nobody states anything about themselves after it, though a month goes on."""
    return F.least(day, died)


def first_of(first: Column, second: Column) -> Column:
    """The first value, or the second where the first is missing."""
    return F.coalesce(first, second)


def within_stay(first: Column, second: Column, start: Column, end: Column | None = None) -> Column:
    """The first value, or the second where the first is missing or more than DAYS_AROUND_STAY away from the stay.

    The record is one of the stay, so a day of another year is a typing error. Where the second is as far away, it is the start
    of the stay. A start or end that is not known is no limit.
    """
    near = [(moment.isNotNull() & _is_of_stay(moment, start, end), moment) for moment in (first, second)]
    return first_true(near, F.coalesce(start, second))


def _is_of_stay(moment: Column, start: Column, end: Column | None) -> Column:
    """Whether a day or moment is at most DAYS_AROUND_STAY away from a stay; a start or end that is not known is no limit."""
    day = moment.cast("date")
    is_near = ~is_true(day < F.date_sub(start.cast("date"), DAYS_AROUND_STAY))
    return is_near if end is None else is_near & ~is_true(day > F.date_add(end.cast("date"), DAYS_AROUND_STAY))


def date_within_stay(first: Column, second: Column, start: Column, end: Column) -> Column:
    """The calendar day of what `within_stay` gives."""
    return within_stay(first, second, start, end).cast("date")


def moment_within_stay(moment: Column, start: Column, end: Column) -> Column:
    """The moment, null where it is more than DAYS_AROUND_STAY away from the stay: then only the day of the stay is known."""
    return F.when(_is_of_stay(moment, start, end), moment)


def time_within_stay(date: Column, time: Column, start: Column, end: Column | None = None) -> Column:
    """As `date_and_time`, null where the date is more than DAYS_AROUND_STAY away from the stay."""
    return F.when(_is_of_stay(date, start, end), date_and_time(date, time))


def _is_of_another_year(day: Column, expected: Column) -> Column:
    return is_true(F.abs(F.datediff(day, expected)) > MOST_DAYS_OF_A_YEAR)


def is_near_month(date: Column, month_end: Column) -> Column:
    """Whether a date is at most MOST_DAYS_OF_A_YEAR away from the end of a month. One that is not known is no limit."""
    return ~_is_of_another_year(date, month_end)


def moment_of_medicine(moment: Column, due: Column) -> Column:
    """When an order began or a dose was given; null where that is over MOST_DAYS_OF_A_YEAR away from when it was `due`."""
    return F.when(~_is_of_another_year(moment, due), moment)


def start_of_order(first: Column, second: Column) -> Column:
    """What `moment_of_medicine` gives, or else the second timestamp."""
    return F.coalesce(moment_of_medicine(first, second), second)


def day_of_medicine(first: Column, second: Column) -> Column:
    """The calendar day of what `start_of_order` gives."""
    return start_of_order(first, second).cast("date")


def newest_first(date: Column) -> Column:
    """What puts records in order by a date, the newest first and those without one last."""
    return F.coalesce(F.negate(F.unix_date(date)), F.lit(0)).cast("bigint")


def date_of_first(first: Column, second: Column) -> Column:
    """The calendar day of the first timestamp, or of the second where the first is missing."""
    return F.coalesce(first, second).cast("date")


def moment_of_sample(taken: Column, reported: Column) -> Column:
    """When a sample was taken; null where that is on a later day than its report, or over DAYS_IN_LABORATORY before it."""
    day, report = taken.cast("date"), reported.cast("date")
    is_possible = (day <= report) & (F.date_add(day, DAYS_IN_LABORATORY) >= report)
    return F.when(report.isNull() | is_possible, taken)


def day_of_sample(first: Column, second: Column) -> Column:
    """The calendar day of what `moment_of_sample` gives, or else of the report, which is that of the sample or a later one."""
    return F.coalesce(moment_of_sample(first, second), second).cast("date")


def diagnosis_status(position: Column) -> Column:
    """OMOP condition status by the place in the list of diagnoses: 1 is primary (32902), any later one secondary (32908)."""
    return F.when(position == 1, F.lit(32902)).when(position > 1, F.lit(32908)).cast("bigint")


def date_precision(code: Column) -> Column:
    """How exactly EMIS knows a date (EffectiveDatePrecision): Y year, YM month, YMD and YMDT day; null for any other code."""
    given = F.upper(F.trim(code))
    return (
        F.when(given == "Y", F.lit(DatePrecision.YEAR.value))
        .when(given == "YM", F.lit(DatePrecision.MONTH.value))
        .when(given.isin("YMD", "YMDT"), F.lit(DatePrecision.DAY.value))
    )


def day_of_entry(date: Column, precision: Column, entered: Column) -> Column:
    """The day that an entry of EMIS is about; the day on which it was entered where that is not known, or would be later."""
    is_known = ~is_one_of(precision, UNKNOWN_PRECISIONS) & (date <= F.coalesce(entered, date))
    return F.when(is_known, date).otherwise(entered)


def end_of_registration(start: Column, end: Column) -> Column:
    """The end of a registration. One that is before its start is of an earlier one: EMIS keeps it when somebody comes back."""
    return F.when(end >= start, end)


def place_of_registration(start: Column, end: Column) -> Column:
    """What puts registrations in order: null for one that has not ended, 1 for one that has (`end_of_registration`)."""
    return F.when(end.isNotNull() & ~is_true(end < start), F.lit(1)).cast("bigint")


def end_of_problem(start: Column, end: Column, precision: Column) -> Column:
    """The end of a problem; null where EMIS knows nothing of it.

    An end of which the year or the month is known is dated to its first day. Where the problem began later in that year or
    month, its own first day is the first on which it can have ended.
    """
    known_to = date_precision(precision)
    is_same_month = (known_to == DatePrecision.MONTH.value) & (F.month(start) == F.month(end))
    is_same_period = (F.year(start) == F.year(end)) & (is_same_month | (known_to == DatePrecision.YEAR.value))
    first_day = F.when(is_same_period, F.greatest(start, end)).otherwise(end)
    return F.when(~is_one_of(precision, UNKNOWN_PRECISIONS), first_day)


def number_of_dose(dose: Column, unit: Column | None = None) -> Column:
    """The number of a dose, that may have its unit behind it (`5mg`); null for anything else, as a range or a ratio.

    Null too where the unit behind it is another one than that of the column `unit`.
    """
    number = F.translate(_part_of_dose(dose, 1), ",", "").try_cast("double")
    if unit is None:
        return number
    says_other = (_part_of_dose(dose, 2) != "") & (_part_of_dose(dose, 2) != F.translate(F.lower(unit), " ", ""))
    return F.when(~is_true(says_other), number)


def unit_of_dose(dose: Column, unit: Column) -> Column:
    """The unit of a dose; where its column is empty, that which stands behind the number (`mg` of `5mg`)."""
    return F.coalesce(unit, F.nullif(_part_of_dose(dose, 2), F.lit("")))


def _part_of_dose(dose: Column, part: int) -> Column:
    return F.regexp_extract(F.lower(F.trim(dose)), DOSE_PATTERN, part)


def dose_given(dose: Column, unit: Column) -> Column:
    """A dose that was given (`1000 mg`); null where it is none, or its unit is none that is known."""
    return amount_in(number_of_dose(dose, unit), unit_of_dose(dose, unit))


def quantity_given(dose: Column, unit: Column) -> Column:
    """The amount of a dose that was given, where its unit is known: without one nobody can say what the number counts."""
    number = number_of_dose(dose, unit)
    return F.when(unit_in(unit_of_dose(dose, unit)).isNotNull() & (number > 0), number)


def order_directions(
    dose: Column, unit: Column, text: Column, count: Column, period: Column, period_unit: Column, as_needed: Column
) -> Column:
    """The directions of an order (`1000 mg 4 times a day`): its dose and how often it is due.

    How often is said by `count` doses in `period` units (FHIR: h, d, wk) if they are delivered, else by the text, which is in a
    closed form and may give a dose of its own: the delivered dose counts, in a unit that is known. What is to be taken
    `as_needed` is so however often, and where nobody says how often.
    """
    times = F.concat(count.cast("string"), F.lit(" times"))
    often = F.when(count == 1, F.lit("once")).when(count == 2, F.lit("twice")).when(count.between(3, 12), times)
    every = F.concat(F.lit("every "), period.cast("string"))
    by_code = (
        F.when((period == 1) & (period_unit == "d"), F.concat(often, F.lit(" a day")))
        .when((period == 1) & (period_unit == "wk"), F.concat(often, F.lit(" a week")))
        .when((count == 1) & (period_unit == "h") & period.between(1, 99), F.concat(every, F.lit(" hours")))
        .when((count == 1) & (period_unit == "d") & period.between(2, 99), F.concat(every, F.lit(" days")))
    )
    frequency = once(F.coalesce(by_code, text), lambda said: F.when(as_needed, directions.as_needed(said)).otherwise(said))
    amount = dose_given(dose, unit)
    dosed = once(frequency, lambda said: F.nullif(F.concat_ws(" ", amount, frequency_in(said)), F.lit("")))
    return F.when(dose.isNull(), frequency).otherwise(dosed)


def days_of_prescription(setting: Column, settings: list[str], days: int) -> Column:
    """The days that a written prescription is taken to last: `days` in one of some settings, in others null."""
    return F.when(F.lower(F.trim(setting)).isin(*settings), F.lit(days))


def way_of_contact(
    outcome: Column,
    at_scene: Column,
    treatment_type: Column,
    stop_code: Column,
    vehicle: Column,
    crew: list[str],
    telephone: list[str],
    nobody: list[str],
) -> Column:
    """How a patient of an ambulance service was seen: by a `crew`, by `telephone` alone, or by `nobody`.

    The first that says so counts: an outcome of the list for telephone or crew, a crew at the scene, the treatment type of the
    call, an outcome of calls that came to nothing. Without a vehicle a stop code says that the call was closed by telephone.
    Else it was a crew, which keeps a record of every patient.
    """
    by_crew, by_telephone = F.lit("crew"), F.lit("telephone")
    return (
        F.when(is_one_of(outcome, telephone), by_telephone)
        .when(is_one_of(outcome, crew) | at_scene.isNotNull(), by_crew)
        .when(is_one_of(treatment_type, telephone), by_telephone)
        .when(is_one_of(outcome, nobody), F.lit("nobody"))
        .when(vehicle.isNull() & stop_code.isNotNull(), by_telephone)
        .otherwise(by_crew)
    )


def was_conveyed(outcome: Column, flag: Column, treatment_type: Column, conveyed: list[str], not_conveyed: list[str]) -> Column:
    """Whether an ambulance took the patient somewhere; null where nothing says so.

    The outcome is the patient's own. The flag is that of one vehicle, while another one may have taken the patient, and the
    treatment type that of a call, which may be about several patients.
    """
    by_outcome, by_call = (
        F.when(is_one_of(said, conveyed), F.lit(True)).when(is_one_of(said, not_conveyed), F.lit(False))
        for said in (outcome, treatment_type)
    )
    return F.coalesce(by_outcome, flag, by_call)


EXPRESSIONS: dict[str, Expression] = {
    expression.__name__: expression
    for expression in (
        national_ethnic_category,
        key_of_statement,
        code_without_fillers,
        attribute_in,
        date_and_time,
        date_and_time_of_day,
        stay_key,
        place_in_spell,
        last_day_of_spell,
        death_by_discharge,
        rejected_by_every_team,
        minutes_after,
        date_of,
        unit_behind,
        number_in,
        number_or_in,
        score_in,
        rating_in,
        operator_in,
        operator_or_in,
        blood_pressure_pair,
        systolic_in,
        diastolic_in,
        last_day_alive,
        first_of,
        within_stay,
        date_within_stay,
        moment_within_stay,
        time_within_stay,
        is_near_month,
        moment_of_medicine,
        start_of_order,
        day_of_medicine,
        newest_first,
        date_of_first,
        moment_of_sample,
        day_of_sample,
        diagnosis_status,
        date_precision,
        day_of_entry,
        immunisation_given,
        no_allergy_said,
        about_relatives,
        end_of_registration,
        place_of_registration,
        end_of_problem,
        number_of_dose,
        unit_of_dose,
        dose_given,
        quantity_given,
        order_directions,
        days_of_prescription,
        way_of_contact,
        was_conveyed,
    )
}
