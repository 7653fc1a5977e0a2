"""Locations, care sites and providers: small tables that people, visits and events refer to."""

from collections.abc import Iterable, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.columns.ids import omop_id, resolve_collisions
from pipelines.contracts.cdm import CdmTable
from pipelines.mapping.compile import stacked
from pipelines.omop.codes import looked_up
from pipelines.omop.tables import conform, priority

COUNTRY = "United Kingdom"


def care_site_code(column: str = "care_site_code") -> Column:
    """The organisation code as it is compared: trimmed, upper case; null where it is empty."""
    return F.nullif(F.upper(F.trim(F.col(column))), F.lit(""))


def location(areas: Iterable[DataFrame], table: CdmTable) -> DataFrame:
    """One row per postcode area that a person or a care site has. `areas` are frames with `postcode_area`."""
    named = stacked(frame.where(F.col("postcode_area").isNotNull()).select("postcode_area") for frame in areas)
    rows = named.distinct().withColumn("location_id", omop_id(F.lit("location"), F.col("postcode_area")))
    unique, _ = resolve_collisions(rows, "location_id", ("postcode_area",))
    values = {
        "location_id": F.col("location_id"),
        "zip": F.col("postcode_area"),
        "location_source_value": F.col("postcode_area"),
        "country_source_value": F.lit(COUNTRY),
    }
    return conform(unique, values, table)


def location_index(locations: DataFrame) -> DataFrame:
    """`key` (postcode area) and `id` of every location."""
    return locations.select(F.col("location_source_value").alias("key"), F.col("location_id").alias("id"))


def described_sites(care_site_rows: DataFrame, sources: Sequence[str]) -> DataFrame:
    """One mapped row per organisation code: of several that of the source named first, then one with a name."""
    coded = care_site_rows.withColumn("care_site_code", care_site_code()).where(F.col("care_site_code").isNotNull())
    order = (priority(sources), F.col("care_site_name").asc_nulls_last(), F.col("_row_key"), F.col("_rule"))
    place = F.row_number().over(Window.partitionBy("care_site_code").orderBy(*order))
    return coded.withColumn("_place", place).where(F.col("_place") == 1).drop("_place")


def care_site(
    described: DataFrame, referring: Iterable[DataFrame], meanings: DataFrame, locations: DataFrame, table: CdmTable
) -> DataFrame:
    """One row per organisation code, described or not.

    `described` comes from `described_sites`; codes that only occur in `referring` (frames with `care_site_code`) get a row
    without a description.
    """
    codes = stacked(frame.select(care_site_code().alias("care_site_code")) for frame in (described, *referring))
    every = codes.where(F.col("care_site_code").isNotNull()).distinct()
    meant = looked_up(described, ("place_of_service",), meanings).drop("person_id")
    sites = every.join(meant, on="care_site_code", how="left")
    areas = location_index(locations).select(F.col("key").alias("postcode_area"), F.col("id").alias("location_id"))
    placed = sites.join(F.broadcast(areas), on="postcode_area", how="left")
    named = placed.withColumn("care_site_id", omop_id(F.lit("care_site"), F.col("care_site_code")))
    unique, _ = resolve_collisions(named, "care_site_id", ("care_site_code",))
    values = {
        "care_site_id": F.col("care_site_id"),
        "care_site_name": F.col("care_site_name"),
        "place_of_service_concept_id": F.coalesce(F.col("place_of_service_target"), F.lit(0)),
        "location_id": F.col("location_id"),
        "care_site_source_value": F.col("care_site_code"),
        "place_of_service_source_value": F.col("place_of_service_source_value"),
    }
    return conform(unique, values, table)


def with_care_site(frame: DataFrame, care_sites: DataFrame) -> DataFrame:
    """`frame` with `care_site_id`, by its `care_site_code`."""
    index = care_sites.select(F.col("care_site_source_value").alias("_site"), F.col("care_site_id"))
    return frame.join(F.broadcast(index), on=care_site_code() == F.col("_site"), how="left").drop("_site")


def provider(provider_rows: DataFrame, meanings: DataFrame, care_sites: DataFrame, table: CdmTable) -> DataFrame:
    """One row per member of staff that a source describes; `provider_source_value` is the keyed row key."""
    meant = with_care_site(looked_up(provider_rows, ("specialty",), meanings), care_sites)
    named = meant.withColumn("provider_id", omop_id(F.lit("provider"), F.col("_row_key")))
    unique, _ = resolve_collisions(named, "provider_id", ("_row_key",))
    values = {
        "provider_id": F.col("provider_id"),
        "specialty_concept_id": F.coalesce(F.col("specialty_target"), F.lit(0)),
        "care_site_id": F.col("care_site_id"),
        "provider_source_value": F.col("_row_key"),
        "specialty_source_value": F.col("specialty_source_value"),
        "specialty_source_concept_id": F.coalesce(F.col("specialty_source_concept"), F.lit(0)),
    }
    return conform(unique, values, table)


def provider_index(providers: DataFrame) -> DataFrame:
    """`key` (row key) and `id` of every provider."""
    return providers.select(F.col("provider_source_value").alias("key"), F.col("provider_id").alias("id"))
