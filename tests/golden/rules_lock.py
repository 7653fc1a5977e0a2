"""`rules.lock` of each source: digests of every mapping rule and of its golden patients, when both were last agreed.

A rule that changes without a change of its golden patients is refused. Notes of a rule are not part of the digest.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.settings import PACKAGED_MAPPINGS_DIR
from tests.golden.cases import GOLDEN, Case, digest_of, golden_cases

LOCK = "rules.lock"
COMMAND = "make golden-lock"


@dataclass(frozen=True)
class Marks:
    """Short digests of a rule and of all its golden patients."""

    rule: str
    cases: str


def locked_sources() -> list[str]:
    """The sources with their own golden patients and a mapping."""
    folders = {case.source for case in golden_cases()}
    return sorted(name for name in folders if (PACKAGED_MAPPINGS_DIR / name / "mapping.yaml").is_file())


def marks_now(source: str) -> dict[str, Marks]:
    """The digests of every rule of a source; that of the cases is empty if no golden patient names the rule."""
    rules = yaml.safe_load((PACKAGED_MAPPINGS_DIR / source / "mapping.yaml").read_text(encoding="utf-8"))["rules"]
    return {rule["name"]: Marks(digest_of(_without_notes(rule)), _cases_mark(rule["name"], golden_cases())) for rule in rules}


def marks_locked(source: str) -> dict[str, Marks]:
    """The agreed digests; empty if there is no file yet."""
    path = GOLDEN / source / LOCK
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: Marks(rule, cases) for name, rule, cases in (line.split() for line in lines if not line.startswith("#"))}


def faults(now: Mapping[str, Marks], locked: Mapping[str, Marks]) -> list[str]:
    """What to do about each rule: add a golden patient, check the existing ones, or agree on the present state."""
    found = [f"{name}: no golden patient names this rule; add one" for name, marks in now.items() if not marks.cases]
    for name in sorted(now.keys() & locked.keys()):
        if now[name].rule != locked[name].rule and now[name].cases == locked[name].cases:
            found.append(f"{name}: the rule changed and its golden patients did not; change or add one")
    return found


def is_agreed(now: Mapping[str, Marks], locked: Mapping[str, Marks]) -> bool:
    """Whether the lock matches the present rules and golden patients."""
    return dict(now) == dict(locked)


def _cases_mark(rule: str, cases: Iterable[Case]) -> str:
    digests = sorted(case.digest for case in cases if rule in case.rules)
    return digest_of(digests) if digests else ""


def _without_notes(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_notes(value) for name, value in content.items() if name != "note"}
    return [_without_notes(item) for item in content] if isinstance(content, list) else content


def write(source: str) -> None:
    """Write the lock of the present rules and golden patients of a source."""
    lines = [f"# rule, mark of the rule, mark of its golden patients. Written by: {COMMAND}"]
    lines += [f"{name} {marks.rule} {marks.cases}" for name, marks in sorted(marks_now(source).items())]
    Path(GOLDEN / source / LOCK).write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Write the lock of every source without faults; list the faults of the others."""
    refused = {source: faults(marks_now(source), marks_locked(source)) for source in locked_sources()}
    for source, found in refused.items():
        if found:
            sys.stderr.writelines(f"{source}: {fault}\n" for fault in found)
        else:
            write(source)
    return int(any(refused.values()))


if __name__ == "__main__":
    raise SystemExit(main())
