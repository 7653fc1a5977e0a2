"""Names of folders, files and headers reach no screen, log or report with an NHS number or a command to the terminal."""

import pytest

from pipelines.contracts.delivered_names import WITHHELD_NAME, shown, some
from pipelines.progress import printable


@pytest.mark.parametrize(
    "name",
    [
        "9990000018",
        "9990000018 <script>",
        "SMITH John 9990000018 DOB 1950-01-02.csv",
        "Smith_John_999 000 0018.csv",
        "999-000-0018.csv",
        "999.000.0018.csv",
        "99900 00018",
        "NHS9990000018.csv",
        "1234567890 9990000018.csv",
        "patient_2026010516_9990000018.csv",
    ],
)
def test_a_name_with_an_nhs_number_is_withheld(name: str) -> None:
    assert shown(name) == WITHHELD_NAME
    assert some(["a.csv", name]) == f"{WITHHELD_NAME}, a.csv"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("P81001", "P81001"),
        ("9990000019.csv", "9990000019.csv"),  # another check digit
        ("Agreements_SharingOrganisation_20260105102233_6A1F.csv", "Agreements_SharingOrganisation_20260105102233_6A1F.csv"),
        ("gp_2026010506.csv", "gp_2026010506.csv"),  # the hour of a day, which passes the check by chance
        ("gp_99990000018.csv", "gp_99990000018.csv"),  # eleven digits
        ("\x1b[31mRED\x07", "?[31mRED?"),
        ("a\nb\u202ec\udc80", "a?b?c?"),
        ("x" * 101, "x" * 100 + "..."),
    ],
)
def test_other_names_are_shown_in_one_line(name: str, expected: str) -> None:
    assert shown(name) == expected


def test_printed_text_gives_no_commands_and_keeps_its_letters() -> None:
    assert printable("\x1b[2J\x9b1m \u202eabc\udc80") == "?[2J?1m ?abc?"
    assert printable("Zo\u00eb 5\u00a0\u00b5g\tx\ny \u2013 \U0001f600") == "Zo\u00eb 5\u00a0\u00b5g\tx\ny \u2013 \U0001f600"
