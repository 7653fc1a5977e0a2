"""The cdm_source table: one row that says what the database is."""

from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.cdm import CdmTable
from pipelines.omop.tables import conform


@dataclass(frozen=True)
class CdmSource:
    """What is said about the database. `extracted_on` is the newest extract, `built_on` the run date, an input.

    `cdm_version_concept_id` is 0 where the loaded vocabulary has no concept for the version.
    """

    name: str
    abbreviation: str
    holder: str
    description: str
    etl_reference: str
    extracted_on: date
    built_on: date
    cdm_version: str
    vocabulary_version: str
    cdm_version_concept_id: int = 0


def cdm_source(session: SparkSession, source: CdmSource, table: CdmTable) -> DataFrame:
    """The single row of cdm_source."""
    values = {
        "cdm_source_name": source.name,
        "cdm_source_abbreviation": source.abbreviation,
        "cdm_holder": source.holder,
        "source_description": source.description,
        "cdm_etl_reference": source.etl_reference,
        "source_release_date": source.extracted_on.isoformat(),
        "cdm_release_date": source.built_on.isoformat(),
        "cdm_version": source.cdm_version,
        "cdm_version_concept_id": source.cdm_version_concept_id,
        "vocabulary_version": source.vocabulary_version,
    }
    return conform(session.range(1), {name: F.lit(value) for name, value in values.items()}, table)
