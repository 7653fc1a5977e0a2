"""What is remembered of deliveries that are not loaded: below the restricted root, for runs and for the people who ask."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pipelines.ingest.folders import SetAside
from pipelines.storage.documents import Document


class SetAsideDeliveries(Document):
    """The deliveries that the last run set aside."""

    entries: tuple[SetAside, ...] = ()


def _set_aside_path(restricted: Path) -> Path:
    return restricted / "set_aside.json"


def read_set_aside(restricted: Path) -> tuple[SetAside, ...]:
    """The deliveries that the last run set aside."""
    stored = SetAsideDeliveries.read(_set_aside_path(restricted))
    return stored.entries if stored else ()


def store_set_aside(restricted: Path, entries: Sequence[SetAside], run_date: date) -> None:
    """Store what a run set aside; a delivery that was set aside before keeps the day on which that was seen first."""
    stored = read_set_aside(restricted)
    seen = {(entry.place, entry.delivery_id): entry.since for entry in stored}
    dated = tuple(
        entry.model_copy(update={"since": seen.get((entry.place, entry.delivery_id)) or run_date}) for entry in entries
    )
    if dated != stored:
        SetAsideDeliveries(entries=dated).write(_set_aside_path(restricted))
