"""The files of the Databricks bundle, the command line of each task as its job would call it, and how it is called."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from pipelines.contracts.yaml_files import read_yaml
from tests.conftest import PROJECT

ROOT = PROJECT / "databricks.yml"
FILES = sorted((PROJECT / "conf" / "databricks").glob("*.yml"))

PACKAGE = ENTRY_POINT = "nhs-omop"
"""What every task names: the wheel and its entry point."""

VOLUMES = "/Volumes"
"""Where Databricks mounts volumes."""

_REFERENCE = re.compile(r"\$\{([a-z_.]+)\}")


def resources() -> dict[str, dict[str, Any]]:
    """Every resource by kind and name."""
    found: dict[str, dict[str, Any]] = {}
    for path in FILES:
        for kind, named in _read(path)["resources"].items():
            found.setdefault(kind, {}).update(named)
    return found


def bundle() -> dict[str, Any]:
    """The bundle without the resources."""
    return _read(ROOT)


def references() -> set[str]:
    """What the files refer to: `var.x`, `resources.schemas.x.name`, `workspace.file_path`."""
    return {name for path in (ROOT, *FILES) for name in _REFERENCE.findall(path.read_text(encoding="utf-8"))}


def tasks(job: str, values: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """The key and the parameters of each task, references to variables and job parameters replaced by `values`."""
    for task in resources()["jobs"][job]["tasks"]:
        yield task["task_key"], [_replaced(word, values) for word in task["python_wheel_task"]["parameters"]]


def values_here(volumes: Path, identifiable: str, deidentified: str, day: str, sources: Sequence[str]) -> dict[str, str]:
    """What a deployed bundle and a started job would put for references; volumes are folders on this machine."""
    return {
        "workspace.file_path": str(PROJECT),
        "var.identifiable_catalog": identifiable,
        "var.catalog": deidentified,
        "var.secret_scope": "nhs-omop",
        "job.parameters.date": day,
        "job.parameters.sources": f"[{', '.join(sources)}]",
        VOLUMES: str(volumes),
    }


def call_as_wheel_task(words: Sequence[str]) -> None:
    """Call the entry point of the installed wheel as a Python wheel task does: a function, its parameters in `sys.argv`.

    The task counts as failed if anything is raised, a SystemExit of 0 too; nothing is caught here.
    """
    (entry,) = (entry for entry in distribution(PACKAGE).entry_points if entry.name == ENTRY_POINT)
    before = sys.argv
    sys.argv = [PACKAGE, *words]
    try:
        entry.load()()
    finally:
        sys.argv = before


def _replaced(word: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        if name == VOLUMES:
            word = word.replace(VOLUMES + "/", value + "/")
        word = word.replace("${" + name + "}", value).replace("{{" + name + "}}", value)
    return word


def _read(path: Any) -> dict[str, Any]:
    content: dict[str, Any] = read_yaml(path)
    return content
