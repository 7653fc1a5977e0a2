"""The gate results of a run as Great Expectations suites and Data Docs, for those who read quality reports in that form.

One suite a zone. Its batch has one row per table and column and one column per rule and severity, with 1 where the check
was broken and 0 where it passed; the suite expects 0 everywhere. The gates have judged already and their numbers of rows
may be small enough to point at people, so none is shown.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.quality.gates import GateResult

Broken = tuple[str, str, str]
"""Table, column and rule of a check that did not pass."""

SITE = "gates"


def write_data_docs(run_id: str, results: Sequence[GateResult], folder: Path) -> dict[str, set[Broken]]:
    """Write the site to a folder (`index.html`); gives what the suite of each zone found broken.

    Great Expectations and pandas are imported here alone, because that takes seconds. Great Expectations reports use to
    its makers unless the environment says otherwise before the import.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    for name in list(context.get_site_names()):
        context.delete_data_docs_site(name)
    context.add_data_docs_site(SITE, _site(folder.resolve()))
    by_zone: dict[str, list[GateResult]] = defaultdict(list)
    for result in results:
        by_zone[str(result.check.zone)].append(result)
    run = RunIdentifier(run_name=run_id)
    broken = {zone: _validate(gx, context, run, zone, _batch(of_zone)) for zone, of_zone in by_zone.items()}
    context.build_data_docs(site_names=[SITE])
    return broken


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
        "table": [result.check.table for result in results],
        "column": [result.check.column for result in results],
        "rule": [f"{result.check.rule} ({result.check.severity})" for result in results],
        "broken": [0 if result.passed else 1 for result in results],
    }
    return pd.DataFrame(cells).pivot_table(index=["table", "column"], columns="rule", values="broken", aggfunc="max")


def _validate(gx: Any, context: Any, run: Any, zone: str, batch: Any) -> set[Broken]:
    """Run the suite of a zone and keep its result in the context, from which the site is built."""
    expectations = [
        gx.expectations.ExpectColumnValuesToBeBetween(column=rule, min_value=0, max_value=0) for rule in batch.columns
    ]
    suite = context.suites.add(gx.ExpectationSuite(name=zone, expectations=expectations))
    asset = context.data_sources.add_pandas(zone).add_dataframe_asset("checks")
    whole = asset.add_batch_definition_whole_dataframe("run")
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=zone, data=whole, suite=suite))
    validation = definition.run(
        batch_parameters={"dataframe": batch.reset_index()},
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["table", "column"]},
        run_id=run,
    )
    return {
        (row["table"], row["column"], outcome.expectation_config.kwargs["column"].partition(" ")[0])
        for outcome in validation.results
        if not outcome.success
        for row in outcome.result["unexpected_index_list"]
    }
