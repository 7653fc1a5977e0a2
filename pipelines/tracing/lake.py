"""Small reads of the tables of a lakehouse, without an engine, for whoever asks where one row comes from.

Tables of a release are read at its versions. Every other table is read as the newest run left it.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.source import SourceContract, load_contracts
from pipelines.contracts.zones import Zone
from pipelines.errors import ReleaseError, RightsError
from pipelines.ingest.register import Registered
from pipelines.mapping.spec import Mapping as SourceMapping
from pipelines.mapping.spec import Rule, load_mappings
from pipelines.progress import Field
from pipelines.release.model import Release
from pipelines.release.published import cdm_of
from pipelines.release.reading import PinnedTable, read_delta, read_pinned
from pipelines.run_context import read_register
from pipelines.settings import Settings, storage_paths, table_folders
from pipelines.storage.files import AnyPath

if TYPE_CHECKING:
    from pyarrow import Table
    from pyarrow.dataset import Dataset, Expression

Record = dict[str, Any]


def is_readable(restricted: Path) -> bool:
    """Whether this account may read below a restricted root, and there is something to read."""
    try:
        with os.scandir(restricted / Zone.CURATION) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def check_restricted(settings: Settings) -> None:
    """Raise RightsError unless this account may read the restricted root, ReleaseError where no run has written to it yet."""
    restricted = settings.storage.restricted
    if not is_readable(restricted):
        if _has_none(restricted / Zone.CURATION) and _has_none(settings.storage.deidentified / Zone.OMOP):
            raise ReleaseError("there is no run yet: nhs-omop run makes one")
        raise RightsError(
            f"{restricted} cannot be read by this account, and files and lines are known there only; ask for "
            "the rights, or run this command as the account that runs the load"
        )


def _has_none(folder: AnyPath) -> bool:
    """Whether a folder is not there or empty, as far as this account may see that."""
    try:
        return not any(folder.iterdir())
    except FileNotFoundError:
        return True
    except OSError:
        return False


@dataclass(frozen=True)
class Lake:
    """The tables of an environment, those of a release at its versions."""

    settings: Settings
    release: Release

    @cached_property
    def contracts(self) -> dict[str, SourceContract]:
        """The contract of each source."""
        return load_contracts(self.settings.mappings_dir, self.settings.run.sources)

    @cached_property
    def mappings(self) -> dict[str, SourceMapping]:
        """The mapping of each source."""
        return load_mappings(self.settings.mappings_dir, self.contracts)

    @cached_property
    def rules(self) -> dict[str, tuple[str, Rule]]:
        """Every mapping rule with its source, by its name."""
        return {rule.name: (source, rule) for source, mapping in self.mappings.items() for rule in mapping.rules}

    @cached_property
    def tables(self) -> dict[str, CdmTable]:
        """The tables of the CDM and the derived ones that the release has."""
        pinned = {pin.name for pin in self.release.tables}
        return {name: table for name, table in cdm_of(self.release).items() if name in pinned}

    @cached_property
    def register(self) -> dict[str, Registered]:
        """Every delivered file by its id. Raises RightsError for whoever may not read the restricted root."""
        check_restricted(self.settings)
        return {file.file_id: file for file in read_register(storage_paths(self.settings))}

    @cached_property
    def may_read_restricted(self) -> bool:
        """Whether this account may read the restricted root, where files and lines are known."""
        return is_readable(self.settings.storage.restricted)

    def released(self, table: str, where: Mapping[str, object], columns: Sequence[str] = ()) -> list[Record]:
        """Rows of a table of the release, in the order of their columns, hidden columns included."""
        found: list[Record] = self._rows(self._released(table), where, columns).to_pylist()
        return found

    def rows(self, zone: Zone, table: str, where: Mapping[str, object], columns: Sequence[str] = ()) -> list[Record]:
        """Rows of a table as it is now, in the order of their columns; none if there is no such table."""
        return self._rows(self._newest(zone, table), where, columns).to_pylist() if self._is_there(zone, table) else []

    def some(
        self, zone: Zone, table: str, where: Mapping[str, object], columns: Sequence[str], limit: int
    ) -> tuple[list[Record], int]:
        """The first rows of a table as it is now in the order of `columns`, and how many there are."""
        return _first(self._rows(self._newest(zone, table), where, columns), limit) if self._is_there(zone, table) else ([], 0)

    def names(self, zone: Zone) -> list[str]:
        """The tables of a zone."""
        return storage_paths(self.settings).names(zone)

    def _released(self, table: str) -> "Dataset":
        zone = Zone.VOCABULARY if cdm_of(self.release)[table].is_vocabulary else Zone.OMOP
        pin = self.release.pin(zone, table)
        path = table_folders(self.settings).path(zone, table)
        return self._once(path, pin.version, lambda: read_pinned(PinnedTable(path, pin.version, pin.rows, pin.files)))

    def _newest(self, zone: Zone, table: str) -> "Dataset":
        path = table_folders(self.settings).path(zone, table)
        return self._once(path, None, lambda: read_delta(path))

    def _once(self, path: str, version: int | None, opened: Callable[[], "Dataset"]) -> "Dataset":
        if (path, version) not in self._open:
            self._open[path, version] = opened()
        return self._open[path, version]

    @cached_property
    def _open(self) -> dict[tuple[str, int | None], "Dataset"]:
        return {}

    def _is_there(self, zone: Zone, table: str) -> bool:
        return storage_paths(self.settings).version(zone, table) is not None

    @staticmethod
    def _rows(dataset: "Dataset", where: Mapping[str, object], columns: Sequence[str]) -> "Table":
        there = dataset.schema.names
        chosen = [name for name in columns or there if name in there]
        found = dataset.to_table(columns=chosen, filter=_filter(where))
        return found.sort_by([(name, "ascending") for name in chosen])


def _first(found: "Table", limit: int) -> tuple[list[Record], int]:
    return found.slice(0, limit).to_pylist(), found.num_rows


@dataclass(frozen=True, slots=True)
class Between:
    """A condition on a column: its value is from one value to another; an open side has None."""

    least: object = None
    most: object = None


def _filter(where: Mapping[str, object]) -> "Expression | None":
    """All conditions together: a value, a collection of values, or a range; None stands for null."""
    from pyarrow import dataset

    chosen = None
    for name, value in where.items():
        column = dataset.field(name)
        if value is None:
            condition = column.is_null()
        elif isinstance(value, Between):
            condition = column.is_valid()
            condition = condition if value.least is None else condition & (column >= value.least)
            condition = condition if value.most is None else condition & (column <= value.most)
        elif isinstance(value, Collection) and not isinstance(value, str):
            condition = column.isin(list(value))
        else:
            condition = column == value
        chosen = condition if chosen is None else chosen & condition
    return chosen


def shown(value: object) -> Field:
    """A value of a table as it is displayed: times without their zone, which is UTC."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
