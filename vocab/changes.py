"""Compares what two vocabularies map codes to: gains, losses, other targets, and targets that change domain."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Code = tuple[str, str]
"""A vocabulary and a code."""


class Kind(StrEnum):
    """What happens to a code."""

    LOSS = "loss"
    """The code had a standard concept and has none now."""

    GAIN = "gain"
    """The code had no standard concept and has one now."""

    RETARGET = "retarget"
    """The code maps to another concept or another value."""

    DOMAIN_MOVE = "domain move"
    """The code maps to the same concept, whose domain has changed: its rows move to another table."""


@dataclass(frozen=True)
class CodeTargets:
    """What a vocabulary maps a code to: pairs of target and value concept id, and the domains of the targets."""

    targets: frozenset[tuple[int, int | None]]
    domains: frozenset[str]

    @property
    def is_mapped(self) -> bool:
        """Whether the code has a standard concept."""
        return bool(self.targets)


@dataclass(frozen=True)
class Change:
    """A code that two vocabularies map differently."""

    vocabulary: str
    code: str
    kind: Kind
    old: CodeTargets
    new: CodeTargets

    @property
    def moves(self) -> bool:
        """Whether rows with the code move to other tables."""
        return self.old.is_mapped and self.new.is_mapped and self.old.domains != self.new.domains


_UNMAPPED = CodeTargets(frozenset(), frozenset())


def targets_by_code(rows: Iterable[Mapping[str, Any]]) -> dict[Code, CodeTargets]:
    """What each code maps to, from the rows of a concept map (CONCEPT_MAP_SCHEMA). Unmapped codes are left out."""
    targets: dict[Code, set[tuple[int, int | None]]] = defaultdict(set)
    domains: dict[Code, set[str]] = defaultdict(set)
    for row in rows:
        if row["target_concept_id"]:
            code = (row["source_vocabulary_id"], row["source_code"])
            targets[code].add((row["target_concept_id"], row["value_as_concept_id"]))
            domains[code].add(row["target_domain_id"])
    return {code: CodeTargets(frozenset(pairs), frozenset(domains[code])) for code, pairs in targets.items()}


def changes(old: Mapping[Code, CodeTargets], new: Mapping[Code, CodeTargets]) -> list[Change]:
    """The codes that are mapped differently, ordered by vocabulary and code."""
    found = []
    for vocabulary, code in sorted(old.keys() | new.keys()):
        before, after = old.get((vocabulary, code), _UNMAPPED), new.get((vocabulary, code), _UNMAPPED)
        kind = _kind(before, after)
        if kind is not None:
            found.append(Change(vocabulary, code, kind, before, after))
    return found


def _kind(before: CodeTargets, after: CodeTargets) -> Kind | None:
    if before == after:
        return None
    if not after.is_mapped:
        return Kind.LOSS
    if not before.is_mapped:
        return Kind.GAIN
    return Kind.DOMAIN_MOVE if before.targets == after.targets else Kind.RETARGET
