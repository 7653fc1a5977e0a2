"""Every coded row of the generated world has a standard concept or is in the work list; the counts equal those of the ledger.

The rows are counted again from the stored stem and the OMOP tables, without the code that makes the list and the ledger.
"""

from collections import Counter
from functools import cache

import pandas as pd
import pytest

from pipelines.contracts.ledger import Disposition, LedgerRow, Stage, totals_by
from pipelines.contracts.source import load_contracts
from pipelines.mapping.spec import Target, load_mappings
from pipelines.settings import PACKAGED_MAPPINGS_DIR, SOURCES
from tests.e2e.world import DemoWorld

pytestmark = pytest.mark.embedded

LEAST_SHARE = 0.97

CONCEPTS = {
    "condition_occurrence": "condition_concept_id",
    "drug_exposure": "drug_concept_id",
    "procedure_occurrence": "procedure_concept_id",
    "measurement": "measurement_concept_id",
    "observation": "observation_concept_id",
    "device_exposure": "device_concept_id",
    "specimen": "specimen_concept_id",
}
"""The event tables with the concept that decides which of them a row is in."""

EVENT = ["_row_key", "_rule"]
CODE = ["_source", "_rule", "concept_vocabulary", "concept_code"]


@cache
def event_rules() -> frozenset[str]:
    """The rules that make events."""
    mappings = load_mappings(PACKAGED_MAPPINGS_DIR, load_contracts(PACKAGED_MAPPINGS_DIR, SOURCES))
    return frozenset(rule.name for mapping in mappings.values() for rule in mapping.rules if rule.to is Target.EVENT)


def last_ledger(world: DemoWorld) -> list[LedgerRow]:
    """The ledger of the last night."""
    rows = world.rows("ledger", "rows")
    return [LedgerRow.of(row) for row in rows[rows["run_id"] == rows["run_id"].max()].to_dict("records")]


def counted(ledger: list[LedgerRow], stage: Stage, *columns: str) -> dict[tuple[str, ...], int]:
    """Rows of a stage by columns, without those that are 0."""
    return {key: rows for key, rows in totals_by((row for row in ledger if row.stage is stage), *columns).items() if rows}


def stems(world: DemoWorld, columns: list[str]) -> pd.DataFrame:
    """The events of every source that no plausibility rule sets aside, before any concept is looked up; one table a source."""
    wanted = [*columns, "_set_aside"]
    stem = pd.concat([world.rows("intermediate", f"stem_{source}", wanted) for source in SOURCES], ignore_index=True)
    return stem[stem["_set_aside"].isna()][columns]


@pytest.fixture(scope="module")
def coded_events(world: DemoWorld) -> pd.DataFrame:
    """One row per coded event of the stem: its code, and the greatest standard concept that its OMOP rows have."""
    stem = stems(world, [*EVENT, *CODE[:1], *CODE[2:]])
    stem = stem[stem["concept_code"].notna()]
    frames = [
        world.rows("omop", table, [*EVENT, concept]).rename(columns={concept: "target"}) for table, concept in CONCEPTS.items()
    ]
    targets = pd.concat(frames).groupby(EVENT, as_index=False)["target"].max()
    return stem.merge(targets, on=EVENT, how="left", validate="one_to_one")


def test_nearly_all_coded_rows_have_a_standard_concept(world: DemoWorld, coded_events: pd.DataFrame) -> None:
    assert coded_events["target"].notna().all()
    standard = coded_events["target"] > 0
    assert standard.mean() >= LEAST_SHARE
    assert standard.groupby(coded_events["_source"]).mean().min() >= LEAST_SHARE
    assert set(coded_events["_source"]) == set(SOURCES)


def test_every_other_row_is_in_the_work_list(world: DemoWorld, coded_events: pd.DataFrame) -> None:
    without = Counter(coded_events[coded_events["target"] == 0][CODE].itertuples(index=False, name=None))
    listed = world.rows("intermediate", "unmapped_codes")
    events = listed[(listed["field"] == "concept") & listed["rule"].isin(event_rules())]
    assert len(without) > 0
    assert dict(events.set_index(["source", "rule", "vocabulary", "code"])["rows"]) == without


def test_the_list_adds_up_to_the_ledger_of_codes(world: DemoWorld, coded_events: pd.DataFrame) -> None:
    ledger = counted(last_ledger(world), Stage.CODE, "source", "disposition")
    listed = world.rows("intermediate", "unmapped_codes")
    events = listed[(listed["field"] == "concept") & listed["rule"].isin(event_rules())].groupby("source")["rows"].sum()
    open_rows = {
        source: ledger.get((source, Disposition.KNOWN_UNMAPPED), 0) + ledger.get((source, Disposition.UNKNOWN), 0)
        for source in SOURCES
    }
    assert {source: rows for source, rows in open_rows.items() if rows} == events.to_dict()
    coded = {source: ledger[source, Disposition.CODED] for source in SOURCES}
    assert coded == coded_events.groupby("_source").size().to_dict()


def test_the_counts_of_codes_map_and_curate_agree(world: DemoWorld, coded_events: pd.DataFrame) -> None:
    ledger = last_ledger(world)
    mapped: Counter[str] = Counter()
    for (rule, disposition), rows in counted(ledger, Stage.MAP, "rule", "disposition").items():
        if rule in event_rules():
            mapped[rule] += {Disposition.MAPPED: rows, Disposition.MERGED: -rows}.get(Disposition(disposition), 0)
    assert stems(world, ["_rule"]).groupby("_rule").size().to_dict() == dict(+mapped)
    coded = {
        rule: rows
        for (rule, disposition), rows in counted(ledger, Stage.CODE, "rule", "disposition").items()
        if disposition == Disposition.CODED
    }
    assert coded_events.groupby("_rule").size().to_dict() == coded
    current = counted([row for row in ledger if row.disposition is Disposition.CURRENT], Stage.CURATE, "source", "entity")
    shown = [row for row in ledger if row.stage is Stage.MAP and row.disposition is Disposition.SILVER and row.rows]
    assert len(shown) > len(event_rules()) / 2
    assert all(row.rows == current[row.source, row.entity] for row in shown)
