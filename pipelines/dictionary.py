"""The data dictionary of all zones and the picture of their graph, written from the declarations of the tables."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path

from pipelines.columns.keyed import Pads
from pipelines.contracts.column_notes import VOCABULARY_GRAINS
from pipelines.contracts.derived import published_tables
from pipelines.contracts.source import SourceContract
from pipelines.contracts.tables import Table, TableName
from pipelines.contracts.type_one import TypeOneCodes
from pipelines.contracts.zones import RESTRICTED_ZONES, Zone
from pipelines.curate.tables import CurateInputs, curate_tables, readable_table
from pipelines.governance.opt_out_lists import OptOutFiles
from pipelines.ingest.arrivals import NewLoad
from pipelines.ingest.landing import Delivery, File
from pipelines.ingest.load import bronze_tables, register_table
from pipelines.ingest.parse import Layout
from pipelines.ingest.profile import file_columns_table
from pipelines.mapping.plausibility import Plausibility
from pipelines.mapping.spec import Mapping as SourceMapping
from pipelines.omop.declared import MapInputs, MappedSource
from pipelines.omop.source import CdmSource
from pipelines.omop.tables import map_tables
from pipelines.quality.failing import failing_rows_table
from pipelines.quality.gates import GateReport
from pipelines.quality.release_figures import figures_of_run, figures_table
from pipelines.quality.tables import gate_tables, results_table
from pipelines.run_ledger import ledger_table

_DAY = date(2000, 1, 1)
_CDM_VERSION = "5.4"
_NOWHERE = Path()
_MOST_SHOWN = 8

_ZONES = {
    Zone.BRONZE: "Every value as it was delivered, append-only.",
    Zone.CURATION: "What curate decides on the way: the register of files, versions, linkage, opt-outs, dispositions.",
    Zone.QUARANTINE: "Which lines could not be used, and why.",
    Zone.LEDGER: "Counts of each run and results of the gates.",
    Zone.VOCABULARY: "Athena tables with local concepts; most are made by `nhs-omop vocab load`.",
    Zone.SILVER: "Typed rows without identifiers, one per record.",
    Zone.INTERMEDIATE: "What the map stage stores between silver and OMOP.",
    Zone.OMOP: f"The OMOP CDM {_CDM_VERSION} with hidden provenance columns (those that begin with `_`).",
}


def every_table(
    contracts: Mapping[str, SourceContract],
    mappings: Mapping[str, SourceMapping],
    type_one: TypeOneCodes,
    plausibility: Plausibility,
) -> list[Table]:
    """The declaration of every table there is once every entity of every source was delivered."""
    load = _whole_load(contracts)
    register = load.entries({}, {})
    curated = curate_tables(
        CurateInputs(
            contracts=contracts,
            register=tuple(register),
            pads=Pads({}),
            key_id="",
            opt_outs=OptOutFiles((), (), (), (), ()),
            type_one=type_one,
            production=False,
            excludes_unverifiable=True,
            excludes_confidential=True,
            sets_conflicts_aside=True,
        )
    )
    mapped = map_tables(
        MapInputs(
            sources=tuple(MappedSource(contract, mappings[source]) for source, contract in contracts.items()),
            delivered=frozenset(f"{file.source}_{file.entity}" for file in register),
            local_maps=(),
            source_priority=tuple(contracts),
            plausibility=plausibility,
            described_as=CdmSource("", "", "", "", "", _DAY, _DAY, "", _CDM_VERSION, "", {}, {}),
            cdm_version=_CDM_VERSION,
        )
    )
    of_load = [*bronze_tables(load, contracts), file_columns_table({}, ""), register_table(register, [load.load_id])]
    stored = [*of_load, *curated, *mapped]
    names, cdm = [table.name for table in stored], published_tables(_CDM_VERSION)
    checks = [*gate_tables(names, contracts, cdm, _DAY), figures_table(names, cdm, with_routes=True)]
    readable = readable_table(contracts, {})
    report = GateReport(())
    of_runs = [results_table(report, ""), figures_of_run(""), failing_rows_table(report, "", names, cdm, 0)]
    return [*stored, *checks, readable, ledger_table([], ""), *of_runs]


def published_grains(cdm_version: str, plausibility: Plausibility) -> dict[str, str]:
    """What one row is of every published table of a CDM version, by name."""
    described_as = CdmSource("", "", "", "", "", _DAY, _DAY, "", cdm_version, "", {}, {})
    without_sources = MapInputs((), frozenset(), (), (), plausibility, described_as, cdm_version=cdm_version)
    declared = {table.name.name: table.grain for table in map_tables(without_sources)}
    return {name: declared.get(name) or VOCABULARY_GRAINS[name] for name in published_tables(cdm_version)}


def _whole_load(contracts: Mapping[str, SourceContract]) -> NewLoad:
    """A delivery of every source with one file for each entity that can be delivered."""
    deliveries = []
    for source, contract in contracts.items():
        files = tuple(
            File(entity, _NOWHERE / f"{entity}.csv", f"{source}_{entity}", 0, "")
            for entity, spec in contract.entities.items()
            if spec.files
        )
        deliveries.append(Delivery(source, source, "", _NOWHERE, _DAY, "full", files, ""))
    layouts = {file.file_id: Layout(",", (), 0) for delivery in deliveries for file in delivery.files}
    return NewLoad("", tuple(deliveries), {}, layouts)


def dictionary_page(tables: Sequence[Table]) -> str:
    """The data dictionary: every table by zone, with its grain, what its rows belong to, columns, inputs and identity."""
    parts = [
        "# Data dictionary\n\nEvery stored table, as it is declared. Written by `make docs`; do not edit.\n"
        "[The graph](graph.md) shows what is made from what, [the glossary](glossary.md) explains the words.\n"
    ]
    for zone in Zone:
        of_zone = sorted((table for table in tables if table.name.zone is zone), key=lambda table: table.name)
        if of_zone:
            root = "restricted" if zone in RESTRICTED_ZONES else "de-identified"
            parts.append(f"## {zone}\n\n{_ZONES[zone]} Root: {root}.\n")
            parts += [_entry(table) for table in of_zone]
    return "\n".join(parts)


def _entry(table: Table) -> str:
    facts = [f"Rows belong to: {table.belongs_to}", f"may hold identity: {'yes' if table.may_hold_identity else 'no'}"]
    facts += [f"partitioned by `{', '.join(table.partition_by)}`"] if table.partition_by else []
    made_from = ", ".join(f"`{name}`" for name in _families(table.inputs)) or "parameters or delivered files"
    return (
        f"### {table.name}\n\n{table.grain[:1].upper()}{table.grain[1:]}.\n\n{'; '.join(facts)}.\n"
        f"Made from: {made_from}.\n\nColumns: {_columns(table.schema)}.\n"
    )


def _columns(schema: Mapping[str, str]) -> str:
    return ", ".join(f"`{name}` {kind}" for name, kind in schema.items())


def graph_page(tables: Sequence[Table], sources: Iterable[str]) -> str:
    """The graph as a Mermaid picture. Tables that exist once for each source, entity or level are drawn as one."""
    names = {table.name for table in tables} | {name for table in tables for name in table.inputs}
    family_of = {name: family(name, tuple(sources)) for name in names}
    edges = sorted({(family_of[source], family_of[table.name]) for table in tables for source in table.inputs})
    lines = ["flowchart LR"]
    for zone in Zone:
        members = sorted({name for table, name in family_of.items() if table.zone is zone})
        if members:
            lines.append(f"  subgraph {zone}")
            lines += [f'    {_node(name)}["{name.partition(".")[2]}"]' for name in members]
            lines.append("  end")
    lines += [f"  {_node(source)} --> {_node(target)}" for source, target in edges if source != target]
    picture = "\n".join(lines)
    return (
        "# Graph of the tables\n\nWhat is made from what. Written by `make docs`; do not edit. Tables that exist once for\n"
        "each source, entity or level are drawn as one; [the data dictionary](tables.md) has each of them.\n\n"
        f"```mermaid\n{picture}\n```\n"
    )


def family(name: TableName, sources: Sequence[str]) -> str:
    """The name of a table with source, entity and level replaced by what they are."""
    if name.zone in (Zone.BRONZE, Zone.SILVER):
        return f"{name.zone}.(source)_(entity)"
    for source in sorted(sources, key=len, reverse=True):
        shortened = re.sub(rf"_{source}(?=$|_)", "_(source)", name.name)
        if shortened != name.name:
            return f"{name.zone}.{re.sub('_[0-9]+$', '_(level)', shortened)}"
    return str(name)


def _families(names: Sequence[TableName]) -> list[str]:
    """The inputs of a table by their full names; of more than eight in one zone only the zone."""
    shown = []
    for zone in Zone:
        of_zone = [str(name) for name in names if name.zone is zone]
        shown += of_zone if len(of_zone) <= _MOST_SHOWN else [f"{zone} ({len(of_zone)} tables)"]
    return shown


def _node(name: str) -> str:
    return re.sub(r"\W", "_", name)
