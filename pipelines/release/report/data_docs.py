"""The gate results of a run as Great Expectations suites and Data Docs, for those who read quality reports in that form.

One suite a zone, and one for each suite that the team has added. Its batch has one row per table and column and one column
per rule and severity, with 1 where the check was broken and 0 where it passed; the suite expects 0 everywhere. The gates have
judged already and their numbers of rows may be small enough to point at people, so none is shown.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape, unescape
from pathlib import Path
from typing import Any

from pipelines.progress import printable
from pipelines.quality.checks import OF_SUITE, Rule
from pipelines.quality.expectations.suites import library
from pipelines.quality.gates import GateResult

Broken = tuple[str, str, str]
"""Table, column and rule of a check that did not pass."""

SITE = "gates"
_SEVERITY = " ("


def write_data_docs(run_id: str, results: Sequence[GateResult], folder: Path) -> dict[str, set[Broken]]:
    """Write the site to a folder (`index.html`); gives what each suite found broken, an expectation in place of a rule.

    Great Expectations and pandas are imported for this alone, because that takes seconds.
    """
    gx = library()
    from great_expectations.core.run_identifier import RunIdentifier

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    for name in list(context.get_site_names()):
        context.delete_data_docs_site(name)
    context.add_data_docs_site(SITE, _site(folder.resolve()))
    by_suite: dict[str, list[GateResult]] = defaultdict(list)
    for result in results:
        by_suite[_suite(result)].append(result)
    run = RunIdentifier(run_name=run_id)
    broken = {suite: _validate(gx, context, run, suite, _batch(of_suite)) for suite, of_suite in by_suite.items()}
    context.build_data_docs(site_names=[SITE])
    return broken


def _suite(result: GateResult) -> str:
    """The suite of a result: that of the team, or that of the zone."""
    is_added = result.check.rule is Rule.EXPECTATION
    return result.check.column.partition(OF_SUITE)[0] if is_added else str(result.check.zone)


def _asked(result: GateResult) -> tuple[str, str]:
    """What was checked: the column and the rule, or the expectation, which names its columns itself."""
    if result.check.rule is Rule.EXPECTATION:
        return "", result.check.column.partition(OF_SUITE)[2]
    return result.check.column, str(result.check.rule)


def _as_html(text: str) -> str:
    """A text as the pages have to have it: Great Expectations puts it there as it is, and names of providers are in it."""
    return escape(printable(text))


def _site(folder: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }


def _batch(results: Sequence[GateResult]) -> Any:
    """One row per table and column, one column per rule and severity: 1 broken, 0 passed, empty where nothing is checked."""
    import pandas as pd

    cells: Mapping[str, Sequence[str | int]] = {
        "table": [_as_html(result.check.table) for result in results],
        "column": [_as_html(_asked(result)[0]) for result in results],
        "rule": [_as_html(f"{_asked(result)[1]}{_SEVERITY}{result.check.severity})") for result in results],
        "broken": [0 if result.passed else 1 for result in results],
    }
    return pd.DataFrame(cells).pivot_table(index=["table", "column"], columns="rule", values="broken", aggfunc="max")


def _validate(gx: Any, context: Any, run: Any, name: str, batch: Any) -> set[Broken]:
    """Run a suite and keep its result in the context, from which the site is built."""
    expectations = [
        gx.expectations.ExpectColumnValuesToBeBetween(column=rule, min_value=0, max_value=0) for rule in batch.columns
    ]
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
    asset = context.data_sources.add_pandas(name).add_dataframe_asset("checks")
    whole = asset.add_batch_definition_whole_dataframe("run")
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=whole, suite=suite))
    validation = definition.run(
        batch_parameters={"dataframe": batch.reset_index()},
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["table", "column"]},
        run_id=run,
    )
    broken = [
        (row["table"], row["column"], outcome.expectation_config.kwargs["column"].rpartition(_SEVERITY)[0])
        for outcome in validation.results
        if not outcome.success
        for row in outcome.result["unexpected_index_list"]
    ]
    return {(unescape(table), unescape(column), unescape(rule)) for table, column, rule in broken}
