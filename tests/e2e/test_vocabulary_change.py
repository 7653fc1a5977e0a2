"""A changed local map is adopted without curating again, and the result is that of a full rebuild."""

import csv
import shutil
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from jobs.console import console
from jobs.steps.nightly import nightly
from pipelines.release.published import release_folder
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from tests.e2e.world import LAST_NIGHT, DemoWorld
from vocab.errors import VocabularyError

MAP = "concepts/nhs_local_pathology.csv"


def change(path: Path, column: str, value: str) -> str:
    """Change one value in the first row of a local map; gives its code."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    rows[1][rows[0].index(column)] = value
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return rows[1][rows[0].index("source_code")]


def omop(world: DemoWorld) -> dict[str, pd.DataFrame]:
    """Every OMOP table in a fixed order of rows."""
    tables = {}
    for zone, name in world.tables("omop"):
        frame = world.rows(zone, name)
        tables[name] = frame.sort_values(list(frame.columns), ignore_index=True) if len(frame) else frame
    return tables


@pytest.mark.embedded
def test_a_changed_map_maps_again_from_the_stem_and_equals_a_full_rebuild(world: DemoWorld, tmp_path: Path) -> None:
    changed = world.copied_to(tmp_path / "demo")
    mappings = tmp_path / "mappings"
    shutil.copytree(PACKAGED_MAPPINGS_DIR, mappings)
    code = change(mappings / MAP, "status", "UNAPPROVED")
    before = changed.versions()
    settings = changed.settings.model_copy(update={"mappings_dir": mappings})
    adopted = nightly(settings, LAST_NIGHT)
    assert adopted.figures is not None
    touched = {path for path, version in changed.versions().items() if before.get(path) != version}
    assert not [path for path in touched if "/silver/" in path or "/bronze/" in path or path.endswith("stem/stem")]
    measurements = changed.rows("omop", "measurement")
    concerned = measurements[measurements["measurement_source_value"] == code]
    assert len(concerned) > 0
    assert set(concerned["measurement_concept_id"]) == {0}
    before_it = world.rows("omop", "measurement")
    assert 0 not in set(before_it[before_it["measurement_source_value"] == code]["measurement_concept_id"])
    mapped_again = omop(changed)
    nightly(settings, LAST_NIGHT, full=True)
    rebuilt = omop(changed)
    assert rebuilt.keys() == mapped_again.keys()
    for name, frame in rebuilt.items():
        pd.testing.assert_frame_equal(frame, mapped_again[name])


@pytest.mark.embedded
def test_targets_that_are_not_in_the_vocabulary_matter_for_codes_of_enabled_sources_only(
    world: DemoWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = world.copied_to(tmp_path / "demo")
    mappings = tmp_path / "mappings"
    shutil.copytree(PACKAGED_MAPPINGS_DIR, mappings)
    settings = changed.settings.model_copy(update={"mappings_dir": mappings})
    monkeypatch.setattr(console, "err", StringIO())
    code = change(mappings / "concepts" / "synthea_race.csv", "target_concept_id", "1")
    assert nightly(settings, LAST_NIGHT).figures is not None
    said = " ".join(console.err.getvalue().split())  # type: ignore[attr-defined]
    assert "no enabled source uses do not fit the vocabulary left out 1" in said
    stored, before = (one.rows("vocabulary", "source_to_concept_map") for one in (changed, world))
    assert len(stored) == len(before) - 1
    assert not ((stored["source_vocabulary_id"] == "Synthea Race") & (stored["source_code"] == code)).any()
    release = release_folder(settings).current()
    change(mappings / "concepts" / "nhs_gender.csv", "target_concept_id", "1")
    with pytest.raises(VocabularyError, match=r"nhs_gender\.csv line 2: target is not in the vocabulary\. Correct"):
        nightly(settings, LAST_NIGHT)
    assert release_folder(settings).current() == release
