"""The register without some deliveries is the register of a landing folder that never had them."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ingest.register import Registered, active_files
from pipelines.ingest.taking_back import without_deliveries
from tests.unit.ingest.test_register import file


def registered(deliveries: Sequence[tuple[int, str, tuple[str, ...]]]) -> list[Registered]:
    """What the register holds after deliveries (day, mode, the contents of their files), each loaded on its day."""
    holders: dict[str, str] = {}
    register = []
    for day, mode, contents in deliveries:
        for content in dict.fromkeys(contents):
            entry = file(day, mode, content, same_as=holders.get(content, ""))
            holders.setdefault(content, entry.file_id)
            register.append(entry)
    return register


def test_a_delivery_that_nothing_repeats_just_goes() -> None:
    register = registered([(0, "full", ("a",)), (1, "delta", ("b",))])
    taken_back = without_deliveries(register, {"D1"})
    assert taken_back.register == tuple(registered([(0, "full", ("a",))]))
    assert ([entry.file_id for entry in taken_back.removed], taken_back.holders) == (["b1"], {})


def test_rows_that_a_later_delivery_repeats_stay_under_its_name() -> None:
    register = registered([(0, "full", ("a", "b")), (1, "delta", ("a",)), (2, "delta", ("a",))])
    taken_back = without_deliveries(register, {"D0"})
    assert taken_back.register == tuple(registered([(1, "delta", ("a",)), (2, "delta", ("a",))]))
    assert taken_back.holders == {"a0": "a1"}


def test_a_delivery_that_only_repeats_leaves_the_rows_where_they_are() -> None:
    register = registered([(0, "full", ("a",)), (1, "full", ("a",))])
    taken_back = without_deliveries(register, {"D1"})
    assert taken_back.register == tuple(registered([(0, "full", ("a",))]))
    assert taken_back.holders == {}


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["full", "delta"]), st.lists(st.sampled_from("abcd"), min_size=1, max_size=3)),
        min_size=1,
        max_size=8,
    ),
    st.sets(st.integers(0, 7), max_size=5),
)
def test_it_is_as_if_they_had_never_come(deliveries: list[tuple[str, list[str]]], withdrawn: set[int]) -> None:
    came = [(day, mode, tuple(contents)) for day, (mode, contents) in enumerate(deliveries)]
    expected = registered([delivery for delivery in came if delivery[0] not in withdrawn])
    taken_back = without_deliveries(registered(came), {f"D{day}" for day in withdrawn})
    assert taken_back.register == tuple(expected)
    assert active_files(taken_back.register) == active_files(expected)
    again = without_deliveries(taken_back.register, {f"D{day}" for day in withdrawn})
    assert (again.register, again.removed, again.holders) == (taken_back.register, (), {})
