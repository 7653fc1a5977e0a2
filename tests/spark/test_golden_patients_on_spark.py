"""Each golden patient on Apache Spark: the published rows of the person are the written-out ones there too."""

from typing import Any

import pytest
from deltalake import DeltaTable

from pipelines.contracts.zones import RESTRICTED_ZONES, Zone
from tests.golden.cases import Case, golden_cases
from tests.golden.lakehouse import Published
from tests.golden.lakehouse import published as published_from
from tests.spark.conftest import Lakes

CASES = golden_cases()

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def published(lakes: Lakes) -> Published:
    """What came of the golden patients on Spark."""

    def rows(zone: Zone, name: str) -> list[dict[str, Any]]:
        root = "restricted" if zone in RESTRICTED_ZONES else "deidentified"
        found: list[dict[str, Any]] = DeltaTable(str(lakes.spark / root / zone / name)).to_pyarrow_table().to_pylist()
        return found

    return published_from(rows, CASES)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_golden_patient_on_spark(case: Case, published: Published) -> None:
    differences = published.differences(case)
    assert not differences, "\n".join([f"{case.name} ({', '.join(case.rules)})", *differences])
