"""Small tables published to a real PostgreSQL: values that are hard to carry over, and what stops a publication."""

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from pipelines.errors import ConfigError, ReleaseError
from pipelines.release.publish.postgresql_schema import PostgresqlSchema, publish_postgresql
from tests.builders.publications import Row, publication
from tests.postgresql import Server, server_programs

TEXTS = [
    "",
    "a",
    'with "quotes", commas',
    "two\nlines\r\n",
    "\\.",
    "\\N",
    "NULL",
    "  ",
    "ÄŁ漢🙂",
    "'; DROP TABLE x; --",
    "a\tb\\n",
]
AMOUNTS = [0.0, -0.0, 0.1, 1 / 3, 120.0, -7.25, 1e-7, 5e-324, 123456789.123456789, 1e15, 1e22, 1.7976931348623157e308]


def content(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT * FROM cdm.kept ORDER BY kept_id").fetchall()


ROW: Row = (1, "a", 1.5, date(2024, 5, 1), datetime(2024, 5, 1, 12, 30))


def test_values_arrive_as_they_are(database: str, tmp_path: Path) -> None:
    rows: list[Row] = [(2**53 - number, text, None, None, None) for number, text in enumerate(TEXTS)]
    rows += [(number, None, amount, None, None) for number, amount in enumerate(AMOUNTS)]
    rows += [
        (101, None, None, date(1, 1, 1), datetime(1900, 2, 28, 23, 59, 59, 999999)),
        (102, None, None, date(9999, 12, 31), datetime(2024, 3, 31, 1, 30)),
        (-1, None, None, None, None),
    ]
    assert publish_postgresql(PostgresqlSchema(database, "cdm"), publication(tmp_path / "kept", rows)) == {"kept": len(rows)}
    found = [
        (number, text, float(amount) if isinstance(amount, Decimal) else amount, day, moment)
        for number, text, amount, day, moment in content(database)
    ]
    assert found == sorted(rows)


def test_rows_lie_in_the_order_of_their_keys_not_as_they_were_delivered(database: str, tmp_path: Path) -> None:
    rows: list[Row] = [(number * 7919 % 1009, None, None, None, None) for number in range(1000)]
    publish_postgresql(PostgresqlSchema(database, "cdm"), publication(tmp_path / "kept", rows))
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT kept_id FROM cdm.kept ORDER BY ctid").fetchall()
    assert found == sorted((number,) for number, *_ in rows)


def test_a_dump_keeps_rows_keys_comments_and_rights(postgresql: Server, database: str, tmp_path: Path) -> None:
    programs = server_programs()
    assert programs is not None
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE ROLE reader_of_dumps")
    rows: list[Row] = [(number, text, None, None, None) for number, text in enumerate(TEXTS)]
    target = PostgresqlSchema(database, "cdm", ("reader_of_dumps",))
    published = publication(tmp_path / "kept", rows)
    publish_postgresql(target, published)
    dumped = subprocess.run([str(programs / "pg_dump"), database, "-n", "cdm"], check=True, capture_output=True).stdout
    with postgresql.database("restored") as restored:
        command = [str(programs / "psql"), restored, "-X", "-q", "-v", "ON_ERROR_STOP=1"]
        subprocess.run(command, input=dumped, check=True, capture_output=True)
        assert content(restored) == content(database)
        assert described(restored) == described(database) != []
        publish_postgresql(replace(target, url=restored), published)


def described(url: str) -> list[tuple[object, ...]]:
    """The constraints, comments and rights of the schema and its table."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT array_agg(pg_get_constraintdef(k.oid) ORDER BY k.conname), obj_description(c.oid), c.relacl, n.nspacl, "
            "obj_description(n.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_constraint k ON "
            "k.conrelid = c.oid WHERE n.nspname = 'cdm' AND c.relkind = 'r' GROUP BY c.oid, c.relacl, n.oid, n.nspacl"
        ).fetchall()


def test_a_table_without_rows_is_published(database: str, tmp_path: Path) -> None:
    assert publish_postgresql(PostgresqlSchema(database, "cdm"), publication(tmp_path / "kept", [])) == {"kept": 0}
    assert content(database) == []


def test_a_value_that_changes_on_the_way_is_found(database: str, tmp_path: Path) -> None:
    """A trigger of the database changes one of many values: the number of rows is right, the checksum is not."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION public.spoil() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN IF NEW.kept_id = 7 THEN NEW.amount := NEW.amount + 0.0000001; END IF; RETURN NEW; END$$"
        )
        connection.execute(
            "CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN "
            "CREATE TRIGGER spoil BEFORE INSERT ON cdm_unfinished.kept FOR EACH ROW EXECUTE FUNCTION public.spoil(); END$$"
        )
        connection.execute(
            "CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.watch()"
        )
    rows: list[Row] = [(number, "a", 1.5, None, None) for number in range(20)]
    with pytest.raises(ReleaseError, match="kept: what arrived in PostgreSQL is not what was sent"):
        publish_postgresql(PostgresqlSchema(database, "cdm"), publication(tmp_path / "kept", rows))
    assert schemas(database) == []


def test_other_rows_than_the_release_has_are_not_published(database: str, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="kept: 1 rows were written of 2"):
        publish_postgresql(PostgresqlSchema(database, "cdm"), publication(tmp_path / "kept", [ROW], pinned_rows=2))
    assert schemas(database) == []


def test_a_key_that_is_there_twice_is_named_without_its_value(database: str, tmp_path: Path) -> None:
    target = PostgresqlSchema(database, "cdm")
    publish_postgresql(target, publication(tmp_path / "kept", [ROW]))
    with pytest.raises(ReleaseError, match="UniqueViolation, table kept, constraint xpk_kept") as raised:
        publish_postgresql(target, publication(tmp_path / "twice", [(4711, *ROW[1:]), (4711, *ROW[1:])]))
    assert "4711" not in str(raised.value)
    assert schemas(database) == ["cdm"]
    assert content(database) == [ROW]


def test_one_publication_to_a_schema_at_a_time(database: str, tmp_path: Path) -> None:
    target = PostgresqlSchema(database, "cdm")
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("CREATE SCHEMA cdm_unfinished")
        other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (target.lock,))
        with pytest.raises(ReleaseError, match="another publication to cdm is under way"):
            publish_postgresql(target, publication(tmp_path / "kept", [ROW]))
    assert schemas(database) == ["cdm_unfinished"]


def test_a_reader_keeps_the_former_schema_until_the_next_publication(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipelines.release.publish.postgresql_schema.LOCK_TIMEOUT", "100ms")
    target = PostgresqlSchema(database, "cdm")
    publish_postgresql(target, publication(tmp_path / "first", [ROW]))
    with psycopg.connect(database) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        before = reader.execute("SELECT * FROM cdm.kept").fetchall()
        publish_postgresql(target, publication(tmp_path / "second", [(2, *ROW[1:])]))
        said = "the release is published; cdm_former, which it replaced, is still there, but not to be read: PostgreSQL "
        assert [record.getMessage() for record in caplog.records] == [
            f"{said}LockNotAvailable; the next publication removes it"
        ]
        assert before == reader.execute("SELECT * FROM cdm_former.kept").fetchall() == [ROW]
    assert schemas(database) == ["cdm", "cdm_former"]
    publish_postgresql(target, publication(tmp_path / "third", [(3, *ROW[1:])]))
    assert schemas(database) == ["cdm"]
    assert [row[0] for row in content(database)] == [3]


ROLES = ("now_reads", "once_read", "of_a_grant", "of_a_column", "of_the_schema", "of_a_reader", "of_everybody")
"""Roles that may get rights to read; there are also `publishes`, which logs in, and `Of-DBA`."""


@pytest.fixture
def roles(database: str) -> Iterator[None]:
    """Roles of the server without rights. All are removed with their rights."""
    with psycopg.connect(database, autocommit=True) as connection:
        made = dict.fromkeys((*ROLES, '"Of-DBA"'), "NOLOGIN") | {"publishes": "LOGIN"}
        connection.execute("; ".join(f"CREATE ROLE {name} {kind}" for name, kind in made.items()).encode())
        yield
        names = ", ".join(made)
        connection.execute(f"DROP OWNED BY {names} CASCADE; DROP ROLE {names}".encode())


@pytest.mark.usefixtures("roles")
@pytest.mark.parametrize("lost", [False, True])
def test_nobody_reads_the_former_schema_and_the_new_one_is_published_whatever_happens_to_the_former(
    lost: bool, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A reader keeps the former schema from being removed, and the server may end the connection that waits for it."""
    monkeypatch.setattr("pipelines.release.publish.postgresql_schema.LOCK_TIMEOUT", "1min" if lost else "100ms")
    publish_postgresql(PostgresqlSchema(database, "cdm", ("now_reads", "once_read")), publication(tmp_path / "first", [ROW]))
    with psycopg.connect(database, autocommit=True) as other, ThreadPoolExecutor() as meanwhile:
        other.execute(
            "GRANT USAGE ON SCHEMA cdm TO PUBLIC, of_the_schema; GRANT SELECT ON cdm.kept TO PUBLIC; "
            "GRANT ALL ON cdm.kept TO of_a_grant WITH GRANT OPTION; GRANT SELECT (text) ON cdm.kept TO of_a_column; "
            "SET ROLE of_a_grant; GRANT SELECT ON cdm.kept TO of_a_reader; RESET ROLE"
        )
        with psycopg.connect(database) as reader:
            reader.execute("SELECT * FROM cdm.kept")
            target, second = (
                PostgresqlSchema(database, "cdm", ("now_reads",)),
                publication(tmp_path / "second", [(2, *ROW[1:])]),
            )
            published = meanwhile.submit(publish_postgresql, target, second)
            while lost and other.execute(END_WHAT_WAITS).fetchall() == []:
                assert not published.done()
                time.sleep(0.02)
            assert published.result() == {"kept": 1}
        reason = "AdminShutdown" if lost else "LockNotAvailable"
        assert [record.getMessage() for record in caplog.records] == [
            "the release is published; cdm_former, which it replaced, is still there, but not to be read: "
            f"PostgreSQL {reason}; the next publication removes it"
        ]
        reading = (
            "SELECT has_schema_privilege(%(role)s, %(schema)s, 'USAGE'), "
            "has_any_column_privilege(%(role)s, %(schema)s || '.kept', 'SELECT')"
        )
        found = {
            (role, schema): other.execute(reading, {"role": role, "schema": schema}).fetchone()
            for role in ROLES
            for schema in ("cdm", "cdm_former")
        }
        assert {where for where, rights in found.items() if rights != (False, False)} == {("now_reads", "cdm")}
        assert found["now_reads", "cdm"] == (True, True)
    publish_postgresql(target, second)
    assert schemas(database) == ["cdm"]


END_WHAT_WAITS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'nhs-omop publish' AND wait_event_type = 'Lock'
"""


RESTING = {
    "view study.v": ("CREATE VIEW study.v AS SELECT kept_id FROM cdm.kept", "DROP VIEW study.v"),
    "materialized view study.m": (
        "CREATE MATERIALIZED VIEW study.m AS SELECT kept_id FROM cdm.kept",
        "DROP MATERIALIZED VIEW study.m",
    ),
    "function study.n()": (
        "CREATE FUNCTION study.n() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM cdm.kept; END",
        "DROP FUNCTION study.n()",
    ),
    "function study.of(cdm.kept)": (
        "CREATE FUNCTION study.of(cdm.kept) RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION study.of",
    ),
    "column p of table study.t": ("CREATE TABLE study.t (p cdm.kept)", "DROP TABLE study.t"),
    "column p of table study.a": ("CREATE TABLE study.a (p cdm.kept[])", "DROP TABLE study.a"),
    "constraint f_kept_id_fkey on table study.f": (
        "CREATE TABLE study.f (kept_id bigint REFERENCES cdm.kept)",
        "DROP TABLE study.f",
    ),
    "policy of_rows on table study.p": (
        "CREATE TABLE study.p (a bigint); CREATE POLICY of_rows ON study.p USING (a IN (SELECT kept_id FROM cdm.kept))",
        "DROP TABLE study.p",
    ),
    "default value for column a of table study.d": (
        "CREATE TABLE study.d (a regclass DEFAULT 'cdm.kept'::regclass)",
        "DROP TABLE study.d",
    ),
}
"""Work of others that keeps PostgreSQL from dropping a table, by its name: how it is made and removed."""

WITHIN = {
    "table cdm.my_results": ("CREATE TABLE cdm.my_results (a int)", "DROP TABLE cdm.my_results"),
    "view cdm.v": ("CREATE VIEW cdm.v AS SELECT 1 AS a", "DROP VIEW cdm.v"),
    "sequence cdm.s": ("CREATE SEQUENCE cdm.s", "DROP SEQUENCE cdm.s"),
    "function cdm.helper()": (
        "CREATE FUNCTION cdm.helper() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION cdm.helper",
    ),
    "type cdm.kind": ("CREATE TYPE cdm.kind AS ENUM ('a')", "DROP TYPE cdm.kind"),
    "rows of table cdm.cohort": ("CREATE TABLE cdm.cohort AS SELECT 1 AS subject_id", "TRUNCATE cdm.cohort"),
    "rows of table cdm.cohort_definition": (
        "CREATE TABLE cdm.cohort_definition AS SELECT 1 AS cohort_definition_id",
        "TRUNCATE cdm.cohort_definition",
    ),
}
"""What others put into a schema, by its name: how it is made and removed. Tables of cohorts are of a publication, not rows."""


def test_what_rests_on_the_tables_is_named_before_anything_is_loaded(database: str, tmp_path: Path) -> None:
    target = PostgresqlSchema(database, "cdm")
    first, second = publication(tmp_path / "first", [ROW]), publication(tmp_path / "second", [(2, *ROW[1:])])
    publish_postgresql(target, first)
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("CREATE SCHEMA study")
        for name, (made, removed) in RESTING.items():
            other.execute(made.encode())
            with pytest.raises(ReleaseError) as raised:
                publish_postgresql(target, second)
            assert str(raised.value) == (
                f"what rests on schema cdm would go on showing its release ({name}): drop it, publish, and make it again"
            )
            other.execute(removed.encode())
    assert content(database) == [ROW]
    publish_postgresql(target, second)
    assert (schemas(database), content(database)) == (["cdm"], [(2, *ROW[1:])])


def test_what_others_put_into_the_schema_is_named_and_stays(database: str, tmp_path: Path) -> None:
    """A table of the publication is missing, so that the number of relations is that of a publication."""
    target, second = PostgresqlSchema(database, "cdm"), publication(tmp_path / "second", [ROW])
    publish_postgresql(target, publication(tmp_path / "first", [ROW]))
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("DROP TABLE cdm.kept")
        for name, (made, removed) in WITHIN.items():
            other.execute(made.encode())
            with pytest.raises(ReleaseError) as raised:
                publish_postgresql(target, second)
            said = f"schema cdm has what is not of a publication ({name}); move that to another schema"
            assert str(raised.value) == said
            other.execute(removed.encode())
    publish_postgresql(target, second)
    assert content(database) == [ROW]


def test_what_is_made_on_the_former_schema_meanwhile_is_named_and_cannot_be_read_any_more(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("CREATE ROLE ana_of_former")
        other.execute("CREATE SCHEMA study AUTHORIZATION ana_of_former")
        target = PostgresqlSchema(database, "cdm", ("ana_of_former",))
        publish_postgresql(target, publication(tmp_path / "first", [ROW]))
        other.execute("SET ROLE ana_of_former")
        other.execute(RESTING["function study.n()"][0].encode())
        assert other.execute("SELECT study.n()").fetchone() == (1,)
        monkeypatch.setattr("pipelines.release.publish.postgresql_schema._prepare", lambda *_: None)
        publish_postgresql(target, publication(tmp_path / "second", [(2, *ROW[1:])]))
        assert "what rests on schema cdm_former would go on showing its release (function study.n()): drop it" in caplog.text
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute("SELECT study.n()")
        assert other.execute("SELECT kept_id FROM cdm.kept").fetchall() == [(2,)]
        other.execute("RESET ROLE")
        other.execute("DROP OWNED BY ana_of_former")
        other.execute("DROP ROLE ana_of_former")


def test_a_database_that_is_not_in_utf8_is_refused_before_anything_is_loaded(postgresql: Server, tmp_path: Path) -> None:
    for encoding in ("LATIN1", "SQL_ASCII"):
        with postgresql.database("of_other_letters", encoding) as url:
            with pytest.raises(ConfigError) as raised:
                publish_postgresql(PostgresqlSchema(url, "cdm"), publication(tmp_path / encoding, [ROW]))
            assert str(raised.value) == (
                f"--to: the database has the encoding {encoding}; publish to one with UTF8, made by "
                "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
            )
            assert schemas(url) == []


@pytest.mark.usefixtures("roles")
def test_a_right_that_is_missing_is_named_before_anything_is_loaded(postgresql: Server, database: str, tmp_path: Path) -> None:
    """What a message says is done, until nothing is missing."""
    target = PostgresqlSchema(postgresql.url("of_a_test", "publishes"), "cdm", ("now_reads",))
    second, loaded = publication(tmp_path / "second", [(2, *ROW[1:])]), list[str]()
    publish_postgresql(PostgresqlSchema(database, "cdm"), publication(tmp_path / "first", [ROW]))
    with psycopg.connect(database, autocommit=True) as administrator:
        for before, said in MISSING:
            administrator.execute(before.encode())
            with pytest.raises(ConfigError) as raised:
                publish_postgresql(target, second, loaded.append)
            assert str(raised.value) == said
            administrator.execute(said.rpartition("run: ")[2].encode())
    assert loaded == []
    assert publish_postgresql(target, second) == {"kept": 1}
    assert (schemas(database), content(database)) == (["cdm"], [(2, *ROW[1:])])


BELONGS = "--to: schema cdm or tables in it belong to another role, which the user has no part in; let an administrator run:"
MISSING = [
    (
        "SELECT 1",
        "--to: the user may not create schemas in this database; let its owner run: "
        "GRANT CREATE ON DATABASE of_a_test TO publishes",
    ),
    (
        'ALTER SCHEMA cdm OWNER TO publishes; ALTER TABLE cdm.kept OWNER TO "Of-DBA"',
        f'{BELONGS} GRANT "Of-DBA" TO publishes',
    ),
    (
        'REVOKE "Of-DBA" FROM publishes; ALTER TABLE cdm.kept OWNER TO publishes; ALTER SCHEMA cdm OWNER TO "Of-DBA"',
        f'{BELONGS} GRANT "Of-DBA" TO publishes',
    ),
]
"""What happens before a publication, and what it says."""


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:geheim@localhost/none",
        "postgresql://u@localhost/none?password=geheim",
        "postgresql://u@localhost/none?sslpassword=geheim",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leave the password out") as raised:
        publish_postgresql(PostgresqlSchema(url, "cdm"), publication(tmp_path / "kept", [ROW]))
    assert "geheim" not in str(raised.value)


def test_the_password_is_in_no_message_and_no_description(tmp_path: Path) -> None:
    target = PostgresqlSchema(f"postgresql://user@/none?host={tmp_path}", "cdm", password="geheim")
    with pytest.raises(ConfigError, match="no connection to PostgreSQL") as raised:
        publish_postgresql(target, publication(tmp_path / "kept", [ROW]))
    assert "geheim" not in str(raised.value) + repr(target)


def schemas(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'cdm%' ORDER BY nspname").fetchall()
    return [name for (name,) in found]
