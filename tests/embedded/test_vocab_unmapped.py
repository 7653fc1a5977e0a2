"""The work list of unmapped codes and the effect of approvals, on a small lakehouse and the embedded engine."""

import csv
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipelines.contracts.source import load_contracts
from pipelines.contracts.zones import Zone
from pipelines.errors import ContractError
from pipelines.omop.codes import CODE_MAP_SCHEMA, CODES_SCHEMA, UNMAPPED_SCHEMA
from pipelines.settings import PACKAGED_MAPPINGS_DIR, SOURCES, Settings, storage_paths
from pipelines.storage.tables import TableStore
from pipelines.terminology.descriptions import read_code_tables
from pipelines.terminology.usage import Use, uses
from pipelines.terminology.work_list import apply, candidates_for, for_usagi, review, work_list
from vocab.athena import TABLES
from vocab.candidates import Description, standard_names
from vocab.errors import VocabularyError
from vocab.local_maps import COLUMNS, approved_maps, read_local_maps
from vocab.usagi import read_usagi, write_usagi

EARLY, LATE = date(2024, 1, 5), date(2025, 3, 6)
ROWS_SCHEMA = {
    "_source": "string",
    "person_id": "bigint",
    "concept_vocabulary": "string",
    "concept_code": "string",
    "unit_vocabulary": "string",
    "unit_code": "string",
    "_set_aside": "string",
}


def put(store: TableStore, zone: Zone, name: str, schema: dict[str, str], rows: list[tuple[Any, ...]]) -> None:
    frame = store.session.createDataFrame(rows, ", ".join(f"{column} {kind}" for column, kind in schema.items()))
    store.overwrite(frame, zone, name, schema)


def concept(number: int, name: str, domain: str = "Condition", standard: str | None = "S", code: str = "") -> tuple[Any, ...]:
    return (number, name, domain, "SNOMED", "Finding", standard, code or str(number), EARLY, LATE, None)


CONCEPTS = [
    concept(0, "No matching concept", "Metadata", None),
    concept(1, "Chest tightness"),
    concept(2, "Tight chest wall structure", "Spec Anatomic Site"),
    concept(3, "Chest tightness", "Condition", None),
    concept(4, "milligram per litre", "Unit"),
    concept(5, "Milligram of litre wall"),
    concept(6, "A withdrawn finding", "Condition", None),
    concept(7, "Asthma"),
]


@pytest.fixture
def store(sail: SparkSession, settings: Settings) -> TableStore:
    """Twelve people with a local code, one with a withdrawn one, nine with a unit as the laboratory writes it."""
    store = TableStore(sail, storage_paths(settings))
    put(store, Zone.VOCABULARY, "concept", TABLES["CONCEPT"], CONCEPTS)
    put(store, Zone.VOCABULARY, "concept_synonym", TABLES["CONCEPT_SYNONYM"], [(7, "Wheezy bronchial illness", 1)])
    gp: list[tuple[object, ...]] = [("gp", person, "EMIS Local", "local1", None, None) for person in [*range(1, 13), 1, 1]]
    gp += [("gp", 1, "SNOMED", "6", None, None)]
    acute: list[tuple[object, ...]] = [("acute", person, "EMIS Local", "local1", None, None) for person in (1, 2, 99)]
    acute += [("acute", person, "SNOMED", "7", "NHS Unit", "mg per litre") for person in range(20, 29)]
    implausible = ("gp", 99, "SNOMED", "6", None, None, "start_after_extract")  # of somebody else, and not in OMOP
    put(store, Zone.INTERMEDIATE, "stem_gp", ROWS_SCHEMA, [*[(*row, None) for row in gp], implausible])
    put(store, Zone.INTERMEDIATE, "stem_acute", ROWS_SCHEMA, [(*row, None) for row in acute])
    use = [
        ("event", "gp", "observation", "gp_rule", "concept", "EMIS Local", "local1", None, 14, EARLY, LATE),
        ("event", "acute", "result", "acute_rule", "concept", "EMIS Local", "local1", None, 3, EARLY, EARLY),
        ("event", "gp", "observation", "gp_rule", "concept", "SNOMED", "6", None, 1, LATE, LATE),
        ("event", "acute", "result", "acute_rule", "concept", "SNOMED", "7", None, 9, EARLY, LATE),
        ("event", "acute", "result", "acute_rule", "unit", "NHS Unit", "mg per litre", None, 9, EARLY, LATE),
    ]
    put(store, Zone.INTERMEDIATE, "codes", CODES_SCHEMA, use)
    code_map = [
        ("EMIS Local", "local1", 0, 0, 0, None, None, "none"),
        ("SNOMED", "6", 0, 6, 0, None, None, "none"),
        ("SNOMED", "7", 0, 7, 7, "Condition", None, "athena"),
        ("NHS Unit", "mg per litre", 0, 0, 0, None, None, "none"),
    ]
    put(store, Zone.INTERMEDIATE, "code_map", CODE_MAP_SCHEMA, code_map)
    unmapped = [
        (vocabulary, code, source, rule, field, code == "6", rows, 1, first, last)
        for _, source, _, rule, field, vocabulary, code, _, rows, first, last in use
        if code != "7"
    ]
    put(store, Zone.INTERMEDIATE, "unmapped_codes", UNMAPPED_SCHEMA, unmapped)
    dictionary = [
        (" LOCAL1 ", "Tight chest"),
        ("local1", "tightness chest"),
        ("LOCAL1", "tightness chest"),
        ("local9", "other"),
    ]
    put(store, Zone.SILVER, "gp_clinical_code", {"read_term_id": "string", "term": "string"}, dictionary)
    return store


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a folder of mappings of their own: one unit is mapped, another described, a code table declared."""
    folder = tmp_path / "mappings"
    (folder / "concepts").mkdir(parents=True)
    rows = [
        "g per litre,0,NHS Unit,gram per litre,4,UCUM,1970-01-01,2099-12-31,,APPROVED,a list",
        "MG  per litre,0,NHS Unit,milligram per litre,4,UCUM,1970-01-01,2099-12-31,,UNAPPROVED,a list",
    ]
    (folder / "concepts" / "nhs_unit.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n", encoding="utf-8")
    (folder / "code_tables.csv").write_text(
        "source,entity,vocabulary,code_column,description_column\n"
        "gp,clinical_code,EMIS Local,read_term_id,term\n"
        "gp,never_delivered,EMIS Local,a,b\n",
        encoding="utf-8",
    )
    return settings.model_copy(update={"mappings_dir": folder})


def test_rows_and_people_are_counted_by_code_and_by_source(store: TableStore) -> None:
    codes = [("EMIS Local", "local1"), ("NHS Unit", "mg per litre"), ("SNOMED", "404")]
    assert uses(store, codes) == {codes[0]: Use(17, 13), codes[1]: Use(9, 9)}
    assert uses(store, codes, by_source=True) == {
        (*codes[0], "gp"): Use(14, 12),
        (*codes[0], "acute"): Use(3, 3),
        (*codes[1], "acute"): Use(9, 9),
    }
    assert uses(store, []) == {}


def test_the_work_list_describes_counts_and_suggests(store: TableStore, own: Settings) -> None:
    items = work_list(store, own, 3)
    shown = [
        (row["vocabulary"], row["code"], row["source"], row["description"], row["known"], row["rows"], row["people"])
        for row in (item.as_row() for item in items)
    ]
    assert shown == [
        ("EMIS Local", "local1", "gp", "tightness chest", False, 14, 12),
        ("NHS Unit", "mg per litre", "acute", "milligram per litre", False, 9, 9),
        ("EMIS Local", "local1", "acute", "tightness chest", False, "*", "*"),
        ("SNOMED", "6", "gp", "A withdrawn finding", True, "*", "*"),
    ]
    first = items[0].as_row()
    assert (first["first_seen"], first["last_seen"]) == ("2024-01", "2025-03")
    # The same words in another order are exact; a concept that is not standard or not similar is not a candidate.
    assert (items[0].candidates[0].concept_id, items[0].candidates[0].score) == (1, 100.0)
    assert 3 not in {candidate.concept_id for item in items for candidate in item.candidates}
    # Candidates for units are units only.
    assert [candidate.concept_id for candidate in items[1].candidates] == [4]
    assert items[3].candidates == ()


def test_without_suggestions_no_names_are_compared(store: TableStore, own: Settings) -> None:
    assert {item.candidates for item in work_list(store, own, 0)} == {()}


def test_candidates_are_found_by_synonym_ending_and_typing_error(store: TableStore) -> None:
    asked = [
        Description(1, "wheezy bronchial ilness", "concept"),
        Description(2, "Asthmatic", "concept"),
        Description(3, "of an", "concept"),
        Description(4, "zzzzz", "concept"),
    ]
    names = standard_names(*(store.read(Zone.VOCABULARY, name) for name in ("concept", "concept_synonym")))
    found = candidates_for(asked, names, 1)
    assert {key: [(candidate.concept_id, candidate.name) for candidate in some] for key, some in found.items()} == {
        1: [(7, "Asthma")],
        2: [(7, "Asthma")],
    }
    assert found[1][0].score > 95
    assert candidates_for(asked[2:], names, 1) == {}


def approve(path: Path, **targets: int) -> Path:
    """Approve targets in a file from Usagi, by code; other rows stay unchecked."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        code = row["sourceCode"].replace(" ", "_")
        if code in targets:
            row |= {"mappingStatus": "APPROVED", "conceptId": str(targets[code]), "statusSetBy": "A. Coder"}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_round_trip_through_usagi_changes_the_approved_codes_only(store: TableStore, own: Settings, tmp_path: Path) -> None:
    path = tmp_path / "usagi.csv"
    assert write_usagi(path, for_usagi(work_list(store, own, 3))) == 3
    with path.open(encoding="utf-8", newline="") as file:
        frequencies = {row["sourceCode"]: row["sourceFrequency"] for row in csv.DictReader(file)}
    assert frequencies == {"local1": "17", "mg per litre": "9", "6": "7"}
    found = review(store, own, read_usagi(approve(path, local1=1, mg_per_litre=4)))
    assert [gain.as_row() for gain in found.gains] == [
        {
            "vocabulary": "EMIS Local",
            "code": "local1",
            "description": "tightness chest",
            "target_concept_id": 1,
            "target": "Chest tightness",
            "domain": "Condition",
            "rows_gained": 17,
            "people": 13,
        }
    ]
    assert found.left_out == {"not approved": 1, "a local map has the code already, approved or not": 1}
    before = {(row.source_vocabulary_id, row.source_code) for row in read_local_maps(own.mappings_dir / "concepts")}
    assert apply(own, found.gains) == {"emis_local.csv": 1}
    maps = read_local_maps(own.mappings_dir / "concepts")
    (new,) = [row for row in maps if (row.source_vocabulary_id, row.source_code) not in before]
    assert (new.source_vocabulary_id, new.source_code, new.target_concept_id, new.status) == (
        "EMIS Local",
        "local1",
        1,
        "APPROVED",
    )
    assert ("EMIS Local", "local1", 1) in {
        (row.source_vocabulary_id, row.source_code, row.target_concept_id)
        for row in approved_maps(store.session, maps).collect()
    }


@pytest.mark.parametrize("target", [3, 404])
def test_approved_targets_that_are_not_standard_are_refused(
    store: TableStore, own: Settings, tmp_path: Path, target: int
) -> None:
    path = tmp_path / "usagi.csv"
    write_usagi(path, for_usagi(work_list(store, own, 0)))
    with pytest.raises(VocabularyError, match=r"1 approved targets are not valid standard concepts .*\(line 2\)"):
        review(store, own, read_usagi(approve(path, local1=target)))


def test_a_code_may_be_approved_for_no_concept(store: TableStore, own: Settings, tmp_path: Path) -> None:
    path = tmp_path / "usagi.csv"
    write_usagi(path, for_usagi(work_list(store, own, 0)))
    (gain,) = review(store, own, read_usagi(approve(path, local1=0))).gains
    assert (gain.target.target_concept_id, gain.target_name, gain.use) == (0, "nothing, on purpose", Use(17, 13))


def test_code_tables_of_the_project_are_columns_of_contracts() -> None:
    contracts = load_contracts(PACKAGED_MAPPINGS_DIR, SOURCES)
    tables = read_code_tables(PACKAGED_MAPPINGS_DIR)
    assert tables
    for table in tables:
        assert {table.code_column, table.description_column} <= set(
            contracts[table.source].entities[table.entity].silver_columns
        )


def test_a_faulty_list_of_code_tables_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "code_tables.csv"
    path.write_text("source,entity,vocabulary,code_column\n", encoding="utf-8")
    with pytest.raises(ContractError, match="lacks columns description_column"):
        read_code_tables(tmp_path)
    path.write_text("source,entity,vocabulary,code_column,description_column\ngp,,Read,a,b\n", encoding="utf-8")
    with pytest.raises(ContractError, match="line 2: entity is empty"):
        read_code_tables(tmp_path)
    shutil.rmtree(tmp_path)
    assert read_code_tables(tmp_path) == ()
