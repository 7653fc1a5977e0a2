"""Makes declared tables in the order of their inputs: independent ones at the same time, current ones not at all.

With every table the runner keeps what it was made from: the code, the parameters and the version of each input. A table of
which all three are as before is current. So a run that was stopped goes on with the rest, and a change makes again only
what reads it. `plan` says the same without making anything.

A table with a selection is made again only for what its log names since the table was last made, where the log accounts for
every changed input: it follows the input, or the input itself was made again only for what the log, or one before it, names.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import ClassVar, TypeVar

from pydantic import Field
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.frames import differences
from pipelines.contracts.tables import CHANGE, Affected, Extent, Log, Partitions, Selected, Table, TableName
from pipelines.contracts.zones import ZONE_OF_STAGE, Zone
from pipelines.engine_settings import STATEMENTS_AT_ONCE
from pipelines.errors import OmopPipelineError, SelectionError, UndeclaredInputError, perhaps_meant
from pipelines.progress import OnProgress, ignore_progress
from pipelines.storage.documents import Document, Lost, digest_of, digest_of_files
from pipelines.storage.tables import TableStore, typed

log = logging.getLogger(__name__)

Item = TypeVar("Item")

OnMade = Callable[[Table, int, float], None]
"""Called when a table was written, with its version and the seconds that this took."""

_STATE_LOCK = Lock()


def _ignore_made(_table: Table, _version: int, _seconds: float) -> None:
    """For runs that tell nobody what they make."""


class BuiltTable(Document):
    """What one stored table was made from, and the version that came of it.

    Every version after `whole_since` differs from it only in rows that the log of the table names. A record without it is of
    older code, so its table is made whole; so is one of which it is not known what it was made from (no `parameters`).
    """

    recipe: str
    parameters: str
    inputs: dict[str, int]
    version: int
    whole_since: int = 0

    def of_unknown(self, version: int) -> "BuiltTable":
        """The record of the table at a version of which it is not known what it was made from."""
        return self.model_copy(update={"parameters": "", "inputs": {}, "version": version, "whole_since": version})


class BuildState(Document):
    """What every stored table was made from, by `zone.name`."""

    LOST: ClassVar[Lost] = Lost("remove it: the next run makes every table again. A backup may be older than the tables")

    tables: dict[str, BuiltTable] = Field(default_factory=dict)


@cache
def code_digest() -> str:
    """The recipe of every table: SHA-256 over the code of the transforms and the lists that it reads."""
    return digest_of_files(code_files())


def code_files() -> dict[str, Path]:
    """The files that decide the rows of tables whatever is configured: code, and words, units and checks as data."""
    project = Path(__file__).resolve().parent.parent
    found = (path for package in ("pipelines", "vocab") for path in (project / package).rglob("*.*"))
    return {path.relative_to(project).as_posix(): path for path in found if path.suffix in (".py", ".yaml", ".csv")}


@dataclass(frozen=True)
class Step:
    """A table that a run makes or changes, and why."""

    name: TableName
    reason: str


@dataclass(frozen=True)
class _Inputs:
    """What a make function may read: the inputs of its declaration, narrowed to what the table is made for."""

    table: Table
    store: TableStore
    part: Affected = Extent.WHOLE

    @property
    def session(self) -> SparkSession:
        return self.store.session

    def read(self, zone: Zone, name: str) -> DataFrame:
        wanted = TableName(zone, name)
        if wanted not in self.table.inputs:
            raise UndeclaredInputError(f"{self.table.name} reads {wanted}, which its declaration does not name as an input")
        frame = self.store.read(zone, name)
        if isinstance(self.part, Selected) and (on := self.part.selection.narrowed_by(wanted)):
            return frame.join(F.broadcast(_named(self.store, self.part, on)), on=list(on), how="left_semi")
        if isinstance(self.part, Partitions) and wanted in self.table.parts_of:
            return frame.where(F.col(self.part.column).isin(*self.part.values))
        return frame


@dataclass(frozen=True)
class _Changes:
    """The changed inputs of one table, as they were and as they are."""

    table: Table
    store: TableStore
    names: frozenset[TableName]
    versions_before: Mapping[str, int]

    @property
    def session(self) -> SparkSession:
        return self.store.session

    def before(self, zone: Zone, name: str) -> DataFrame:
        return self.store.read(zone, name, version=self.versions_before[str(TableName(zone, name))])

    def now(self, zone: Zone, name: str) -> DataFrame:
        if TableName(zone, name) not in self.table.inputs:
            raise UndeclaredInputError(f"{self.table.name} compares {zone}.{name}, which is not among its inputs")
        return self.store.read(zone, name)

    def added(self, zone: Zone, name: str) -> DataFrame:
        since = self.versions_before[str(TableName(zone, name))]
        return self.store.read(zone, name).where(F.col(CHANGE) > since)


def _named(store: TableStore, part: Selected, columns: Sequence[str] = ()) -> DataFrame:
    """What a log names since one of its versions, each once: by the columns of the selection, or by others of the log."""
    entries = store.read(*part.selection.log).where(F.col(CHANGE) > part.since)
    return entries.select(*(columns or part.selection.on)).distinct()


@dataclass
class Runner:
    """Makes the tables of one graph. `state_path` is the document that remembers what was made from what.

    `seconds` is how long each table that was made took, `named` how many entries a log named for those that were made for
    what it names only. `on_made` hears of every table that was written.
    """

    store: TableStore
    state_path: Path
    workers: int = STATEMENTS_AT_ONCE
    seconds: dict[TableName, float] = field(default_factory=dict)
    named: dict[TableName, int] = field(default_factory=dict)
    on_made: OnMade = _ignore_made
    _counted: dict[tuple[TableName, int, int], int] = field(default_factory=dict)

    def plan(self, tables: Iterable[Table], *, full: bool = False, first: Iterable[Step] = ()) -> list[Step]:
        """The tables that a run would make at most, in order, each with its reason; nothing is made.

        A table may turn out to be equal to what is stored; then what reads it is not made again. `first` are those that the
        run changes before it makes any.
        """
        graph = _graph(tables)
        state, versions = self._state(), dict[TableName, int | None]()
        stale = {step.name: step.reason for step in first}
        for table in _ordered(graph):
            changed = next((str(name) for name in table.inputs if name in stale), None)
            reason = f"{changed} is made again" if changed else self._reason(table, graph, state, versions, full=full)
            if reason:
                stale.setdefault(table.name, reason)
        return [Step(name, reason) for name, reason in stale.items()]

    def run(self, tables: Iterable[Table], on_progress: OnProgress = ignore_progress, *, full: bool = False) -> list[TableName]:
        """Make every table that is not current, each after its inputs; gives those that were made.

        `on_progress` hears of every table, made or current. The first error stops what has not begun and is raised once
        everything under way has ended.
        """
        graph = _graph(tables)
        state = self._state()
        known: dict[TableName, int | None] = {}
        descendants = _descendants(graph)
        sorter = TopologicalSorter({name: [i for i in table.inputs if i in graph] for name, table in graph.items()})
        sorter.prepare()
        waiting: list[TableName] = []
        running: dict[Future[int | None], TableName] = {}
        made: list[TableName] = []
        failure: BaseException | None = None
        with ThreadPoolExecutor(self.workers) as pool:
            while sorter.is_active():
                waiting = sorted([*waiting, *sorter.get_ready()], key=lambda name: (-descendants[name], name))
                while waiting and len(running) < self.workers and failure is None:
                    name = waiting.pop(0)
                    running[pool.submit(self._bring_up_to_date, graph, name, state, known, full)] = name
                if not running:
                    break
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    name = running.pop(future)
                    error = future.exception()
                    if error is not None:
                        failure = failure or error
                        continue
                    version = future.result()
                    if version is not None:
                        made.append(name)
                    sorter.done(name)
                    on_progress(str(name))
        if failure is not None:
            raise failure
        return made

    def drop(self, names: Iterable[TableName]) -> None:
        """Remove tables that nothing needs any more; what read them is made again."""
        state = self._state()
        for name in names:
            self.store.drop(*name)
            self._forget(name, state)

    def follow(self, names: Iterable[TableName]) -> None:
        """Record the newest version of tables that may have been written past the runner: what read them is made again.

        What those that were are made from is no longer known, so that none counts as made: a load that was taken out of bronze
        may come again under its former name.
        """
        state, versions = self._state(), dict[TableName, int | None]()
        run_in_parallel(names, lambda name: versions.update({name: self.store.version(*name)}))
        moved = {
            str(name): built.of_unknown(version)
            for name, version in versions.items()
            if version is not None and (built := state.tables.get(str(name))) and built.version != version
        }
        if moved:
            BuildState(tables=state.tables | moved).write(self.state_path)

    def known_tables(self) -> list[TableName]:
        """Every table that any run has made and that was not removed."""
        return [TableName(Zone(zone), table) for zone, _, table in (name.partition(".") for name in self._state().tables)]

    def versions(self, tables: Iterable[Table]) -> dict[TableName, int]:
        """The versions that the last run of some tables wrote or found current, and those of the inputs that it read."""
        state = self._state()
        built = {table.name: state.tables[str(table.name)] for table in tables if str(table.name) in state.tables}
        read = {TableName.of(name): version for record in built.values() for name, version in record.inputs.items()}
        return read | {name: record.version for name, record in built.items()}

    def _bring_up_to_date(
        self,
        graph: Mapping[TableName, Table],
        name: TableName,
        state: BuildState,
        known: dict[TableName, int | None],
        full: bool,
    ) -> int | None:
        """Make one table unless it is current; gives its new version, or None where nothing was written."""
        begun = perf_counter()
        table = graph[name]
        if not self._reason(table, graph, state, known, full=full):
            return None
        inputs = {i: self._version(i, graph, state, known) for i in table.inputs}
        missing = [str(i) for i, version in inputs.items() if version is None]
        if missing:
            raise OmopPipelineError(f"{name} needs {', '.join(missing)}, which is not there; has that stage been run?")
        versions = {i: version for i, version in inputs.items() if version is not None}
        before = self._stored(name, known)
        if before is None or self._is_older_copy(name, before, state):
            self._forget(name, state)
        part = self._part(table, graph, state, versions, known, full=full)
        if table.log is not None:
            version, whole_since = self._make_log(table, table.log, graph, state, versions, part)
        else:
            version = self._make(table, part)
            whole_since = self._whole_since(table, part, state, version, before)
        known[name] = version
        record = BuiltTable(
            recipe=code_digest(),
            parameters=_parameters_digest(table),
            inputs={str(i): v for i, v in versions.items()},
            version=version,
            whole_since=whole_since,
        )
        with _STATE_LOCK:
            state.tables[str(name)] = record
            state.write(self.state_path)
        self.seconds[name] = perf_counter() - begun
        if version == before:
            return None
        self.on_made(table, version, self.seconds[name])
        return version

    def _is_older_copy(self, name: TableName, stored: int, state: BuildState) -> bool:
        """Whether a table has fewer versions than were made of it, as after a restore."""
        built = state.tables.get(str(name))
        if built is None or stored >= built.version:
            return False
        log.warning(
            "%s is at version %d and %d was made: an older copy was put back; it is made again, with what read it",
            name,
            stored,
            built.version,
        )
        return True

    def _forget(self, name: TableName, state: BuildState) -> None:
        """Forget a table that is gone, or is an older copy, and what was made of it: the numbers of its versions come again."""
        with _STATE_LOCK:
            readers = {other: built for other, built in state.tables.items() if str(name) in built.inputs}
            state.tables.update({other: built.of_unknown(built.version) for other, built in readers.items()})
            if state.tables.pop(str(name), None) or readers:
                state.write(self.state_path)

    def _make(self, table: Table, part: Affected) -> int:
        """Write what has to be written of a table; gives the version that then is the newest."""
        zone, name = table.name
        stored = self.store.version(zone, name)
        if part is Extent.NOTHING and stored is not None:
            return stored
        frame = table.make(_Inputs(table, self.store, part))
        if isinstance(part, Partitions):
            return self.store.write(frame, table, part)
        if isinstance(part, Selected):
            if table.keeps_equal and stored is not None and self._is_kept(frame, table, part):
                return stored
            return self.store.replace_rows(frame, table, _named(self.store, part), part.selection.on)
        if table.keeps_equal and stored is not None and is_equal(self.store.read(zone, name), frame, table.schema):
            return stored
        return self.store.write(frame, table)

    def _is_kept(self, frame: DataFrame, table: Table, part: Selected) -> bool:
        """Whether the rows that a table would have for what a log names are those that it has."""
        named, on = _named(self.store, part), list(part.selection.on)
        return is_equal(self.store.read(*table.name).join(F.broadcast(named), on=on, how="left_semi"), frame, table.schema)

    def _make_log(
        self,
        table: Table,
        log: Log,
        graph: Mapping[TableName, Table],
        state: BuildState,
        versions: Mapping[TableName, int],
        part: Affected,
    ) -> tuple[int, int]:
        """Enter what has changed into a log; its version, and that from which on it names everything that changed."""
        built = state.tables.get(str(table.name))
        if part is Extent.WHOLE or built is None or not _can_follow(log, graph, state, built):
            version = self._make(table, Extent.WHOLE)
            return version, version
        changed = frozenset(i for i in log.follows if built.inputs[str(i)] != versions[i])
        if not changed:
            return built.version, built.whole_since
        change = built.version + 1
        entries = log.named(_Changes(table, self.store, changed, built.inputs)).withColumn(CHANGE, F.lit(change))
        version = self.store.write(entries, table, Partitions(CHANGE, (change,)))
        named = self.store.read(*table.name).where(F.col(CHANGE) == change).select(*log.by).distinct().count()
        if named > log.most * self.store.read(*log.of).count():
            _log_too_many(table.name, log)
            version = self._make(table, Extent.WHOLE)
            return version, version
        return version, built.whole_since

    def _whole_since(self, table: Table, part: Affected, state: BuildState, version: int, before: int | None) -> int:
        """The version of a table from which on its log names everything in which the table has changed."""
        built = state.tables.get(str(table.name))
        if built is None or part is Extent.WHOLE:
            return built.whole_since if built and version == before else version
        is_named = table.selection is not None and _names_all(table.selection.log, state, built)
        return built.whole_since if is_named or version == before else version

    def _part(
        self,
        table: Table,
        graph: Mapping[TableName, Table],
        state: BuildState,
        versions: Mapping[TableName, int],
        known: dict[TableName, int | None],
        *,
        full: bool,
    ) -> Affected:
        """How much of a table has to be made again."""
        if table.replaces is not None:
            return table.replaces
        built = state.tables.get(str(table.name))
        if full or built is None or not self._differs_in_inputs_only(table, built, known):
            return Extent.WHOLE
        if table.log is not None:
            return Extent.NOTHING
        changed = frozenset(i for i, version in versions.items() if built.inputs.get(str(i)) != version)
        if table.affected is not None:
            logs = {table.selection.log} if table.selection else set()
            affected = table.affected(_Changes(table, self.store, changed - logs, built.inputs))
            if affected is not Extent.WHOLE:
                return affected
        return self._selected(table, graph, state, built, changed)

    def _selected(
        self,
        table: Table,
        graph: Mapping[TableName, Table],
        state: BuildState,
        built: BuiltTable,
        changed: frozenset[TableName],
    ) -> Affected:
        """What the log of a table names since it was last made; the whole where the log does not account for every change."""
        selection = table.selection
        if selection is None or selection.log not in graph:
            return Extent.WHOLE
        logs, followed = _accounted(selection.log, graph)
        if changed <= logs:  # nothing that this table reads
            return Extent.NOTHING
        if not _names_all(selection.log, state, built):
            return Extent.WHOLE
        for name in changed - logs - followed:
            own = graph[name].selection if name in graph else None
            if own is None or own.log not in logs or not _names_all(name, state, built):
                return Extent.WHOLE
        part = Selected(selection, built.inputs[str(selection.log)])
        named = self._named_since(part, state)
        if not named:
            return Extent.NOTHING
        self.named[table.name] = named
        return part

    def _named_since(self, part: Selected, state: BuildState) -> int:
        """How much a log names since one of its versions: counted once for all tables that were made at that version."""
        log = part.selection.log, part.since, state.tables[str(part.selection.log)].version
        with _STATE_LOCK:
            if log not in self._counted:
                self._counted[log] = _named(self.store, part).count()
            return self._counted[log]

    def _differs_in_inputs_only(self, table: Table, built: BuiltTable | None, known: dict[TableName, int | None]) -> bool:
        return (
            built is not None
            and built.recipe == code_digest()
            and built.parameters == _parameters_digest(table)
            and set(built.inputs) == {str(i) for i in table.inputs}
            and built.version == self._stored(table.name, known)
        )

    def _reason(
        self,
        table: Table,
        graph: Mapping[TableName, Table],
        state: BuildState,
        known: dict[TableName, int | None],
        *,
        full: bool,
    ) -> str:
        """Why a table is not current; empty where it is."""
        built = state.tables.get(str(table.name))
        if full:
            return "everything is made again"
        if built is None:
            return "it was never made"
        if built.version != self._stored(table.name, known):
            return "it was changed or not finished"
        if not built.parameters:
            return "what it was made from is gone or was replaced"
        if built.recipe != code_digest():
            return "the code has changed"
        if not self._differs_in_inputs_only(table, built, known):
            return "its parameters have changed"
        for name in table.inputs:
            if built.inputs[str(name)] != self._version(name, graph, state, known):
                return f"{name} has changed"
        return ""

    def _version(
        self, name: TableName, graph: Mapping[TableName, Table], state: BuildState, known: dict[TableName, int | None]
    ) -> int | None:
        built = state.tables.get(str(name))
        return built.version if name in graph and built is not None else self._stored(name, known)

    def _stored(self, name: TableName, known: dict[TableName, int | None]) -> int | None:
        if name not in known:
            known[name] = self.store.version(*name)
        return known[name]

    def _state(self) -> BuildState:
        stored = BuildState.read(self.state_path)
        return BuildState(tables=dict(stored.tables)) if stored else BuildState(tables={})


def _names_all(name: TableName, state: BuildState, built: BuiltTable) -> bool:
    """Whether an input has changed, since a table was made of it, only in what a log names; of a log whether it names all."""
    stored = state.tables.get(str(name))
    return stored is not None and stored.whole_since <= built.inputs.get(str(name), -1)


def _log_too_many(name: TableName, of: Log) -> None:
    """Say that a run does not go by what a log names, and why."""
    log.info("%s: more than %.0f%% of %s have changed; what is made from it is made whole", name, of.most * 100, of.of)


def _can_follow(log: Log, graph: Mapping[TableName, Table], state: BuildState, built: BuiltTable) -> bool:
    """Whether a log can name everything that has changed since it was made: what it follows was not begun anew meanwhile."""
    by_log = [name for name in log.follows if name in graph and (graph[name].log or graph[name].selection)]
    return all(_names_all(name, state, built) for name in by_log)


def _accounted(log: TableName, graph: Mapping[TableName, Table]) -> tuple[set[TableName], set[TableName]]:
    """A log and those that it follows, and everything else that they follow."""
    logs, followed, waiting = set[TableName](), set[TableName](), [log]
    while waiting:
        name = waiting.pop()
        declared = graph[name].log if name in graph else None
        if declared is None:
            followed.add(name)
        elif name not in logs:
            logs.add(name)
            waiting += declared.follows
    return logs, followed


def _parameters_digest(table: Table) -> str:
    """Everything but code and inputs that decides the rows of a table."""
    return digest_of(table.parameters, repr(list(table.schema.items())), repr(table.partition_by))


def is_equal(stored: DataFrame, made: DataFrame, schema: Mapping[str, str]) -> bool:
    """Whether two frames hold the same rows of the same types, each as often."""
    new = typed(made, schema)
    if _types(stored) != _types(new):
        return False
    return differences(typed(stored, schema), new, list(schema)).isEmpty()


def _types(frame: DataFrame) -> list[tuple[str, str]]:
    return [(name.lower(), kind) for name, kind in frame.dtypes]


def selected(tables: Sequence[Table], wanted: Iterable[str]) -> list[Table]:
    """The tables that some selectors name, with everything they need.

    A selector is a zone (`silver`), a stage (`curate`), a table (`omop.person`) or a name in any zone (`person`). Raises
    SelectionError for one that names nothing.
    """
    graph = _graph(tables)
    chosen: set[TableName] = set()
    for selector in wanted:
        sought = ZONE_OF_STAGE.get(selector, selector)
        found = {name for name in graph if sought in (name.zone.value, str(name), name.name)}
        if not found:
            zones = sorted({Zone.BRONZE.value, *(name.zone.value for name in graph)})
            names = [*sorted({name.name for name in graph}), *zones, *ZONE_OF_STAGE]
            raise SelectionError(
                f"--select {selector}: no table has this name{perhaps_meant(selector.rpartition('.')[2], names)}"
                f"; give a table (omop.person), a zone ({', '.join(zones)}) or a stage ({', '.join(ZONE_OF_STAGE)})"
            )
        chosen |= found
    needed = set[TableName]()
    waiting = list(chosen)
    while waiting:
        name = waiting.pop()
        if name not in needed and name in graph:
            needed.add(name)
            waiting += graph[name].inputs
    return [table for name, table in graph.items() if name in needed]


def run_in_parallel(items: Iterable[Item], work: Callable[[Item], None]) -> None:
    """Do the work for every item, some at a time; once all have ended the first error is raised, if there was one.

    An interrupt ends it once what is under way has ended.
    """
    with ThreadPoolExecutor(STATEMENTS_AT_ONCE) as pool:
        done = [pool.submit(work, item) for item in items]
        try:
            wait(done)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    for future in done:
        future.result()


def _graph(tables: Iterable[Table]) -> dict[TableName, Table]:
    graph: dict[TableName, Table] = {}
    for table in tables:
        if table.name in graph:
            raise UndeclaredInputError(f"{table.name} is declared twice")
        graph[table.name] = table
    return graph


def _ordered(graph: Mapping[TableName, Table]) -> list[Table]:
    sorter = TopologicalSorter({name: [i for i in table.inputs if i in graph] for name, table in graph.items()})
    try:
        return [graph[name] for name in sorter.static_order()]
    except CycleError as error:
        names = ", ".join(map(str, error.args[1]))
        raise UndeclaredInputError(f"tables that need each other: {names}") from error


def _descendants(graph: Mapping[TableName, Table]) -> dict[TableName, int]:
    """How long the longest chain of tables is that waits for each table: those with the longest are made first."""
    longest = dict.fromkeys(graph, 0)
    for table in reversed(_ordered(graph)):
        for name in table.inputs:
            if name in graph:
                longest[name] = max(longest[name], longest[table.name] + 1)
    return longest
