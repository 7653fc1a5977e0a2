"""One analyte has one standard concept, in whatever vocabulary a source codes it; on the embedded engine."""

import csv
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.mapping.analytes import load_analytes
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from vocab.athena import read_table
from vocab.concept_map import CONCEPT_MAP_SCHEMA, resolve_codes, with_standard_of_analyte
from vocab.load import DEMO_DIR, LOCAL_DIR
from vocab.local_maps import approved_maps, read_local_maps
from vocab.schemas import ddl_of

CATALOGUE = Path(__file__).parents[2] / "pipelines" / "synthetic" / "catalogue" / "measurements.csv"
ANALYTES = load_analytes(PACKAGED_MAPPINGS_DIR)


@pytest.fixture(scope="module")
def vocabulary(sail: SparkSession) -> dict[str, DataFrame]:
    """Tables of the demonstration with the concepts of the project."""
    stems = ("CONCEPT", "CONCEPT_RELATIONSHIP")
    return {stem: read_table(sail, DEMO_DIR, stem).unionByName(read_table(sail, LOCAL_DIR, stem)) for stem in stems}


def mapped(
    sail: SparkSession, vocabulary: dict[str, DataFrame], codes: list[tuple[str, str]]
) -> dict[tuple[str, str], tuple[int, int, str, str]]:
    """Source concept, target, domain and origin by code, for codes with one target."""
    asked = sail.createDataFrame(codes, "source_vocabulary_id string, source_code string")
    maps = approved_maps(sail, read_local_maps(PACKAGED_MAPPINGS_DIR / "concepts"))
    resolved = resolve_codes(asked, vocabulary["CONCEPT"], vocabulary["CONCEPT_RELATIONSHIP"], maps)
    rows = with_standard_of_analyte(resolved, vocabulary["CONCEPT"], ANALYTES.standard).collect()
    assert len(rows) == len(set(codes))
    return {
        (row.source_vocabulary_id, row.source_code): (
            row.source_concept_id,
            row.target_concept_id,
            row.target_domain_id,
            row.map_origin,
        )
        for row in rows
    }


STANDARD = {
    ("SNOMED", "271649006"): (4152194, 3004249, "athena+analyte"),  # systolic blood pressure
    ("SNOMED", "271650006"): (4154790, 3012888, "athena+analyte"),  # diastolic blood pressure
    ("SNOMED", "78564009"): (4301868, 3027018, "athena+analyte"),  # pulse rate
    ("SNOMED", "364075005"): (4239408, 3027018, "athena"),  # heart rate
    ("SNOMED", "86290005"): (4313591, 3024171, "athena+analyte"),  # respiratory rate
    ("SNOMED", "103228002"): (2000100201, 40762499, "athena"),  # oxygen saturation
    ("SNOMED", "386725007"): (4302666, 3020891, "athena+analyte"),  # body temperature
    ("SNOMED", "27113001"): (4099154, 3025315, "athena+analyte"),  # body weight
    ("SNOMED", "60621009"): (4245997, 3038553, "athena+analyte"),  # body mass index
    ("SNOMED", "70901006"): (4324383, 3020564, "athena+analyte"),  # creatinine
    ("Read", "44J3."): (45461929, 3020564, "athena+analyte"),  # creatinine
    ("CTV3", "XE2q5"): (2000050313, 3020564, "local+analyte"),  # creatinine
    ("NHS Local Pathology", "CREA"): (2000050223, 3020564, "local"),  # creatinine
    ("SNOMED", "55235003"): (4208414, 3020460, "athena+analyte"),  # C-reactive protein
    ("SNOMED", "43396009"): (4184637, 40762352, "athena+analyte"),  # haemoglobin A1c
    ("SNOMED", "1022651000000100"): (37393863, 3024929, "athena+analyte"),  # platelets
    ("Read", "42P.."): (2000100200, 3024929, "athena+analyte"),  # platelets
    ("SNOMED", "1018251000000107"): (37393531, 3006923, "athena+analyte"),  # alanine aminotransferase
    ("SNOMED", "45896001"): (4263457, 3013721, "athena+analyte"),  # aspartate aminotransferase
    ("SNOMED", "88810008"): (4230636, 3035995, "athena+analyte"),  # alkaline phosphatase
    ("SNOMED", "359986008"): (4230543, 3006140, "athena+analyte"),  # bilirubin
    ("SNOMED", "71878006"): (4216722, 3015377, "athena+analyte"),  # calcium
    ("SNOMED", "104866001"): (4017907, 3003458, "athena+analyte"),  # phosphate
    ("SNOMED", "121868005"): (4008265, 3019900, "athena+analyte"),  # cholesterol
    ("SNOMED", "14740000"): (4032789, 3025839, "athena+analyte"),  # triglycerides
}


def test_the_standard_concept_is_that_of_the_analyte_and_the_source_concept_stays(
    sail: SparkSession, vocabulary: dict[str, DataFrame]
) -> None:
    expected = {code: (source, target, "Measurement", origin) for code, (source, target, origin) in STANDARD.items()}
    assert mapped(sail, vocabulary, list(STANDARD)) == expected


def test_all_codes_of_a_measurement_in_the_catalogue_have_one_concept(
    sail: SparkSession, vocabulary: dict[str, DataFrame]
) -> None:
    columns = {"snomed": "SNOMED", "loinc": "LOINC", "local_code": "NHS Local Pathology"}
    with CATALOGUE.open(encoding="utf-8", newline="") as file:
        codes = {row["name"]: [(name, row[of]) for of, name in columns.items() if row[of]] for row in csv.DictReader(file)}
    found = mapped(sail, vocabulary, sorted({code for several in codes.values() for code in several}))
    concepts = {name: {found[code][1] for code in several} for name, several in codes.items()}
    assert {name: several for name, several in concepts.items() if len(several) != 1} == {}


def test_another_meaning_is_left_alone(sail: SparkSession, vocabulary: dict[str, DataFrame]) -> None:
    codes = {
        ("SNOMED", "1104051000000101"): (37208353, 37208353, "Measurement", "athena"),  # NEWS2 total score
        ("SNOMED", "75367002"): (4326744, 4326744, "Measurement", "athena"),  # blood pressure, neither of the two
        ("Read", "246E."): (45515092, 4060834, "Measurement", "athena"),  # sitting blood pressure
        ("SNOMED", "8517006"): (4310250, 4310250, "Observation", "athena"),  # ex-smoker
    }
    assert mapped(sail, vocabulary, list(codes)) == codes


CONCEPTS = "concept_id bigint, domain_id string, vocabulary_id string, standard_concept string, invalid_reason string"


def code_map(sail: SparkSession, *rows: tuple[str, int, int, int | None]) -> DataFrame:
    """Code, ordinal, target and value of each row of a code map."""
    whole = [
        ("SNOMED", code, ordinal, 7, target, "Measurement", "SNOMED", value, "athena") for code, ordinal, target, value in rows
    ]
    return sail.createDataFrame(whole, ddl_of(CONCEPT_MAP_SCHEMA))


@pytest.mark.parametrize(
    ("concepts", "after"),
    [
        ([(30, "Measurement", "LOINC", "S", None)], (30, "Measurement", "LOINC", "athena+analyte")),
        ([(30, "Observation", "LOINC", "S", None)], (10, "Measurement", "SNOMED", "athena")),
        ([(30, "Measurement", "LOINC", "S", "D")], (10, "Measurement", "SNOMED", "athena")),
        ([(30, "Measurement", "LOINC", None, None)], (10, "Measurement", "SNOMED", "athena")),
        ([(31, "Measurement", "LOINC", "S", None)], (10, "Measurement", "SNOMED", "athena")),
    ],
    ids=["standard", "of another domain", "invalid", "not standard", "not there"],
)
def test_only_a_standard_measurement_replaces_another(
    sail: SparkSession, concepts: list[tuple[object, ...]], after: tuple[object, ...]
) -> None:
    before = code_map(sail, ("a", 0, 10, None))
    (row,) = with_standard_of_analyte(before, sail.createDataFrame(concepts, CONCEPTS), {10: 30, 11: 30}).collect()
    assert (row.target_concept_id, row.target_domain_id, row.target_vocabulary_id, row.map_origin) == after


def test_targets_that_become_equal_are_one_and_the_others_keep_their_place(sail: SparkSession) -> None:
    concepts = sail.createDataFrame([(30, "Measurement", "LOINC", "S", None)], CONCEPTS)
    before = code_map(sail, ("a", 0, 10, None), ("a", 1, 11, None), ("a", 2, 12, None), ("b", 0, 11, 5), ("b", 1, 10, 6))
    rows = with_standard_of_analyte(before, concepts, {10: 30, 11: 30}).collect()
    found = sorted((row.source_code, row.ordinal, row.target_concept_id, row.value_as_concept_id) for row in rows)
    assert found == [("a", 0, 30, None), ("a", 2, 12, None), ("b", 0, 30, 5), ("b", 1, 30, 6)]
