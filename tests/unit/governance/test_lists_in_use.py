"""The lists that a run has used: a release needs them to be the newest still, and an older one is never used again."""

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from jobs.status import opt_out_lists as opt_out_lists_now
from pipelines.errors import OptOutChangedError
from pipelines.governance.opt_out_lists import read_opt_outs
from pipelines.run_inputs import RestrictedState, check_lists_unchanged, state_path, store_lists_used, warn_of_later_lists
from pipelines.settings import Settings
from tests.builders.landing import opt_out_lists
from tests.builders.runs import POLICY, settings_in

ANNA, BEN, CARL = "9990000018", "9990000026", "9990000034"
DAY = date(2026, 1, 26)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A lakehouse with lists of one day."""
    opt_out_lists(tmp_path / "landing", "20260120", [ANNA, BEN], [ANNA, BEN, CARL])
    return settings_in(tmp_path)


def landing_of(settings: Settings) -> Path:
    """The landing folder, which is on this machine."""
    return Path(str(settings.storage.landing))


def newer_list(settings: Settings) -> None:
    opt_out_lists(landing_of(settings) / "newer", "20260126", [ANNA, BEN], [ANNA, BEN, CARL], local=[ANNA, BEN])
    kinds = landing_of(settings) / "optouts"
    (landing_of(settings) / "newer/optouts/local/20260126").rename(kinds / "local" / "2026-01-26")


def other_content(settings: Settings) -> None:
    shutil.rmtree(landing_of(settings) / "optouts")
    opt_out_lists(landing_of(settings), "20260120", [ANNA], [ANNA, BEN, CARL])


def removed(settings: Settings) -> None:
    shutil.rmtree(landing_of(settings) / "optouts/objection/20260120")


def damaged(settings: Settings) -> None:
    (landing_of(settings) / "optouts/national/20260120/response.dat").write_text("")


def unknown_folder(settings: Settings) -> None:
    (landing_of(settings) / "optouts/local/latest").mkdir()


def another_run(settings: Settings) -> None:
    RestrictedState(opt_outs={"national": date(2026, 1, 21)}).write(state_path(settings))


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (newer_list, "local"),
        (other_content, "national"),
        (removed, "the objection opt-out list is missing"),
        (damaged, "is empty"),
        (unknown_folder, "not understood"),
        (another_run, "older than the national list that the last run used"),
    ],
)
def test_a_change_of_the_lists_refuses_the_release(settings: Settings, happens: Callable[[Settings], None], said: str) -> None:
    used = read_opt_outs(settings.storage.landing, POLICY, DAY)
    check_lists_unchanged(settings, DAY, used)
    happens(settings)
    with pytest.raises(OptOutChangedError, match=f"have changed since the run read them, and nothing is released.*{said}"):
        check_lists_unchanged(settings, DAY, used)


@pytest.mark.parametrize(
    ("delivered", "today", "shown", "next_step"),
    [
        ("20260120", date(2026, 1, 26), ("2026-01-20", "2026-01-20", 6), None),
        ("20260120", date(2026, 2, 8), ("2026-01-20", "2026-01-20", 19), "fetch a new one within 2 days"),
        ("20260120", date(2026, 2, 11), ("2026-01-20", "2026-01-20", 22), "too old: fetch a new one, a run stops without it"),
        # Nights fail for another reason: the newest list has come and no release uses it yet.
        ("20260210", date(2026, 2, 11), ("2026-01-20", "2026-02-10", 1), "nhs-omop run: it uses the one that was delivered"),
        ("20260212", date(2026, 2, 11), ("2026-01-20", "", 22), "too old: fetch a new one, a run stops without it"),
    ],
    ids=["young", "soon too old", "too old", "a newer one has come", "of a day in the future"],
)
def test_status_judges_the_newest_list_that_has_come(
    settings: Settings,
    delivered: str,
    today: date,
    shown: tuple[str, str, int],
    next_step: str | None,
) -> None:
    store_lists_used(settings, read_opt_outs(settings.storage.landing, POLICY, DAY))
    for kind in ("national", "local", "objection"):
        (landing_of(settings) / "optouts" / kind / delivered).mkdir(exist_ok=True)
    rows = opt_out_lists_now(settings, None, today)
    assert [row["opt_out"] for row in rows] == ["local", "national", "objection"]
    for row in rows:
        assert (row["last_used"], row["delivered"], row["age_days"]) == shown
        assert row.get("next_step") == next_step


@pytest.mark.parametrize(
    ("run_date", "environment", "said"),
    [
        (date(2026, 1, 25), "test", "than those of the run date 2026-01-25 (local), and the release will show"),
        (date(2026, 1, 26), "test", ""),
        (date(2026, 1, 25), "demo", ""),
    ],
)
def test_a_run_for_an_earlier_day_says_that_it_does_not_use_the_newest_lists(
    settings: Settings, run_date: date, environment: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    newer_list(settings)
    warn_of_later_lists(settings_in(landing_of(settings).parent, f"environment={environment}"), run_date)
    assert said in caplog.text
    assert bool(caplog.text) == bool(said)


def test_the_lists_last_used_are_remembered_beside_the_key(settings: Settings) -> None:
    RestrictedState(key_fingerprint="ab").write(state_path(settings))
    lists = read_opt_outs(settings.storage.landing, POLICY, DAY)
    store_lists_used(settings, lists)
    assert json.loads(state_path(settings).read_text()) == {
        "form": 1,
        "key_fingerprint": "ab",
        "opt_outs": dict.fromkeys(("national", "local", "objection"), "2026-01-20"),
        "left_out": {"national": 1, "local": 1, "objection": 0},
    }
    check_lists_unchanged(settings, DAY, lists)
