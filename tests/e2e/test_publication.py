"""The release of the demo published to DuckDB, Parquet and a real PostgreSQL, compared with the release value by value."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from deltalake import DeltaTable

from jobs.publish import Target, publication_of, publish_to, sql_for_webapi, target_of
from pipelines.contracts.derived import published_tables
from pipelines.errors import ConfigError, ReleaseError
from pipelines.release.model import Release
from pipelines.release.published import chosen_release
from pipelines.settings import Settings
from tests.e2e.test_analysts import QUERIES
from tests.e2e.world import DemoWorld
from tests.postgresql import Server

CDM = published_tables("5.4")
READER = "reader"

KEYS = {"person": "person_id", "measurement": "measurement_id", "drug_dosing": "drug_exposure_id", "concept": "concept_id"}
"""Primary keys of some tables, and by the next ones indexes and links, as OHDSI and the derived tables have them."""

INDEXES = {
    ("person", "gender_concept_id"),
    ("measurement", "person_id"),
    ("measurement", "measurement_concept_id"),
    ("measurement", "visit_occurrence_id"),
    ("concept", "concept_code"),
    ("episode", "person_id"),
    ("event_evidence", "event_id"),
}
WHOLE_NUMBERS = {
    ("person", "year_of_birth", "bigint"),
    ("procedure_occurrence", "quantity", "bigint"),
    ("drug_exposure", "refills", "bigint"),
    ("drug_exposure", "days_supply", "bigint"),
    ("drug_era", "gap_days", "bigint"),
}
"""Fields that are integer in OHDSI's DDL and no ids."""

LINKS = {
    ("measurement", "person_id", "person"),
    ("measurement", "measurement_concept_id", "concept"),
    ("visit_occurrence", "care_site_id", "care_site"),
    ("drug_dosing", "drug_exposure_id", "drug_exposure"),
    ("continuous_inpatient_spell_visit", "continuous_inpatient_spell_id", "continuous_inpatient_spell"),
    ("concept", "vocabulary_id", "vocabulary"),
}


def to_postgresql(settings: Settings, url: str, **chosen: Any) -> dict[str, int]:
    changed = settings.model_copy(update={"publish": settings.publish.model_copy(update=chosen)})
    return publish_to(changed, target_of(url))


def released_rows(world: DemoWorld, name: str) -> set[tuple[Any, ...]]:
    """The rows of a table as the release pins them, with the fields of the CDM: read with deltalake and pandas' Arrow only."""
    pin = next(table for table in chosen_release(world.settings).tables if table.name == name)
    table = DeltaTable(str(world.table_path(pin.zone, name)), version=pin.version).to_pyarrow_table()
    columns = [table.column(column).to_pylist() for column in CDM[name].schema]
    return {tuple(map(plain, row)) for row in zip(*columns, strict=True)}


def plain(value: Any) -> Any:
    """A value as all targets give it: moments without a zone (UTC), numbers as floats."""
    if hasattr(value, "tzinfo") and hasattr(value, "hour"):
        return value.replace(tzinfo=None)
    return float(value) if type(value).__name__ == "Decimal" else value


@pytest.fixture(scope="module")
def published(world: DemoWorld, postgresql: Server) -> Iterator[str]:
    """The URL of a database with the release in the schema `cdm`, which a role may read."""
    with postgresql.database("published") as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {READER} LOGIN")
        to_postgresql(world.settings, url, readers=(READER,))
        yield url


@pytest.fixture(scope="module")
def parquet(world: DemoWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the release in Parquet."""
    folder = tmp_path_factory.mktemp("parquet")
    publish_to(world.settings, Target("parquet", str(folder)))
    return folder / chosen_release(world.settings).release_id


@pytest.mark.parametrize("name", sorted(CDM))
def test_postgresql_has_the_rows_of_the_release(world: DemoWorld, published: str, name: str) -> None:
    fields = ", ".join(f'"{field}"' for field in CDM[name].schema)
    with psycopg.connect(published) as connection:
        rows = connection.execute(f"SELECT {fields} FROM cdm.{name}").fetchall()
    assert len(rows) == next((t.rows for t in chosen_release(world.settings).tables if t.name == name), 0)
    if rows:
        assert {tuple(map(plain, row)) for row in rows} == released_rows(world, name)


@pytest.mark.parametrize("name", sorted(CDM))
def test_parquet_has_the_rows_of_the_release_in_the_order_of_people(world: DemoWorld, parquet: Path, name: str) -> None:
    read = duckdb.read_parquet(str(parquet / f"{name}.parquet"))
    assert read.columns == list(CDM[name].schema)
    rows = read.fetchall()
    if rows:
        assert {tuple(map(plain, row)) for row in rows} == released_rows(world, name)
    if "person_id" in read.columns:
        people = [row[read.columns.index("person_id")] for row in rows]
        assert people == sorted(people)


def test_duckdb_has_the_rows_of_the_release(world: DemoWorld) -> None:
    with duckdb.connect(str(world.duckdb), read_only=True) as connection:
        for name in ("person", "measurement", "visit_timing", "concept", "measurement_harmonised"):
            rows = connection.execute(f"SELECT * FROM {name}").fetchall()
            assert {tuple(map(plain, row)) for row in rows} == released_rows(world, name)


def test_duckdb_has_keys_indexes_and_comments(world: DemoWorld) -> None:
    with duckdb.connect(str(world.duckdb), read_only=True) as connection:
        constraints = connection.execute(
            "SELECT table_name, constraint_column_names FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'"
        ).fetchall()
        keys = {table: columns[0] for table, columns in constraints}
        assert keys == {name: table.primary_key for name, table in CDM.items() if table.primary_key}
        assert KEYS.items() <= keys.items()
        indexes = dict(connection.execute("SELECT index_name, table_name FROM duckdb_indexes()").fetchall())
        assert all(indexes[f"idx_{table}_{column}"] == table for table, column in INDEXES)
        comments = dict(connection.execute("SELECT table_name, comment FROM duckdb_tables()").fetchall())
        assert comments["person"] == "One row per person"
        assert all(comments.values())
        found = connection.execute(
            "SELECT comment FROM duckdb_columns() WHERE table_name = 'measurement' AND column_name = 'visit_occurrence_id'"
        ).fetchone()
        assert found == ("Refers to visit_occurrence.visit_occurrence_id",)


def test_a_duckdb_file_without_indexes_has_no_keys(world: DemoWorld, tmp_path: Path) -> None:
    chosen = world.settings.publish.model_copy(update={"duckdb_indexes": False})
    publish_to(world.settings.model_copy(update={"publish": chosen}), Target("duckdb", str(tmp_path / "cdm.duckdb")))
    with duckdb.connect(str(tmp_path / "cdm.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM duckdb_indexes()").fetchone() == (0,)


def test_the_manifest_names_files_rows_and_checksums(world: DemoWorld, parquet: Path) -> None:
    manifest = json.loads((parquet / "manifest.json").read_text(encoding="utf-8"))
    release = chosen_release(world.settings)
    assert (manifest["release_id"], manifest["cdm_version"]) == (release.release_id, "5.4")
    tables = {table["name"]: table for table in manifest["tables"]}
    assert set(tables) == set(CDM)
    assert {path.name for path in parquet.iterdir()} == {"manifest.json", *(table["file"] for table in tables.values())}
    for table in tables.values():
        content = (parquet / table["file"]).read_bytes()
        assert (table["sha256"], table["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    rows = {table.name: table.rows for table in release.tables}
    assert {name: table["rows"] for name, table in tables.items() if name in rows} == rows
    assert tables["death"]["columns"][0] == {
        "name": "person_id",
        "type": "bigint",
        "nullable": False,
        "references": "person.person_id",
    }


def test_a_parquet_folder_that_is_there_is_checked_and_left(world: DemoWorld, tmp_path: Path) -> None:
    target = Target("parquet", str(tmp_path))
    rows = publish_to(world.settings, target)
    folder = tmp_path / chosen_release(world.settings).release_id
    before = (folder / "person.parquet").stat().st_mtime_ns
    assert publish_to(world.settings, target) == rows
    assert (folder / "person.parquet").stat().st_mtime_ns == before
    (folder / "person.parquet").write_bytes(b"")
    with pytest.raises(ReleaseError, match="move it away"):
        publish_to(world.settings, target)


def test_postgresql_has_keys_indexes_links_and_comments(published: str) -> None:
    with psycopg.connect(published) as connection:
        keys = connection.execute(
            "SELECT table_name, column_name FROM information_schema.table_constraints "
            "JOIN information_schema.key_column_usage USING (constraint_name, constraint_schema, table_name) "
            "WHERE constraint_type = 'PRIMARY KEY' AND constraint_schema = 'cdm'"
        ).fetchall()
        assert dict(keys) == {name: table.primary_key for name, table in CDM.items() if table.primary_key}
        links = connection.execute(
            "SELECT t.relname, a.attname, o.relname FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.conrelid "
            "JOIN pg_class AS o ON o.oid = c.confrelid "
            "JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = c.conkey[1] WHERE c.contype = 'f' AND c.convalidated"
        ).fetchall()
        assert set(links) == {
            (name, column.name, column.references[0])
            for name, table in CDM.items()
            for column in table.columns
            if column.references
        }
        assert set(links) >= LINKS
        indexes = connection.execute(
            "SELECT t.relname, a.attname FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid "
            "JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = i.indkey[0] "
            "WHERE NOT i.indisprimary AND t.relnamespace = 'cdm'::regnamespace"
        ).fetchall()
        assert set(indexes) >= INDEXES
        types = connection.execute(
            "SELECT table_name, column_name, data_type, character_maximum_length FROM information_schema.columns "
            "WHERE table_schema = 'cdm'"
        ).fetchall()
        kinds = {"bigint": "bigint", "date": "date", "timestamp": "timestamp without time zone", "double": "numeric"}
        assert {(table, name): (kind, length) for table, name, kind, length in types} == {
            (table.name, column.name): (kinds.get(column.type, "character varying" if column.length else "text"), column.length)
            for table in CDM.values()
            for column in table.columns
        }
        assert {(table, name, kind) for table, name, kind, _ in types} >= WHOLE_NUMBERS
        comment = connection.execute("SELECT obj_description('cdm.person'::regclass)").fetchone()
        assert comment == ("One row per person",)


def test_every_query_of_the_page_for_analysts_gives_the_same_number_of_rows_in_postgresql(
    world: DemoWorld, postgresql: Server, published: str
) -> None:
    reading = f"{postgresql.url('published', READER)}&options=-csearch_path%3Dcdm"
    failed = {}
    with (
        psycopg.connect(reading, autocommit=True) as connection,
        duckdb.connect(str(world.duckdb), read_only=True) as cdm,
    ):
        for query in QUERIES:
            try:
                found = len(connection.execute(query.text.encode()).fetchall())
            except psycopg.Error as error:
                failed[query.text] = str(error)
                continue
            assert found == len(cdm.execute(query.text).fetchall()), query.text
    assert failed == {}


def test_readers_read_the_schema_and_cannot_write(postgresql: Server, published: str) -> None:
    with psycopg.connect(postgresql.url("published", READER)) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM cdm.person").fetchone() == (True,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM cdm.person")


def test_ids_fit_the_numbers_of_r_and_javascript(published: str) -> None:
    with psycopg.connect(published) as connection:
        for name, table in CDM.items():
            for column in table.columns:
                if column.type == "bigint":
                    found = connection.execute(f'SELECT max(abs("{column.name}")) FROM cdm.{name}').fetchone()
                    assert found is not None
                    assert (found[0] or 0) <= 2**53


def schemas(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'cdm%'").fetchall()
    return {name for (name,) in rows}


def comment_of(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT obj_description('cdm'::regnamespace, 'pg_namespace')").fetchone()
    return str(row[0]) if row else ""


def publishes_until(state: str, world: DemoWorld, url: str) -> None:
    """Publish in a process of its own and kill it when the database has a schema."""
    options = [f"storage.{name}={world.folder / name}" for name in ("landing", "restricted", "deidentified")]
    arguments = [argument for option in options for argument in ("--set", option)]
    command = [sys.executable, "-m", "jobs.publish", "--to", url, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while state not in schemas(url):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    still_there = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'nhs-omop%'"
    with psycopg.connect(url, autocommit=True) as connection:
        # The server notices the end of the process when it next reads from it.
        while connection.execute(still_there).fetchone() != (0,):
            time.sleep(0.02)


def test_a_killed_publication_leaves_the_former_release_and_the_next_one_replaces_it(world: DemoWorld, database: str) -> None:
    first, second = (outcome.release_id for outcome in world.outcomes)
    publish_to(world.settings, target_of(database), first)
    publishes_until("cdm_unfinished", world, database)
    assert schemas(database) == {"cdm", "cdm_unfinished"}
    assert str(first) in comment_of(database)
    with psycopg.connect(database, autocommit=True) as reader:
        before = reader.execute("SELECT count(*) FROM cdm.person").fetchone()
        rows = publish_to(world.settings, target_of(database))
        after = reader.execute("SELECT count(*) FROM cdm.person").fetchone()
    pinned = {release.release_id: release.pin("omop", "person").rows for release in releases_of(world)}
    assert (before, after) == ((pinned[str(first)],), (rows["person"],))
    assert str(second) in comment_of(database)
    assert schemas(database) == {"cdm"}


def releases_of(world: DemoWorld) -> list[Release]:
    return [chosen_release(world.settings, outcome.release_id) for outcome in world.outcomes]


def with_wrong_person(world: DemoWorld, folder: Path) -> Settings:
    """A lake of which a release, one that names no files, has observation periods of people that there are not."""
    copied = world.copied_to(folder)
    path = str(copied.table_path("omop", "observation_period"))
    DeltaTable(path).update(updates={"person_id": "person_id + 1"})
    newest = DeltaTable(path).version()
    release = folder / "deidentified" / "releases" / f"{chosen_release(copied.settings).release_id}.json"
    document = json.loads(release.read_text(encoding="utf-8"))
    for table in document["tables"]:
        if table["name"] == "observation_period":
            table |= {"version": newest, "files": None}
    release.write_text(json.dumps(document), encoding="utf-8")
    return copied.settings


def test_a_link_that_does_not_hold_leaves_the_former_schema_and_says_which(
    world: DemoWorld, published: str, tmp_path: Path
) -> None:
    with pytest.raises(ReleaseError, match="ForeignKeyViolation, table observation_period, constraint fpk_") as raised:
        publish_to(with_wrong_person(world, tmp_path / "lake"), target_of(published))
    assert not any(character.isdigit() for character in str(raised.value))
    assert schemas(published) == {"cdm"}
    periods = chosen_release(world.settings).pin("omop", "observation_period").rows
    with psycopg.connect(published) as connection:
        assert connection.execute("SELECT count(*) FROM cdm.observation_period").fetchone() == (periods,)


@pytest.mark.parametrize(
    ("made", "removed", "message"),
    [
        ("CREATE TABLE cdm.mine (a int)", "DROP TABLE cdm.mine", "what is not of a publication (table cdm.mine)"),
        (
            "CREATE VIEW public.mine AS SELECT person_id FROM cdm.person",
            "DROP VIEW public.mine",
            "would go on showing its release (view public.mine)",
        ),
        ("CREATE SCHEMA cdm_former", "DROP SCHEMA cdm_former", "cdm_former is not of a publication"),
    ],
)
def test_the_work_of_others_is_not_replaced(world: DemoWorld, published: str, made: str, removed: str, message: str) -> None:
    with psycopg.connect(published, autocommit=True) as connection:
        connection.execute(made)
        try:
            with pytest.raises(ReleaseError, match=re.escape(message)):
                publish_to(world.settings, target_of(published))
        finally:
            connection.execute(removed)
    assert schemas(published) == {"cdm"}


def test_roles_have_to_be_there(world: DemoWorld, database: str) -> None:
    with pytest.raises(ConfigError, match="there is no role nobody_here"):
        to_postgresql(world.settings, database, readers=(READER, "nobody_here"))
    assert schemas(database) == set()


def test_another_version_of_the_cdm_has_its_fields_empty_and_says_so(world: DemoWorld, tmp_path: Path) -> None:
    publish_to(world.settings, Target("parquet", str(tmp_path)), None, "5.5")
    folder = tmp_path / f"{chosen_release(world.settings).release_id}-cdm5.5"
    fields = duckdb.read_parquet(str(folder / "observation.parquet"))
    assert {"value_as_date", "unit_source_concept_id", "value_as_source_concept_id"} <= set(fields.columns)
    assert fields.filter("value_as_date IS NOT NULL").fetchall() == []
    source = duckdb.read_parquet(str(folder / "cdm_source.parquet")).project("cdm_version, cdm_version_concept_id").fetchall()
    assert source == [("5.5", 0)]
    assert (folder / "pack_content.parquet").exists()
    assert publication_of(world.settings, None, "5.5").tables.keys() - CDM.keys() == {
        "concept_metadata",
        "concept_relationship_metadata",
        "pack_content",
    }


def test_the_sql_for_webapi_adds_the_source_once(world: DemoWorld, database: str) -> None:
    statements = sql_for_webapi(world.settings, "postgresql://nhs_omop@db.example.nhs.uk/sde")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA webapi")
        connection.execute("CREATE SEQUENCE webapi.source_sequence")
        connection.execute("CREATE SEQUENCE webapi.source_daimon_sequence")
        connection.execute(
            "CREATE TABLE webapi.source (source_id int PRIMARY KEY, source_name varchar(255) NOT NULL, "
            "source_key varchar(50) NOT NULL UNIQUE, source_connection varchar(8000) NOT NULL, "
            "source_dialect varchar(255) NOT NULL)"
        )
        connection.execute(
            "CREATE TABLE webapi.source_daimon (source_daimon_id int PRIMARY KEY, source_id int NOT NULL, "
            "daimon_type int NOT NULL, table_qualifier varchar(255) NOT NULL, priority int NOT NULL)"
        )
        for _ in range(2):
            connection.execute(statements.encode())
        sources = connection.execute("SELECT source_name, source_key, source_connection, source_dialect FROM webapi.source")
        assert sources.fetchall() == [
            ("NHS Secure Data Environment", "CDM", "jdbc:postgresql://db.example.nhs.uk:5432/sde", "postgresql")
        ]
        daimons = connection.execute("SELECT daimon_type, table_qualifier FROM webapi.source_daimon ORDER BY daimon_type")
        assert daimons.fetchall() == [(0, "cdm"), (1, "cdm"), (2, "cdm_results"), (5, "cdm_temp")]
    assert schemas(database) == {"cdm_results", "cdm_temp"}
