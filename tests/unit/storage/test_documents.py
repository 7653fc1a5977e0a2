"""Documents beside the tables: written whole, read in their own form only."""

import json
import os
import stat
from datetime import date
from pathlib import Path
from typing import ClassVar

import pytest

from pipelines.errors import OmopPipelineError
from pipelines.release.store import Pointer
from pipelines.run_inputs import RestrictedState
from pipelines.storage.documents import Document, digest_of, digest_of_files


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


@pytest.mark.parametrize("form", [1, 3])
def test_a_document_of_another_form_is_refused(tmp_path: Path, form: int) -> None:
    path = tmp_path / "note.json"
    path.write_text(json.dumps({"form": form, "text": "a"}), encoding="utf-8")
    said = rf"note\.json: was written in form {form}, this version reads form 2; use the version of nhs-omop that wrote it"
    with pytest.raises(OmopPipelineError, match=said):
        Note.read(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"form": 2}', '{"form": 2, "text": "a", "more": 1}', '{"text": 4}'])
def test_a_damaged_document_is_refused_without_its_content(tmp_path: Path, content: str) -> None:
    path = tmp_path / "note.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(OmopPipelineError) as refused:
        Note.read(path)
    assert str(refused.value) == f"{path}: cannot be read; restore it from a backup"


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
