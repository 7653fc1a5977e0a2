"""What tests of deliveries begin with: an empty landing folder and a run of general practice."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pipelines.run_context import RunContext
from tests.builders.policies import DAY
from tests.builders.runs import run_in


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """An empty landing folder."""
    return tmp_path / "landing"


@pytest.fixture
def run(sail: SparkSession, tmp_path: Path) -> RunContext:
    """A run of the GP source on the first day."""
    return run_in(sail, tmp_path, DAY, ("gp",))
