"""Releases of real Delta tables: published, queried, listed, rolled back and reported on by the commands."""

import csv
import io
import json
import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from typer.testing import CliRunner, Result

from jobs import gate, publish, query, releases, report, rollback, status, trace
from jobs.logs import logging_to_stderr
from pipelines.contracts.cdm import delta_schema
from pipelines.contracts.derived import published_tables
from pipelines.contracts.ledger import LEDGER_SCHEMA, LEDGER_TABLE, Disposition, LedgerRow, Stage
from pipelines.contracts.ledger import PERSON as PERSONS
from pipelines.contracts.tables import Partitions
from pipelines.contracts.zones import Zone
from pipelines.errors import ConfigError, ReleaseError
from pipelines.quality.checks import Check, Rule
from pipelines.quality.checks import Zone as Checked
from pipelines.quality.gates import GATE_SCHEMA, GATE_TABLE, Measured, judge
from pipelines.release.model import Extract, TablePin
from pipelines.release.published import chosen_release, release_folder
from pipelines.settings import Settings, load_settings, storage_paths
from pipelines.storage.tables import TableStore
from tests.builders.publications import RELEASE

CDM = published_tables("5.4")
FIRST, SECOND = "20240105-aaaaaaaa", "20240106-bbbbbbbb"


def frame(session: SparkSession, schema: dict[str, str], rows: Sequence[Mapping[str, object]]) -> DataFrame:
    ddl = ", ".join(f"`{name}` {kind}" for name, kind in schema.items())
    return session.createDataFrame([tuple(row.get(name) for name in schema) for row in rows], ddl)


def visits(*numbers: int) -> list[dict[str, object]]:
    return [
        {
            "visit_occurrence_id": number,
            "person_id": 11,
            "visit_concept_id": 9201,
            "visit_start_date": date(2024, 7, 1),
            "visit_start_datetime": datetime(2024, 7, 1, 12, 30),
            "visit_end_date": date(2024, 7, 2),
            "visit_type_concept_id": 32817,
            "_source": "acute",
            "_rule": "acute_spell",
            "_row_key": "ab",
        }
        for number in numbers
    ]


PERSON = {"person_id": 11, "gender_concept_id": 8507, "year_of_birth": 1950, "race_concept_id": 0, "ethnicity_concept_id": 0}
CONCEPT = {
    "concept_id": 9201,
    "concept_name": "Inpatient Visit",
    "domain_id": "Visit",
    "vocabulary_id": "Visit",
    "concept_class_id": "Visit",
    "standard_concept": "S",
    "concept_code": "IP",
    "valid_start_date": date(1970, 1, 1),
    "valid_end_date": date(2099, 12, 31),
}
LEDGER = [
    LedgerRow("r2", Stage.CURATE, "gp", "patient", Disposition.DELIVERED, 1203),
    LedgerRow("r2", Stage.CURATE, "gp", "patient", Disposition.CURRENT, 1100),
    LedgerRow("r2", Stage.CURATE, "gp", "patient", Disposition.OPTED_OUT, 100, reason="national"),
    LedgerRow("r2", Stage.CURATE, "gp", "patient", Disposition.OPTED_OUT, 3, reason="objection"),
    LedgerRow("r2", Stage.CODE, "gp", "patient", Disposition.CODED, 100, rule="gp_condition"),
    LedgerRow("r2", Stage.CODE, "gp", "patient", Disposition.STANDARD, 90, rule="gp_condition"),
    LedgerRow("r2", Stage.CODE, "gp", "patient", Disposition.UNKNOWN, 10, rule="gp_condition"),
]


@dataclass(frozen=True)
class Released:
    """A folder with two releases, the second one current."""

    settings: Settings
    options: tuple[str, ...]
    store: TableStore


@pytest.fixture
def released(sail: SparkSession, tmp_path: Path) -> Released:
    options = tuple(
        option
        for name in ("landing", "restricted", "deidentified")
        for option in ("--set", f"storage.{name}={tmp_path / name}")
    )
    settings = load_settings("test", overrides=options[1::2])
    settings.storage.restricted.mkdir(mode=0o700)
    store = TableStore(sail, storage_paths(settings))
    write_release(store, settings, FIRST, visits(21), {"national": date(2024, 1, 4)})
    write_release(store, settings, SECOND, visits(21, 22), {"national": date(2024, 1, 5)})
    decided(store, None)
    run, ledger = Partitions("run_id", ("r2",)), frame(sail, LEDGER_SCHEMA, [row.record() for row in LEDGER])
    store.replace_partitions(ledger, Zone.LEDGER, LEDGER_TABLE, LEDGER_SCHEMA, run)
    gates = judge([Measured(Check(Checked.OMOP, "person", Rule.UNIQUE, "person_id"), 1, 0)])
    results = frame(sail, GATE_SCHEMA, gates.records("r2"))
    store.replace_partitions(results, Zone.LEDGER, GATE_TABLE, GATE_SCHEMA, run)
    return Released(settings, ("--env", "test", *options), store)


def decided(store: TableStore, opt_out: str | None) -> None:
    """What curate decided last of the one person of both releases."""
    schema = {"person_id": "bigint", "opt_out": "string"}
    store.overwrite(frame(store.session, schema, [{"person_id": 11, "opt_out": opt_out}]), Zone.CURATION, PERSONS, schema)


def write_release(
    store: TableStore, settings: Settings, release_id: str, visit_rows: list[dict[str, object]], opt_outs: dict[str, date]
) -> None:
    contents: dict[str, list[dict[str, object]]] = {"person": [dict(PERSON)], "visit_occurrence": visit_rows}
    pins = []
    for name, rows in contents.items():
        schema = delta_schema(CDM[name])
        store.overwrite(frame(store.session, schema, rows), Zone.OMOP, name, schema)
        pins.append(TablePin(zone="omop", name=name, version=store.version(Zone.OMOP, name) or 0, rows=len(rows)))
    store.overwrite(frame(store.session, CDM["concept"].schema, [CONCEPT]), Zone.VOCABULARY, "concept", CDM["concept"].schema)
    version = store.version(Zone.VOCABULARY, "concept") or 0
    pins.append(TablePin(zone="vocabulary", name="concept", version=version, rows=1))
    release = RELEASE.model_copy(
        update={
            "release_id": release_id,
            "run_id": "r1" if release_id == FIRST else "r2",
            "extracts": (Extract(source="gp", provider="P1", extract_date=date(2024, 1, 4)),),
            "opt_outs": opt_outs,
            "tables": tuple(pins),
        }
    )
    folder = release_folder(settings)
    folder.write(release)
    folder.point_at(release_id, action="publish", at="2024-01-06T00:00:00+00:00")


@pytest.fixture
def run(released: Released) -> Callable[..., Result]:
    def invoke(module: object, *arguments: str) -> Result:
        with logging_to_stderr():
            return CliRunner().invoke(module.app, [*arguments, *released.options])  # type: ignore[attr-defined]

    return invoke


def test_publish_writes_every_table_of_the_cdm_and_its_columns_only(run: Callable[..., Result], tmp_path: Path) -> None:
    target = tmp_path / "out" / "cdm.duckdb"
    target.parent.mkdir()
    assert run(publish, "--to", f"duckdb:{target}").exit_code == 0
    with duckdb.connect(str(target), read_only=True) as db:
        found = db.execute("select table_name, column_name, data_type, is_nullable from information_schema.columns").fetchall()
        types = {"bigint": "BIGINT", "string": "VARCHAR", "date": "DATE", "timestamp": "TIMESTAMP", "double": "DOUBLE"}
        expected = {
            (table.name, column.name, types[column.type], "YES" if column.nullable else "NO")
            for table in CDM.values()
            for column in table.columns
        }
        assert set(found) == expected
        assert not [column for _, column, *_ in found if column.startswith("_")]
        rows = db.execute("select visit_occurrence_id, visit_start_date, visit_start_datetime from visit_occurrence order by 1")
        assert rows.fetchall() == [(n, date(2024, 7, 1), datetime(2024, 7, 1, 12, 30)) for n in (21, 22)]
        assert db.execute("select concept_name from concept").fetchall() == [("Inpatient Visit",)]
        assert db.execute("select count(*) from measurement").fetchone() == (0,)
        comment = db.execute("select comment from duckdb_tables() where table_name = 'cdm_source'").fetchone()
        assert comment == (f"nhs-omop release {SECOND}, OMOP CDM 5.4",)


def test_publish_of_an_earlier_release_reads_its_pinned_versions(run: Callable[..., Result], tmp_path: Path) -> None:
    target = tmp_path / "cdm.duckdb"
    assert run(publish, "--to", f"duckdb:{target}", "--release", FIRST, "--accept-older-opt-outs").exit_code == 0
    with duckdb.connect(str(target), read_only=True) as db:
        assert db.execute("select visit_occurrence_id from visit_occurrence").fetchall() == [(21,)]


def test_every_reader_of_a_release_notices_a_table_that_was_written_anew(
    released: Released, run: Callable[..., Result], tmp_path: Path
) -> None:
    folder = release_folder(released.settings)
    for name in (FIRST, SECOND):
        release = folder.read(name)
        pins = tuple(pin.model_copy(update={"files": "0" * 64}) for pin in release.tables)
        release.model_copy(update={"tables": pins}).write(folder.root / f"{name}.json")
    readers: dict[ModuleType, tuple[str, ...]] = {
        publish: ("--to", f"duckdb:{tmp_path}/cdm.duckdb"),
        query: ("SELECT 1",),
        trace: ("visit_occurrence", "21"),
        report: ("--html", f"{tmp_path}/report.html"),
        releases: ("diff", FIRST, SECOND),
        rollback: ("--reason", "a fault"),
    }
    said = {module.__name__: str(run(module, *arguments).exception) for module, arguments in readers.items()}
    said["opt-outs"] = str(run(publish, "--to", f"duckdb:{tmp_path}/cdm.duckdb", "--release", FIRST).exception)
    assert [name for name, message in said.items() if "has other content at version" not in message] == []


def test_a_publication_that_fails_leaves_the_old_file(released: Released, run: Callable[..., Result], tmp_path: Path) -> None:
    target = tmp_path / "cdm.duckdb"
    run(publish, "--to", f"duckdb:{target}")
    before = target.read_bytes()
    for data in Path(released.store.path(Zone.OMOP, "visit_occurrence")).glob("*.parquet"):
        data.unlink()
    assert run(publish, "--to", f"duckdb:{target}").exit_code != 0
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.glob(".unfinished*")] == []


def test_a_publication_that_is_ended_by_a_signal_leaves_the_old_file_alone(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    target = tmp_path / "out" / "cdm.duckdb"
    target.parent.mkdir()
    run(publish, "--to", f"duckdb:{target}")
    before = target.read_bytes()
    monkeypatch.setattr("pipelines.release.publish.duckdb_file._keys", end)
    outside = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        assert run(publish, "--to", f"duckdb:{target}").exit_code == 143
    finally:
        signal.signal(signal.SIGTERM, outside)
    assert [(path.name, path.read_bytes()) for path in target.parent.iterdir()] == [("cdm.duckdb", before)]


def test_a_publication_replaces_nothing_but_a_publication(run: Callable[..., Result], tmp_path: Path) -> None:
    target = tmp_path / "out" / "cdm.duckdb"
    target.parent.mkdir()
    for content in (b"", b"a key", b"12345678DUCK" + bytes(4096)):
        target.write_bytes(content)
        done = run(publish, "--to", f"duckdb:{target}")
        assert isinstance(done.exception, ReleaseError)
        assert "is no publication" in str(done.exception)
        assert target.read_bytes() == content
    target.unlink()
    with duckdb.connect(str(target)) as connection:
        connection.execute("CREATE TABLE cdm_source (of_somebody int)")
    assert isinstance(run(publish, "--to", f"duckdb:{target}").exception, ReleaseError)
    target.unlink()
    named = [("--release", FIRST, "--accept-older-opt-outs"), ("--release", SECOND)]
    assert [run(publish, "--to", f"duckdb:{target}", *options).exit_code for options in named] == [0, 0]
    assert [path.name for path in target.parent.iterdir()] == ["cdm.duckdb"]
    link = tmp_path / "current.duckdb"
    link.symlink_to(target)
    before = target.stat().st_ino
    assert run(publish, "--to", f"duckdb:{link}").exit_code == 0
    assert (link.readlink(), target.stat().st_ino != before) == (target, True)


WORK = {
    "macro main.age_in, macro main.born, sequence main.next_id, table main.my_cohort, table study.person": (
        "CREATE TABLE my_cohort AS SELECT person_id FROM person; CREATE SCHEMA study; CREATE TABLE study.person (a int); "
        "CREATE SEQUENCE next_id; CREATE MACRO age_in(y) AS y - 1950; "
        "CREATE MACRO born(y) AS TABLE SELECT * FROM person WHERE year_of_birth = y",
        "DROP TABLE my_cohort; DROP SCHEMA study CASCADE; DROP SEQUENCE next_id; DROP MACRO age_in; DROP MACRO TABLE born",
    ),
    "type main.mood, view main.people, rows of table main.cohort, rows of table main.cohort_definition": (
        "CREATE TYPE mood AS ENUM ('good'); CREATE VIEW people AS SELECT * FROM person; "
        "INSERT INTO cohort VALUES (1, 11, '2024-01-01', '2024-02-01'); "
        "INSERT INTO cohort_definition VALUES (1, 'mine', NULL, 0, NULL, 0, NULL)",
        "DROP TYPE mood; DROP VIEW people; DELETE FROM cohort; DELETE FROM cohort_definition",
    ),
}
"""Work of analysts in a published file, by its names: how it is made and removed."""


def test_the_work_of_others_in_a_duckdb_file_is_named_and_stays(run: Callable[..., Result], tmp_path: Path) -> None:
    target = tmp_path / "cdm.duckdb"
    assert run(publish, "--to", f"duckdb:{target}").exit_code == 0
    for names, (made, removed) in WORK.items():
        with duckdb.connect(str(target)) as connection:
            connection.execute(made)
        before = target.read_bytes()
        assert str(run(publish, "--to", f"duckdb:{target}").exception) == (
            f"{target} has what is not of a publication ({names}); nothing was written. Move that to another file, or choose "
            "another path"
        )
        assert target.read_bytes() == before
        with duckdb.connect(str(target)) as connection:
            connection.execute(removed)
    assert run(publish, "--to", f"duckdb:{target}").exit_code == 0


@pytest.mark.parametrize(
    "to", ["duckdb:landing/x", "duckdb:restricted/x", "parquet:deidentified", "parquet:deidentified/x", "duckdb:link/x"]
)
def test_a_publication_stays_out_of_the_roots(to: str, run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "deidentified")
    kind, _, place = to.partition(":")
    done = run(publish, "--to", f"{kind}:{tmp_path / place}")
    assert isinstance(done.exception, ConfigError)
    assert "is inside storage." in str(done.exception)


@pytest.mark.parametrize("form", ["duckdb", "parquet"])
def test_no_folder_is_made_by_the_way(run: Callable[..., Result], tmp_path: Path, form: str) -> None:
    refused = run(publish, "--to", f"{form}:{tmp_path}/not/cdm")
    assert isinstance(refused.exception, ReleaseError)
    assert f"there is no folder {tmp_path}/not; make it, with rights" in str(refused.exception)
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize("text", ["cdm.duckdb", "csv:out", "duckdb:", "parquet:", "postgresql:cdm", "postgresql"])
def test_publish_to_an_unknown_target_names_what_is_expected(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected duckdb:PATH, parquet:FOLDER, postgresql://.* or catalog:SCHEMA"):
        publish.target_of(text)


def test_the_sql_for_webapi_is_written_before_anything_is_published(run: Callable[..., Result], tmp_path: Path) -> None:
    """No server is there, so that a publication would fail with a ConfigError."""
    (tmp_path / "file").touch()
    url, file = f"postgresql://me@/sde?host={tmp_path}", tmp_path / "webapi.sql"
    said = {
        f"{url}&password=geheim --webapi-sql {file}": (ConfigError, "--to: leave the password out"),
        f"{url}&host --webapi-sql {file}": (ConfigError, "--to: expected postgresql://"),
        f"duckdb:{tmp_path}/cdm.duckdb --webapi-sql {file}": (ConfigError, "--webapi-sql: WebAPI reads PostgreSQL"),
        f"{url} --webapi-sql {tmp_path}/file/webapi.sql": (ReleaseError, f"{tmp_path}/file/webapi.sql: cannot be written: "),
    }
    for arguments, (kind, message) in said.items():
        error = run(publish, "--to", *arguments.split()).exception
        assert type(error) is kind, arguments
        assert str(error).startswith(message)
    assert not file.exists()
    error = run(publish, "--to", url, "--webapi-sql", str(file)).exception
    assert str(error).startswith("--to: no connection to PostgreSQL")
    assert "INSERT INTO webapi.source " in file.read_text(encoding="utf-8")


def test_the_times_of_a_publication_do_not_depend_on_the_zone_of_the_machine(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "cdm.duckdb"
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/London")
        time.tzset()
        run(publish, "--to", f"duckdb:{target}")
    time.tzset()
    with duckdb.connect(str(target), read_only=True) as db:
        assert db.execute("select distinct visit_start_datetime from visit_occurrence").fetchall() == [
            (datetime(2024, 7, 1, 12, 30),)
        ]


SQL = "select person_id, count(*) as visits from visit_occurrence join person using (person_id) group by 1"


def test_query_answers_from_the_current_release(run: Callable[..., Result]) -> None:
    result = run(query, SQL)
    assert result.exit_code == 0
    assert SECOND in result.output


def test_query_answers_from_an_earlier_release_as_csv_and_json(run: Callable[..., Result]) -> None:
    rows = list(csv.reader(io.StringIO(run(query, SQL, "--release", FIRST, "--csv").stdout)))
    assert rows == [["person_id", "visits"], ["11", "1"]]
    assert json.loads(run(query, SQL, "--json").stdout) == {"person_id": 11, "visits": 2}


def test_query_writes_null_for_what_json_has_no_number_for(run: Callable[..., Result]) -> None:
    values = ("'nan'::double", "'inf'::float", "['-inf'::double, 1.5]", "{'x': 'nan'::double}", "[date '2024-05-01']")
    sql = f"select {', '.join(f'{value} as {name}' for name, value in zip('abcde', values, strict=True))}"
    (line,) = run(query, sql, "--json").stdout.splitlines()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    expected = {"a": None, "b": None, "c": [None, 1.5], "d": {"x": None}, "e": ["2024-05-01"]}
    assert json.loads(line, parse_constant=refuse) == expected


@pytest.mark.parametrize("form", ["--csv", "--json", "table"])
def test_query_keeps_every_column_under_its_name(run: Callable[..., Result], form: str) -> None:
    """The first and the third were one column once, with the value of the last."""
    sql = 'select person_id, null as value_as_number, 7 as person_id, 8 as person_id_1, 1234.5 as "[x]" from person'
    said = run(query, sql, *(() if form == "table" else (form,))).stdout
    names = ["person_id", "value_as_number", "person_id_1", "person_id_1_1", "[x]"]
    if form == "table":
        header, row = (re.split("[┃│]", line)[1:-1] for line in said.splitlines() if line[0] in "┃│")
        assert [cell.strip() for cell in header] == names
        assert [cell.strip() for cell in row] == ["11", "", "7", "8", "1234.5"]
    elif form == "--csv":
        assert list(csv.reader(io.StringIO(said))) == [names, ["11", "", "7", "8", "1234.5"]]
    else:
        assert json.loads(said) == dict(zip(names, [11, None, 7, 8, "1234.5"], strict=True))


def test_query_shows_the_columns_of_the_cdm_only(run: Callable[..., Result]) -> None:
    rows = list(csv.reader(io.StringIO(run(query, "select * from visit_occurrence", "--csv").stdout)))
    assert rows[0] == list(CDM["visit_occurrence"].schema)


def test_query_has_the_tables_without_rows(run: Callable[..., Result]) -> None:
    assert run(query, "select count(*) from note_nlp", "--csv").stdout.splitlines() == ["count_star()", "0"]


@pytest.mark.parametrize(
    "sql",
    [
        "insert into person select * from person",
        "drop view person",
        "copy person to '/tmp/person.csv'",
        "select * from read_csv('/etc/passwd')",
        "attach '/tmp/other.duckdb'",
        "set enable_external_access = true",
        "select nothing from person",
        "selec 1",
    ],
)
def test_query_refuses_what_is_not_a_question_to_the_release(run: Callable[..., Result], sql: str) -> None:
    result = run(query, sql)
    assert isinstance(result.exception, ReleaseError)


def test_releases_lists_them_and_marks_the_current_one(run: Callable[..., Result]) -> None:
    output = run(releases).output
    assert output.index(FIRST) < output.index(SECOND)
    assert "current, newest" in output


def rows_of(result: Result, table: str) -> list[dict[str, Any]]:
    """The rows of a result that was written as JSON."""
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return [{name: value for name, value in row.items() if name != "table"} for row in found if row["table"] == table]


def test_a_release_is_shown_in_full(run: Callable[..., Result]) -> None:
    shown = run(releases, "show", FIRST, "--json")
    (facts,) = rows_of(shown, f"release {FIRST}")
    assert facts["kept_as"] == "newest"
    assert (facts["people"], facts["rows"], facts["run"], facts["checks"]) == (1, 2, "r1", 1)
    assert rows_of(shown, "opt-out lists") == [{"list": "national", "as_at": "2024-01-04"}]
    assert rows_of(shown, "newest extracts") == [{"source": "gp", "provider": "P1", "extract_date": "2024-01-04"}]
    assert [(row["zone"], row["name"], row["version"], row["rows"]) for row in rows_of(shown, "tables")] == [
        ("omop", "person", 0, 1),
        ("omop", "visit_occurrence", 0, 1),
        ("vocabulary", "concept", 0, 1),
    ]


def test_two_releases_are_compared_with_small_numbers_hidden_unless_all_are_asked_for(
    released: Released, run: Callable[..., Result]
) -> None:
    """The visit is the same in both releases and another comes; the person and the concept were written anew."""
    shown = run(releases, "diff", "--json")
    assert rows_of(shown, "by table") == [{"name": "visit_occurrence", "added": "*", "removed": 0, "changed": 0}]
    exact = run(releases, "diff", FIRST, SECOND, "--exact", "--json")
    rows = {"name": "visit_occurrence", "added": 1, "removed": 0, "changed": 0}
    assert rows_of(exact, "by source") == [rows | {"source": "acute"}]
    assert rows_of(exact, "by month") == [rows | {"month": "2024-07"}]
    assert rows_of(exact, "by concept") == [rows | {"concept_id": 9201, "concept": "Inpatient Visit"}]
    assert rows_of(exact, "vocabulary tables") == [{"name": "concept", "rows_before": 1, "rows_after": 1}]
    back = run(releases, "diff", SECOND, FIRST, "--exact", "--json")
    assert rows_of(back, "by table") == [{"name": "visit_occurrence", "added": 0, "removed": 1, "changed": 0}]
    assert "no such release" in str(run(releases, "diff", FIRST, "20240107-cccccccc").exception)


def test_what_a_release_keeps_alone_is_what_neither_another_nor_the_newest_version_has(
    released: Released, run: Callable[..., Result]
) -> None:
    kept = {row["release"]: row for row in rows_of(run(releases, "list", "--sizes", "--json"), "releases")}
    tables = ((Zone.OMOP, "person"), (Zone.OMOP, "visit_occurrence"), (Zone.VOCABULARY, "concept"))
    size = sum(
        Path(file).stat().st_size for place in tables for file in DeltaTable(released.store.path(*place), version=0).file_uris()
    )
    assert (kept[FIRST]["bytes"], kept[FIRST]["bytes_kept_by_it_alone"]) == (size, size)
    assert (kept[SECOND]["bytes"] > 0, kept[SECOND]["bytes_kept_by_it_alone"]) == (True, 0)
    (facts,) = rows_of(run(releases, "show", FIRST, "--json"), f"release {FIRST}")
    assert facts["versions_kept_by_it_alone"] == 3


def test_a_held_release_stays_until_that_is_lifted_and_an_expired_one_cannot_be_read(
    released: Released, run: Callable[..., Result]
) -> None:
    owner = ("--owner", "study 12", "--reason", "it rests on it")
    assert isinstance(run(releases, "hold", FIRST, *owner, "--until", "2024-01-31").exception, ConfigError)
    assert run(releases, "hold", FIRST, *owner, "--until", "2999-01-31").exit_code == 0
    listed = run(releases, "--json")
    assert [row["kept_as"] for row in rows_of(listed, "releases")] == ["held, newest", "current, newest"]
    assert [(row["owner"], row["until"]) for row in rows_of(listed, "holds")] == [("study 12", "2999-01-31")]
    expire = ("expire", FIRST, "--reason", "a wrong map")
    assert "held for study 12" in str(run(releases, *expire).exception)
    assert run(releases, "hold", FIRST, *owner, "--lift").exit_code == 0
    assert "current one and stays" in str(run(releases, "expire", SECOND, "--reason", "r").exception)
    assert '"releases": 1' in run(releases, *expire, FIRST, "--json").stderr
    assert release_folder(released.settings).ids() == [SECOND]
    assert "was removed at" in str(run(query, "select 1", "--release", FIRST).exception)
    assert released.store.read(Zone.OMOP, "visit_occurrence", version=0).count() == 1  # upkeep takes it, not this


def test_a_rollback_that_shows_people_who_have_opted_out_has_to_be_accepted(
    released: Released, run: Callable[..., Result]
) -> None:
    decided(released.store, "objection")
    refused = run(rollback, "--reason", "a wrong map")
    assert isinstance(refused.exception, ReleaseError)
    assert "fewer than 8 people who have opted out since" in str(refused.exception)
    assert chosen_release(released.settings).release_id == SECOND
    assert run(rollback, "--reason", "a wrong map", "--accept-older-opt-outs").exit_code == 0
    assert chosen_release(released.settings).release_id == FIRST
    last = release_folder(released.settings).moves()[-1]
    assert (last.action, last.reason) == ("rollback", "a wrong map")


def test_a_publication_that_shows_people_who_have_opted_out_has_to_be_accepted(
    released: Released, run: Callable[..., Result], tmp_path: Path
) -> None:
    """An earlier release, and the current one after a rollback; where nobody has opted out nothing has to be accepted."""
    target = tmp_path / "cdm.duckdb"
    earlier = ("--to", f"duckdb:{target}", "--release", FIRST)
    assert run(publish, *earlier).exit_code == 0
    target.unlink()
    decided(released.store, "national")
    said = f"release {FIRST} shows fewer than 8 people who have opted out since, wholly or in part, or are no longer known"
    refused = run(publish, *earlier)
    assert (refused.exception.exit_code, str(refused.exception)) == (  # type: ignore[union-attr]
        22,
        f"{said}; --accept-older-opt-outs takes it all the same",
    )
    assert not target.exists()
    accepted = run(publish, *earlier, "--accept-older-opt-outs", "--json")
    assert (accepted.exit_code, said in accepted.stderr) == (0, True)
    assert "opted out" not in run(publish, "--to", f"duckdb:{target}", "--json").stderr
    held = run(releases, "hold", FIRST, "--owner", "study 12", "--reason", "r")
    assert f"{said}; it keeps their rows" in held.stderr
    assert [said in run(releases, "show", release, "--json").stderr for release in (FIRST, SECOND)] == [True, False]
    run(rollback, "--reason", "a wrong map", "--accept-older-opt-outs")
    assert str(run(publish, "--to", f"duckdb:{target}").exception) == str(refused.exception)
    assert run(publish, "--to", f"duckdb:{target}", "--release", SECOND).exit_code == 0


def test_a_rollback_holds_is_shown_and_is_lifted(released: Released, run: Callable[..., Result]) -> None:
    assert "rollback holds" not in run(status).output
    assert isinstance(run(rollback, "--lift", "--reason", "none yet").exception, ReleaseError)
    run(rollback, "--reason", "a wrong map", "--accept-older-opt-outs")
    shown = run(status).output
    assert "rollback holds" in shown
    assert "a wrong map" in shown
    assert run(rollback, "--lift", "--reason", "map corrected").exit_code == 0
    assert "rollback holds" not in run(status).output
    assert chosen_release(released.settings).release_id == FIRST
    assert [move.action for move in release_folder(released.settings).moves()[-2:]] == ["rollback", "lift"]


def test_rollback_needs_a_release_to_go_back_to(run: Callable[..., Result]) -> None:
    run(rollback, "--reason", "r", "--accept-older-opt-outs")
    result = run(rollback, "--reason", "r", "--accept-older-opt-outs")
    assert isinstance(result.exception, ReleaseError)
    assert "no release before" in str(result.exception)


def test_status_shows_the_current_release_and_its_age(run: Callable[..., Result]) -> None:
    result = run(status)
    assert result.exit_code == 0
    assert SECOND in result.output
    assert "age days" in result.output


def test_report_hides_small_numbers_on_the_screen_and_in_the_file(run: Callable[..., Result], tmp_path: Path) -> None:
    page = tmp_path / "report.md"
    result = run(report, "--out", str(page))
    assert result.exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert "| gp | 1,203 | 1,100 |" in text
    assert "| national | \\* | \\* |" in text
    assert "| objection | \\* | \\* |" in text
    assert "| gp | 100 | 90 | 0 | 0 | 10 | 90.0% |" in text
    assert f"release: {SECOND}" in text


@pytest.mark.parametrize("command", [report, gate])
def test_a_run_that_never_was_is_refused_with_those_there_are(
    command: object, run: Callable[..., Result], tmp_path: Path
) -> None:
    refused = run(command, "--run", "nope", "--out", str(tmp_path / "out"))
    assert isinstance(refused.exception, ReleaseError)
    assert str(refused.exception) == "there is no such run; the last ones: r2"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "place"), [("--html", "folder"), ("--out", "folder"), ("--data-docs", "file"), ("--out", "none/report.md")]
)
def test_a_report_that_cannot_be_written_is_no_unexpected_error(
    option: str, place: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    refused = run(report, option, str(tmp_path / place))
    assert isinstance(refused.exception, ReleaseError)
    assert f"{tmp_path / place}: cannot be written: " in str(refused.exception)


def test_rows_of_a_check_that_never_was_are_refused(run: Callable[..., Result]) -> None:
    assert isinstance(run(gate, "--rows", "nope").exception, ConfigError)
    assert run(gate, "--rows", "unique on omop.person").exit_code == 0


def test_without_a_release_the_commands_tell_how_to_make_a_release(tmp_path: Path) -> None:
    places = ("landing", "restricted", "deidentified")
    empty = load_settings("test", overrides=[f"storage.{name}={tmp_path / name}" for name in places])
    with pytest.raises(ReleaseError, match="nhs-omop run makes one"):
        chosen_release(empty)
