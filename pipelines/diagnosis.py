"""Looks at everything that a run needs, without a run and without the engine; changes nothing."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipelines import __version__
from pipelines.contracts.source import load_contracts
from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import DocumentError, EngineError, OmopPipelineError, ReleaseError, StoreError, counted
from pipelines.ingest.checksums import KnownChecksums, checksums_path
from pipelines.ingest.delivery_log import (
    AcceptedDeliveries,
    SetAsideDeliveries,
    Withdrawals,
    accepted_path,
    set_aside_path,
    withdrawn_path,
)
from pipelines.ingest.landing import is_junk
from pipelines.ingest.load import LoadUnderWay, load_path
from pipelines.mapping.spec import load_mappings
from pipelines.release.model import Release
from pipelines.release.published import release_folder
from pipelines.release.store import HOLDS, POINTER, REMOVED, Holds, Pointer, Removed
from pipelines.run_inputs import RestrictedState, build_state_path, known_key, loaded_vocabulary, newest_opt_outs, state_path
from pipelines.run_lock import HOLDER, Holder
from pipelines.run_log import RunRecord, run_documents
from pipelines.runner import BuildState
from pipelines.settings import Environment, Settings, table_folders
from pipelines.storage.documents import Document
from pipelines.storage.files import AnyPath, entries_in, why
from pipelines.storage.paths import StoragePaths
from pipelines.storage.rights import require_private, require_usable
from pipelines.terminology.vocabulary import LoadedVocabulary, vocabulary_path
from pipelines.upkeep.due import UpkeepState, upkeep_state_path
from vocab.errors import VocabularyError

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
LEAST_FREE_GIB = 10
ZONES = ("UTC", "GMT", "BST")
"""What the clock of a machine in the United Kingdom, or in UTC, calls its zone."""

_GIB = 2**30


class State(StrEnum):
    """What was found: nothing to do, something to know of, or something that stops a run."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis. `error` is what a run would end with."""

    what: str
    state: State
    found: str
    next_step: str = ""
    error: OmopPipelineError | VocabularyError | None = None


def findings(settings: Settings, day: date) -> Iterator[Finding]:
    """What a run on a day would find, each line of it on its own: a fault does not hide the others."""
    yield _python()
    yield from _engine(settings)
    yield _found("mappings", lambda: _mappings(settings))
    yield _landing(settings.storage.landing)
    yield _found("restricted", lambda: _restricted(settings.storage.restricted))
    yield _disk("restricted", settings.storage.restricted)
    if isinstance(settings.storage.deidentified, Path):
        yield _deidentified(settings.storage.deidentified)
        yield _disk("deidentified", settings.storage.deidentified)
    yield from _documents(settings)
    if settings.storage.catalog is None:
        yield from _tables(table_folders(settings))
    yield _found("key", lambda: known_key(settings))
    yield _vocabulary(settings)
    yield from _opt_outs(settings, day)
    yield from _providers(settings)
    yield _clock()


def _found(what: str, look: Callable[[], str]) -> Finding:
    """What a look finds; what a run would end with is a fault, whose message says the next step."""
    try:
        return Finding(what, State.OK, look())
    except (OmopPipelineError, VocabularyError) as error:
        return Finding(what, State.FAULT, str(error), error=error)


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return Finding("python", State.OK, f"{found}, nhs-omop {__version__}")
    return Finding("python", State.WARNING, found, "tested are Python 3.11 to 3.13")


def _engine(settings: Settings) -> Iterator[Finding]:
    packages = {"sail": ("pysail",), "spark": ("pyspark", "delta-spark"), "remote": ()}[settings.engine.kind]
    for name in packages:
        yield _found("engine", partial(_installed, name, settings.engine.kind))
    if settings.engine.kind == "spark" and settings.engine.master is not None:
        yield _found("java", _java)


def _installed(name: str, kind: str) -> str:
    try:
        return f"{kind}: {name} {version(name)}"
    except PackageNotFoundError as error:
        extra = "embedded" if kind == "sail" else "spark"
        raise EngineError(f"{name} is not installed: pip install 'nhs-omop[{extra}]'") from error


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if found is None or not Path(found).exists():
        raise EngineError("Spark needs Java 17 or later; install it, or set engine.kind: sail")
    return found


def _mappings(settings: Settings) -> str:
    contracts = load_contracts(settings.mappings_dir, settings.run.sources)
    load_mappings(settings.mappings_dir, contracts)
    return f"{', '.join(contracts)} in {settings.mappings_dir}"


def _landing(landing: AnyPath) -> Finding:
    if not isinstance(landing, Path):
        return _found(
            "landing", lambda: f"{landing}, {counted(sum(entry.is_folder for entry in entries_in(landing)), 'folder')}"
        )
    if not landing.is_dir() or not os.access(landing, os.R_OK | os.X_OK):
        step = f"make it, readable by the account that runs the load: mkdir -m 700 {landing}"
        return Finding("landing", State.WARNING, f"{landing} is not there or cannot be read", step)
    rights = landing.stat().st_mode & 0o007
    if rights:
        what = "write to" if rights & 0o002 else "read"
        step = f"give the rights to the accounts that deliver only: chmod o= {landing}"
        return Finding("landing", State.WARNING, f"every user of the machine can {what} {landing}", step)
    return Finding("landing", State.OK, str(landing))


def _restricted(root: Path) -> str:
    if not root.exists():
        return f"{root} is not there yet; the first run makes it"
    require_private(root)
    return f"{root}, for this account only"


def _deidentified(root: Path) -> Finding:
    if not root.exists():
        return Finding("deidentified", State.OK, f"{root} is not there yet; the first run makes it")
    if root.stat().st_mode & 0o002:
        found = f"every user of the machine can write to {root}, and change what analysts read"
        return Finding("deidentified", State.WARNING, found, f"take the right: chmod -R o-w {root}")
    return _found("deidentified", lambda: _usable(root))


def _usable(root: Path) -> str:
    require_usable(root)
    return str(root)


def documents(settings: Settings) -> list[tuple[AnyPath, type[Document]]]:
    """Every document in which a lakehouse remembers something, whether or not it is there, and its kind."""
    restricted, releases = settings.storage.restricted, release_folder(settings)
    return [
        (state_path(settings), RestrictedState),
        (build_state_path(settings), BuildState),
        (load_path(restricted), LoadUnderWay),
        (checksums_path(restricted), KnownChecksums),
        (set_aside_path(restricted), SetAsideDeliveries),
        (withdrawn_path(restricted), Withdrawals),
        (accepted_path(restricted), AcceptedDeliveries),
        (restricted / HOLDER, Holder),
        (upkeep_state_path(settings), UpkeepState),
        *((path, RunRecord) for path in run_documents(restricted)),
        (vocabulary_path(settings), LoadedVocabulary),
        (releases.root / POINTER, Pointer),
        (releases.root / HOLDS, Holds),
        (releases.root / REMOVED, Removed),
        *((releases.root / f"{release_id}.json", Release) for release_id in releases.ids()),
    ]


def _documents(settings: Settings) -> Iterator[Finding]:
    """A line for each document that cannot be read, a warning where it stops nothing; one line where all can."""
    try:
        known = documents(settings)
    except StoreError as error:
        yield Finding("documents", State.FAULT, str(error), error=error)
        return
    damaged = [found for path, kind in known if (found := _damage(path, kind))]
    yield from damaged or [Finding("documents", State.OK, "each that is there can be read")]


def _damage(path: AnyPath, kind: type[Document]) -> Finding | None:
    try:
        kind.checked(path)
    except OmopPipelineError as error:
        if isinstance(error, DocumentError) and not error.stops:
            return Finding("documents", State.WARNING, str(error))
        as_of_a_run = ReleaseError(str(error)) if kind in _OF_RELEASES else error
        return Finding("documents", State.FAULT, str(error), error=as_of_a_run)
    return None


_OF_RELEASES = (Pointer, Holds, Removed, Release)


def _tables(paths: StoragePaths) -> Iterator[Finding]:
    """A fault for each table whose log cannot be read; one line where all can."""
    names = [TableName(zone, name) for zone in Zone for name in paths.names(zone)]
    found = [_found("tables", partial(_version, paths, name)) for name in names]
    yield from [line for line in found if line.state is not State.OK] or [
        Finding("tables", State.OK, "the log of each that is there can be read")
    ]


def _version(paths: StoragePaths, name: TableName) -> str:
    return f"{name} {paths.version(*name)}"


def _disk(name: str, root: Path) -> Finding:
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(place).free / _GIB
    state = State.OK if free >= LEAST_FREE_GIB else State.WARNING
    step = "" if state is State.OK else f"free some, at least {LEAST_FREE_GIB} GiB; nhs-omop upkeep removes what is old"
    return Finding(f"disk of {name}", state, f"{free:,.0f} GiB free", step)


def _vocabulary(settings: Settings) -> Finding:
    found = _found("vocabulary", lambda: loaded_vocabulary(settings).release)
    is_practice = settings.environment in (Environment.DEMO, Environment.TEST)
    if found.state is State.OK and loaded_vocabulary(settings).is_demo and not is_practice:
        return Finding("vocabulary", State.WARNING, f"{found.found}, for the demonstration", "nhs-omop vocab load DIR")
    return found


def _opt_outs(settings: Settings, day: date) -> Iterator[Finding]:
    """One line for each list, or one for what is wrong with the first that is wrong."""
    policy = settings.opt_outs
    try:
        lists = newest_opt_outs(settings, day).facts
    except OmopPipelineError as error:
        yield Finding("opt-out lists", State.FAULT, str(error), error=error)
        return
    for facts in lists:
        age = (day - facts.as_at).days
        old = age >= policy.warn_at_days
        step = f"fetch a new one within {counted(policy.max_age_days - age, 'day')}" if old else ""
        said = f"of {facts.as_at.isoformat()}, {counted(age, 'day')} old"
        yield Finding(f"{facts.kind} opt-outs", State.WARNING if old else State.OK, said, step)


def _providers(settings: Settings) -> Iterator[Finding]:
    for source in settings.run.sources:
        folder = settings.storage.landing / source
        try:
            there = [entry for entry in entries_in(folder) if not is_junk(entry.name)]
        except StoreError as error:
            yield Finding("deliveries", State.FAULT, str(error), error=error)
            return
        except OSError as error:
            yield Finding(f"deliveries of {source}", State.WARNING, f"{folder}: {why(error)}", "check who may read the folder")
            continue
        if there:
            yield Finding(f"deliveries of {source}", State.OK, counted(len(there), "provider"))
        else:
            step = f"put deliveries into {folder}/PROVIDER/YYYYMMDD, or leave the source out of run.sources"
            yield Finding(f"deliveries of {source}", State.WARNING, "no provider", step)


def _clock() -> Finding:
    zone = time.tzname[time.localtime().tm_isdst > 0]
    if zone in ZONES:
        return Finding("clock", State.OK, zone)
    return Finding("clock", State.WARNING, zone, "the day of a run is that of this zone: export TZ=Europe/London")
