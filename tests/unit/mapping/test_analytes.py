"""The declaration of analytes: what it refuses, and that the packaged one fits the vocabulary and the mappings."""

import csv
import shutil
from pathlib import Path

import pytest

from pipelines.contracts.source import load_contracts
from pipelines.errors import ContractError
from pipelines.mapping.analytes import ANALYTES_FILE, CONCEPTS_FILE, Conversion, load_analytes
from pipelines.mapping.spec import load_mappings
from pipelines.settings import PACKAGED_MAPPINGS_DIR, SOURCES
from vocab.load import DEMO_DIR
from vocab.local_maps import APPROVED, read_local_maps

PACKAGED = load_analytes(PACKAGED_MAPPINGS_DIR)


def demo_concepts() -> dict[int, dict[str, str]]:
    with (DEMO_DIR / "CONCEPT.csv").open(encoding="utf-8", newline="") as file:
        return {int(row["concept_id"]): row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the two files that a test may spoil."""
    for name in (ANALYTES_FILE, CONCEPTS_FILE):
        shutil.copyfile(PACKAGED_MAPPINGS_DIR / name, tmp_path / name)
    return tmp_path


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_concepts_of_analytes_are_standard_measurements_of_the_demonstration() -> None:
    known = demo_concepts()
    own = {concept for analyte in PACKAGED.analytes.values() for concept in (analyte.concept, *analyte.by_unit.values())}
    found = {concept: (known[concept]["domain_id"], known[concept]["standard_concept"]) for concept in own}
    assert found == dict.fromkeys(found, ("Measurement", "S"))


def test_the_names_of_reviewed_concepts_are_those_of_the_demonstration() -> None:
    known = demo_concepts()
    names = {row.concept_id: row.concept_name for row in PACKAGED.same if row.concept_id in known}
    assert names == {concept: known[concept]["concept_name"] for concept in names}


def test_units_are_units_of_the_demonstration() -> None:
    known = demo_concepts()
    assert {known[concept]["domain_id"] for ids in PACKAGED.units.values() for concept in ids} == {"Unit"}


def test_no_rule_and_no_local_map_names_a_concept_that_an_analyte_replaces() -> None:
    contracts = load_contracts(PACKAGED_MAPPINGS_DIR, SOURCES)
    mappings = load_mappings(PACKAGED_MAPPINGS_DIR, contracts)
    constants = {how.constant for mapping in mappings.values() for rule in mapping.rules for how in rule.fields.values()}
    assert constants & PACKAGED.standard.keys() == set()
    laboratory = {
        row.target_concept_id
        for row in read_local_maps(PACKAGED_MAPPINGS_DIR / "concepts")
        if row.status == APPROVED and row.source_vocabulary_id == "NHS Local Pathology"
    }
    assert laboratory & PACKAGED.standard.keys() == set()


def test_a_bare_number_is_a_factor() -> None:
    assert PACKAGED.analytes["creatinine"].conversions == {
        "umol/L": Conversion(times=1),
        "mmol/L": Conversion(times=1000),
        "mg/dL": Conversion(times=88.4),
    }


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        (ANALYTES_FILE, "{g: 0.001,", "{stone: 6.35029318,", "body_weight: no unit stone"),
        (ANALYTES_FILE, "by_unit: {mg/dL: 3016723}", "by_unit: {g/dL: 3016723}", "analytes.creatinine: no factor for g/dL"),
        (ANALYTES_FILE, "plausible: {least: 30, most: 350}", "plausible: {least: 350, most: 30}", "least is greater than most"),
        (ANALYTES_FILE, "{g: 0.001,", "{g: 0,", "greater than 0"),
        (ANALYTES_FILE, "concept: 3012888", "concept: 3004249", "already a concept of systolic_blood_pressure"),
        (ANALYTES_FILE, '"cm": [8582]', '"cm": [8582, 9546]', "units.m: 9546 is the concept of another unit"),
        (ANALYTES_FILE, '"cm": [8582]', '"cm": []', "units.cm: has no concept"),
        (ANALYTES_FILE, "plausible: {least: 20, most: 100}", "possible: 20", "possible: Extra inputs"),
        (CONCEPTS_FILE, "urea,37392195", "ureum,37392195", "37392195: no analyte ureum"),
        (CONCEPTS_FILE, "urea,37392195", "urea,3004249", "already a concept of systolic_blood_pressure"),
        (CONCEPTS_FILE, "Peripheral saturation is measured by pulse oximetry", " - ", "reason"),
        (CONCEPTS_FILE, "oxygen_saturation,4196147", "oxygen_saturation,none", "concept_id"),
    ],
)  # fmt: skip
def test_faults_are_refused_and_named(folder: Path, file: str, old: str, new: str, fault: str) -> None:
    spoil(folder / file, old, new)
    with pytest.raises(ContractError, match=fault.replace(".", "[.]")):
        load_analytes(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / CONCEPTS_FILE).unlink()
    with pytest.raises(ContractError, match=CONCEPTS_FILE):
        load_analytes(folder)


def test_a_row_with_too_many_values_is_refused(folder: Path) -> None:
    path = folder / CONCEPTS_FILE
    path.write_text(path.read_text(encoding="utf-8") + "urea,1,a,b,c,d,2026-01-01,more\n", encoding="utf-8")
    with pytest.raises(ContractError, match=CONCEPTS_FILE):
        load_analytes(folder)
