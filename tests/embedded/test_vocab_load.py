"""Athena files as typed tables, on the embedded engine."""

import shutil
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.cdm import cdm_tables
from pipelines.contracts.zones import Zone
from pipelines.settings import Settings, load_settings, storage_paths
from pipelines.storage.tables import TableStore
from pipelines.terminology.vocabulary import load
from vocab.athena import MOST_TASKS, OPTIONAL_TABLES, TABLES, read_table
from vocab.errors import VocabularyError
from vocab.load import DEMO_DIR, LOADED, LOCAL_DIR, LOCAL_STEMS, load_vocabulary
from vocab.synthetic import write_download

CONCEPT_HEADER = "\t".join(TABLES["CONCEPT"])


def lines_of(folder: Path, stem: str) -> int:
    return len((folder / f"{stem}.csv").read_text(encoding="utf-8").splitlines()) - 1


@pytest.mark.parametrize("stem", TABLES)
def test_every_line_becomes_a_typed_row(sail: SparkSession, stem: str) -> None:
    table = read_table(sail, DEMO_DIR, stem)
    assert dict(table.dtypes) == TABLES[stem]
    assert table.count() == lines_of(DEMO_DIR, stem)


def test_names_keep_bare_quotes_and_other_letters(sail: SparkSession, tmp_path: Path) -> None:
    rows = [
        '1\t5" needle "fine" gauge\tDevice\tSNOMED\tPhysical Object\tS\t11\t19700101\t20991231\t',
        "2\t\"Ménière's disease\tCondition\tSNOMED\tDisorder\t\t22\t20020131\t20200130\tU",
        "3\tname, with | signs\tCondition\tSNOMED\tDisorder\tC\t33\t19700101\t20991231\tD",
    ]
    (tmp_path / "CONCEPT.csv").write_text("\n".join([CONCEPT_HEADER, *rows]) + "\n", encoding="utf-8")
    found = read_table(sail, tmp_path, "CONCEPT").orderBy("concept_id").collect()
    assert [row.concept_name for row in found] == ['5" needle "fine" gauge', "\"Ménière's disease", "name, with | signs"]
    assert [row.standard_concept for row in found] == ["S", None, "C"]
    assert [row.invalid_reason for row in found] == [None, "U", "D"]
    assert (found[1].valid_start_date, found[1].valid_end_date) == (date(2002, 1, 31), date(2020, 1, 30))


@pytest.mark.parametrize("stem", ["CONCEPT", "CONCEPT_RELATIONSHIP", "DRUG_STRENGTH"])
def test_dates_are_read_with_and_without_dashes(sail: SparkSession, tmp_path: Path, stem: str) -> None:
    columns = [*TABLES[stem]]
    dates = [("19700101", "20991231"), ("1970-01-01", "2099-12-31"), ("2024-02-29", "20240229")]
    cells = {name: "1" for name in columns if TABLES[stem][name] == "bigint"} | {"invalid_reason": ""}
    lines = [
        "\t".join((cells | {"valid_start_date": start, "valid_end_date": end}).get(name, "") for name in columns)
        for start, end in dates
    ]
    (tmp_path / f"{stem}.csv").write_text("\n".join(["\t".join(columns), *lines]) + "\n", encoding="utf-8")
    found = read_table(sail, tmp_path, stem).select("valid_start_date", "valid_end_date").collect()
    first, last, leap = date(1970, 1, 1), date(2099, 12, 31), date(2024, 2, 29)
    assert sorted(tuple(row) for row in found) == [(first, last), (first, last), (leap, leap)]


def test_columns_are_read_by_name(sail: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "DOMAIN.csv").write_text("domain_concept_id\textra\tdomain_id\tdomain_name\n19\tx\tCondition\tCond\n", "utf-8")
    (row,) = read_table(sail, tmp_path, "DOMAIN").collect()
    assert row.asDict() == {"domain_id": "Condition", "domain_name": "Cond", "domain_concept_id": 19}


def test_many_blocks_give_the_rows_of_one(sail: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vocab.athena.BLOCK_BYTES", 20_000)
    table = read_table(sail, DEMO_DIR, "CONCEPT_RELATIONSHIP")
    counted = table.agg(F.count("concept_id_1").alias("rows"), F.sum("concept_id_2").alias("total")).collect()[0]
    lines = (DEMO_DIR / "CONCEPT_RELATIONSHIP.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert (counted.rows, counted.total) == (len(lines), sum(int(line.split("\t")[1]) for line in lines))


def test_a_file_of_many_blocks_is_read_by_few_tasks(
    sail: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vocab.athena.BLOCK_BYTES", 5_000)
    store = TableStore(sail, storage_paths(settings))
    store.overwrite(read_table(sail, DEMO_DIR, "CONCEPT"), Zone.VOCABULARY, "concept", TABLES["CONCEPT"])
    files = list(Path(store.path(Zone.VOCABULARY, "concept")).glob("*.parquet"))
    assert 1 < len(files) <= MOST_TASKS
    assert store.read(Zone.VOCABULARY, "concept").count() == lines_of(DEMO_DIR, "CONCEPT")


def test_a_vocabulary_is_loaded_with_the_concepts_of_this_project(sail: SparkSession) -> None:
    written: dict[str, int] = {}

    def write(rows: DataFrame, name: str, schema: dict[str, str]) -> None:
        assert dict(rows.dtypes) == schema
        written[name] = rows.count()

    summary = load_vocabulary(sail, DEMO_DIR, write)
    assert summary.release == "v5.0 30-AUG-24 (demo)"
    assert set(written) == set(summary.tables) == {stem.lower() for stem in LOADED}
    assert {stem: written[stem.lower()] for stem in OPTIONAL_TABLES} == dict.fromkeys(OPTIONAL_TABLES, 0)
    assert written["concept"] == lines_of(DEMO_DIR, "CONCEPT") + lines_of(LOCAL_DIR, "CONCEPT")
    assert written["domain"] == lines_of(DEMO_DIR, "DOMAIN")


def test_the_files_of_cdm_5_5_are_loaded_where_a_download_has_them(sail: SparkSession, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DEMO_DIR, tmp_path / "athena"))
    files = {
        "CONCEPT_METADATA": ["concept_id", "317009", "concept_category", "A", "reuse_status", ""],
        "CONCEPT_RELATIONSHIP_METADATA": [
            *("concept_id_1", "45562456", "concept_id_2", "317009", "relationship_id", "Maps to"),
            *("relationship_predicate_id", "exactMatch", "relationship_group", "", "mapping_source", "manual"),
            *("confidence", "0.75", "mapping_tool", "", "mapper", "somebody", "reviewer", ""),
        ],
        "PACK_CONTENT": ["pack_concept_id", "1", "drug_concept_id", "2", "amount", "28", "box_size", ""],
    }
    for stem, cells in files.items():
        (folder / f"{stem}.csv").write_text("\t".join(cells[::2]) + "\n" + "\t".join(cells[1::2]) + "\n", "utf-8")
    found: dict[str, list[tuple[object, ...]]] = {}
    load_vocabulary(sail, folder, lambda rows, name, _schema: found.update({name: [tuple(row) for row in rows.collect()]}))
    assert found["concept_metadata"] == [(317009, "A", None)]
    assert found["concept_relationship_metadata"] == [
        (45562456, 317009, "Maps to", "exactMatch", None, "manual", 0.75, None, "somebody", None)
    ]
    assert found["pack_content"] == [(1, 2, 28, None)]


def test_the_files_of_cdm_5_5_have_the_columns_of_its_tables() -> None:
    new = {name for name, table in cdm_tables("5.5").items() if table.is_vocabulary} - set(cdm_tables("5.4"))
    assert {stem.lower(): schema for stem, schema in OPTIONAL_TABLES.items()} == {
        name: cdm_tables("5.5")[name].schema for name in new
    }


@pytest.mark.parametrize(
    "engine",
    ["{kind: spark, master: null}", "{kind: spark, master: 'spark://host:7077'}", "{kind: remote}"],
    ids=["submitted", "cluster", "connect"],
)
def test_a_zip_that_other_machines_would_not_see_is_refused(engine: str, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "athena"), "zip", DEMO_DIR))
    roots = (f"storage.{root}={tmp_path / root}" for root in ("landing", "restricted", "deidentified"))
    with pytest.raises(VocabularyError, match=r"athena.zip: a zip is unpacked on this machine.* give the folder"):
        load(load_settings("test", overrides=[f"engine={engine}", *roots]), archive)
    assert [path.name for path in tmp_path.iterdir()] == ["athena.zip"]


def test_nothing_is_written_from_a_download_with_a_fault(sail: SparkSession, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DEMO_DIR, tmp_path / "athena"))
    (folder / "DRUG_STRENGTH.csv").unlink()
    written: list[str] = []
    with pytest.raises(VocabularyError, match=r"DRUG_STRENGTH.csv is missing"):
        load_vocabulary(sail, folder, lambda _rows, name, _schema: written.append(name))
    assert written == []


def test_loaded_ids_are_unique_and_relationships_have_both_ends(sail: SparkSession) -> None:
    tables: dict[str, DataFrame] = {}
    load_vocabulary(sail, DEMO_DIR, lambda rows, name, _schema: tables.update({name: rows}))
    ids = tables["concept"].groupBy("concept_id").agg(F.count(F.lit(1)).alias("rows"))
    assert ids.where(F.col("rows") > 1).count() == 0
    edges = tables["concept_relationship"]
    pairs = edges.select(F.col("concept_id_1").alias("a"), F.col("concept_id_2").alias("b"), "relationship_id")
    reverse = tables["relationship"].select("relationship_id", "reverse_relationship_id")
    back = pairs.join(reverse, on="relationship_id", how="left").select(
        F.col("b").alias("a"), F.col("a").alias("b"), F.col("reverse_relationship_id").alias("relationship_id")
    )
    project_side = F.col("a") < 2_000_000_000
    assert back.where(project_side).join(pairs, on=["a", "b", "relationship_id"], how="left_anti").count() == 0
    known = tables["concept"].select(F.col("concept_id").alias("a"))
    assert pairs.join(known, on="a", how="left_anti").count() == 0
    assert (
        tables["concept_ancestor"]
        .join(known.withColumnRenamed("a", "descendant_concept_id"), on="descendant_concept_id", how="left_anti")
        .count()
        == 0
    )


def test_a_synthetic_download_loads_whole(sail: SparkSession, tmp_path: Path) -> None:
    written: dict[str, int] = {}
    rows = write_download(tmp_path, 2_000)
    summary = load_vocabulary(sail, tmp_path, lambda frame, name, _schema: written.update({name: frame.count()}))
    assert summary.warnings == ()
    own = {stem: lines_of(DEMO_DIR, stem) + (lines_of(LOCAL_DIR, stem) if stem in LOCAL_STEMS else 0) for stem in TABLES}
    assert written == {stem.lower(): rows[stem] + own[stem] for stem in TABLES} | {
        "concept_metadata": 0,
        "concept_relationship_metadata": 0,
        "pack_content": 0,
    }
