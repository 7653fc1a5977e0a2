"""Documents beside the tables: written whole, read in their own form only."""

import errno
import json
import os
import stat
from datetime import date
from pathlib import Path
from typing import ClassVar

import pytest

from pipelines import diagnosis
from pipelines.diagnosis import State, documents, findings
from pipelines.errors import DocumentError
from pipelines.release.publish.parquet_folder import ParquetManifest
from pipelines.release.store import Pointer
from pipelines.run_inputs import RestrictedState
from pipelines.runner import BuiltTable
from pipelines.settings import load_settings
from pipelines.storage.documents import Document, Lost, digest_of, digest_of_files
from pipelines.storage.files import Entry


class Note(Document):
    """A document of the second form."""

    FORM: ClassVar[int] = 2

    form: int = 2
    text: str


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "note.json"
    Note(text="Ménière").write(path)
    assert Note.read(path) == Note(text="Ménière")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["note.json"]


def test_where_there_is_none_nothing_is_read(tmp_path: Path) -> None:
    assert Note.read(tmp_path / "note.json") is None


@pytest.mark.parametrize("fields", [{"text": "a"}, {"text": "a", "of_another_form": 1}, {}])
@pytest.mark.parametrize("form", [1, 3])
def test_a_document_of_another_form_is_refused(tmp_path: Path, form: int, fields: dict[str, object]) -> None:
    path = tmp_path / "note.json"
    path.write_text(json.dumps({"form": form, **fields}), encoding="utf-8")
    said = rf"note\.json: was written in form {form}, this version reads form 2; use the version of nhs-omop that wrote it"
    with pytest.raises(DocumentError, match=said):
        Note.read(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"form": 2}', '{"form": 2, "text": "a", "more": 1}', '{"text": 4}'])
def test_a_damaged_document_is_refused_without_its_content(tmp_path: Path, content: str) -> None:
    path = tmp_path / "note.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DocumentError) as refused:
        Note.read(path)
    assert str(refused.value) == f"{path}: cannot be read; restore it from a backup"


class Cache(Document):
    """A document without which everything goes on."""

    LOST: ClassVar[Lost] = Lost("it is made again", stops=False)


def test_a_damaged_document_that_stops_nothing_counts_as_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "cache.json"
    path.write_text('{"form": 1', encoding="utf-8")
    said = f"{path}: cannot be read, and counts as not there; it is made again"
    assert (Cache.read(path), caplog.messages) == (None, [said])
    with pytest.raises(DocumentError) as refused:
        Cache.checked(path)
    assert (str(refused.value), refused.value.stops) == (said, False)
    path.write_text('{"form": 2, "of_a_later_version": 1}', encoding="utf-8")
    with pytest.raises(DocumentError, match="was written in form 2"):
        Cache.read(path)
    path.write_text('{"form": 0, "of_an_earlier_version": 1}', encoding="utf-8")
    said = f"{path}: was written in form 0, this version reads form 1, and counts as not there; it is made again"
    assert (Cache.read(path), caplog.messages[-1]) == (None, said)


STOPS, GOES_ON = (State.FAULT, 33), (State.WARNING, None)
WHEN_DAMAGED = {
    "state.json": (*STOPS, "restore it from a backup"),
    "build_state.json": (*STOPS, "remove it: the next run makes every table again. A backup may be older than the tables"),
    "withdrawn.json": (*STOPS, "restore it from a backup"),
    "accepted.json": (*STOPS, "restore it from a backup, or remove it and accept again what is then set aside"),
    "load.json": (*GOES_ON, "the next run removes the rows of every load that has not ended"),
    "checksums.json": (*GOES_ON, "the next run takes the checksums again"),
    "set_aside.json": (*GOES_ON, "the next run makes it again"),
    "run.json": (*GOES_ON, "the next command that writes makes it again"),
    "upkeep.json": (*GOES_ON, "the next upkeep makes it again"),
    "20260105-00001.json": (*GOES_ON, "restore it from a backup, or remove it: the list of runs goes without it"),
    "loaded.json": (*GOES_ON, "load the vocabulary again: nhs-omop vocab load DIR"),
    "current": (State.FAULT, 22, "restore it from a backup"),
    "holds": (State.FAULT, 22, "restore it from a backup"),
    "removed": (State.FAULT, 22, "restore it from a backup"),
    "20260105-aaaaaaaa.json": (State.FAULT, 22, "restore it from a backup"),
}


ROOTS = ("landing", "restricted", "deidentified")


def test_doctor_reads_every_document_and_says_what_is_to_be_done(tmp_path: Path) -> None:
    settings = load_settings("demo", overrides=[f"storage.{name}={tmp_path / name}" for name in ROOTS])
    for named in ("restricted/runs/20260105-00001.json", "deidentified/releases/20260105-aaaaaaaa.json"):
        (tmp_path / named).parent.mkdir(parents=True)
        (tmp_path / named).touch()
    (tmp_path / "restricted").chmod(0o700)
    found = documents(settings)
    kinds = {kind for kind in Document.__subclasses__() if kind.__module__.startswith("pipelines.")}
    elsewhere: set[type[Document]] = {BuiltTable, ParquetManifest}
    assert kinds - {kind for _, kind in found} == elsewhere  # part of another; beside what is published
    for path, _ in found:
        Path(str(path)).parent.mkdir(parents=True, exist_ok=True)
        Path(str(path)).write_text('{"form": 1', encoding="utf-8")
    lines = [line for line in findings(settings, date(2026, 1, 5)) if line.what == "documents"]
    shown = {}
    for line in lines:
        place, _, step = line.found.partition(": cannot be read")
        shown[Path(place).name] = (line.state, line.error and line.error.exit_code, step.rpartition("; ")[2])
    assert shown == WHEN_DAMAGED
    for path, _ in found:
        Path(str(path)).unlink()
    assert [line.state for line in findings(settings, date(2026, 1, 5)) if line.what == "documents"] == [State.OK]


def test_doctor_names_every_table_with_a_damaged_log(tmp_path: Path) -> None:
    settings = load_settings("demo", overrides=[f"storage.{name}={tmp_path / name}" for name in ROOTS])

    def found() -> list[tuple[str, State, int | None]]:
        lines = [line for line in findings(settings, date(2026, 1, 5)) if line.what == "tables"]
        return [(line.found, line.state, line.error.exit_code if line.error else None) for line in lines]

    assert found() == [("the log of each that is there can be read", State.OK, None)]
    step = "see who may read it, or restore the table from a backup"
    faults = []
    for place in ("restricted/curation/register", "deidentified/omop/person"):
        log = tmp_path / place / "_delta_log"
        log.mkdir(parents=True)
        (log / f"{0:020}.json").write_text('{"commitInfo"')
        faults.append((f"{log.parent}: its log is damaged; {step}", State.FAULT, 33))
    assert found() == faults


def test_doctor_goes_on_where_deliveries_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings("demo", overrides=[f"storage.{name}={tmp_path / name}" for name in ROOTS])

    def refuse(folder: Path) -> list[Entry]:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(diagnosis, "entries_in", refuse)
    found = {line.what: line for line in findings(settings, date(2026, 1, 5))}
    of_gp, clock = found["deliveries of gp"], found["clock"]
    assert (of_gp.state, of_gp.found) == (State.WARNING, f"{tmp_path / 'landing' / 'gp'}: Permission denied")
    assert clock


def test_a_write_that_is_cut_short_leaves_the_old_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "note.json"
    Note(text="old").write(path)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        Note(text="new").write(path)
    assert Note.read(path) == Note(text="old")
    assert [found.name for found in tmp_path.iterdir()] == ["note.json"]


def test_the_state_of_runs_keeps_its_dates(tmp_path: Path) -> None:
    state = RestrictedState(key_fingerprint="ab", opt_outs={"national": date(2024, 1, 5)}, left_out={"national": 7})
    state.write(tmp_path / "state.json")
    assert json.loads((tmp_path / "state.json").read_text(encoding="utf-8")) == {
        "form": 1,
        "key_fingerprint": "ab",
        "opt_outs": {"national": "2024-01-05"},
        "left_out": {"national": 7},
    }
    assert RestrictedState.read(tmp_path / "state.json") == state


def test_digests_depend_on_where_texts_end_and_files_on_their_names(tmp_path: Path) -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of("a", "b") == digest_of("a", "b")
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_bytes(b"x")
    second.write_bytes(b"y")
    assert digest_of_files({"a": first, "b": second}) == digest_of_files({"b": second, "a": first})
    assert digest_of_files({"a": first, "b": second}) != digest_of_files({"a": second, "b": first})


def test_a_private_document_makes_a_private_folder_and_a_shared_one_does_not(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        RestrictedState().write(tmp_path / "restricted" / "state.json")
        Pointer(moves=()).write(tmp_path / "releases" / "current")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "restricted").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "releases").stat().st_mode) == 0o755
