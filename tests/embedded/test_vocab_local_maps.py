"""Local code maps as CDM tables, on the embedded engine."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.cdm import cdm_tables
from pipelines.contracts.zones import Zone
from pipelines.declaring import map_inputs
from pipelines.mapping.spec import load_mappings
from pipelines.omop.row_tables import SOURCE_TO_CONCEPT_MAP
from pipelines.omop.tables import map_tables
from pipelines.run_context import RunContext
from pipelines.runner import selected
from pipelines.settings import PACKAGED_MAPPINGS_DIR, SOURCES
from pipelines.terminology.vocabulary import store_local_vocabularies
from tests.builders.runs import run_in
from vocab.athena import TABLES, read_table
from vocab.load import DEMO_DIR, LOCAL_DIR
from vocab.local_maps import (
    LocalMap,
    approved_maps,
    current_targets,
    read_local_maps,
    source_to_concept_map,
)
from vocab.local_vocabularies import VOCABULARY_VERSION

FOLDER = PACKAGED_MAPPINGS_DIR / "concepts"


DAY = date(2026, 1, 5)


@pytest.fixture
def run(sail: SparkSession, tmp_path: Path) -> RunContext:
    """A lakehouse with the vocabulary of the demonstration and no maps; the inputs have those of the project."""
    run = run_in(sail, tmp_path, DAY, SOURCES)
    for stem in ("VOCABULARY", "CONCEPT", "CONCEPT_RELATIONSHIP"):
        rows = read_table(sail, DEMO_DIR, stem).unionByName(read_table(sail, LOCAL_DIR, stem))
        run.store.overwrite(rows, Zone.VOCABULARY, stem.lower(), TABLES[stem])
    synonyms = read_table(sail, DEMO_DIR, "CONCEPT_SYNONYM")
    run.store.overwrite(synonyms, Zone.VOCABULARY, "concept_synonym", TABLES["CONCEPT_SYNONYM"])
    mappings = load_mappings(PACKAGED_MAPPINGS_DIR, run.inputs.contracts)
    return replace(run, inputs=replace(run.inputs, mappings=mappings, local_maps=read_local_maps(FOLDER)))


def store_maps(run: RunContext) -> tuple[LocalMap, ...]:
    """Name the vocabularies of the maps that fit and make the table of the maps; gives those maps."""
    inputs = map_inputs(run, ())
    store_local_vocabularies(run.store, run.settings, inputs.local_maps)
    run.runner.run(selected(map_tables(inputs), [SOURCE_TO_CONCEPT_MAP]))
    return inputs.local_maps


def test_stored_maps_fit_the_cdm_and_their_vocabularies_are_known(run: RunContext) -> None:
    store = run.store
    approved = approved_maps(store.session, store_maps(run))
    for name in (SOURCE_TO_CONCEPT_MAP, "vocabulary"):
        stored = store.read(Zone.VOCABULARY, name)
        lengths = {
            column.name: column.length
            for column in cdm_tables("5.4")[name].columns
            if column.length and column.type == "string"
        }
        longest = stored.agg(*[F.max(F.char_length(column)).alias(column) for column in lengths]).collect()[0].asDict()
        assert [column for column, most in lengths.items() if (longest[column] or 0) > most] == []
    known = {row.vocabulary_id for row in store.read(Zone.VOCABULARY, "vocabulary").collect()}
    used = store.read(Zone.VOCABULARY, SOURCE_TO_CONCEPT_MAP)
    assert {row.source_vocabulary_id for row in used.select("source_vocabulary_id").distinct().collect()} <= known
    assert {"NHS CLD Accomm", "NHS Gender", "SNOMED", "CTV3"} <= known
    # Two different codes stay different when shortened.
    keys = ["source_vocabulary_id", "source_code", "target_concept_id"]
    assert used.select(*keys).distinct().count() == approved.select("source_vocabulary_id", *keys[1:]).distinct().count()


def test_every_map_of_the_project_fits_the_vocabulary_of_the_demonstration(run: RunContext) -> None:
    written, used = run.inputs.local_maps, store_maps(run)
    assert [(row.file, row.line) for row in used] == [(row.file, row.line) for row in written]
    moved = {(row.target_concept_id, now.target_concept_id) for row, now in zip(written, used, strict=True) if row != now}
    assert moved == {(5083, 722455)}  # Telehealth as older vocabularies have it


def test_an_older_vocabulary_keeps_the_concepts_that_it_has(run: RunContext) -> None:
    store = run.store
    concepts = store.read(Zone.VOCABULARY, "concept").where(F.col("concept_id") != 722455)
    standard = F.when(F.col("concept_id") == 5083, F.lit("S")).otherwise(F.col("standard_concept"))
    older = concepts.withColumn("standard_concept", standard).toArrow()
    store.overwrite(store.session.createDataFrame(older), Zone.VOCABULARY, "concept", TABLES["CONCEPT"])
    assert store_maps(run) == run.inputs.local_maps


@pytest.mark.parametrize(
    ("standard", "mapped_to", "expected"),
    [
        ({5083}, [], []),  # an older vocabulary
        ({722455}, [722455], [(5083, 722455, "Visit")]),
        ({722455, 9202}, [722455, 9202], []),  # to two concepts: nobody said which
        (set(), [722455], []),  # to one that is not standard itself
    ],
)
def test_a_target_is_followed_to_the_one_standard_concept_that_replaced_it(
    sail: SparkSession, standard: set[int], mapped_to: list[int], expected: list[tuple[int, int, str]]
) -> None:
    ids = {5083, 722455, 9202}
    concepts = sail.createDataFrame(
        [(number, "Visit", "S" if number in standard else None, None) for number in ids],
        "concept_id bigint, vocabulary_id string, standard_concept string, invalid_reason string",
    )
    edges = sail.createDataFrame(
        [(5083, number, "Maps to", None) for number in mapped_to] + [(5083, 9202, "Is a", None)],
        "concept_id_1 bigint, concept_id_2 bigint, relationship_id string, invalid_reason string",
    )
    assert list(map(tuple, current_targets([5083], concepts, edges).collect())) == expected


def test_vocabularies_of_maps_that_are_gone_go_too_and_nothing_else_is_touched(run: RunContext) -> None:
    store = run.store
    before = {row.vocabulary_id for row in store.read(Zone.VOCABULARY, "vocabulary").collect()}
    store_maps(run)
    versions = [store.version(Zone.VOCABULARY, name) for name in ("vocabulary", SOURCE_TO_CONCEPT_MAP)]
    store_maps(run)
    assert [store.version(Zone.VOCABULARY, name) for name in ("vocabulary", SOURCE_TO_CONCEPT_MAP)] == versions
    bare = run.settings.model_copy(update={"mappings_dir": run.settings.storage.landing})
    store_maps(replace(run, settings=bare, inputs=replace(run.inputs, local_maps=())))
    after = store.read(Zone.VOCABULARY, "vocabulary")
    assert {row.vocabulary_id for row in after.collect()} == before
    assert after.where(F.col("vocabulary_version") == VOCABULARY_VERSION).count() == 0
    assert store.read(Zone.VOCABULARY, SOURCE_TO_CONCEPT_MAP).count() == 0


def test_a_long_code_is_cut_with_a_mark_and_kept_in_full(sail: SparkSession, tmp_path: Path) -> None:
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
