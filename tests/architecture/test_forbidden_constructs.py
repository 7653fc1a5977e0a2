"""Refuses code that gives different results on the engines, loses rows, or cannot run, and code against the house style.

Every rule has examples that it must catch and examples that it must let pass.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipelines", "vocab", "jobs")
TRANSFORMS = ("pipelines/ingest", "pipelines/curate", "pipelines/omop", "pipelines/columns", "pipelines/mapping")

Finder = Callable[[ast.Module], Iterator[ast.AST]]


@dataclass(frozen=True)
class Rule:
    """A construct that code in the named folders may not contain, except in modules allowed with a reason."""

    name: str
    why: str
    find: Finder
    caught: tuple[str, ...]
    passes: tuple[str, ...] = ()
    folders: tuple[str, ...] = PACKAGES
    allowed: dict[str, str] = field(default_factory=dict)

    def applies_to(self, path: str) -> bool:
        inside = any(path.startswith(f"{folder}/") for folder in self.folders)
        return inside and not any(path.startswith(exception) for exception in self.allowed)


@cache
def nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree))


@cache
def calls(tree: ast.Module) -> tuple[ast.Call, ...]:
    return tuple(node for node in nodes(tree) if isinstance(node, ast.Call))


def method_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def attributes(*names: str) -> Finder:
    return lambda tree: (node for node in nodes(tree) if isinstance(node, ast.Attribute) and node.attr in names)


def methods(*names: str) -> Finder:
    return lambda tree: (call for call in calls(tree) if method_of(call) in names)


def methods_without_arguments(*names: str) -> Finder:
    return lambda tree: (call for call in calls(tree) if method_of(call) in names and not (call.args or call.keywords))


def methods_with_arguments(*names: str) -> Finder:
    return lambda tree: (call for call in calls(tree) if method_of(call) in names and (call.args or call.keywords))


def functions(*names: str) -> Finder:
    """Calls `F.name(...)`, and `name(` in a text that may be SQL."""
    in_sql = re.compile(rf"\b(?:{'|'.join(names)})\s*\(", re.IGNORECASE)

    def find(tree: ast.Module) -> Iterator[ast.AST]:
        for call in calls(tree):
            of_spark = (
                isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and call.func.value.id == "F"
            )
            if of_spark and method_of(call) in names:
                yield call
        yield from (node for node, text in texts(tree) if in_sql.search(text))

    return find


def builtins(*names: str) -> Finder:
    return lambda tree: (call for call in calls(tree) if isinstance(call.func, ast.Name) and call.func.id in names)


@cache
def texts(tree: ast.Module) -> tuple[tuple[ast.Constant, str], ...]:
    """String constants, docstrings and the arguments of Python's own `re` left out."""
    skipped = {id(node) for call in calls(tree) if ast.unparse(call.func).startswith("re.") for node in ast.walk(call)}
    skipped |= {id(node.value) for node in nodes(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in nodes(tree) if isinstance(node, ast.Constant) and id(node) not in skipped)
    return tuple((node, node.value) for node in constants if isinstance(node.value, str))


def texts_matching(pattern: str, flags: int = 0) -> Finder:
    compiled = re.compile(pattern, flags)
    return lambda tree: (node for node, text in texts(tree) if compiled.search(text))


@cache
def names_spark(tree: ast.Module) -> bool:
    return "pyspark" in ast.unparse(tree)


def texts_beside_spark_matching(pattern: str) -> Finder:
    find = texts_matching(pattern)
    return lambda tree: find(tree) if names_spark(tree) else iter(())


def chains(*owners: str) -> Finder:
    """A use of a reader or writer: `frame.write.format`, `session.read.parquet`."""
    verbs = {"format", "parquet", "csv", "json", "text", "load", "save", "table", "option", "options", "mode", "schema"}

    def find(tree: ast.Module) -> Iterator[ast.AST]:
        for node in nodes(tree):
            match node:
                case ast.Attribute(attr=verb, value=ast.Attribute(attr=owner)) if verb in verbs and owner in owners:
                    yield node

    return find


def keyword(name: str) -> Finder:
    return lambda tree: (call for call in calls(tree) if any(argument.arg == name for argument in call.keywords))


def settings_of_sessions(tree: ast.Module) -> Iterator[ast.AST]:
    for call in methods("get", "set", "unset", "getAll")(tree):
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="conf"))):
                yield call


def greatest_of_struct(tree: ast.Module) -> Iterator[ast.AST]:
    for call in calls(tree):
        if method_of(call) in ("max", "min") and call.args and "struct(" in ast.unparse(call.args[0]):
            yield call


def joins_without_how(tree: ast.Module) -> Iterator[ast.AST]:
    for call in calls(tree):
        named = {argument.arg for argument in call.keywords}
        if method_of(call) == "join" and "on" in named and "how" not in named:
            yield call


def readings_of_the_clock(tree: ast.Module) -> Iterator[ast.AST]:
    """`now` of `changes` is an input as it is now, not a time."""
    for call in methods("now", "utcnow", "today", "time", "time_ns")(tree):
        if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "changes.now"):
            yield call


RULES = (
    Rule(
        "classic-only",
        "absent from Spark Connect",
        attributes("rdd", "_jvm", "_jdf", "_jsc", "_sc", "sparkContext", "newSession"),
        ("frame.rdd.map(f)", "session.sparkContext.setLogLevel('OFF')"),
    ),
    Rule(
        "serverless-refuses",
        "Databricks serverless compute has no such thing",
        methods(
            "createGlobalTempView",
            "createOrReplaceGlobalTempView",
            "addFile",
            "addPyFile",
            "addJar",
            "addArtifact",
            "registerJavaFunction",
            "registerJavaUDAF",
            "setCheckpointDir",
        ),
        ("frame.createOrReplaceGlobalTempView('a')", "session.udf.registerJavaFunction('f', 'C')"),
        ("frame.createOrReplaceTempView('a')",),
    ),
    Rule(
        "serverless-refuses-in-sql",
        "Databricks serverless compute has no such thing",
        texts_matching(r"^\s*((?i:(UN)?CACHE\s+TABLE|CREATE.*\bGLOBAL\s+TEMP|SET\s+spark\.)|ADD\s+(JAR|FILE|ARCHIVE)S?\b)"),
        (
            "session.sql('CACHE TABLE a')",
            "session.sql('create or replace global temporary view a as select 1')",
            "session.sql('SET spark.a=1')",
            "session.sql('ADD JAR a')",
        ),
        ("session.sql('CREATE TABLE a (b INT)')", "log.info('add files to the folder')"),
    ),
    Rule(
        "session-settings",
        "Databricks serverless compute raises an error for all but a few: ask with `option_of`",
        settings_of_sessions,
        ("session.conf.get('a', 'b')", "session.conf.set('spark.sql.shuffle.partitions', '1')"),
        ("settings.get('a')", "option_of(session, 'a')"),
        allowed={
            "pipelines/engine.py": "ANSI mode and time zone, which it has, and what only an engine on this machine is told",
            "pipelines/spark_options.py": "`option_of`",
        },
    ),
    Rule(
        "dbfs",
        "Databricks serverless compute has no DBFS: volumes or cloud addresses",
        texts_matching("^(dbfs:/|/dbfs/)"),
        ("open('/dbfs/a')", "session.read.load('dbfs:/a')"),
    ),
    Rule(
        "cache",
        "does nothing on Sail: write a table and read it back",
        methods("cache", "persist", "cacheTable", "checkpoint", "localCheckpoint", "unpersist"),
        ("frame.cache()", "frame.persist()"),
        ("@cache\ndef f(): ...",),
    ),
    Rule(
        "unsupported-methods",
        "raises on Sail",
        methods("observe", "approxQuantile", "freqItems", "sameSemantics", "refreshTable"),
        ("frame.approxQuantile('a', [0.5], 0.1)",),
    ),
    Rule(
        "dynamic-overwrite",
        "Sail ignores it and replaces the whole table",
        texts_matching("partitionOverwriteMode|INSERT OVERWRITE", re.IGNORECASE),
        ("w.option('partitionOverwriteMode', 'dynamic')", "s.conf.set('spark.sql.sources.partitionOverwriteMode', 'dynamic')"),
    ),
    Rule(
        "ignored-options",
        "Sail ignores it without an error",
        texts_matching("^(txnAppId|txnVersion|readChangeFeed|readChangeData|nullValue|emptyValue)$"),
        ("w.option('txnAppId', 'x')",),
    ),
    Rule(
        "replace-where",
        "loses null keys and accepts foreign rows on Sail: only TableStore guards against both",
        texts_matching("^replaceWhere$"),
        ("w.option('replaceWhere', 'k = 1')",),
        allowed={
            "pipelines/storage/paths.py": "the guarded use",
            "pipelines/storage/catalog.py": "of all rows, and never on Sail, which has no catalog",
        },
    ),
    Rule(
        "drop-duplicates-by-key",
        "keeps a row that differs by engine, and is slow on Sail: row_number with a total order",
        methods_with_arguments("dropDuplicates", "drop_duplicates", "dropDuplicatesWithinWatermark"),
        ("frame.dropDuplicates(['id'])",),
        ("frame.dropDuplicates()",),
        allowed={"pipelines/synthetic": "pandas, in a fixed order of rows"},
    ),
    Rule(
        "latest-by-struct",
        "ignores rows with a null part on Sail: row_number with a total order",
        greatest_of_struct,
        ("F.max(F.struct('d', 's'))",),
        ("F.max('d')",),
    ),
    Rule(
        "differing-functions",
        "another answer on each engine",
        functions(
            "max_by",
            "min_by",
            "percentile_approx",
            "approx_percentile",
            "hash",
            "weekday",
            "initcap",
            "rint",
            "bround",
            "aes_encrypt",
            "timestampdiff",
            "timestamp_diff",
            "to_json",
            "format_string",
            "printf",
            "base64",
            "isnan",
        ),
        ("F.max_by('a', 'b')", "F.expr('weekday(d)')", "F.hash('a')", "session.sql('select initcap(a) from t')"),
        ("F.xxhash64('a')", "F.dayofweek('d')"),
        allowed={"pipelines/release/comparing.py": "SQL of DuckDB, and no hash outlives the comparison"},
    ),
    Rule(
        "missing-functions",
        "raises on Sail",
        functions(
            "input_file_name", "zip_with", "transform_keys", "transform_values", "try_to_date", "session_window", "collate"
        ),
        ("F.input_file_name()", "F.expr('try_to_date(a)')"),
    ),
    Rule(
        "clock-and-chance-in-sql",
        "the same inputs must give the same rows",
        functions(
            "current_date",
            "current_timestamp",
            "now",
            "localtimestamp",
            "rand",
            "randn",
            "uuid",
            "shuffle",
            "curdate",
            "monotonically_increasing_id",
            "spark_partition_id",
            "unix_timestamp\\(\\)",
        ),
        ("F.current_date()", "F.expr('rand()')", "F.monotonically_increasing_id()"),
        ("datetime.now(UTC)",),
    ),
    Rule(
        "sampling",
        "other rows on each engine",
        methods("sample", "sampleBy", "randomSplit"),
        ("frame.sample(0.1)",),
        allowed={"pipelines/synthetic": "seeded numpy, no engine"},
    ),
    Rule(
        "clock",
        "the run date is an input",
        readings_of_the_clock,
        ("datetime.now()", "datetime.now(UTC)", "date.today()", "time.time()"),
        ("time.perf_counter()", "changes.now(*CONCEPT_MAP)"),
        folders=("pipelines", "vocab"),
        allowed={
            "pipelines/omop/changes.py": "`now` of InputChanges is an input as it is now",
            "pipelines/lineage/sending.py": "when the events of a run happened; no row depends on it",
            "pipelines/run_inputs.py": "refuses opt-out lists of a day that is still to come; decides about no row",
            "pipelines/upkeep/due.py": "Delta counts the age of what may go by the clock; no row depends on it",
            "pipelines/run_lock.py": "since when the lock is held; no row depends on it",
            "pipelines/run_log.py": "when runs begin and end; no row depends on it",
        },
    ),
    Rule(
        "salted-hash",
        "Python's hash of a text differs between processes",
        builtins("hash"),
        ("hash(name)",),
        ("xxhash64(name)",),
    ),
    Rule(
        "regex-classes",
        r"\d \w \s are Unicode on Sail and ASCII on Spark: write [0-9] [A-Za-z] [ ]",
        texts_beside_spark_matching(r"\\[dDwWsSbB]"),
        ("from pyspark.sql import functions as F\nF.col('a').rlike(r'^\\d+$')",),
        ("import re, pyspark\nre.sub(r'\\s+', ' ', a)", "from pyspark.sql import functions as F\nF.col('a').rlike('^[0-9]+$')"),
    ),
    Rule(
        "regex-look-around",
        "raises on Sail",
        texts_beside_spark_matching(r"\(\?[=!<]"),
        ("from pyspark.sql import functions as F\nF.col('a').rlike('a(?=b)')",),
    ),
    Rule(
        "actions",
        "moves rows to the driver, and runs the plan: aggregate first",
        methods_without_arguments(
            "collect", "toPandas", "toArrow", "toLocalIterator", "show", "first", "head", "count", "foreach"
        ),
        ("frame.collect()", "frame.count()", "frame.toPandas()"),
        ("text.count('x')", "F.count('*')"),
        allowed={
            "jobs": "commands show small results and counts",
            "pipelines/runner.py": "how many rows or people a log names",
            "pipelines/curate/tables.py": "names of the loads of which the register has changed",
            "pipelines/terminology": "small results and counts by code, for people to read",
            "pipelines/ingest/load.py": "one count a file of the load, to compare with its manifest",
            "pipelines/ingest/profile.py": "one count a file and column of the load, to compare with the past",
            "pipelines/storage/catalog.py": "what a catalog says of its tables, and small tables of ours",
            "pipelines/tracing/reasons.py": "what the rules say of one record: one row",
            "pipelines/trial.py": "one count a file of a delivery and reason",
            "pipelines/verifying.py": "one count a table, source, entity and rule, and the people of the sample",
            "pipelines/making_releases.py": "one count a table",
            "pipelines/release/publish/catalog_views.py": "names and comments of schemas",
            "pipelines/omop/changes.py": "names of fields and tables, numbers of buckets",
            "pipelines/synthetic": "Arrow and numpy, no engine",
            "vocab/equivalents.py": "the concepts of this project that a download has too: a handful",
        },
    ),
    Rule(
        "row-functions",
        "row-by-row Python is slow, and on Sail holds one lock",
        methods(
            "udf", "pandas_udf", "arrow_udf", "udtf", "applyInPandas", "applyInArrow", "mapInPandas", "mapInArrow", "cogroup"
        ),
        ("F.udf(f)", "frame.mapInArrow(f, 'a int')"),
        allowed={
            "pipelines/ingest/rows.py": "parses files: whole batches, the one form equal on both engines",
            "pipelines/ingest/profile.py": "the same, to count what the files hold",
            "vocab/athena.py": "the same, for the files of an Athena download",
        },
    ),
    Rule(
        "temporary-views",
        "names shared by the whole session",
        methods("createTempView", "createOrReplaceTempView", "createGlobalTempView", "registerTempTable"),
        ("frame.createOrReplaceTempView('t')",),
        allowed={"jobs": "queries of people need names"},
    ),
    Rule(
        "sessions",
        "only the engine module opens sessions",
        attributes("getOrCreate", "getActiveSession"),
        ("SparkSession.builder.getOrCreate()",),
        allowed={"pipelines/engine.py": "the engine module"},
    ),
    Rule(
        "reading-and-writing-tables",
        "only TableStore reads and writes tables: it casts to the contract and checks that a path exists",
        lambda tree: (
            node for find in (chains("read", "write"), methods("writeTo", "saveAsTable", "insertInto")) for node in find(tree)
        ),
        ("session.read.parquet(p)", "frame.write.format('delta').save(p)"),
        allowed={
            "pipelines/storage": "reads and writes tables",
            "pipelines/release": "writes publications",
            "vocab": "reads Athena files",
        },
    ),
    Rule(
        "files-in-transforms",
        "a stage is DataFrame in, DataFrame out",
        lambda tree: (
            node
            for find in (
                builtins("open"),
                methods("open", "read_text", "read_bytes", "write_text", "write_bytes", "unlink", "mkdir", "iterdir", "rglob"),
            )
            for node in find(tree)
        ),
        ("open('a.csv')", "path.read_text()"),
        folders=TRANSFORMS,
        allowed={
            "pipelines/mapping/spec.py": "loads mapping files",
            "pipelines/mapping/analytes.py": "loads the reviewed concepts",
            "pipelines/ingest/landing.py": "reads manifests and control files",
            "pipelines/ingest/checksums.py": "takes the checksums of delivered files",
            "pipelines/ingest/folders.py": "lists the landing folder",
            "pipelines/ingest/checking.py": "lists the folder of a delivery",
            "pipelines/ingest/opening.py": "opens delivered files",
            "pipelines/ingest/making_manifests.py": "writes the manifest of a folder",
            "pipelines/ingest/load.py": "removes the mark of a load that is complete",
        },
    ),
    Rule(
        "union-with-missing-columns",
        "the schema says void on Sail: select and cast every column first",
        keyword("allowMissingColumns"),
        ("a.unionByName(b, allowMissingColumns=True)",),
    ),
    Rule(
        "join-kind",
        "say how rows without a partner are treated",
        joins_without_how,
        ("a.join(b, on='id')",),
        ("a.join(b, on='id', how='left')", "', '.join(names)"),
    ),
    Rule(
        "range-over-dates",
        "Sail ignores the bounds of a RANGE over dates: order by unix_date",
        texts_matching(r"RANGE BETWEEN", re.IGNORECASE),
        ("F.expr('count(*) over (order by d RANGE BETWEEN 30 PRECEDING AND CURRENT ROW)')",),
    ),
    Rule(
        "sql-only-forms",
        "raises on Sail",
        texts_matching(r"\b(QUALIFY|GROUP BY ALL|ORDER BY ALL|LATERAL JOIN|WITH RECURSIVE|UNPIVOT)\b"),
        ("session.sql('select * from t QUALIFY row_number() over (order by a) = 1')",),
    ),
    Rule(
        "mode-name",
        "refused by the Connect client: write 'error'",
        texts_matching("^errorifexists$"),
        ("w.mode('errorifexists')",),
    ),
    Rule(
        "printing",
        "use jobs.output for results and logging for messages: they know --json",
        builtins("print"),
        ("print(1)",),
    ),
)

SOURCES = sorted(path for package in PACKAGES for path in (PROJECT / package).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def found_in(rule: Rule, tree: ast.Module) -> list[int]:
    return sorted({getattr(node, "lineno", 0) for node in rule.find(tree)})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_code_holds_no_forbidden_construct(rule: Rule) -> None:
    faults = []
    for path in SOURCES:
        name = path.relative_to(PROJECT).as_posix()
        if rule.applies_to(name):
            faults += [f"{name}:{line}" for line in found_in(rule, parsed(path))]
    assert not faults, f"{rule.name} ({rule.why})"


@pytest.mark.parametrize(("rule", "code"), [(rule, code) for rule in RULES for code in rule.caught])
def test_rule_catches_its_example(rule: Rule, code: str) -> None:
    assert found_in(rule, ast.parse(code))


@pytest.mark.parametrize(("rule", "code"), [(rule, code) for rule in RULES for code in rule.passes])
def test_rule_lets_the_right_form_pass(rule: Rule, code: str) -> None:
    assert not found_in(rule, ast.parse(code))


def test_every_exception_names_something_that_is_there() -> None:
    allowed = {path for rule in RULES for path in rule.allowed}
    assert [path for path in sorted(allowed) if not (PROJECT / path).exists()] == []


def test_only_the_engine_module_names_an_engine() -> None:
    naming = [
        path
        for path in SOURCES
        if re.search(r"^\s*(import|from) (pysail|delta)\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert naming == []
