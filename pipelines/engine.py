"""Opens and closes the session of an engine. Nothing else in the project knows which engine runs.

Three kinds: `sail` (embedded, no JVM), `spark` (Apache Spark with Delta: local, submitted or given by Databricks) and
`remote` (any Spark Connect server). Every session has ANSI mode on and UTC as its zone.
"""

import atexit
import ctypes
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import current_thread, main_thread
from urllib.parse import urlsplit

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from pipelines.delta_jars import delta_jars
from pipelines.engine_settings import EngineKind, EngineSettings
from pipelines.errors import ConfigError, EngineError
from pipelines.own_connect import own_server
from pipelines.scratch import scratch_folder
from pipelines.spark_options import NO_CALL_SITES, SESSION_OPTIONS, STARTED, local_options

_CONNECT_MODE = "SPARK_CONNECT_MODE_ENABLED"
_MASTER = "MASTER"
_OUT_OF_MEMORY = "Failed to allocate additional"
_SESSION_IDLE_SECONDS = 24 * 3600

_BATCH_ROWS = 16_384
"""Rows that Sail passes on at a time: with its default of 8,192 writes take up to a third longer, with 32,768 a sort of wide
rows does not fit the memory of the demo."""


_ATTEMPTS = 4
"""How often a server in this process is asked again, in four seconds: if it does not answer it has ended. The ten minutes of
pyspark are for servers elsewhere."""


_CONNECT_PORT = 15002
"""Where a Spark Connect server listens unless its URL says otherwise."""

_FIRST_TRY_SECONDS = 10

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
"""Variables by which gRPC goes through a proxy."""


@contextmanager
def open_session(engine: EngineSettings, *, little: bool = False) -> Iterator[SparkSession]:
    """The session of the configured engine, closed at the end of the block unless the platform gave it.

    `little` sets a Spark that is started on this machine to read little, at a small cost of each statement.
    Raises EngineError, with what to install or set, where the engine cannot be started or reached.
    """
    openers = {
        EngineKind.SAIL: lambda: _sail(engine),
        EngineKind.SPARK: lambda: _spark(engine, little=little),
        EngineKind.REMOTE: lambda: _remote(engine),
    }
    with openers[engine.kind]() as session:
        _open.append(session)
        try:
            yield session
        finally:
            _open.remove(session)


_open: list[SparkSession] = []
"""The sessions that are open, the newest last."""


def shared_session(engine: EngineSettings) -> SparkSession:
    """The session that is open, else a new one that stays open until this process ends."""
    if not _open:
        stack = ExitStack()
        stack.enter_context(open_session(engine))
        atexit.register(stack.close)
    return _open[-1]


@contextmanager
def _sail(engine: EngineSettings) -> Iterator[SparkSession]:
    _use_utc()
    _use_small_pages()
    with ExitStack() as stack:
        scratch = stack.enter_context(scratch_folder(engine.scratch_dir))
        os.environ.update(_sail_environment(engine, scratch))
        try:
            server_class = import_module("pysail.spark").SparkConnectServer
            from pyspark.sql.connect.client.retries import DefaultPolicy  # brings gRPC, which a classic Spark may do without
        except ImportError as error:
            raise EngineError("the embedded engine is not installed: pip install 'nhs-omop[embedded]'") from error
        server = server_class("127.0.0.1", 0)
        server.start(background=True)
        stack.callback(server.stop)
        session = stack.enter_context(_connected(f"sc://127.0.0.1:{server.listening_address[1]}"))
        for name, value in NO_CALL_SITES.items():
            session.conf.set(name, value)
        _keep_interrupts()
        session.client.set_retry_policies([DefaultPolicy(max_retries=_ATTEMPTS)])
        try:
            yield session
        except PySparkException as error:
            if _OUT_OF_MEMORY in str(error):
                message = f"the embedded engine ran out of its {engine.memory_gib:g} GiB; raise engine.memory_gib"
                raise EngineError(
                    message + (" or set engine.prefer_hash_join: false" if engine.prefer_hash_join else "")
                ) from error
            raise


def _keep_interrupts() -> None:
    """Let an interrupt end this process as Python does it. Sail 0.7.2 stops its server first, and closing a session hangs."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is not None and current_thread() is main_thread():
        signal.signal(signal.SIGINT, handler)


def _sail_environment(engine: EngineSettings, scratch: Path) -> dict[str, str]:
    """The variables that Sail reads when its server starts: quiet, bounded memory, spilling to the scratch folder.

    With the preference for hash joins a map of 20,000 people takes a quarter of the time, because without it even a join
    with a small table sorts both sides. A hash join cannot spill: where memory runs out the error says what to set.
    """
    return {
        "RUST_LOG": "off",
        "SAIL_RUNTIME__MEMORY_POOL__TYPE": "fair",
        "SAIL_RUNTIME__MEMORY_POOL__FAIR__MAX_SIZE": str(int(engine.memory_gib * 2**30)),
        "SAIL_RUNTIME__TEMPORARY_FILES__PATHS": f'["{scratch.as_posix()}"]',
        "SAIL_OPTIMIZER__PREFER_HASH_JOIN": str(engine.prefer_hash_join).lower(),
        "SAIL_EXECUTION__DEFAULT_PARALLELISM": str(engine.parallelism),
        "SAIL_EXECUTION__BATCH_SIZE": str(_BATCH_ROWS),
        "SAIL_SPARK__SESSION_TIMEOUT_SECS": str(_SESSION_IDLE_SECONDS),
    }


@contextmanager
def _spark(engine: EngineSettings, *, little: bool) -> Iterator[SparkSession]:
    _use_utc()
    session = SparkSession.getActiveSession()
    if session is None and "DATABRICKS_RUNTIME_VERSION" in os.environ:
        session = SparkSession.builder.getOrCreate()
    if session is not None:
        with _session_options(session):
            yield session
    elif _client_only():
        raise EngineError(
            "engine.kind spark needs Apache Spark, and pyspark-client is only a client: pip uninstall pyspark-client, then "
            "pip install 'nhs-omop[spark]'; or set engine.kind: sail"
        )
    elif engine.master is None:
        with _stopped_at_end(_start(_builder(STARTED | engine.spark_options))) as session:
            yield session
    else:
        with _local_spark(engine, engine.master, little=little) as session:
            yield session


@contextmanager
def _local_spark(engine: EngineSettings, master: str, *, little: bool) -> Iterator[SparkSession]:
    """A JVM on this machine, with the Delta packages that belong to the installed pyspark.

    Under spark-submit the JVM is already there. If it was not given Delta it cannot be added later, so a second JVM is
    started with it; the first only waits for this process to end.
    """
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if submitted and not any("delta-spark" in path for path in sys.path):
        for name in ("PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET"):
            os.environ.pop(name, None)
        submitted = False
    if not submitted and not _java_is_installed():
        raise EngineError(
            "Spark needs Java 17 or later (for example the package openjdk-17-jre-headless); or set engine.kind: sail"
        )
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with scratch_folder(engine.scratch_dir) as scratch:
        options = STARTED | local_options(engine, scratch, little=little)
        if not submitted:
            options["spark.jars"] = ",".join(map(str, delta_jars(engine.jars_dir)))
        with own_server(options | engine.spark_options, idle_seconds=_SESSION_IDLE_SECONDS, has_jvm=submitted) as server:
            started = _start(_builder(server.options).master(master))
        with _stopped_at_end(started):
            server.require_closed()
            with _connected(server.url) as session:
                yield session


def _client_only() -> bool:
    """Whether pyspark comes from pyspark-client, which can only speak to a server."""
    return find_spec("pyspark.core") is None


def _java_is_installed() -> bool:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java") is not None or (home is not None and (Path(home) / "bin" / "java").exists())


@contextmanager
def _remote(engine: EngineSettings) -> Iterator[SparkSession]:
    _use_utc()
    if engine.url is None:
        with _databricks_connect() as session:
            yield session
        return
    try:
        url = engine.url.resolve().decode().strip()
    except ConfigError as error:
        raise EngineError(f"engine.url: {error}") from error
    if not url.startswith("sc://"):
        raise EngineError("engine.url must refer to a Spark Connect URL (sc://host:port)")
    _require_answer(url)
    with _connected(url) as session:
        yield session


def _require_answer(url: str) -> None:
    """Raises EngineError, which names the host and never the rest of the URL, where nothing takes a connection there.

    pyspark itself tries for twenty minutes without a word. Where gRPC goes through a proxy nothing is tried.
    """
    if any(os.environ.get(name) for name in _PROXIES):
        return
    try:
        place = urlsplit(url)
        host, port = place.hostname or "", place.port or _CONNECT_PORT
    except ValueError:  # its message would show the text
        host = ""
    if not re.fullmatch(r"[\w.:-]+", host):  # after a forgotten slash a token stands here
        raise EngineError("engine.url must refer to a Spark Connect URL (sc://host:port, or sc://host:port/;token=...)")
    try:
        socket.create_connection((host, port), timeout=_FIRST_TRY_SECONDS).close()
    except OSError as error:
        raise EngineError(
            f"engine.url: no Spark Connect server answers at {host}:{port} ({error.strerror or 'timed out'}); start it, or "
            "correct the address, and see that the network lets this machine reach it"
        ) from error


@contextmanager
def _databricks_connect() -> Iterator[SparkSession]:
    try:
        session: SparkSession = import_module("databricks.connect").DatabricksSession.builder.getOrCreate()
    except ImportError as error:
        message = "engine.kind remote needs engine.url, or Databricks Connect (pip install databricks-connect)"
        raise EngineError(message) from error
    with _session_options(session):
        yield session


@contextmanager
def _connected(url: str) -> Iterator[SparkSession]:
    """A new session of a Spark Connect server, stopped before the server can be.

    pyspark notes in the environment that functions build Connect columns; the note is taken back, so that a classic session
    may follow in the same process. It refuses a URL where spark-submit has set a master, so that is out of its sight.
    """
    before, master = os.environ.get(_CONNECT_MODE), os.environ.pop(_MASTER, None)
    try:
        session = SparkSession.builder.remote(url).create()
        with _stopped_at_end(session), _session_options(session):
            yield session
    except ImportError as error:
        raise EngineError("Spark Connect is not installed: pip install 'nhs-omop[embedded]'") from error
    finally:
        if before is None:
            os.environ.pop(_CONNECT_MODE, None)
        if master is not None:
            os.environ[_MASTER] = master


def _builder(options: Mapping[str, str]) -> SparkSession.Builder:
    builder = SparkSession.builder.appName("nhs-omop")
    for name, value in options.items():
        builder = builder.config(name, value)
    return builder


def _start(builder: SparkSession.Builder) -> SparkSession:
    try:
        return builder.getOrCreate()
    except Exception as error:  # py4j and pyspark raise several classes here, all with the same meaning
        raise EngineError("Spark did not start; its own message stands above") from error


@contextmanager
def _stopped_at_end(session: SparkSession) -> Iterator[SparkSession]:
    try:
        yield session
    finally:
        session.stop()


@contextmanager
def _session_options(session: SparkSession) -> Iterator[None]:
    """Set what the transforms rely on and give a session that was there before its own values back."""
    try:
        before: dict[str, str | None] = {name: session.conf.get(name, None) for name in SESSION_OPTIONS}
        for name, value in SESSION_OPTIONS.items():
            session.conf.set(name, value)
    except Exception as error:  # the first call to a server: any failure means that it cannot be used
        raise EngineError(f"the Spark session cannot be used: {type(error).__name__}") from error
    try:
        yield
    finally:
        for name, former in before.items():
            if former is not None and former != SESSION_OPTIONS[name]:
                session.conf.set(name, former)


_PR_SET_THP_DISABLE = 41


def _use_small_pages() -> None:
    """Ask Linux for pages of 4 KiB: the embedded engine gives memory back all the time, and clearing whole pages of 2 MiB for
    it takes a tenth of a run and a third of its memory. Elsewhere nothing is asked.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)


def _use_utc() -> None:
    """Put the process in UTC: pyspark and pandas convert timestamps by the zone of the process."""
    os.environ["TZ"] = "UTC"
    if hasattr(time, "tzset"):
        time.tzset()
