"""Which delivered row of a record is the valid one.

A record is what has one business key at one provider. Of its rows the newest well-formed one wins; the others are
superseded, or duplicates where their content is the winner's. The reason of a superseded row says where its own version did
not decide: SAME_VERSION, where the delivery, file or line did; UNKNOWN_VERSION, where the first part in which it differs from
the newest one is missing or unreadable, or all of it. A full delivery replaces what came before it, so that rows of earlier
ones are older than all of its own. A row of a delivery by period that does not say its period cannot be used. A winner marked
as deleted, or missing from the newest full delivery of its provider, is deleted at source; a record of which that delivery has
a row that cannot be used is not missing.

Some entities are repeating groups of their parent (`whole`), such as the diagnoses of an episode: a parent that is sent again
has all of them with it. So of a parent that several deliveries have, the rows are held that came with its current row or since;
those of earlier deliveries, and of later ones that repeat an older state of the parent, are withdrawn (ABSENT_FROM_RECORD).
A delivery without a file of the group says nothing of it.

Of several submissions of one reporting period in one delivery the last is held, and the rows of the others are not.

A provider may send one thing again under another key. Of the winners of records that are of one thing (`one_per` of their
entity) the newest stays, and the others are superseded, with the reason OTHER_KEY. One that has ended is newer than one that
was sent unfinished, since those are sent again and again. Those that are deleted do not count: when the newest is deleted, the
one before it is valid again.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import is_true
from pipelines.columns.frames import join_small, rows_of_group
from pipelines.curate.records import SEPARATOR

SAME_VERSION, UNKNOWN_VERSION, OTHER_KEY = "same_version", "unknown_version", "other_key"
ABSENT_FROM_FULL, ABSENT_FROM_RECORD = "absent_from_full", "absent_from_record"

AFTER_DECLARED = "#"

FILE_SCHEMA = {
    "_file": "string",
    "_effective": "string",
    "_is_current": "boolean",
    "_by_period": "boolean",
    "_replaced": "string",
    "_beside": "string",
}
"""One row per active file: when its content took effect, whether the newest full delivery still holds it, and whether it came
by period last.

`_replaced` are the reporting periods that a later delivery has replaced, with a SEPARATOR before and after each; an empty one
stands for rows without a period. `_beside` are in the same way the entities that come whole with their parent of which the
delivery has files.
"""

_COMPARED = ("same_key", "is_ended", "version")

_MOST_PARTS = 4
"""As many parts as any declared version has, and one more."""

_LONGEST = 10_000
"""More characters than any declared version has."""

VERSION_SCHEMA = {
    "entity": "string",
    "_provider": "string",
    "_file": "string",
    "_line": "bigint",
    "row_key": "string",
    "parent_key": "string",
    "shared_key": "string",
    "nhs_number": "string",
    "nhs_number_status": "string",
    "local_id": "string",
    "birth_date": "string",
    "sex": "string",
    "gender": "string",
    "is_confidential": "boolean",
    "period": "string",
    "stated": "string",
    "effective": "string",
    "is_winner": "boolean",
    "disposition": "string",
    "reason": "string",
}
"""One row per delivered row with the disposition that the other rows of its record give it.

`period` is the reporting period of the row; `stated` sorts by when the row said who its person is: by period, else by what it
says of its version, then by delivery; null where it says neither birth date, sex nor gender. `effective` sorts by when the
content of its file took effect. `disposition` is null for a winner that is still valid: its person decides.
"""

CAME_AGAIN_SCHEMA = dict.fromkeys(("source", "entity", "provider"), "string") | dict.fromkeys(("rows", "withdrawn"), "bigint")
"""One row per source, entity that comes whole with its parent, and provider: the rows that a later delivery had again or has
withdrawn, and those of them that are withdrawn because they did not come with their parent."""


_NOTHING: Mapping[str, str] = MappingProxyType({})


def version_rows(
    records: DataFrame,
    files: DataFrame,
    with_one_per: Collection[str] = (),
    whole: Mapping[str, str] = _NOTHING,
    *,
    by_submission: bool = False,
) -> DataFrame:
    """The records of a source (RECORD_SCHEMA) with their winners (VERSION_SCHEMA). `files` is FILE_SCHEMA.

    `with_one_per` are the entities that declare `one_per`. Their rows are judged twice, which is less than what holding all
    rows of the source for a second look would take. `whole` are the entities that come whole with their parent, with the entity
    of that parent. `by_submission`: rows say of which submission they are.
    """
    last = _last_submissions(records, files) if by_submission else None
    rows = _judged(records, files, last, whole)
    if with_one_per:
        rows = _newest_of_same(rows, _judged(records.where(F.col("entity").isin(*with_one_per)), files, last))
    return rows.select(*VERSION_SCHEMA)


def _newest_of_same(rows: DataFrame, judged: DataFrame) -> DataFrame:
    """The rows, with the winners superseded of which another record of `judged` is the newest of what both are of."""
    is_valid = F.col("is_winner") & F.col("disposition").isNull()
    version = F.concat(F.when(F.col("is_ended"), F.lit("1")).otherwise(F.lit("0")), "version")
    newest = (
        judged.where(is_valid & F.col("same_key").isNotNull())
        .groupBy("same_key")
        .agg(F.max(version).alias("_newest_of_same"), F.count(F.lit(1)).alias("_records"))
        .where(F.col("_records") > 1)
    )
    is_older = is_valid & is_true(version < F.col("_newest_of_same"))
    values = {
        "disposition": F.when(is_older, F.lit("superseded")).otherwise(F.col("disposition")),
        "reason": F.when(is_older, F.lit(OTHER_KEY)).otherwise(F.col("reason")),
    }
    return newest.join(rows, on="same_key", how="right").withColumns(values)


def _judged(records: DataFrame, files: DataFrame, last: DataFrame | None, whole: Mapping[str, str] = _NOTHING) -> DataFrame:
    """The records with the winner of each key: VERSION_SCHEMA, and what `_newest_of_same` compares.

    Rows of files that are not in `files` belong to no finished load and are left out.
    Only records with several rows are compared: the newest version of each is found by one aggregation and joined back,
    which takes the engines a fraction of what a window over millions of keys takes. Keys that occur once are left out first
    by a hash of eight bytes; two keys with one hash are only compared in vain. What is joined back is few rows, and is named
    first: Sail keeps that side in memory, and not all rows of the source.
    """
    placed = join_small(records, files, "_file")
    period = F.concat(F.lit(SEPARATOR), F.coalesce("period", F.lit("")), F.lit(SEPARATOR))
    unusable = F.coalesce("unusable", F.when(F.col("_by_period"), F.col("no_period")))
    is_held = F.col("_is_current") & ~F.col("_replaced").contains(period)
    known = placed.withColumns({"unusable": unusable, "_is_held": is_held})
    known = known if last is None else _without_earlier_submissions(known, last)
    known = _with_withdrawn(known, whole)
    is_usable = F.col("unusable").isNull()
    rows = known.select("row_key", is_usable.alias("_is_usable"), *_VERSIONED, F.xxhash64("row_key").alias("_hash"))
    repeated = rows.groupBy("_hash").agg(F.count(F.lit(1)).alias("_rows")).where(F.col("_rows") > 1).select("_hash")
    compared = rows.join(F.broadcast(repeated), on="_hash", how="left_semi")
    newest = compared.groupBy("row_key").agg(
        F.max(F.when(F.col("_is_usable"), _version())).alias("_newest"), F.max("_is_held").alias("_some_held")
    )
    judged = newest.join(known, on="row_key", how="right").withColumn(
        "version", F.when(F.col("_newest").isNotNull() | F.col("same_key").isNotNull(), _version())
    )
    is_held = F.coalesce(F.col("_some_held"), F.col("_is_held"))
    is_newest = F.col("_newest").isNull() | (F.col("version") == F.col("_newest"))
    is_winner = is_usable & is_newest
    content = F.substring_index("version", SEPARATOR, -1)
    same_content = content == F.substring_index("_newest", SEPARATOR, -1)
    disposition = (
        F.when(~is_usable, F.lit("quarantined"))
        .when(~is_newest & same_content, F.lit("duplicate"))
        .when(~is_newest, F.lit("superseded"))
        .when(F.col("is_deleted") | ~is_held, F.lit("deleted_at_source"))
        .when(F.col("is_test"), F.lit("test_patient"))
    )
    reason = F.coalesce(
        F.col("unusable"),
        F.when(is_usable & ~is_newest & ~same_content, _reason_of_superseded()),
        F.when(is_newest & F.col("is_deleted"), F.lit("deleted_flag")),
        F.when(is_newest & ~is_held & F.col("_is_withdrawn"), F.lit(ABSENT_FROM_RECORD)),
        F.when(is_newest & ~is_held, F.lit(ABSENT_FROM_FULL)),
    )
    said = F.coalesce("period", F.concat("declared_version", F.lit(AFTER_DECLARED), "_effective"))
    stated = F.when(F.coalesce("birth_date", "sex", "gender").isNotNull(), said)
    values = {"effective": F.col("_effective"), "is_winner": is_winner, "disposition": disposition, "reason": reason}
    values |= {"stated": stated}
    return judged.select(*[values.get(name, F.col(name)).alias(name) for name in (*VERSION_SCHEMA, *_COMPARED)])


_SUBMITTED = ("_provider", "_effective", "period", "_submitted_by")


def _last_submissions(records: DataFrame, files: DataFrame) -> DataFrame:
    """The number of the last submission, where one delivery has several of an organisation and period.

    A last one with fewer than half of the rows of another is not whole: a few rows with a wrong number replace nothing.
    """
    rows = _with_number(join_small(records.where(F.col("submission").isNotNull()), files, "_file"))
    submissions = rows.groupBy(*_SUBMITTED, "_number").agg(rows_of_group().alias("_rows"))
    several = submissions.groupBy(*_SUBMITTED).agg(
        F.max("_number").alias("_last_number"), F.min("_number").alias("_first_number"), F.max("_rows").alias("_most")
    )
    of_last = F.col("_number") == F.col("_last_number")
    judged = several.where(F.col("_first_number") < F.col("_last_number")).join(submissions, on=list(_SUBMITTED), how="left")
    return judged.where(of_last & (F.col("_rows") * 2 >= F.col("_most"))).select(*_SUBMITTED, "_last_number")


def _with_number(rows: DataFrame) -> DataFrame:
    """Rows with what their `submission` says: whose it is, and its number."""
    parts = {"_submitted_by": 1, "_number": -1}
    return rows.withColumns({name: F.substring_index("submission", SEPARATOR, part) for name, part in parts.items()})


def _without_earlier_submissions(known: DataFrame, last: DataFrame) -> DataFrame:
    """Rows of which those are held no more that are of an earlier submission than the `last` of their delivery.

    An organisation submits a period whole, so what only the earlier submission has was withdrawn.
    """
    rows = _with_number(known).join(F.broadcast(last), on=list(_SUBMITTED), how="left")
    is_earlier = is_true(F.col("_number") < F.col("_last_number"))
    return rows.withColumn("_is_held", F.col("_is_held") & ~is_earlier)


def _with_withdrawn(known: DataFrame, whole: Mapping[str, str]) -> DataFrame:
    """Rows with `_is_withdrawn`: of a parent that was sent again without them. Those are held no more.

    Only parents that several deliveries have are looked at, each by the text of its current row: its version with the day of
    delivery, whether it is deleted (then all that belongs to it goes with it) and what came beside it.
    """
    if not whole:
        return known.withColumn("_is_withdrawn", F.lit(False))
    is_parent = F.col("entity").isin(*sorted(set(whole.values()))) & F.col("unusable").isNull()
    row = F.concat_ws(AFTER_DECLARED, _version(), F.col("is_deleted").cast("string"), "_beside")
    days = {"_first": F.min("_effective"), "_last": F.max("_effective")}
    parents = known.where(is_parent).groupBy("row_key").agg(F.max(row).alias("_row"), *[d.alias(n) for n, d in days.items()])
    again = parents.where(F.col("_first") < F.col("_last"))
    delivered, is_deleted, beside = (
        F.substring_index(F.substring_index("_row", AFTER_DECLARED, part + 1), AFTER_DECLARED, -1) for part in (1, 2, 3)
    )
    current = again.where(is_deleted == "false").select(
        F.col("row_key").alias("parent_key"),
        F.substring_index(delivered, SEPARATOR, 1).alias("_stated"),
        beside.alias("_with_it"),
        F.col("_last").alias("_last_stated"),
    )
    is_of_another = (F.col("_effective") != F.col("_stated")) & (F.col("_effective") <= F.col("_last_stated"))
    came_with_group = F.col("_with_it").contains(F.concat(F.lit(SEPARATOR), "entity", F.lit(SEPARATOR)))
    is_withdrawn = F.col("_is_held") & is_true(came_with_group & is_of_another)
    rows = current.join(known, on="parent_key", how="right").withColumn("_is_withdrawn", is_withdrawn)
    return rows.withColumn("_is_held", F.col("_is_held") & ~F.col("_is_withdrawn"))


_VERSIONED = ("declared_version", "_is_held", "_effective", "_file", "_line", "content")


def _version() -> Column:
    """What sorts the rows of a record from oldest to newest, and ends in the hash of their content.

    First whether it is held: not replaced by a later full delivery, nor by one of its period. A row that was is older than
    every other, and an earlier period may still have its record. Then what the row says of its version; after AFTER_DECLARED
    the day of delivery, file and line.
    """
    age = F.when(F.col("_is_held"), F.lit("1")).otherwise(F.lit("0"))
    line, content = F.lpad(F.col("_line").cast("string"), 12, "0"), F.col("content").cast("string")
    delivered = F.concat_ws(SEPARATOR, "_effective", "_file", line, content)
    return F.concat(age, "declared_version", F.lit(AFTER_DECLARED), delivered)


def _reason_of_superseded() -> Column:
    """Why a row is older than the newest of its record, where its declared version does not say so; null where it does."""
    first, newest_first = (F.substring(name, 1, 1) for name in ("version", "_newest"))
    own, newest = (F.substring(F.substring_index(name, AFTER_DECLARED, 1), 2, _LONGEST) for name in ("version", "_newest"))
    is_known, is_declared = own.contains("|1"), own.rlike("[|][01]")
    is_unknown = is_declared & ~is_known
    for place in range(1, _MOST_PARTS + 1):
        up_to, before = ([F.substring_index(text, SEPARATOR, n) for text in (own, newest)] for n in (place + 1, place))
        is_unknown = is_unknown | (up_to[0].endswith("|0") & (before[0] == before[1]) & (up_to[0] != up_to[1]))
    reason = F.when(is_unknown, F.lit(UNKNOWN_VERSION)).when(is_declared & (own == newest), F.lit(SAME_VERSION))
    return F.when(first == newest_first, reason)  # else it was replaced, whatever its version


def marked_rows(versions: DataFrame, *entities: str) -> DataFrame:
    """The rows of some entities that are marked as confidential.

    The newest row of a record counts, also where the source has deleted it since, because the mark may still hold elsewhere;
    of a record without a usable row every row counts.
    """
    rows = versions.where(F.col("entity").isin(*entities))
    newest = rows.where(F.col("is_winner"))
    unusable = rows.where(F.col("disposition") == "quarantined").join(newest.select("row_key"), on="row_key", how="left_anti")
    return newest.unionByName(unusable.select(*newest.columns)).where(F.col("is_confidential"))


def valid_rows(versions: DataFrame, *entities: str) -> DataFrame:
    """The winners of some entities that are still valid."""
    return versions.where(F.col("entity").isin(*entities) & F.col("is_winner") & F.col("disposition").isNull())


def came_again(versions: DataFrame, files: DataFrame, entities: Collection[str], source: str) -> DataFrame:
    """How many rows of some entities that come whole with their parent were sent again, and withdrawn (CAME_AGAIN_SCHEMA).

    `files` are those that their provider still holds (`_file`): what a full delivery has replaced says nothing of the others.
    """
    is_withdrawn = F.col("reason") == ABSENT_FROM_RECORD
    repeated = F.col("disposition").isin("superseded", "duplicate") | is_true(F.col("is_winner") & is_withdrawn)
    rows = join_small(versions.where(F.col("entity").isin(*entities) & repeated), files, "_file")
    counted = rows.groupBy("entity", F.col("_provider").alias("provider")).agg(
        F.count(F.lit(1)).alias("rows"), F.count(F.when(is_withdrawn, F.lit(1))).alias("withdrawn")
    )
    return counted.withColumn("source", F.lit(source)).select(*CAME_AGAIN_SCHEMA)
