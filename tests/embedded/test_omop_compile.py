"""Rules compiled to frames: which candidate is looked up, what a condition keeps, how values are typed."""

from datetime import date, datetime
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.source import SourceContract
from pipelines.contracts.touched import EXTRACT_SCHEMA
from pipelines.mapping.compile import HAS_OTHER_DAY, kept_rows, kept_schema
from pipelines.mapping.expressions import date_within_stay
from pipelines.mapping.outcomes import SilverSource
from pipelines.mapping.plausibility import load_plausibility
from pipelines.mapping.spec import Rule, Target
from pipelines.omop.stem import KNOWN_PERSONS_SCHEMA, Judge, rows_of
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from tests.builders.outcomes import counted_rows
from vocab.schemas import ddl_of

KEY = {"identifier": "record_id"}

CONTRACT = SourceContract.model_validate(
    {
        "source": "gp",
        "title": "General practice",
        "entities": {
            "entry": {
                "grain": "one entry",
                "files": ["x"],
                "key": ["id"],
                "references": {
                    "code_key": {"entity": "code", "columns": ["id"]},
                    "author_key": {"entity": "staff", "columns": ["id"]},
                },
                "columns": {
                    "id": KEY,
                    "day": {"type": "date"},
                    "moment": {"type": "timestamp"},
                    "until": {"type": "date"},
                    "scheme": {"type": "code"},
                    "code": {"type": "code"},
                    "number": {"type": "decimal"},
                    "count": {"type": "integer"},
                    "wrong": {"type": "boolean"},
                    "text": {"type": "text"},
                },
            },
            "code": {
                "grain": "one code",
                "files": ["x"],
                "key": ["id"],
                "references": {"parent_key": {"entity": "parent", "columns": ["id"]}},
                "columns": {"id": KEY, "snomed": {"type": "code"}, "read": {"type": "code"}},
            },
            "parent": {"grain": "one", "files": ["x"], "key": ["id"], "columns": {"id": KEY, "name": {"type": "text"}}},
            "staff": {"grain": "one", "files": ["x"], "key": ["id"], "columns": {"id": KEY, "role": {"type": "code"}}},
            "work": {
                "grain": "one member of staff of an entry",
                "files": ["x"],
                "key": ["id", "who"],
                "subject": {"via": {"entity": "entry", "columns": ["id"]}},
                "references": {
                    "entry_key": {"entity": "entry", "columns": ["id"]},
                    "staff_key": {"entity": "staff", "columns": ["who"]},
                },
                "columns": {"id": KEY, "who": {"identifier": "staff_id"}, "role": {"type": "code"}},
            },
        },
    }
)

TYPE = {"constant": 32817, "note": "for the test"}
ROW_KEY = {"copy": "row_key"}


def event(concept: dict[str, Any] | list[dict[str, Any]], **more: Any) -> Rule:
    """A rule for events from `entry`, dated by `day`."""
    how = {"concept": concept} if isinstance(concept, list) else concept
    fields = {"concept": how, "start_date": {"copy": "day"}, "type_concept_id": TYPE} | more.pop("fields", {})
    return Rule.model_validate(
        {"name": "r", "from": "entry", "to": "event", "domain": "Observation", "evidence": "coded", "fields": fields} | more
    )


def kept(session: SparkSession, rule: Rule, *columns: str, **tables: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted(
        (tuple(row) for row in kept_rows(rule, CONTRACT, silver(session, tables)).select(*columns).collect()), key=str
    )


def counted(session: SparkSession, rule: Rule, **tables: list[dict[str, Any]]) -> dict[str, int]:
    return {row.reason: row.rows for row in counted_rows(session, CONTRACT, [rule], silver(session, tables), 1, 2)}


def silver(session: SparkSession, tables: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    frames = {}
    for name, rows in tables.items():
        columns = CONTRACT.entities[name].silver_columns
        schema = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        frames[name] = session.createDataFrame([tuple(row.get(column) for column in columns) for row in rows], schema)
    return frames


def entry(key: str, **values: Any) -> dict[str, Any]:
    return {"row_key": key, "person_id": 1, "day": date(2024, 1, 1)} | values


CODE_PARTS = ("_row_key", "concept_vocabulary", "concept_code", "concept_source_value")


def test_the_first_candidate_with_a_code_wins(sail: SparkSession) -> None:
    rule = event(
        [
            {"column": "code.snomed", "vocabulary": "SNOMED"},
            {"column": "code.read", "vocabulary": "EMIS Local", "pattern": "^EMIS"},
            {"column": "code.read", "vocabulary": "Read"},
        ],
        **{"with": {"code": {"entity": "code", "on": "code_key"}}},
    )
    codes = [
        {"row_key": "1", "snomed": "195967001", "read": "H33.."},
        {"row_key": "2", "snomed": " ", "read": "H33.."},
        {"row_key": "3", "read": "EMISNQ1"},
        {"row_key": "4"},
    ]
    entries = [entry(f"e{number}", code_key=str(number)) for number in range(1, 6)]
    assert kept(sail, rule, *CODE_PARTS, entry=entries, code=codes) == [
        ("e1", "SNOMED", "195967001", "195967001"),
        ("e2", "Read", "H33..00", "H33.."),
        ("e3", "EMIS Local", "emisnq1", "EMISNQ1"),
    ]
    assert counted(sail, rule, entry=entries, code=codes) == {"": 3, "code_missing": 2}


def test_a_coding_scheme_picks_the_vocabulary_and_a_code_of_an_unknown_scheme_is_work_to_do(sail: SparkSession) -> None:
    schemes = {"02": "ICD10", "ICD10": "ICD10", "06": "SNOMED", "SNOMED CT": "SNOMED"}
    candidates = [{"column": "code", "vocabulary": {"column": "scheme", "values": schemes}}]
    entries = [
        entry("a", scheme="02", code="J459"),
        entry("b", scheme=" 06 ", code="123456"),
        entry("c", scheme="icd-10", code="J459"),
        entry("d", scheme="SNOMED_CT", code="123456"),
        entry("e", scheme="x9", code=" Z "),
        entry("f", scheme="x9", code=None, text="8H"),
        entry("g", scheme=None, code="Z"),
    ]
    listed = [
        ("a", "ICD10", "J45.9", "J459"),
        ("b", "SNOMED", "123456", "123456"),
        ("c", "ICD10", "J45.9", "J459"),
        ("d", "SNOMED", "123456", "123456"),
        ("e", "unknown scheme X9", "Z", " Z "),
    ]
    last = ("g", "unknown scheme (none)", "Z", "Z")
    assert kept(sail, event(candidates), *CODE_PARTS, entry=entries) == [*listed, last]
    by_name = event([*candidates, {"column": "text", "vocabulary": "Read"}])
    named = [entry("h", scheme="x9", code="Z", text="8H")]
    assert kept(sail, by_name, *CODE_PARTS, entry=entries + named) == [
        *listed,
        ("f", "Read", "8H...00", "8H"),
        last,
        ("h", "Read", "8H...00", "8H"),
    ]


def test_a_fixed_code_and_a_constant_concept(sail: SparkSession) -> None:
    fixed = event([{"column": "code", "vocabulary": "Read"}, {"code": "8H", "vocabulary": "Read"}])
    assert kept(sail, fixed, *CODE_PARTS, entry=[entry("a")]) == [("a", "Read", "8H...00", "8H")]
    constant = event({"constant": 4150499, "note": "given"})
    assert kept(sail, constant, "concept_concept_id", *CODE_PARTS, entry=[entry("a")]) == [(4150499, "a", None, None, None)]


def test_conditions_compare_trimmed_without_case_and_count_each_row_under_the_first_that_fails(sail: SparkSession) -> None:
    rule = event(
        [{"column": "code", "vocabulary": "Read"}],
        where=[
            {"column": "wrong", "not_in": ["true"], "reason": "wrong"},
            {"column": "day", "not_in": ["1900-01-01"], "reason": "default_date"},
            {"column": "text", "in": ["Service User", "carer"], "reason": "other_role"},
            {"column": "count", "present": False, "reason": "counted"},
        ],
    )
    entries = [
        entry("kept", code="1", text=" service user", wrong=False),
        entry("no flag", code="1", text="CARER"),
        entry("wrong", code="1", text="carer", wrong=True, count=1, day=date(1900, 1, 1)),
        entry("default", code="1", text="carer", day=date(1900, 1, 1)),
        entry("role", code="1", text="other"),
        entry("no role", code="1"),
        entry("count", code="1", text="carer", count=0),
        entry("nobody", code="1", text="carer", person_id=None),
        entry("undated", code="1", text="carer", day=None),
    ]
    assert [row[0] for row in kept(sail, rule, "_row_key", entry=entries)] == ["kept", "no flag"]
    assert counted(sail, rule, entry=entries) == {
        "": 2,
        "wrong": 1,
        "default_date": 1,
        "other_role": 2,
        "counted": 1,
        "person_missing": 1,
        "start_date_missing": 1,
    }


def test_a_condition_may_test_what_an_expression_gives(sail: SparkSession) -> None:
    pair = {"expression": "blood_pressure_pair", "args": {"code": "code", "text": "text"}, "options": {"codes": "^BP$"}}
    fields = {
        "value_as_number": {"expression": "systolic_in", "args": {"text": "text"}},
        "range_low": {"expression": "diastolic_in", "args": {"text": "text"}},
    }
    code = [{"column": "code", "vocabulary": "Read"}]
    paired = event(code, where=[pair | {"present": True, "reason": "no_pair"}], fields=fields)
    single = event(code, where=[pair | {"present": False, "reason": "pair"}])
    texts = ["142/88", " 101 / 64 mmHg ", "120/80mm[Hg]", "90/90", "64/101", "142", "6/9", "142/88/70", "x/y", "1420/880", None]
    texts.append("'132/78")
    rows = [entry(f"{place:02}", code=" BP ", text=text) for place, text in enumerate(texts)]
    rows += [entry("other code", code="VA", text="60/18"), entry("no code", text="142/88")]
    assert kept(sail, paired, "_row_key", "value_as_number", "range_low", entry=rows) == [
        ("00", 142.0, 88.0),
        ("01", 101.0, 64.0),
        ("02", 120.0, 80.0),
        ("03", 90.0, 90.0),
        ("11", 132.0, 78.0),
    ]
    assert counted(sail, paired, entry=rows) == {"": 5, "no_pair": 9}
    assert counted(sail, single, entry=rows) == {"": 8, "pair": 5, "code_missing": 1}


def test_only_the_people_of_the_cdm_are_kept(sail: SparkSession) -> None:
    rule = event([{"column": "code", "vocabulary": "Read"}])
    tables = silver(sail, {"entry": [entry("a", code="1"), entry("b", code="1", person_id=2)]})
    source = SilverSource(CONTRACT, (rule,), tables)
    persons = sail.createDataFrame([(1, 1950, 1950)], ddl_of(KNOWN_PERSONS_SCHEMA))
    judge = Judge(load_plausibility(PACKAGED_MAPPINGS_DIR), sail.createDataFrame([], ddl_of(EXTRACT_SCHEMA)))
    assert [row._row_key for row in rows_of(Target.EVENT, [source], persons, judge).collect()] == ["a"]
    found = {row.reason: row.rows for row in counted_rows(sail, CONTRACT, [rule], tables, 1)}
    assert found == {"": 1, "person_without_year_of_birth": 1}


def test_rules_of_one_entity_are_counted_each_for_itself(sail: SparkSession) -> None:
    first = event([{"column": "code", "vocabulary": "Read"}])
    present = [{"column": "text", "present": True, "reason": "no_text"}]
    second = event([{"column": "code", "vocabulary": "Read"}], name="s", where=present)
    tables = silver(sail, {"entry": [entry("a", code="1", text="x"), entry("b", code="1"), entry("c")]})
    counts = counted_rows(sail, CONTRACT, [first, second], tables, 1)
    assert sorted((row.source, row.entity, row.rule, row.reason, row.rows) for row in counts) == [
        ("gp", "entry", "r", "", 2),
        ("gp", "entry", "r", "code_missing", 1),
        ("gp", "entry", "s", "", 1),
        ("gp", "entry", "s", "no_text", 2),
    ]


def test_values_take_the_type_of_their_field(sail: SparkSession) -> None:
    rule = event(
        [{"column": "code", "vocabulary": "Read"}],
        fields={
            "start_date": {"copy": "day"},
            "start_datetime": {"copy": "moment"},
            "value_source_value": {"copy": "number"},
            "value_as_number": {"copy": "count"},
            "value": {"concept": [{"column": "text", "vocabulary": "NHS Gender"}]},
            "days_supply": {"copy": "text"},
            "refills": {"constant": 2, "note": "given"},
            "stop_reason": {"expression": "first_of", "args": {"first": "text", "second": "scheme"}},
        },
    )
    rows = [
        entry("a", code="1", number=10000000.0, count=3, text="28"),
        entry("b", code="1", number=0.5, text="M", day=None, moment=datetime(2024, 2, 3, 4, 5)),
        entry("c", code="1", scheme="moved", text=None),
    ]
    columns = ("_row_key", "value_source_value", "value_as_number", "value_code", "days_supply", "refills", "stop_reason")
    assert kept(sail, rule, *columns, entry=rows) == [
        ("a", "10000000", 3.0, "28", 28, 2, "28"),  # the text of its own, not the one the concept brings
        ("b", "0.5", None, "m", None, 2, "M"),
        ("c", None, None, None, None, 2, "moved"),
    ]
    assert kept(sail, rule, "_row_key", "start_date", entry=rows)[1] == ("b", date(2024, 2, 3))


def test_lookups_may_follow_each_other_and_never_add_or_lose_rows(sail: SparkSession) -> None:
    rule = event(
        [{"column": "code", "vocabulary": "Read"}],
        fields={"value_as_string": {"copy": "parent.name"}, "provider_key": {"copy": "staff.row_key"}},
        **{
            "with": {
                "code": {"entity": "code", "on": "code_key"},
                "parent": {"entity": "parent", "on": "code.parent_key"},
                "staff": {"entity": "staff", "on": "author_key"},
            }
        },
    )
    found = kept(
        sail,
        rule,
        "_row_key",
        "value_as_string",
        "provider_key",
        entry=[entry("a", code="1", code_key="1", author_key="s"), entry("b", code="1", code_key="2", author_key="gone")],
        code=[{"row_key": "1", "parent_key": "p"}],
        parent=[{"row_key": "p", "name": "found"}],
        staff=[{"row_key": "s"}],
    )
    assert found == [("a", "found", "s"), ("b", None, None)]


def test_rows_that_are_said_to_be_none_are_not_looked_up(sail: SparkSession) -> None:
    rule = event(
        [{"column": "code", "vocabulary": "Read"}],
        fields={"value_as_string": {"copy": "staff.role"}, "provider_key": {"copy": "staff.row_key"}},
        **{"with": {"staff": {"entity": "staff", "on": "author_key", "without": {"role": ["Daily Log", "test"]}}}},
    )
    roles = {"a": "Driver", "b": "DAILY-LOG", "c": "Test", "d": None}
    found = kept(
        sail,
        rule,
        "_row_key",
        "value_as_string",
        "provider_key",
        entry=[entry(key, code="1", author_key=key) for key in roles],
        staff=[{"row_key": key, "role": role} for key, role in roles.items()],
    )
    assert found == [("a", "Driver", "a"), ("b", None, None), ("c", None, None), ("d", None, "d")]


def test_of_several_rows_that_name_ours_one_is_looked_up_and_always_the_same(sail: SparkSession) -> None:
    rule = event(
        [{"column": "code", "vocabulary": "Read"}],
        fields={"value_as_string": {"copy": "done_by.role"}, "provider_key": {"copy": "done_by.staff_key"}},
        **{"with": {"done_by": {"entity": "work", "on": "row_key", "by": "entry_key", "without": {"role": ["Clerk"]}}}},
    )
    work = [
        ("3", "a", "s1", "Nurse", 1),
        ("2", "a", "s2", None, 1),
        ("1", "a", "s3", "Clerk", 1),
        ("0", "a", "s4", "Nurse", 2),  # of another person
        ("4", "b", "s5", "Nurse", 1),
        ("5", "c", "s6", "Clerk", 1),
        ("6", None, "s7", "Nurse", 1),
    ]
    names = ("row_key", "entry_key", "staff_key", "role", "person_id")
    rows = [dict(zip(names, values, strict=True)) for values in work]
    entries = [entry(key, code="1") for key in "abcd"]
    found = kept(sail, rule, "_row_key", "value_as_string", "provider_key", entry=entries, work=rows)
    assert found == [("a", None, "s2"), ("b", "Nurse", "s5"), ("c", None, None), ("d", None, None)]


def test_of_several_rows_that_name_ours_one_whose_column_is_empty_is_looked_up_first(sail: SparkSession) -> None:
    lookup = {"entity": "work", "on": "row_key", "by": "entry_key", "empty_first": ["role"]}
    rule = event(
        [{"column": "code", "vocabulary": "Read"}],
        fields={"provider_key": {"copy": "team.staff_key"}},
        **{"with": {"team": lookup}},
    )
    work = [
        ("1", "a", "s1", "Nurse", 1),
        ("3", "a", "s3", None, 1),
        ("2", "a", "s2", None, 1),
        ("5", "b", "s5", "Nurse", 1),
        ("4", "b", "s4", "Clerk", 1),
    ]
    names = ("row_key", "entry_key", "staff_key", "role", "person_id")
    rows = [dict(zip(names, values, strict=True)) for values in work]
    found = kept(sail, rule, "_row_key", "provider_key", entry=[entry(key, code="1") for key in "abc"], work=rows)
    assert found == [("a", "s2"), ("b", "s4"), ("c", None)]


def test_a_condition_on_several_columns_may_hold_despite_an_unreadable_one(sail: SparkSession) -> None:
    condition = {"expression": "first_of", "args": {"first": "scheme", "second": "code"}, "in": ["1"], "reason": "other"}
    entries = [
        entry("a", scheme="1", code="2", text="x"),
        entry("b", code="1", text="x", _flags="scheme"),
        entry("c", code="2", text="x", _flags="scheme"),
    ]
    constant = {"constant": 1, "note": "for the test"}
    for despite, rows in ((True, [("a",), ("b",)]), (False, [("a",)])):
        where = [condition | {"despite_unreadable": despite}]
        rule = event(constant, where=where, fields={"source_value": {"copy": "text"}})
        assert kept(sail, rule, "_row_key", entry=entries) == rows


def test_a_visit_is_named_by_its_row_unless_the_rule_says_otherwise(sail: SparkSession) -> None:
    fields = {"concept": {"constant": 9202, "note": "given"}, "start_date": {"copy": "day"}, "type_concept_id": TYPE}
    visit = {"name": "v", "from": "entry", "to": "visit"}
    by_row = Rule.model_validate(visit | {"fields": fields})
    by_key = Rule.model_validate(visit | {"fields": fields | {"key": {"copy": "author_key"}}})
    rows = [entry("a", author_key="s"), entry("b")]
    assert kept(sail, by_row, "key", entry=rows) == [("a",), ("b",)]
    assert kept(sail, by_key, "key", entry=rows) == [("s",)]
    assert counted(sail, by_key, entry=rows) == {"": 1, "key_missing": 1}


def test_events_of_one_key_and_person_become_the_first_of_them_and_the_rest_are_counted(sail: SparkSession) -> None:
    rule = event(
        [{"column": "code", "vocabulary": "Read"}],
        group=True,
        where=[{"column": "text", "present": True, "reason": "no_text"}],
        fields={"key": {"copy": "author_key"}, "start_datetime": {"copy": "moment"}},
    )
    rows = [
        entry("late", author_key="k", code="1", text="x", moment=datetime(2024, 1, 1, 9)),
        entry("early2", author_key="k", code="2", text="x", moment=datetime(2024, 1, 1, 8)),
        entry("early1", author_key="k", code="3", text="x", moment=datetime(2024, 1, 1, 8)),
        entry("excluded", author_key="k", code="4", moment=datetime(2024, 1, 1, 7)),
        entry("other person", author_key="k", code="5", text="x", moment=datetime(2024, 1, 1, 10), person_id=2),
        entry("day alone", author_key="m", code="6", text="x"),
        entry("same day", author_key="m", code="7", text="x", moment=datetime(2024, 1, 1, 0, 0, 1)),
        entry("no key", code="8", text="x"),
    ]
    assert kept(sail, rule, "_row_key", "key", "person_id", entry=rows) == [
        ("early1", "k", 1),
        ("other person", "k", 2),
        ("same day", "m", 1),
    ]
    assert counted(sail, rule, entry=rows) == {"": 3, "deduplicated": 3, "no_text": 1, "key_missing": 1}


EVIDENCE = [
    {"column": "scheme", "values": {"02": "suspected", "2A": "suspected", "09": "history"}, "present": "reported"},
    {"column": "code.read", "present": "problem_list"},
    {"column": "text", "values": {"serum": "laboratory"}},
    {"column": "wrong", "values": {"true": "dispatched"}},
    "coded",
]

GRADES = [
    # scheme, Read code of the code table, text, wrong -> grade
    ("02", "H33..", "serum", None, "suspected"),
    (" 2a ", None, None, None, "suspected"),
    ("09", None, "Serum", True, "history"),
    ("7", "H33..", None, None, "reported"),
    (None, "H33..", "serum", None, "problem_list"),
    (None, None, " SERUM ", None, "laboratory"),
    (None, None, "serum ferritin", True, "dispatched"),
    (None, None, "urine", False, "coded"),
    (None, None, None, None, "coded"),
]


def test_the_first_candidate_that_applies_decides_how_an_event_is_known(sail: SparkSession) -> None:
    rule = event(
        {"constant": 1, "note": "for the test"},
        evidence=EVIDENCE,
        fields={"source_value": ROW_KEY},
        **{"with": {"code": {"entity": "code", "on": "code_key"}}},
    )
    rows = [
        entry(f"e{place}", scheme=scheme, text=text, wrong=wrong, code_key=str(place))
        for place, (scheme, _, text, wrong, _) in enumerate(GRADES)
    ]
    codes = [{"row_key": str(place), "read": read} for place, (_, read, _, _, _) in enumerate(GRADES)]
    found = kept(sail, rule, "_row_key", "evidence", entry=rows, code=codes)
    assert found == [(f"e{place}", case[-1]) for place, case in enumerate(GRADES)]


def test_a_rule_with_one_grade_gives_it_to_all_its_events(sail: SparkSession) -> None:
    rule = event([{"column": "code", "vocabulary": "Read"}], evidence="laboratory")
    assert kept(sail, rule, "evidence", entry=[entry("a", code="1"), entry("b", code="2")]) == [
        ("laboratory",),
        ("laboratory",),
    ]


PRECISIONS = {
    "Y": "year",
    "YM": "month",
    "YMD": "day",
    "YMDT": "day",
    " ym ": "month",
    "U": None,
    "D": None,
    "": None,
    None: None,
}


def test_the_precision_of_a_date_is_read_from_its_code(sail: SparkSession) -> None:
    rule = event(
        {"constant": 1, "note": "for the test"},
        fields={
            "source_value": ROW_KEY,
            "date_precision": {"expression": "date_precision", "args": {"code": "code"}},
            "end_date_precision": {"expression": "date_precision", "args": {"code": "scheme"}},
        },
    )
    rows = [entry(f"e{place}", code=code, scheme=code) for place, code in enumerate(PRECISIONS)]
    assert kept(sail, rule, "_row_key", "date_precision", "end_date_precision", entry=rows) == [
        (f"e{place}", precision, precision) for place, precision in enumerate(PRECISIONS.values())
    ]


def test_events_that_are_not_grouped_have_no_key(sail: SparkSession) -> None:
    rule = event([{"column": "code", "vocabulary": "Read"}])
    assert kept(sail, rule, "_row_key", "key", entry=[entry("a", code="1", author_key="k")]) == [("a", None)]


def test_mapped_rows_have_the_declared_columns_and_types(sail: SparkSession) -> None:
    frame = kept_rows(event([{"column": "code", "vocabulary": "Read"}]), CONTRACT, silver(sail, {"entry": [entry("a")]}))
    assert frame.dtypes == list(kept_schema(Target.EVENT).items())


def test_a_row_whose_deciding_column_is_unreadable_is_counted_as_such_and_not_under_what_it_would_mean(
    sail: SparkSession,
) -> None:
    rule = event(
        {"constant": 1, "note": "for the test"},
        where=[
            {"column": "number", "present": False, "reason": "numbered"},
            {"column": "wrong", "not_in": ["true"], "reason": "wrong"},
            {"column": "scheme", "in": ["02"], "reason": "other_scheme"},
        ],
        fields={"source_value": {"copy": "text"}, "end_date": {"copy": "moment"}},
    )
    good = {"scheme": "02", "text": "x"}
    entries = [
        entry("kept", **good),
        entry("other_flag", **good, _flags="count,moment"),
        entry("numbered", **good, number=1.0),
        entry("number", **good, _flags="number"),
        entry("wrong", **good, _flags="wrong"),
        entry("scheme", text="x", _flags="scheme"),
        entry("day", **good | {"day": None}, _flags="count,day"),
        entry("no_day", **good | {"day": None}, _flags="count,holiday,days"),
    ]
    assert kept(sail, rule, "_row_key", entry=entries) == [("kept",), ("other_flag",)]
    assert counted(sail, rule, entry=entries) == {
        "": 2,
        "numbered": 1,
        "unreadable:number": 1,
        "unreadable:wrong": 1,
        "unreadable:scheme": 1,
        "unreadable:day": 1,
        "start_date_missing": 1,
    }


def test_a_date_that_stands_in_for_another_has_to_be_readable_only_where_that_is_missing(sail: SparkSession) -> None:
    rule = event(
        {"constant": 1, "note": "for the test"},
        fields={
            "source_value": {"copy": "text"},
            "start_date": {"expression": "date_of_first", "args": {"first": "moment", "second": "day"}},
        },
    )
    moment = datetime(2024, 1, 2, 3, 4)
    entries = [
        entry("both", text="x", moment=moment),
        entry("first_only", text="x", moment=moment, day=None),
        entry("second_only", text="x"),
        entry("neither", text="x", day=None),
        entry("second_unreadable", text="x", moment=moment, day=None, _flags="day"),
        entry("first_unreadable", text="x", _flags="moment"),
        entry("first_missing_second_unreadable", text="x", day=None, _flags="day"),
    ]
    assert kept(sail, rule, "_row_key", "start_date", entry=entries) == [
        ("both", date(2024, 1, 2)),
        ("first_only", date(2024, 1, 2)),
        ("second_only", date(2024, 1, 1)),
        ("second_unreadable", date(2024, 1, 2)),
    ]
    assert counted(sail, rule, entry=entries) == {
        "": 4,
        "start_date_missing": 1,
        "unreadable:moment": 1,
        "unreadable:day": 1,
    }


def test_the_bounds_of_a_stay_need_not_be_readable_and_then_are_none(sail: SparkSession) -> None:
    stay = {"first": "moment", "second": "day", "start": "day", "end": "until"}
    fields = {"source_value": {"copy": "text"}, "start_date": {"expression": "date_within_stay", "args": stay}}
    rule = event({"constant": 1, "note": "for the test"}, fields=fields)
    late = datetime(2025, 1, 2, 3, 4)
    entries = [
        entry("late", text="x", moment=late, until=date(2024, 1, 3)),
        entry("late_unbounded", text="x", moment=late),
        entry("late_unreadable_bound", text="x", moment=late, _flags="until"),
        entry("none_unreadable_bound", text="x", _flags="until"),
        entry("none_unreadable", text="x", moment=None, day=None, _flags="day"),
    ]
    assert kept(sail, rule, "_row_key", "start_date", entry=entries) == [
        ("late", date(2024, 1, 1)),
        ("late_unbounded", date(2025, 1, 2)),
        ("late_unreadable_bound", date(2025, 1, 2)),
        ("none_unreadable_bound", date(2024, 1, 1)),
    ]
    assert counted(sail, rule, entry=entries) == {"": 4, "unreadable:day": 1}


def test_a_sample_was_taken_on_the_day_of_its_report_or_up_to_366_days_before_it(sail: SparkSession) -> None:
    fields = {
        "start_date": {"expression": "day_of_sample", "args": {"first": "moment", "second": "until"}},
        "start_datetime": {"expression": "moment_of_sample", "args": {"taken": "moment", "reported": "until"}},
    }
    rule = event({"constant": 1, "note": "for the test"}, fields={"source_value": {"copy": "text"}} | fields)
    reported, first, last = date(2025, 1, 2), datetime(2024, 1, 2, 0, 0), datetime(2025, 1, 2, 23, 59, 59)
    taken = {
        "a_first": first,
        "b_too_early": datetime(2024, 1, 1, 23, 59, 59),
        "c_last": last,
        "d_too_late": datetime(2025, 1, 3),
    }
    entries = [entry(name, text="x", moment=moment, until=reported) for name, moment in taken.items()]
    entries += [entry("e_not_reported", text="x", moment=first), entry("f_not_taken", text="x", moment=None, until=reported)]
    assert kept(sail, rule, "_row_key", "start_date", "start_datetime", HAS_OTHER_DAY, entry=entries) == [
        ("a_first", date(2024, 1, 2), first, False),
        ("b_too_early", reported, None, True),
        ("c_last", reported, last, False),
        ("d_too_late", reported, None, True),
        ("e_not_reported", date(2024, 1, 2), first, False),
        ("f_not_taken", reported, None, None),
    ]


def test_an_unreadable_column_of_a_row_that_is_looked_up_is_named_with_it(sail: SparkSession) -> None:
    rule = event(
        {"constant": 1, "note": "for the test"},
        where=[{"column": "code.snomed", "not_in": ["1"], "reason": "one"}],
        fields={"source_value": {"copy": "text"}},
        **{"with": {"code": {"entity": "code", "on": "code_key"}}},
    )
    codes = [{"row_key": "1", "snomed": "1"}, {"row_key": "2", "_flags": "snomed"}, {"row_key": "3", "_flags": "read"}]
    entries = [entry(f"e{number}", code_key=str(number), text="x") for number in range(1, 5)]
    assert kept(sail, rule, "_row_key", entry=entries, code=codes) == [("e3",), ("e4",)]
    assert counted(sail, rule, entry=entries, code=codes) == {"": 2, "one": 1, "unreadable:code.snomed": 1}


def test_a_visit_says_that_its_end_was_unreadable_and_a_registration_is_left_out(sail: SparkSession) -> None:
    fields = {"start_date": {"copy": "day"}, "end_datetime": {"copy": "moment"}, "type_concept_id": TYPE}
    concept = {"concept": {"constant": 9201, "note": "for the test"}}
    rule = {"name": "r", "from": "entry", "to": "visit", "fields": fields | concept}
    entries = [entry("a"), entry("b", _flags="moment"), entry("c", _flags="number"), entry("d", moment=datetime(2024, 1, 2))]
    visits = kept(sail, Rule.model_validate(rule), "_row_key", "end_unreadable", entry=entries)
    assert visits == [("a", False), ("b", True), ("c", False), ("d", False)]
    registration = Rule.model_validate(
        {"name": "r", "from": "entry", "to": "observation_period"}
        | {"fields": {"start_date": {"copy": "day"}, "end_date": {"copy": "moment"}, "type_concept_id": TYPE}}
    )
    assert kept(sail, registration, "_row_key", entry=entries) == [("a",), ("c",), ("d",)]
    assert counted(sail, registration, entry=entries) == {"": 3, "unreadable:moment": 1}


BORN = SourceContract.model_validate(
    {
        "source": "gp",
        "title": "General practice",
        "entities": {
            "patient": {
                "grain": "one patient",
                "files": ["x"],
                "key": ["id"],
                "columns": {"id": KEY, "born": {"type": "date", "identifier": "birth_date"}, "day": {"type": "date"}},
            },
        },
    }
)


def test_rows_of_people_whose_date_of_birth_is_unreadable_are_told_from_those_without_one(sail: SparkSession) -> None:
    columns = BORN.entities["patient"].silver_columns
    rows = [
        {"row_key": "a", "person_id": 1, "year_of_birth": 1950},
        {"row_key": "b", "person_id": 2, "_flags": "born"},
        {"row_key": "c", "person_id": 3},
        {"row_key": "d", "person_id": 1, "_flags": "born"},
    ]
    table = sail.createDataFrame(
        [tuple((row | {"day": date(2024, 1, 1)}).get(column) for column in columns) for row in rows],
        ", ".join(f"{name} {kind}" for name, kind in columns.items()),
    )
    born = {"year_of_birth": {"copy": "year_of_birth"}}
    person = Rule.model_validate({"name": "p", "from": "patient", "to": "person", "fields": born})
    concept = {"constant": 1, "note": "for the test"}
    seen = Rule.model_validate(
        {"name": "e", "from": "patient", "to": "event", "domain": "Observation", "evidence": "coded"}
        | {
            "fields": {"concept": concept, "start_date": {"copy": "day"}, "type_concept_id": TYPE}
            | {"source_value": {"copy": "row_key"}}
        }
    )
    counts = counted_rows(sail, BORN, [person, seen], {"patient": table}, 1)
    assert {(row.rule, row.reason, row.rows) for row in counts} == {
        ("p", "", 4),
        ("e", "", 2),
        ("e", "person_with_unreadable_birth_date", 1),
        ("e", "person_without_year_of_birth", 1),
    }
    mapped = kept_rows(person, BORN, {"patient": table}).select("_row_key", "birth_unreadable").collect()
    assert sorted(map(tuple, mapped)) == [("a", None), ("b", "born"), ("c", None), ("d", "born")]


def test_a_day_is_of_a_stay_up_to_7_days_before_its_start_and_after_its_end(sail: SparkSession) -> None:
    """The second day counts where the first is missing or farther away, and the start where both are."""
    start, end = date(2024, 3, 1), date(2024, 3, 5)
    first_day, day_before = date(2024, 2, 23), date(2024, 2, 22)
    last_day, day_after = date(2024, 3, 12), date(2024, 3, 13)
    second = date(2024, 3, 2)
    rows = [
        (first_day, second, start, end, first_day),
        (day_before, second, start, end, second),
        (last_day, second, start, end, last_day),
        (day_after, second, start, end, second),
        (None, second, start, end, second),
        (day_before, day_after, start, end, start),
        (day_after, None, start, end, start),
        (day_before, None, None, end, day_before),
        (day_after, None, start, None, day_after),
        (None, None, None, None, None),
    ]
    frame = sail.createDataFrame(rows, "first date, second date, start date, end date, expected date")
    found = frame.withColumn("found", date_within_stay(F.col("first"), F.col("second"), F.col("start"), F.col("end")))
    assert [row.found for row in found.collect()] == [row[-1] for row in rows]
