"""Configuration: `conf/base.yaml`, overridden by `conf/<env>.yaml` and then by `--set` options, validated as a whole.

Models are immutable and refuse unknown keys. Secrets are references, never values.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import date
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)
from upath import UPath

from pipelines.contracts.deliveries import DeliveryLimits
from pipelines.contracts.free_text import FreeText, free_text
from pipelines.contracts.gate_policy import ANY, GatePolicy, SourceOrProvider
from pipelines.contracts.locations import NO_URI, Folder, Location, looks_like_uri
from pipelines.contracts.models import Frozen
from pipelines.contracts.source import sources_in
from pipelines.contracts.yaml_files import InvalidYamlError, parse_yaml, read_yaml
from pipelines.engine_settings import EngineKind, EngineSettings
from pipelines.errors import ConfigError, counted
from pipelines.secrets import FileSecret, SecretReference
from pipelines.storage.files import AnyPath, in_store, is_inside, path_of
from pipelines.storage.paths import StoragePaths
from pipelines.storage.places import Places

PACKAGED_CONF_DIR = Path(__file__).resolve().parent.parent / "conf"
"""The configuration packaged with the code, in a checkout and in an installed wheel."""

PACKAGED_MAPPINGS_DIR = PACKAGED_CONF_DIR.parent / "mappings"
"""The mappings packaged with the code."""

EXPECTATIONS = "quality/expectations"
"""Where a folder of configuration has the expectation suites of the team."""

SOURCES = ("gp", "acute", "mental_health", "community", "ambulance", "social_care")

SOURCE_PRIORITY = ("gp", "acute", "mental_health", "community", "social_care", "ambulance")
"""Whose word counts about a person whom several sources know, first to last."""

DEATH_PRIORITY = ("acute", "ambulance", "gp", "mental_health", "community", "social_care")
"""Who was there comes first, then the practice, which is notified, then those who note the death in a record of care."""

_REFERENCES = ("key", "url", "token", "transport", "password")

_ADDED = ("limits", "waivers")
"""Lists of the gates: what is read later comes after what was read before, of which the last entry that fits counts."""

QUALITY = "quality"
"""The folder of limits and waivers below a folder of configuration."""

MOST_DAYS = 36_500
"""The most that may be set of days that are counted back from today: the calendar of Python begins with the year 1."""

_RESULT_SECTIONS = {"cdm_version", "cdm_holder", "environment", "opt_outs", "person", "gates", "run"}
"""The settings that decide what a release holds, but for those of the next constant."""

_STOPS_OR_COSTS = {
    "opt_outs": {"max_age_days", "warn_at_days", "national_share", "max_shrinkage"},
    "run": {"required", "most_touched"},
}
"""Settings that decide whether a run goes on, or what it costs, and not what is in a release."""

_CHANGED_BY_SAIL = re.compile(r"[^A-Za-z0-9/_.!$+&':;,=@()-]")
"""What Sail 0.7.2 writes otherwise in the path of a table (`%20`, and its log `%2520`) or takes for a pattern, as a path or as
a URI, so that the files of a table lie outside its root or are not found."""


def _named(character: str) -> str:
    return "a space" if character == " " else repr(character)


def _anywhere(location: Any) -> AnyPath:
    """An absolute path, or the place in an object store that a URI names."""
    if not isinstance(location, str | Path | UPath):
        raise ValueError("expected a path or a URI")
    path = path_of(str(location))
    if isinstance(path, Path) and looks_like_uri(str(location)):
        raise ValueError("expected a path, or a URI with two slashes after the colon, such as s3://bucket/folder")
    return path


AnyLocation = Annotated[AnyPath, PlainValidator(_anywhere), PlainSerializer(str)]
"""A folder that may be in an object store."""


class Environment(StrEnum):
    """What kind of data the environment has. In production the demo key is refused."""

    DEMO = "demo"
    TEST = "test"
    DEVELOPMENT = "development"
    PRODUCTION = "production"


CatalogName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class CatalogSettings(Frozen):
    """Catalogs in which tables have names: zones that may contain identifiers in `identifiable`, all others in `deidentified`.

    Each zone is a schema, whose name begins with `schema_prefix`. Old versions of a table, which releases pin, can be read for
    `retention_days`.
    """

    identifiable: CatalogName
    deidentified: CatalogName
    schema_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]*$")] = ""
    retention_days: int = Field(default=30, ge=7, le=MOST_DAYS)


class StorageSettings(Frozen):
    """Where deliveries arrive, and the two roots: `restricted` may contain identifiers, `deidentified` never does.

    Tables lie below the roots too, by path, unless `catalog` says by which names they are found. Documents always do.

    Deliveries may be in an object store; so may the documents below `deidentified`, where tables are not there. `restricted`
    has the lock of the lakehouse, which needs a file system.
    """

    landing: AnyLocation
    restricted: Location
    deidentified: AnyLocation
    catalog: CatalogSettings | None = None

    @field_validator("restricted", mode="before")
    @classmethod
    def lock_is_a_file(cls, location: Any) -> Any:
        """Refuse a URI where the lock is."""
        if isinstance(location, str) and "://" in location:
            raise ValueError(
                "expected a path, such as /Volumes/...; not a URI: it has the lock of the lakehouse, which needs a file "
                "system. A URI may be storage.landing, and with storage.catalog storage.deidentified"
            )
        return location

    @model_validator(mode="after")
    def tables_have_paths(self) -> Self:
        """Refuse tables by path in an object store."""
        if self.catalog is None and in_store(self.deidentified):
            raise ValueError(f"deidentified: {NO_URI}, unless storage.catalog says where tables are")
        return self

    @model_validator(mode="after")
    def roots_are_apart(self) -> Self:
        """Refuse roots inside each other, because access is granted per root."""
        identifiable = {"landing": self.landing, "restricted": self.restricted}
        faults = [
            f"{name} and deidentified may not be inside each other"
            for name, location in identifiable.items()
            if is_inside(location, self.deidentified) or is_inside(self.deidentified, location)
        ]
        if is_inside(self.restricted, self.landing):
            faults.append("restricted may not be inside landing, where those who deliver may write")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class VocabularySettings(Frozen):
    """`athena_dir` is the Athena download that `vocab load` reads, null for the packaged demo vocabulary.

    `version`, if set, is the vocabulary version that must be loaded when a run starts.
    """

    athena_dir: Location | None = None
    version: str | None = None


class Share(Frozen):
    """A range of shares (0 to 1), both ends included."""

    least: float = Field(ge=0, le=1)
    most: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def in_order(self) -> Self:
        """Refuse an empty range."""
        if self.least > self.most:
            raise ValueError("least is greater than most")
        return self


class LeftOut(StrEnum):
    """What to do with people who are left out unless somebody has approved that they are not."""

    EXCLUDE = "exclude"
    INCLUDE_WITH_APPROVAL = "include_with_approval"


class OptOutSettings(Frozen):
    """The opt-out policy.

    A national response older than `max_age_days` stops the run; 21 days is the most the policy allows.
    `national_share` is the plausible share of the submitted numbers that the response leaves out. A list may lose at most
    `max_shrinkage` of its people against the one last used. `unverifiable` are people without a valid NHS number, whom the
    national check cannot cover, `confidential` people and rows that their source marks as such. `type1_codes` names
    the code list below the mappings folder.
    """

    max_age_days: int = Field(default=21, ge=1, le=21)
    warn_at_days: int = Field(default=14, ge=1)
    national_share: Share = Share(least=0.005, most=0.25)
    max_shrinkage: float = Field(default=0.2, ge=0, le=1)
    unverifiable: LeftOut = LeftOut.EXCLUDE
    confidential: LeftOut = LeftOut.EXCLUDE
    approval: FreeText | None = None
    type1_codes: str = "opt_outs/type1.yaml"

    @model_validator(mode="after")
    def complete(self) -> Self:
        """Refuse a warning after the limit, and people kept without an approval to point to."""
        faults = []
        if self.warn_at_days > self.max_age_days:
            faults.append("warn_at_days is greater than max_age_days")
        kept = {"unverifiable": self.unverifiable, "confidential": self.confidential}
        faults += [
            f"{name}: include_with_approval needs the reference of the approval in approval"
            for name, policy in kept.items()
            if policy is LeftOut.INCLUDE_WITH_APPROVAL and not self.approval
        ]
        if faults:
            raise ValueError("; ".join(faults))
        return self


class OnConflict(StrEnum):
    """What to do with identities whose rows cannot be about one person: another birth date or sex, two NHS numbers."""

    LINK = "link"
    SET_ASIDE = "set_aside"


class Unobserved(StrEnum):
    """What to do with people of whom nothing says when they were observed: no registration and no contact with care."""

    EXCLUDE = "exclude"
    KEEP = "keep"


def _each_once(sources: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(sources)) != len(sources):
        raise ValueError("name each source once")
    return sources


Priority = Annotated[tuple[str, ...], AfterValidator(_each_once)]
"""Sources, first to last."""


class PersonSettings(Frozen):
    """How a person is combined from several sources: the first source in `source_priority` that has a value provides it.

    `death_priority` is the same for the death, of which a person has one. Nobody is observed before `earliest_capture`: days by
    source (`acute`), or by source and provider (`acute/RXN`), which count before those of the source. `on_conflict`: whether
    rows that contradict each other about who the person is are linked all the same or set aside. `unobserved`: whether people
    without an observation period are in the CDM.
    """

    month_of_birth: bool = False
    source_priority: Priority = SOURCE_PRIORITY
    death_priority: Priority = DEATH_PRIORITY
    earliest_capture: dict[SourceOrProvider, date] = Field(default_factory=dict)
    on_conflict: OnConflict = OnConflict.SET_ASIDE
    unobserved: Unobserved = Unobserved.EXCLUDE


class DerivedSettings(Frozen):
    """Which tables a release has beside those of the CDM."""

    measurement_harmonised: bool = True


def _with_ages(required: Any) -> Any:
    """A list of sources, each a name (`- gp`) or a name with its age (`- gp: 3`), as ages by source."""
    if isinstance(required, dict):
        return required
    entries = required if isinstance(required, list) else [None]
    named = [entry if isinstance(entry, dict) else {entry: None} for entry in entries if isinstance(entry, dict | str)]
    if len(named) != len(entries):
        raise ValueError("expected a list of sources, written like [gp, acute], or ages by source, like {gp: 3, acute: null}")
    sources = [source for entry in named for source in entry]
    if len(set(sources)) != len(sources):
        raise ValueError("name each source once")
    return {source: age for entry in named for source, age in entry.items()}


class RunSettings(Frozen):
    """Which sources a run loads, and without which of them it releases nothing.

    `required` is a list of sources, or gives for each how old its newest extract may be, in days (null: of any age). Where more
    than the share `most_touched` of the people has changed, everything is made again instead of what is theirs.
    """

    sources: tuple[str, ...] = SOURCES
    required: Annotated[dict[str, Annotated[int, Field(ge=0, le=MOST_DAYS)] | None], BeforeValidator(_with_ages)] = Field(
        default_factory=dict
    )
    most_touched: float = Field(default=0.3, ge=0, le=1)

    @model_validator(mode="after")
    def named_once(self) -> Self:
        """Refuse an empty list, a source named twice, and a required source that is not loaded."""
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise ValueError("sources: name at least one source, each once")
        unknown = [source for source in self.required if source not in self.sources]
        if unknown:
            raise ValueError(f"required: {', '.join(unknown)} not among the sources that are loaded")
        return self


class UpkeepSettings(Frozen):
    """What upkeep keeps: the newest releases, the ledgers of the newest runs, and every version of a table that was the newest
    on one of the last days. Releases that are held (`nhs-omop releases hold`) stay whatever their age.

    Keys of rows that broke failed checks are kept for `keep_failing_days`. A table that is written in parts is compacted once
    it shrinks by `small_files` files.
    """

    keep_releases: int = Field(default=7, ge=1)
    keep_days: int = Field(default=7, ge=0, le=MOST_DAYS)
    keep_runs: int = Field(default=400, ge=1)
    keep_failing_days: int = Field(default=30, ge=0, le=MOST_DAYS)
    small_files: int = Field(default=32, ge=1)


class FileLineage(Frozen):
    """Events appended to a file, a line each."""

    kind: Literal["file"]
    path: Location


class HttpLineage(Frozen):
    """Events sent to a server, with a bearer token if one is given."""

    kind: Literal["http"]
    url: str = Field(pattern="^https?://[^@]+$")
    endpoint: str = "api/v1/lineage"
    token: SecretReference | None = None
    timeout_seconds: float = Field(default=5.0, gt=0)


LineageTransport = Annotated[FileLineage | HttpLineage, Field(discriminator="kind")]


class LineageSettings(Frozen):
    """Where the OpenLineage events of runs go, and the namespace of their jobs and datasets; none without a transport."""

    namespace: FreeText = "nhs-omop"
    transport: LineageTransport | None = None


_SCHEMA_NAME = "^[a-z_][a-z0-9_]{0,49}$"
"""Needs no quotes in SQL, so that OHDSI's tools can name it; what a publication adds to it fits the 63 bytes of PostgreSQL."""


class PublishSettings(Frozen):
    """How releases are published.

    In PostgreSQL they fill the schema `cdm_schema`, which the roles `readers` may read. `password` refers to the password of
    the connection; without it that of `PGPASSWORD`, a password file or a service file is used. `duckdb_indexes`: whether
    DuckDB files have keys and indexes, which have to fit into memory.
    """

    cdm_schema: str = Field(default="cdm", pattern=_SCHEMA_NAME)
    readers: tuple[str, ...] = ()
    password: SecretReference | None = None
    duckdb_indexes: bool = True

    @field_validator("cdm_schema")
    @classmethod
    def nobody_elses(cls, name: str) -> str:
        """Refuse names that PostgreSQL keeps for itself, and those that a publication to another schema makes and drops."""
        if name.startswith("pg_") or name.endswith(("_former", "_unfinished")):
            raise ValueError("expected a name that neither begins with pg_ nor ends with _former or _unfinished")
        return name


def _number_as_text(value: Any) -> Any:
    """A version without quotes is a number in YAML."""
    return str(value) if isinstance(value, float) else value


def _asked(names: Iterable[str], known: Iterable[str]) -> str:
    """Names that there are not, each with the most similar one of those that there are."""
    near = {name: get_close_matches(name, known, n=1) for name in names}
    return ", ".join(f"{name} (did you mean {found[0]}?)" if found else name for name, found in near.items())


class Settings(Frozen):
    """The whole configuration of a command."""

    environment: Environment
    cdm_version: Annotated[Literal["5.4", "5.5"], BeforeValidator(_number_as_text)] = "5.4"
    cdm_holder: Annotated[str, Field(max_length=255), AfterValidator(free_text)] = "NHS Secure Data Environment"
    mappings_dir: Folder = PACKAGED_MAPPINGS_DIR
    expectations_dir: Folder = PACKAGED_CONF_DIR / EXPECTATIONS
    storage: StorageSettings
    engine: EngineSettings = EngineSettings()
    vocabulary: VocabularySettings = VocabularySettings()
    key: SecretReference
    opt_outs: OptOutSettings = OptOutSettings()
    person: PersonSettings = PersonSettings()
    derived: DerivedSettings = DerivedSettings()
    gates: GatePolicy = GatePolicy()
    run: RunSettings = RunSettings()
    deliveries: DeliveryLimits = DeliveryLimits()
    upkeep: UpkeepSettings = UpkeepSettings()
    lineage: LineageSettings = LineageSettings()
    publish: PublishSettings = PublishSettings()

    @model_validator(mode="after")
    def known_sources(self) -> Self:
        """Refuse a source without a contract, and what is said of one that there is not: it would have no effect."""
        there = sources_in(self.mappings_dir)
        misspelt = [source for source in self.run.sources if there and source not in there]
        if misspelt:
            raise ValueError(
                f"run.sources: there is no {_asked(misspelt, there)} in the mappings; sources there: {', '.join(there)}"
            )
        person, ages = self.person, self.gates.change.max_age_days
        known = sorted({*SOURCES, *self.run.sources, *there})
        said_of = {
            "person.source_priority": person.source_priority,
            "person.death_priority": person.death_priority,
            "person.earliest_capture": [name.partition("/")[0] for name in person.earliest_capture],
            "gates.change.max_age_days": [name.partition("/")[0] for name in ages if name != ANY],
        }
        unknown = {place: [name for name in names if name not in known] for place, names in said_of.items()}
        faults = [f"{place}: there is no source {_asked(names, known)}" for place, names in unknown.items() if names]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @model_validator(mode="after")
    def catalogs_are_apart(self) -> Self:
        """Refuse one catalog for all zones in production, because access is granted per catalog. Case makes no other name."""
        catalog = self.storage.catalog
        is_one = catalog is not None and catalog.identifiable.casefold() == catalog.deidentified.casefold()
        if is_one and self.environment is Environment.PRODUCTION:
            raise ValueError("storage.catalog: identifiable and deidentified are one catalog; in production they are two")
        return self

    @model_validator(mode="after")
    def engine_keeps_paths(self) -> Self:
        """Refuse roots of tables by a path that the embedded engine takes for another one."""
        if self.engine.kind is not EngineKind.SAIL or self.storage.catalog is not None:
            return self
        roots = {"restricted": self.storage.restricted, "deidentified": self.storage.deidentified}
        changed = {name: sorted(set(_CHANGED_BY_SAIL.findall(str(root)))) for name, root in roots.items()}
        faults = [f"storage.{name}: {', '.join(map(_named, found))}" for name, found in changed.items() if found]
        if faults:
            raise ValueError(
                f"{'; '.join(faults)}: the embedded engine would write tables to another folder than the one that is named; "
                "use letters without accents, digits and - _ . only"
            )
        return self

    @model_validator(mode="after")
    def lineage_has_a_network(self) -> Self:
        """Refuse to send lineage from the embedded engine, whose process has no network but its own."""
        is_sent = isinstance(self.lineage.transport, HttpLineage)
        if is_sent and self.engine.kind is EngineKind.SAIL and not self.engine.shared_network:
            raise ValueError(
                "lineage.transport: the embedded engine has no network but its own; write a file, and send it afterwards, "
                "or set engine.shared_network"
            )
        return self

    @model_validator(mode="after")
    def identity_is_apart(self) -> Self:
        """Refuse the key and identifiable rows below the de-identified root, where who may enter it may read everything."""
        places = {"engine.scratch_dir": self.engine.scratch_dir}
        if isinstance(self.key, FileSecret):
            places["key.path"] = self.key.path
        inside = [name for name, place in places.items() if place and is_inside(place, self.storage.deidentified)]
        if inside:
            raise ValueError(f"{', '.join(inside)}: may not be inside storage.deidentified, which others may read")
        return self

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings that decide the content of a release; engine, paths and secrets are left out."""
        content = self.model_dump(mode="json", include=_RESULT_SECTIONS, exclude=_STOPS_OR_COSTS)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def storage_paths(settings: Settings) -> Places:
    """Where the tables of an environment are. The session that catalogs are asked with is opened when it is first needed."""
    catalog = settings.storage.catalog
    if catalog is None:
        return table_folders(settings)
    from pipelines.engine import shared_session
    from pipelines.storage.catalog import CatalogTables

    return CatalogTables(
        identifiable=catalog.identifiable,
        deidentified=catalog.deidentified,
        prefix=catalog.schema_prefix,
        retention_days=catalog.retention_days,
        session_of=lambda: shared_session(settings.engine),
    )


def table_folders(settings: Settings) -> StoragePaths:
    """The folders of the tables of an environment. Raises ConfigError where tables have names in catalogs instead."""
    restricted, deidentified = settings.storage.restricted, settings.storage.deidentified
    if settings.storage.catalog is not None or not isinstance(deidentified, Path):
        raise ConfigError(
            "this command reads the files of tables, and storage.catalog says that tables are in catalogs; use views of the "
            "release there (nhs-omop publish --to catalog:SCHEMA)"
        )
    return StoragePaths(restricted, deidentified)


def load_settings(env: str, conf_dir: Path = PACKAGED_CONF_DIR, overrides: Iterable[str] = ()) -> Settings:
    """The settings of an environment.

    The limits of the gates are those of the packaged folder `quality`, then those of `conf_dir`, then those of the environment.
    Expectation suites are those of `conf_dir` unless another folder is named.
    `overrides` are `section.key=value` texts, the value in YAML. Raises ConfigError, which lists every fault.
    """
    content: dict[str, Any] = {}
    for folder in dict.fromkeys((PACKAGED_CONF_DIR.resolve(), conf_dir.resolve())):
        for path in sorted((folder / QUALITY).glob("*.yaml")):
            content = _merged(content, {"gates": _gate_policy(path)})
    of_files = {name: len(entries) for name, entries in content.get("gates", {}).items() if name in _ADDED}
    for path in (conf_dir / "base.yaml", conf_dir / f"{env}.yaml"):
        content = _merged(content, _read(path))
    for override in overrides:
        content = _merged(content, _nested(override))
    try:
        settings = Settings.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{env}.yaml over base.yaml: {_faults(error, of_files)}") from error
    if "expectations_dir" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"expectations_dir": conf_dir / EXPECTATIONS})


def environments(conf_dir: Path) -> str:
    """For messages: the environments of a folder of configuration."""
    known = sorted(found.stem for found in conf_dir.glob("*.yaml") if found.stem != "base")
    if not known:
        return f"there is none in {conf_dir}: make one with nhs-omop init, or give the folder with --conf-dir"
    return f"environments in {conf_dir}: {', '.join(known)}"


def _gate_policy(path: Path) -> dict[str, Any]:
    """The content of a file of limits or waivers. Raises ConfigError with every fault of it."""
    content = _read(path)
    try:
        GatePolicy.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_faults(error)}") from error
    return content


_LISTS = {
    "readers": "[analysts, statisticians]",
    "limits": "[{check: unique, allowed: 0.1}]",
    "waivers": "[{check: unique, reason: ..., owner: ..., until: 2026-12-31}]",
}
"""How a list is written that is not one of sources, by the name of its setting."""


def _said(kind: str, message: str, name: str) -> str:
    """What is said of a fault: not in pydantic's words where these name a type of Python, or an input, which is none here."""
    if kind == "extra_forbidden":
        return "there is no such setting; all are in docs/configuration.md"
    if kind != "tuple_type":
        return message
    return f"expected a list, written like {_LISTS.get(name, '[gp, acute]')}"


def _faults(error: ValidationError, read_before: Mapping[str, int] | None = None) -> str:
    """Every fault by its place. Of lists that are added to, places are counted from those entries that were read before."""
    lines = []
    for fault in error.errors():
        place = list(fault["loc"])
        if len(place) > 2 and place[0] == "gates" and isinstance(place[2], int):
            place[2] -= (read_before or {}).get(str(place[1]), 0)
        name = str(place[-1]) if place else ""
        lines.append(f"  {'.'.join(map(str, place)) or 'settings'}: {_said(fault['type'], fault['msg'], name)}")
    return counted(len(lines), "fault") + "\n" + "\n".join(lines)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; {environments(path.parent)}") from error
    except InvalidYamlError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected sections at the top level")
    return content


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`, section by section.

    A secret reference that names its kind replaces the whole reference.
    """
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not (name in _REFERENCES and "kind" in value):
            value = _merged(old, value)
        elif name in _ADDED and isinstance(old, list) and isinstance(value, list):
            value = [*old, *value]
        merged[name] = value
    return merged


def _nested(override: str) -> dict[str, Any]:
    names, separator, text = override.partition("=")
    if not separator or not names:
        raise ConfigError("--set takes section.key=value")
    try:
        value: Any = parse_yaml(text)
    except InvalidYamlError as error:
        raise ConfigError(f"--set {names}: {error}") from error
    for name in reversed(names.split(".")):
        value = {name: value}
    return dict(value)
