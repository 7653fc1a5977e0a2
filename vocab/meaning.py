"""Whether a map means what its code means: a target is never more specific than the text of its source.

A significant word of the target's name that the source text does not have makes the target more specific: `Allergic reaction`
does not say Anaphylaxis. So does a choice that becomes one of its alternatives. The words of the vocabulary's title belong to
the text, because a code of a list of samples is a sample. Synonyms of the vocabulary and those of SYNONYMS_FILE count. What a
person has looked at and found right has a reviewer and a note in the map file, and is no fault.

The check reads words, not meaning: it finds what a person should look at, and misses a wrong target with the right words.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vocab.dimensions import dimension_of_property, dimension_of_text, dimension_of_unit
from vocab.local_maps import LocalMap

SYNONYMS_FILE = Path(__file__).parent / "synonyms.csv"
"""Words of source texts and what they mean in the words of concept names. Meant for all maps; a note says why, if not plain."""

MORE_SPECIFIC, ONE_OF_A_CHOICE, MORE_CERTAIN = "more specific", "one of a choice", "more certain"
OTHER_DIMENSION = "other dimension"

_INSIGNIFICANT = frozenset(
    "a an and any as at by for from in into is not of on or other the to with without unspecified formulation md".split()
)
"""Words that add nothing to a name."""

_OF_DOMAIN = {
    "Specimen": "specimen sample",
    "Route": "route",
    "Drug": "vaccine virus toxoid",
    "Visit": "visit facility",
    "Provider": "clinical disease general medical medicine service surgery",
    "Measurement": "level measurement",
    "Observation": "level measurement",
}
"""Words that say only of what kind a concept is."""

_UNIONS = {
    "Provider": r"\s(?:and|or)\s|,|/",
    "Visit": r"\sor\s|/|\s-\s",
    "Race": r"\sor\s",
    "Ethnicity": r"\sor\s",
    "Observation": r"\sor\s",
}
"""What joins the parts of a name that means any of them, by domain: Plastic And Reconstructive Surgery."""

_DOUBT = re.compile(r"\b(suspected|possible|probable|query|likely)\b|\?", re.IGNORECASE)

_SPELLINGS = ((r"ae|oe", "e"), (r"our\b", "or"), (r"(?<=[^aeiou])re\b", "er"), (r"is(?=e\b|ed\b|ation\b)", "iz"), (r"ph", "f"))
_SHORTEST_STEM, _LONGEST_ENDING = 5, 4


@dataclass(frozen=True)
class Concept:
    """What the vocabulary says about a concept: its name and synonyms, its domain, vocabulary and code."""

    concept_id: int
    name: str
    synonyms: tuple[str, ...]
    domain: str
    vocabulary: str
    code: str


@dataclass(frozen=True)
class MeaningFault:
    """A map that means something else than its code: its file and line, its target, what is wrong and the words in question."""

    file: str
    line: int
    source_vocabulary_id: str
    concept_id: int
    kind: str
    detail: str


def map_faults(maps: Iterable[LocalMap], concepts: Mapping[int, Concept], titles: Mapping[str, str]) -> Iterator[MeaningFault]:
    """The maps whose target is more specific than the text, or of another dimension, and that nobody has reviewed.

    `titles` are those of the vocabularies by name, and part of the text as the name is. Maps to 0 and maps whose target the
    vocabulary lacks have no meaning to check.
    """
    for row in maps:
        concept = concepts.get(row.target_concept_id)
        if concept is None or row.target_concept_id == 0 or row.reviewed_by:
            continue
        title = f"{row.source_vocabulary_id} {titles.get(row.source_vocabulary_id, '')}"
        found = fault_of(row.source_code, row.source_code_description, title, concept)
        if found:
            yield MeaningFault(row.file, row.line, row.source_vocabulary_id, concept.concept_id, *found)


def fault_of(code: str, description: str, title: str, concept: Concept) -> tuple[str, str] | None:
    """What is wrong with a target for a code with a description, of a vocabulary with a title: kind and detail."""
    if concept.domain == "Unit":
        written, unit = dimension_of_text(code), dimension_of_unit(concept.code)
        return (OTHER_DIMENSION, concept.code) if written is not None and unit is not None and written != unit else None
    extra = extra_words(f"{description} {code} {title}", concept)
    if extra:
        return MORE_SPECIFIC, " ".join(extra)
    if concept.domain == "Condition" and _DOUBT.search(description) and not _DOUBT.search(concept.name):
        return MORE_CERTAIN, description
    for alternative in _alternatives(description, concept):
        if extra_words(f"{alternative} {title}", concept):
            return ONE_OF_A_CHOICE, alternative
    return None


def pair_fault(measured: Concept, unit: Concept) -> tuple[str, str] | None:
    """What is wrong with a unit for a measured concept: the dimension of the unit is not that of the concept's property."""
    of_property, of_unit = dimension_of_property(measured.name), dimension_of_unit(unit.code)
    if of_property is None or of_unit is None or of_property == of_unit:
        return None
    return OTHER_DIMENSION, f"{measured.name} in {unit.name}"


def loses_words(description: str, concept: Concept) -> bool:
    """Whether a target is less specific than a text: its words are some of those of the text, not all. Allowed, and shown."""
    words = _words(description)
    name = [word for part in _parts_of_name(concept.name, concept.domain) for word in part]
    return bool(name) and all(_has(words, word) for word in name) and len(words) > len(name)


def extra_words(text: str, concept: Concept) -> tuple[str, ...]:
    """The significant words of a concept's name that a text lacks, for the name or synonym that has fewest; none if it fits.

    A name that means any of its parts fits where one part does.
    """
    words = _words(text)
    parts = [part for name in (concept.name, *concept.synonyms) for part in _parts_of_name(name, concept.domain)]
    # Most texts fit without a synonym, and looking for synonyms is most of the work.
    return _fewest_lacking(words, parts) and _fewest_lacking(words + _synonymous(words), parts)


def _fewest_lacking(words: tuple[str, ...], parts: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The words that a text lacks of the part of which it lacks fewest."""
    lacking = [tuple(word for word in part if not _has(words, word)) for part in parts]
    return min(lacking, key=len, default=())


@cache
def _parts_of_name(name: str, domain: str) -> tuple[tuple[str, ...], ...]:
    """The significant words of a name, or of each part of it where it means any of them.

    Of a measurement those of what is measured, not of the property, the sample or the method; of an observation not the
    heading, which says what list the value is of.
    """
    if domain == "Measurement":
        name = re.split(r"\s\[|\s(?:in|by)\s|/1\.73", name)[0]
    if domain == "Observation":
        name = name.split(": ", 1)[-1]
    of_domain = _words(_OF_DOMAIN.get(domain, ""))
    parts = re.split(_UNIONS[domain], name, flags=re.IGNORECASE) if domain in _UNIONS else [name]
    significant = (tuple(word for word in _words(part) if word not in of_domain) for part in parts)
    return tuple(words for words in significant if words)


@cache
def _words(text: str) -> tuple[str, ...]:
    """The words of a text in lower case and in one spelling, without those that add nothing."""
    plain = text.lower()
    for spelling, other in _SPELLINGS:
        plain = re.sub(spelling, other, plain)
    return tuple(dict.fromkeys(word for word in re.findall(r"[0-9a-z]+", plain) if word not in _INSIGNIFICANT))


def _has(words: Iterable[str], wanted: str) -> bool:
    return any(_is_same(found, wanted) for found in words)


def _is_same(word: str, other: str) -> bool:
    """Whether two words differ in their endings only: fall and falls, diabetic and diabetes."""
    shorter, longer = sorted((word, other), key=len)
    stem = max(min(_SHORTEST_STEM, len(shorter)), len(shorter) - 2)
    return len(longer) - len(shorter) <= _LONGEST_ENDING and shorter[:stem] == longer[:stem]


def _synonymous(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words that synonyms add to those of a text."""
    return tuple(word for text, means in _synonyms() if all(_has(words, part) for part in text) for word in means)


@cache
def _synonyms() -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    with SYNONYMS_FILE.open(encoding="utf-8", newline="") as file:
        return tuple((_words(row["text"]), _words(row["means"])) for row in csv.DictReader(file))


def _alternatives(text: str, concept: Concept) -> list[str]:
    """What a text offers to choose from; nothing if it offers no choice, or if the concept means the same choice.

    Each alternative has the heading of the text, and the last word: `Cardiac or respiratory arrest` offers two arrests.
    """
    heading, _, item = text.rpartition(": ")
    if not re.search(r"\sor\s", item) or all(_has(_words(concept.name), word) for word in _words(item)):
        return []
    *others, last = re.split(r",?\s+or\s", item)
    return [f"{heading} {alternative} {last.split()[-1]}".strip() for alternative in others] + [f"{heading} {last}".strip()]
