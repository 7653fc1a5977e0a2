"""`rules.lock` of each source: what every mapping rule said, and what its golden patients said, when both were last agreed.

A rule that changes while its golden patients stay as they were is refused. Notes of a rule are not part of it.
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
    """What a rule and all its golden patients say, each as a short mark."""

    rule: str
    cases: str


def locked_sources() -> list[str]:
    """The sources with golden patients of their own and a mapping."""
    folders = {case.source for case in golden_cases()}
    return sorted(name for name in folders if (PACKAGED_MAPPINGS_DIR / name / "mapping.yaml").is_file())


def marks_now(source: str) -> dict[str, Marks]:
    """The marks of every rule of a source; those of the cases are empty where no golden patient names the rule."""
    rules = yaml.safe_load((PACKAGED_MAPPINGS_DIR / source / "mapping.yaml").read_text(encoding="utf-8"))["rules"]
    return {rule["name"]: Marks(digest_of(_without_notes(rule)), _cases_mark(rule["name"], golden_cases())) for rule in rules}


def marks_locked(source: str) -> dict[str, Marks]:
    """The marks as they were agreed; none where there is no file yet."""
    path = GOLDEN / source / LOCK
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: Marks(rule, cases) for name, rule, cases in (line.split() for line in lines if not line.startswith("#"))}


def faults(now: Mapping[str, Marks], locked: Mapping[str, Marks]) -> list[str]:
    """What has to be done about each rule: give it a golden patient, look at those it has, or agree on what is there."""
    found = [f"{name}: no golden patient names this rule; add one" for name, marks in now.items() if not marks.cases]
    for name in sorted(now.keys() & locked.keys()):
        if now[name].rule != locked[name].rule and now[name].cases == locked[name].cases:
            found.append(f"{name}: the rule changed and its golden patients did not; change or add one")
    return found


def is_agreed(now: Mapping[str, Marks], locked: Mapping[str, Marks]) -> bool:
    """Whether the lock is that of the rules and golden patients there are."""
    return dict(now) == dict(locked)


def _cases_mark(rule: str, cases: Iterable[Case]) -> str:
    digests = sorted(case.digest for case in cases if rule in case.rules)
    return digest_of(digests) if digests else ""


def _without_notes(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_notes(value) for name, value in content.items() if name != "note"}
    return [_without_notes(one) for one in content] if isinstance(content, list) else content


def write(source: str) -> None:
    """Agree on the rules and golden patients of a source as they are."""
    lines = [f"# rule, mark of the rule, mark of its golden patients. Written by: {COMMAND}"]
    lines += [f"{name} {marks.rule} {marks.cases}" for name, marks in sorted(marks_now(source).items())]
    Path(GOLDEN / source / LOCK).write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Write every lock whose rules all have golden patients that keep up with them; name the others."""
    refused = {source: faults(marks_now(source), marks_locked(source)) for source in locked_sources()}
    for source, found in refused.items():
        if found:
            sys.stderr.writelines(f"{source}: {fault}\n" for fault in found)
        else:
            write(source)
    return int(any(refused.values()))


if __name__ == "__main__":
    raise SystemExit(main())
