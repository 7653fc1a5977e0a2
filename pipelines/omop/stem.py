"""The rows of each target over all sources, and above all the stem: every event of every source in one wide table.

Concepts are not looked up yet: a row holds the vocabulary, the normalised code and the value as delivered.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import empty_rows, union_all
from pipelines.contracts.cdm import CODE_BUCKET
from pipelines.contracts.source import SourceContract
from pipelines.mapping.compile import COUNTS_SCHEMA, PERSON_BOUND, kept_rows, row_counts, row_reasons, target_schema
from pipelines.mapping.spec import Mapping as SourceMapping
from pipelines.mapping.spec import Rule, Target
from pipelines.omop.codes import code_bucket

KNOWN_PERSONS_SCHEMA = {"person_id": "bigint"}
"""The people of the CDM."""


@dataclass(frozen=True)
class SilverSource:
    """One source: what was delivered, how it is mapped, and its silver tables by entity."""

    contract: SourceContract
    mapping: SourceMapping
    tables: Mapping[str, DataFrame]

    def rules(self, target: Target) -> tuple[Rule, ...]:
        """The rules of the source for one target, in the order of its file."""
        return tuple(rule for rule in self.mapping.rules if rule.to is target)


def stem_schema() -> dict[str, str]:
    """Columns and Spark types of the stem: one row per source event with its bucket, before any concept is looked up."""
    return target_schema(Target.EVENT) | {CODE_BUCKET: "int"}


def entities_in_use(mapping: SourceMapping) -> tuple[str, ...]:
    """The entities that a mapping reads, in alphabetical order."""
    names = {rule.from_ for rule in mapping.rules}
    return tuple(sorted(names | {lookup.entity for rule in mapping.rules for lookup in rule.lookups.values()}))


def rows_of(target: Target, sources: Iterable[SilverSource], persons: DataFrame) -> DataFrame:
    """The kept rows of every rule for `target`, with the columns of `target_schema(target)`, events with those of the stem.

    Rows that belong to a person are kept for the people in `persons` only; the rows that describe persons are kept for all.
    """
    known = _persons_for(target, persons)
    frames = [kept_rows(rule, source.contract, source.tables, known) for source in sources for rule in source.rules(target)]
    rows = union_all(frames) if frames else empty_rows(persons, target_schema(target))
    return _with_bucket(rows) if target is Target.EVENT else rows


def _with_bucket(events: DataFrame) -> DataFrame:
    own = code_bucket(F.col("concept_vocabulary"), F.col("concept_code"), F.col("concept_concept_id"))
    return events.withColumn(CODE_BUCKET, own)


def counts_of(sources: Iterable[SilverSource], persons: DataFrame) -> DataFrame:
    """How many silver rows each rule was shown and kept or left out, by reason (COUNTS_SCHEMA)."""
    frames = [
        row_reasons(rule, source.contract, source.tables, _persons_for(rule.to, persons))
        for source in sources
        for rule in source.mapping.rules
    ]
    return row_counts(frames) if frames else empty_rows(persons, COUNTS_SCHEMA)


def _persons_for(target: Target, persons: DataFrame) -> DataFrame | None:
    return persons if target in PERSON_BOUND - {Target.PERSON} else None


def known_persons(person_rows: DataFrame) -> DataFrame:
    """One row per person that can be in the CDM: at least one source gives a year of birth."""
    return person_rows.where(F.col("year_of_birth").isNotNull()).select("person_id").distinct()
