"""Which files are active, whatever was delivered before and after."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipelines.ingest.register import ActiveFile, Registered, active_files

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
