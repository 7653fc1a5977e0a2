"""Histories themselves, without a run: what they are made of, and that a seed is one history."""

import hashlib
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

from pipelines.settings import SOURCES
from tests.histories.checking import smaller
from tests.histories.events import KINDS, Event, History, drawn_history
from tests.histories.world import World, files_of, new_world, night_of


def happened(history: History, folder: Path) -> World:
    """The world of a history after all its nights."""
    folder.mkdir()
    (folder / "restricted").mkdir()
    world = new_world(folder, random.Random(history.seed), history.sources, history.people)
    for night, events in enumerate(history.nights):
        for event in events:
            event.happen(world, night_of(night))
        world.write_lists(night_of(night))
    return world


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(path.relative_to(folder)).encode() + path.read_bytes() for path in files)).hexdigest()


def test_histories_have_every_kind_of_event_and_delivery(tmp_path: Path) -> None:
    kinds, seen = Counter[str](), Counter[str]()
    for seed in range(60):
        history = drawn_history(seed, SOURCES if seed % 4 == 0 else (SOURCES[seed % 6],), nights=5, events=6)
        world = happened(history, tmp_path / str(seed))
        kinds.update(event.kind for night in history.nights for event in night)
        seen["quiet night"] += any(not night for night in history.nights)
        for sent in world.sent:
            mode, files = files_of(sent)
            seen[mode] += 1
            seen["period again"] += mode == "period" and sum(other.place == sent.place for other in world.sent) > 1
            seen["empty file"] += any(rows == 0 for _, rows in files.values())
        for place in world.places:
            days = [sent.day for sent in world.sent if sent.place == place]
            seen["late"] += days != sorted(days)
            seen["new provider"] += bool(days) and min(days) > night_of(0)
        seen["gone"] += any(row.gone for row in world.rows)
        seen["one number, two people"] += len({case.nhs_number for case in world.cases}) > len(_numbers(world))
        seen["changed map"] += digest(world.mappings) != digest(tmp_path / "0" / "mappings") if seed else 0
        seen["objection"] += bool(world.choices.objections)
    assert set(KINDS) - set(kinds) == set()
    wanted = ("full", "delta", "period", "period again", "late", "new provider", "gone", "quiet night", "objection")
    assert [name for name in (*wanted, "one number, two people", "changed map") if not seen[name]] == []


def _numbers(world: World) -> set[str]:
    direct = [(row, row.spec.subject.direct) for row in world.rows if row.is_held and row.owner]
    return {row.values.get(subject.nhs_number, "") for row, subject in direct if subject} & set(world.numbers)


def test_a_seed_is_one_history(tmp_path: Path) -> None:
    history = drawn_history(4, SOURCES, nights=4, events=6)
    assert history == drawn_history(4, SOURCES, nights=4, events=6)
    landings = [happened(history, tmp_path / name).landing for name in ("first", "second")]
    assert digest(landings[0]) == digest(landings[1])
    other = happened(replace(history, seed=5), tmp_path / "other")
    assert digest(other.landing) != digest(landings[0])


def test_any_event_may_be_left_out(tmp_path: Path) -> None:
    for seed in range(4):
        history = drawn_history(seed, ("gp", "acute"), nights=3, events=4)
        for number, candidate in enumerate(smaller(history)):
            happened(candidate, tmp_path / f"{seed}_{number}")


def test_smaller_histories_lack_a_night_or_an_event_and_keep_the_first_night() -> None:
    first, deliver = Event("everybody_delivers", 1), Event("some_deliver", 2)
    a, b = Event("row_is_deleted", 3), Event("choice_changes", 4)
    history = History(0, ("gp",), 3, ((first,), (a, deliver), (b, deliver)))
    assert [found.nights for found in smaller(history)] == [
        ((first,), (a, deliver)),
        ((first,), (b, deliver)),
        ((first,), (deliver,), (b, deliver)),
        ((first,), (a, deliver), (deliver,)),
    ]
