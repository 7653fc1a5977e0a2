"""Codes: which are in use, their concepts, into which table they send an event, and which nobody can map yet.

All of it is small: work here is by code, never by event.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true, is_true
from pipelines.columns.frames import empty_rows, rows_of_group, union_all
from pipelines.contracts.cdm import DOMAIN_TABLES
from pipelines.contracts.evidence import HISTORY_CONCEPTS
from pipelines.mapping.spec import FIELDS, Rule, Target
from vocab.concepts import FIRST_LOCAL_CONCEPT

CODES_SCHEMA = {
    "target": "string",
    "source": "string",
    "entity": "string",
    "rule": "string",
    "field": "string",
    "vocabulary": "string",
    "code": "string",
    "concept_id": "bigint",
    "rows": "bigint",
    "first_seen": "date",
    "last_seen": "date",
}
"""One row per rule, concept field and code (or given concept) that mapped rows hold, with its rows and dates.

For events the rows without a code are there too, so that the rows of field `concept` add up to the stem.
"""

CODE_MAP_SCHEMA = {
    "source_vocabulary_id": "string",
    "source_code": "string",
    "ordinal": "int",
    "source_concept_id": "bigint",
    "target_concept_id": "bigint",
    "target_domain_id": "string",
    "value_as_concept_id": "bigint",
    "map_origin": "string",
}
"""What the vocabulary says about each code in use: one row per code and target concept."""

ROUTES_SCHEMA = {
    "source": "string",
    "entity": "string",
    "rule": "string",
    "vocabulary": "string",
    "code": "string",
    "concept_id": "bigint",
    "_code_key": "bigint",
    "rows": "bigint",
    "ordinal": "int",
    "table": "string",
    "target_concept_id": "bigint",
    "source_concept_id": "bigint",
    "value_as_concept_id": "bigint",
    "map_origin": "string",
}
"""Where events go: one row per rule, code and target concept; every event has at least one route.

`_code_key` is what the stem and its routes are joined on.
"""

UNMAPPED_SCHEMA = {
    "vocabulary": "string",
    "code": "string",
    "source": "string",
    "rule": "string",
    "field": "string",
    "is_known": "boolean",
    "rows": "bigint",
    "people": "bigint",
    "first_seen": "date",
    "last_seen": "date",
}
"""The work list of codes without a standard concept. `is_known`: the vocabulary has the code but maps it to nothing."""

FIRST_ORDINAL = 0
"""Ordinal of the first target of a code, and of an event without one: its id stays when its code becomes mapped."""

LOCAL_ORIGIN = "local"
"""Origin of what an approved local map says."""

BUCKETS = 64
"""Parts of the stem and of each event table. All events of a code are in one, so that when a code comes to mean something else
only that part is written again. As many as keep one per cent of the codes in a few per cent of the rows."""

_WANTED = ("target", *[name for name in UNMAPPED_SCHEMA if name != "people"])

_DATE_COLUMN = {
    Target.EVENT: "start_date",
    Target.VISIT: "start_date",
    Target.VISIT_DETAIL: "start_date",
    Target.EPISODE: "start_date",
    Target.DEATH: "death_date",
}


def coded_fields(rules: Iterable[Rule], target: Target) -> tuple[str, ...]:
    """The concept fields of a target that some rule fills from a code, in the order of the language."""
    used = {field for rule in rules if rule.to is target for field, how in rule.fields.items() if how.concept is not None}
    return tuple(field for field, kind in FIELDS[target].items() if kind == "concept" and field in used)


@dataclass(frozen=True)
class MappedRows:
    """The stored rows of a target, and the rules that they were mapped by."""

    target: Target
    frame: DataFrame
    rules: tuple[Rule, ...]

    @property
    def coded_fields(self) -> tuple[str, ...]:
        """The concept fields that the rules fill from a code."""
        return coded_fields(self.rules, self.target)


def codes_in_use(mapped: Iterable[MappedRows]) -> DataFrame:
    """The codes of all mapped rows by rule and field (CODES_SCHEMA)."""
    frames = []
    for rows in mapped:
        always = ("concept",) if rows.target is Target.EVENT else ()
        frames += [_codes_of(rows.frame, rows.target, field) for field in dict.fromkeys((*always, *rows.coded_fields))]
    return union_all(frames)


def _codes_of(frame: DataFrame, target: Target, field: str) -> DataFrame:
    if (target, field) != (Target.EVENT, "concept"):
        frame = frame.where(F.col(f"{field}_code").isNotNull())
    seen = F.col(_DATE_COLUMN[target]) if target in _DATE_COLUMN else F.lit(None).cast("date")
    keys = {
        "source": F.col("_source"),
        "entity": F.col("_entity"),
        "rule": F.col("_rule"),
        "vocabulary": F.col(f"{field}_vocabulary"),
        "code": F.col(f"{field}_code"),
        "concept_id": F.col(f"{field}_concept_id"),
    }
    narrow = frame.select(*[column.alias(name) for name, column in keys.items()], seen.alias("seen"))
    counted = narrow.groupBy(*keys).agg(
        rows_of_group().alias("rows"), F.min("seen").alias("first_seen"), F.max("seen").alias("last_seen")
    )
    named = counted.withColumn("target", F.lit(target.value)).withColumn("field", F.lit(field))
    return named.select(*CODES_SCHEMA)


def code_key(rule: Column, vocabulary: Column, code: Column, concept_id: Column) -> Column:
    """What a rule and its code (or the concept that it gives) have in common in the stem and in the routes: 64 bits.

    Not keyed: it is a hash of a code, never of a person.
    """
    texts = [F.coalesce(text, F.lit("")) for text in (rule, vocabulary, code)]
    return F.xxhash64(*texts, F.coalesce(concept_id, F.lit(-1).cast("bigint")))


def code_bucket(vocabulary: Column, code: Column, concept_id: Column) -> Column:
    """The bucket (0 to BUCKETS - 1) of an event by its code, or by the concept that its rule gives."""
    return F.pmod(F.xxhash64(vocabulary, code, concept_id), F.lit(BUCKETS)).cast("int")


def distinct_codes(codes: DataFrame) -> DataFrame:
    """One row per code in use (`source_vocabulary_id`, `source_code`), for the vocabulary to resolve."""
    coded = codes.where(F.col("code").isNotNull())
    return coded.select(F.col("vocabulary").alias("source_vocabulary_id"), F.col("code").alias("source_code")).distinct()


def first_concepts(code_map: DataFrame) -> DataFrame:
    """The concept map: one row per code with its first target concept, for the fields that hold a single concept."""
    first = code_map.groupBy("source_vocabulary_id", "source_code").agg(F.min("ordinal").alias("ordinal"))
    return code_map.join(first, on=["source_vocabulary_id", "source_code", "ordinal"], how="inner")


def with_concepts(frame: DataFrame, fields: Iterable[str], concept_map: DataFrame) -> DataFrame:
    """`frame` with `f_target` and `f_source_concept` for each concept field `f`.

    `f_target` is the concept that the rule states, else that of the code, else 0 where something was delivered, else null. Of a
    code that says of its value that it is past ("H/O: asthma") it is the value: "History of event" alone would say nothing.
    """
    is_past = F.col("target_concept_id").isin(*HISTORY_CONCEPTS)
    single = F.coalesce(F.when(is_past, F.col("value_as_concept_id")), F.col("target_concept_id"))
    for field in fields:
        concepts = concept_map.select(
            F.col("source_vocabulary_id").alias("_vocabulary"),
            F.col("source_code").alias("_code"),
            single.alias("_target"),
            F.col("source_concept_id").alias(f"{field}_source_concept"),
        )
        on = (F.col(f"{field}_vocabulary") == F.col("_vocabulary")) & (F.col(f"{field}_code") == F.col("_code"))
        joined = frame.join(F.broadcast(concepts), on=on, how="left")
        frame = joined.withColumn(f"{field}_target", _concept_or_zero(field, F.col("_target")))
        frame = frame.drop("_vocabulary", "_code", "_target")
    return frame


def with_rule_concepts(frame: DataFrame, fields: Iterable[str]) -> DataFrame:
    """Like `with_concepts` for concept fields that no rule fills from a code: only the concept of the rule counts."""
    for field in fields:
        frame = frame.withColumn(f"{field}_target", _concept_or_zero(field, F.lit(None).cast("bigint")))
        frame = frame.withColumn(f"{field}_source_concept", F.lit(None).cast("bigint"))
    return frame


def _concept_or_zero(field: str, target: Column) -> Column:
    delivered = F.coalesce(F.col(f"{field}_code"), F.col(f"{field}_source_value")).isNotNull()
    return F.coalesce(F.col(f"{field}_concept_id"), target, F.when(delivered, F.lit(0).cast("bigint")))


def routes(codes: DataFrame, code_map: DataFrame, rules: Iterable[Rule]) -> DataFrame:
    """Where the events of every rule and code go (ROUTES_SCHEMA).

    The domain of the standard concept names the table. Without a standard concept the event keeps concept 0 and goes to
    the domain its rule declares; so does one whose rule gives the concept itself: its code, if it has any, gives the source
    concept. A concept of this project that a rule gives stands for a data item, for which nobody else has a code: it is its
    own source concept. Where a rule has a `value_of`, a concept of another domain than those it names is the value of that.
    """
    domains = [(rule.name, rule.domain, *_value_of(rule)) for rule in rules if rule.to is Target.EVENT]
    events = _with_code_key(codes.where((F.col("target") == Target.EVENT.value) & (F.col("field") == "concept")))
    if not domains:
        return empty_rows(codes, ROUTES_SCHEMA)
    declared = codes.sparkSession.createDataFrame(
        domains, "rule string, declared string, value_of bigint, unless array<string>"
    )
    on = (F.col("vocabulary") == F.col("source_vocabulary_id")) & (F.col("code") == F.col("source_code"))
    mapped = events.join(F.broadcast(declared), on="rule", how="inner").join(F.broadcast(code_map), on=on, how="left")
    is_given = F.col("concept_id").isNotNull()
    joined = mapped.where(~is_given | (F.coalesce("ordinal", F.lit(FIRST_ORDINAL)) == FIRST_ORDINAL))
    zero = F.lit(0).cast("bigint")
    by_code = F.col("concept_id").isNull() & (F.col("target_concept_id") > 0)
    value_of = F.when(by_code & ~F.array_contains("unless", F.col("target_domain_id")), F.col("value_of"))
    target = F.coalesce(value_of, F.col("concept_id"), F.col("target_concept_id"), zero)
    value = F.coalesce(F.when(value_of.isNotNull(), F.col("target_concept_id")), F.col("value_as_concept_id"))
    own = F.when(F.col("concept_id") >= FIRST_LOCAL_CONCEPT, F.col("concept_id"))
    domain = F.when(by_code & value_of.isNull(), F.col("target_domain_id")).otherwise(F.col("declared"))
    table = first_true(((domain == name, F.lit(to)) for name, to in DOMAIN_TABLES.items()), F.lit("observation"))
    columns = {
        "ordinal": F.coalesce(F.col("ordinal"), F.lit(FIRST_ORDINAL)).cast("int"),
        "table": table,
        "target_concept_id": target,
        "source_concept_id": F.coalesce(F.nullif(F.col("source_concept_id"), zero), own, zero),
        "value_as_concept_id": F.when(~is_given, value),
        "map_origin": F.when(~is_given, F.col("map_origin")),
    }
    return joined.select(*[columns[name].alias(name) if name in columns else F.col(name) for name in ROUTES_SCHEMA])


def _value_of(rule: Rule) -> tuple[int | None, list[str]]:
    return (rule.value_of.concept, list(rule.value_of.unless)) if rule.value_of else (None, [])


def _with_code_key(events: DataFrame) -> DataFrame:
    """The codes of events with their key. Fails where two have the same, which 64 bits make all but impossible."""
    keyed = events.withColumn("_code_key", code_key(*[F.col(name) for name in ("rule", "vocabulary", "code", "concept_id")]))
    codes = F.count(F.lit(1)).over(Window.partitionBy("_code_key"))
    refused = F.raise_error(F.lit("two codes have one key: change code_key and map everything again")).cast("bigint")
    return keyed.withColumn("_codes", codes).withColumn(
        "_code_key", F.when(F.col("_codes") > 1, refused).otherwise(F.col("_code_key"))
    )


def unmapped_codes(codes: DataFrame, concept_map: DataFrame, mapped: Iterable[MappedRows]) -> DataFrame:
    """The codes in use that have no standard concept (UNMAPPED_SCHEMA), with the rows and people they touch."""
    concepts = concept_map.select(
        F.col("source_vocabulary_id").alias("vocabulary"),
        F.col("source_code").alias("code"),
        "source_concept_id",
        "target_concept_id",
        "map_origin",
    )
    coded = codes.where(F.col("code").isNotNull() & F.col("concept_id").isNull()).join(
        F.broadcast(concepts), on=["vocabulary", "code"], how="left"
    )
    # A local map may say on purpose that a code has no concept (not stated, not known): that is no work to do.
    is_settled = (F.coalesce(F.col("target_concept_id"), F.lit(0)) > 0) | (F.col("map_origin") == LOCAL_ORIGIN)
    open_codes = coded.where(~is_true(is_settled))
    listed = open_codes.withColumn("is_known", is_true(F.col("source_concept_id") > 0))
    wanted = listed.select(*_WANTED)
    touched = [_people_by_code(rows, field) for rows in mapped for field in rows.coded_fields]
    if not touched:
        return empty_rows(codes, UNMAPPED_SCHEMA)
    joined = union_all(touched).join(F.broadcast(wanted), on=["target", "field", "rule", "vocabulary", "code"], how="inner")
    return joined.groupBy(*_WANTED).agg(F.count_distinct("person_id").alias("people")).select(*UNMAPPED_SCHEMA)


def _people_by_code(rows: MappedRows, field: str) -> DataFrame:
    """One row per mapped row with a code in a field: the code and the person."""
    values = {
        "target": F.lit(rows.target.value),
        "field": F.lit(field),
        "rule": F.col("_rule"),
        "vocabulary": F.col(f"{field}_vocabulary"),
        "code": F.col(f"{field}_code"),
        "person_id": F.col("person_id"),
    }
    coded = rows.frame.where(F.col(f"{field}_code").isNotNull())
    return coded.select(*[column.alias(name) for name, column in values.items()])
