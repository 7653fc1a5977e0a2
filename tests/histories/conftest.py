"""The vocabularies of all histories."""

import pytest
from pyspark.sql import SparkSession

from tests.histories.lake import Vocabularies, load_vocabularies


@pytest.fixture(scope="session")
def vocabularies(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Vocabularies:
    """Two releases of the demonstration vocabulary, loaded once."""
    return load_vocabularies(tmp_path_factory.mktemp("vocabularies"))
