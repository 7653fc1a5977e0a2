"""Who is left out, and by which choice.

The national list is an allow-list: a number is kept only if it came back. A local opt-out and an upheld objection remove
the whole person; Type 1 removes what comes from the GP record. Who has no usable number cannot be checked against the
national list and follows the declared policy.
"""

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

PERSON_SCHEMA = {"person_id": "bigint", "opt_out": "string", "type_one": "boolean"}
"""One row per linked person: the opt-out that removes all rows (null: none), and whether Type 1 applies."""


@dataclass(frozen=True)
class OptOutLists:
    """The three lists of a run.

    `numbers_allowed` (nhs_number) came back from the national check; `numbers_opted_out_locally` (nhs_number) and
    `objections` (nhs_number, _provider, local_id; upheld ones) are to be left out.
    """

    numbers_allowed: DataFrame
    numbers_opted_out_locally: DataFrame
    objections: DataFrame


def opt_outs_by_person(
    links: DataFrame, lists: OptOutLists, people_with_type_one: DataFrame, exclude_unverifiable: bool
) -> DataFrame:
    """The opt-out of every linked person (PERSON_SCHEMA). `links`: LINK_SCHEMA of linkage."""
    people = links.select("person_id", "linked_number").distinct()
    allowed = _marked(lists.numbers_allowed.select(F.col("nhs_number").alias("linked_number")), "_allowed")
    local = _marked(lists.numbers_opted_out_locally.select(F.col("nhs_number").alias("linked_number")), "_local")
    objecting = _marked(_objecting(links, lists.objections), "_objects")
    type_one = _marked(people_with_type_one.select("person_id"), "_type_one")
    checked = (
        people.join(allowed, on="linked_number", how="left")
        .join(local, on="linked_number", how="left")
        .join(objecting, on="person_id", how="left")
        .join(type_one, on="person_id", how="left")
    )
    has_number = F.col("linked_number") != ""
    opt_out = (
        F.when(F.col("_objects").isNotNull(), F.lit("objection"))
        .when(has_number & F.col("_local").isNotNull(), F.lit("local"))
        .when(has_number & F.col("_allowed").isNull(), F.lit("national"))
        .when(~has_number & F.lit(exclude_unverifiable), F.lit("unverifiable"))
    )
    return checked.select("person_id", opt_out.alias("opt_out"), F.col("_type_one").isNotNull().alias("type_one"))


def _marked(keys: DataFrame, mark: str) -> DataFrame:
    return keys.distinct().withColumn(mark, F.lit(True))


def _objecting(links: DataFrame, objections: DataFrame) -> DataFrame:
    numbered = objections.where(F.col("nhs_number") != "").select(F.col("nhs_number").alias("linked_number")).distinct()
    placed = objections.where(F.col("local_id") != "").select("_provider", "local_id").distinct()
    by_number = links.join(numbered, on="linked_number", how="left_semi").select("person_id")
    by_place = links.join(placed, on=["_provider", "local_id"], how="left_semi").select("person_id")
    return by_number.union(by_place)
