"""Which tables are made for touched people only, by the logs that name them."""

from functools import cache

from pipelines.contracts.source import load_contracts
from pipelines.contracts.tables import Table, TableName
from pipelines.contracts.touched import TOUCHED_BY_SUPPLIES
from pipelines.contracts.type_one import load_type_one_codes
from pipelines.dictionary import every_table
from pipelines.mapping.plausibility import load_plausibility
from pipelines.mapping.spec import load_mappings
from pipelines.settings import PACKAGED_MAPPINGS_DIR, OptOutSettings


@cache
def declared() -> dict[TableName, Table]:
    contracts = load_contracts(PACKAGED_MAPPINGS_DIR)
    codes = load_type_one_codes(PACKAGED_MAPPINGS_DIR / OptOutSettings().type1_codes, contracts["gp"])
    mappings = load_mappings(PACKAGED_MAPPINGS_DIR, contracts)
    tables = every_table(contracts, mappings, codes, load_plausibility(PACKAGED_MAPPINGS_DIR))
    return {table.name: table for table in tables}


def logs_of(log: TableName, graph: dict[TableName, Table]) -> set[TableName]:
    """A log and those whose entries it has too."""
    followed = graph[log].log
    return {log}.union(*[logs_of(name, graph) for name in followed.follows if graph[name].log]) if followed else {log}


def test_a_log_names_everybody_whom_the_logs_of_the_tables_read_name() -> None:
    """Else a night would make the table whole, because an input has changed for people of whom its own log says nothing."""
    graph = declared()
    unknown = {
        (str(table.name), str(name))
        for table in graph.values()
        if table.selection
        for name in table.inputs
        if name in graph and (read := graph[name].selection) and read.log not in logs_of(table.selection.log, graph)
    }
    assert unknown == set()


def test_supplies_that_move_on_make_what_is_made_of_drug_exposures_only() -> None:
    by_supplies = {
        str(table.name) for table in declared().values() if table.selection and table.selection.log == TOUCHED_BY_SUPPLIES
    }
    assert by_supplies == {
        "intermediate.eras",
        "omop.condition_era",
        "omop.dose_era",
        "omop.drug_dosing",
        "omop.drug_era",
        "omop.drug_exposure",
        "omop.drug_order_administration",
        "omop.event_after_death",
        "omop.event_evidence",
        "omop.same_fact",
    }


def test_supplies_are_looked_for_where_events_say_for_how_long() -> None:
    """Community, mental health and social care never give the days of a supply."""
    searched = {str(name) for name in declared()[TOUCHED_BY_SUPPLIES].inputs if name.name.startswith("stem_")}
    assert searched == {f"intermediate.stem_{source}" for source in ("gp", "acute", "ambulance", "synthea")}
