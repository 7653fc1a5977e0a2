"""An edge of the graph that is missing is found: after some history the tables are not those of one full build.

The full build is made with the same declarations. It starts from nothing, so that a broken edge changes nothing in it.
"""

import random
from pathlib import Path

import pytest

from pipelines.contracts.tables import Table
from tests.histories.checking import difference_after
from tests.histories.declarations import Broken, Edge, declarations, followed_to_the_end
from tests.histories.events import Event, History
from tests.histories.lake import Vocabularies

SEEDS = 12
"""How many histories are tried: not every event concerns what goes over an edge, and some touch the same people otherwise."""

MORE = ("more_rows_come", "more_rows_come", "row_is_corrected", "row_is_corrected", "end_changes", "some_deliver")
CHOICES = ("choice_changes", "choice_changes", "choice_changes")
NUMBERS = ("person_gets_the_number_of_another", "person_gets_the_number_of_another", "some_deliver")
DICTIONARY = 4 * ("dictionary_has_a_new_edition",) + ("everybody_delivers",)
MAPS = 4 * ("local_map_changes",)

EDGES: tuple[tuple[Edge, tuple[str, ...], tuple[str, ...]], ...] = (
    (Edge("curation.link", "curation.identities"), ("gp",), NUMBERS),
    (Edge("silver.gp_patient", "curation.dispositions_gp_0"), ("gp",), CHOICES),
    (Edge("intermediate.concept_map", "intermediate.code_map"), ("gp",), MAPS),
    (Edge("omop.observation_period", "intermediate.periods"), ("acute",), MORE),
    (Edge("omop.condition_era", "intermediate.eras"), ("acute",), MORE),
    (Edge("curation.changed_rows_gp", "curation.dispositions_gp_0", by_log=True), ("gp",), CHOICES),
    (Edge("curation.touched_persons", "silver.gp_clinical_code", by_log=True), ("gp",), DICTIONARY),
    (Edge("curation.touched_persons_codes", "intermediate.concept_map", by_log=True), ("gp",), MAPS),
    (Edge("curation.touched_persons_codes", "intermediate.newest_extracts", by_log=True), ("acute",), MORE),
    (Edge("omop.person", "intermediate.persons", Broken.NOT_NARROWED, by_log=True), ("gp",), MORE),
)
"""Edges, each with the sources and the events of histories in which something goes over it."""


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("edge", "sources", "events"), EDGES, ids=lambda value: str(value) if isinstance(value, Edge) else "")
def test_a_broken_edge_is_found(
    vocabularies: Vocabularies, tmp_path: Path, edge: Edge, sources: tuple[str, ...], events: tuple[str, ...]
) -> None:
    if edge.by_log and not hasattr(Table, "log"):
        pytest.skip("no table is made for touched persons only")
    with declarations(lambda table: edge.broken_in(followed_to_the_end(table))):
        found = (difference_after(_history(seed, sources, events), tmp_path / str(seed), vocabularies) for seed in range(SEEDS))
        assert any(found), "no history showed it"


def _history(seed: int, sources: tuple[str, ...], events: tuple[str, ...]) -> History:
    drawn = random.Random(seed)
    nights = tuple(tuple(Event(kind, drawn.getrandbits(32)) for kind in kinds) for kinds in (("everybody_delivers",), events))
    return History(seed, sources, 6, nights)
