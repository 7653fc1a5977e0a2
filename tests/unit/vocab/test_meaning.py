"""The check of meaning over every map of the project, and over faults that were once in it or could be."""

import csv
from collections import defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from pipelines.synthetic.codes import CATALOGUE_DIR
from vocab.load import DEMO_DIR, LOCAL_DIR
from vocab.local_maps import LocalMap, declared_vocabularies, read_local_maps
from vocab.meaning import (
    MORE_CERTAIN,
    MORE_SPECIFIC,
    ONE_OF_A_CHOICE,
    OTHER_DIMENSION,
    Concept,
    MeaningFault,
    fault_of,
    loses_words,
    map_faults,
    pair_fault,
)

FOLDER = Path(__file__).parents[3] / "mappings" / "concepts"


@cache
def concepts() -> dict[int, Concept]:
    synonyms = defaultdict(list)
    with (DEMO_DIR / "CONCEPT_SYNONYM.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            synonyms[int(row["concept_id"])].append(row["concept_synonym_name"])
    found = {}
    for folder in (DEMO_DIR, LOCAL_DIR):
        with (folder / "CONCEPT.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                number = int(row["concept_id"])
                facts = (row["concept_name"], tuple(synonyms[number]), row["domain_id"], row["vocabulary_id"])
                found[number] = Concept(number, *facts, row["concept_code"])
    return found


@cache
def maps() -> tuple[LocalMap, ...]:
    return read_local_maps(FOLDER)


@cache
def titles() -> dict[str, str]:
    return {name: declared.vocabulary_name for name, declared in declared_vocabularies(FOLDER).items()}


def open_faults(*rows: LocalMap) -> list[MeaningFault]:
    return list(map_faults(rows, concepts(), titles()))


def test_no_map_of_the_project_has_an_open_fault() -> None:
    assert open_faults(*maps()) == []


def test_a_map_is_reviewed_only_where_the_check_finds_a_fault() -> None:
    reviewed = [row for row in maps() if row.reviewed_by]
    assert len(reviewed) > 50
    assert [row for row in reviewed if not open_faults(replace(row, reviewed_by=""))] == []


@pytest.mark.parametrize(
    ("vocabulary", "code", "target", "kind", "detail"),
    [
        ("NHS Ambulance Impression", "74", 441202, MORE_SPECIFIC, "anafylaxis"),
        ("NHS Ambulance Impression", "63", 436581, MORE_SPECIFIC, "accidental"),
        ("NHS Ambulance Impression", "70", 135360, MORE_SPECIFIC, "syncope"),
        ("AMPDS", "24", 439658, MORE_SPECIFIC, "disorder"),
        ("AMPDS", "13", 442793, MORE_SPECIFIC, "complication due"),
        ("AMPDS", "09", 321042, ONE_OF_A_CHOICE, "respiratory arrest"),
        ("NHS Local Pathology", "UREA", 3013682, MORE_SPECIFIC, "nitrogen"),
        ("NHS Unit", "/wk", 8511, OTHER_DIMENSION, "wk"),
        ("NHS Unit", "per day", 8512, OTHER_DIMENSION, "d"),
        ("NHS Unit", "mmol/L", 8636, OTHER_DIMENSION, "g/L"),
        ("NHS Admission Source", "37", 38003619, MORE_SPECIFIC, "prison"),
        ("NHS Admission Source", "39", 38003619, ONE_OF_A_CHOICE, "police"),
        ("NHS MHSDS Referral Reason", "25", 439776, MORE_CERTAIN, "Suspected autism"),
        ("NHS CSDS Immunisation", "090", 40213198, MORE_SPECIFIC, "conjugate 13 valent"),
    ],
)
def test_a_seeded_fault_is_found(vocabulary: str, code: str, target: int, kind: str, detail: str) -> None:
    (row,) = [row for row in maps() if (row.source_vocabulary_id, row.source_code) == (vocabulary, code)]
    concept = concepts().get(target) or Concept(target, "pneumococcal conjugate vaccine, 13 valent", (), "Drug", "CVX", "133")
    seeded = replace(row, target_concept_id=target, reviewed_by="")
    (found,) = map_faults([seeded], {target: concept}, titles())
    assert (found.file, found.line, found.concept_id, found.kind) == (row.file, row.line, target, kind)
    assert detail in found.detail


@pytest.mark.parametrize(
    ("description", "name", "domain", "fits"),
    [
        ("Chest pain", "Chest pain", "Condition", True),
        ("Falls", "Fall", "Observation", True),
        ("Haematocrit", "Hematocrit [Volume Fraction] of Blood by Automated count", "Measurement", True),
        ("Diabetic eye disease", "Disease of eye", "Condition", True),
        ("Chest pain", "Pain", "Condition", True),
        ("Pain", "Chest pain", "Condition", False),
        ("Hypertension", "Hyperglycemia", "Condition", False),
        ("Plastic surgery", "Plastic And Reconstructive Surgery", "Provider", True),
        ("Measles", "measles, mumps and rubella virus vaccine", "Drug", False),
        ("Glucose", "Fasting glucose [Moles/volume] in Serum or Plasma", "Measurement", False),
        ("Possible stroke", "Stroke", "Condition", False),
        ("?Stroke", "Stroke", "Condition", False),
        ("Stroke or bleeding", "Stroke", "Condition", False),
        ("Neck or back pain", "Pain", "Condition", True),
    ],
)
def test_words_say_whether_a_target_fits(description: str, name: str, domain: str, fits: bool) -> None:
    found = fault_of("1", description, "", Concept(1, name, (), domain, "Any", "1"))
    assert (found is None) is fits


def test_a_synonym_of_the_vocabulary_counts() -> None:
    dyspnea = Concept(312437, "Dyspnea", ("Shortness of breath",), "Condition", "SNOMED", "267036007")
    assert fault_of("30", "Shortness of breath", "", dyspnea) is None
    assert fault_of("30", "Shortness of breath", "", replace(dyspnea, synonyms=())) == (MORE_SPECIFIC, "dyspnea")


def test_a_target_that_says_less_is_no_fault_and_is_seen() -> None:
    asthma = Concept(317009, "Asthma", (), "Condition", "SNOMED", "195967001")
    assert fault_of("1", "Severe asthma", "", asthma) is None
    assert loses_words("Severe asthma", asthma)
    assert not loses_words("Asthma", asthma)


@pytest.mark.parametrize(
    ("concept", "unit", "found"),
    [
        (3020779, 8753, None),
        (3013682, 8753, (OTHER_DIMENSION, "Urea nitrogen [Mass/volume] in Serum or Plasma in millimole per liter")),
        (3034485, 9075, (OTHER_DIMENSION, "Albumin/Creatinine [Mass Ratio] in Urine in milligram per millimole of creatinine")),
        (3020682, 9075, None),
        (4152194, 8753, None),
        (3020779, 44777566, None),
    ],
)
def test_a_unit_fits_the_property_of_what_was_measured(concept: int, unit: int, found: tuple[str, str] | None) -> None:
    assert pair_fault(concepts()[concept], concepts()[unit]) == found


def test_units_of_the_generated_extracts_fit_what_they_measure() -> None:
    """The laboratory's codes with the units that the generator sends; other codes of a test by their LOINC code."""
    targets = {(row.source_vocabulary_id, row.source_code.lower()): row.target_concept_id for row in maps()}
    by_code = {found.code: found.concept_id for found in concepts().values() if found.vocabulary == "LOINC"}
    pairs = set()
    with (CATALOGUE_DIR / "measurements.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            unit = targets.get(("NHS Unit", row["unit"].lower()), 0)
            for concept in (targets.get(("NHS Local Pathology", row["local_code"].lower())), by_code.get(row["loinc"])):
                if concept and unit:
                    pairs.add((concept, unit))
    assert len(pairs) > 40
    assert [found for concept, unit in sorted(pairs) if (found := pair_fault(concepts()[concept], concepts()[unit]))] == []
