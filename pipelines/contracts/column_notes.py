"""What a catalog says of tables and columns: from the contracts of sources and the CDM, or by names that mean one thing."""

from collections.abc import Mapping
from typing import Final

from pipelines.contracts.cdm import CDM_VERSIONS, RECORDER, CdmTable, cdm_tables
from pipelines.contracts.source import LOAD, WITHHELD, Entity
from pipelines.contracts.tables import Description

EVERYWHERE: Final[Mapping[str, str]] = {
    "person_id": "pseudonym of the person",
    "row_key": "pseudonym of the delivered row's key; stays when the row changes",
    "provider_code": "organisation that delivered the row",
    "_provider": "organisation that delivered the row",
    "_file": "id of the delivered file",
    "_line": "line of the file that the row begins on",
    LOAD: "load that brought the row",
    "load_id": "load that brought the row",
    "run_id": "run that made the row",
    "_reason": "why the line could not be read; null if it could",
    "_raw": "a line that could not be read, as delivered",
    "_row_hash": "hash of the delivered values",
    "_flags": "columns whose delivered value is unreadable and null here",
    WITHHELD: "columns whose text was not taken over, because of an identifier or of its shape",
    "_source": "source that the row comes from",
    "_rule": "mapping rule that made the row",
    "_row_key": "row_key of the silver row that it was made from",
    "_map_origin": "what gave the standard concept",
    "_evidence": "how the event is known",
    "_date_precision": "how exactly the start is known",
    "_end_date_precision": "how exactly the end is known",
    RECORDER: "who recorded the event: the provider, or one of the practices that it delivers, by the key of its row",
    "_end_rule": "rule that chose the end",
    "_code_bucket": "hash of the source code, by which the table is partitioned",
    "year_of_birth": "from the birth date, which is not kept",
    "month_of_birth": "from the birth date, which is not kept",
    "postcode_area": "letters that the postcode begins with; the rest is not kept",
}
"""Columns by name, in whatever table they are."""


VOCABULARY_GRAINS: Final[Mapping[str, str]] = {
    "concept": "one row per concept of a vocabulary",
    "concept_ancestor": "one row per standard concept and concept above it, over any number of levels; each is above itself",
    "concept_class": "one row per class of concepts",
    "concept_metadata": "one row per concept that Athena says more of",
    "concept_relationship": "one row per pair of concepts and relationship between them, in one direction",
    "concept_relationship_metadata": "one row per relationship between concepts that Athena says more of",
    "concept_synonym": "one row per further name of a concept",
    "domain": "one row per domain of concepts",
    "drug_strength": "one row per drug and ingredient, with the amount",
    "pack_content": "one row per pack and drug in it",
    "relationship": "one row per kind of relationship",
    "vocabulary": "one row per vocabulary, with its version",
}
"""What one row is of each table of the vocabulary, of whatever CDM version."""


def vocabulary_description(name: str) -> Description:
    """What a catalog is told of a table of the vocabulary."""
    return Description(VOCABULARY_GRAINS[name], cdm_notes(cdm_tables(max(CDM_VERSIONS))[name]))


def bronze_notes(entity: Entity) -> dict[str, str]:
    """Every delivered column: its item, its header where that has another name, and what of a person it identifies."""
    notes = {}
    for name, column in entity.columns.items():
        header = f"delivered as {column.header}" if column.header else ""
        identifies = f"identifies a person: {column.identifier}" if column.identifier else ""
        notes[name] = "; ".join(part for part in (column.item, header, identifies) if part)
    return notes


def silver_notes(entity: Entity) -> dict[str, str]:
    """The delivered columns that are kept, and links to other rows."""
    kept = {name: column.item for name, column in entity.kept.items() if column.item}
    return kept | {name: f"row_key of {reference.entity}" for name, reference in entity.references.items()}


def cdm_notes(table: CdmTable) -> dict[str, str]:
    """The fields that refer to another table, and that which names a row."""
    key = {table.primary_key: f"names one row of {table.name}"} if table.primary_key else {}
    links = {column.name: "refers to " + ".".join(column.references) for column in table.columns if column.references}
    return key | links


def cdm_keys(table: CdmTable) -> frozenset[str]:
    """The fields that every row is made with: that which names it, and the person where there has to be one.

    Other required fields are the gates' to judge: a refused write would hide from them what is wrong, and in how many rows.
    """
    people = {column.name for column in table.columns if column.name == "person_id" and not column.nullable}
    return frozenset(people | ({table.primary_key} if table.primary_key else set()))
