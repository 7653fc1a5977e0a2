"""What there is to do to each table of a lakehouse. Nothing is written here."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.quality.gates import FAILING_ROWS
from pipelines.release.published import release_folder
from pipelines.run_inputs import build_state_path
from pipelines.run_log import day_begun, run_documents
from pipelines.settings import Settings, table_folders
from pipelines.storage.documents import Document, Lost
from pipelines.storage.maintenance import DeltaFacts, commits_of, facts_of
from pipelines.storage.paths import StoragePaths
from pipelines.upkeep.following import pinned_versions, recorded_versions
from pipelines.upkeep.policy import (
    Upkept,
    files_saved,
    has_its_turn,
    last_write,
    newest_at,
    older_runs,
    runs_to_drop,
    versions_to_keep,
    why_kept,
)

RUN_ID = "run_id"
"""What the tables of the ledger are partitioned by that have rows of every run."""


KEPT_BY_DAY = (TableName(Zone.LEDGER, FAILING_ROWS),)
"""Tables whose rows go after some days, so that they are looked at each time."""


class UpkeepState(Document):
    """What upkeep left of every table, by `zone.name`, and the tables of an upkeep that has not ended."""

    LOST: ClassVar[Lost] = Lost("the next upkeep makes it again", stops=False)

    tables: dict[str, Upkept] = Field(default_factory=dict)
    under_way: tuple[str, ...] = ()


def upkeep_state_path(settings: Settings) -> Path:
    """The document that remembers what upkeep left: below the restricted root."""
    return settings.storage.restricted / "upkeep.json"


@dataclass(frozen=True)
class Due:
    """What there is to do to one table.

    `joined` is by how many files small ones are put together, `runs` are those whose rows go. Of the versions before the newest
    `kept` stay readable and `gone` do not; the last write that was no upkeep was `written`.
    """

    facts: DeltaFacts
    former: Upkept
    joined: int
    runs: tuple[str, ...]
    kept: tuple[int, ...]
    gone: frozenset[int]
    written: int

    @property
    def log_from(self) -> int:
        """Where the log may begin: the oldest version that stays readable, or the last write, which says how it is written."""
        return min((*self.kept, self.written))

    @property
    def is_any(self) -> bool:
        """Whether there is anything to do."""
        shorter = self.log_from > self.former.log_from
        return bool(self.joined or self.runs or self.gone or shorter or not self.facts.keeps_log)


@dataclass(frozen=True)
class Lake:
    """What decides about every table: settings, what upkeep left, the releases that go at a moment, and what others rest on."""

    settings: Settings
    at: datetime
    state: UpkeepState
    dropped: tuple[str, ...]
    pinned: Mapping[TableName, Collection[int]]
    released_by: frozenset[str]

    @classmethod
    def of(cls, settings: Settings) -> "Lake":
        """A lakehouse as it is. Raises ReleaseError where a document of releases cannot be read."""
        folder, now = release_folder(settings), datetime.now(UTC)
        releases = folder.oldest_first()
        ids = [release.release_id for release in releases]
        reasons = why_kept(ids, folder.current(), folder.held(now.date()), settings.upkeep.keep_releases)
        dropped = tuple(release_id for release_id, kept_for in reasons.items() if not kept_for)
        kept = [release for release in releases if release.release_id not in dropped]
        return cls(
            settings=settings,
            at=now,
            state=UpkeepState.read(upkeep_state_path(settings)) or UpkeepState(),
            dropped=dropped,
            pinned=pinned_versions(kept),
            released_by=frozenset(release.run_id for release in kept),
        )

    @property
    def paths(self) -> StoragePaths:
        """Where its tables are."""
        return table_folders(self.settings)

    def needed(self) -> dict[TableName, set[int]]:
        """Every version of a table that must stay readable whatever its age."""
        needed = recorded_versions(build_state_path(self.settings))
        for name, versions in self.pinned.items():
            needed.setdefault(name, set()).update(versions)
        return needed

    def tables(self, *, thorough: bool) -> list[TableName]:
        """Every table, or those that have their turn."""
        every = [TableName(zone, name) for zone in Zone for name in self.paths.names(zone)]
        if thorough:
            return every
        needed = self.needed()
        known = [(name, self.paths.version(*name)) for name in every]
        return [
            name
            for name, version in known
            if version is not None and (name in KEPT_BY_DAY or has_its_turn(self.former(name), version, needed.get(name, ())))
        ]

    def old_runs(self) -> tuple[str, ...]:
        """The runs whose documents go, as their ledger does."""
        listed = [path.stem for path in run_documents(self.settings.storage.restricted)]
        return runs_to_drop(listed, self.released_by, self.settings.upkeep.keep_runs)

    def former(self, name: TableName) -> Upkept:
        """What upkeep left of a table."""
        return self.state.tables.get(str(name), Upkept())

    def due(self, name: TableName, needed: Collection[int]) -> Due | None:
        """What there is to do to a table; None where there is no table."""
        path, policy = self.paths.path(*name), self.settings.upkeep
        facts = facts_of(path)
        if facts is None:
            return None
        commits, former = commits_of(path), self.former(name)
        young_from = newest_at(commits, datetime.now(UTC) - timedelta(days=policy.keep_days))
        first = min(commit.version for commit in commits)
        # What is needed counts as readable whatever upkeep remembers: its record may be newer than tables from a backup.
        known = former.readable(facts.version).union(needed)
        readable = frozenset(version for version in known if first <= version < facts.version)
        kept, gone = versions_to_keep(readable, needed, young_from)
        # A table that is made again whole gathers no small files: those that it has are gone the next time.
        saved, written = files_saved(facts), last_write(commits)
        of_runs = name.zone is Zone.LEDGER and facts.partitioned_by == (RUN_ID,)
        runs = [str(run) for (run, *_) in facts.sizes] if of_runs else []
        return Due(
            facts=facts,
            former=former,
            joined=saved if saved >= policy.small_files and written is not None and not written.is_whole else 0,
            runs=self._runs_to_drop(name, runs),
            kept=kept,
            gone=gone,
            written=facts.version if written is None else written.version,
        )

    def _runs_to_drop(self, name: TableName, runs: list[str]) -> tuple[str, ...]:
        if name in KEPT_BY_DAY:
            begun = {run: day_begun(self.settings.storage.restricted, run) for run in runs}
            return older_runs(begun, datetime.now(UTC).date(), self.settings.upkeep.keep_failing_days)
        return runs_to_drop(runs, self.released_by, self.settings.upkeep.keep_runs)
