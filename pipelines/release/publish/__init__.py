"""Releases where analysts are: files and databases made of pinned table versions."""
