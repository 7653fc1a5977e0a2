import sys

import pytest

from pipelines.measuring.stage_timer import peak_gib, reset_peak


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be forgotten on Linux only")
def test_peak_is_of_the_time_since_it_was_forgotten() -> None:
    reset_peak()
    before = peak_gib()
    block = bytearray(256 * 2**20)
    held = peak_gib()
    del block
    assert held - before > 0.2
    assert peak_gib() > held - 0.05
    reset_peak()
    assert peak_gib() < held - 0.2
