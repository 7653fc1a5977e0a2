"""What the reasons of outcomes mean, in words, and the rules that a line in quarantine can break."""

from typing import Final

from pipelines.contracts.ledger import ORPHAN, UNREADABLE

_OF_WITH: Final = "with_"

RULES: Final = {
    "identity_conflict": "what its provider says of the person cannot be true of one person",
    "malformed": "the line does not have the form of its file",
    "missing": "the column needs a value and has none",
    "missing_key": "no part of its key has a value",
    "no_identity": "it names nobody: neither a usable NHS number nor a local identifier",
    ORPHAN.rstrip(":"): "the record that it belongs to is not there",
    "other_person": "it came while the record that it belongs to named somebody else",
    "real_number_outside_production": "its NHS number is not one for tests, and this environment is not for real people",
    UNREADABLE.rstrip(":"): "the value of the column is there and cannot be read",
    _OF_WITH.rstrip("_"): "so are the records that refer to it",
}
"""Every rule that a line can break: what its reason begins with, before a `:` or, for `with_patient`, an underscore."""

_OTHERS: Final = {
    "deleted_flag": "the row itself says that it is deleted",
    "absent_from_full": "the newest full delivery of its provider does not have the record",
    "absent_from_record": "the record that it belongs to was sent again without it",
    "same_version": "both have one version: the day of delivery, file or line decided",
    "unknown_version": "the version of one of them is missing or unreadable",
    "other_key": "a newer record of the same has another key; what belongs to the older one goes with it",
}


def rule_of(reason: str) -> str:
    """The rule that a reason of quarantine says is broken (RULES has it), or what the text has in its place."""
    return _OF_WITH.rstrip("_") if reason.startswith(_OF_WITH) else reason.partition(":")[0]


def beginning_of(rule: str) -> str:
    """What the reasons of a rule begin with that are not the rule itself."""
    return _OF_WITH if rule == rule_of(_OF_WITH) else f"{rule}:"


def explained(reason: str | None) -> str:
    """What a reason means, in words; empty where it says so itself."""
    text = reason or ""
    return _OTHERS.get(text, RULES.get(rule_of(text), ""))
