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

COLLISIONS_SCHEMA = {"_key": "string", "_key_hash": "bigint", "collided_id": "bigint", "reassigned_id": "bigint"}
"""One row per key whose id another key has too: the key, its hash, the id they share and the id that it has instead."""


def omop_id(*parts: Column, hex_digits: int = ID_HEX_DIGITS) -> Column:
    """The id of a row from the parts of its name: its row key, the rule and the place among the rows of one source row."""
    digest = F.sha2(key_text(*parts), 256)
    return F.conv(F.substring(digest, 1, hex_digits), 16, 10).cast("bigint")


def key_text(*parts: Column) -> Column:
    """The parts of a name as one text that no other parts can give."""
    return message_of([part.cast("string") for part in parts])


def shared_ids(frame: DataFrame, id_column: str, key_columns: Sequence[str]) -> DataFrame:
    """The ids (`collided_id`) that more than one key has; nearly always no row. A key that occurs twice shares nothing."""
    keys = frame.select(F.col(id_column).alias("collided_id"), _key_hash(key_columns).alias("_key_hash"))
    hashes = keys.groupBy("collided_id").agg(F.min("_key_hash").alias("_least"), F.max("_key_hash").alias("_greatest"))
    return hashes.where(F.col("_least") != F.col("_greatest")).select("collided_id")


def find_collisions(
    frame: DataFrame,
    id_column: str,
    key_columns: Sequence[str],
    shared: DataFrame | None = None,
    hex_digits: int = ID_HEX_DIGITS,
) -> DataFrame:
    """One row per key that gets another id because a lesser key has the same one (COLLISIONS_SCHEMA).

    Of the keys that share an id the least keeps it. Each of the others takes the first of its salted hashes that is
    nobody's id and that no lesser key may claim, so the outcome depends on the keys alone. `reassigned_id` is null when all
    attempts are taken, which the gate on primary keys refuses. `shared` comes from `shared_ids`: stored before for a frame
    that is dear to compute, found here for any other.
    """
    ids = frame.select(F.col(id_column).alias("collided_id"), *key_columns)
    shared = shared_ids(frame, id_column, key_columns) if shared is None else shared
    meeting = ids.join(F.broadcast(shared), on="collided_id", how="inner")
    key = key_text(*[F.col(name) for name in key_columns])
    keys = meeting.select("collided_id", _key_hash(key_columns).alias("_key_hash"), key.alias("_key")).distinct()
    losers = _with_place(keys, "collided_id", "_key").where(F.col("_place") > 1)
    numbers = F.sequence(F.lit(1), F.lit(ATTEMPTS + 1))
    attempts = losers.select("_key", "_key_hash", "collided_id", F.explode(numbers).alias("_attempt"))
    # After the last attempt there is no id: so a key of which all are taken is still there.
    drawn = F.when(F.col("_attempt") <= ATTEMPTS, omop_id(F.col("_key"), F.col("_attempt"), hex_digits=hex_digits))
    taken = ids.select(F.col("collided_id").alias("reassigned_id"))
    free = attempts.withColumn("reassigned_id", drawn).join(taken, on="reassigned_id", how="left_anti")
    claimed = _with_place(free, "reassigned_id", "_key", "_attempt")
    own = claimed.where((F.col("_place") == 1) | F.col("reassigned_id").isNull())
    return _with_place(own, "_key", "_attempt").where(F.col("_place") == 1).select(*COLLISIONS_SCHEMA)


def _key_hash(key_columns: Sequence[str]) -> Column:
    return F.xxhash64(*key_columns)


def _with_place(frame: DataFrame, by: str, *order: str) -> DataFrame:
    """`frame` with the place of each row, from 1, among those that are alike in `by` (`_place`)."""
    return frame.withColumn("_place", F.row_number().over(Window.partitionBy(by).orderBy(*order)))


def without_collisions(frame: DataFrame, id_column: str, key_columns: Sequence[str], collisions: DataFrame) -> DataFrame:
    """`frame` with the ids that `find_collisions` gave to the keys in `collisions`."""
    names = {name: f"_collided_{name}" for name in ("_key_hash", "collided_id", "reassigned_id")}
    collided = collisions.select(*[F.col(name).alias(new) for name, new in names.items()])
    # The hash and not the key itself, which would have to be written out for every row.
    on = (F.col(id_column) == F.col(names["collided_id"])) & (_key_hash(key_columns) == F.col(names["_key_hash"]))
    joined = frame.join(F.broadcast(collided), on=on, how="left")
    has_other = F.col(names["collided_id"]).isNotNull()
    unique = F.when(has_other, F.col(names["reassigned_id"])).otherwise(F.col(id_column))
    return joined.withColumn(id_column, unique).drop(*names.values())
