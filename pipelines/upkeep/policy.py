"""What is kept and what may go: rules over counts, version numbers and times, which touch no table."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from math import ceil

from pipelines.contracts.models import Frozen
from pipelines.run_log import in_order
from pipelines.storage.maintenance import TARGET_BYTES, Commit, DeltaFacts

VERSIONS_AT_ONCE = 5
"""At the end of a run a table has its turn when it has so many new versions, or so many can go: most nights most have not."""


class Upkept(Frozen):
    """What upkeep left of one table: its newest version, the older ones that can still be read, and where its log begins.

    The log begins at or before `log_from`. A table without an entry has been left alone so far.
    """

    version: int = 0
    kept: tuple[int, ...] = ()
    log_from: int = 0

    def readable(self, version: int) -> frozenset[int]:
        """The versions that can be read now that the newest is `version`, without that one.

        A table that has fewer versions than it had was made anew.
        """
        return frozenset({*self.kept, *range(self.version, version)} if version >= self.version else range(version))


def has_its_turn(former: Upkept, version: int, needed: Collection[int]) -> bool:
    """Whether it may be worth looking at a table more closely."""
    can_go = former.readable(version).difference(needed)
    return max(version - former.version, len(can_go)) >= VERSIONS_AT_ONCE


def why_kept(ids: Sequence[str], current: str | None, held: Collection[str], keep_releases: int) -> dict[str, tuple[str, ...]]:
    """Why upkeep keeps each release; no reason where it goes. `ids` are all of them, the oldest first.

    Kept are the newest `keep_releases`, the current one, which a rollback may hold, and those that somebody holds.
    """
    newest = ids[-keep_releases:]
    return {
        release_id: tuple(
            reason
            for reason, applies in (
                ("current", release_id == current),
                ("held", release_id in held),
                ("newest", release_id in newest),
            )
            if applies
        )
        for release_id in ids
    }


def runs_to_drop(runs: Iterable[str], released_by: Collection[str], keep_runs: int) -> tuple[str, ...]:
    """The runs whose ledger goes: all but the newest and those that made a kept release."""
    return tuple(run for run in in_order(tuple(runs))[:-keep_runs] if run not in released_by)


def older_runs(begun: Mapping[str, date], day: date, keep_days: int) -> tuple[str, ...]:
    """The runs that were begun more than `keep_days` before a day."""
    return tuple(run for run in in_order(tuple(begun)) if begun[run] < day - timedelta(days=keep_days))


def files_saved(facts: DeltaFacts) -> int:
    """By how many files a table shrinks when those of each partition are put together."""
    small = [[size for size in sizes if size < TARGET_BYTES] for sizes in facts.sizes.values()]
    return sum(len(sizes) - max(1, ceil(sum(sizes) / TARGET_BYTES)) for sizes in small if sizes)


def last_write(commits: Iterable[Commit]) -> Commit | None:
    """The last commit that was more than upkeep; `commits` are the newest first. None where the log no longer has it."""
    return next((commit for commit in commits if not commit.is_upkeep), None)


def newest_at(commits: Iterable[Commit], moment: datetime) -> int:
    """The version that was the newest at a moment, or the first that is known where all are younger."""
    known = [(commit.version, commit.at) for commit in commits]
    return max((version for version, at in known if at <= moment), default=min(version for version, _ in known))


def versions_to_keep(
    readable: Collection[int], needed: Collection[int], young_from: int
) -> tuple[tuple[int, ...], frozenset[int]]:
    """Of the versions before the newest those that stay readable, because they are needed or young, and those that go."""
    kept = {version for version in readable if version in needed or version >= young_from}
    return tuple(sorted(kept)), frozenset(readable) - kept
