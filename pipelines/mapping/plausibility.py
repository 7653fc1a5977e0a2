"""What cannot be: the rules that mapped rows about people are judged by (`mappings/plausibility.yaml`).

A row that breaks a rule is set aside, so that it does not reach OMOP, or flagged, which means published and counted. Silver
keeps what was delivered. Each rule is one short condition over all rows of a target, not one in each mapping rule.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true, is_true
from pipelines.columns.frames import union_all
from pipelines.columns.results import PLAIN_NUMBER, RESULT_PATTERN
from pipelines.contracts.ledger import IMPLAUSIBLE
from pipelines.contracts.model_files import COPY_IT, read_model
from pipelines.contracts.models import Frozen
from pipelines.mapping.compile import DATED_BY_RULE, HAS_OTHER_DAY, target_schema
from pipelines.mapping.outcomes import left_out_rows
from pipelines.mapping.spec import FIELDS, Target

FILE_NAME = "plausibility.yaml"

BIRTH_YEARS = {"first_birth_year": "bigint", "last_birth_year": "bigint"}
"""The least and the greatest year of birth that the records of a person state. Doubt about it is in favour of the row."""


_BEGINS_WITH_NUMBER = "^(?:[^0-9A-Za-z]{0,4}|[A-Za-z][A-Za-z -]{0,30}[ :=]+[<>]?)[0-9]"
"""A number, perhaps with words before it: `GCS 15`, `less than 5`."""

DAYS_AHEAD = 366
"""How many days after its extract a record of a person can be dated: appointments and periods of a report lie ahead."""


class Check(StrEnum):
    """What a rule on dates asks. Rows are judged in this order."""

    START_AFTER_EXTRACT = "start_after_extract"
    END_AFTER_EXTRACT = "end_after_extract"
    BEFORE_BIRTH = "before_birth"
    DEATH_BEFORE_BIRTH = "death_before_birth"
    AGE_ABOVE = "age_above"
    BORN_AFTER_EXTRACT = "born_after_extract"
    BORN_LONG_AGO = "born_long_ago"
    END_BEFORE_START = "end_before_start"
    DAY_NOT_BELIEVED = "day_not_believed"


class ValueCheck(StrEnum):
    """What a rule on values asks. Rows are judged in this order."""

    UNIT_UNCLEAR = "unit_unclear"
    NUMBER_NOT_READ = "number_not_read"
    NUMBERS_DIFFER = "numbers_differ"


class Action(StrEnum):
    """What becomes of a row that breaks a rule."""

    FLAG = "flag"
    SET_ASIDE = "set_aside"


_IN_YEARS = (Check.AGE_ABOVE, Check.BORN_LONG_AGO)
_ABOUT_PERSONS = (Check.BORN_AFTER_EXTRACT, Check.BORN_LONG_AGO)
_ABOUT_ENDS = (Check.END_AFTER_EXTRACT, Check.END_BEFORE_START)
_DAY_FIELDS = {target: "death_date" if target is Target.DEATH else "start_date" for target in Target}


class DateRule(Frozen):
    """A rule on dates: for which targets, with how many days of tolerance or above how many years."""

    action: Action
    to: tuple[Target, ...]
    tolerance_days: int = Field(default=0, ge=0)
    years: int | None = Field(default=None, ge=1)
    note: str


class ValueRule(Frozen):
    """A rule on values that have a number of which none, or another one, was read."""

    action: Action
    note: str


class BoundedRule(Frozen):
    """What a number can be; `least` and `most` are allowed."""

    action: Action
    least: float | None = None
    most: float | None = None
    note: str

    @model_validator(mode="after")
    def bounded(self) -> Self:
        """Refuse a rule that no value can break, and one that every value breaks."""
        if self.least is None and self.most is None:
            raise ValueError("give least, most or both")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError("least is greater than most")
        return self


class UnitRule(BoundedRule):
    """What a value can be in some units: `codes` as delivered, in any case."""

    codes: tuple[str, ...] = Field(min_length=1)


class AmountRule(BoundedRule):
    """What an amount of a medicine can be. Any other is not published, whatever becomes of the row."""

    field: Literal["quantity", "days_supply"]


class Plausibility(Frozen):
    """All rules. Every dated target has those by which nothing dated after its extract is published."""

    rules: dict[Check, DateRule]
    values: dict[ValueCheck, ValueRule] = Field(default_factory=dict)
    units: dict[str, UnitRule] = Field(default_factory=dict)
    amounts: dict[str, AmountRule] = Field(default_factory=dict)

    @model_validator(mode="after")
    def complete(self) -> "Plausibility":
        """Refuse rules that do not fit their targets or leave a date after the extract; the error lists all of them."""
        faults = [fault for check, rule in self.rules.items() for fault in _faults(check, rule)]
        others = {str(check) for check in (*Check, *ValueCheck)}
        taken = [*others, *self.units, *self.amounts]
        twice = sorted(name for name in {*self.units, *self.amounts} if taken.count(name) > 1)
        faults += [f"{name}: another rule has this name" for name in twice]
        for check, field in ((Check.START_AFTER_EXTRACT, "start"), (Check.END_AFTER_EXTRACT, "end")):
            dated = {target for target in Target if _day_of(target, field)}
            missing = dated - set(self.rules[check].to) if check in self.rules else dated
            faults += [f"{check}: {target} is missing, and its dates may be after the extract" for target in sorted(missing)]
        if Check.START_AFTER_EXTRACT in self.rules and self.rules[Check.START_AFTER_EXTRACT].action is Action.FLAG:
            faults.append("start_after_extract: only set_aside, because nothing dated after its extract is published")
        if faults:
            raise ValueError("; ".join(faults))
        return self


def _faults(check: Check, rule: DateRule) -> Iterator[str]:
    if (check in _IN_YEARS) != (rule.years is not None):
        yield f"{check}: {'give years' if check in _IN_YEARS else 'has no years'}"
    for target in rule.to:
        about_person = target is Target.PERSON
        fits = about_person == (check in _ABOUT_PERSONS) and (about_person or bool(_day_of(target, "start")))
        fits = fits and (check not in _ABOUT_ENDS or bool(_day_of(target, "end")))
        fits = fits and (check is not Check.DAY_NOT_BELIEVED or target in DATED_BY_RULE)
        if not fits or (check is Check.DEATH_BEFORE_BIRTH and target is not Target.DEATH):
            yield f"{check}: does not apply to {target}"


def _day_of(target: Target, side: str) -> str | None:
    """The field with the day on which rows of a target start or end; None where they have none."""
    name = _DAY_FIELDS[target] if side == "start" else "end_date"
    return name if name in FIELDS[target] else None


def load_plausibility(mappings_dir: Path) -> Plausibility:
    """Read the rules. Raises ContractError, which lists every fault of the file."""
    return read_model(mappings_dir / FILE_NAME, Plausibility, FILE_NAME, COPY_IT)


def judged(rows: DataFrame, target: Target, rules: Plausibility) -> DataFrame:
    """The rows of a target with what the rules say of each (JUDGEMENT), in the columns of `target_schema(target)`.

    `rows` have `_extracted_on` and, unless they are about persons, BIRTH_YEARS. An end after the extract is not used: a visit
    then ends when it starts, anything else has no end. A record of a person counts as made on the day of the extract at the
    latest, and one that is dated more than DAYS_AHEAD later as made on a day that is not known.
    """
    if "recorded_on" in FIELDS[target]:  # it decides which record of a person counts first
        extracted, recorded = F.col("_extracted_on"), F.col("recorded_on")
        is_ahead, is_mistaken = recorded > extracted, recorded > F.date_add(extracted, DAYS_AHEAD)
        made_on = F.when(is_mistaken, F.lit(None).cast("date")).when(is_ahead, extracted).otherwise(recorded)
        rows = rows.withColumn("recorded_on", made_on)
    last_day = "death_date" if target is Target.DEATH else "end_date"
    if last_day.replace("date", "datetime") in FIELDS[target]:
        rows = rows.withColumn(last_day, _day_that_ends(last_day))
    broken = {action: _first_broken(target, rules, action) for action in Action}
    values = {"_set_aside": broken[Action.SET_ASIDE], "_flagged": broken[Action.FLAG]}
    if target is Target.EVENT:
        for rule in rules.amounts.values():
            amount = F.col(rule.field)
            values[rule.field] = F.when(~_is_outside(amount, rule), values.get(rule.field, amount))
    if _day_of(target, "end"):
        rows = rows.withColumn("_is_late", is_true(_last("end", target) > F.col("_extracted_on")))
        values |= _usable_ends(target)
    return rows.select(*[values.get(name, F.col(name)).alias(name) for name in target_schema(target)])


def _day_that_ends(day: str) -> Column:
    """The day of an end or death: that of the extract for the midnight after it, which hospitals write as 24:00.

    A moment that is one value with its day keeps no other trace of that. Nothing has ended or died at a later one.
    """
    next_day = F.date_add(F.col("_extracted_on"), 1)
    is_midnight = F.col(day.replace("date", "datetime")) == next_day.cast("timestamp")
    return F.when(is_midnight & (F.col(day) == next_day), F.col("_extracted_on")).otherwise(F.col(day))


def _usable_ends(target: Target) -> dict[str, Column]:
    fields = FIELDS[target]
    ends: dict[str, Column] = {}
    for name in ("end_date", "end_datetime"):
        if name in fields:
            instead = F.col(name.replace("end", "start")) if target in (Target.VISIT, Target.VISIT_DETAIL) else F.lit(None)
            ends[name] = F.when(F.col("_is_late"), instead.cast(fields[name])).otherwise(F.col(name))
    if "verbatim_end_date" in fields:
        ends["verbatim_end_date"] = F.when(
            F.col("verbatim_end_date") <= F.coalesce("_extracted_on", "verbatim_end_date"), F.col("verbatim_end_date")
        )
    return ends


def _first_broken(target: Target, rules: Plausibility, action: Action) -> Column:
    """The name of the first rule with this action that a row breaks; null where it breaks none."""
    names = [
        (_is_broken(check, rules.rules[check], target), F.lit(str(check)))
        for check in Check
        if check in rules.rules and target in rules.rules[check].to and rules.rules[check].action is action
    ]
    if target is Target.EVENT:
        listed = [(check, rules.values[check]) for check in ValueCheck if check in rules.values]
        names += [(_is_lost(check), F.lit(str(check))) for check, rule in listed if rule.action is action]
        in_units = [(name, rule) for name, rule in rules.units.items() if rule.action is action]
        names += [(_is_of(rule) & _is_outside(F.col("value_as_number"), rule), F.lit(name)) for name, rule in in_units]
        amounts = [(name, rule) for name, rule in rules.amounts.items() if rule.action is action]
        names += [(_is_outside(F.col(rule.field), rule), F.lit(name)) for name, rule in amounts]
    return first_true(names, F.lit(None).cast("string"))


def _is_broken(check: Check, rule: DateRule, target: Target) -> Column:
    """Whether a row breaks a rule; null where a date that it needs is not known."""
    extracted, start = F.col("_extracted_on"), F.col(_DAY_FIELDS[target])
    match check:
        case Check.START_AFTER_EXTRACT:
            return _last("start", target) > extracted
        case Check.END_AFTER_EXTRACT:
            return F.col("_is_late")
        case Check.BEFORE_BIRTH | Check.DEATH_BEFORE_BIRTH:
            return F.year(F.date_add(start, rule.tolerance_days)) < F.col("first_birth_year")
        case Check.AGE_ABOVE:
            return F.year(start) - F.col("last_birth_year") > F.lit(rule.years)
        case Check.BORN_AFTER_EXTRACT:
            return F.col("year_of_birth") > F.year(extracted)
        case Check.BORN_LONG_AGO:
            return F.year(extracted) - F.col("year_of_birth") > F.lit(rule.years)
        case Check.END_BEFORE_START:
            return F.date_add(F.col("end_date"), rule.tolerance_days) < start
        case Check.DAY_NOT_BELIEVED:
            return F.col(HAS_OTHER_DAY)


def _last(side: str, target: Target) -> Column:
    """The later of the day and the day of the moment at which a row starts or ends: either would be published.

    The midnight at which a day ends is of that day: hospitals write it as 24:00.
    """
    day = _DAY_FIELDS[target] if side == "start" else "end_date"
    moment = day.replace("date", "datetime")
    if moment not in FIELDS[target]:
        return F.col(day)
    second_before = F.timestamp_seconds(F.unix_timestamp(F.col(moment)) - 1)
    return F.greatest(F.col(day), second_before.cast("date"))


def _is_lost(check: ValueCheck) -> Column:
    """Whether a value has a number that was not read, or is another one. A number alone was left out on purpose."""
    text, has_none = F.trim("value_source_value"), F.col("value_as_number").isNull()
    if check is ValueCheck.NUMBERS_DIFFER:
        return F.when(text.rlike(PLAIN_NUMBER), text.try_cast("double") != F.col("value_as_number"))
    begins = has_none & text.rlike(_BEGINS_WITH_NUMBER)
    if check is ValueCheck.UNIT_UNCLEAR:
        return F.when(begins, F.regexp_extract(text, RESULT_PATTERN, 2) != "")
    has_meaning = F.col("value_code").isNotNull() | F.col("value_concept_id").isNotNull()
    return F.when(begins & ~has_meaning, ~text.rlike(RESULT_PATTERN))


def _is_of(rule: UnitRule) -> Column:
    return F.lower("unit_code").isin(*[code.casefold() for code in rule.codes])


def _is_outside(value: Column, rule: BoundedRule) -> Column:
    below = F.lit(False) if rule.least is None else value < F.lit(rule.least)
    above = F.lit(False) if rule.most is None else value > F.lit(rule.most)
    return below | above


def sound(rows: DataFrame) -> DataFrame:
    """The mapped rows that no rule sets aside: the only ones that OMOP is made from."""
    return rows.where(F.col("_set_aside").isNull())


def set_aside_rows(frames: Iterable[DataFrame]) -> DataFrame:
    """The mapped rows of some tables that a rule sets aside (LEFT_OUT_ROWS_SCHEMA)."""
    names = ("_source", "_entity", "_rule", "_row_key", "person_id", "_set_aside")
    rows = union_all([frame.select(*names) for frame in frames]).where(F.col("_set_aside").isNotNull())
    return left_out_rows(rows, F.concat(F.lit(IMPLAUSIBLE), F.col("_set_aside")))


def flagged_counts(frames: Iterable[DataFrame]) -> DataFrame:
    """How many mapped rows of some tables are published although a rule flags them: source, entity, rule, reason, rows."""
    names = ("_source", "_entity", "_rule", "_flagged")
    rows = union_all([sound(frame).select(*names) for frame in frames]).where(F.col("_flagged").isNotNull())
    columns = {name: F.col(f"_{name}") for name in ("source", "entity", "rule")}
    columns |= {"reason": F.concat(F.lit(IMPLAUSIBLE), F.col("_flagged"))}
    named = rows.select(*[column.alias(name) for name, column in columns.items()])
    return named.groupBy(*columns).agg(F.count(F.lit(1)).alias("rows"))
