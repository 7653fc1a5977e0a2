"""What lies on a boundary, night after night in one lakehouse.

The rows are those written out in boundaries.yaml, and after the last night all tables are those of one full load.
"""

import csv
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.errors import OptOutInvalidError
from pipelines.nightly import nightly
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.terminology.vocabulary import load
from tests.builders.nights import Lake, Morning, Night, read_story
from tests.e2e.test_rerun import LOGS, multiset, state_of
from tests.e2e.test_vocabulary_change import MAP, change
from tests.e2e.world import DemoWorld
from vocab.load import DEMO_DIR

pytestmark = pytest.mark.deep

STORY = read_story(Path(__file__).with_name("boundaries.yaml"))

HYPERTENSION_IN_ICD10, ESSENTIAL_HYPERTENSION, HYPERTENSIVE_DISORDER = "45591453", "320128", "316866"

ZONES = ("curation", "quarantine", "silver", "intermediate", "omop", "vocabulary")

OF_LOADS, OF_EACH_LOAD = ("_load_id", "load_id"), "curation.file_columns"
"""Columns that say by which load something came, and a table about loads: a full load is one, the nights are several."""


@dataclass
class Nights:
    """The lakehouse after its last night, as it was set up for the others and for that one, and what was found after each."""

    lake: Lake
    last: Lake
    download: Path
    mornings: list[Morning]


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    folder = tmp_path_factory.mktemp("boundaries")
    lake = Lake(folder / "lake", STORY)
    lake.begin()
    load(lake.settings)
    *first, last = STORY.nights
    mornings = []
    for night in first:
        lake.receive(night)
        nightly(lake.settings, night.day)
        mornings.append(lake.look(night))
    download = with_another_target(shutil.copytree(DEMO_DIR, folder / "vocabulary"))
    mappings = shutil.copytree(PACKAGED_MAPPINGS_DIR, folder / "mappings")
    assert change(mappings / MAP, "status", "UNAPPROVED") == "HB"
    changed = Lake(lake.folder, STORY, (f"mappings_dir={mappings}",))
    load(changed.settings, download)
    changed.receive(last)
    nightly(changed.settings, last.day)
    yield Nights(lake, changed, download, [*mornings, changed.look(last)])


def with_another_target(download: Path) -> Path:
    """A vocabulary in which the code of ICD-10 for hypertension leads to the broader concept."""
    path = download / "CONCEPT_RELATIONSHIP.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    (row,) = [row for row in rows if row[:3] == [HYPERTENSION_IN_ICD10, ESSENTIAL_HYPERTENSION, "Maps to"]]
    row[1] = HYPERTENSIVE_DISORDER
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return download


@pytest.mark.parametrize("night", STORY.nights, ids=[f"{night.day}: {night.what}" for night in STORY.nights])
def test_the_rows_after_each_night(night: Night, nights: Nights) -> None:
    morning = next(found for found in nights.mornings if found.night is night)
    assert not morning.differences, "\n".join(morning.differences)
    assert morning.persons == night.persons


def test_the_tables_are_those_of_one_full_load(nights: Nights, tmp_path: Path) -> None:
    once = Lake(tmp_path / "once", STORY, nights.last.overrides)
    shutil.copytree(nights.lake.folder / "landing", once.folder / "landing")
    once.begin()
    load(once.settings, nights.download)
    nightly(once.settings, STORY.nights[-1].day)
    expected, found = (content_without_loads(DemoWorld(lake.folder)) for lake in (once, nights.lake))
    assert found.keys() == expected.keys()
    assert [name for name, rows in expected.items() if found[name] != rows] == []


def content_without_loads(world: DemoWorld) -> dict[str, Counter[tuple[object, ...]]]:
    """The rows of every table right of bronze, but for what tells loads apart, and the logs of what has changed."""
    stored = [(zone, table) for zone, table in world.tables(*ZONES) if not table.startswith(LOGS)]
    names = {f"{zone}.{table}": (zone, table) for zone, table in stored}
    return {
        name: multiset(world.rows(*place).drop(columns=[*OF_LOADS], errors="ignore"))
        for name, place in names.items()
        if name != OF_EACH_LOAD
    }


def test_two_lists_of_one_day_in_two_folders_are_refused(nights: Nights, tmp_path: Path) -> None:
    """Which of them is the newer one nobody can tell; nothing is changed."""
    lists = nights.lake.folder / "landing/optouts/local"
    day = STORY.nights[-1].day
    before = state_of(DemoWorld(nights.lake.folder))
    shutil.copytree(lists / f"{day:%Y%m%d}", lists / day.isoformat())
    try:
        with pytest.raises(OptOutInvalidError, match="are of the same day; leave the one that counts"):
            nightly(nights.last.settings, day)
    finally:
        shutil.rmtree(lists / day.isoformat())
    assert state_of(DemoWorld(nights.lake.folder)) == before
