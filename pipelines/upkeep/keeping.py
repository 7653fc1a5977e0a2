"""Does the upkeep of a lakehouse: at the end of a run what is worth it, by command everything that can be done.

Kept are the releases and runs that configuration or a hold asks for, every version of a table that a kept release pins or
the build state names, and what was the newest version on one of the last days. The rows of a table stay as they are, but for
the ledgers of runs that are not kept.
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from deltalake.exceptions import DeltaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from pipelines.contracts.tables import TableName
from pipelines.engine import open_session
from pipelines.engine_settings import EngineKind, EngineSettings
from pipelines.errors import OmopPipelineError, UpkeepError
from pipelines.progress import ShowStage, no_stages
from pipelines.release.published import release_folder
from pipelines.run_inputs import build_state_path
from pipelines.run_log import remove_runs
from pipelines.scratch import remove_left
from pipelines.settings import Settings, table_folders
from pipelines.storage.maintenance import Executor, OnDisk, executor_for, on_disk, unneeded_files
from pipelines.storage.rights import share
from pipelines.upkeep.due import RUN_ID, Due, Lake, UpkeepState, upkeep_state_path
from pipelines.upkeep.following import follow_versions
from pipelines.upkeep.policy import Upkept

log = logging.getLogger(__name__)

OF_AGE = "by upkeep, because newer releases are kept"
"""Why upkeep removed a release."""


@dataclass(frozen=True)
class TableReport:
    """What upkeep did to one table, or would do: the versions that can be read, files and bytes, before and after.

    `joined` is by how many files small ones were put together. What that does to the bytes is not known beforehand.
    """

    name: TableName
    joined: int
    versions: tuple[int, int]
    before: OnDisk
    after: OnDisk


@dataclass
class UpkeepReport:
    """What upkeep did, or would do: the releases and runs that went, and every table that it changed."""

    releases: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    tables: list[TableReport] = field(default_factory=list)


def keep_up(
    settings: Settings, executor: Executor, *, thorough: bool = False, show_stage: ShowStage = no_stages
) -> UpkeepReport:
    """Remove what nothing needs. The lock of the lakehouse must be held.

    `thorough` does everything that can be done, and measures it; without it a table waits until it is worth it. Raises
    ReleaseError before anything is done, and UpkeepError, with the tables that could not be done, when all had their turn.
    """
    finish_following(settings)
    lake = Lake.of(settings)
    remove_left(settings.engine.scratch_dir)
    release_folder(settings).remove(lake.dropped, at=lake.at.isoformat(timespec="seconds"), reason=OF_AGE, day=lake.at.date())
    runs = lake.old_runs()
    remove_runs(settings.storage.restricted, runs)
    if settings.storage.catalog is not None:  # which sees to the files of its tables itself, for as long as they state
        return UpkeepReport(releases=lake.dropped, runs=runs)
    names = lake.tables(thorough=thorough)
    failed: dict[TableName, str] = {}
    due = _all_due(lake, names, failed)
    if not failed and not any(found.is_any for found in due.values()):
        return UpkeepReport(releases=lake.dropped, runs=runs)
    before = {name: on_disk(lake.paths.path(*name)) for name in due if thorough}
    UpkeepState(tables=lake.state.tables, under_way=tuple(map(str, due))).write(upkeep_state_path(settings))
    upkept = dict(lake.state.tables)
    with show_stage("upkeep", 2 * len(due)) as on_progress:
        for name, found in due.items():
            with _noted(failed, name):
                _reshape(executor, lake.paths.path(*name), found)
            on_progress(str(name))
        follow_versions(build_state_path(settings), lake.paths, due)
        needed = lake.needed()
        for name in due:
            with _noted(failed, name):
                upkept[str(name)] = _trimmed(executor, lake, name, needed.get(name, ()))
            on_progress(str(name))
    UpkeepState(tables=upkept).write(upkeep_state_path(settings))
    share(settings.storage.deidentified, settings.storage.restricted)
    if failed:
        raise UpkeepError(_failure(failed))
    return UpkeepReport(
        releases=lake.dropped,
        runs=_runs(due, runs),
        tables=[
            _report(name, due[name], size, on_disk(lake.paths.path(*name))) for name, size in before.items() if due[name].is_any
        ],
    )


def would_do(settings: Settings) -> UpkeepReport:
    """What a thorough upkeep would do; nothing is written."""
    lake = Lake.of(settings)
    report = UpkeepReport(releases=lake.dropped, runs=lake.old_runs())
    if settings.storage.catalog is not None:
        return report
    due = _all_due(lake, lake.tables(thorough=True), {})
    for name, found in due.items():
        if found.is_any:
            path = lake.paths.path(*name)
            size = on_disk(path)
            keep = {*found.kept, found.facts.version}
            files = unneeded_files(path, settings.upkeep.keep_days, keep) if found.gone else []
            report.tables.append(_report(name, found, size, size.without(files)))
    report.runs = _runs(due, report.runs)
    return report


def after_run(settings: Settings, session: SparkSession, show_stage: ShowStage = no_stages) -> None:
    """Upkeep at the end of a run. What it could not do is a warning: the release is made, and the next run tries again."""
    try:
        executor = executor_for(None if settings.engine.kind is EngineKind.SAIL else session)
        keep_up(settings, executor, show_stage=show_stage)
    except OmopPipelineError as error:
        log.warning(str(error))


@contextmanager
def executor_of(engine: EngineSettings) -> Iterator[Executor]:
    """What does the upkeep where an engine runs. The embedded engine itself is not needed for it."""
    if engine.kind is EngineKind.SAIL:
        yield executor_for(None)
    else:
        with open_session(engine) as session:
            yield executor_for(session)


def finish_following(settings: Settings) -> None:
    """Bring the build state up to date after an upkeep that was killed, so that no table is made again because of it."""
    state = UpkeepState.read(upkeep_state_path(settings))
    if state is not None and state.under_way:
        follow_versions(build_state_path(settings), table_folders(settings), map(TableName.of, state.under_way))
        UpkeepState(tables=state.tables).write(upkeep_state_path(settings))


def _all_due(lake: Lake, names: Iterable[TableName], failed: dict[TableName, str]) -> dict[TableName, Due]:
    needed = lake.needed()
    due = {}
    for name in names:
        with _noted(failed, name):
            found = lake.due(name, needed.get(name, ()))
            if found is not None:
                due[name] = found
    return due


def _reshape(executor: Executor, path: str, due: Due) -> None:
    """What changes the files of the newest version."""
    if not due.facts.keeps_log:
        executor.keep_log(path)
    if due.joined:
        executor.compact(path)
    if due.runs:
        executor.drop_partitions(path, RUN_ID, due.runs)


def _trimmed(executor: Executor, lake: Lake, name: TableName, needed: Collection[int]) -> Upkept:
    """Remove old versions and old entries of the log; what then is left of the table."""
    path = lake.paths.path(*name)
    due = lake.due(name, needed)
    if due is None:
        return Upkept()
    if due.gone:
        for file in unneeded_files(path, lake.settings.upkeep.keep_days, {*due.kept, due.facts.version}):
            file.unlink(missing_ok=True)
    if due.log_from > due.former.log_from:
        executor.shorten_log(path, due.log_from)
    return Upkept(version=due.facts.version, kept=due.kept, log_from=due.log_from)


@contextmanager
def _noted(failed: dict[TableName, str], name: TableName) -> Iterator[None]:
    """Note an error of a table and go on with the others; its message may hold values, so that its class has to do."""
    try:
        yield
    except (DeltaError, OSError, PySparkException) as error:
        failed[name] = type(error).__name__


def _failure(failed: Mapping[TableName, str]) -> str:
    tables = ", ".join(f"{name} ({kind})" for name, kind in failed.items())
    return f"no upkeep of {tables}; their rows are as they were. See to disk space and rights, then run nhs-omop upkeep"


def _runs(due: Mapping[TableName, Due], listed: Collection[str]) -> tuple[str, ...]:
    """The runs of which something goes: rows of tables, or the document of the list of runs."""
    return tuple(sorted({*listed, *(run for found in due.values() for run in found.runs)}))


def _report(name: TableName, due: Due, before: OnDisk, after: OnDisk) -> TableReport:
    kept = len(due.kept) + 1
    return TableReport(name, due.joined, (kept + len(due.gone), kept), before, after)
