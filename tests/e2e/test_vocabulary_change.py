"""A changed local map is applied without curating again, and the result equals that of a full rebuild."""

import csv
import shutil
from pathlib import Path

import pandas as pd
import pytest

from jobs.logs import logging_to_stderr
from pipelines.nightly import nightly
from pipelines.release.published import release_folder
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from tests.builders.policies import limit, packaged
from tests.e2e.world import LAST_NIGHT, DemoWorld
from vocab.errors import VocabularyError

pytestmark = pytest.mark.deep

MAP = "concepts/nhs_local_pathology.csv"


def change(path: Path, column: str, value: str) -> str:
    """Change one value in the first row of a local map; returns its code."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    rows[1][rows[0].index(column)] = value
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return rows[1][rows[0].index("source_code")]


def omop(world: DemoWorld) -> dict[str, pd.DataFrame]:
    """Every OMOP table with its rows in a fixed order."""
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
    settings = changed.settings.model_copy(update={"mappings_dir": mappings, "gates": packaged(limit("mapped_share_fell", 1))})
    assert nightly(settings, LAST_NIGHT).figures is not None
    touched = {path for path, version in changed.versions().items() if before.get(path) != version}
    assert not [path for path in touched if "/silver/" in path or "/bronze/" in path or "/intermediate/stem_" in path]
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
    world: DemoWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = world.copied_to(tmp_path / "demo")
    mappings = tmp_path / "mappings"
    shutil.copytree(PACKAGED_MAPPINGS_DIR, mappings)
    settings = changed.settings.model_copy(update={"mappings_dir": mappings})
    code = change(mappings / "concepts" / "synthea_race.csv", "target_concept_id", "1")
    with logging_to_stderr():
        assert nightly(settings, LAST_NIGHT).figures is not None
    said = " ".join(capsys.readouterr().err.split())
    assert "1 local maps of codes that no enabled source uses do not fit the vocabulary; they are left out" in said
    stored, before = (lake.rows("vocabulary", "source_to_concept_map") for lake in (changed, world))
    assert len(stored) == len(before) - 1
    assert not ((stored["source_vocabulary_id"] == "Synthea Race") & (stored["source_code"] == code)).any()
    release = release_folder(settings).current()
    change(mappings / "concepts" / "nhs_gender.csv", "target_concept_id", "1")
    with pytest.raises(VocabularyError, match=r"nhs_gender\.csv line 2: target is not in the vocabulary\. Correct"):
        nightly(settings, LAST_NIGHT)
    assert release_folder(settings).current() == release
