"""What people write for people: reasons, owners, approvals. It is kept, shown to whoever asks, and some of it is published."""

from typing import Annotated

from pydantic import AfterValidator

from pipelines.contracts.identifiers import names_somebody


def fault_of(text: str) -> str | None:
    """Why a text may not stand as a reason, an owner or an approval; None where it may. The text is never repeated."""
    if names_somebody(text):
        return (
            "holds an NHS or National Insurance number, a postcode, a telephone number or an e-mail address; it would be kept "
            "and shown: name nobody in it"
        )
    return None if any(map(str.isalpha, text)) else "has no letter: say it in words"


def in_one_line(text: str) -> str:
    """A text without the blanks around it, and with one for each blank or end of a line within it."""
    return " ".join(text.split())


def free_text(text: str) -> str:
    """The text in one line. Raises ValueError for one with a fault."""
    fault = fault_of(text)
    if fault:
        raise ValueError(fault)
    return in_one_line(text)


FreeText = Annotated[str, AfterValidator(free_text)]
"""A text of at least one letter that identifies nobody, in one line."""
