"""Type 1 opt-outs, read from the GP record itself.

A dissent code stands until a later withdrawal. It counts at every practice the person was ever with, ties count as dissent,
a dissent without any date stands, deleted entries count for nothing. A date that cannot be read is none, whatever date of
entry stands beside it.

A withdrawal that is dated after the newest extract of its practice does not count yet: until the practice has sent a later one
nobody knows that it was not taken back, and the person stays left out. The day of a run plays no part.

An entry whose code the practice's code table does not explain may be a dissent. So may a dissent in a row that cannot be used
while the record has no row that can. Their people are left out as well, with a reason of its own, unless a later withdrawal
would have ended the dissent.
"""

from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import is_true
from pipelines.columns.text import trimmed
from pipelines.columns.values import date_in, known
from pipelines.contracts.ledger import TYPE_ONE_UNKNOWN
from pipelines.contracts.source import LINE, ColumnType
from pipelines.contracts.type_one import TypeOneCodes
from pipelines.curate.versions import valid_rows

_ON_RECORD = ("_provider", "_code_id")

TYPE_ONE_SCHEMA = {"person_id": "bigint", "reason": "string"}
"""One row per person whose GP-held data may not be used, and why: `type_one`, or TYPE_ONE_UNKNOWN where it cannot be told."""

_QUOTED = "[=\"', ]"
"""What spreadsheets put around a code, and between its digits."""

_CODE_IN = {"SNOMED": "^([0-9]{6,18})(?:$|[^0-9eE])", "Read": "^(\\^?[0-9A-Za-z]{1,5})", "CTV3": "^([0-9A-Za-z]{1,5})"}
"""What is compared of a code: the id of SNOMED CT without its term, Read codes without their padding dots and term code.

A caret before a Read code is part of codes that EMIS made."""

_NO_CODE = "^(?:0+|[^0-9A-Za-z]*)$"
"""What stands where there is no code."""


def _as_compared(value: Column, vocabulary: str) -> Column:
    """A code in the form that is compared, Read codes in their own case; empty where the value is none, or is damaged.

    A spreadsheet keeps no more than the first digits of an id: `8.27241E+14` may be any of a thousand.
    """
    return F.coalesce(F.regexp_extract(_bare(value), _CODE_IN.get(vocabulary, "^(.+)$"), 1), F.lit(""))


def _bare(value: Column) -> Column:
    text = F.regexp_replace(trimmed(value), _QUOTED, "")
    return F.when(~text.rlike(_NO_CODE), text)


def type_one_codes(dictionary: DataFrame, codes: TypeOneCodes) -> DataFrame:
    """What the entries of the practices' code tables mean: dissent, withdrawn or other.

    Columns: `_provider`, `_code_id`, `_meaning`. Entries without a code that can be read explain nothing and are left out.
    """
    compared = {vocabulary: _as_compared(F.col(column), vocabulary) for vocabulary, column in codes.dictionary.columns.items()}
    has_code = [code != "" for code in compared.values()]
    has_code += [_bare(F.col(name)).isNotNull() for name in codes.dictionary.others]
    meaning: Column = F.when(reduce(or_, has_code), F.lit("other"))
    for vocabulary, value in compared.items():
        for kind in ("withdrawn", "dissent"):
            listed = [code.code.rstrip(".") for code in codes.codes if code.vocabulary == vocabulary and code.meaning == kind]
            if listed:
                meaning = F.when(value.isin(*listed), F.lit(kind)).otherwise(meaning)
    named = dictionary.select("_provider", trimmed(F.col(codes.dictionary.code)).alias("_code_id"), meaning.alias("_meaning"))
    return named.where(F.col("_meaning").isNotNull()).distinct()


def people_with_type_one(
    observations: DataFrame,
    coded: DataFrame,
    versions: DataFrame,
    patients: DataFrame,
    newest_extracts: DataFrame,
    codes: TypeOneCodes,
) -> DataFrame:
    """Who is left out of what comes from the GP record (TYPE_ONE_SCHEMA).

    `observations` are the bronze rows of the record, `coded` see type_one_codes, `versions` the versions of the source.
    `patients` have `row_key` and `person_id` of patients; `newest_extracts` are of every provider (NEWEST_SCHEMA).
    """
    record = codes.observation
    with_code = observations.select(*LINE, "_provider", *record.dates, trimmed(F.col(record.code)).alias("_code_id"))
    explained = with_code.where(F.col("_code_id").isNotNull()).join(coded, on=list(_ON_RECORD), how="left")
    hits = explained.where(F.col("_meaning").isNull() | (F.col("_meaning") != "other"))
    known_until = newest_extracts.where(F.col("_source") == codes.source).select("_provider", "_known_until")
    hits_known = hits.join(F.broadcast(known_until), on="_provider", how="left")
    said = hits_known.select(*LINE, "_meaning", _moment(record.dates).alias("_moment"), "_known_until")
    rows = versions.where(F.col("entity") == record.entity)
    usable = rows.where(F.col("is_winner")).select("row_key")
    unusable = rows.where(F.col("disposition") == "quarantined").join(usable, on="row_key", how="left_anti")
    valid = valid_rows(versions, record.entity).select(*LINE, "parent_key", F.lit(True).alias("_is_usable"))
    considered = valid.unionByName(unusable.select(*LINE, "parent_key", F.lit(False).alias("_is_usable")))
    stated = considered.join(F.broadcast(said), on=list(LINE), how="inner").join(
        patients.withColumnRenamed("row_key", "parent_key"), on="parent_key", how="inner"
    )
    may_be_dissent = F.col("_meaning").isNull() | ((F.col("_meaning") == "dissent") & ~F.col("_is_usable"))
    meaning = F.when(may_be_dissent, F.lit("unknown")).when(F.col("_is_usable"), F.col("_meaning"))
    moment = F.col("_moment")
    withdrawn = (meaning == "withdrawn") & (moment <= F.col("_known_until"))
    by_person = stated.groupBy("person_id").agg(
        F.max(F.when(withdrawn, moment)).alias("_withdrawal"),
        *_latest(meaning == "dissent", moment, "_dissent"),
        *_latest(meaning == "unknown", moment, "_unknown"),
    )
    reason = F.when(_stands("_dissent"), F.lit("type_one")).when(_stands("_unknown"), F.lit(TYPE_ONE_UNKNOWN))
    return by_person.select("person_id", reason.alias("reason")).where(F.col("reason").isNotNull())


def _latest(is_said: Column, moment: Column, name: str) -> tuple[Column, Column]:
    """When something was said last, and whether it was said without a date."""
    undated = F.max((is_said & moment.isNull()).cast("int"))
    return F.max(F.when(is_said, moment)).alias(name), undated.alias(f"{name}_undated")


def _stands(name: str) -> Column:
    """Whether what `_latest` found was not withdrawn later."""
    withdrawn_later = is_true(F.col("_withdrawal") > F.col(name))
    return (F.col(f"{name}_undated") == 1) | (F.col(name).isNotNull() & ~withdrawn_later)


def _moment(columns: tuple[str, ...]) -> Column:
    """The first date that is given; null where one before it, or it, is unreadable."""
    moment: Column = F.lit(None).cast("date")
    for column in reversed(columns):
        text = trimmed(F.col(column))
        found = date_in(text)
        moment = F.when(text.isNotNull() & found.isNull(), F.lit(None).cast("date")).otherwise(
            F.coalesce(known(ColumnType.DATE, found), moment)
        )
    return moment
