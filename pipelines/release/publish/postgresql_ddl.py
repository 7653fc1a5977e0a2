"""The statements that make the tables of a publication in PostgreSQL, by SQLAlchemy.

Types are OHDSI's (`numeric`, `timestamp`, `varchar(n)`), but ids are `bigint`. Keys, indexes and links have names by one rule
and are made after the load.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Date, DateTime, ForeignKeyConstraint, Index, MetaData, Numeric, String, Table, Text
from sqlalchemy import PrimaryKeyConstraint as PrimaryKey
from sqlalchemy.engine import URL
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable, SetColumnComment, SetTableComment
from sqlalchemy.sql.ddl import DDLElement
from sqlalchemy.types import TypeEngine

from pipelines.contracts.cdm import CdmColumn, CdmTable
from pipelines.release.publish.publication import Publication, describe_column

_TYPES: Final[dict[str, TypeEngine[Any]]] = {
    "bigint": BigInteger(),
    "date": Date(),
    "timestamp": DateTime(),
    "double": Numeric(),
}

_DIALECT: Final = URL.create("postgresql+psycopg").get_dialect()()

_NAMES: Final = {
    "pk": "xpk_%(table_name)s",
    "fk": "fpk_%(table_name)s_%(column_0_name)s",
    "ix": "idx_%(table_name)s_%(column_0_name)s",
}
"""Names of keys, links and indexes, after those of OHDSI. SQLAlchemy shortens what PostgreSQL would cut off."""


@dataclass(frozen=True, slots=True)
class TableDdl:
    """The statements of one table: `create` before its rows, `finish` (key, indexes, comments) after them, and `links`, its
    foreign keys, after the rows of all tables.
    """

    create: str
    finish: tuple[str, ...]
    links: tuple[str, ...]


def postgresql_ddl(publication: Publication, schema: str) -> dict[str, TableDdl]:
    """The statements of every table of a publication by name, for a schema."""
    metadata = MetaData(schema=schema, naming_convention=_NAMES)
    tables = {name: Table(name, metadata, *map(_column, table.columns)) for name, table in publication.tables.items()}
    created = {name: _sql(CreateTable(table)) for name, table in tables.items()}
    return {
        name: TableDdl(created[name], _finish(publication, declared, tables[name]), _links(declared, tables))
        for name, declared in publication.tables.items()
    }


def _column(column: CdmColumn) -> Column[Any]:
    text = String(column.length) if column.length else Text()
    return Column(column.name, _TYPES.get(column.type, text), nullable=column.nullable, autoincrement=False)


def _finish(publication: Publication, declared: CdmTable, table: Table) -> tuple[str, ...]:
    statements: list[DDLElement] = []
    if declared.primary_key:
        key = PrimaryKey(table.c[declared.primary_key])
        table.append_constraint(key)
        statements.append(AddConstraint(key))
    statements += [CreateIndex(Index(None, table.c[name])) for name in declared.indexes]
    table.comment = publication.title if declared.name == "cdm_source" else publication.describe(declared)
    statements.append(SetTableComment(table))
    for column in declared.columns:
        table.c[column.name].comment = describe_column(declared, column)
        if table.c[column.name].comment:
            statements.append(SetColumnComment(table.c[column.name]))
    return tuple(map(_sql, statements))


def _links(declared: CdmTable, tables: Mapping[str, Table]) -> tuple[str, ...]:
    statements = []
    for column in declared.columns:
        if column.references:
            other, field = column.references
            link = ForeignKeyConstraint([column.name], [tables[other].c[field]])
            tables[declared.name].append_constraint(link)
            statements.append(_sql(AddConstraint(link)))
    return tuple(statements)


def _sql(statement: DDLElement) -> str:
    return str(statement.compile(dialect=_DIALECT))
