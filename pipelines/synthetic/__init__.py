"""Synthetic extracts of six NHS sources for people who do not exist, with their traps and the truth about them."""
