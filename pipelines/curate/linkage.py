"""Who is who: one person per valid NHS number over all sources, else per provider and local identifier.

A row without a usable number takes the number that its local identifier has elsewhere at the same provider, if there is
exactly one. A number is used when it passes Modulus 11, is no placeholder, is not traced as doubtful (status 04, 05) and
belongs to the range of the environment: the 999 test range outside production, any other number in production.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.keyed import Pads, hmac_hex, id_of, message_of
from pipelines.columns.nhs_number import NEVER_LINKED_STATUSES, digits_of, is_in_test_range, is_valid

IDENTITY = ("_source", "_provider", "local_id", "nhs_number")
"""What a row says of its person; `nhs_number` is the usable number, empty where there is none."""

LINK_SCHEMA = {
    "_source": "string",
    "_provider": "string",
    "local_id": "string",
    "nhs_number": "string",
    "linked_number": "string",
    "person_key": "string",
    "person_id": "bigint",
    "method": "string",
}
"""One row per identity seen in any source: the number it was linked by (empty: none), the person and how it was found."""


def usable_number(number: Column, status: Column, production: bool) -> Column:
    """The NHS number to link by, as ten digits; empty where the row has none that may be used."""
    digits = digits_of(number)
    doubted = F.coalesce(status.isin(*NEVER_LINKED_STATUSES), F.lit(False))
    in_range = ~is_in_test_range(digits) if production else is_in_test_range(digits)
    return F.when(is_valid(digits) & in_range & ~doubted, digits).otherwise(F.lit(""))


def out_of_range(number: Column, production: bool) -> Column:
    """Why a valid number does not belong in this environment, as (disposition, reason); null where it does."""
    digits = digits_of(number)
    if production:
        wrong, disposition, reason = is_in_test_range(digits), "test_patient", "test_range_number"
    else:
        wrong, disposition, reason = ~is_in_test_range(digits), "quarantined", "real_number_outside_production"
    pair = F.struct(F.lit(disposition).alias("disposition"), F.lit(reason).alias("reason"))
    return F.when(is_valid(digits) & wrong, pair)


def identities_in(versions: DataFrame, source: str, production: bool) -> DataFrame:
    """The identities that the valid rows of one entity state. Columns: IDENTITY."""
    valid = versions.where(F.col("is_winner") & F.col("disposition").isNull())
    return valid.select(*identity_columns(source, production)).distinct()


def identity_columns(source: str, production: bool) -> list[Column]:
    """IDENTITY of a row of `version_rows`."""
    return [
        F.lit(source).alias("_source"),
        F.col("_provider"),
        F.coalesce("local_id", F.lit("")).alias("local_id"),
        usable_number(F.col("nhs_number"), F.col("nhs_number_status"), production).alias("nhs_number"),
    ]


def linked_identities(identities: DataFrame, pads: Pads) -> DataFrame:
    """One row per identity with its person (LINK_SCHEMA).

    Identities without a number and without a local identifier name nobody and are left out. `person_id` is the hash of the
    person's key: ids that meet are told apart by `pipelines.columns.ids`.
    """
    stated = identities.where((F.col("nhs_number") != "") | (F.col("local_id") != "")).distinct()
    place = ("_source", "_provider", "local_id")
    numbered = stated.where((F.col("nhs_number") != "") & (F.col("local_id") != ""))
    by_local_id = numbered.groupBy(*place).agg(F.min("nhs_number").alias("_least"), F.max("nhs_number").alias("_greatest"))
    found = stated.join(by_local_id, on=list(place), how="left")
    has_number = F.col("nhs_number") != ""
    has_one_elsewhere = F.col("_least") == F.col("_greatest")
    linked = F.when(has_number, F.col("nhs_number")).when(has_one_elsewhere, F.col("_least")).otherwise(F.lit(""))
    method = (
        F.when(has_number, F.lit("nhs_number"))
        .when(has_one_elsewhere, F.lit("nhs_number_of_local_id"))
        .otherwise(F.lit("local_id"))
    )
    by_number = message_of([F.lit("nhs"), F.col("linked_number")])
    by_local = message_of([F.lit("local"), *[F.col(name) for name in place]])
    message = F.when(F.col("linked_number") != "", by_number).otherwise(by_local)
    with_number = pads.joined_to(found.withColumns({"linked_number": linked, "method": method}))
    keyed = with_number.withColumn("person_key", hmac_hex(message, "person"))
    return keyed.withColumn("person_id", id_of(F.col("person_key"))).select(*LINK_SCHEMA)
