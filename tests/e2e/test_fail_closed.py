"""Every fault stops the real command with its own exit code and the next step, and nothing is changed."""

import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pytest

from pipelines.errors import (
    KeyChangedError,
    KeyMissingError,
    OptOutEmptyError,
    OptOutInvalidError,
    OptOutMissingError,
    OptOutReferenceError,
    OptOutStaleError,
    RequiredSourceError,
)
from pipelines.governance.keys import new_key_file
from pipelines.nightly import nightly
from pipelines.run_inputs import read_run_inputs
from pipelines.settings import Environment, load_settings
from pipelines.synthetic.generate import FIRST_NIGHT
from pipelines.terminology.vocabulary import LoadedVocabulary, load, vocabulary_path
from tests.e2e.identifiers import secrets_in
from tests.e2e.scanner import Haystack, Needles
from tests.e2e.test_rerun import state_of
from tests.e2e.test_runs import ended, nhs_omop
from tests.e2e.world import LAST_NIGHT, DemoWorld
from vocab.errors import VocabularyError

NEXT = LAST_NIGHT + timedelta(days=1)
OLDEST_ALLOWED = LAST_NIGHT + timedelta(days=21)


@dataclass(frozen=True)
class Fault:
    """The change of the lakehouse before the run, the options of the run, and the expected end."""

    damage: Callable[[Path], None]
    exit_code: int
    message: str
    day: date = NEXT
    overrides: tuple[str, ...] = ()


def rewrite(path: Path, content: str) -> None:
    """Replace a file that may be a hard link to the shared lakehouse by a new file."""
    path.unlink()
    path.write_text(content)


def announce(folder: Path, name: str, **facts: str | int) -> None:
    """Change the entry of a file in a manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        if file["name"] == name:
            file.update(facts)
    rewrite(folder / "manifest.json", json.dumps(manifest))


def deliver_again(folder: Path) -> Path:
    """Deliver the newest delivery of a provider again, a day later."""
    delivery = folder / "landing/gp/Y99001" / f"{LAST_NIGHT:%Y%m%d}"
    later = delivery.with_name(f"{NEXT:%Y%m%d}")
    shutil.copytree(delivery, later)
    return later


def with_wrong_checksum(folder: Path) -> None:
    delivery = deliver_again(folder)
    file = next(path for path in sorted(delivery.iterdir()) if path.name != "manifest.json")
    announce(delivery, file.name, sha256="0" * 64)


def without_national_list(folder: Path) -> None:
    shutil.rmtree(folder / "landing/optouts/national")


def with_empty_national_list(folder: Path) -> None:
    newest = folder / "landing/optouts/national" / f"{LAST_NIGHT:%Y%m%d}"
    rewrite(newest / "response.dat", "")
    announce(newest, "response.dat", rows=0, sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


def with_unclosed_quote(folder: Path) -> None:
    newest = folder / "landing/optouts/local" / f"{LAST_NIGHT:%Y%m%d}"
    header, first, *others = (newest / "local.csv").read_text().splitlines()
    content = "\n".join([header, first.replace(",", ',"'), *others]) + "\n"
    rewrite(newest / "local.csv", content)
    announce(newest, "local.csv", sha256=hashlib.sha256(content.encode()).hexdigest())


def with_older_list(folder: Path) -> None:
    shutil.rmtree(folder / "landing/optouts/national" / f"{LAST_NIGHT:%Y%m%d}")


def without_key(folder: Path) -> None:
    (folder / "restricted/demo.key").unlink()


def with_another_key(folder: Path) -> None:
    rewrite(folder / "restricted/demo.key", secrets.token_hex(32))
    (folder / "restricted/demo.key").chmod(0o600)


def without_vocabulary(folder: Path) -> None:
    (folder / "deidentified/vocabulary/loaded.json").unlink()


def nothing(folder: Path) -> None:
    """Change nothing: the run date alone is the fault."""


FAULTS = {
    "wrong checksum": Fault(
        with_wrong_checksum,
        RequiredSourceError.exit_code,
        "checksum differs.*ask the provider to send.*gp: its newest delivery, of [0-9]{8}, is set aside",
        overrides=("run.required=[gp]",),
    ),
    "missing opt-out list": Fault(without_national_list, OptOutMissingError.exit_code, "missing.*put the list there"),
    "empty opt-out list": Fault(with_empty_national_list, OptOutEmptyError.exit_code, "is empty.*deliver the list again"),
    "opt-out list with an unclosed quote": Fault(
        with_unclosed_quote, OptOutInvalidError.exit_code, "is not CSV from line 2.*correct its quotes"
    ),
    "opt-out list of 22 days": Fault(
        nothing, OptOutStaleError.exit_code, "22 days old.*fetch a new", OLDEST_ALLOWED + timedelta(days=1)
    ),
    "opt-out list older than the last": Fault(with_older_list, OptOutStaleError.exit_code, "older than.*fetch the newest"),
    "no key": Fault(without_key, KeyMissingError.exit_code, "no pseudonymisation key.*put that one back"),
    "another key": Fault(with_another_key, KeyChangedError.exit_code, "[Pp]ut the former key back"),
    "no vocabulary": Fault(without_vocabulary, VocabularyError.exit_code, "nhs-omop vocab load"),
}


@pytest.fixture
def linked_copy(world: DemoWorld, tmp_path: Path) -> DemoWorld:
    """A copy made of hard links; files that a fault changes are replaced, not overwritten."""
    shutil.copytree(world.folder, tmp_path / "demo", copy_function=os.link)
    return replace(world, folder=tmp_path / "demo")


def called(capfd: pytest.CaptureFixture[str], world: DemoWorld, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `nhs_omop` gives, in this process."""
    capfd.readouterr()
    code = ended(world, *arguments)
    return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())


def run_of(fault: Fault) -> list[str]:
    """The arguments of the run that meets a fault."""
    return ["run", "--date", fault.day.isoformat(), *[text for override in fault.overrides for text in ("--set", override)]]


def unchanged_state_of(world: DemoWorld) -> dict[str, str]:
    """Both roots without the list of the deliveries that are set aside."""
    return {name: digest for name, digest in state_of(world).items() if name != "restricted/set_aside.json"}


STILL_QUERIED = ("wrong checksum", "no key", "no vocabulary")
"""Faults after which the last release is asked for its people."""

IN_PROCESSES_OF_THEIR_OWN = ("wrong checksum", "no key")
"""Faults whose commands are started as users start them: one is met by an engine that is open, one before there is any."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_stops_the_run_and_changes_nothing(
    name: str, world: DemoWorld, linked_copy: DemoWorld, needles: Needles, capfd: pytest.CaptureFixture[str]
) -> None:
    fault = FAULTS[name]
    start = nhs_omop if name in IN_PROCESSES_OF_THEIR_OWN else partial(called, capfd)
    fault.damage(linked_copy.folder)
    before = unchanged_state_of(linked_copy)
    done = start(linked_copy, *run_of(fault))
    assert done.returncode == fault.exit_code, done.stderr
    assert re.search(fault.message, done.stderr, re.DOTALL), done.stderr
    assert "Traceback" not in done.stderr
    output = (done.stdout + done.stderr).encode()
    assert not needles.kinds_in(Haystack("", output, True))
    assert not secrets_in(output)
    assert unchanged_state_of(linked_copy) == before
    if name in STILL_QUERIED:
        asked = called(capfd, linked_copy, "query", "SELECT count(*) AS people FROM person", "--csv")
        assert asked.returncode == 0, asked.stderr
        assert asked.stdout.split() == ["people", str(len(world.rows("omop", "person")))]


def test_a_list_of_21_days_is_accepted(linked_copy: DemoWorld, capfd: pytest.CaptureFixture[str]) -> None:
    """The last allowed day; also shows that the other runs stop because of their faults only."""
    done = called(capfd, linked_copy, *run_of(Fault(nothing, 0, "", OLDEST_ALLOWED)))
    assert done.returncode == 0, done.stderr
    assert "nothing has changed" in done.stderr


def test_a_practice_without_its_code_table_releases_nothing(
    world: DemoWorld, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = world.copied_to(tmp_path / "demo")
    landing, pointer = copy.folder / "landing/gp", copy.folder / "deidentified/releases/current"
    before, delivery = pointer.read_bytes(), landing / "Y99099" / f"{NEXT:%Y%m%d}"
    shutil.copytree(landing / "Y99001" / f"{FIRST_NIGHT:%Y%m%d}", delivery)
    manifest = json.loads((delivery / "manifest.json").read_text())
    kept = [file for file in manifest["files"] if "Coding_ClinicalCode" not in file["name"]]
    for name in {file["name"] for file in manifest["files"]} - {file["name"] for file in kept}:
        (delivery / name).unlink()
    changed = {"provider": "Y99099", "extract_date": NEXT.isoformat(), "files": kept}
    (delivery / "manifest.json").write_text(json.dumps(manifest | changed))
    done = called(capfd, copy, "run", "--date", NEXT.isoformat())
    assert done.returncode == OptOutReferenceError.exit_code, done.stderr
    assert "Y99099" in done.stderr
    assert "Coding_ClinicalCode" in done.stderr
    assert pointer.read_bytes() == before


def test_a_delivery_with_a_fault_is_named_and_stops_nobody_else(
    linked_copy: DemoWorld, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where its source is not required, the release stays and the run ends well."""
    with_wrong_checksum(linked_copy.folder)
    before = unchanged_state_of(linked_copy)
    done = called(capfd, linked_copy, "run", "--date", NEXT.isoformat())
    assert done.returncode == 0, done.stderr
    assert f"gp/Y99001/{NEXT:%Y%m%d} is set aside, 1 fault" in done.stderr
    assert "nothing has changed since the current release" in done.stderr
    assert unchanged_state_of(linked_copy) == before


def test_the_demo_vocabulary_is_refused_in_production(world: DemoWorld, tmp_path: Path) -> None:
    """A load of it writes nothing, and a run on a lakehouse that has it all the same stops before it writes."""
    places = ("landing", "restricted", "deidentified")
    lake = [f"storage.{name}={tmp_path / name}" for name in places]
    key = [f"key={{kind: file, path: {tmp_path / 'key'}}}"]
    new_key_file(tmp_path / "key")
    settings = load_settings("demo", overrides=["environment=production", *lake, *key])
    with pytest.raises(VocabularyError, match=r"refused in production.* nhs-omop vocab load DIR$"):
        load(settings)
    assert not any((tmp_path / name).exists() for name in places)

    known = LoadedVocabulary.read(vocabulary_path(world.settings))
    assert known is not None
    known.model_copy(update={"digest": "of another version"}).write(vocabulary_path(settings))
    shutil.copytree(world.folder / "landing", tmp_path / "landing", copy_function=os.link)
    with pytest.raises(VocabularyError, match="refused in production"):
        nightly(settings, LAST_NIGHT)
    assert not (tmp_path / "restricted/state.json").exists()
    assert read_run_inputs(settings.model_copy(update={"environment": Environment.TEST}), LAST_NIGHT).vocabulary.is_demo
