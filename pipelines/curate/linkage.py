"""Who is who: one person per valid NHS number over all sources, else per provider and local identifier.

A row without a usable number takes the number that its local identifier has elsewhere at the same provider, if there is
exactly one. A number is used when it passes Modulus 11, is no placeholder, has no status other than LINKED_STATUSES, and
belongs to the range of the environment: the 999 test range outside production, any other number in production.
"""

from collections.abc import Iterable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.columns.keyed import Pads, hmac_hex, id_of, message_of
from pipelines.columns.nhs_number import LINKED_STATUSES, digits_of, is_in_test_range, is_valid
from pipelines.curate.versions import valid_rows

IDENTITY = ("_source", "_provider", "local_id", "nhs_number")
"""What a row says of its person; `nhs_number` is the usable number, empty where there is none."""

STATED_SCHEMA = ("_source", "_provider", "local_id", "nhs_number", "nhs_number_status")
"""What a row says of its person, as delivered."""

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


def with_number(frame: DataFrame, production: bool) -> DataFrame:
    """`frame` with `_digits` of its `nhs_number`, and whether they are valid (`_is_valid`) and `_is_in_range` here.

    Columns of their own, so that what is made of them stays a short expression to plan.
    """
    with_digits = frame.withColumn("_digits", digits_of(F.col("nhs_number")))
    is_test = is_in_test_range(F.col("_digits"))
    checks = {"_is_valid": is_valid(F.col("_digits")), "_is_in_range": ~is_test if production else is_test}
    return with_digits.withColumns(checks)


def _usable_number() -> Column:
    """The NHS number to link by, as ten digits; empty where the row of `with_number` has none that may be used."""
    trusted = F.coalesce(F.col("nhs_number_status").isin(*LINKED_STATUSES), F.lit(True))
    return F.when(F.col("_is_valid") & F.col("_is_in_range") & trusted, F.col("_digits")).otherwise(F.lit(""))


def is_out_of_range() -> Column:
    """Whether a row of `with_number` has a valid number that does not belong in this environment."""
    return F.coalesce(F.col("_is_valid") & ~F.col("_is_in_range"), F.lit(False))


def out_of_range(production: bool) -> tuple[str, str]:
    """Disposition and reason of rows whose valid number does not belong in this environment."""
    return ("test_patient", "test_range_number") if production else ("quarantined", "real_number_outside_production")


def identities_in(versions: DataFrame, entities: Iterable[str], source: str) -> DataFrame:
    """What the valid rows of some entities of a source say of their persons, each statement once (STATED_SCHEMA)."""
    rows = valid_rows(versions, *entities).withColumn("_source", F.lit(source))
    return rows.select(*STATED_SCHEMA).distinct()


def identity_columns(source: Column) -> list[Column]:
    """IDENTITY of a row of `with_number` that names its person."""
    return [
        source.alias("_source"),
        F.col("_provider"),
        F.coalesce("local_id", F.lit("")).alias("local_id"),
        _usable_number().alias("nhs_number"),
    ]


def stated_identities(stated: Iterable[DataFrame], production: bool) -> DataFrame:
    """One row per identity of all sources (IDENTITY), from what `identities_in` gives for each."""
    return with_number(union_all(stated), production).select(*identity_columns(F.col("_source"))).distinct()


def linked_identities(identities: DataFrame, pads: Pads) -> DataFrame:
    """One row per identity with its person (LINK_SCHEMA). `identities` is stored: it is read twice.

    Identities without a number and without a local identifier name nobody and are left out. `person_id` is the hash of the
    person's key: ids that meet are separated by `pipelines.columns.ids`.
    """
    stated = identities.where((F.col("nhs_number") != "") | (F.col("local_id") != ""))
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
