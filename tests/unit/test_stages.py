"""The progress of long work where there is no terminal."""

import json
from collections.abc import Callable

import pytest

from jobs import stages
from jobs.logs import logging_to_stderr, use_json_lines
from pipelines.progress import ShowStage, no_stages

TABLES = ("concept", "concept_relationship", "concept_ancestor", "concept_synonym")


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """The lines of four parts that take so many seconds each."""

    def run(seconds_a_part: int, *, json_lines: bool = False) -> list[str]:
        clock = iter(range(0, 10_000, seconds_a_part))
        monkeypatch.setattr(stages, "perf_counter", lambda: next(clock))
        with logging_to_stderr():
            if json_lines:
                use_json_lines()
            with stages.stage("load vocabulary", len(TABLES)) as on_progress:
                for name in TABLES:
                    on_progress(name)
        return capsys.readouterr().err.splitlines()

    return run


def test_long_work_reports_how_far_it_has_come(report: Callable[..., list[str]]) -> None:
    lines = report(stages.QUIET_SECONDS)
    assert "load vocabulary: concept  done 1  of 4" in lines
    assert len(lines) > 3


def test_machines_get_numbers(report: Callable[..., list[str]]) -> None:
    lines = [json.loads(line) for line in report(stages.QUIET_SECONDS, json_lines=True)]
    assert [(line["message"], line.get("done"), line.get("of")) for line in lines[:2]] == [
        ("load vocabulary: started", None, None),
        ("load vocabulary: concept", 1, 4),
    ]


def test_short_work_reports_only_that_it_began_and_ended(report: Callable[..., list[str]]) -> None:
    assert [line.split("  ")[0] for line in report(1)] == ["load vocabulary: started", "load vocabulary: done"]


@pytest.mark.parametrize("show_stage", [stages.stage, no_stages])
def test_pipelines_can_be_given_it(show_stage: ShowStage) -> None:
    with show_stage("load vocabulary", None) as on_progress:
        on_progress("concept")
