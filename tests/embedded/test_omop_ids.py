"""Ids that meet are told apart, the same way whatever the order of rows, and the rest keep theirs."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.ids import find_collisions, omop_id, shared_ids, without_collisions

KEY = ("row_key", "ordinal")
SPACE = 2
"""Hexadecimal digits of the ids in these tests: 256 ids, so that 100 keys meet often."""


def keyed(session: SparkSession, keys: list[tuple[str, int]], hex_digits: int = SPACE) -> DataFrame:
    rows = session.createDataFrame(keys, "row_key string, ordinal int").repartition(3)
    return rows.withColumn("id", omop_id(*[F.col(name) for name in KEY], hex_digits=hex_digits))


def ids_by_key(frame: DataFrame) -> dict[tuple[str, int], int]:
    return {(row.row_key, row.ordinal): row.id for row in frame.collect()}


def resolved(frame: DataFrame, hex_digits: int = 13) -> tuple[DataFrame, DataFrame]:
    """The frame with an id of its own for every key, and the collisions."""
    collisions = find_collisions(frame, "id", KEY, hex_digits=hex_digits)
    return without_collisions(frame, "id", KEY, collisions), collisions


KEYS = [(f"k{number}", number % 3) for number in range(100)]


def test_keys_that_share_an_id_get_ids_of_their_own_and_the_least_keeps_it(sail: SparkSession) -> None:
    frame = keyed(sail, KEYS)
    before = ids_by_key(frame)
    assert len(set(before.values())) < len(KEYS), "nothing met, so nothing is tested"

    unique, collisions = resolved(frame, SPACE)

    after = ids_by_key(unique)
    assert len(set(after.values())) == len(after) == len(KEYS)
    moved = {key for key in after if after[key] != before[key]}
    holders = {before[key]: sorted(k for k in before if before[k] == before[key]) for key in moved}
    # The least of the keys as texts, lengths before parts, stays; k5 and k50 are told apart by the length.
    texts = {key: f"{len(key[0])}:{key[0]}1:{key[1]}" for key in before}
    assert moved == {key for keys in holders.values() for key in sorted(keys, key=texts.__getitem__)[1:]}
    assert {(row.collided_id, row.reassigned_id) for row in collisions.collect()} == {
        (before[key], after[key]) for key in moved
    }


def test_the_outcome_does_not_depend_on_the_order_of_rows(sail: SparkSession) -> None:
    first, _ = resolved(keyed(sail, KEYS), SPACE)
    second, _ = resolved(keyed(sail, KEYS[::-1]), SPACE)
    assert ids_by_key(first) == ids_by_key(second)


def test_a_key_that_occurs_twice_keeps_one_id(sail: SparkSession) -> None:
    frame = keyed(sail, [("k1", 0), ("k1", 0), ("k2", 0)], hex_digits=13)
    unique, collisions = resolved(frame)
    assert collisions.collect() == []
    assert sorted(row.row_key for row in unique.collect()) == ["k1", "k1", "k2"]


def test_without_shared_ids_nothing_changes(sail: SparkSession) -> None:
    frame = keyed(sail, KEYS, hex_digits=13)
    shared = shared_ids(frame, "id", KEY)
    assert shared.collect() == []
    collisions = find_collisions(frame, "id", KEY, shared)
    assert ids_by_key(without_collisions(frame, "id", KEY, collisions)) == ids_by_key(frame)


def test_a_key_of_which_every_attempt_is_taken_has_no_id(sail: SparkSession) -> None:
    frame = keyed(sail, [(f"k{number}", 0) for number in range(40)], hex_digits=1)
    unique, collisions = resolved(frame, 1)
    ids = [row.id for row in unique.collect() if row.id is not None]
    assert sorted(ids) == sorted(set(ids))
    assert sum(row.reassigned_id is None for row in collisions.collect()) == 40 - len(ids) >= 24


def test_ids_stay_below_two_to_the_53_and_tell_null_from_empty_and_ab_c_from_a_bc(sail: SparkSession) -> None:
    rows = sail.createDataFrame([("ab", "c"), ("a", "bc"), ("abc", None), ("abc", "")], "x string, y string")
    ids = [row[0] for row in rows.select(omop_id(F.col("x"), F.col("y"))).collect()]
    assert len(set(ids)) == 4
    assert all(0 <= number < 2**52 for number in ids)
