"""One person over eight nights of one lakehouse: after each night the rows are those written out in canary.yaml."""

from pathlib import Path

import pytest

from pipelines.nightly import nightly
from pipelines.terminology.vocabulary import load
from tests.builders.nights import Lake, Morning, Night, read_story

STORY = read_story(Path(__file__).with_name("canary.yaml"))

APPROVED = ("opt_outs.unverifiable=include_with_approval", "opt_outs.approval=a test")
"""The stranger has no NHS number for a while."""


pytestmark = [pytest.mark.deep, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def mornings(tmp_path_factory: pytest.TempPathFactory) -> list[Morning]:
    """What there is after each night, of one lakehouse that is loaded night after night."""
    lake = Lake(tmp_path_factory.mktemp("canary"), STORY, APPROVED)
    lake.begin()
    load(lake.settings)
    found = []
    for night in STORY.nights:
        lake.receive(night)
        nightly(lake.settings, night.day)
        found.append(lake.look(night))
    return found


@pytest.mark.parametrize("night", STORY.nights, ids=[f"{night.day:%d}: {night.what}" for night in STORY.nights])
def test_the_rows_after_each_night(night: Night, mornings: list[Morning]) -> None:
    morning = next(found for found in mornings if found.night is night)
    assert not morning.differences, "\n".join(morning.differences)
    assert morning.persons == night.persons


def test_the_bystander_has_the_same_rows_every_night(mornings: list[Morning]) -> None:
    """All columns, ids and what a row came from included."""
    assert all(morning.rows["bystander"] == mornings[0].rows["bystander"] for morning in mornings)


def test_who_comes_back_has_the_same_rows_and_ids_as_before(mornings: list[Morning]) -> None:
    first, _, opted_in, _, deleted, merged, split, _ = [morning.rows for morning in mornings]
    assert opted_in["canary"] == first["canary"]
    assert split["canary"] == deleted["canary"]
    assert split["stranger"]["measurement"] == first["stranger"]["measurement"]
    assert merged["stranger"] == merged["canary"]
