"""Golden patients as written in YAML: read, completed with the defaults of their source, checked for unknown names.

Every value is read as text, so that a code `01` or an answer `No` is not converted.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipelines.contracts.cdm import CdmTable, delta_schema
from pipelines.contracts.derived import published_tables
from pipelines.contracts.source import SourceContract, load_contracts
from pipelines.mapping.spec import Mapping as SourceMapping
from pipelines.mapping.spec import load_mappings
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.synthetic.nhs_numbers import valid_numbers

GOLDEN = Path(__file__).parent
DEFAULTS = "defaults.yaml"
DELIVERED_ON = date(2026, 1, 5)
"""The day of every delivery, and the extract date of every source, unless a row states an earlier day."""

CDM_VERSION = "5.4"
CONVENTION = "convention: "
FIRST_NUMBER = 1000
"""Index of the first golden patient's number in the test range; earlier numbers are for opt-out lists."""

POLYMORPHIC = ("event_id", "fact_id_1", "fact_id_2")
"""Columns with the id of a row whose table another column names."""

BASE_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Reads every value as text; in C where PyYAML has that, which takes a tenth of the time."""

_PLACEHOLDER = re.compile(r"^\$([A-Za-z0-9_]+)$")

Values = Mapping[str, str]
Expected = Mapping[str, str | None]


@dataclass(frozen=True)
class Delivered:
    """One row as a provider sends it."""

    source: str
    entity: str
    provider: str
    day: date
    values: Values


@dataclass(frozen=True)
class Case:
    """One golden patient. `nhs_number` and ids that are or begin with `local_id` are unique to the patient."""

    source: str
    topic: str
    title: str
    rules: tuple[str, ...]
    nhs_number: str
    local_id: str
    rows: tuple[Delivered, ...]
    expect: Mapping[str, tuple[Expected, ...]]
    digest: str

    @property
    def name(self) -> str:
        """The name of the case in tests and messages."""
        return f"{self.source}/{self.topic}: {self.title}"

    @property
    def sources(self) -> frozenset[str]:
        """The sources of the delivered rows of the case."""
        return frozenset(row.source for row in self.rows)


@dataclass(frozen=True)
class _Defaults:
    provider: str
    always: tuple[str, ...]
    rows: Mapping[str, Values]


@cache
def golden_contracts() -> dict[str, SourceContract]:
    """The contracts of all sources."""
    return load_contracts(PACKAGED_MAPPINGS_DIR)


@cache
def golden_mappings() -> dict[str, SourceMapping]:
    """The mappings of all sources."""
    return load_mappings(PACKAGED_MAPPINGS_DIR, golden_contracts())


@cache
def golden_cases() -> tuple[Case, ...]:
    """Every case, in the order of the files."""
    written = [(path, patient) for path in _topics() for patient in _read(path)["patients"]]
    return tuple(_named(path, patient, number) for number, (path, patient) in enumerate(written))


@cache
def shared_rows() -> tuple[tuple[str, str, Values], ...]:
    """Source, entity and values of the reference rows (code tables, organisations, staff), each once."""
    found = {}
    for path in [*_topics(), *sorted(GOLDEN.glob(f"*/{DEFAULTS}"))]:
        for written, rows in _read(path).get("shared", {}).items():
            source, entity = _place(written, path.parent.name)
            for row in rows:
                values = dict(_defaults(source).rows.get(entity, {})) | row
                found[source, entity, json.dumps(values, sort_keys=True)] = values
    return tuple((source, entity, values) for (source, entity, _), values in found.items())


def golden_sources() -> tuple[str, ...]:
    """The sources that golden patients have rows in."""
    return tuple(sorted({source for case in golden_cases() for source in case.sources}))


def faults_of(case: Case) -> list[str]:
    """Every name in a case that is in no contract, mapping or CDM table."""
    known_rules = {rule.name for mapping in golden_mappings().values() for rule in mapping.rules}
    faults = [f"rule {rule}: no mapping has it" for rule in case.rules if rule not in known_rules]
    for row in case.rows:
        entity = golden_contracts()[row.source].entities.get(row.entity)
        columns = entity.columns if entity else {}
        faults += [f"{row.source}.{row.entity}: no column {name}" for name in row.values if name not in columns]
    for table, rows in case.expect.items():
        for name in dict.fromkeys(name for row in rows for name in row):
            faults += [f"{table}: {fault}" for fault in _column_faults(table, name)]
    if not case.expect:
        faults.append("expect: nothing is expected, give a table and its rows, or [] for none")
    return list(dict.fromkeys(faults))


def foreign_key(table: CdmTable, link: str) -> tuple[tuple[str, ...], str]:
    """The columns behind `link` (`care_site_id` for `care_site`) and the table that it points to.

    POLYMORPHIC columns may contain ids of any table: the link names the table.
    """
    columns = tuple(name for name in POLYMORPHIC if name in table.schema)
    if columns and f"{link}_id" not in table.schema:
        return columns, link
    references = table.column(f"{link}_id").references
    if references is None:
        raise LookupError(link)
    return (f"{link}_id",), references[0]


def _column_faults(table: str, name: str) -> Iterator[str]:
    tables = published_tables(CDM_VERSION)
    *links, column = name.split(".")
    for link in links:
        try:
            table = foreign_key(tables[table], link)[1]
        except (KeyError, LookupError, StopIteration):
            yield f"{name}: no link {link}"
            return
    if table not in tables or column not in delta_schema(tables[table]):
        yield f"no column {name}"


def _topics() -> list[Path]:
    return sorted(path for path in GOLDEN.glob("*/*.yaml") if path.name != DEFAULTS)


@cache
def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=BASE_LOADER)
    return content


@cache
def _defaults(source: str) -> _Defaults:
    path = GOLDEN / source / DEFAULTS
    content = _read(path) if path.is_file() else {}
    return _Defaults(content.get("provider", ""), tuple(content.get("always", ())), content.get("rows", {}))


def _place(written: str, source: str) -> tuple[str, str]:
    named_source, _, entity = written.rpartition(".")
    return named_source or source, entity


def _named(path: Path, written: Mapping[str, Any], number: int) -> Case:
    """The case; an error about its form names its file."""
    try:
        return _case(path, written, number)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.parent.name}/{path.name}: {written.get('title', 'without a title')}: {error!r}") from error


def _case(path: Path, written: Mapping[str, Any], number: int) -> Case:
    source, topic = path.parent.name, path.stem
    rules = written["rule"] if isinstance(written["rule"], list) else [written["rule"]]
    mine = {"nhs": str(valid_numbers()[FIRST_NUMBER + number]), "local": f"golden{number}"}
    given = {entity: [{}] for entity in _defaults(source).always} | written.get("given", {})
    rows = [delivered_row(_place(entity, source), row, mine) for entity, listed in given.items() for row in listed]
    return Case(
        source=source,
        topic=topic,
        title=written["title"],
        rules=tuple(rule for rule in rules if not rule.startswith(CONVENTION)),
        nhs_number=mine["nhs"],
        local_id=mine["local"],
        rows=tuple(rows),
        expect=expected_rows(written["expect"]),
        digest=digest_of(written),
    )


def expected_rows(written: Mapping[str, Sequence[Values]]) -> dict[str, tuple[Expected, ...]]:
    """The expected rows by table, `null` read as no value."""
    return {
        table: tuple({name: None if value == "null" else value for name, value in row.items()} for row in listed)
        for table, listed in written.items()
    }


def delivered_row(place: tuple[str, str], row: Values, mine: Mapping[str, str], delivered_on: date = DELIVERED_ON) -> Delivered:
    """A row of a source and entity as written in YAML, completed with the defaults; `mine` fills in the placeholders."""
    source, entity = place
    defaults = _defaults(source)
    stated = dict(defaults.rows.get(entity, {})) | dict(row)
    provider, day = stated.pop("_provider", defaults.provider), stated.pop("_delivered", delivered_on.isoformat())
    nested = [name for name, value in stated.items() if not isinstance(value, str)]
    if nested:
        raise ValueError(f"{source}.{entity}: {', '.join(nested)}: one text is expected; quote what holds a comma or a colon")
    values = {name: _filled(value, mine) for name, value in stated.items()}
    return Delivered(source, entity, provider, date.fromisoformat(day), values)


def _filled(value: str, mine: Mapping[str, str]) -> str:
    """A value with its placeholder filled in: `$nhs`, `$local`, or `$name` for an id of the case."""
    found = _PLACEHOLDER.match(value)
    return mine.get(found[1], f"{mine['local']}-{found[1]}") if found else value


def digest_of(content: Any) -> str:
    """A short digest of parsed YAML; comments and layout do not change it."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]
