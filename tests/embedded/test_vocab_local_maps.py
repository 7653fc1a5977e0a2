"""Local code maps as CDM tables, on the embedded engine."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.cdm import cdm_tables
from pipelines.contracts.zones import Zone
from pipelines.settings import PACKAGED_MAPPINGS_DIR, Settings
from pipelines.storage.tables import TableStore
from pipelines.terminology.vocabulary import store_local_maps
from vocab.athena import TABLES, read_table
from vocab.load import DEMO_DIR
from vocab.local_maps import approved_maps, read_local_maps, source_to_concept_map
from vocab.local_vocabularies import VOCABULARY_VERSION

FOLDER = PACKAGED_MAPPINGS_DIR / "concepts"


@pytest.fixture
def store(sail: SparkSession, settings: Settings) -> TableStore:
    """A lakehouse that holds the vocabularies of the demonstration and no maps."""
    store = TableStore(sail, settings.storage.restricted, settings.storage.deidentified)
    store.overwrite(read_table(sail, DEMO_DIR, "VOCABULARY"), Zone.VOCABULARY, "vocabulary", TABLES["VOCABULARY"])
    return store


def test_stored_maps_fit_the_cdm_and_their_vocabularies_are_known(store: TableStore, settings: Settings) -> None:
    maps = read_local_maps(FOLDER)
    approved = approved_maps(store.session, maps)
    store_local_maps(store, settings, maps, approved)
    for name in ("source_to_concept_map", "vocabulary"):
        stored = store.read(Zone.VOCABULARY, name)
        lengths = {one.name: one.length for one in cdm_tables("5.4")[name].columns if one.length and one.type == "string"}
        longest = stored.agg(*[F.max(F.char_length(column)).alias(column) for column in lengths]).collect()[0].asDict()
        assert [column for column, most in lengths.items() if (longest[column] or 0) > most] == []
    known = {row.vocabulary_id for row in store.read(Zone.VOCABULARY, "vocabulary").collect()}
    used = store.read(Zone.VOCABULARY, "source_to_concept_map")
    assert {row.source_vocabulary_id for row in used.select("source_vocabulary_id").distinct().collect()} <= known
    assert {"NHS CLD Accomm", "NHS Gender", "SNOMED", "CTV3"} <= known
    # Cutting makes no two codes one.
    keys = ["source_vocabulary_id", "source_code", "target_concept_id"]
    assert used.select(*keys).distinct().count() == approved.select("source_vocabulary_id", *keys[1:]).distinct().count()


def test_vocabularies_of_maps_that_are_gone_go_too_and_nothing_else_is_touched(store: TableStore, settings: Settings) -> None:
    maps = read_local_maps(FOLDER)
    approved = approved_maps(store.session, maps)
    before = {row.vocabulary_id for row in store.read(Zone.VOCABULARY, "vocabulary").collect()}
    store_local_maps(store, settings, maps, approved)
    version = store.version(Zone.VOCABULARY, "vocabulary")
    store_local_maps(store, settings, maps, approved)
    assert store.version(Zone.VOCABULARY, "vocabulary") == version
    bare = settings.model_copy(update={"mappings_dir": settings.storage.landing})
    store_local_maps(store, bare, (), approved.limit(0))
    after = store.read(Zone.VOCABULARY, "vocabulary")
    assert {row.vocabulary_id for row in after.collect()} == before
    assert after.where(F.col("vocabulary_version") == VOCABULARY_VERSION).count() == 0


def test_a_long_code_is_cut_with_a_mark_and_told_in_full(sail: SparkSession, tmp_path: Path) -> None:
    header = (
        "source_code,source_concept_id,source_vocabulary_id,source_code_description,target_concept_id,target_vocabulary_id,"
        "valid_start_date,valid_end_date,invalid_reason,status,reference"
    )
    end = ",0,List,,9201,Visit,1970-01-01,2099-12-31,,APPROVED,a list"
    codes = ["a" * 50, "a" * 50 + "b", "a" * 50 + "c"]
    (tmp_path / "one.csv").write_text("\n".join([header, *(code + end for code in codes)]) + "\n", encoding="utf-8")
    rows = source_to_concept_map(approved_maps(sail, read_local_maps(tmp_path))).orderBy("source_code_description").collect()
    assert rows[0].source_code == codes[0]
    assert [row.source_code[:42] for row in rows[1:]] == ["a" * 41 + "~"] * 2
    assert {len(row.source_code) for row in rows} == {50}
    assert len({row.source_code for row in rows}) == 3
    assert [row.source_code_description for row in rows] == codes
