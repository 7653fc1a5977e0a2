"""What each release keeps on disk, and why it is still there."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

from deltalake.exceptions import DeltaError, TableNotFoundError

from pipelines.contracts.tables import TableName
from pipelines.errors import ReleaseError
from pipelines.release.model import Release
from pipelines.release.published import release_folder
from pipelines.settings import Settings, table_folders
from pipelines.storage.maintenance import files_at
from pipelines.storage.paths import StoragePaths
from pipelines.upkeep.following import pinned_versions
from pipelines.upkeep.policy import why_kept


@dataclass(frozen=True)
class Retained:
    """The bytes of the tables of a release, and what neither another release nor the newest version of a table has.

    The latter, in versions of tables and bytes, is what upkeep can remove once the release is gone and `upkeep.keep_days`
    have passed.
    """

    size: int
    versions_alone: int
    bytes_alone: int


@dataclass(frozen=True)
class _Table:
    """The files of every needed version of one table, with their bytes, and its newest version."""

    newest: int
    files: Mapping[int, Mapping[str, int]]

    def size(self, version: int) -> int:
        """The bytes of a version."""
        return sum(self.files[version].values())

    def bytes_alone(self, version: int, others: Collection[int]) -> int:
        """The bytes of the files that a version has and no other does."""
        shared = {name for other in {*others, self.newest} - {version} for name in self.files[other]}
        return sum(size for name, size in self.files[version].items() if name not in shared)


def reasons_to_keep(settings: Settings, day: date) -> dict[str, tuple[str, ...]]:
    """Why upkeep would keep each release on a day, the oldest first; no reason where it would remove it."""
    folder = release_folder(settings)
    ids = [release.release_id for release in folder.oldest_first()]
    return why_kept(ids, folder.current(), folder.held(day), settings.upkeep.keep_releases)


def retained(settings: Settings) -> dict[str, Retained]:
    """What each release keeps. Reads the logs of tables and no row. Raises ReleaseError where a pinned version is gone."""
    folder, paths = release_folder(settings), table_folders(settings)
    releases = folder.oldest_first()
    tables = {name: _read(paths, name, versions) for name, versions in pinned_versions(releases).items()}
    return {
        release.release_id: _retained(release, tables, pinned_versions(other for other in releases if other is not release))
        for release in releases
    }


def _retained(release: Release, tables: Mapping[TableName, _Table], needed: Mapping[TableName, Collection[int]]) -> Retained:
    size = versions = alone = 0
    for pin in release.tables:
        name = TableName.of(f"{pin.zone}.{pin.name}")
        table, others = tables[name], needed.get(name, ())
        size += table.size(pin.version)
        if pin.version != table.newest and pin.version not in others:
            versions += 1
            alone += table.bytes_alone(pin.version, others)
    return Retained(size=size, versions_alone=versions, bytes_alone=alone)


def _read(paths: StoragePaths, name: TableName, versions: Collection[int]) -> _Table:
    path = paths.path(*name)
    newest = paths.version(*name)
    try:
        if newest is None:
            raise TableNotFoundError
        return _Table(newest, {version: files_at(path, version) for version in {*versions, newest}})
    except (DeltaError, TableNotFoundError, OSError) as error:
        raise ReleaseError(
            f"{name}: a version that a release pins cannot be read; was the folder moved or vacuumed?"
        ) from error
