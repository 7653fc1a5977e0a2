"""Frames that count the rows which break each check; nothing here runs a query.

An engine takes longer to plan the checks of a hundred small tables than to compute them. So each table adds little to the
plan: one aggregate, and the keys and links that have to be compared. What follows is done once for all tables; `position`
says which check, or which field, a row of such a frame is about.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.frames import rows_of_group, union_all
from pipelines.columns.shapes import identifies
from pipelines.quality.checks import MAX_ID, Check, Rule, Zone
from vocab.schemas import ddl_of

MEASURE_SCHEMA: Final = {
    "zone": "string",
    "table": "string",
    "column": "string",
    "rule": "string",
    "argument": "string",
    "rows": "bigint",
    "violations": "bigint",
}
"""Columns of stored measures: one row per check that could be made. What is allowed is not among them."""

STRUCTURAL: Final = (Rule.EXISTS, Rule.COLUMNS, Rule.NO_IDENTIFIER)
ROW_RULES: Final = (Rule.REQUIRED, Rule.LENGTH, Rule.ID_RANGE, Rule.PERIOD, Rule.POSTCODE_AREA, Rule.CONTENTS, Rule.WITHHELD)
CONCEPT_RULES: Final = (Rule.CONCEPT, Rule.DOMAIN, Rule.CONCEPT_CLASS, Rule.STANDARD)

TableKey = tuple[Zone, str]

Tables = Mapping[TableKey, DataFrame]
"""The tables under check by zone and name."""


def measures(session: SparkSession, checks: Sequence[Check], tables: Tables) -> DataFrame:
    """One row per check: the rows of the table and those that break the check.

    A check on a column that is not there is left out: the `columns` check of the table counts it. `foreign_key` and the
    concept rules look into the table pointed to, which has to be given too; a link to a table that is not there is lost.
    """
    columns = {key: {field.name: field.dataType.simpleString() for field in frame.schema} for key, frame in tables.items()}
    by_rows = [check for check in checks if check.rule not in STRUCTURAL]
    usable = [check for check in by_rows if set(check.columns) <= set(columns.get(_table(check), ()))]
    by_table: dict[TableKey, list[Check]] = defaultdict(list)
    for check in usable:
        by_table[_table(check)].append(check)
    ordered = [check for asked in by_table.values() for check in asked]
    positions = {check: position for position, check in enumerate(ordered)}
    structure = [(check, *_structure(check, columns.get(_table(check)))) for check in checks if check.rule in STRUCTURAL]
    named = session.createDataFrame(
        [
            *((None, *_names(check), rows, violations) for check, rows, violations in structure),
            *((position, *_names(check), 0, 0) for check, position in positions.items()),
        ],
        ddl_of({"position": "int"} | MEASURE_SCHEMA),
    )
    if not ordered:
        return named.select(*MEASURE_SCHEMA)
    counts = union_all(
        [
            _own_counts(by_table, positions, tables),
            *_duplicates(positions, tables, columns),
            *_lost_links(by_table, positions, tables),
            *_concept_faults(by_table, positions, tables),
        ]
    )
    summed = counts.groupBy("position").agg(F.sum("rows").alias("counted"), F.sum("violations").alias("found"))
    described = named.join(summed, on="position", how="left")
    return described.select(
        *[name for name in MEASURE_SCHEMA if name not in ("rows", "violations")],
        F.coalesce(F.col("counted"), F.col("rows")).alias("rows"),
        F.coalesce(F.col("found"), F.col("violations")).alias("violations"),
    )


def _table(check: Check) -> TableKey:
    return check.zone, check.table


def _names(check: Check) -> tuple[str, ...]:
    return str(check.zone), check.table, check.column, str(check.rule), check.argument


def _structure(check: Check, columns: Mapping[str, str] | None) -> tuple[int, int]:
    """Rows and violations of a check on the table's columns alone; the rows counted are columns, or the table itself."""
    if check.rule is Rule.EXISTS:
        return 1, 0 if columns is not None else 1
    if columns is None:
        return 0, 0
    if check.rule is Rule.NO_IDENTIFIER:
        return len(columns), sum(name in columns for name in check.argument.split(","))
    expected = dict(part.partition(" ")[::2] for part in check.argument.split(","))
    wrong = [name for name, kind in expected.items() if name not in columns or (kind and columns[name] != kind)]
    extra = [name for name in columns if name not in expected] if check.zone is not Zone.BRONZE else []
    return len(expected), len(wrong) + len(extra)


def _own_counts(by_table: Mapping[TableKey, list[Check]], positions: Mapping[Check, int], tables: Tables) -> DataFrame:
    """The rows of every check's table, with those that break a rule on the values of one row: one scan of each table.

    Where only rows and values that are there are counted, an engine may answer from the statistics of the files.
    """
    frames = []
    for key, asked in by_table.items():
        counters = {check: F.count(_marked(check)) for check in asked if check.rule in ROW_RULES}
        counted = tables[key].agg(
            F.count(F.lit(1)).alias("_rows"), *[counter.alias(f"_{positions[check]}") for check, counter in counters.items()]
        )
        found = [_of_row_rule(check, positions[check]) if check in counters else F.lit(0).cast("bigint") for check in asked]
        frames.append(
            counted.select(_number(positions[asked[0]], "first"), F.col("_rows").alias("rows"), F.array(*found).alias("found"))
        )
    by_check = union_all(frames).select("first", "rows", F.posexplode("found").alias("place", "violations"))
    return by_check.select((F.col("first") + F.col("place")).alias("position"), "rows", "violations")


def _marked(check: Check) -> Column:
    """What is counted for a row rule: the values that are there, or a mark on each row that breaks the rule."""
    if check.rule is Rule.CONTENTS:
        return F.when(F.exists(F.array(*check.columns), identifies), F.lit(1))
    value = F.col(check.column)
    if check.rule in (Rule.REQUIRED, Rule.WITHHELD):
        return value
    if check.rule is Rule.LENGTH:
        breaks = F.char_length(value) > int(check.argument)
    elif check.rule is Rule.ID_RANGE:
        breaks = ~value.between(1, MAX_ID)
    elif check.rule is Rule.PERIOD:
        breaks = value > F.col(check.argument)
    else:
        breaks = ~value.rlike("^[A-Z]{1,2}$")
    return F.when(breaks, F.lit(1))


def _of_row_rule(check: Check, position: int) -> Column:
    counted = F.col(f"_{position}")
    return F.col("_rows") - counted if check.rule is Rule.REQUIRED else counted


def _duplicates(
    positions: Mapping[Check, int], tables: Tables, columns: Mapping[TableKey, Mapping[str, str]]
) -> Iterator[DataFrame]:
    """Rows that share their key with another row.

    Keys are compared by hash: in a third of the time that their text takes, and in less memory. A number has a hash of its
    own, so 64 bits are exact for it; any other key has 128. (Sail fails to group twice over a column without nulls, so a
    number is not taken as it is.) Each table is grouped by itself: all in one, with the table as part of the key, takes
    five times as long.
    """
    for check, position in positions.items():
        if check.rule is Rule.UNIQUE:
            complete = reduce(Column.__and__, [F.col(name).isNotNull() for name in check.columns])
            hashes = {"key": F.xxhash64(*check.columns)}
            if [columns[_table(check)][name] for name in check.columns] != ["bigint"]:
                hashes["key2"] = F.xxhash64(F.lit("second"), *check.columns)
            keys = tables[_table(check)].where(complete).select(*[value.alias(name) for name, value in hashes.items()])
            counted = keys.groupBy(*hashes).agg(rows_of_group().alias("n"))
            yield _violations(counted.where(F.col("n") > 1).select(_number(position), "n"))


def _lost_links(
    by_table: Mapping[TableKey, list[Check]], positions: Mapping[Check, int], tables: Tables
) -> Iterator[DataFrame]:
    """Rows that point to a row which is not there: one scan of each table, and one comparison for all of them."""
    asked = {
        key: [check for check in checks if check.rule is Rule.FOREIGN_KEY]
        for key, checks in by_table.items()
        if any(check.rule is Rule.FOREIGN_KEY for check in checks)
    }
    if not asked:
        return
    links = [check for checks in asked.values() for check in checks]
    parents = list(dict.fromkeys(check.argument for check in links))
    uses, numbers = [], {check: number for number, check in enumerate(links)}
    for key, checks in asked.items():
        values = F.array(*[F.col(check.column).cast("bigint") for check in checks])
        uses.append(tables[key].select(_number(numbers[checks[0]], "first"), values.alias("values")))
    used = union_all(uses).select("first", F.posexplode("values").alias("place", "value")).where(F.col("value").isNotNull())
    named = used.sparkSession.createDataFrame(
        [(numbers[check], positions[check], parents.index(check.argument)) for check in links],
        "link int, position int, parent int",
    )
    pointing = used.select((F.col("first") + F.col("place")).alias("link"), "value").join(
        F.broadcast(named), on="link", how="inner"
    )
    there = [
        tables[Zone.OMOP, table].select(_number(number, "parent"), F.col(column).cast("bigint").alias("value"))
        for number, (table, _, column) in enumerate(parent.partition(".") for parent in parents)
        if (Zone.OMOP, table) in tables
    ]
    lost = _without(pointing, union_all(there)) if there else pointing
    yield _violations(lost.groupBy("position").agg(rows_of_group().alias("n")))


def _without(pointing: DataFrame, there: DataFrame) -> DataFrame:
    """The links to a row that is not `there`. Sail knows the size of neither and keeps in memory what is named first: the ids,
    and not the links, of which there are ten times as many.
    """
    known = there.select(F.col("parent").alias("_parent"), F.col("value").alias("_value"))
    on = (F.col("_parent") == F.col("parent")) & (F.col("_value") == F.col("value"))
    return known.join(pointing, on=on, how="right").where(F.col("_value").isNull())


def _concept_faults(
    by_table: Mapping[TableKey, list[Check]], positions: Mapping[Check, int], tables: Tables
) -> Iterator[DataFrame]:
    """Rows whose concept is not what the field is for. Concept 0 says "unmapped" and always passes.

    Rows are grouped by all concepts of their table first, which leaves far fewer than the table has.
    """
    concepts = tables.get((Zone.OMOP, "concept"))
    asked = {
        key: [check for check in checks if check.rule in CONCEPT_RULES]
        for key, checks in by_table.items()
        if any(check.rule in CONCEPT_RULES for check in checks)
    }
    if concepts is None or not asked:
        return
    fields = [(key, name) for key, checks in asked.items() for name in dict.fromkeys(check.column for check in checks)]
    uses = [_concept_uses(tables[key], [(n, name) for n, (at, name) in enumerate(fields) if at == key]) for key in asked]
    by_field = union_all(uses).select("first", "n", F.posexplode("values").alias("place", "value")).where(F.col("value") != 0)
    known = concepts.select(
        F.col("concept_id").cast("bigint").alias("value"),
        F.lit(True).alias("known"),
        F.col("domain_id").alias("domain"),
        F.col("concept_class_id").alias("concept_class"),
        F.coalesce((F.col("standard_concept") == "S") & F.col("invalid_reason").isNull(), F.lit(False)).alias("standard"),
    )
    rules = concepts.sparkSession.createDataFrame(
        [
            (fields.index((key, check.column)), positions[check], str(check.rule), check.argument)
            for key, checks in asked.items()
            for check in checks
        ],
        "field int, position int, rule string, argument string",
    )
    used = by_field.select((F.col("first") + F.col("place")).alias("field"), "value", "n")
    kinds = used.join(known, on="value", how="left").join(rules, on="field", how="inner")
    yield _violations(kinds.where(_concept_breaks()).groupBy("position").agg(F.sum("n").alias("n")))


def _concept_uses(frame: DataFrame, fields: Sequence[tuple[int, str]]) -> DataFrame:
    """How often each combination of concepts occurs in some fields of a table."""
    grouped = frame.groupBy(*[name for _, name in fields]).agg(rows_of_group().alias("n"))
    values = F.array(*[F.col(name).cast("bigint") for _, name in fields])
    return grouped.select(_number(fields[0][0], "first"), "n", values.alias("values"))


def _concept_breaks() -> Column:
    """True where the concept of a use breaks the rule: it is not known, or known and of another kind."""
    rule = F.col("rule")
    other_kind = (
        F.when(rule == str(Rule.DOMAIN), ~F.col("domain").eqNullSafe(F.col("argument")))
        .when(rule == str(Rule.CONCEPT_CLASS), ~F.col("concept_class").eqNullSafe(F.col("argument")))
        .when(rule == str(Rule.STANDARD), ~F.col("standard"))
        .otherwise(F.lit(False))
    )
    return F.when(F.col("known").isNull(), rule == str(Rule.CONCEPT)).otherwise(other_kind)


def _number(value: int, name: str = "position") -> Column:
    return F.lit(value).cast("int").alias(name)


def _violations(counted: DataFrame) -> DataFrame:
    """Counts that add the `n` violations found at a position, and no rows."""
    rows = F.lit(0).cast("bigint").alias("rows")
    return counted.select(F.col("position").cast("int").alias("position"), rows, F.col("n").cast("bigint").alias("violations"))
