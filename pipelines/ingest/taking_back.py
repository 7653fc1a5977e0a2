"""Withdrawn deliveries leave bronze and the register, as if they had never come.

A file whose content a later delivery repeats holds the rows of that delivery too: they stay, under the name of the first
file that repeats it, which is the file that would hold them had the withdrawn delivery never come.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.contracts.source import LOAD
from pipelines.contracts.tables import Partitions, TableName
from pipelines.contracts.zones import Zone
from pipelines.ingest.load import register_table
from pipelines.ingest.profile import FILE_COLUMNS
from pipelines.ingest.register import Registered
from pipelines.runner import Runner
from pipelines.storage.tables import TableStore


@dataclass(frozen=True)
class TakenBack:
    """A register without some deliveries.

    `removed` are its former entries of them. `holders` gives, for each file whose rows stay all the same, the file that
    holds them from now on.
    """

    register: tuple[Registered, ...]
    removed: tuple[Registered, ...]
    holders: Mapping[str, str]


def without_deliveries(register: Sequence[Registered], withdrawn: Collection[str]) -> TakenBack:
    """The register as it would be had the deliveries with these ids never come."""
    removed = tuple(file for file in register if file.delivery_id in withdrawn)
    lost = {file.file_id for file in removed}
    repeating: dict[str, list[Registered]] = defaultdict(list)
    for file in register:
        if file.same_as in lost and file.file_id not in lost:
            repeating[file.same_as].append(file)
    holders = {held: min(files, key=_by_arrival).file_id for held, files in repeating.items()}
    kept = tuple(
        replace(file, same_as=holders.get(file.same_as, file.same_as)) for file in register if file.file_id not in lost
    )
    return TakenBack(kept, removed, holders)


def _by_arrival(file: Registered) -> tuple[str, str, str]:
    """Sorts files by the day of their load and then by when their content counts."""
    return file.load_id[:8], file.effective_from, file.file_id


def take_back(runner: Runner, register: Sequence[Registered], withdrawn: Collection[str]) -> tuple[Registered, ...]:
    """Remove withdrawn deliveries from bronze and from the register; the register as it then is.

    The register changes last and in one commit, so that a run that was stopped in between does the same again.
    """
    taken_back = without_deliveries(register, withdrawn)
    if not taken_back.removed:
        return tuple(register)
    runner.drop(_left_without_rows(runner, taken_back))
    _rewrite_bronze(runner.store, taken_back)
    loads = {file.load_id for file in taken_back.removed}
    changed = set(taken_back.register) - set(register)
    loads |= {file.load_id for file in changed}
    entries = [file for file in taken_back.register if file.load_id in loads]
    runner.run([register_table(entries, sorted(loads))])
    return taken_back.register


def changed_bronze(taken_back: TakenBack) -> list[TableName]:
    """The bronze tables that `take_back` writes without the removed files, or removes where no others are left."""
    return [TableName(Zone.BRONZE, name) for name in sorted(_by_table(taken_back.removed))]


def _left_without_rows(runner: Runner, taken_back: TakenBack) -> list[TableName]:
    """The tables of entities of which no delivery remains, and what was made of their sources: it is made again or not."""
    remaining = {(file.source, file.entity) for file in taken_back.register}
    gone = {(file.source, file.entity) for file in taken_back.removed} - remaining
    entities = {f"{source}_{entity}" for source, entity in gone}
    sources = {source for source, _ in gone}
    return [
        name
        for name in runner.known_tables()
        if (name.zone in (Zone.BRONZE, Zone.SILVER) and name.name in entities) or _is_made_of(name, sources)
    ]


def _is_made_of(name: TableName, sources: Collection[str]) -> bool:
    """Whether a table of curate or map holds what was made of one of some sources."""
    of_source = re.compile("|".join(f"(^|_){source}(_|$)" for source in sorted(sources)) or "$^")
    return name.zone in (Zone.CURATION, Zone.INTERMEDIATE) and of_source.search(name.name) is not None


def _rewrite_bronze(store: TableStore, taken_back: TakenBack) -> None:
    """Write the partitions again that hold rows of removed files: without them, or in the load and under the file that holds
    them now, where the next withdrawal looks for them.
    """
    kept = {file.file_id: file for file in taken_back.register}
    holders = {held: kept[holder] for held, holder in taken_back.holders.items()}
    for name, files in _by_table(taken_back.removed).items():
        _rewrite(store, TableName(Zone.BRONZE, name), (LOAD, "_file"), files, holders)
    _rewrite(store, TableName(Zone.CURATION, FILE_COLUMNS), ("load_id", "file_id"), taken_back.removed, holders)


def _rewrite(
    store: TableStore,
    table: TableName,
    columns: tuple[str, str],
    files: Sequence[Registered],
    holders: Mapping[str, Registered],
) -> None:
    """The same of one table, with the columns in which it has loads and files."""
    load, file = columns
    loads = store.partition_values(*table, load) & {entry.load_id for entry in files}
    if not loads:
        return
    stored = store.read(*table)
    moved = [(entry.file_id, holder.file_id, holder.load_id) for entry in files if (holder := holders.get(entry.file_id))]
    part = Partitions(load, tuple(sorted(loads | {name for _, _, name in moved})))
    rows = stored.where(F.col(load).isin(*part.values))
    kept = rows.where(~F.col(file).isin(*[entry.file_id for entry in files]))
    if moved:
        places = store.session.createDataFrame(moved, "_former string, _holder string, _load_of_holder string")
        named = rows.join(F.broadcast(places), on=F.col(file) == F.col("_former"), how="inner")
        now = {file: F.col("_holder"), load: F.col("_load_of_holder")}
        kept = union_all([kept, named.withColumns(now).select(*stored.columns)])
    store.replace_partitions(kept, *table, dict(stored.dtypes), part)


def _by_table(files: Iterable[Registered]) -> dict[str, list[Registered]]:
    tables: dict[str, list[Registered]] = defaultdict(list)
    for file in files:
        tables[f"{file.source}_{file.entity}"].append(file)
    return tables
