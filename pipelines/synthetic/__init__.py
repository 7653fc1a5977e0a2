"""Synthetic extracts of six NHS sources for people who do not exist, with planted faults and a record of the truth."""
