"""What the database says about itself: cdm_source and metadata, from the inputs of a run alone."""

import dataclasses
from datetime import date

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.cdm import cdm_tables
from pipelines.omop.source import CdmSource, cdm_source, fitting, metadata
from vocab.athena import TABLES

DESCRIBED = CdmSource(
    name="Test database",
    abbreviation="Test",
    holder="Nobody",
    description="Built for a test.",
    etl_reference="nhs-omop",
    extracted_on=date(2026, 1, 4),
    built_on=date(2026, 1, 5),
    release="20260105-0123abcd",
    cdm_version="5.4",
    vocabulary_version="v5.0 30-AUG-24",
    extracts={"social_care": date(2025, 12, 31), "gp": date(2026, 1, 4)},
    versions={"nhs-omop version": "0.1.0", "vocabulary release": "v5.0 30-AUG-24", "configuration": "c0ffee"},
)


def stated(session: SparkSession, described: CdmSource) -> dict[str, tuple[int, str, date]]:
    """Id, value and date of each statement by name."""
    rows = metadata(session, described, cdm_tables("5.4")["metadata"]).collect()
    return {row["name"]: (row["metadata_id"], row["value_as_string"], row["metadata_date"]) for row in rows}


def test_metadata_names_what_decides_the_content_and_how_recent_each_source_is(sail: SparkSession) -> None:
    said = {name: values[1:] for name, values in stated(sail, DESCRIBED).items()}
    assert said == {
        "nhs-omop version": ("0.1.0", date(2026, 1, 5)),
        "vocabulary release": ("v5.0 30-AUG-24", date(2026, 1, 5)),
        "configuration": ("c0ffee", date(2026, 1, 5)),
        "release": ("20260105-0123abcd", date(2026, 1, 5)),
        "extract of gp": ("2026-01-04", date(2026, 1, 4)),
        "extract of social_care": ("2025-12-31", date(2025, 12, 31)),
    }


def test_metadata_holds_no_concept_that_is_not_known(sail: SparkSession) -> None:
    rows = metadata(sail, DESCRIBED, cdm_tables("5.4")["metadata"]).collect()
    assert {(row["metadata_concept_id"], row["metadata_type_concept_id"]) for row in rows} == {(0, 32880)}
    assert {row["metadata_datetime"] for row in rows} == {None}  # the run has a date, no time


def test_statements_keep_their_ids_from_release_to_release(sail: SparkSession) -> None:
    next_night = dataclasses.replace(
        DESCRIBED, built_on=date(2026, 1, 6), release="20260106-4567cdef", extracts={"gp": date(2026, 1, 5)}
    )
    before, after = stated(sail, DESCRIBED), stated(sail, next_night)
    assert {name: values[0] for name, values in after.items()} == {
        name: values[0] for name, values in before.items() if name != "extract of social_care"
    }
    assert len({values[0] for values in before.values()}) == 6
    assert after["extract of gp"][1:] == ("2026-01-05", date(2026, 1, 5))


@pytest.mark.parametrize(("version", "identifier"), [("5.4", None), ("5.5", "20260105-0123abcd")])
def test_only_cdm_5_5_names_the_release_in_cdm_source(sail: SparkSession, version: str, identifier: str | None) -> None:
    row = cdm_source(DESCRIBED, versions_in(sail), cdm_tables(version)["cdm_source"]).collect()[0].asDict()
    assert row.get("cdm_release_identifier") == identifier
    assert ("cdm_release_identifier" in row) is (version == "5.5")
    assert (row["source_release_date"], row["cdm_release_date"]) == (date(2026, 1, 4), date(2026, 1, 5))


@pytest.mark.parametrize(
    ("release", "published"),
    [
        ("v5.0 30-AUG-24", "v5.0 30-AUG-24"),
        ("v5.0 30-AUG-24 (d 1)", "v5.0 30-AUG-24 (d 1)"),
        ("v5.0 30-AUG-24 (demo)", "v5.0 30-AUG-24"),
        ("v5.0 30-AUG-24 of our own", "v5.0 30-AUG-24 of"),
        ("v5.0 30-AUG-24 abcde f", "v5.0 30-AUG-24 abcde"),
        ("v5.0-30-AUG-24-of-our-own", "v5.0-30-AUG-24-of-ou"),
    ],
)
def test_a_release_of_a_vocabulary_is_not_cut_within_its_name(release: str, published: str) -> None:
    assert fitting(release, 20) == published


def test_every_field_of_cdm_source_fits(sail: SparkSession) -> None:
    described = dataclasses.replace(
        DESCRIBED, vocabulary_version="v5.0 30-AUG-24 (demo)", abbreviation="A database of a long name"
    )
    table = cdm_tables("5.4")["cdm_source"]
    (row,) = cdm_source(dataclasses.replace(described, holder="x" * 300), versions_in(sail), table).collect()
    assert (row["vocabulary_version"], row["cdm_source_abbreviation"]) == ("v5.0 30-AUG-24", "A database of a long name")
    assert (row["cdm_holder"], row["source_description"]) == ("x" * 255, "Built for a test.")


def versions_in(session: SparkSession, *codes: str, concept_class: str = "CDM", invalid: str | None = None) -> DataFrame:
    """A vocabulary with concepts of the CDM by code, their ids from 2,000,099,991."""
    common = {"vocabulary_id": "CDM", "concept_class_id": concept_class, "standard_concept": "S", "invalid_reason": invalid}
    rows = [common | {"concept_id": 2_000_099_991 + n, "concept_code": code} for n, code in enumerate(codes)]
    schema = TABLES["CONCEPT"]
    columns = ", ".join(f"{name} {kind}" for name, kind in schema.items())
    return session.createDataFrame([tuple(row.get(name) for name in schema) for row in rows], columns)


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        (("CDM v5.3.1", "CDM v5.4.0", "CDM v6.0.0"), 2_000_099_992),
        (("CDM 5.4",), 2_000_099_991),
        (("5.4",), 2_000_099_991),
        (("CDM v5.4.1", "CDM v15.4", "CDM v5x4"), 0),
        ((), 0),
    ],
)
def test_the_concept_of_the_version_is_what_the_vocabulary_says(sail: SparkSession, codes: tuple[str, ...], found: int) -> None:
    (row,) = cdm_source(DESCRIBED, versions_in(sail, *codes), cdm_tables("5.4")["cdm_source"]).collect()
    assert row["cdm_version_concept_id"] == found


def test_a_version_without_a_valid_concept_of_its_own_has_none(sail: SparkSession) -> None:
    table = cdm_tables("5.4")["cdm_source"]
    for concepts in (versions_in(sail, "CDM v5.4.0", invalid="D"), versions_in(sail, "CDM v5.4.0", concept_class="Table")):
        assert cdm_source(DESCRIBED, concepts, table).collect()[0]["cdm_version_concept_id"] == 0
