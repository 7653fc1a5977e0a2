"""What every stage of a run is given."""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import chain
from pathlib import Path

from pipelines.contracts.derived import published_tables
from pipelines.contracts.source import SourceContract
from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.engine_settings import STATEMENTS_AT_ONCE, EngineKind
from pipelines.errors import DocumentError
from pipelines.ingest.delivery_log import read_set_aside, read_withdrawn
from pipelines.ingest.register import REGISTER, REGISTER_SCHEMA, Registered
from pipelines.lineage.sending import Lineage
from pipelines.progress import ShowStage, no_stages
from pipelines.quality.policy import KnownNames
from pipelines.run_inputs import RunInputs, build_state_path
from pipelines.runner import BuildState, Runner, code_digest
from pipelines.settings import Environment, Settings, table_folders
from pipelines.storage.files import files_below
from pipelines.storage.places import Places
from pipelines.storage.tables import TableStore


@dataclass(frozen=True)
class RunContext:
    """One run: its date, settings, checked inputs and tables."""

    run_date: date
    settings: Settings
    inputs: RunInputs
    store: TableStore
    show_stage: ShowStage = no_stages
    lineage: Lineage | None = None

    @property
    def production(self) -> bool:
        """Whether the data is real."""
        return self.settings.environment is Environment.PRODUCTION

    @cached_property
    def statements_at_once(self) -> int:
        """How many tables are made at the same time: one more on a Spark that reads little, whose statements often wait."""
        return STATEMENTS_AT_ONCE + reads_little(self.settings)

    @property
    def runner(self) -> Runner:
        """The runner of this environment's tables."""
        runner = Runner(self.store, build_state_path(self.settings))
        if self.lineage is not None:
            runner.on_made = self.lineage.table_made
        return runner

    def register(self) -> tuple[Registered, ...]:
        """Every file taken so far; control data, one small record a file.

        Raises DocumentError where it is gone, or an older copy was put back: what has left the landing folder would be lost.
        """
        place = TableName(Zone.CURATION, REGISTER)
        state, stored = BuildState.read(build_state_path(self.settings)), self.store.version(*place)
        built = state.tables.get(str(place)) if state else None
        if built and (stored is None or stored < built.version):
            raise DocumentError(
                f"{self.store.path(*place)} is {'gone' if stored is None else f'at version {stored}'}, and version "
                f"{built.version} was made: restore the restricted root from a backup, whole. If there is none, remove "
                f"{build_state_path(self.settings)}: then what the landing folder still has is loaded again, and nothing else"
            )
        return read_register(self.store.paths)


def known_names(settings: Settings, contracts: Mapping[str, SourceContract], register: Iterable[Registered]) -> KnownNames:
    """What limits and waivers may name: the tables of some contracts and of the CDM, and whoever has delivered anything."""
    providers = {file.provider for file in register}
    providers |= {entry.provider for entry in read_set_aside(settings.storage.restricted)}
    providers |= {entry.provider for entry in read_withdrawn(settings.storage.restricted)}
    return KnownNames.of(contracts, published_tables(settings.cdm_version), providers)


def read_register(paths: Places) -> tuple[Registered, ...]:
    """Every file taken so far, in the order of loads."""
    records = paths.records(Zone.CURATION, REGISTER, tuple(REGISTER_SCHEMA))
    return tuple(sorted((Registered.of(record) for record in records), key=lambda file: (file.load_id, file.file_id)))


def tables_not_current(settings: Settings) -> Counter[str]:
    """How many tables are known not to be current, by reason, without looking at any table.

    What `plan` says besides, from deliveries, settings and vocabularies, is not known here.
    """
    state = BuildState.read(build_state_path(settings)) or BuildState()
    versions = {name: built.version for name, built in state.tables.items()}
    found = Counter[str]()
    for name, built in state.tables.items():
        if not built.inputs or name.startswith(f"{Zone.BRONZE}."):  # made from deliveries, and made again with the next only
            continue
        if any(versions.get(read, version) != version for read, version in built.inputs.items()):
            found["what they read has been made again"] += 1
        elif built.recipe != code_digest():
            found["the code has changed"] += 1
    return found


def rebuilds_folder(settings: Settings) -> Path:
    """Where `verify` makes tables again, in a folder of its own that it removes: below the restricted root."""
    return settings.storage.restricted / "verify"


LITTLE_BYTES = 256 * 2**20
"""Up to here a run on a local Spark takes longer for the number of its statements than for their rows."""


def reads_little(settings: Settings) -> bool:
    """Whether an environment has had little delivered and has a small vocabulary; False where that cannot be seen.

    It is looked for only where it counts, for a Spark that this project starts.
    """
    if settings.storage.catalog is not None or settings.engine.kind is not EngineKind.SPARK:
        return False
    paths = table_folders(settings)
    folders = [settings.storage.landing, *(Path(paths.path(zone, "")) for zone in (Zone.BRONZE, Zone.VOCABULARY))]
    left = LITTLE_BYTES
    with suppress(OSError):  # whoever reads the folder says what is wrong with it
        for file in chain.from_iterable(map(files_below, folders)):
            left -= file.size
            if left < 0:  # no other file is looked at
                return False
        return True
    return False
