"""Events reach a file or a server; what goes wrong there is said once and stops nothing."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from pipelines.contracts.tables import BelongsTo, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import ConfigError, QualityGateError
from pipelines.lineage import sending
from pipelines.lineage.sending import Lineage
from pipelines.settings import LineageSettings, load_settings
from pipelines.storage.paths import StoragePaths

STARTED = datetime(2026, 1, 6, tzinfo=UTC)


def lineage_to(transport: dict[str, Any] | None, root: Path) -> Lineage:
    settings = LineageSettings.model_validate({"transport": transport})
    return Lineage(settings, StoragePaths(root / "restricted", root / "deidentified"))


def run_with(lineage: Lineage, error: BaseException | None = None) -> None:
    """A run that makes one table of nine rows."""
    paths = lineage.paths
    write_deltalake(paths.path(Zone.OMOP, "death"), pa.table({"person_id": range(9)}))
    table = Table(
        name=TableName(Zone.OMOP, "death"),
        grain="one row per death",
        schema={"person_id": "bigint"},
        belongs_to=BelongsTo.PERSON,
        make=lambda inputs: inputs.read(Zone.SILVER, "x"),
    )
    with lineage.of_run("20260106-00001", date(2026, 1, 6), STARTED):
        lineage.table_made(table, 0, 1.5)
        if error:
            raise error


def shown(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["job"]["name"], event["eventType"]) for event in events]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_events_are_appended_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "events.jsonl"
    run_with(lineage_to({"kind": "file", "path": str(path)}, tmp_path / "one"))
    run_with(lineage_to({"kind": "file", "path": str(path)}, tmp_path / "two"))
    of_a_run = [("nightly", "START"), ("omop.death", "START"), ("omop.death", "COMPLETE"), ("nightly", "COMPLETE")]
    assert shown(lines_of(path)) == [*of_a_run, *of_a_run]
    assert lines_of(path)[2]["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 10


@pytest.mark.parametrize(
    ("error", "end"), [(QualityGateError("x"), "FAIL"), (ValueError("x"), "FAIL"), (KeyboardInterrupt(), "ABORT")]
)
def test_a_run_that_does_not_end_well_sends_what_it_made_and_raises(tmp_path: Path, error: BaseException, end: str) -> None:
    path = tmp_path / "events.jsonl"
    with pytest.raises(type(error)):
        run_with(lineage_to({"kind": "file", "path": str(path)}, tmp_path), error)
    assert shown(lines_of(path))[1:] == [("omop.death", "START"), ("omop.death", "COMPLETE"), ("nightly", end)]


@contextmanager
def server(status: int) -> Iterator[tuple[str, list[tuple[str, str | None, Any]]]]:
    """A server that answers every event with a status; gives its address and what it received."""
    received: list[tuple[str, str | None, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the output of the tests clean."""

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}", received
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def test_events_are_sent_to_a_server_with_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEAGE_TOKEN", "abc\n")
    with server(201) as (url, received):
        run_with(lineage_to({"kind": "http", "url": url, "token": {"kind": "env", "name": "LINEAGE_TOKEN"}}, tmp_path))
    assert [(path, token) for path, token, _ in received] == [("/api/v1/lineage", "Bearer abc")] * 4
    assert shown([event for _, _, event in received]) == [
        ("nightly", "START"),
        ("omop.death", "START"),
        ("omop.death", "COMPLETE"),
        ("nightly", "COMPLETE"),
    ]


def test_a_server_that_refuses_is_said_once_and_asked_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with server(403) as (url, received), caplog.at_level(logging.WARNING, logger="pipelines"):
        run_with(lineage_to({"kind": "http", "url": url}, tmp_path))
    assert len(received) == 1
    assert [record.getMessage() for record in caplog.records if record.name.startswith("pipelines")] == [
        "lineage: HTTPError 403; the events of this run are not complete, the run goes on"
    ]


@pytest.mark.parametrize(
    ("transport", "reason"),
    [
        ({"kind": "http", "url": "http://127.0.0.1:9", "timeout_seconds": 1}, "ConnectionError"),
        ({"kind": "http", "url": "http://127.0.0.1:9", "token": {"kind": "env", "name": "NOT_SET"}}, "ConfigError"),
        ({"kind": "file", "path": "/proc/nowhere/events.jsonl"}, "FileNotFoundError"),
    ],
    ids=["nobody listens", "no token", "no file"],
)
def test_a_transport_that_fails_stops_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, transport: dict[str, Any], reason: str
) -> None:
    with caplog.at_level(logging.WARNING, logger="pipelines"):
        run_with(lineage_to(transport, tmp_path))
    said = [record.getMessage() for record in caplog.records if record.name.startswith("pipelines")]
    assert said == [f"lineage: {reason}; the events of this run are not complete, the run goes on"]


def test_a_server_that_is_slow_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "MOST_SECONDS", 0.0)
    with server(201) as (url, received), caplog.at_level(logging.WARNING, logger="pipelines"):
        run_with(lineage_to({"kind": "http", "url": url}, tmp_path))
    assert shown([event for _, _, event in received]) == [("nightly", "START")]
    said = [record.getMessage() for record in caplog.records if record.name.startswith("pipelines")]
    assert said == ["lineage: TimeoutError; the events of this run are not complete, the run goes on"]


def test_a_reference_to_the_token_and_a_transport_replace_those_below(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("lineage: {transport: {kind: file, path: /srv/lineage.jsonl}}\n", encoding="utf-8")
    demo = (load_settings("demo").expectations_dir.parents[1] / "demo.yaml").read_text(encoding="utf-8")
    (tmp_path / "demo.yaml").write_text(demo, encoding="utf-8")
    sent = "lineage.transport={kind: http, url: http://marquez:5000}"
    with pytest.raises(ConfigError, match=r"the embedded engine has no network but its own"):
        load_settings("demo", tmp_path, [sent])
    settings = load_settings("demo", tmp_path, [sent, "engine.kind=spark"])
    assert settings.lineage.transport is not None
    assert settings.lineage.transport.kind == "http"


def test_the_fingerprint_of_a_release_does_not_depend_on_lineage() -> None:
    settings = load_settings("demo")
    changed = load_settings("demo", overrides=["lineage.transport={kind: file, path: /srv/lineage.jsonl}"])
    assert changed.fingerprint == settings.fingerprint


def test_rows_are_counted_from_the_log_of_a_table(tmp_path: Path) -> None:
    paths = StoragePaths(tmp_path / "restricted", tmp_path / "deidentified")
    assert paths.row_count(Zone.OMOP, "death") is None
    for rows in (range(4), range(3)):
        write_deltalake(paths.path(Zone.OMOP, "death"), pa.table({"person_id": rows}), mode="append")
    assert paths.row_count(Zone.OMOP, "death") == 7
    write_deltalake(paths.path(Zone.OMOP, "death"), pa.table({"person_id": range(2)}), mode="overwrite")
    assert paths.row_count(Zone.OMOP, "death") == 2
