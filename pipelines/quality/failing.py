"""Which rows break the checks that failed: their keys, and never a value, for somebody with rights to the restricted root."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import rows_of_group, union_all
from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.tables import BelongsTo, Inputs, Partitions, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.quality.checks import LINE_COLUMNS, Check, Rule
from pipelines.quality.checks import Zone as CheckedZone
from pipelines.quality.gates import FAILING_ROWS, FAILING_SCHEMA, GateReport
from pipelines.quality.measure_concepts import KIND_RULES
from pipelines.quality.row_rules import BROKEN, is_of_row
from vocab.schemas import ddl_of

MOST_CHECKS: Final = 50
"""Of so many failed checks rows are looked for: where more fail, something is wrong with all of the load."""

_CONCEPT: Final = TableName(Zone.VOCABULARY, "concept")


def failing_rows_table(
    report: GateReport, run_id: str, checked: Collection[TableName], cdm: Mapping[str, CdmTable], most: int
) -> Table:
    """The rows that break the failed and waived checks of a run, at most `most` of each, those with the least keys.

    Checks of a table as a whole and of the ledger have no rows. Without any failed check it has no row of the run.
    """
    broken = [result.check for result in (*report.failures, *report.waived)]
    placed = [(check, _place(check, checked)) for check in broken if has_rows(check)]
    found = [(check, place) for check, place in placed if place is not None][:MOST_CHECKS]
    asked = found if most else []
    reads = {name for check, place in asked for name in _reads(check, place, checked)}

    def make(made: Inputs) -> DataFrame:
        frames = [_keys(made, check, place, checked, cdm, most, run_id) for check, place in asked]
        return union_all(frames) if frames else made.session.createDataFrame([], ddl_of(FAILING_SCHEMA))

    return Table(
        name=TableName(Zone.LEDGER, FAILING_ROWS),
        grain="one row per run, failed check and row that breaks it",
        schema=FAILING_SCHEMA,
        belongs_to=BelongsTo.WHOLE,
        make=make,
        inputs=tuple(sorted(reads)),
        parameters=repr(([check for check, _ in asked], most)),
        partition_by=("run_id",),
        replaces=Partitions("run_id", (run_id,)),
    )


def has_rows(check: Check) -> bool:
    """Whether the rows that break a check can be found."""
    return is_of_row(check) or (check.rule in OTHER_RULES and not check.concepts)


def _place(check: Check, checked: Collection[TableName]) -> TableName | None:
    """Where the table of a check is; a table of the CDM may be one of the vocabulary."""
    zones = (Zone.OMOP, Zone.VOCABULARY) if check.zone is CheckedZone.OMOP else (Zone(check.zone.value),)
    return next((TableName(zone, check.table) for zone in zones if TableName(zone, check.table) in checked), None)


def _reads(check: Check, place: TableName, checked: Collection[TableName]) -> Iterator[TableName]:
    yield place
    if check.rule in KIND_RULES:
        yield _CONCEPT
    if check.rule is Rule.FOREIGN_KEY:
        parent = _parent(check, checked)
        if parent is not None:
            yield parent


def _parent(check: Check, checked: Collection[TableName]) -> TableName | None:
    return _place(Check(CheckedZone.OMOP, check.argument.partition(".")[0], Rule.EXISTS), checked)


def _keys(
    made: Inputs,
    check: Check,
    place: TableName,
    checked: Collection[TableName],
    cdm: Mapping[str, CdmTable],
    most: int,
    run_id: str,
) -> DataFrame:
    frame = made.read(*place)
    broken = _broken(made, check, frame, checked)
    named = [F.concat(F.lit(f"{name}="), F.col(name).cast("string")) for name in key_columns(place, frame.columns, cdm)]
    fixed = {"run_id": run_id, "zone": str(check.zone), "table": check.table, "column": check.column}
    fixed |= {"rule": str(check.rule), "argument": check.argument}
    keys = broken.select(F.concat_ws(", ", *named).alias("key")).orderBy("key").limit(most)
    return keys.select(*[F.lit(value).alias(name) for name, value in fixed.items()], "key")


def key_columns(place: TableName, columns: Sequence[str], cdm: Mapping[str, CdmTable]) -> list[str]:
    """The columns that name a row of a table: file and line, the key of silver, the primary key or all ids that are no concept.

    A row of the CDM is named by that of silver too, where it has one, because its own id may be what is wrong.
    """
    if place.zone is Zone.BRONZE:
        return list(LINE_COLUMNS)
    if place.zone is Zone.SILVER:
        return ["row_key"]
    primary = cdm[place.name].primary_key
    ids = [column.name for column in cdm[place.name].columns if column.name.endswith("_id") and not column.is_concept]
    return [name for name in ([primary] if primary else ids) + ["_row_key"] if name in columns]


def _broken(made: Inputs, check: Check, frame: DataFrame, checked: Collection[TableName]) -> DataFrame:
    value = F.col(check.columns[0])
    if is_of_row(check):
        return frame.where(BROKEN[check.rule](check))
    if check.rule is Rule.UNIQUE:
        complete = reduce(Column.__and__, [F.col(name).isNotNull() for name in check.columns])
        groups = frame.where(complete).groupBy(*check.columns).agg(rows_of_group().alias("_rows"))
        shared = groups.where(F.col("_rows") > 1).select(*check.columns)
        return frame.join(shared, on=list(check.columns), how="left_semi")
    if check.rule is Rule.FOREIGN_KEY:
        given, parent = frame.where(value.isNotNull()), _parent(check, checked)
        if parent is None:
            return given
        there = made.read(*parent).select(F.col(check.argument.partition(".")[2]).cast("bigint").alias(check.column))
        return given.join(there, on=check.column, how="left_anti")
    fitting = made.read(*_CONCEPT).where(_fits(check)).select(F.col("concept_id").cast("bigint").alias(check.column))
    wrong = frame.where(value != 0).join(fitting, on=check.column, how="left_anti")
    if check.rule is Rule.CONCEPT:
        return wrong
    known = made.read(*_CONCEPT).select(F.col("concept_id").cast("bigint").alias(check.column))
    return wrong.join(known, on=check.column, how="left_semi")


def _fits(check: Check) -> Column:
    if check.rule is Rule.DOMAIN:
        return F.col("domain_id") == check.argument
    if check.rule is Rule.CONCEPT_CLASS:
        return F.col("concept_class_id") == check.argument
    if check.rule is Rule.STANDARD:
        return (F.col("standard_concept") == "S") & F.col("invalid_reason").isNull()
    return F.lit(True)


OTHER_RULES: Final = (Rule.UNIQUE, Rule.FOREIGN_KEY, *KIND_RULES)
"""Rules of which rows can be found, beside those on the values of one row."""
