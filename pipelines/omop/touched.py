"""Whose tables are made again for what curate cannot see: a code, a stay, an observation period, a place, a supply."""

from collections.abc import Callable, Iterable
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import is_true
from pipelines.columns.frames import differences, union_all
from pipelines.contracts.tables import CHANGE, BelongsTo, InputChanges, Log, Table, TableName
from pipelines.contracts.touched import (
    NEWEST_EXTRACTS,
    NEWEST_SCHEMA,
    TOUCHED,
    TOUCHED_BY_CODES,
    TOUCHED_BY_PLACES,
    TOUCHED_BY_SUPPLIES,
    TOUCHED_SCHEMA,
)
from pipelines.contracts.zones import Zone
from pipelines.mapping.compile import END_UNREADABLE, PERSON_BOUND
from pipelines.mapping.spec import Rule, Target
from pipelines.omop.changes import ROUTED_CONCEPTS, rows_with_changed_code
from pipelines.omop.codes import coded_fields, with_concepts
from pipelines.omop.declared import (
    CONCEPT_MAP,
    DRUG_STRENGTH,
    NEWEST_MONTHS,
    PERSONS,
    ROUTES,
    ROW_TABLES,
    UNOBSERVED,
    VISIT_DETAILS,
    VISITS,
    MapInputs,
    omop_name,
    rows_name,
    stem_of,
)
from pipelines.omop.drugs import DRUG_EXPOSURE, with_course
from pipelines.omop.episodes import SUBMITTED_BY
from pipelines.omop.events import DAYS_FROM, is_cut_short, routed
from pipelines.omop.places import care_site_code
from pipelines.omop.visits import hospital_rules, is_planned, is_stay
from vocab.schemas import ddl_of

PERSON = TableName(Zone.CURATION, "person")
"""One row per linked person, of whom those with a year of birth are in the CDM."""

_PLACES = {
    "location": ("location_source_value", "location_id"),
    "care_site": ("care_site_source_value", "care_site_id"),
    "provider": ("provider_source_value", "provider_id"),
}
"""By kind of place: the column with what refers to it, and its id."""


def touched_tables(inputs: MapInputs) -> list[Table]:
    """The logs by which the tables with concepts, and those of the CDM, are made again."""
    return [_by_codes(inputs), _by_places(inputs), _by_supplies(inputs)]


def _by_codes(inputs: MapInputs) -> Table:
    stays = (rows_name(Target.VISIT), rows_name(Target.VISIT_DETAIL))
    open_ended = (*stays, rows_name(Target.EPISODE))
    fields = {rows_name(target): coded_fields(inputs.rules, target) for target in ROW_TABLES if target in PERSON_BOUND}
    fields |= dict.fromkeys(inputs.stems, coded_fields(inputs.rules, Target.EVENT))
    coded = {name: of_table for name, of_table in fields.items() if of_table}

    def named(changes: InputChanges) -> Iterable[DataFrame]:
        if CONCEPT_MAP in changes.names:
            yield _touched(rows_with_changed_code(changes, coded, "person_id"), "code")
        if ROUTES in changes.names and inputs.stems:
            routes = differences(changes.before(*ROUTES), changes.now(*ROUTES), ROUTED_CONCEPTS).select("_code_key")
            events = union_all([changes.now(*stem).select("person_id", "_code_key") for stem in inputs.stems])
            yield _touched(events.join(F.broadcast(routes.distinct()), on="_code_key", how="left_semi"), "code")
        if NEWEST_EXTRACTS in changes.names:
            for name in stays:
                yield _touched(_open_stays(changes, name, inputs.rules), "stay")
        if NEWEST_MONTHS in changes.names:
            for name in open_ended:
                yield _touched(_gone_or_back(changes, name), "stay")

    searched = (*dict.fromkeys((*coded, *open_ended)),)
    grain = "one row per change, person and reason for which tables with concepts are made again of the person"
    follows = (CONCEPT_MAP, ROUTES, NEWEST_EXTRACTS, NEWEST_MONTHS)
    return _log(inputs, TOUCHED_BY_CODES, TOUCHED, grain, follows, searched, named)


def _open_stays(changes: InputChanges, name: TableName, rules: Iterable[Rule]) -> DataFrame:
    """The visits, or parts of them, of which the end moves on with the newest extract of their provider.

    Of a hospital spell any part without an end counts: another part may say that it is a stay.
    """
    has_no_end = F.col("end_date").isNull() | is_planned()
    rows = changes.now(*name).where(has_no_end & ~is_true(F.col(END_UNREADABLE)))
    there = rows.join(F.broadcast(_moved_extracts(changes)), on=["_source", "_provider"], how="left_semi")
    coded = with_concepts(there, ("concept",), changes.now(*CONCEPT_MAP))
    return coded.where(is_stay(rules) | F.col("_rule").isin(*hospital_rules(rules)))


def _courses_cut_short(changes: InputChanges, stem: TableName) -> DataFrame:
    """The drug exposures of which the computed end moves with the newest extract of their provider.

    Those that last until the earlier of its two days at least.
    """
    routes = changes.now(*ROUTES).where(F.col("table") == DRUG_EXPOSURE)
    known = F.col("_known_until").alias("_ends_by")
    has_days = reduce(Column.__or__, [F.col(name).isNotNull() for name in DAYS_FROM])
    rows = (
        changes.now(*stem)
        .where(F.col("_set_aside").isNull() & has_days)
        .join(
            F.broadcast(_moved_extracts(changes).select("_source", "_provider", known)),
            on=["_source", "_provider"],
            how="inner",
        )
    )
    drugs = routed(rows, routes)
    return with_course(drugs, changes.now(*DRUG_STRENGTH), drugs).where(is_cut_short())


def _moved_extracts(changes: InputChanges) -> DataFrame:
    """The providers of which the newest extract is another one (NEWEST_SCHEMA), with the earlier of the two days."""
    moved = differences(changes.before(*NEWEST_EXTRACTS), changes.now(*NEWEST_EXTRACTS), tuple(NEWEST_SCHEMA))
    return moved.groupBy("_source", "_provider").agg(F.min("_known_until").alias("_known_until"))


def _gone_or_back(changes: InputChanges, name: TableName) -> DataFrame:
    """The visits, or parts of them, or episodes without an end that are no longer in the newest submission, or are so again."""
    rows = changes.now(*name).where((F.col("end_date").isNull() & F.col("open_until").isNotNull()) | is_planned())
    for months, at in ((changes.before, "_before"), (changes.now, "_now")):
        newest = months(*NEWEST_MONTHS).select(*SUBMITTED_BY, F.col("_newest_month").alias(at))
        rows = rows.join(F.broadcast(newest), on=list(SUBMITTED_BY), how="left")
    was_gone, is_gone = (is_true(F.col("open_until") < F.col(at)) for at in ("_before", "_now"))
    return rows.where(was_gone != is_gone)


def _by_places(inputs: MapInputs) -> Table:
    places = {name: omop_name(name) for name in _PLACES}
    with_site, with_staff = (VISITS, VISIT_DETAILS), (VISITS, VISIT_DETAILS, *inputs.stems)
    referring = {"location": (PERSONS,), "care_site": (PERSONS, *with_site), "provider": with_staff}

    def named(changes: InputChanges) -> Iterable[DataFrame]:
        if UNOBSERVED in changes.names:
            yield _touched(differences(changes.before(*UNOBSERVED), changes.now(*UNOBSERVED), ("person_id",)), "period")
        for kind, place in places.items():
            if place in changes.names:
                changed = differences(changes.before(*place), changes.now(*place), _PLACES[kind])
                keys = changed.select(F.col(_PLACES[kind][0]).alias("_place")).distinct()
                for name in referring[kind]:
                    yield _touched(_referring(changes.now(*name), kind, keys), kind)

    grain = "one row per change, person and reason for which the CDM is made again of the person"
    searched = (PERSONS, VISITS, VISIT_DETAILS, *inputs.stems)
    return _log(inputs, TOUCHED_BY_PLACES, TOUCHED_BY_CODES, grain, (UNOBSERVED, *places.values()), searched, named)


def _by_supplies(inputs: MapInputs) -> Table:
    rules = {stem_of(source.name): source.rules(Target.EVENT) for source in inputs.sources}
    stems = [stem for stem, of_stem in rules.items() if any(name in rule.fields for rule in of_stem for name in DAYS_FROM)]

    def named(changes: InputChanges) -> Iterable[DataFrame]:
        if NEWEST_EXTRACTS in changes.names:
            for stem in stems:
                yield _touched(_courses_cut_short(changes, stem), "supply")

    grain = (
        "one row per change, person and reason for which drug exposures and what is made of them are made again of the person"
    )
    searched = (*stems, ROUTES, DRUG_STRENGTH)
    return _log(inputs, TOUCHED_BY_SUPPLIES, TOUCHED_BY_PLACES, grain, (NEWEST_EXTRACTS,), searched, named)


def _referring(rows: DataFrame, kind: str, keys: DataFrame) -> DataFrame:
    """The rows that refer to one of some places."""
    key = {"location": F.col("postcode_area"), "care_site": care_site_code(), "provider": F.col("provider_key")}
    return rows.select("person_id", key[kind].alias("_place")).join(F.broadcast(keys), on="_place", how="left_semi")


def _touched(rows: DataFrame, reason: str) -> DataFrame:
    return rows.select("person_id", F.lit(reason).alias("reason"))


def _log(
    inputs: MapInputs,
    name: TableName,
    earlier: TableName,
    grain: str,
    follows: tuple[TableName, ...],
    searched: tuple[TableName, ...],
    named: Callable[[InputChanges], Iterable[DataFrame]],
) -> Table:
    """A log that has everything of an earlier one and what `named` adds."""

    def both(changes: InputChanges) -> DataFrame:
        frames = [changes.session.createDataFrame([], ddl_of(TOUCHED_SCHEMA)).drop(CHANGE), *named(changes)]
        frames += [changes.added(*earlier).drop(CHANGE)] if earlier in changes.names else []
        return union_all(frames).distinct()

    return Table(
        name=name,
        grain=grain,
        schema=TOUCHED_SCHEMA,
        belongs_to=BelongsTo.PERSON,
        make=lambda made: made.session.createDataFrame([], ddl_of(TOUCHED_SCHEMA)),
        inputs=(earlier, *follows, *searched, PERSON),
        partition_by=(CHANGE,),
        log=Log(both, (earlier, *follows), of=PERSON, most=inputs.most_touched),
    )
