"""How much memory the process needed at most."""

import sys
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import resource

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_KIB_PER_GIB = 2**20


def reset_peak() -> None:
    """Begin to measure anew; where the system cannot do that, the peak stays that of the whole process."""
    with suppress(OSError):
        _RESET.write_text("5", encoding="ascii")


def peak_gib() -> float:
    """The most memory held since `reset_peak`, in GiB; engines in processes of their own are not counted."""
    with suppress(OSError, StopIteration):
        lines = _STATUS.read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / _KIB_PER_GIB
    if sys.platform == "win32":
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (_KIB_PER_GIB * 1024 if sys.platform == "darwin" else _KIB_PER_GIB)
