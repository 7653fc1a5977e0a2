"""What counts as a change of the code, so that every table is made again."""

from pathlib import Path

import pytest

import pipelines
from pipelines import runner
from pipelines.runner import code_digest, code_files

PROJECT = Path(pipelines.__file__).resolve().parent.parent


def test_lists_that_decide_rows_count_as_code() -> None:
    """`docs/security.md` says: add a word to `words.yaml`, and run again."""
    lists = {
        "pipelines/contracts/words.yaml",
        "pipelines/quality/dqd_checks.csv",
        "vocab/dimensions.csv",
        "pipelines/runner.py",
    }
    assert lists <= code_files().keys()
    data = (path for package in ("pipelines", "vocab") for path in (PROJECT / package).rglob("*.*") if path.is_file())
    besides = {path.suffix for path in data} - {path.suffix for path in code_files().values()}
    assert besides <= {".pyc", ".md", ".css", ".html"}  # a list in another form would decide rows and not count


def test_another_word_is_another_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = tmp_path / "words.yaml"
    digests = set()
    monkeypatch.setattr(runner, "code_files", lambda: {"pipelines/contracts/words.yaml": words})
    for text in ("measures: [pulse]", "measures: [pulse, gait]"):
        words.write_text(text)
        digests.add(code_digest.__wrapped__())
    assert len(digests) == 2
