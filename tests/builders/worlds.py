"""A lakehouse from a few delivered rows, taken through every stage and the gates."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.ledger import check_balance
from pipelines.contracts.zones import Zone
from pipelines.declaring import declared_tables
from pipelines.governance.opt_out_lists import OptOutPolicy, read_opt_outs
from pipelines.nightly import ingest_deliveries
from pipelines.quality.gates import GateReport
from pipelines.quality.tables import run_gates
from pipelines.run_context import RunContext
from pipelines.run_ledger import curate_ledger, map_ledger
from pipelines.settings import PACKAGED_MAPPINGS_DIR, storage_paths
from pipelines.storage.tables import TableStore
from pipelines.synthetic.nhs_numbers import valid_numbers
from tests.builders.landing import deliver, opt_out_lists
from tests.builders.policies import limit, policy
from tests.builders.runs import RUN_ID, run_in, settings_in
from tests.golden.cases import DELIVERED_ON, golden_contracts, golden_mappings
from vocab.load import DEMO_DIR, load_vocabulary
from vocab.local_maps import read_local_maps

NUMBERS = [str(number) for number in valid_numbers()[500:510]]
"""The NHS numbers whose owners have not opted out."""

DAY = f"{DELIVERED_ON:%Y%m%d}"

Rows = Mapping[str, Sequence[Mapping[str, str]]]


def demo_vocabulary(session: SparkSession, folder: Path) -> Path:
    """Load the demo vocabulary below a folder; the folder of its tables."""
    settings = settings_in(folder)
    store = TableStore(session, storage_paths(settings))

    def write(rows: DataFrame, name: str, schema: dict[str, str]) -> None:
        store.overwrite(rows, Zone.VOCABULARY, name, schema)

    load_vocabulary(session, DEMO_DIR, write)
    return folder / "deidentified" / "vocabulary"


def loaded(
    session: SparkSession,
    folder: Path,
    vocabulary: Path,
    deliveries: Mapping[tuple[str, str], Rows],
    *overrides: str,
    waits_for: Collection[str] = (),
) -> tuple[RunContext, GateReport]:
    """The lakehouse after some deliveries, one each by source and provider, with the ledger in balance; what the gates say.

    `overrides` change the settings. `waits_for` are sources that are to be loaded and of which nothing has come.
    """
    sources = tuple(sorted({*waits_for, *(source for source, _ in deliveries)}))
    run = run_in(session, folder, DELIVERED_ON, sources, f"run.sources=[{', '.join(sources)}]", *overrides)
    landing = run.settings.storage.landing
    shutil.copytree(vocabulary, folder / "deidentified" / "vocabulary")
    for (source, provider), tables in deliveries.items():
        deliver(landing, golden_contracts()[source], provider, DAY, tables)
    opt_out_lists(landing, DAY, NUMBERS)
    run = replace(
        run,
        inputs=replace(
            run.inputs,
            mappings={source: golden_mappings()[source] for source in sources},
            local_maps=read_local_maps(PACKAGED_MAPPINGS_DIR / "concepts"),
            opt_outs=read_opt_outs(landing, OptOutPolicy(21, 0.0, 1.0, 0.2), DELIVERED_ON),
        ),
    )
    ingest_deliveries(run)
    declared = declared_tables(run, run.register())
    run.runner.run(declared.tables)
    ledger = [*curate_ledger(run, RUN_ID, run.register()), *map_ledger(run, RUN_ID)]
    check_balance(ledger)
    limits = policy(limit("quarantined_share", 1), limit("mapped_share", 1))
    return run, run_gates(
        run.store.paths, declared.checked, run.inputs.contracts, declared.released, run.run_date, ledger, limits
    )
