"""What the limits and waivers of a team mean for single checks, and whether they name what there is."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Final

from pipelines.contracts.cdm import CdmTable, delta_schema
from pipelines.contracts.gate_policy import ANY, CheckName, GatePolicy, Limit, OfChecks, Waiver
from pipelines.contracts.source import SourceContract
from pipelines.errors import ConfigError
from pipelines.quality.checks import LINE_COLUMNS, Check, Rule, Severity, Zone

NEVER_WAIVED: Final = (Rule.PEOPLE,)
"""What no limit and no waiver lets pass."""

NAMES_NO_COLUMN: Final = (Rule.MEAN_MOVED, Rule.EXPECTATION)
"""Rules of tables whose checks name something else in place of a column."""


def name_of(check: Check) -> CheckName:
    """The exact name of a check; what stands after `@` in the name of its table is the provider."""
    table, _, provider = check.table.partition("@")
    return CheckName(str(check.rule), str(check.zone), table, check.column, provider)


@dataclass(frozen=True)
class Policy:
    """The policy of a team on the day of a run or of a judgement."""

    given: GatePolicy
    day: date

    @cached_property
    def _limits(self) -> tuple[tuple[CheckName, Limit], ...]:
        return tuple((limit.name, limit) for limit in self.given.limits)

    def limited(self, check: Check) -> Check:
        """The check with the share and the severity that the last fitting limits give."""
        name = name_of(check)
        if check.rule in NEVER_WAIVED:
            return check
        for pattern, limit in self._limits:
            if pattern.fits(name):
                check = replace(
                    check,
                    tolerance=check.tolerance if limit.allowed is None else limit.allowed,
                    severity=check.severity if limit.severity is None else Severity(limit.severity),
                )
        return check

    def waiver(self, check: Check) -> Waiver | None:
        """The waiver of a check: of those that fit the one that ends last, whether it still holds or not."""
        name = name_of(check)
        if check.rule in NEVER_WAIVED:
            return None
        fitting = [waiver for waiver in self.given.waivers if waiver.name.fits(name)]
        return max(fitting, key=lambda waiver: waiver.until, default=None)


NO_POLICY: Final = Policy(GatePolicy(), date.min)
"""Every check is judged by what it has of itself."""


@dataclass(frozen=True)
class KnownNames:
    """What limits and waivers may name: the columns of every table by zone and table, and the providers.

    Checks of a run are on sources, entities and opt-out lists; what stands there as a column is not restricted.
    """

    columns: Mapping[tuple[str, str], Collection[str]]
    providers: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, contracts: Mapping[str, SourceContract], cdm: Mapping[str, CdmTable], providers: Iterable[str]) -> "KnownNames":
        """The tables of some contracts and of a version of the CDM."""
        columns: dict[tuple[str, str], Collection[str]] = {(Zone.RUN.value, "opt_outs"): ()}
        for source, contract in contracts.items():
            columns[Zone.RUN.value, source] = ()
            for name, entity in contract.entities.items():
                table = f"{source}_{name}"
                columns[Zone.BRONZE.value, table] = (*entity.columns, *LINE_COLUMNS)
                columns[Zone.SILVER.value, table] = tuple(entity.silver_columns)
                columns[Zone.RUN.value, table] = ()
        for published in cdm.values():
            schema = published.schema if published.is_vocabulary else delta_schema(published)
            columns[Zone.OMOP.value, published.name] = tuple(schema)
        return cls(columns, frozenset(providers))

    def require(self, policy: GatePolicy) -> None:
        """Raise ConfigError with every fault, if there is one."""
        faults = self.faults(policy)
        if faults:
            lines = "\n".join(f"  {fault}" for fault in faults)
            raise ConfigError(
                f"limits, waivers and ages name what there is not; correct conf/quality or gates of the settings\n{lines}"
            )

    def faults(self, policy: GatePolicy) -> list[str]:
        """Every limit, waiver and greatest age that names nothing known, each with the most similar name."""
        faults = [f"{kind} {entry}: {fault}" for kind, entry in policy.entries() for fault in self._faults(entry)]
        for name in policy.change.max_age_days:
            provider = name.partition("/")[2]
            if provider:
                faults += [f"change.max_age_days {name}: {fault}" for fault in _unknown("provider", provider, self.providers)]
        return faults

    def _faults(self, entry: OfChecks) -> Iterator[str]:
        name = entry.name
        tables = [table for (zone, table) in self.columns if fnmatchcase(zone, name.zone)]
        places = [place for place in self.columns if fnmatchcase(place[0], name.zone) and fnmatchcase(place[1], name.table)]
        yield from _unknown("rule", name.rule, [str(rule) for rule in Rule])
        yield from _unknown("zone", name.zone, [zone.value for zone in Zone])
        if tables:
            yield from _unknown("table", name.table, tables)
        if places and name.rule not in NAMES_NO_COLUMN and all(zone != Zone.RUN for zone, _ in places):
            columns = {column for place in places for column in self.columns[place]}
            for column in name.column.split(","):
                yield from _unknown("column", column.partition("=")[0], columns)
        if name.provider:
            yield from _unknown("provider", name.provider, self.providers)


def _unknown(kind: str, pattern: str, known: Collection[str]) -> Iterator[str]:
    if pattern == ANY or any(fnmatchcase(name, pattern) for name in known):
        return
    from rapidfuzz import process  # only where something is wrong

    nearest = process.extractOne(pattern, sorted(known))
    yield f"there is no {kind} {pattern}" + (f"; is {nearest[0]} meant?" if nearest else "")
