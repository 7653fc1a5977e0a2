"""The options of a Spark that this project starts.

A Spark on this machine that reads little spends its time on what each statement costs whatever its size: planning, code that is
generated and compiled to run once, tasks without rows, and memory taken and given back. It is set to do less of it; a
large load and a cluster are not.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.engine_settings import CORES, EngineSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SESSION_OPTIONS = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
}
"""What every session has, whoever opened it: the transforms rely on it."""

NO_CALL_SITES = {"spark.python.sql.dataFrameDebugging.enabled": "false"}
"""PySpark else looks up the calling line for every column expression, which takes a fifth of a small run. Spark takes this
only when it starts, so a session that was there before keeps what it has."""

_QUIET = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.ui.retainedJobs": "1",
    "spark.ui.retainedStages": "1",
    "spark.sql.ui.retainedExecutions": "1",
    "spark.log.level": "FATAL",
}
"""Without a page to show them on, the plans of past statements only fill the driver's memory."""

_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}
"""With the timestamps of its default (96 bits, nanoseconds) other readers of Delta cannot read a year such as 0202."""

STARTED = SESSION_OPTIONS | NO_CALL_SITES | _QUIET | _DELTA
"""What a Spark that this project starts has."""

_TABLES_IN_MEMORY = 50
"""Tables whose log the driver keeps: each takes megabytes, and a load reads hundreds of tables once or twice."""

FILES_ARE_LISTED = "spark.nhs_omop.files_are_listed"
"""The option of a session that is given tables as the files that they consist of, not as tables of Delta."""

_COMPILES_LATE = (
    "-XX:Tier3InvocationThreshold=1000 -XX:Tier3MinInvocationThreshold=500 -XX:Tier3CompileThreshold=8000 "
    "-XX:Tier4InvocationThreshold=20000 -XX:Tier4MinInvocationThreshold=5000 -XX:Tier4CompileThreshold=40000 "
    "-XX:Tier4BackEdgeThreshold=200000"
)
"""The JVM compiles what has been called four to five times as often as by default: most of the code runs a few times only."""

_FOR_LITTLE = {
    FILES_ARE_LISTED: "true",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.autoBroadcastJoinThreshold": "3000",
    "spark.sql.optimizer.disableHints": "true",
    "spark.sql.optimizer.excludedRules": "org.apache.spark.sql.catalyst.optimizer.PushDownLeftSemiAntiJoin",
    "spark.sql.files.minPartitionNum": "1",
    "spark.sql.files.openCostInBytes": "65536",
    "spark.sql.leafNodeDefaultParallelism": "1",
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "1000000",
    "spark.sql.ui.explainMode": "simple",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.databricks.delta.writeChecksumFile.enabled": "false",
    "spark.databricks.delta.allFilesInCrc.enabled": "false",
    "spark.buffer.pageSize": "1m",
}
"""Where little is read, Spark compiles nothing, because it would run only once. A table is read as one partition, and rows in
one partition are joined, grouped and sorted where they are, so that most statements are one task: only values that are in
a plan are broadcast, and a semi-join stays above the table that it narrows, which is one partition there. No job looks for
the files of a table, and the Delta library reads its log: so nobody needs the summary of a version that Spark would write
beside each commit, nor the list of its files that Spark would compute for it. Each sort and each grouping takes a page of
memory for its few rows, of 64 MiB by default."""

_JVM_FOR_LITTLE = f"-XX:+UseSerialGC -XX:ReservedCodeCacheSize=240m -XX:MetaspaceSize=256m {_COMPILES_LATE}"
"""One collector, and enough memory from the start for the code of Spark and of its plans."""

_MOST_FOR_NEW_MIB = 512
"""Plans are many and soon done with. With half a gigabyte for what is new the JVM collects seldom."""


def local_options(engine: EngineSettings, scratch: Path, *, little: bool) -> dict[str, str]:
    """The options of a Spark on this machine, whose files that do not fit in memory go to a scratch folder.

    `little` says that what it reads is small enough for the cost of a statement to be more than that of its rows.
    """
    cores, mib = engine.parallelism or CORES, int(engine.memory_gib * 1024)
    options = {
        "spark.driver.memory": f"{mib}m",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.shuffle.partitions": str(2 * cores),
        "spark.default.parallelism": str(cores),
        "spark.databricks.delta.delta.log.cacheSize": str(_TABLES_IN_MEMORY),
    }
    if little:
        heap = f"-Xms{mib}m -Xmn{min(mib // 2, _MOST_FOR_NEW_MIB)}m"
        options |= _FOR_LITTLE | {"spark.driver.extraJavaOptions": f"{heap} {_JVM_FOR_LITTLE}"}
    return options


def option_of(session: "SparkSession", name: str) -> str | None:
    """The value of an option of a session; None where the session has no such option, or does not show it.

    Serverless compute of Databricks shows a few options and raises an error for every other, whatever default is asked for.
    """
    try:
        return session.conf.get(name, None)
    except Exception as error:  # a session of Spark and one of a server raise different classes
        if _NOT_SHOWN not in str(error):
            raise
        return None


_NOT_SHOWN = "CONFIG_NOT_AVAILABLE"
