"""The map stage from silver to OMOP, on a handful of hand-written rows: what arrives where, and what is counted."""

import dataclasses
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.columns.ids import omop_id
from pipelines.contracts.cdm import cdm_tables, delta_schema
from pipelines.contracts.derived import published_tables
from pipelines.contracts.ledger import Disposition, LedgerRow, check_balance
from pipelines.contracts.source import SourceContract
from pipelines.contracts.tables import Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.mapping.plausibility import load_plausibility
from pipelines.mapping.spec import Mapping, Rule
from pipelines.omop.codes import CODE_MAP_SCHEMA, distinct_codes
from pipelines.omop.declared import MapInputs, MappedSource
from pipelines.omop.source import CdmSource
from pipelines.omop.tables import map_tables
from pipelines.runner import Runner
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.storage.tables import StoragePaths, TableStore
from tests.builders.extracts import store_extracts
from vocab.athena import TABLES
from vocab.schemas import ddl_of

ASTHMA, STERILIZATION, CAROTID, CEREBROVASCULAR = 317009, 45766058, 4153380, 381591
HISTORY_OF_EVENT, TRAUMA = 1340204, 439990
TETANUS, DIPHTHERIA, VACCINATION = 529411, 529303, 3655690
HEART_RATE, PER_LITRE, LESS_THAN, ORAL = 3027018, 8753, 4171756, 4132161
FEMALE, MALE, WHITE = 8532, 8507, 8527
INPATIENT, EMERGENCY, OFFICE = 9201, 9203, 581477
EHR, PRESCRIPTION, LAB = 32817, 32838, 32856
SERUM = 4001181
EPISODE = 2_000_000_301

CODE_MAP = [
    ("ICD10", "J45.9", 0, 45562456, ASTHMA, "Condition", None, "athena"),
    ("ICD10", "Z30.2", 0, 45609921, STERILIZATION, "Procedure", None, "athena"),
    ("ICD10", "I65.2", 0, 45552808, CAROTID, "Condition", None, "athena"),
    ("ICD10", "I65.2", 1, 45552808, CEREBROVASCULAR, "Condition", None, "athena"),
    ("ICD10", "Z91.4", 0, 45590771, HISTORY_OF_EVENT, "Observation", TRAUMA, "athena"),
    ("ICD10", "U06.0", 0, 45756081, 0, None, None, None),
    ("Read", "65KZ.00", 0, 45482248, TETANUS, "Drug", None, "athena"),
    ("Read", "65KZ.00", 1, 45482248, DIPHTHERIA, "Drug", None, "athena"),
    ("Read", "65KZ.00", 2, 45482248, VACCINATION, "Procedure", None, "athena"),
    ("NHS Local Pathology", "hr", 0, 0, HEART_RATE, "Measurement", None, "local"),
    ("NHS Unit", "mmol/l", 0, 0, PER_LITRE, "Unit", None, "local"),
    ("NHS Route", "oral", 0, 0, ORAL, "Route", None, "local"),
    ("NHS Specimen Type", "serum", 0, 0, SERUM, "Specimen", None, "local"),
    ("NHS Gender", "1", 0, 0, MALE, "Gender", None, "local"),
    ("NHS Gender", "2", 0, 0, FEMALE, "Gender", None, "local"),
    ("NHS Gender", "9", 0, 0, 0, None, None, "local"),
    ("NHS Ethnic Category", "A", 0, 0, WHITE, "Race", None, "athena"),
]

VOCABULARY: dict[str, list[dict[str, Any]]] = {
    "concept": [{"concept_id": TETANUS, "concept_class_id": "Ingredient", "standard_concept": "S"}],
    "concept_ancestor": [{"ancestor_concept_id": TETANUS, "descendant_concept_id": TETANUS}],
    "concept_relationship": [],
    "drug_strength": [],
}
"""What eras look up: of the drugs, only tetanus vaccine is an ingredient."""

KEY = {"identifier": "record_id"}
PATIENT_COLUMNS = {"id": KEY, "nhs": {"identifier": "nhs_number"}, "born": {"identifier": "birth_date", "type": "date"}}


def link(entity: str) -> dict[str, Any]:
    return {"entity": entity, "columns": ["link"]}


def entity(references: dict[str, str] | None = None, **columns: str) -> dict[str, Any]:
    """An entity of the subject `patient`, with columns by type."""
    return {
        "grain": "one row",
        "files": ["x"],
        "key": ["id"],
        "subject": {"via": {"entity": "patient", "columns": ["link"]}},
        "references": {name: link(target) for name, target in (references or {}).items()},
        "columns": {"id": KEY, "link": KEY} | {name: {"type": kind} for name, kind in columns.items()},
    }


def patient(**columns: str) -> dict[str, Any]:
    """The entity that describes people."""
    return {
        "grain": "one person",
        "files": ["x"],
        "key": ["id"],
        "subject": {"direct": {"nhs_number": "nhs", "local_id": "id"}},
        "columns": PATIENT_COLUMNS
        | {"postcode": {"identifier": "postcode"}}
        | {name: {"type": kind} for name, kind in columns.items()},
    }


GP = SourceContract.model_validate(
    {
        "source": "gp",
        "title": "General practice",
        "entities": {
            "patient": patient(
                sex="code", ethnicity="code", practice="code", registered_on="date", left_on="date", died_on="date"
            ),
            "consultation": entity({"staff_key": "staff"}, day="date"),
            "observation": entity(
                {"consultation_key": "consultation"}, day="date", read="code", result="text", unit="code", low="decimal"
            ),
            "issue": entity(day="date", stop="date", read="code", days="integer", route="code"),
            "staff": entity(role="code") | {"subject": {}},
        },
    }
)

ACUTE = SourceContract.model_validate(
    {
        "source": "acute",
        "title": "Hospital",
        "entities": {
            "patient": patient(sex="code", ethnicity="code"),
            "episode": entity({"spell_key": "episode"}, number="integer", start="date", end="date", site="code", status="code"),
            "diagnosis": entity({"spell_key": "episode", "episode_key": "episode", "sample_key": "attendance"}, icd="code"),
            "attendance": entity(arrival="timestamp", departure="timestamp"),
            "result": entity({"sample_key": "attendance"}, kind="code", taken="timestamp"),
        },
    }
)


def constant(value: int) -> dict[str, Any]:
    return {"constant": value, "note": "for the test"}


def code(column: str, vocabulary: str) -> dict[str, Any]:
    return {"concept": [{"column": column, "vocabulary": vocabulary}]}


def copied(**columns: str) -> dict[str, Any]:
    return {field: {"copy": column} for field, column in columns.items()}


DEMOGRAPHY = {"gender": code("sex", "NHS Gender"), "race": code("ethnicity", "NHS Ethnic Category")} | copied(
    year_of_birth="year_of_birth", month_of_birth="month_of_birth", postcode_area="postcode_area"
)

GP_RULES = Mapping.model_validate(
    {
        "source": "gp",
        "rules": [
            {
                "name": "gp_person",
                "from": "patient",
                "to": "person",
                "fields": DEMOGRAPHY | copied(care_site_code="practice", recorded_on="registered_on"),
            },
            {
                "name": "gp_registration",
                "from": "patient",
                "to": "observation_period",
                "fields": copied(start_date="registered_on", end_date="left_on") | {"type_concept_id": constant(EHR)},
            },
            {
                "name": "gp_death",
                "from": "patient",
                "where": [{"column": "died_on", "present": True, "reason": "alive"}],
                "to": "death",
                "fields": copied(death_date="died_on") | {"type_concept_id": constant(EHR)},
            },
            {
                "name": "gp_consultation",
                "from": "consultation",
                "to": "visit",
                "fields": {"concept": constant(OFFICE), "type_concept_id": constant(EHR)}
                | copied(start_date="day", end_date="day", provider_key="staff_key"),
            },
            {"name": "gp_staff", "from": "staff", "to": "provider", "fields": {"specialty": code("role", "EMIS Job Category")}},
            {
                "name": "gp_result",
                "from": "observation",
                "with": {"consultation": {"entity": "consultation", "on": "consultation_key"}},
                "where": [{"column": "read", "not_in": ["SECRET"], "reason": "not_for_research"}],
                "to": "event",
                "domain": "Measurement",
                "evidence": "coded",
                "fields": {
                    "concept": code("read", "NHS Local Pathology"),
                    "type_concept_id": constant(EHR),
                    "value_as_number": {"expression": "number_in", "args": {"text": "result"}},
                    "operator": {"expression": "operator_in", "args": {"text": "result"}},
                    "unit": code("unit", "NHS Unit"),
                }
                | copied(start_date="day", visit_key="consultation_key", value_source_value="result", range_low="low")
                | copied(provider_key="consultation.staff_key"),
            },
            {
                "name": "gp_issue",
                "from": "issue",
                "to": "event",
                "domain": "Drug",
                "evidence": "coded",
                "fields": {
                    "concept": code("read", "Read"),
                    "type_concept_id": constant(PRESCRIPTION),
                    "route": code("route", "NHS Route"),
                }
                | copied(start_date="day", end_date="stop", days_supply="days"),
            },
        ],
    }
)

ACUTE_RULES = Mapping.model_validate(
    {
        "source": "acute",
        "rules": [
            {"name": "acute_person", "from": "patient", "to": "person", "fields": DEMOGRAPHY},
            {
                "name": "acute_spell",
                "from": "episode",
                "where": [{"column": "status", "in": ["done", "open"], "reason": "cancelled"}],
                "to": "visit",
                "group": True,
                "fields": {"concept": constant(INPATIENT), "type_concept_id": constant(EHR)}
                | {"discharged_to": code("site", "NHS Discharge Destination")}
                | copied(key="spell_key", start_date="start", end_date="end", order="number", care_site_code="site"),
            },
            {
                "name": "acute_episode",
                "from": "episode",
                "to": "visit_detail",
                "fields": {"concept": constant(INPATIENT), "type_concept_id": constant(EHR)}
                | copied(visit_key="spell_key", start_date="start", end_date="end"),
            },
            {
                "name": "acute_site",
                "from": "episode",
                "to": "care_site",
                "fields": copied(care_site_code="site", care_site_name="site"),
            },
            {
                "name": "acute_attendance",
                "from": "attendance",
                "to": "visit",
                "fields": {
                    "concept": constant(EMERGENCY),
                    "type_concept_id": constant(EHR),
                    "start_date": {"expression": "date_of", "args": {"timestamp": "arrival"}},
                    "end_date": {"expression": "date_of", "args": {"timestamp": "departure"}},
                }
                | copied(start_datetime="arrival", end_datetime="departure", episode_key="row_key"),
            },
            {
                "name": "acute_pathway",
                "from": "attendance",
                "where": [{"column": "departure", "present": True, "reason": "still_there"}],
                "to": "episode",
                "fields": {
                    "concept": constant(EPISODE),
                    "type_concept_id": constant(EHR),
                    "start_date": {"expression": "date_of", "args": {"timestamp": "arrival"}},
                    "end_date": {"expression": "date_of", "args": {"timestamp": "departure"}},
                }
                | copied(start_datetime="arrival", end_datetime="departure"),
            },
            {
                "name": "acute_diagnosis",
                "from": "diagnosis",
                "with": {"episode": {"entity": "episode", "on": "episode_key"}},
                "to": "event",
                "domain": "Condition",
                "evidence": "coded",
                "fields": {"concept": code("icd", "ICD10"), "type_concept_id": constant(EHR)}
                | copied(start_date="episode.start", visit_key="spell_key", visit_detail_key="episode_key")
                | copied(episode_key="episode_key", specimen_key="sample_key"),
            },
            {
                "name": "acute_care",
                "from": "episode",
                "to": "episode",
                "fields": {"concept": constant(EPISODE), "type_concept_id": constant(EHR)}
                | {"object": {"concept": [{"code": "J459", "vocabulary": "ICD10"}]}}
                | copied(start_date="start", end_date="end"),
            },
            {
                "name": "acute_specimen",
                "from": "result",
                "to": "event",
                "domain": "Specimen",
                "evidence": "coded",
                "group": True,
                "fields": {"concept": code("kind", "NHS Specimen Type"), "type_concept_id": constant(LAB)}
                | {"start_date": {"expression": "date_of", "args": {"timestamp": "taken"}}}
                | copied(key="sample_key", start_datetime="taken"),
            },
        ],
    }
)

ANNA, BEN, CARL, DORA, EMMA = 101, 102, 103, 104, 105
"""Carl has no year of birth anywhere; Dora is known to the hospital only; of Emma there is no registration and no contact."""


def d(text: str) -> date:
    return date.fromisoformat(text)


def t(text: str) -> datetime:
    return datetime.fromisoformat(text)


PROVIDER = "P"
"""The provider that delivers all rows that name none."""

SILVER: dict[str, dict[str, list[dict[str, Any]]]] = {
    "gp": {
        "patient": [
            {
                "row_key": "g1",
                "person_id": ANNA,
                "year_of_birth": 1950,
                "month_of_birth": 6,
                "postcode_area": "PR",
                "sex": "9",
                "ethnicity": "A",
                "practice": " p81001",
                "registered_on": d("2010-01-01"),
            },
            {
                "row_key": "g2",
                "person_id": BEN,
                "year_of_birth": 1980,
                "sex": "1",
                "registered_on": d("2015-01-01"),
                "left_on": d("2019-12-31"),
                "died_on": d("2025-02-02"),
                "practice": "P81001",
            },
            {
                "row_key": "g3",
                "person_id": BEN,
                "year_of_birth": 1981,
                "sex": "1",
                "registered_on": d("2020-01-01"),
                "practice": "P81002",
            },
            {"row_key": "g4", "person_id": CARL, "sex": "1", "registered_on": d("2015-01-01")},
            {"row_key": "g5", "person_id": EMMA, "year_of_birth": 1970, "died_on": d("2024-01-09")},
            {
                "row_key": "g6",
                "person_id": EMMA,
                "year_of_birth": 1970,
                "registered_on": d("2010-01-01"),
                "left_on": d("2009-01-01"),
            },
        ],
        "consultation": [
            {"row_key": "c1", "person_id": ANNA, "day": d("2024-05-01"), "staff_key": "s1"},
            {"row_key": "c2", "person_id": CARL, "day": d("2024-05-01"), "staff_key": "s1"},
        ],
        "observation": [
            {
                "row_key": "o1",
                "person_id": ANNA,
                "consultation_key": "c1",
                "day": d("2024-05-01"),
                "read": " HR ",
                "result": "<5.2",
                "unit": "mmol/L",
                "low": 60.5,
            },
            {
                "row_key": "o2",
                "person_id": ANNA,
                "consultation_key": "gone",
                "day": d("2024-05-02"),
                "read": "XYZ",
                "unit": "furlong",
            },
            {"row_key": "o3", "person_id": ANNA, "day": None, "read": "HR"},
            {"row_key": "o4", "person_id": ANNA, "day": d("2024-05-02"), "read": "secret"},
            {"row_key": "o5", "person_id": CARL, "day": d("2024-05-02"), "read": "HR"},
            {"row_key": "o6", "person_id": ANNA, "day": d("2024-05-02"), "read": None},
        ],
        "issue": [
            {"row_key": "i1", "person_id": BEN, "day": d("2024-03-01"), "read": "65KZ.", "days": 28, "route": "Oral"},
            {"row_key": "i2", "person_id": BEN, "day": d("2024-03-01"), "read": "65KZ.", "days": 28, "stop": d("2024-03-05")},
            {"row_key": "i3", "person_id": BEN, "day": d("2024-03-01"), "read": "65KZ.", "stop": d("2024-02-01")},
        ],
        "staff": [{"row_key": "s1", "role": "R0260"}],
    },
    "acute": {
        "patient": [
            {"row_key": "a1", "person_id": ANNA, "year_of_birth": 1951, "month_of_birth": 1, "postcode_area": "LA", "sex": "2"},
            {"row_key": "a4", "person_id": DORA, "year_of_birth": 1990, "month_of_birth": 2, "sex": "2"},
        ],
        "episode": [
            {
                "row_key": "e1",
                "person_id": ANNA,
                "spell_key": "sp1",
                "number": 1,
                "start": d("2024-06-02"),
                "end": d("2024-06-04"),
                "site": "RXN01",
                "status": "done",
            },
            {
                "row_key": "e2",
                "person_id": ANNA,
                "spell_key": "sp1",
                "number": 2,
                "start": d("2024-06-04"),
                "end": d("2024-06-09"),
                "site": "RXN02",
                "status": "done",
            },
            {"row_key": "e3", "person_id": DORA, "spell_key": "sp2", "number": 1, "start": d("2025-12-30"), "status": "OPEN"},
            {"row_key": "e4", "person_id": DORA, "spell_key": "sp3", "number": 1, "start": d("2024-01-01"), "status": "void"},
            {"row_key": "e5", "person_id": EMMA, "spell_key": "sp4", "number": 1, "start": d("2024-01-01"), "status": "void"},
        ],
        "diagnosis": [
            {"row_key": "d1", "person_id": ANNA, "spell_key": "sp1", "episode_key": "e1", "icd": "J459", "sample_key": "s1"},
            {"row_key": "d2", "person_id": ANNA, "spell_key": "sp1", "episode_key": "e1", "icd": "Z302"},
            {"row_key": "d3", "person_id": ANNA, "spell_key": "sp1", "episode_key": "e2", "icd": "I652"},
            {"row_key": "d4", "person_id": ANNA, "spell_key": "sp1", "episode_key": "e2", "icd": "Z914", "sample_key": "s2"},
            {"row_key": "d5", "person_id": DORA, "spell_key": "sp3", "episode_key": "e4", "icd": "U060"},
            {"row_key": "d6", "person_id": DORA, "spell_key": "sp2", "episode_key": "e3", "icd": "Q99X9"},
            {"row_key": "d7", "person_id": EMMA, "spell_key": "sp4", "episode_key": "e5", "icd": "I652", "sample_key": "s4"},
        ],
        "attendance": [
            {"row_key": "t1", "person_id": ANNA, "arrival": t("2024-06-01T20:00:00"), "departure": t("2024-06-02T01:00:00")},
            {"row_key": "t2", "person_id": ANNA, "arrival": t("2024-05-30T20:00:00"), "departure": t("2024-05-30T22:00:00")},
            {"row_key": "t3", "person_id": DORA, "arrival": t("2024-02-02T10:00:00"), "departure": t("2024-02-02T09:00:00")},
        ],
        "result": [
            {"row_key": "r1", "person_id": ANNA, "sample_key": "s1", "kind": "Serum", "taken": t("2024-06-03T09:00:00")},
            {"row_key": "r2", "person_id": ANNA, "sample_key": "s1", "kind": "SERUM", "taken": t("2024-06-03T08:00:00")},
            {"row_key": "r3", "person_id": ANNA, "sample_key": "s1", "kind": "Serum", "taken": t("2024-06-03T08:00:00")},
            {"row_key": "r4", "person_id": ANNA, "sample_key": "s2", "kind": "Bark", "taken": t("2024-06-04T08:00:00")},
            {"row_key": "r5", "person_id": DORA, "sample_key": "s1", "kind": "Serum", "taken": t("2024-06-05T08:00:00")},
            {"row_key": "r6", "person_id": ANNA, "kind": "Serum", "taken": t("2024-06-03T08:00:00")},
            {"row_key": "r8", "person_id": EMMA, "sample_key": "s4", "kind": "Serum", "taken": t("2024-01-01T08:00:00")},
            {"row_key": "r7", "person_id": CARL, "sample_key": "s3", "kind": "Serum", "taken": t("2024-06-03T08:00:00")},
        ],
    },
}

EXTRACTED = {"gp": d("2026-01-05"), "acute": d("2026-01-04")}


SOURCES = (MappedSource(GP, GP_RULES), MappedSource(ACUTE, ACUTE_RULES))


def tables_with(inputs: MapInputs, code_map: Sequence[tuple[Any, ...]]) -> list[Table]:
    """The declared tables, with a code map of which the rows are given for the codes in use."""
    codes, name = TableName(Zone.INTERMEDIATE, "codes"), TableName(Zone.INTERMEDIATE, "code_map")

    def fixed(table: Table) -> Table:
        return dataclasses.replace(
            table,
            inputs=(codes,),
            make=lambda made: made.session.createDataFrame(list(code_map), ddl_of(CODE_MAP_SCHEMA)).join(
                distinct_codes(made.read(*codes)), on=["source_vocabulary_id", "source_code"], how="left_semi"
            ),
            parameters=repr(sorted(code_map, key=str)),
        )

    return [fixed(table) if table.name == name else table for table in map_tables(inputs)]


def run_map(store: TableStore, folder: Path, tables: Sequence[Table]) -> list[str]:
    """Bring the tables up to date; gives the names of those that were made."""
    return [str(name) for name in Runner(store, folder / "state.json").run(tables)]


@dataclasses.dataclass(frozen=True)
class Built:
    """The stored result, read as rows by the columns asked for."""

    store: TableStore
    rules: tuple[Rule, ...]

    def rows(self, zone: Zone, name: str, *columns: str) -> list[tuple[Any, ...]]:
        found = self.store.read(zone, name).select(*columns).collect()
        return sorted((tuple(row) for row in found), key=str)

    def omop(self, name: str, *columns: str) -> list[tuple[Any, ...]]:
        return self.rows(Zone.OMOP, name, *columns)

    def stem(self, name: str, *columns: str) -> list[tuple[Any, ...]]:
        return self.rows(Zone.INTERMEDIATE, name, *columns)

    def id_of(self, name: str, row_key: str) -> int:
        table = self.store.read(Zone.OMOP, name)
        found = table.where(f"_row_key = '{row_key}'").select(f"{name}_id").collect()
        assert len(found) == 1
        return int(found[0][0])


def map_inputs() -> MapInputs:
    """Both sources, as the map stage is declared from them."""
    described = CdmSource(
        name="Test",
        abbreviation="T",
        holder="Nobody",
        description="",
        etl_reference="1",
        extracted_on=d("2026-01-05"),
        built_on=d("2026-01-06"),
        release="20260106-test",
        cdm_version="5.4",
        vocabulary_version="v5.0",
        extracts=EXTRACTED,
        versions={},
    )
    return MapInputs(
        sources=SOURCES,
        delivered=frozenset(f"{source}_{name}" for source, tables in SILVER.items() for name in tables),
        local_maps=(),
        source_priority=("gp", "acute"),
        plausibility=load_plausibility(PACKAGED_MAPPINGS_DIR),
        described_as=described,
        with_month_of_birth=True,
    )


def store_with_silver(session: SparkSession, folder: Path) -> TableStore:
    """A lakehouse in a folder with VOCABULARY and SILVER, every column that a row leaves out being null."""
    store = TableStore(session, StoragePaths(folder / "restricted", folder / "deidentified"))
    tables = [(Zone.VOCABULARY, name, TABLES[name.upper()], rows) for name, rows in VOCABULARY.items()]
    for source in SOURCES:
        for name, rows in SILVER[source.name].items():
            filed = [{"provider_code": PROVIDER} | row | {"_file": source.name} for row in rows]
            tables.append((Zone.SILVER, f"{source.name}_{name}", source.contract.entities[name].silver_columns, filed))
    files = {source: (source, day) for source, day in EXTRACTED.items()}
    store_extracts(store, files, [(source, PROVIDER) for source in files])
    for zone, name, schema, rows in tables:
        frame = session.createDataFrame([tuple(row.get(column) for column in schema) for row in rows], ddl_of(schema))
        store.overwrite(frame, zone, name, schema)
    return store


@pytest.fixture(scope="module")
def built(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The whole map stage, run once."""
    folder = tmp_path_factory.mktemp("omop")
    store, inputs = store_with_silver(sail, folder), map_inputs()
    run_map(store, folder, tables_with(inputs, CODE_MAP))
    return Built(store, inputs.rules)


def test_persons_take_each_attribute_from_the_first_source_that_knows_it(built: Built) -> None:
    columns = ("person_id", "year_of_birth", "month_of_birth", "gender_concept_id", "gender_source_value", "race_concept_id")
    assert built.omop("person", *columns) == [
        (ANNA, 1950, 6, FEMALE, "2", WHITE),  # gp knows the year, only the hospital the gender
        (BEN, 1981, None, MALE, "1", 0),  # the newest registration comes first, with its own missing month
        (DORA, 1990, 2, FEMALE, "2", 0),
    ]
    assert set(built.omop("person", "day_of_birth", "birth_datetime", "person_source_value", "ethnicity_concept_id")) == {
        (None, None, None, 0)
    }


def test_people_without_a_year_of_birth_are_left_out_with_their_rows(built: Built) -> None:
    assert CARL not in {person for (person,) in built.omop("visit_occurrence", "person_id")}
    counts = built.stem("map_counts", "rule", "reason", "rows")
    assert ("gp_consultation", "person_without_year_of_birth", 1) in counts
    assert ("gp_result", "person_without_year_of_birth", 1) in counts


def test_each_silver_row_is_kept_or_counted_under_one_reason(built: Built) -> None:
    counts = [row for row in built.stem("map_counts", "rule", "reason", "rows") if row[0] in ("gp_result", "acute_spell")]
    assert counts == [
        ("acute_spell", "", 3),
        ("acute_spell", "cancelled", 2),
        ("gp_result", "", 2),
        ("gp_result", "code_missing", 1),
        ("gp_result", "not_for_research", 1),
        ("gp_result", "person_without_year_of_birth", 1),
        ("gp_result", "start_date_missing", 1),
    ]


def test_the_domain_of_the_standard_concept_picks_the_table(built: Built) -> None:
    condition = built.omop("condition_occurrence", "_row_key", "condition_concept_id", "condition_source_concept_id")
    assert condition == [
        ("d1", ASTHMA, 45562456),
        ("d3", CEREBROVASCULAR, 45552808),
        ("d3", CAROTID, 45552808),
        ("d5", 0, 45756081),  # known but unmapped: stays where its rule declares
        ("d6", 0, 0),  # unknown
    ]
    procedure = built.omop("procedure_occurrence", "_row_key", "procedure_concept_id", "procedure_source_value")
    assert procedure == [
        ("d2", STERILIZATION, "Z302"),
        ("i1", VACCINATION, "65KZ."),
        ("i2", VACCINATION, "65KZ."),
        ("i3", VACCINATION, "65KZ."),
    ]


def test_maps_to_value_fills_the_value(built: Built) -> None:
    columns = ("_row_key", "observation_concept_id", "value_as_concept_id", "observation_date", "_map_origin", "_rule")
    assert built.omop("observation", *columns) == [
        ("d4", HISTORY_OF_EVENT, TRAUMA, d("2024-06-04"), "athena", "acute_diagnosis")
    ]


def test_one_code_with_several_targets_gives_a_row_for_each_with_its_own_id(built: Built, sail: SparkSession) -> None:
    drugs = built.omop("drug_exposure", "_row_key", "drug_concept_id")
    assert drugs == [(key, concept) for key in ("i1", "i2", "i3") for concept in (DIPHTHERIA, TETANUS)]
    ids = {row[0] for row in built.omop("drug_exposure", "drug_exposure_id")}
    assert len(ids) == 6
    wanted = sail.range(1).select(*[omop_id(F.lit("i1"), F.lit("gp_issue"), F.lit(n)).alias(f"n{n}") for n in (0, 1)]).first()
    assert wanted is not None and set(wanted) <= ids


def test_drug_end_dates_follow_the_rule_order_and_keep_what_was_delivered(built: Built) -> None:
    ends = built.omop("drug_exposure", "_row_key", "drug_exposure_end_date", "_end_rule", "verbatim_end_date", "days_supply")
    assert sorted(set(ends), key=str) == [
        ("i1", d("2024-03-28"), "days_supplied", None, 28),  # start + 28 - 1
        ("i2", d("2024-03-05"), "delivered", d("2024-03-05"), 28),  # delivered
        ("i3", d("2024-03-01"), "same_day", d("2024-02-01"), None),  # delivered before the start: not believed, kept verbatim
    ]
    routes = built.omop("drug_exposure", "_row_key", "route_concept_id", "route_source_value")
    assert sorted(set(routes), key=str) == [("i1", ORAL, "Oral"), ("i2", None, None), ("i3", None, None)]


def test_measurements_carry_operator_unit_range_and_visit(built: Built) -> None:
    columns = (
        "_row_key", "measurement_concept_id", "value_as_number", "operator_concept_id", "unit_concept_id", "unit_source_value",
        "range_low", "value_source_value", "measurement_source_value",
    )  # fmt: skip
    assert built.omop("measurement", *columns) == [
        ("o1", HEART_RATE, 5.2, LESS_THAN, PER_LITRE, "mmol/L", 60.5, "<5.2", "HR"),
        ("o2", 0, None, None, 0, "furlong", None, None, "XYZ"),
    ]
    visit, provider = built.id_of("visit_occurrence", "c1"), built.omop("provider", "provider_id")[0][0]
    assert built.omop("measurement", "_row_key", "visit_occurrence_id", "provider_id") == [
        ("o1", visit, provider),
        ("o2", None, None),  # its consultation does not exist
    ]


def test_unmapped_codes_are_listed_with_their_rows_and_people(built: Built) -> None:
    columns = ("vocabulary", "code", "rule", "field", "is_known", "rows", "people", "first_seen", "last_seen")
    assert built.stem("unmapped_codes", *columns) == [
        ("EMIS Job Category", "r0260", "gp_staff", "specialty", False, 1, 0, None, None),
        ("ICD10", "Q99", "acute_diagnosis", "concept", False, 1, 1, d("2025-12-30"), d("2025-12-30")),
        ("ICD10", "U06.0", "acute_diagnosis", "concept", True, 1, 1, d("2024-01-01"), d("2024-01-01")),
        ("NHS Discharge Destination", "rxn01", "acute_spell", "discharged_to", False, 1, 1, d("2024-06-02"), d("2024-06-02")),
        ("NHS Discharge Destination", "rxn02", "acute_spell", "discharged_to", False, 1, 1, d("2024-06-04"), d("2024-06-04")),
        ("NHS Local Pathology", "xyz", "gp_result", "concept", False, 1, 1, d("2024-05-02"), d("2024-05-02")),
        ("NHS Specimen Type", "bark", "acute_specimen", "concept", False, 1, 1, d("2024-06-04"), d("2024-06-04")),
        ("NHS Unit", "furlong", "gp_result", "unit", False, 1, 1, d("2024-05-02"), d("2024-05-02")),
    ]


def test_visits_are_spells_attendances_and_consultations_with_their_ends(built: Built) -> None:
    columns = ("_row_key", "visit_concept_id", "visit_start_date", "visit_end_date", "discharged_to_source_value")
    assert built.omop("visit_occurrence", *columns) == [
        ("c1", OFFICE, d("2024-05-01"), d("2024-05-01"), None),
        ("e1", INPATIENT, d("2024-06-02"), d("2024-06-09"), "RXN02"),  # two episodes, discharged from the second
        ("e3", INPATIENT, d("2025-12-30"), d("2026-01-04"), None),  # still there: until the extract of its source
        ("t1", EMERGENCY, d("2024-06-01"), d("2024-06-02"), None),
        ("t2", EMERGENCY, d("2024-05-30"), d("2024-05-30"), None),
        ("t3", EMERGENCY, d("2024-02-02"), d("2024-02-02"), None),
    ]
    rules = dict(built.stem("visits", "_row_key", "end_rule"))
    assert (rules["e1"], rules["e3"], rules["t3"]) == ("delivered", "open", "before_start")


def test_an_admission_within_a_day_follows_its_emergency_attendance(built: Built) -> None:
    columns = ("_row_key", "preceding_visit_occurrence_id")
    linked = [row for row in built.omop("visit_occurrence", *columns) if row[1] is not None]
    assert linked == [("e1", built.id_of("visit_occurrence", "t1"))]


def test_details_and_events_point_to_visits_that_exist(built: Built) -> None:
    spell, still_in = built.id_of("visit_occurrence", "e1"), built.id_of("visit_occurrence", "e3")
    assert built.omop("visit_detail", "_row_key", "visit_occurrence_id") == [("e1", spell), ("e2", spell), ("e3", still_in)]
    second = built.id_of("visit_detail", "e2")
    found = built.omop("condition_occurrence", "_row_key", "visit_occurrence_id", "visit_detail_id")
    assert found[1:3] == [("d3", spell, second)] * 2
    assert found[3] == ("d5", None, None)  # the cancelled spell is no visit, its episode no detail


def test_people_and_visits_point_to_places(built: Built) -> None:
    sites = dict(built.omop("care_site", "care_site_source_value", "care_site_id"))
    assert sorted(sites) == ["P81001", "P81002", "RXN01", "RXN02"]
    names = dict(built.omop("care_site", "care_site_source_value", "care_site_name"))
    assert (names["RXN02"], names["P81001"]) == ("RXN02", None)  # described by a rule, only referred to
    areas = dict(built.omop("location", "location_source_value", "location_id"))
    assert sorted(areas) == ["PR"]
    assert built.omop("person", "person_id", "care_site_id", "location_id") == [
        (ANNA, sites["P81001"], areas["PR"]),
        (BEN, sites["P81002"], None),
        (DORA, None, None),
    ]


def test_observation_periods_are_registrations_else_contacts(built: Built) -> None:
    columns = ("person_id", "observation_period_start_date", "observation_period_end_date", "period_type_concept_id")
    assert built.omop("observation_period", *columns) == [
        (ANNA, d("2010-01-01"), EXTRACTED["gp"], EHR),
        (BEN, d("2015-01-01"), d("2025-04-03"), EHR),  # two registrations without a gap, and a death
        (DORA, d("2024-02-02"), d("2024-04-02"), 32882),  # not the diagnosis of a cancelled stay before
        (DORA, d("2025-12-30"), EXTRACTED["acute"], 32882),
    ]


def test_people_without_an_observation_period_are_left_out_with_all_their_rows(built: Built) -> None:
    assert built.stem("unobserved_persons", "person_id") == [(EMMA,)]
    for name in (path.name for path in Path(built.store.path(Zone.OMOP, "x")).parent.iterdir()):
        if "person_id" in published_tables("5.4")[name].schema:
            assert (EMMA,) not in built.omop(name, "person_id"), name
    assert len(built.omop("fact_relationship", "fact_id_1")) == 4
    left_out = {(row.rule, row.rows) for row in ledger_of(built) if row.reason == "person_without_observation_period"}
    assert left_out == {
        ("gp_person", 2),
        ("gp_death", 1),
        ("acute_episode", 1),
        ("acute_care", 1),
        ("acute_diagnosis", 1),
        ("acute_specimen", 1),
    }
    outside = {(row.rule, row.rows) for row in ledger_of(built) if row.reason == "registration_outside_extract"}
    assert outside == {("gp_registration", 1)}


def test_a_death_comes_from_its_rule(built: Built) -> None:
    assert built.omop("death", "person_id", "death_date", "death_type_concept_id", "_rule") == [
        (BEN, d("2025-02-02"), EHR, "gp_death")
    ]
    assert built.omop("death_record", "person_id", "death_date", "source", "mapping_rule", "is_chosen") == [
        (BEN, d("2025-02-02"), "gp", "gp_death", 1)
    ]


def test_every_table_of_the_version_exists(built: Built) -> None:
    names = {path.name for path in Path(built.store.path(Zone.OMOP, "x")).parent.iterdir()}
    assert names == {name for name, table in published_tables("5.4").items() if not table.is_vocabulary}
    assert {"note", "episode", "drug_era", "cost", "fact_relationship", "cohort", "cdm_source", "specimen"} <= names
    assert built.omop("cdm_source", "cdm_version", "source_release_date") == [("5.4", d("2026-01-05"))]
    said = [("extract of acute", "2026-01-04"), ("extract of gp", "2026-01-05"), ("release", "20260106-test")]
    assert built.omop("metadata", "name", "value_as_string") == said


@pytest.mark.parametrize("name", ["payer_plan_period", "cost", "cohort", "cohort_definition", "note", "note_nlp"])
def test_tables_that_no_source_fills_are_there_and_empty(built: Built, name: str) -> None:
    table = built.store.read(Zone.OMOP, name)
    assert {field.name: field.dataType.simpleString() for field in table.schema} == delta_schema(cdm_tables("5.4")[name])
    assert table.count() == 0


def test_a_specimen_is_one_row_for_all_its_results_and_is_named_by_its_key(built: Built, sail: SparkSession) -> None:
    names = ("concept_id", "datetime", "source_value", "source_id")
    columns = ("person_id", "_row_key", *[f"specimen_{name}" for name in names])
    assert built.omop("specimen", *columns) == [
        (ANNA, "r2", SERUM, t("2024-06-03T08:00:00"), "SERUM", None),  # the first to be taken, then by row key
        (ANNA, "r4", 0, t("2024-06-04T08:00:00"), "Bark", None),
        (DORA, "r5", SERUM, t("2024-06-05T08:00:00"), "Serum", None),
    ]
    named = sail.range(1).select(omop_id(F.lit("s2"), F.lit("acute_specimen"), F.lit(0))).first()
    assert named is not None
    assert built.id_of("specimen", "r4") == named[0]


def test_specimens_of_two_people_under_one_key_have_ids_of_their_own(built: Built) -> None:
    assert built.id_of("specimen", "r2") != built.id_of("specimen", "r5")


def test_visits_and_events_that_carry_the_key_of_an_episode_are_its_events(built: Built) -> None:
    columns = ("_row_key", "episode_concept_id", "episode_start_date", "episode_end_date", "episode_object_concept_id")
    assert built.omop("episode", *columns) == [
        ("e1", EPISODE, d("2024-06-02"), d("2024-06-04"), ASTHMA),
        ("e2", EPISODE, d("2024-06-04"), d("2024-06-09"), ASTHMA),
        ("e3", EPISODE, d("2025-12-30"), None, ASTHMA),
        ("e4", EPISODE, d("2024-01-01"), None, ASTHMA),
        ("t1", EPISODE, d("2024-06-01"), d("2024-06-02"), 0),
        ("t2", EPISODE, d("2024-05-30"), d("2024-05-30"), 0),
        ("t3", EPISODE, d("2024-02-02"), d("2024-02-02"), 0),
    ]
    pairs = [(key, built.id_of("visit_occurrence", key)) for key in ("t1", "t2", "t3")]
    pairs += [("e1", built.id_of("condition_occurrence", "d1")), ("e1", built.id_of("procedure_occurrence", "d2"))]
    conditions = built.omop("condition_occurrence", "_row_key", "condition_occurrence_id")
    pairs += [("e2", event_id) for key, event_id in conditions if key == "d3"]
    pairs += [("e2", built.id_of("observation", "d4"))]
    pairs += [("e4", built.id_of("condition_occurrence", "d5")), ("e3", built.id_of("condition_occurrence", "d6"))]
    events = built.omop("episode_event", "episode_id", "event_id", "episode_event_field_concept_id")
    assert len(pairs) == 10
    assert sorted(events) == sorted((built.id_of("episode", key), event_id, 0) for key, event_id in pairs)


def test_events_that_name_a_specimen_are_related_to_it_both_ways(built: Built) -> None:
    condition, observation, specimen = 19, 27, 36
    serum, bark = built.id_of("specimen", "r2"), built.id_of("specimen", "r4")
    asthma, history = built.id_of("condition_occurrence", "d1"), built.id_of("observation", "d4")
    columns = ("domain_concept_id_1", "fact_id_1", "domain_concept_id_2", "fact_id_2", "relationship_concept_id")
    assert sorted(built.omop("fact_relationship", *columns)) == [
        (condition, asthma, specimen, serum, 44818756),
        (observation, history, specimen, bark, 44818756),
        *sorted([(specimen, serum, condition, asthma, 44818854), (specimen, bark, observation, history, 44818854)]),
    ]


def ledger_of(built: Built) -> list[LedgerRow]:
    records = built.store.read(Zone.INTERMEDIATE, "map_ledger").collect()
    return [LedgerRow.of(record.asDict() | {"run_id": "r"}) for record in records]


def test_the_ledger_of_the_map_stage_balances(built: Built) -> None:
    ledger = ledger_of(built)
    check_balance(ledger)
    assert {row.rule for row in ledger} == {rule.name for rule in built.rules}
    entries = {(row.rule, row.disposition, row.reason): row.rows for row in ledger}
    assert entries["gp_issue", Disposition.FANNED_OUT, ""] == 6
    assert entries["gp_issue", Disposition.WRITTEN, "drug_exposure"] == 6
    assert entries["acute_spell", Disposition.MERGED, ""] == 1
    assert entries["acute_specimen", Disposition.MAPPED, ""] == 5
    assert entries["acute_specimen", Disposition.MERGED, ""] == 2
    assert entries["acute_specimen", Disposition.WRITTEN, "specimen"] == 3
    assert entries["acute_specimen", Disposition.EXCLUDED, "key_missing"] == 1
    assert entries["acute_specimen", Disposition.EXCLUDED, "person_without_year_of_birth"] == 1
    assert entries["acute_site", Disposition.WRITTEN, "care_site"] == 2
    assert entries["gp_death", Disposition.WRITTEN, "death"] == 1
    assert entries["acute_pathway", Disposition.WRITTEN, "episode"] == 3
    assert entries["acute_care", Disposition.WRITTEN, "episode"] == 4
    assert entries["acute_episode", Disposition.EXCLUDED, "visit_missing"] == 1
    assert entries["gp_person", Disposition.EXCLUDED, "person_without_year_of_birth"] == 1
    assert entries["acute_diagnosis", Disposition.KNOWN_UNMAPPED, ""] == 1
    assert entries["acute_diagnosis", Disposition.STANDARD, ""] == 5


def test_conditions_and_ingredients_have_eras(built: Built) -> None:
    conditions = {concept for (concept,) in built.omop("condition_era", "condition_concept_id")}
    assert conditions == {ASTHMA, CAROTID, CEREBROVASCULAR}  # what has no concept has no era
    columns = ("person_id", "drug_concept_id", "drug_era_start_date", "drug_era_end_date", "drug_exposure_count", "gap_days")
    assert built.omop("drug_era", *columns) == [(BEN, TETANUS, d("2024-03-01"), d("2024-03-28"), 3, 0)]
    assert built.omop("dose_era", "dose_era_id") == []
