"""The single run that contains all golden patients."""

import pytest
from pyspark.sql import SparkSession

from tests.golden.cases import Case
from tests.golden.lakehouse import Published, build


@pytest.fixture(scope="session")
def published(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Published:
    """The result of the run, for the sources of the selected cases (`-k gp` runs gp only)."""
    parameters = [getattr(item, "callspec", None) for item in request.session.items]
    cases = [parameter.params.get("case") for parameter in parameters if parameter]
    sources = {source for case in cases if isinstance(case, Case) for source in case.sources}
    return build(sail, tmp_path_factory.mktemp("golden"), sorted(sources))
