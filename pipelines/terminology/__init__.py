"""Codes: their use, their descriptions, the work list of unmapped ones, and what another vocabulary would change."""
