"""What is unusual about a delivery is said by its limits, and what is usual is not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts.deliveries import DeliveryLimits
from pipelines.contracts.source import Entity
from pipelines.ingest.drift import Content, Drift, compare, lost_files

SPEC = Entity.model_validate(
    {"grain": "g", "files": ["*"], "key": ["a"], "columns": {"a": {}, "died": {"header": "DateOfDeath"}}}
)
LIMITS = DeliveryLimits()


def content(mode: str, rows: int, **filled: int) -> Content:
    """The content of a delivery in which the key always has a value."""
    return Content(mode, rows, {"a": rows, **filled})


def drift(new: Content, *past: Content, limits: DeliveryLimits = LIMITS) -> tuple[list[str], list[str]]:
    """What stops a delivery, and warnings."""
    found: Drift = compare("patient", SPEC, new, past, limits)
    return found.stops, found.warnings


FULL = content("full", 100, died=10)


@pytest.mark.parametrize(
    ("new", "past"),
    [
        (FULL, []),
        (FULL, [FULL]),
        (content("full", 50, died=5), [FULL]),
        (content("full", 300, died=5), [FULL]),
        (content("full", 100, died=0), [FULL]),
        (content("full", 5, died=0), [content("full", 19, died=19)]),
        (content("full", 0), [content("full", 0)]),
        (content("delta", 0, died=0), [FULL]),
        (content("delta", 1, died=0), [FULL, content("delta", 90, died=90)]),
        (content("delta", 3, died=0), [FULL]),
        (content("full", 100), [content("full", 100, died=0)]),
        (content("full", 100, died=60), [content("full", 100, died=100)]),
        (content("delta", 100, died=0), [content("full", 100, died=100)]),
        (content("delta", 3), [FULL, content("delta", 5)]),
    ],
)
def test_what_is_usual_is_not_mentioned(new: Content, past: list[Content]) -> None:
    assert drift(new, *past) == ([], [])


LOST = "patient: columns that had values in earlier deliveries are missing: DateOfDeath"


@pytest.mark.parametrize(
    ("new", "past", "stop"),
    [
        (content("full", 100), [FULL], LOST),
        (content("delta", 1), [FULL], LOST),
        (content("delta", 1), [content("delta", 1, died=1)], LOST),
        (content("full", 100), [content("delta", 1, died=1)], LOST),
        (content("full", 100), [FULL, content("delta", 0)], LOST),
        (content("full", 100), [FULL, content("delta", 5, died=0)], LOST),
        (content("full", 0, died=0), [FULL], "patient: no record, the last full extract had 100"),
        (content("full", 0, died=0), [content("full", 1, died=0)], "patient: no record, the last full extract had 1"),
        (content("full", 0, died=0), [FULL, content("delta", 0)], "patient: no record, the last full extract had 100"),
        (
            content("full", 49, died=5),
            [FULL],
            "patient: 49 records, the last full extract had 100; at most 50% may be gone",
        ),
        (
            content("full", 1, died=0),
            [content("full", 20, died=0)],
            "patient: 1 records, the last full extract had 20; at most 50% may be gone",
        ),
        (
            content("full", 100, died=40),
            [content("full", 100, died=100)],
            "patient: 60% of the records have no DateOfDeath, usual are 0%; at most 50% more are allowed",
        ),
        (
            content("delta", 20, died=0),
            [content("delta", 10, died=9), content("delta", 10, died=10)],
            "patient: 100% of the records have no DateOfDeath, usual are 5%; at most 50% more are allowed",
        ),
    ],
)
def test_what_is_lost_stops_the_delivery(new: Content, past: list[Content], stop: str) -> None:
    assert drift(new, *past) == ([stop], [])


@pytest.mark.parametrize(
    ("rows", "past", "stops"),
    [
        (1, [content("delta", 100)], ["patient: 1 records, the largest earlier delivery had 100; at most 50% may be gone"]),
        (0, [content("delta", 3)], ["patient: no record, the largest earlier delivery had 3"]),
        (49, [content("delta", 100), content("delta", 2)],
         ["patient: 49 records, the largest earlier delivery had 100; at most 50% may be gone"]),
        (50, [content("period", 100)], []),
        (900, [content("delta", 100)], []),
        (1, [content("delta", 19)], []),
        (1, [content("delta", 0)], []),
        (60, [content("delta", 300), content("full", 100), content("delta", 300)], []),
    ],
)  # fmt: skip
def test_a_first_full_extract_has_what_was_sent_before(rows: int, past: list[Content], stops: list[str]) -> None:
    """As changes or by period: at least as much as there was in one of these deliveries."""
    assert drift(content("full", rows), *past) == (stops, [])


@pytest.mark.parametrize(
    ("periods", "submitted", "stops", "warnings"),
    [
        ({"1512": 100}, {"1512": 100}, [], []),
        ({"1512": 50}, {"1512": 100}, [], []),
        ({"1512": 49}, {"1512": 100},
         ["patient of period 1512: 49 records, its last submission had 100; at most 50% may be gone"], []),
        ({"1512": 100, "1511": 1}, {"1511": 100, "1512": 100},
         ["patient of period 1511: 1 records, its last submission had 100; at most 50% may be gone"], []),
        ({"1512": 0}, {"1512": 20}, ["patient of period 1512: no record, its last submission had 20"], []),
        ({"1512": 301}, {"1512": 100}, [],
         ["patient of period 1512: 301 records, its last submission had 100; at most 200% more are usual"]),
        ({"1512": 0}, {"1512": 19}, [], []),
        ({"1512": 1}, {"1511": 100}, [], []),
        ({"1512": 1}, {"1512": None}, [], []),
        ({"1512": None}, {"1512": 100}, [], []),
    ],
)  # fmt: skip
def test_a_period_is_compared_with_its_last_submission(
    periods: dict[str, int | None], submitted: dict[str, int | None], stops: list[str], warnings: list[str]
) -> None:
    """By the limits of full extracts; periods of few records may lose all."""
    new = Content("period", 100, {"a": 100}, periods)
    found = compare("patient", SPEC, new, [content("period", 100)], LIMITS, submitted)
    assert (found.stops, found.warnings) == (stops, warnings)
    assert compare("patient", SPEC, Content("delta", 100, {"a": 100}, periods), [], LIMITS, submitted).stops == []


def test_a_jump_in_records_is_a_warning() -> None:
    stop = "patient: 301 records, the last full extract had 100; at most 200% more are usual"
    assert drift(content("full", 301, died=30), FULL) == ([], [stop])


def test_limits_are_as_configured() -> None:
    new = content("full", 79)
    lenient = DeliveryLimits.model_validate({"lost_column": "ignore", "max_shrinkage": 0.2})
    assert drift(new, FULL, limits=lenient) == (
        ["patient: 79 records, the last full extract had 100; at most 20% may be gone"],
        [],
    )
    warns = DeliveryLimits.model_validate({"lost_column": "warn", "empty_full": "warn"})
    assert drift(new, FULL, limits=warns) == ([], [LOST])
    assert drift(content("full", 0), FULL, limits=warns)[0] == []


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(0, 500), st.sampled_from(["full", "delta"]), st.integers(1, 4))
def test_the_same_again_is_never_unusual(rows: int, died: int, mode: str, times: int) -> None:
    again = content(mode, rows, died=min(rows, died))
    assert drift(again, *[again] * times) == ([], [])


@pytest.mark.parametrize(
    ("delivered", "past", "said"),
    [
        (["patient"], [], []),
        (["patient"], [{"patient": 100}], []),
        (
            ["patient"],
            [{"patient": 100, "problem": 20}],
            ["problem: no file, the last had 20 records; what came before counts on"],
        ),
        (["patient"], [{"patient": 100, "problem": 19}], []),
        (["patient", "problem"], [{"patient": 100, "problem": 20}], []),
        (["patient"], [{"patient": 100}, {"problem": 20}], []),
        (["patient"], [{"problem": 20}, {"problem": 0}], []),
        (["patient"], [{}, *[{"problem": 20}] * 5], ["problem: no file, the last had 20 records; what came before counts on"]),
        (
            [],
            [{"patient": 30, "allergy": 40}],
            [
                "allergy: no file, the last had 40 records; what came before counts on",
                "patient: no file, the last had 30 records; what came before counts on",
            ],
        ),
    ],
)
def test_a_file_that_each_of_the_last_whole_deliveries_had_is_missed(
    delivered: list[str], past: list[dict[str, int]], said: list[str]
) -> None:
    assert lost_files(delivered, past, LIMITS) == said
