"""Which codes the mapped rows hold, how often, and how many people they touch."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.mapping.compile import PERSON_BOUND
from pipelines.mapping.plausibility import sound
from pipelines.mapping.spec import Target
from pipelines.omop.declared import row_table
from pipelines.storage.tables import TableStore

Code = tuple[str, str]
"""A vocabulary and a code in the form in which it is looked up."""

CODE_COLUMNS = ("vocabulary", "code")


@dataclass(frozen=True)
class Use:
    """Rows that hold a code and people they belong to; a row that holds it in two fields counts twice."""

    rows: int = 0
    people: int = 0


def codes_frame(store: TableStore, codes: Sequence[Code]) -> DataFrame:
    """Codes as a DataFrame with `vocabulary` and `code`."""
    return store.session.createDataFrame(sorted(set(codes)), "vocabulary string, code string")


def codes_used(store: TableStore) -> DataFrame:
    """One row per code that mapped rows hold (`vocabulary`, `code`)."""
    codes = store.read(Zone.INTERMEDIATE, "codes")
    return codes.where(F.col("code").isNotNull()).select(*CODE_COLUMNS).distinct()


def uses(store: TableStore, codes: Sequence[Code], by_source: bool = False) -> dict[tuple[str, ...], Use]:
    """The use of each code by vocabulary and code, with `by_source` also by source; codes in no row are left out."""
    if not codes:
        return {}
    keys = (*CODE_COLUMNS, "source") if by_source else CODE_COLUMNS
    wanted = codes_frame(store, codes)
    in_use = store.read(Zone.INTERMEDIATE, "codes").join(F.broadcast(wanted), on=list(CODE_COLUMNS), how="left_semi")
    counted = in_use.groupBy(*keys).agg(F.sum("rows").alias("rows")).toArrow().to_pylist()
    found = in_use.select("target", "source", "field").distinct().toArrow().to_pylist()
    targets = {row_table(Target(row["target"]), row["source"]): Target(row["target"]) for row in found}
    places = {(row_table(Target(row["target"]), row["source"]), row["field"]) for row in found}
    touched = [_touched(store, table, targets[table], field, wanted) for table, field in sorted(places)]
    people: dict[tuple[str, ...], int] = {}
    if touched:
        grouped = union_all(touched).groupBy(*keys).agg(F.count_distinct("person_id").alias("people"))
        people = {tuple(row[name] for name in keys): row["people"] for row in grouped.toArrow().to_pylist()}
    by_key = ((tuple(row[name] for name in keys), row["rows"]) for row in counted)
    return {key: Use(rows, people.get(key, 0)) for key, rows in by_key}


def _touched(store: TableStore, table: TableName, target: Target, field: str, wanted: DataFrame) -> DataFrame:
    """One row per mapped row that holds one of the codes in a field: the code, the source and the person."""
    mapped = store.read(*table)
    rows = (sound(mapped) if target in PERSON_BOUND else mapped).select(
        F.col(f"{field}_vocabulary").alias("vocabulary"),
        F.col(f"{field}_code").alias("code"),
        F.col("_source").alias("source"),
        "person_id",
    )
    return rows.join(F.broadcast(wanted), on=list(CODE_COLUMNS), how="left_semi")
