"""What is derived of drug exposures: their doses and frequencies as numbers, and which dose was given for which order."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.directions import dose_in, dose_unit_in, doses_per_day_in
from pipelines.contracts.cdm import CdmTable
from pipelines.omop.conform import conform

DRUG_EXPOSURE = "drug_exposure"

ORDER_NAMED = "order_named"
"""The rule of a link: the record of the administration names its order."""


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


def drug_order_administration(events: DataFrame, table: CdmTable) -> DataFrame:
    """One row per order and dose that was given for it, of one person.

    `events` (`numbered_events`) carry an `order_key`: that of the order they were given for, or their own `_row_key` where they
    are the order. A code of several drugs gives several rows of either, and each is linked to each.
    """
    drugs = events.where(F.col("_table") == DRUG_EXPOSURE).select("person_id", "order_key", "_row_key", "_id")
    is_order = F.col("_row_key") == F.col("order_key")
    orders = drugs.where(is_order).select("person_id", "order_key", F.col("_id").alias("_order_id"))
    linked = drugs.where(~is_order).join(orders, on=["order_key", "person_id"], how="inner")
    values = {
        "person_id": F.col("person_id"),
        "order_drug_exposure_id": F.col("_order_id"),
        "administration_drug_exposure_id": F.col("_id"),
        "link_rule": F.lit(ORDER_NAMED),
    }
    return conform(linked, values, table)
