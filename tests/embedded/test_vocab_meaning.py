"""The check of meaning over a loaded vocabulary, and the retiring of local concepts at a load, on the embedded engine."""

import shutil
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.source import load_contracts
from pipelines.contracts.zones import Zone
from pipelines.mapping.spec import Target, load_mappings
from pipelines.settings import Settings, storage_paths
from pipelines.storage.tables import TableStore
from pipelines.terminology.meaning import concepts_of, faults_of_constants, local_constants
from pipelines.terminology.meaning_report import check_meaning, local_concepts, units_in_use
from vocab.athena import TABLES, read_table
from vocab.equivalents import equivalents, retired
from vocab.load import DEMO_DIR, LOCAL_DIR, LOCAL_STEMS, load_vocabulary
from vocab.local_maps import read_local_maps, with_equivalents

COLLAPSE, CHOKING = 2_000_000_614, 2_000_000_607
ATHENA = 4_999_001


@pytest.fixture
def store(sail: SparkSession, settings: Settings) -> TableStore:
    """A lakehouse with the demonstration vocabulary and nothing mapped."""
    store = TableStore(sail, storage_paths(settings))
    for stem in ("CONCEPT", "CONCEPT_SYNONYM", "CONCEPT_RELATIONSHIP"):
        rows = read_table(sail, DEMO_DIR, stem)
        if stem in LOCAL_STEMS:
            rows = rows.unionByName(read_table(sail, LOCAL_DIR, stem))
        store.overwrite(rows, Zone.VOCABULARY, stem.lower(), TABLES[stem])
    return store


def test_no_fault_is_open_in_maps_constants_and_results(store: TableStore, settings: Settings) -> None:
    found = check_meaning(store, settings, {})
    assert (found.unfit, found.maps, found.constants, found.units) == ((), (), (), ())
    assert len(found.broader) > 100
    assert found.faults == 0


def test_a_constant_that_its_note_does_not_tell_is_a_fault(store: TableStore, settings: Settings) -> None:
    mappings = load_mappings(settings.mappings_dir, load_contracts(settings.mappings_dir, ("acute", "gp")))
    assert faults_of_constants(store, mappings) == ()
    # 2000000332 is what a referral's code is the value of.
    assert local_constants(mappings.values()) >= {2_000_000_321, 2_000_000_620, 2_000_000_332}
    acute = mappings["acute"]
    (rule,) = (rule for rule in acute.rules if rule.to is Target.VISIT_DETAIL and rule.fields["concept"].constant == 32037)
    wrong = rule.fields["concept"].model_copy(update={"note": "Emergency Room Visit"})
    changed = rule.model_copy(update={"fields": rule.fields | {"concept": wrong}})
    faults = faults_of_constants(store, {"acute": acute.model_copy(update={"rules": (changed,)})})
    assert [(fault.rule, fault.field, fault.concept_id) for fault in faults] == [(rule.name, "concept", 32037)]


def test_results_with_a_unit_of_another_dimension_are_counted(store: TableStore) -> None:
    assert units_in_use(store) == ()
    columns = {"measurement_id": "bigint", "measurement_concept_id": "bigint", "unit_concept_id": "bigint"}
    pairs = [(3013682, 8753)] * 9 + [(3020779, 8753)] * 20 + [(3034485, 9075)] * 3 + [(3013682, 0), (0, 8753)]
    rows = store.session.createDataFrame(
        [(number, *pair) for number, pair in enumerate(pairs)],
        "measurement_id bigint, measurement_concept_id bigint, unit_concept_id bigint",
    )
    store.overwrite(rows, Zone.OMOP, "measurement", columns)
    assert [use.as_row() for use in units_in_use(store)] == [
        {"result": "Urea nitrogen [Mass/volume] in Serum or Plasma in millimole per liter", "rows": 9},
        {"result": "Albumin/Creatinine [Mass Ratio] in Urine in milligram per millimole of creatinine", "rows": "*"},
    ]


def with_concepts(folder: Path, *rows: str) -> Path:
    """A copy of the demonstration with more concepts."""
    newer = Path(shutil.copytree(DEMO_DIR, folder / "athena"))
    with (newer / "CONCEPT.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"{row}\t19700101\t20991231\t\n" for row in rows)
    return newer


def test_a_load_retires_a_local_concept_that_the_download_has_an_equivalent_for(sail: SparkSession, tmp_path: Path) -> None:
    newer = with_concepts(
        tmp_path,
        f"{ATHENA}\tcollapse\tCondition\tSNOMED\tClinical Finding\tS\t271787007",
        f"{ATHENA + 1}\tChoking, emergency call\tCondition\tSNOMED\tClinical Finding\tS\t1",
    )
    tables: dict[str, DataFrame] = {}
    summary = load_vocabulary(sail, newer, lambda rows, name, _schema: tables.update({name: rows}))
    assert summary.newly_retired == 1
    assert summary.replaced == retired(LOCAL_DIR) | {COLLAPSE: ATHENA}
    (collapse,) = tables["concept"].where(f"concept_id = {COLLAPSE}").collect()
    assert (collapse.standard_concept, collapse.invalid_reason) == (None, "U")
    edges = tables["concept_relationship"].where(f"{COLLAPSE} in (concept_id_1, concept_id_2)").collect()
    assert sorted((row.concept_id_1, row.concept_id_2, row.relationship_id) for row in edges) == [
        (ATHENA, COLLAPSE, "Concept replaces"),
        (ATHENA, COLLAPSE, "Mapped from"),
        (COLLAPSE, ATHENA, "Concept replaced by"),
        (COLLAPSE, ATHENA, "Maps to"),
    ]
    assert tables["concept_ancestor"].where(f"descendant_concept_id = {COLLAPSE}").collect() == []
    (choking,) = tables["concept"].where(f"concept_id = {CHOKING}").collect()
    assert choking.standard_concept == "S"  # another domain is another meaning


def test_what_is_not_sure_or_named_by_a_mapping_is_not_retired(sail: SparkSession, tmp_path: Path) -> None:
    twice = with_concepts(
        tmp_path,
        f"{ATHENA}\tCollapse\tCondition\tSNOMED\tClinical Finding\tS\t271787007",
        f"{ATHENA + 1}\tCollapse\tCondition\tOMOP Extension\tClinical Finding\tS\tOMOP1",
        f"{ATHENA + 2}\tMethod of admission\tObservation\tSNOMED\tObservable Entity\tS\t2",
        f"{ATHENA + 3}\tSwab of blood\tSpecimen\tSNOMED\tSpecimen\t\t3",
    )
    concepts, synonyms = (read_table(sail, twice, stem) for stem in ("CONCEPT", "CONCEPT_SYNONYM"))
    assert equivalents(LOCAL_DIR, concepts, synonyms) == {2_000_000_321: ATHENA + 2}
    assert equivalents(LOCAL_DIR, concepts, synonyms, {2_000_000_321}) == {}


def test_a_synonym_retires_too(sail: SparkSession) -> None:
    concepts = sail.createDataFrame(
        [(7, "Fainted and fell", "Condition", "S", None)],
        "concept_id bigint, concept_name string, domain_id string, standard_concept string, invalid_reason string",
    )
    synonyms = sail.createDataFrame([(7, "(Collapse)")], "concept_id bigint, concept_synonym_name string")
    assert equivalents(LOCAL_DIR, concepts, synonyms) == {COLLAPSE: 7}


def test_maps_to_a_retired_concept_lead_to_its_equivalent() -> None:
    maps = read_local_maps(Path(__file__).parents[2] / "mappings" / "concepts")
    moved = with_equivalents(maps, {COLLAPSE: (ATHENA, "SNOMED")})
    changed = [
        (new.source_code, new.target_concept_id, new.target_vocabulary_id)
        for new, old in zip(moved, maps, strict=True)
        if new != old
    ]
    assert changed == [("70", ATHENA, "SNOMED")]


def test_candidates_are_found_by_name_and_by_what_similar_codes_map_to(sail: SparkSession, settings: Settings) -> None:
    store = TableStore(sail, storage_paths(settings))
    facts = ("Observation", "Clinical Finding")
    rows = [
        (2_000_000_160, "Care plan agreed", facts[0], "NHS OMOP", facts[1], "S", "a", None, None, None),
        (1, "Agreed care plan", facts[0], "SNOMED", facts[1], "S", "1", None, None, None),
        (2, "Agreeing on a plan", facts[0], "SNOMED", facts[1], "S", "2", None, None, None),
        (3, "Care plan was agreed", facts[0], "Read", facts[1], None, "3", None, None, None),
        (4, "Care plan agreed", "Procedure", "SNOMED", "Procedure", "S", "4", None, None, None),
    ]
    schema = TABLES["CONCEPT"]
    ddl = ", ".join(f"{name} {kind}" for name, kind in schema.items())
    store.overwrite(sail.createDataFrame(rows, ddl), Zone.VOCABULARY, "concept", schema)
    synonyms = sail.createDataFrame(
        [(1, "Something", 1)], "concept_id bigint, concept_synonym_name string, language_concept_id bigint"
    )
    store.overwrite(synonyms, Zone.VOCABULARY, "concept_synonym", TABLES["CONCEPT_SYNONYM"])
    kinds = ", ".join(f"{name} {kind}" for name, kind in TABLES["CONCEPT_RELATIONSHIP"].items())
    edges = sail.createDataFrame([(3, 2, "Maps to", None, None, None), (2, 2, "Maps to", None, None, None)], kinds)
    store.overwrite(edges, Zone.VOCABULARY, "concept_relationship", TABLES["CONCEPT_RELATIONSHIP"])
    (found,) = local_concepts(store)
    assert found.concept_id == 2_000_000_160
    assert {candidate.concept_id for candidate in found.candidates} == {1, 2}
    assert concepts_of(store, [1])[1].synonyms == ("Something",)
