"""Locations, care sites and providers: small tables that people, visits and events refer to."""

from collections.abc import Iterable, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.columns.ids import omop_id
from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.organisations import TRUST_AS_SITE
from pipelines.omop.codes import with_concepts
from pipelines.omop.conform import conform, priority

COUNTRY = "United Kingdom"

LOCATION, CARE_SITE, PROVIDER = "location", "care_site", "provider"

PLACES_SCHEMA = {"_kind": "string", "key": "string", "id": "bigint"}
"""One row per location (its postcode area), care site (its organisation code) and provider (its row key)."""

PLACE_KEY = ("_kind", "key")


NO_ORGANISATION = (
    "",
    *("V81997", "V81998", "V81999", "89997", "89999", "R9998"),
    *("X98", "Q99", "X99998", "X99999", "VPP00", "TDH00", "ZZ201"),
)
"""The default codes of the NHS Data Dictionary (Default Codes Summary), which name no organisation.

No practice: not registered, not applicable and not known. A provider outside the United Kingdom (89997) or the NHS (89999) to
which no code was issued, and no hospital site (R9998). A commissioner or referrer that is not applicable or not known (X98,
Q99, X99998, X99999), private patients and visitors from overseas (VPP00, TDH00), and no organisation at all (ZZ201). Each would
be one place for thousands of them.
"""


def care_site_code() -> Column:
    """The organisation code as it is compared: trimmed, upper case, a trust without the 00 that fills the place of a site.

    Null where it names no organisation.
    """
    code = F.upper(F.trim(F.col("care_site_code")))
    return F.when(~code.isin(*NO_ORGANISATION), F.regexp_replace(code, TRUST_AS_SITE, "$1"))


def place_keys(areas: Iterable[DataFrame], codes: Iterable[DataFrame], staff: DataFrame) -> DataFrame:
    """One row per location, care site and provider there will be, with its id (PLACES_SCHEMA).

    `areas` are frames with `postcode_area`, `codes` frames with `care_site_code`, `staff` the rows of Target.PROVIDER. Whatever
    a person, a visit or a member of staff refers to gets a row, described or not.
    """
    named = {
        LOCATION: [(frame, F.col("postcode_area")) for frame in areas],
        CARE_SITE: [(frame, care_site_code()) for frame in codes],
        PROVIDER: [(staff, F.col("_row_key"))],
    }
    frames = [
        frame.select(F.lit(kind).alias("_kind"), key.alias("key")) for kind, keyed in named.items() for frame, key in keyed
    ]
    keys = union_all(frames).where(F.col("key").isNotNull()).distinct()
    return keys.withColumn("id", omop_id(F.col("_kind"), F.col("key"))).select(*PLACES_SCHEMA)


def location(places: DataFrame, table: CdmTable) -> DataFrame:
    """One row per postcode area that a person or a care site has."""
    values = {
        "location_id": F.col("id"),
        "zip": F.col("key"),
        "location_source_value": F.col("key"),
        "country_source_value": F.lit(COUNTRY),
    }
    return conform(places.where(F.col("_kind") == LOCATION), values, table)


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
    places: DataFrame, described: DataFrame, concept_map: DataFrame, locations: DataFrame, table: CdmTable
) -> DataFrame:
    """One row per organisation code; those that no source describes (`described_sites`) have their code only."""
    own = places.where(F.col("_kind") == CARE_SITE).select(F.col("key").alias("care_site_code"), "id")
    coded = with_concepts(described, ("place_of_service",), concept_map)
    sites = own.join(coded, on="care_site_code", how="left")
    areas = location_index(locations).select(F.col("key").alias("postcode_area"), F.col("id").alias("location_id"))
    placed = sites.join(F.broadcast(areas), on="postcode_area", how="left")
    values = {
        "care_site_id": F.col("id"),
        "care_site_name": F.col("care_site_name"),
        "place_of_service_concept_id": F.coalesce(F.col("place_of_service_target"), F.lit(0)),
        "location_id": F.col("location_id"),
        "care_site_source_value": F.col("care_site_code"),
        "place_of_service_source_value": F.col("place_of_service_source_value"),
    }
    return conform(placed, values, table)


def with_care_site(frame: DataFrame, care_sites: DataFrame) -> DataFrame:
    """`frame` with `care_site_id`, by its `care_site_code`."""
    index = care_sites.select(F.col("care_site_source_value").alias("_site"), F.col("care_site_id"))
    return frame.join(F.broadcast(index), on=care_site_code() == F.col("_site"), how="left").drop("_site")


def provider(
    places: DataFrame, provider_rows: DataFrame, concept_map: DataFrame, care_sites: DataFrame, table: CdmTable
) -> DataFrame:
    """One row per member of staff that a source describes; `provider_source_value` is the keyed row key."""
    own = places.where(F.col("_kind") == PROVIDER).select(F.col("key").alias("_row_key"), "id")
    coded = with_care_site(with_concepts(provider_rows, ("specialty",), concept_map), care_sites)
    values = {
        "provider_id": F.col("id"),
        "specialty_concept_id": F.coalesce(F.col("specialty_target"), F.lit(0)),
        "care_site_id": F.col("care_site_id"),
        "provider_source_value": F.col("_row_key"),
        "specialty_source_value": F.col("specialty_source_value"),
        "specialty_source_concept_id": F.coalesce(F.col("specialty_source_concept"), F.lit(0)),
    }
    return conform(coded.join(own, on="_row_key", how="inner"), values, table)


def provider_index(providers: DataFrame) -> DataFrame:
    """`key` (row key) and `id` of every provider."""
    return providers.select(F.col("provider_source_value").alias("key"), F.col("provider_id").alias("id"))
