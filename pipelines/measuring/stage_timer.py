"""What each stage of a run took: seconds, rows, and the most memory this process held."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

if sys.platform != "win32":
    import resource

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_KIB_PER_GIB = 2**20


def reset_peak() -> None:
    """Start a new measurement. If the system does not support that, the peak is that of the whole process."""
    with suppress(OSError):
        _RESET.write_text("5", encoding="ascii")


def peak_gib() -> float:
    """Peak memory since `reset_peak` in GiB, without engines that run in their own processes."""
    with suppress(OSError, StopIteration):
        lines = _STATUS.read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / _KIB_PER_GIB
    if sys.platform == "win32":
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (_KIB_PER_GIB * 1024 if sys.platform == "darwin" else _KIB_PER_GIB)


@dataclass(frozen=True)
class StepTime:
    """How long a stage took, how many rows came into it, and the most memory this process held during it."""

    step: str
    rows: int
    seconds: float
    peak_gib: float


class StageTimer:
    """Collects what each stage took."""

    def __init__(self) -> None:
        self.times: list[StepTime] = []

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, int]]:
        """Measure a stage, also one that fails; put the rows that came in under `rows`."""
        counted = {"rows": 0}
        reset_peak()
        begun = perf_counter()
        try:
            yield counted
        finally:
            self.times.append(StepTime(name, counted["rows"], perf_counter() - begun, peak_gib()))
