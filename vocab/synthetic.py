"""Writes synthetic Athena downloads of any size for benchmarks, with the layout and proportions of real ones.

Each file begins with the rows of the demonstration, so that extracts map as they do with it. Synthetic concepts have ids
from FIRST_ID and codes that are in no vocabulary.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vocab.athena import TABLES
from vocab.load import DEMO_DIR

CONCEPTS = 8_000_000
"""Concepts in a typical download of a UK site."""

RELATIONSHIPS_PER_CONCEPT = 6.25
ANCESTORS_PER_CONCEPT = 10.0
SYNONYMS_PER_CONCEPT = 1.0
STRENGTHS_PER_CONCEPT = 0.35

FIRST_ID = 1_000_000_000
"""First id of a synthetic concept: above the ids that OMOP has issued, below the range that sites may use."""

ROWS_AT_ONCE = 500_000

_VOCABULARIES = {"RxNorm Extension": 0.33, "SNOMED": 0.17, "dm+d": 0.12, "RxNorm": 0.08, "LOINC": 0.06, "Read": 0.04}
_OTHER_VOCABULARY = "ICD10"
_DOMAINS = {"RxNorm Extension": "Drug", "dm+d": "Drug", "RxNorm": "Drug", "LOINC": "Measurement"}
_STANDARD_SHARE = 0.4
_QUOTED_SHARE = 0.01
_WORDS = (
    "acute chronic left right upper lower severe mild recurrent congenital acquired secondary primary malignant benign oral "
    "tablet capsule solution injection release extended milligram structure disorder finding procedure measurement serum "
    "plasma urine bone joint muscle artery vein nerve heart lung liver kidney brain skin eye ear history of due to with"
).split()

_Chunk = list[pa.Array]
OnProgress = Callable[[str], None]
"""Called with the stem of each finished file."""


def write_download(folder: Path, concepts: int, seed: int = 1, on_progress: OnProgress = lambda _: None) -> dict[str, int]:
    """Write a download with `concepts` synthetic concepts. Gives the number of synthetic rows by file stem.

    The same seed gives the same files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    world = _World(concepts, np.random.default_rng(seed))
    makers: dict[str, tuple[int, Callable[[int, int], _Chunk]]] = {
        "CONCEPT": (concepts, world.concept),
        "CONCEPT_RELATIONSHIP": (int(concepts * RELATIONSHIPS_PER_CONCEPT), world.relationship),
        "CONCEPT_ANCESTOR": (int(concepts * ANCESTORS_PER_CONCEPT), world.ancestor),
        "CONCEPT_SYNONYM": (int(concepts * SYNONYMS_PER_CONCEPT), world.synonym),
        "DRUG_STRENGTH": (int(concepts * STRENGTHS_PER_CONCEPT), world.strength),
    }
    rows = {}
    for stem in TABLES:
        path = folder / f"{stem}.csv"
        shutil.copyfile(DEMO_DIR / path.name, path)
        wanted, make = makers.get(stem, (0, world.concept))
        with path.open("ab") as file:
            for start, stop in _spans(wanted):
                file.write(_lines(make(start, stop)))
        rows[stem] = wanted
        on_progress(stem)
    return rows


def _spans(rows: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + ROWS_AT_ONCE, rows)) for start in range(0, rows, ROWS_AT_ONCE))


def _lines(columns: _Chunk) -> pa.Buffer:
    """Columns as tab-separated lines without quoting. CSV writers refuse to write a quote character unquoted."""
    texts = [column.cast(pa.large_string()) for column in columns]
    ends = pc.binary_join_element_wise(texts[-1], pa.scalar("", pa.large_string()), pa.scalar("\n", pa.large_string()))
    lines = pc.binary_join_element_wise(*texts[:-1], ends, pa.scalar("\t", pa.large_string()))
    return lines.buffers()[2]


def _constant(value: str, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.large_string()), rows)


class _World:
    """The concepts of a download, numbered from 0; standard concepts come first."""

    def __init__(self, concepts: int, rng: np.random.Generator) -> None:
        self._concepts = concepts
        self._standard = max(1, int(concepts * _STANDARD_SHARE))
        self._rng = rng

    def concept(self, start: int, stop: int) -> _Chunk:
        rows, numbers = stop - start, np.arange(start, stop)
        names = [*_VOCABULARIES, _OTHER_VOCABULARY]
        shares = [*_VOCABULARIES.values(), 1 - sum(_VOCABULARIES.values())]
        vocabularies = pa.array(names).take(pa.array(self._rng.choice(len(names), rows, p=shares)))
        domains = pa.array([_DOMAINS.get(name, "Condition") for name in names]).take(pc.index_in(vocabularies, pa.array(names)))
        standard = pc.if_else(pa.array(numbers < self._standard), "S", "")
        codes = pc.binary_join_element_wise("SYN", pa.array(numbers).cast(pa.string()), "-")
        fixed = [_constant("Synthetic", rows), standard, codes, *self._validity(rows)]
        return [pa.array(FIRST_ID + numbers), self._names(rows), domains, vocabularies, *fixed]

    def relationship(self, start: int, stop: int) -> _Chunk:
        """Rows that map every concept to a standard one and back; the other rows are hierarchy."""
        numbers = np.arange(start, stop)
        concept, kind = numbers % self._concepts, numbers // self._concepts
        target = np.where(concept < self._standard, concept, (concept * 7919) % self._standard)
        related = self._rng.integers(0, self._concepts, len(numbers))
        first = np.where(kind == 1, target, concept)
        second = np.where(kind == 0, target, np.where(kind == 1, concept, related))
        kinds = pa.array(["Maps to", "Mapped from", "Is a", "Subsumes"]).take(pa.array(np.where(kind < 2, kind, 2 + kind % 2)))
        return [pa.array(FIRST_ID + first), pa.array(FIRST_ID + second), kinds, *self._validity(len(numbers))]

    def ancestor(self, start: int, stop: int) -> _Chunk:
        numbers = np.arange(start, stop)
        is_self = numbers < self._standard
        above = np.where(is_self, numbers, self._rng.integers(0, self._standard, len(numbers)))
        below = np.where(is_self, numbers, self._rng.integers(0, self._standard, len(numbers)))
        levels = np.where(is_self, 0, self._rng.integers(1, 12, len(numbers)))
        return [pa.array(FIRST_ID + above), pa.array(FIRST_ID + below), pa.array(levels), pa.array(levels)]

    def synonym(self, start: int, stop: int) -> _Chunk:
        numbers = np.arange(start, stop)
        return [pa.array(FIRST_ID + numbers % self._concepts), self._names(len(numbers)), _constant("4180186", len(numbers))]

    def strength(self, start: int, stop: int) -> _Chunk:
        rows, nothing = stop - start, _constant("", stop - start)
        drugs = pa.array(FIRST_ID + np.arange(start, stop))
        ingredients = pa.array(FIRST_ID + self._rng.integers(0, self._standard, rows))
        amounts = pa.array(self._rng.integers(1, 1000, rows))
        units = _constant("8576", rows)
        return [drugs, ingredients, amounts, units, *[nothing] * 5, *self._validity(rows)]

    def _names(self, rows: int) -> pa.Array:
        """Names of four words and a number; some contain a single quote character, as in Athena."""
        words = pa.array(_WORDS)
        parts = [words.take(pa.array(self._rng.integers(0, len(_WORDS), rows))) for _ in range(4)]
        numbers = pa.array(self._rng.integers(0, 100_000, rows)).cast(pa.string())
        quote = pc.if_else(pa.array(self._rng.random(rows) < _QUOTED_SHARE), '5" size', "size")
        return pc.binary_join_element_wise(*parts, quote, numbers, " ")

    def _validity(self, rows: int) -> _Chunk:
        return [_constant("19700101", rows), _constant("20991231", rows), _constant("", rows)]
