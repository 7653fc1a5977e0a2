"""The mapped rows of each target, and above all the stem: every event of a source in one wide table.

Concepts are not looked up yet: a row holds the vocabulary, the normalised code and the value as delivered.
"""

from collections.abc import Iterable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.contracts.cdm import CODE_BUCKET
from pipelines.mapping.compile import PERSON_BOUND, filled_columns, kept_rows, target_schema
from pipelines.mapping.counts import SilverSource
from pipelines.mapping.spec import Rule, Target
from pipelines.omop.codes import code_bucket, code_key
from pipelines.omop.events import first_event_id

KNOWN_PERSONS_SCHEMA = {"person_id": "bigint"}
"""One row per person of the CDM."""

STEM_SCHEMA = target_schema(Target.EVENT) | {CODE_BUCKET: "int", "_code_key": "bigint", "_first_id": "bigint"}
"""One row per source event, before any concept is looked up: its bucket, the key of its code, and the id that its first
row in an event table has."""


def entities_in_use(rules: Iterable[Rule]) -> tuple[str, ...]:
    """The entities that rules read, in alphabetical order."""
    return tuple(sorted({name for rule in rules for name in (rule.from_, *(how.entity for how in rule.lookups.values()))}))


def rows_of(target: Target, sources: Iterable[SilverSource], persons: DataFrame | None) -> DataFrame:
    """The rows that rules for `target` keep, with the columns of `target_schema(target)`, events with those of the stem.

    `persons` (column `person_id`, unique) are the people of the CDM; without it everybody is taken.
    """
    sources = tuple(sources)
    names = filled_columns(target, [rule for source in sources for rule in source.rules])
    kept = [kept_rows(rule, source.contract, source.tables, names) for source in sources for rule in source.rules]
    rows = union_all(kept)
    if persons is not None:
        rows = rows.join(F.broadcast(persons.select("person_id")), on="person_id", how="left_semi")
    schema = target_schema(target)
    whole = rows.select(
        *[F.col(name) if name in names else F.lit(None).cast(kind).alias(name) for name, kind in schema.items()]
    )
    return _with_keys(whole) if target is Target.EVENT else whole


def _with_keys(events: DataFrame) -> DataFrame:
    code = [F.col(f"concept_{part}") for part in ("vocabulary", "code", "concept_id")]
    keys = {CODE_BUCKET: code_bucket(*code), "_code_key": code_key(F.col("_rule"), *code), "_first_id": first_event_id()}
    return events.withColumns(keys)


def is_person_bound(target: Target) -> bool:
    """Whether rows of a target are kept for the people of the CDM only; those that describe persons are kept for all."""
    return target in PERSON_BOUND - {Target.PERSON}


def known_persons(person_rows: DataFrame) -> DataFrame:
    """One row per person that can be in the CDM: at least one source gives a year of birth."""
    return person_rows.where(F.col("year_of_birth").isNotNull()).select("person_id").distinct()
