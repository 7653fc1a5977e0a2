"""Descriptions of codes: from local maps, the vocabulary, and code tables that sources deliver."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipelines.columns.frames import rows_of_group, union_all
from pipelines.contracts.zones import Zone
from pipelines.errors import ContractError
from pipelines.storage.tables import TableStore
from pipelines.terminology.usage import CODE_COLUMNS, Code, codes_frame
from vocab.codes import normal_form, normalise
from vocab.concept_map import DRUG_NAME
from vocab.local_maps import LocalMap
from vocab.written_files import InvalidTextError, read_rows

CODE_TABLES_FILE = "code_tables.csv"
"""Name of the file in the mappings folder that lists the delivered tables which describe codes."""

CODE_TABLE_COLUMNS = ("source", "entity", "vocabulary", "code_column", "description_column")


@dataclass(frozen=True)
class CodeTable:
    """A silver table in which one column describes the code in another."""

    source: str
    entity: str
    vocabulary: str
    code_column: str
    description_column: str


def read_code_tables(mappings_dir: Path) -> tuple[CodeTable, ...]:
    """The code tables of a mappings folder; none if it has no such file. Raises ContractError with the first faulty line."""
    path = mappings_dir / CODE_TABLES_FILE
    if not path.exists():
        return ()
    try:
        rows = read_rows(path, CODE_TABLE_COLUMNS)
    except OSError as error:
        raise ContractError(f"{path}: {error.strerror}") from error
    except InvalidTextError as error:
        raise ContractError(f"{path} {error}") from error
    tables = []
    for line, row in rows:
        empty = [name for name in CODE_TABLE_COLUMNS if not (row[name] or "").strip()]
        if empty:
            raise ContractError(f"{path} line {line}: {', '.join(empty)} is empty")
        tables.append(CodeTable(**{name: row[name].strip() for name in CODE_TABLE_COLUMNS}))
    return tuple(tables)


def forms_of(store: TableStore, codes: Iterable[Code]) -> dict[Code, str]:
    """The normalised form of each code; codes of blanks only are left out."""
    codes = sorted(set(codes))
    if not codes:
        return {}
    form = normal_form(F.col("vocabulary"), F.col("code"))
    rows = codes_frame(store, codes).select(*CODE_COLUMNS, form.alias("form")).toArrow().to_pylist()
    return {(row["vocabulary"], row["code"]): row["form"] for row in rows if row["form"]}


def descriptions(
    store: TableStore, codes: Sequence[Code], maps: Iterable[LocalMap], tables: Iterable[CodeTable]
) -> dict[Code, str]:
    """Descriptions by code.

    A local map, approved or not, takes precedence over the vocabulary, and the vocabulary over a code table. A name of a
    medicine describes itself. A code that has no description is left out.
    """
    if not codes:
        return {}
    wanted = codes_frame(store, codes)
    names = {(vocabulary, code): code for vocabulary, code in codes if vocabulary == DRUG_NAME}
    return (
        names | _from_code_tables(store, wanted, tables) | _from_vocabulary(store, wanted) | _from_maps(store, set(codes), maps)
    )


def _from_maps(store: TableStore, wanted: set[Code], maps: Iterable[LocalMap]) -> dict[Code, str]:
    vocabularies = {vocabulary for vocabulary, _ in wanted}
    described = {
        (row.source_vocabulary_id, row.source_code): row.source_code_description
        for row in maps
        if row.source_vocabulary_id in vocabularies and row.source_code_description
    }
    forms = forms_of(store, described)
    found = {
        (vocabulary, forms[vocabulary, code]): text
        for (vocabulary, code), text in described.items()
        if (vocabulary, code) in forms
    }
    return {code: text for code, text in found.items() if code in wanted}


def _from_vocabulary(store: TableStore, wanted: DataFrame) -> dict[Code, str]:
    """Names of the source concepts in the code map, which may be those of a less specific code."""
    code_map = store.read(Zone.INTERMEDIATE, "code_map").where(F.col("source_concept_id") > 0)
    known = code_map.select(
        F.col("source_vocabulary_id").alias("vocabulary"), F.col("source_code").alias("code"), "source_concept_id"
    ).distinct()
    asked = known.join(F.broadcast(wanted), on=list(CODE_COLUMNS), how="left_semi")
    concepts = store.read(Zone.VOCABULARY, "concept").select(F.col("concept_id").alias("source_concept_id"), "concept_name")
    named = concepts.join(F.broadcast(asked), on="source_concept_id", how="inner")
    rows = named.groupBy(*CODE_COLUMNS).agg(F.min("concept_name").alias("text")).toArrow().to_pylist()
    return {(row["vocabulary"], row["code"]): row["text"] for row in rows}


def _from_code_tables(store: TableStore, wanted: DataFrame, tables: Iterable[CodeTable]) -> dict[Code, str]:
    """The most frequent description of each code."""
    delivered = [table for table in tables if store.exists(Zone.SILVER, f"{table.source}_{table.entity}")]
    described = [_described(store, table, wanted) for table in delivered]
    if not described:
        return {}
    counted = union_all(described).groupBy(*CODE_COLUMNS, "text").agg(rows_of_group().alias("n"))
    most_frequent = Window.partitionBy(*CODE_COLUMNS).orderBy(F.col("n").desc(), "text")
    first = counted.withColumn("place", F.row_number().over(most_frequent)).where(F.col("place") == 1)
    return {(row["vocabulary"], row["code"]): row["text"] for row in first.toArrow().to_pylist()}


def _described(store: TableStore, table: CodeTable, wanted: DataFrame) -> DataFrame:
    text = F.nullif(F.trim(F.col(table.description_column)), F.lit(""))
    rows = store.read(Zone.SILVER, f"{table.source}_{table.entity}").select(
        F.lit(table.vocabulary).alias("vocabulary"),
        normalise(table.vocabulary, F.col(table.code_column)).alias("code"),
        text.alias("text"),
    )
    return rows.where(F.col("text").isNotNull()).join(F.broadcast(wanted), on=list(CODE_COLUMNS), how="left_semi")
