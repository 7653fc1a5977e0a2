"""Releases: their documents, publications and reports."""
