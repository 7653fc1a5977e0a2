"""Counts the rows that break each check, in few jobs: one scan for all row rules of many tables, one for keys, one for
links and one for concepts. Tables with many rows get jobs of their own, so that their keys need not share the memory.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from typing import Final

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from pipelines.quality.checks import MAX_ID, Check, Rule, Zone

Tables = Mapping[tuple[Zone, str], DataFrame]
"""The tables under check by zone and name."""

TABLES_PER_JOB: Final = 40
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
    found = [_structure(check, columns.get((check.zone, check.table))) for check in checks if check.rule in STRUCTURAL]
    usable = [
        check
        for check in checks
        if check.rule not in STRUCTURAL and set(check.columns) <= set(columns.get((check.zone, check.table), ()))
    ]
    found += _row_rules([check for check in usable if check.rule in ROW_RULES], tables)
    rows = _row_counts(found, usable, tables)
    filled = [check for check in usable if rows.get((check.zone, check.table), 0) > 0]
    counted = [check for check in filled if check.rule not in ROW_RULES]
    for batch in _batches(counted, rows):
        violations = _duplicates(batch, tables) | _orphans(batch, tables) | _concept_faults(batch, tables)
        found += [Measured(check, rows[check.zone, check.table], violations.get(check, 0)) for check in batch]
    empty = [check for check in usable if check.rule not in ROW_RULES and check not in set(filled)]
    return found + [Measured(check, 0, 0) for check in empty]


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


def _row_rules(checks: Sequence[Check], tables: Tables) -> list[Measured]:
    """All row rules of each table in one scan of it."""
    by_table: dict[tuple[Zone, str], list[Check]] = defaultdict(list)
    for check in checks:
        by_table[check.zone, check.table].append(check)
    counts = {
        (Zone(row["zone"]), row["table"]): row
        for chunk in _chunks(list(by_table), TABLES_PER_JOB)
        for row in _collected(_row_rule_counts(key, by_table[key], tables[key]) for key in chunk)
    }
    return [
        Measured(check, counts[key]["rows"], counts[key]["violations"][position])
        for key, asked in by_table.items()
        for position, check in enumerate(asked)
    ]


def _row_rule_counts(key: tuple[Zone, str], checks: Sequence[Check], frame: DataFrame) -> DataFrame:
    counters = [F.count(F.when(_violates(check), F.lit(1))).alias(f"v{i}") for i, check in enumerate(checks)]
    return frame.agg(F.count(F.lit(1)).alias("rows"), *counters).select(
        F.lit(str(key[0])).alias("zone"),
        F.lit(key[1]).alias("table"),
        "rows",
        F.array(*[F.col(f"v{i}") for i in range(len(checks))]).alias("violations"),
    )


def _row_counts(found: Iterable[Measured], usable: Iterable[Check], tables: Tables) -> dict[tuple[Zone, str], int]:
    """Rows of every table that a check is still open for; those without a row rule are counted here."""
    rows = {(m.check.zone, m.check.table): m.rows for m in found if m.check.rule in ROW_RULES}
    missing = {(check.zone, check.table): None for check in usable if (check.zone, check.table) not in rows}
    for chunk in _chunks(list(missing), TABLES_PER_JOB):
        for row in _collected(_row_rule_counts(key, (), tables[key]) for key in chunk):
            rows[Zone(row["zone"]), row["table"]] = row["rows"]
    return rows


def _batches(checks: Sequence[Check], rows: Mapping[tuple[Zone, str], int]) -> Iterator[list[Check]]:
    """Checks of as many tables together as stay below the limit of rows, in the order given."""
    by_table: dict[tuple[Zone, str], list[Check]] = defaultdict(list)
    for check in checks:
        by_table[check.zone, check.table].append(check)
    batch: list[Check] = []
    load = count = 0
    for key, asked in by_table.items():
        if batch and (load + rows[key] > ROWS_PER_JOB or count == TABLES_PER_JOB):
            yield batch
            batch, load, count = [], 0, 0
        batch, load, count = batch + asked, load + rows[key], count + 1
    if batch:
        yield batch


def _duplicates(checks: Iterable[Check], tables: Tables) -> dict[Check, int]:
    """Rows that share their key with another row, per `unique` check."""
    asked = {str(position): check for position, check in enumerate(c for c in checks if c.rule is Rule.UNIQUE)}
    rows = _collected(_duplicate_rows(tag, check, tables[check.zone, check.table]) for tag, check in asked.items())
    return {asked[row["tag"]]: row["rows"] for row in rows}


def _duplicate_rows(tag: str, check: Check, frame: DataFrame) -> DataFrame:
    present = reduce(lambda both, name: both & F.col(name).isNotNull(), check.columns, F.lit(True))
    shared = frame.where(present).groupBy(*check.columns).agg(F.count(F.lit(1)).alias("n")).where(F.col("n") > 1)
    return shared.agg(F.coalesce(F.sum("n"), F.lit(0)).cast("bigint").alias("rows")).select(F.lit(tag).alias("tag"), "rows")


def _uses(checks: Sequence[Check], tables: Tables) -> DataFrame:
    """How often each value occurs in each checked column: one row per check and value; `tag` is the check's position.

    Rows are grouped by all checked columns of their table first, which leaves far fewer than the table has.
    """
    by_table: dict[tuple[Zone, str], list[tuple[int, Check]]] = defaultdict(list)
    for position, check in enumerate(checks):
        by_table[check.zone, check.table].append((position, check))
    frames = []
    for key, asked in by_table.items():
        grouped = tables[key].groupBy(*[check.column for _, check in asked]).agg(F.count(F.lit(1)).alias("n"))
        used = [
            F.struct(
                F.lit(position).cast("int").alias("tag"),
                F.lit(check.argument).alias("parent"),
                F.col(check.column).cast("bigint").alias("value"),
            )
            for position, check in asked
        ]
        exploded = grouped.select("n", F.explode(F.array(*used)).alias("use"))
        frames.append(exploded.select("use.tag", "use.parent", "use.value", "n"))
    return _union(frames).where(F.col("value").isNotNull()).groupBy("tag", "parent", "value").agg(F.sum("n").alias("n"))


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
    lost = uses.join(_union(keys), on=["parent", "value"], how="left_anti") if keys else uses
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


def _union(frames: Sequence[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionAll, frames)


def _collected(frames: Iterable[DataFrame]) -> list[Row]:
    """The rows of several small frames of one schema, in one job. Only counts ever come to the driver."""
    parts = list(frames)
    return _union(parts).collect() if parts else []


def _chunks(items: Sequence[tuple[Zone, str]], size: int) -> Iterator[Sequence[tuple[Zone, str]]]:
    iterator = iter(items)
    while chunk := tuple(islice(iterator, size)):
        yield chunk
