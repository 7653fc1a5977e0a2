"""What becomes of silver rows that a test makes."""

from collections.abc import Iterable, Mapping

from pyspark.sql import DataFrame, Row, SparkSession

from pipelines.contracts.source import SourceContract
from pipelines.mapping.counts import counts_of
from pipelines.mapping.outcomes import LEFT_OUT_ROWS_SCHEMA, Numbering, outcomes, silver_rows
from pipelines.mapping.spec import Rule
from vocab.schemas import ddl_of


def numbering_of(contract: SourceContract, rules: Iterable[Rule], unread: Mapping[str, str] | None = None) -> Numbering:
    """The numbers of the rules of one source."""
    reasons = {(contract.source, entity): reason for entity, reason in (unread or {}).items()}
    return Numbering({contract.source: (contract, tuple(rules))}, reasons)


def outcomes_of(
    session: SparkSession,
    numbering: Numbering,
    silver: Mapping[str, DataFrame],
    persons: Iterable[int],
    unobserved: Iterable[int] = (),
    left_out: Iterable[tuple[str, int, str, str, str, str]] = (),
) -> DataFrame:
    """The outcomes of the rows of one source."""
    known, left = (session.createDataFrame([(p,) for p in people], "person_id bigint") for people in (persons, unobserved))
    lost = session.createDataFrame(list(left_out), ddl_of(LEFT_OUT_ROWS_SCHEMA))
    [source] = {entity.contract.source for entity in numbering.entities}
    return outcomes(numbering, {source: silver}, known, left, lost)


def counted_rows(
    session: SparkSession, contract: SourceContract, rules: Iterable[Rule], silver: Mapping[str, DataFrame], *persons: int
) -> list[Row]:
    """How many rows each rule keeps and leaves out, by reason."""
    numbering = numbering_of(contract, rules)
    return counts_of(numbering, outcomes_of(session, numbering, silver, persons)).collect()


def silver_rows_of(numbering: Numbering, counted: DataFrame) -> list[tuple[str, str, str, str, str, str, int]]:
    """What became of the rows, without their source, in the order of the alphabet."""
    return sorted(tuple(row)[1:] for row in silver_rows(numbering, counted).collect())
