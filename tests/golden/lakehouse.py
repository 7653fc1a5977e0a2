"""All golden patients in one lakehouse: their deliveries, one run, and the rows that came of each of them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.derived import published_tables
from pipelines.contracts.type_one import load_type_one_codes
from pipelines.contracts.zones import Zone
from pipelines.curate.tables import LINK, curate_tables
from pipelines.declaring import curate_inputs, map_inputs
from pipelines.governance.opt_out_lists import OptOutPolicy, read_opt_outs
from pipelines.mapping.analytes import load_analytes
from pipelines.mapping.plausibility import load_plausibility
from pipelines.nightly import ingest_deliveries
from pipelines.omop.tables import map_tables
from pipelines.run_context import RunContext
from pipelines.run_inputs import RunInputs
from pipelines.settings import PACKAGED_MAPPINGS_DIR, storage_paths
from pipelines.storage.tables import TableStore
from pipelines.synthetic.nhs_numbers import valid_numbers
from pipelines.terminology.vocabulary import LoadedVocabulary
from tests.builders.landing import deliver, opt_out_lists
from tests.builders.runs import PADS, settings_in
from tests.golden.cases import (
    CDM_VERSION,
    DELIVERED_ON,
    FIRST_NUMBER,
    Case,
    Values,
    foreign_key,
    golden_cases,
    golden_contracts,
    golden_mappings,
    golden_sources,
    shared_rows,
)
from tests.golden.comparison import difference, is_pairing
from vocab.load import DEMO_DIR, load_vocabulary
from vocab.local_maps import read_local_maps

Row = dict[str, Any]

OPT_OUTS_PER_PERSON = 0.05

LEADING_FROM = {
    "episode_event": ("episode_id", ("episode",)),
    "fact_relationship": ("fact_id_1", ("measurement", "observation", "specimen")),
}
"""Tables without persons: the column that leads to a row of a person, and the tables that this row may be in."""


def golden_landing(folder: Path, sources: Iterable[str] = ()) -> None:
    """Write the deliveries of all golden patients (or of those of some sources) and opt-out lists that keep them all."""
    numbers = golden_deliveries(folder, sources)
    strangers = [str(number) for number in valid_numbers()[: int(FIRST_NUMBER * OPT_OUTS_PER_PERSON)]]
    opted_out = strangers[: max(3, int(len(numbers) * OPT_OUTS_PER_PERSON))]
    refused = (opted_out[1], "", "", "refused")
    opt_out_lists(folder, f"{DELIVERED_ON:%Y%m%d}", numbers, numbers + opted_out, opted_out[:1], [refused])


def golden_deliveries(folder: Path, sources: Iterable[str] = ()) -> list[str]:
    """Write the deliveries of all golden patients, or of those of some sources; gives their NHS numbers."""
    cases = _cases_of(sources)
    deliveries: dict[tuple[str, str, date], dict[str, list[Values]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        for row in case.rows:
            deliveries[row.source, row.provider, row.day][row.entity].append(row.values)
    for source, entity, values in shared_rows():
        for (of_source, _, day), tables in deliveries.items():
            if (of_source, day) == (source, DELIVERED_ON):
                tables[entity].append(values)
    for (source, provider, day), tables in sorted(deliveries.items()):
        deliver(folder, golden_contracts()[source], provider, f"{day:%Y%m%d}", tables)
    return [case.nhs_number for case in cases]


def _cases_of(sources: Iterable[str]) -> list[Case]:
    chosen = frozenset(sources) or frozenset(golden_sources())
    return [case for case in golden_cases() if case.sources <= chosen]


@dataclass(frozen=True)
class Published:
    """The OMOP tables of the run, read once, whose person is whose, the work list of codes and the ledger of the map stage."""

    tables: Mapping[str, list[Row]]
    people: Mapping[str, frozenset[int]]
    unmapped: list[Row]
    ledger: list[Row]

    def rows_of(self, case: Case, table: str) -> list[Row]:
        """The rows of the case's person in a table; of tables without persons, those that lead from a row of the person."""
        if table not in LEADING_FROM:
            people = self.people[case.name]
            return [row for row in self.tables[table] if row["person_id"] in people]
        column, others = LEADING_FROM[table]
        own = {row[f"{other}_id"] for other in others for row in self.rows_of(case, other)}
        return [row for row in self.tables[table] if row[column] in own]

    def value(self, table: str, row: Row, name: str) -> str | None:
        """A column of a row as text, or by way of links (`care_site.care_site_name`) of the row that it points to."""
        link, _, rest = name.partition(".")
        if not rest:
            return text_of(row[name])
        columns, other = foreign_key(published_tables(CDM_VERSION)[table], link)
        key, ids = f"{other}_id", {row[column] for column in columns}
        linked = next((found for found in self.tables[other] if found[key] in ids), None)
        return None if linked is None else self.value(other, linked, rest)

    def differences(self, case: Case) -> list[str]:
        """A text for every table in which the person's rows are not the expected ones."""
        found = []
        for table, expected in case.expect.items():
            columns = list(dict.fromkeys(name for row in expected for name in row))
            rows = self.rows_of(case, table)
            shown = columns or [name for name, value in (rows[0] if rows else {}).items() if value is not None]
            actual = [{name: self.value(table, row, name) for name in shown} for row in rows]
            if not is_pairing(expected, actual):
                found.append(difference(table, expected, actual))
        return found


def text_of(value: Any) -> str | None:
    """A published value as it is written in a golden patient."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(sep=" ")
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def build(session: SparkSession, folder: Path, sources: Iterable[str] = ()) -> Published:
    """Deliver, ingest, curate and map the golden patients of some sources, or of all."""
    sources = tuple(sources) or golden_sources()
    # Linked, not set aside: how attributes that differ are combined is what some golden patients are about. Kept, not left out:
    # a golden patient shows a rule, and needs no contact with care beside.
    overrides = (f"run.sources=[{', '.join(sources)}]", "person.on_conflict=link", "person.unobserved=keep")
    settings = settings_in(folder, *overrides)
    store = TableStore(session, storage_paths(settings))
    contracts = {source: golden_contracts()[source] for source in sources}
    golden_landing(folder / "landing", sources)

    def write(rows: DataFrame, name: str, schema: dict[str, str]) -> None:
        store.overwrite(rows, Zone.VOCABULARY, name, schema)

    summary = load_vocabulary(session, DEMO_DIR, write)
    type_one = load_type_one_codes(PACKAGED_MAPPINGS_DIR / "opt_outs" / "type1.yaml", golden_contracts()["gp"])
    inputs = RunInputs(
        contracts=contracts,
        mappings={source: golden_mappings()[source] for source in sources},
        plausibility=load_plausibility(PACKAGED_MAPPINGS_DIR),
        analytes=load_analytes(PACKAGED_MAPPINGS_DIR),
        rules_digest="",
        local_maps_digest="",
        local_maps=read_local_maps(PACKAGED_MAPPINGS_DIR / "concepts"),
        pads=PADS,
        key_fingerprint="",
        opt_outs=read_opt_outs(settings.storage.landing, OptOutPolicy(21, 0.0, 0.25, 0.2), DELIVERED_ON),
        type_one=type_one if "gp" in sources else None,
        vocabulary=LoadedVocabulary(release=summary.release, vocabularies={}, digest="demo"),
    )
    run = RunContext(DELIVERED_ON, settings, inputs, store)
    ingest_deliveries(run)
    register = run.register()
    run.runner.run([*curate_tables(curate_inputs(run, register)), *map_tables(map_inputs(run, register))])
    return published(lambda zone, name: store.read(zone, name).toArrow().to_pylist(), _cases_of(sources))


def published(read: Callable[[Zone, str], list[Row]], cases: Iterable[Case]) -> Published:
    """What came of some cases; `read` gives the rows of a table."""
    expected = {table for case in cases for table in case.expect}
    wanted = expected | {"care_site", "location", "provider", "visit_occurrence", "visit_detail", "person"}
    for table, (_, others) in LEADING_FROM.items():
        led_to = [name.split(".")[0] for case in cases for row in case.expect.get(table, ()) for name in row if "." in name]
        wanted |= {*others, *led_to}
    tables = {name: read(Zone.OMOP, name) for name in sorted(wanted)}
    links = read(Zone.CURATION, LINK)
    unmapped, ledger = (read(Zone.INTERMEDIATE, name) for name in ("unmapped_codes", "map_ledger"))
    return Published(tables, {case.name: frozenset(_people(case, links)) for case in cases}, unmapped, ledger)


def _people(case: Case, links: Iterable[Row]) -> Iterable[int]:
    for link in links:
        own_id = link["local_id"] == case.local_id or link["local_id"].startswith(f"{case.local_id}-")
        if own_id or link["nhs_number"] == case.nhs_number:
            yield link["person_id"]


def person_tables() -> dict[str, CdmTable]:
    """The tables whose rows belong to a person: the ones a golden patient may name."""
    tables = published_tables(CDM_VERSION)
    return {name: table for name, table in tables.items() if "person_id" in table.schema or name in LEADING_FROM}
