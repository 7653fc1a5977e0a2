"""What is declared, what is pinned and what is imported agree."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import setuptools

PROJECT = Path(__file__).resolve().parents[2]
LOCKS = PROJECT / "conf" / "requirements"
OURS = ("pipelines", "vocab", "jobs")

STARTED_BESIDE = ("submit",)
"""Modules of jobs that a script in the same folder imports without the name of the package."""

PACKAGE_OF_MODULE = {
    "yaml": "pyyaml",
    "omop_cdm": "omop-cdm",
    "great_expectations": "great-expectations",
    "openlineage": "openlineage-python",
    "xdist": "pytest-xdist",
    "upath": "universal-pathlib",
    "axe_playwright_python": "axe-playwright-python",
}


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    """The arguments that setup.py gives to setuptools."""
    given: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", given.update)
        names = {"__file__": str(PROJECT / "setup.py"), "__name__": "setup"}
        exec(compile((PROJECT / "setup.py").read_text(encoding="utf-8"), "setup.py", "exec"), names)
    return given


def packages(requirements: list[str]) -> set[str]:
    """The names of the packages that requirements are for."""
    return {re.split(r"[^\w-]", requirement)[0].lower() for requirement in requirements}


def imported_by(*folders: str) -> set[str]:
    """The packages that the code in some folders imports, the standard library and our own left out."""
    modules = {
        module.split(".")[0] for folder in folders for path in (PROJECT / folder).rglob("*.py") for module in _modules_of(path)
    }
    ours = {*OURS, "tests", *STARTED_BESIDE}
    return {PACKAGE_OF_MODULE.get(name, name) for name in modules - ours - set(sys.stdlib_module_names)}


@cache
def _modules_of(path: Path) -> frozenset[str]:
    return frozenset(module for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for module in _modules(node))


def _modules(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=aliases):
            yield from (alias.name for alias in aliases)
        case ast.ImportFrom(module=str(name), level=0):
            yield name
        case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(name))]):
            yield name


def versions(lock: str) -> dict[str, str]:
    """The pinned version of every package of a lock."""
    text = (LOCKS / f"{lock}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))


def test_every_import_is_declared(metadata: dict[str, Any]) -> None:
    extras = metadata["extras_require"]
    declared = packages([*metadata["install_requires"], *(name for extra in extras.values() for name in extra)])
    optional = {"databricks", "azure"}
    assert optional <= set(extras)
    assert imported_by(*OURS, "tests") - optional <= declared


def test_every_requirement_is_imported(metadata: dict[str, Any]) -> None:
    assert packages(metadata["install_requires"]) <= imported_by(*OURS)


def test_the_two_packages_of_pyspark_are_never_installed_together(metadata: dict[str, Any]) -> None:
    extras = metadata["extras_require"]
    assert packages(extras["embedded"]) == {"pyspark-client", "pysail"}
    assert packages(extras["spark"]) == {"pyspark", "delta-spark"}
    assert not {"pyspark", "pyspark-client"} & packages([*metadata["install_requires"], *extras["dev"]])


def test_the_newest_spark_is_the_one_that_the_embedded_engine_speaks(metadata: dict[str, Any]) -> None:
    extras = metadata["extras_require"]
    (client,) = [name.removeprefix("pyspark-client==") for name in extras["embedded"] if name.startswith("pyspark-client")]
    assert f"pyspark[connect]>=4.0.5,<={client}" in extras["spark"]
    engines = {name for extra in ("embedded", "dev") for name in extras[extra] if name.startswith("pysail")}
    assert len(engines) == 1


@pytest.mark.parametrize(("lock", "extras"), [("base", []), ("embedded", ["embedded"]), ("development", ["spark", "dev"])])
def test_lock_has_what_is_declared(lock: str, extras: list[str], metadata: dict[str, Any]) -> None:
    declared = [*metadata["install_requires"], *(name for extra in extras for name in metadata["extras_require"][extra])]
    assert packages(declared) <= set(versions(lock))


@pytest.mark.parametrize("lock", ["base", "embedded", "development"])
def test_every_package_is_pinned_with_hashes(lock: str) -> None:
    text = (LOCKS / f"{lock}.txt").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    form = r"[\w.-]+==[\w.]+ (; [^#]+ )?( *--hash=sha256:[0-9a-f]{64} *)+"
    assert [line for line in lines if not re.fullmatch(form, line)] == []


@pytest.mark.parametrize("lock", ["base", "embedded", "serverless"])
def test_what_is_installed_elsewhere_is_what_was_tested(lock: str) -> None:
    tested = versions("development")
    assert {name: version for name, version in versions(lock).items() if tested.get(name) != version} == (
        {"pyspark-client": tested["pyspark"]} if lock == "embedded" else {}
    )


def test_locks_are_in_the_wheel(metadata: dict[str, Any]) -> None:
    assert "conf.requirements" in metadata["packages"]
    assert "*.txt" in metadata["package_data"][""]
