"""Submissions of the mental health provider: the columns of every table, and the months that report a patient."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import World
from pipelines.synthetic.sources import mental_health_care as care
from pipelines.synthetic.sources.children import number_within
from pipelines.synthetic.sources.monthly import (
    first_night_of_months,
    month_end,
    month_of,
    month_text,
    monthly_snapshots,
    received_at,
    submission_number,
)
from pipelines.synthetic.sources.rows import assemble, known
from pipelines.synthetic.text import date_text, numbered, spread

MOST_MONTHS = 14
STAFF = 30
DAY = "yyyy-MM-dd"
STAMP = "yyyy-MM-dd HH:mm:ss"
SUMMER_TIME = ("+00:00", "+01:00")


@dataclass(frozen=True)
class Care:
    """The drawn activity of the provider."""

    referrals: care.Referrals
    contacts: care.Contacts
    stays: care.Stays


def submitted(
    world: World, columns: dict[str, pa.Array | None], person: np.ndarray, month: np.ndarray, night: np.ndarray
) -> pa.Table:
    """A table with the columns that every table of a submission has."""
    common = {
        "uniq_submission_id": submission_number(month),
        "org_id_prov": spread(world.population.mh_trust, person),
        "national_person_id": numbered("P", person, 9),
        "record_number": numbered("7", person, 9),
        "uniq_month_id": month_text(month),
        "reporting_period_end_date": date_text(month_end(month), DAY),
        "effective_from": date_text(received_at(month, night, world), STAMP),
    }
    return assemble(columns | common, spread(world.population.mh_trust, person), night, person)


def of_referral(world: World, drawn: Care, row: np.ndarray, when: np.ndarray, columns: dict[str, pa.Array | None]) -> pa.Table:
    """A table of rows of referrals, reported in the month in which they happened."""
    return submitted(world, columns, drawn.referrals.person[row], month_of(when), world.night_of(when))


def local_ids(world: World, person: np.ndarray) -> dict[str, pa.Array | None]:
    """The local number of each patient."""
    return {"local_patient_id": spread(world.population.mh_id, person)}


def open_months(world: World, drawn: Care) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Person, month and first night of every month in which a referral is open or the patient dies."""
    referrals = drawn.referrals
    snapshots = monthly_snapshots(world, referrals.received, ends_of_referrals(world, drawn), MOST_MONTHS)
    return first_night_of_months(referrals.person[snapshots.thing], snapshots.month, snapshots.night)


def first_months(world: World, drawn: Care) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each patient's first month."""
    person, month, night = open_months(world, drawn)
    first = number_within(person) == 0
    return person[first], month[first], night[first]


def ends_of_referrals(world: World, drawn: Care) -> np.ndarray:
    """The end of a referral: closed, or the death of the patient; NaT while open."""
    death = world.population.death_date[drawn.referrals.person].astype("datetime64[s]")
    death = np.where(death > world.last_day.astype("datetime64[s]"), np.datetime64("NaT", "s"), death)
    return np.where(np.isnat(drawn.referrals.closed), death, drawn.referrals.closed)


def first_received(world: World, drawn: Care, person: np.ndarray) -> np.ndarray:
    """The day of each person's first referral."""
    first = np.full(len(world.population), np.datetime64("9999-01-01", "s"))
    np.minimum.at(first, drawn.referrals.person, drawn.referrals.received)
    received: np.ndarray = first[person]
    return received


def timestamp_text(when: np.ndarray) -> pa.Array:
    """Timestamps with the offset of British winter or summer time, months April to October taken as summer."""
    month = when.astype("datetime64[M]").astype(np.int64) % 12
    summer = ((month >= 3) & (month <= 9)).astype(int)
    texts = date_text(when, "yyyy-MM-ddTHH:mm:ss").to_numpy(zero_copy_only=False).astype("U19")
    return known(np.char.add(texts, np.array(SUMMER_TIME)[summer]))
