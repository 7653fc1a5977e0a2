"""Drug exposures: how much of a product and for how long, doses as numbers, and which dose was given for which order."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.directions import daily_amount_in, days_in, dose_in, dose_unit_in, doses_per_day_in, in_milligrams
from pipelines.contracts.cdm import CdmTable
from pipelines.omop.conform import conform

DRUG_EXPOSURE = "drug_exposure"

ORDER_NAMED = "order_named"
"""The rule of a link: the record of the administration names its order."""


MILLIGRAM_CONCEPT_ID = 8576
"""The unit in which DRUG_STRENGTH has the amount of a tablet or capsule."""

STRENGTH_COLUMNS = ("drug_concept_id", "amount_value", "amount_unit_concept_id", "invalid_reason")
"""What is read of DRUG_STRENGTH."""

_LEAST = 1e-6
"""Less than any dose: a quotient of doubles may be that much off a whole number."""


def with_course(drugs: DataFrame, strengths: DataFrame, stated: DataFrame) -> DataFrame:
    """`drugs` with what quantity and directions say of how much there was and how long it lasts.

    `stated` has the directions (`sig`) and units (`dose_unit_source_value`) of all drugs, and may have more: the few different
    ones are read once each, not with every row.

    `_counted` is the quantity as OMOP counts it: of a drug with a fixed amount the pieces, also where an amount in milligrams
    was delivered; of any other drug as delivered. `_stated_days` are the days that the directions name, `_dosed_days` those
    until the quantity is used up by them.
    """
    sized = drugs.join(F.broadcast(fixed_amounts(strengths)), on="_target_concept_id", how="left")
    asked = sized.withColumns({"_sig": _or_empty("sig"), "_unit": _or_empty("dose_unit_source_value")})
    # What was read is named first: Sail takes there to be as many different ones as rows, and keeps what is named first.
    known = F.broadcast(read_once(stated)).join(asked, on=["_sig", "_unit"], how="right")
    quantity, piece_mg = F.col("quantity"), F.col("_piece_mg")
    daily = F.coalesce(F.col("_daily"), F.col("_daily_mg") / piece_mg)
    until_used_up = F.when(daily > 0, F.ceil(quantity / daily - F.lit(_LEAST)))
    pieces = F.round(quantity * F.col("_mg") / piece_mg, 6)
    return known.withColumns({"_counted": F.coalesce(pieces, quantity), "_dosed_days": until_used_up})


def with_latest_end(drugs: DataFrame, deaths: DataFrame, extracts: DataFrame) -> DataFrame:
    """`drugs` with `_ends_by`, the last day that a computed end may have: of the newest extract of the provider, or of an
    earlier death.

    Not of the extract that delivered the row: what is delivered by deltas comes once, on the day on which it was supplied. A
    course that starts after the death of its person lasts for the day. `deaths` has `person_id` and `death_date`, one row a
    person; `extracts` see NEWEST_SCHEMA.
    """
    died = F.broadcast(deaths.select("person_id", F.col("death_date").alias("_died")))
    until_death = F.when(F.col("_died").isNotNull(), F.greatest("_died", "start_date"))
    known = drugs.join(F.broadcast(extracts), on=["_source", "_provider"], how="left").join(died, on="person_id", how="left")
    return known.withColumn("_ends_by", F.least(F.col("_known_until"), until_death))


def read_once(stated: DataFrame) -> DataFrame:
    """One row per directions and unit (`_sig`, `_unit`; empty where there are none), with what is read of them.

    `_mg` is one of the unit in milligrams, `_stated_days` are the days that the directions name. `_daily` is what is used up in
    a day; where that depends on the milligrams of a piece it is null, and `_daily_mg` has it for pieces of one milligram.
    """
    sig, unit = F.col("_sig"), F.col("_unit")
    is_stated = F.col("sig").isNotNull() | F.col("dose_unit_source_value").isNotNull()
    different = (
        stated.where(is_stated)
        .select(_or_empty("sig").alias("_sig"), _or_empty("dose_unit_source_value").alias("_unit"))
        .distinct()
    )
    return different.select(
        "_sig",
        "_unit",
        in_milligrams(F.lit(1.0), unit).alias("_mg"),
        days_in(sig).alias("_stated_days"),
        daily_amount_in(sig, unit, F.lit(None).cast("double")).alias("_daily"),
        daily_amount_in(sig, unit, F.lit(1.0)).alias("_daily_mg"),
    )


def _or_empty(column: str) -> Column:
    return F.coalesce(F.col(column), F.lit(""))


def fixed_amounts(strengths: DataFrame) -> DataFrame:
    """`_target_concept_id` and `_piece_mg`: what a piece of a drug has of its one ingredient, where that is a fixed amount."""
    valid = strengths.where(F.col("invalid_reason").isNull())
    is_fixed = F.col("amount_value").isNotNull() & (F.col("amount_unit_concept_id") == MILLIGRAM_CONCEPT_ID)
    parts = valid.groupBy(F.col("drug_concept_id").alias("_target_concept_id")).agg(
        F.count(F.lit(1)).alias("_parts"), F.max(F.when(is_fixed, F.col("amount_value"))).alias("_piece_mg")
    )
    return parts.where((F.col("_parts") == 1) & (F.col("_piece_mg") > 0)).select("_target_concept_id", "_piece_mg")


def drug_dosing(drugs: DataFrame, table: CdmTable) -> DataFrame:
    """One row per drug exposure: dose, unit and doses a day as its directions (`sig`) give them, and the rule of its end."""
    sig = F.col("sig")
    values = {
        "drug_exposure_id": F.col("drug_exposure_id"),
        "person_id": F.col("person_id"),
        "dose_value": dose_in(sig),
        "dose_unit": dose_unit_in(sig),
        "doses_per_day": doses_per_day_in(sig),
        "is_as_needed": sig.contains("as needed").cast("int"),
        "end_rule": F.col("_end_rule"),
    }
    return conform(drugs, values, table)


def drug_order_administration(events: DataFrame, drugs: DataFrame, table: CdmTable) -> DataFrame:
    """One row per row of a dose and row of its order, of one person, that are of the same drug.

    `events` (of the stem) carry an `order_key`: that of the order they were given for, or their own `_row_key` where they are
    the order; `drugs` is the table of drug exposures. A code of several drugs gives several rows of either. A drug that the
    order does not have was given for it all the same, and is linked to each of its rows.
    """
    keys = events.select("_row_key", "_rule", "order_key")
    columns = ("_row_key", "_rule", "person_id", "drug_concept_id", "drug_exposure_id")
    exposures = keys.join(drugs.select(*columns), on=["_row_key", "_rule"], how="inner")
    is_order = F.col("_row_key") == F.col("order_key")
    ordered = (F.col("drug_concept_id").alias("_ordered_concept_id"), F.col("drug_exposure_id").alias("_order_id"))
    orders = exposures.where(is_order).select("person_id", "order_key", *ordered)
    doses = exposures.where(~is_order).select("person_id", "order_key", "drug_concept_id", "drug_exposure_id")
    pairs = doses.join(orders, on=["order_key", "person_id"], how="inner")
    is_same = F.col("_ordered_concept_id") == F.col("drug_concept_id")
    by_dose = pairs.groupBy("person_id", "drug_exposure_id").agg(
        F.collect_list(F.when(is_same, F.col("_order_id"))).alias("_of_drug"), F.collect_list("_order_id").alias("_of_dose")
    )
    linked = F.when(F.size("_of_drug") > 0, F.col("_of_drug")).otherwise(F.col("_of_dose"))
    values = {
        "person_id": F.col("person_id"),
        "order_drug_exposure_id": F.col("_order_id"),
        "administration_drug_exposure_id": F.col("drug_exposure_id"),
        "link_rule": F.lit(ORDER_NAMED),
    }
    return conform(by_dose.select("person_id", "drug_exposure_id", F.explode(linked).alias("_order_id")), values, table)
