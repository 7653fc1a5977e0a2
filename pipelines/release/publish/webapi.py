"""The SQL that makes a schema of PostgreSQL known to OHDSI's WebAPI, and so to ATLAS.

The columns and the numbers of the daimons are those of the WebAPI wiki, "CDM Configuration"
(https://github.com/OHDSI/WebAPI/wiki/CDM-Configuration).
"""

from string import Template
from typing import Final

from psycopg.conninfo import conninfo_to_dict

from pipelines.release.publish.postgresql_schema import PostgresqlSchema
from pipelines.release.reading import literal

_OF_CDM: Final = Template("""\
-- 1. In the database of the CDM, as a user that may create schemas. $schema itself is replaced by each publication, so
-- what WebAPI writes has schemas of its own.
CREATE SCHEMA IF NOT EXISTS ${schema}_results;
CREATE SCHEMA IF NOT EXISTS ${schema}_temp;
-- Then run there what WebAPI answers to
-- GET /WebAPI/ddl/results?dialect=postgresql&schema=${schema}_results&vocabSchema=$schema&tempSchema=${schema}_temp
-- It makes the tables of ${schema}_results. Give the user of WebAPI all rights on both schemas, and make it a member of one
-- of the roles of publish.readers.

-- 2. In the database of WebAPI. Give the user and the password on the page "Configuration" of ATLAS.
INSERT INTO webapi.source (source_id, source_name, source_key, source_connection, source_dialect)
SELECT nextval('webapi.source_sequence'), $name, $key, $connection, 'postgresql'
WHERE NOT EXISTS (SELECT FROM webapi.source WHERE source_key = $key);
""")

_OF_DAIMON: Final = Template("""\
INSERT INTO webapi.source_daimon (source_daimon_id, source_id, daimon_type, table_qualifier, priority)
SELECT nextval('webapi.source_daimon_sequence'), source_id, $kind, '$schema', 1
FROM webapi.source AS s WHERE source_key = $key
AND NOT EXISTS (SELECT FROM webapi.source_daimon AS d WHERE d.source_id = s.source_id AND d.daimon_type = $kind);
""")

_CDM, _VOCABULARY, _RESULTS, _TEMP = 0, 1, 2, 5
"""The daimons of a source: what WebAPI looks for in which schema."""


def webapi_sql(target: PostgresqlSchema, source_name: str) -> str:
    """The statements, to be run once: first those for the database of the CDM, then those for the database of WebAPI.

    They hold no password. Run again they change nothing.
    """
    schema, key = target.schema, literal(target.schema.upper())
    daimons = {_CDM: schema, _VOCABULARY: schema, _RESULTS: f"{schema}_results", _TEMP: f"{schema}_temp"}
    source = _OF_CDM.substitute(schema=schema, key=key, name=literal(source_name), connection=literal(_jdbc(target.url)))
    return source + "".join(_OF_DAIMON.substitute(kind=kind, key=key, schema=name) for kind, name in daimons.items())


def _jdbc(url: str) -> str:
    """The same server and database for Java. A socket is on the machine itself; what is not named is left to be filled in."""
    parts = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    host, port, database = parts.get("host", "HOST"), parts.get("port", "5432"), parts.get("dbname", "DATABASE")
    return f"jdbc:postgresql://{'localhost' if host.startswith('/') else host}:{port}/{database}"
