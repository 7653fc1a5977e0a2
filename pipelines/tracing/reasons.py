"""Why the rules of an entity leave a record of silver out: the same checks that a run makes, on one row."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true
from pipelines.contracts.source import SourceContract
from pipelines.contracts.zones import Zone
from pipelines.mapping.compile import checks_of, columns_of_checks, filled_fields, groups_events, with_lookups
from pipelines.mapping.spec import Lookup, Rule
from pipelines.omop.stem import entities_in_use
from pipelines.storage.tables import TableStore
from vocab.schemas import ddl_of

KEPT = ""
"""The reason of a rule that takes a row."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What rules say of one record: why each leaves it out, or KEPT, and of which event it is part by rules that group."""

    reasons: dict[str, str] = field(default_factory=dict)
    event_keys: dict[str, str] = field(default_factory=dict)


def judged_by(store: TableStore, contract: SourceContract, rules: Iterable[Rule], row_key: str) -> Judged:
    """What some rules for one entity say of the row of silver with a key. Rules that look up alike read together."""
    found = Judged()
    for lookups, members in _scans(tuple(rules)):
        columns = {column for rule in members for column in columns_of_checks(rule, contract)}
        silver = {entity: _silver(store, contract, entity) for entity in entities_in_use(members)}
        rows = with_lookups(members[0].from_, lookups, contract, silver, columns).where(F.col("row_key") == row_key)
        fields = {rule.name: filled_fields(rule, contract) for rule in members}
        reasons = [
            first_true(
                [(check.fails, F.lit(check.reason)) for check in checks_of(rule, contract, fields[rule.name])], F.lit(KEPT)
            ).alias(f"reason {rule.name}")
            for rule in members
        ]
        grouping = [rule.name for rule in members if groups_events(rule)]
        keys = [fields[name]["key"].alias(f"key {name}") for name in grouping]
        for row in rows.select(*reasons, *keys).toArrow().to_pylist():
            found.reasons.update({rule.name: row[f"reason {rule.name}"] for rule in members})
            found.event_keys.update({name: row[f"key {name}"] for name in grouping})
    return found


def _scans(rules: tuple[Rule, ...]) -> list[tuple[dict[str, Lookup], list[Rule]]]:
    """The rules by what they look up: those are together of which no look-up has the name of another one."""
    scans: list[tuple[dict[str, Lookup], list[Rule]]] = []
    for rule in rules:
        agreeing = (scan for scan in scans if all(scan[0].get(alias, how) == how for alias, how in rule.lookups.items()))
        scan = next(agreeing, None)
        if scan is None:
            scans.append((dict(rule.lookups), [rule]))
        else:
            scan[0].update(rule.lookups)
            scan[1].append(rule)
    return scans


def _silver(store: TableStore, contract: SourceContract, entity: str) -> DataFrame:
    """The table of an entity; one that was never delivered is empty."""
    name = f"{contract.source}_{entity}"
    if store.exists(Zone.SILVER, name):
        return store.read(Zone.SILVER, name)
    return store.session.createDataFrame([], ddl_of(contract.entities[entity].silver_columns))
