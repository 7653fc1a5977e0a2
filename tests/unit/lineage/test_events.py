"""The events of a run hold what the OpenLineage models ask for, and nothing that they do not know."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from inspect import Parameter, signature
from typing import Any
from urllib.parse import urlparse
from uuid import UUID

import openlineage.client.facet_v2 as facets
import pytest
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent
from openlineage.client.serde import Serde

from pipelines.contracts.tables import BelongsTo, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import QualityGateError
from pipelines.lineage.events import MadeTable, RunOfEvents
from pipelines.quality.checks import Check, Rule, Severity
from pipelines.quality.checks import Zone as CheckedZone
from pipelines.quality.gates import Measured, judge

STARTED = datetime(2026, 1, 6, 2, 30, tzinfo=UTC)
RUN = RunOfEvents("sde", "20260106-00007", date(2026, 1, 6), STARTED)
PERSON = Table(
    name=TableName(Zone.OMOP, "person"),
    grain="one row per person",
    schema={"person_id": "bigint", "year_of_birth": "int"},
    belongs_to=BelongsTo.PERSON,
    make=lambda inputs: inputs.read(Zone.INTERMEDIATE, "persons"),
    inputs=(TableName(Zone.INTERMEDIATE, "persons"), TableName(Zone.OMOP, "location")),
)
RESULTS = judge(
    [
        Measured(Check(CheckedZone.OMOP, "person", Rule.REQUIRED, "person_id"), 900, 3),
        Measured(Check(CheckedZone.OMOP, "concept", Rule.UNIQUE, "concept_id", severity=Severity.WARN), 900, 0),
        Measured(Check(CheckedZone.RUN, "gp", Rule.MAPPED, tolerance=0.1), 900, 0),
    ]
).results


def made(rows: int | None) -> list[RunEvent]:
    return list(RUN.of_table(MadeTable(PERSON, STARTED, STARTED + timedelta(seconds=4), 12, rows)))


def all_events() -> list[RunEvent]:
    return [
        RUN.began(),
        RUN.completed(STARTED),
        RUN.stopped(STARTED),
        RUN.failed(STARTED, QualityGateError("person 11 in /srv/restricted"), 21),
        *made(900),
        *RUN.of_gates(RESULTS, ["concept"], STARTED),
    ]


MODELS = {
    model._get_schema(): model
    for module in vars(facets).values()
    if hasattr(module, "__name__") and str(getattr(module, "__name__", "")).startswith("openlineage.client.generated")
    for model in vars(module).values()
    if isinstance(model, type) and hasattr(model, "_get_schema")
}
"""The models of facets by the address of their schema, from which the library was generated."""


def check(content: Mapping[str, Any], model: type) -> None:
    """Every key is known to the model, and what it requires is there."""
    names = {name for base in model.__mro__ for name in getattr(base, "__slots__", ())}
    assert set(content) <= names, model
    arguments = signature(model).parameters.values()
    assert {argument.name for argument in arguments if argument.default is Parameter.empty} <= set(content), model


def check_facets(container: Mapping[str, Any]) -> int:
    for facet in container.values():
        check(facet, MODELS[facet["_schemaURL"]])
        assert urlparse(facet["_producer"]).scheme == "urn"
    return len(container)


@pytest.mark.parametrize("event", all_events(), ids=lambda event: f"{event.job.name}-{event.eventType.value}")
def test_an_event_is_what_the_models_of_the_library_know(event: RunEvent) -> None:
    content = Serde.to_dict(event)
    check(content, RunEvent)
    check(content["job"], Job)
    check(content["run"], Run)
    assert UUID(content["run"]["runId"]).version == 7
    assert datetime.fromisoformat(content["eventTime"]).tzinfo is not None
    assert content["schemaURL"] == "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
    assert check_facets(content["job"]["facets"]) == 1
    assert check_facets(content["run"]["facets"]) >= 2
    for kind, model, own in (("inputs", InputDataset, "inputFacets"), ("outputs", OutputDataset, "outputFacets")):
        for dataset in content[kind]:
            check(dataset, model)
            check_facets(dataset["facets"])
            check_facets(dataset[own])


def test_a_table_begins_and_ends_with_its_inputs_its_columns_and_its_rows() -> None:
    started, completed = (Serde.to_dict(event) for event in made(900))
    assert (started["eventType"], started["eventTime"]) == ("START", "2026-01-06T02:30:00+00:00")
    assert (completed["eventType"], completed["eventTime"]) == ("COMPLETE", "2026-01-06T02:30:04+00:00")
    assert started["run"]["runId"] == completed["run"]["runId"]
    assert [dataset["name"] for dataset in completed["inputs"]] == ["intermediate.persons", "omop.location"]
    (output,) = completed["outputs"]
    assert (output["namespace"], output["name"]) == ("sde", "omop.person")
    assert output["facets"]["documentation"]["description"] == "one row per person"
    assert output["facets"]["version"]["datasetVersion"] == "12"
    assert output["facets"]["schema"]["fields"] == [
        {"name": "person_id", "type": "bigint", "ordinal_position": 1, "fields": []},
        {"name": "year_of_birth", "type": "int", "ordinal_position": 2, "fields": []},
    ]
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 900


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        (None, None),
        (0, 0),
        (1, None),
        (7, None),
        (8, 10),
        (12, 10),
        (13, 15),
        (99, 100),
        (104, 100),
        (900, 900),
        (19_692, 20_000),
        (19_499, 19_000),
        (3_246_450, 3_200_000),
    ],
)
def test_small_numbers_of_rows_are_left_out_and_others_rounded(rows: int | None, shown: int | None) -> None:
    statistics = Serde.to_dict(made(rows)[1])["outputs"][0]["outputFacets"].get("outputStatistics", {})
    assert statistics.get("rowCount") == shown


def test_a_failure_is_its_class_and_exit_code() -> None:
    content = Serde.to_dict(RUN.failed(STARTED, QualityGateError("person 11 in /srv/restricted"), 21))
    assert content["run"]["facets"]["errorMessage"]["message"] == "QualityGateError, exit code 21"
    assert "11" not in str(content["run"]["facets"]["errorMessage"]["message"])


def test_gates_are_assertions_without_numbers() -> None:
    content = Serde.to_dict(list(RUN.of_gates(RESULTS, ["concept"], STARTED))[1])
    found = {d["name"]: d["inputFacets"]["dataQualityAssertions"]["assertions"] for d in content["inputs"]}
    assert found == {
        "ledger.rows": [
            {"assertion": "mapped_share", "success": True, "severity": "error", "name": "mapped_share on gp", "params": {}}
        ],
        "omop.person": [{"assertion": "required", "success": False, "severity": "error", "column": "person_id", "params": {}}],
        "vocabulary.concept": [
            {"assertion": "unique", "success": True, "severity": "warn", "column": "concept_id", "params": {}}
        ],
    }


def test_another_run_has_other_ids_and_the_same_run_the_same() -> None:
    other = RunOfEvents("sde", "20260106-00008", date(2026, 1, 6), STARTED)
    assert RUN.began().run.runId == RUN.completed(STARTED).run.runId != other.began().run.runId
