"""A small valid lake of Delta tables under the gates: every table of the CDM, and one source in bronze and silver."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.cdm import CdmTable, delta_schema
from pipelines.contracts.derived import published_tables
from pipelines.contracts.source import SourceContract
from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.quality.gates import GateReport
from pipelines.quality.tables import gate_tables, run_gates
from pipelines.runner import Runner
from pipelines.storage.tables import StoragePaths, TableStore
from tests.builders.policies import policy

CDM = published_tables("5.4")

CONTRACT = SourceContract.model_validate(
    {
        "source": "gp",
        "title": "GP extract",
        "entities": {
            "patient": {
                "grain": "one registration",
                "files": ["patient*"],
                "key": ["patient_guid"],
                "subject": {"direct": {"nhs_number": "nhs_number", "local_id": "patient_guid"}},
                "columns": {
                    "patient_guid": {"identifier": "local_id"},
                    "nhs_number": {"identifier": "nhs_number"},
                    "postcode": {"identifier": "postcode"},
                    "sex": {"type": "code"},
                },
            }
        },
    }
)
PATIENT = CONTRACT.entities["patient"]

RUN_DATE = date(2025, 1, 1)

CONCEPTS = [
    # id, domain, class, standard
    (0, "Metadata", "Undefined", None),
    (8507, "Gender", "Gender", "S"),
    (8527, "Race", "Race", "S"),
    (38003564, "Ethnicity", "Ethnicity", "S"),
    (9201, "Visit", "Visit", "S"),
    (32817, "Type Concept", "Type Concept", "S"),
    (320128, "Condition", "Disorder", "S"),
    (1125315, "Drug", "Ingredient", "S"),
    (4145308, "Procedure", "Procedure", "S"),
    (3025315, "Measurement", "Clinical Observation", "S"),
    (4275495, "Observation", "Observable Entity", "S"),
    (44821949, "Condition", "ICD9CM code", None),
    (2_000_000_001, "Condition", "Local", "S"),
]
EVENT: dict[str, object] = {
    "_source": "gp",
    "_rule": "gp_condition",
    "_row_key": "ab",
    "_map_origin": "athena",
    "_evidence": "coded",
    "_recorder": "P81001",
}
PERSON: dict[str, object] = {
    "person_id": 11,
    "gender_concept_id": 8507,
    "year_of_birth": 1950,
    "race_concept_id": 8527,
    "ethnicity_concept_id": 38003564,
}
VISIT = EVENT | {
    "visit_occurrence_id": 21,
    "person_id": 11,
    "visit_concept_id": 9201,
    "visit_start_date": date(2024, 1, 1),
    "visit_end_date": date(2024, 1, 3),
    "visit_type_concept_id": 32817,
}
CONDITION = EVENT | {
    "condition_occurrence_id": 31,
    "person_id": 11,
    "condition_concept_id": 320128,
    "condition_start_date": date(2024, 1, 1),
    "condition_type_concept_id": 32817,
    "condition_source_value": "I10",
    "visit_occurrence_id": 21,
}
PERIOD: dict[str, object] = {
    "observation_period_id": 41,
    "person_id": 11,
    "observation_period_start_date": date(2023, 1, 1),
    "observation_period_end_date": date(2024, 12, 31),
    "period_type_concept_id": 32817,
}
DRUG = EVENT | {
    "_end_rule": "one_day",
    "drug_exposure_id": 51,
    "person_id": 11,
    "drug_concept_id": 1125315,
    "drug_exposure_start_date": date(2024, 1, 1),
    "drug_exposure_end_date": date(2024, 1, 1),
    "drug_type_concept_id": 32817,
}
PROCEDURE = EVENT | {
    "procedure_occurrence_id": 61,
    "person_id": 11,
    "procedure_concept_id": 4145308,
    "procedure_date": date(2024, 1, 2),
    "procedure_type_concept_id": 32817,
}
MEASUREMENT = EVENT | {
    "measurement_id": 71,
    "person_id": 11,
    "measurement_concept_id": 3025315,
    "measurement_date": date(2024, 1, 2),
    "measurement_type_concept_id": 32817,
}
OBSERVATION = EVENT | {
    "observation_id": 81,
    "person_id": 11,
    "observation_concept_id": 4275495,
    "observation_date": date(2024, 1, 2),
    "observation_type_concept_id": 32817,
}
CONDITION_ERA: dict[str, object] = {
    "condition_era_id": 91,
    "person_id": 11,
    "condition_concept_id": 320128,
    "condition_era_start_date": date(2024, 1, 1),
    "condition_era_end_date": date(2024, 1, 1),
}
DRUG_ERA: dict[str, object] = {
    "drug_era_id": 101,
    "person_id": 11,
    "drug_concept_id": 1125315,
    "drug_era_start_date": date(2024, 1, 1),
    "drug_era_end_date": date(2024, 1, 1),
}
CDM_SOURCE: dict[str, object] = {
    "cdm_source_name": "Test",
    "cdm_source_abbreviation": "T",
    "cdm_holder": "T",
    "source_release_date": date(2024, 12, 31),
    "cdm_release_date": date(2025, 1, 1),
    "cdm_version_concept_id": 0,
    "vocabulary_version": "v",
}
ROWS: dict[str, dict[str, object]] = {
    "cdm_source": CDM_SOURCE,
    "condition_era": CONDITION_ERA,
    "condition_occurrence": CONDITION,
    "drug_era": DRUG_ERA,
    "drug_exposure": DRUG,
    "measurement": MEASUREMENT,
    "observation": OBSERVATION,
    "observation_period": PERIOD,
    "person": PERSON,
    "procedure_occurrence": PROCEDURE,
    "visit_occurrence": VISIT,
}
"""The row that a table of the CDM has; the others are empty."""

VALID_UNTIL = date(2099, 12, 31)
SILVER: dict[str, object] = {
    "row_key": "ab",
    "person_id": 11,
    "provider_code": "P1",
    "postcode_area": "PR",
    "sex": "1",
    "_load_id": "L",
    "_file": "f",
}
BRONZE: dict[str, object] = {
    "patient_guid": "g",
    "nhs_number": "999",
    "postcode": "",
    "sex": "1",
    "_load_id": "L",
    "_file": "f",
    "_line": 1,
}

Plant = Callable[[DataFrame], DataFrame]
Planted = tuple[str, str, Plant]
"""A change that is planted in a table: zone, name and change."""

Checked = Callable[..., GateReport]
"""Runs the gates with changes planted in tables."""

CHECKED = frozenset(
    {
        TableName(Zone.BRONZE, "gp_patient"),
        TableName(Zone.SILVER, "gp_patient"),
        *(TableName(Zone.VOCABULARY if table.is_vocabulary else Zone.OMOP, table.name) for table in CDM.values()),
    }
)


@dataclass(frozen=True)
class Replaced(StoragePaths):
    """A lake of which the measures, and some tables, lie in a folder of their own."""

    apart: Path
    planted: frozenset[TableName] = frozenset()

    def path(self, zone: Zone, name: str) -> str:
        is_apart = zone is Zone.LEDGER or TableName(zone, name) in self.planted
        return str(self.apart / zone / name) if is_apart else super().path(zone, name)


def frame(session: SparkSession, schema: Mapping[str, str], rows: Sequence[Mapping[str, object]]) -> DataFrame:
    """Rows with the columns of a schema; what is not given is null."""
    ddl = ", ".join(f"`{name}` {kind}" for name, kind in schema.items())
    return session.createDataFrame([tuple(row.get(name) for name in schema) for row in rows], ddl)


def schema_of(table: CdmTable) -> dict[str, str]:
    """The columns of a stored table of the CDM."""
    return table.schema if table.is_vocabulary else delta_schema(table)


def concept_rows(concepts: Sequence[tuple[int, str, str, str | None]]) -> list[dict[str, object]]:
    """Rows of the table of concepts for ids with domain, class and standard."""
    return [
        {
            "concept_id": concept,
            "concept_name": f"concept {concept}",
            "domain_id": domain,
            "vocabulary_id": "None",
            "concept_class_id": kind,
            "standard_concept": standard,
            "concept_code": str(concept),
            "valid_start_date": date(1970, 1, 1),
            "valid_end_date": VALID_UNTIL,
        }
        for concept, domain, kind, standard in concepts
    ]


def build_checked_lake(session: SparkSession, root: Path) -> TableStore:
    """The lake in a folder."""
    store = TableStore(session, StoragePaths(root / "restricted", root / "deidentified"))
    for zone, name in sorted(CHECKED):
        if name in CDM:
            schema = schema_of(CDM[name])
            rows = concept_rows(CONCEPTS) if name == "concept" else [ROWS[name]] if name in ROWS else []
            store.overwrite(frame(session, schema, rows), zone, name, schema)
    silver, bronze = PATIENT.silver_columns, {name: "bigint" if name == "_line" else "string" for name in BRONZE}
    store.overwrite(frame(session, silver, [SILVER]), Zone.SILVER, "gp_patient", silver)
    store.overwrite(frame(session, bronze, [BRONZE]), Zone.BRONZE, "gp_patient", bronze)
    return store


def with_measures(lake: TableStore, apart: Path, *planted: TableName) -> TableStore:
    """The lake with measures, and the planted tables, in a folder of their own."""
    assert isinstance(lake.paths, StoragePaths)
    paths = Replaced(lake.paths.restricted, lake.paths.deidentified, apart, frozenset(planted))
    return TableStore(lake.session, paths)


def measure(store: TableStore, checked: frozenset[TableName] = CHECKED) -> list[str]:
    """Bring the measures up to date; gives the names of those that were made."""
    runner = Runner(store, Path(store.path(Zone.LEDGER, "state.json")))
    return sorted(name.name for name in runner.run(gate_tables(checked, {"gp": CONTRACT}, CDM, RUN_DATE)))


def gates(store: TableStore, checked: frozenset[TableName] = CHECKED) -> GateReport:
    """What the gates say of the lake."""
    measure(store, checked)
    return run_gates(store.paths, checked, {"gp": CONTRACT}, CDM, RUN_DATE, [], policy())
