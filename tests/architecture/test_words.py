"""Refuses private language in code and documents: every word in the tables has a plain replacement.

IDENTIFIERS are names of Python code, found in its syntax tree, so that prose may use the same words. PHRASES are searched for
in every line of Python files and Markdown documents.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

NOT_READ = ("CHANGELOG.md", "tests/architecture/test_words.py")
"""The change log describes former releases in their words; this file names every refused word."""


@dataclass(frozen=True)
class Word:
    """A refused word, what replaces it, and texts that the pattern must catch or let pass."""

    pattern: str
    instead: str
    caught: tuple[str, ...]
    passes: tuple[str, ...] = ()

    def is_in(self, text: str) -> bool:
        return re.search(self.pattern, text, re.IGNORECASE) is not None

    def is_name(self, name: str) -> bool:
        return re.fullmatch(self.pattern, name) is not None


IDENTIFIERS = (
    Word("ones?", "the thing's own name: row, entity, file, concept, delivery", ("one", "ones"), ("one_origin", "person")),
    Word("_?told|told_.*|.*_told", "on_progress, format_..., reported", ("told", "_told", "told_rows"), ("total",)),
    Word(".*fates?(_.*)?|.*FATES?(_.*)?", "disposition, row outcome", ("fates", "direct_fates", "FATE_SCHEMA"), ("faults",)),
    Word("Standing|standing", "ActiveFile, active", ("Standing", "standing"), ("outstanding",)),
    Word("fresh|is_fresh", "is_current", ("fresh",), ("refresh",)),
    Word("took_effect", "effective_from", ("took_effect",), ("effective_from",)),
    Word("News", "ChangeScope", ("News",), ("NEWS2",)),
    Word("Concerned", "AffectedScope", ("Concerned",)),
    Word("adopt(ed|s|_.*)?", "rebuild affected", ("adopt", "adopted"), ("adoption_date",)),
    Word("STEM|LINKAGE", "Zone.INTERMEDIATE, Zone.CURATION", ("STEM", "LINKAGE"), ("STEM_SCHEMA",)),
    Word("stacked", "union_all", ("stacked",)),
    Word("looked_up", "with_concepts", ("looked_up",)),
    Word("meant|meanings", "with_concepts, concept_map", ("meant", "meanings"), ("meaning",)),
    Word("STOOD_FOR|stood_for", "deduplicated", ("STOOD_FOR", "stood_for")),
    Word("SETTLED|settled", "mapped to no concept", ("SETTLED", "settled")),
    Word("each", "run_in_parallel", ("each",), ("reach",)),
    Word("remember(_.*)?", "store_key_fingerprint, store_...", ("remember_key", "remember")),
    Word("forget(_.*)?", "reset_peak, reset_...", ("forget_peak",)),
    Word("Prepared", "RunInputs", ("Prepared",)),
    Word("Clock", "StageTimer", ("Clock",), ("clock",)),
    Word("Outcome", "RunResult", ("Outcome",), ("Outcomes",)),
    Word("met_on", "collided_id", ("met_on",)),
    Word("reckoned|nought|likest", "computed, zero, most similar", ("reckoned", "nought", "likest")),
    Word("[Rr]ooms?|ROOMS?", "package, layer, zone", ("room", "ROOMS"), ("classroom",)),
)
"""Names that Python code may not have."""

PHRASES = (
    Word(r"\bfates?\b", "disposition, row outcome", ("the fate of a row",), ("defaults",)),
    Word(r"\breckoned\b", "computed", ("it is reckoned from",), ("computed from",)),
    Word(r"\bnought\b", "zero", ("divides by nought",)),
    Word(r"\b(likest|most like)\b", "most similar", ("the likest first", "most like it"), ("most likely",)),
    Word(
        r"\bstands? (in|for it)\b", "is in, replaces, means", ("it stands in the list", "that stands for it"), ("standard in",)
    ),
    Word(r"\bput together (by|from|of|out of)\b", "combined, joined, made from", ("frames put together by twos",)),
    Word(r"\bin the place of\b", "instead of, replaces", ("written in the place of the old file",), ("in place",)),
    Word(
        r"(?<!emergency )(?<!control )(?<!control-)(?<!breathing )\brooms?\b(?! air)",
        "package, layer, zone",
        ("a room of its own", "| room | holds |"),
        ("an emergency room visit", "the control room", "Breathing room air", "room air"),
    ),
    Word(r"\bthe way of the data\b", "data flow", ("The way of the data: bronze to silver",)),
    Word(r"\btold=", "on_progress=", ("run(told=print)",)),
    Word(r"\b(?-i:News)\.", "ChangeScope", ("News.MAPS",), ("in the news.", "NEWS2")),
    Word(r"\b(concluded|settled) from\b", "derived from", ("concluded from the codes",)),
)
"""Words that no line of Python code or of a document may have."""


def tracked(*patterns: str) -> list[str]:
    """The tracked files of some patterns, relative to the project."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=PROJECT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if name not in NOT_READ and (PROJECT / name).is_file()]


def names_in(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of everything that code defines, binds, imports or passes by keyword, and of attributes it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.alias):
            yield node.lineno, node.asname or node.name.rpartition(".")[2]
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.lineno, node.arg
        elif isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "np"):
            yield node.lineno, node.attr


@pytest.mark.parametrize("name", tracked("*.py"))
def test_code_has_no_private_names(name: str) -> None:
    found = names_in((PROJECT / name).read_text(encoding="utf-8"))
    faults = {f"{name}:{line}: {used} -> {word.instead}" for line, used in found for word in IDENTIFIERS if word.is_name(used)}
    assert not faults, "\n".join(["", *sorted(faults)])


@pytest.mark.parametrize("name", tracked("*.py", "*.md"))
def test_texts_have_no_private_words(name: str) -> None:
    lines = (PROJECT / name).read_text(encoding="utf-8").splitlines()
    faults = [
        f"{name}:{number}: {word.pattern} -> {word.instead}"
        for number, line in enumerate(lines, 1)
        for word in PHRASES
        if word.is_in(line)
    ]
    assert not faults, "\n".join(["", *faults])


@pytest.mark.parametrize(("word", "text"), [(word, text) for word in IDENTIFIERS for text in word.caught])
def test_identifier_catches_its_example(word: Word, text: str) -> None:
    assert word.is_name(text)


@pytest.mark.parametrize(("word", "text"), [(word, text) for word in PHRASES for text in word.caught])
def test_phrase_catches_its_example(word: Word, text: str) -> None:
    assert word.is_in(text)


def test_plain_words_pass() -> None:
    assert [text for word in IDENTIFIERS for text in word.passes if word.is_name(text)] == []
    assert [text for word in PHRASES for text in word.passes if word.is_in(text)] == []


def test_names_are_found_wherever_code_has_them() -> None:
    code = (
        "for one in x: pass\n[two for (_, two) in x]\nlambda three: 0\nf(four=1)\na.five\nimport six\ndef seven(eight): pass\n"
    )
    expected = {"one", "two", "three", "four", "five", "six", "seven", "eight"}
    assert expected <= {name for _, name in names_in(code)}


def test_the_tables_are_in_use() -> None:
    assert len(tracked("*.py")) > 100
