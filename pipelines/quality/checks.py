"""What must hold for a table before it may be released: checks derived from the contracts, none typed by hand.

A check is data. `measure` counts the rows that break it, `gates` decides what that means for the release.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final

from pipelines.contracts.cdm import OPTIONAL_PROVENANCE, CdmTable, cdm_tables, delta_schema, provenance_columns
from pipelines.contracts.source import LINE, LOAD, WITHHELD, Entity, SourceContract, Subject

MAX_ID: Final = 2**53 - 1
"""The greatest identifier that R and JavaScript read exactly."""

PERIOD_TOLERANCE: Final = 0.01
"""Share of rows that may end before they start, as delivered: facts are not edited to pass a check. OHDSI's own limit."""


DESCRIPTIVE: Final = ("cdm_source", "metadata")
"""Tables about the database and not about people: they state digests, whose digits may look like a number."""

NEVER_EMPTY: Final = ("cdm_source",)
"""Tables without which there is no release, however little a night has brought."""

EXPECTING: Final = ("visit_timing",)
"""Tables that hold days which somebody expected, and which may be in the future."""

HASHED: Final = ("provider_source_value",)
"""Text columns that hold a keyed hash."""


OF_SUITE: Final = ": "
"""Between the name of a suite and an expectation of it."""


class Zone(StrEnum):
    """Where a checked table lives. `run` holds what is checked on the ledger."""

    BRONZE = "bronze"
    SILVER = "silver"
    OMOP = "omop"
    RUN = "run"


class Severity(StrEnum):
    """Whether a broken check stops the release or is only reported."""

    ERROR = "error"
    WARN = "warn"


class Rule(StrEnum):
    """What a check asks."""

    EXISTS = "exists"
    """The table is there."""
    NOT_EMPTY = "not_empty"
    """The table has a row."""
    COLUMNS = "columns"
    """The columns are those of the contract; counted are the columns missing, of another type or too many."""
    NO_IDENTIFIER = "no_identifier"
    """No column of the table identifies a person; counted are the columns that do."""
    REQUIRED = "required"
    """The field has a value."""
    UNIQUE = "unique"
    """No two rows share the key; counted are all rows that do. A null key is the concern of `required`."""
    LENGTH = "length"
    """The text fits the length of the field."""
    ID_RANGE = "id_range"
    """The identifier lies between 1 and 2^53 - 1."""
    PERIOD = "start_before_end"
    """The start is not after the end; counted are the rows where both are known."""
    FUTURE = "not_in_future"
    """The day is not after the day of the run (`argument`); counted are the rows with a date."""
    LOW = "not_too_low"
    """The value or day is not below `argument`; counted are the rows with one. Of a concept and unit: `value_as_number`."""
    HIGH = "not_too_high"
    """The value is not above `argument`, likewise."""
    AFTER = "not_before"
    """The date is not before the field `argument`; where no day of birth is known, 1 June of the year is taken."""
    AFTER_BIRTH = "after_birth"
    """The day is not before birth, the first day that it can have been; counted are the rows with a date."""
    BEFORE_DEATH = "before_death"
    """The day is at most 60 days after death; counted are the rows with a date of people who died."""
    WITHIN_VISIT = "within_visit"
    """The day is at most 7 days before or after the visit of the row; counted are the rows whose visit is there."""
    NO_OVERLAP = "no_overlap"
    """No two observation periods of a person overlap or touch; counted are people with a period."""
    PERSONS = "persons_covered"
    """People have a row in the table; counted are all people, and those who have none."""
    ERAS = "eras_made"
    """People with a mapped condition have a condition era; counted are such people."""
    CONCEPT_GIVEN = "concept_given"
    """The concept is not 0; counted are rows with a concept. With `argument`, the source value of an optional concept, a row
    that has this value and no concept counts as one whose concept is 0."""
    SOURCE_CONCEPT_GIVEN = "source_concept_given"
    """The source concept is not 0; counted are rows that have one."""
    VALUES_MAPPED = "values_mapped"
    """No row of the source value has concept 0 (in the field `argument`); counted are different values, none being one."""
    UNIT = "plausible_unit"
    """The unit of the concept, where known, is among `argument` (-1: none); counted are rows whose unit is not 0."""
    GENDER = "plausible_gender"
    """The concept is of people of the gender `argument`; counted are the rows of the concept."""
    GENDER_BELOW = "plausible_gender_below"
    """The concepts with all that are more specific are of people of the gender `argument`."""
    CONTENTS = "contents"
    """No text of the row holds an NHS number, a postcode, a telephone number or an e-mail address."""
    WITHHELD = "withheld"
    """No value of the row was taken out because it identifies somebody."""
    POSTCODE_AREA = "postcode_area"
    """Nothing finer than the one or two letters of a postcode area."""
    FOREIGN_KEY = "foreign_key"
    """The row that the field points to is there."""
    CONCEPT = "concept_known"
    """The concept is 0 or in the vocabulary, local concepts included."""
    DOMAIN = "concept_domain"
    """The concept is of the domain that the field is for."""
    CONCEPT_CLASS = "concept_class"
    """The concept is of the class that the field is for."""
    STANDARD = "concept_standard"
    """The concept is standard and valid."""
    PEOPLE = "people"
    """There is anybody at all."""
    ROWS_LOST = "rows_lost"
    """A table, or a source over all tables, has not lost too many of the rows that it had in the release before."""
    PEOPLE_LOST = "people_lost"
    """A table has not lost too many of the people that it had rows of in the release before."""
    MONTHS_LOST = "months_lost"
    """No month of a source (the table) in a table of the CDM (the column) has collapsed; counted are months."""
    MAPPED_FELL = "mapped_share_fell"
    """Not too many fewer of the coded rows of a source have a standard concept than the share of the release before gives; the
    column is the vocabulary."""
    MEAN_MOVED = "mean_moved"
    """The mean of what the column names has not jumped; counted are the values."""
    EXTRACT_AGE = "extract_age"
    """The newest extract of a provider is young enough; the table is the source, `@` and the provider."""
    QUARANTINED = "quarantined_share"
    """Not too many delivered rows of the entity were quarantined."""
    ORPHANS = "orphan_share"
    """Not too many rows refer to a row that is missing; the table is the entity's, or that with `@` and the provider."""
    WITHDRAWN = "withdrawn_share"
    """Of the rows that belong to records which a provider has sent again, most came with them; the table is that of the entity,
    `@` and the provider."""
    UNMATCHED = "unmatched_opt_outs"
    """Enough entries of the opt-out lists match somebody who has been delivered."""
    UNREADABLE = "unreadable_share"
    """Not too many values that a provider gave of a column could not be read; the table is the entity's, `@`, the provider."""
    UNTAKEN = "untaken_share"
    """Not many more rows of the entity than in the current release are taken by no mapping rule."""
    MAPPED = "mapped_share"
    """Enough coded rows of the source have a standard concept; counted are the rows that have none."""
    EXPECTATION = "expectation"
    """An expectation of a suite that the team has added holds; the column is the suite, OF_SUITE and the expectation."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule on one table, or on one column of it.

    `argument` is what the rule needs besides: a length, a limit, the other column, the table pointed to, a domain or a class.
    `tolerance` is the share of rows that may break it. `column` may name several, separated by commas, for a key. With `=` and
    concepts, it is about the rows whose column holds one of them: `measurement_concept_id=3019550`.
    """

    zone: Zone
    table: str
    rule: Rule
    column: str = ""
    argument: str = ""
    tolerance: float = 0.0
    severity: Severity = Severity.ERROR

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that the check reads; those of an expectation are among its arguments."""
        if self.rule is Rule.EXPECTATION:
            return ()
        names = [part.partition("=")[0] for part in self.column.split(",")] if self.column else []
        if self.rule is Rule.UNIT:
            return (*names, "unit_concept_id")
        if self.concepts and self.rule in (Rule.LOW, Rule.HIGH):
            return (*names, "value_as_number")
        names_other = self.rule in OTHER_COLUMN_RULES and self.argument not in ("", BIRTH)
        return (*names, self.argument) if names_other else tuple(names)

    @property
    def concepts(self) -> tuple[tuple[int, ...], ...]:
        """The concepts that the check is about, by column; none where it is about all rows."""
        if self.rule is Rule.EXPECTATION:
            return ()
        return tuple(
            tuple(map(int, part.partition("=")[2].split())) for part in self.column.split(",") if part.partition("=")[1]
        )

    @property
    def dqd(self) -> tuple[str, ...]:
        """The checks of DataQualityDashboard that this one makes, by their names; none for a check of ours."""
        is_theirs = self.zone is Zone.OMOP and self.table in cdm_tables("5.4") and not self.column.startswith("_")
        return DQD_NAMES.get(self.rule, ()) if is_theirs else ()

    def __str__(self) -> str:
        """The check as a message names it."""
        return f"{self.rule} on {self.zone}.{self.table}" + (f".{self.column}" if self.column else "")


OTHER_COLUMN_RULES: Final = (Rule.PERIOD, Rule.AFTER, Rule.CONCEPT_GIVEN, Rule.VALUES_MAPPED)
"""Rules whose `argument` may be another column of the table."""

BIRTH: Final = "person.birth_datetime"
"""The argument of a check whose date must not be before birth."""

DQD_NAMES: Final[Mapping[Rule, tuple[str, ...]]] = {
    Rule.EXISTS: ("cdmTable",),
    Rule.COLUMNS: ("cdmField", "cdmDatatype"),
    Rule.REQUIRED: ("isRequired", "measureValueCompleteness"),
    Rule.UNIQUE: ("isPrimaryKey",),
    Rule.FOREIGN_KEY: ("isForeignKey",),
    Rule.CONCEPT: ("isForeignKey",),
    Rule.DOMAIN: ("fkDomain",),
    Rule.CONCEPT_CLASS: ("fkClass",),
    Rule.STANDARD: ("isStandardValidConcept",),
    Rule.PERIOD: ("plausibleStartBeforeEnd", "plausibleTemporalAfter"),
    Rule.FUTURE: ("plausibleValueHigh",),
    Rule.LOW: ("plausibleValueLow",),
    Rule.HIGH: ("plausibleValueHigh",),
    Rule.AFTER: ("plausibleTemporalAfter",),
    Rule.AFTER_BIRTH: ("plausibleAfterBirth",),
    Rule.BEFORE_DEATH: ("plausibleBeforeDeath", "plausibleDuringLife"),
    Rule.WITHIN_VISIT: ("withinVisitDates",),
    Rule.NO_OVERLAP: ("measureObservationPeriodOverlap",),
    Rule.PERSONS: ("measurePersonCompleteness",),
    Rule.ERAS: ("measureConditionEraCompleteness",),
    Rule.CONCEPT_GIVEN: ("standardConceptRecordCompleteness",),
    Rule.SOURCE_CONCEPT_GIVEN: ("sourceConceptRecordCompleteness",),
    Rule.VALUES_MAPPED: ("sourceValueCompleteness",),
    Rule.UNIT: ("plausibleUnitConceptIds",),
    Rule.GENDER: ("plausibleGender",),
    Rule.GENDER_BELOW: ("plausibleGenderUseDescendants",),
}
"""What DataQualityDashboard calls a rule on a table of the CDM. A second name is of a check that counts the same faults among
as many rows or more, so that it holds wherever the first does."""

LINE_COLUMNS: Final = (LOAD, *LINE)
"""Where a row was delivered: together unique in bronze."""


def bronze_checks(table: str, entity: Entity) -> Iterator[Check]:
    """Checks of one bronze table: the delivered columns are all there and every row knows its file and line."""
    yield Check(Zone.BRONZE, table, Rule.COLUMNS, argument=",".join([*entity.columns, *LINE_COLUMNS]))
    for column in LINE_COLUMNS:
        yield Check(Zone.BRONZE, table, Rule.REQUIRED, column)
    yield Check(Zone.BRONZE, table, Rule.UNIQUE, ",".join(LINE_COLUMNS))


def silver_checks(table: str, entity: Entity) -> Iterator[Check]:
    """Checks of one silver table: exactly the contract's columns, one row per key, a person on every row that is about one."""
    yield Check(Zone.SILVER, table, Rule.COLUMNS, argument=",".join(f"{n} {t}" for n, t in entity.silver_columns.items()))
    dropped = [name for name in entity.columns if name not in entity.kept]
    yield Check(Zone.SILVER, table, Rule.NO_IDENTIFIER, argument=",".join(dropped))
    for column in ("row_key", "provider_code", LOAD, "_file"):
        yield Check(Zone.SILVER, table, Rule.REQUIRED, column)
    if entity.subject != Subject() and entity.subject.shared is None:
        yield Check(Zone.SILVER, table, Rule.REQUIRED, "person_id")
    yield Check(Zone.SILVER, table, Rule.WITHHELD, WITHHELD, severity=Severity.WARN)
    yield Check(Zone.SILVER, table, Rule.UNIQUE, "row_key")
    yield Check(Zone.SILVER, table, Rule.ID_RANGE, "person_id")
    if "postcode_area" in entity.silver_columns:
        yield Check(Zone.SILVER, table, Rule.POSTCODE_AREA, "postcode_area")


@dataclass(frozen=True, slots=True)
class ConceptField:
    """What a concept field of the CDM may hold. An empty domain or class means any."""

    domain: str
    concept_class: str
    standard: bool


@cache
def concept_fields() -> dict[tuple[str, str], ConceptField]:
    """What OHDSI's conventions ask of concept fields, by table and field (`concept_fields.csv`)."""
    with files(__package__).joinpath("concept_fields.csv").open(encoding="utf-8") as lines:
        return {
            (row["table"], row["field"]): ConceptField(row["domain"], row["concept_class"], row["standard"] == "yes")
            for row in csv.DictReader(lines)
        }


def omop_checks(table: CdmTable, run_date: date) -> Iterator[Check]:
    """Checks of one CDM table: columns, keys, required fields, lengths, periods, days in the future, links and concepts.

    Of a vocabulary table only columns, key and periods are checked: its content is checked when it is loaded.
    """
    schema = table.schema if table.is_vocabulary else delta_schema(table)
    yield Check(Zone.OMOP, table.name, Rule.EXISTS)
    yield Check(Zone.OMOP, table.name, Rule.COLUMNS, argument=",".join(f"{n} {t}" for n, t in schema.items()))
    if table.primary_key:
        yield Check(Zone.OMOP, table.name, Rule.REQUIRED, table.primary_key)
        yield Check(Zone.OMOP, table.name, Rule.UNIQUE, table.primary_key)
    if table.is_vocabulary:
        for start, end in table.periods:
            yield Check(Zone.OMOP, table.name, Rule.PERIOD, start, end, severity=Severity.WARN)
        return
    if table.name in NEVER_EMPTY:
        yield Check(Zone.OMOP, table.name, Rule.NOT_EMPTY)
    yield from _row_checks(table)
    yield from _link_checks(table)
    # The midnight at which the day of the run ends is of that day: hospitals write it as 24:00.
    last = {"date": f"{run_date}", "timestamp": f"{run_date + timedelta(1)} 00:00:00"}
    for column in table.columns:
        if column.type in last and table.name not in EXPECTING:
            yield Check(Zone.OMOP, table.name, Rule.FUTURE, column.name, last[column.type])


def _row_checks(table: CdmTable) -> Iterator[Check]:
    for column in table.columns:
        if not column.nullable and column.name != table.primary_key:
            yield Check(Zone.OMOP, table.name, Rule.REQUIRED, column.name)
        if column.length and column.type == "string":
            yield Check(Zone.OMOP, table.name, Rule.LENGTH, column.name, str(column.length))
        is_id = column.name == table.primary_key or (column.references and not column.is_concept)
        if is_id and column.type == "bigint":
            yield Check(Zone.OMOP, table.name, Rule.ID_RANGE, column.name)
    texts = [column.name for column in table.columns if column.type == "string" and column.name not in HASHED]
    if texts and table.name not in DESCRIPTIVE:
        yield Check(Zone.OMOP, table.name, Rule.CONTENTS, ",".join(texts))
    tolerance = 0.0 if table.name == "observation_period" else PERIOD_TOLERANCE
    for start, end in table.periods:
        yield Check(Zone.OMOP, table.name, Rule.PERIOD, start, end, tolerance)
    for name in provenance_columns(table):
        if name not in OPTIONAL_PROVENANCE:
            yield Check(Zone.OMOP, table.name, Rule.REQUIRED, name)


def _link_checks(table: CdmTable) -> Iterator[Check]:
    for column in table.columns:
        if not column.references:
            continue
        if not column.is_concept:
            if column.type == "bigint":
                yield Check(Zone.OMOP, table.name, Rule.FOREIGN_KEY, column.name, ".".join(column.references))
            continue
        yield Check(Zone.OMOP, table.name, Rule.CONCEPT, column.name)
        expected = concept_fields().get((table.name, column.name), ConceptField("", "", False))
        if expected.domain:
            yield Check(Zone.OMOP, table.name, Rule.DOMAIN, column.name, expected.domain)
        if expected.concept_class:
            yield Check(Zone.OMOP, table.name, Rule.CONCEPT_CLASS, column.name, expected.concept_class)
        if expected.standard:
            yield Check(Zone.OMOP, table.name, Rule.STANDARD, column.name)


def contract_checks(zone: Zone, tables: Iterable[tuple[str, str]], contracts: Mapping[str, SourceContract]) -> Iterator[Check]:
    """Checks of the bronze or silver tables of the given (source, entity) pairs."""
    make = bronze_checks if zone is Zone.BRONZE else silver_checks
    for source, entity in tables:
        yield from make(f"{source}_{entity}", contracts[source].entities[entity])
