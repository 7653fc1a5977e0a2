"""Delta for a local Spark: its jars, downloaded once into a folder that the project names.

Spark's own resolver fetches them from Maven Central. It takes a description that could not be fetched for one without
dependencies, and leaves a folder in which Delta is alone: so the folder is looked at, and the download repeated.
"""

import os
import shutil
import subprocess
import time
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from pipelines.errors import EngineError

ATTEMPTS = 3
SECONDS_BETWEEN = 5
LONGEST_DOWNLOAD_SECONDS = 600


def delta_jars(jars_dir: Path) -> list[Path]:
    """The jars of the Delta release that belongs to the installed pyspark, downloaded now if they are not there yet.

    The variable NHS_OMOP_JARS names another folder. Raises EngineError where pyspark or delta-spark is not installed, or where
    the jars cannot be downloaded.
    """
    try:
        spark_version, delta_version = version("pyspark"), version("delta-spark")
    except PackageNotFoundError as error:
        raise EngineError(f"{error.name} is not installed: pip install 'nhs-omop[spark]'") from error
    folder = Path(os.environ.get("NHS_OMOP_JARS", jars_dir)).absolute()
    artifact = f"delta-spark_{'.'.join(spark_version.split('.')[:2])}_2.13"
    needed = (f"{artifact}-{delta_version}.jar", f"delta-storage-{delta_version}.jar")
    attempts = 0
    while not _are_there(folder, needed):
        if attempts == ATTEMPTS:
            message = f"Delta could not be downloaded from Maven Central, tried {ATTEMPTS} times; check the network"
            raise EngineError(f"{message}, or put {' and '.join(needed)} with what they need into the folder of the jars")
        time.sleep(attempts * SECONDS_BETWEEN)
        _download(f"io.delta:{artifact}:{delta_version}", folder)
        attempts += 1
    return sorted((folder / "jars").glob("*.jar"))


def _are_there(folder: Path, names: tuple[str, ...]) -> bool:
    return all(any((folder / "jars").glob(f"*{name}")) for name in names)


def _download(coordinate: str, folder: Path) -> None:
    """Have Spark resolve a Maven coordinate into `folder/jars`. What it remembers of an earlier attempt is forgotten first."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    # Under spark-submit the module itself comes from an archive; the installed package has the programs.
    spark = Path(str(distribution("pyspark").locate_file("pyspark")))
    options = ["--packages", coordinate, "--conf", f"spark.jars.ivy={folder}", "--master", "local[1]"]
    # Spark resolves packages only for a program: this one says its version and ends.
    program = ["--class", "org.apache.spark.deploy.SparkSubmit", "spark-internal", "--version"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYSPARK_GATEWAY")}
    subprocess.run(
        [str(spark / "bin" / "spark-submit"), *options, *program],
        env=environment | {"SPARK_HOME": str(spark)},
        capture_output=True,
        timeout=LONGEST_DOWNLOAD_SECONDS,
        check=False,
    )
