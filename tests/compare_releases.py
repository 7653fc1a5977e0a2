"""Whether two releases of the CDM hold the same rows, ids up to a one-to-one renaming that is the same in all tables.

Releases are schemas or attached databases of one DuckDB connection. Rows that are not equal as they are become a graph: rows
and ids are its nodes, an id in a column of a row is an edge. Colours of the nodes are refined until they are stable, and ids
that still have the same colour are given different ones. Every id then has a colour of its own in each release. If the rows
are equal with colours in place of ids, the colours are the renaming. A wrong "no" is possible where ids of one colour are
given colours that do not match; a wrong "yes" is not.

Nothing here returns a value of a row: only counts and names of columns.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb

from pipelines.contracts.cdm import CDM_VERSIONS, CdmColumn, CdmTable, cdm_tables

ANY = "any"
"""Kind of an id that may be of any table; another column says of which."""

EXTRA_ID_COLUMNS = {
    ("cohort", "subject_id"): "person",
    ("episode", "episode_parent_id"): "episode",
    ("note_nlp", "note_id"): "note",
    ("provider", "provider_source_value"): "provider_source_value",
    ("cost", "cost_event_id"): ANY,
    ("episode_event", "event_id"): ANY,
    ("fact_relationship", "fact_id_1"): ANY,
    ("fact_relationship", "fact_id_2"): ANY,
    ("measurement", "measurement_event_id"): ANY,
    ("note", "note_event_id"): ANY,
    ("observation", "observation_event_id"): ANY,
}
"""Columns that hold ids although the model of the CDM does not link them, with the table whose ids they are."""

BUILD_STATEMENTS = ("configuration", "mapping rules", "nhs-omop version", "release")
"""Statements of the table metadata that name the code and what belongs to it; their values differ between revisions."""

EXCLUDED = {
    f"metadata.value_as_string where name is {', '.join(BUILD_STATEMENTS)}": "digests and versions of the code that ran",
}
"""What is not compared, and why."""

TIES_FIRST = ("location", "care_site", "provider", "person", "visit_occurrence", "visit_detail", "episode", "note")
"""Kinds of ids that many rows refer to: ids of one colour get different colours here before those of other kinds."""

MISSING = "(the table is missing)"
OTHER_ROWS = "(the same values in other rows)"
LINKS = "(the same values with other ids)"


@dataclass(frozen=True)
class Comparison:
    """What became of a table: its rows in each release, `yes`, `renamed` or `no`, and the columns that differ.

    Where all ids are renamed a difference is carried on to every row that ids lead to. `distance` is how many rounds that took:
    the tables with the lowest are the ones to look into.
    """

    table: str
    rows_old: int
    rows_new: int
    equal: str
    columns: tuple[str, ...] = ()
    distance: int = 0


@cache
def id_columns(table: str) -> Mapping[str, str]:
    """The columns of a table that hold ids which may be renamed, with the kind of id. Concept ids are not among them."""
    models = {name: model for version in CDM_VERSIONS for name, model in cdm_tables(version).items()}
    clinical = {name for name, model in models.items() if not model.is_vocabulary}
    if table not in clinical:
        return {}
    kinds = {column.name: _kind(models[table], column, clinical) for column in models[table].columns}
    return {name: kind for name, kind in kinds.items() if kind}


def _kind(table: CdmTable, column: CdmColumn, clinical: set[str]) -> str:
    if (table.name, column.name) in EXTRA_ID_COLUMNS:
        return EXTRA_ID_COLUMNS[table.name, column.name]
    other = column.references[0] if column.references else ""
    if other in clinical:
        return other
    return table.name if column.name == table.primary_key else ""


class Releases:
    """Two releases, `old` and `new`, as schemas or attached databases of a connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, old: str = "old", new: str = "new") -> None:
        self.connection = connection
        self.names = (old, new)
        self.columns = tuple(self._columns_of(name) for name in self.names)

    def _columns_of(self, release: str) -> dict[str, dict[str, str]]:
        """The published columns of every table, with their types."""
        found: dict[str, dict[str, str]] = {}
        sql = """SELECT table_name, column_name, data_type FROM duckdb_columns()
            WHERE $1 IN (database_name, schema_name) AND NOT internal AND NOT starts_with(column_name, '_') ORDER BY ALL"""
        for table, column, kind in self.connection.execute(sql, [release]).fetchall():
            found.setdefault(table, {})[column] = kind
        return found

    @property
    def tables(self) -> list[str]:
        """Tables of either release."""
        return sorted(set().union(*self.columns))

    @property
    def common(self) -> list[str]:
        """Tables of both releases."""
        return [table for table in self.tables if all(table in columns for columns in self.columns)]

    def shared_columns(self, table: str) -> list[str]:
        """Columns that the table has in both releases with the same type."""
        old, new = (columns[table] for columns in self.columns)
        return [name for name, kind in old.items() if new.get(name) == kind]

    def own_columns(self, table: str) -> list[str]:
        """Columns that the table has in one release alone, or with different types."""
        old, new = (columns[table] for columns in self.columns)
        return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))

    def rows(self, table: str) -> tuple[int, int]:
        """How many rows the table has in each release."""
        return self._count(0, table), self._count(1, table)

    def _count(self, side: int, table: str) -> int:
        return int(self.scalar(f"SELECT count(*) FROM {self.names[side]}.{table}")) if table in self.columns[side] else 0

    def selected(self, side: int, table: str, columns: Sequence[str]) -> str:
        """SQL for some columns of a table; statements about the build have no value."""
        shown = [_quoted(name) if name != "value_as_string" or table != "metadata" else _BUILD_VALUE for name in columns]
        return f"SELECT {', '.join(shown) or 'NULL'} FROM {self.names[side]}.{table}"

    def differ(self, table: str, columns: Sequence[str]) -> bool:
        """Whether the rows differ in some columns, as multisets."""
        old, new = (self.selected(side, table, columns) for side in (0, 1))
        return bool(self.scalar(f"SELECT EXISTS (({old}) EXCEPT ALL ({new})) OR EXISTS (({new}) EXCEPT ALL ({old}))"))

    def scalar(self, sql: str) -> Any:
        """The single value that SQL gives."""
        row = self.connection.execute(sql).fetchone()
        return row[0] if row else None


_BUILD_VALUE = (
    f"CASE WHEN name IN ({', '.join(repr(name) for name in BUILD_STATEMENTS)}) THEN NULL ELSE value_as_string END"
    " AS value_as_string"
)


def _quoted(name: str) -> str:
    return f'"{name}"'


def compare(releases: Releases) -> list[Comparison]:
    """Every table of either release, in alphabetical order."""
    exact = {table for table in releases.common if _is_exactly_equal(releases, table)}
    if len(exact) == len(releases.tables):
        return [Comparison(table, *releases.rows(table), "yes") for table in releases.tables]
    graph = _best_graph(releases)
    return [_compared(releases, table, exact, graph) for table in releases.tables]


def _is_exactly_equal(releases: Releases, table: str) -> bool:
    return not releases.own_columns(table) and not releases.differ(table, releases.shared_columns(table))


def _compared(releases: Releases, table: str, exact: set[str], graph: "IdGraph") -> Comparison:
    rows = releases.rows(table)
    if table not in releases.common:
        return Comparison(table, *rows, "no", (MISSING,))
    if table in exact and table not in graph.different:
        return Comparison(table, *rows, "yes")
    own = releases.own_columns(table)
    if id_columns(table) and not own and table not in graph.different:
        return Comparison(table, *rows, "renamed")
    differing = (*own, *_different_columns(releases, table, graph))
    return Comparison(table, *rows, "no", differing, graph.distances.get(table, 0))


def _different_columns(releases: Releases, table: str, graph: "IdGraph") -> list[str]:
    """Columns whose values differ; where all values agree, the columns with ids that do."""
    shared = releases.shared_columns(table)
    content = [name for name in shared if name not in id_columns(table)]
    changed = [name for name in content if releases.differ(table, [name])]
    if changed:
        return changed
    if releases.differ(table, content):
        return [OTHER_ROWS]
    return graph.different_links.get(table) or [LINKS]


def _best_graph(releases: Releases) -> "IdGraph":
    """The graph in which the fewest rows differ: ids that are in both releases are the same, or every id may be renamed."""
    kept = IdGraph(releases, keep_ids=True)
    if not kept.different:
        return kept
    renamed = IdGraph(releases, keep_ids=False)
    return min(kept, renamed, key=lambda graph: sum(graph.different.values()))


class IdGraph:
    """Rows and ids of both releases with their colours.

    `different` is how many rows of a table have no counterpart, `different_links` the columns of a table whose ids have other
    colours in the other release, `distances` the round of refinement in which a table began to differ. The tables that it
    works with are those of the connection, for one graph at a time.
    """

    def __init__(self, releases: Releases, *, keep_ids: bool) -> None:
        self._releases = releases
        self._connection = releases.connection
        self.distances: dict[str, int] = {}
        self._load()
        self._make_nodes(keep_ids=keep_ids)
        self._refine()
        for kind in self._kinds():
            self._break_ties(kind)
        self._colour_rows()
        self.different = self._different_rows()
        self.different_links = self._different_links()

    def _load(self) -> None:
        """All rows of tables with ids, by a hash of what is not an id, and every id with the row and column it is in."""
        self._connection.execute("CREATE OR REPLACE TEMP TABLE id_rows (side INT, row BIGINT, tab VARCHAR, content UBIGINT)")
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE raw_cells (side INT, row BIGINT, label VARCHAR, kind VARCHAR, id VARCHAR)"
        )
        for table in self._releases.common:
            if id_columns(table):
                for side in (0, 1):
                    self._load_table(side, table)
        # An id of any table is that of the tables that have it as their key.
        self._connection.execute(f"""CREATE OR REPLACE TEMP TABLE named_cells AS
            WITH keys AS (SELECT DISTINCT side, kind, id FROM raw_cells WHERE label = kind || '.' || kind || '_id')
            SELECT c.* REPLACE (coalesce(k.kind, c.kind) AS kind) FROM raw_cells c LEFT JOIN keys k
            ON c.kind = '{ANY}' AND k.side = c.side AND k.id = c.id""")

    def _load_table(self, side: int, table: str) -> None:
        shared = self._releases.shared_columns(table)
        content = [_quoted(name) for name in shared if name not in id_columns(table)]
        offset = self._releases.scalar("SELECT coalesce(max(row), 0) FROM id_rows")
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE staged AS SELECT {offset} + row_number() OVER () AS _row, * "
            f"FROM ({self._releases.selected(side, table, shared)})"
        )
        hashed = ", ".join([f"'{table}'", *content])
        self._connection.execute(f"INSERT INTO id_rows SELECT {side}, _row, '{table}', hash({hashed}) FROM staged")
        for name, kind in id_columns(table).items():
            if name in shared:
                self._connection.execute(
                    f"INSERT INTO raw_cells SELECT {side}, _row, '{table}.{name}', '{kind}', CAST({name} AS VARCHAR) "
                    f"FROM staged WHERE {name} IS NOT NULL"
                )

    def _make_nodes(self, *, keep_ids: bool) -> None:
        """One node for each id of a release; with `keep_ids` an id that is in both releases is the same in both."""
        kept = "count(*) OVER (PARTITION BY kind, id) = 2" if keep_ids else "false"
        self._connection.execute(f"""CREATE OR REPLACE TEMP TABLE id_nodes AS
            SELECT row_number() OVER () AS node, side, kind, id, {kept} AS kept,
                CASE WHEN {kept} THEN hash(kind, id) ELSE hash(kind) END AS colour
            FROM (SELECT DISTINCT side, kind, id FROM named_cells)""")
        self._connection.execute("""CREATE OR REPLACE TEMP TABLE id_cells AS
            SELECT row, label, hash(label) AS mark, node FROM named_cells JOIN id_nodes USING (side, kind, id)""")

    def _refine(self) -> None:
        """Give ids colours by the rows they are in and rows by the ids in them, until no more ids get different colours."""
        before, rounds = -1, 0
        while (colours := self._colours()) != before:
            before = colours
            self._colour_rows()
            for table in self._different_rows():
                self.distances.setdefault(table, rounds)
            rounds += 1
            self._connection.execute("""CREATE OR REPLACE TEMP TABLE id_nodes AS
                WITH around AS (
                    SELECT node, sum(hash(mark, r.colour)) AS rows FROM id_cells JOIN row_colours r USING (row) GROUP BY node)
                SELECT node, side, kind, id, kept, CASE WHEN kept THEN colour ELSE hash(colour, rows) END AS colour
                FROM id_nodes JOIN around USING (node)""")

    def _colours(self) -> int:
        return int(self._releases.scalar("SELECT count(DISTINCT (side, colour)) FROM id_nodes"))

    def _colour_rows(self) -> None:
        self._connection.execute("""CREATE OR REPLACE TEMP TABLE row_colours AS
            WITH ids AS (SELECT row, sum(hash(mark, colour)) AS ids FROM id_cells JOIN id_nodes USING (node) GROUP BY row)
            SELECT side, row, tab, hash(content, coalesce(ids, 0)) AS colour FROM id_rows LEFT JOIN ids USING (row)""")

    def _kinds(self) -> Iterator[str]:
        """The kinds of ids, those first that other rows hang on."""
        found = self._connection.execute("SELECT DISTINCT kind FROM id_nodes ORDER BY kind").fetchall()
        yield from sorted((kind for (kind,) in found), key=lambda kind: _place(kind))

    def _break_ties(self, kind: str) -> None:
        """Give ids of one kind that have the same colour different ones, and refine what hangs on them."""
        tied = f"""SELECT node, row_number() OVER (PARTITION BY side, colour ORDER BY id) AS place
            FROM id_nodes WHERE kind = '{kind}' QUALIFY count(*) OVER (PARTITION BY side, colour) > 1"""
        if not self._releases.scalar(f"SELECT count(*) FROM ({tied})"):
            return
        self._connection.execute(
            f"UPDATE id_nodes SET colour = hash(colour, place) FROM ({tied}) tied WHERE tied.node = id_nodes.node"
        )
        if self._is_referred_to(kind):
            self._refine()

    def _is_referred_to(self, kind: str) -> bool:
        """Whether an id of the kind is in any place but the key of its own row."""
        sql = f"""SELECT EXISTS (SELECT 1 FROM id_cells JOIN id_nodes USING (node)
            WHERE kind = '{kind}' AND label <> '{kind}.{kind}_id')"""
        return bool(self._releases.scalar(sql))

    def _different_links(self) -> dict[str, list[str]]:
        sql = """SELECT DISTINCT label FROM (
            SELECT label, colour FROM id_cells JOIN id_nodes USING (node)
            GROUP BY ALL HAVING count(*) FILTER (side = 0) <> count(*) FILTER (side = 1)) ORDER BY label"""
        found: dict[str, list[str]] = {}
        for (label,) in self._connection.execute(sql).fetchall():
            table, _, column = label.partition(".")
            found.setdefault(table, []).append(column)
        return found

    def _different_rows(self) -> dict[str, int]:
        sql = """SELECT tab, sum(abs(old - new)) FROM (
            SELECT tab, colour, count(*) FILTER (side = 0) AS old, count(*) FILTER (side = 1) AS new
            FROM row_colours GROUP BY ALL) WHERE old <> new GROUP BY tab"""
        return {table: int(rows) for table, rows in self._connection.execute(sql).fetchall()}


def _place(kind: str) -> tuple[int, str]:
    return (TIES_FIRST.index(kind) if kind in TIES_FIRST else len(TIES_FIRST), kind)
