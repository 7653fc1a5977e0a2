"""Ingest: delivered files become bronze rows, every value as it came, each file once."""
