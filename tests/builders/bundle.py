"""The files of the Databricks bundle, and the command line of each task as its job would call it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.contracts.yaml_files import read_yaml
from tests.conftest import PROJECT

ROOT = PROJECT / "databricks.yml"
FILES = sorted((PROJECT / "conf" / "databricks").glob("*.yml"))

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


def _replaced(word: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        word = word.replace("${" + name + "}", value).replace("{{" + name + "}}", value)
    return word


def _read(path: Any) -> dict[str, Any]:
    content: dict[str, Any] = read_yaml(path)
    return content
