import re

import numpy as np
import pyarrow as pa
import pytest

from pipelines.synthetic.text import date_text, guids, numbered, pick, spread

WHEN = np.array(["2024-02-29T13:05:09", "NaT", "1899-12-31T00:00:00"], dtype="datetime64[s]")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("yyyy-MM-dd", ["2024-02-29", None, "1899-12-31"]),
        ("dd/MM/yyyy HH:mm", ["29/02/2024 13:05", None, "31/12/1899 00:00"]),
        ("yyyyMMddTHH:mm:ss", ["20240229T13:05:09", None, "18991231T00:00:00"]),
        ("dd-MMM-yyyy", ["29-Feb-2024", None, "31-Dec-1899"]),
        ("dd MON yyyy", ["29 FEB 2024", None, "31 DEC 1899"]),
    ],
)
def test_times_are_written_in_every_form_and_missing_ones_are_null(form: str, expected: list[str | None]) -> None:
    assert date_text(WHEN, form).to_pylist() == expected


def test_dates_are_written_as_well_as_times() -> None:
    assert date_text(np.array(["2026-01-05"], dtype="datetime64[D]"), "dd/MM/yyyy").to_pylist() == ["05/01/2026"]


def test_numbers_are_padded_after_their_prefix() -> None:
    assert numbered("AE", np.array([7, 12345]), 5).to_pylist() == ["AE00007", "AE12345"]


def test_guids_are_different_and_look_like_version_4() -> None:
    made = guids(np.random.default_rng(1), 1000).to_pylist()
    pattern = re.compile(r"[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}")
    assert len(set(made)) == 1000
    assert all(pattern.fullmatch(guid) for guid in made)


def test_spread_gives_null_for_no_index_and_for_an_empty_text() -> None:
    assert spread(["a", "", "c"], np.array([2, 1, -1, 0])).to_pylist() == ["c", None, None, "a"]


def test_pick_follows_its_weights() -> None:
    drawn = pick(np.random.default_rng(1), ["x", "y", ""], 10_000, [8, 1, 1])
    assert isinstance(drawn, pa.Array)
    assert 7_700 < drawn.to_pylist().count("x") < 8_300
    assert 800 < drawn.null_count < 1_200
