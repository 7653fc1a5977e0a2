"""The one run that all golden patients are in."""

import pytest
from pyspark.sql import SparkSession

from tests.golden.cases import Case
from tests.golden.lakehouse import Published, build


@pytest.fixture(scope="session")
def published(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Published:
    """What came of the golden patients, of the sources of which cases were chosen (`-k gp` runs gp alone)."""
    parameters = [getattr(item, "callspec", None) for item in request.session.items]
    cases = [one.params.get("case") for one in parameters if one]
    sources = {source for case in cases if isinstance(case, Case) for source in case.sources}
    return build(sail, tmp_path_factory.mktemp("golden"), sorted(sources))
