"""Counts the rows that break each check, in few jobs.

Tables whose checks are the same are read together, so that an engine plans and compiles them once; tables with many rows
get jobs of their own for what brings keys together, so that they need not share the memory.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from typing import Final, TypeVar

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.quality.checks import MAX_ID, Check, Rule, Zone

Item = TypeVar("Item")

TableKey = tuple[Zone, str]

Tables = Mapping[TableKey, DataFrame]
"""The tables under check by zone and name."""

TABLES_PER_JOB: Final = 100
"""More tables in one plan cost more time to plan than they save to start."""

ROWS_PER_JOB: Final = 2_000_000
"""Rows whose keys are brought together in one job."""

STRUCTURAL: Final = (Rule.EXISTS, Rule.COLUMNS, Rule.NO_IDENTIFIER)
ROW_RULES: Final = (Rule.REQUIRED, Rule.LENGTH, Rule.ID_RANGE, Rule.PERIOD, Rule.POSTCODE_AREA)
CONCEPT_RULES: Final = (Rule.CONCEPT, Rule.DOMAIN, Rule.CONCEPT_CLASS, Rule.STANDARD)


@dataclass(frozen=True, slots=True)
class Measured:
    """How many of `rows` rows break a check."""

    check: Check
    rows: int
    violations: int


def measure(checks: Sequence[Check], tables: Tables) -> list[Measured]:
    """The rows that break each check.

    A check on a column that is not there is left out: the `columns` check of the table counts it.
    """
    columns = {key: {field.name: field.dataType.simpleString() for field in frame.schema} for key, frame in tables.items()}
    found = [_structure(check, columns.get(_table(check))) for check in checks if check.rule in STRUCTURAL]
    usable = [c for c in checks if c.rule not in STRUCTURAL and set(c.columns) <= set(columns.get(_table(c), ()))]
    rows = dict.fromkeys((_table(check) for check in usable), 0)
    # Most tables of the CDM are empty, and each has checks of its own: these are counted first, the others with their rules.
    rows |= _row_counts([key for key in rows if key[0] is Zone.OMOP], tables)
    asked = [check for check in usable if check.rule in ROW_RULES and (check.zone is not Zone.OMOP or rows[_table(check)])]
    counted, violations = _row_rules(asked, tables)
    rows |= counted
    filled = [check for check in usable if rows[_table(check)]]
    for batch in _batches([check for check in filled if check.rule not in ROW_RULES], rows):
        violations |= _duplicates(batch, tables, columns) | _orphans(batch, tables) | _concept_faults(batch, tables)
    return found + [Measured(check, rows[_table(check)], violations.get(check, 0)) for check in usable]


def _table(check: Check) -> TableKey:
    return check.zone, check.table


def _structure(check: Check, columns: Mapping[str, str] | None) -> Measured:
    """A check on the table's columns alone; the rows counted are columns, or the table itself."""
    if check.rule is Rule.EXISTS:
        return Measured(check, 1, 0 if columns is not None else 1)
    present = columns or {}
    if columns is None:
        return Measured(check, 0, 0)
    if check.rule is Rule.NO_IDENTIFIER:
        identifying = [name for name in check.argument.split(",") if name in present]
        return Measured(check, len(present), len(identifying))
    expected = dict(part.partition(" ")[::2] for part in check.argument.split(","))
    wrong = [name for name, kind in expected.items() if name not in present or (kind and present[name] != kind)]
    extra = [name for name in present if name not in expected] if check.zone is not Zone.BRONZE else []
    return Measured(check, len(expected), len(wrong) + len(extra))


def _violates(check: Check) -> Column:
    """True for a row that breaks a row rule; null counts as keeping it."""
    value = F.col(check.column)
    if check.rule is Rule.REQUIRED:
        return value.isNull()
    if check.rule is Rule.LENGTH:
        return F.char_length(value) > int(check.argument)
    if check.rule is Rule.ID_RANGE:
        return ~value.between(1, MAX_ID)
    if check.rule is Rule.PERIOD:
        return value > F.col(check.argument)
    return ~value.rlike("^[A-Z]{1,2}$")


def _row_counts(keys: Sequence[TableKey], tables: Tables) -> dict[TableKey, int]:
    """Rows of each table."""
    rows = dict.fromkeys(keys, 0)
    for chunk in _chunks(keys, TABLES_PER_JOB):
        counted = union_all([_labelled(key, tables[key]) for key in chunk]).groupBy("zone", "table")
        for row in _collected([counted.agg(F.count(F.lit(1)).alias("rows"))]):
            rows[Zone(row["zone"]), row["table"]] = row["rows"]
    return rows


def _labelled(key: TableKey, frame: DataFrame, *columns: Column) -> DataFrame:
    return frame.select(F.lit(str(key[0])).alias("zone"), F.lit(key[1]).alias("table"), *columns)


def _row_rules(checks: Sequence[Check], tables: Tables) -> tuple[dict[TableKey, int], dict[Check, int]]:
    """Rows of each table that has any, and rows that break each row rule: all rules of a table in one scan of it."""
    by_table = _by_table(checks)
    by_shape: dict[tuple[tuple[Rule, str, str], ...], list[TableKey]] = defaultdict(list)
    for key, asked in by_table.items():
        by_shape[tuple((check.rule, check.column, check.argument) for check in asked)].append(key)
    rows: dict[TableKey, int] = {}
    violations: dict[Check, int] = {}
    for chunk in _chunks(list(by_shape.values()), TABLES_PER_JOB):
        for row in _collected(_row_rule_counts(keys, by_table[keys[0]], tables) for keys in chunk):
            key = Zone(row["zone"]), row["table"]
            rows[key] = row["rows"]
            violations |= dict(zip(by_table[key], row["violations"], strict=True))
    return rows, violations


def _row_rule_counts(keys: Sequence[TableKey], checks: Sequence[Check], tables: Tables) -> DataFrame:
    """One row per table that has rows, with the violations of each check, of tables that have the same checks."""
    columns = [F.col(name) for name in sorted({name for check in checks for name in check.columns})]
    together = union_all([_labelled(key, tables[key], *columns) for key in keys])
    counters = [F.count(F.when(_violates(check), F.lit(1))).alias(f"v{i}") for i, check in enumerate(checks)]
    violations = F.array(*[F.col(f"v{i}") for i in range(len(checks))]).alias("violations")
    counted = together.groupBy("zone", "table").agg(F.count(F.lit(1)).alias("rows"), *counters)
    return counted.select("zone", "table", "rows", violations)


def _by_table(checks: Iterable[Check]) -> dict[TableKey, list[Check]]:
    by_table: dict[TableKey, list[Check]] = defaultdict(list)
    for check in checks:
        by_table[_table(check)].append(check)
    return by_table


def _batches(checks: Sequence[Check], rows: Mapping[TableKey, int]) -> Iterator[list[Check]]:
    """Checks of as many tables together as stay below the limit of rows, in the order given."""
    batch: list[Check] = []
    load = count = 0
    for key, asked in _by_table(checks).items():
        if batch and (load + rows[key] > ROWS_PER_JOB or count == TABLES_PER_JOB):
            yield batch
            batch, load, count = [], 0, 0
        batch, load, count = batch + asked, load + rows[key], count + 1
    if batch:
        yield batch


def _duplicates(checks: Iterable[Check], tables: Tables, columns: Mapping[TableKey, Mapping[str, str]]) -> dict[Check, int]:
    """Rows that share their key with another row, per `unique` check. Keys of the same types are brought together."""
    asked = [check for check in checks if check.rule is Rule.UNIQUE]
    by_types: dict[tuple[str, ...], list[DataFrame]] = defaultdict(list)
    for position, check in enumerate(asked):
        types = tuple(columns[_table(check)][name] for name in check.columns)
        keys = [F.col(name).alias(f"key{i}") for i, name in enumerate(check.columns)]
        by_types[types].append(tables[_table(check)].select(F.lit(position).cast("int").alias("tag"), *keys))
    counts = []
    for types, frames in by_types.items():
        names = [f"key{i}" for i in range(len(types))]
        complete = reduce(Column.__and__, [F.col(name).isNotNull() for name in names])
        shared = union_all(frames).where(complete).groupBy("tag", *names).agg(F.count(F.lit(1)).alias("n"))
        counts.append(shared.where(F.col("n") > 1).groupBy("tag").agg(F.sum("n").alias("n")))
    return {asked[row["tag"]]: row["n"] for row in _collected(counts)}


def _uses(checks: Sequence[Check], tables: Tables) -> DataFrame:
    """How often each value occurs in each checked column: one row per check and value; `tag` is the check's position.

    Rows are grouped by all checked columns of their table first, which leaves far fewer than the table has.
    """
    tags = {check: position for position, check in enumerate(checks)}
    frames = []
    for key, asked in _by_table(checks).items():
        grouped = tables[key].groupBy(*[check.column for check in asked]).agg(F.count(F.lit(1)).alias("n"))
        used = [
            F.struct(
                F.lit(tags[check]).cast("int").alias("tag"),
                F.lit(check.argument).alias("parent"),
                F.col(check.column).cast("bigint").alias("value"),
            )
            for check in asked
        ]
        exploded = grouped.select("n", F.explode(F.array(*used)).alias("use"))
        frames.append(exploded.select("use.tag", "use.parent", "use.value", "n"))
    return union_all(frames).where(F.col("value").isNotNull()).groupBy("tag", "parent", "value").agg(F.sum("n").alias("n"))


def _orphans(checks: Iterable[Check], tables: Tables) -> dict[Check, int]:
    """Rows that point to a row which is not there, per `foreign_key` check."""
    asked = [check for check in checks if check.rule is Rule.FOREIGN_KEY]
    if not asked:
        return {}
    uses = _uses(asked, tables)
    keys = []
    for parent in sorted({check.argument for check in asked}):
        table, _, field = parent.partition(".")
        if (Zone.OMOP, table) in tables:
            values = F.col(field).cast("bigint").alias("value")
            keys.append(tables[Zone.OMOP, table].select(F.lit(parent).alias("parent"), values))
    lost = uses.join(union_all(keys), on=["parent", "value"], how="left_anti") if keys else uses
    return {asked[row["tag"]]: row["n"] for row in _collected([lost.groupBy("tag").agg(F.sum("n").alias("n"))])}


def _concept_faults(checks: Iterable[Check], tables: Tables) -> dict[Check, int]:
    """Rows whose concept is not what the field is for, per concept check. Concept 0 says "unmapped" and always passes."""
    asked = [check for check in checks if check.rule in CONCEPT_RULES]
    fields = [check for check in asked if check.rule is Rule.CONCEPT]
    concepts = tables.get((Zone.OMOP, "concept"))
    if not fields or concepts is None:
        return {}
    uses = _uses(fields, tables).where(F.col("value") != 0)
    known = concepts.select(
        F.col("concept_id").cast("bigint").alias("value"),
        F.lit(True).alias("known"),
        F.col("domain_id").alias("domain"),
        F.col("concept_class_id").alias("concept_class"),
        ((F.col("standard_concept") == "S") & F.col("invalid_reason").isNull()).alias("standard"),
    )
    kinds = uses.join(known, on="value", how="left").groupBy("tag", "known", "domain", "concept_class", "standard")
    faults: dict[Check, int] = defaultdict(int)
    by_field = defaultdict(list)
    for check in asked:
        by_field[check.table, check.column].append(check)
    for row in _collected([kinds.agg(F.sum("n").alias("n"))]):
        field = fields[row["tag"]]
        for check in by_field[field.table, field.column]:
            faults[check] += 0 if _concept_fits(check, row) else row["n"]
    return dict(faults)


def _concept_fits(check: Check, concept: Row) -> bool:
    if check.rule is Rule.CONCEPT:
        return bool(concept["known"])
    if not concept["known"]:
        return True
    if check.rule is Rule.DOMAIN:
        return bool(concept["domain"] == check.argument)
    if check.rule is Rule.CONCEPT_CLASS:
        return bool(concept["concept_class"] == check.argument)
    return bool(concept["standard"])


def _collected(frames: Iterable[DataFrame]) -> list[Row]:
    """The rows of several small frames of one schema, in one job. Only counts ever come to the driver."""
    parts = list(frames)
    return union_all(parts).collect() if parts else []


def _chunks(items: Sequence[Item], size: int) -> Iterator[tuple[Item, ...]]:
    iterator = iter(items)
    while chunk := tuple(islice(iterator, size)):
        yield chunk
