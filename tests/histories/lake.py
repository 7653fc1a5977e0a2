"""One lake in which the nights of a history are run, another that is built at once, and what differs between them."""

import csv
import random as randoms
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import OmopPipelineError, QualityGateError
from pipelines.nightly import nightly
from pipelines.quality.gates import GATE_TABLE
from pipelines.settings import Settings, load_settings, table_folders
from pipelines.storage.paths import StoragePaths
from pipelines.synthetic.demo_key import demo_key_file
from pipelines.terminology.vocabulary import load
from tests.builders.policies import AGAINST_WHAT_WAS_BEFORE, limit
from tests.histories.events import Event, History
from tests.histories.world import new_world, night_of
from vocab.load import DEMO_DIR

COMPARED = (Zone.CURATION, Zone.QUARANTINE, Zone.SILVER, Zone.INTERMEDIATE, Zone.OMOP, Zone.LEDGER, Zone.VOCABULARY)
"""Everything right of bronze."""

RUN = "run_id"
"""The column of tables that have the rows of every run: ledger and gates. Those of the newest run are compared."""

NOT_COMPARED_TABLES: Mapping[str, str] = {
    "ledger.failing_rows": "has rows of nights whose gates failed; the full build is of a night whose gates passed",
    "ledger.readable_values": "is made only while values are unreadable; what is left of it is read by nobody",
    "curation.file_columns": "is about loads: the full build has one, the nights have several",
    "curation.changed_rows_*": "names what each night changed; the full build changes nothing",
    "curation.touched_persons*": "names whom each night touched; the full build touches nobody",
}
"""Patterns of tables of runs, by the reason why two lakes differ in them."""

NOT_COMPARED_COLUMNS: Mapping[str, str] = {
    "_load_id": "names the load that took a delivery: the full build takes all in one",
    "load_id": "the same, in the register",
    RUN: "names the run, and counts the runs of a lake",
}
"""Columns of runs, by the reason why two lakes differ in them."""

_WIDE = (
    "opt_outs.national_share={least: 0, most: 1}",
    "opt_outs.max_shrinkage=1",
    "opt_outs.approval=a test",
    *(
        limit(check, 1)
        for check in ("mapped_share", "quarantined_share", "unreadable_share", "orphan_share", "unmatched_opt_outs")
    ),
    *(limit(check, 1) for check in ("*_lost", "mapped_share_fell", "mean_moved")),
    "deliveries={lost_column: ignore, empty_full: ignore, max_shrinkage: 1, max_more_empty: 1, max_malformed: 1}",
)
"""Thresholds out of the way: shares among a handful of people say nothing."""


def changed_download(folder: Path) -> Path:
    """The demonstration vocabulary as another release: every tenth code has no standard concept any more, and every fifth
    descendant is none."""
    shutil.copytree(DEMO_DIR, folder)
    random = randoms.Random(9)
    _without(folder / "CONCEPT_RELATIONSHIP.csv", lambda row: _maps_to_other(row) and random.random() < 0.1)
    _without(folder / "CONCEPT_ANCESTOR.csv", lambda row: row[0] != row[1] and random.random() < 0.2)
    return folder


def _maps_to_other(row: list[str]) -> bool:
    return row[2] == "Maps to" and row[0] != row[1]


def _without(path: Path, is_left_out: Callable[[list[str]], bool]) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n")
        writer.writerows([header, *(row for row in rows if not is_left_out(row))])


@dataclass(frozen=True)
class Vocabularies:
    """Downloads of two releases, and a folder with the tables of each as loaded, by whether it is the changed release."""

    downloads: Mapping[bool, Path]
    loaded: Mapping[bool, Path]


def load_vocabularies(folder: Path) -> Vocabularies:
    """Load both releases, once for all histories."""
    downloads = {False: DEMO_DIR, True: changed_download(folder / "changed")}
    loaded = {}
    for changed, download in downloads.items():
        place = folder / f"loaded_{changed}"
        load(_settings(place, {}), download)
        loaded[changed] = place / "deidentified" / "vocabulary"
    return Vocabularies(downloads, loaded)


RELEASED, UNCHANGED = "released", "unchanged"
"""How a night ends that no error stops: with a release, or without anything to do."""

MADE = (RELEASED, QualityGateError.__name__)
"""Ends of a night after which all tables are made; the gates look at them last."""


@dataclass(frozen=True)
class Ended:
    """How a night ended, by the name of the error that stopped it if there was one."""

    outcome: str
    day: date


def run(settings: Settings, day: date) -> str:
    """Run a night; how it ended."""
    try:
        return UNCHANGED if nightly(settings, day).figures is None else RELEASED
    except OmopPipelineError as error:
        return type(error).__name__


@dataclass(frozen=True)
class Difference:
    """One table of which the nights and the full build have different rows: how many only they and only it have, by rule."""

    table: str
    only_nights: Mapping[str, int]
    only_full: Mapping[str, int]
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Names and counts, no values."""
        parts = [f"{self.table}: only after the nights {dict(self.only_nights)}, only in the full build {dict(self.only_full)}"]
        return "".join([*parts, f"; other columns: {', '.join(self.columns)}" if self.columns else ""])


class NightByNight:
    """A history under way in one lake."""

    def __init__(self, history: History, folder: Path, vocabularies: Vocabularies) -> None:
        self.history = history
        self.vocabularies = vocabularies
        self.world = new_world(folder, randoms.Random(history.seed), history.sources, history.people)
        _prepare(folder, vocabularies, changed=False)
        self.made: Ended | None = None
        """How the last night ended that made tables."""
        self.last: Ended | None = None

    def run_night(self, night: int, events: tuple[Event, ...]) -> Ended:
        """What happens before a night, and the night."""
        world, day = self.world, night_of(night)
        changed, choices = world.changed_vocabulary, repr(world.choices)
        for event in events:
            event.happen(world, day)
        if not night or repr(world.choices) != choices:
            world.write_lists(day)
        settings = self._settings_in(world.folder)
        if world.changed_vocabulary != changed:
            load(settings, self.vocabularies.downloads[world.changed_vocabulary])
        self.last = Ended(run(settings, day), day)
        if self.last.outcome in MADE:
            self.made = self.last
        return self.last

    def against_full(self, folder: Path) -> list[str]:
        """What one full build of all that has come differs in, in a new folder; a text for each difference.

        It is the build of the day on which the tables were last made: a night without anything new does not change them. Where
        the gates refused those, and there is nothing new against the release before, there is nothing to compare them with.
        """
        ended = self.made if self.last and self.last.outcome == UNCHANGED else self.last
        if ended is None or (ended is not self.last and ended.outcome != RELEASED):
            return []
        _prepare(folder, self.vocabularies, changed=self.world.changed_vocabulary)
        shutil.copytree(self.world.landing, folder / "landing")
        shutil.copytree(self.world.mappings, folder / "mappings")
        for name in ("withdrawn.json", "accepted.json"):
            if (self.world.restricted / name).exists():
                shutil.copy(self.world.restricted / name, folder / "restricted")
        outcome = run(self._settings_in(folder), ended.day)
        if outcome != ended.outcome:
            return [f"the nights ended with {ended.outcome}, the full build with {outcome}"]
        return [str(found) for found in differences(self.world.folder, folder)] if outcome in MADE else []

    def _settings_in(self, folder: Path) -> Settings:
        chosen = {"run.sources": f"[{', '.join(self.history.sources)}]", "mappings_dir": str(folder / "mappings")}
        return _settings(folder, self.world.settings | chosen)


def _settings(folder: Path, chosen: Mapping[str, str]) -> Settings:
    places = [f"storage.{name}={folder / name}" for name in ("landing", "restricted", "deidentified")]
    key = f"key.path={folder / 'restricted' / 'demo.key'}"
    return load_settings("demo", overrides=[*places, key, *_WIDE, *(f"{name}={value}" for name, value in chosen.items())])


def _prepare(folder: Path, vocabularies: Vocabularies, *, changed: bool) -> None:
    """The key and the vocabulary, without which nothing runs."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "restricted").mkdir(mode=0o700)
    demo_key_file(folder / "restricted" / "demo.key")
    shutil.copytree(vocabularies.loaded[changed], folder / "deidentified" / "vocabulary")


def differences(nights: Path, full: Path) -> Iterator[Difference]:
    """Every table right of bronze of which two lakes have other rows."""
    lakes = [_tables(folder) for folder in (nights, full)]
    for name in sorted(set().union(*lakes)):
        if any(fnmatchcase(name, pattern) for pattern in NOT_COMPARED_TABLES):
            continue
        of_nights, of_full = (_rows(lake.get(name)) for lake in lakes)
        columns = tuple(sorted(f"{column} {kind}" for column, kind in set(of_nights.kinds) ^ set(of_full.kinds)))
        only_nights, only_full = of_nights.rows - of_full.rows, of_full.rows - of_nights.rows
        if columns or only_nights or only_full:
            yield Difference(name, of_nights.by_rule(only_nights), of_full.by_rule(only_full), columns)


def _tables(folder: Path) -> dict[str, Path]:
    paths: StoragePaths = table_folders(_settings(folder, {}))
    zones = {zone: Path(paths.path(zone, "any")).parent for zone in COMPARED}
    return {
        str(TableName(zone, log.parent.name)): log.parent for zone, place in zones.items() for log in place.glob("*/_delta_log")
    }


Kinds = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Rows:
    kinds: Kinds
    rows: Counter[tuple[object, ...]]

    def by_rule(self, rows: Counter[tuple[object, ...]]) -> dict[str, int]:
        """How many of some rows there are, by source, entity and mapping rule where the table has them."""
        names = [name for name, _ in self.kinds]
        places = [names.index(name) for name in _NAMING if name in names]
        counts = Counter[str]()
        for row, number in rows.items():
            counts["/".join(str(row[place]) for place in places) or "rows"] += number
        return dict(counts)


_NAMING = ("source", "_source", "entity", "_entity", "_rule", "disposition", "reason")


def _rows(place: Path | None) -> _Rows:
    if place is None:
        return _Rows((), Counter())
    table: pa.Table = DeltaTable(str(place)).to_pyarrow_table()
    if RUN in table.column_names and table.num_rows:
        table = table.filter(pc.equal(table[RUN], pc.max(table[RUN])))
    if place.name == GATE_TABLE:  # of a full build nothing was before
        table = table.filter(pc.invert(pc.is_in(table["rule"], pa.array(AGAINST_WHAT_WAS_BEFORE))))
    kept = table.select(sorted(name for name in table.column_names if name not in NOT_COMPARED_COLUMNS))
    columns = [column.to_pylist() for column in kept.columns]
    kinds = tuple((field.name, str(field.type)) for field in kept.schema)
    return _Rows(kinds, Counter(zip(*columns, strict=True)))
