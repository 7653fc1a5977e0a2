"""Who is left out, and by which choice.

Besides the choices of people there are the marks of their records: whom a source marks as sensitive or confidential is left out
of all sources, because the mark protects the person, wherever one meets them.

The national list is an allow-list: a number is kept only if it came back. Of a person who has others besides, none may have
been asked for and not have come back. A local opt-out and an upheld objection remove the whole person; Type 1 removes what
comes from the GP record. Who has no usable number cannot be checked against the national list and follows the declared policy.
An entry of any list finds its person by any number and any local id that rows state of them, also by one that was corrected
since, and by a number that is not trusted to link by.

People write provider codes and local ids by hand: `rxn` for `RXN`, `12345` or `12345.0` for `0012345`. An objection is compared
in the form that the contract of the source declares, so it may reach two people of one provider whose ids differ in leading
zeros only; both are left out. Deliveries are not compared so: that would make these two one person.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.columns.nhs_number import digits_of
from pipelines.contracts.ledger import CONFIDENTIAL
from pipelines.contracts.number_spellings import BLANKS
from pipelines.contracts.organisations import TRUST_AS_SITE
from pipelines.contracts.source import Ignored, LocalIds
from pipelines.curate.records import SEPARATOR
from pipelines.curate.versions import marked_rows

_ANY_BLANK = f"[{BLANKS}]"

PERSON_SCHEMA = {"person_id": "bigint", "opt_out": "string", "type_one": "string"}
"""One row per linked person: the opt-out that removes all rows, and the one that removes those of the GP record; null: none."""


ENTRY_SCHEMA = dict.fromkeys(("list", "reason"), "string") | {"entries": "bigint"}
"""One row per list and outcome with its number of entries. `reason` says why they match nobody; empty: they do match."""


class Unmatched(StrEnum):
    """Why an entry of a list matches nobody."""

    NUMBER = "number_unknown"
    PROVIDER = "provider_unknown"
    LOCAL_ID = "local_id_unknown"


class ListEntry(NamedTuple):
    """An entry of a list in one of the places where it may name a person; parts that it does not use are empty.

    `entry` numbers the entries of all lists. `unmatched` is why the entry matches nobody, in case it does not.
    """

    entry: int
    list: str
    nhs_number: str
    source: str
    provider: str
    local_id: str
    unmatched: str


@dataclass(frozen=True)
class OptOutLists:
    """The lists of a run. `numbers_allowed` (nhs_number) came back from the national check, `numbers_refused` did not.

    `entries` (ListEntry) are those of the other lists, whose people are to be left out. `local_ids` says by source how the
    local ids of entries are compared.
    """

    numbers_allowed: DataFrame
    numbers_refused: DataFrame
    entries: DataFrame
    local_ids: Mapping[str, LocalIds]


def list_entries(
    numbers: Iterable[str], objections: Iterable[tuple[str, str, str]], providers: Iterable[tuple[str, str]]
) -> list[ListEntry]:
    """The entries of the local list (`numbers`) and the upheld objections (number, provider, local id).

    `providers` are the source and the name of all who have delivered. An objection finds each of them that has its name in
    any case and with any blanks, a trust also in the five characters of a site.
    """
    named = defaultdict[str, list[tuple[str, str]]](list)
    for source, provider in sorted(set(providers)):
        named[_provider_form(provider)].append((source, provider))
    entries = [ListEntry(n, "local", number, "", "", "", Unmatched.NUMBER) for n, number in enumerate(numbers)]
    for n, (number, provider, local_id) in enumerate(objections, len(entries)):
        places = named.get(_provider_form(provider), []) if local_id else []
        unmatched = Unmatched.NUMBER if number else Unmatched.LOCAL_ID if places else Unmatched.PROVIDER
        entries += [ListEntry(n, "objection", number, *place, local_id, unmatched) for place in places or [("", "")]]
    return entries


def _provider_form(provider: str) -> str:
    return re.sub(TRUST_AS_SITE, r"\1", re.sub(_ANY_BLANK, "", provider).upper())


def opt_outs_by_person(
    links: DataFrame,
    others: DataFrame,
    lists: OptOutLists,
    people_with_type_one: DataFrame,
    confidential: Iterable[DataFrame],
    exclude_unverifiable: bool,
) -> DataFrame:
    """The opt-out of every linked person (PERSON_SCHEMA).

    `links`: LINK_SCHEMA; `others`: OTHER_IDENTITY_SCHEMA; `people_with_type_one`: TYPE_ONE_SCHEMA; `confidential`: what
    `marked_confidential` gives for each source of which marks are followed.
    """
    people = links.select("person_id", "linked_number").distinct()
    allowed = _marked(lists.numbers_allowed.select(F.col("nhs_number").alias("linked_number")), "_allowed")
    numbers, stated = _numbers(links, others), _stated(links, others)
    refused = _marked(_with_number(numbers, lists.numbers_refused), "_refused")
    is_local = F.col("list") == "local"
    local = _marked(_with_number(numbers, lists.entries.where(is_local)), "_local")
    objections = lists.entries.where(~is_local)
    objecting = _marked(_with_number(numbers, objections).union(_at_place(stated, objections, lists.local_ids)), "_objects")
    marked = [
        found for marks in confidential for found in (_with_number(numbers, marks), _at_place(stated, marks, lists.local_ids))
    ]
    type_one = people_with_type_one.select("person_id", F.col("reason").alias("type_one"))
    checked = (
        people.join(allowed, on="linked_number", how="left")
        .join(refused, on="person_id", how="left")
        .join(local, on="person_id", how="left")
        .join(objecting, on="person_id", how="left")
        .join(type_one, on="person_id", how="left")
    )
    if marked:
        checked = checked.join(_marked(union_all(marked), "_confidential"), on="person_id", how="left")
    has_number = F.col("linked_number") != ""
    opt_out = (
        F.when(F.col("_objects").isNotNull(), F.lit("objection"))
        .when(F.col("_local").isNotNull(), F.lit("local"))
        .when(F.col("_confidential").isNotNull() if marked else F.lit(False), F.lit(CONFIDENTIAL))
        .when(F.col("_refused").isNotNull() | (has_number & F.col("_allowed").isNull()), F.lit("national"))
        .when(~has_number & F.lit(exclude_unverifiable), F.lit("unverifiable"))
    )
    return checked.select("person_id", opt_out.alias("opt_out"), "type_one")


def marked_confidential(versions: DataFrame, entities: Iterable[str], source: str) -> DataFrame:
    """Whom the rows of some entities of a source mark as confidential: `source`, `provider`, `local_id`, `nhs_number`."""
    values = {
        "source": F.lit(source),
        "provider": F.col("_provider"),
        "local_id": F.coalesce("local_id", F.lit("")),
        "nhs_number": F.coalesce(digits_of(F.col("nhs_number")), F.lit("")),
    }
    return marked_rows(versions, *entities).select(*[value.alias(name) for name, value in values.items()])


def _marked(keys: DataFrame, mark: str) -> DataFrame:
    return keys.distinct().withColumn(mark, F.lit(True))


def _numbers(links: DataFrame, others: DataFrame) -> DataFrame:
    """Each `person_id` with every `nhs_number` that is known of them."""
    linked = links.select("person_id", F.col("linked_number").alias("nhs_number"))
    corrected = links.where(F.col("nhs_number") != F.col("linked_number")).select("person_id", "nhs_number")
    return linked.union(corrected).union(others.select("person_id", "nhs_number")).where(F.col("nhs_number") != "").distinct()


def _with_number(numbers: DataFrame, entries: DataFrame) -> DataFrame:
    """The people whom entries name by a number; entries without one have an empty one, which nobody has."""
    return numbers.join(entries.select("nhs_number").distinct(), on="nhs_number", how="left_semi").select("person_id")


def _at_place(stated: DataFrame, objections: DataFrame, local_ids: Mapping[str, LocalIds]) -> DataFrame:
    """The people whom objections name by provider and local id. `stated` see `_stated`."""
    placed = _places(objections, local_ids).select(*_PLACE).distinct()
    return _places(stated, local_ids).join(placed, on=list(_PLACE), how="left_semi").select("person_id")


_PLACE = ("source", "provider", "_local_id")


def _stated(links: DataFrame, others: DataFrame) -> DataFrame:
    """Each `person_id` with every place that is known of them, named as those of entries are."""
    place = F.col("_source").alias("source"), F.col("_provider").alias("provider"), "local_id"
    return links.select("person_id", *place).union(others.select("person_id", *place))


def _places(frame: DataFrame, local_ids: Mapping[str, LocalIds]) -> DataFrame:
    """The rows with a local id, and the form of it that is compared (`_local_id`)."""
    return frame.withColumn("_local_id", compared_local_id(local_ids)).where(F.col("_local_id") != "")


def compared_local_id(local_ids: Mapping[str, LocalIds]) -> Column:
    """What is compared of a `local_id`, by the `source` of its row."""
    sources = defaultdict[tuple[Ignored, ...], list[str]](list)
    for source, spelling in local_ids.items():
        sources[tuple(sorted(set(spelling.ignore)))].append(source)
    scoped = [source for source, spelling in local_ids.items() if spelling.within]
    own = F.substring_index("local_id", SEPARATOR, 1)  # lists name an id without that within which it is unique
    form: Column = F.when(F.col("source").isin(*scoped), own).otherwise(F.col("local_id")) if scoped else F.col("local_id")
    stated = form
    for ignored, names in sources.items():
        form = F.when(F.col("source").isin(*names), _without(stated, ignored)).otherwise(form)
    return form


def _without(value: Column, ignored: tuple[Ignored, ...]) -> Column:
    if Ignored.PUNCTUATION in ignored:
        value = F.regexp_replace(value, "[^A-Za-z0-9]", "")
    elif Ignored.BLANKS in ignored:
        value = F.regexp_replace(value, _ANY_BLANK, "")
    if Ignored.CASE in ignored:
        value = F.upper(value)
    if Ignored.LEADING_ZEROS in ignored:  # a column of numbers takes them, and adds decimals
        value = F.regexp_replace(F.regexp_replace(value, "^([0-9]+)[.]0+$", "$1"), "^0+", "")
    return value


def matched_entries(links: DataFrame, others: DataFrame, lists: OptOutLists) -> DataFrame:
    """How many entries of each list match a person, and how many nobody and why (ENTRY_SCHEMA).

    `links`: LINK_SCHEMA; `others`: OTHER_IDENTITY_SCHEMA.
    """
    known = _numbers(links, others).select("nhs_number").distinct()
    places = _places(_stated(links, others), lists.local_ids).select(*_PLACE).distinct()
    with_form = lists.entries.withColumn("_local_id", compared_local_id(lists.local_ids))
    found = with_form.join(known.withColumn("_known", F.lit(1)), on="nhs_number", how="left").join(
        places.withColumn("_found", F.lit(1)), on=list(_PLACE), how="left"
    )
    is_matched = F.coalesce("_known", "_found", F.lit(0))
    by_entry = found.groupBy("entry", "list", "unmatched").agg(F.max(is_matched).alias("_matched"))
    reason = F.when(F.col("_matched") == 1, F.lit("")).otherwise(F.col("unmatched"))
    counted = by_entry.select("list", reason.alias("reason")).groupBy("list", "reason")
    return counted.agg(F.count(F.lit(1)).alias("entries")).select(*ENTRY_SCHEMA)
