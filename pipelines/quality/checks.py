"""What must hold for a table before it may be released: checks derived from the contracts, none typed by hand.

A check is data. `measure` counts the rows that break it, `gates` decides what that means for the release.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final

from pipelines.contracts.cdm import OPTIONAL_PROVENANCE, CdmTable, delta_schema, provenance_columns
from pipelines.contracts.source import WITHHELD, Entity, SourceContract, Subject

MAX_ID: Final = 2**53 - 1
"""The greatest identifier that R and JavaScript read exactly."""

PERIOD_TOLERANCE: Final = 0.01
"""Share of rows that may end before they start, as delivered: facts are not edited to pass a check. OHDSI's own limit."""


DESCRIPTIVE: Final = ("cdm_source", "metadata")
"""Tables about the database and not about people: they state digests, whose digits may look like a number."""

HASHED: Final = ("provider_source_value",)
"""Text columns that hold a keyed hash."""


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
    """The start is not after the end, where both are known."""
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
    QUARANTINED = "quarantined_share"
    """Not too many delivered rows of the entity were quarantined."""
    ORPHANS = "orphan_share"
    """Not too many rows refer to a row that is missing; the table is the entity's, or that with `@` and the provider."""
    UNMATCHED = "unmatched_opt_outs"
    """Enough entries of the opt-out lists match somebody who has been delivered."""
    UNREADABLE = "unreadable_share"
    """Not too many values that a provider gave of a column could not be read; the table is the entity's, `@`, the provider."""
    UNTAKEN = "untaken_share"
    """Not many more rows of the entity than in the current release are taken by no mapping rule."""
    MAPPED = "mapped_share"
    """Enough coded rows of the source have a standard concept; counted are the rows that have none."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule on one table, or on one column of it.

    `argument` is what the rule needs besides: a length, the other column, the table pointed to, a domain or a class.
    `tolerance` is the share of rows that may break it. `column` may name several, separated by commas, for a key.
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
        """The columns that the check reads."""
        names = self.column.split(",") if self.column else []
        return (*names, self.argument) if self.rule is Rule.PERIOD else tuple(names)

    def __str__(self) -> str:
        """The check as a message names it."""
        return f"{self.rule} on {self.zone}.{self.table}" + (f".{self.column}" if self.column else "")


LINE_COLUMNS: Final = ("_load_id", "_file", "_line")
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
    identifying = [name for name, column in entity.columns.items() if column.identifier is not None]
    yield Check(Zone.SILVER, table, Rule.NO_IDENTIFIER, argument=",".join(identifying))
    for column in ("row_key", "provider_code", *LINE_COLUMNS):
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


def omop_checks(table: CdmTable) -> Iterator[Check]:
    """Checks of one CDM table: columns, keys, required fields, lengths, periods, links and concepts.

    Of a vocabulary table only columns and key are checked: its content is checked when it is loaded.
    """
    schema = table.schema if table.is_vocabulary else delta_schema(table)
    yield Check(Zone.OMOP, table.name, Rule.EXISTS)
    yield Check(Zone.OMOP, table.name, Rule.COLUMNS, argument=",".join(f"{n} {t}" for n, t in schema.items()))
    if table.primary_key:
        yield Check(Zone.OMOP, table.name, Rule.REQUIRED, table.primary_key)
        yield Check(Zone.OMOP, table.name, Rule.UNIQUE, table.primary_key)
    if not table.is_vocabulary:
        yield from _row_checks(table)
        yield from _link_checks(table)


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
