"""Whatever is delivered, every line is accounted for and the rows that stay are those of a plain account."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from tests.builders.landing import deliver, opt_out_lists
from tests.builders.runs import run_in
from tests.embedded.test_curate import ANNA, BEN, CARL, GP, consultation, load, patient, silver

NUMBERS = {"A": ANNA, "B": BEN, "C": CARL}
PROVIDERS = ("P1", "P2")


@dataclass(frozen=True)
class Sent:
    """One consultation as delivered."""

    key: str
    patient: str
    version: int
    deleted: bool


sent = st.builds(
    Sent, key=st.sampled_from("123"), patient=st.sampled_from("ABCX"), version=st.integers(1, 2), deleted=st.booleans()
)
delivery = st.tuples(st.sampled_from(PROVIDERS), st.sampled_from(["full", "delta"]), st.lists(sent, min_size=1, max_size=4))


def accounted(deliveries: list[tuple[str, str, list[Sent]]], opted_out: str) -> Counter[tuple[str, str]]:
    """Disposition and reason of every consultation, by a plain account of the deliveries in their order."""
    history: dict[tuple[str, str], list[tuple[tuple[bool, int, int, int], Sent, bool]]] = {}
    newest_full = dict.fromkeys(PROVIDERS, -1)
    for day, (provider, mode, _) in enumerate(deliveries):
        if mode == "full":
            newest_full[provider] = day
    for day, (provider, _, rows) in enumerate(deliveries):
        for line, row in enumerate(rows):
            is_current = day >= newest_full[provider]
            history.setdefault((provider, row.key), []).append(((is_current, row.version, day, line), row, is_current))
    counts: Counter[tuple[str, str]] = Counter()
    for versions in history.values():
        *others, ((_, _, last_day, _), winner, is_current) = sorted(versions, key=lambda version: version[0])
        for (_, _, day, _), row, was_current in others:
            same_version = "same_version" if row.version == winner.version and was_current == is_current else ""
            counts[("duplicate", "") if (day, row) == (last_day, winner) else ("superseded", same_version)] += 1
        if winner.deleted:
            counts["deleted_at_source", "deleted_flag"] += 1
        elif not is_current:
            counts["deleted_at_source", "absent_from_full"] += 1
        elif winner.patient == "X":
            counts["quarantined", "orphan:patient"] += 1
        elif winner.patient == opted_out:
            counts["opted_out", "local"] += 1
        else:
            counts["current", ""] += 1
    return counts


@settings(max_examples=5, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(delivery, min_size=1, max_size=5), st.sampled_from("ABC"))
def test_dispositions_are_those_of_a_plain_account(
    sail: SparkSession, deliveries: list[tuple[str, str, list[Sent]]], opted_out: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        landing = Path(folder) / "landing"
        for provider in PROVIDERS:
            patients = [patient(guid, number) for guid, number in NUMBERS.items()]
            deliver(landing, GP, provider, "20260101", {"patient": patients})
        for day, (provider, mode, rows) in enumerate(deliveries):
            written = [
                consultation(row.key, row.patient, processing_id=str(row.version), deleted=str(row.deleted).upper())
                for row in rows
            ]
            # Content must differ between days, else a file delivered again would count for both.
            deliver(landing, GP, provider, f"202601{day + 2:02}", {"consultation": written}, mode)
        opt_out_lists(landing, "20260105", [*NUMBERS.values()], local=[NUMBERS[opted_out]])
        run = run_in(sail, Path(folder), date(2026, 1, 20), ("gp",))
        counts = load(run)
        expected = accounted(deliveries, opted_out)
        found: Counter[tuple[str, str]] = Counter()
        for (entity, disposition, reason), rows_ in counts.items():
            if entity == "consultation":
                found[disposition, reason] += rows_
        assert found.total() == sum(len(rows) for _, _, rows in deliveries)
        assert found == expected
        kept = silver(run, "consultation") if expected["current", ""] else []
        assert len(kept) == len({row["row_key"] for row in kept}) == expected["current", ""]
