"""One root of a lakehouse older than the other, as after a restore of a part: what the other remembers counts."""

from datetime import date
from pathlib import Path

import pytest

from pipelines.errors import KeyChangedError, KeyMissingError, OmopPipelineError, OptOutStaleError, ReleaseError
from pipelines.governance.keys import fingerprint, new_key_file
from pipelines.nightly import nightly
from pipelines.release.model import Release
from pipelines.release.published import chosen_release, release_folder
from pipelines.run_inputs import (
    RestrictedState,
    build_state_path,
    known_key,
    lists_used,
    newest_opt_outs,
    state_path,
    store_key_fingerprint,
)
from pipelines.run_log import last_runs
from pipelines.runner import BuildState, BuiltTable
from pipelines.settings import Settings
from pipelines.synthetic.demo_key import DEMO_KEY
from tests.builders.landing import opt_out_lists
from tests.builders.publications import RELEASE
from tests.builders.runs import settings_in

DAY = date(2026, 1, 7)
MADE = BuiltTable(recipe="r", parameters="p", inputs={}, version=0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A lakehouse with a key of its own."""
    new_key_file(tmp_path / "key", DEMO_KEY)
    return settings_in(tmp_path, f"key={{kind: file, path: {tmp_path / 'key'}}}")


def released(settings: Settings, **facts: object) -> Release:
    """A release that is stored, and is current."""
    folder = release_folder(settings)
    release = folder.write(RELEASE.model_copy(update=facts))
    folder.point_at(release.release_id, action="release", at="t")
    return release


def test_the_number_of_a_run_is_after_those_of_all_releases(settings: Settings) -> None:
    """Else the release that it makes would be older than one that rests on newer opt-outs, and be shown without a question."""
    for run_id in ("20260107-00003", "20260106-00002"):
        released(settings, release_id=f"{run_id[:8]}-a", run_id=run_id)
    for number in (4, 5):
        with pytest.raises(OmopPipelineError):  # nothing is there to load
            nightly(settings, DAY)
        assert last_runs(settings.storage.restricted)[-1].record.run_id == f"20260107-{number:05}"


MARK = fingerprint(DEMO_KEY)[:8]


@pytest.mark.parametrize(
    ("remembered", "made_with", "said"),
    [
        (False, [], f"file, fingerprint {MARK}; nothing is made with it yet"),
        (True, [], f"file, fingerprint {MARK}"),
        (False, [MARK], f"file, fingerprint {MARK}"),
        (True, [MARK, MARK], f"file, fingerprint {MARK}"),
        (
            False,
            ["0a0a0a0a"],
            f"the key has the fingerprint {MARK}, and release 20240105-0 was made with 0a0a0a0a. Put",
        ),
        (True, [MARK, "0a0a0a0a"], f"the key has the fingerprint {MARK}, and release 20240105-1 was made with 0a0a0a0a. Put"),
    ],
)
def test_the_key_is_that_of_every_release_whatever_the_restricted_root_remembers(
    settings: Settings, remembered: bool, made_with: list[str], said: str
) -> None:
    if remembered:
        RestrictedState(key_fingerprint=fingerprint(DEMO_KEY)).write(state_path(settings))
    for number, key_id in enumerate(made_with):
        released(settings, release_id=f"20240105-{number}", run_id=f"20240105-{number}", key_id=key_id)
    try:
        found = known_key(settings)
    except KeyChangedError as error:
        found = str(error).replace("pseudonymisation ", "")
    assert found.startswith(said)
    assert "; nothing" in said or "; nothing" not in found


@pytest.mark.parametrize(("table", "is_refused"), [("bronze.gp_patient", False), ("silver.gp_patient", True)])
def test_tables_whose_key_nothing_remembers_stop_a_run(settings: Settings, table: str, is_refused: bool) -> None:
    BuildState(tables={table: MADE}).write(build_state_path(settings))
    if is_refused:
        with pytest.raises(KeyChangedError, match=r"state\.json is gone, .*: restore it from a backup\. Nothing was released"):
            known_key(settings)
    store_key_fingerprint(settings, fingerprint(DEMO_KEY))
    assert known_key(settings) == f"file, fingerprint {MARK}"


@pytest.mark.parametrize(
    ("remembered", "of_releases", "newest"),
    [
        ({}, [], {}),
        ({}, [{"national": 6, "local": 5}, {"national": 5, "local": 5}], {"national": 6, "local": 5}),
        ({"national": 4, "objection": 2}, [{"national": 6}], {"national": 6, "objection": 2}),
        ({"national": 7}, [{"national": 6}], {"national": 7}),
    ],
)
def test_of_the_lists_that_either_root_remembers_the_newest_counts(
    tmp_path: Path, settings: Settings, remembered: dict[str, int], of_releases: list[dict[str, int]], newest: dict[str, int]
) -> None:
    def dated(days: dict[str, int]) -> dict[str, date]:
        return {kind: date(2026, 1, day) for kind, day in days.items()}

    if remembered:
        RestrictedState(opt_outs=dated(remembered)).write(state_path(settings))
    for number, days in enumerate(of_releases):
        released(settings, release_id=f"20240105-{number}", run_id=f"20240105-{number}", opt_outs=dated(days))
    assert lists_used(settings) == dated(newest)
    opt_out_lists(tmp_path / "landing", "20260105", ["9990000018"], ["9990000018", "9990000026"])
    if newest.get("national", 0) > 5:
        with pytest.raises(OptOutStaleError, match="older than the national list that the last run used; fetch the newest one"):
            newest_opt_outs(settings, DAY)
    else:
        assert {facts.as_at for facts in newest_opt_outs(settings, DAY).facts} == {date(2026, 1, 5)}
    store_key_fingerprint(settings, "ab")  # and what is written then has not lost any
    assert RestrictedState.read(state_path(settings)) == RestrictedState(key_fingerprint="ab", opt_outs=dated(newest))


@pytest.mark.parametrize("remembers", ["nothing", "restricted", "release"])
def test_where_a_key_is_in_use_a_lost_one_has_to_come_back(tmp_path: Path, settings: Settings, remembers: str) -> None:
    if remembers == "restricted":
        RestrictedState(key_fingerprint=fingerprint(DEMO_KEY)).write(state_path(settings))
    if remembers == "release":
        released(settings, key_id=MARK)
    (tmp_path / "key").unlink()
    put_back = f"What is here was made with the key of fingerprint {MARK}: put that one back, another is refused$"
    step = "To begin, make one with: nhs-omop key new --out FILE$" if remembers == "nothing" else put_back
    with pytest.raises(KeyMissingError, match=f"no pseudonymisation key: .* {step}"):
        known_key(settings)


def test_a_pointer_that_is_lost_is_said_and_none_is_made_in_its_place(settings: Settings) -> None:
    """Else the next run would begin a new one, and a rollback would no longer hold."""
    folder = release_folder(settings)
    assert folder.current() is None
    folder.write(RELEASE)  # a first run that is killed before readers see its release
    assert folder.current() is None
    folder.point_at(RELEASE.release_id, action="rollback", at="t", reason="r")
    pointer = Path(str(folder.root)) / "current"
    pointer.unlink()
    lost = r"releases/current is gone, .* whether a rollback holds: restore it from a backup\. Without one write .* into it"
    for read in (lambda: chosen_release(settings), folder.held_rollback, folder.current):
        with pytest.raises(ReleaseError, match=lost):
            read()
    with pytest.raises(ReleaseError, match=lost):
        folder.point_at(RELEASE.release_id, action="release", at="t")
    folder.write(RELEASE.model_copy(update={"release_id": "20240106-b"}))
    assert not pointer.exists()
    pointer.write_text('{"form": 1, "moves": []}')
    assert folder.current() is None
