"""How far a delivery may differ from what its provider sent before, and from what a delivery should be."""

from enum import StrEnum

from pydantic import Field

from pipelines.contracts.models import Frozen


class WhenExceeded(StrEnum):
    """What a limit does where it is exceeded: set the delivery aside, only warn, or nothing."""

    STOP = "stop"
    WARN = "warn"
    IGNORE = "ignore"


class DeliveryLimits(Frozen):
    """Limits of what may change from one delivery of a provider to the next, for each entity.

    `lost_column`: a column that had values in earlier deliveries is missing. `empty_full`: a full extract without a record,
    where the last had some. `max_shrinkage` and `max_growth`: the greatest loss and gain of records of a full extract or of a
    period, as shares of the last one; a loss beyond it stops the delivery, a gain is a warning. `max_more_empty`: by how much
    the share of records without a value may grow, for each column; beyond it the delivery stops. Shares are looked at only
    where both sides have `fewest_records`. `max_days_before`: by how many days the extract date may be before the day of the
    folder; beyond it, or more than a day after the folder, the delivery stops. `max_malformed`: the greatest share of a file's
    records that may be no record of it; beyond it the delivery stops, also the first of a provider.
    """

    lost_column: WhenExceeded = WhenExceeded.STOP
    empty_full: WhenExceeded = WhenExceeded.STOP
    max_shrinkage: float = Field(default=0.5, ge=0, le=1)
    max_growth: float = Field(default=2.0, ge=0)
    max_more_empty: float = Field(default=0.5, ge=0, le=1)
    fewest_records: int = Field(default=20, ge=1)
    max_malformed: float = Field(default=0.5, ge=0, le=1)
    max_days_before: int = Field(default=180, ge=0)
