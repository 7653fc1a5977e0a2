"""The map stage under CDM 5.5: what it has beyond 5.4 is filled, and 5.4 has none of it."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipelines.contracts.cdm import cdm_tables
from pipelines.contracts.source import SourceContract
from pipelines.contracts.zones import Zone
from pipelines.mapping.plausibility import load_plausibility
from pipelines.mapping.spec import Mapping
from pipelines.omop.declared import MapInputs, MappedSource
from pipelines.omop.source import CdmSource
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.storage.tables import StoragePaths, TableStore
from tests.builders.extracts import store_extracts
from tests.embedded.test_omop_build import run_map, tables_with
from vocab.athena import TABLES

ASTHMA, ICD10_ASTHMA = 317009, 45562456
HEART_RATE, HISTORY_OF_EVENT, PER_LITRE = 3027018, 1340204, 8753
BLOOD = 2_000_099_999
"""A specimen concept, of this test only."""

ANNA, EHR, OFFICE = 101, 32817, 581477
DAY, EXTRACTED = date(2024, 5, 1), date(2026, 1, 5)
KEY = {"identifier": "record_id"}
OF_PATIENT = {"grain": "one row", "files": ["x"], "key": ["id"], "subject": {"via": {"entity": "patient", "columns": ["link"]}}}

CONTRACT = SourceContract.model_validate(
    {
        "source": "gp",
        "title": "General practice",
        "entities": {
            "patient": {
                "grain": "one person",
                "files": ["x"],
                "key": ["id"],
                "subject": {"direct": {"nhs_number": "nhs", "local_id": "id"}},
                "columns": {
                    "id": KEY,
                    "nhs": {"identifier": "nhs_number"},
                    "born": {"identifier": "birth_date", "type": "date"},
                },
            },
            "consultation": OF_PATIENT | {"columns": {"id": KEY, "link": KEY, "day": {"type": "date"}}},
            "entry": OF_PATIENT
            | {
                "references": {"consultation_key": {"entity": "consultation", "columns": ["link"]}},
                "columns": {"id": KEY, "link": KEY, "day": {"type": "date"}, "due": {"type": "date"}, "code": {}}
                | {"answer": {}, "unit": {}},
            },
        },
    }
)

TYPE = {"type_concept_id": {"constant": EHR, "note": "EHR"}}

MAPPING = Mapping.model_validate(
    {
        "source": "gp",
        "rules": [
            {"name": "gp_person", "from": "patient", "to": "person", "fields": {"year_of_birth": {"copy": "year_of_birth"}}},
            {
                "name": "gp_consultation",
                "from": "consultation",
                "to": "visit",
                "fields": {"concept": {"constant": OFFICE, "note": "Office visit"}, "start_date": {"copy": "day"}} | TYPE,
            },
            {
                "name": "gp_entry",
                "from": "entry",
                "to": "event",
                "domain": "Observation",
                "evidence": "coded",
                "fields": {
                    "concept": {"concept": [{"column": "code", "vocabulary": "EMIS Local"}]},
                    "start_date": {"copy": "day"},
                    "visit_key": {"copy": "consultation_key"},
                    "value": {"concept": [{"column": "answer", "vocabulary": "ICD10"}]},
                    "value_as_string": {"copy": "due"},
                    "unit": {"concept": [{"column": "unit", "vocabulary": "UCUM"}]},
                }
                | TYPE,
            },
        ],
    }
)

CODE_MAP = [
    ("EMIS Local", "rate", 0, 0, HEART_RATE, "Measurement", None, "local"),
    ("EMIS Local", "history", 0, 0, HISTORY_OF_EVENT, "Observation", None, "local"),
    ("EMIS Local", "blood", 0, 0, BLOOD, "Specimen", None, "local"),
    ("ICD10", "J45.9", 0, ICD10_ASTHMA, ASTHMA, "Condition", None, "athena"),
    ("UCUM", "mmol/L", 0, PER_LITRE, PER_LITRE, "Unit", None, "athena"),
]

SILVER: dict[str, list[dict[str, Any]]] = {
    "patient": [{"row_key": "p", "person_id": ANNA, "year_of_birth": 1950}],
    "consultation": [{"row_key": "c", "person_id": ANNA, "day": DAY}],
    "entry": [
        {"row_key": "rate", "code": "RATE", "answer": "J459", "unit": "mmol/L"},
        {"row_key": "asked", "code": "HISTORY", "answer": "J459", "unit": "mmol/L"},
        {"row_key": "due", "code": "HISTORY", "due": date(2024, 11, 30)},
        {"row_key": "blood", "code": "BLOOD"},
    ],
}
"""Every entry is Anna's, of the day of her consultation."""


@pytest.fixture(scope="module")
def stores(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TableStore]:
    """The map stage, run once under each version."""
    return {version: mapped(sail, tmp_path_factory.mktemp("omop"), version) for version in ("5.4", "5.5")}


def mapped(session: SparkSession, folder: Path, version: str) -> TableStore:
    store = TableStore(session, StoragePaths(folder / "restricted", folder / "deidentified"))
    described = CdmSource(
        name="Test",
        abbreviation="T",
        holder="Nobody",
        description="",
        etl_reference="1",
        extracted_on=EXTRACTED,
        built_on=EXTRACTED,
        release="20260105-test",
        cdm_version=version,
        vocabulary_version="v5.0",
        extracts={"gp": EXTRACTED},
        versions={},
    )
    inputs = MapInputs(
        sources=(MappedSource(CONTRACT, MAPPING),),
        delivered=frozenset(f"gp_{name}" for name in SILVER),
        local_maps=(),
        source_priority=("gp",),
        plausibility=load_plausibility(PACKAGED_MAPPINGS_DIR),
        described_as=described,
        cdm_version=version,
    )
    for name in SILVER:
        store.overwrite(silver(session, name), Zone.SILVER, f"gp_{name}", CONTRACT.entities[name].silver_columns)
    store_extracts(store, {"gp": ("f", EXTRACTED)}, [])
    for name in ("concept", "concept_relationship", "concept_ancestor", "drug_strength"):
        schema = TABLES[name.upper()]
        empty = session.createDataFrame([], ", ".join(f"{column} {kind}" for column, kind in schema.items()))
        store.overwrite(empty, Zone.VOCABULARY, name, schema)
    run_map(store, folder, tables_with(inputs, CODE_MAP))
    return store


def silver(session: SparkSession, name: str) -> Any:
    columns = CONTRACT.entities[name].silver_columns
    common = {"_file": "f", "person_id": ANNA, "day": DAY, "consultation_key": "c"}
    rows = [tuple((common | row).get(column) for column in columns) for row in SILVER[name]]
    return session.createDataFrame(rows, ", ".join(f"{column} {kind}" for column, kind in columns.items()))


def rows_of(store: TableStore, table: str, *columns: str) -> list[tuple[Any, ...]]:
    found = store.read(Zone.OMOP, table).orderBy("_row_key").select(*columns).collect()
    return [tuple(row) for row in found]


def test_a_measurement_has_the_source_concept_of_its_value(stores: dict[str, TableStore]) -> None:
    columns = ("value_as_concept_id", "value_as_source_concept_id", "unit_concept_id", "unit_source_concept_id")
    assert rows_of(stores["5.5"], "measurement", *columns) == [(ASTHMA, ICD10_ASTHMA, PER_LITRE, PER_LITRE)]


def test_an_observation_has_the_source_concepts_of_its_value_and_unit(stores: dict[str, TableStore]) -> None:
    columns = ("_row_key", "value_as_concept_id", "value_as_source_concept_id", "unit_concept_id", "unit_source_concept_id")
    assert rows_of(stores["5.5"], "observation", *columns) == [
        ("asked", ASTHMA, ICD10_ASTHMA, PER_LITRE, PER_LITRE),
        ("due", None, None, None, None),
    ]


def test_a_value_that_is_a_date_is_one_in_5_5_and_a_text_in_5_4(stores: dict[str, TableStore]) -> None:
    columns = ("_row_key", "value_as_string")
    texts = [("asked", None), ("due", "2024-11-30")]
    assert rows_of(stores["5.4"], "observation", *columns) == rows_of(stores["5.5"], "observation", *columns) == texts
    assert rows_of(stores["5.5"], "observation", "value_as_date") == [(None,), (date(2024, 11, 30),)]


def test_a_specimen_belongs_to_its_visit(stores: dict[str, TableStore]) -> None:
    ((visit,),) = rows_of(stores["5.5"], "visit_occurrence", "visit_occurrence_id")
    columns = ("specimen_concept_id", "visit_occurrence_id", "visit_detail_id")
    assert rows_of(stores["5.5"], "specimen", *columns) == [(BLOOD, visit, None)]


def test_the_database_names_its_release(stores: dict[str, TableStore]) -> None:
    (row,) = stores["5.5"].read(Zone.OMOP, "cdm_source").collect()
    assert (row["cdm_version"], row["cdm_release_identifier"]) == ("5.5", "20260105-test")


NEW_FIELDS = {
    "cdm_source": {"cdm_release_identifier"},
    "measurement": {"value_as_source_concept_id"},
    "observation": {"value_as_date", "value_as_source_concept_id", "unit_source_concept_id"},
    "specimen": {"visit_occurrence_id", "visit_detail_id"},
}
"""What CDM 5.5 adds to tables of 5.4."""


def test_5_4_has_nothing_of_5_5_and_5_5_loses_nothing_of_5_4(stores: dict[str, TableStore]) -> None:
    clinical = {name for name, table in cdm_tables("5.4").items() if not table.is_vocabulary}
    for name in sorted(clinical):
        old, new = (set(stores[version].read(Zone.OMOP, name).columns) for version in ("5.4", "5.5"))
        assert (new - old, old - new) == (NEW_FIELDS.get(name, set()), set()), name
    added = set(cdm_tables("5.5")) - set(cdm_tables("5.4"))
    assert added == {"concept_metadata", "concept_relationship_metadata", "pack_content"}
    assert all(cdm_tables("5.5")[name].is_vocabulary for name in added)
