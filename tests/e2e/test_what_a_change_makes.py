"""What a change makes again, and what it leaves as it is; `nhs-omop plan` says so beforehand."""

import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from deltalake import DeltaTable
from typer.testing import CliRunner

from jobs import plan
from jobs.publish import publication_of
from pipelines.contracts.cdm import CODE_BUCKET
from pipelines.contracts.touched import TOUCHED_BY_CODES, TOUCHED_BY_PLACES, TOUCHED_BY_SUPPLIES
from pipelines.ingest.delivery_log import Withdrawn, store_withdrawal
from pipelines.nightly import nightly, plan_run
from pipelines.omop.events import CONCEPT_FIELDS
from pipelines.release.published import release_folder
from pipelines.run_context import read_register
from pipelines.settings import PACKAGED_MAPPINGS_DIR, Settings, storage_paths
from tests.builders.policies import limit, packaged
from tests.e2e.test_rerun import state_of
from tests.e2e.test_vocabulary_change import MAP, change
from tests.e2e.world import LAST_NIGHT, DemoWorld
from vocab.errors import VocabularyError

DESCRIPTIONS = {"omop.cdm_source", "omop.metadata"}
"""They name the release and the settings, so they change with every release."""

OF_DESCRIPTIONS = {"ledger.gate_measures_omop", "ledger.gate_measures_omop_concepts"}
"""The counts of checks that read the descriptions among others."""

EACH_RUN = {"ledger.rows", "ledger.gates", "ledger.figures"}
"""A run enters its own rows; the plan does not name them, because what they hold is only known at the end."""


@pytest.fixture
def copy(world: DemoWorld, tmp_path: Path) -> DemoWorld:
    """A copy of the lakehouse after its last night, to be changed."""
    return world.copied_to(tmp_path / "demo")


@pytest.fixture
def mappings(tmp_path: Path) -> Path:
    """A copy of the packaged mappings, to be changed."""
    return shutil.copytree(PACKAGED_MAPPINGS_DIR, tmp_path / "mappings")


def planned(settings: Settings) -> dict[str, str]:
    """The tables that a run would make, each with its reason."""
    return {str(step.name): step.reason for step in plan_run(settings, LAST_NIGHT)}


def written(world: DemoWorld, before: dict[str, int]) -> set[str]:
    """The tables with another version than before."""
    paths = [path for path, version in world.versions().items() if before.get(path) != version]
    return {".".join(path.split("/")[1:]) for path in paths}


def files_by_partition(world: DemoWorld, table: str) -> dict[str, set[str]]:
    """The data files of the newest version of an OMOP table, by the folder of their partition."""
    files: dict[str, set[str]] = defaultdict(set)
    for uri in DeltaTable(str(world.table_path("omop", table))).file_uris():
        files[Path(uri).parent.name].add(Path(uri).name)
    return files


@pytest.mark.deep
@pytest.mark.parametrize(("check", "share"), [("quarantined_share", 0.5), ("mapped_share", 0.9)])
def test_another_threshold_judges_again_and_makes_only_the_descriptions(copy: DemoWorld, check: str, share: float) -> None:
    """No table with rows of people is made, and no check of bronze, silver or the vocabulary is counted again."""
    before, release = copy.versions(), release_folder(copy.settings).current()
    gates = copy.settings.gates.model_copy(update={"limits": packaged(limit(check, share)).limits})
    settings = copy.settings.model_copy(update={"gates": gates})
    assert planned(settings).keys() == DESCRIPTIONS | OF_DESCRIPTIONS
    assert nightly(settings, LAST_NIGHT).figures is not None
    assert written(copy, before) == DESCRIPTIONS | OF_DESCRIPTIONS | EACH_RUN
    assert release_folder(settings).current() != release
    assert planned(settings) == {}


def test_a_table_that_is_switched_off_is_in_no_later_release(copy: DemoWorld) -> None:
    """Nor has it lost rows; the table itself stays while earlier releases have it, and no longer: nobody would be taken out."""
    derived = copy.settings.derived.model_copy(update={"measurement_harmonised": False})
    settings = copy.settings.model_copy(update={"derived": derived})
    before = release_folder(copy.settings).current()
    assert before is not None
    assert nightly(settings, LAST_NIGHT).figures is not None
    release = release_folder(settings).read(release_folder(settings).current() or "")
    pinned = [{pin.name for pin in found.tables} for found in (release_folder(settings).read(before), release)]
    assert (pinned[0] - pinned[1], pinned[1] - pinned[0]) == ({"measurement_harmonised"}, set())
    gates = copy.rows("ledger", "gates")
    of_run = gates[gates["run_id"] == release.run_id]
    assert "measurement_harmonised" not in set(of_run["table"])
    assert "measurement_harmonised" not in publication_of(settings).pinned
    assert planned(settings) == {}
    table, folder = copy.table_path("omop", "measurement_harmonised"), release_folder(settings)
    assert table.exists()
    earlier = [found.release_id for found in folder.oldest_first() if found != release]
    folder.remove(earlier, at=LAST_NIGHT.isoformat(), reason="a test", day=LAST_NIGHT)
    assert nightly(settings.model_copy(update={"cdm_holder": "Somebody else"}), LAST_NIGHT).figures is not None
    assert not table.exists()


def test_one_changed_row_of_a_map_makes_only_what_holds_its_code(world: DemoWorld, copy: DemoWorld, mappings: Path) -> None:
    """That the result equals a full run is tested with the changes of the vocabulary."""
    before = copy.versions()
    code = change(mappings / MAP, "status", "UNAPPROVED")
    settings = copy.settings.model_copy(update={"mappings_dir": mappings, "gates": packaged(limit("mapped_share_fell", 1))})
    reasons = planned(settings)
    assert reasons["intermediate.local_maps"] == "its parameters have changed"
    delivered = [name for name in reasons if name.startswith(("bronze.", "curation.", "silver.", "intermediate.stem_"))]
    assert set(delivered) <= {
        str(log) for log in (TOUCHED_BY_CODES, TOUCHED_BY_PLACES, TOUCHED_BY_SUPPLIES)
    }  # they name who has the code
    assert nightly(settings, LAST_NIGHT).figures is not None
    made = written(copy, before)
    assert made <= reasons.keys() | EACH_RUN
    holding, rewritten = set(), set()
    for table in CONCEPT_FIELDS:
        buckets: set[int] = set()
        for lake in (world, copy):
            rows = lake.rows("omop", table)
            if f"{table.partition('_')[0]}_source_value" in rows:
                with_code = rows[rows[f"{table.partition('_')[0]}_source_value"] == code]
                buckets |= set(with_code[CODE_BUCKET].astype(int))
        old, new = files_by_partition(world, table), files_by_partition(copy, table)
        changed = {part for part in old.keys() | new.keys() if old.get(part) != new.get(part)}
        assert changed <= {f"{CODE_BUCKET}={bucket}" for bucket in buckets}, table
        holding |= {table} if buckets else set()
        rewritten |= {table} if changed else set()
        assert (f"omop.{table}" in made) == bool(changed), table
    assert "measurement" in rewritten
    assert rewritten <= holding
    old, new = files_by_partition(world, "measurement"), files_by_partition(copy, "measurement")
    assert [part for part in old if old[part] == new.get(part)], "every partition was rewritten"


def test_the_plan_begins_with_what_deliveries_and_maps_change(copy: DemoWorld, mappings: Path) -> None:
    """What a withdrawn delivery and the vocabulary of a new map are in, and what reads it."""
    files = [file for file in read_register(storage_paths(copy.settings)) if file.source == "ambulance"]
    last = max(files, key=lambda file: file.folder)
    taken_back = [file for file in files if file.delivery_id == last.delivery_id]
    store_withdrawal(copy.settings.storage.restricted, Withdrawn.of_loaded(taken_back, "sent twice", LAST_NIGHT))
    change(mappings / MAP, "source_vocabulary_id", "NHS_NEW")
    reasons = planned(copy.settings.model_copy(update={"mappings_dir": mappings}))
    assert {name: reasons[name] for name in ("curation.register", "curation.file_columns", "vocabulary.vocabulary")} == {
        "curation.register": "deliveries have come or are withdrawn",
        "curation.file_columns": "deliveries have come or are withdrawn",
        "vocabulary.vocabulary": "local maps have other vocabularies",
    }
    withdrawn = {f"bronze.{file.source}_{file.entity}" for file in taken_back}
    assert {name: reason for name, reason in reasons.items() if name.startswith("bronze.")} == dict.fromkeys(
        withdrawn, "a delivery is withdrawn"
    )
    records = {name: reason for name, reason in reasons.items() if name.startswith("curation.records_")}
    assert records.keys() == {"curation.records_ambulance"}
    assert records["curation.records_ambulance"].removesuffix(" is made again") in withdrawn


def test_a_mistaken_row_of_a_map_changes_nothing(copy: DemoWorld, mappings: Path) -> None:
    """Neither a table, nor the record of what was made, nor the release."""
    before = state_of(copy)
    change(mappings / MAP, "target_concept_id", "1")
    settings = copy.settings.model_copy(update={"mappings_dir": mappings})
    says = r"nhs_local_pathology\.csv line 2: target is not in the vocabulary"
    with pytest.raises(VocabularyError, match=says):
        planned(settings)
    with pytest.raises(VocabularyError, match=says):
        nightly(settings, LAST_NIGHT)
    assert state_of(copy) == before


def test_the_command_shows_the_plan_and_writes_nothing(copy: DemoWorld) -> None:
    before = state_of(copy)
    values = {f"storage.{name}": copy.folder / name for name in ("landing", "restricted", "deidentified")}
    values["key.path"] = copy.folder / "restricted/demo.key"
    options = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    of_the_run = ["--date", LAST_NIGHT.isoformat(), *options]
    current = CliRunner().invoke(plan.app, of_the_run)
    assert (current.exit_code, current.stdout) == (0, "")
    shown = CliRunner().invoke(plan.app, [*of_the_run, "--set", limit("quarantined_share", 0.5)])
    assert shown.exit_code == 0
    lines = [line.replace("│", " ").split() for line in shown.stdout.splitlines()]
    assert ["omop.cdm_source", "its", "parameters", "have", "changed"] in lines
    assert ["ledger.gate_measures_omop", "omop.cdm_source", "is", "made", "again"] in lines
    assert ["omop", "2"] in lines
    assert ["ledger", "2"] in lines
    assert state_of(copy) == before
