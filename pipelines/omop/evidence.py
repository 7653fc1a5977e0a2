"""How each event is known, and how exactly its dates are: the table `event_evidence`, beside the CDM."""

from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.evidence import DatePrecision
from pipelines.omop.conform import conform


def event_evidence(events: Mapping[str, DataFrame], table: CdmTable) -> DataFrame:
    """One row per event of the event tables, which are given by name; a date without a stated precision is a day."""
    values = {
        "person_id": F.col("person_id"),
        "event_table": F.col("event_table"),
        "event_id": F.col("event_id"),
        "evidence": F.col("_evidence"),
        "date_precision": F.coalesce(F.col("_date_precision"), F.lit(DatePrecision.DAY.value)),
        "end_date_precision": F.col("_end_date_precision"),
    }
    narrow = [
        frame.select(
            "person_id",
            F.lit(name).alias("event_table"),
            F.col(f"{name}_id").alias("event_id"),
            "_evidence",
            "_date_precision",
            "_end_date_precision",
        )
        for name, frame in events.items()
    ]
    return conform(union_all(narrow), values, table)
