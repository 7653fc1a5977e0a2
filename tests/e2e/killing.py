"""Nights by processes that kill themselves at a given point, as a machine that loses its power does.

One process imports everything once and forks for each night; no engine ever runs in it, so its children begin as new processes
do. `Nights` speaks to it; it reads one order a line and answers with the status of the child that carried it out.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from importlib import import_module
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

from jobs.demo import demo_settings
from pipelines.contracts.tables import Table, TableName
from pipelines.nightly import nightly
from pipelines.runner import BuildState, Runner
from pipelines.storage.documents import Document
from pipelines.terminology.vocabulary import load
from tests.conftest import PROJECT

DURING, BEFORE, AFTER = "during", "before", "after"
"""When a process kills itself: while a table is written (once it has a new file); after that, before the table is recorded; or
after it is recorded. Of a document (`document.Release`): before or after it is replaced."""

_SECONDS = 300


@dataclass(frozen=True)
class Said:
    """What a process said of a night: the tables that it made, the point where it killed itself, and the release."""

    made: tuple[str, ...] = ()
    killed: str | None = None
    released: str | None = None

    @classmethod
    def of(cls, path: Path) -> Self:
        words = [line.split() for line in path.read_text().splitlines()]
        named = {what: [name for said, name in words if said == what] for what in ("made", "killed", "released")}
        return cls(tuple(named["made"]), next(iter(named["killed"]), None), next(iter(named["released"]), None))


@dataclass
class Nights:
    """Runs nights in processes of their own, one after another. A context manager: at its end the process ends that forks."""

    log: Path
    _forking: subprocess.Popen[str] = field(init=False)

    def __enter__(self) -> Self:
        with self.log.open("w") as log:
            self._forking = subprocess.Popen(
                [sys.executable, "-m", __name__],
                cwd=PROJECT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._forking.communicate(timeout=_SECONDS)

    def run(self, folder: Path, day: date, kills: Mapping[str, str] | None = None) -> Said:
        """One night of the demo in a folder; the process kills itself at the first of `kills` that it reaches.

        `kills` has the moment by table (`omop.person`) or document (`document.Release`).
        """
        said = folder / "said"
        said.write_text("")
        assert self._forking.stdin
        assert self._forking.stdout
        order = {"folder": str(folder), "day": day.isoformat(), "kills": dict(kills or {}), "said": str(said)}
        print(json.dumps(order), file=self._forking.stdin, flush=True)
        status = int(self._forking.stdout.readline())
        found = Said.of(said)
        assert status == (-signal.SIGKILL if found.killed else 0), self.log.read_text()[-2000:]
        return found


@dataclass(frozen=True)
class _Dying:
    """One night in this process, which kills itself on the way."""

    kills: Mapping[str, str]
    said: Path
    lock: Any = field(default_factory=Lock)

    def say(self, what: str, name: object) -> None:
        with self.lock, self.said.open("a") as file:
            print(what, name, file=file)

    def die(self, name: object) -> None:
        self.say("killed", name)
        os.kill(os.getpid(), signal.SIGKILL)

    def die_at(self, name: object, moment: str) -> None:
        if self.kills.get(str(name)) == moment:
            self.die(name)

    def die_once_written_to(self, name: TableName, folder: Path) -> None:
        there = set(folder.rglob("*.parquet"))

        def watch() -> None:
            while not set(folder.rglob("*.parquet")) - there:
                time.sleep(0.001)
            self.die(name)

        Thread(target=watch, daemon=True).start()

    def prepare(self) -> None:
        """Let the runner and the documents say what they do, and die where they are told to."""
        make, bring_up_to_date, write = Runner._make, Runner._bring_up_to_date, Document.write

        def make_and_die(runner: Runner, table: Table, *arguments: Any) -> int:
            self.say("made", table.name)
            if self.kills.get(str(table.name)) == DURING:
                self.die_once_written_to(table.name, Path(runner.store.path(*table.name)))
            version = make(runner, table, *arguments)
            self.die_at(table.name, DURING)
            self.die_at(table.name, BEFORE)
            return version

        def bring_up_to_date_and_die(runner: Runner, graph: Any, name: TableName, *arguments: Any) -> int | None:
            version = bring_up_to_date(runner, graph, name, *arguments)
            if version is not None:
                self.die_at(name, AFTER)
            return version

        def write_and_die(document: Document, path: Path) -> None:
            name = f"document.{type(document).__name__}"
            if not isinstance(document, BuildState):
                self.die_at(name, BEFORE)
            write(document, path)
            if not isinstance(document, BuildState):
                self.die_at(name, AFTER)

        setattr(Runner, make.__name__, make_and_die)
        setattr(Runner, bring_up_to_date.__name__, bring_up_to_date_and_die)
        setattr(Document, write.__name__, write_and_die)


def _carry_out(order: Mapping[str, Any]) -> None:
    dying = _Dying(order["kills"], Path(order["said"]))
    dying.prepare()
    settings = demo_settings(Path(order["folder"]))
    load(settings)
    dying.say("released", nightly(settings, date.fromisoformat(order["day"])).release_id)


def _fork_for_each_order() -> None:
    import_module("pysail.spark")
    import_module("pyspark.sql.connect.session")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a night prints is no answer
            try:
                _carry_out(json.loads(line))
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _fork_for_each_order()
