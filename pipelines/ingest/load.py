"""New deliveries into bronze, each file exactly once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.contracts.source import SourceContract
from pipelines.contracts.tables import BelongsTo, Inputs, Partitions, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import DeliveryError
from pipelines.ingest.landing import Delivery, File, find_deliveries
from pipelines.ingest.parse import REFUSED, Layout
from pipelines.ingest.register import REGISTER, REGISTER_SCHEMA, Registered, registered
from pipelines.ingest.rows import bronze_rows, bronze_schema
from pipelines.progress import ShowStage
from pipelines.runner import Runner
from pipelines.storage.documents import Document
from pipelines.storage.tables import TableStore
from vocab.schemas import ddl_of

LOAD = "_load_id"
FILES_PER_TASK = 4

_SHOWN_FAULTS = 20

Place = tuple[str, str]
"""A source and one of its entities."""


@dataclass(frozen=True)
class Ingested:
    """What a run took: the new deliveries and the data records in their files."""

    deliveries: int
    rows: int


class LoadUnderWay(Document):
    """The load that is being written, and the bronze tables that may hold rows of it."""

    load_id: str
    tables: tuple[str, ...]


@dataclass(frozen=True)
class NewLoad:
    """The new deliveries of a run as one load: their files by source and entity, and which files repeat earlier content."""

    load_id: str
    deliveries: tuple[Delivery, ...]
    repeated: Mapping[str, str]
    layouts: Mapping[str, Layout]

    @property
    def files(self) -> dict[Place, list[tuple[str, File]]]:
        """The files to parse, each with its provider, by source and entity in alphabetical order."""
        by_place: dict[Place, list[tuple[str, File]]] = defaultdict(list)
        for delivery in self.deliveries:
            for file in delivery.files:
                if file.file_id not in self.repeated:
                    by_place[delivery.source, file.entity].append((delivery.provider, file))
        return dict(sorted(by_place.items()))

    def entries(self, malformed: Mapping[str, int]) -> list[Registered]:
        """The entries of the register, with the malformed records of each file."""
        return [
            registered(
                delivery,
                file,
                self.load_id,
                self.repeated.get(file.file_id),
                malformed.get(file.file_id, 0),
                self.layouts[file.file_id].undeclared,
            )
            for delivery in self.deliveries
            for file in delivery.files
        ]


def new_deliveries(
    landing: Path, contracts: Mapping[str, SourceContract], register: Sequence[Registered], newest_folder: str
) -> list[Delivery]:
    """The deliveries that are not in the register, up to a folder name (yyyymmdd).

    Raises DeliveryError where nothing was ever delivered.
    """
    taken = {file.delivery_id for file in register}
    found = find_deliveries(landing, contracts)
    new = [delivery for delivery in found if delivery.delivery_id not in taken and delivery.folder.name <= newest_folder]
    if not new and not register:
        raise DeliveryError(
            f"nothing has been delivered up to {newest_folder}: expected <source>/<provider>/<yyyymmdd>/manifest.json in "
            f"{landing} for {', '.join(contracts)}"
        )
    return new


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
    )


def ingest(runner: Runner, load: NewLoad, contracts: Mapping[str, SourceContract], show_stage: ShowStage) -> Ingested:
    """Write a load into bronze and enter its files in the register.

    Raises DeliveryError where a file could not be read to its end, was changed after its checksum was taken, or has another
    number of records than its manifest says; then nothing of the load becomes part of the lakehouse.
    """
    if not load.deliveries:
        return Ingested(0, 0)
    tables = bronze_tables(load, contracts)
    under_way = runner.state_path.with_name("load.json")
    _remove_unfinished(runner.store, LoadUnderWay.read(under_way), but=load.load_id)
    LoadUnderWay(load_id=load.load_id, tables=tuple(table.name.name for table in tables)).write(under_way)
    with show_stage("ingest to bronze", len(tables)) as on_progress:
        runner.run(tables, on_progress)
    counts = _counts(runner.store, load)
    faults = _faults_of_files(load, counts)
    if faults:
        _remove_unfinished(runner.store, LoadUnderWay.read(under_way))
        raise DeliveryError(_message(faults))
    entries = load.entries({file_id: count.malformed for file_id, count in counts.items()})
    runner.run([register_table(entries, load.load_id)])
    under_way.unlink()
    return Ingested(len(load.deliveries), sum(entry.rows for entry in entries))


def _remove_unfinished(store: TableStore, unfinished: LoadUnderWay | None, but: str = "") -> None:
    """Remove the rows of a load that never reached the register, unless it is the one to be written now."""
    if unfinished is None or unfinished.load_id == but:
        return
    part = Partitions(LOAD, (unfinished.load_id,))
    for table in unfinished.tables:
        if unfinished.load_id in store.partition_values(Zone.BRONZE, table, LOAD):
            store.delete_partitions(Zone.BRONZE, table, part)


class _Count(NamedTuple):
    """The records of a file in bronze, those that are malformed, and why it could not be read to its end."""

    rows: int
    malformed: int
    refused: str | None


def _counts(store: TableStore, load: NewLoad) -> dict[str, _Count]:
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
    return {row.pop("_file"): _Count(**row) for row in per_file.toArrow().to_pylist()}


def _faults_of_files(load: NewLoad, counts: Mapping[str, _Count]) -> list[str]:
    faults = []
    for delivery in load.deliveries:
        for file in delivery.files:
            count = counts.get(file.file_id, _Count(0, 0, None))
            if count.refused:
                faults.append(f"  {count.refused.removeprefix(REFUSED)}")
            elif file.file_id not in load.repeated and count.rows != file.rows:
                faults.append(f"  {delivery.name}/{file.path.name}: {count.rows} records, the manifest says {file.rows}")
    return faults


def _message(faults: Sequence[str]) -> str:
    shown = "\n".join(faults[:_SHOWN_FAULTS])
    return (
        f"{len(faults)} files differ from their manifest or cannot be read; their deliveries are rejected and nothing was "
        f"loaded:\n{shown}\n"
        "Ask the provider to send them again, or move the delivery folder out of the landing folder."
    )


def register_table(entries: Sequence[Registered], load_id: str) -> Table:
    """The register, of which a load replaces its own entries."""
    rows = [tuple(getattr(entry, name) for name in REGISTER_SCHEMA) for entry in entries]
    return Table(
        name=TableName(Zone.CURATION, REGISTER),
        grain="one row per delivered file that has been taken",
        schema=REGISTER_SCHEMA,
        belongs_to=BelongsTo.LOAD,
        make=lambda tables: tables.session.createDataFrame(rows, ddl_of(REGISTER_SCHEMA)),
        parameters=repr(rows),
        partition_by=("load_id",),
        replaces=Partitions("load_id", (load_id,)),
    )
