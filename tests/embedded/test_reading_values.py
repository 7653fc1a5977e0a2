"""Every form in which extracts write dates, times, numbers and truth values; what cannot be read is never guessed."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.text import trimmed
from pipelines.columns.values import (
    DEFAULT_DATES,
    birth_date_in,
    boolean_in,
    code_in,
    date_in,
    decimal_in,
    integer_in,
    key_part,
    known,
    moment_to_sort_by,
    number_to_sort_by,
    padded,
    period_in,
    read,
    serial_date_in,
    time_in,
    timestamp_in,
    with_moments_to_sort_by,
)
from pipelines.contracts.shapes import Shape
from pipelines.contracts.source import Column as Delivered
from pipelines.contracts.source import ColumnType
from tests.embedded.test_columns import evaluated, in_order, numbered

few = settings(
    max_examples=8, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)

DAY, MARCH = date(2024, 1, 31), date(2024, 3, 4)
NOON, MIDNIGHT = datetime(2024, 1, 31, 10, 11, 12), datetime(2024, 2, 1)

READ: list[tuple[Callable[[Column], Column], object, tuple[str, ...]]] = [
    (
        date_in,
        DAY,
        ("2024-01-31", "20240131", "31/01/2024", "31-01-2024", "31.01.2024", "31 01 2024", "2024/1/31", "2024.01.31"),
    ),
    (date_in, DAY, ("31-JAN-2024", "31 jan 2024", "31Jan2024", "31-Jan-24", "31/JAN/24", "31 January 2024", "31-january-24")),
    (date_in, DAY, ("2024-01-31T10:11:12+01:00", "2024-01-31 10:11", "31/01/2024 10:11:12", "31/1/2024, 9:05", "'31/1/2024")),
    (
        date_in,
        DAY,
        ("20240131101112", "2024-01-31T10:11:12.1234567Z", "2024-01-31 10:11:12,5", "31-JAN-24 10:11", "31/01/2024 24:00"),
    ),
    (
        date_in,
        MARCH,
        ("4/3/2024", "04/3/2024", "4/03/2024", "4-3-2024", "4.3.2024", "4 3 2024", "2024-3-4", "4-mar-2024", "4 MARCH 24"),
    ),
    (
        date_in,
        date(2024, 6, 12),
        (
            "2024-06-11T23:00:00Z",
            "2024-06-11T23:00:00.000Z",
            "2024-06-11 23:59+00:00",
            "11/06/2024 23:30z",
            "2024-06-11T23:00-00:00",
        ),
    ),
    (
        date_in,
        date(2024, 6, 12),
        ("2024-06-12T00:00:00Z", "2024-06-12T22:59:59Z", "2024-06-12T23:30:00+01:00", "2024-06-12 23:30"),
    ),
    (date_in, DAY, ("2024-01-31T23:30:00Z", "2024-01-31T23:30:00+00:00", "2024-01-31T23:30Z", "2024-01-31T00:00:00Z")),
    (date_in, date(2024, 9, 4), ("4-SEP-24", "4 Sept 2024", "4 september 2024")),
    (date_in, date(1951, 6, 7), ("07-JUN-51", "7/6/1951")),
    (date_in, date(2049, 6, 7), ("07-JUN-49",)),
    (date_in, date(1900, 1, 1), ("1900-01-01", "1/1/1900", "01-JAN-1900", "19000101")),
    (
        date_in,
        None,
        ("30/02/2024", "2024-13-01", "31-XXX-2024", "junk", "01/31/2024", "1/31/2024", "4/3/24", "04-03-24", "45322"),
    ),
    (
        date_in,
        None,
        ("2024", "2024-03", "2024-01-31 junk", "2024-01-31T", "2024-01-31 25:00", "1999010112", "31-APR-2024", "0"),
    ),
    (
        date_in,
        None,
        ("31/01/2024 (approx)", "4 Marvel 2024", "circa 2024", "2024-01-31\n2024-02-01", "31//01/2024", "-", "00/00/0000"),
    ),
    (birth_date_in, date(1931, 6, 7), ("7/6/1931", "07-JUN-31", "07-JUN-1931", "1931-06-07 00:00:00")),
    (birth_date_in, None, ("07-JUN-15", "07-JUN-29", "6/30/1931")),
    (
        period_in,
        "2024-01-31",
        ("2024-01-31", "31-JAN-2024", "31-Jan-24", "31JAN2024", "31 January 2024", "20240131", "31/1/2024"),
    ),
    (period_in, "2024-06-30", ("2024-06-30 00:00:00", "2024-06-29T23:00:00Z", "30/06/2024 23:59", "'30/06/2024")),
    (period_in, "1491", ("1491", "01491.0", "'1491", "+1491", "1.491E3", "1,491")),
    (
        period_in,
        None,
        ("31/01/24", '="1491"', "45322", "2024-01", "0", "-1491", "31/06/2024", "spring", "1900-01-01", "9999-12-31"),
    ),
    (serial_date_in, MARCH, ("45355", "45355.0", "4/3/2024", "2024-03-04")),
    (serial_date_in, None, ("453", "453550", "45355.5", "-45355")),
    (timestamp_in, NOON, ("2024-01-31T10:11:12+01:00", "2024-01-31T10:11:12.5Z", "20240131 101112", "20240131101112")),
    (
        timestamp_in,
        NOON,
        ("31/01/2024 10:11:12", "31-Jan-2024 10:11:12", "31-JAN-24 10:11:12", "31/1/2024, 10:11:12", "2024-01-31t10:11:12"),
    ),
    (
        timestamp_in,
        datetime(2024, 1, 31),
        ("2024-01-31", "31/1/2024", "31/1/2024 0:00", "2024-01-31 00:00:00.000", "20240131 0000"),
    ),
    (timestamp_in, datetime(2024, 1, 31, 9, 5), ("2024-01-31 9:05", "31/1/2024 09:05", "202401310905")),
    (
        timestamp_in,
        MIDNIGHT,
        ("2024-01-31 24:00", "31/1/2024 24:00:00", "20240131240000", "2024-01-31T24:00:00Z", "2024-01-31 2400"),
    ),
    (
        timestamp_in,
        datetime(2024, 6, 13, 0, 30),
        ("2024-06-12T23:30:00Z", "2024-06-12T23:30:00+00:00", "2024-06-12 23:30z", "20240612233000Z", "12/6/2024 23:30 +0000"),
    ),
    (
        timestamp_in,
        datetime(2024, 6, 12, 23, 30),
        (
            "2024-06-12T23:30:00+01:00",
            "2024-06-12T22:30:00.5Z",
            "2024-06-12T22:30:00-00:00",
            "2024-06-12 23:30:00",
            "20240612 2330",
        ),
    ),
    (
        timestamp_in,
        datetime(2024, 6, 13, 0, 30),
        (
            "2024-06-12 23:30:00 UTC",
            "2024-06-12 23:30:00.0 UTC",
            "12-Jun-2024 23:30utc",
            "12-JUN-24 23.30.00 UTC",
            "12-Jun-24 23:30Z",
        ),
    ),
    (
        timestamp_in,
        NOON,
        (
            "31-JAN-24 10.11.12.000000",
            "31-Jan-2024 10.11.12",
            "31JAN2024:10:11:12",
            "31JAN2024:10:11:12.000",
            "31/01/2024 10.11.12",
            "2024-01-31  10:11:12",
            "31/01/2024  10:11:12",
            "2024-01-31 10:11:12 UTC",
        ),
    ),
    (
        timestamp_in,
        None,
        (
            "31/01/2024 10.11",
            "31/1/2024 9:05 PM",
            "06/12/2024 9:30 AM",
            "13-06-2024 9:30 pm",
            "2024-06-12 13:30 AM",
            "13/06/2024 13:30 PM",
            "2024-06-12 24:30 PM",
            "2024-06-12 13 PM",
            "2024-06-12 9:30 PM 10:00",
            "2024-06-12 9:60 PM",
            "Jun 12 24",
            "Juno 12 2024",
            "31JAN2024:24:00:00",
            "31/01/24 10:11",
            "2024-01-31   10:11",
            "2024-01-31 10:11 CET",
        ),
    ),
    (
        timestamp_in,
        NOON,
        (
            "31-JAN-24 10.11.12.000000 AM",
            "Jan 31 2024 10:11:12:500AM",
            "2024-01-31 10:11:12am",
            "31-Jan-2024 10:11:12 A.M.",
            "2024-01-31 10:11:12 GMT",
            "2024-01-31 10:11:12 BST",
        ),
    ),
    (
        timestamp_in,
        datetime(2024, 6, 2, 21, 30),
        (
            "Jun 2 2024 9:30PM",
            "Jun  2 2024  9:30PM",
            "JUNE 2, 2024 09:30 pm",
            "02-JUN-2024 09:30 PM",
            "2-Jun-24 09.30.00.000000000 PM",
            "02-JUN-24 09.30.00.000000 PM +01:00",
            "2024-06-02 9:30 PM",
            "2024-06-02 21:30 PM",
            "20240602 9:30pm",
            "'2024-06-02 09:30:00.5 P.M.",
            "2024-06-02 21:30 BST",
            "2024-06-02 20:30 GMT",
            "2-Jun-2024 8:30 PM UTC",
            "Jun 2 2024 21:30",
        ),
    ),
    (timestamp_in, datetime(2024, 6, 2, 0, 5), ("Jun  2 2024 12:05AM", "2024-06-02 0:05 am", "2024-06-02 00:05")),
    (timestamp_in, datetime(2024, 6, 2, 12, 5), ("Jun  2 2024 12:05PM", "02-JUN-24 12.05.00 PM", "2024-06-02 12:05")),
    (timestamp_in, datetime(2024, 6, 2), ("Jun 2 2024", "June 2, 2024", "Jun  2 2024 12:00AM", "Jun 1 2024 24:00")),
    (
        date_in,
        date(2024, 6, 2),
        ("Jun 2 2024", "Jun  2 2024 11:59PM", "2-JUN-24 12.00.00 AM", "2024-06-02 9:30 PM", "2024-06-02 9:30 PM +01:00"),
    ),
    (date_in, date(2024, 6, 3), ("2024-06-02 23:30 GMT",)),
    (
        date_in,
        None,
        ("06/12/2024 9:30 AM", "13/06/2024 9:30 PM", "2024-06-12 13:30 AM", "06/12/2024 9 PM", "Jun 31 2024", "Jun 12 24"),
    ),
    (date_in, DAY, ("31JAN2024:10:11:12", "31-JAN-24 10.11.12.5", "2024-01-31 10:11 UTC", "31/01/2024  10:11")),
    (date_in, date(2024, 6, 12), ("2024-06-11 23:00:00 UTC", "11/06/2024 23:30 utc")),
    (timestamp_in, datetime(2024, 3, 31, 2), ("2024-03-31T01:00:00Z", "31-Mar-2024 01:00Z", "2024-03-31T01:00+00")),
    (timestamp_in, datetime(2024, 10, 27, 1), ("2024-10-27T01:00:00Z", "2024-10-27T00:00:00Z", "2024-10-27T01:00:00+01:00")),
    (timestamp_in, datetime(1970, 1, 15, 11), ("1970-01-15T10:00:00Z",)),
    (
        date_in,
        date(2024, 6, 12),
        (
            *("11-JUN-2024 23:00:00Z", "11 Jun 2024 23:30 UTC", "Jun 11 2024 23:00 GMT", "11-JUN-24 23.00.00.000000 +00:00"),
            *(
                "11 Jun 2024 11:30 PM UTC",
                "Jun 11 2024 11:59PM Z",
                "11-Jun-24 11 pm Z",
            ),
        ),
    ),
    (
        date_in,
        date(2024, 6, 12),
        (
            *("20240611230000Z", "202406112300Z", "20240611T2300+0000", "20240611 233015.5 UTC", "2024/06/11 23:00 GMT"),
            *("2024.06.11 23:00Z", "11.06.2024 23:59:59Z", "11-06-2024 23:00+00", "11/6/2024 23:30Z", "2024-06-11 2300Z"),
            *("2024-06-11 11:30 PM UTC", "2024-06-11 23:30 PM GMT", "11JUN2024:23:30:15Z", "2024-06-11-23.30.15 UTC"),
            "20240612.0",
        ),
    ),
    (
        date_in,
        date(2024, 6, 11),
        (
            *("11-JUN-2024 22:59:59Z", "11 Jun 2024 23:30", "11-JUN-2024 23:00:00 BST", "11 Jun 24 11 AM UTC"),
            *("11-JUN-2024 10:23:30Z", "11JUN2024:10:23:30Z", "11 Jun 24 22:23:59 GMT", "2024-06-11 10:23:30Z"),
            *("20240611230000+0100", "20240611102330Z", "20240611 2230Z", "11/06/2024 23:00 BST", "20240611.0", "20240611.00"),
            *("11th June 2024", "11TH JUN 24", "June 11th, 2024", "2024-06-11-23.00.00.000000", "11 Jun 2024 23:00:00:000"),
            *("11-JUN-24 11.00.00.000000000 PM EUROPE/LONDON", "2024-06-11 23:00 Europe/London"),
        ),
    ),
    (date_in, date(2024, 6, 23), ("2024 06 23:10:15:30Z", "23 Jun 2024 10:15Z", "Jun 23 2024 10:15Z", "2024/06/23 10:15Z")),
    (date_in, date(9999, 12, 31), ("9999-12-31T23:59:59Z", "99991231235959Z", "99991231")),
    (date_in, date(1, 1, 1), ("0001-01-01T23:59:59Z", "00010101", "01/01/0001 23:00 UTC")),
    (date_in, date(2024, 1, 23), ("20240123230000Z", "23/01/2024 23:30 UTC", "2024/01/23 11 PM GMT")),
    (
        timestamp_in,
        datetime(2024, 6, 11, 23),
        (
            *("20240611230000+0100", "20240611220000Z", "20240611230000.0", "2024-06-11-23.00.00.000000"),
            *("11 Jun 2024 23:00:00:000", "11/06/2024 23:00:00:123", "11th June 2024 23:00", "20240611.0 23:00"),
            *("11-JUN-24 11.00.00.000000000 PM EUROPE/LONDON", "2024-06-11 23:00:00 Europe/London"),
        ),
    ),
    (timestamp_in, datetime(2024, 6, 11), ("20240611.0", "20240611.00", "June 11th, 2024")),
    (date_in, None, ("20240611.5", "2024061.0", "11rdd June 2024", "2024-06-11-23.00", "11 Jun 2024 23:00:00:0", "1718060400")),
    (timestamp_in, None, ("2024-06-11-05:00", "11/06/2024 23:00:00:00", "11 Jun 2024 23:00 Europe/Paris", "20240611.5")),
    (date_in, date(2024, 1, 11), ("11-JAN-2024 23:00:00Z", "11 Jan 2024 11:30 PM UTC")),
    (birth_date_in, date(1957, 6, 12), ("11-JUN-1957 23:00:00Z", "11-JUN-57 23:00 GMT", "1957-06-11T23:00:00Z")),
    (date_in, date(1950, 6, 12), ("1950-06-11T23:00:00Z", "1950-06-12T00:00:00Z", "1950-06-12")),
    *[
        (reader, read_as, (f"{day}T00:00:00Z", f"{day} 00:00:00+00:00"))
        for day in DEFAULT_DATES
        for reader, read_as in ((date_in, date.fromisoformat(day)), (timestamp_in, datetime.fromisoformat(day)))
    ],
    (timestamp_in, datetime(2024, 1, 1), ("31-DEC-2023 24:00:00.000", "2023-12-31 24:00")),
    (timestamp_in, datetime(2024, 1, 31, 10, 24), ("2024-01-31 10:24:00", "31/1/2024 10:24")),
    (
        timestamp_in,
        None,
        ("2024-01-31 25:00", "2024-02-30 10:00:00", "10:11:12", "2024-01-31 24:01", "2024-01-31 9:5", "2024-01-31 10"),
    ),
    (
        time_in,
        "10:20:00",
        ("10:20", "1020", "102000", "10:20:00", "1899-12-30 10:20:00", "30/12/1899 10:20", "10:20:00.000", "10:20Z"),
    ),
    (time_in, "09:05:00", ("9.05.00", "09.05.00.5", "9:05 UTC", "T09:05", "T090500Z", "01JAN1960:09:05:00", "09:05:00:000")),
    (time_in, None, ("-9.05.00", "T", "2024-06-11-05:00", ":09:05", "9:05:000")),
    (time_in, None, ("09h30", "0.395833", "0.25", "0.50", "9.5", "9.60", "24.00", "24.00.00", "13:30 AM", "13 PM", "9 PMs")),
    (time_in, "21:00:00", ("9 PM", "9pm", "09 p.m.", "21:00 PM", "21.00 pm", "9:00:00 PM", "2 Jun 2024 9 PM")),
    (time_in, "13:30:15", ("13:30:15 PM", "1:30:15 pm", "2024-06-02 13:30:15PM")),
    (time_in, "00:00:00", ("12 AM", "12am", "0 AM")),
    (time_in, "09:05:00", ("9.05", "09.05", "9:05am", "9:05 AM", "09.05.00 a.m.", "9:05 GMT", "12/30/1899 9:05:00 AM")),
    (time_in, "21:05:00", ("9:05pm", "9:05 PM", "09.05.00.000 PM", "21.05", "21:05 BST", "Jun  2 2024  9:05PM")),
    (time_in, "00:05:00", ("12:05 AM", "00.05", "0:05am")),
    (time_in, "12:05:00", ("12:05 PM", "12.05", "0:05 pm")),
    (time_in, "09:05:00", ("9:05", "09:05", "905", "90500", "9:05:00", "9:05+01:00")),
    (time_in, "00:00:00", ("0:00", "00:00:00", "0000", "000")),
    (time_in, "24:00:00", ("24:00", "24:00:00", "2400", "240000")),
    (timestamp_in, None, ("10:11:12", "10:11", "T10:11:12", "24:00", "101112", "1011", "10:11:12Z", "10:11:12.5", " 10:11")),
    (time_in, None, ("25:00", "10:60", "ten", "9:5", "9", "24:01", "10.5", "10:20 and more", "-1:00")),
    (integer_in, 12, ("12", "+12", "12.0", "12.", "012", "'12", "1.2E+1", "1.2e1", "1.20E01")),
    (integer_in, -12, ("-12", "\u221212", "-12.00", "-1.2E1")),
    (integer_in, 100000, ("1E+05", "1E5", "100,000", "100,000.0", "1.00000E+05", "100000")),
    (
        integer_in,
        None,
        (
            "12.5",
            "12a",
            "12345678901234567890",
            "1,23",
            "1,2345",
            "1.25E+1",
            "E5",
            "1E-1",
            "12E0",
            "0x12",
            "1 2",
            "--1",
            "\u0663",
        ),
    ),
    (integer_in, None, ("\u0663", "12-", "1,234,56", "")),
    (decimal_in, 1.5, ("1.5", "+1.5", "15e-1", "1.50", "01.5", "'1.5", "0.15E+01")),
    (decimal_in, 0.5, (".5", "0.5", "+.5", "5E-1", "00.50")),
    (decimal_in, -1234.5, ("-1234.5", "-1,234.5", "\u22121,234.50", "-1.2345E3")),
    (decimal_in, None, ("1,5", "NaN", "inf", "1.5d", "<1.5", "1.5.2", ".", "e5", "1,23,456", "5 mg", "1e400", "--2")),
    (boolean_in, True, ("TRUE", "True", "t", "y", "Yes", "1", "1.0", "-1", "01", "1.00", "1.", "-1.0", "Y ", "'1")),
    (boolean_in, False, ("false", "F", "N", "no", "0", "0.0", "00", "0.00", "0.", "N\u00a0")),
    (boolean_in, None, ("maybe", "2", "yess", "truefalse", "?", "10", "0.1", "1.01", "x", "U", "9", "Y/N", "on")),
    *[
        (code_in, text, (text,))
        for text in ("J45.9", "9Nu0.", "373873005 |Drug|", "White: Irish", "10^9/L", "{beats}/min", "mm[Hg]")
    ],
    *[
        (code_in, text, (text,))
        for text in (
            "\u00b5mol/L",
            "\u03bcg",
            "\u00b0C",
            "kg/m\u00b2",
            "10\u2079/L",
            "\u00d710\u2079/L",
            "\u00baC",
            "\u02daC",
            "a \u2013 b",
            "\u226590",
            "\u00b15",
        )
    ],
    (code_in, None, ("a@b.org", "two\nlines", "Zo\u00eb")),
]


IDS: list[tuple[Shape, dict[str, str | None]]] = [
    (
        Shape.SNOMED,
        {
            "75004002": "75004002",
            "75004002 |Died in department|": "75004002",
            "75004002|Died in department": "75004002",
            "75004002.0": "75004002",
            "'75004002": "75004002",
            "322236009.00": "322236009",
            "075004002": "75004002",
            "00075004002.0": "75004002",
            "75004002\u00a0|Died in department|": "75004002",
            "75004002,419099009": None,
            "75004002 419099009": None,
            "75004002, 419099009": None,
            "71620000+29857009": "71620000+29857009",
            "71388002 |Procedure| : 363589002 = 308335008": "71388002 |Procedure| : 363589002 = 308335008",
            "2A": "2A",
            "75004002.5": None,
            "7.5004002E+07": None,
            "75004002 died": None,
        },
    ),
    (
        Shape.CLINICAL_CODE,
        {
            "271649006.0": "271649006",
            "75367002 |Blood pressure|": "75367002",
            "E10.3\u2020": "E10.3\u2020",
            "H36.0 A": "H36.0 A",
            "I10 X": "I10 X",
            "G20..00": "G20..00",
            "44054006": "44054006",
        },
    ),
]
"""Codes as they are delivered, with what is kept of each."""


@pytest.mark.parametrize(("shape", "kept"), IDS)
def test_an_id_of_snomed_ct_is_kept_without_its_term_and_what_a_spreadsheet_adds(
    sail: SparkSession, shape: Shape, kept: dict[str, str | None]
) -> None:
    column = Delivered(header="CODE", type=ColumnType.CODE, shape=shape, item="a code")
    assert dict(zip(kept, evaluated(sail, list(kept), read(column, trimmed(F.col("t")))), strict=True)) == kept


KEY_PARTS: list[tuple[dict[str, Any], str | None, tuple[str, ...]]] = [
    ({"type": "date"}, "2025-04-01", ("01/04/2025", "2025-04-01", "1-Apr-2025", "20250401", "2025-04-01T00:00:00")),
    ({"type": "date"}, "soon", ("soon",)),
    ({"type": "timestamp"}, "2024-06-13 00:30:00", ("2024-06-12T23:30:00Z", "2024-06-13 00:30", "13/06/2024 00:30:00")),
    ({"type": "integer"}, "1", ("1", "01", "1.0", "'1", "+1", "001.")),
    ({"type": "integer"}, "10", ("10", "010", "10.0")),
    ({"type": "code", "shape": "number"}, "7", ("7", "07", "7.0")),
    ({"type": "code", "shape": "list", "width": 2}, "02", ("2", "02", "2.0", "002")),
    ({"type": "code", "shape": "list"}, "ASSESSMENT", ("Assessment", "ASSESSMENT", "assessment")),
    (
        {"type": "code", "shape": "list"},
        "LONGTERMSUPPORT:NURSING",
        ("Long Term Support: Nursing", "long-term  support:nursing"),
    ),
    (
        {"type": "code", "shape": "list", "same": {"Carer": "Unpaid carer", "Carer - known": "Unpaid carer"}},
        "UNPAIDCARER",
        ("Unpaid Carer", "CARER", "carer-known", "unpaid  carer"),
    ),
    ({"type": "code", "shape": "list", "same": {"Carer": "Unpaid carer"}}, "SERVICEUSER", ("Service User",)),
    (
        {"type": "code", "shape": "short_code", "width": 3, "same": {"053": "599", "504": "599"}},
        "599",
        ("53", "053.0", "504", "599"),
    ),
    ({"type": "code", "shape": "short_code", "width": 3, "same": {"503": "099"}}, "099", ("503", "99", "099.0")),
    ({"type": "code", "shape": "short_code", "width": 3, "same": {"503": "599"}}, "601", ("601", "601.0")),
    ({"type": "date", "key_where": {"column": "t", "values": ["01/04/2025"]}}, "2025-04-01", ("01/04/2025",)),
    ({"type": "code", "shape": "sample"}, "SERUM", ("serum", "Serum")),
    ({"type": "code", "shape": "snomed"}, "75004002", ("75004002", "75004002 |Died in department|", "75004002.0")),
    ({"type": "code", "shape": "clinical_code"}, "Eu00.", ("Eu00.",)),
    ({"type": "code", "shape": "clinical_code"}, "F32..", ("F32..",)),
    ({"type": "code", "shape": "clinical_code"}, "F32..00", ("F32..00",)),
    ({"type": "code", "shape": "clinical_code"}, "xE2Q5", ("xE2Q5",)),
    (
        {"type": "code", "shape": "clinical_code"},
        "F321",
        ("F321", "F32.1", "f32.1", "F321-", "F32.1X", "F321D", "F32.1 A", "F321\u2020", "F32.1\u2020*", "F32.1XX"),
    ),
    ({"type": "code", "shape": "clinical_code"}, "I10", ("I10", "I10X", "i10.x", "I10.", "I10-", "I10X-")),
    ({"type": "code", "shape": "clinical_code"}, "M8000", ("M8000", "M80.00", "M8000-D")),
    ({"type": "code", "shape": "clinical_code"}, "T08X0", ("T08X0", "T08.X0", "t08x0")),
    ({"type": "code", "shape": "clinical_code"}, "T08", ("T08", "T08X", "T08XX", "t08.xx")),
    ({"type": "code", "shape": "clinical_code"}, "M80003", ("M80003",)),
    ({"type": "code", "shape": "clinical_code"}, "75516001", ("75516001", "75516001 |Psychotherapy|", "75516001.0")),
    ({"type": "code", "shape": "clinical_code"}, "75516001:408730004=385658003", ("75516001:408730004=385658003",)),
    ({"type": "code", "shape": "organisation_code"}, "RXN01", ("RXN01", "rxn01")),
    ({"type": "decimal"}, "70.5", ("70.5", "70.50", "070.500", "'70.5", "+70.5")),
    ({"type": "decimal"}, "100", ("100", "100.0", "0100.", "100.00")),
    ({"type": "decimal"}, "0.05", ("0.05", "0.050", "00.05")),
    ({"type": "decimal"}, "0", ("0", "0.00", "000")),
    ({"type": "decimal"}, "refused", ("refused",)),
    ({"type": "decimal", "units": ["kg", "kgs"]}, "81", ("81", "81.0", "81 kg", "81.0kg", "81 KGS")),
    ({"type": "decimal", "units": ["kg", "kgs"]}, "180 lb", ("180 lb",)),
    ({"type": "text", "identifier": "record_id"}, "0a1", ("0a1",)),
    ({"type": "text", "identifier": "local_id"}, "0012", ("0012",)),
    ({"type": "text", "identifier": "staff_id", "unknown": ["C9999998"]}, None, ("C9999998", "c9999998")),
    ({"type": "text", "identifier": "staff_id", "unknown": ["C9999998"]}, "C1000001", ("C1000001",)),
]
"""Columns of keys, what is compared of them, and how it is written."""


@pytest.mark.parametrize(("column", "part", "texts"), KEY_PARTS)
def test_a_key_is_the_same_however_its_parts_are_written(
    sail: SparkSession, column: dict[str, Any], part: str | None, texts: tuple[str, ...]
) -> None:
    declared = Delivered.model_validate({"header": "X", "item": "x"} | column)
    assert evaluated(sail, texts, key_part(declared, F.col("t"))) == [part] * len(texts)


NUMBERS_WITH_UNITS: dict[str, float | None] = {
    "1.80": 1.8,
    "1.80 m": 1.8,
    "1.80m": 1.8,
    "1. metres": 1.0,
    "180 cm": None,
    "5 ft": None,
    "m": None,
    "1.80 m m": None,
    "1.80 M": 1.8,
    "NaN": None,
    "inf": None,
    "1e400": None,
    "-0": 0.0,
}


def test_a_number_may_have_the_one_unit_of_its_column_behind_it_and_no_other(sail: SparkSession) -> None:
    column = Delivered.model_validate({"header": "H", "item": "height", "type": "decimal", "units": ["m", "metres"]})
    found = evaluated(sail, list(NUMBERS_WITH_UNITS), read(column, trimmed(F.col("t"))))
    assert dict(zip(NUMBERS_WITH_UNITS, found, strict=True)) == NUMBERS_WITH_UNITS
    assert str(found[-1]) == "0.0"  # a zero with a sign is another text


def test_a_column_may_be_part_of_a_key_in_some_rows_only(sail: SparkSession) -> None:
    where = {"column": "kind", "values": ["Request", "Re-view"]}
    declared = Delivered.model_validate({"header": "X", "item": "x", "type": "date", "key_where": where})
    rows = [("REQUEST", "01/04/2025"), ("review", "2025-04-01"), ("Service", "01/04/2025"), (None, "01/04/2025")]
    found = sail.createDataFrame(rows, "kind string, t string").select("kind", key_part(declared, F.col("t")).alias("part"))
    assert {row["kind"]: row["part"] for row in found.collect()} == {
        "REQUEST": "2025-04-01",
        "review": "2025-04-01",
        "Service": None,
        None: None,
    }


@pytest.mark.parametrize("reader", list(dict.fromkeys(reader for reader, _, _ in READ)))
def test_values_are_read_in_every_form_and_nothing_else_is(sail: SparkSession, reader: Callable[[Column], Column]) -> None:
    cases = [(text, value) for of, value, texts in READ if of is reader for text in texts]
    found = evaluated(sail, [text for text, _ in cases], reader(trimmed(F.col("t"))))
    naive = [value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in found]
    assert list(zip([text for text, _ in cases], naive, strict=True)) == cases


def test_dates_that_stand_for_a_missing_one_are_empty_and_not_unreadable(sail: SparkSession) -> None:
    texts = [*DEFAULT_DATES, "1/1/1900", "01-JAN-1900", "31/12/9999", "1900-01-02"]
    assert None not in evaluated(sail, texts, date_in(F.col("t")))
    assert evaluated(sail, texts, known(ColumnType.DATE, date_in(F.col("t")))) == [*[None] * (len(texts) - 1), date(1900, 1, 2)]
    moments = ["1899-12-30 10:20:00", "9999-12-31", "1900-01-01T00:00:00", "1800-01-01T00:00:00Z"]
    moments += ["01/01/1970 00:00:00", "1970-01-01", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000+00:00"]
    assert None not in evaluated(sail, moments, timestamp_in(F.col("t")))
    assert evaluated(sail, moments, known(ColumnType.TIMESTAMP, timestamp_in(F.col("t")))) == [None] * len(moments)
    real = ["1970-01-01 10:30:00", "1970-01-02 00:00:00", "1969-12-31 23:59:59"]
    assert None not in evaluated(sail, real, known(ColumnType.TIMESTAMP, timestamp_in(F.col("t"))))
    assert evaluated(sail, ["1970-01-01"], known(ColumnType.DATE, date_in(F.col("t")))) == [date(1970, 1, 1)]


def test_codes_are_compared_in_the_width_that_the_contract_declares(sail: SparkSession) -> None:
    texts = ["4", "04", "004", "4.0", "4.", "14", "2A", "x", "0", "114", None]
    assert evaluated(sail, texts, padded(F.col("t"), 2)) == ["04", "04", "04", "04", "04", "14", "2A", "x", "00", "114", None]
    assert evaluated(sail, texts, padded(F.col("t"), 1)) == ["4", "4", "4", "4", "4", "14", "2A", "x", "0", "114", None]
    assert evaluated(sail, ["7", "007", "7.00"], padded(F.col("t"), 3)) == ["007"] * 3


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LONG = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
CASES = (str.upper, str.lower, str.title)


@st.composite
def written_dates(draw: st.DrawFn) -> tuple[date, str]:
    """A date and one of the ways to write it."""
    day = draw(st.dates(date(1800, 1, 2), date(2100, 12, 31)))
    gap = draw(st.sampled_from("-/. "))
    d, m = (draw(st.sampled_from((str(part), f"{part:02}"))) for part in (day.day, day.month))
    name = draw(st.sampled_from(CASES))(draw(st.sampled_from((MONTHS, LONG)))[day.month - 1])
    ways = [f"{day.year}{gap}{m}{gap}{d}", f"{d}{gap}{m}{gap}{day.year}", f"{day:%Y%m%d}", f"{d}{gap}{name}{gap}{day.year}"]
    ways += [f"{d}{name}{day.year}"] + ([f"{d}{gap}{name}{gap}{day:%y}"] if 1950 <= day.year < 2050 else [])
    time = draw(st.sampled_from(("", " 10:11", "T10:11:12", " 10:11:12.345", "T10:11:12Z", "T23:59:59+01:00", " 0:00")))
    return day, draw(st.sampled_from(ways)) + time


@few
@given(st.lists(written_dates(), min_size=50, max_size=200))
def test_a_date_is_the_same_in_every_way_to_write_it(sail: SparkSession, dates: list[tuple[date, str]]) -> None:
    found = evaluated(sail, [text for _, text in dates], date_in(F.col("t")))
    assert list(zip([text for _, text in dates], found, strict=True)) == [(text, day) for day, text in dates]


@few
@given(st.lists(st.dates(date(1900, 1, 1), date(2100, 1, 1)).filter(lambda day: day.day > 12), min_size=50, max_size=200))
def test_the_american_order_is_never_read(sail: SparkSession, days: list[date]) -> None:
    texts = [f"{day.month}/{day.day}/{day.year}" for day in days]
    assert evaluated(sail, texts, date_in(F.col("t"))) == [None] * len(texts)


moments = st.datetimes(datetime(1950, 1, 1), datetime(2049, 12, 31))


SUMMER_EVENINGS = st.datetimes(datetime(2024, 3, 1, 20), datetime(2024, 11, 30, 23, 59)).map(
    lambda moment: moment.replace(hour=20 + moment.hour % 4)
)
STATED_IN_UTC = tuple(
    day + time + zone
    for day in ("%Y-%m-%d", "%Y/%m/%d", "%d/%m/%Y", "%d.%m.%Y", "%Y%m%d", "%d-%b-%Y", "%d %B %y", "%b %d %Y", "%d%b%Y")
    for time in (" %H:%M", "T%H:%M:%S", " %H%M%S", "  %H.%M.%S.000", ":%H:%M:%S", ", %H:%M:%S.5")
    for zone in ("Z", " UTC", " GMT", "+00:00", " +0000")
)


@few
@given(st.lists(st.tuples(SUMMER_EVENINGS, st.sampled_from(STATED_IN_UTC)), min_size=100, max_size=300))
def test_a_moment_has_one_day_in_columns_of_dates_and_of_times(sail: SparkSession, given_: list[tuple[datetime, str]]) -> None:
    texts = [moment.strftime(form) for moment, form in given_]
    wanted = [moment.replace(tzinfo=UTC).astimezone(ZoneInfo("Europe/London")).date() for moment, _ in given_]
    rows = numbered(sail, texts)
    assert in_order(rows, date_in(F.col("t"))) == wanted
    assert in_order(rows, timestamp_in(F.col("t")).cast("date")) == wanted


@few
@given(
    st.lists(
        st.tuples(moments, st.sampled_from(("%Y-%m-%dT%H:%M:%S", "%d/%m/%Y %H:%M:%S", "%Y%m%d%H%M%S", "%d-%b-%y %H:%M:%S.%f"))),
        min_size=50,
        max_size=150,
    )
)
def test_a_moment_is_its_day_and_its_time_and_midnight_ends_the_day(
    sail: SparkSession, given_: list[tuple[datetime, str]]
) -> None:
    wanted = [moment.replace(microsecond=0) for moment, _ in given_]
    found = evaluated(sail, [moment.strftime(form) for moment, form in given_], timestamp_in(F.col("t")))
    assert [value.replace(tzinfo=None) for value in found if isinstance(value, datetime)] == wanted
    ends = [f"{moment:%d/%m/%Y} 24:00" for moment, _ in given_]
    after = [datetime.combine(moment.date() + timedelta(1), datetime.min.time()) for moment, _ in given_]
    found = evaluated(sail, ends, timestamp_in(F.col("t")))
    assert [value.replace(tzinfo=None) for value in found if isinstance(value, datetime)] == after


@st.composite
def written_numbers(draw: st.DrawFn) -> tuple[int, str]:
    """A whole number and one of the ways to write it."""
    number = draw(st.integers(-(10**15) + 1, 10**15 - 1))
    sign, size = ("-" if number < 0 else draw(st.sampled_from(("", "+")))), abs(number)
    power = f"{Decimal(size):.{max(len(str(size)) - 1, 0)}E}"
    return number, sign + draw(
        st.sampled_from((str(size), f"{size:,}", f"{size}.0", f"{size}.", power, power.replace("E+", "e")))
    )


@few
@given(st.lists(written_numbers(), min_size=50, max_size=200))
def test_a_whole_number_is_the_same_in_every_way_to_write_it(sail: SparkSession, numbers: list[tuple[int, str]]) -> None:
    found = evaluated(sail, [text for _, text in numbers], integer_in(F.col("t")))
    assert list(zip([text for _, text in numbers], found, strict=True)) == [(text, number) for number, text in numbers]
    found = evaluated(sail, [text for _, text in numbers], decimal_in(F.col("t")))
    assert found == [float(number) for number, _ in numbers]


@few
@given(st.lists(st.integers(0, 10**38 - 1), min_size=20, max_size=100))
def test_numbers_of_versions_sort_as_numbers(sail: SparkSession, numbers: list[int]) -> None:
    keys = [str(key) for key in evaluated(sail, [str(number) for number in numbers], number_to_sort_by(F.col("t")))]
    assert [number for _, number in sorted(zip(keys, numbers, strict=True))] == sorted(numbers)


def test_versions_in_other_spellings_sort_alike_and_what_is_no_number_has_no_place(sail: SparkSession) -> None:
    keys = evaluated(sail, ["1E+05", "100000", "100,000", "0100000", "100000.0", "+100000"], number_to_sort_by(F.col("t")))
    assert len(set(keys)) == 1
    assert evaluated(sail, ["", "x", "-3", "1.5", "9" * 39, None], number_to_sort_by(F.col("t"))) == [None] * 6
    texts = ["4/3/2024", "2024-03-04 00:00:00.1", "2024-03-04 00:00:00.25", "04-MAR-2024 24:00", "5/3/2024 00:00:00.5"]
    keys = places_in_time(sail, texts)
    assert keys == sorted(map(str, keys))
    assert places_in_time(sail, ["03/25/2024", "9999-12-31", None]) == [None] * 3


def places_in_time(session: SparkSession, texts: list[str | None] | list[str]) -> list[object]:
    """What moments are put in order by."""
    return in_order(with_moments_to_sort_by(numbered(session, texts), ["t"]), moment_to_sort_by("t"))


IN_ORDER = (
    ("2024-10-27 00:20Z", "2024-10-27T01:30:00+01:00", "2024-10-27T01:10:00+00:00", "2024-10-27 01:30Z", "2024-10-27 02:00"),
    ("2024-10-27 01:30", "2024-10-27T01:40:00.5+0100", "20241027011000Z", "27/10/2024 01:10:00.25 +00", "27-OCT-2024 02:10"),
    ("2024-07-01 10:15", "2024-07-01T09:30:00Z", "2024-07-01 11:00+01:00", "2024-07-01 10:30:00.1Z", "2024-07-02"),
    ("2024-03-31T00:59:59Z", "2024-03-31T01:00:00Z", "2024-03-31 02:00:01", "2024-03-31T02:00+00:00"),
    ("2024-01-31T10:00:00+05:30", "2024-01-31T10:00+02", "2024-01-31 10:00", "2024-01-31T10:00:00-05:00"),
    ("2024-03-04", "2024-03-04 00:00:00.1", "2024-12-31", "31-12-2025"),
    ("2024-07-01 9:59 AM", "2024-07-01 10:30 BST", "2024-07-01 09:31 GMT", "01-JUL-24 10.32.00.25 AM", "2024-07-01 1:00 PM"),
    ("01-JUL-24 10.15.00", "01-JUL-24 09.30.00 UTC", "01-JUL-24 10.45.00.5 +01:00", "01-JUL-24 10.00.00.000000 +00:00"),
)
"""Moments with and without an offset, each after the one before it."""


@pytest.mark.parametrize("texts", IN_ORDER)
def test_a_stated_offset_counts_when_moments_are_put_in_order(sail: SparkSession, texts: tuple[str, ...]) -> None:
    keys = places_in_time(sail, list(texts))
    assert keys == sorted(set(map(str, keys)))


def test_one_moment_in_other_spellings_has_one_place(sail: SparkSession) -> None:
    texts = ["2024-07-01T09:30:00Z", "2024-07-01T10:30:00+01:00", "1/7/2024 10:30", "20240701 103000", "2024-07-01T05:00-04:30"]
    texts += ["2024-07-01 10:30 BST", "01-JUL-24 10.30.00", "Jul  1 2024 10:30AM", "2024-07-01 9:30 AM GMT"]
    assert len(set(places_in_time(sail, texts))) == 1
    days = ["2024-03-04", "2024.03.04", "04.03.2024", "20240304", "20240304.0", "4th March 2024", "2024-03-04-00.00.00.000000"]
    assert len(set(places_in_time(sail, days))) == 1
    halves = [
        "2024-03-04T10:11:12.5",
        "20240304101112.5",
        "04MAR2024:10:11:12.5",
        "2024-03-04-10.11.12.5",
        "4/3/2024 10:11:12:500",
    ]
    assert len(set(places_in_time(sail, halves))) == 1


@few
@given(st.lists(st.text(max_size=30), min_size=50, max_size=100))
def test_any_text_at_all_is_read_or_not_and_stops_nothing(sail: SparkSession, texts: list[str]) -> None:
    for reader in (date_in, timestamp_in, time_in, integer_in, decimal_in, boolean_in, number_to_sort_by):
        assert len(evaluated(sail, texts, reader(trimmed(F.col("t"))))) == len(texts)
    assert len(places_in_time(sail, texts)) == len(texts)
