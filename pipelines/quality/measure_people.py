"""Counts of checks that compare the rows of a table with the life, the gender and the visits of their people."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.quality.checks import BIRTH, Check, Rule
from pipelines.quality.counting import Positions, TableKey, Tables, counts, number, omop, table_of, violations

LIFE_RULES: Final = (Rule.AFTER, Rule.AFTER_BIRTH, Rule.BEFORE_DEATH)
GENDER_RULES: Final = (Rule.GENDER, Rule.GENDER_BELOW)
PEOPLE_RULES: Final = (*LIFE_RULES, *GENDER_RULES, Rule.WITHIN_VISIT, Rule.PERSONS, Rule.ERAS, Rule.NO_OVERLAP)

PERSON, DEATH, VISIT, PERIOD, CONDITION = (
    omop(name) for name in ("person", "death", "visit_occurrence", "observation_period", "condition_occurrence")
)
_ANCESTOR: Final = omop("concept_ancestor")

Counters = Callable[[Column], tuple[Column, Column]]
"""What is counted of a date for a rule: the rows, and those that break it."""

DAYS_AFTER_DEATH: Final = 60
"""Days after death on which something may still be recorded."""

DAYS_ABOUT_VISIT: Final = 7
"""Days before and after a visit on which something of it may be recorded."""


def needs_people(check: Check) -> bool:
    """Whether the check compares its rows with people or their visits."""
    return check.rule in PEOPLE_RULES and (check.rule is not Rule.AFTER or check.argument == BIRTH)


def people_counts(checks: Sequence[Check], positions: Positions, tables: Tables) -> Iterator[DataFrame]:
    """Counts of the checks for which `needs_people` holds; the tables of people, death and visits are read where they are."""
    by_rule = {rule: [check for check in checks if check.rule is rule] for rule in PEOPLE_RULES}
    lives = [check for rule in LIFE_RULES for check in by_rule[rule]]
    if lives and PERSON in tables:
        yield _in_life(lives, positions, tables)
    if by_rule[Rule.WITHIN_VISIT] and VISIT in tables:
        yield _in_visits(by_rule[Rule.WITHIN_VISIT], positions, tables)
    whole = [check for rule in (Rule.PERSONS, Rule.ERAS, Rule.NO_OVERLAP) for check in by_rule[rule]]
    if whole and PERSON in tables:
        yield _by_person(whole, positions, tables)
    for check in by_rule[Rule.NO_OVERLAP]:
        yield _overlapping(tables[PERIOD], positions[check])
    genders = [check for rule in GENDER_RULES for check in by_rule[rule]]
    if genders and PERSON in tables:
        yield _of_other_gender(genders, positions, tables)


@dataclass(frozen=True)
class _Days:
    """The dates of some tables side by side: the tables are united, each with its dates in the columns `_day0`, `_day1`, ...

    So they are joined and counted once, and not table by table.
    """

    fields: Mapping[TableKey, tuple[str, ...]]

    @classmethod
    def of(cls, checks: Sequence[Check]) -> "_Days":
        """The dates that the checks are about."""
        fields: dict[TableKey, dict[str, None]] = {}
        for check in checks:
            fields.setdefault(table_of(check), {})[check.column] = None
        return cls({key: tuple(names) for key, names in fields.items()})

    @property
    def width(self) -> int:
        """The greatest number of dates of a table."""
        return max(len(names) for names in self.fields.values())

    def rows(self, tables: Tables, link: str) -> DataFrame:
        """The rows of all tables: `of` says of which, `link` is the row that they are joined to."""
        frames = []
        for of, (key, names) in enumerate(self.fields.items()):
            days = [F.col(name).cast("date") for name in names]
            days += [F.lit(None).cast("date")] * (self.width - len(days))
            frames.append(
                tables[key].select(number(of, "of"), link, *[day.alias(f"_day{place}") for place, day in enumerate(days)])
            )
        return union_all(frames)

    def counted(self, rows: DataFrame, rules: Mapping[Rule, Counters], positions: Positions) -> DataFrame:
        """Counts of the checks of some rules on the joined `rows`."""
        pairs = {
            (place, rule): counters(F.col(f"_day{place}")) for place in range(self.width) for rule, counters in rules.items()
        }
        grouped = rows.groupBy("of").agg(
            *[
                column.alias(f"_{kind}{entry}")
                for entry, pair in enumerate(pairs.values())
                for kind, column in zip(("rows", "violations"), pair, strict=True)
            ]
        )
        entries = F.array(
            *[
                F.struct(F.col(f"_rows{entry}").alias("rows"), F.col(f"_violations{entry}").alias("violations"))
                for entry in range(len(pairs))
            ]
        )
        found = grouped.select("of", F.posexplode(entries).alias("entry", "count"))
        tables, numbers = list(self.fields), list(pairs)
        asked = rows.sparkSession.createDataFrame(
            [
                (
                    tables.index(table_of(check)),
                    numbers.index((self.fields[table_of(check)].index(check.column), check.rule)),
                    position,
                )
                for check, position in positions.items()
            ],
            "of int, entry int, position int",
        )
        return counts(
            found.join(F.broadcast(asked), on=["of", "entry"], how="inner").select(
                "position", F.col("count.rows").alias("rows"), F.col("count.violations").alias("violations")
            )
        )


def _in_life(checks: Sequence[Check], positions: Positions, tables: Tables) -> DataFrame:
    """Rows dated before the birth or after the death of their person."""
    people = tables[PERSON].select("person_id", _birth(1).alias("_birth"), _birth(6).alias("_june"))
    if DEATH in tables:
        deaths = tables[DEATH].select("person_id", F.date_add("death_date", DAYS_AFTER_DEATH).alias("_until"))
        people = people.join(deaths, on="person_id", how="left")
    else:
        people = people.withColumn("_until", F.lit(None).cast("date"))
    days = _Days.of(checks)
    rows = people.join(days.rows(tables, "person_id"), on="person_id", how="right")
    birth, june, until = F.col("_birth"), F.col("_june"), F.col("_until")
    rules: dict[Rule, Counters] = {
        Rule.AFTER: lambda day: (F.count(F.lit(1)), _number_where(day < june)),
        Rule.AFTER_BIRTH: lambda day: (F.count(day), _number_where(day < birth)),
        Rule.BEFORE_DEATH: lambda day: (_number_where(until.isNotNull() & day.isNotNull()), _number_where(day > until)),
    }
    return days.counted(rows, rules, {check: positions[check] for check in checks})


def _number_where(condition: Column) -> Column:
    return F.count(F.when(condition, F.lit(1)))


def _birth(month: int) -> Column:
    """The day of birth: where there is no moment, that of its year, month and day, or what is taken where these are not known.

    January: the first day that it can have been. June: 1 June of the year, whatever month is known.
    """
    parts: list[Column] = [F.lit(month), F.lit(1)]
    if month == 1:
        parts = [F.coalesce(F.col("month_of_birth"), F.lit(1)), F.coalesce(F.col("day_of_birth"), F.lit(1))]
    padded = [F.lpad(part.cast("string"), 2, "0") for part in parts]
    day = F.concat_ws("-", F.lpad(F.col("year_of_birth").cast("string"), 4, "0"), *padded).try_cast("date")
    return F.coalesce(F.col("birth_datetime").cast("date"), day)


def _in_visits(checks: Sequence[Check], positions: Positions, tables: Tables) -> DataFrame:
    """Rows dated long before or after their visit."""
    visits = tables[VISIT].select(
        "visit_occurrence_id",
        F.date_add("visit_start_date", -DAYS_ABOUT_VISIT).alias("_from"),
        F.date_add("visit_end_date", DAYS_ABOUT_VISIT).alias("_until"),
    )
    days = _Days.of(checks)
    rows = visits.join(days.rows(tables, "visit_occurrence_id"), on="visit_occurrence_id", how="inner")
    rules: dict[Rule, Counters] = {
        Rule.WITHIN_VISIT: lambda day: (F.count(F.lit(1)), _number_where((day < F.col("_from")) | (day > F.col("_until"))))
    }
    return days.counted(rows, rules, {check: positions[check] for check in checks})


def _by_person(checks: Sequence[Check], positions: Positions, tables: Tables) -> DataFrame:
    """People by the tables that have rows of them, from one grouping of all these tables by person.

    Every table is a bit of a number; so are people of the CDM, and mapped conditions.
    """
    bits = {key: 1 << n for n, key in enumerate(dict.fromkeys([PERSON, *map(table_of, checks)]))}
    mapped = 1 << len(bits)
    frames = [tables[key].select("person_id", F.lit(bit).alias("bits")) for key, bit in bits.items() if key in tables]
    if CONDITION in tables:
        frames.append(tables[CONDITION].where("condition_concept_id <> 0").select("person_id", F.lit(mapped).alias("bits")))
    people = union_all(frames).groupBy("person_id").agg(F.bit_or("bits").alias("bits"))
    of, lacks = {Rule.PERSONS: bits[PERSON], Rule.ERAS: mapped}, (Rule.PERSONS, Rule.ERAS)
    entries = []
    for check in checks:
        bit = bits[table_of(check)]
        is_counted = F.col("bits").bitwiseAND(of.get(check.rule, bit)) != 0
        is_lacking = is_counted & (F.col("bits").bitwiseAND(bit) == 0) if check.rule in lacks else F.lit(False)
        entries.append((positions[check], _number_where(is_counted), _number_where(is_lacking)))
    names = [(f"_rows{position}", f"_violations{position}") for position, _, _ in entries]
    counted = people.agg(
        *[
            column.alias(name)
            for pair, (_, *pairs) in zip(names, entries, strict=True)
            for name, column in zip(pair, pairs, strict=True)
        ]
    )
    found = [
        F.struct(number(position), F.col(rows).alias("rows"), F.col(broken).alias("violations"))
        for (position, _, _), (rows, broken) in zip(entries, names, strict=True)
    ]
    return counts(counted.select(F.explode(F.array(*found)).alias("entry")).select("entry.*"))


def _overlapping(periods: DataFrame, position: int) -> DataFrame:
    """People with two observation periods that overlap, or of which one ends the day before the other starts."""
    first = periods.select(
        "person_id",
        F.col("observation_period_id").alias("id"),
        F.col("observation_period_start_date").alias("start"),
        F.date_add("observation_period_end_date", 1).alias("end"),
    )
    other = first.select(*[F.col(name).alias(f"_{name}") for name in first.columns])
    touch = (
        (F.col("person_id") == F.col("_person_id"))
        & (F.col("id") < F.col("_id"))
        & (F.col("start") <= F.col("_end"))
        & (F.col("_start") <= F.col("end"))
    )
    people = first.join(other, on=touch, how="inner").agg(F.count_distinct("person_id").alias("n"))
    return violations(people.select(number(position), "n"))


def _of_other_gender(checks: Sequence[Check], positions: Positions, tables: Tables) -> DataFrame:
    """Rows of each concept, and those of people whose gender is not that which the concept is of."""
    fields = list(dict.fromkeys((table_of(check), check.columns[0]) for check in checks))
    session = tables[PERSON].sparkSession
    named = {
        rule: session.createDataFrame(
            [
                (fields.index((table_of(check), check.columns[0])), concept, positions[check], int(check.argument))
                for check in checks
                if check.rule is rule
                for concept in check.concepts[0]
            ],
            "of int, concept bigint, position int, gender bigint",
        )
        for rule in GENDER_RULES
    }
    wanted = named[Rule.GENDER]
    if _ANCESTOR in tables:
        below = tables[_ANCESTOR].select(
            F.col("ancestor_concept_id").alias("concept"), F.col("descendant_concept_id").alias("_descendant")
        )
        found = below.join(F.broadcast(named[Rule.GENDER_BELOW]), on="concept", how="inner")
        specific = found.select("of", F.col("_descendant").alias("concept"), "position", "gender").distinct()
        wanted = wanted.unionByName(specific)
    used = union_all(
        [
            tables[key].select(number(of, "of"), "person_id", F.col(name).alias("concept"))
            for of, (key, name) in enumerate(fields)
        ]
    )
    of_concepts = wanted.join(used, on=["of", "concept"], how="inner").select("person_id", "position", "gender")
    people = tables[PERSON].select("person_id", F.col("gender_concept_id").alias("_gender"))
    judged = people.join(of_concepts, on="person_id", how="inner")
    others = F.sum((F.col("_gender") != F.col("gender")).cast("int"))
    return counts(judged.groupBy("position").agg(F.sum(F.lit(1)).alias("rows"), others.alias("violations")))
