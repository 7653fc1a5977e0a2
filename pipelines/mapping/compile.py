"""Mapping rules compiled to DataFrames: silver rows of one entity in, rows of one target out, the rest counted by reason.

A rule is compiled in the order of its file: look up, check, fill. The checks are the conditions of the rule and what every
row of its target must have; the first check that fails gives the reason under which the row is counted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_, or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true, is_true
from pipelines.columns.text import is_one_of
from pipelines.contracts.evidence import Evidence
from pipelines.contracts.ledger import UNREADABLE
from pipelines.contracts.source import ColumnType, Identifier, SourceContract
from pipelines.mapping.expressions import BELIEVED_WHERE_NEAR, EXPRESSIONS, FIRST_KNOWN
from pipelines.mapping.spec import FIELDS, REQUIRED, Code, Condition, FieldRule, Lookup, Rule, Target, VocabularyBy
from vocab.codes import normalise

PERSON_BOUND = frozenset(Target) - {Target.PROVIDER, Target.CARE_SITE}
"""Targets whose rows belong to a person."""

PROVENANCE = {
    "_source": "string",
    "_entity": "string",
    "_rule": "string",
    "_row_key": "string",
    "person_id": "bigint",
    "_provider": "string",
}
"""What stands before the fields in every mapped row: where it came from, whose it is and which provider delivered it."""

JUDGEMENT = {"_extracted_on": "date", "_set_aside": "string", "_flagged": "string"}
"""What stands after the fields in every mapped row about a person: the day of the extract that delivered it last, and the first
plausibility rule that sets it aside or flags it (null: none)."""

FLAGS = "_flags"
"""The column of silver with the names of unreadable columns."""

END_UNREADABLE = "end_unreadable"
"""Whether an end was given of a visit and could not be read: then nobody can say that the person is still there."""

BIRTH_UNREADABLE = "birth_unreadable"
"""The name of the column whose date of birth was given of a person and could not be read."""

UNKNOWN_SCHEME = "unknown scheme "
"""What the vocabulary of a code begins with whose coding scheme no list has; the scheme follows, as delivered."""

NO_SCHEME = "(none)"
"""What follows where no scheme was delivered."""

EVIDENCE = "evidence"
"""The column of events with the grade of evidence (`Evidence`)."""

HAS_OTHER_DAY = "has_other_day"
"""Whether an event or a death has another day than was delivered, because its rule does not believe that."""

_OPEN_WITHOUT_END = (Target.OBSERVATION_PERIOD,)
"""Targets of which a missing end means that they last: an unreadable end leaves the row out."""

_VISITS = (Target.VISIT, Target.VISIT_DETAIL)

DATED_BY_RULE = {Target.EVENT: "start_date", Target.DEATH: "death_date"}
"""The targets whose day may be another one than was delivered, with its field."""

_DAY_OF = {"start_date": "start_datetime", "end_date": "end_datetime", "death_date": "death_datetime"}
"""The days that are those of a moment, where it is known: 24:00 is of the next day."""

_CONCEPT_PARTS = {"concept_id": "bigint", "vocabulary": "string", "code": "string", "source_value": "string"}
_PARTS_OF_CODE = ("vocabulary", "code", "source_value")
_TEXT_OF_DOUBLE = "decimal(28,8)"


def target_schema(target: Target) -> dict[str, str]:
    """Columns and Spark types of mapped rows of a target, before any concept is looked up.

    A concept field `f` gives `f_concept_id` (constants and expressions only), `f_vocabulary`, `f_code` (normalised) and
    `f_source_value` (as delivered).
    """
    schema = dict(PROVENANCE)
    for field, kind in FIELDS[target].items():
        schema |= {f"{field}_{part}": type_ for part, type_ in _CONCEPT_PARTS.items()} if kind == "concept" else {field: kind}
    schema |= {END_UNREADABLE: "boolean"} if target in _VISITS else {}
    schema |= {BIRTH_UNREADABLE: "string"} if target is Target.PERSON else {}
    schema |= {EVIDENCE: "string"} if target is Target.EVENT else {}
    return schema | (JUDGEMENT if target in PERSON_BOUND else {})


def kept_schema(target: Target) -> dict[str, str]:
    """Columns and Spark types of the rows that a rule keeps, before they are judged: with their file instead of a judgement."""
    schema = {name: kind for name, kind in target_schema(target).items() if name not in JUDGEMENT}
    return schema | ({HAS_OTHER_DAY: "boolean"} if target in DATED_BY_RULE else {}) | {"_file": "string"}


def filled_columns(target: Target, rules: Iterable[Rule]) -> tuple[str, ...]:
    """The columns of `kept_schema(target)` that at least one of the rules fills, in its order."""
    filled = {*PROVENANCE, "key", "_file", END_UNREADABLE, BIRTH_UNREADABLE, EVIDENCE}
    for rule in rules:
        filled |= {HAS_OTHER_DAY} if _believes_near_days(rule) else set()
        for field, how in rule.fields.items():
            if FIELDS[target][field] != "concept":
                filled.add(field)
                continue
            filled |= {f"{field}_{part}" for part in _PARTS_OF_CODE} if how.codes else set()
            filled |= {f"{field}_concept_id"} if how.concept is None else set()
    return tuple(name for name in kept_schema(target) if name in filled)


@dataclass(frozen=True)
class Check:
    """What leaves a row out. Rows for which `fails` is true (false and null keep them) are counted under `reason`.

    `unreadable` is the column whose value could not be read, where that is the reason; it matters only in rows that `asks` is
    true of, if that is there. A condition `selects` if the rule chooses its rows by it.
    """

    reason: str
    fails: Column
    unreadable: str = ""
    asks: Column | None = None
    selects: bool = False


def kept_rows(
    rule: Rule, contract: SourceContract, silver: Mapping[str, DataFrame], names: Iterable[str] | None = None
) -> DataFrame:
    """One row per silver row that meets every check of the rule, with the columns of `kept_schema(rule.to)`.

    Of a rule that groups events there is one row per key and person. `silver` holds the tables of the source by entity.
    With `names` only those columns are there: what no rule fills is added more cheaply once rules are put together.
    """
    fields = filled_fields(rule, contract)
    columns = (
        columns_of_checks(rule, contract)
        | {column for how in rule.fields.values() for column in how.columns}
        | {"_file", "provider_code"}
    )
    columns |= {_flags_of(column) for column in _end_columns(rule, contract)} if rule.to in _VISITS else set()
    columns |= {FLAGS} if rule.to is Target.PERSON else set()
    columns |= set(rule.evidence_columns)
    frame = with_lookups(rule.from_, rule.lookups, contract, silver, columns)
    checked = frame.where(_is_kept(checks_of(rule, contract, fields))).select("*", *_normalised_codes(rule))
    provenance = {"_source": F.lit(contract.source), "_entity": F.lit(rule.from_), "_rule": F.lit(rule.name)}
    own = {"_row_key": F.col("row_key"), "person_id": F.col("person_id"), "_file": F.col("_file")}
    own |= {"_provider": F.col("provider_code")}
    values = fields | provenance | own
    rows = checked.select(*[values[name].alias(name) for name in names or kept_schema(rule.to)])
    return _first_of_each(rows) if groups_events(rule) else rows


def groups_events(rule: Rule) -> bool:
    """Whether silver rows of one key and person make one event."""
    return rule.group and rule.to is Target.EVENT


def _first_of_each(events: DataFrame) -> DataFrame:
    """Of the events of one key and person the first by start (of a day those without a time last), then row key."""
    start = F.coalesce(F.col("start_datetime"), F.date_add("start_date", 1).cast("timestamp"))
    place = F.concat_ws("|", F.date_format(start, "yyyy-MM-dd HH:mm:ss"), F.col("_row_key"))
    first = events.groupBy("person_id", "key").agg(F.min(place).alias("_place"))
    chosen = first.select(F.substring_index(F.col("_place"), "|", -1).alias("_row_key"))
    return events.join(chosen, on="_row_key", how="left_semi")


def with_lookups(
    entity: str,
    lookups: Mapping[str, Lookup],
    contract: SourceContract,
    silver: Mapping[str, DataFrame],
    columns: Iterable[str],
) -> DataFrame:
    """The entity with the rows it looks up, narrowed to `columns` before the joins. Lookup columns are `alias__column`.

    A row that belongs to a person is found by rows of the same person only. One that is found by its reference to us is one of
    several, so that no row of ours comes twice.
    """
    wanted = set(columns)
    used = []
    for alias, lookup in reversed(list(lookups.items())):
        if any(column.startswith(f"{alias}.") for column in wanted):
            used.append(alias)
            wanted.add(lookup.on)
    own = sorted({column for column in wanted if "." not in column} | {"row_key", "person_id"})
    frame = silver[entity].select(*own)
    for alias in reversed(used):
        lookup = lookups[alias]
        is_of_person = contract.entities[lookup.entity].subject.is_one_person
        named = {f"{alias}.{lookup.by}", *([f"{alias}.person_id"] if is_of_person else [])}
        theirs = sorted(column for column in wanted if column.startswith(f"{alias}.") and column not in named)
        renamed = [F.col(column.removeprefix(f"{alias}.")).alias(flat(column)) for column in theirs]
        keys = [F.col(name.removeprefix(f"{alias}.")).alias(flat(name)) for name in sorted(named)]
        found = silver[lookup.entity]
        for column, values in lookup.without.items():
            found = found.where(~is_one_of(F.trim(F.col(column)), values))
        if lookup.is_by_reference:
            of_one = [column.removeprefix(f"{alias}.") for column in sorted(named)]
            least = F.min("row_key")
            if lookup.empty_first:
                is_empty = reduce(and_, [F.col(column).isNull() for column in lookup.empty_first])
                least = F.coalesce(F.min(F.when(is_empty, F.col("row_key"))), least)
            first = found.groupBy(*of_one).agg(least.alias("row_key"))
            found = found.join(first.select("row_key"), on="row_key", how="left_semi")
        other = found.select(*keys, *renamed)
        on = F.col(flat(lookup.on)) == F.col(flat(f"{alias}.{lookup.by}"))
        on = on & (F.col("person_id") == F.col(flat(f"{alias}.person_id"))) if is_of_person else on
        frame = frame.join(other, on=on, how="left")
    return frame


def flat(column: str) -> str:
    """The name that `with_lookups` gives to a column; `alias.column` of a lookup is `alias__column`."""
    return column.replace(".", "__")


def columns_of_checks(rule: Rule, contract: SourceContract) -> set[str]:
    """The silver columns that decide whether a row is kept; those of a lookup are `alias.column`."""
    deciding = {*REQUIRED[rule.to], "key"} | ({"source_value"} if rule.to is Target.EVENT else set())
    deciding |= {_DAY_OF[field] for field in deciding if field in _DAY_OF}
    columns = {column for condition in rule.where for column in condition.columns}
    columns |= {column for field in deciding if field in rule.fields for column in rule.fields[field].columns}
    return columns | {_flags_of(column) for column in columns if _type_of(column, rule, contract)}


def checks_of(rule: Rule, contract: SourceContract, fields: Mapping[str, Column]) -> list[Check]:
    """The checks of a rule in their order: its conditions, then what every row of its target must have.

    Before a check that looks at a column stands the one that the column is not unreadable: nothing is derived from that.
    """
    asked: set[str] = set()

    def readable(columns: Iterable[str]) -> list[Check]:
        typed = [column for column in columns if _type_of(column, rule, contract) and column not in asked]
        asked.update(typed)
        return [Check(f"{UNREADABLE}{column}", unreadable_in(column), column) for column in typed]

    checks = []
    for condition in rule.where:
        asked_of = () if condition.despite_unreadable else condition.columns
        checks += [*readable(asked_of), Check(condition.reason, ~_holds(condition), selects=condition.selects)]
    if rule.to in PERSON_BOUND:
        checks.append(Check("person_missing", F.col("person_id").isNull()))
    for field in REQUIRED[rule.to]:
        if FIELDS[rule.to][field] != "concept":
            dates = _dates_of(field, rule, contract)
            first, others = (dates[:1], dates[1:]) if _counts_in_turn(field, rule) else (dates, [])
            checks += [*readable(first), *[_instead(first[0], check) for check in readable(others)]]
            checks.append(Check(f"{field}_missing", fields[field].isNull()))
    if rule.to in _OPEN_WITHOUT_END:
        checks += readable(_end_columns(rule, contract))
    if "key" in rule.fields:
        checks.append(Check("key_missing", fields["key"].isNull()))
    if rule.to is Target.EVENT:
        checks.append(Check("code_missing", ~_has_code(rule.fields["concept"]) & fields["source_value"].isNull()))
    return checks


def _type_of(column: str, rule: Rule, contract: SourceContract) -> ColumnType | None:
    """The type of a silver column that can be unreadable; None for texts, keys and what curate adds."""
    alias, _, name = column.rpartition(".")
    entity = contract.entities[rule.lookups[alias].entity if alias else rule.from_]
    kind = entity.columns[name].type if name in entity.columns else ColumnType.TEXT
    return None if kind is ColumnType.TEXT else kind


def _dates_of(field: str, rule: Rule, contract: SourceContract) -> list[str]:
    """The columns of dates and moments that a field is filled from, or that fill the day which it is part of."""
    how = rule.fields.get(field) or rule.fields.get(_DAY_OF.get(field, ""))
    columns = how.columns if how else ()
    if how is not None and _counts_in_turn(field, rule):
        columns = tuple(how.args[name] for name in ("first", "second"))
    return [column for column in columns if _type_of(column, rule, contract) in (ColumnType.DATE, ColumnType.TIMESTAMP)]


def _counts_in_turn(field: str, rule: Rule) -> bool:
    """Whether a field is filled from the first of its columns that has a value: the others are then not looked at."""
    how = rule.fields.get(field) or rule.fields.get(_DAY_OF.get(field, ""))
    return how is not None and how.expression in FIRST_KNOWN


def _believes_near_days(rule: Rule) -> bool:
    """Whether a rule gives its events or deaths another day than was delivered, where that is too far away."""
    field = DATED_BY_RULE.get(rule.to)
    return field is not None and rule.fields[field].expression in BELIEVED_WHERE_NEAR


def _instead(first: str, check: Check) -> Check:
    """The check that a column can be read, for rows in which the `first` has no value."""
    asks = F.col(flat(first)).isNull()
    return replace(check, fails=check.fails & asks, asks=asks)


def _end_columns(rule: Rule, contract: SourceContract) -> list[str]:
    return _dates_of("end_date", rule, contract)


def _flags_of(column: str) -> str:
    """The column that says whether a column is unreadable: that of its entity."""
    alias, _, _ = column.rpartition(".")
    return f"{alias}.{FLAGS}" if alias else FLAGS


def unreadable_in(*columns: str) -> Column:
    """Whether one of some columns of an entity (`alias.column` of a lookup) is unreadable in a silver row; null if none is."""
    names = "|".join(column.rpartition(".")[2] for column in columns)
    return F.col(flat(_flags_of(columns[0]))).rlike(f"(^|,)({names})(,|$)")


def _is_kept(checks: Iterable[Check]) -> Column:
    """Whether no check fails. Unreadable columns are looked for together: which of them it is does not matter here."""
    checks = tuple(checks)
    unreadable: dict[str, list[str]] = {}
    for check in checks:
        if check.unreadable and check.asks is None:
            unreadable.setdefault(_flags_of(check.unreadable), []).append(check.unreadable)
    kept = [~check.fails for check in checks if not check.unreadable]
    kept += [~is_true(check.fails) for check in checks if check.asks is not None]
    kept += [~is_true(unreadable_in(*columns)) for columns in unreadable.values()]
    return reduce(and_, kept, F.lit(True))


def _holds(condition: Condition) -> Column:
    """Whether a row meets the condition. Lists are compared as `is_one_of` does."""
    if condition.column is not None:
        value = F.col(flat(condition.column))
    else:
        value = _evaluated(condition)
    if condition.present is not None:
        return value.isNotNull() if condition.present else value.isNull()
    listed = is_one_of(F.trim(value.cast("string")), condition.in_ or condition.not_in or ())
    return listed if condition.in_ is not None else ~listed


def _has_code(how: FieldRule) -> Column:
    if how.concept is None:
        return _value(how).isNotNull()
    return reduce(or_, [_delivered(code).isNotNull() for code in how.concept])


def filled_fields(rule: Rule, contract: SourceContract) -> dict[str, Column]:
    """Every field of the target as a column by its name in `target_schema`; what the rule leaves out is null."""
    schema = kept_schema(rule.to)
    types = _silver_types(rule, contract)
    filled: dict[str, Column] = {}
    # Concept fields first: a text of its own (`value_source_value`) takes the place of the one that its concept brings.
    concepts_first = sorted(rule.fields.items(), key=lambda item: FIELDS[rule.to][item[0]] != "concept")
    for field, how in concepts_first:
        is_concept = FIELDS[rule.to][field] == "concept"
        filled |= _concept(field, how) if is_concept else {field: _typed(how, schema[field], types)}
    for day, moment in _DAY_OF.items():
        if day in filled and moment in filled:
            of_moment, copied = filled[moment].cast("date"), rule.fields[moment].copy_
            is_one = copied is not None and copied == rule.fields[day].copy_
            filled[day] = of_moment if is_one else F.coalesce(of_moment, filled[day])
    if rule.to in _VISITS:
        unreadable = [is_true(unreadable_in(column)) for column in _end_columns(rule, contract)]
        filled[END_UNREADABLE] = reduce(or_, unreadable, F.lit(False))
    if rule.to is Target.PERSON:
        birth = contract.entities[rule.from_].identified_by(Identifier.BIRTH_DATE)
        filled[BIRTH_UNREADABLE] = F.when(unreadable_in(birth), F.lit(birth)) if birth else F.lit(None).cast("string")
    if _believes_near_days(rule):
        field = DATED_BY_RULE[rule.to]
        filled[HAS_OTHER_DAY] = F.col(flat(rule.fields[field].args["first"])).cast("date") != filled[field]
    if rule.to is Target.EVENT:
        filled[EVIDENCE] = _evidence(rule)
    if "key" in schema and rule.to is not Target.EVENT:
        filled.setdefault("key", F.col("row_key"))
    wanted = {name: kind for name, kind in schema.items() if name not in PROVENANCE and name != "_file"}
    return {name: filled[name] if name in filled else F.lit(None).cast(kind) for name, kind in wanted.items()}


def _evidence(rule: Rule) -> Column:
    """The grade of the first candidate that applies."""
    grades: list[tuple[Column, Column]] = []
    for candidate in rule.grades:
        if isinstance(candidate, Evidence):
            return first_true(grades, F.lit(candidate.value))
        column, values = F.col(flat(candidate.column)), candidate.values
        for grade in dict.fromkeys(values.values()):
            listed = [value for value, of in values.items() if of is grade]
            grades.append((is_one_of(F.trim(column.cast("string")), listed), F.lit(grade.value)))
        if candidate.present is not None:
            grades.append((column.isNotNull(), F.lit(candidate.present.value)))
    return first_true(grades)


def _silver_types(rule: Rule, contract: SourceContract) -> dict[str, str]:
    """The types of the columns that a rule may read; those of a lookup are `alias.column`."""
    entities = {"": rule.from_} | {f"{alias}.": lookup.entity for alias, lookup in rule.lookups.items()}
    return {
        prefix + column: kind
        for prefix, entity in entities.items()
        for column, kind in contract.entities[entity].silver_columns.items()
    }


def _typed(how: FieldRule, kind: str, types: Mapping[str, str]) -> Column:
    """The field in the type of its target. The engines write a double as different texts, so it goes by way of a decimal."""
    value = _value(how)
    read_as = types.get(how.copy_ or "")
    if read_as == kind:
        return value
    if kind == "string" and read_as == "double":
        digits = value.try_cast(_TEXT_OF_DOUBLE).cast("string")
        return F.regexp_replace(digits, "[.]?0+$", "")
    return value.try_cast(kind)


def _value(how: FieldRule) -> Column:
    if how.copy_ is not None:
        return F.col(flat(how.copy_))
    return F.lit(how.constant) if how.expression is None else _evaluated(how)


def _evaluated(how: FieldRule | Condition) -> Column:
    arguments = {name: F.col(flat(column)) for name, column in how.args.items()}
    return EXPRESSIONS[str(how.expression)](**arguments, **how.options)


def _concept(field: str, how: FieldRule) -> dict[str, Column]:
    """The parts of a concept field. The first candidate with a usable code of a known vocabulary wins.

    After them comes a code of an unknown coding scheme. The delivered value is kept even where no candidate is usable. The
    codes are those of `_normalised_codes`.
    """
    stated = {f"{field}_concept_id": _value(how).try_cast("bigint")} if how.concept is None else {}
    if not how.codes:
        return stated
    unlisted = _of_schemes(how)
    codes = [F.col(_code_column(field, place)) for place in range(len(how.codes) + len(unlisted))]
    vocabularies = [_vocabulary(code.vocabulary) for code in how.codes] + [_unlisted(by) for _, by in unlisted]
    delivered = [_delivered(code) for code in (*how.codes, *[code for code, _ in unlisted])]
    usable = [code.isNotNull() for code in codes]
    if len(codes) == 1:
        only = {"vocabulary": F.when(usable[0], vocabularies[0]), "code": codes[0], "source_value": delivered[0]}
        return stated | {f"{field}_{part}": column for part, column in only.items()}
    return stated | {
        f"{field}_vocabulary": first_true(zip(usable, vocabularies, strict=True)),
        f"{field}_code": F.coalesce(*codes),
        f"{field}_source_value": first_true(zip(usable, delivered, strict=True), _first_delivered(how)),
    }


def _normalised_codes(rule: Rule) -> list[Column]:
    """The normalised code of every candidate of every concept field.

    They are columns of a step of their own because each is used several times: inside one expression an engine would
    plan the long expressions of `normalise` once for every use.
    """
    columns = []
    for field, how in rule.fields.items():
        codes = [_normalised(code) for code in how.codes]
        codes += [F.when(_unlisted(by).isNotNull(), F.trim(_delivered(code))) for code, by in _of_schemes(how)]
        columns += [code.alias(_code_column(field, place)) for place, code in enumerate(codes)]
    return columns


def _of_schemes(how: FieldRule) -> list[tuple[Code, VocabularyBy]]:
    """The candidates of a concept field whose vocabulary depends on a coding scheme."""
    return [(code, code.vocabulary) for code in how.codes if isinstance(code.vocabulary, VocabularyBy)]


def _code_column(field: str, place: int) -> str:
    return f"_{field}_code_{place}"


def _delivered(code: Code) -> Column:
    if code.column is None:
        return F.lit(code.code)
    text = F.nullif(F.col(flat(code.column)).cast("string"), F.lit(""))
    return text if code.part_of is None else EXPRESSIONS[code.part_of](text)


def _first_delivered(how: FieldRule) -> Column:
    """What was delivered for the first candidate that has anything."""
    delivered = {(code.column, code.code): _delivered(code) for code in how.codes}
    return F.coalesce(*delivered.values())


def _vocabulary(vocabulary: str | VocabularyBy) -> Column:
    if isinstance(vocabulary, str):
        return F.lit(vocabulary)
    return first_true((is_scheme, F.lit(name)) for name, is_scheme in _schemes(vocabulary).items())


def _schemes(vocabulary: VocabularyBy) -> dict[str, Column]:
    """For every vocabulary the condition that the scheme column names it, compared as lists are."""
    names = dict.fromkeys(vocabulary.values.values())
    values = {name: [value for value, of in vocabulary.values.items() if of == name] for name in names}
    return {name: is_one_of(_scheme(vocabulary), listed) for name, listed in values.items()}


def _scheme(vocabulary: VocabularyBy) -> Column:
    return F.trim(F.col(flat(vocabulary.column)).cast("string"))


def _unlisted(vocabulary: VocabularyBy) -> Column:
    """What stands for the vocabulary of a scheme that `values` lacks: its codes are work to do. Null for any other row."""
    named = F.concat(F.lit(UNKNOWN_SCHEME), F.coalesce(F.upper(_scheme(vocabulary)), F.lit(NO_SCHEME)))
    return F.when(~is_one_of(_scheme(vocabulary), vocabulary.values), named)


def _normalised(code: Code) -> Column:
    """The code in the form of its vocabulary; null where there is none, its vocabulary is not known or it is no candidate."""
    raw = _delivered(code)
    if code.pattern is not None:
        raw = F.when(F.trim(raw).rlike(code.pattern), raw)
    if isinstance(code.vocabulary, str):
        return normalise(code.vocabulary, raw)
    return first_true((is_scheme, normalise(name, raw)) for name, is_scheme in _schemes(code.vocabulary).items())
