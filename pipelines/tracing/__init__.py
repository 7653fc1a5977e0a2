"""Tracing: from a row of a release back to the line that it was delivered in, and from a line to what became of it."""
