"""Visits: spells of several parts, ends that are missing, and which visit led to which."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true, is_true
from pipelines.columns.frames import rows_of_group
from pipelines.columns.ids import omop_id, without_collisions
from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.ledger import IMPLAUSIBLE
from pipelines.mapping.compile import END_UNREADABLE
from pipelines.mapping.expressions import DAYS_AROUND_STAY
from pipelines.mapping.outcomes import left_out_rows
from pipelines.mapping.plausibility import Check
from pipelines.mapping.spec import Rule, Target
from pipelines.omop.codes import with_concepts
from pipelines.omop.conform import conform
from pipelines.omop.episodes import SUBMITTED_BY
from pipelines.omop.events import with_links
from pipelines.omop.places import provider_index, with_care_site

AMBULANCE_VISIT_CONCEPT_ID = 581478
EMERGENCY_ROOM_VISIT_CONCEPT_ID = 9203
URGENT_CARE_CONCEPT_ID = 8782
OUTPATIENT_VISIT_CONCEPT_ID = 9202
EMERGENCY_ROOM_AND_INPATIENT_VISIT_CONCEPT_ID = 262
INPATIENT_VISIT_CONCEPT_ID = 9201
INPATIENT_HOSPITAL_CONCEPT_ID = 8717
INPATIENT_CRITICAL_CARE_CONCEPT_ID = 581379
INPATIENT_PSYCHIATRIC_CONCEPT_ID = 8971
INTENSIVE_CARE_CONCEPT_ID = 32037
LONG_TERM_CARE_VISIT_CONCEPT_ID = 42898160

ADMISSIONS = (
    INPATIENT_VISIT_CONCEPT_ID,
    EMERGENCY_ROOM_AND_INPATIENT_VISIT_CONCEPT_ID,
    INPATIENT_HOSPITAL_CONCEPT_ID,
    INPATIENT_PSYCHIATRIC_CONCEPT_ID,
)
"""Visits that a person is admitted to."""

STAYS = (*ADMISSIONS, INPATIENT_CRITICAL_CARE_CONCEPT_ID, INTENSIVE_CARE_CONCEPT_ID, LONG_TERM_CARE_VISIT_CONCEPT_ID)
"""Visits of which a missing end means that the person is still there; any other visit without an end is over that day."""

OF_A_NIGHT_AT_MOST = ("4", "5")
"""Patient classifications of stays that nobody goes on with: regular night attenders, mother and baby at a delivery."""

TELEHEALTH_CONCEPT_IDS = (722455, 5083)
HOME_VISIT_CONCEPT_ID = 581476

CONTACTS = (
    AMBULANCE_VISIT_CONCEPT_ID,
    EMERGENCY_ROOM_VISIT_CONCEPT_ID,
    URGENT_CARE_CONCEPT_ID,
    OUTPATIENT_VISIT_CONCEPT_ID,
    HOME_VISIT_CONCEPT_ID,
    *TELEHEALTH_CONCEPT_IDS,
)
"""Visits of minutes or hours."""

END_TOO_LATE, OUTSIDE_VISIT = "end_too_late", "outside_visit"
"""Why another day is published than was delivered: a contact lasts over LONGEST_CONTACT_DAYS, a part is not of its visit."""

LONGEST_CONTACT_DAYS = 7
"""After so many days a contact is over: a duration of 99999 minutes or an end of another year is no end of it."""

VISITS_SCHEMA = {
    "key": "string",
    "id": "bigint",
    "person_id": "bigint",
    "concept_id": "bigint",
    "start_date": "date",
    "start_datetime": "timestamp",
    "end_date": "date",
    "end_datetime": "timestamp",
    "end_rule": "string",
    "type_concept_id": "bigint",
    "source_value": "string",
    "source_concept_id": "bigint",
    "care_site_code": "string",
    "provider_key": "string",
    "admitted_from_concept_id": "bigint",
    "admitted_from_source_value": "string",
    "discharged_to_concept_id": "bigint",
    "discharged_to_source_value": "string",
    "preceding_key": "string",
    "visit_key": "string",
    "encounter_key": "string",
    "named_from": "date",
    "named_until": "date",
    "episode_key": "string",
    "came_by": "string",
    "patient_classification": "string",
    "conveyed": "boolean",
    "destination_code": "string",
    "_source": "string",
    "_entity": "string",
    "_rule": "string",
    "_row_key": "string",
    "_provider": "string",
}
"""One row per visit (or visit detail) with its id.

`end_rule`: delivered, unreadable, open, last_submission, died, same_day, before_start, after_extract or too_late.
`encounter_key`: the name by
which events refer to it that do not say what kind of visit they mean; it means this visit from the day `named_from` to the day
before `named_until` (null: without a limit). `came_by`: the admission method of a stay or the arrival mode of an attendance, as
delivered. `patient_classification`: of hospital provider spells only, 9 where it is not known. `conveyed`, `destination_code`:
whether and to which site an ambulance took the person.
"""

_OF_ONE_TARGET = (
    "visit_key",
    "encounter_key",
    "episode_key",
    "came_by",
    "patient_classification",
    "conveyed",
    "destination_code",
)
"""What only visits or only their details have: a detail names its visit, a visit its episode and how it came about."""

CLASSIFICATION_NOT_KNOWN = "9"
ORDINARY_ADMISSION = "1"

_CLASS = (
    *("concept_concept_id", "concept_vocabulary", "concept_code", "concept_source_value"),
    *("patient_classification", "source_value"),
)
"""What says of which class a spell is."""


DEPARTMENTS = (EMERGENCY_ROOM_VISIT_CONCEPT_ID, URGENT_CARE_CONCEPT_ID)
"""Attendances of an emergency department or of urgent care."""

BY_DEPARTMENT = ("21", "2A")
"""Admission methods: by an emergency department of the provider, or of another one."""

BY_TRANSFER = ("2B", "81")
"""Admission methods: transfer from another provider, as an emergency or not."""

BY_OTHER_WAY = ("11", "12", "13", "22", "23", "24", "25", "2C", "31", "32", "82", "83")
"""Admission methods that name another way: planned, by a GP, a clinic or a crisis team, births."""

BY_AMBULANCE = ("1048031000000100", "1048041000000109", "1048021000000102", "1048051000000107", "1048081000000101")
"""Arrival modes (SNOMED CT): by road or air ambulance."""

BY_OTHER_ARRIVAL = ("1048071000000103", "1048061000000105", "1048001000000106", "1047991000000102")
"""Arrival modes (SNOMED CT): own or public transport, with the police or from prison."""

_TELLING = (*BY_DEPARTMENT, *BY_TRANSFER, *BY_OTHER_WAY, *BY_AMBULANCE, *BY_OTHER_ARRIVAL)

TRUST_LENGTH = 3
"""Leading characters of the code of an NHS site that are the code of its trust (Organisation Data Service)."""


@dataclass(frozen=True)
class Link:
    """Visits of `later` follow those of `earlier` that ended at most `hours` before they began, of the same person.

    It is for visits that `came_by` one of these ways; without any for visits that do not tell a way.
    """

    earlier: tuple[int, ...]
    later: tuple[int, ...]
    hours: int
    came_by: tuple[str, ...] = ()


LINKS = (
    Link(earlier=DEPARTMENTS, later=ADMISSIONS, hours=24, came_by=BY_DEPARTMENT),
    Link(earlier=ADMISSIONS, later=ADMISSIONS, hours=48, came_by=BY_TRANSFER),
    Link(
        earlier=(AMBULANCE_VISIT_CONCEPT_ID,), later=(*DEPARTMENTS, OUTPATIENT_VISIT_CONCEPT_ID), hours=6, came_by=BY_AMBULANCE
    ),
    Link(earlier=DEPARTMENTS, later=ADMISSIONS, hours=24),
    Link(earlier=(AMBULANCE_VISIT_CONCEPT_ID,), later=DEPARTMENTS, hours=6),
)
"""What a visit says of itself comes first: an admission by an emergency department follows an attendance that ended within
a day, a transfer the stay that ended within two days, an arrival by ambulance the conveyance within six hours. Where nothing is
said, the time alone tells. A visit that names another way (a planned admission, own transport) follows none."""

FIRST_DAY, LAST_DAY = "0001-01-01", "9999-12-31"

_BEFORE_WAY = "\n"
"""Stands between the position of a part and how it came about: no code has it."""

_FIRST = "first"
_LAST = "last"


VISIT_KEY = ("_kind", "key", "person_id")
"""What names a visit: the table, its key in the source, and the person: two people of one key have a visit each."""


def visit_ids(visit_rows: DataFrame, kind: str) -> DataFrame:
    """VISIT_KEY and `id` of every visit or visit detail; the parts of the spell of a person share theirs."""
    return visit_rows.select("key", "person_id", F.lit(kind).alias("_kind"), _visit_id(kind).alias("id"))


def _visit_id(kind: str) -> Column:
    return omop_id(F.lit(kind), F.col("key"))


def visits(
    visit_rows: DataFrame,
    rules: Iterable[Rule],
    concept_map: DataFrame,
    collisions: DataFrame,
    newest_extracts: DataFrame,
    newest_months: DataFrame,
    deaths: DataFrame,
    kind: str,
) -> DataFrame:
    """One row per visit (VISITS_SCHEMA), the parts of a spell as one, ends decided, with ids.

    `visit_rows` are the rows of Target.VISIT or Target.VISIT_DETAIL; `kind` names the table the ids are for. `newest_extracts`
    (NEWEST_SCHEMA) says until when an open stay is known to last, a row's `open_until` that it is known until an earlier day
    only and that an end after the extract is planned, so that the stay is open, `newest_months` (NEWEST_MONTHS_SCHEMA) whether
    its provider has submitted a newer month without it; `deaths` has `person_id` and `death_date`, one row a person.
    """
    rules = tuple(rules)
    grouped = [rule.name for rule in rules if rule.group]
    rows = visit_rows
    for name in _OF_ONE_TARGET:
        rows = rows if name in rows.columns else rows.withColumn(name, F.lit(None).cast(VISITS_SCHEMA[name]))
    is_grouped = F.col("_rule").isin(*grouped) if grouped else F.lit(False)
    merged = spells(rows.where(is_grouped)).unionByName(rows.where(~is_grouped)) if grouped else rows
    coded = with_concepts(merged, ("concept", "admitted_from", "discharged_to"), concept_map)
    died = F.broadcast(deaths.select("person_id", F.col("death_date").alias("_died")))
    of_open = {name: F.when(~is_planned(), F.col(name)) for name in _SAID_OF_END}
    known = coded.withColumns(of_open).join(F.broadcast(newest_extracts), on=["_source", "_provider"], how="left")
    known = known.join(F.broadcast(newest_months), on=list(SUBMITTED_BY), how="left")
    ended = with_end(known.join(died, on="person_id", how="left"), rules)
    numbered = ended.withColumn("id", _visit_id(kind)).withColumn("_kind", F.lit(kind))
    unique = without_collisions(numbered, "id", VISIT_KEY, collisions)
    values = {
        "concept_id": F.coalesce(F.col("concept_target"), F.lit(0)),
        "source_concept_id": F.coalesce(F.col("concept_source_concept"), F.lit(0)),
        "admitted_from_concept_id": F.col("admitted_from_target"),
        "discharged_to_concept_id": F.col("discharged_to_target"),
        "patient_classification": _classification(hospital_rules(rules)),
    }
    values |= {name: F.lit(None) for name in ("named_from", "named_until")}
    whole = unique.select(*[values.get(name, F.col(name)).cast(kind_).alias(name) for name, kind_ in VISITS_SCHEMA.items()])
    return with_days_named(whole) if has_encounters(rules) else whole


_SAID_OF_END = ("end_date", "end_datetime", "_flagged", "discharged_to_target", "discharged_to_source_value")
"""What a row says of the end of its visit, and where to; of a planned end it says nothing yet."""


def is_planned() -> Column:
    """Whether the end of a row of Target.VISIT or VISIT_DETAIL is planned: it is after the extract, and the row says until when
    the stay is known to last (`open_until`).
    """
    is_late = F.col("_flagged") == str(Check.END_AFTER_EXTRACT)
    return F.col("open_until").isNotNull() & is_true(is_late)


def has_encounters(rules: Iterable[Rule]) -> bool:
    """Whether some rule says by which name events refer to a visit."""
    return any("encounter_key" in rule.fields for rule in rules)


def with_days_named(visits: DataFrame) -> DataFrame:
    """Visits with the days in which their `encounter_key` means them: a spell, an attendance and appointments may share one.

    It means the visit of the person that began last, by day; of those of one day a spell, then a department. Before the
    first day it means that of the first day.
    """
    is_spell, is_department = F.col("patient_classification").isNotNull(), F.col("concept_id").isin(*DEPARTMENTS)
    order = Window.partitionBy("person_id", "encounter_key").orderBy("start_date", is_spell, is_department, "key")
    until = F.lead("start_date").over(order)
    has_limit = (F.min("start_date").over(order) < F.col("start_date")) | is_true(until == F.col("start_date"))
    days = {"named_from": F.when(has_limit, F.col("start_date")), "named_until": until}
    is_named = F.col("encounter_key").isNotNull()
    return visits.withColumns({name: F.when(is_named, day) for name, day in days.items()})


def hospital_rules(rules: Iterable[Rule]) -> list[str]:
    """The rules whose visits are hospital provider spells: those that fill a patient classification."""
    return [rule.name for rule in rules if "patient_classification" in rule.fields]


def _classification(rules: list[str]) -> Column:
    stated = F.coalesce(F.col("patient_classification"), F.lit(CLASSIFICATION_NOT_KNOWN))
    return F.when(F.col("_rule").isin(*rules), stated) if rules else F.lit(None)


def spells(rows: DataFrame) -> DataFrame:
    """One row per `key` and person from their parts.

    It has the least start, the greatest end, and where it was discharged to from the last part; times are those of its first
    and last day. It is an ordinary admission if one of its parts is. How it came about says the first part that says so. All
    else comes from the first part by `order`, then start, then those without an end, then row key.
    When the last part has no end, neither has the spell: the person is still there, unless the end of a part could not be read.
    """
    start = F.coalesce(F.col("start_datetime"), F.col("start_date").cast("timestamp"))
    position = F.concat_ws(
        "|",
        F.lpad(F.coalesce(F.col("order"), F.lit(0)).cast("string"), 19, "0"),
        F.date_format(start, "yyyy-MM-dd HH:mm:ss"),
        # Sent unfinished and finished under two identifiers, a part is finished.
        F.when(F.col("end_date").isNull(), F.lit("0")).otherwise(F.lit("1")),
        F.col("_rule"),
        F.col("_row_key"),
    )
    placed = rows.withColumn("_position", position)
    is_admission = F.col("patient_classification") == ORDINARY_ADMISSION
    bounds = placed.groupBy(F.col("key").alias("_spell"), F.col("person_id").alias("_of")).agg(
        F.min("_position").alias(_FIRST),
        F.max("_position").alias(_LAST),
        *[F.min(name).alias(f"_least_{name}") for name in ("start_date", "start_datetime")],
        *[F.max(name).alias(f"_greatest_{name}") for name in ("end_date", "end_datetime", END_UNREADABLE)],
        *[F.max(F.when(is_admission, F.col(name))).alias(f"_admission_{name}") for name in _CLASS],
        F.min(F.when(F.col("came_by").isNotNull(), F.concat("_position", F.lit(_BEFORE_WAY), "came_by"))).alias("_first_way"),
    )
    last_parts = (
        "end_date",
        "discharged_to_concept_id",
        "discharged_to_vocabulary",
        "discharged_to_code",
        "discharged_to_source_value",
        "_flagged",
    )
    is_own = (F.col("key") == F.col("_spell")) & (F.col("person_id") == F.col("_of"))
    parts = placed.select("key", "person_id", "_position", *last_parts)
    last = parts.join(bounds.select("_spell", "_of", _LAST), on=is_own & (F.col("_position") == F.col(_LAST)), how="inner")
    spell = [F.col("_spell").alias("_last_spell"), F.col("_of").alias("_last_of")]
    ends = last.select(*spell, *[F.col(name).alias(f"_last_{name}") for name in last_parts])
    is_last = (F.col("key") == F.col("_last_spell")) & (F.col("person_id") == F.col("_last_of"))
    first = placed.join(bounds, on=is_own & (F.col("_position") == F.col(_FIRST)), how="inner").join(
        ends, on=is_last, how="inner"
    )
    is_over = F.col("_last_end_date").isNotNull()
    least, greatest = F.col("_least_start_datetime"), F.col("_greatest_end_datetime")
    has_start_time = least < F.date_add("_least_start_date", 1).cast("timestamp")
    has_end_time = is_over & (greatest >= F.col("_greatest_end_date").cast("timestamp"))
    values = {"start_date": F.col("_least_start_date"), "start_datetime": F.when(has_start_time, least)}
    values |= {"end_date": F.when(is_over, F.col("_greatest_end_date")), "end_datetime": F.when(has_end_time, greatest)}
    values |= {name: F.col(f"_last_{name}") for name in last_parts if name != "end_date"}
    values[END_UNREADABLE] = F.col(f"_greatest_{END_UNREADABLE}")
    values |= {name: F.coalesce(F.col(f"_admission_{name}"), F.col(name)) for name in _CLASS}
    values["came_by"] = F.substring_index("_first_way", _BEFORE_WAY, -1)
    return first.select(*[values.get(name, F.col(name)).alias(name) for name in rows.columns])


def is_stay(rules: Iterable[Rule]) -> Column:
    """Whether a missing end means that the person is still there: STAYS, and hospital spells and parts of no known kind.

    Only what is discharged can be known to have been for a day.
    """
    rules = tuple(rules)
    names = [*hospital_rules(rules), *[rule.name for rule in rules if rule.to is Target.VISIT_DETAIL]]
    listed = is_true(F.col("concept_target").isin(*STAYS))
    return listed | (F.col("_rule").isin(*names) & (F.coalesce("concept_target", F.lit(0)) == 0)) if names else listed


def with_end(frame: DataFrame, rules: Iterable[Rule] = ()) -> DataFrame:
    """Every visit with an end: the delivered one; else for stays the last day on which the person is known to be there, or an
    earlier death; else, and for stays OF_A_NIGHT_AT_MOST, the day it began.

    `rules` are those of the visits, which say what a stay is (`is_stay`).

    A stay is known until the newest extract of its provider, or the end of the last submission that has it (`open_until`). One
    that a newer submission (`_newest_month`) no longer has is over. An end before the start or after the extract is not
    believed, nor one of CONTACTS after LONGEST_CONTACT_DAYS, and one that cannot be read is not known: the visit ends when it
    starts, and `end_rule` says so.
    """
    is_backwards = is_true((F.col("end_date") < F.col("start_date")) | (F.col("end_datetime") < F.col("start_datetime")))
    is_too_late = F.col("concept_target").isin(*CONTACTS) & (F.col("end_date") > F.date_add("start_date", LONGEST_CONTACT_DAYS))
    is_of_a_night = is_true(F.col("patient_classification").isin(*OF_A_NIGHT_AT_MOST))
    lasts = is_stay(rules) & ~is_of_a_night
    is_gone = is_true(F.col("open_until") < F.col("_newest_month"))
    last_known = F.least("_known_until", "open_until")
    died_there = F.col("_died").between(F.col("start_date"), F.when(is_gone, last_known).otherwise(F.col("_known_until")))
    rule = (
        F.when(F.col("_flagged") == str(Check.END_AFTER_EXTRACT), F.lit("after_extract"))
        .when(is_backwards, F.lit("before_start"))
        .when(is_too_late, F.lit("too_late"))
        .when(F.col("end_date").isNotNull(), F.lit("delivered"))
        .when(F.col(END_UNREADABLE), F.lit("unreadable"))
        .when(lasts & died_there, F.lit("died"))
        .when(lasts & is_gone, F.lit("last_submission"))
        .when(lasts, F.lit("open"))
        .otherwise(F.lit("same_day"))
    )
    ruled = frame.withColumn("end_rule", rule)
    has_end = F.col("end_rule").isin("delivered", "after_extract")
    end_date = (
        F.when(has_end, F.col("end_date"))
        .when(F.col("end_rule").isin("open", "last_submission"), F.greatest(F.col("start_date"), last_known))
        .when(F.col("end_rule") == "died", F.col("_died"))
        .otherwise(F.col("start_date"))
    )
    end_datetime = F.when(has_end, F.col("end_datetime")).when(F.col("end_rule") == "before_start", F.col("start_datetime"))
    return ruled.withColumn("end_datetime", end_datetime).withColumn("end_date", end_date)


def preceding(visits: DataFrame) -> DataFrame:
    """`id` and `preceding_id` of the visits that another led to.

    The delivered link (`preceding_key`) counts first, then the first of LINKS by which a visit qualifies. Of the visits that
    qualify by it: one of the trust that the admission method speaks of, then the one that started last.
    """
    own = visits.where(F.col("preceding_key").isNotNull()).select("person_id", "id", F.col("preceding_key").alias("key"))
    earlier = visits.select("person_id", "key", F.col("id").alias("preceding_id"))
    delivered = own.join(earlier, on=["person_id", "key"], how="inner").select("id", "preceding_id")
    found = delivered.where(F.col("id") != F.col("preceding_id"))
    return found.unionByName(_linked(visits).join(found, on="id", how="left_anti"))


def order_of_start() -> Column:
    """When a visit begins among others: without a time a transfer is the last of its day, and any other visit the first."""
    is_transfer = is_true(F.upper(F.trim("came_by")).isin(*BY_TRANSFER))
    return F.coalesce("start_datetime", F.date_add("start_date", is_transfer.cast("int")).cast("timestamp"))


def trust_of(site: Column) -> Column:
    """The code of the trust that a site belongs to."""
    return F.upper(F.substring(F.trim(site), 1, TRUST_LENGTH))


def _linked(visits: DataFrame) -> DataFrame:
    """`id` and `preceding_id` by LINKS: one join of the visits that may lead on with those that may follow."""
    # A visit known by the day only may have begun and ended at any time of it.
    start = F.coalesce(F.col("start_datetime"), F.col("start_date").cast("timestamp"))
    end = F.coalesce(F.col("end_datetime"), F.date_add(F.col("end_date"), 1).cast("timestamp"))
    position = F.concat_ws("|", F.date_format(order_of_start(), "yyyy-MM-dd HH:mm:ss"), F.col("key"))
    leads = visits.where(F.col("concept_id").isin(*_concepts("earlier")) & F.coalesce(F.col("conveyed"), F.lit(True)))
    before = leads.select(
        "person_id",
        F.col("id").alias("preceding_id"),
        F.col("concept_id").alias("_led"),
        F.col("start_date").alias("_day"),
        F.col("start_datetime").alias("_start"),
        F.unix_timestamp(end).alias("_end"),
        position.alias("_place"),
        trust_of(F.col("care_site_code")).alias("_trust"),
        trust_of(F.col("destination_code")).alias("_taken_to"),
    )
    way = F.upper(F.trim(F.col("came_by")))
    known_way = F.when(way.isin(*_TELLING), way)
    after = visits.where(F.col("concept_id").isin(*_concepts("later"))).select(
        "person_id",
        "id",
        "concept_id",
        "start_date",
        "start_datetime",
        F.unix_timestamp(start).alias("_begin"),
        position.alias("_own_place"),
        trust_of(F.col("care_site_code")).alias("_own_trust"),
        known_way.alias("_way"),
    )
    pairs = after.where(_may_follow()).join(before, on="person_id", how="inner")
    is_after_start = F.coalesce(F.col("start_datetime") >= F.col("_start"), F.col("start_date") >= F.col("_day"))
    # Of two stays that begin together one leads to the other, not each to the other.
    is_later_stay = ~F.col("_led").isin(*ADMISSIONS) | (F.col("_place") < F.col("_own_place"))
    is_there = F.coalesce(F.col("_taken_to") == F.col("_own_trust"), F.lit(True))
    rank = first_true((_qualifies(link), F.lit(len(LINKS) - place)) for place, link in enumerate(LINKS))
    fitting = pairs.where(is_after_start & is_later_stay & is_there).withColumn("_rank", rank).where(F.col("_rank").isNotNull())
    is_same_trust = is_true(F.col("_trust") == F.col("_own_trust"))
    is_meant = (is_same_trust == ~is_true(F.col("_way").isin("2A", *BY_TRANSFER))).cast("int")
    ordered = fitting.withColumn(
        "_order", F.concat_ws("|", F.col("_rank").cast("string"), is_meant.cast("string"), F.col("_place"))
    )
    first = ordered.groupBy("id").agg(F.max("_order").alias("_order"))
    return ordered.join(first, on=["id", "_order"], how="inner").select("id", "preceding_id")


def _concepts(side: str) -> tuple[int, ...]:
    return tuple(sorted({concept for link in LINKS for concept in getattr(link, side)}))


def _may_follow() -> Column:
    """Whether a visit can follow another by some link, known from itself: most outpatient visits cannot."""
    return reduce(or_, [F.col("concept_id").isin(*link.later) & _came_by(link) for link in LINKS])


def _came_by(link: Link) -> Column:
    return is_true(F.col("_way").isin(*link.came_by)) if link.came_by else F.col("_way").isNull()


def _qualifies(link: Link) -> Column:
    is_near = F.col("_begin") <= F.col("_end") + F.lit(link.hours * 3600)
    return F.col("_led").isin(*link.earlier) & F.col("concept_id").isin(*link.later) & _came_by(link) & is_near


def visit_index(visits: DataFrame) -> DataFrame:
    """`key`, `person_id` and `id` of every visit."""
    return visits.select("key", "person_id", "id")


def visit_names(visits: DataFrame) -> DataFrame:
    """`visit_index` by both names of a visit, its own key and its `encounter_key`, each with the days in which it means it.

    An event is of the visit if it starts on the day `named_from` or later, and before the day `named_until`.
    """
    first, last = (F.lit(day).cast("date") for day in (FIRST_DAY, LAST_DAY))
    own = visits.select("key", "person_id", "id", first.alias("named_from"), last.alias("named_until"))
    days = (F.coalesce("named_from", first).alias("named_from"), F.coalesce("named_until", last).alias("named_until"))
    encounters = visits.where(F.col("encounter_key").isNotNull())
    return own.unionByName(encounters.select(F.col("encounter_key").alias("key"), "person_id", "id", *days))


def visit_occurrence(visits: DataFrame, care_sites: DataFrame, providers: DataFrame, table: CdmTable) -> DataFrame:
    """The visit_occurrence table from the stored visits."""
    linked = visits.join(preceding(visits), on="id", how="left")
    values = {"preceding_visit_occurrence_id": F.col("preceding_id")}
    return _visit_table(linked, care_sites, providers, table, "visit", values)


def visit_detail(
    details: DataFrame, visits: DataFrame, care_sites: DataFrame, providers: DataFrame, table: CdmTable
) -> DataFrame:
    """The visit_detail table from the stored details; a detail of a visit that does not exist is left out."""
    existing = within_visits(inside_visits(details, visits), visits)
    linked = with_links(
        existing,
        visit_occurrence_id=(visit_index(visits), "visit_key"),
        preceding_id=(visit_index(existing), "preceding_key"),
    )
    values = {
        "visit_occurrence_id": F.col("visit_occurrence_id"),
        "preceding_visit_detail_id": F.col("preceding_id"),
    }
    return _visit_table(linked, care_sites, providers, table, "visit_detail", values)


def within_visits(details: DataFrame, visits: DataFrame) -> DataFrame:
    """Details with a start and an end that their visit can have.

    A start or end more than DAYS_AROUND_STAY outside the visit is not believed: it is that of the visit, without a time. Where
    the end of the visit is not known either, the detail ends on the day it starts. A visit whose end is before its start does
    not say when it was. Details without an end end no later than their visit: who has left hospital has left the ward.
    """
    is_ended, start, end = F.col("end_rule") == "delivered", F.col("start_date"), F.col("end_date")
    has_other_start, has_other_end = _is_far(start), _is_far(end)
    first_day = F.when(has_other_start, F.col("_visit_start")).otherwise(start)
    own_end = F.when(is_ended, F.when(has_other_end, F.col("_discharge")).otherwise(end))
    left = F.when(F.col("end_rule").isin("open", "last_submission", "died"), F.least(end, F.col("_visit_end")))
    last_day = F.greatest(first_day, own_end, left)
    values = {
        "start_date": first_day,
        "start_datetime": F.when(~has_other_start, F.col("start_datetime")),
        "end_date": last_day,
        "end_datetime": F.when(last_day == end, F.col("end_datetime")),
    }
    joined = details.join(_days_of(visits), on=["visit_key", "person_id"], how="left")
    return joined.select(*[values.get(name, F.col(name)).alias(name) for name in details.columns])


def _days_of(visits: DataFrame) -> DataFrame:
    """The days of each visit, and those from and until which its parts are believed (null: without a limit)."""
    is_backwards, is_ended = F.col("end_rule") == "before_start", F.col("end_rule") == "delivered"
    return visits.select(
        F.col("key").alias("visit_key"),
        "person_id",
        F.col("start_date").alias("_visit_start"),
        F.col("end_date").alias("_visit_end"),
        F.when(~is_backwards, F.date_sub("start_date", DAYS_AROUND_STAY)).alias("_from"),
        F.when(is_ended, F.col("end_date")).alias("_discharge"),
        F.when(is_ended, F.date_add("end_date", DAYS_AROUND_STAY)).alias("_until"),
    )


def _is_far(day: Column) -> Column:
    """Whether the day of a part is not believed to be of its visit (`_days_of`)."""
    return is_true((day < F.col("_from")) | (day > F.col("_until")))


def days_not_believed(visits: DataFrame, details: DataFrame) -> DataFrame:
    """How many visits and parts are published with another day than was delivered: source, entity, rule, reason, rows.

    They are contacts that would last too long, and parts outside their visit (`within_visits`).
    """
    names = ("_source", "_entity", "_rule")
    is_too_late = F.col("end_rule") == "too_late"
    ends = visits.where(is_too_late).select(*names).unionByName(details.where(is_too_late).select(*names))
    has_other_end = (F.col("end_rule") == "delivered") & _is_far(F.col("end_date"))
    placed = details.where(~is_too_late).join(_days_of(visits), on=["visit_key", "person_id"], how="inner")
    parts = placed.where(_is_far(F.col("start_date")) | has_other_end).select(*names)
    rows = ends.withColumn("reason", F.lit(f"{IMPLAUSIBLE}{END_TOO_LATE}")).unionByName(
        parts.withColumn("reason", F.lit(f"{IMPLAUSIBLE}{OUTSIDE_VISIT}"))
    )
    columns = [F.col(name).alias(name.removeprefix("_")) for name in names]
    return rows.groupBy(*columns, "reason").agg(rows_of_group().alias("rows"))


def inside_visits(details: DataFrame, visits: DataFrame) -> DataFrame:
    """The details whose visit exists and is of the same person."""
    keys = visits.select(F.col("key").alias("visit_key"), "person_id")
    return details.join(keys, on=["visit_key", "person_id"], how="left_semi")


def without_visit(rows: DataFrame, visit_rows: DataFrame) -> DataFrame:
    """Mapped rows of parts of visits whose visit does not exist (LEFT_OUT_ROWS_SCHEMA)."""
    keys = visit_rows.select(F.col("key").alias("visit_key"), "person_id")
    return left_out_rows(rows.join(keys, on=["visit_key", "person_id"], how="left_anti"), F.lit("visit_missing"))


def _visit_table(
    frame: DataFrame, care_sites: DataFrame, providers: DataFrame, table: CdmTable, prefix: str, values: dict[str, Column]
) -> DataFrame:
    placed = with_links(with_care_site(frame, care_sites), provider_id=(provider_index(providers), "provider_key"))
    named = {f"{table.name}_id" if prefix == "visit" else "visit_detail_id": F.col("id")}
    renamed = ("concept_id", "start_date", "start_datetime", "end_date", "end_datetime", "type_concept_id", "source_value")
    named |= {f"{prefix}_{name}": F.col(name) for name in (*renamed, "source_concept_id")}
    same = ["person_id", "provider_id", "care_site_id", "_source", "_rule", "_row_key"]
    same += [f"{field}_{part}" for field in ("admitted_from", "discharged_to") for part in ("concept_id", "source_value")]
    return conform(placed, named | {name: F.col(name) for name in same} | values, table)
