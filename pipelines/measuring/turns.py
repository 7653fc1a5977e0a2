"""Bench this revision and another in turn: every nightly run as a process of its own, on new lakes with the same deliveries."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import median

from pipelines.measuring.revisions import Checkout, link_extracts

Row = dict[str, str | int | float | None]


@dataclass(frozen=True)
class TimedRun:
    """What the process of one `nhs-omop run` took, from its start to its end."""

    revision: str
    turn: int
    night: int
    seconds: float
    peak_gib: float


@dataclass(frozen=True)
class Turns:
    """What to run: the extracts, the day of each night, how often, and the settings that the user changed."""

    extracts: Path
    days: Sequence[date]
    repeat: int
    overrides: Sequence[str] = ()


def in_turn(
    revisions: Mapping[str, Checkout], turns: Turns, folder: Path, on_progress: Callable[[str], None]
) -> list[TimedRun]:
    """Run all nights with one revision, then with the next, and so on in turn (A B A B)."""
    runs = []
    for turn in range(1, turns.repeat + 1):
        for name, checkout in revisions.items():
            for timed in _nights(name, checkout, turns, turn, folder):
                runs.append(timed)
                on_progress(f"turn {turn}, {name}, night {timed.night}")
    return runs


def _nights(name: str, checkout: Checkout, turns: Turns, turn: int, folder: Path) -> Iterator[TimedRun]:
    """Every night on a new lake, which is removed at the end; its log is kept."""
    label = "".join(letter if letter.isalnum() else "-" for letter in name)
    lake = (folder / f"{label}-{turn}").resolve()
    log = lake.with_suffix(".log")
    link_extracts(turns.extracts, lake)
    common = ("--env", "demo", *_settings(lake, turns.overrides))
    checkout.run(("-m", "jobs.cli", "vocab", "load", *common), log)
    for night, day in enumerate(turns.days, start=1):
        used = checkout.run(("-m", "jobs.cli", "run", "--date", day.isoformat(), *common), log)
        yield TimedRun(name, turn, night, used.seconds, used.peak_gib)
    shutil.rmtree(lake)


def _settings(lake: Path, overrides: Sequence[str]) -> Iterator[str]:
    places = [f"storage.{name}={lake / name}" for name in ("landing", "restricted", "deidentified")]
    for setting in (*places, f"key.path={lake / 'restricted' / 'demo.key'}", *overrides):
        yield from ("--set", setting)


def nights_from(first: date, nights: int) -> list[date]:
    """The days of some nights, one after the other."""
    return [first + timedelta(days=night) for night in range(nights)]


def run_rows(runs: Sequence[TimedRun]) -> list[Row]:
    """A row for each run, in the order of the runs."""
    return [
        {
            "turn": run.turn,
            "revision": run.revision,
            "night": run.night,
            "seconds": round(run.seconds, 2),
            "peak_gib": round(run.peak_gib, 2),
        }
        for run in runs
    ]


def ratio_rows(runs: Sequence[TimedRun], other: str, this: str, limit_seconds: float) -> list[Row]:
    """For each night and for all nights of a turn: both revisions' least and median seconds and peaks, this over the other.

    `limit_seconds` is the no-logic limit for all deliveries; the last row has the least seconds of all nights over it.
    """
    rows = []
    for night in sorted({run.night for run in runs}):
        rows += _ratios(f"night {night}", [run for run in runs if run.night == night], other, this)
    rows += _ratios("all nights", runs, other, this)
    least = [min(_seconds(runs, name)) / limit_seconds for name in (other, this)]
    return [*rows, _ratio("all nights: times the limit", *least)]


def _ratios(title: str, runs: Sequence[TimedRun], other: str, this: str) -> list[Row]:
    old, new = _seconds(runs, other), _seconds(runs, this)
    peaks = [max(run.peak_gib for run in runs if run.revision == name) for name in (other, this)]
    return [
        _ratio(f"{title}: least seconds", min(old), min(new)),
        _ratio(f"{title}: median seconds", median(old), median(new)),
        _ratio(f"{title}: peak GiB", *peaks),
    ]


def _ratio(title: str, old: float, new: float) -> Row:
    return {"": title, "other": round(old, 2), "this": round(new, 2), "ratio": round(new / old, 2) if old else None}


def _seconds(runs: Sequence[TimedRun], revision: str) -> list[float]:
    """The seconds of a revision in each turn."""
    mine = [run for run in runs if run.revision == revision]
    return [sum(run.seconds for run in mine if run.turn == turn) for turn in sorted({run.turn for run in mine})]
