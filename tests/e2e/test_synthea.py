"""The public Synthea sample of 27 people through the real run, compared with the rows of OHDSI's reference ETL.

The sample is not in the repository: NHS_OMOP_SYNTHEA names its folder (`extract/` and `vocabulary/`). Every difference
in these counts is explained in docs/synthea.md.
"""

import csv
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from deltalake import DeltaTable

from pipelines.contracts.source import load_contract
from pipelines.mapping.spec import load_mapping
from pipelines.nightly import nightly
from pipelines.settings import PACKAGED_MAPPINGS_DIR, load_settings
from pipelines.synthetic.demo_key import demo_key_file
from pipelines.terminology.vocabulary import load
from tests.builders.landing import deliver_files, opt_out_lists
from vocab.athena import TABLES
from vocab.load import DEMO_DIR
from vocab.local_maps import read_local_maps

FOLDER = os.environ.get("NHS_OMOP_SYNTHEA", "")
SAMPLE = Path(FOLDER)
DAY = date(2024, 3, 1)

pytestmark = [
    pytest.mark.embedded,
    pytest.mark.skipif(not FOLDER, reason="NHS_OMOP_SYNTHEA names no folder with the Synthea sample"),
]

REFERENCE = {
    "person": 27,
    "visit_occurrence": 604,
    "visit_detail": 604,
    "condition_occurrence": 175,
    "drug_exposure": 663,
    "procedure_occurrence": 146,
    "measurement": 539,
    "observation": 735,
    "device_exposure": 3,
    "death": 2,
    "condition_era": 174,
    "drug_era": 6,
    "location": 90,
    "care_site": 63,
    "provider": 166,
}
"""Rows that dbt-synthea makes."""

KEPT_WITHOUT_CONCEPT = {
    "condition_occurrence": 16,
    "drug_exposure": 29,
    "procedure_occurrence": 24,
    "measurement": 78,
    "observation": 4,
}
"""Rows whose code has no standard concept in the vocabulary of the sample. The reference drops them."""

CONCEPTS = {
    "condition_occurrence": "condition_concept_id",
    "drug_exposure": "drug_concept_id",
    "procedure_occurrence": "procedure_concept_id",
    "measurement": "measurement_concept_id",
    "observation": "observation_concept_id",
    "device_exposure": "device_concept_id",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lakehouse into which the sample was loaded."""
    folder = tmp_path_factory.mktemp("synthea")
    places = [f"storage.{name}={folder / name}" for name in ("landing", "restricted", "deidentified")]
    settings = load_settings("synthea", overrides=[*places, f"key.path={folder / 'restricted' / 'demo.key'}"])
    files = {path.name: (path.read_bytes(), _records(path)) for path in sorted((SAMPLE / "extract").glob("*.csv"))}
    deliver_files(settings.storage.landing, "synthea", "sample", f"{DAY:%Y%m%d}", files, mode="full")
    opt_out_lists(settings.storage.landing, f"{DAY:%Y%m%d}", allowed=["9990000034"])
    demo_key_file(folder / "restricted" / "demo.key")
    load(settings, _completed_vocabulary(folder / "vocabulary"))
    nightly(settings, DAY)
    return folder


def _records(path: Path) -> int:
    with path.open(newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def _completed_vocabulary(folder: Path) -> Path:
    """The vocabulary of the sample, with the genders, races, types and units that it lacks, from the demonstration.

    Existing concepts are not changed: the demonstration adds missing concepts and what they are replaced by only.
    """
    folder.mkdir()
    own = {row[0] for row in _lines(SAMPLE / "vocabulary" / "CONCEPT.csv")}
    wanted = {row[0] for row in _lines(DEMO_DIR / "CONCEPT.csv") if row[3] not in ("SNOMED", "LOINC", "RxNorm", "CVX")} - own
    contract = load_contract(PACKAGED_MAPPINGS_DIR / "synthea" / "contract.yaml")
    used = load_mapping(PACKAGED_MAPPINGS_DIR / "synthea" / "mapping.yaml", contract).vocabularies
    maps = read_local_maps(PACKAGED_MAPPINGS_DIR / "concepts")
    targets = {str(row.target_concept_id) for row in maps if row.source_vocabulary_id in used}
    wanted |= {row[0] for row in _lines(DEMO_DIR / "CONCEPT.csv") if row[0] in targets} - own
    maps_to = [row for row in _lines(DEMO_DIR / "CONCEPT_RELATIONSHIP.csv") if row[0] in targets - own and row[2] == "Maps to"]
    wanted |= {row[1] for row in maps_to} - own
    additions: dict[str, Callable[[list[str]], bool]] = {
        "CONCEPT": lambda row: row[0] in wanted,
        "CONCEPT_RELATIONSHIP": lambda row: row in maps_to or (row[0] == row[1] and row[0] in wanted),
    }
    for stem in TABLES:
        lines = (SAMPLE / "vocabulary" / f"{stem}.csv").read_text(encoding="utf-8").splitlines()
        if stem in additions:
            lines += ["\t".join(row) for row in _lines(DEMO_DIR / f"{stem}.csv") if additions[stem](row)]
        (folder / f"{stem}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _lines(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def rows(folder: Path, table: str) -> pd.DataFrame:
    return DeltaTable(str(folder / "deidentified" / "omop" / table)).to_pandas()


@pytest.mark.parametrize("table", [name for name in REFERENCE if name not in (*KEPT_WITHOUT_CONCEPT, "location")])
def test_as_many_rows_as_the_reference(folder: Path, table: str) -> None:
    assert len(rows(folder, table)) == REFERENCE[table]


@pytest.mark.parametrize("table", KEPT_WITHOUT_CONCEPT)
def test_with_a_concept_as_many_rows_as_the_reference_and_the_others_kept(folder: Path, table: str) -> None:
    has_concept = rows(folder, table)[CONCEPTS[table]] != 0
    assert (has_concept.sum(), (~has_concept).sum()) == (REFERENCE[table], KEPT_WITHOUT_CONCEPT[table])


def test_everybody_is_observed_in_periods_that_years_without_contact_close(folder: Path) -> None:
    """The reference has one period a person, from the first to the last encounter."""
    periods = rows(folder, "observation_period")
    assert (periods["person_id"].nunique(), len(periods)) == (27, 111)


def test_addresses_end_at_curate_so_there_is_no_location(folder: Path) -> None:
    assert len(rows(folder, "location")) == 0


def test_people_have_gender_race_and_ethnicity(folder: Path) -> None:
    people = rows(folder, "person")
    assert sorted(people["gender_concept_id"].value_counts().to_dict().items()) == [(8507, 14), (8532, 13)]
    assert sorted(people["race_concept_id"].value_counts().to_dict().items()) == [(8515, 1), (8516, 1), (8527, 24), (8557, 1)]
    assert sorted(people["ethnicity_concept_id"].value_counts().to_dict().items()) == [(38003563, 1), (38003564, 26)]


def test_a_death_has_its_own_day_and_the_cause_on_the_certificate(folder: Path) -> None:
    deaths = rows(folder, "death")
    assert sorted(map(str, deaths["death_date"])) == ["1976-07-25", "2004-03-21"]
    assert set(deaths["cause_source_value"]) == {"22298006"}


def test_encounters_keep_their_class_and_their_provider(folder: Path) -> None:
    visits = rows(folder, "visit_occurrence")
    classes = {9202: 574, 9203: 17, 9201: 11, 8782: 2}
    assert visits["visit_concept_id"].value_counts().to_dict() == classes
    assert visits["provider_id"].notna().all()
    assert visits["care_site_id"].notna().all()


def test_events_lie_in_their_encounter(folder: Path) -> None:
    visits = set(rows(folder, "visit_occurrence")["visit_occurrence_id"])
    for table in ("condition_occurrence", "drug_exposure", "procedure_occurrence", "device_exposure"):
        assert set(rows(folder, table)["visit_occurrence_id"]) <= visits


def test_no_identifier_of_the_extract_is_right_of_curate(folder: Path) -> None:
    with (SAMPLE / "extract" / "patients.csv").open(newline="", encoding="utf-8") as file:
        secrets = {row[name] for row in csv.DictReader(file) for name in ("Id", "SSN", "LAST", "ADDRESS")}
    tables = sorted(log.parent for log in (folder / "deidentified").glob("*/*/_delta_log"))
    assert {"silver", "omop"} <= {path.parent.name for path in tables}
    for path in tables:
        texts = DeltaTable(str(path)).to_pandas().select_dtypes(include=["object", "string"])
        assert not secrets & {value for name in texts for value in texts[name].dropna().astype(str)}, path.name
