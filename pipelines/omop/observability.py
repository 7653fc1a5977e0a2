"""Observability: for each person and provider the spans in which care by that provider would have been seen.

Observation periods say when a person was observed at all. A study of one kind of care also has to know when that kind would
have been seen: a person who is registered with a practice is observed, and yet a hospital whose extracts begin later tells
nothing of the years before.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.contracts.cdm import CdmTable
from pipelines.omop.conform import conform
from pipelines.omop.periods import first_capture, limits_of, within_limits
from vocab.schemas import ddl_of

REGISTRATION, SUBMISSION, EXTRACT = "registration", "submission", "extract"
"""How a span is known: the person was registered; the provider submitted these months; it delivered extracts in this time."""

_SPANS_SCHEMA = {
    "_source": "string",
    "_provider": "string",
    "basis": "string",
    "start_date": "date",
    "end_date": "date",
    "_first_extract": "date",
}

_MONTH_ONE = 1900 * 12 + 3
"""The month before the first of NHS month numbers: April 1900 has the number 1."""


@dataclass(frozen=True)
class Coverage:
    """What a provider of a source has delivered: the days of its first and newest extract, and the reporting periods.

    A period is a text as the register has it: the number of a month (since April 1900) or its last day in the form of ISO 8601;
    it covers `period_months`. `by_entity` has those that the provider submitted with a file of each entity.
    """

    source: str
    provider: str
    first_extract: date
    last_extract: date
    periods: tuple[str, ...] = ()
    period_months: int = 1
    by_entity: tuple[tuple[str, tuple[str, ...]], ...] = ()


def spans_of(coverage: Coverage, captured_from: Mapping[str, date]) -> Iterator[tuple[str, date, date]]:
    """How each span is known in which care by a provider would have been seen, its first and its last day.

    The months that it submitted, those that follow each other as one span. Without any that can be read, the time from its
    earliest capture, or else from its first extract, to its newest extract.
    """
    captured = first_capture(captured_from, coverage.source, coverage.provider)
    months = sorted({month for text in coverage.periods for month in _months(text, coverage.period_months)})
    spans: list[tuple[int, int]] = []
    for month in months:
        is_next = bool(spans) and month == spans[-1][1] + 1
        spans = [*spans[:-1], (spans[-1][0], month)] if is_next else [*spans, (month, month)]
    found = [(SUBMISSION, _first_day(first), _first_day(last + 1) - timedelta(1)) for first, last in spans]
    for basis, first, last in found or [(EXTRACT, captured or coverage.first_extract, coverage.last_extract)]:
        start, end = max(first, captured or first), min(last, coverage.last_extract)
        if start <= end:
            yield basis, start, end


def newest_months(coverage: Iterable[Coverage]) -> dict[tuple[str, str, str], date]:
    """By source, provider and entity: the first day of the newest month submitted, none that began after the newest extract."""
    return {
        (of.source, of.provider, entity): max(began)
        for of in coverage
        for entity, periods in of.by_entity
        if (began := [day for day in _months_begun(periods, of.period_months) if day <= of.last_extract])
    }


def _months_begun(periods: Iterable[str], length: int) -> Iterator[date]:
    return (_first_day(month) for text in periods for month in _months(text, length))


def _months(period: str, length: int) -> Iterable[int]:
    """The months of a period, each as years times 12 plus month; none if the text cannot be read."""
    if re.fullmatch("[0-9]{1,4}", period):
        last = _MONTH_ONE + int(period) - 1
    elif day := re.fullmatch("([0-9]{4})-([0-9]{2})-[0-9]{2}", period):
        last = int(day[1]) * 12 + int(day[2]) - 1
    else:
        return ()
    return range(last - length + 1, last + 1)


def _first_day(month: int) -> date:
    return date(month // 12, month % 12 + 1, 1)


def observability(
    registrations: DataFrame,
    people: DataFrame,
    persons: DataFrame,
    deaths: DataFrame,
    newest_extracts: DataFrame,
    coverage: Iterable[Coverage],
    captured_from: Mapping[str, date],
    table: CdmTable,
) -> DataFrame:
    """The observability table: the registrations, and of providers without them what they delivered, for each of their people.

    `people` are the rows of Target.PERSON of sources without registrations: who has one is known to its provider. Spans begin
    in the year of birth at the earliest and end with the death. `captured_from` is described at `earliest_capture`.
    """
    spans = _spans(persons.sparkSession, coverage, captured_from)
    known = people.select("person_id", "_source", "_provider").distinct()
    delivered = known.join(F.broadcast(spans), on=["_source", "_provider"], how="inner")
    extracts = spans.groupBy("_source", "_provider").agg(F.min("_first_extract").alias("_first_extract"))
    registered = registrations.join(F.broadcast(extracts), on=["_source", "_provider"], how="left")
    columns = ("person_id", *_SPANS_SCHEMA)
    named = registered.withColumn("basis", F.lit(REGISTRATION)).select(*columns)
    spans_known = union_all([named, delivered.select(*columns)])
    limited = within_limits(spans_known, limits_of(persons, deaths, 0), newest_extracts, captured_from)
    values: dict[str, Column] = {
        "person_id": F.col("person_id"),
        "source": F.col("_source"),
        "provider": F.col("_provider"),
        "basis": F.col("basis"),
        "span_start_date": F.col("start_date"),
        "span_end_date": F.col("end_date"),
        "first_extract_date": F.col("_first_extract"),
        "last_extract_date": F.col("_known_until"),
    }
    return conform(limited.where(F.col("start_date") <= F.col("end_date")), values, table)


def _spans(session: SparkSession, coverage: Iterable[Coverage], captured_from: Mapping[str, date]) -> DataFrame:
    """The spans of all providers (_SPANS_SCHEMA)."""
    rows = [
        (provider.source, provider.provider, *span, provider.first_extract)
        for provider in coverage
        for span in spans_of(provider, captured_from)
    ]
    return session.createDataFrame(rows, ddl_of(_SPANS_SCHEMA))
