"""How many silver rows each rule keeps and leaves out, and why."""

from collections.abc import Iterator

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.mapping.compile import PERSON_BOUND, groups_events
from pipelines.mapping.outcomes import (
    ABSENT,
    KNOWN,
    UNKNOWN,
    UNKNOWN_PERSON,
    UNREADABLE,
    UNREADABLE_BIRTH,
    NumberedEntity,
    NumberedRule,
    Numbering,
    with_arrays,
)
from pipelines.mapping.spec import Target

COUNTS_SCHEMA = {"source": "string", "entity": "string", "rule": "string", "reason": "string", "rows": "bigint"}
"""One row per rule and reason; an empty reason means kept, DEDUPLICATED kept as part of another row."""

DEDUPLICATED = "deduplicated"
"""Reason of rows that were kept and are part of another event of their key."""

_LABELS_SCHEMA = "number int, birth string, source string, entity string, rule string, reason string, sign int"


def counts_of(numbering: Numbering, outcomes: DataFrame) -> DataFrame:
    """How many silver rows each rule keeps or leaves out, by reason (COUNTS_SCHEMA), from `outcomes` (OUTCOMES_SCHEMA)."""
    single = with_arrays(outcomes.where(F.col("place") <= 0)).select("birth", "rows", F.explode("numbers").alias("number"))
    known = [label for entity in numbering.entities for rule in entity.rules for label in _labels(entity, rule)]
    labels = outcomes.sparkSession.createDataFrame(known, _LABELS_SCHEMA)
    labelled = single.join(F.broadcast(labels), on=["number", "birth"], how="inner")
    keys = [name for name in COUNTS_SCHEMA if name != "rows"]
    summed = labelled.groupBy(*keys).agg(F.sum(F.col("rows") * F.col("sign")).alias("rows"))
    return summed.where(F.col("rows") > 0).select(*COUNTS_SCHEMA)


def _labels(entity: NumberedEntity, rule: NumberedRule) -> Iterator[tuple[int, str, str, str, str, str, int]]:
    """What the numbers of a rule count for, by what is known of the person."""
    names = entity.contract.source, entity.name, rule.rule.name
    for check, number in zip(rule.checks, rule.numbers, strict=True):
        for birth in (ABSENT, KNOWN, UNREADABLE, UNKNOWN):
            yield number, birth, *names, check.reason, 1
    kept = DEDUPLICATED if groups_events(rule.rule) else ""
    is_asked = rule.rule.to in PERSON_BOUND - {Target.PERSON}
    yield rule.taken, UNREADABLE, *names, UNREADABLE_BIRTH if is_asked else kept, 1
    yield rule.taken, UNKNOWN, *names, UNKNOWN_PERSON if is_asked else kept, 1
    for birth in (ABSENT, KNOWN):  # unobserved people are counted with the mapped rows that are left out
        yield rule.taken, birth, *names, kept, 1
        # Of the rows of an event one is kept; the others are deduplicated.
        yield rule.event, birth, *names, "", 1
        yield rule.event, birth, *names, DEDUPLICATED, -1
