"""The pseudonymisation key of the demo, for generated extracts only."""

import hashlib
from pathlib import Path

from pipelines.governance.keys import Key, new_key_file

DEMO_KEY = Key(hashlib.sha256(b"nhs-omop demo key: public, for generated extracts only").digest())
"""Everybody knows it, so it protects nothing; production refuses it by its fingerprint."""


def demo_key_file(path: Path) -> None:
    """Write the demo key to a file unless the file is there."""
    if not path.exists():
        new_key_file(path, DEMO_KEY)
