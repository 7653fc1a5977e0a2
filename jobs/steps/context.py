"""What every step of a run is given."""

from dataclasses import dataclass
from datetime import date

from jobs.console import Console
from pipelines.columns.keyed import Pads
from pipelines.contracts.source import SourceContract
from pipelines.contracts.zones import Zone
from pipelines.ingest.register import REGISTER_SCHEMA, Registered
from pipelines.mapping.spec import Mapping
from pipelines.settings import Environment, Settings
from pipelines.storage.tables import TableStore

REGISTER = "register"


@dataclass(frozen=True)
class RunContext:
    """One run: its settings, contracts, mappings, tables, key pads and date."""

    run_id: str
    run_date: date
    settings: Settings
    contracts: dict[str, SourceContract]
    mappings: dict[str, Mapping]
    store: TableStore
    pads: Pads
    console: Console

    @property
    def production(self) -> bool:
        """Whether the data is real."""
        return self.settings.environment is Environment.PRODUCTION

    def register(self) -> list[Registered]:
        """Every file taken so far; control data, one small record a file."""
        if not self.store.exists(Zone.CURATION, REGISTER):
            return []
        records = self.store.read(Zone.CURATION, REGISTER).select(*REGISTER_SCHEMA).toArrow().to_pylist()
        return sorted((Registered.of(record) for record in records), key=lambda one: (one.load_id, one.file_id))
