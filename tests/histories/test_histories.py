"""After the nights of a random history every table right of bronze is that of one full build, row for row, ids included.

`make test` runs a few short histories of one or two sources, `make test-deep` many longer ones. A failure names the seed: the
same seed is the same history (`-k "seed7-"`).
"""

import random
from pathlib import Path

import pytest

from pipelines.contracts.tables import Table
from pipelines.settings import SOURCES
from tests.histories.checking import difference_after, smallest
from tests.histories.declarations import declarations, followed_to_the_end
from tests.histories.events import drawn_history
from tests.histories.lake import Vocabularies

QUICK, DEEP = 10, 200

EVENTS = 6
"""How many events a night has at most, besides what is delivered at its end."""


def few_sources(seed: int) -> tuple[str, ...]:
    """One source by turns; two in the last two."""
    first = SOURCES[seed % len(SOURCES)]
    return (first,) if seed < QUICK - 2 else (first, SOURCES[(seed + 2) % len(SOURCES)])


def some_sources(seed: int) -> tuple[str, ...]:
    """One to three sources; all in one history of ten."""
    drawn = random.Random(seed)
    return SOURCES if seed % 10 == 0 else tuple(drawn.sample(SOURCES, drawn.randint(1, 3)))


@pytest.mark.parametrize("seed", range(QUICK), ids="seed{}-".format)
def test_two_nights_equal_one_full_build(vocabularies: Vocabularies, tmp_path: Path, seed: int) -> None:
    history = drawn_history(seed, few_sources(seed), nights=2, events=EVENTS)
    with declarations(followed_to_the_end):
        found = difference_after(history, tmp_path / "history", vocabularies)
    assert found is None, str(found)


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(1000, 1000 + DEEP), ids="seed{}-".format)
def test_many_nights_equal_one_full_build(vocabularies: Vocabularies, tmp_path: Path, seed: int) -> None:
    """In one history of four every night is compared, else the last. In one of five much that has changed is made whole."""
    history = drawn_history(seed, some_sources(seed), nights=random.Random(seed).randint(3, 6), events=EVENTS)
    with declarations(followed_to_the_end if seed % 5 else as_declared):
        found = difference_after(history, tmp_path / "history", vocabularies, after_each_night=seed % 4 == 0)
        shown = "" if found is None else str(smallest(found, tmp_path, vocabularies))
    assert found is None, shown


def as_declared(table: Table) -> Table:
    return table
