"""Contracts of the OMOP CDM tables, read from the SQLAlchemy models of the `omop-cdm` package.

Names, lengths, required fields and links are the model's, which gives `source_to_concept_map.source_code` 1,000 characters
instead of 50. Four things differ on purpose:

- identifiers are `bigint`: the CDM says integer, ours use up to 53 bits;
- a SQLAlchemy model needs a primary key for every table, the CDM does not. A key that exists only for the model's sake
  (`cdm_source`, `concept_ancestor`, `source_to_concept_map`, ...) is dropped; one death a person is kept as a rule;
- `cohort` and `cohort_definition` are tables of the CDM that the package keeps apart from the versioned models;
- a field that the package names otherwise than OHDSI has OHDSI's name (`_OHDSI_NAMES`).
"""

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from omop_cdm.constants import VOCAB_SCHEMA
from omop_cdm.dynamic.legacy.legacy import BaseCohort, BaseCohortDefinition
from sqlalchemy import Column, Date, DateTime, Integer, Numeric, Table
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import NullType

from pipelines.errors import ConfigError

CDM_VERSIONS: Final[dict[str, str]] = {"5.4": "omop_cdm.regular.cdm54", "5.5": "omop_cdm.regular.cdm55"}
"""Versions of the CDM that can be built, with the module of their model."""

PROVENANCE_COLUMNS: Final[dict[str, str]] = {
    "_source": "string",
    "_rule": "string",
    "_row_key": "string",
    "_map_origin": "string",
}
"""Hidden columns of event tables: the source, the mapping rule, the silver row and the origin of the concept."""

CODE_BUCKET: Final = "_code_bucket"
"""Hidden column of the stem and of the tables that it is routed to, by which they are partitioned."""

ROUTED_TABLES: Final[tuple[str, ...]] = (
    "condition_occurrence",
    "device_exposure",
    "drug_exposure",
    "measurement",
    "observation",
    "procedure_occurrence",
    "specimen",
)
"""Tables whose events come from the stem table, by the domain of their concept."""

EVIDENCE_COLUMNS: Final[dict[str, str]] = {"_evidence": "string", "_date_precision": "string", "_end_date_precision": "string"}
"""Further hidden columns of ROUTED_TABLES, which `event_evidence` publishes: how an event is known, and how exactly its start
and its end are known where a source says so."""

RECORDER: Final = "_recorder"
"""Hidden column of ROUTED_TABLES: who recorded an event. That is the provider by its code, or one of the practices that a
provider delivers, by the key of its row."""

OPTIONAL_PROVENANCE: Final = frozenset({"_map_origin", "_date_precision", "_end_date_precision"})
"""Hidden columns that may be empty: a rule that names the concept itself needs no map, and few sources state a precision."""

OWN_PROVENANCE_COLUMNS: Final[dict[str, dict[str, str]]] = {
    "drug_exposure": {"_end_rule": "string"},
    "episode": {"_end_rule": "string"},
}
"""Further hidden columns of single event tables: the rule that chose the end of a drug exposure or an episode."""

EVENT_TABLES: Final[tuple[str, ...]] = (
    "condition_occurrence",
    "death",
    "device_exposure",
    "drug_exposure",
    "episode",
    "measurement",
    "note",
    "observation",
    "procedure_occurrence",
    "specimen",
    "visit_detail",
    "visit_occurrence",
)
"""Tables whose rows come from one rule each and carry `provenance_columns` in Delta, never in a publication."""


DOMAIN_TABLES: Final[dict[str, str]] = {
    "Condition": "condition_occurrence",
    "Drug": "drug_exposure",
    "Procedure": "procedure_occurrence",
    "Measurement": "measurement",
    "Observation": "observation",
    "Device": "device_exposure",
    "Specimen": "specimen",
}
"""The table of each event domain. A standard concept of any other domain is an observation, as OHDSI recommends."""


class _CohortBase(DeclarativeBase):
    """Registry of the two tables that the versioned models leave out."""


class CohortDefinition(BaseCohortDefinition, _CohortBase):
    """One row is a cohort's definition."""


class Cohort(BaseCohort, _CohortBase):
    """One row is a subject's time in a cohort."""


COHORT_TABLES: Final = ("cohort", "cohort_definition")
"""Tables of the CDM that no release has rows of: rows in a publication are the work of analysts."""


@dataclass(frozen=True, slots=True)
class CdmColumn:
    """One field of a CDM table. `references` is the table and field it refers to; `length` is in characters.

    `indexed` says whether OHDSI has an index on it, or rows of a derived table are looked for by it.
    """

    name: str
    type: str
    nullable: bool
    length: int | None = None
    references: tuple[str, str] | None = None
    indexed: bool = False

    @property
    def is_concept(self) -> bool:
        """Whether the field is a concept id."""
        return self.references == ("concept", "concept_id")


@dataclass(frozen=True, slots=True)
class CdmTable:
    """One table of the CDM. `primary_key` is the unique field that is never null; None if the table has none."""

    name: str
    is_vocabulary: bool
    columns: tuple[CdmColumn, ...]
    primary_key: str | None

    def column(self, name: str) -> CdmColumn:
        """The field of that name."""
        return next(column for column in self.columns if column.name == name)

    @property
    def schema(self) -> dict[str, str]:
        """Name and Spark type of every field, in the order of the CDM."""
        return {column.name: column.type for column in self.columns}

    @property
    def indexes(self) -> tuple[str, ...]:
        """The fields beside the primary key by which rows are looked for; the person always is one."""
        looked_for = [column.name for column in self.columns if column.indexed or column.name == "person_id"]
        return tuple(name for name in looked_for if name != self.primary_key)

    @property
    def periods(self) -> tuple[tuple[str, str], ...]:
        """Pairs of fields of equal type that are the start and the end of the same period."""
        names = {column.name: column.type for column in self.columns}
        pairs = []
        for end, kind in names.items():
            for start in (end.replace("_end_date", "_start_date"), end.replace("_end_date", "_date")):
                if "_end_date" in end and not end.startswith("verbatim") and names.get(start) == kind:
                    pairs.append((start, end))
        return tuple(pairs)


def _spark_type(column: Column[Any]) -> str:
    kind = column.type
    # A link to a table of another registry (cohort_definition to concept) has no type of its own; it is a concept id.
    if isinstance(kind, Integer | NullType):
        return "bigint"
    if isinstance(kind, DateTime):
        return "timestamp"
    if isinstance(kind, Date):
        return "date"
    return "double" if isinstance(kind, Numeric) else "string"


_OHDSI_NAMES: Final = {("pack_content", "amount_integer"): "amount"}
"""Fields by their table and name in the package that have another name in OHDSI's specification of CDM 5.5, whose line
`amount integer` became one word (https://ohdsi.github.io/CommonDataModel/cdm55Changes.html, omop-cdm 0.7.0).
"""


def _cdm_column(column: Column[Any]) -> CdmColumn:
    target = next((key.target_fullname.split(".") for key in column.foreign_keys), None)
    references = (target[-2], target[-1]) if target else None
    return CdmColumn(
        name=_OHDSI_NAMES.get((str(column.table.name), str(column.name)), str(column.name)),
        type=_spark_type(column),
        nullable=bool(column.nullable),
        length=getattr(column.type, "length", None),
        references=references,
        indexed=bool(column.index),
    )


def _cdm_table(table: Table) -> CdmTable:
    # Names of SQLAlchemy are texts of a class of its own, which no JVM reads.
    name, keys = str(table.name), [str(column.name) for column in table.primary_key]
    is_real = keys == [f"{name}_id"] or name == "death"
    return CdmTable(
        name=name,
        is_vocabulary=table.schema == VOCAB_SCHEMA or name == "source_to_concept_map",
        columns=tuple(_cdm_column(column) for column in table.columns),
        primary_key=keys[0] if is_real else None,
    )


@cache
def cdm_tables(version: str) -> dict[str, CdmTable]:
    """Every table of a CDM version by name, in alphabetical order. Raises ConfigError for an unknown version."""
    if version not in CDM_VERSIONS:
        raise ConfigError(f"cdm_version: expected one of {', '.join(CDM_VERSIONS)}")
    versioned = importlib.import_module(CDM_VERSIONS[version]).Base.metadata
    models = [*versioned.tables.values(), *_CohortBase.metadata.tables.values()]
    tables = [_cdm_table(model) for model in sorted(models, key=lambda model: model.name)]
    return {table.name: table for table in tables}


def version_code_pattern(version: str) -> str:
    """The pattern of the code of the concept of a CDM version, which ends in it: `CDM v5.4.0`."""
    return f"(^|[^0-9.]){version.replace('.', '[.]')}([.]0)?$"


def provenance_columns(table: CdmTable) -> dict[str, str]:
    """Name and Spark type of the provenance columns of the table; they are never published."""
    if table.name not in EVENT_TABLES:
        return {}
    of_events = EVIDENCE_COLUMNS | {RECORDER: "string"} if table.name in ROUTED_TABLES else {}
    return PROVENANCE_COLUMNS | of_events | OWN_PROVENANCE_COLUMNS.get(table.name, {})


def delta_schema(table: CdmTable) -> dict[str, str]:
    """Name and Spark type of the columns of the Delta table: the fields of the CDM, then the hidden ones."""
    return table.schema | provenance_columns(table) | ({CODE_BUCKET: "int"} if table.name in ROUTED_TABLES else {})
