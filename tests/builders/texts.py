"""Texts of files that do not compress well."""

import random

_LETTERS = b"0123456789,\n"


def random_lines(size: int) -> bytes:
    """Digits, commas and ends of lines in no order, the same each time."""
    return random.Random(1).randbytes(size).translate(bytes(_LETTERS[code % len(_LETTERS)] for code in range(256)))
