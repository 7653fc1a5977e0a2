"""Expectations that Great Expectations runs itself on the frames of the engine, because they are not counted in one pass."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

from pyspark.sql import DataFrame

from pipelines.errors import ConfigError
from pipelines.quality.expectations.suites import Expectation, library

_ONE_AT_A_TIME: Final = Lock()
"""The library keeps its project in a global variable, and tables of measures are made at the same time."""

_COUNTS_ONLY: Final = {"result_format": "BASIC", "partial_unexpected_count": 0}


def counts_by_library(table: DataFrame, expectations: Sequence[Expectation]) -> Iterator[tuple[str, int, int]]:
    """Of each expectation its text, the rows that it looks at and those that break it.

    An expectation that counts no rows looks at one, the table. Nothing but numbers is taken from a result.
    Raises ConfigError where the library cannot compute an expectation on this engine.
    """
    columns = set(table.columns)
    with _ONE_AT_A_TIME, _quiet():
        batch = _batch(table)
        for expectation in expectations:
            if not set(expectation.columns) <= columns:
                yield expectation.text, 0, 1
                continue
            yield expectation.text, *_count(expectation, batch.validate(_as_library(expectation), result_format=_COUNTS_ONLY))


def _batch(table: DataFrame) -> Any:
    context = library().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_spark("tables", persist=False).add_dataframe_asset("table")
    return asset.add_batch_definition_whole_dataframe("now").get_batch({"dataframe": table})


def _as_library(expectation: Expectation) -> Any:
    library()
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    return ExpectationConfiguration(type=expectation.type, kwargs=dict(expectation.kwargs)).to_domain_obj()


def _count(expectation: Expectation, outcome: Any) -> tuple[int, int]:
    """Rows and violations. The text of an exception may hold values of rows, so none of it is shown."""
    result = outcome.result
    if _raised(outcome.exception_info):
        raise ConfigError(
            f"{expectation.place}: Great Expectations cannot compute it on {expectation.table} with this engine; "
            "docs/expectations.md lists what every engine computes"
        )
    if "unexpected_count" in result and "element_count" in result:
        return result["element_count"] - (result.get("missing_count") or 0), result["unexpected_count"]
    return 1, 0 if outcome.success else 1


def _raised(info: Mapping[str, Any]) -> bool:
    """Whether something was raised: the library says so for the expectation, or for each figure that it could not compute."""
    return bool(info.get("raised_exception")) or any(
        isinstance(part, dict) and part.get("raised_exception") for part in info.values()
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the log of the library, which holds texts of exceptions."""
    log = logging.getLogger("great_expectations")
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before
