"""Messages of this project's loggers on stderr: as text for people, as JSON lines for machines.

Log names, counts and paths only, never a value out of a delivery: `log.info("wrote the report", extra={"file": str(path)})`.
Only the project's own loggers are shown. Engines put the values of rows into their messages, so what other packages log is
not shown, and neither is the traceback of an error.
"""

import errno
import json
import logging
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TextIO

from rich.console import Console
from rich.text import Text

from pipelines.progress import Field, printable

PROJECT_LOGGERS = ("jobs", "pipelines", "vocab", "__main__")
"""`__main__` is a command that was started by `python -m`."""

_PYSPARK_ERROR_LOGGERS = ("DataFrameQueryContextLogger", "SQLQueryContextLogger")
"""PySpark prints the message of every error through these, by a handler of its own."""

_RECORD_ATTRIBUTES = vars(logging.makeLogRecord({})).keys() | {"message", "asctime", "taskName"}
_STYLES = {logging.WARNING: "yellow", logging.ERROR: "bold red"}


class PipedConsole(Console):
    """A console that raises BrokenPipeError where its reader has gone; rich would end the process, in the middle of a load."""

    def on_broken_pipe(self) -> None:
        """Called where nobody reads any more."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Go on after the block, and write no more results, where whoever reads them has seen enough (`| head`)."""
    try:
        yield
    except BrokenPipeError:
        _silence(sys.stdout)


def _silence(stream: TextIO) -> None:
    """Let what is still written to a stream go nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Handler(logging.Handler, ABC):
    """Writes to stderr. A message that cannot be written ends no load: those after it go nowhere."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        try:
            self.write(record)
        except OSError:
            _silence(sys.stderr)

    @abstractmethod
    def write(self, record: logging.LogRecord) -> None:
        """Write one message, or raise OSError."""


class PeopleHandler(_Handler):
    """Writes a message and its fields as a line of text; of an error only the page that explains it, in a line of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.console = PipedConsole(stderr=True, highlight=False, soft_wrap=True)

    def write(self, record: logging.LogRecord) -> None:
        """Show one message."""
        fields = _fields_of(record)
        if record.levelno >= logging.ERROR:
            text = "\nsee ".join([record.getMessage(), *(shown(fields[name]) for name in ("page",) if name in fields)])
        else:
            details = "  ".join(f"{name.replace('_', ' ')} {shown(value)}" for name, value in fields.items())
            text = f"{record.getMessage()}  {details}".rstrip()
        self.console.print(Text(printable(text), style=_STYLES.get(record.levelno, "")))


class JsonLinesHandler(_Handler):
    """Writes a message and its fields as one JSON object."""

    def write(self, record: logging.LogRecord) -> None:
        """Write one message."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        content = {"at": at, "level": record.levelname.lower(), "message": record.getMessage(), **_fields_of(record)}
        sys.stderr.write(json.dumps(content) + "\n")
        sys.stderr.flush()


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Show the project's messages until the end of the block: to people, from `use_json_lines` on to machines."""
    loggers = [logging.getLogger(name) for name in PROJECT_LOGGERS]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    silent = logging.NullHandler()  # without a handler, Python prints the warnings of every package
    logging.root.addHandler(silent)
    for name in _PYSPARK_ERROR_LOGGERS:
        logging.getLogger(name).disabled = True
    _use(PeopleHandler())
    try:
        yield
    finally:
        logging.root.removeHandler(silent)
        for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
            logger.handlers[:], logger.propagate = handlers, propagate
            logger.setLevel(level)


def use_json_lines() -> None:
    """Write messages and results as JSON lines from now on."""
    _use(JsonLinesHandler())


def json_lines() -> bool:
    """Whether messages and results are written for machines."""
    return any(isinstance(handler, JsonLinesHandler) for handler in _handlers())


def terminal() -> Console | None:
    """The terminal that people read the messages on; None where they are written to a file or for machines."""
    consoles = (handler.console for handler in _handlers() if isinstance(handler, PeopleHandler))
    return next((console for console in consoles if console.file.isatty()), None)


def shown(value: Field, grouped: bool = True) -> str:
    """A field as people read it; `grouped` sets off the thousands of numbers."""
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value).lower()
    if isinstance(value, str):
        return printable(value)
    return f"{value:,}" if grouped else str(value)


def _use(handler: logging.Handler) -> None:
    for name in PROJECT_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _handlers() -> list[logging.Handler]:
    return logging.getLogger(PROJECT_LOGGERS[0]).handlers


def _fields_of(record: logging.LogRecord) -> dict[str, Field]:
    extra = {name: value for name, value in vars(record).items() if name not in _RECORD_ATTRIBUTES}
    return {name: value for name, value in extra.items() if isinstance(value, str | int | float | bool | None)}
