"""The mapped rows of each target, and above all the stem: every event of a source in one wide table.

Concepts are not looked up yet: a row holds the vocabulary, the normalised code and the value as delivered.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.contracts.cdm import CODE_BUCKET
from pipelines.mapping.compile import PERSON_BOUND, filled_columns, kept_rows, kept_schema, target_schema
from pipelines.mapping.outcomes import SilverSource
from pipelines.mapping.plausibility import BIRTH_YEARS, Plausibility, judged
from pipelines.mapping.spec import Rule, Target
from pipelines.omop.codes import code_bucket, code_key
from pipelines.omop.events import first_event_id

KNOWN_PERSONS_SCHEMA = {"person_id": "bigint"} | BIRTH_YEARS
"""One row per person of the CDM, with the years of birth that its records state."""

STEM_SCHEMA = target_schema(Target.EVENT) | {CODE_BUCKET: "int", "_code_key": "bigint", "_first_id": "bigint"}
"""One row per source event, before any concept is looked up: its bucket, the key of its code, and the id that its first
row in an event table has."""


def entities_in_use(rules: Iterable[Rule]) -> tuple[str, ...]:
    """The entities that rules read, in alphabetical order."""
    return tuple(sorted({name for rule in rules for name in (rule.from_, *(how.entity for how in rule.lookups.values()))}))


@dataclass(frozen=True)
class Judge:
    """What mapped rows are judged by: the plausibility rules, and the day of the extract of each file (EXTRACT_SCHEMA)."""

    rules: Plausibility
    extracts: DataFrame


def rows_of(target: Target, sources: Iterable[SilverSource], persons: DataFrame | None, judge: Judge | None) -> DataFrame:
    """The rows that rules for `target` keep, with the columns of `target_schema(target)`, events with those of the stem.

    `persons` (KNOWN_PERSONS_SCHEMA) are the people of the CDM; without it everybody is taken. Rows about people are judged by
    `judge`, others have none.
    """
    sources = tuple(sources)
    names = filled_columns(target, [rule for source in sources for rule in source.rules])
    kept = [kept_rows(rule, source.contract, source.tables, names) for source in sources for rule in source.rules]
    rows = union_all(kept).select(
        *[F.col(name) if name in names else F.lit(None).cast(kind).alias(name) for name, kind in kept_schema(target).items()]
    )
    if judge is None:
        return rows.drop("_file")
    dated = rows.join(F.broadcast(judge.extracts), on="_file", how="left")
    if persons is not None:
        dated = dated.join(F.broadcast(persons), on="person_id", how="inner")
    judged_rows = judged(dated, target, judge.rules)
    return _with_keys(judged_rows) if target is Target.EVENT else judged_rows


def _with_keys(events: DataFrame) -> DataFrame:
    code = [F.col(f"concept_{part}") for part in ("vocabulary", "code", "concept_id")]
    keys = {CODE_BUCKET: code_bucket(*code), "_code_key": code_key(F.col("_rule"), *code), "_first_id": first_event_id()}
    return events.withColumns(keys)


def is_person_bound(target: Target) -> bool:
    """Whether rows of a target are kept for the people of the CDM only; those that describe persons are kept for all."""
    return target in PERSON_BOUND - {Target.PERSON}


def known_persons(person_rows: DataFrame) -> DataFrame:
    """One row per person that can be in the CDM (KNOWN_PERSONS_SCHEMA): at least one source gives a year of birth."""
    year = F.col("year_of_birth")
    years = (F.min(year).alias("first_birth_year"), F.max(year).alias("last_birth_year"))
    return person_rows.where(year.isNotNull()).groupBy("person_id").agg(*years)
