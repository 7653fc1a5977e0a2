"""What a command says: progress and messages on stderr, results on stdout; for people, or as JSON lines for machines.

Give names, counts and paths only. Nothing here may be handed a value out of a delivery.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import TextIO

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipelines.progress import Field

QUIET_SECONDS = 30
"""Where there is no terminal, long work says how far it is, but not more often than this."""


class Stage:
    """One piece of long work; call `advance` after each part of it.

    Without a terminal `say` is told how far the work is, now and then.
    """

    def __init__(self, progress: Progress | None, task: TaskID | None, say: Callable[[str, int], None] | None = None) -> None:
        self._progress = progress
        self._task = task
        self._say = say
        self._done = 0
        self._said = perf_counter()

    def advance(self, label: str = "") -> None:
        """One part is done; `label` names it."""
        self._done += 1
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=1, label=escape(label))
        if self._say is not None and perf_counter() - self._said >= QUIET_SECONDS:
            self._said = perf_counter()
            self._say(label, self._done)


@dataclass
class Console:
    """Where messages go. `json_lines` is set by `--json`."""

    json_lines: bool = False
    err: TextIO = field(default_factory=lambda: sys.stderr)
    out: TextIO = field(default_factory=lambda: sys.stdout)

    def info(self, message: str, **fields: Field) -> None:
        """Say that something happened."""
        self._say("info", message, fields)

    def warning(self, message: str, **fields: Field) -> None:
        """Say that something needs a look but does not stop the work."""
        self._say("warning", message, fields)

    def error(self, message: str, **fields: Field) -> None:
        """Say why the work stopped; the fields are for machines."""
        self._say("error", message, fields if self.json_lines else {})

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """Show the progress of `total` parts, and how long it took once they are done."""
        begun = perf_counter()
        if self.json_lines or not self.err.isatty():
            self._say("info", f"{name}: started", {})
            yield Stage(None, None, lambda label, done: self._say("info", f"{name}: {label}", {"done": done, "of": total}))
        else:
            with self._bar() as bar:
                yield Stage(bar, bar.add_task(name, total=total, label=""))
        self._say("info", f"{name}: done", {"seconds": round(perf_counter() - begun, 1)})

    def table(self, title: str, rows: Sequence[Mapping[str, Field]], *, grouped: bool = True) -> None:
        """A result: a table for people, one JSON object a row for machines.

        `grouped` sets off the thousands of counts; the ids in columns `..._id` never are, so that they can be copied.
        """
        if self.json_lines:
            for row in rows:
                self._write(self.out, {"table": title, **row})
            return
        table = Table()
        columns = list(dict.fromkeys(name for row in rows for name in row))
        for name in columns:
            numeric = all(isinstance(row.get(name), int | float | None) for row in rows)
            table.add_column(name.replace("_", " "), justify="right" if numeric else "left")
        for row in rows:
            table.add_row(*[escape(_shown(row.get(name), grouped and not name.endswith("_id"))) for name in columns])
        terminal = RichConsole(file=self.out)
        terminal.print(escape(title), style="italic", highlight=False, soft_wrap=True)
        terminal.print(table)

    def _bar(self) -> Progress:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        return Progress(*columns, TextColumn("{task.fields[label]}"), console=RichConsole(file=self.err), transient=True)

    def _say(self, level: str, message: str, fields: Mapping[str, Field]) -> None:
        if self.json_lines:
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._write(self.err, {"at": at, "level": level, "message": message, **fields})
            return
        style = {"warning": "yellow", "error": "bold red"}.get(level, "")
        details = "  ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in fields.items())
        text = escape(f"{message}  {details}".rstrip())
        RichConsole(file=self.err, highlight=False, soft_wrap=True).print(f"[{style}]{text}[/]" if style else text)

    @staticmethod
    def _write(stream: TextIO, content: Mapping[str, Field]) -> None:
        stream.write(json.dumps(content) + "\n")
        stream.flush()


def _shown(value: Field, grouped: bool = True) -> str:
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value).lower()
    if isinstance(value, str):
        return value
    return f"{value:,}" if grouped else str(value)


console = Console()
"""The console of this process."""
