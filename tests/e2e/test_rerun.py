"""Running again: without new input nothing changes, a full run gives the same, a new opt-out list makes a new release."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from jobs.publish import publish_release
from pipelines.errors import OptOutChangedError, OptOutStaleError
from pipelines.nightly import nightly, plan_run
from pipelines.progress import OnProgress, ignore_progress
from pipelines.release.published import chosen_release, pinned_tables, release_folder
from pipelines.run_log import RUNS
from pipelines.synthetic.generate import FIRST_NIGHT
from tests.builders.policies import AGAINST_WHAT_WAS_BEFORE
from tests.e2e.world import LAST_NIGHT, DemoWorld

KEPT_WHERE_EQUAL = ("care_site", "event_after_death", "location", "provider")
"""OMOP tables that are not written where they come out as they are stored, so that nothing which reads them is made again."""


@pytest.fixture
def copy(world: DemoWorld, tmp_path: Path) -> DemoWorld:
    """A copy of the lakehouse after its last night, to be changed."""
    return world.copied_to(tmp_path / "demo")


def state_of(world: DemoWorld) -> dict[str, str]:
    """Every file of both roots with the digest of its content, but for the list of runs, where every run leaves an entry."""
    files = [path for root in ("restricted", "deidentified") for path in (world.folder / root).rglob("*") if path.is_file()]
    files = [path for path in files if path.parent != world.folder / "restricted" / RUNS]
    return {str(path.relative_to(world.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


LOGS = ("changed_rows_", "touched_persons")
"""How the names of the logs begin: one full load has no changes."""


def content_of(world: DemoWorld, *zones: str) -> dict[str, Counter[tuple[object, ...]]]:
    """The rows of every table of some zones as multisets, but for the logs of what has changed."""
    stored = [(zone, table) for zone, table in world.tables(*zones) if not table.startswith(LOGS)]
    return {f"{zone}.{table}": multiset(world.rows(zone, table)) for zone, table in stored}


def multiset(rows: pd.DataFrame) -> Counter[tuple[object, ...]]:
    ordered = rows[sorted(rows.columns)].astype(object)
    return Counter(ordered.where(ordered.notna(), None).itertuples(index=False, name=None))


def test_running_again_plans_nothing_and_writes_nothing_at_all(copy: DemoWorld) -> None:
    """A new run date alone does not make a release."""
    before = state_of(copy)
    for day in (LAST_NIGHT, LAST_NIGHT + timedelta(days=3)):
        assert plan_run(copy.settings, day) == []
        outcome = nightly(copy.settings, day)
        assert (outcome.figures, outcome.release_id) == (None, copy.outcomes[-1].release_id)
        assert state_of(copy) == before, day


def test_the_tables_name_the_release_that_they_are_of(world: DemoWorld) -> None:
    metadata = world.rows("omop", "metadata").set_index("name")["value_as_string"]
    assert metadata["release"] == world.outcomes[-1].release_id
    assert metadata["extract of gp"] == LAST_NIGHT.isoformat()


@pytest.mark.deep
def test_a_full_run_gives_the_same_rows(copy: DemoWorld) -> None:
    loaded = ("bronze", "silver", "curation", "intermediate", "omop")
    versions = copy.versions()
    before = content_of(copy, *loaded)
    outcome = nightly(copy.settings, LAST_NIGHT, full=True)
    assert outcome.figures is not None
    assert outcome.release_id == f"{copy.outcomes[-1].release_id}-2" == release_folder(copy.settings).current()
    after = copy.versions()
    pins = {f"deidentified/omop/{pin.name}": pin.version for pin in chosen_release(copy.settings).tables if pin.zone == "omop"}
    assert pins == {name: after[name] for name in pins}
    unchanged = {name for name in versions if after[name] == versions[name]}
    kept = {name for name in versions if name.startswith("restricted/bronze/") or name.endswith("/register")}
    assert kept <= unchanged
    stored_again = {name for name in versions if name.startswith(("deidentified/silver/", "deidentified/omop/"))}
    assert stored_again & unchanged == {f"deidentified/omop/{name}" for name in KEPT_WHERE_EQUAL}
    full = content_of(copy, *loaded)
    assert full.keys() == before.keys()
    assert [name for name, rows in before.items() if rows != full[name]] == []
    for table in ("rows", "gates"):
        ledger = copy.rows("ledger", table)
        if table == "gates":  # each run is compared with another release
            ledger = ledger[~ledger["rule"].isin(AGAINST_WHAT_WAS_BEFORE)]
        last, rerun = sorted(ledger["run_id"].unique())[-2:]
        of_run = {run: multiset(ledger[ledger["run_id"] == run].drop(columns="run_id")) for run in (last, rerun)}
        assert of_run[last] == of_run[rerun], table


@pytest.mark.deep
def test_a_new_opt_out_list_makes_a_new_release(copy: DemoWorld) -> None:
    person, number = next(
        (row["person_id"], row["linked_number"])
        for row in copy.rows("curation", "link").to_dict("records")
        if row["person_id"] in set(copy.rows("omop", "person")["person_id"])
    )
    deliver_local_list(copy, f"{LAST_NIGHT + timedelta(days=1):%Y%m%d}", number)
    bronze = {name: version for name, version in copy.versions().items() if "/bronze/" in name or name.endswith("/register")}
    former = copy.outcomes[-1].release_id
    outcome = nightly(copy.settings, LAST_NIGHT + timedelta(days=1))
    assert outcome.release_id != former
    assert release_folder(copy.settings).current() == outcome.release_id
    assert {name: copy.versions()[name] for name in bronze} == bronze
    assert person not in set(copy.rows("omop", "person")["person_id"])
    assert published_people(copy, former) - published_people(copy, outcome.release_id) == {person}
    assert published_people(copy, outcome.release_id) <= published_people(copy, former)


def test_a_newer_list_that_comes_during_a_run_refuses_its_release(copy: DemoWorld) -> None:
    """The run makes the descriptions only, and the newer list has the same people: it is the newest list all the same."""
    day, former = LAST_NIGHT + timedelta(days=1), copy.outcomes[-1].release_id
    settings = copy.settings.model_copy(update={"cdm_holder": "Somebody else"})

    @contextmanager
    def stage(name: str, _total: int | None = None) -> Iterator[OnProgress]:
        if name == "make tables":
            deliver_local_list(copy, f"{day:%Y%m%d}")
        yield ignore_progress

    with pytest.raises(OptOutChangedError, match=r"have changed since the run read them.*local"):
        nightly(settings, day, show_stage=stage)
    assert release_folder(settings).current() == former
    released = nightly(settings, day).release_id
    assert released != former
    assert chosen_release(settings, released).opt_outs["local"] == day
    shutil.rmtree(copy.folder / f"landing/optouts/local/{day:%Y%m%d}")
    with pytest.raises(OptOutStaleError, match="older than the local list that the last run used"):
        nightly(settings, day)
    assert release_folder(settings).current() == released


def deliver_local_list(world: DemoWorld, day: str, *numbers: str) -> None:
    """The local list of the last night, with additional numbers, as that of a later day."""
    folder = world.folder / "landing/optouts/local"
    last = max(path for path in folder.iterdir())
    content = (last / "local.csv").read_text() + "".join(f"{number},2026-01-06\n" for number in numbers)
    (folder / day).mkdir()
    (folder / day / "local.csv").write_text(content)
    manifest = json.loads((last / "manifest.json").read_text())
    (file,) = manifest["files"]
    file |= {"rows": file["rows"] + len(numbers), "sha256": hashlib.sha256(content.encode()).hexdigest()}
    (folder / day / "manifest.json").write_text(json.dumps(manifest | {"as_at": f"{day[:4]}-{day[4:6]}-{day[6:]}"}))


def published_people(world: DemoWorld, release_id: str) -> set[int]:
    """The people of a release at its pinned version."""
    pinned = pinned_tables(world.settings, chosen_release(world.settings, release_id))["person"]
    return set(world.rows("omop", "person", ["person_id"], version=pinned.version)["person_id"])


def test_deliveries_after_the_run_date_wait(world: DemoWorld) -> None:
    days = Counter(manifest.parent.name for manifest in (world.folder / "landing").glob("[!o]*/*/*/manifest.json"))
    first, second = f"{FIRST_NIGHT:%Y%m%d}", f"{LAST_NIGHT:%Y%m%d}"
    assert set(days) == {first, second}
    taken = [outcome.figures["new_deliveries"] for outcome in world.outcomes if outcome.figures]
    assert taken == [days[first], days[second]]
    assert set(world.rows("curation", "register", ["folder"], version=0)["folder"]) == {first}
    assert set(world.rows("curation", "register", ["folder"])["folder"]) == {first, second}


def test_opt_out_lists_after_the_run_date_wait(world: DemoWorld) -> None:
    for night, outcome in zip((FIRST_NIGHT, LAST_NIGHT), world.outcomes, strict=True):
        assert set(chosen_release(world.settings, outcome.release_id).opt_outs.values()) == {night}


def test_every_release_stays_readable(world: DemoWorld, tmp_path: Path) -> None:
    rows = [publish_release(world.settings, tmp_path / "cdm.duckdb", outcome.release_id) for outcome in world.outcomes]
    assert world.outcomes[0].release_id != world.outcomes[1].release_id
    assert all(release["person"] > 100 and release["measurement"] > 1000 for release in rows)
    assert rows[0] != rows[1]
