"""Facts that sources relate: results and their specimens."""

from pyspark.sql import SparkSession

from pipelines.contracts.cdm import cdm_tables
from pipelines.omop.relationships import fact_relationship

MEASUREMENT, OBSERVATION, SPECIMEN = 21, 27, 36
HAS_SPECIMEN, SPECIMEN_OF = 44818756, 44818854
ANNA, BEN = 101, 102

RESULTS = "specimen_key string, person_id bigint, _table string, _id bigint"
SPECIMENS = "key string, person_id bigint, _table string, _id bigint"


def test_results_and_specimens_of_one_key_and_person_are_related_both_ways(sail: SparkSession) -> None:
    results = [
        ("s", ANNA, "measurement", 1),
        ("s", ANNA, "observation", 2),
        ("s", BEN, "measurement", 3),
        ("t", BEN, "measurement", 4),
        ("gone", ANNA, "measurement", 5),
    ]
    # The sample of s is of two kinds at once; that of t is a specimen by its rule only, its concept is an observation.
    specimens = [("s", ANNA, "specimen", 11), ("s", ANNA, "specimen", 12), ("t", BEN, "observation", 13)]
    table = cdm_tables("5.4")["fact_relationship"]
    rows = fact_relationship(sail.createDataFrame(results, RESULTS), sail.createDataFrame(specimens, SPECIMENS), table)
    assert rows.columns == [*table.schema]
    assert sorted(tuple(row) for row in rows.collect()) == sorted(
        [
            (MEASUREMENT, 1, SPECIMEN, 11, HAS_SPECIMEN),
            (MEASUREMENT, 1, SPECIMEN, 12, HAS_SPECIMEN),
            (OBSERVATION, 2, SPECIMEN, 11, HAS_SPECIMEN),
            (OBSERVATION, 2, SPECIMEN, 12, HAS_SPECIMEN),
            (SPECIMEN, 11, MEASUREMENT, 1, SPECIMEN_OF),
            (SPECIMEN, 12, MEASUREMENT, 1, SPECIMEN_OF),
            (SPECIMEN, 11, OBSERVATION, 2, SPECIMEN_OF),
            (SPECIMEN, 12, OBSERVATION, 2, SPECIMEN_OF),
        ]
    )
