"""The list of runs: one document a run, below the restricted root.

It is begun when the run begins, kept up to date at each stage, and completed when the run ends, however it ends. A run that was
killed has no end. Only a run that holds the lock of the lakehouse writes here, so one that is refused is not in the list.
Nothing in it identifies anybody: names, times and counts, and of an error what may be shown.
"""

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from pipelines.contracts.models import Frozen
from pipelines.errors import exit_code_of, next_step_after, shown_message
from pipelines.measuring.stage_timer import StageTimer, StepTime, peak_gib, reset_peak
from pipelines.run_lock import holder_of
from pipelines.storage.documents import Document, Lost

log = logging.getLogger(__name__)

RUNS = "runs"
"""The folder of the documents below the restricted root."""


class RunState(StrEnum):
    """What a run has come to. `made` is the end of a run that was to make selected tables only."""

    RUNNING = "running"
    RELEASED = "released"
    UNCHANGED = "unchanged"
    MADE = "made"
    FAILED = "failed"
    STOPPED = "stopped"


NEXT_STEPS = {
    RunState.STOPPED: "nhs-omop run: it goes on where this one stopped",
    RunState.MADE: "nhs-omop run: it makes the other tables and the release",
}
"""What to do after a run that neither failed nor came to a release."""


class TableCounts(Frozen):
    """How many tables a run made whole or by partitions, made for touched persons only, and found current."""

    whole: int
    for_touched: int
    current: int


class Failure(Frozen):
    """The error that ended a run: its class, its exit code, what was shown of it, and what to do."""

    error: str
    exit_code: int
    message: str
    next_step: str


class RunRecord(Document):
    """One run: what it was asked for, what it took, and what it came to.

    `selected` are the selectors of a run that makes some tables only; `process` is the number of its process. `started` and
    `ended` are UTC; without `ended` the run is under way or was killed. `stage` is the last stage that was begun, `stages`
    what each stage took that has ended. `new_rows` are the records of the `new_deliveries` that it loaded. `touched` is the
    number of persons for whom it made tables again, None where it did not go by persons. `release_id` is the release that the
    run made, or that stays because nothing had changed. `peak_gib` is the most memory that the process held, without engines
    in processes of their own.
    """

    LOST: ClassVar[Lost] = Lost("restore it from a backup, or remove it: the list of runs goes without it", stops=False)

    run_id: str
    run_date: date
    version: str
    full: bool = False
    selected: tuple[str, ...] = ()
    process: int
    started: datetime
    ended: datetime | None = None
    stage: str = ""
    stages: tuple[StepTime, ...] = ()
    new_deliveries: int | None = None
    set_aside: int | None = None
    new_rows: int | None = None
    tables: TableCounts | None = None
    touched: int | None = None
    end: RunState | None = None
    release_id: str | None = None
    failure: Failure | None = None
    peak_gib: float | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took; None where it has no end."""
        return (self.ended - self.started).total_seconds() if self.ended else None


@dataclass(frozen=True)
class Run:
    """A run of the list, and its state now."""

    record: RunRecord
    state: RunState


@dataclass
class RunLog:
    """The document of the run that is under way.

    A document that cannot be written once it has been begun is said, and stops nothing: the list of runs decides about no row.
    """

    folder: Path
    record: RunRecord
    timer: StageTimer = field(default_factory=StageTimer)

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.record.run_id

    def enter(self, stage: str) -> None:
        """Say that a stage begins."""
        self._write(stage=stage)

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, int]]:
        """A stage that is measured, also where it fails; put the rows that came in under `rows`."""
        self.enter(name)
        with self.timer.step(name) as counted:
            yield counted

    def ingested(self, deliveries: int, set_aside: int, rows: int) -> None:
        """Say what was taken in."""
        self._note(new_deliveries=deliveries, set_aside=set_aside, new_rows=rows)

    def made(self, tables: TableCounts, touched: int | None) -> None:
        """Say which tables were made, and for how many touched persons."""
        self._note(tables=tables, touched=touched)

    def ends(self, end: RunState, release_id: str | None = None) -> None:
        """Say what the run comes to, unless something fails after that."""
        self._note(end=end, release_id=release_id)

    def complete(self, **facts: Any) -> None:
        """Write how the run ended."""
        peak = max([peak_gib(), *(time.peak_gib for time in self.timer.times)])
        self._write(ended=_now(), peak_gib=round(peak, 3), **facts)

    def _note(self, **facts: Any) -> None:
        self.record = self.record.model_copy(update=facts)

    def _write(self, **facts: Any) -> None:
        self._note(stages=tuple(self.timer.times), **facts)
        try:
            self.record.write(self.folder / f"{self.run_id}.json")
        except OSError as error:
            log.warning("the run cannot be kept in the list of runs: %s", error.strerror)


@contextmanager
def logged_run(
    restricted: Path,
    run_date: date,
    version: str,
    earlier: Collection[str] = (),
    *,
    full: bool = False,
    selected: Sequence[str] = (),
) -> Iterator[RunLog]:
    """Keep the block as a run in the list of runs; to be entered with the lock of the lakehouse held.

    `earlier` are runs that the list does not have: ids of runs end in a number that grows over all of them.
    """
    folder = restricted / RUNS
    number = 1 + max((_number(run_id) for run_id in (*_ids(folder), *earlier)), default=0)
    record = RunRecord(
        run_id=f"{run_date:%Y%m%d}-{number:05}",
        run_date=run_date,
        version=version,
        full=full,
        selected=tuple(selected),
        process=os.getpid(),
        started=_now(),
    )
    reset_peak()
    record.write(folder / f"{record.run_id}.json")
    run = RunLog(folder, record)
    try:
        yield run
    except Exception as error:
        failure = Failure(
            error=type(error).__name__,
            exit_code=exit_code_of(error),
            message=shown_message(error),
            next_step=next_step_after(error),
        )
        run.complete(end=RunState.FAILED, release_id=None, failure=failure)
        raise
    except BaseException:  # Ctrl-C, or the end of the process
        run.complete(end=RunState.STOPPED, release_id=None)
        raise
    run.complete()


def run_documents(restricted: Path) -> list[Path]:
    """The document of every run, in the order in which they were begun."""
    return [restricted / RUNS / f"{run_id}.json" for run_id in _ids(restricted / RUNS)]


def remove_runs(restricted: Path, run_ids: Iterable[str]) -> None:
    """Remove runs from the list; the newest has to stay, because ids of runs go on from its number."""
    for run_id in run_ids:
        (restricted / RUNS / f"{run_id}.json").unlink(missing_ok=True)


def last_runs(restricted: Path, most: int | None = None) -> list[Run]:
    """The last runs, at least one, or all of them, in the order in which they were begun, without those that cannot be read."""
    documents = run_documents(restricted)
    found = map(RunRecord.read, documents if most is None else documents[-most:])
    records = [record for record in found if record is not None]
    earlier = [Run(record, record.end or RunState.STOPPED) for record in records[:-1]]
    return [*earlier, *(_as_it_is_now(record, restricted) for record in records[-1:])]


def day_begun(restricted: Path, run_id: str) -> date:
    """The day on which a run was begun; for one that is not in the list of runs the day in its id."""
    record = RunRecord.read(restricted / RUNS / f"{run_id}.json")
    return record.started.date() if record else datetime.strptime(run_id.partition("-")[0], "%Y%m%d").date()


def in_order(run_ids: Collection[str]) -> list[str]:
    """Ids of runs in the order in which the runs were begun."""
    return sorted(run_ids, key=lambda run_id: (_number(run_id), run_id))


def _as_it_is_now(last: RunRecord, restricted: Path) -> Run:
    """The last run. Without an end it is under way if whoever holds the lock has begun it."""
    holder = None if last.end else holder_of(restricted)
    if holder is not None and holder.pid == last.process and last.started >= datetime.fromisoformat(holder.since):
        return Run(last, RunState.RUNNING)
    if last.end is None:  # it may have ended, and let go of the lock, since its document was read
        last = RunRecord.read(restricted / RUNS / f"{last.run_id}.json") or last
    return Run(last, last.end or RunState.STOPPED)


def _ids(folder: Path) -> list[str]:
    return in_order([path.stem for path in folder.glob("*.json")])


def _number(run_id: str) -> int:
    number = run_id.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _now() -> datetime:
    return datetime.now(UTC)
