"""Publishes a release as a schema of a PostgreSQL database.

The tables are loaded into a schema of their own, get keys, indexes and foreign keys there, are compared with the release, and
take the name of the former schema in one transaction. Readers see one release or the other, never a mixture.

No message of PostgreSQL is shown, because it may quote a value of a row: the class of the error, table and constraint are.
"""

import io
import logging
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, LiteralString

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from psycopg import sql

from pipelines.contracts.cdm import COHORT_TABLES, CdmColumn, CdmTable
from pipelines.contracts.derived import published_names
from pipelines.errors import ConfigError, ReleaseError
from pipelines.progress import OnProgress, ignore_progress
from pipelines.release.publish.postgresql_ddl import TableDdl, postgresql_ddl
from pipelines.release.publish.publication import Publication, some
from pipelines.release.reading import quoted

log = logging.getLogger(__name__)

ROWS_AT_ONCE: Final = 50_000
"""Rows that are kept in memory on their way from Delta to PostgreSQL."""

LOCK_TIMEOUT: Final = "30s"
"""How long the removal of the former schema waits for those who still read it."""

_MARK: Final = re.compile(r"nhs-omop release .*; \d+ tables")
"""The comment of a schema that a publication made: only such a schema is replaced."""

_DIGEST: Final = "_digest"
_SEPARATOR, _NULL = 31, 30
"""Control characters between the values of a row, and for a value that is missing, in the text that is compared."""


@dataclass(frozen=True, slots=True)
class PostgresqlSchema:
    """Where to publish: a libpq URL without a password, the schema, and the roles that may read it.

    Raises ConfigError for a URL that is none, or that has a password.
    """

    url: str
    schema: str
    readers: tuple[str, ...] = ()
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse a URL with a password: it would be in the list of processes and in the history of the shell."""
        try:
            parts = psycopg.conninfo.conninfo_to_dict(self.url)
        except psycopg.Error as error:
            raise ConfigError("--to: expected postgresql://USER@HOST:PORT/DATABASE") from error
        if {"password", "sslpassword"} & set(parts):
            raise ConfigError(
                "--to: leave the password out; set publish.password to a secret reference, or PGPASSWORD, or ~/.pgpass"
            )

    @property
    def unfinished(self) -> str:
        """The schema that is being loaded."""
        return f"{self.schema}_unfinished"

    @property
    def lock(self) -> str:
        """The name of the lock that one publication to the schema has at a time."""
        return f"nhs-omop publish {self.schema}"

    @property
    def former(self) -> str:
        """The schema that was replaced, until nobody reads it any more."""
        return f"{self.schema}_former"


@dataclass(frozen=True, slots=True)
class Content:
    """What a table holds: the number of its rows, and a sum over the digests of all rows, whatever their order."""

    rows: int
    checksum: int


def publish_postgresql(
    target: PostgresqlSchema, publication: Publication, on_progress: OnProgress = ignore_progress
) -> dict[str, int]:
    """Load every table of the CDM into a new schema that replaces the old one. Gives the number of rows by table.

    Every table is reported twice, when it is loaded and when it is linked. A failure leaves the old schema as it is and
    nothing of the new one. Raises ConfigError where the target cannot be written to, ReleaseError where the load fails or what
    arrived is not what was sent.
    """
    try:
        with _connected(target) as connection:
            known = published_names() | set(publication.tables)
            _prepare(connection, target, known)
            try:
                rows = _load(connection, target, publication, on_progress)
                _swap(connection, target, known)
            except BaseException:
                connection.close()
                _remove_unfinished(target, known)
                raise
            _remove_former(connection, target, known)
    except psycopg.Error as error:
        raise ReleaseError(f"the publication failed, and {target.schema} is as it was: {_reason(error)}") from error
    return rows


@contextmanager
def _connected(target: PostgresqlSchema) -> Iterator[psycopg.Connection]:
    """A connection in which every statement is a transaction, unless one is begun. Raises ConfigError."""
    given = psycopg.conninfo.make_conninfo(target.url, password=target.password, application_name="nhs-omop publish")
    try:
        connection = psycopg.connect(given, autocommit=True)
    except psycopg.Error as error:
        raise ConfigError(f"--to: no connection to PostgreSQL: {_first_line(error)}") from error
    with connection:
        connection.execute("SET client_encoding = 'UTF8'")
        connection.execute("SET datestyle = 'ISO'")
        connection.execute("SET timezone = 'UTC'")
        connection.execute("SET search_path = pg_catalog")
        try:
            yield connection
        finally:
            # The server notices the end of a connection a little later; the next publication may begin at once.
            with suppress(psycopg.Error):
                connection.execute("SELECT pg_advisory_unlock_all()")


def _first_line(error: psycopg.Error) -> str:
    """What libpq says about a connection: hosts, users and databases, never a password."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _reason(error: psycopg.Error) -> str:
    named = {"table": error.diag.table_name, "constraint": error.diag.constraint_name}
    return ", ".join([f"PostgreSQL {type(error).__name__}", *(f"{kind} {name}" for kind, name in named.items() if name)])


def _prepare(connection: psycopg.Connection, target: PostgresqlSchema, known: Collection[str]) -> None:
    """Take the lock of the schema, remove what a killed publication left, and see that the schema can be replaced.

    `known` are the tables that publications make.

    Raises ConfigError where the encoding, a right or a role is not as needed, ReleaseError where somebody else's work would be
    lost.
    """
    _require_utf8(connection)
    _require_right_to_create(connection)
    if not _value(connection, "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", target.lock):
        raise ReleaseError(f"another publication to {target.schema} is under way")
    missing = [
        role for role in target.readers if not _value(connection, "SELECT count(*) FROM pg_roles WHERE rolname = %s", role)
    ]
    if missing:
        raise ConfigError(f"publish.readers: there is no role {', '.join(missing)}; create it first")
    for schema in (target.unfinished, target.former, target.schema):
        _refuse_foreign(connection, schema, known)
    for schema in (target.unfinished, target.former):
        _drop(connection, schema)


def _require_utf8(connection: psycopg.Connection) -> None:
    """Raises ConfigError for a database of another encoding: it lacks letters of the vocabulary, and its checksums differ."""
    encoding = _value(connection, "SHOW server_encoding")
    if encoding != "UTF8":
        raise ConfigError(
            f"--to: the database has the encoding {encoding}; publish to one with UTF8, made by "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )


def _require_right_to_create(connection: psycopg.Connection) -> None:
    """Raises ConfigError where the user may not make a schema or give one another name."""
    grant = _value(
        connection,
        "SELECT format('GRANT CREATE ON DATABASE %%I TO %%I', current_database(), current_user) "
        "WHERE NOT has_database_privilege(current_database(), 'CREATE')",
    )
    if grant:
        raise ConfigError(f"--to: the user may not create schemas in this database; let its owner run: {grant}")


def _require_ownership(connection: psycopg.Connection, schema: str, known: Collection[str]) -> None:
    """Raises ConfigError where a schema or a table of a publication in it belongs to a role that the user has no part in."""
    grants = _names(connection, _GRANTS_OF_OWNERS, schema, known)
    if grants:
        raise ConfigError(
            f"--to: schema {schema} or tables in it belong to another role, which the user has no part in; let an "
            f"administrator run: {'; '.join(grants)}"
        )


_GRANTS_OF_OWNERS: Final = """
    SELECT format('GRANT %%I TO %%I', pg_get_userbyid(owner), current_user) FROM (
        SELECT nspowner AS owner FROM pg_namespace WHERE oid = %(schema)s::regnamespace
        UNION SELECT relowner FROM pg_class
        WHERE relnamespace = %(schema)s::regnamespace AND relkind = 'r' AND relname = ANY(%(known)s)
    ) AS owners WHERE NOT pg_has_role(owner, 'USAGE') ORDER BY 1
"""
"""What makes the user a member of every role that a schema and the tables of a publication in it belong to."""


def _refuse_foreign(connection: psycopg.Connection, schema: str, known: Collection[str]) -> None:
    """Raises ReleaseError for a schema that holds, or that others rest on, what no publication made; ConfigError for one of
    which the user is not the owner.
    """
    if not _value(connection, "SELECT count(*) FROM pg_namespace WHERE nspname = %s", schema):
        return
    comment = _value(connection, "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s", schema)
    if _MARK.fullmatch(str(comment or "")) is None:
        raise ReleaseError(f"schema {schema} is not of a publication, so it is not replaced; choose another publish.cdm_schema")
    _require_ownership(connection, schema, known)
    within = [*_names(connection, _FOREIGN_WITHIN, schema, known), *_rows_of_cohorts(connection, schema)]
    if within:
        raise ReleaseError(f"schema {schema} has what is not of a publication ({some(within)}); move that to another schema")
    outside = _names(connection, _RESTING_ON, schema)
    if outside:
        raise ReleaseError(
            f"what rests on schema {schema} would go on showing its release ({some(outside)}): drop it, publish, and make it "
            "again"
        )


def _rows_of_cohorts(connection: psycopg.Connection, schema: str) -> list[str]:
    """The cohort tables of a schema that have rows."""
    there = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename = ANY(%s) ORDER BY 1",
        (schema, list(COHORT_TABLES)),
    )
    has_rows = sql.SQL("SELECT 1 FROM {} LIMIT 1")
    return [
        f"rows of table {schema}.{name}"
        for (name,) in there.fetchall()
        if connection.execute(has_rows.format(sql.Identifier(schema, name))).fetchone()
    ]


_FOREIGN_WITHIN: Final = """
    SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend AS d
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = %(schema)s::regnamespace AND d.deptype = 'n'
    AND NOT (d.classid = 'pg_class'::regclass
             AND d.objid IN (SELECT oid FROM pg_class WHERE relkind = 'r' AND relname = ANY(%(known)s)))
    ORDER BY 1
"""
"""What a schema holds beside the tables of a publication: tables, views, functions, types, sequences."""

_RESTING_ON: Final = """
    WITH own AS (
        SELECT c.oid, c.reltype, t.typarray FROM pg_class AS c LEFT JOIN pg_type AS t ON t.oid = c.reltype
        WHERE c.relnamespace = %(schema)s::regnamespace
    )
    SELECT DISTINCT CASE
        WHEN d.classid = 'pg_rewrite'::regclass
        THEN (SELECT pg_describe_object('pg_class'::regclass, r.ev_class, 0) FROM pg_rewrite AS r WHERE r.oid = d.objid)
        ELSE pg_describe_object(d.classid, d.objid, d.objsubid)
    END
    FROM pg_depend AS d LEFT JOIN pg_constraint AS k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
    WHERE d.deptype = 'n'
    AND (d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM own)
         OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (SELECT reltype FROM own UNION SELECT typarray FROM own))
    AND (k.conrelid IS NULL OR k.conrelid NOT IN (SELECT oid FROM own))
    ORDER BY 1
"""
"""What would keep PostgreSQL from dropping the tables of a schema: views, functions, foreign keys, columns of the type of a
row and so on, but not the links of its own tables. https://www.postgresql.org/docs/current/catalog-pg-depend.html
"""


def _names(connection: psycopg.Connection, statement: LiteralString, schema: str, known: Collection[str] = ()) -> list[str]:
    """Objects of the catalog as PostgreSQL describes them, such as `view study.v`."""
    values = {"schema": sql.Identifier(schema).as_string(connection), "known": list(known)}
    return [str(name) for (name,) in connection.execute(statement, values).fetchall()]


def _value(connection: psycopg.Connection, statement: LiteralString, *values: str) -> object:
    row = connection.execute(statement, values).fetchone()
    return row[0] if row else None


def _load(
    connection: psycopg.Connection, target: PostgresqlSchema, publication: Publication, on_progress: OnProgress
) -> dict[str, int]:
    """Make, fill and compare every table with what was sent, then its key and indexes; link all at the end. Rows by table."""
    ddl = postgresql_ddl(publication, target.unfinished)
    with connection.transaction():
        schema = sql.Identifier(target.unfinished)
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        mark = sql.Literal(f"{publication.title}; {len(ddl)} tables")
        connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(schema, mark))
    rows = {}
    with tempfile.TemporaryDirectory(prefix="nhs-omop-") as scratch, publication.connected(Path(scratch)) as release:
        for name, table in publication.tables.items():
            sent = _fill(connection, target, publication, table, ddl[name], release)
            rows[name] = publication.check_rows(name, sent.rows)
            if _content(connection, target.unfinished, table) != sent:
                raise ReleaseError(f"{name}: what arrived in PostgreSQL is not what was sent; {target.schema} is as it was")
            for statement in ddl[name].finish:
                _run(connection, statement)
            connection.execute(sql.SQL("ANALYZE {}.{}").format(schema, sql.Identifier(name)))
            on_progress(f"{name} loaded")
    for name in ddl:
        for statement in ddl[name].links:
            _run(connection, statement)
        on_progress(f"{name} linked")
    return rows


def _run(connection: psycopg.Connection, statement: str) -> None:
    connection.execute(statement.encode())


def _fill(
    connection: psycopg.Connection,
    target: PostgresqlSchema,
    publication: Publication,
    table: CdmTable,
    ddl: TableDdl,
    release: duckdb.DuckDBPyConnection,
) -> Content:
    """Make a table and send its rows; what was sent."""
    rows, checksum = 0, 0
    relation = publication.rows_of(release, table)
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
    into = sql.SQL("COPY {}.{} ({}) FROM STDIN (FORMAT csv, FREEZE)")
    with connection.transaction(), connection.cursor() as cursor:
        _run(connection, ddl.create)
        if relation is None:
            return Content(0, 0)
        batches = relation.project(f"*, {_duckdb_digest(table)} AS {_DIGEST}").to_arrow_reader(ROWS_AT_ONCE)
        with cursor.copy(into.format(sql.Identifier(target.unfinished), sql.Identifier(table.name), columns)) as copy:
            for batch in batches:
                rows += batch.num_rows
                checksum += pc.sum(batch.column(_DIGEST)).as_py() or 0
                copy.write(_csv(batch.drop_columns([_DIGEST])))
    return Content(rows, checksum)


def _csv(batch: pa.RecordBatch) -> bytes:
    """Rows as CSV. Texts are quoted, so an empty text differs from a missing one."""
    buffer = io.BytesIO()
    pacsv.write_csv(batch, buffer, pacsv.WriteOptions(include_header=False, quoting_style="needed"))
    return buffer.getvalue()


def _duckdb_digest(table: CdmTable) -> str:
    """The first 40 bits of the MD5 of the values of a row, as a number."""
    values = f" || chr({_SEPARATOR}) || ".join(f"coalesce({_duckdb_text(c)}, chr({_NULL}))" for c in table.columns)
    return f"CAST('0x' || md5({values})[1:10] AS UBIGINT)"


def _duckdb_text(column: CdmColumn) -> str:
    name = quoted(column.name)
    if column.type == "double":
        return f"CAST(CAST({name} + 0.0 AS BIT) AS VARCHAR)"
    return f"CAST(epoch_us({name}) AS VARCHAR)" if column.type == "timestamp" else f"CAST({name} AS VARCHAR)"


def _content(connection: psycopg.Connection, schema: str, table: CdmTable) -> Content:
    """What a table in PostgreSQL holds."""
    values = sql.SQL(f" || chr({_SEPARATOR}) || ").join(
        sql.SQL("coalesce({}, chr({}))").format(_postgresql_text(column), sql.Literal(_NULL)) for column in table.columns
    )
    statement = sql.SQL(
        "SELECT count(*), coalesce(sum(('x' || substr(md5({}), 1, 10))::bit(40)::bigint), 0)::text FROM {}.{}"
    ).format(values, sql.Identifier(schema), sql.Identifier(table.name))
    row = connection.execute(statement).fetchone()
    return Content(int(row[0]), int(row[1])) if row else Content(0, 0)


def _postgresql_text(column: CdmColumn) -> sql.Composed:
    """The same text as `_duckdb_text` gives: numbers by their bits, moments in microseconds."""
    if column.type == "double":
        text = sql.SQL("('x' || encode(float8send({}::float8), 'hex'))::bit(64)::text")
    elif column.type == "timestamp":
        text = sql.SQL("(extract(epoch FROM {}) * 1000000)::bigint::text")
    else:
        text = sql.SQL("{}::text")
    return text.format(sql.Identifier(column.name))


def _swap(connection: psycopg.Connection, target: PostgresqlSchema, known: Collection[str]) -> None:
    """Give the new schema its rights and the name of the old one, in one transaction that waits for no reader.

    The old one can be read by nobody afterwards: who opted out since is in it, and it may be there for a while.
    """
    rename = sql.SQL("ALTER SCHEMA {} RENAME TO {}")
    with connection.transaction():
        for role in map(sql.Identifier, target.readers):
            new = sql.Identifier(target.unfinished)
            connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(new, role))
            connection.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(new, role))
        if _value(connection, "SELECT count(*) FROM pg_namespace WHERE nspname = %s", target.schema):
            _revoke_all(connection, target.schema, known)
            connection.execute(rename.format(sql.Identifier(target.schema), sql.Identifier(target.former)))
        connection.execute(rename.format(sql.Identifier(target.unfinished), sql.Identifier(target.schema)))


def _revoke_all(connection: psycopg.Connection, schema: str, known: Collection[str]) -> None:
    """Take the rights on a schema and on the tables of a publication in it from everybody but their owners."""
    values = {"schema": schema, "known": list(known)}
    for table, role in connection.execute(_RIGHTS, values).fetchall():
        thing = sql.SQL("TABLE " if table else "SCHEMA ") + sql.Identifier(*filter(None, (schema, table)))
        everybody_or_role = sql.Identifier(role) if role else sql.SQL("PUBLIC")
        connection.execute(sql.SQL("REVOKE ALL ON {} FROM {} CASCADE").format(thing, everybody_or_role))


_RIGHTS: Final = """
    WITH tables AS (
        SELECT c.* FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = %(schema)s AND c.relkind = 'r' AND c.relname = ANY(%(known)s)
    ), rights AS (
        SELECT NULL AS relname, nspowner AS owner, nspacl AS acl FROM pg_namespace WHERE nspname = %(schema)s
        UNION ALL SELECT relname, relowner, relacl FROM tables
        UNION ALL SELECT relname, relowner, attacl FROM tables JOIN pg_attribute ON attrelid = tables.oid
    )
    SELECT DISTINCT relname, CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END
    FROM rights, aclexplode(acl) WHERE grantee <> owner
"""
"""Who has rights on what of a schema, its tables and their columns: the table, none for the schema itself, and the role, none
for PUBLIC.
"""


def _remove_former(connection: psycopg.Connection, target: PostgresqlSchema, known: Collection[str]) -> None:
    """Remove the schema that was replaced. The release is published whether or not that succeeds."""
    try:
        _refuse_foreign(connection, target.former, known)
        _drop(connection, target.former)
    except (psycopg.Error, ConfigError, ReleaseError) as error:
        why = f"{_reason(error)}; the next publication removes it" if isinstance(error, psycopg.Error) else str(error)
        log.warning(f"the release is published; {target.former}, which it replaced, is still there, but not to be read: {why}")


def _drop(connection: psycopg.Connection, schema: str) -> None:
    """Remove a schema with its tables; fails where something outside of it rests on them."""
    with connection.transaction():
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)).fetchall()
        if found:
            tables = sql.SQL(", ").join(sql.Identifier(schema, name) for (name,) in found)
            connection.execute(sql.SQL("DROP TABLE {}").format(tables))
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {}").format(sql.Identifier(schema)))


def _remove_unfinished(target: PostgresqlSchema, known: Collection[str]) -> None:
    """Remove what a failed publication has loaded, on a connection of its own: that of the load may be lost."""
    try:
        with _connected(target) as connection:
            connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
            connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (target.lock,))
            _refuse_foreign(connection, target.unfinished, known)
            _drop(connection, target.unfinished)
    except (psycopg.Error, ConfigError, ReleaseError):
        log.warning(f"{target.unfinished} could not be removed; the next publication removes it")
