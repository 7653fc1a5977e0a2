"""Frames that count the rows which break each check; nothing here runs a query.

An engine takes longer to plan the checks of a hundred small tables than to compute them. So each table adds little to the
plan: one aggregate, and the keys and links that have to be compared. What follows is done once for all tables; `position`
says which check, or which field, a row of such a frame is about.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.frames import rows_of_group, union_all
from pipelines.quality.checks import Check, Rule, Zone
from pipelines.quality.counting import Positions, TableKey, Tables, counts, number, table_of, violations
from pipelines.quality.measure_concepts import concept_counts
from pipelines.quality.measure_people import needs_people, people_counts
from pipelines.quality.row_rules import BROKEN, is_of_row, is_said_without_concept
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

GIVEN_RULES: Final = (Rule.FUTURE, Rule.LOW, Rule.HIGH, Rule.CONCEPT_GIVEN, Rule.SOURCE_CONCEPT_GIVEN)
"""Rules for which the rows with a value count."""

TABLE_RULES: Final = (Rule.NOT_EMPTY, Rule.UNIQUE, Rule.FOREIGN_KEY, Rule.CONCEPT, Rule.DOMAIN, Rule.CONCEPT_CLASS)
"""Rules on more than one row, for which all rows of the table count."""


def measures(session: SparkSession, checks: Sequence[Check], tables: Tables) -> DataFrame:
    """One row per check: the rows of the table and those that break the check.

    A check on a table or column that is not there is left out: the `exists` or `columns` check counts it. Checks that compare
    tables look into the other table, which has to be given too; a link to a table that is not there is lost. Where there is
    nothing to count, of a concept that no row has for example, a check has no rows.
    """
    columns = {key: {field.name: field.dataType.simpleString() for field in frame.schema} for key, frame in tables.items()}
    by_rows = [check for check in checks if check.rule not in STRUCTURAL]
    there = [check for check in by_rows if table_of(check) in columns]
    usable = [check for check in there if set(check.columns) <= set(columns[table_of(check)])]
    by_table: dict[TableKey, list[Check]] = defaultdict(list)
    for check in usable:
        by_table[table_of(check)].append(check)
    ordered = [check for asked in by_table.values() for check in asked]
    positions = {check: position for position, check in enumerate(ordered)}
    structure = [(check, *_structure(check, columns.get(table_of(check)))) for check in checks if check.rule in STRUCTURAL]
    named = session.createDataFrame(
        [
            *((None, *_names(check), rows, broken) for check, rows, broken in structure),
            *((position, *_names(check), 0, 0) for check, position in positions.items()),
        ],
        ddl_of({"position": "int"} | MEASURE_SCHEMA),
    )
    frames = [
        *_own_counts(by_table, positions, tables),
        *_duplicates(positions, tables, columns),
        *_lost_links(by_table, positions, tables),
        *concept_counts(by_table, positions, tables),
        *people_counts([check for check in ordered if needs_people(check)], positions, tables),
    ]
    if not frames:
        return named.select(*MEASURE_SCHEMA)
    summed = union_all(frames).groupBy("position").agg(F.sum("rows").alias("counted"), F.sum("violations").alias("found"))
    described = named.join(summed, on="position", how="left")
    return described.select(
        *[name for name in MEASURE_SCHEMA if name not in ("rows", "violations")],
        F.coalesce(F.col("counted"), F.col("rows")).alias("rows"),
        F.coalesce(F.col("found"), F.col("violations")).alias("violations"),
    )


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


def _own_counts(by_table: Mapping[TableKey, list[Check]], positions: Positions, tables: Tables) -> Iterator[DataFrame]:
    """The rows that count for every check on the values of one row, and those that break it: one scan of each table.

    Where only rows and values that are there are counted, an engine may answer from the statistics of the files.
    """
    frames = []
    for key, checks in by_table.items():
        asked = [check for check in checks if check.rule in TABLE_RULES or is_of_row(check)]
        if asked:
            needed = _Aggregates()
            found = [_entry(positions[check], *_of_table(check, needed)) for check in asked]
            counted = tables[key].agg(*[column.alias(name) for name, column in needed.columns.values()])
            frames.append(counted.select(F.array(*found).alias("found")))
    if frames:
        yield counts(union_all(frames).select(F.explode("found").alias("entry")).select("entry.*"))


def _entry(position: int, rows: Column, broken: Column) -> Column:
    parts = {"rows": rows, "violations": broken}
    return F.struct(number(position), *[value.cast("bigint").alias(name) for name, value in parts.items()])


@dataclass
class _Aggregates:
    """What has to be counted in a table; what several checks need is counted once."""

    columns: dict[str, tuple[str, Column]] = field(default_factory=dict)

    def count(self, meaning: str, value: Column) -> Column:
        """The number of rows where the value is there; `meaning` tells it from any other."""
        name, _ = self.columns.setdefault(meaning, (f"_{len(self.columns)}", F.count(value)))
        return F.col(name)

    def given(self, column: str) -> Column:
        """The number of rows with a value in the column."""
        return self.count(column, F.col(column))

    def where(self, meaning: str, condition: Column) -> Column:
        """The number of rows of which a condition holds."""
        return self.count(meaning, F.when(condition, F.lit(1)))


def _of_table(check: Check, of: _Aggregates) -> tuple[Column, Column]:
    """The rows of a table that count for the check, and those that break it."""
    rows = of.count("rows", F.lit(1))
    if check.rule is Rule.NOT_EMPTY:
        return F.lit(1), (rows == 0).cast("int")
    if check.rule in TABLE_RULES:
        return rows, F.lit(0)
    if check.rule is Rule.REQUIRED:
        return rows, rows - of.given(check.column)
    if check.rule is Rule.WITHHELD:
        return rows, of.given(check.column)
    return _counting(check, of, rows), of.where(repr(check), BROKEN[check.rule](check))


def _counting(check: Check, of: _Aggregates, rows: Column) -> Column:
    """The rows that count for a check on the values of one row."""
    if check.rule is Rule.PERIOD:
        end = F.col(check.argument)
        return of.count(f"{check.column} and {check.argument}", F.when(end.isNotNull(), F.col(check.column)))
    if check.rule in GIVEN_RULES:
        given = of.given(check.column)
        is_optional = check.rule is Rule.CONCEPT_GIVEN and check.argument
        return given + of.where(f"{check.argument} alone", is_said_without_concept(check)) if is_optional else given
    return rows


def _duplicates(positions: Positions, tables: Tables, columns: Mapping[TableKey, Mapping[str, str]]) -> Iterator[DataFrame]:
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
            if [columns[table_of(check)][name] for name in check.columns] != ["bigint"]:
                hashes["key2"] = F.xxhash64(F.lit("second"), *check.columns)
            keys = tables[table_of(check)].where(complete).select(*[value.alias(name) for name, value in hashes.items()])
            counted = keys.groupBy(*hashes).agg(rows_of_group().alias("n"))
            yield violations(counted.where(F.col("n") > 1).select(number(position), "n"))


def _lost_links(by_table: Mapping[TableKey, list[Check]], positions: Positions, tables: Tables) -> Iterator[DataFrame]:
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
    uses, numbers = [], {check: place for place, check in enumerate(links)}
    for key, checks in asked.items():
        values = F.array(*[F.col(check.column).cast("bigint") for check in checks])
        uses.append(tables[key].select(number(numbers[checks[0]], "first"), values.alias("values")))
    used = union_all(uses).select("first", F.posexplode("values").alias("place", "value")).where(F.col("value").isNotNull())
    named = used.sparkSession.createDataFrame(
        [(numbers[check], positions[check], parents.index(check.argument)) for check in links],
        "link int, position int, parent int",
    )
    pointing = used.select((F.col("first") + F.col("place")).alias("link"), "value").join(
        F.broadcast(named), on="link", how="inner"
    )
    there = [
        tables[Zone.OMOP, table].select(number(place, "parent"), F.col(column).cast("bigint").alias("value"))
        for place, (table, _, column) in enumerate(parent.partition(".") for parent in parents)
        if (Zone.OMOP, table) in tables
    ]
    lost = _without(pointing, union_all(there)) if there else pointing
    yield violations(lost.groupBy("position").agg(rows_of_group().alias("n")))


def _without(pointing: DataFrame, there: DataFrame) -> DataFrame:
    """The links to a row that is not `there`. Sail knows the size of neither and keeps in memory what is named first: the ids,
    and not the links, of which there are ten times as many.
    """
    known = there.select(F.col("parent").alias("_parent"), F.col("value").alias("_value"))
    on = (F.col("_parent") == F.col("parent")) & (F.col("_value") == F.col("value"))
    return known.join(pointing, on=on, how="right").where(F.col("_value").isNull())
