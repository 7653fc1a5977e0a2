"""Codes to concepts: golden cases on the demonstration vocabulary, rules on small tables, on the embedded engine."""

import csv
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.source import load_contracts
from pipelines.mapping.spec import Target, VocabularyBy, load_mappings
from pipelines.settings import PACKAGED_MAPPINGS_DIR, SOURCES
from vocab.athena import read_table
from vocab.concept_map import CONCEPT_MAP_SCHEMA, resolve_codes
from vocab.load import DEMO_DIR, LOCAL_DIR
from vocab.local_maps import LOCAL_MAPS_SCHEMA, approved_maps, current_targets, faulty_targets, read_local_maps

PROJECT = Path(__file__).parents[2]
MAPS_DIR = PROJECT / "mappings" / "concepts"
CATALOGUE_DIR = PROJECT / "pipelines" / "synthetic" / "catalogue"


class Answer(NamedTuple):
    """A row of the concept map without its key."""

    source: int
    target: int
    domain: str | None
    value: int | None
    origin: str


def answers(rows: list[Any]) -> dict[tuple[str, str], list[Answer]]:
    found: dict[tuple[str, str], list[Answer]] = {}
    for row in sorted(rows, key=lambda row: (row.source_vocabulary_id, row.source_code, row.ordinal)):
        key = (row.source_vocabulary_id, row.source_code)
        assert row.ordinal == len(found.setdefault(key, []))
        found[key].append(
            Answer(row.source_concept_id, row.target_concept_id, row.target_domain_id, row.value_as_concept_id, row.map_origin)
        )
    return found


@pytest.fixture(scope="module")
def vocabulary(sail: SparkSession) -> dict[str, DataFrame]:
    """Tables of the demonstration with the concepts of the project."""
    stems = ("CONCEPT", "CONCEPT_RELATIONSHIP")
    return {stem: read_table(sail, DEMO_DIR, stem).unionByName(read_table(sail, LOCAL_DIR, stem)) for stem in stems}


@pytest.fixture(scope="module")
def maps(sail: SparkSession) -> DataFrame:
    """The approved local maps of the project."""
    return approved_maps(sail, read_local_maps(MAPS_DIR))


GOLDEN: dict[tuple[str, str], list[Answer]] = {
    # one code, one standard concept, however it is written
    ("ICD10", "J459"): [Answer(45562456, 317009, "Condition", None, "athena")],
    ("ICD10", "J45.9"): [Answer(45562456, 317009, "Condition", None, "athena")],
    ("ICD10", "I10X"): [Answer(45591453, 320128, "Condition", None, "athena")],
    ("ICD10", "I489-"): [Answer(45755409, 4068155, "Condition", None, "athena")],
    # one code, two concepts
    ("ICD10", "Y831"): [
        Answer(45547251, 434547, "Condition", None, "athena"),
        Answer(45547251, 4320824, "Observation", None, "athena"),
    ],
    ("ICD10", "I652"): [
        Answer(45552808, 381591, "Condition", None, "athena"),
        Answer(45552808, 4153380, "Condition", None, "athena"),
    ],
    ("ICD10", "V299"): [
        Answer(45546833, 437165, "Observation", None, "athena"),
        Answer(45546833, 4175576, "Observation", None, "athena"),
    ],
    ("OPCS4", "E851"): [
        Answer(44509477, 19025274, "Drug", None, "athena"),
        Answer(44509477, 44790095, "Procedure", None, "athena"),
    ],
    ("Read", "65KZ."): [
        Answer(45482248, 529303, "Drug", None, "athena"),
        Answer(45482248, 529411, "Drug", None, "athena"),
        Answer(45482248, 3655690, "Procedure", None, "athena"),
    ],
    # a concept and its value
    ("ICD10", "Z914"): [Answer(45590771, 1340204, "Observation", None, "athena")],
    ("ICD10", "Z363"): [Answer(45581023, 36713462, "Measurement", None, "athena")],
    ("ICD10", "Z302"): [Answer(45609921, 45766058, "Procedure", None, "athena")],
    ("ICD10", "Z348"): [Answer(45537628, 4047564, "Observation", None, "athena")],
    # the domain of the target counts, whatever the chapter of the code
    ("ICD10", "Z017"): [Answer(45556809, 4034850, "Measurement", None, "athena")],
    ("ICD10", "Z516"): [Answer(45605134, 4057262, "Procedure", None, "athena")],
    ("ICD10", "V174"): [Answer(45585374, 438921, "Observation", None, "athena")],
    ("LOINC", "44261-6"): [Answer(3042932, 3042932, "Observation", None, "athena")],
    ("LOINC", "70274-6"): [Answer(42868746, 42868746, "Observation", None, "athena")],
    # in the vocabulary but not mapped, and not in the vocabulary
    ("ICD10", "U060"): [Answer(45756081, 0, None, None, "none")],
    ("ICD10", "U06.0"): [Answer(45756081, 0, None, None, "none")],
    ("ICD10", "Q99X"): [Answer(0, 0, None, None, "none")],
    ("ICD10", "X994"): [Answer(0, 0, None, None, "none")],
    ("OPCS4", "X994"): [Answer(0, 0, None, None, "none")],
    ("SNOMED", "1777541000006100"): [Answer(0, 0, None, None, "none")],
    # dagger and asterisk, as signs and as letters
    ("ICD10", "J45.9+"): [Answer(45562456, 317009, "Condition", None, "athena")],
    ("ICD10", "J459D"): [Answer(45562456, 317009, "Condition", None, "athena")],
    ("ICD10", "J459*"): [Answer(45562456, 317009, "Condition", None, "athena")],
    ("ICD10", "J459A"): [Answer(45562456, 317009, "Condition", None, "athena")],
    # external causes have three characters in Athena, and no site of the body a fifth
    ("ICD10", "W316"): [Answer(45756284, 4035493, "Condition", None, "fallback2")],
    ("ICD10", "W31.62"): [Answer(45756284, 4035493, "Condition", None, "fallback2")],
    ("ICD10", "M7702"): [Answer(45557989, 80187, "Condition", None, "fallback1")],
    # less specific codes
    ("ICD10", "J4590"): [Answer(45562456, 317009, "Condition", None, "fallback1")],
    ("Read", "F110.11"): [Answer(45509950, 378419, "Condition", None, "fallback1")],
    # OPCS-4 codes without a map are standard themselves
    ("OPCS4", "Z942"): [Answer(44517227, 44517227, "Procedure", None, "athena")],
    # W40.1 is a knee operation in OPCS-4 and an accident in ICD-10, which is not in the demonstration
    ("OPCS4", "W401"): [Answer(44514796, 44514796, "Procedure", None, "athena")],
    ("ICD10", "W401"): [Answer(0, 0, None, None, "none")],
    # H05.1 is an inflammation of the orbit in ICD-10 and an operation on the bowel in OPCS-4
    ("ICD10", "H051"): [Answer(2000100365, 2000100367, "Condition", None, "athena")],
    ("OPCS4", "H051"): [Answer(2000100366, 2000100366, "Procedure", None, "athena")],
    # G20 is Parkinson's disease in ICD-10 and hypertension in Read; CTV3 has codes of Read's form and none of these
    ("ICD10", "G20X"): [Answer(2000100094, 381270, "Condition", None, "athena")],
    ("Read", "G20"): [Answer(2000100001, 320128, "Condition", None, "athena")],
    ("CTV3", "G20"): [Answer(0, 0, None, None, "none")],
    ("OPCS4", "X403"): [Answer(44515557, 4120120, "Procedure", None, "athena")],
    # Read in five and seven characters, without dots, with a synonym suffix
    ("Read", "F110."): [Answer(45509950, 378419, "Condition", None, "athena")],
    ("Read", "F110"): [Answer(45509950, 378419, "Condition", None, "athena")],
    ("Read", "F110.-1"): [Answer(45509950, 378419, "Condition", None, "athena")],
    ("Read", "424Z.00"): [Answer(45508441, 4132152, "Measurement", None, "athena")],
    ("Read", "f110."): [Answer(0, 0, None, None, "none")],
    # SNOMED: standard, post-coordinated, mapped to another concept, replaced
    ("SNOMED", "195967001"): [Answer(317009, 317009, "Condition", None, "athena")],
    ("SNOMED", "73761001 |Colonoscopy|:363589002=1"): [Answer(4249893, 4249893, "Procedure", None, "athena")],
    ("SNOMED", "195967001 |Asthma|"): [Answer(317009, 317009, "Condition", None, "athena")],
    # the id of a description is not a concept id
    ("SNOMED", "301485011"): [Answer(0, 0, None, None, "none")],
    ("SNOMED", "364075005"): [Answer(4239408, 3027018, "Measurement", None, "athena")],
    ("SNOMED", "419199007"): [Answer(4169307, 43530807, "Observation", None, "athena")],
    ("UCUM", "mL/min/1.73.m2"): [Answer(9117, 720870, "Unit", None, "athena")],
    # dm+d and ethnicity
    ("dm+d", "318906001"): [Answer(21255739, 1334494, "Drug", None, "athena")],
    # a product, a brand of it and its substance; dm+d ids are no SNOMED CT concepts of this vocabulary
    ("dm+d", "322236009"): [Answer(21311718, 19020053, "Drug", None, "athena")],
    ("dm+d", "1689999999109"): [Answer(2000100368, 19020053, "Drug", None, "athena")],
    ("dm+d", "90332006"): [Answer(2000100369, 1125315, "Drug", None, "athena")],
    ("SNOMED", "90332006"): [Answer(0, 0, None, None, "none")],
    ("NHS Ethnic Category", "H"): [Answer(700362, 38003574, "Race", None, "local")],
    ("NHS Ethnic Category", "A1"): [Answer(700385, 8527, "Race", None, "local")],
    ("NHS Ethnic Category", "Z"): [Answer(0, 0, None, None, "local")],
    # local maps, in any case, by card, to nothing on purpose
    ("NHS Gender", "2"): [Answer(0, 8532, "Gender", None, "local")],
    ("NHS Gender", "9"): [Answer(0, 0, None, None, "local")],
    ("NHS Gender", "X"): [Answer(0, 0, None, None, "local")],
    ("SNOMED", "445455005"): [Answer(2000100371, 42868746, "Observation", None, "local")],
    # concepts of Gender that were withdrawn
    ("Gender", "O"): [Answer(8521, 0, None, None, "none")],
    ("Gender", "U"): [Answer(8551, 0, None, None, "none")],
    ("Gender", "A"): [Answer(8570, 0, None, None, "none")],
    ("NHS CLD Service Component", "DAY  support "): [Answer(2000050138, 4121680, "Observation", None, "local")],
    ("AMPDS", "17D03"): [Answer(2000050017, 436583, "Observation", None, "local")],
    ("SNOMED", "720433000"): [Answer(2000100370, 3042932, "Observation", None, "local")],
    ("CTV3", "XE2q5"): [Answer(2000050313, 37392176, "Observation", None, "local")],
}


def with_value(case: Answer, value: int) -> list[Answer]:
    return [case._replace(value=value)]


GOLDEN[("ICD10", "Z914")] = with_value(GOLDEN[("ICD10", "Z914")][0], 439990)


def test_golden_codes_of_the_demonstration(sail: SparkSession, vocabulary: dict[str, DataFrame], maps: DataFrame) -> None:
    codes = sail.createDataFrame(list(GOLDEN), "source_vocabulary_id string, source_code string")
    resolved = resolve_codes(codes, vocabulary["CONCEPT"], vocabulary["CONCEPT_RELATIONSHIP"], maps)
    assert dict(resolved.dtypes) == CONCEPT_MAP_SCHEMA
    found = answers(resolved.collect())
    assert {key: found[key] for key in GOLDEN} == GOLDEN
    assert set(found) == set(GOLDEN)


def test_a_value_concept_is_kept_with_its_concept(
    sail: SparkSession, vocabulary: dict[str, DataFrame], maps: DataFrame
) -> None:
    codes = sail.createDataFrame([("ICD10", "R824")], "source_vocabulary_id string, source_code string")
    resolved = resolve_codes(codes, vocabulary["CONCEPT"], vocabulary["CONCEPT_RELATIONSHIP"], maps)
    ((answer,),) = answers(resolved.collect()).values()
    assert (answer.target, answer.value, answer.domain) == (4042243, 4181412, "Measurement")


def codes_of_events() -> frozenset[str]:
    """The vocabularies that events other than specimens are coded in."""
    mappings = load_mappings(PACKAGED_MAPPINGS_DIR, load_contracts(PACKAGED_MAPPINGS_DIR, SOURCES))
    rules = [rule for mapping in mappings.values() for rule in mapping.rules]
    events = [rule for rule in rules if rule.to is Target.EVENT and rule.domain != "Specimen"]
    vocabularies = [code.vocabulary for rule in events for code in rule.fields["concept"].codes]
    by_column = [name for of in vocabularies if isinstance(of, VocabularyBy) for name in of.values.values()]
    return frozenset([name for name in vocabularies if isinstance(name, str)] + by_column)


def test_local_codes_of_events_have_a_source_concept(
    sail: SparkSession, vocabulary: dict[str, DataFrame], maps: DataFrame
) -> None:
    in_use = codes_of_events()
    listed = {(row.source_vocabulary_id, row.source_code) for row in read_local_maps(MAPS_DIR)}
    asked = sorted(code for code in listed if code[0] in in_use)
    codes = sail.createDataFrame(asked, "source_vocabulary_id string, source_code string")
    rows = resolve_codes(codes, vocabulary["CONCEPT"], vocabulary["CONCEPT_RELATIONSHIP"], maps).collect()
    without = sorted((row.source_vocabulary_id, row.source_code) for row in rows if not row.source_concept_id)
    assert without == [], "add a row for each to vocab/local/CONCEPT.csv, as its README says"
    names = {row.concept_id: row.vocabulary_id for row in vocabulary["CONCEPT"].collect()}
    short = {row.source_vocabulary_id: row.cdm_vocabulary_id for row in read_local_maps(MAPS_DIR)}
    assert {row.source_code for row in rows if names[row.source_concept_id] != short[row.source_vocabulary_id]} == set()


def catalogue_codes() -> dict[tuple[str, str], bool]:
    """Every code of the synthetic catalogue, and whether it must be mapped."""
    columns = {"snomed": "SNOMED", "icd10": "ICD10", "read": "Read", "dmd": "dm+d", "loinc": "LOINC", "opcs4": "OPCS4"}
    own = {"local_code": "NHS Local Pathology", "csds_type": "NHS CSDS Immunisation", "unit": "NHS Unit", "route": "NHS Route"}
    codes = {}
    for path in sorted(CATALOGUE_DIR.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if path.stem == "unknown":
                    codes[(row["vocabulary"], row["code"])] = False
                units = {} if path.stem == "drugs" else {"unit": own["unit"]}
                for column, name in (columns | {k: v for k, v in own.items() if k != "unit"} | units).items():
                    if row.get(column):
                        codes.setdefault((name, row[column]), True)
    return codes


def test_the_whole_catalogue_maps_but_for_the_unknown_codes(
    sail: SparkSession, vocabulary: dict[str, DataFrame], maps: DataFrame
) -> None:
    expected = catalogue_codes()
    codes = sail.createDataFrame(list(expected), "source_vocabulary_id string, source_code string")
    found = answers(resolve_codes(codes, vocabulary["CONCEPT"], vocabulary["CONCEPT_RELATIONSHIP"], maps).collect())
    assert [key for key, maps_ in expected.items() if (found[key][0].target != 0) != maps_] == []


def test_local_maps_fit_the_demonstration(vocabulary: dict[str, DataFrame], maps: DataFrame) -> None:
    assert set(LOCAL_MAPS_SCHEMA) < set(maps.columns)
    faulty = {row.target_concept_id for row in faulty_targets(maps, vocabulary["CONCEPT"]).collect()}
    assert faulty == {5083}  # Telehealth of older vocabularies, which is followed to the concept that replaced it
    current = current_targets(faulty, vocabulary["CONCEPT"], vocabulary["CONCEPT_RELATIONSHIP"]).collect()
    assert [(row.target_concept_id, row.current_concept_id) for row in current] == [(5083, 722455)]


def test_every_drug_of_the_catalogue_but_vaccines_of_cvx_has_an_ingredient(
    sail: SparkSession, vocabulary: dict[str, DataFrame], maps: DataFrame
) -> None:
    drugs = [key for key in catalogue_codes() if key[0] == "dm+d"]
    codes = sail.createDataFrame(drugs, "source_vocabulary_id string, source_code string")
    resolved = resolve_codes(codes, vocabulary["CONCEPT"], vocabulary["CONCEPT_RELATIONSHIP"], maps)
    targets = {answer.target for key in answers(resolved.collect()).values() for answer in key if answer.target}
    known = vocabulary["CONCEPT"].where("domain_id = 'Drug' and standard_concept = 'S'").collect()
    ingredients = {row.concept_id for row in known if row.concept_class_id == "Ingredient"}
    targets -= {row.concept_id for row in known if row.vocabulary_id == "CVX"}
    ancestors = read_table(sail, DEMO_DIR, "CONCEPT_ANCESTOR").unionByName(read_table(sail, LOCAL_DIR, "CONCEPT_ANCESTOR"))
    pairs = {(row.ancestor_concept_id, row.descendant_concept_id) for row in ancestors.collect()}
    without = [target for target in targets if not any((ingredient, target) in pairs for ingredient in ingredients)]
    assert without == []


class Small:
    """A vocabulary of a few concepts, written out in a test."""

    def __init__(self, session: SparkSession) -> None:
        self.session = session
        self.concepts: list[tuple[Any, ...]] = []
        self.edges: list[tuple[Any, ...]] = []
        self.local: list[tuple[Any, ...]] = []

    def concept(self, number: int, code: str, standard: str | None = "S", invalid: str | None = None, **more: str) -> "Small":
        vocabulary, domain = more.get("vocabulary", "SNOMED"), more.get("domain", "Condition")
        self.concepts.append((number, more.get("name", f"Concept {number}"), domain, vocabulary, standard, code, invalid))
        return self

    def edge(self, start: int, kind: str, end: int, invalid: str | None = None) -> "Small":
        self.edges.append((start, end, kind, invalid))
        return self

    def own(self, vocabulary: str, code: str, target: int, source: int = 0) -> "Small":
        self.local.append((vocabulary, code, source, target, vocabulary.removeprefix("Long ")))
        return self

    def resolve(self, *codes: tuple[str | None, str | None]) -> dict[tuple[str, str], list[Answer]]:
        session = self.session
        concepts = session.createDataFrame(
            self.concepts,
            "concept_id bigint, concept_name string, domain_id string, vocabulary_id string, standard_concept string,"
            " concept_code string, invalid_reason string",
        )
        edges = session.createDataFrame(
            self.edges, "concept_id_1 bigint, concept_id_2 bigint, relationship_id string, invalid_reason string"
        )
        local = session.createDataFrame(
            self.local,
            "source_vocabulary_id string, source_code string, source_concept_id bigint, target_concept_id bigint,"
            " cdm_vocabulary_id string",
        )
        asked = session.createDataFrame(list(codes), "source_vocabulary_id string, source_code string")
        return answers(resolve_codes(asked, concepts, edges, local).collect())


A, B = ("SNOMED", "100000001"), ("SNOMED", "100000002")


def test_an_approved_local_map_comes_first_and_keeps_the_known_source(sail: SparkSession) -> None:
    small = Small(sail).concept(1, A[1]).edge(1, "Maps to", 1).concept(2, "200000002").edge(2, "Maps to", 2).own(*A, 2)
    assert small.resolve(A) == {A: [Answer(1, 2, "Condition", None, "local")]}


def test_a_local_map_to_nothing_silences_the_vocabulary(sail: SparkSession) -> None:
    small = Small(sail).concept(1, A[1]).edge(1, "Maps to", 1).own(*A, 0)
    assert small.resolve(A) == {A: [Answer(1, 0, None, None, "local")]}


def test_the_code_itself_precedes_a_local_map_of_a_broader_code(sail: SparkSession) -> None:
    code = ("ICD10", "J45.9")
    small = Small(sail).concept(1, "J45.9", None, vocabulary="ICD10").concept(2, "2").edge(1, "Maps to", 2).concept(3, "3")
    assert small.own("ICD10", "J45", 3).resolve(code) == {code: [Answer(1, 2, "Condition", None, "athena")]}


def test_a_local_map_may_have_several_targets(sail: SparkSession) -> None:
    small = Small(sail).concept(1, "1").concept(2, "2", domain="Drug").edge(1, "Maps to", 1).own(*A, 2).own(*A, 1, source=9)
    assert small.resolve(A) == {A: [Answer(9, 1, "Condition", None, "local"), Answer(0, 2, "Drug", None, "local")]}


def test_targets_that_are_not_standard_or_not_valid_are_not_used(sail: SparkSession) -> None:
    small = Small(sail).concept(1, A[1], None).concept(2, "2", None).concept(3, "3", "S", "D").concept(4, "4", "C")
    small.edge(1, "Maps to", 2).edge(1, "Maps to", 3).edge(1, "Maps to", 4)
    assert small.resolve(A) == {A: [Answer(1, 0, None, None, "none")]}


def test_an_invalidated_relationship_is_not_followed(sail: SparkSession) -> None:
    small = Small(sail).concept(1, A[1], None).concept(2, "2").edge(1, "Maps to", 2, "D")
    assert small.resolve(A) == {A: [Answer(1, 0, None, None, "none")]}


def test_a_replaced_concept_is_followed_to_its_replacement(sail: SparkSession) -> None:
    small = Small(sail).concept(1, A[1], None, "U").concept(2, "2", None, "U").concept(3, "3")
    small.edge(1, "Concept replaced by", 2).edge(2, "Concept replaced by", 3).edge(3, "Maps to", 3)
    assert small.resolve(A) == {A: [Answer(1, 3, "Condition", None, "athena")]}


def test_replacements_in_a_circle_end(sail: SparkSession) -> None:
    small = Small(sail).concept(1, A[1], None, "U").concept(2, B[1], None, "U")
    small.edge(1, "Concept replaced by", 2).edge(2, "Concept replaced by", 1)
    assert small.resolve(A, B) == {A: [Answer(1, 0, None, None, "none")], B: [Answer(2, 0, None, None, "none")]}


def test_a_direct_map_comes_before_a_replacement(sail: SparkSession) -> None:
    small = Small(sail).concept(1, A[1], None, "U").concept(2, "2").concept(3, "3").edge(2, "Maps to", 2).edge(3, "Maps to", 3)
    small.edge(1, "Maps to", 2).edge(1, "Concept replaced by", 3)
    assert small.resolve(A) == {A: [Answer(1, 2, "Condition", None, "athena")]}


def test_of_two_concepts_with_one_code_the_valid_one_counts(sail: SparkSession) -> None:
    small = Small(sail).concept(1, A[1], None, "D").concept(2, A[1]).edge(2, "Maps to", 2)
    assert small.resolve(A) == {A: [Answer(2, 2, "Condition", None, "athena")]}


def test_only_observations_and_measurements_carry_a_value(sail: SparkSession) -> None:
    small = Small(sail).concept(1, A[1], None).concept(2, "2", domain="Observation").concept(3, "3").concept(4, "4")
    small.edge(1, "Maps to", 2).edge(1, "Maps to", 3).edge(1, "Maps to value", 4)
    expected = [Answer(1, 2, "Observation", 4, "athena"), Answer(1, 3, "Condition", None, "athena")]
    assert small.resolve(A) == {A: expected}


NAME = ("Drug Name", "aspirin 75mg  TABLETS")


def drug(small: Small, number: int, name: str, vocabulary: str = "dm+d", standard: str | None = None, **more: str) -> Small:
    """A medicine with a name, whose standard concept is 10."""
    domain, invalid = more.get("domain", "Drug"), more.get("invalid")
    small.concept(number, f"c{number}", standard, invalid, vocabulary=vocabulary, domain=domain, name=name)
    return small.edge(number, "Maps to", 10)


def test_a_name_is_the_only_medicine_of_that_name(sail: SparkSession) -> None:
    small = drug(Small(sail).concept(10, "10", domain="Drug"), 1, "Aspirin 75mg tablets")
    drug(drug(small, 2, "Aspirin 75mg tablets 28"), 3, "Aspirin 75mg tablets", domain="Device")
    assert small.resolve(NAME) == {NAME: [Answer(1, 10, "Drug", None, "name")]}


def test_a_name_of_two_medicines_is_none(sail: SparkSession) -> None:
    small = drug(drug(Small(sail).concept(10, "10", domain="Drug"), 1, "Aspirin 75mg tablets"), 2, "aspirin 75MG tablets")
    assert small.resolve(NAME) == {NAME: [Answer(0, 0, None, None, "none")]}


def test_a_name_that_is_valid_no_longer_does_not_count(sail: SparkSession) -> None:
    small = drug(Small(sail).concept(10, "10", domain="Drug"), 1, "Aspirin 75mg tablets", invalid="D")
    assert small.resolve(NAME) == {NAME: [Answer(0, 0, None, None, "none")]}
    assert drug(small, 2, "Aspirin 75mg tablets").resolve(NAME) == {NAME: [Answer(2, 10, "Drug", None, "name")]}


def test_a_name_of_dmd_goes_before_the_same_name_of_rxnorm(sail: SparkSession) -> None:
    small = Small(sail).concept(10, "10", domain="Drug")
    drug(small, 1, "Aspirin 75mg tablets", "RxNorm")
    assert small.resolve(NAME) == {NAME: [Answer(1, 10, "Drug", None, "name")]}
    drug(small, 2, "Aspirin 75mg tablets", "RxNorm Extension")
    assert small.resolve(NAME) == {NAME: [Answer(2, 10, "Drug", None, "name")]}
    drug(small, 3, "Aspirin 75mg tablets")
    assert small.resolve(NAME) == {NAME: [Answer(3, 10, "Drug", None, "name")]}


def test_a_local_map_of_a_name_comes_first(sail: SparkSession) -> None:
    small = drug(Small(sail).concept(10, "10", domain="Drug").concept(11, "11", domain="Drug"), 1, "Aspirin 75mg tablets")
    small.own("Drug Name", "aspirin 75mg tablets", 11)
    assert small.resolve(NAME) == {NAME: [Answer(1, 11, "Drug", None, "local")]}


def test_a_broader_code_without_a_target_is_not_used(sail: SparkSession) -> None:
    code = ("ICD10", "J45.91")
    small = Small(sail).concept(1, "J45.9", None, vocabulary="ICD10").concept(2, "J45", None, vocabulary="ICD10")
    small.concept(3, "3").edge(2, "Maps to", 3)
    assert small.resolve(code) == {code: [Answer(2, 3, "Condition", None, "fallback2")]}


def test_a_code_is_searched_for_in_its_own_vocabulary_only(sail: SparkSession) -> None:
    small = Small(sail).concept(1, "J45", vocabulary="ICD10CM").edge(1, "Maps to", 1)
    assert small.resolve(("ICD10", "J45")) == {("ICD10", "J45"): [Answer(0, 0, None, None, "none")]}


def test_one_text_is_a_diagnosis_in_one_vocabulary_and_an_operation_in_the_other(sail: SparkSession) -> None:
    small = (
        Small(sail)
        .concept(1, "H05.1", None, vocabulary="ICD10")
        .concept(2, "H05.1", "S", vocabulary="OPCS4", domain="Procedure")
    )
    small.concept(3, "3").edge(1, "Maps to", 3).edge(2, "Maps to", 2)
    diagnosis, operation = ("ICD10", "H051"), ("OPCS4", "H051")
    assert small.resolve(diagnosis, operation) == {
        diagnosis: [Answer(1, 3, "Condition", None, "athena")],
        operation: [Answer(2, 2, "Procedure", None, "athena")],
    }


def test_repeated_codes_give_one_answer_and_missing_ones_none(sail: SparkSession) -> None:
    small = Small(sail).concept(1, A[1]).edge(1, "Maps to", 1).own("x", "y", 1)
    assert small.resolve(A, A, (None, "1"), ("SNOMED", None)) == {A: [Answer(1, 1, "Condition", None, "athena")]}


def test_targets_of_local_maps_are_checked_against_the_vocabulary(sail: SparkSession) -> None:
    concepts = sail.createDataFrame(
        [(1, "S", None), (2, None, None), (3, "S", "D")], "concept_id bigint, standard_concept string, invalid_reason string"
    )
    rows = [("a.csv", 2, "A", 1), ("a.csv", 3, "A", 0), ("a.csv", 4, "A", 2), ("a.csv", 5, "B", 3), ("b.csv", 7, "B", 4)]
    approved = sail.createDataFrame(rows, "file string, line bigint, source_vocabulary_id string, target_concept_id bigint")
    assert [tuple(row) for row in faulty_targets(approved, concepts).collect()] == [
        ("a.csv", 4, "A", "target is not a valid standard concept", 2),
        ("a.csv", 5, "B", "target is not a valid standard concept", 3),
        ("b.csv", 7, "B", "target is not in the vocabulary", 4),
    ]


def test_approved_maps_leave_out_unapproved_rows(sail: SparkSession, tmp_path: Path) -> None:
    header = (
        "source_code,source_concept_id,source_vocabulary_id,source_code_description,target_concept_id,target_vocabulary_id,"
        "valid_start_date,valid_end_date,invalid_reason,status,reference"
    )
    rows = [
        " J459 ,0,ICD10,Asthma,317009,SNOMED,1970-01-01,2099-12-31,,APPROVED,a list",
        "J458,0,ICD10,Asthma,317009,SNOMED,1970-01-01,2099-12-31,,UNAPPROVED,a list",
    ]
    (tmp_path / "icd10.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    found = approved_maps(sail, read_local_maps(tmp_path)).collect()
    assert [(row.source_vocabulary_id, row.source_code, row.target_concept_id, row.line) for row in found] == [
        ("ICD10", "J45.9", 317009, 2)
    ]


def test_a_local_code_finds_its_source_concept_under_the_short_id_of_its_vocabulary(sail: SparkSession) -> None:
    small = Small(sail).concept(1, "x").concept(50, "hb", None, vocabulary="Laboratory").own("Long Laboratory", "hb", 1)
    asked = ("Long Laboratory", "HB")
    assert small.resolve(asked) == {asked: [Answer(50, 1, "Condition", None, "local")]}


def test_a_local_code_that_the_cdm_has_no_room_for_finds_its_source_concept(sail: SparkSession) -> None:
    long = "approved premises for offenders released from prison or under probation supervision"
    cut = "approved premises for offenders released ~4594229a"
    small = Small(sail).concept(1, "x").concept(50, cut, None, vocabulary="Council").own("Council", long, 1)
    assert small.resolve(("Council", long)) == {("Council", long): [Answer(50, 1, "Condition", None, "local")]}


def test_a_local_answer_to_a_less_specific_code_has_the_source_concept_of_that_code(sail: SparkSession) -> None:
    small = Small(sail).concept(1, "x").concept(50, "17", None, vocabulary="AMPDS").own("AMPDS", "17", 1)
    asked = ("AMPDS", "17D03")
    assert small.resolve(asked) == {asked: [Answer(50, 1, "Condition", None, "local")]}


def test_the_source_concept_of_a_less_specific_code_is_no_answer(sail: SparkSession) -> None:
    small = Small(sail).concept(50, "17", None, vocabulary="AMPDS")
    asked = ("AMPDS", "17D03")
    assert small.resolve(asked) == {asked: [Answer(0, 0, None, None, "none")]}
