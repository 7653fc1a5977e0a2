"""One root of a lakehouse older than the other, as after a restore of a part: what the other remembers counts."""

from datetime import date
from pathlib import Path

import pytest

from pipelines.errors import OmopPipelineError
from pipelines.nightly import nightly
from pipelines.release.model import Release
from pipelines.release.published import release_folder
from pipelines.run_log import last_runs
from pipelines.settings import Settings
from tests.builders.publications import RELEASE
from tests.builders.runs import settings_in

DAY = date(2026, 1, 7)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


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
