"""Which files are active, whatever was delivered before and after."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ingest.register import ActiveFile, Registered, active_files, delivered_beside

FIRST = date(2026, 1, 1)


def file(day: int, mode: str, content: str, same_as: str = "", entity: str = "patient") -> Registered:
    """A registered file of a provider, identified by its content."""
    on = FIRST + timedelta(days=day)
    return Registered(
        load_id=f"L{day}",
        delivery_id=f"D{day}",
        source="gp",
        provider="P",
        folder=f"{on:%Y%m%d}",
        extract_date=on,
        mode=mode,
        entity=entity,
        file_id=f"{content}{day}",
        file_name="f.csv",
        same_as=same_as or f"{content}{day}",
        rows=1,
        malformed=0,
        undeclared_columns=0,
        sha256=content,
    )


def test_a_full_delivery_and_later_deltas_are_active_and_earlier_files_are_not() -> None:
    register = [file(0, "delta", "a"), file(1, "full", "b"), file(2, "delta", "c")]
    assert active_files(register)["gp", "patient"] == [
        ActiveFile("a0", "20260101.20260101", False),
        ActiveFile("b1", "20260102.20260102", True),
        ActiveFile("c2", "20260103.20260103", True),
    ]


def test_content_delivered_again_is_active_again() -> None:
    register = [file(0, "full", "a"), file(1, "delta", "b"), file(2, "full", "a", same_as="a0")]
    assert active_files(register)["gp", "patient"] == [
        ActiveFile("a0", "20260103.20260103", True),
        ActiveFile("b1", "20260102.20260102", False),
    ]


def test_a_full_delivery_without_files_of_an_entity_leaves_it_alone() -> None:
    register = [file(0, "full", "a", entity="problem"), file(1, "full", "b")]
    assert active_files(register)["gp", "problem"] == [ActiveFile("a0", "20260101.20260101", True)]


def test_a_file_came_beside_the_files_of_the_delivery_that_had_it_last() -> None:
    register = [
        file(0, "delta", "a"),
        file(0, "delta", "b", entity="problem"),
        file(1, "delta", "c", entity="problem"),
        file(2, "delta", "a", same_as="a0"),
        file(2, "delta", "d", entity="consultation"),
    ]
    both = frozenset({"patient", "problem"})
    for listed in (register, register[::-1]):
        assert delivered_beside(listed) == {
            "a0": frozenset({"patient", "consultation"}),
            "b0": both,
            "c1": frozenset({"problem"}),
            "d2": frozenset({"patient", "consultation"}),
        }


@given(st.lists(st.tuples(st.sampled_from(["full", "delta"]), st.sampled_from("abc")), min_size=1, max_size=8))
def test_active_files_are_what_a_provider_has(deliveries: list[tuple[str, str]]) -> None:
    """Compared with a simple model of what a provider's deliveries add up to."""
    register: list[Registered] = []
    holders: dict[str, str] = {}
    held: set[str] = set()
    for day, (mode, content) in enumerate(deliveries):
        delivered = file(day, mode, content, same_as=holders.get(content, ""))
        holders.setdefault(content, delivered.file_id)
        register.append(delivered)
        held = {content} if mode == "full" else held | {content}
    active = active_files(reversed(register))["gp", "patient"]
    assert {registered.file_id for registered in active if registered.is_current} == {holders[content] for content in held}
    newest = max(active, key=lambda registered: registered.effective)
    assert newest.file_id == holders[deliveries[-1][1]]


def month(day: int, mode: str, periods: str, entity: str = "contact") -> Registered:
    """A file of a provider with rows of some months, delivered on a day."""
    return replace(file(day, mode, f"{entity}{day}.", entity=entity), periods=tuple(periods))


@pytest.mark.parametrize(
    ("register", "replaced"),
    [
        ([month(0, "period", "M"), month(1, "period", "A")], {0: "", 1: ""}),
        ([month(0, "period", "A"), month(1, "period", "A")], {0: "A", 1: ""}),
        ([month(0, "period", "MA"), month(1, "period", "A")], {0: "A", 1: ""}),
        ([month(0, "delta", "MA"), month(1, "period", "A")], {0: "A", 1: ""}),
        ([month(0, "period", "A"), month(1, "delta", "A")], {0: "", 1: ""}),
        ([month(0, "full", "A"), month(1, "period", "A")], {0: "A", 1: ""}),
        ([month(0, "period", "A"), month(1, "period", "AM"), month(2, "period", "M")], {0: "A", 1: "M", 2: ""}),
        ([month(1, "period", "A"), month(0, "period", "A")], {1: "", 0: "A"}),
        ([month(0, "period", ""), month(1, "period", "A")], {0: "", 1: ""}),
        ([replace(month(0, "period", "A"), provider="Q"), month(1, "period", "A")], {0: "", 1: ""}),
        ([replace(month(0, "period", "A"), source="acute"), month(1, "period", "A")], {0: "", 1: ""}),
    ],
)
def test_a_delivery_by_period_replaces_the_periods_that_it_has(register: list[Registered], replaced: dict[int, str]) -> None:
    active = [entry for of_place in active_files(register).values() for entry in of_place]
    assert {entry.file_id: "".join(entry.replaced) for entry in active} == {
        f"contact{day}.{day}": periods for day, periods in replaced.items()
    }


def test_periods_are_those_of_all_files_of_a_delivery_and_only_its_entities_are_replaced() -> None:
    """A resubmission without any contact of April still has its referrals, so its empty file of contacts replaces April."""
    register = [
        month(0, "period", "A"),
        month(0, "period", "A", entity="assessment"),
        month(1, "period", "A", entity="referral"),
        month(1, "period", ""),
    ]
    active = active_files(register)
    assert [entry.replaced for entry in active["gp", "contact"]] == [("A", ""), ()]
    assert [entry.replaced for entry in active["gp", "assessment"]] == [()]


@pytest.mark.parametrize(
    ("register", "replaced"),
    [
        ([month(0, "period", "A"), month(1, "period", "M")], False),
        ([month(0, "period", "A"), month(1, "period", "A")], True),
        ([month(0, "period", "MA"), month(1, "period", "A")], False),
        ([month(0, "period", "MA"), month(1, "period", "A"), month(2, "period", "MJ")], True),
        ([month(0, "period", ""), month(0, "period", "A", entity="referral"), month(1, "period", "A")], True),
        ([month(0, "delta", "A"), month(1, "period", "A")], False),
        ([month(0, "full", "A"), month(1, "period", "A")], False),
    ],
)
def test_rows_without_a_period_are_replaced_with_all_periods_of_their_delivery(
    register: list[Registered], replaced: bool
) -> None:
    (first, *_) = active_files(register)["gp", "contact"]
    assert (first.file_id, first.by_period, "" in first.replaced) == ("contact0.0", register[0].mode == "period", replaced)


MONTHS = st.sets(st.sampled_from("MAJ"), min_size=1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["delta", "period"]), MONTHS), min_size=1, max_size=7))
def test_a_month_has_what_was_delivered_since_it_was_last_replaced(deliveries: list[tuple[str, set[str]]]) -> None:
    """Compared with a plain account of what a provider holds of each month."""
    register = [month(day, mode, "".join(sorted(periods))) for day, (mode, periods) in enumerate(deliveries)]
    held: dict[str, set[int]] = {period: set() for period in "MAJ"}
    for day, (mode, periods) in enumerate(deliveries):
        for period in periods:
            held[period] = {day} if mode == "period" else held[period] | {day}
    replaced = {entry.file_id: entry.replaced for entry in active_files(register)["gp", "contact"]}
    for period, days in held.items():
        having = [day for day, (_, periods) in enumerate(deliveries) if period in periods]
        assert {day for day in having if period not in replaced[f"contact{day}.{day}"]} == days
