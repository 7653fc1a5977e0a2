"""DataQualityDashboard on the folder of a demo: `python -m tests.dqd_of_world FOLDER` names what is beyond a limit."""

import sys
from pathlib import Path

from pyspark.sql import SparkSession

from pipelines.engine_settings import EngineKind
from pipelines.quality.dqd import DqdResult, dqd_checks, dqd_counts, dqd_results
from tests.conftest import Engines
from tests.e2e.world import DemoWorld


def results_of(session: SparkSession, world: DemoWorld) -> list[DqdResult]:
    """Every check that applies to the tables of a world, with what was counted."""
    names = sorted({check.table for check in dqd_checks()} | {"person"})
    tables = {name: session.read.format("delta").load(str(world.table_path("omop", name))) for name in names}
    return dqd_results(dqd_checks(), dqd_counts(dqd_checks(), tables).toArrow().to_pylist())


def main(folder: str) -> None:
    """Write the checks beyond their limit, with counts and shares."""
    engines = Engines()
    results = results_of(engines.open(EngineKind.SAIL), DemoWorld(Path(folder)))
    engines.close()
    failed = [result for result in results if not result.passed]
    lines = [
        f"{of.check}: {of.violated} of {of.counted}, {of.percentage:.1f} % ({of.check.threshold:g} % allowed)" for of in failed
    ]
    within = f"{len(results) - len(failed)} of {len(results)} checks are within their limit"
    sys.stdout.write("\n".join([*lines, within, ""]))


if __name__ == "__main__":
    main(sys.argv[1])
