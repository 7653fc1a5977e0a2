"""Persons and deaths: one row a person over all sources."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.columns.frames import rows_of_group
from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.ledger import UNREADABLE
from pipelines.mapping.compile import BIRTH_UNREADABLE
from pipelines.mapping.outcomes import UNKNOWN_PERSON, UNREADABLE_BIRTH
from pipelines.omop.codes import with_concepts
from pipelines.omop.conform import conform, priority
from pipelines.omop.places import care_site_code, location_index, with_care_site

CODED = ("gender", "race", "ethnicity")
"""The coded attributes of a person. Ethnicity is Hispanic or not, as OMOP means it; UK sources do not say."""

PERSONS_SCHEMA = {
    "person_id": "bigint",
    "_source": "string",
    "_entity": "string",
    "_rule": "string",
    "year_of_birth": "bigint",
    "month_of_birth": "bigint",
    "gender_concept_id": "bigint",
    "gender_source_value": "string",
    "gender_source_concept_id": "bigint",
    "race_concept_id": "bigint",
    "race_source_value": "string",
    "race_source_concept_id": "bigint",
    "ethnicity_concept_id": "bigint",
    "ethnicity_source_value": "string",
    "ethnicity_source_concept_id": "bigint",
    "postcode_area": "string",
    "care_site_code": "string",
}
"""One row per person of the CDM, before places have ids. `_source`, `_entity`, `_rule`: of the record that counts first."""


def persons(person_rows: DataFrame, concept_map: DataFrame, sources: Sequence[str]) -> DataFrame:
    """One row per person with a year of birth (PERSONS_SCHEMA), each attribute from the first record that knows it.

    Records count in the order of `sources`, then by `order`, those without one first, then the newest first (`recorded_on`),
    then by row key. A code without a concept of any kind is not known; one that has a source concept alone, as mixed ethnic
    groups do, is known, and its concept is 0. Where no record knows a code, the first delivered value is kept with concept 0.
    A practice whose code names no organisation is not known either. The month comes from the record that gives the year.
    """
    by_rule, newest_first = F.col("order").asc_nulls_first(), F.col("recorded_on").desc_nulls_last()
    order = (priority(sources), by_rule, newest_first, F.col("_row_key"), F.col("_rule"))
    place = F.row_number().over(Window.partitionBy("person_id").orderBy(*order))
    placed = with_concepts(person_rows, CODED, concept_map).withColumn("_place", place)
    # The place of the first record that knows an attribute, and then what it states: no window over every attribute.
    attributes = _attributes()
    firsts = placed.groupBy("person_id").agg(
        *[F.min(F.when(is_known, F.col("_place"))).alias(f"_first_{name}") for name, (is_known, _) in attributes.items()]
    )
    values_of_first = [_value_at(f"_first_{name}", column) for name, (_, columns) in attributes.items() for column in columns]
    merged = placed.join(firsts, on="person_id", how="inner").groupBy("person_id").agg(*values_of_first)
    values = {name: F.col(f"_first_record_{name}") for name in ("_source", "_entity", "_rule")}
    values |= {name: F.col(f"_first_birth_{name}") for name in ("year_of_birth", "month_of_birth")}
    values |= {name: F.col(f"_first_{name}_{name}") for name in ("postcode_area", "care_site_code")}
    for field in CODED:
        values |= _chosen(field)
    born = merged.where(values["year_of_birth"].isNotNull())
    return born.select(*[values[n].cast(kind).alias(n) if n in values else n for n, kind in PERSONS_SCHEMA.items()])


def _attributes() -> dict[str, tuple[Column, tuple[str, ...]]]:
    """By name: whether a record knows the attribute, and the columns that state it."""
    attributes: dict[str, tuple[Column, tuple[str, ...]]] = {
        "record": (F.lit(True), ("_source", "_entity", "_rule")),
        "birth": (F.col("year_of_birth").isNotNull(), ("year_of_birth", "month_of_birth")),
    }
    for name, value in (("postcode_area", F.col("postcode_area")), ("care_site_code", care_site_code())):
        attributes[name] = (value.isNotNull(), (name,))
    for field in CODED:
        parts = (f"{field}_source_value", f"{field}_source_concept")
        is_known = (F.col(f"{field}_target") > 0) | (F.col(f"{field}_source_concept") > 0)
        attributes[f"{field}_known"] = (is_known, (f"{field}_target", *parts))
        attributes[f"{field}_delivered"] = (F.col(f"{field}_source_value").isNotNull(), parts)
    return attributes


def _value_at(first: str, column: str) -> Column:
    """A column of the record whose place is in `first`; no two records of a person have one place."""
    return F.max(F.when(F.col("_place") == F.col(first), F.col(column))).alias(f"{first}_{column}")


def _chosen(field: str) -> dict[str, Column]:
    def known(part: str) -> Column:
        return F.col(f"_first_{field}_known_{field}_{part}")

    def delivered(part: str) -> Column:
        return F.col(f"_first_{field}_delivered_{field}_{part}")

    return {
        f"{field}_concept_id": F.coalesce(known("target"), F.lit(0)),
        f"{field}_source_value": F.coalesce(known("source_value"), delivered("source_value")),
        f"{field}_source_concept_id": F.coalesce(known("source_concept"), delivered("source_concept"), F.lit(0)),
    }


def without_year_of_birth(person_rows: DataFrame, known: DataFrame) -> DataFrame:
    """Records of people who are not in the CDM because no source knows their year of birth, by rule.

    Columns source, entity, rule, reason, rows. The reason distinguishes a date that could not be read from none at all.
    """
    unknown = person_rows.join(F.broadcast(known.select("person_id")), on="person_id", how="left_anti")
    unread = unknown.where(F.col(BIRTH_UNREADABLE).isNotNull()).select("person_id", F.lit(True).alias("_unread")).distinct()
    reason = (
        F.when(F.col(BIRTH_UNREADABLE).isNotNull(), F.concat(F.lit(UNREADABLE), F.col(BIRTH_UNREADABLE)))
        .when(F.col("_unread"), F.lit(UNREADABLE_BIRTH))
        .otherwise(F.lit(UNKNOWN_PERSON))
    )
    explained = unknown.join(unread, on="person_id", how="left").withColumn("reason", reason)
    counted = explained.groupBy("_source", "_entity", "_rule", "reason").agg(rows_of_group().alias("rows"))
    return counted.select(
        F.col("_source").alias("source"), F.col("_entity").alias("entity"), F.col("_rule").alias("rule"), "reason", "rows"
    )


def person(merged: DataFrame, locations: DataFrame, care_sites: DataFrame, with_month: bool, table: CdmTable) -> DataFrame:
    """The person table. Day and time of birth are never kept, the month by configuration, no identifier at all."""
    areas = location_index(locations).select(F.col("key").alias("postcode_area"), F.col("id").alias("location_id"))
    placed = with_care_site(merged.join(F.broadcast(areas), on="postcode_area", how="left"), care_sites)
    names = ["person_id", "year_of_birth", "location_id", "care_site_id"]
    parts = ("concept_id", "source_value", "source_concept_id")
    names += [f"{field}_{part}" for field in CODED for part in parts]
    values = {name: F.col(name) for name in names}
    if with_month:
        values["month_of_birth"] = F.col("month_of_birth")
    return conform(placed, values, table)
