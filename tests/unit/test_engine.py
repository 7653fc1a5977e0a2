import socket
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from pipelines import delta_jars as module_of_jars
from pipelines import engine
from pipelines.delta_jars import delta_jars
from pipelines.engine import open_session
from pipelines.engine_settings import EngineSettings
from pipelines.errors import EngineError
from pipelines.secrets import EnvironmentSecret
from pipelines.spark_options import FILES_ARE_LISTED, local_options, option_of

URL = EnvironmentSecret(kind="env", name="NHS_OMOP_TEST_URL")


def opened(settings: EngineSettings) -> None:
    with open_session(settings):
        pytest.fail("the session was opened")


@pytest.mark.parametrize(
    ("kind", "master", "is_here"),
    [
        ("sail", "local[*]", True),
        ("sail", None, True),
        ("spark", "local[2]", True),
        ("spark", "local", True),
        ("spark", None, False),
        ("spark", "spark://host:7077", False),
        ("spark", "yarn", False),
        ("remote", "local[*]", False),
    ],
)
def test_an_engine_is_on_this_machine_or_elsewhere(kind: str, master: str | None, is_here: bool) -> None:
    assert EngineSettings.model_validate({"kind": kind, "master": master}).is_here is is_here


class Refusing:
    """A session that answers each question for an option with an error, as serverless compute of Databricks does."""

    def __init__(self, error: str) -> None:
        self.conf = self
        self.error = error

    def get(self, _name: str, _default: str | None = None) -> str:
        raise AnalysisException(self.error)


def test_an_option_that_serverless_compute_does_not_show_is_not_set() -> None:
    refused = f"[CONFIG_NOT_AVAILABLE] Configuration {FILES_ARE_LISTED} is not available. SQLSTATE: 42K0I"
    assert option_of(Refusing(refused), FILES_ARE_LISTED) is None  # type: ignore[arg-type]


def test_another_error_of_a_session_is_not_taken_for_an_option_that_is_not_set() -> None:
    with pytest.raises(AnalysisException, match="SESSION_CLOSED"):
        option_of(Refusing("[INVALID_HANDLE.SESSION_CLOSED]"), FILES_ARE_LISTED)  # type: ignore[arg-type]


def test_spark_without_java_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_java_is_installed", lambda: False)
    monkeypatch.setattr(engine, "_client_only", lambda: False)
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    with pytest.raises(EngineError, match="Java 17"):
        opened(EngineSettings(kind="spark"))


def test_spark_with_the_client_only_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_client_only", lambda: True)
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    with pytest.raises(EngineError, match=r"uninstall pyspark-client.*nhs-omop\[spark\]"):
        opened(EngineSettings(kind="spark"))


def test_missing_embedded_engine_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysail.spark", None)
    with pytest.raises(EngineError, match=r"nhs-omop\[embedded\]"):
        opened(EngineSettings())


@pytest.mark.parametrize("missing", ["pyspark", "delta-spark"])
def test_jars_without_spark_name_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def installed(name: str) -> str:
        if name == missing:
            raise PackageNotFoundError(name)
        return "4.2.0"

    monkeypatch.setattr(module_of_jars, "version", installed)
    with pytest.raises(EngineError, match=rf"{missing} is not installed: pip install 'nhs-omop\[spark\]'"):
        delta_jars(tmp_path)


def test_java_is_found_by_its_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert not engine._java_is_installed()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch()
    assert engine._java_is_installed()


def test_remote_without_url_names_the_two_ways() -> None:
    with pytest.raises(EngineError, match=r"engine\.url, or Databricks Connect"):
        opened(EngineSettings(kind="remote"))


def test_remote_with_unset_url_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NHS_OMOP_TEST_URL", raising=False)
    with pytest.raises(EngineError, match="NHS_OMOP_TEST_URL"):
        opened(EngineSettings(kind="remote", url=URL))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sc://127.0.0.1:{port}/;token=s3cr3t", "no Spark Connect server answers at 127.0.0.1:{port} (Connection refused)"),
        ("sc://s3cr3t@localhost:{port}", "no Spark Connect server answers at localhost:{port} (Connection refused)"),
        ("sc://nowhere.invalid:15002/;token=s3cr3t", "no Spark Connect server answers at nowhere.invalid:15002 ("),
        ("sc://nowhere.invalid/;token=s3cr3t", "no Spark Connect server answers at nowhere.invalid:15002 ("),
        ("sc://127.0.0.1:port/;token=s3cr3t", "must refer to a Spark Connect URL"),
        ("sc://127.0.0.1;token=s3cr3t", "must refer to a Spark Connect URL"),
        ("sc://127.0.0.1:{port};token=s3cr3t", "must refer to a Spark Connect URL"),
        ("sc:///;token=s3cr3t", "must refer to a Spark Connect URL"),
    ],
)
def test_a_server_that_does_not_answer_is_named_at_once(url: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(engine, "_connected", lambda _: pytest.fail("pyspark was asked"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("NHS_OMOP_TEST_URL", url.format(port=port))
    with pytest.raises(EngineError, match=r"engine\.url") as caught:
        opened(EngineSettings(kind="remote", url=URL))
    assert said.format(port=port) in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_remote_with_another_kind_of_url_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NHS_OMOP_TEST_URL", "https://user:token@host")
    with pytest.raises(EngineError, match="sc://") as caught:
        opened(EngineSettings(kind="remote", url=URL))
    assert "token" not in str(caught.value)


def test_downloaded_jars_are_used_without_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NHS_OMOP_JARS", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(module_of_jars, "version", {"pyspark": "4.2.0", "delta-spark": "4.4.0"}.__getitem__)
    (tmp_path / "jars").mkdir()
    names = ["a.jar", "io.delta_delta-spark_4.2_2.13-4.4.0.jar", "io.delta_delta-storage-4.4.0.jar"]
    for name in names:
        (tmp_path / "jars" / name).touch()
    assert delta_jars(Path("elsewhere")) == [tmp_path / "jars" / name for name in names]


def test_embedded_engine_is_bounded_quiet_and_spills_to_the_scratch_folder() -> None:
    environment = engine._sail_environment(EngineSettings(memory_gib=1.5, parallelism=3), Path("/scratch"))
    assert environment["SAIL_RUNTIME__MEMORY_POOL__TYPE"] == "fair"
    assert environment["SAIL_RUNTIME__MEMORY_POOL__FAIR__MAX_SIZE"] == "1610612736"
    assert environment["SAIL_RUNTIME__TEMPORARY_FILES__PATHS"] == '["/scratch"]'
    assert environment["SAIL_OPTIMIZER__PREFER_HASH_JOIN"] == "true"
    assert environment["SAIL_EXECUTION__DEFAULT_PARALLELISM"] == "3"
    assert environment["RUST_LOG"] == "off"


def test_spark_for_little_compiles_nothing_and_for_much_as_it_does_itself() -> None:
    compiles = ("spark.sql.codegen.wholeStage", "spark.sql.codegen.factoryMode", "spark.driver.extraJavaOptions")
    settings = EngineSettings(kind="spark", memory_gib=2, parallelism=3)
    little = local_options(settings, Path("/scratch"), little=True)
    much = local_options(settings, Path("/scratch"), little=False)
    assert [little.get(name) for name in compiles[:2]] == ["false", "NO_CODEGEN"]
    assert [much.get(name) for name in compiles] == [None, None, None]
    assert (little["spark.sql.shuffle.partitions"], much["spark.sql.shuffle.partitions"]) == ("1", "6")
    assert (little["spark.buffer.pageSize"], much.get("spark.buffer.pageSize")) == ("1m", None)
    assert little["spark.driver.memory"] == much["spark.driver.memory"] == "2048m"
    assert little["spark.driver.extraJavaOptions"].startswith("-Xms2048m -Xmn512m ")
    smallest = local_options(settings.model_copy(update={"memory_gib": 0.5}), Path("/scratch"), little=True)
    assert smallest["spark.driver.extraJavaOptions"].startswith("-Xms512m -Xmn256m ")
