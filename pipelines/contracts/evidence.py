"""How an event is known, and how exactly its day is: the words that mappings give and `event_evidence` publishes."""

from enum import StrEnum
from typing import Final


class Evidence(StrEnum):
    """How an event is known. `docs/conventions.md` has the table of grades for researchers."""

    REPORTED = "reported"
    """Somebody said so: the person, or who called or filled in a case record for the person."""
    DISPATCHED = "dispatched"
    """What a control room made of a call before anybody saw the person."""
    SUSPECTED = "suspected"
    """Suspected or provisional: it may turn out otherwise."""
    CODED = "coded"
    """Coded in the record by the service that saw, did or gave it."""
    PROBLEM_LIST = "problem_list"
    """An entry of the problem list."""
    LABORATORY = "laboratory"
    """Found or received by a laboratory."""
    HISTORY = "history"
    """Of the past, or of a relative, when it was recorded."""


class DatePrecision(StrEnum):
    """How exactly a date is known. The day that is stored is the one that was delivered, often the first of the period."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"


PRELIMINARY_DIAGNOSIS: Final = 32899
"""Condition status of everything SUSPECTED (OMOP Condition Status: Preliminary diagnosis)."""

PROBLEM_LIST_TYPE: Final = 32840
"""Type concept of everything on the PROBLEM_LIST (OMOP Type Concept: EHR problem list)."""

HISTORY_CONCEPTS: Final = (1340204, 1340206, 1340219)
"""Standard concepts that say of their value that it is past: History of event, the same of longer ago, and within a time.

Athena maps codes such as "H/O: asthma" to them (OHDSI/Themis issue 194), so their events are HISTORY whatever their rule says.
"""

FAMILY_HISTORY_CONCEPTS: Final = (4167217, 4210989)
"""Standard concepts that say of their value that a relative has it: Family history of clinical finding, or with explicit
context.

Athena maps codes such as ICD-10 Z80 to the first (OHDSI/Vocabulary-v5.0 issue 883), Themis names the second (issue 201). Their
events are HISTORY too. The value is never the patient's, so that it stands for no code.
"""
