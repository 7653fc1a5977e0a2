"""What another vocabulary changes for codes in use: gains, losses, other targets, and targets that change domain."""

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
    """It had a standard concept and has none."""

    GAIN = "gain"
    """It had none and has one."""

    RETARGET = "retarget"
    """It means another concept, or has another value."""

    DOMAIN_MOVE = "domain move"
    """It means the same concept, which is of another domain: its rows move to another table."""


@dataclass(frozen=True)
class Meaning:
    """What a vocabulary says about a code: target concepts, their domains, and their values."""

    targets: frozenset[tuple[int, int | None]]
    domains: frozenset[str]

    @property
    def is_mapped(self) -> bool:
        """Whether there is a standard concept."""
        return bool(self.targets)


@dataclass(frozen=True)
class Change:
    """A code whose meaning differs between two vocabularies."""

    vocabulary: str
    code: str
    kind: Kind
    old: Meaning
    new: Meaning

    @property
    def moves(self) -> bool:
        """Whether rows go to other tables than before."""
        return self.old.is_mapped and self.new.is_mapped and self.old.domains != self.new.domains


_UNMAPPED = Meaning(frozenset(), frozenset())


def meanings(rows: Iterable[Mapping[str, Any]]) -> dict[Code, Meaning]:
    """The meaning of each code from the rows of a concept map (CONCEPT_MAP_SCHEMA)."""
    targets: dict[Code, set[tuple[int, int | None]]] = defaultdict(set)
    domains: dict[Code, set[str]] = defaultdict(set)
    for row in rows:
        if row["target_concept_id"]:
            code = (row["source_vocabulary_id"], row["source_code"])
            targets[code].add((row["target_concept_id"], row["value_as_concept_id"]))
            domains[code].add(row["target_domain_id"])
    return {code: Meaning(frozenset(some), frozenset(domains[code])) for code, some in targets.items()}


def changes(old: Mapping[Code, Meaning], new: Mapping[Code, Meaning]) -> list[Change]:
    """The codes whose meaning differs, in the order of vocabulary and code."""
    found = []
    for vocabulary, code in sorted(old.keys() | new.keys()):
        before, after = old.get((vocabulary, code), _UNMAPPED), new.get((vocabulary, code), _UNMAPPED)
        kind = _kind(before, after)
        if kind is not None:
            found.append(Change(vocabulary, code, kind, before, after))
    return found


def _kind(before: Meaning, after: Meaning) -> Kind | None:
    if before == after:
        return None
    if not after.is_mapped:
        return Kind.LOSS
    if not before.is_mapped:
        return Kind.GAIN
    return Kind.DOMAIN_MOVE if before.targets == after.targets else Kind.RETARGET
