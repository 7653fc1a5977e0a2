"""Makes the tables of a lakehouse again beside it, through the same declarations, and compares them row for row.

What was delivered, the register and the vocabulary are read in the lake, at the versions that it has at the start; everything
right of that is made in a scratch folder. Nothing in the lake is written, and no lock is held. With a sample, curate still
decides about everybody, because whom a row is about depends on everybody's rows; from silver on tables are made for the people
of the sample only. Tables of codes and of the whole, which need everybody's rows, are then read in the lake.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.frames import BEFORE, NOW, counted_in_both, empty_rows
from pipelines.contracts.derived import published_tables
from pipelines.contracts.ledger import LEDGER_TABLE, PERSON
from pipelines.contracts.tables import BelongsTo, Inputs, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.curate.tables import READABLE
from pipelines.declaring import declared_tables
from pipelines.engine import open_session
from pipelines.errors import NotCurrentError, RunUnderWayError, counted
from pipelines.ingest.profile import FILE_COLUMNS
from pipelines.ingest.register import REGISTER, Registered, in_contracts
from pipelines.progress import ShowStage, no_stages
from pipelines.quality.gates import FAILING_ROWS, GATE_TABLE
from pipelines.quality.release_figures import FIGURES_OF_RUNS
from pipelines.release.published import runs_of
from pipelines.run_context import RunContext, read_register, reads_little, rebuilds_folder
from pipelines.run_inputs import build_state_path, read_run_inputs
from pipelines.run_ledger import readable_of_flagged
from pipelines.run_lock import holder_of
from pipelines.runner import BuildState, Runner, run_in_parallel
from pipelines.scratch import scratch_folder
from pipelines.settings import Settings
from pipelines.storage.beside import StoreBeside
from pipelines.storage.paths import StoragePaths
from pipelines.storage.rights import private_files
from pipelines.storage.tables import TableStore
from pipelines.terminology.vocabulary import store_of

DELIVERED: Final = "what was delivered, from which everything is made again"
OF_RUNS: Final = "rows of other runs, which cannot be made again"
LEFT: Final = "of no delivery, setting or mapping any more; nothing reads it"
ONLY_ALL: Final = "needs everybody's rows: compared by --all only"

_PERSON_ID: Final = "person_id"
_PARTS: Final = 1_000_000
_BY: Final = {"source": ("_source", "source"), "entity": ("_entity", "entity"), "rule": ("_rule", "rule", "mapping_rule")}
"""What differing rows are counted by, with the columns that have it; names out of contracts and mappings, never values."""


@dataclass(frozen=True)
class Sample:
    """A share (more than 0, at most 1) of all people: always the same people, because only their ids decide."""

    share: float

    def has(self, person_id: Column) -> Column:
        """Whether a row is of the sample: that of a person in it, or one that is of nobody."""
        return person_id.isNull() | self._has(person_id)

    def people(self, rows: DataFrame) -> int:
        """How many of some people are in it; `rows` has one of each."""
        return rows.where(self._has(F.col(_PERSON_ID))).count()

    def _has(self, person_id: Column) -> Column:
        return person_id % F.lit(_PARTS) < F.lit(round(self.share * _PARTS))


@dataclass(frozen=True)
class Difference:
    """How many rows of one source, entity and rule (empty: the table has none) only the lake or only the rebuild has."""

    source: str
    entity: str
    rule: str
    only_in_lake: int
    only_in_rebuild: int


@dataclass(frozen=True)
class Compared:
    """A table of the lake against its rebuild: the rows that the lake has, and what differs.

    `columns` are those that one of them lacks or has with another type; rows are compared in the others.
    """

    table: TableName
    rows: int
    differences: tuple[Difference, ...]
    columns: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether both have the same rows, each as often."""
        return not self.differences and not self.columns


@dataclass(frozen=True)
class Verification:
    """What was compared: the run that made the lake what it is, the people of the sample (None: everybody), every table.

    `not_compared` has for every other table of the lake the reason.
    """

    run_id: str
    people: int | None
    compared: tuple[Compared, ...]
    not_compared: Mapping[TableName, str]

    @property
    def different(self) -> tuple[Compared, ...]:
        """The tables that are not equal."""
        return tuple(table for table in self.compared if not table.is_equal)


def verify(settings: Settings, sample: Sample | None = None, show_stage: ShowStage = no_stages) -> Verification:
    """Make the tables again as on the day of the last run and compare them; without a sample for everybody.

    Raises RunUnderWayError while another command writes, NotCurrentError where a run would make tables again.
    """
    beside = rebuilds_folder(settings)
    try:
        with (
            open_session(settings.engine, little=reads_little(settings)) as session,
            private_files(),
            scratch_folder(beside) as folder,
        ):
            lake = _lake(session, settings, folder, show_stage)
            rebuild = Rebuild(lake, folder, sample)
            return rebuild.compare(rebuild.make(show_stage), show_stage)
    finally:
        with suppress(OSError):  # it was never made, or another verify is using it
            beside.rmdir()


@dataclass(frozen=True)
class Lake:
    """A lakehouse as it is at the start: what its tables are declared as and the version of each."""

    run: RunContext
    run_id: str
    tables: tuple[Table, ...]
    versions: Mapping[TableName, int]

    @property
    def store(self) -> TableStore:
        """Its tables."""
        return self.run.store


def _lake(session: SparkSession, settings: Settings, folder: Path, show_stage: ShowStage) -> Lake:
    """The lake at the versions that it has now, provided that nobody is writing and a run would make nothing again."""
    lake, path = store_of(session, settings), build_state_path(settings)
    with _nobody_writes(settings):
        state = BuildState.read(path)
        run_id = next(iter(reversed(runs_of(settings))), None)
        if state is None or run_id is None:
            raise NotCurrentError("there is nothing to verify yet: nhs-omop run makes it")
        run_date = datetime.strptime(run_id.partition("-")[0], "%Y%m%d").date()
        register = read_register(lake.paths)
        inputs = read_run_inputs(settings, run_date)
        used = in_contracts(register, inputs.contracts)
        versions = _versions(lake, state, register, settings)
    store = StoreBeside(session, _paths(folder), lake, versions)
    declared = declared_tables(RunContext(run_date, settings, inputs, store, show_stage), used).tables
    recorded = {TableName.of(name): built.version for name, built in state.tables.items()}
    as_recorded = StoreBeside(session, _paths(folder), lake, {**versions, **recorded})
    _require_current(Runner(as_recorded, path), declared)
    return Lake(RunContext(run_date, settings, inputs, lake, show_stage), run_id, declared, versions)


@contextmanager
def _nobody_writes(settings: Settings) -> Iterator[None]:
    """Whatever is read in the block was not written meanwhile. Raises RunUnderWayError where it may have been."""
    _require_idle(settings)
    before = BuildState.read(build_state_path(settings))
    yield
    _require_idle(settings)
    if BuildState.read(build_state_path(settings)) != before:
        raise RunUnderWayError("the lakehouse was written to while this command read its versions; run it again")


def _require_idle(settings: Settings) -> None:
    holder = holder_of(settings.storage.restricted)
    if holder is not None:
        raise RunUnderWayError(
            f"{settings.storage.restricted} is being written to: {holder}. Nothing was compared; try again when it has ended"
        )


def _versions(lake: TableStore, state: BuildState, register: Iterable[Registered], settings: Settings) -> dict[TableName, int]:
    """The newest version of every table that a run makes or reads."""
    names = {TableName.of(name) for name in state.tables}
    names |= {TableName(Zone.BRONZE, f"{file.source}_{file.entity}") for file in register}
    published = published_tables(settings.cdm_version)
    names |= {TableName(Zone.VOCABULARY, name) for name, table in published.items() if table.is_vocabulary}
    found = {name: lake.version(*name) for name in sorted(names)}
    return {name: version for name, version in found.items() if version is not None}


def _require_current(runner: Runner, tables: Iterable[Table]) -> None:
    steps = runner.plan(tables)
    if steps:
        first = steps[0]
        raise NotCurrentError(
            f"a run would make {counted(len(steps), 'table')} again, {first.name} first ({first.reason}), so a rebuild "
            "now would differ for that reason. Nothing was compared; run first. nhs-omop plan lists the tables"
        )


def _paths(folder: Path) -> StoragePaths:
    return StoragePaths(folder / "restricted", folder / "deidentified")


@dataclass(frozen=True)
class Rebuild:
    """The tables of a lake made again below a folder."""

    lake: Lake
    folder: Path
    sample: Sample | None

    @cached_property
    def made(self) -> tuple[Table, ...]:
        """The tables that are made again, those of silver narrowed to the sample."""
        if self.sample is None:
            return self.lake.tables
        after = silver_and_after(self.lake.tables)
        chosen = [table for table in self.lake.tables if table.name not in after or table.belongs_to is BelongsTo.PERSON]
        return tuple(_narrowed(table, self.sample) if table.name.zone is Zone.SILVER else table for table in chosen)

    @cached_property
    def store(self) -> StoreBeside:
        """The tables of the rebuild. What they are made from and it does not make is read in the lake."""
        made = {table.name for table in self.made}
        read = {name for table in self.made for name in table.inputs} - made
        pinned = {name: version for name, version in self.lake.versions.items() if name in read}
        return StoreBeside(self.lake.store.session, _paths(self.folder), self.lake.store, pinned)

    def make(self, show_stage: ShowStage) -> list[Table]:
        """Make every table; gives them, with the one that is declared once the others are there: of readable values."""
        restricted = _paths(self.folder).restricted
        restricted.mkdir(mode=0o700)
        runner = Runner(self.store, restricted / "build_state.json", workers=self.lake.run.statements_at_once)
        with show_stage("make again", len(self.made)) as on_progress:
            runner.run(self.made, on_progress)
        readable = readable_of_flagged(self.store.paths, self.lake.run.inputs.contracts) if self.sample is None else None
        if readable is None:
            return list(self.made)
        runner.run([readable])
        return [*self.made, readable]

    def compare(self, made: Sequence[Table], show_stage: ShowStage) -> Verification:
        """Compare the tables that were made with those of the lake."""
        tables = [table for table in made if self._is_comparable(table)]
        compared: list[Compared] = []
        with show_stage("compare", len(tables)) as on_progress:

            def compare(table: Table) -> None:
                compared.append(self._compare(table))
                on_progress(str(table.name))

            run_in_parallel(tables, compare)
        people = self.sample.people(self.store.read(Zone.CURATION, PERSON)) if self.sample else None
        others = sorted(self.lake.versions.keys() - {table.name for table in tables})
        not_compared = {name: self._reason(name) for name in others if not _is_loaded(name)}
        return Verification(self.lake.run_id, people, tuple(sorted(compared, key=lambda found: found.table)), not_compared)

    def _is_comparable(self, table: Table) -> bool:
        """Whether the rows of the sample can be told from the others, or all were made. A rebuild has no changes to log."""
        is_made = self.sample is None or _is_of_people(table) or table.name not in silver_and_after(self.lake.tables)
        return is_made and table.log is None

    def _reason(self, name: TableName) -> str:
        """Why a table of the lake is not compared."""
        if name in {table.name for table in self.lake.tables if table.log}:
            return OF_RUNS
        is_declared = name in {table.name for table in self.lake.tables}
        if self.sample is not None and (is_declared or name == TableName(Zone.LEDGER, READABLE)):
            return ONLY_ALL
        of_runs = (LEDGER_TABLE, GATE_TABLE, FIGURES_OF_RUNS.name, FAILING_ROWS)
        if name in {TableName(Zone.LEDGER, table) for table in of_runs}:
            return OF_RUNS
        is_delivered = name.zone is Zone.BRONZE or name in (
            TableName(Zone.CURATION, REGISTER),
            TableName(Zone.CURATION, FILE_COLUMNS),
        )
        return DELIVERED if is_delivered else LEFT

    def _compare(self, table: Table) -> Compared:
        rebuilt = self.store.read(*table.name)
        version = self.lake.versions.get(table.name)
        stored = empty_rows(rebuilt, table.schema) if version is None else self.lake.store.read(*table.name, version=version)
        if self.sample is not None and _is_of_people(table):
            stored, rebuilt = (rows.where(self.sample.has(F.col(_PERSON_ID))) for rows in (stored, rebuilt))
        return compare_rows(table.name, stored, rebuilt)


def _is_loaded(name: TableName) -> bool:
    """Whether a table is of the vocabulary as it was loaded; the one that runs make is always compared."""
    return name.zone is Zone.VOCABULARY


def compare_rows(name: TableName, stored: DataFrame, rebuilt: DataFrame) -> Compared:
    """What differs between a table of a lake and its rebuild, in the columns that both have."""
    old, new = dict(stored.dtypes), dict(rebuilt.dtypes)
    both = [column for column, kind in new.items() if old.get(column) == kind]
    of = {what: next((c for c in columns if new.get(c) == "string" and c in both), None) for what, columns in _BY.items()}
    keys = [
        F.coalesce(F.col(column), F.lit("")).alias(what) if column else F.lit("").alias(what) for what, column in of.items()
    ]
    more = {"only_in_lake": F.col(BEFORE) - F.col(NOW), "only_in_rebuild": F.col(NOW) - F.col(BEFORE)}
    counts = {what: F.sum(F.greatest(rows, F.lit(0))) for what, rows in more.items()} | {"rows": F.sum(BEFORE)}
    counted = counted_in_both(stored, rebuilt, both).select(*keys, BEFORE, NOW).groupBy(*of)
    found = counted.agg(*[rows.alias(what) for what, rows in counts.items()]).toArrow().to_pylist()
    differing = [row for row in found if row["only_in_lake"] or row["only_in_rebuild"]]
    differences = [Difference(**{what: row[what] for what in (*of, *more)}) for row in differing]
    return Compared(
        name,
        sum(row["rows"] for row in found),
        tuple(sorted(differences, key=lambda part: (part.source, part.entity, part.rule))),
        tuple(sorted(column for column in old.keys() | new.keys() if column not in both)),
    )


def _is_of_people(table: Table) -> bool:
    return table.schema.get(_PERSON_ID) == "bigint"


def silver_and_after(tables: Sequence[Table]) -> frozenset[TableName]:
    """The tables of silver and everything that is made from them."""
    readers: dict[TableName, list[TableName]] = defaultdict(list)
    for table in tables:
        for name in table.inputs:
            readers[name].append(table.name)
    waiting = [table.name for table in tables if table.name.zone is Zone.SILVER]
    found: set[TableName] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += readers[name]
    return frozenset(found)


@dataclass(frozen=True)
class _OfSample:
    """The inputs of a table of silver: what curate has decided about the people of a sample, and all that was delivered."""

    inputs: Inputs
    sample: Sample

    @property
    def session(self) -> SparkSession:
        return self.inputs.session

    def read(self, zone: Zone, name: str) -> DataFrame:
        rows = self.inputs.read(zone, name)
        return rows.where(self.sample.has(F.col(_PERSON_ID))) if zone is Zone.CURATION else rows


def _narrowed(table: Table, sample: Sample) -> Table:
    """A table of silver, made for the people of a sample; rows that are of nobody stay."""
    return replace(table, make=lambda inputs: table.make(_OfSample(inputs, sample)))
