"""What the database is: the single row of cdm_source, and the statements of metadata about how it was made.

Both follow from the inputs of a run alone. Nothing here differs between two runs of the same inputs, so no run is named.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.ids import omop_id
from pipelines.contracts.cdm import CdmTable, version_code_pattern
from pipelines.omop.conform import conform

STANDARD_ALGORITHM_CONCEPT_ID = 32880
"""Type of a statement that a program makes."""

RELEASE = "release"
"""Name of the statement that holds the identifier of the release."""

_STATEMENT_SCHEMA = "name string, value string, stated_on string"


@dataclass(frozen=True)
class CdmSource:
    """What is said about the database. `extracted_on` is the newest extract, `built_on` the run date, an input.

    `release` is the identifier of the release that the tables are for. `extracts` gives the newest extract of each source,
    `versions` names what else decides the content (code, vocabulary, configuration, mappings) with its version or digest.
    """

    name: str
    abbreviation: str
    holder: str
    description: str
    etl_reference: str
    extracted_on: date
    built_on: date
    release: str
    cdm_version: str
    vocabulary_version: str
    extracts: Mapping[str, date]
    versions: Mapping[str, str]

    @property
    def statements(self) -> tuple[tuple[str, str, date], ...]:
        """Name, value and date of everything that metadata says, in a fixed order."""
        made = [(name, value, self.built_on) for name, value in sorted((dict(self.versions) | {RELEASE: self.release}).items())]
        delivered = [(f"extract of {source}", day.isoformat(), day) for source, day in sorted(self.extracts.items())]
        return tuple(made + delivered)


def fitting(text: str, length: int) -> str:
    """A text for a field of so many characters: of a longer one what is before its bracket, or else its first words."""
    if len(text) <= length:
        return text
    before = text.partition(" (")[0]
    return before if len(before) <= length else before[: length + 1].rpartition(" ")[0] or before[:length]


def cdm_source(source: CdmSource, concepts: DataFrame, table: CdmTable) -> DataFrame:
    """The single row of cdm_source. `concepts` is CONCEPT; a version that it has no concept for is 0."""
    values = {
        "cdm_source_name": source.name,
        "cdm_source_abbreviation": source.abbreviation,
        "cdm_holder": source.holder,
        "source_description": source.description,
        "cdm_etl_reference": source.etl_reference,
        "source_release_date": source.extracted_on.isoformat(),
        "cdm_release_identifier": source.release,
        "cdm_release_date": source.built_on.isoformat(),
        "cdm_version": source.cdm_version,
        "vocabulary_version": source.vocabulary_version,
    }
    lengths = {column.name: column.length for column in table.columns}
    columns = {name: F.lit(fitting(value, lengths.get(name) or len(value))) for name, value in values.items()}
    columns |= {"cdm_version_concept_id": F.col("_concept_id")}
    return conform(_version_concept(concepts, source.cdm_version), columns, table)


def _version_concept(concepts: DataFrame, version: str) -> DataFrame:
    """One row: the standard concept of a version of the CDM, whose code ends in it (`CDM v5.4.0`), or 0."""
    is_version = (F.col("vocabulary_id") == "CDM") & (F.col("concept_class_id") == "CDM")
    is_usable = (F.col("standard_concept") == "S") & F.col("invalid_reason").isNull()
    names_it = F.col("concept_code").rlike(version_code_pattern(version))
    found = concepts.where(is_version & is_usable & names_it)
    return found.agg(F.coalesce(F.min("concept_id"), F.lit(0).cast("bigint")).alias("_concept_id"))


def metadata(session: SparkSession, source: CdmSource, table: CdmTable) -> DataFrame:
    """The metadata table: one row per statement about the database.

    The name of a statement is its key, so that its id is the same in every release. No concept says what it is about (0).
    """
    rows = [(name, value, day.isoformat()) for name, value, day in source.statements]
    stated = session.createDataFrame(rows, _STATEMENT_SCHEMA)
    values = {
        "metadata_id": omop_id(F.lit("metadata"), F.col("name")),
        "metadata_concept_id": F.lit(0),
        "metadata_type_concept_id": F.lit(STANDARD_ALGORITHM_CONCEPT_ID),
        "name": F.col("name"),
        "value_as_string": F.col("value"),
        "metadata_date": F.col("stated_on"),
    }
    return conform(stated, values, table)
