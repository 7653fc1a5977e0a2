"""The tables of the CDM as OHDSI's package declares them, read into our own form."""

import pytest

from pipelines.contracts.cdm import CDM_VERSIONS, cdm_tables


@pytest.mark.parametrize("version", CDM_VERSIONS)
def test_names_are_plain_texts(version: str) -> None:
    """SQLAlchemy's are of a class of its own, with which Spark 4.0 cannot make a row."""
    names: list[object] = []
    for name, table in cdm_tables(version).items():
        names += [name, table.name, table.primary_key]
        for column in table.columns:
            names += [column.name, *(column.references or ())]
    assert {type(name) for name in names} == {str, type(None)}


IN_5_5 = {
    "cdm_source": {"cdm_release_identifier": ("string", 255, True)},
    "concept_metadata": {
        "concept_id": ("bigint", None, True),
        "concept_category": ("string", 20, True),
        "reuse_status": ("string", 20, True),
    },
    "concept_relationship_metadata": {
        "concept_id_1": ("bigint", None, False),
        "concept_id_2": ("bigint", None, False),
        "relationship_id": ("string", 20, False),
        "relationship_predicate_id": ("string", 20, True),
        "relationship_group": ("bigint", None, True),
        "mapping_source": ("string", 50, True),
        "confidence": ("double", None, True),
        "mapping_tool": ("string", 50, True),
        "mapper": ("string", 50, True),
        "reviewer": ("string", 50, True),
    },
    "measurement": {"value_as_source_concept_id": ("bigint", None, True)},
    "observation": {
        "value_as_date": ("date", None, True),
        "unit_source_concept_id": ("bigint", None, True),
        "value_as_source_concept_id": ("bigint", None, True),
    },
    "pack_content": {
        "pack_concept_id": ("bigint", None, False),
        "drug_concept_id": ("bigint", None, False),
        "amount": ("bigint", None, True),
        "box_size": ("bigint", None, True),
    },
    "specimen": {"visit_occurrence_id": ("bigint", None, True), "visit_detail_id": ("bigint", None, True)},
}
"""Type, length and whether it may be empty of every field that 5.5 has and 5.4 has not, after OHDSI's specification."""


def test_what_5_5_adds_is_what_ohdsi_specifies() -> None:
    """By inst/csv/OMOP_CDMv5.5_Field_Level.csv of OHDSI/CommonDataModel, and the notes of its release 5.5.0."""
    old, new = cdm_tables("5.4"), cdm_tables("5.5")
    fields = {name: {c.name: (c.type, c.length, c.nullable) for c in table.columns} for name, table in new.items()}
    before = {name: {c.name: (c.type, c.length, c.nullable) for c in table.columns} for name, table in old.items()}
    added = {
        name: {field: kind for field, kind in found.items() if field not in before.get(name, {})}
        for name, found in fields.items()
    }
    assert {name: found for name, found in added.items() if found} == IN_5_5
    assert {name: {field: fields[name][field] for field in found} for name, found in before.items()} == before
