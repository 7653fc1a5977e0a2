"""Who is who: one person per valid NHS number over all sources, else per provider and local identifier.

A row without a usable number takes the number that its local identifier has elsewhere at the same provider, if there is
exactly one, or the one that it was corrected to; so does a row with the number from before the correction. A number is used
when it passes Modulus 11, is no placeholder, has no status other than LINKED_STATUSES, and belongs to the range of the
environment: the 999 test range outside production, any other number in production.

What rows of one number or of one local identifier say of the person may not be true of one person: other birth dates, other
sexes, two genders declared to one provider, or two numbers. Only valid rows are compared, so a correction that replaces its
row is no conflict, nor is one that the next reporting period, or the next record of the person at that hospital, makes.
"""

from collections.abc import Iterable

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true, is_true
from pipelines.columns.frames import union_all
from pipelines.columns.keyed import Pads, hmac_hex, id_of, message_of
from pipelines.columns.nhs_number import LINKED_STATUSES, digits_of, is_in_test_range, is_valid
from pipelines.curate.versions import valid_rows

IDENTITY = ("_source", "_provider", "local_id", "nhs_number")
"""What a row says of its person; `nhs_number` is the usable number, empty where there is none."""

STATED_SCHEMA = ("_source", "_provider", "local_id", "nhs_number", "nhs_number_status", "birth_date", "sex", "gender")
"""What a row says of its person, as delivered; the birth date as yyyy-mm-dd."""

SAID_SCHEMA = (*STATED_SCHEMA, "first_said", "last_said")
"""What rows say of their person, and when the first and the last of them does, as texts that sort; null where nobody knows."""

_COMPARED = ("birth_date", "sex", "gender")

_OF_PROVIDER = ("gender",)
"""What is compared within a provider only: the gender that a person declares there, not what another one was told, or when."""

STATED_IDENTITY_SCHEMA = (
    dict.fromkeys(IDENTITY, "string")
    | {f"{side}_{name}": "string" for name in _COMPARED for side in ("first", "last")}
    | dict.fromkeys(("first_said", "last_said", "last_traced"), "string")
)
"""One row per identity, with the least and the greatest birth date, sex and gender that its rows state (null: none), when the
first and the last of them does (null: of some it is not known), and the last with a number that was traced and verified."""

NAMING_ROW_SCHEMA = dict.fromkeys(
    ("row_key", "_source", "_provider", "local_id", "nhs_number", "nhs_number_status", "disposition"), "string"
) | {"is_winner": "boolean"}
"""One row per delivered row that says whom it is about: what it says, of which record it is and what became of it."""

OTHER_IDENTITY_SCHEMA = {"person_id": "bigint"} | dict.fromkeys(IDENTITY, "string")
"""One row per person, local identifier and NHS number that rows of theirs state, or stated, and that they are not linked by:
it was replaced, or it has a status that says that it may be somebody else's. Without a local identifier, or a number, empty."""

UNKNOWN_BIRTH_DATES = ("1800-01-01", "1900-01-01")
"""Days that systems write where the day of birth is not known. They contradict nothing."""

SEXES = {"male": ("M", "MALE", "1", "01", "1.0"), "female": ("F", "FEMALE", "2", "02", "2.0")}
"""How sources write the two sexes, or genders, in upper case. Any other value is not known and contradicts nothing."""

NUMBERS_OF_LOCAL_ID = "numbers_of_local_id"
"""The conflict of a local identifier that has two NHS numbers at its provider, neither of which corrects the other."""

TRACED = "01"
"""The status of a number that was traced and verified."""

LINK_SCHEMA = {
    "_source": "string",
    "_provider": "string",
    "local_id": "string",
    "nhs_number": "string",
    "linked_number": "string",
    "person_key": "string",
    "person_id": "bigint",
    "method": "string",
    "conflict": "string",
}
"""One row per identity seen in any source: the number it was linked by (empty: none), the person and how it was found.

`conflict` says in what the rows of its number or of its local identifier contradict each other (birth_date, sex, gender,
numbers_of_local_id; several with commas; null: in nothing).
"""


CONFLICT_SCHEMA = dict.fromkeys(("source", "provider", "person_key", "conflict"), "string")
"""One row per person, provider and conflict. The key finds the person in the other tables of curate; it has no value."""


def with_number(frame: DataFrame, production: bool) -> DataFrame:
    """`frame` with `_digits` of its `nhs_number`, and whether they are valid (`_is_valid`) and `_is_in_range` here.

    Columns of their own, so that what is made of them stays a short expression to plan.
    """
    with_digits = frame.withColumn("_digits", digits_of(F.col("nhs_number")))
    is_test = is_in_test_range(F.col("_digits"))
    checks = {"_is_valid": is_valid(F.col("_digits")), "_is_in_range": ~is_test if production else is_test}
    return with_digits.withColumns(checks)


def _usable_number() -> Column:
    """The NHS number to link by, as ten digits; empty where the row of `with_number` has none that may be used."""
    is_usable = F.col("_is_valid") & F.col("_is_in_range") & _is_trusted()
    return F.when(is_usable, F.col("_digits")).otherwise(F.lit(""))


def _is_trusted() -> Column:
    """Whether the status of a number, if it has one, says that it was found to be that of the person."""
    return F.coalesce(F.col("nhs_number_status").isin(*LINKED_STATUSES), F.lit(True))


def is_out_of_range() -> Column:
    """Whether a row of `with_number` has a valid number that does not belong in this environment."""
    return is_true(F.col("_is_valid") & ~F.col("_is_in_range"))


def out_of_range(production: bool) -> tuple[str, str]:
    """Disposition and reason of rows whose valid number does not belong in this environment."""
    return ("test_patient", "test_range_number") if production else ("quarantined", "real_number_outside_production")


def identities_in(versions: DataFrame, entities: Iterable[str], source: str, restated: Iterable[str] = ()) -> DataFrame:
    """What the valid rows of some entities of a source say of their persons, each statement once (SAID_SCHEMA).

    Events that no later delivery repeats keep the birth date that was corrected since, for good. Where it is `restated`, the
    birth date or sex of a local identifier with its number is therefore left out if a newer row of them states any: one of a
    later period, or version. Without periods the number has to be valid, because hospitals give an identifier out twice.
    """
    rows = valid_rows(versions, *entities).withColumn("_source", F.lit(source))
    unknown = F.lit(None).cast("string")
    if names := tuple(restated):
        when = F.when(F.col("entity").isin(*names), F.col("stated"))
        is_known = F.count(when) == F.count(F.lit(1))
        said = rows.groupBy(*STATED_SCHEMA, F.col("period").isNotNull().alias("_by_period")).agg(
            F.max(when).alias("_when"), *[F.when(is_known, of(when)).alias(n) for n, of in _SAID.items()]
        )
        rows = _with_number_of_place(said)
        place = Window.partitionBy("_provider", "local_id", "_number")
        newest = {name: F.max(F.when(F.col(name).isNotNull(), F.col("_when"))).over(place) for name in _COMPARED}
        rows = rows.withColumns({f"_newest_{name}": moment for name, moment in newest.items()})
        is_told_apart = F.col("local_id").isNotNull() & (F.col("_by_period") | F.col("_is_number"))
        is_older = {name: is_true(F.col("_when") < F.col(f"_newest_{name}")) for name in _COMPARED}
        rows = rows.withColumns({name: F.when(~(is_told_apart & older), F.col(name)) for name, older in is_older.items()})
    else:
        rows = rows.withColumns(dict.fromkeys(_SAID, unknown))
    return rows.select(*SAID_SCHEMA).distinct()


_SAID = {"first_said": F.min, "last_said": F.max}


def _with_number_of_place(said: DataFrame) -> DataFrame:
    """Statements with the digits of their number (`_number`) and whether it is valid (`_is_number`)."""
    numbered = said.withColumn("_number", digits_of(F.col("nhs_number")))
    return numbered.withColumn("_is_number", is_valid(F.col("_number")))


def rows_naming_people(versions: DataFrame, entities: Iterable[str], source: str) -> DataFrame:
    """The rows of some entities of a source that say whom they are about, with their records (NAMING_ROW_SCHEMA)."""
    rows = versions.where(F.col("entity").isin(*entities)).withColumn("_source", F.lit(source))
    return rows.select(*NAMING_ROW_SCHEMA)


def other_identities(naming: Iterable[DataFrame], links: DataFrame, production: bool) -> DataFrame:
    """The identities that people had or may have besides those they are linked by (OTHER_IDENTITY_SCHEMA).

    `naming` is what `rows_naming_people` gives for each source. All that a record ever said belongs to the person whom its
    newest row names; a number also to the person whose local identifier it came with. Too little to link by, enough to leave
    out by. The check digit is not looked at: no list has a number that fails it. A duplicate says what the newest row says.
    """
    rows, place = union_all(naming), list(IDENTITY[:-1])
    is_unused = (F.col("disposition") != "duplicate") | (F.col("nhs_number").isNotNull() & ~_is_trusted())
    said_values = {"local_id": F.col("local_id"), "nhs_number": digits_of(F.col("nhs_number"))}
    said = [F.coalesce(value, F.lit("")).alias(f"_said_{name}") for name, value in said_values.items()]
    unused = rows.where(is_unused).select("row_key", "_source", "_provider", *said)
    newest = rows.where("is_winner").select("row_key", "local_id", "nhs_number", "nhs_number_status")
    of_records = with_number(unused.join(newest, on="row_key", how="left").drop("row_key").distinct(), production)
    stated = [F.col("_source"), F.col("_provider"), *[F.col(f"_said_{name}").alias(name) for name in said_values]]
    named = of_records.select(*identity_columns(F.col("_source")), "_said_local_id", "_said_nhs_number")
    people = links.select(*_naming(), "person_id").distinct()
    of_record = named.select(*_naming(), *stated).join(people, on=list(_NAMING), how="inner")
    with_place = unused.where((F.col("_said_local_id") != "") & (F.col("_said_nhs_number") != "")).select(*stated).distinct()
    at_place = with_place.join(links.select(*IDENTITY), on=list(IDENTITY), how="left_anti")
    of_place = at_place.join(links.select(*place, "person_id"), on=place, how="inner")
    found = union_all([frame.select(*OTHER_IDENTITY_SCHEMA) for frame in (of_record, of_place)]).distinct()
    return found.join(links.select(*OTHER_IDENTITY_SCHEMA), on=list(OTHER_IDENTITY_SCHEMA), how="left_anti")


_NAMING = tuple(f"_named_by_{name}" for name in IDENTITY)


def _naming() -> list[Column]:
    """What names the person of an identity, as _NAMING: its number, wherever it is stated, else its local identifier there."""
    has_number = F.col("nhs_number") != ""
    place = [F.when(has_number, F.lit("")).otherwise(F.col(name)) for name in IDENTITY[:-1]]
    return [column.alias(name) for name, column in zip(_NAMING, (*place, F.col("nhs_number")), strict=True)]


def identity_columns(source: Column) -> list[Column]:
    """IDENTITY of a row of `with_number` that names its person."""
    return [
        source.alias("_source"),
        F.col("_provider"),
        F.coalesce("local_id", F.lit("")).alias("local_id"),
        _usable_number().alias("nhs_number"),
    ]


def stated_identities(stated: Iterable[DataFrame], production: bool) -> DataFrame:
    """One row per identity of all sources (STATED_IDENTITY_SCHEMA), from what `identities_in` gives for each."""
    birth_date = F.col("birth_date")
    compared = {"birth_date": F.when(~birth_date.isin(*UNKNOWN_BIRTH_DATES), birth_date)}
    for kind in ("sex", "gender"):
        said = F.upper(kind)
        compared[kind] = first_true((said.isin(*written), F.lit(name)) for name, written in SEXES.items())
    compared |= {name: F.col(name) for name in _SAID}
    compared["traced_on"] = F.when(F.col("nhs_number_status") == TRACED, F.col("last_said"))
    numbered = with_number(union_all(stated), production)
    named = numbered.select(*identity_columns(F.col("_source")), *[column.alias(name) for name, column in compared.items()])
    extremes = [F.min(name).alias(f"first_{name}") for name in _COMPARED]
    extremes += [F.max(name).alias(f"last_{name}") for name in _COMPARED]
    is_known = F.count("first_said") == F.count(F.lit(1))
    times = [F.when(is_known, of(name)).alias(name) for name, of in _SAID.items()] + [F.max("traced_on").alias("last_traced")]
    return named.groupBy(*IDENTITY).agg(*extremes, *times).select(*STATED_IDENTITY_SCHEMA)


def _corrected_numbers(stated: DataFrame) -> DataFrame:
    """The local identifiers of which a provider has corrected the number, with the one that counts (`_corrected`).

    Only where nothing else can be meant than one person: every row with the number is newer than every row with another, the
    newest says that the number was traced and verified, all state one birth date, and nobody else states the former number.
    """
    place = ["_source", "_provider", "local_id"]
    numbered = stated.where(F.col("nhs_number") != "")
    of_number = numbered.groupBy("nhs_number").agg(F.count(F.lit(1)).alias("_stating"))
    rows = F.count(F.lit(1))
    is_of_one = (F.count("first_said") == rows) & (F.count("first_birth_date") == rows)
    born = F.min("first_birth_date") == F.max("last_birth_date")
    several = (
        numbered.where(F.col("local_id") != "")
        .groupBy(*place)
        .agg(rows.alias("_numbers"), (is_of_one & born).alias("_is_of_one"), F.max("first_said").alias("_since"))
        .where((F.col("_numbers") > 1) & F.col("_is_of_one"))
        .select(*place, "_since")
    )
    among = several.join(numbered, on=place, how="left").join(of_number, on="nhs_number", how="left")
    is_newest = F.col("first_said") == F.col("_since")
    is_right = F.when(is_newest, is_true(F.col("last_traced") == F.col("last_said"))).otherwise(
        (F.col("last_said") < F.col("_since")) & (F.col("_stating") == 1)
    )
    judged = among.groupBy(*place).agg(
        F.count(F.when(is_newest, F.lit(1))).alias("_newest"),
        F.count(F.when(~is_right, F.lit(1))).alias("_doubts"),
        F.max(F.when(is_newest, F.col("nhs_number"))).alias("_corrected"),
    )
    return judged.where((F.col("_newest") == 1) & (F.col("_doubts") == 0)).select(*place, "_corrected")


def linked_identities(identities: DataFrame, pads: Pads) -> DataFrame:
    """One row per identity with its person (LINK_SCHEMA). `identities` is stored: it is read twice.

    Identities without a number and without a local identifier name nobody and are left out. What was stated under a number
    that was corrected since is of the person of the corrected one. `person_id` is the hash of the
    person's key: ids that meet are separated by `pipelines.columns.ids`.
    """
    stated = identities.where((F.col("nhs_number") != "") | (F.col("local_id") != ""))
    place = ("_source", "_provider", "local_id")
    number = F.nullif(F.col("nhs_number"), F.lit(""))
    by_local_id = (
        stated.where(F.col("local_id") != "")
        .groupBy(*place)
        .agg(F.min(number).alias("_least"), F.max(number).alias("_greatest"), *_contradictions("of_local_id", _COMPARED))
    )
    everywhere = [name for name in _COMPARED if name not in _OF_PROVIDER]
    with_a_number = stated.where(F.col("nhs_number") != "")
    by_number = with_a_number.groupBy("nhs_number").agg(*_contradictions("of_number", everywhere))
    there = with_a_number.groupBy(*place[:-1], "nhs_number").agg(*_contradictions("of_number", _OF_PROVIDER))
    of_place = by_local_id.join(_corrected_numbers(stated), on=list(place), how="left")
    found = stated.join(of_place, on=list(place), how="left")
    has_number = F.col("nhs_number") != ""
    has_one_elsewhere = F.col("_least") == F.col("_greatest")
    is_corrected = F.col("_corrected").isNotNull()
    linked = (
        F.when(is_corrected, F.col("_corrected"))
        .when(has_number, F.col("nhs_number"))
        .when(has_one_elsewhere, F.col("_least"))
        .otherwise(F.lit(""))
    )
    method = (
        F.when(is_corrected & (F.col("nhs_number") != F.col("_corrected")), F.lit("nhs_number_of_local_id"))
        .when(has_number, F.lit("nhs_number"))
        .when(has_one_elsewhere, F.lit("nhs_number_of_local_id"))
        .otherwise(F.lit("local_id"))
    )
    by_linked_number = message_of([F.lit("nhs"), F.col("linked_number")])
    by_local = message_of([F.lit("local"), *[F.col(name) for name in place]])
    message = F.when(F.col("linked_number") != "", by_linked_number).otherwise(by_local)
    known = found.withColumns({"linked_number": linked, "method": method})
    compared = known.join(by_number.withColumnRenamed("nhs_number", "linked_number"), on="linked_number", how="left").join(
        there.withColumnRenamed("nhs_number", "linked_number"), on=[*place[:-1], "linked_number"], how="left"
    )
    kinds = [F.when(F.col(f"_{name}_of_local_id") | F.col(f"_{name}_of_number"), F.lit(name)) for name in _COMPARED]
    kinds.append(F.when((F.col("_least") != F.col("_greatest")) & ~is_corrected, F.lit(NUMBERS_OF_LOCAL_ID)))
    with_number = pads.joined_to(compared.withColumn("conflict", F.nullif(F.concat_ws(",", *kinds), F.lit(""))))
    keyed = with_number.withColumn("person_key", hmac_hex(message, "person"))
    return keyed.withColumn("person_id", id_of(F.col("person_key"))).select(*LINK_SCHEMA)


def _contradictions(of: str, compared: Iterable[str]) -> list[Column]:
    """By what is compared, whether the identities of a group state more than one value: `_<name>_<of>`."""
    return [(F.min(f"first_{name}") != F.max(f"last_{name}")).alias(f"_{name}_{of}") for name in compared]


def identity_conflicts(links: DataFrame) -> DataFrame:
    """One row per person whom a provider states in contradiction (CONFLICT_SCHEMA). `links` is LINK_SCHEMA."""
    columns = {"source": F.col("_source"), "provider": F.col("_provider")}
    conflicting = links.where(F.col("conflict").isNotNull())
    return conflicting.select(*[columns.get(name, F.col(name)).alias(name) for name in CONFLICT_SCHEMA]).distinct()
