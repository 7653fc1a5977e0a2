"""Upkeep: what nothing needs any more goes, so that a lakehouse does not grow with every night."""
