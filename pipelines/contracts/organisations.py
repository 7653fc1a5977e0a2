"""How codes of organisations are spelled, in deliveries and on opt-out lists."""

from typing import Final

TRUST_AS_SITE: Final = "^([RT][0-9A-Z]{2})00$"
"""A trust in five characters (HES: `PROCODE`), in capitals; the trust is the group: RXN00 is RXN, of which RXN01 is a site."""
