"""Step one: new deliveries into bronze, each file exactly once."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import functions as F

from jobs.steps.context import REGISTER, RunContext
from jobs.steps.parallel import each
from pipelines.columns.frames import union_all
from pipelines.contracts.zones import Zone
from pipelines.errors import DeliveryError
from pipelines.ingest.landing import Delivery, File, find_deliveries, verify
from pipelines.ingest.parse import Layout
from pipelines.ingest.register import REGISTER_SCHEMA, Registered, load_id_of, registered, repeats
from pipelines.ingest.rows import bronze_rows, bronze_schema

LOAD = "_load_id"
FILES_PER_TASK = 4


@dataclass(frozen=True)
class Ingested:
    """What a run took: the new deliveries and the data records in their files."""

    deliveries: int
    rows: int


def ingest(run: RunContext) -> Ingested:
    """Check and load every delivery that is not in the register.

    Raises DeliveryError before anything is loaded where a delivery has faults, and after parsing where the records of a
    file differ from its manifest; in both cases nothing of the load becomes part of the lakehouse.
    """
    register = run.register()
    _drop_unregistered(run, {one.load_id for one in register})
    taken = {one.delivery_id for one in register}
    limit = f"{run.run_date:%Y%m%d}"
    found = find_deliveries(run.settings.storage.landing, run.contracts)
    new = [one for one in found if one.delivery_id not in taken and one.folder.name <= limit]
    if not new and not register:
        raise DeliveryError(
            f"nothing has been delivered up to {run.run_date}: expected <source>/<provider>/<yyyymmdd>/manifest.json in "
            f"{run.settings.storage.landing} for {', '.join(run.contracts)}"
        )
    if not new:
        return Ingested(0, 0)
    layouts = verify(new, run.contracts, {source: mapping.columns_read for source, mapping in run.mappings.items()})
    load_id = load_id_of(run.run_date, new)
    same = repeats(new, register)
    by_table = _files_by_table(new, same)
    with run.console.stage("ingest to bronze", total=len(by_table)) as stage:

        def load(place: tuple[str, str]) -> None:
            _load(run, *place, by_table[place], layouts, load_id)
            stage.advance(".".join(place))

        each(by_table, load)
    counts = _counts(run, by_table, load_id)
    _compare_with_manifests(run, new, same, counts, by_table, load_id)
    entries = [
        registered(
            delivery,
            file,
            load_id,
            same.get(file.file_id),
            counts.get(file.file_id, (0, 0))[1],
            layouts[file.file_id].undeclared,
        )
        for delivery in new
        for file in delivery.files
    ]
    _register(run, entries, load_id)
    return Ingested(len(new), sum(entry.rows for entry in entries))


def _files_by_table(new: Iterable[Delivery], same: Mapping[str, str]) -> dict[tuple[str, str], list[tuple[str, File]]]:
    by_table: dict[tuple[str, str], list[tuple[str, File]]] = defaultdict(list)
    for delivery in new:
        for file in delivery.files:
            if file.file_id not in same:
                by_table[delivery.source, file.entity].append((delivery.provider, file))
    return dict(sorted(by_table.items()))


def _load(
    run: RunContext, source: str, entity: str, files: list[tuple[str, File]], layouts: Mapping[str, Layout], load_id: str
) -> None:
    spec = run.contracts[source].entities[entity]
    rows = bronze_rows(run.store.session, files, layouts, spec, partitions=len(files) // FILES_PER_TASK + 1)
    run.store.replace_slice(rows, Zone.BRONZE, f"{source}_{entity}", bronze_schema(spec), LOAD, load_id)


def _counts(run: RunContext, by_table: Iterable[tuple[str, str]], load_id: str) -> dict[str, tuple[int, int]]:
    """Records and malformed records in bronze of each file of the load, in one pass over all tables."""
    frames = [
        run.store.read(Zone.BRONZE, f"{source}_{entity}").where(F.col(LOAD) == load_id).select("_file", "_reason")
        for source, entity in by_table
    ]
    if not frames:
        return {}
    rows = union_all(frames)
    per_file = rows.groupBy("_file").agg(F.count("*").alias("rows"), F.count("_reason").alias("malformed"))
    return {one["_file"]: (one["rows"], one["malformed"]) for one in per_file.toArrow().to_pylist()}


def _compare_with_manifests(
    run: RunContext,
    new: Iterable[Delivery],
    same: Mapping[str, str],
    counts: Mapping[str, tuple[int, int]],
    by_table: Iterable[tuple[str, str]],
    load_id: str,
) -> None:
    faults = [
        f"  {delivery.name}/{file.path.name}: {counts.get(file.file_id, (0, 0))[0]} records, the manifest says {file.rows}"
        for delivery in new
        for file in delivery.files
        if file.file_id not in same and counts.get(file.file_id, (0, 0))[0] != file.rows
    ]
    if faults:
        for source, entity in by_table:
            run.store.delete_slice(Zone.BRONZE, f"{source}_{entity}", LOAD, load_id)
        shown = "\n".join(faults[:20])
        raise DeliveryError(
            f"{len(faults)} files differ from their manifest; their deliveries are rejected and nothing was loaded:\n{shown}\n"
            "Ask the provider to send them again, or move the delivery folder out of the landing folder."
        )


def _register(run: RunContext, entries: list[Registered], load_id: str) -> None:
    rows = [tuple(getattr(entry, name) for name in REGISTER_SCHEMA) for entry in entries]
    schema = ", ".join(f"{name} {kind}" for name, kind in REGISTER_SCHEMA.items())
    frame = run.store.session.createDataFrame(rows, schema)
    run.store.replace_slice(frame, Zone.CURATION, REGISTER, REGISTER_SCHEMA, "load_id", load_id)


def _drop_unregistered(run: RunContext, load_ids: set[str]) -> None:
    """Remove what a load left behind that never reached the register."""
    for source, contract in run.contracts.items():
        for entity in contract.entities:
            table = f"{source}_{entity}"
            if run.store.exists(Zone.BRONZE, table):
                folders = Path(run.store.path(Zone.BRONZE, table)).glob(f"{LOAD}=*")
                for load_id in sorted({folder.name.partition("=")[2] for folder in folders} - load_ids):
                    run.store.delete_slice(Zone.BRONZE, table, LOAD, load_id)
