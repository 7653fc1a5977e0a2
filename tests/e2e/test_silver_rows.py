"""Every current silver row of the generated world is counted once: taken by mapping rules, or by none and why.

Silver rows and mapped rows are counted again from the stored tables, without the code that counts outcomes.
"""

from collections import Counter, defaultdict

import pytest

from pipelines.contracts.ledger import Disposition, LedgerRow, Stage
from pipelines.mapping.spec import Target
from pipelines.omop.declared import ROW_TABLES
from pipelines.settings import SOURCES
from tests.e2e.test_work_list import last_ledger
from tests.e2e.world import DemoWorld

pytestmark = pytest.mark.embedded

Place = tuple[str, str]


@pytest.fixture(scope="module")
def taken(world: DemoWorld) -> list[LedgerRow]:
    """What became of the silver rows of the last night."""
    return [row for row in last_ledger(world) if row.stage is Stage.TAKE]


@pytest.fixture(scope="module")
def silver(world: DemoWorld) -> dict[Place, int]:
    """How many rows each silver table has."""
    places = {
        (source, table.removeprefix(f"{source}_"))
        for _, table in world.tables("silver")
        for source in SOURCES
        if table.startswith(f"{source}_")
    }
    return {place: len(world.rows("silver", "_".join(place), ["row_key"])) for place in places}


def test_taken_and_untaken_rows_add_up_with_silver_by_source_and_entity(
    taken: list[LedgerRow], silver: dict[Place, int]
) -> None:
    outcomes: Counter[Place] = Counter()
    for row in taken:
        if row.disposition in (Disposition.MAPPED, Disposition.UNTAKEN):
            outcomes[row.source, row.entity] += row.rows
    assert dict(outcomes) == {place: rows for place, rows in silver.items() if rows}
    assert len(outcomes) > 60


RESULT = "acute_pathology_result"


def test_a_row_is_taken_by_the_rules_that_gave_it_a_mapped_row(world: DemoWorld, taken: list[LedgerRow]) -> None:
    lost = set(world.rows("intermediate", "left_out_rows", ["row_key", "rule"]).itertuples(index=False, name=None))
    people = set(world.rows("intermediate", "known_persons")["person_id"]) - set(
        world.rows("intermediate", "unobserved_persons")["person_id"]
    )
    rules: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    tables = [*ROW_TABLES.items(), *((Target.EVENT, f"stem_{source}") for source in SOURCES)]
    for target, table in tables:
        found = world.rows("intermediate", table, ["_source", "_entity", "_row_key", "_rule", "person_id"])
        for source, entity, key, rule, person in found.itertuples(index=False, name=None):
            is_about_people = target not in (Target.PROVIDER, Target.CARE_SITE)
            if (key, rule) not in lost and (person in people or not is_about_people):
                rules[source, entity, key].add(rule)
    expected = Counter((source, entity, ", ".join(sorted(names))) for (source, entity, _), names in rules.items())
    mapped = {(row.source, row.entity, row.rule): row.rows for row in taken if row.disposition is Disposition.MAPPED}
    # Results that are part of a specimen which another result gave, and episodes of a spell whose methods of admission and
    # discharge another episode gave: these rules are not in the stem for them.
    grouped = {("acute", "pathology_result"), ("acute", "apc_episode")}
    assert {key: rows for key, rows in mapped.items() if key[:2] not in grouped} == {
        key: rows for key, rows in expected.items() if key[:2] not in grouped
    }
    # A result that was left out is still part of a specimen which another one gave.
    stem = world.rows("intermediate", "stem_acute", ["_rule", "key"])
    specimens = set(stem[stem["_rule"] == "acute_specimen"]["key"])
    results = world.rows("silver", "acute_pathology_result", ["row_key", "specimen_key"])
    left_out = [key for key, specimen in results.itertuples(index=False, name=None) if specimen in specimens]
    left_out = [key for key in left_out if ("acute", "pathology_result", key) not in rules and (key, RESULT) in lost]
    alone = {("acute", "pathology_result"): len(left_out)}
    for place in grouped:
        assert sum(rows for key, rows in mapped.items() if key[:2] == place) == alone.get(place, 0) + sum(
            rows for key, rows in expected.items() if key[:2] == place
        )


def test_rows_that_no_rule_takes_say_why_and_are_listed_by_values(world: DemoWorld, taken: list[LedgerRow]) -> None:
    untaken = {
        (row.source, row.entity, row.rule, row.reason): row.rows for row in taken if row.disposition is Disposition.UNTAKEN
    }
    reasons = {(source, entity): reason for source, entity, rule, reason in untaken if not rule}
    assert reasons == {
        ("ambulance", "incident"): "looked_up",
        ("ambulance", "response"): "looked_up",
        ("community", "service_type_referred_to"): "looked_up",
        ("gp", "appointment_slot"): "looked_up",
        ("gp", "clinical_code"): "looked_up",
        ("gp", "drug_code"): "looked_up",
        ("gp", "drug_record"): "issues_are_mapped",
        ("gp", "problem"): "looked_up",
        ("gp", "sharing_organisation"): "followed_by_curate",
        ("mental_health", "other_service_type"): "looked_up",
        ("mental_health", "staff_activity"): "looked_up",
        ("mental_health", "team"): "reference_data",
    }
    assert untaken["gp", "consultation", "gp_consultation", "administrative_entry"] > 0
    listed = world.rows("ledger", "silver_rows")
    by_column = listed[(listed["disposition"] == "untaken") & (listed["column"] != "")]
    totals = by_column.groupby(["source", "entity", "rule", "reason", "column"])["rows"].sum()
    assert ("gp", "consultation", "gp_consultation", "administrative_entry", "consultation_source_term") in totals.index
    assert all(rows == untaken[place[:4]] for place, rows in totals.items())
