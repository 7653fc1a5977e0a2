"""What is remembered of deliveries besides the register: those that are set aside, and those that were withdrawn.

Both documents are below the restricted root.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import ClassVar

from pipelines.contracts.models import Frozen
from pipelines.errors import DeliveryError
from pipelines.ingest.folders import SetAside
from pipelines.ingest.landing import Delivery, DeliveryName
from pipelines.ingest.register import Registered
from pipelines.storage.documents import Document, Lost


class SetAsideDeliveries(Document):
    """The deliveries that the last run set aside."""

    LOST: ClassVar[Lost] = Lost("the next run makes it again", stops=False)

    entries: tuple[SetAside, ...] = ()


class Withdrawn(Frozen):
    """A delivery that was taken back: which, why, on which day, and what it was (`rows`: its records, where they are known)."""

    source: str
    provider: str
    folder: str
    delivery_id: str
    why: str
    withdrawn_on: date
    extract_date: date
    mode: str
    rows: int | None

    @classmethod
    def of_loaded(cls, files: Sequence[Registered], why: str, withdrawn_on: date) -> "Withdrawn":
        """The withdrawal of a loaded delivery, from the entries that the register has of it."""
        file = files[0]
        return cls(
            source=file.source,
            provider=file.provider,
            folder=file.folder,
            delivery_id=file.delivery_id,
            why=why,
            withdrawn_on=withdrawn_on,
            extract_date=file.extract_date,
            mode=file.mode,
            rows=sum(entry.rows for entry in files),
        )

    @classmethod
    def of_landed(cls, delivery: Delivery, why: str, withdrawn_on: date) -> "Withdrawn":
        """The withdrawal of a delivery that no run has loaded yet."""
        return cls(
            source=delivery.source,
            provider=delivery.provider,
            folder=delivery.folder.name,
            delivery_id=delivery.delivery_id,
            why=why,
            withdrawn_on=withdrawn_on,
            extract_date=delivery.extract_date,
            mode=delivery.mode,
            rows=delivery.rows,
        )

    @property
    def place(self) -> DeliveryName:
        """Where it was in the landing folder."""
        return DeliveryName(self.source, self.provider, self.folder)


class Withdrawals(Document):
    """Every delivery that was taken back. No run takes it again, wherever it lies."""

    entries: tuple[Withdrawn, ...] = ()


class Accepted(Frozen):
    """A delivery that is loaded although it differs from what its provider sent before: which, why, on which day."""

    source: str
    provider: str
    folder: str
    delivery_id: str
    why: str
    accepted_on: date


class AcceptedDeliveries(Document):
    """Every delivery that was accepted by name."""

    LOST: ClassVar[Lost] = Lost("restore it from a backup, or remove it and accept again what is then set aside")

    entries: tuple[Accepted, ...] = ()


def set_aside_path(restricted: Path) -> Path:
    """The document of what the last run set aside."""
    return restricted / "set_aside.json"


def withdrawn_path(restricted: Path) -> Path:
    """The document of every delivery that was taken back."""
    return restricted / "withdrawn.json"


def read_set_aside(restricted: Path) -> tuple[SetAside, ...]:
    """The deliveries that the last run set aside."""
    stored = SetAsideDeliveries.read(set_aside_path(restricted))
    return stored.entries if stored else ()


def store_set_aside(restricted: Path, entries: Sequence[SetAside], run_date: date) -> None:
    """Store what a run set aside; a delivery that was set aside before keeps the day on which that was seen first."""
    stored = read_set_aside(restricted)
    seen = {(entry.place, entry.delivery_id): entry.since for entry in stored}
    dated = tuple(
        entry.model_copy(update={"since": seen.get((entry.place, entry.delivery_id)) or run_date}) for entry in entries
    )
    if dated or set_aside_path(restricted).exists():
        SetAsideDeliveries(entries=dated).write(set_aside_path(restricted))


def read_withdrawn(restricted: Path) -> tuple[Withdrawn, ...]:
    """Every delivery that was taken back."""
    stored = Withdrawals.read(withdrawn_path(restricted))
    return stored.entries if stored else ()


def store_withdrawal(restricted: Path, entry: Withdrawn) -> None:
    """Store that a delivery is taken back. Raises DeliveryError if it is already."""
    stored = read_withdrawn(restricted)
    if any(known.delivery_id == entry.delivery_id for known in stored):
        raise DeliveryError(f"{entry.place} is withdrawn already; nhs-omop withdraw {entry.place} --undo takes that back")
    Withdrawals(entries=(*stored, entry)).write(withdrawn_path(restricted))


def undo_withdrawal(restricted: Path, place: DeliveryName) -> Withdrawn:
    """Take the last withdrawal of a delivery from this folder back. Raises DeliveryError if there is none."""
    stored = read_withdrawn(restricted)
    undone = next((entry for entry in reversed(stored) if entry.place == place), None)
    if undone is None:
        raise DeliveryError(f"{place} is not withdrawn; nhs-omop deliveries lists what is")
    Withdrawals(entries=tuple(entry for entry in stored if entry is not undone)).write(withdrawn_path(restricted))
    return undone


def accepted_path(restricted: Path) -> Path:
    """The document of every delivery that was accepted by name."""
    return restricted / "accepted.json"


def read_accepted(restricted: Path) -> tuple[Accepted, ...]:
    """Every delivery that was accepted by name."""
    stored = AcceptedDeliveries.read(accepted_path(restricted))
    return stored.entries if stored else ()


def store_acceptance(restricted: Path, delivery: Delivery, why: str, accepted_on: date) -> None:
    """Store that a delivery is accepted. Raises DeliveryError if it is already."""
    stored = read_accepted(restricted)
    if any(entry.delivery_id == delivery.delivery_id for entry in stored):
        raise DeliveryError(f"{delivery.name} is accepted already")
    entry = Accepted(
        source=delivery.source,
        provider=delivery.provider,
        folder=delivery.folder.name,
        delivery_id=delivery.delivery_id,
        why=why,
        accepted_on=accepted_on,
    )
    AcceptedDeliveries(entries=(*stored, entry)).write(accepted_path(restricted))
