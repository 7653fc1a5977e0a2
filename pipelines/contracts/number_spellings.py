"""How NHS numbers are spelled, in deliveries and on opt-out lists.

Regular expressions in the syntax that both engines and Python share.
"""

from typing import Final

BLANKS: Final = " \t\r\n\x0b\x0c\x1a\x85\u00a0\u00ad\u1680\u2028\u2029\u202f\u205f\u2060\u3000\ufeff" + "".join(
    chr(mark) for mark in range(0x2000, 0x2010)
)
"""Blanks of any width, marks without one, ends of lines, and the sign that ends a file on old systems."""

NO_PART_OF_NUMBER: Final = f"[{BLANKS}\u2010-\u2015\u2212'\u2018\u2019`\"=-]"
"""Blanks, dashes, an apostrophe before the number, and the signs of `=\"9990000018\"`, by which spreadsheets keep it a text."""

POWER_OR_DECIMALS: Final = "^([0-9])[.]?([0-9]{9})[eE][+]?0?9$|^([0-9])[.]?([0-9]{8})[eE][+]?0?8$|[.]0*$"
"""A number as a power of ten with all its digits, which are the groups, or decimals behind it."""

LOST_ZERO: Final = "^[0-9]{9}$"
"""A number that has lost its leading zero in a column of numbers."""
