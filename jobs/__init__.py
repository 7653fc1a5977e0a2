"""Thin entry points: one module per command, for the command line, `python -m` and `spark-submit` alike."""
