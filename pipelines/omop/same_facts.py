"""The same fact twice: rows of one event table that two recorders have of one thing, in the table `same_fact`.

A recorder is a provider of a source, or one of the practices that a provider delivers. When a person changes practice, GP2GP
copies the record to the new one, and both deliver it. Rows are linked, never merged or taken out: whose word counts is for the
study to say.
"""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true, is_true
from pipelines.columns.frames import union_all
from pipelines.contracts.cdm import RECORDER, CdmTable
from pipelines.contracts.evidence import DatePrecision, Evidence
from pipelines.omop.conform import conform

RULES = {
    "condition_occurrence": "same_code_same_day",
    "device_exposure": "same_device_same_day",
    "drug_exposure": "same_drug_same_day",
    "measurement": "same_result",
    "observation": "same_statement",
    "procedure_occurrence": "same_code_same_day",
}
"""The tables whose rows are compared, each with the rule by which two of its rows are the same fact."""

HIGH, MEDIUM, LOW = "high", "medium", "low"
"""How likely two rows are one fact; `confidence` decides."""

_STARTS = {
    "condition_occurrence": ("condition", "condition_start"),
    "device_exposure": ("device", "device_exposure_start"),
    "drug_exposure": ("drug", "drug_exposure_start"),
    "measurement": ("measurement", "measurement"),
    "observation": ("observation", "observation"),
    "procedure_occurrence": ("procedure", "procedure"),
}
"""What the names of a table's concept and of its start begin with."""

_SAID = {
    "type_concept_id": "bigint",
    "value_as_number": "double",
    "value_as_concept_id": "bigint",
    "value_as_string": "string",
    "qualifier_concept_id": "bigint",
    "operator_concept_id": "bigint",
    "unit_concept_id": "bigint",
}
"""What rows of some tables say beside concept and day; null where a table has no such thing to compare."""

_SAID_IN = {
    "device_exposure": {"type_concept_id": "device_type_concept_id"},
    "drug_exposure": {"type_concept_id": "drug_type_concept_id"},
    "measurement": {
        name: name for name in ("value_as_number", "value_as_concept_id", "operator_concept_id", "unit_concept_id")
    },
    "observation": {
        name: name
        for name in ("value_as_number", "value_as_concept_id", "value_as_string", "qualifier_concept_id", "unit_concept_id")
    },
}
"""The columns of _SAID that a table has, each with its name there. What was prescribed and what was given are two facts."""

_FACT = ("event_table", "person_id", "concept_id", "event_date", "_precision", *_SAID)
"""What two rows agree in if they are the same fact; null agrees with null."""

_BY = "_by"
"""Who recorded a row. One trust may deliver several sources under its code, so the source is part of it."""


def same_fact(tables: Mapping[str, DataFrame], table: CdmTable) -> DataFrame:
    """The same_fact table: one row per row of an event table that says what a row of another recorder says.

    `tables` are those of RULES. Of the rows of a fact the first that has a time, else the first by the name of its source and
    by its recorder, stands for the fact (`other_event_id`), and those of the others point to it. A recorder may have a fact
    several times (two equal readings of a day): the first of one is compared with the first of another, the second with the
    second.
    """
    rows = union_all([_on_shared_days(_facts(frame, name)) for name, frame in tables.items()])
    of_fact = Window.partitionBy(*_FACT)
    recorders = rows.withColumns({"_least": F.min(_BY).over(of_fact), "_greatest": F.max(_BY).over(of_fact)})
    shared = recorders.where(F.col("_least") != F.col("_greatest")).drop("_least", "_greatest")
    in_recorder = Window.partitionBy(*_FACT, _BY).orderBy(*_first())
    placed = shared.withColumn("_place", F.row_number().over(in_recorder))
    of_place = Window.partitionBy(*_FACT, "_place").orderBy(*_first())
    stands = {f"_other{name}": F.first(name).over(of_place) for name in ("_id", "_moment", "_evidence", "_source")}
    ranked = placed.withColumns({"_rank": F.row_number().over(of_place), **stands})
    values = {
        "person_id": F.col("person_id"),
        "event_table": F.col("event_table"),
        "event_id": F.col("_id"),
        "other_event_id": F.col("_other_id"),
        "rule": first_true((F.col("event_table") == name, F.lit(rule)) for name, rule in RULES.items()),
        "confidence": confidence(
            F.col("event_table") == "condition_occurrence",
            F.col("_source") == F.col("_other_source"),
            (F.col("_moment"), F.col("_other_moment")),
            (F.col("_evidence"), F.col("_other_evidence")),
        ),
    }
    return conform(ranked.where(F.col("_rank") > 1), values, table)


def confidence(
    is_lasting: Column, is_of_one_source: Column, moments: tuple[Column, Column], evidence: tuple[Column, Column]
) -> Column:
    """HIGH, MEDIUM or LOW for two rows that agree in all that RULES compare.

    `is_lasting` is true of conditions, which are the same at another time of the day. So are results of laboratories in two
    sources: one time is often that of the sample, the other that of the report. Anything else at two times is two facts more
    often than not, results of two hospitals among them, and so are things that are known in different ways (a suspicion and a
    diagnosis).
    """
    differ = is_true(moments[0] != moments[1])
    agree = is_true(moments[0] == moments[1])
    is_of_laboratory = (evidence[0] == Evidence.LABORATORY.value) | (evidence[1] == Evidence.LABORATORY.value)
    is_result = is_of_laboratory & ~(differ & is_of_one_source)
    return (
        F.when(is_result, F.when(differ, F.lit(MEDIUM)).otherwise(F.lit(HIGH)))
        .when((differ & ~is_lasting) | (evidence[0] != evidence[1]), F.lit(LOW))
        .when(agree, F.lit(HIGH))
        .otherwise(F.lit(MEDIUM))
    )


def _facts(frame: DataFrame, name: str) -> DataFrame:
    """The rows of an event table that can be compared: of a standard concept, measurements with a value.

    A value that is delivered without a concept that is known says nothing that could be compared.
    """
    concept, start = _STARTS[name]
    is_said = F.col(f"{concept}_concept_id") > 0
    said = {column: F.col(theirs) for column, theirs in _SAID_IN.get(name, {}).items()}
    if "value_as_concept_id" in said:
        is_said &= F.coalesce(F.col("value_as_concept_id") > 0, F.lit(True))
    if name == "measurement":
        is_said &= F.col("value_as_number").isNotNull() | F.col("value_as_concept_id").isNotNull()
    return frame.where(is_said).select(
        F.lit(name).alias("event_table"),
        F.col(f"{name}_id").alias("_id"),
        "person_id",
        F.col(f"{concept}_concept_id").alias("concept_id"),
        F.col(f"{start}_date").alias("event_date"),
        F.col(f"{start}_datetime").alias("_moment"),
        F.coalesce(F.col("_date_precision"), F.lit(DatePrecision.DAY.value)).alias("_precision"),
        *[said.get(column, F.lit(None)).cast(kind).alias(column) for column, kind in _SAID.items()],
        "_evidence",
        "_source",
        F.concat_ws("/", "_source", RECORDER).alias(_BY),
    )


def _on_shared_days(facts: DataFrame) -> DataFrame:
    """The rows of a table on days on which two recorders have a concept of a person: the few that need to be compared."""
    of_day = ["person_id", "concept_id", "event_date"]
    by_day = facts.groupBy(*of_day).agg(F.min(_BY).alias("_least"), F.max(_BY).alias("_greatest"))
    return facts.join(by_day.where(F.col("_least") != F.col("_greatest")).select(*of_day), on=of_day, how="left_semi")


def _first() -> tuple[Column, ...]:
    return F.col("_moment").asc_nulls_last(), F.col("_source"), F.col(_BY), F.col("_id")
