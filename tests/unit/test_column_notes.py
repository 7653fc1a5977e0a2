"""What catalogs are told of columns: by the contract of a source, by the CDM, and what no row is without."""

from pipelines.contracts.cdm import cdm_tables
from pipelines.contracts.column_notes import (
    EVERYWHERE,
    VOCABULARY_GRAINS,
    bronze_notes,
    cdm_keys,
    cdm_notes,
    silver_notes,
    vocabulary_description,
)
from pipelines.contracts.derived import published_tables
from pipelines.contracts.source import Identifier, load_contracts
from pipelines.contracts.type_one import load_type_one_codes
from pipelines.contracts.zones import RESTRICTED_ZONES
from pipelines.dictionary import every_table
from pipelines.mapping.plausibility import load_plausibility
from pipelines.mapping.spec import load_mappings
from pipelines.settings import PACKAGED_MAPPINGS_DIR, SOURCES
from vocab.load import LOADED

CONTRACTS = load_contracts(PACKAGED_MAPPINGS_DIR, SOURCES)
INCIDENT = CONTRACTS["ambulance"].entities["incident"]


def test_a_delivered_column_is_described_by_its_item_header_and_identifier() -> None:
    notes = bronze_notes(INCIDENT)
    assert notes["call_id"] == "ADS3 call identifier; delivered as CallNumber; identifies a person: record_id"
    assert notes["call_date"] == "ADS2A call date; delivered as CallDate"
    assert set(notes) == set(INCIDENT.columns)


def test_every_identifier_of_every_source_is_called_one_in_bronze_and_is_not_in_silver() -> None:
    for contract in CONTRACTS.values():
        for entity in contract.entities.values():
            of_bronze, of_silver = bronze_notes(entity), silver_notes(entity)
            assert set(of_silver) <= set(entity.silver_columns)
            for name, column in entity.columns.items():
                assert ("identifies a person" in of_bronze[name]) == (column.identifier is not None)
                assert "identifies" not in of_silver.get(name, "")
    assert {column.identifier for column in INCIDENT.columns.values()} >= {Identifier.CONTACT, Identifier.ADDRESS}


def test_links_of_silver_and_of_the_cdm_say_what_they_refer_to() -> None:
    assert silver_notes(CONTRACTS["ambulance"].entities["response"])["incident_key"] == "row_key of incident"
    assert cdm_notes(cdm_tables("5.4")["death"]) == {
        "person_id": "refers to person.person_id",
        "death_type_concept_id": "refers to concept.concept_id",
        "cause_concept_id": "refers to concept.concept_id",
        "cause_source_concept_id": "refers to concept.concept_id",
    }


def test_keys_are_never_null_and_other_required_fields_are_for_the_gates() -> None:
    tables = published_tables("5.4")
    assert cdm_keys(tables["person"]) == {"person_id"}
    assert cdm_keys(tables["measurement"]) == {"measurement_id", "person_id"}
    assert cdm_keys(tables["concept_ancestor"]) == frozenset()
    assert cdm_keys(tables["provider"]) == {"provider_id"}


def test_what_is_said_is_of_columns_that_are_there_and_names_are_alike() -> None:
    mappings, plausibility = load_mappings(PACKAGED_MAPPINGS_DIR, CONTRACTS), load_plausibility(PACKAGED_MAPPINGS_DIR)
    type_one = load_type_one_codes(PACKAGED_MAPPINGS_DIR / "opt_outs/type1.yaml", CONTRACTS["gp"])
    tables = every_table(CONTRACTS, mappings, type_one, plausibility)
    assert [str(table.name) for table in tables if table.name.zone not in RESTRICTED_ZONES and "_line" in table.schema] == []
    for table in tables:
        assert table.never_null <= set(table.schema)
        assert set(table.notes) <= set(table.schema)
    assert sorted(table.name.name for table in tables if "collisions" in table.name.name) == [
        "episode_collisions",
        "era_collisions",
        "event_collisions",
        "period_collisions",
        "person_collisions",
        "place_collisions",
        "visit_detail_collisions",
        "visit_occurrence_collisions",
    ]


def test_every_table_of_the_vocabulary_has_a_grain() -> None:
    assert {stem.lower() for stem in LOADED} == set(VOCABULARY_GRAINS)
    assert vocabulary_description("concept").columns["domain_id"] == "refers to domain.domain_id"
    assert "person_id" in EVERYWHERE
