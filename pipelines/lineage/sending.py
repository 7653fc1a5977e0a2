"""Sends the OpenLineage events of a run. What cannot be sent is said once and never stops a run."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Final

from pipelines.contracts.tables import Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import exit_code_of
from pipelines.quality.gates import GateReport
from pipelines.settings import FileLineage, LineageSettings, LineageTransport
from pipelines.storage.places import Places

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent
    from openlineage.client.transport import Transport

    from pipelines.lineage.events import RunOfEvents

log = logging.getLogger(__name__)

MOST_SECONDS: Final = 60.0
"""How long a run sends events at most: it holds the lock of the lakehouse while it does."""

Events = Callable[["RunOfEvents", datetime], Iterable["RunEvent"]]
"""Some events of a run, and what time it is."""


@dataclass
class Lineage:
    """What a run does, for its events. Without `transport` in the settings nothing is sent, and the library is not imported.

    Tables are made at the same time, so they are collected, and sent when the run ends.
    """

    settings: LineageSettings
    paths: Places
    _made: list[tuple[Table, int, datetime, datetime]] = field(default_factory=list)
    _judged: tuple[GateReport, frozenset[str], datetime] | None = None
    _lock: Lock = field(default_factory=Lock)

    def table_made(self, table: Table, version: int, seconds: float) -> None:
        """A table was written, in so many seconds up to now."""
        ended = _now()
        with self._lock:
            self._made.append((table, version, ended - timedelta(seconds=seconds), ended))

    def judged(self, report: GateReport, checked: Collection[TableName]) -> None:
        """The gates have judged the tables `checked`."""
        self._judged = report, frozenset(table.name for table in checked if table.zone is Zone.VOCABULARY), _now()

    @contextmanager
    def of_run(self, run_id: str, run_date: date, started: datetime) -> Iterator[None]:
        """Send the beginning of a run, and at its end, however it ends, what it made and what it came to."""
        transport = self.settings.transport
        if transport is None:
            yield
            return
        sender = _Sender(transport, self.settings.namespace, run_id, run_date, started)
        sender.send(lambda run, _: [run.began()])
        try:
            yield
        except Exception as error:
            failure = error
            sender.send(self._parts)
            sender.send(lambda run, now: [run.failed(now, failure, exit_code_of(failure))])
            raise
        except BaseException:  # Ctrl-C, or the end of the process
            sender.send(self._parts)
            sender.send(lambda run, now: [run.stopped(now)])
            raise
        sender.send(self._parts)
        sender.send(lambda run, now: [run.completed(now)])

    def _parts(self, run: "RunOfEvents", _: datetime) -> Iterator["RunEvent"]:
        """The events of every table that was made, and of the gates."""
        from pipelines.lineage.events import MadeTable

        for table, version, begun, ended in self._made:
            yield from run.of_table(MadeTable(table, begun, ended, version, self.paths.row_count(*table.name)))
        if self._judged is not None:
            report, vocabulary, at = self._judged
            yield from run.of_gates(report.results, vocabulary, at)


@dataclass
class _Sender:
    """The transport of the events of one run, until it fails for the first time."""

    transport: LineageTransport
    namespace: str
    run_id: str
    run_date: date
    started: datetime
    _opened: "Transport | None" = None
    _seconds: float = 0.0
    _has_failed: bool = False

    def send(self, events: Events) -> None:
        """Send some events, or say why not; after a failure nothing more is tried."""
        if self._has_failed:
            return
        try:
            from pipelines.lineage.events import RunOfEvents

            run = RunOfEvents(self.namespace, self.run_id, self.run_date, self.started)
            self._opened = self._opened or _opened(self.transport)
            for event in events(run, _now()):
                if self._seconds > MOST_SECONDS:
                    raise TimeoutError
                begun = perf_counter()
                self._opened.emit(event)
                self._seconds += perf_counter() - begun
        except Exception as error:  # whatever is wrong with lineage, the run goes on
            self._has_failed = True
            log.warning("lineage: %s; the events of this run are not complete, the run goes on", _reason(error))


def _opened(transport: LineageTransport) -> "Transport":
    if isinstance(transport, FileLineage):
        from openlineage.client.transport.file import FileConfig, FileTransport

        transport.path.parent.mkdir(parents=True, exist_ok=True)
        return FileTransport(FileConfig(log_file_path=str(transport.path), append=True))
    from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport, TokenProvider

    token = transport.token and ApiKeyTokenProvider({"api_key": transport.token.resolve().decode().strip()})
    return HttpTransport(
        HttpConfig(
            url=transport.url,
            endpoint=transport.endpoint,
            timeout=transport.timeout_seconds,
            auth=token or TokenProvider({}),
            retry={"total": 1, "allowed_methods": ["POST"]},
        )
    )


def _reason(error: Exception) -> str:
    """What went wrong, without what a server or a file system says about it."""
    if isinstance(error, ImportError):
        return "the client of OpenLineage is not installed: pip install 'nhs-omop[lineage]'"
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"{type(error).__name__}{f' {status}' if status else ''}"


def _now() -> datetime:
    return datetime.now(UTC)
