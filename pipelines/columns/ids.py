"""OMOP ids: whole numbers below 2^52 from keyed row keys, and what happens when two of them meet.

An id is made of the keyed name of its row, never of content, so that an edit or another row leaves it alone. Two names may
have one hash all the same: that is looked for, resolved the same way every time, and recorded.
"""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.columns.keyed import ID_HEX_DIGITS, message_of

ATTEMPTS = 32
"""Salted hashes tried for a key that gives way. At 52 bits the first is free; the small spaces of tests need more."""

SHARED_IDS_SCHEMA = {"collided_id": "bigint"}

COLLISIONS_SCHEMA = {"_key": "string", "collided_id": "bigint", "given": "bigint"}
"""Record of a collision: the key that gave way, the id it met another key on, and the id it has instead."""


def omop_id(*parts: Column, hex_digits: int = ID_HEX_DIGITS) -> Column:
    """The id of a row from the parts of its name: its row key, the rule and the place among the rows of one source row."""
    digest = F.sha2(key_text(*parts), 256)
    return F.conv(F.substring(digest, 1, hex_digits), 16, 10).cast("bigint")


def key_text(*parts: Column) -> Column:
    """The parts of a name as one text that no other parts can give."""
    return message_of([part.cast("string") for part in parts])


def shared_ids(frame: DataFrame, id_column: str, key_columns: Sequence[str]) -> DataFrame:
    """The ids (`collided_id`) that more than one key has; nearly always no row. A key that occurs twice shares nothing."""
    keys = frame.select(F.col(id_column).alias("collided_id"), F.xxhash64(*key_columns).alias("_name"))
    names = keys.groupBy("collided_id").agg(F.min("_name").alias("_least"), F.max("_name").alias("_greatest"))
    return names.where(F.col("_least") != F.col("_greatest")).select("collided_id")


def find_collisions(
    frame: DataFrame,
    id_column: str,
    key_columns: Sequence[str],
    shared: DataFrame,
    hex_digits: int = ID_HEX_DIGITS,
) -> DataFrame:
    """The keys that give way because another key has the same id (COLLISIONS_SCHEMA).

    Of the keys that share an id the least keeps it. Each of the others takes the first of its salted hashes that is
    nobody's id and that no lesser key may claim, so the outcome depends on the keys alone. `given` is null when all
    attempts are taken, which the gate on primary keys refuses. `shared` comes from `shared_ids`; where it is stored and
    empty, next to nothing is left to do.
    """
    ids = frame.select(F.col(id_column).alias("collided_id"), *key_columns)
    meeting = ids.join(F.broadcast(shared), on="collided_id", how="inner")
    keys = meeting.select("collided_id", key_text(*[F.col(name) for name in key_columns]).alias("_key")).distinct()
    keeping = keys.groupBy("collided_id").agg(F.min("_key").alias("_least"))
    losers = (
        keys.join(keeping, on="collided_id", how="inner").where(F.col("_key") != F.col("_least")).select("_key", "collided_id")
    )
    attempts = losers.select("_key", F.explode(F.sequence(F.lit(1), F.lit(ATTEMPTS))).alias("_attempt"))
    drawn = attempts.withColumn("given", omop_id(F.col("_key"), F.col("_attempt"), hex_digits=hex_digits))
    free = drawn.join(ids.select(F.col("collided_id").alias("given")), on="given", how="left_anti")
    claimed = _first_of(free, by="given", order=("_key", "_attempt"))
    chosen = _first_of(claimed, by="_key", order=("_attempt",)).select("_key", "given")
    return losers.join(chosen, on="_key", how="left").select("_key", "collided_id", "given")


def _first_of(frame: DataFrame, by: str, order: tuple[str, ...]) -> DataFrame:
    place = F.row_number().over(Window.partitionBy(by).orderBy(*order))
    return frame.withColumn("_place", place).where(F.col("_place") == 1).drop("_place")


def without_collisions(frame: DataFrame, id_column: str, key_columns: Sequence[str], collisions: DataFrame) -> DataFrame:
    """`frame` with the ids that `find_collisions` gave to the keys in `collisions`."""
    names = {name: f"_collided_{name}" for name in COLLISIONS_SCHEMA}
    collided = collisions.select(*[F.col(name).alias(new) for name, new in names.items()])
    same_key = key_text(*[F.col(name) for name in key_columns]) == F.col(names["_key"])
    on = (F.col(id_column) == F.col(names["collided_id"])) & same_key
    joined = frame.join(F.broadcast(collided), on=on, how="left")
    given = F.when(F.col(names["_key"]).isNotNull(), F.col(names["given"])).otherwise(F.col(id_column))
    return joined.withColumn(id_column, given).drop(*names.values())


def resolve_collisions(
    frame: DataFrame, id_column: str, key_columns: Sequence[str], hex_digits: int = ID_HEX_DIGITS
) -> tuple[DataFrame, DataFrame]:
    """`frame` with an id of its own for every key, and the record of the keys whose id was drawn again.

    The frame is read several times: store it first where it is large and computed.
    """
    shared = shared_ids(frame, id_column, key_columns)
    collisions = find_collisions(frame, id_column, key_columns, shared, hex_digits)
    return without_collisions(frame, id_column, key_columns, collisions), collisions
