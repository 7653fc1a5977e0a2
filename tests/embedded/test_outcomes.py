"""What becomes of each silver row: counted once, with the rules that take it or the most specific reason."""

from collections import Counter
from datetime import date
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from pipelines.contracts.source import SourceContract
from pipelines.mapping.compile import kept_rows
from pipelines.mapping.counts import counts_of
from pipelines.mapping.spec import Rule
from tests.builders.outcomes import numbering_of, outcomes_of, silver_rows_of

KEY = {"identifier": "record_id"}
CODE = {"type": "code", "shape": "short_code"}

CONTRACT = SourceContract.model_validate(
    {
        "source": "gp",
        "title": "General practice",
        "entities": {
            "entry": {
                "grain": "one entry",
                "files": ["entry"],
                "key": ["id"],
                "subject": {"direct": {"nhs_number": "number", "local_id": "id"}},
                "references": {"code_key": {"entity": "code", "columns": ["id"]}},
                "columns": {
                    "id": KEY,
                    "number": {"identifier": "nhs_number"},
                    "day": {"type": "date"},
                    "kind": CODE,
                    "status": CODE,
                    "wrong": {"type": "boolean"},
                    "text": {"type": "code", "shape": "term"},
                },
            },
            "code": {"grain": "one code", "files": ["code"], "key": ["id"], "columns": {"id": KEY, "scheme": CODE}},
            "slot": {"grain": "one slot", "files": ["slot"], "key": ["id"], "columns": {"id": KEY, "kind": CODE, "text": KEY}},
        },
    }
)
TYPE = {"constant": 32817, "note": "for the test"}
CODED = {"code": {"entity": "code", "on": "code_key"}}


def event(name: str, *where: dict[str, Any], **more: Any) -> Rule:
    """A rule for events, coded by `text` and dated by `day`."""
    fields = {
        "concept": {"concept": [{"column": "text", "vocabulary": "Read"}]},
        "start_date": {"copy": "day"},
        "type_concept_id": TYPE,
    }
    rule = {"name": name, "from": "entry", "to": "event", "domain": "Observation", "evidence": "coded", "where": list(where)}
    return Rule.model_validate(rule | {"fields": fields | more.pop("fields", {})} | more)


def site(name: str, *where: dict[str, Any]) -> Rule:
    """A rule for care sites, whose rows belong to nobody."""
    fields = {"care_site_code": {"copy": "provider_code"}}
    return Rule.model_validate({"name": name, "from": "entry", "to": "care_site", "where": list(where), "fields": fields})


def entry(key: str, **values: Any) -> dict[str, Any]:
    return {"row_key": key, "person_id": 1, "provider_code": "P1", "day": date(2024, 1, 1), "text": "H33"} | values


def silver(session: SparkSession, tables: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    frames = {}
    for name, rows in tables.items():
        columns = CONTRACT.entities[name].silver_columns
        schema = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        frames[name] = session.createDataFrame([tuple(row.get(column) for column in columns) for row in rows], schema)
    return frames


def once(session: SparkSession, rules: list[Rule], entries: list[dict[str, Any]], **more: Any) -> list[tuple[Any, ...]]:
    """Disposition, rule, reason and rows of `entry`."""
    numbering = numbering_of(CONTRACT, rules)
    tables = silver(session, {"entry": entries, "code": more.pop("codes", [])})
    counted = outcomes_of(session, numbering, tables, more.pop("persons", (1,)), **more)
    return [(row[1], row[2], row[3], row[6]) for row in silver_rows_of(numbering, counted) if not row[4]]


def test_a_row_is_counted_with_all_rules_that_take_it(sail: SparkSession) -> None:
    rules = [event("b"), event("a", {"column": "kind", "in": ["K"], "reason": "other_kind"})]
    entries = [entry("1", kind="K"), entry("2", kind="L"), entry("3", kind="k"), entry("4", text=None)]
    assert once(sail, rules, entries) == [
        ("mapped", "a, b", "", 2),
        ("mapped", "b", "", 1),
        ("untaken", "b", "code_missing", 1),
    ]


def test_the_most_specific_reason_is_of_the_rule_that_came_furthest(sail: SparkSession) -> None:
    not_x = {"column": "status", "not_in": ["X"], "reason": "cancelled"}
    rules = [
        event("first", {"column": "kind", "in": ["K"], "reason": "not_k"}),
        event("second", {"column": "kind", "not_in": ["M"], "reason": "is_m"}, not_x),
        event("third", {"column": "kind", "in": ["K", "L"], "reason": "neither"}, not_x),
        event("fourth", {"column": "kind", "in": ["N"], "reason": "not_n"}),
    ]
    entries = [
        entry("1", kind="K", text=None),  # every rule that came to the code lacks it: the first of those that came furthest
        entry("2", kind="L", status="X"),  # second and third came as far, and the second stands earlier
        entry("3", kind="M"),  # first, third and fourth only choose other rows
        entry("4", kind="M", day=None),
    ]
    assert once(sail, rules, entries) == [
        ("untaken", "second", "cancelled", 1),
        ("untaken", "second", "code_missing", 1),
        ("untaken", "second", "is_m", 2),
    ]


def test_whether_a_column_is_readable_does_not_count_as_coming_further(sail: SparkSession) -> None:
    rules = [
        event(
            "undated", {"column": "kind", "in": ["K"], "reason": "not_k"}, {"column": "status", "in": ["Y"], "reason": "not_y"}
        ),
        event("dated", {"column": "day", "not_in": ["1900-01-01"], "reason": "placeholder"}),
    ]
    entries = [entry("1", kind="K", _flags="day", day=None), entry("2", kind="L", _flags="day", day=None)]
    assert once(sail, rules, entries) == [("untaken", "dated", "unreadable:day", 1), ("untaken", "undated", "not_y", 1)]


def test_a_row_whose_person_is_not_in_the_cdm_is_taken_by_rules_for_other_things_only(sail: SparkSession) -> None:
    entries = [entry("known"), entry("unknown", person_id=2), entry("unobserved", person_id=3), entry("nobody", person_id=None)]
    people = {"persons": (1, 3), "unobserved": (3,)}
    assert once(sail, [event("e")], entries, **people) == [
        ("mapped", "e", "", 1),
        ("untaken", "e", "person_missing", 1),
        ("untaken", "e", "person_without_observation_period", 1),
        ("untaken", "e", "person_without_year_of_birth", 1),
    ]
    assert once(sail, [event("e"), site("s")], entries, **people) == [("mapped", "e, s", "", 1), ("mapped", "s", "", 3)]


def test_a_row_that_every_rule_lost_later_has_the_reason_of_the_first_of_them(sail: SparkSession) -> None:
    rules = [event("a"), event("b", {"column": "kind", "in": ["K"], "reason": "not_k"})]
    entries = [entry("1", kind="K"), entry("2", kind="K"), entry("3"), entry("4", kind="K")]
    lost = [
        ("1", 1, "gp", "entry", "a", "implausible:before_birth"),
        ("1", 1, "gp", "entry", "b", "visit_missing"),
        ("2", 1, "gp", "entry", "a", "implausible:before_birth"),
        ("3", 1, "gp", "entry", "a", "implausible:before_birth"),
    ]
    assert once(sail, rules, entries, left_out=lost) == [
        ("mapped", "a, b", "", 1),
        ("mapped", "b", "", 1),
        ("untaken", "a", "implausible:before_birth", 2),
    ]


def test_rows_that_no_rule_takes_are_counted_by_the_values_of_closed_lists(sail: SparkSession) -> None:
    where = [
        {"column": "kind", "not_in": ["M"], "reason": "is_m"},
        {"column": "code.scheme", "in": ["2"], "reason": "not_2"},
        {"column": "text", "in": ["H33"], "reason": "not_h33"},
    ]
    numbering = numbering_of(CONTRACT, [event("e", *where, **{"with": CODED})], {"code": "looked_up", "slot": "no_rule"})
    tables = silver(
        sail,
        {
            "entry": [
                entry("1", kind="M", code_key="c"),
                entry("2", kind="M"),
                entry("3", kind="K", code_key="c"),
                entry("4", kind="K", code_key="d"),
            ],
            "code": [{"row_key": "c", "scheme": "1"}, {"row_key": "d", "scheme": "2"}],
            "slot": [{"row_key": "s", "kind": "A"}, {"row_key": "t", "kind": "A"}, {"row_key": "u"}],
        },
    )
    assert silver_rows_of(numbering, outcomes_of(sail, numbering, tables, (1,))) == [
        ("code", "untaken", "", "looked_up", "", "", 2),
        ("entry", "mapped", "e", "", "", "", 1),
        ("entry", "untaken", "e", "is_m", "", "", 2),
        ("entry", "untaken", "e", "is_m", "code.scheme", "", 1),
        ("entry", "untaken", "e", "is_m", "code.scheme", "1", 1),
        ("entry", "untaken", "e", "is_m", "kind", "M", 2),
        ("entry", "untaken", "e", "not_2", "", "", 1),
        ("entry", "untaken", "e", "not_2", "code.scheme", "1", 1),
        ("entry", "untaken", "e", "not_2", "kind", "K", 1),
        ("slot", "untaken", "", "no_rule", "", "", 3),
        ("slot", "untaken", "", "no_rule", "kind", "", 1),
        ("slot", "untaken", "", "no_rule", "kind", "A", 2),
    ]


def test_the_rows_of_an_event_that_a_rule_groups_are_all_taken(sail: SparkSession) -> None:
    rule = event("g", group=True, fields={"key": {"copy": "status"}})
    entries = [entry("1", status="A"), entry("2", status="A"), entry("3", status="B"), entry("4")]
    assert once(sail, [rule], entries) == [("mapped", "g", "", 3), ("untaken", "g", "key_missing", 1)]


values = st.sampled_from(["K", "L", "M", None])
conditions = st.builds(
    lambda column, how, value, reason: {"column": column, how: [value] if how != "present" else value == "K", "reason": reason},
    st.sampled_from(["kind", "status", "code.scheme"]),
    st.sampled_from(["in", "not_in", "present"]),
    st.sampled_from(["K", "L"]),
    st.sampled_from(["one", "two", "three"]),
)
rules_of_entries = st.lists(st.tuples(st.booleans(), st.lists(conditions, max_size=3)), min_size=1, max_size=4)
rows_of_entries = st.lists(
    st.fixed_dictionaries(
        {
            "person_id": st.sampled_from([1, 1, 2, 3, None]),
            "kind": values,
            "status": values,
            "text": st.sampled_from(["H33", "H33", None]),
            "day": st.sampled_from([date(2024, 1, 1), date(2024, 1, 1), None]),
            "code_key": st.sampled_from(["k", "l", "elsewhere", None]),
            "_flags": st.sampled_from([None, None, "day"]),
        }
    ),
    max_size=12,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    declared=rules_of_entries, rows=rows_of_entries, lost=st.sets(st.tuples(st.integers(0, 11), st.integers(0, 3)), max_size=8)
)
def test_every_row_is_counted_once_whatever_the_rules(
    sail: SparkSession,
    declared: list[tuple[bool, list[dict[str, Any]]]],
    rows: list[dict[str, Any]],
    lost: set[tuple[int, int]],
) -> None:
    rules = [
        event(f"r{place}", *where, **{"with": CODED}) if is_event else site(f"r{place}", *own_columns(where))
        for place, (is_event, where) in enumerate(declared)
    ]
    entries = [entry(f"e{place}", **row) for place, row in enumerate(rows)]
    tables = silver(sail, {"entry": entries, "code": [{"row_key": "k", "scheme": "K"}, {"row_key": "l", "scheme": "L"}]})
    kept = {rule.name: {row._row_key for row in kept_rows(rule, CONTRACT, tables).collect()} for rule in rules}
    left_out = [
        (f"e{row}", 1, "gp", "entry", f"r{rule}", "visit_missing")
        for row, rule in sorted(lost)
        if f"e{row}" in kept.get(f"r{rule}", ())
    ]
    lost_by = {(key, name) for key, _, _, _, name, _ in left_out}
    expected: Counter[str] = Counter()
    for row in entries:
        in_cdm = row["person_id"] == 1  # 2 is unobserved, 3 unknown
        takes = [
            rule.name
            for rule in rules
            if row["row_key"] in kept[rule.name]
            and (row["row_key"], rule.name) not in lost_by
            and (in_cdm or rule.to == "care_site")
        ]
        expected[", ".join(takes)] += 1
    numbering = numbering_of(CONTRACT, rules, {"slot": "no_rule"})
    counted = outcomes_of(sail, numbering, tables | silver(sail, {"slot": []}), (1, 2), (2,), left_out)
    found: Counter[str] = Counter()
    by_column: Counter[tuple[str, str, str]] = Counter()
    for _, disposition, rule, reason, column, _, number in silver_rows_of(numbering, counted):
        if not column:
            found[rule if disposition == "mapped" else ""] += number
            assert bool(reason) == (disposition == "untaken")
        by_column[rule, reason, column] += number if disposition == "untaken" else 0
    assert +found == +expected
    assert all(number == by_column[rule, reason, ""] for (rule, reason, _), number in by_column.items())
    of_rules: Counter[str] = Counter()
    for of_rule in counts_of(numbering, counted).collect():
        of_rules[of_rule.rule] += of_rule.rows
    assert of_rules == Counter({rule.name: len(rows) for rule in rules if rows})


def own_columns(where: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [condition for condition in where if "." not in condition["column"]]
