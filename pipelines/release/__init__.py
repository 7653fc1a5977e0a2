"""What a release is, and what is told about a run."""
