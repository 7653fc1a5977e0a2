"""New deliveries into bronze, each file exactly once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.contracts.column_notes import bronze_notes
from pipelines.contracts.delivered_names import shown
from pipelines.contracts.deliveries import DeliveryLimits
from pipelines.contracts.source import LOAD, SourceContract
from pipelines.contracts.tables import BelongsTo, Inputs, Partitions, Table, TableName, entered
from pipelines.contracts.zones import Zone
from pipelines.ingest.arrivals import Arrivals, NewLoad, Place, recipe_of
from pipelines.ingest.comparing import compare_deliveries, periods_of
from pipelines.ingest.folders import SetAside, set_aside
from pipelines.ingest.landing import File
from pipelines.ingest.opening import CANNOT_BE_READ
from pipelines.ingest.parse import REFUSED, fault_of_refusal
from pipelines.ingest.profile import FILE_COLUMNS, file_columns_table, profile_files
from pipelines.ingest.register import REGISTER, REGISTER_SCHEMA, Count, Registered, in_contracts
from pipelines.ingest.rows import bronze_rows, bronze_schema
from pipelines.progress import ShowStage
from pipelines.runner import Runner, run_in_parallel
from pipelines.storage.documents import Document, Lost
from pipelines.storage.tables import TableStore

FILES_PER_TASK = 4

ENTERED = (TableName(Zone.CURATION, FILE_COLUMNS), TableName(Zone.CURATION, REGISTER))
"""Where the files of every load are entered."""


@dataclass(frozen=True)
class Ingested:
    """What a run took: the new deliveries and the data records in their files; and what it did not take."""

    deliveries: int
    rows: int
    set_aside: tuple[SetAside, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Allowed:
    """How far deliveries may differ from the past of their providers, and the ids of those that may differ further."""

    limits: DeliveryLimits
    accepted: frozenset[str]


class LoadUnderWay(Document):
    """The load that is being written, and the bronze tables that may hold rows of it."""

    LOST: ClassVar[Lost] = Lost("the next run removes the rows of every load that has not ended", stops=False)

    load_id: str
    tables: tuple[str, ...]


def load_path(restricted: Path) -> Path:
    """The document of the load that is being written."""
    return restricted / "load.json"


def bronze_tables(load: NewLoad, contracts: Mapping[str, SourceContract]) -> list[Table]:
    """The bronze tables that a load writes; of each only the partition of the load."""
    return [_bronze(load, contracts, place, files) for place, files in load.files.items()]


def _bronze(load: NewLoad, contracts: Mapping[str, SourceContract], place: Place, files: Sequence[tuple[str, File]]) -> Table:
    source, entity = place
    spec = contracts[source].entities[entity]

    def make(tables: Inputs) -> DataFrame:
        partitions = len(files) // FILES_PER_TASK + 1
        rows = bronze_rows(tables.session, files, load.layouts, spec, partitions)
        return rows.withColumn(LOAD, F.lit(load.load_id))

    return Table(
        name=TableName(Zone.BRONZE, f"{source}_{entity}"),
        grain=f"one row per delivered line: {spec.grain}",
        schema=bronze_schema(spec),
        belongs_to=BelongsTo.LOAD,
        make=make,
        parameters=repr((load.load_id, sorted(file.file_id for _, file in files))),
        may_hold_identity=True,
        partition_by=(LOAD,),
        replaces=Partitions(LOAD, (load.load_id,)),
        notes=bronze_notes(spec),
        never_null=frozenset({LOAD, "_file", "_line"}),
    )


def keep_bronze(runner: Runner, register: Sequence[Registered], contracts: Mapping[str, SourceContract]) -> None:
    """Give bronze the columns that its contracts have since it was written, and record what was written past the runner.

    No row has a value in a new column until one is delivered. Columns that a contract has no longer stay.
    """
    used = {(file.source, file.entity) for file in in_contracts(register, contracts)}

    def widen(place: Place) -> None:
        source, entity = place
        schema = bronze_schema(contracts[source].entities[entity])
        runner.store.paths.add_columns(runner.store.session, Zone.BRONZE, f"{source}_{entity}", schema)

    run_in_parallel(sorted(used), widen)
    held = {TableName(Zone.BRONZE, f"{file.source}_{file.entity}") for file in register}
    runner.follow([*sorted(held), TableName(Zone.CURATION, FILE_COLUMNS)])


def ingest(
    runner: Runner,
    found: Arrivals,
    contracts: Mapping[str, SourceContract],
    register: Sequence[Registered],
    allowed: Allowed,
    run_date: date,
    show_stage: ShowStage,
) -> Ingested:
    """Write the new deliveries into bronze as one load and enter their files in the register.

    A delivery that differs too much from what its provider sent before, whose files cannot be read to their end, or that has
    other records than are announced, is set aside: the load is begun again without it. Until its files are in the
    register, nothing of a load is part of the lakehouse.
    """
    under_way = load_path(runner.state_path.parent)
    loads = frozenset(file.load_id for file in register)
    while True:
        load = found.load(run_date, register)
        _remove_unfinished(runner.store, under_way, loads, but=load.load_id if load.deliveries else "")
        if not load.deliveries:
            return Ingested(0, 0, found.set_aside)
        profile = profile_files(runner.store.session, load, contracts)
        periods = periods_of(load, profile, register)
        faulty = differing_from_statements(load, {**_held(register), **profile.counts}, contracts)
        faulty = faulty or without_period(load, periods, contracts)
        if faulty:
            found = found.without(faulty)
            continue
        compared = compare_deliveries(runner.store.paths, load, profile, register, contracts, allowed.limits, allowed.accepted)
        if compared.set_aside:
            found = found.without(compared.set_aside)
            continue
        LoadUnderWay(load_id=load.load_id, tables=tuple(map("_".join, load.files))).write(under_way)
        counts, faulty = _written(runner, load, register, contracts, show_stage)
        if not faulty:
            entries = load.entries(counts, periods)
            runner.run([file_columns_table(profile.filled, load.load_id)])
            runner.run([register_table(entries, [load.load_id])])
            under_way.unlink()
            rows = sum(entry.rows for entry in entries)
            return Ingested(len(load.deliveries), rows, found.set_aside, tuple(compared.warnings))
        found = found.without(faulty)


def without_period(
    load: NewLoad, periods: Mapping[str, Mapping[str, int | None]], contracts: Mapping[str, SourceContract]
) -> list[SetAside]:
    """The deliveries by period of which no record says its period, so that it can be read: they would replace nothing."""
    faulty = []
    for delivery in load.deliveries:
        if delivery.mode == "period" and not any(periods.get(load.holder_of(file)) for file in delivery.files):
            contract = contracts[delivery.source]
            specs = [contract.entities[file.entity] for file in delivery.files]
            columns = {spec.columns[spec.period].header or spec.period for spec in specs if spec.period}
            said = f"{', '.join(sorted(columns))}, which says of which period it is"
            fault = f"mode period, but no record has a value that can be read in {said}"
            faulty.append(set_aside(delivery, [fault], recipe=recipe_of(contract)))
    return faulty


def _written(
    runner: Runner,
    load: NewLoad,
    register: Sequence[Registered],
    contracts: Mapping[str, SourceContract],
    show_stage: ShowStage,
) -> tuple[dict[str, Count], list[SetAside]]:
    """Write the bronze tables; the counts of each file, and the deliveries with a fault that only reading them shows."""
    tables = bronze_tables(load, contracts)
    with show_stage("ingest to bronze", len(tables)) as on_progress:
        runner.run(tables, on_progress)
    counts = _held(register) | _counts(runner.store, load)
    return counts, differing_from_statements(load, counts, contracts)


def _held(register: Sequence[Registered]) -> dict[str, Count]:
    """The records of every file that has been loaded."""
    return {file.file_id: Count(file.rows) for file in register}


def _remove_unfinished(store: TableStore, under_way: Path, loads: frozenset[str], but: str) -> None:
    """Remove the rows of a load that never reached the register, unless it is the one to be written now.

    A load that is among the `loads` of the register was stopped right after its last step: its rows stay. Where nothing can
    be read of the load, it may have been any, in any table.
    """
    if not under_way.exists():
        return
    unfinished = LoadUnderWay.read(under_way)
    if unfinished is not None and unfinished.load_id == but:
        return
    for table in unfinished.tables if unfinished else store.paths.names(Zone.BRONZE):
        left = store.partition_values(Zone.BRONZE, table, LOAD) - loads
        gone = left & {unfinished.load_id} if unfinished else left
        if gone:
            store.delete_partitions(Zone.BRONZE, table, Partitions(LOAD, tuple(sorted(gone))))
    under_way.unlink()


def _counts(store: TableStore, load: NewLoad) -> dict[str, Count]:
    """What bronze has of each file of the load, in one pass over all tables."""
    frames = [
        store.read(Zone.BRONZE, f"{source}_{entity}").where(F.col(LOAD) == load.load_id).select("_file", "_reason")
        for source, entity in load.files
    ]
    if not frames:
        return {}
    refused = F.when(F.col("_reason").startswith(REFUSED), F.col("_reason"))
    per_file = (
        union_all(frames)
        .groupBy("_file")
        .agg(F.count("*").alias("rows"), F.count("_reason").alias("malformed"), F.max(refused).alias("refused"))
    )
    return {row.pop("_file"): Count(**row) for row in per_file.toArrow().to_pylist()}


def differing_from_statements(
    load: NewLoad, counts: Mapping[str, Count], contracts: Mapping[str, SourceContract]
) -> list[SetAside]:
    """The deliveries of which a file cannot be read to its end or has other records than somebody states.

    A repeated file has the records of the first. What cannot be read today is read again by the next run. Raises StoreError
    where a store did not answer: then no delivery is at fault.
    """
    faulty = []
    for delivery in load.deliveries:
        faults = []
        for file in delivery.files:
            found = counts.get(load.holder_of(file), Count(0))
            if found.refused:
                faults.append(fault_of_refusal(found.refused).removeprefix(f"{delivery.name}/"))
            elif file.rows is not None and found.rows != file.rows:
                malformed = f" ({found.malformed} of them malformed)" if found.malformed else ""
                faults.append(f"{shown(file.path.name)}: {found.rows} records{malformed}, {delivery.said_by} says {file.rows}")
        if faults:
            may_pass = any(f": {CANNOT_BE_READ}: " in fault for fault in faults)
            faulty.append(set_aside(delivery, faults, recipe="" if may_pass else recipe_of(contracts[delivery.source])))
    return faulty


def register_table(entries: Sequence[Registered], load_ids: Sequence[str]) -> Table:
    """The register, of which the entries of some loads are replaced."""
    rows = [entry.record() for entry in entries]
    name, own = TableName(Zone.CURATION, REGISTER), Partitions("load_id", tuple(load_ids))
    return entered(name, "one row per delivered file that has been taken", REGISTER_SCHEMA, BelongsTo.LOAD, own, rows)
