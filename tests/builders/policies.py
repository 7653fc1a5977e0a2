"""What gates are judged by in tests: the packaged limits, and entries after them."""

from datetime import date

from pipelines.contracts.gate_policy import GatePolicy
from pipelines.quality.policy import Policy
from pipelines.settings import load_settings

DAY = date(2026, 1, 5)

AGAINST_WHAT_WAS_BEFORE = ("rows_lost", "people_lost", "months_lost", "mapped_share_fell", "mean_moved", "untaken_share")
"""Checks that compare with the release that readers see, or its ledger: another one for each run, and none for a first."""


def limit(check: str, allowed: float) -> str:
    """An override of the settings: a limit after all others."""
    return f"gates.limits=[{{check: '{check}', allowed: {allowed}}}]"


def packaged(*overrides: str) -> GatePolicy:
    """The packaged policy, changed by some overrides of the settings."""
    return load_settings("test", overrides=overrides).gates


def policy(*overrides: str, day: date = DAY) -> Policy:
    """The packaged policy, changed by some overrides of the settings, as it is judged by on a day."""
    return Policy(packaged(*overrides), day)
