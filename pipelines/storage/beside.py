"""Tables that are made beside a lake: what they are made from is read there, everything else is their own."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame

from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.storage.tables import TableStore


@dataclass(frozen=True)
class StoreBeside(TableStore):
    """Tables under two roots of their own, and some tables of a lake, each at one version.

    Nothing of the lake is ever written: a table has its path under the own roots, whatever is read from the lake.
    """

    lake: TableStore
    pinned: Mapping[TableName, int]

    def version(self, zone: Zone, name: str) -> int | None:
        """The version at which a table of the lake is read, or the newest of an own one; None if there is no such table."""
        pinned = self.pinned.get(TableName(zone, name))
        return super().version(zone, name) if pinned is None else pinned

    def read(self, zone: Zone, name: str, version: int | None = None) -> DataFrame:
        """A table of the lake at its version unless another is asked for, or an own one."""
        pinned = self.pinned.get(TableName(zone, name))
        if pinned is None:
            return super().read(zone, name, version)
        return self.lake.read(zone, name, pinned if version is None else version)
