"""Codes: which are in use, what they mean, which nobody can map yet, and what another vocabulary would change."""
