"""Documents and packaging keep up with the code."""

import ast
import re
import sys
from pathlib import Path

import pipelines.errors
from jobs.cli import command_modules
from jobs.mapping_docs import pages_of
from pipelines.errors import USER_ERRORS
from pipelines.settings import PACKAGED_MAPPINGS_DIR, Settings

PROJECT = Path(__file__).resolve().parents[2]


def test_every_exit_code_is_documented() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)`", (PROJECT / "docs" / "exit-codes.md").read_text(encoding="utf-8"), re.MULTILINE)
    classes = [kind for kind in vars(pipelines.errors).values() if isinstance(kind, type) and issubclass(kind, USER_ERRORS)]
    assert sorted((int(code), name) for code, name in rows) == sorted((kind.exit_code, kind.__name__) for kind in classes)


def test_every_exit_code_has_one_cause() -> None:
    classes = {kind for kind in vars(pipelines.errors).values() if isinstance(kind, type) and issubclass(kind, USER_ERRORS)}
    codes = [kind.exit_code for kind in classes]
    assert len(set(codes)) == len(codes)


def test_every_setting_is_documented() -> None:
    text = (PROJECT / "docs" / "configuration.md").read_text(encoding="utf-8")
    described = {name.split(".")[0] for name in re.findall(r"^\| `([a-z0-9_.]+)` \|", text, re.MULTILINE)}
    assert described == set(Settings.model_fields)
    for section, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", {})
        missing = [name for name in inner if f"| `{section}.{name}` |" not in text]
        assert not missing, section


def test_makefile_runs_only_commands_there_are() -> None:
    used = set(re.findall(r"nhs-omop ([a-z][a-z-]+)", (PROJECT / "Makefile").read_text(encoding="utf-8")))
    assert used <= set(command_modules())


def test_every_import_is_a_declared_requirement() -> None:
    distributions = {
        "yaml": "PyYAML",
        "omop_cdm": "omop-cdm",
        "sqlalchemy": "SQLAlchemy",
        "great_expectations": "great-expectations",
    }
    declared = re.findall(r'"([A-Za-z][\w-]*)(?:\[\w+\])?[=<>]', (PROJECT / "setup.py").read_text(encoding="utf-8"))
    ours = {"pipelines", "vocab", "jobs"}
    imported = {
        module.split(".")[0]
        for room in ours
        for path in (PROJECT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for module in _modules(node)
    }
    third_party = {distributions.get(name, name) for name in imported - ours - set(sys.stdlib_module_names)}
    assert third_party <= set(declared)


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []


def test_every_tested_version_is_pinned_exactly() -> None:
    lines = [
        line for line in (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def test_pages_of_the_mappings_are_up_to_date() -> None:
    folder = PROJECT / "docs" / "mappings"
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    assert written == pages_of(PACKAGED_MAPPINGS_DIR), "run: make docs"
