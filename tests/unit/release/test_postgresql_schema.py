"""Small tables published to a real PostgreSQL: values that are hard to carry over, and what stops a publication."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from pipelines.errors import ConfigError, ReleaseError
from pipelines.release.publish.postgresql_schema import PostgresqlSchema, publish_postgresql
from tests.builders.publications import Row, publication

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
        assert "cdm_former, which was replaced, is still in use" in caplog.text
        assert before == reader.execute("SELECT * FROM cdm_former.kept").fetchall() == [ROW]
    assert schemas(database) == ["cdm", "cdm_former"]
    publish_postgresql(target, publication(tmp_path / "third", [(3, *ROW[1:])]))
    assert schemas(database) == ["cdm"]
    assert [row[0] for row in content(database)] == [3]


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
