"""Analytes: what is measured, whatever the source (`mappings/analytes.yaml` and `mappings/analyte_concepts.csv`).

An analyte has one standard concept, one unit in which its values can be compared, and bounds within which they can be real.
Other standard concepts mean the same analyte, because sources code it in other vocabularies: each is reviewed and named with
its reason and where it was seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from pipelines.contracts.free_text import FreeText
from pipelines.contracts.model_files import COPY_IT, faults_in, faulty, read_model
from pipelines.contracts.models import Frozen
from pipelines.errors import ContractError
from vocab.written_files import InvalidTextError, read_rows

ANALYTES_FILE = "analytes.yaml"
CONCEPTS_FILE = "analyte_concepts.csv"


class Conversion(Frozen):
    """What a number in one unit is in another: `times` the number, `plus` what a scale that begins elsewhere is apart."""

    times: float = Field(gt=0)
    plus: float = 0.0


class Plausible(Frozen):
    """What can be measured in a living person, both ends allowed."""

    least: float
    most: float

    @model_validator(mode="after")
    def in_order(self) -> "Plausible":
        """Refuse bounds that no value is within."""
        if self.least > self.most:
            raise ValueError("least is greater than most")
        return self


class Analyte(Frozen):
    """One analyte: its standard concept, its unit, and how other units are converted to it.

    `by_unit` names the concept of rows in a unit, because LOINC has one for each property (moles, mass); others have `concept`.
    `unitless`: a number without a unit is in `unit`.
    """

    concept: int
    by_unit: dict[str, int] = Field(default_factory=dict)
    unit: str
    units: dict[str, Conversion] = Field(default_factory=dict)
    unitless: bool = False
    plausible: Plausible

    @field_validator("units", mode="before")
    @classmethod
    def factors(cls, units: Any) -> Any:
        """A bare number is a factor."""
        if not isinstance(units, dict):
            return units
        return {unit: {"times": how} if isinstance(how, int | float) else how for unit, how in units.items()}

    @property
    def conversions(self) -> dict[str, Conversion]:
        """Every unit that can be converted, the analyte's own first."""
        return {self.unit: Conversion(times=1)} | self.units


class SameConcept(Frozen):
    """One row of the reviewed map: another standard concept that means an analyte, why, and where it was seen."""

    analyte: str = Field(min_length=1)
    concept_id: int = Field(gt=0)
    concept_name: str = Field(min_length=1)
    reason: FreeText
    source: FreeText
    reviewer: FreeText
    reviewed_on: date


class _AnalytesFile(Frozen):
    units: dict[str, tuple[int, ...]]
    analytes: dict[str, Analyte]


@dataclass(frozen=True)
class Analytes:
    """All analytes by name, the concepts of each unit, and the reviewed map."""

    analytes: dict[str, Analyte] = field(default_factory=dict)
    units: dict[str, tuple[int, ...]] = field(default_factory=dict)
    same: tuple[SameConcept, ...] = ()

    @cached_property
    def standard(self) -> dict[int, int]:
        """The standard concept of the analyte by every other concept that means it."""
        return {row.concept_id: self.analytes[row.analyte].concept for row in self.same}

    @cached_property
    def by_unit(self) -> tuple[tuple[int, int, int], ...]:
        """Concept, unit concept, and the concept of the same analyte that fits this unit, where it is another."""
        return tuple(
            (concept, unit_concept, fitting)
            for analyte in self.analytes.values()
            for unit in analyte.conversions
            for fitting in (analyte.by_unit.get(unit, analyte.concept),)
            for concept in (analyte.concept, *analyte.by_unit.values())
            for unit_concept in self.units[unit]
            if concept != fitting
        )

    def concepts_of(self, name: str) -> tuple[int, ...]:
        """Every concept that rows of an analyte may have: its own, those by unit, and those that mean the same."""
        analyte = self.analytes[name]
        same = (row.concept_id for row in self.same if row.analyte == name)
        return tuple(dict.fromkeys((analyte.concept, *analyte.by_unit.values(), *same)))

    def parameters(self) -> object:
        """What decides the harmonised values: the concepts, units, factors and bounds of every analyte."""
        declared = {name: analyte.model_dump(mode="json") for name, analyte in self.analytes.items()}
        return [declared, self.units, self.standard]

    def faults(self) -> Iterator[str]:
        """A message for everything in the two files that does not fit together."""
        unit_of: dict[int, str] = {}
        for unit, ids in self.units.items():
            if not ids:
                yield f"units.{unit}: has no concept"
            yield from (f"units.{unit}: {taken} is the concept of another unit" for taken in ids if taken in unit_of)
            unit_of |= dict.fromkeys(ids, unit)
        for name, analyte in self.analytes.items():
            used = {analyte.unit, *analyte.units, *analyte.by_unit}
            yield from (f"analytes.{name}: no unit {unit}" for unit in sorted(used - self.units.keys()))
            yield from (f"analytes.{name}: no factor for {unit}" for unit in analyte.by_unit if unit not in analyte.conversions)
        for row in self.same:
            if row.analyte not in self.analytes:
                yield f"{CONCEPTS_FILE}: {row.concept_id}: no analyte {row.analyte}"
        own = [(name, id_) for name, analyte in self.analytes.items() for id_ in (analyte.concept, *analyte.by_unit.values())]
        taken_by: dict[int, str] = {}
        for name, concept in own + [(row.analyte, row.concept_id) for row in self.same]:
            if concept in taken_by:
                yield f"{name}: {concept} is already a concept of {taken_by[concept]}"
            taken_by[concept] = name


NO_ANALYTES = Analytes()
"""For what is mapped without any: every code keeps the concept that it has."""


def load_analytes(mappings_dir: Path) -> Analytes:
    """Read both files. Raises ContractError, which lists every fault of the first file that has any."""
    declared = read_model(mappings_dir / ANALYTES_FILE, _AnalytesFile, ANALYTES_FILE, COPY_IT)
    analytes = Analytes(declared.analytes, declared.units, _same_concepts(mappings_dir / CONCEPTS_FILE))
    faults = list(analytes.faults())
    if faults:
        raise faulty(ANALYTES_FILE, faults)
    return analytes


def _same_concepts(path: Path) -> tuple[SameConcept, ...]:
    try:
        return tuple(SameConcept.model_validate(row) for _, row in read_rows(path))
    except OSError as error:
        raise ContractError(f"{path}: {error.strerror}; {COPY_IT}") from error
    except InvalidTextError as error:
        raise ContractError(f"{path.name}: {error}") from error
    except ValidationError as error:
        raise faulty(path.name, faults_in(error)) from error
