"""Follows docs/expectations.md and docs/lineage.md: a team adds an expectation file, which is checked with the gates and stops
a release, and the runs send their lineage to a file."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts.ledger import LEDGER_TABLE
from pipelines.errors import ConfigError, QualityGateError
from pipelines.nightly import nightly
from pipelines.quality.suppression import SMALLEST_SHOWN
from pipelines.release.published import chosen_release, gates_of
from pipelines.run_log import last_runs
from pipelines.settings import LineageSettings
from tests.conftest import PROJECT
from tests.e2e.scanner import Needles, findings
from tests.e2e.world import LAST_NIGHT, DemoWorld

MEASURES = "gate_measures_expectations_omop_person"


def suite_of_the_document() -> str:
    found = re.search(r"```yaml\n(.*?)```", (PROJECT / "docs" / "expectations.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return re.sub(r"^   ", "", found[1], flags=re.MULTILINE)


@dataclass(frozen=True)
class Added:
    """What four runs with an expectation file came to: one with a fault in it, one that it passes, one that it stops, and one
    after it was removed."""

    world: DemoWorld
    faults: str
    released: str
    changed: tuple[str, ...]
    stopped: str
    after_stop: str
    left: bool
    events: tuple[dict[str, Any], ...]
    sent_to: Path


pytestmark = [pytest.mark.deep, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def added(world: DemoWorld, tmp_path_factory: pytest.TempPathFactory) -> Added:
    folder = tmp_path_factory.mktemp("added")
    copy = world.copied_to(folder / "demo")
    events = folder / "lineage" / "events.jsonl"
    lineage = LineageSettings.model_validate({"namespace": "sde", "transport": {"kind": "file", "path": str(events)}})
    settings = copy.settings.model_copy(update={"expectations_dir": folder / "suites", "lineage": lineage})
    file = folder / "suites" / "people.yaml"
    file.parent.mkdir()

    text = suite_of_the_document()
    file.write_text(text.replace("omop.person", "omop.people"), encoding="utf-8")
    with pytest.raises(ConfigError) as faults:
        nightly(settings, LAST_NIGHT)
    file.write_text(text, encoding="utf-8")
    before = copy.versions()
    released = nightly(settings, LAST_NIGHT).release_id
    changed = tuple(place for place, version in copy.versions().items() if before.get(place) != version)
    file.write_text(text.replace("min_value: 10}", "min_value: 1000000}"), encoding="utf-8")
    with pytest.raises(QualityGateError) as stopped:
        nightly(settings, LAST_NIGHT)
    after_stop = chosen_release(settings).release_id
    file.unlink()
    nightly(settings, LAST_NIGHT)
    left = (copy.folder / "restricted" / "ledger" / MEASURES).exists()
    sent = tuple(json.loads(line) for line in events.read_text(encoding="utf-8").splitlines())
    return Added(copy, str(faults.value), released, changed, str(stopped.value), after_stop, left, sent, events.parent)


def people(world: DemoWorld) -> int:
    return len(world.rows("omop", "person"))


def test_a_faulty_suite_ends_the_run_before_it_writes(added: Added) -> None:
    assert added.faults.splitlines()[1:] == [
        "  people.yaml: meta.tables: there is no table omop.people; write zone.table, such as omop.person"
    ]


def test_a_suite_is_judged_with_the_gates_and_only_what_it_names_is_counted(added: Added, world: DemoWorld) -> None:
    assert added.released != world.outcomes[-1].release_id
    assert f"restricted/ledger/{MEASURES}" in added.changed
    assert not [place for place in added.changed if "gate_measures_silver" in place or "/silver/" in place]
    run = next(r.record.run_id for r in last_runs(added.world.settings.storage.restricted, 3) if r.record.release_id)
    results = [result for result in gates_of(added.world.settings, run) if result.check.rule == "expectation"]
    assert {(r.check.column, str(r.check.severity), r.rows, r.passed) for r in results} == {
        (
            "people: expect_column_distinct_values_to_contain_set(column=gender_concept_id, value_set=[8507, 8532])",
            *("error", 1, True),
        ),
        (
            "people: expect_column_values_to_be_between("
            "column=year_of_birth, max_value=2030.0, min_value=1900.0, mostly=0.999)",
            *("error", people(world), True),
        ),
        (
            "people: expect_column_values_to_be_in_set(column=gender_concept_id, value_set=[8507, 8532])",
            *("warn", people(world), set(world.rows("omop", "person")["gender_concept_id"]) == {8507, 8532}),
        ),
        ("people: expect_table_row_count_to_be_between(min_value=10)", "error", people(world), True),
    }


def test_a_critical_expectation_that_does_not_hold_stops_the_release(added: Added, world: DemoWorld) -> None:
    assert added.stopped.splitlines()[1:] == [
        f"  expectation on omop.person.people: expect_table_row_count_to_be_between(min_value=1000000): * of {people(world)}"
    ]
    assert added.after_stop == added.released


def test_what_no_suite_asks_for_any_more_is_removed(added: Added) -> None:
    assert not added.left


def of(added: Added, job: str, kind: str) -> list[dict[str, Any]]:
    return [event for event in added.events if (event["job"]["name"], event["eventType"]) == (job, kind)]


def test_every_run_sends_its_beginning_and_what_it_came_to(added: Added) -> None:
    runs = [event for event in added.events if event["job"]["name"] == "nightly"]
    assert [event["eventType"] for event in runs] == [
        "START",
        "FAIL",
        "START",
        "COMPLETE",
        "START",
        "FAIL",
        "START",
        "COMPLETE",
    ]
    assert [runs[place]["run"]["facets"]["errorMessage"]["message"] for place in (1, 5)] == [
        "ConfigError, exit code 10",
        "QualityGateError, exit code 21",
    ]
    assert [first["run"]["runId"] == last["run"]["runId"] for first, last in zip(runs[::2], runs[1::2], strict=True)] == [
        True
    ] * 4
    assert len({event["run"]["runId"] for event in runs}) == 4


def test_every_table_that_a_run_wrote_is_sent_with_what_it_was_made_from(added: Added, world: DemoWorld) -> None:
    started, completed = of(added, f"ledger.{MEASURES}", "START"), of(added, f"ledger.{MEASURES}", "COMPLETE")
    assert len(started) == len(completed) == 2
    assert [dataset["name"] for dataset in completed[0]["inputs"]] == ["omop.person"]
    made = completed[0]["outputs"][0]
    assert (made["namespace"], made["name"]) == ("sde", f"ledger.{MEASURES}")
    assert [(field["name"], field["type"]) for field in made["facets"]["schema"]["fields"]] == [
        ("expectation", "string"),
        ("rows", "bigint"),
        ("violations", "bigint"),
    ]
    assert "outputStatistics" not in made["outputFacets"]  # four rows: too few to be shown
    parent = completed[0]["run"]["facets"]["parent"]
    assert parent["job"] == {"namespace": "sde", "name": "nightly", "facets": {}}
    assert parent["run"]["runId"] == of(added, "nightly", "COMPLETE")[0]["run"]["runId"]
    metadata = of(added, "omop.metadata", "COMPLETE")[0]["outputs"][0]
    rows = len(world.rows("omop", "metadata"))
    assert rows >= SMALLEST_SHOWN
    assert metadata["outputFacets"]["outputStatistics"]["rowCount"] == round(rows / 5) * 5


def test_the_gates_are_sent_as_assertions_of_the_tables_that_they_looked_at(added: Added) -> None:
    passed, failed = of(added, "gates", "COMPLETE")[:2]
    by_table = {dataset["name"]: dataset["inputFacets"]["dataQualityAssertions"]["assertions"] for dataset in failed["inputs"]}
    assert {"bronze.gp_patient", "silver.gp_patient", "omop.person", "vocabulary.concept"} <= set(by_table)
    assert {"assertion": "required", "column": "person_id", "severity": "error", "success": True, "params": {}} in by_table[
        "omop.person"
    ]
    assert any(a["name"] == "mapped_share on gp" for a in by_table[f"ledger.{LEDGER_TABLE}"])
    assert [a["column"] for found in by_table.values() for a in found if not a["success"] and a["severity"] == "error"] == [
        "people: expect_table_row_count_to_be_between(min_value=1000000)"
    ]
    assert len(passed["inputs"]) == len(failed["inputs"])


def test_no_path_and_no_identifier_is_in_an_event(added: Added, needles: Needles) -> None:
    assert str(added.sent_to) not in json.dumps(added.events)
    assert list(findings(needles, added.sent_to)) == []
