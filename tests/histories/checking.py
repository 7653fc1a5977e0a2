"""Runs a history and says what differs from one full build; a history that shows a difference is made smaller."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tests.histories.events import Event, History
from tests.histories.lake import NightByNight, Vocabularies

MOST_TRIES = 12
"""How many smaller histories are tried to find one that still shows a difference; each takes as long as a few nights."""


@dataclass(frozen=True)
class Found:
    """A history after which the tables are not those of one full build: on which night, and how they differ."""

    history: History
    night: int
    differences: tuple[str, ...]

    def __str__(self) -> str:
        """The history with its seeds, the night, the tables with counts; no values."""
        return "\n".join([str(self.history), f"after night {self.night}:", *self.differences])


def difference_after(
    history: History, folder: Path, vocabularies: Vocabularies, *, after_each_night: bool = False
) -> Found | None:
    """Run a history below a folder, which is removed; what differs after its last night, or after the first that shows it."""
    last = len(history.nights) - 1
    try:
        nights = NightByNight(history, folder / "nights", vocabularies)
        for night, events in enumerate(history.nights):
            nights.run_night(night, events)
            if night == last or after_each_night:
                found = nights.against_full(folder / f"full{night}")
                if found:
                    return Found(history, night, tuple(found))
        return None
    except Exception as error:
        error.add_note(str(history))
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def smallest(found: Found, folder: Path, vocabularies: Vocabularies) -> Found:
    """A smaller history that still shows a difference, if a few tries give any."""
    tries = MOST_TRIES
    begun = replace(found.history, nights=found.history.nights[: found.night + 1])
    best = replace(found, history=begun)
    candidates = smaller(begun)
    while tries and (candidate := next(candidates, None)):
        tries -= 1
        shown = difference_after(candidate, folder / f"try{tries}", vocabularies)
        if shown:
            best, candidates = shown, smaller(candidate)
    return best


def smaller(history: History) -> Iterator[History]:
    """The history without one of its nights, then without one of its events; the first night stays."""
    nights = history.nights
    for place in range(len(nights) - 1, 0, -1) if len(nights) > 2 else ():
        yield replace(history, nights=nights[:place] + nights[place + 1 :])
    for place in range(1, len(nights)):
        for event in range(len(nights[place]) - 1):
            yield replace(history, nights=(*nights[:place], _without(nights[place], event), *nights[place + 1 :]))


def _without(events: tuple[Event, ...], place: int) -> tuple[Event, ...]:
    return events[:place] + events[place + 1 :]
