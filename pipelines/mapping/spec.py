"""The mapping language: declares how a silver entity becomes an OMOP target.

A rule reads rows of one silver entity, may join rows of others, keeps those that satisfy its conditions, and declares for
every target field whether it is a `copy`, a `constant` (with a note), a `concept` or a registered `expression`.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from pipelines.contracts.evidence import Evidence
from pipelines.contracts.model_files import faulty, read_model
from pipelines.contracts.models import Frozen
from pipelines.contracts.source import SourceContract
from pipelines.errors import ContractError
from pipelines.mapping.expressions import EXPRESSIONS


class Target(StrEnum):
    """What a rule makes. `event` rows go to the stem table; every other target is the table of its name."""

    PERSON = "person"
    DEATH = "death"
    VISIT = "visit"
    VISIT_DETAIL = "visit_detail"
    EVENT = "event"
    OBSERVATION_PERIOD = "observation_period"
    PROVIDER = "provider"
    CARE_SITE = "care_site"
    EPISODE = "episode"
    VISIT_TIMING = "visit_timing"


MOMENTS = (
    *("call_connected", "clock_started", "call_coded", "vehicle_allocated", "vehicle_mobile", "at_scene", "left_scene"),
    *("at_destination", "handed_over", "vehicle_clear"),
    *("arrived", "assessed", "seen", "decided_to_admit", "departed"),
)
"""Milestones of a visit that a source has the moment of: of an ambulance contact, then of an emergency attendance."""

EXPECTED_DAYS = ("discharge_estimated", "discharge_planned")
"""Milestones of a visit that a source has an expected day of, which may be in the future."""

_VISIT_FIELDS = {
    "key": "string",
    "concept": "concept",
    "start_date": "date",
    "start_datetime": "timestamp",
    "end_date": "date",
    "end_datetime": "timestamp",
    "open_until": "date",
    "type_concept_id": "bigint",
    "care_site_code": "string",
    "provider_key": "string",
    "admitted_from": "concept",
    "discharged_to": "concept",
    "preceding_key": "string",
    "source_value": "string",
    "order": "bigint",
}

FIELDS: dict[Target, dict[str, str]] = {
    Target.PERSON: {
        "gender": "concept",
        "race": "concept",
        "ethnicity": "concept",
        "year_of_birth": "bigint",
        "month_of_birth": "bigint",
        "postcode_area": "string",
        "care_site_code": "string",
        "order": "bigint",
        "recorded_on": "date",
    },
    Target.DEATH: {
        "death_date": "date",
        "death_datetime": "timestamp",
        "type_concept_id": "bigint",
        "cause": "concept",
        "recorded_on": "date",
    },
    Target.VISIT: _VISIT_FIELDS
    | {
        "encounter_key": "string",
        "episode_key": "string",
        "came_by": "string",
        "patient_classification": "string",
        "conveyed": "boolean",
        "destination_code": "string",
    },
    Target.VISIT_DETAIL: _VISIT_FIELDS | {"visit_key": "string"},
    Target.EVENT: {
        "key": "string",
        "concept": "concept",
        "start_date": "date",
        "start_datetime": "timestamp",
        "end_date": "date",
        "end_datetime": "timestamp",
        "verbatim_end_date": "date",
        "type_concept_id": "bigint",
        "source_value": "string",
        "visit_key": "string",
        "visit_detail_key": "string",
        "provider_key": "string",
        "status": "concept",
        "value_as_number": "double",
        "value_as_string": "string",
        "value": "concept",
        "value_source_value": "string",
        "operator": "concept",
        "unit": "concept",
        "range_low": "double",
        "range_high": "double",
        "quantity": "double",
        "days_supply": "bigint",
        "refills": "bigint",
        "sig": "string",
        "prescribed_days": "bigint",
        "order_key": "string",
        "route": "concept",
        "dose_unit_source_value": "string",
        "stop_reason": "string",
        "modifier": "concept",
        "episode_key": "string",
        "specimen_key": "string",
        "date_precision": "string",
        "end_date_precision": "string",
        "recorder": "string",
    },
    Target.OBSERVATION_PERIOD: {"start_date": "date", "end_date": "date", "type_concept_id": "bigint"},
    Target.PROVIDER: {"specialty": "concept", "care_site_code": "string"},
    Target.CARE_SITE: {
        "care_site_code": "string",
        "care_site_name": "string",
        "place_of_service": "concept",
        "postcode_area": "string",
    },
    Target.EPISODE: {
        "key": "string",
        "concept": "concept",
        "object": "concept",
        "start_date": "date",
        "start_datetime": "timestamp",
        "end_date": "date",
        "end_datetime": "timestamp",
        "open_until": "date",
        "type_concept_id": "bigint",
        "source_value": "string",
    },
    Target.VISIT_TIMING: {"visit_key": "string", "priority": "string"}
    | dict.fromkeys(MOMENTS, "timestamp")
    | dict.fromkeys(EXPECTED_DAYS, "date"),
}
"""Fields of each target and their Spark type; `concept` fields have a vocabulary and a code, which the concept map resolves."""

REQUIRED: dict[Target, tuple[str, ...]] = {
    Target.PERSON: (),
    Target.DEATH: ("death_date", "type_concept_id"),
    Target.VISIT: ("concept", "start_date", "type_concept_id"),
    Target.VISIT_DETAIL: ("concept", "start_date", "type_concept_id", "visit_key"),
    Target.EVENT: ("concept", "start_date", "type_concept_id"),
    Target.OBSERVATION_PERIOD: ("start_date", "type_concept_id"),
    Target.PROVIDER: (),
    Target.CARE_SITE: ("care_site_code",),
    Target.EPISODE: ("concept", "start_date", "type_concept_id"),
    Target.VISIT_TIMING: ("visit_key",),
}

EVENT_DOMAINS = ("Condition", "Drug", "Procedure", "Measurement", "Observation", "Device", "Specimen")


class VocabularyBy(Frozen):
    """A vocabulary that depends on the coding scheme in `column`; `values` gives the vocabulary by delivered scheme code."""

    column: str
    values: dict[str, str]


class Code(Frozen):
    """One candidate for a concept: the code in `column`, or the fixed `code`, in a vocabulary.

    With `pattern` (a regular expression that all engines support) only matching codes are a candidate, because one delivered
    column may contain codes of several vocabularies. With `part_of` the code is what this registered expression finds in the
    column, such as the unit behind a number.
    """

    column: str | None = None
    part_of: str | None = None
    code: str | None = None
    vocabulary: str | VocabularyBy
    pattern: str | None = None

    @model_validator(mode="after")
    def one_origin(self) -> Self:
        """Refuse a candidate with both a column and a fixed code, or with neither."""
        if (self.column is None) == (self.code is None):
            raise ValueError("give one of column or code")
        if self.part_of is not None and (self.column is None or self.part_of not in EXPRESSIONS):
            raise ValueError(f"part_of: an expression, of a column; known: {', '.join(sorted(EXPRESSIONS))}")
        return self


class FieldRule(Frozen):
    """How one target field is filled: exactly one of copy, constant, concept and expression.

    `concept` lists candidates; the first with a code is used. `constant` needs a note with its reason. `of` lists candidates
    for the delivered code that a constant concept was made of: they give the source concept. `args` of an expression are
    columns by parameter name, `options` are fixed values.
    """

    copy_: str | None = Field(default=None, alias="copy")
    constant: int | float | str | bool | None = None
    of: tuple[Code, ...] | None = None
    concept: tuple[Code, ...] | None = None
    expression: str | None = None
    args: dict[str, str] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    note: str = ""

    @model_validator(mode="after")
    def one_way(self) -> Self:
        """Refuse a field with none or several of the four, and a constant without a note."""
        ways = [way for way in (self.copy_, self.constant, self.concept, self.expression) if way is not None]
        if len(ways) != 1:
            raise ValueError("give exactly one of copy, constant, concept or expression")
        if self.constant is not None and not self.note:
            raise ValueError("a constant needs a note")
        if self.of is not None and self.constant is None:
            raise ValueError("only a constant is of a code")
        if self.expression is not None and self.expression not in EXPRESSIONS:
            raise ValueError(f"unknown expression; known: {', '.join(sorted(EXPRESSIONS))}")
        return self

    @property
    def codes(self) -> tuple[Code, ...]:
        """The candidates for the delivered code."""
        return self.concept or self.of or ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that this rule reads."""
        names = [self.copy_] if self.copy_ else []
        for code in self.codes:
            names += [code.column] if code.column else []
            names += [code.vocabulary.column] if isinstance(code.vocabulary, VocabularyBy) else []
        return tuple(names + list(self.args.values()))


class Condition(Frozen):
    """A row is kept if the condition is true; otherwise it is counted under `reason`.

    The value tested is a column or a registered expression, with `args` and `options` as in a field.
    `in`: the value is in the list. `not_in`: the value is not in the list. An empty value is in a list that has `""`, no other.
    Values are compared as text, trimmed, ignoring case, blanks and dashes; dates as `2026-01-31`, booleans as `true`.
    `present`: there is a value (true) or there is none (false).
    A row with an unreadable value in a column that the condition looks at is left out for that, unless the condition holds
    `despite_unreadable` values: where it asks several columns, of which one that cannot be read only says nothing.
    """

    column: str | None = None
    expression: str | None = None
    args: dict[str, str] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    in_: tuple[str, ...] | None = Field(default=None, alias="in")
    not_in: tuple[str, ...] | None = None
    present: bool | None = None
    despite_unreadable: bool = False
    reason: str

    @model_validator(mode="after")
    def one_test(self) -> Self:
        """Refuse a condition with none or several tests, and one without a value to test."""
        if sum(test is not None for test in (self.in_, self.not_in, self.present)) != 1:
            raise ValueError("give exactly one of in, not_in or present")
        if (self.column is None) == (self.expression is None):
            raise ValueError("give one of column or expression")
        if self.expression is not None and self.expression not in EXPRESSIONS:
            raise ValueError(f"unknown expression; known: {', '.join(sorted(EXPRESSIONS))}")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that this condition reads."""
        return (self.column,) if self.column is not None else tuple(self.args.values())

    @property
    def selects(self) -> bool:
        """Whether the rule chooses rows by what is there; otherwise it refuses rows by what is there."""
        return self.in_ is not None or self.present is True


class EvidenceBy(Frozen):
    """A grade of evidence that a column decides: `values` gives it by delivered value, `present` for any other value.

    Values are compared as in a condition. Where neither applies, the next candidate decides.
    """

    column: str
    values: dict[str, Evidence] = Field(default_factory=dict)
    present: Evidence | None = None

    @model_validator(mode="after")
    def decides(self) -> Self:
        """Refuse a candidate that never applies."""
        if not self.values and self.present is None:
            raise ValueError("give values or present")
        return self


class Lookup(Frozen):
    """A left join to another silver entity of the source, whose `row_key` equals our column `on`.

    `on` may also be a column of an earlier lookup (`alias.column`). With `by` the other row is one that names us: its reference
    `by` equals `on`. Of several such rows that with the least row key is looked up, always the same one; one whose columns
    `empty_first` are all empty comes before any other. `without` gives by column the values, compared as in a condition, of
    rows that are none of what the entity is said to have: they are not looked up.
    """

    entity: str
    on: str
    by: str = "row_key"
    empty_first: tuple[str, ...] = ()
    without: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def chooses_among_several(self) -> Self:
        """Refuse a choice among the rows of a lookup that finds one."""
        if self.empty_first and not self.is_by_reference:
            raise ValueError("empty_first: only one of several rows is chosen, which `by` finds")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the entity that decide which of its rows is looked up."""
        return (*self.without, *self.empty_first)

    @property
    def is_by_reference(self) -> bool:
        """Whether the row is found by its reference to us, and not by its own key."""
        return self.by != "row_key"


class ValueOf(Frozen):
    """The concept, with a note, that codes are the value of, unless their own is of one of these domains: those say it all."""

    concept: int
    note: str
    unless: tuple[str, ...] = Field(min_length=1)

    @field_validator("unless")
    @classmethod
    def domains_are_known(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse a domain that no event has."""
        if unknown := sorted(set(domains) - set(EVENT_DOMAINS)):
            raise ValueError(f"{', '.join(unknown)}: expected {', '.join(EVENT_DOMAINS)}")
        return domains


class Rule(Frozen):
    """One mapping rule. `name` is unique over all sources and is in the provenance of every row that the rule makes.

    `domain` is the domain of an event while its code has no standard concept. `group` merges rows with the same `key`
    into one (a spell from its episodes): the earliest start, the latest end, other fields from the first row by `order`,
    `discharged_to` from the last. Of events with the same `key` and person (a specimen from its results) the first by start
    and row key is kept; the id is made from the `key`, so it does not depend on which row is first.

    `value_of` is for rules whose codes say it all or else name what it is about (an allergy, or a medicine): a code of the
    second kind is the value of a concept, which is of `domain`.

    `evidence` says how the events are known: one grade, or candidates of which the first that applies decides and the last is
    a grade.
    """

    name: str
    from_: str = Field(alias="from")
    lookups: dict[str, Lookup] = Field(default_factory=dict, alias="with")
    where: tuple[Condition, ...] = ()
    to: Target
    domain: str | None = None
    value_of: ValueOf | None = None
    evidence: Evidence | tuple[EvidenceBy | Evidence, ...] | None = None
    group: bool = False
    note: str = ""
    fields: dict[str, FieldRule]

    @model_validator(mode="after")
    def fields_fit_target(self) -> Self:
        """Refuse fields that the target lacks, needs or has in another form; the error lists all of them."""
        known = FIELDS[self.to]
        faults = [f"{field}: {self.to} has no such field" for field in self.fields if field not in known]
        faults += [f"{field}: required for {self.to}" for field in REQUIRED[self.to] if field not in self.fields]
        for field, rule in self.fields.items():
            is_concept = known.get(field) == "concept"
            if is_concept and rule.concept is None and not isinstance(rule.constant, int) and rule.expression is None:
                faults.append(f"{field}: needs a concept, an expression or a constant concept id")
            if not is_concept and rule.concept is not None:
                faults.append(f"{field}: is not a concept field")
            if rule.of is not None and (self.to, field) != (Target.EVENT, "concept"):
                faults.append(f"{field}: only the concept of an event has a source concept of its own")
        if self.to is Target.EVENT and self.domain not in EVENT_DOMAINS:
            faults.append(f"domain: expected one of {', '.join(EVENT_DOMAINS)}")
        if self.to is not Target.EVENT and self.value_of is not None:
            faults.append("value_of: only events have values")
        if self.to is Target.EVENT and self.group != ("key" in self.fields):
            faults.append("key: events have a key if, and only if, the rule groups them")
        if (self.to is Target.EVENT) != bool(self.grades):
            faults.append("evidence: required for events, and for them only")
        if self.grades and [place for place in self.grades if isinstance(place, Evidence)] != [self.grades[-1]]:
            faults.append("evidence: the last candidate, and no other, is a grade by itself")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def grades(self) -> tuple[EvidenceBy | Evidence, ...]:
        """The candidates for the grade of evidence, the last of which always applies; none if the rule makes no events."""
        if self.evidence is None:
            return ()
        return (self.evidence,) if isinstance(self.evidence, Evidence) else self.evidence

    @property
    def evidence_columns(self) -> tuple[str, ...]:
        """Every column that decides a grade of evidence."""
        return tuple(grade.column for grade in self.grades if isinstance(grade, EvidenceBy))


class Mapping(Frozen):
    """All rules of one source. `unread` gives for entities that no rule is meant to read the reason, in one word."""

    source: str
    unread: dict[str, str] = Field(default_factory=dict)
    rules: tuple[Rule, ...]

    def faults(self, contract: SourceContract) -> list[str]:
        """A message for every name in the mapping that the contract does not have or that means two things."""
        faults = [fault for rule in self.rules for fault in _rule_faults(rule, contract)]
        read = {rule.from_ for rule in self.rules}
        faults += [f"unread.{name}: no entity {name}" for name in self.unread if name not in contract.entities]
        faults += [f"unread.{name}: a rule reads it" for name in self.unread if name in read]
        return [*faults, *_ambiguous_lookups(self.rules)]

    @property
    def vocabularies(self) -> frozenset[str]:
        """The vocabularies of all codes in the rules."""
        codes = [code for rule in self.rules for how in rule.fields.values() for code in how.codes]
        by_column = [code.vocabulary.values.values() for code in codes if isinstance(code.vocabulary, VocabularyBy)]
        fixed = {code.vocabulary for code in codes if isinstance(code.vocabulary, str)}
        return frozenset(fixed.union(*by_column))

    @property
    def columns_read(self) -> dict[str, frozenset[str]]:
        """The silver columns that rules read, by entity."""
        read: dict[str, set[str]] = {}
        for rule in self.rules:
            entities = {alias: lookup.entity for alias, lookup in rule.lookups.items()}
            names = [lookup.on for lookup in rule.lookups.values()]
            names += [column for condition in rule.where for column in condition.columns]
            names += [name for how in rule.fields.values() for name in how.columns]
            names += rule.evidence_columns
            names += [f"{alias}.{column}" for alias, lookup in rule.lookups.items() for column in lookup.columns]
            names += [f"{alias}.{lookup.by}" for alias, lookup in rule.lookups.items() if lookup.is_by_reference]
            for name in names:
                alias, _, column = name.rpartition(".")
                read.setdefault(entities[alias] if alias else rule.from_, set()).add(column)
        return {entity: frozenset(columns) for entity, columns in read.items()}

    def unread_columns(self, contract: SourceContract) -> dict[str, tuple[str, ...]]:
        """The delivered columns of each entity that silver keeps and that neither a rule reads nor curate uses."""
        read = self.columns_read
        used = {name: entity.used_columns | read.get(name, frozenset()) for name, entity in contract.entities.items()}
        return {
            name: tuple(column for column in entity.kept if column not in used[name])
            for name, entity in contract.entities.items()
        }


def _ambiguous_lookups(rules: Iterable[Rule]) -> Iterator[str]:
    """Names by which two rules that read one entity look up different rows; all its rules are asked in one scan."""
    named: dict[tuple[str, str], Lookup] = {}
    for rule in rules:
        for alias, lookup in rule.lookups.items():
            if named.setdefault((rule.from_, alias), lookup) != lookup:
                yield f"{rule.name}.with.{alias}: in another rule from {rule.from_} this name is of another lookup"


def _rule_faults(rule: Rule, contract: SourceContract) -> list[str]:
    if rule.from_ not in contract.entities:
        return [f"{rule.name}.from: no entity {rule.from_}"]
    visible = set(contract.entities[rule.from_].silver_columns)
    faults = []
    for alias, lookup in rule.lookups.items():
        if lookup.on not in visible:
            faults.append(f"{rule.name}.with.{alias}.on: no silver column {lookup.on}")
        if lookup.entity not in contract.entities:
            faults.append(f"{rule.name}.with.{alias}.entity: no entity {lookup.entity}")
            continue
        if lookup.is_by_reference and lookup.by not in contract.entities[lookup.entity].references:
            faults.append(f"{rule.name}.with.{alias}.by: {lookup.entity} has no reference {lookup.by}")
        visible |= {f"{alias}.{column}" for column in contract.entities[lookup.entity].silver_columns}
    used = [(f"where.{condition.reason}", column) for condition in rule.where for column in condition.columns]
    used += [(f"fields.{field}", column) for field, how in rule.fields.items() for column in how.columns]
    used += [("evidence", column) for column in rule.evidence_columns]
    for alias, lookup in rule.lookups.items():
        used += [(f"with.{alias}.without", f"{alias}.{column}") for column in lookup.without]
        used += [(f"with.{alias}.empty_first", f"{alias}.{column}") for column in lookup.empty_first]
    return faults + [f"{rule.name}.{where}: no silver column {column}" for where, column in used if column not in visible]


def load_mapping(path: Path, contract: SourceContract) -> Mapping:
    """Read one mapping and check it against its contract. Raises ContractError, which lists every fault of the file."""
    where = f"{path.parent.name}/{path.name}"
    mapping = read_model(path, Mapping, where)
    faults = mapping.faults(contract)
    if mapping.source != contract.source:
        faults.append(f"source: expected {contract.source}")
    if faults:
        raise faulty(where, faults)
    return mapping


def load_mappings(mappings_dir: Path, contracts: dict[str, SourceContract]) -> dict[str, Mapping]:
    """The mapping of each source that has a contract, by source name.

    Raises ContractError if a mapping is missing, has faults, or two rules share a name.
    """
    mappings = {name: load_mapping(mappings_dir / name / "mapping.yaml", contract) for name, contract in contracts.items()}
    names = [rule.name for mapping in mappings.values() for rule in mapping.rules]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ContractError(f"mapping rules with the same name: {', '.join(repeated)}")
    return mappings
