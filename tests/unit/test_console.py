"""What long work says where there is no terminal."""

from io import StringIO

import pytest

from jobs import console as module
from jobs.console import Console


def said(monkeypatch: pytest.MonkeyPatch, seconds_a_part: int) -> list[str]:
    """The lines of four parts that take so many seconds each."""
    clock = iter(range(0, 10_000, seconds_a_part))
    monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
    err = StringIO()
    with Console(err=err).stage("load vocabulary", total=4) as stage:
        for name in ("concept", "concept_relationship", "concept_ancestor", "concept_synonym"):
            stage.advance(name)
    return err.getvalue().splitlines()


def test_long_work_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = said(monkeypatch, module.QUIET_SECONDS)
    assert "load vocabulary: concept  done 1  of 4" in lines
    assert len(lines) > 3


def test_short_work_says_only_that_it_began_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [line.split("  ")[0] for line in said(monkeypatch, 1)] == ["load vocabulary: started", "load vocabulary: done"]
