"""What upkeep keeps and what it lets go, on numbers alone."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.release.published import release_folder
from pipelines.run_log import RUNS, RunRecord, run_documents
from pipelines.settings import Settings, UpkeepSettings
from pipelines.storage.maintenance import TARGET_BYTES, Commit, DeltaFacts, executor_for
from pipelines.upkeep.keeping import keep_up, would_do
from pipelines.upkeep.policy import (
    Upkept,
    files_saved,
    has_its_turn,
    last_write,
    newest_at,
    older_runs,
    runs_to_drop,
    versions_to_keep,
    why_kept,
)
from tests.builders.publications import RELEASE

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
IDS = ["20260101-aa", "20260102-bb", "20260103-cc", "20260104-dd"]


def commits(*hours_ago: float) -> list[Commit]:
    """Versions from 0 on that were written some hours ago, the newest first."""
    written = [
        Commit(version, NOW - timedelta(hours=ago), is_whole=True, is_upkeep=False) for version, ago in enumerate(hours_ago)
    ]
    return written[::-1]


def facts(*partitions: tuple[int, ...]) -> DeltaFacts:
    """A table whose partitions have files of some MiB."""
    sizes: dict[tuple[object, ...], tuple[int, ...]] = {
        (place,): tuple(size * 2**20 for size in files) for place, files in enumerate(partitions)
    }
    return DeltaFacts(version=9, partitioned_by=("load",), sizes=sizes, keeps_log=True)


@pytest.mark.parametrize(
    ("keep", "current", "held", "dropped"),
    [
        (4, "20260104-dd", (), ()),
        (9, "20260104-dd", (), ()),
        (2, "20260104-dd", (), ("20260101-aa", "20260102-bb")),
        (1, "20260104-dd", (), ("20260101-aa", "20260102-bb", "20260103-cc")),
        (1, "20260102-bb", (), ("20260101-aa", "20260103-cc")),  # a rollback holds it
        (1, "20260104-dd", ("20260101-aa",), ("20260102-bb", "20260103-cc")),
        (1, None, (), ("20260101-aa", "20260102-bb", "20260103-cc")),
    ],
)
def test_the_newest_releases_the_current_and_the_held_ones_stay(
    keep: int, current: str | None, held: tuple[str, ...], dropped: tuple[str, ...]
) -> None:
    reasons = why_kept(IDS, current, held, keep)
    assert tuple(release_id for release_id, kept_for in reasons.items() if not kept_for) == dropped


def test_of_releases_of_one_day_the_last_that_was_made_is_the_newest() -> None:
    assert why_kept(["20260101-ff", "20260101-aa", "20260101-aa-2"], "20260101-ff", (), 1) == {
        "20260101-ff": ("current",),
        "20260101-aa": (),
        "20260101-aa-2": ("newest",),
    }


def test_every_reason_for_which_a_release_stays_is_given() -> None:
    assert why_kept(IDS, IDS[2], {IDS[0], IDS[2]}, 2) == {
        "20260101-aa": ("held",),
        "20260102-bb": (),
        "20260103-cc": ("current", "held", "newest"),
        "20260104-dd": ("newest",),
    }


def test_the_newest_runs_and_those_of_kept_releases_stay() -> None:
    runs = ["20260101-00001", "20260102-00002", "20260103-00003"]
    assert runs_to_drop(runs, {"20260101-00001"}, 1) == ("20260102-00002",)
    assert runs_to_drop(runs, (), 3) == ()
    assert runs_to_drop([], (), 3) == ()


def test_a_run_for_an_earlier_day_is_as_new_as_its_number() -> None:
    assert runs_to_drop(["20260103-00001", "20260104-00002", "20260101-00003"], (), 1) == ("20260103-00001", "20260104-00002")


@pytest.mark.parametrize(
    ("partitions", "saved"),
    [
        ((), 0),
        (((1,),), 0),
        (((1, 1, 1, 1),), 3),
        (((1, 1, 1), (1,), (1, 1)), 3),  # files of different partitions stay apart
        (((100, 100),), 0),  # more than one file of the target size
        (((200, 1, 1),), 1),  # the large one is left alone
        (((200, 300),), 0),
    ],
)
def test_files_are_put_together_within_partitions(partitions: tuple[tuple[int, ...], ...], saved: int) -> None:
    assert TARGET_BYTES == 128 * 2**20
    assert files_saved(facts(*partitions)) == saved


def test_the_last_write_is_the_last_commit_that_is_no_upkeep() -> None:
    upkeep = Commit(3, NOW, is_whole=False, is_upkeep=True)
    written = commits(3, 2, 1)
    assert last_write([upkeep, *written]) == written[0]
    assert last_write(written) == written[0]
    assert last_write([upkeep]) is None


@pytest.mark.parametrize(("hours", "newest"), [(100, 0), (30, 0), (29, 1), (24, 1), (20, 2), (1, 3), (0, 3)])
def test_the_version_that_was_the_newest_at_a_moment(hours: int, newest: int) -> None:
    assert newest_at(commits(48, 29.5, 20, 2), NOW - timedelta(hours=hours)) == newest


@pytest.mark.parametrize(
    ("former", "version", "readable"),
    [
        (Upkept(), 0, set()),
        (Upkept(), 3, {0, 1, 2}),
        (Upkept(version=2, kept=(0,)), 4, {0, 2, 3}),  # version 1 went before
        (Upkept(version=4, kept=(1,)), 4, {1}),
        (Upkept(version=9, kept=(4, 7)), 2, {0, 1}),  # its folder was removed and it was made anew
    ],
)
def test_the_versions_that_can_be_read(former: Upkept, version: int, readable: set[int]) -> None:
    assert former.readable(version) == readable


@pytest.mark.parametrize(
    ("needed", "young_from", "kept", "gone"),
    [
        (set(), 4, (), {0, 2, 3}),
        ({0, 1, 4}, 4, (0,), {2, 3}),
        (set(), 2, (2, 3), {0}),
        ({0}, 3, (0, 3), {2}),
        (set(), 0, (0, 2, 3), set()),
    ],
)
def test_versions_that_are_needed_or_young_stay(
    needed: set[int], young_from: int, kept: tuple[int, ...], gone: set[int]
) -> None:
    assert versions_to_keep({0, 2, 3}, needed, young_from) == (kept, frozenset(gone))


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)), st.integers(0, 30))
def test_no_readable_version_is_forgotten_and_none_that_is_needed_goes(
    readable: set[int], needed: set[int], young_from: int
) -> None:
    kept, gone = versions_to_keep(readable, needed, young_from)
    assert gone | set(kept) == readable
    assert not gone & (needed | set(range(young_from, 31)))


def test_a_table_has_its_turn_after_some_versions_or_when_some_can_go() -> None:
    assert not has_its_turn(Upkept(version=10), 14, {14})
    assert has_its_turn(Upkept(version=10), 15, range(16))
    assert has_its_turn(Upkept(version=10, kept=(1, 2, 3, 4, 5)), 10, {10})
    assert not has_its_turn(Upkept(version=10, kept=(1, 2, 3, 4, 5)), 10, {1, 10})


def test_runs_go_by_the_day_on_which_they_were_begun() -> None:
    begun = {"20260101-00002": date(2026, 3, 1), "20260131-00001": date(2026, 1, 31), "20260130-00003": date(2026, 1, 30)}
    assert older_runs(begun, date(2026, 3, 1), 30) == ()
    assert older_runs(begun, date(2026, 3, 2), 30) == ("20260130-00003",)
    assert older_runs(begun, date(2026, 3, 3), 30) == ("20260131-00001", "20260130-00003")
    assert older_runs(begun, date(2026, 3, 3), 31) == ("20260130-00003",)


def test_the_list_of_runs_keeps_the_newest_and_those_of_kept_releases(settings: Settings) -> None:
    settings = settings.model_copy(update={"upkeep": UpkeepSettings(keep_runs=2, keep_releases=1)})
    run_ids = [f"202601{day:02}-{day:05}" for day in range(1, 7)]
    for run_id in run_ids:
        record = RunRecord(run_id=run_id, run_date=date(2026, 1, 1), version="1.0", process=1, started=NOW)
        record.write(settings.storage.restricted / RUNS / f"{run_id}.json")
    folder = release_folder(settings)
    for run_id in (run_ids[0], run_ids[2]):
        folder.write(RELEASE.model_copy(update={"release_id": f"{run_id[:8]}-aaaaaaaa", "run_id": run_id}))
    folder.point_at("20260103-aaaaaaaa", action="release", at="2026-01-03")
    gone = ("20260101-00001", "20260102-00002", "20260104-00004")
    assert would_do(settings).runs == gone
    assert [path.stem for path in run_documents(settings.storage.restricted)] == run_ids
    assert keep_up(settings, executor_for(None)).runs == gone
    assert [path.stem for path in run_documents(settings.storage.restricted)] == [
        "20260103-00003",
        "20260105-00005",
        "20260106-00006",
    ]
    assert would_do(settings).runs == ()
