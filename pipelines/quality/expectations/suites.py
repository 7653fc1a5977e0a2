"""Reads the expectation suites of a team: one file a suite, in the form in which Great Expectations itself writes suites.

Its own classes check every expectation. `meta.tables` of the suite says which tables have to meet it.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pipelines.contracts.cdm import CdmTable, delta_schema
from pipelines.contracts.source import SourceContract
from pipelines.contracts.tables import TableName
from pipelines.contracts.yaml_files import InvalidYamlError, read_yaml
from pipelines.contracts.zones import Zone
from pipelines.errors import ConfigError, counted
from pipelines.quality.checks import LINE_COLUMNS, OF_SUITE, Check, Rule, Severity
from pipelines.quality.checks import Zone as CheckedZone
from pipelines.storage.documents import digest_of

Columns = Mapping[TableName, Mapping[str, str]]
"""The columns of every table that a suite may name, with their types."""

SUITE_KEYS: Final = frozenset({"name", "id", "meta", "notes", "suite_parameters", "expectations"})
COLUMN_KEYS: Final = ("column", "column_A", "column_B", "column_list")
OF_STRUCTURE: Final = ("expect_column_to_exist", "expect_table_columns_to_match_ordered_list")
"""Expectations whose columns need not be there."""
ORDERED: Final = ("expect_column_values_to_be_between", "expect_column_min_to_be_between", "expect_column_max_to_be_between")
"""Expectations that compare a column with bounds of its own type."""

_LINE: Final = {"_line": "bigint"}
"""The one column of bronze that is no text."""

_SHOWN_VALUE: Final = 60


@dataclass(frozen=True)
class Expectation:
    """One expectation of a suite on one table. `position` counts the expectations of a file from 1."""

    suite: str
    file: str
    position: int
    table: TableName
    type: str
    kwargs: Mapping[str, Any] = field(hash=False)
    severity: Severity = Severity.ERROR

    @cached_property
    def text(self) -> str:
        """The expectation as results name it: its type and its arguments, long ones shortened to what tells them apart."""
        arguments = ", ".join(f"{name}={_shown(value)}" for name, value in sorted(self.kwargs.items()))
        return f"{self.type}({arguments})"

    @property
    def place(self) -> str:
        """Where the expectation stands, as messages name it."""
        return f"{self.file}: expectation {self.position} ({self.type})"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the expectation reads."""
        return columns_of(self.type, self.kwargs)

    @property
    def check(self) -> Check:
        """The expectation as a check of the gates; `mostly` is what it tolerates."""
        zone = CheckedZone.OMOP if self.table.zone is Zone.VOCABULARY else CheckedZone(self.table.zone.value)
        tolerance = round(1 - float(self.kwargs.get("mostly", 1)), 12)
        column = f"{self.suite}{OF_SUITE}{self.text}"
        return Check(zone, self.table.name, Rule.EXPECTATION, column, tolerance=tolerance, severity=self.severity)


def columns_of(kind: str, kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that an expectation reads, from its arguments."""
    found: list[str] = []
    for key in () if kind in OF_STRUCTURE else COLUMN_KEYS:
        value = kwargs.get(key, ())
        found += [value] if isinstance(value, str) else list(value or ())
    return tuple(found)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)
    return text if len(text) <= _SHOWN_VALUE else f"{text[:_SHOWN_VALUE]}… {digest_of(text)[:8]}"


def library() -> Any:
    """Great Expectations, imported when there is a suite, because that takes seconds.

    It reports use to its makers unless the environment says otherwise before the import.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations

    return great_expectations


def suite_files(folder: Path) -> list[Path]:
    """The suites of a folder: its YAML and JSON files. None where there is no folder."""
    return sorted(path for suffix in ("*.yaml", "*.yml", "*.json") for path in folder.glob(suffix))


def read_expectations(folder: Path, columns: Columns) -> tuple[Expectation, ...]:
    """Every expectation of the suites in a folder, once for each table that its suite names.

    Raises ConfigError with every fault of every file: what Great Expectations refuses, tables and columns that there are not.
    """
    faults: list[str] = []
    found: list[Expectation] = []
    for path in suite_files(folder):
        found += _suite(path, columns, faults)
    faults += _twice(found)
    if faults:
        raise ConfigError(
            f"{folder}: {counted(len(faults), 'fault')} in expectation suites\n" + "\n".join(f"  {line}" for line in faults)
        )
    return tuple(found)


def known_columns(contracts: Mapping[str, SourceContract], cdm: Mapping[str, CdmTable]) -> Columns:
    """The columns of the tables of bronze, silver, OMOP and vocabulary: of what suites may speak."""
    known: dict[TableName, Mapping[str, str]] = {}
    for source, contract in contracts.items():
        for name, entity in contract.entities.items():
            known[TableName(Zone.BRONZE, f"{source}_{name}")] = (
                dict.fromkeys([*entity.columns, *LINE_COLUMNS], "string") | _LINE
            )
            known[TableName(Zone.SILVER, f"{source}_{name}")] = entity.silver_columns
    for name, table in cdm.items():
        zone, schema = (Zone.VOCABULARY, table.schema) if table.is_vocabulary else (Zone.OMOP, delta_schema(table))
        known[TableName(zone, name)] = schema
    return known


def _suite(path: Path, columns: Columns, faults: list[str]) -> Iterator[Expectation]:
    try:
        content = read_yaml(path)
    except (OSError, InvalidYamlError) as error:
        faults.append(f"{path.name}: {getattr(error, 'strerror', None) or error}")
        return
    faults += [f"{path.name}: {fault}" for fault in _suite_faults(content)]
    if not isinstance(content, dict) or not isinstance(content.get("expectations"), list):
        return
    tables = []
    for name in _tables(content):
        table = next((known for known in columns if str(known) == name), None)
        if table is None:
            faults.append(f"{path.name}: meta.tables: there is no table {name}; write zone.table, such as omop.person")
        else:
            tables.append(table)
    for position, entry in enumerate(content["expectations"], start=1):
        place = f"{path.name}: expectation {position}"
        checked = _checked(entry, place, faults)
        if checked is None:
            continue
        kind, kwargs, severity = checked
        for table in tables:
            faults += [f"{place} ({kind}): {fault}" for fault in _column_faults(table, columns[table], kind, kwargs)]
            yield Expectation(str(content["name"]), path.name, position, table, kind, kwargs, severity)


def _suite_faults(content: Any) -> Iterator[str]:
    if not isinstance(content, dict):
        yield "expected the keys name, meta and expectations"
        return
    for name in sorted(set(content) - SUITE_KEYS):
        yield f"unknown key {name}"
    if not isinstance(content.get("name"), str):
        yield "name: expected the name of the suite"
    if not isinstance(content.get("expectations"), list):
        yield "expectations: expected a list"
    if not _tables(content):
        yield "meta.tables: expected the tables that have to meet the suite, such as [omop.person]"


def _tables(content: Mapping[str, Any]) -> list[str]:
    meta = content.get("meta")
    tables = meta.get("tables") if isinstance(meta, dict) else None
    return [str(name) for name in tables] if isinstance(tables, list) else []


def _checked(entry: Any, place: str, faults: list[str]) -> tuple[str, Mapping[str, Any], Severity] | None:
    """Type, arguments and severity of an expectation, as Great Expectations understands them; None where it does not."""
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        faults.append(f"{place}: expected a type and kwargs")
        return None
    place = f"{place} ({entry['type']})"
    if _asks_for_parameter(entry.get("kwargs")):
        faults.append(f"{place}: $PARAMETER is not filled in here; write the value")
        return None
    gx = library()
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    try:
        configuration = ExpectationConfiguration(**{"kwargs": {}} | entry)
        checked = configuration.to_domain_obj()
    except gx.compatibility.pydantic.ValidationError as error:
        faults += [f"{place}: {_argument(fault['loc'])}{fault['msg']}" for fault in error.errors()]
        return None
    except (gx.exceptions.GreatExpectationsError, TypeError, ValueError) as error:
        faults.append(f"{place}: {error}")
        return None
    severity = Severity.ERROR if checked.severity == "critical" else Severity.WARN
    return entry["type"], checked.configuration.kwargs, severity


def _column_faults(table: TableName, columns: Mapping[str, str], kind: str, kwargs: Mapping[str, Any]) -> Iterator[str]:
    if unknown := sorted(set(columns_of(kind, kwargs)) - set(columns)):
        yield f"{table} has no column {', '.join(unknown)}"
        return
    bounds = [kwargs[name] for name in ("min_value", "max_value") if kwargs.get(name) is not None]
    if kind in ORDERED and not all(_is_comparable(columns[kwargs["column"]], bound) for bound in bounds):
        yield f"{kwargs['column']} of {table} is a {columns[kwargs['column']]}, which cannot be compared with these bounds"


def _is_comparable(column: str, bound: Any) -> bool:
    if column in ("date", "timestamp"):
        return isinstance(bound, date)
    return column not in ("string", "boolean") and isinstance(bound, int | float)


def _argument(location: tuple[Any, ...]) -> str:
    names = [str(part) for part in location if part != "__root__"]
    return f"{'.'.join(names)}: " if names else ""


def _asks_for_parameter(kwargs: Any) -> bool:
    return isinstance(kwargs, dict) and any(isinstance(value, dict) and "$PARAMETER" in value for value in kwargs.values())


def _twice(found: list[Expectation]) -> Iterator[str]:
    """Expectations that results could not tell apart."""
    seen: dict[tuple[TableName, str], Expectation] = {}
    for expectation in found:
        first = seen.setdefault((expectation.table, expectation.text), expectation)
        if first is not expectation:
            yield f"{expectation.place}: {expectation.table} has the same in {first.file}, expectation {first.position}"
