"""Measuring runs: seconds and memory of stages, the no-logic limit, two revisions in turn."""
