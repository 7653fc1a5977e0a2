"""The progress of long work on stderr: a bar on a terminal, otherwise a message now and then."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from time import perf_counter

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from jobs.logs import terminal
from pipelines.progress import OnProgress

log = logging.getLogger(__name__)

QUIET_SECONDS = 30
"""Where there is no terminal, a stage reports how far it has come, but not more often than this."""


@contextmanager
def stage(name: str, total: int | None = None) -> Iterator[OnProgress]:
    """Show the progress of a stage of `total` parts, and how long it took once they are done.

    What is given is called after each part with the name of the part.
    """
    begun = perf_counter()
    console = terminal()
    with _messages(name, total) if console is None else _bar(console, name, total) as on_progress:
        yield on_progress
    log.info(f"{name}: done", extra={"seconds": round(perf_counter() - begun, 1)})


@contextmanager
def _bar(console: Console, name: str, total: int | None) -> Iterator[OnProgress]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[part]}"), console=console, transient=True) as bar:
        task = bar.add_task(escape(name), total=total, part="")
        yield lambda part: bar.update(task, advance=1, part=escape(part))


@contextmanager
def _messages(name: str, total: int | None) -> Iterator[OnProgress]:
    parts = count(1)
    reported = perf_counter()

    def on_progress(part: str) -> None:
        nonlocal reported
        done = next(parts)
        if perf_counter() - reported >= QUIET_SECONDS:
            reported = perf_counter()
            log.info(f"{name}: {part}", extra={"done": done, "of": total})

    log.info(f"{name}: started")
    yield on_progress
