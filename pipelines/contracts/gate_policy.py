"""What a team allows the gates to let pass: limits, severities, waivers, and how far a release may differ from the last one.

Read from `conf/quality/*.yaml` and the section `gates` of the settings. A check is named as messages name it,
`RULE on ZONE.TABLE.COLUMN`, each part with `*` as a wildcard; a rule alone means every check of it.
"""

import re
from collections.abc import Iterator
from datetime import date
from fnmatch import fnmatchcase
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from pipelines.contracts.free_text import FreeText
from pipelines.contracts.models import Frozen

Share = Annotated[float, Field(ge=0, le=1)]

ANY = "*"


class CheckName(NamedTuple):
    """The parts of a check's name, each a pattern. An empty provider means a check of any or of none."""

    rule: str
    zone: str = ANY
    table: str = ANY
    column: str = ANY
    provider: str = ""

    @classmethod
    def of(cls, text: str) -> Self:
        """The parts of `RULE on ZONE.TABLE.COLUMN`; the table may have `@` and a provider, as in messages."""
        rule, _, place = text.partition(" on ")
        parts = place.split(".", 2) if place else []
        zone, table, column = (*parts, *[ANY] * (3 - len(parts)))
        table, _, provider = table.partition("@")
        # In messages the column of a check of a provider stands after the provider, which has no dot.
        return cls(rule.strip(), zone or ANY, table or ANY, column or ANY, provider)

    def fits(self, other: "CheckName") -> bool:
        """Whether another, exact name is among those that this one means."""
        pairs = zip(self[:4], other[:4], strict=True)
        return all(fnmatchcase(name, pattern) for pattern, name in pairs) and (
            not self.provider or (bool(other.provider) and fnmatchcase(other.provider, self.provider))
        )


def _is_name(text: str) -> str:
    name = CheckName.of(text)
    if not name.rule or " " in name.rule:
        raise ValueError("expected RULE, or RULE on ZONE.TABLE.COLUMN")
    return text


class OfChecks(Frozen):
    """The checks that an entry is about: all that the pattern `check` names, with `provider` only those of a provider."""

    check: Annotated[str, AfterValidator(_is_name)]
    provider: str = ""

    @model_validator(mode="after")
    def one_provider(self) -> Self:
        """Refuse two providers, one of them in the name of the check."""
        if self.provider and CheckName.of(self.check).provider:
            raise ValueError("the provider is named twice: in check, and in provider")
        return self

    @property
    def name(self) -> CheckName:
        """The parts of the name, with the provider."""
        name = CheckName.of(self.check)
        return name._replace(provider=self.provider or name.provider)

    def __str__(self) -> str:
        """The entry as messages name it."""
        return self.check + (f" of {self.provider}" if self.provider else "")


class Limit(OfChecks):
    """`allowed` is the share of rows that may break the checks, `severity` whether a broken one stops the release or warns."""

    allowed: Share | None = None
    severity: Literal["error", "warn"] | None = None

    @model_validator(mode="after")
    def says_something(self) -> Self:
        """Refuse an entry without effect."""
        if self.allowed is None and self.severity is None:
            raise ValueError("expected allowed, severity or both")
        return self


class Waiver(OfChecks):
    """A failure that `owner` accepts for `reason`, the last time on the day `until`."""

    reason: FreeText
    owner: FreeText
    until: date

    def holds_on(self, day: date) -> bool:
        """Whether it is still in force."""
        return day <= self.until


def _is_source_or_provider(name: str) -> str:
    """Refuse what could be no name of a source or provider: such an entry would have no effect."""
    source, slash, provider = name.partition("/")
    if not source or (slash and not provider) or _NO_NAME.search(provider) or (source == ANY and provider):
        raise ValueError("expected a source (acute), or a source and a provider (acute/RXN)")
    return name


_NO_NAME = re.compile(r"[/*?\[]")

SourceOrProvider = Annotated[str, AfterValidator(_is_source_or_provider)]
"""All providers of a source by its name, or one of them."""


class ChangeLimits(Frozen):
    """How a release is compared with the one that readers see; shares that may be lost are limits of the checks.

    Nothing is compared below the least numbers. A month has collapsed that lost more than `month_loss` of its rows, a mean has
    jumped that moved by more than `mean_move` of what it was and of the standard deviation. `max_age_days` is how old the
    newest extract may be, by `source/provider`, `source` or `*`: the most exact name counts.
    """

    least_rows: int = Field(default=2000, ge=1)
    least_people: int = Field(default=100, ge=1)
    least_month_rows: int = Field(default=1000, ge=1)
    month_loss: Share = 0.5
    least_values: int = Field(default=1000, ge=8)
    mean_move: float = Field(default=0.25, gt=0)
    max_age_days: dict[SourceOrProvider, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)

    def oldest_allowed(self, source: str, provider: str) -> int | None:
        """How many days old the newest extract of a provider may be; None where nothing is said."""
        fitting = [name for name in (f"{source}/{provider}", source, ANY) if name in self.max_age_days]
        return self.max_age_days[fitting[0]] if fitting else None


class GatePolicy(Frozen):
    """Limits and waivers in the order in which they were read, and the limits of change.

    Of every failed check the keys of `failing_rows` rows are kept.
    """

    limits: tuple[Limit, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    change: ChangeLimits = ChangeLimits()
    failing_rows: int = Field(default=20, ge=0)

    def entries(self) -> Iterator[tuple[str, OfChecks]]:
        """Limits and waivers with what they are."""
        yield from (("limit", entry) for entry in self.limits)
        yield from (("waiver", entry) for entry in self.waivers)
