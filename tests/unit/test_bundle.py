"""The Databricks bundle is valid without a workspace: by the models of Databricks' own package, and in itself."""

import json
import re
import textwrap
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from databricks.bundles.jobs import Job
from databricks.bundles.schemas import Schema
from databricks.bundles.secret_scopes import SecretScope
from databricks.bundles.volumes import Volume

from tests.builders.bundle import ENTRY_POINT, PACKAGE, bundle, references, resources, tasks

MODELS = {"jobs": Job, "schemas": Schema, "volumes": Volume, "secret_scopes": SecretScope}
PROJECT = Path(__file__).resolve().parents[2]
JOBS = ("nightly", "nightly_on_cluster")
ON_DEMAND = "vocabulary"
TASKS = ["check_lists", "ingest", "curate", "map", "gate", "release", "report", "publish"]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, named in resources().items() for name in named])
def test_a_resource_is_what_databricks_expects(kind: str, name: str) -> None:
    assert MODELS[kind].from_dict(resources()[kind][name])


def test_a_mistake_in_a_resource_is_seen() -> None:
    with pytest.raises(ValueError, match="Unexpected field 'max_retry'"):
        Job.from_dict({"tasks": [{"task_key": "x", "max_retry": 1}]})


def test_everything_that_is_referred_to_is_there() -> None:
    variables = {f"var.{name}" for name in bundle()["variables"]}
    named = {f"resources.{kind}.{name}.name" for kind, found in resources().items() for name in found}
    assert references() - variables - named == {"workspace.file_path"}
    assert variables <= references()


def test_the_steps_give_every_variable_that_bundle_commands_ask_for() -> None:
    """The Databricks CLI demands a value with each of them, not only with deploy."""
    declared = {name for name, variable in bundle()["variables"].items() if "default" not in variable}
    asked = {target: declared - set(content["variables"]) for target, content in bundle()["targets"].items()}
    steps = (PROJECT / "docs/databricks/README.md").read_text(encoding="utf-8")
    given = set(re.findall(r"export BUNDLE_VAR_(\w+)=\S", steps[: steps.index("`databricks bundle ")]))
    assert asked == dict.fromkeys(("dev", "test", "prod"), given)


def test_each_target_says_which_catalogs_it_uses() -> None:
    targets = bundle()["targets"]
    assert list(targets) == ["dev", "test", "prod"]
    catalogs = [(target["variables"]["identifiable_catalog"], target["variables"]["catalog"]) for target in targets.values()]
    assert len({name for pair in catalogs for name in pair}) == 6
    assert len({target["variables"]["secret_scope"] for target in targets.values()}) == 3  # names are those of a workspace
    assert targets["prod"]["run_as"]["service_principal_name"] == "${var.load_principal}"


def test_the_principal_that_runs_the_jobs_may_read_what_another_deployed() -> None:
    """Files are deployed to a folder of whoever deploys: without this the principal opens neither settings nor key."""
    assert bundle()["permissions"] == [{"service_principal_name": "${var.load_principal}", "level": "CAN_VIEW"}]
    of_resources = [
        given
        for named in resources().values()
        for resource in named.values()
        for given in resource.get("permissions", ())
        if "service_principal_name" in given
    ]
    assert of_resources == []  # permissions of both levels may not overlap


def test_who_is_named_hears_of_a_load_that_fails_and_of_one_that_takes_too_long() -> None:
    for job in JOBS:
        declared = resources()["jobs"][job]
        assert declared["health"]["rules"] == [{"metric": "RUN_DURATION_SECONDS", "op": "GREATER_THAN", "value": 21600}]
        assert declared["email_notifications"] == {
            "on_failure": ["${var.notify}"],
            "on_duration_warning_threshold_exceeded": ["${var.notify}"],
        }
    assert resources()["jobs"][ON_DEMAND]["email_notifications"] == {"on_failure": ["${var.notify}"]}


def test_no_target_renames_schemas_that_tasks_name_in_their_paths() -> None:
    """Mode development or a prefix renames schemas when they are deployed; `/Volumes/CATALOG/landing` is then not there."""
    targets = bundle()["targets"]
    assert {name: target.get("mode") for name, target in targets.items()} == {"dev": None, "test": None, "prod": "production"}
    assert not [name for name, target in targets.items() if "name_prefix" in target.get("presets", {})]
    assert targets["dev"]["presets"]["trigger_pause_status"] == "PAUSED"
    words = {word for _, line in tasks("nightly", {}) for word in line}
    volumes = {f"{schema}/{name}" for schema, name in re.findall(r"/Volumes/[^/]+/([^/]+)/(\w+)", " ".join(sorted(words)))}
    schemas = {schema["name"] for schema in resources()["schemas"].values()}
    assert volumes == {
        "landing/extracts",
        "landing/restricted",
        "documents/deidentified",
        "documents/reports",
        "documents/vocabulary",
    }
    declared = resources()["volumes"]
    assert {volume.partition("/")[2] for volume in volumes} == {volume["name"] for volume in declared.values()}
    assert {volume.partition("/")[0] for volume in volumes} | {"cdm"} == schemas


@pytest.mark.parametrize("job", JOBS)
def test_a_job_does_one_thing_after_the_other_and_tries_again(job: str) -> None:
    declared = resources()["jobs"][job]
    assert [task["task_key"] for task in declared["tasks"]] == TASKS
    after = {task["task_key"]: [other["task_key"] for other in task.get("depends_on", ())] for task in declared["tasks"]}
    assert after == {
        "check_lists": [],
        "ingest": ["check_lists"],
        "curate": ["ingest"],
        "map": ["curate"],
        "gate": ["map"],
        "release": ["gate"],
        "report": ["release"],
        "publish": ["release"],
    }
    whatever = {task["task_key"]: task["run_if"] for task in declared["tasks"] if "run_if" in task}
    assert whatever == {"report": "ALL_DONE"}  # a night that a gate stopped is the one to read about
    assert {task["max_retries"] for task in declared["tasks"]} == {2}
    assert declared["max_concurrent_runs"] == 1
    assert declared["schedule"]["timezone_id"] == "Europe/London"


def test_both_jobs_have_the_same_tasks() -> None:
    serverless, cluster = (dict(tasks(job, {})) for job in JOBS)
    assert serverless == cluster


def test_the_vocabulary_is_loaded_with_the_settings_of_the_load() -> None:
    loads, publishes = dict(tasks(ON_DEMAND, {}))["vocabulary"], dict(tasks("nightly", {}))["publish"]
    assert loads == ["vocab", "load", *publishes[publishes.index("--conf-dir") :]]


@pytest.mark.parametrize("job", [*JOBS, ON_DEMAND])
def test_every_task_is_given_the_wheel_that_the_bundle_builds(job: str) -> None:
    """The Databricks CLI reads a path as relative to the folder of the file that names it, not to that of the bundle."""
    declared = resources()["jobs"][job]
    environments = {of["environment_key"]: of["spec"]["dependencies"] for of in declared.get("environments", ())}
    for task in declared["tasks"]:
        libraries = [word for library in task.get("libraries", ()) for word in library.values()]
        given = libraries or environments[task["environment_key"]]
        wheels = [(PROJECT / "conf" / "databricks" / word).resolve() for word in given if word.endswith(".whl")]
        assert wheels == [PROJECT / "dist" / "*.whl"]
    assert "--wheel-dir dist ." in bundle()["artifacts"]["wheel"]["build"]


def test_one_job_runs_by_itself() -> None:
    assert "schedule" not in resources()["jobs"][ON_DEMAND]
    paused = {name: resources()["jobs"][name]["schedule"]["pause_status"] for name in JOBS}
    assert paused == {"nightly": "UNPAUSED", "nightly_on_cluster": "PAUSED"}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_runs_once_in_every_night(job: str) -> None:
    """The hour from 01:00 is left out when summer begins and comes twice when it ends: no load that night, or two."""
    schedule = resources()["jobs"][job]["schedule"]
    second, minute, hour, *days = schedule["quartz_cron_expression"].split()
    assert (second, days) == ("0", ["*", "*", "?"])
    for day in (date(2026, 3, 29), date(2026, 10, 25), date(2026, 7, 1)):
        begun = datetime(day.year, day.month, day.day, int(hour), int(minute), tzinfo=ZoneInfo(schedule["timezone_id"]))
        assert begun.astimezone(UTC).astimezone(begun.tzinfo) == begun
        assert begun.replace(fold=1).utcoffset() == begun.utcoffset()
        assert begun.astimezone(UTC).date() == day  # of which the job takes its date


@pytest.mark.parametrize("job", [*JOBS, ON_DEMAND])
def test_every_task_calls_the_wheel_in_the_environment_for_databricks(job: str) -> None:
    called = [task["python_wheel_task"] for task in resources()["jobs"][job]["tasks"]]
    assert {(task["package_name"], task["entry_point"]) for task in called} == {(PACKAGE, ENTRY_POINT)}
    for _, words in tasks(job, {}):
        assert words[words.index("--env") + 1] == "databricks"
        assert words[words.index("--conf-dir") + 1] == "${workspace.file_path}/conf"


def changes_in(page: str) -> list[dict[str, Any]]:
    """What a page says to write into the files of the bundle."""
    blocks = re.findall(r"^( *)```yaml\n(.*?)^ *```$", (PROJECT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [yaml.safe_load(textwrap.dedent(block)) for _, block in blocks]


def test_what_the_pages_say_to_change_in_the_bundle_is_what_databricks_expects() -> None:
    (trigger,) = changes_in("docs/databricks/README.md")
    declared = {name: value for name, value in resources()["jobs"]["nightly"].items() if name != "schedule"}
    assert Job.from_dict(declared | trigger).trigger
    volume, vault = changes_in("docs/databricks/azure.md")
    assert Volume.from_dict(resources()["volumes"]["extracts"] | volume).storage_location
    assert SecretScope.from_dict(vault["secret_scopes"]["key"]).keyvault_metadata


def test_data_factory_starts_the_job_with_the_parameters_that_it_has() -> None:
    pipeline = json.loads((PROJECT / "docs/databricks/data_factory.json").read_text(encoding="utf-8"))["properties"]
    (sent,) = [
        activity["typeProperties"]["body"]["value"] for activity in pipeline["activities"] if activity["type"] == "WebActivity"
    ]
    given = {"jobId": "7", "date": "2026-01-05", "sources": pipeline["parameters"]["sources"]["defaultValue"], "RunId": "once"}
    parts = re.findall(r"'([^']*)'|pipeline\(\)\.(?:parameters\.)?(\w+)", sent)
    body = json.loads("".join(text or given[name] for text, name in parts))
    assert body == {
        "job_id": 7,
        "idempotency_token": "once",
        "job_parameters": {
            "date": "2026-01-05",
            "sources": "[gp, acute, mental_health, community, ambulance, social_care]",
        },
    }
    assert {parameter["name"] for parameter in resources()["jobs"]["nightly"]["parameters"]} == set(body["job_parameters"])
