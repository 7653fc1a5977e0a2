"""Everything that has to be right before a run may touch a table."""

import logging
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydantic import Field

from pipelines.columns.keyed import Pads
from pipelines.contracts.derived import published_tables
from pipelines.contracts.source import SourceContract, load_contracts
from pipelines.contracts.type_one import TypeOneCodes, load_type_one_codes
from pipelines.contracts.zones import Zone
from pipelines.errors import OPT_OUT_ERRORS, ConfigError, KeyChangedError, OptOutChangedError
from pipelines.governance.keys import Key, check_fingerprint, derive, hmac_pads, resolve_key
from pipelines.governance.opt_out_lists import OptOutFiles, OptOutPolicy, UsedList, days_delivered, read_opt_outs
from pipelines.mapping.analytes import Analytes, load_analytes
from pipelines.mapping.plausibility import Plausibility, load_plausibility
from pipelines.mapping.spec import Mapping, load_mappings
from pipelines.quality.expectations.suites import Expectation, known_columns, read_expectations, suite_files
from pipelines.release.published import release_folder
from pipelines.runner import BuildState
from pipelines.settings import Environment, Settings
from pipelines.storage.documents import Document, digest_of_files
from pipelines.terminology.vocabulary import DEMO_REFUSED, MAPS_FOLDER, LoadedVocabulary, vocabulary_path
from vocab.errors import VocabularyError
from vocab.local_maps import LocalMap, read_local_maps

log = logging.getLogger(__name__)

TYPE_ONE_SOURCE = "gp"
PURPOSES = ("row", "person")


class RestrictedState(Document):
    """What runs remember of the key and of the opt-out lists last used.

    The fingerprint of the key; by kind of list its as-at date and the number of people that it left out.
    """

    key_fingerprint: str | None = None
    opt_outs: dict[str, date] = Field(default_factory=dict)
    left_out: dict[str, int] = Field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class RunInputs:
    """What the checks before a run have read. `key_fingerprint` is a one-way mark of the key."""

    contracts: dict[str, SourceContract]
    mappings: dict[str, Mapping]
    plausibility: Plausibility
    analytes: Analytes
    rules_digest: str
    local_maps_digest: str
    local_maps: tuple[LocalMap, ...]
    pads: Pads
    key_fingerprint: str
    opt_outs: OptOutFiles
    type_one: TypeOneCodes | None
    vocabulary: LoadedVocabulary
    expectations: tuple[Expectation, ...] = ()
    expectations_digest: str = ""

    @property
    def key_id(self) -> str:
        """The short mark of the key that releases and parameters name."""
        return _key_id(self.key_fingerprint)


def _key_id(fingerprint: str) -> str:
    return fingerprint[:8]


def build_state_path(settings: Settings) -> Path:
    """The document that remembers what every table was made from: below the restricted root."""
    return settings.storage.restricted / "build_state.json"


def state_path(settings: Settings) -> Path:
    """Where the key's fingerprint and what is remembered of the opt-out lists last used are kept: below the restricted root."""
    return settings.storage.restricted / "state.json"


def read_run_inputs(settings: Settings, run_date: date) -> RunInputs:
    """Check contracts, mappings, expectation suites, key, opt-out lists and vocabulary, in this order; nothing is written.

    Raises the error of the first that fails, each with an exit code of its own.
    """
    contracts = load_contracts(settings.mappings_dir, settings.run.sources)
    mappings = load_mappings(settings.mappings_dir, contracts)
    plausibility = load_plausibility(settings.mappings_dir)
    analytes = load_analytes(settings.mappings_dir)
    local_maps = read_local_maps(settings.mappings_dir / MAPS_FOLDER)
    expectations = read_expectations(
        settings.expectations_dir, known_columns(contracts, published_tables(settings.cdm_version))
    )
    key, fingerprint = _key(settings)
    return RunInputs(
        contracts=contracts,
        mappings=mappings,
        plausibility=plausibility,
        analytes=analytes,
        rules_digest=_digest(settings.mappings_dir, "*.yaml"),
        local_maps_digest=_digest(settings.mappings_dir, "*.csv"),
        local_maps=local_maps,
        pads=Pads({purpose: hmac_pads(derive(key, purpose)) for purpose in PURPOSES}),
        key_fingerprint=fingerprint,
        opt_outs=newest_opt_outs(settings, run_date),
        type_one=_type_one(settings, contracts),
        vocabulary=loaded_vocabulary(settings),
        expectations=expectations,
        expectations_digest=digest_of_files({path.name: path for path in suite_files(settings.expectations_dir)}),
    )


def store_key_fingerprint(settings: Settings, fingerprint: str) -> None:
    """Store the fingerprint of the key before its first pseudonym is written."""
    _remember(settings, _remembered(settings).model_copy(update={"key_fingerprint": fingerprint}))


def store_lists_used(settings: Settings, lists: OptOutFiles) -> None:
    """Remember the lists that a release uses: an older list, or one much shorter, is refused from then on."""
    dates = {facts.kind: facts.as_at for facts in lists.facts}
    left_out = {facts.kind: facts.left_out for facts in lists.facts}
    _remember(settings, _remembered(settings).model_copy(update={"opt_outs": dates, "left_out": left_out}))


def lists_used(settings: Settings) -> dict[str, date]:
    """The as-at date of the opt-out lists that were last used, by kind."""
    return _remembered(settings).opt_outs


def check_lists_unchanged(settings: Settings, run_date: date, used: OptOutFiles) -> None:
    """Check that the lists which a run has used are still the newest: in the landing folder, and of all runs.

    Raises OptOutChangedError where one of them is not: releasing would undo the choices of a newer list.
    """
    try:
        now = newest_opt_outs(settings, run_date)
    except (*OPT_OUT_ERRORS, ConfigError) as error:
        raise OptOutChangedError(f"{_CHANGED}: {error}") from error
    changed = [facts.kind for facts, before in zip(now.facts, used.facts, strict=True) if facts != before]
    if changed:
        raise OptOutChangedError(f"{_CHANGED}: {', '.join(changed)}. Run again, with the lists as they are now")


_CHANGED = "opt-out lists have changed since the run read them, and nothing is released"


def _state(settings: Settings) -> RestrictedState:
    return RestrictedState.read(state_path(settings)) or RestrictedState()


def _remembered(settings: Settings) -> RestrictedState:
    """What is remembered of key and lists; of each kind of list the newest that the restricted root or a release names.

    The document of the restricted root can be lost, or older than the releases, as after a restore.
    """
    state = _state(settings)
    newest = dict(state.opt_outs)
    for release in release_folder(settings).oldest_first():
        newest |= {kind: max(as_at, newest.get(kind, as_at)) for kind, as_at in release.opt_outs.items()}
    return state.model_copy(update={"opt_outs": newest})


def _remember(settings: Settings, state: RestrictedState) -> None:
    if state != RestrictedState.read(state_path(settings)):
        state.write(state_path(settings))


def _digest(folder: Path, pattern: str) -> str:
    return digest_of_files({path.relative_to(folder).as_posix(): path for path in folder.rglob(pattern)})


def known_key(settings: Settings) -> str:
    """The first characters of the fingerprint of the configured key, and whether tables here were made with it.

    Raises KeyMissingError where there is no usable key, KeyChangedError where tables were made with another.
    """
    _, fingerprint = _key(settings)
    said = "" if _keys_in_use(settings) else "; nothing is made with it yet"
    return f"{settings.key.kind}, fingerprint {_key_id(fingerprint)}{said}"


def _key(settings: Settings) -> tuple[Key, str]:
    """The key and its fingerprint, which is that of the tables and of every release that is there."""
    in_use = _keys_in_use(settings)
    first = next(iter(in_use.values()), None)
    key = resolve_key(settings.key, production=settings.environment is Environment.PRODUCTION, in_use=first)
    fingerprint = check_fingerprint(_state(settings).key_fingerprint, key)
    for made, key_id in in_use.items():
        if key_id != _key_id(fingerprint):
            raise KeyChangedError(
                f"the pseudonymisation key has the fingerprint {_key_id(fingerprint)}, and {made} was made with {key_id}. Put "
                "that key back, or, to rotate keys on purpose, start with empty storage roots: every id changes"
            )
    return key, fingerprint


def _keys_in_use(settings: Settings) -> dict[str, str]:
    """The mark of the key that was used, by what remembers it: the restricted root, and every release.

    Raises KeyChangedError where tables were made with a key that nothing remembers.
    """
    stored = _state(settings).key_fingerprint
    in_use = {str(state_path(settings)): _key_id(stored)} if stored else {}
    in_use |= {f"release {made.release_id}": made.key_id for made in release_folder(settings).oldest_first()}
    if not in_use and _has_pseudonyms(settings):
        raise KeyChangedError(
            f"{state_path(settings)} is gone, which says with what key the tables here were made: restore it from a backup. "
            f"Nothing was released, so you may remove {build_state_path(settings)} instead: then a run makes everything again"
        )
    return in_use


def _has_pseudonyms(settings: Settings) -> bool:
    """Whether a run has made tables with a key."""
    state = BuildState.read(build_state_path(settings)) or BuildState()
    return any(name.startswith(f"{Zone.SILVER}.") for name in state.tables)


def newest_opt_outs(settings: Settings, run_date: date) -> OptOutFiles:
    """The opt-out lists that a run on a day would use. Raises one of OPT_OUT_ERRORS where one may not be used."""
    policy, state = settings.opt_outs, _remembered(settings)
    band = policy.national_share
    limits = OptOutPolicy(policy.max_age_days, band.least, band.most, policy.max_shrinkage)
    last_used = {kind: UsedList(as_at, state.left_out.get(kind)) for kind, as_at in state.opt_outs.items()}
    return read_opt_outs(settings.storage.landing, limits, run_date, last_used, date.today())


def warn_of_later_lists(settings: Settings, run_date: date) -> None:
    """Warn of choices that are known already and that the release of a run for an earlier day will not have.

    Not in the demo, whose nights are generated before they are run.
    """
    today = date.today()
    if run_date >= today or settings.environment is Environment.DEMO:
        return
    later = [kind for kind, day in days_delivered(settings.storage.landing, today).items() if day > run_date]
    if later:
        log.warning(
            "newer opt-out lists have come than those of the run date %s (%s), and the release will show the people whom only "
            "they name; run without --date to leave them out",
            run_date,
            ", ".join(later),
        )


def _type_one(settings: Settings, contracts: dict[str, SourceContract]) -> TypeOneCodes | None:
    if TYPE_ONE_SOURCE not in contracts:
        return None
    return load_type_one_codes(settings.mappings_dir / settings.opt_outs.type1_codes, contracts[TYPE_ONE_SOURCE])


def loaded_vocabulary(settings: Settings) -> LoadedVocabulary:
    """The vocabulary that a run would use. Raises VocabularyError where there is none, another one, or a demo in production."""
    loaded = LoadedVocabulary.read(vocabulary_path(settings))
    if loaded is None:
        raise VocabularyError("no vocabulary is loaded; load one with: nhs-omop vocab load [DIR of an Athena download]")
    if loaded.is_demo and settings.environment is Environment.PRODUCTION:
        raise VocabularyError(DEMO_REFUSED)
    wanted = settings.vocabulary.version
    if wanted and loaded.release != wanted:
        raise VocabularyError(f"vocabulary {wanted} is configured, {loaded.release} is loaded; load the configured one")
    return loaded
