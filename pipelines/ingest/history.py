"""The history of deliveries: what became of each, and what to do about those that are not loaded."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from pipelines.ingest.arrivals import is_left_over, used_folder
from pipelines.ingest.delivery_log import Withdrawn
from pipelines.ingest.folders import Landed, SetAside
from pipelines.ingest.landing import Delivery, DeliveryName, day_of
from pipelines.ingest.register import Registered


class DeliveryState(StrEnum):
    """What became of a delivery."""

    LOADED = "loaded"
    WAITING = "waiting"
    SET_ASIDE = "set aside"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class DeliveryFacts:
    """A delivery and what became of it. `day` is when that happened; `rows` are its data records, where they are known."""

    place: DeliveryName
    state: DeliveryState
    rows: int | None = None
    extract_date: date | None = None
    mode: str = ""
    day: date | None = None
    reason: str = ""
    next_step: str = ""


def delivery_history(
    landed: Landed, register: Iterable[Registered], set_aside: Sequence[SetAside], withdrawn: Sequence[Withdrawn]
) -> list[DeliveryFacts]:
    """Every delivery that is in the landing folder or was loaded, in the order of their names.

    `set_aside` are those of the last run. What no run has looked at yet waits for the next.
    """
    back = {entry.delivery_id for entry in withdrawn}
    loaded = _loaded(file for file in register if file.delivery_id not in back)
    used = {entry.place for entry in loaded.values()}
    known = used | {entry.place for entry in withdrawn}
    facts = [*loaded.values(), *map(_withdrawn, withdrawn)]
    facts += [
        DeliveryFacts(place, DeliveryState.WAITING, reason="its day is after the run date", next_step="wait for its day")
        for place in landed.waiting
        if place not in known
    ]
    facts += [_set_aside(entry) for entry in landed.set_aside if not is_left_over(entry, used)]
    faulty = {entry.delivery_id: entry for entry in set_aside if entry.delivery_id}
    for delivery in landed.deliveries:
        if delivery.delivery_id in loaded or delivery.delivery_id in back:
            continue
        if delivery.place in used:
            facts.append(_set_aside(used_folder(delivery), delivery))
        elif delivery.delivery_id in faulty:
            facts.append(_set_aside(faulty[delivery.delivery_id], delivery))
        else:
            facts.append(
                DeliveryFacts(
                    delivery.place,
                    DeliveryState.WAITING,
                    delivery.rows,
                    delivery.extract_date,
                    delivery.mode,
                    reason="no run has looked at it yet",
                    next_step="nhs-omop run",
                )
            )
    return sorted(facts, key=lambda entry: (entry.place, entry.state))


def _loaded(register: Iterable[Registered]) -> dict[str, DeliveryFacts]:
    """The deliveries of the register by their ids."""
    rows: dict[str, int] = defaultdict(int)
    files: dict[str, Registered] = {}
    for file in register:
        rows[file.delivery_id] += file.rows
        files[file.delivery_id] = file
    return {
        delivery_id: DeliveryFacts(
            DeliveryName(file.source, file.provider, file.folder),
            DeliveryState.LOADED,
            rows[delivery_id],
            file.extract_date,
            file.mode,
            day_of(file.load_id[:8]),
        )
        for delivery_id, file in files.items()
    }


def _withdrawn(entry: Withdrawn) -> DeliveryFacts:
    return DeliveryFacts(
        entry.place,
        DeliveryState.WITHDRAWN,
        entry.rows,
        entry.extract_date,
        entry.mode,
        entry.withdrawn_on,
        entry.why,
        f"nhs-omop withdraw {entry.place} --undo, if it is to be loaded again",
    )


def _set_aside(entry: SetAside, delivery: Delivery | None = None) -> DeliveryFacts:
    return DeliveryFacts(
        entry.place,
        DeliveryState.SET_ASIDE,
        None,
        delivery.extract_date if delivery else None,
        delivery.mode if delivery else "",
        entry.since,
        "; ".join(entry.faults),
        entry.next_step,
    )
