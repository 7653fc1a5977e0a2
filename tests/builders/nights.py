"""Nights of one lakehouse as written in YAML: what comes before each of them, and the rows that each person then has.

The rows are written as those of golden patients (tests/golden/README.md), by person; `_delivered` is the day of the folder,
by default that of the night, and `_mode` how the delivery is meant. `$nhs_<name>` is the NHS number of another person. `again`
names deliveries that come once more, in a folder of the day. A person who is not named under `expect` has the rows of the night
before, a table that is not named under a person has none.
"""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from deltalake import DeltaTable

from jobs.demo import demo_settings
from pipelines.contracts.zones import RESTRICTED_ZONES, Zone
from pipelines.ingest.landing import MANIFEST
from pipelines.settings import Settings
from pipelines.synthetic.demo_key import demo_key_file
from pipelines.synthetic.nhs_numbers import valid_numbers
from tests.builders.landing import deliver, opt_out_lists
from tests.builders.policies import limit
from tests.golden.cases import BASE_LOADER, Case, Delivered, delivered_row, expected_rows, golden_contracts, shared_rows
from tests.golden.lakehouse import Published, published

TABLES = (
    "person",
    "visit_occurrence",
    "condition_occurrence",
    "drug_exposure",
    "measurement",
    "observation_period",
    "death",
)
"""The tables that are looked at after each night. One that is not named for a person has no rows of it."""

FIRST_NUMBER = 100
"""Index of the first person's number in the test range; earlier numbers are on the opt-out lists."""

Rows = Counter[tuple[tuple[str, object], ...]]


@dataclass(frozen=True)
class Night:
    """What comes on a day, and what is expected after it.

    `rows` are delivered rows, each with the mode of its delivery, `again` the folders of deliveries that come once more,
    `opted_out` the names on the local opt-out list; `persons` is how many persons are published, the crowd left out.
    """

    day: date
    what: str
    rows: tuple[tuple[Delivered, str], ...]
    again: tuple[str, ...]
    opted_out: tuple[str, ...]
    persons: int
    expect: tuple[Case, ...]


@dataclass(frozen=True)
class Story:
    """Some people by name with their NHS numbers, a crowd beside them to whom nothing happens, and nights in order."""

    people: Mapping[str, str]
    crowd: Mapping[str, str]
    nights: tuple[Night, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that anything comes from."""
        return tuple(sorted({row.source for night in self.nights for row, _ in night.rows}))


def read_story(path: Path) -> Story:
    """A story; an error about its form names the night."""
    written = yaml.load(path.read_text(encoding="utf-8"), Loader=BASE_LOADER)
    crowd = [f"crowd{place}" for place in range(int(written.get("crowd", 0)))]
    names = [*written["people"], *crowd]
    numbers = dict(zip(names, map(str, valid_numbers()[FIRST_NUMBER : FIRST_NUMBER + len(names)]), strict=True))
    first, *later = written["nights"]
    given = first["given"] | dict.fromkeys(crowd, written.get("everybody", {}))
    nights: list[Night] = []
    expected: dict[str, Any] = {}
    for night in [first | {"given": given}, *later]:
        expected |= night["expect"]
        nights.append(_night(night | {"expect": expected}, numbers, path))
    return Story({name: numbers[name] for name in written["people"]}, {name: numbers[name] for name in crowd}, tuple(nights))


def _night(written: Mapping[str, Any], numbers: Mapping[str, str], path: Path) -> Night:
    day, others = date.fromisoformat(written["day"]), {f"nhs_{name}": number for name, number in numbers.items()}
    rows = []
    for name, entities in written.get("given", {}).items():
        mine = {"nhs": numbers[name], "local": name} | others
        for place, listed in entities.items():
            source, _, entity = place.partition(".")
            for row in listed:
                values = {column: value for column, value in row.items() if column != "_mode"}
                rows.append((delivered_row((source, entity), values, mine, day), row.get("_mode", "delta")))
    cases = [
        Case(
            source=path.parent.name,
            topic=path.stem,
            title=f"{name} on {day}, {written['what']}",
            rules=(),
            nhs_number=numbers[name],
            local_id=name,
            rows=(),
            expect=dict.fromkeys(TABLES, ()) | expected_rows(expected),
            digest="",
        )
        for name, expected in written["expect"].items()
    ]
    return Night(
        day=day,
        what=written["what"],
        rows=tuple(rows),
        again=tuple(written.get("again", ())),
        opted_out=tuple(written.get("opted_out", ())),
        persons=int(written["persons"]),
        expect=tuple(cases),
    )


@dataclass(frozen=True)
class Lake:
    """A landing folder and a lakehouse in one folder, with the sources of a story; `overrides` change the settings."""

    folder: Path
    story: Story
    overrides: tuple[str, ...] = ()

    @property
    def settings(self) -> Settings:
        """The demo's settings with all of the folder's own, and gates that so few rows can pass."""
        own = [f"run.sources=[{', '.join(self.story.sources)}]", limit("orphan_share", 1), limit("mapped_share", 0.5)]
        return demo_settings(self.folder, [*own, *self.overrides])

    def begin(self) -> None:
        """Make the key."""
        demo_key_file(self.folder / "restricted" / "demo.key")

    def receive(self, night: Night) -> None:
        """Put into the landing folder what comes on a day. The rows that are about nobody come with the first."""
        landing, is_first = self.folder / "landing", night == self.story.nights[0]
        deliveries: dict[tuple[str, str, date, str], dict[str, list[Mapping[str, str]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for row, mode in night.rows:
            deliveries[row.source, row.provider, row.day, mode][row.entity].append(row.values)
        for (of_source, *_), tables in deliveries.items():
            for source, entity, values in shared_rows() if is_first else ():
                if of_source == source:
                    tables[entity].append(values)
        for (source, provider, day, mode), tables in sorted(deliveries.items()):
            deliver(landing, golden_contracts()[source], provider, f"{day:%Y%m%d}", tables, mode)
        for former in night.again:
            folder = shutil.copytree(landing / former, (landing / former).with_name(f"{night.day:%Y%m%d}"))
            manifest = json.loads((folder / MANIFEST).read_text())
            (folder / MANIFEST).write_text(json.dumps(manifest | {"extract_date": night.day.isoformat()}))
        self.list_opted_out(night.day, night.opted_out)

    def list_opted_out(self, day: date, names: tuple[str, ...]) -> None:
        """The lists of a day, in place of those that it has: the national one keeps everybody, some are on the local one.

        People whom nobody knows are on each.
        """
        for folder in (self.folder / "landing/optouts").glob(f"*/{day:%Y%m%d}"):
            shutil.rmtree(folder)
        numbers = {**self.story.people, **self.story.crowd}
        unknown = [str(number) for number in valid_numbers()[:20]]
        listed = [*unknown[:5], *(numbers[name] for name in names)]
        refused = [(unknown[5], "", "", "refused")]
        opt_out_lists(
            self.folder / "landing", f"{day:%Y%m%d}", list(numbers.values()), [*numbers.values(), *unknown], listed, refused
        )

    def read(self, zone: Zone, name: str) -> list[dict[str, Any]]:
        """The rows of a table as it is now."""
        root = "restricted" if zone in RESTRICTED_ZONES else "deidentified"
        found: list[dict[str, Any]] = DeltaTable(str(self.folder / root / zone / name)).to_pyarrow_table().to_pylist()
        return found

    def look(self, night: Night) -> "Morning":
        """What there is of the people of the story."""
        found = published(self.read, night.expect)
        rows = {case.local_id: dict(_whole_rows(found, case)) for case in night.expect}
        differences = [line for case in night.expect for line in [*_headed(case, found.differences(case))]]
        return Morning(night, differences, rows, len(found.tables["person"]) - len(self.story.crowd))


@dataclass(frozen=True)
class Morning:
    """What was found after a night: differences from what is expected, the whole rows of each person by table, the persons."""

    night: Night
    differences: list[str]
    rows: Mapping[str, Mapping[str, Rows]]
    persons: int


def _headed(case: Case, differences: list[str]) -> list[str]:
    return [f"{case.title}:", *differences] if differences else []


def _whole_rows(found: Published, case: Case) -> Iterator[tuple[str, Rows]]:
    for table in TABLES:
        yield table, Counter(tuple(sorted(row.items())) for row in found.rows_of(case, table))
