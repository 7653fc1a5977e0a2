"""Sessions and storage for all tests.

One engine is open at a time: pyspark builds columns either for Spark Connect or for a classic session. Tests that need
Spark therefore run after all others, and opening one engine closes the other.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from pipelines.engine import open_session
from pipelines.engine_settings import EngineKind, EngineSettings
from pipelines.settings import Settings, load_settings
from tests.postgresql import Server, postgresql_server

PROJECT = Path(__file__).resolve().parent.parent

os.environ["NHS_OMOP_ENV"] = "demo"
"""The environment of every command that a test starts without --env; whoever starts them has to name one too."""


class Engines:
    """The one open session of the test process."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def open(self, kind: EngineKind) -> SparkSession:
        """A session of a kind, after closing the one that was open."""
        self.close()
        jars = Path(os.environ.get("NHS_OMOP_JARS", PROJECT / ".jars"))
        settings = EngineSettings(kind=kind, memory_gib=1, parallelism=2, master="local[2]", jars_dir=jars)
        return self._stack.enter_context(open_session(settings, little=True))

    def close(self) -> None:
        """Close the open session, if there is one."""
        self._stack.close()


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers that folders give."""
    config.addinivalue_line("markers", "embedded: needs the embedded engine")
    config.addinivalue_line("markers", "e2e: whole runs on generated extracts, minutes in all")
    config.addinivalue_line("markers", "spark: needs Java and Apache Spark with Delta")
    config.addinivalue_line("markers", "deep: hours in all; runs with --deep only")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that runs deep tests, and nothing else."""
    parser.addoption("--deep", action="store_true", help="run the tests that take hours, and only them")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by the sessions they use and put those on Spark last; of several processes one begins with them."""
    is_deep = {item: item.get_closest_marker("deep") is not None for item in items}
    left_out = [item for item in items if is_deep[item] != config.getoption("deep")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if is_deep[item] == config.getoption("deep")]
    for item in items:
        if any(item.path.is_relative_to(PROJECT / "tests" / folder) for folder in ("e2e", "histories")):
            item.add_marker(pytest.mark.e2e)
        fixtures = getattr(item, "fixturenames", ())
        if "spark" in fixtures or item.path.is_relative_to(PROJECT / "tests" / "spark"):
            item.add_marker(pytest.mark.spark)
        elif "sail" in fixtures or item.path.is_relative_to(PROJECT / "tests" / "embedded"):
            item.add_marker(pytest.mark.embedded)
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(
            key=lambda item: LONGEST.index(_group_of(item.nodeid)) if _group_of(item.nodeid) in LONGEST else len(LONGEST)
        )
    else:
        items.sort(key=lambda item: item.get_closest_marker("spark") is not None)


LONGEST = ("tests/spark", "tests/e2e", "tests/golden")
"""Folders whose tests share what takes minutes to make: of several test processes one makes it, and begins early."""

OF_THEIR_OWN = tuple(f"tests/e2e/test_{name}.py" for name in ("onboarding", "synthea", "canary_nights", "boundary_nights"))
"""Files in these folders that share nothing with the others."""


def _group_of(nodeid: str) -> str:
    """The tests that one process runs: those of a folder that shares something, else those of a file; a history alone."""
    path = nodeid.partition("::")[0]
    if path.startswith("tests/histories/"):
        return nodeid
    return next((folder for folder in LONGEST if path.startswith(f"{folder}/") and path not in OF_THEIR_OWN), path)


class _ByGroup(LoadScopeScheduling):
    """Gives the processes whole groups of tests."""

    def _split_scope(self, nodeid: str) -> str:
        return _group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Share out tests by groups where there are several processes."""
    return _ByGroup(config, log)


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """The holder of the open session."""
    holder = Engines()
    yield holder
    holder.close()


@pytest.fixture(scope="session")
def sail(engines: Engines) -> SparkSession:
    """A session of the embedded engine."""
    return engines.open(EngineKind.SAIL)


@pytest.fixture(scope="session")
def java() -> None:
    """Java for Spark; without it the test is skipped, or fails where CI is set."""
    if shutil.which("java") is None:
        if os.environ.get("CI"):
            pytest.fail("Java is not installed, so nothing ran on Spark")
        pytest.skip("needs Java 17 or later")


@pytest.fixture(scope="session")
def spark(java: None, engines: Engines) -> SparkSession:
    """A local Spark session with Delta."""
    return engines.open(EngineKind.SPARK)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server. Its socket needs a short path, which the user of the server can reach."""
    with postgresql_server(Path(tempfile.gettempdir()) / f"nhs-omop-{os.getpid()}") as server:
        yield server


@pytest.fixture
def database(postgresql: Server) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    with postgresql.database("of_a_test") as url:
        yield url


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of the test environment, with all storage in a folder of the test."""
    places = {"landing": "landing", "restricted": "restricted", "deidentified": "deidentified"}
    return load_settings("test", overrides=[f"storage.{name}={tmp_path / folder}" for name, folder in places.items()])
