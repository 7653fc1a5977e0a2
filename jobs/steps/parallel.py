"""Several tables at a time: most are small, and an engine spends more time planning them than computing."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

WORKERS = min(4, os.cpu_count() or 1)
"""Tables under way at once."""


def each(items: Iterable[Item], work: Callable[[Item], None]) -> None:
    """Do the work for every item, some at a time; once all have ended the first error is raised, if there was one."""
    with ThreadPoolExecutor(WORKERS) as pool:
        done = [pool.submit(work, item) for item in items]
    for one in done:
        one.result()
