"""Monthly data sets (MHSDS, CSDS): reporting months, rows repeated in each of them, and the columns of a submission."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import World
from pipelines.synthetic.sources.children import children_of
from pipelines.synthetic.sources.rows import number_text
from pipelines.synthetic.text import date_text, numbered

APRIL_1900 = np.datetime64("1900-04", "M")
SUBMISSION_DAYS = 20
"""Days after the end of a month at which its submission is received."""


def month_of(when: np.ndarray) -> np.ndarray:
    """The reporting month of a day or time."""
    return when.astype("datetime64[M]")


def month_number(month: np.ndarray) -> np.ndarray:
    """Months since April 1900, plus 1: the national number of a reporting month."""
    return (month - APRIL_1900).astype(np.int64) + 1


@dataclass(frozen=True)
class Snapshots:
    """One entry per item and month in which it was open: the item, the month, the first night that reports it."""

    thing: np.ndarray
    month: np.ndarray
    night: np.ndarray
    is_closed: np.ndarray


def monthly_snapshots(world: World, opened: np.ndarray, closed: np.ndarray, most: int) -> Snapshots:
    """One entry per item and month, for the last `most` months in which it was open; `closed` is NaT while it is open.

    Only the month of the end reports the end. An item that ends after the night on which that month was first sent is sent
    twice.
    """
    last = np.where(np.isnat(closed), world.last_day.astype("datetime64[s]"), closed)
    first_month = np.maximum(month_of(opened), month_of(last) - (most - 1))
    counts = (month_of(last) - first_month).astype(np.int64) + 1
    thing, position = children_of(counts)
    month = first_month[thing] + position.astype("timedelta64[M]")
    month_start = month.astype("datetime64[s]")
    first_reported = world.night_of(np.maximum(opened[thing], month_start))
    ends_here = ~np.isnat(closed[thing]) & (month == month_of(last[thing]))
    end_reported = world.night_of(np.where(ends_here, closed[thing], month_start))
    before_end = np.flatnonzero(ends_here & (first_reported < end_reported))
    row = np.concatenate([before_end, np.arange(len(thing))])
    is_closed = np.concatenate([np.zeros(len(before_end), dtype=bool), ends_here])
    night = np.where(is_closed, end_reported[row], first_reported[row])
    return Snapshots(thing[row], month[row], night, is_closed)


def first_night_of_months(
    person: np.ndarray, month: np.ndarray, night: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each person and month once, with the first night that reports them."""
    keys = person.astype(np.int64) * 100_000 + month.astype(np.int64)
    found, inverse = np.unique(keys, return_inverse=True)
    first = np.full(len(found), np.iinfo(np.int8).max, dtype=np.int64)
    np.minimum.at(first, inverse, night)
    return found // 100_000, (found % 100_000).astype("datetime64[M]"), first


def month_end(month: np.ndarray) -> np.ndarray:
    """The last day of each month."""
    return (month + 1).astype("datetime64[D]") - 1


def received_at(month: np.ndarray, night: np.ndarray, world: World) -> np.ndarray:
    """When a submission was received: weeks after the month, or on the night of an early, incomplete submission."""
    on_night = np.datetime64(world.first_night, "s") + night.astype("timedelta64[D]")
    received: np.ndarray = np.minimum((month_end(month) + SUBMISSION_DAYS).astype("datetime64[s]"), on_night)
    return received


def submission_number(month: np.ndarray) -> pa.Array:
    """The number of a month's submission."""
    return numbered("7", month_number(month), 6)


def month_text(month: np.ndarray) -> pa.Array:
    """The national number of a reporting month as text."""
    return number_text(month_number(month).astype(float), 0)


def clock_text(times: np.ndarray) -> pa.Array:
    """Times of day."""
    return date_text(times, "HH:mm:ss")
