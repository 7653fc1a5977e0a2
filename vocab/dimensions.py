"""Dimensions of units and of measured properties: whether a number in a unit can be a value of a concept.

A dimension is written as powers of base quantities: millimole per litre is moles over cubic length, a ratio is empty. Units are
read in the notation of UCUM as OMOP has it, or as systems write them; the property of a LOINC concept is in its name, in square
brackets, as in `Urea [Moles/volume] in Serum or Plasma`. What cannot be read has no dimension (None), and is not judged.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

DIMENSIONS_FILE = Path(__file__).parent / "dimensions.csv"
"""Base units of UCUM (`unit`), words that systems write for units (`text`) and properties of LOINC (`property`)."""

Dimension = frozenset[tuple[str, int]]
"""Base quantities with their powers; a pure number has none."""

_PREFIX = re.compile(r"(da|[kMGdcmuµnpf])(.+)")
_POWER = re.compile(r"(.*?)[*^]?([+-]?[0-9])")
_NUMBER = re.compile(r"[x*]?([0-9.]+|10[*^][+-]?[0-9]+)?")
_TEN_TO_A_POWER = re.compile(r"^[x*]?\s*\*?\s*10\s*(\*\*|[*^e])?\s*1?[0-9](?=\s*/|\s*$|\s+[a-z])")
_PER = re.compile(r"\b(?:per\b|in\s+1(?=\s|h)|a(?=\s))\s*")
_BODY_SURFACE = re.compile(r"1\.73.*$")


def dimension_of_unit(ucum: str) -> Dimension | None:
    """The dimension of a unit in the notation of UCUM, None if it has a part that is not known.

    Everything after a slash divides, as in `mL/min/1.73.m2`; what is in braces has no dimension.
    """
    plain = re.sub(r"\{[^}]*\}", "", ucum)
    return _quotient([re.split(r"[.()]", part) for part in plain.split("/")], _ucum_factor)


def dimension_of_text(unit: str) -> Dimension | None:
    """The dimension of a unit as a system writes it (`x10^9/L`, `per day`, `mcg/l`), None if it cannot be read."""
    bare = re.sub(r"\{[^}]*\}|[\[\]]|(?<![0-9])\.|\.(?![0-9])", "", unit.lower())
    text = re.sub(r"[()]", " ", bare).strip()
    text = _TEN_TO_A_POWER.sub("1", _BODY_SURFACE.sub("m2", _PER.sub("/", text)))
    return _quotient([part.split() for part in text.split("/")], _written_factor)


def dimension_of_property(concept_name: str) -> Dimension | None:
    """The dimension of the property that the name of a LOINC concept states in square brackets, None if it states none."""
    found = re.search(r"\[([^\]]+)\]", concept_name)
    return _named("property").get(found.group(1).lower()) if found else None


@cache
def _named(kind: str) -> Mapping[str, Dimension]:
    """The dimensions of one kind of name; names of properties are in lower case."""
    with DIMENSIONS_FILE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == kind]
    return {row["name"].lower() if kind == "property" else row["name"]: _read(row["dimension"]) for row in rows}


def _read(text: str) -> Dimension:
    """A dimension as the file writes it: `moles/length3`."""
    powers: Counter[str] = Counter()
    for place, part in enumerate(text.split("/")):
        name = part.rstrip("0123456789")
        if name:
            powers[name] += (-1 if place else 1) * int(part[len(name) :] or 1)
    return _dimension(powers)


def _dimension(powers: Mapping[str, int]) -> Dimension:
    return frozenset((name, power) for name, power in powers.items() if power)


def _quotient(parts: list[list[str]], dimension_of: Callable[[str], Dimension | None]) -> Dimension | None:
    """The dimension of a product of factors, divided by those of all later parts."""
    powers: Counter[str] = Counter()
    for place, factors in enumerate(parts):
        for factor in factors:
            found = dimension_of(factor)
            if found is None:
                return None
            for name, power in found:
                powers[name] += -power if place else power
    return _dimension(powers)


def _ucum_factor(factor: str) -> Dimension | None:
    return _factor(factor, _named("unit"))


def _written_factor(factor: str) -> Dimension | None:
    return _factor(re.sub(r"^[0-9.]+(?=[a-z%])", "", factor), _named("text"))


def _factor(factor: str, known: Mapping[str, Dimension]) -> Dimension | None:
    """The dimension of a base unit with its prefix and power; empty for a number."""
    if _NUMBER.fullmatch(factor):
        return frozenset()
    if factor in known:
        return known[factor]
    power = _POWER.fullmatch(factor)
    if power:
        base = _factor(power.group(1), known) if power.group(1) else None
        return None if base is None else _dimension({name: n * int(power.group(2)) for name, n in base})
    prefixed = _PREFIX.fullmatch(factor)
    return known.get(prefixed.group(2)) if prefixed else None
