"""Runs over a temporary lakehouse."""

from dataclasses import replace
from datetime import date
from pathlib import Path

from pyspark.sql import SparkSession

from pipelines.columns.keyed import Pads
from pipelines.contracts.ledger import LedgerRow, check_balance
from pipelines.contracts.source import load_contracts
from pipelines.contracts.type_one import load_type_one_codes
from pipelines.curate.tables import curate_tables
from pipelines.declaring import curate_inputs
from pipelines.governance.keys import derive, hmac_pads
from pipelines.governance.opt_out_lists import OptOutFiles, OptOutPolicy, read_opt_outs
from pipelines.ingest.register import in_contracts
from pipelines.mapping.analytes import load_analytes
from pipelines.mapping.plausibility import load_plausibility
from pipelines.nightly import ingest_deliveries
from pipelines.run_context import RunContext
from pipelines.run_inputs import RunInputs
from pipelines.run_ledger import curate_ledger
from pipelines.settings import PACKAGED_MAPPINGS_DIR, Settings, load_settings, storage_paths
from pipelines.storage.tables import TableStore
from pipelines.synthetic.demo_key import DEMO_KEY
from pipelines.terminology.vocabulary import LoadedVocabulary

PADS = Pads({purpose: hmac_pads(derive(DEMO_KEY, purpose)) for purpose in ("row", "person")})

POLICY = OptOutPolicy(max_age_days=21, least_national_share=0.005, most_national_share=0.25, max_shrinkage=0.2)

RUN_ID = "20260105-00001"


def settings_in(folder: Path, *overrides: str) -> Settings:
    """The settings of the demo with all paths below a folder."""
    places = [f"storage.{name}={folder / name}" for name in ("landing", "restricted", "deidentified")]
    return load_settings("demo", overrides=[*places, *overrides])


def run_in(session: SparkSession, folder: Path, run_date: date, sources: tuple[str, ...], *overrides: str) -> RunContext:
    """A run on a day over the lakehouse in a folder, with the real contracts of some sources and no mappings or lists."""
    settings = settings_in(folder, *overrides)
    inputs = RunInputs(
        contracts=load_contracts(PACKAGED_MAPPINGS_DIR, sources),
        mappings={},
        plausibility=load_plausibility(PACKAGED_MAPPINGS_DIR),
        analytes=load_analytes(PACKAGED_MAPPINGS_DIR),
        rules_digest="",
        local_maps_digest="",
        local_maps=(),
        pads=PADS,
        key_fingerprint="",
        opt_outs=OptOutFiles((), (), (), (), ()),
        type_one=None,
        vocabulary=LoadedVocabulary(release="demo", vocabularies={}, digest="demo"),
    )
    return RunContext(run_date, settings, inputs, TableStore(session, storage_paths(settings)))


def ingested_and_curated(run: RunContext) -> list[LedgerRow]:
    """Ingest and curate with the opt-out lists in the landing folder; the balanced ledger of curate."""
    ingest_deliveries(run)
    lists = read_opt_outs(run.settings.storage.landing, POLICY, run.run_date)
    gp = run.inputs.contracts.get("gp")
    codes = load_type_one_codes(PACKAGED_MAPPINGS_DIR / "opt_outs" / "type1.yaml", gp) if gp else None
    ready = replace(run, inputs=replace(run.inputs, opt_outs=lists, type_one=codes))
    register = in_contracts(ready.register(), ready.inputs.contracts)
    ready.runner.run(curate_tables(curate_inputs(ready, register)))
    ledger = curate_ledger(ready, RUN_ID, register)
    check_balance(ledger)
    return ledger
