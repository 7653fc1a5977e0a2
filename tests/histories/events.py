"""What can happen between two nights: each kind of event once, drawn by a seed of its own.

An event chooses what it concerns among what there is, so that any event of a history may be left out and the rest still is a
history.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import TypeVar

from pipelines.contracts.source import Identifier
from tests.histories.world import (
    OTHER_PROVIDER,
    REFERENCE,
    Place,
    Row,
    World,
    clone,
    donors,
    files_of,
    read_map,
    reference_rows,
    write_map,
)

Found = TypeVar("Found")

Happens = Callable[[World, Random, date], None]
"""Changes a world on the day of a night."""


@dataclass(frozen=True)
class Event:
    """One event: its kind, and the seed of everything that it chooses."""

    kind: str
    seed: int

    def happen(self, world: World, day: date) -> None:
        """Change the world; does nothing where there is nothing that it could concern."""
        KINDS[self.kind](world, Random(self.seed), day)


def more_rows_come(world: World, random: Random, _day: date) -> None:
    """Records that were not there yet, of people and of nobody."""
    waiting = [row for row in world.rows if not row.come]
    for row in random.sample(waiting, min(len(waiting), random.randint(1, 8))):
        row.come = True


def row_is_corrected(world: World, random: Random, day: date) -> None:
    """Another value in one to three columns, in a version that is newer, equal or older."""
    row = _any(random, [row for row in world.rows if row.is_held and row.owner])
    if row:
        for _ in range(random.randint(1, 3)):
            _change(world, row, random)
        _next_version(row, random, day)


def entry_of_a_dictionary_changes(world: World, random: Random, day: date) -> None:
    """A code, an organisation or a member of staff means something else from now on; most often one that somebody refers to."""
    entries = [row for row in world.rows if row.is_held and row.owner is REFERENCE]
    referred = {(row.place, value) for row in world.rows if row.owner for value in row.values.values()}
    used = [row for row in entries if (row.place, row.values.get(row.spec.key[-1], "")) in referred]
    row = _any(random, used if random.random() < 0.75 else entries)
    if row:
        for _ in range(random.randint(1, 3)):
            _change(world, row, random)
        _next_version(row, random, day)


def dictionary_has_a_new_edition(world: World, random: Random, day: date) -> None:
    """Most entries of one dictionary of one provider mean something else from now on."""
    entries = [row for row in world.rows if row.is_held and row.owner is REFERENCE]
    dictionary = _any(random, sorted({(row.place, row.entity) for row in entries}))
    for row in entries:
        if (row.place, row.entity) == dictionary and random.random() < 0.8:
            for _ in range(3):
                _change(world, row, random)
            _next_version(row, random, day)


def row_is_deleted(world: World, random: Random, day: date) -> None:
    """By its flag, or it is gone: then only a full delivery, or one of its period, shows it."""
    row = _any(random, [row for row in world.rows if row.is_held and row.owner])
    if row is None:
        return
    flag = row.spec.deleted
    if flag and random.random() < 0.7:
        row.values[flag.column] = random.choice(flag.values or ("true",))
        _next_version(row, random, day)
    else:
        row.gone = True


def row_comes_back(world: World, random: Random, day: date) -> None:
    """What was deleted is there again."""
    row = _any(random, [row for row in world.rows if row.gone or _is_flagged(row)])
    if row is None:
        return
    row.gone = False
    if row.spec.deleted:
        row.values[row.spec.deleted.column] = next(iter(row.spec.deleted.cleared), "false")
    _next_version(row, random, day)


def end_changes(world: World, random: Random, day: date) -> None:
    """A stay, a registration or a life ends, or turns out not to have ended: several columns are emptied or filled."""
    named = ("end", "discharge", "death", "deduction", "died", "closure")
    row = _any(random, [r for r in world.rows if r.is_held and r.owner and any(n in c for c in r.spec.columns for n in named)])
    if row is None:
        return
    columns = [c for c in _changeable(row) if any(name in c for name in named)]
    if random.random() < 0.5:
        row.values.update(dict.fromkeys(columns, ""))
    else:
        donor = random.choice(donors(row.place[0], row.entity))
        row.values.update({column: donor[column] for column in columns if column in donor})
    _next_version(row, random, day)


def mark_changes(world: World, random: Random, day: date) -> None:
    """A person or a row is marked as confidential, or is no longer; now and then nobody can say."""
    row = _any(random, [row for row in world.rows if row.is_held and row.owner and row.spec.confidential])
    if row:
        row.values[random.choice(row.spec.confidential).column] = random.choice(("true", "true", "false", "", "unreadable"))
        _next_version(row, random, day)


def person_gets_the_number_of_another(world: World, random: Random, day: date) -> None:
    """A merge: rows of a local id name the NHS number of somebody else."""
    _number_changes(world, random, day, random.choice(world.numbers))


def person_loses_the_number(world: World, random: Random, day: date) -> None:
    """A split: rows of a local id name its own number again, or none."""
    _number_changes(world, random, day, random.choice(("own", "own", "")))


def birth_date_changes(world: World, random: Random, day: date) -> None:
    """The birth date or sex that a provider states of a person, in all rows or in one."""
    rows = _rows_naming_a_person(world, random)
    for row in rows if random.random() < 0.7 else rows[:1]:
        born = row.spec.identified_by(Identifier.BIRTH_DATE)
        sex = row.spec.subject.direct.sex if row.spec.subject.direct else None
        column = random.choice([name for name in (born, born, sex) if name] or [""])
        known = [donor[column] for donor in donors(row.place[0], row.entity) if donor.get(column)]
        if known:
            row.values[column] = random.choice(known)
            _next_version(row, random, day)


def person_is_known_to_another_provider(world: World, random: Random, _day: date) -> None:
    """A provider delivers what another has of a person, perhaps its first delivery of all."""
    place = random.choice(world.places)
    to = (place[0], OTHER_PROVIDER.get(place[1], place[1]))
    owner = _any(random, sorted({row.owner for row in world.of(place) if row.owner}))
    if owner is None or to == place:
        return
    if to not in world.places:
        world.rows += reference_rows(to, random)
    known = {(row.entity, _key(row)) for row in world.of(to)}
    for row in world.of(place):
        if row.owner == owner and (row.entity, _key(row)) not in known:
            copied = clone(row)
            copied.place = to
            world.rows.append(copied)


def type_one_is_recorded(world: World, random: Random, day: date) -> None:
    """A practice enters a Type 1 opt-out, or that it is withdrawn, into a record."""
    entries = [row for row in world.rows if row.is_held and row.place[0] == "gp" and row.entity == "observation"]
    row = _any(random, entries)
    if row:
        code = random.choice(("type1_dissent", "type1_dissent", "type1_withdrawn", "type1_look_alike"))
        entered = day - timedelta(days=random.randint(-1, 400))
        world.rows.append(
            clone(row, observation_guid=f"type1-{random.getrandbits(40)}", code_id=code, effective_date=entered.isoformat())
        )
        for entry in world.of(row.place):
            if entry.entity == "clinical_code" and entry.values.get("code_id") == code:
                entry.come = True


def choice_changes(world: World, random: Random, _day: date) -> None:
    """Somebody opts out or in again: nationally, locally, or by an objection at a provider."""
    number = random.choice(world.numbers)
    choices = world.choices
    match random.randrange(4):
        case 0:
            choices.national ^= {number}
        case 1:
            choices.local ^= {number}
        case 2:
            choices.objections ^= {(number, "", "")}
        case _:
            place = random.choice(world.places)
            owner = _any(random, sorted({row.owner for row in world.of(place) if row.owner}))
            if owner:
                choices.objections ^= {("", place[1], owner)}


def local_map_changes(world: World, random: Random, _day: date) -> None:
    """A code is mapped, mapped to something else, or no longer mapped; most often one that somebody has."""
    delivered = {value for row in world.rows for value in row.values.values()}
    paths = sorted(path for path in (world.mappings / "concepts").glob("*.csv") if not path.stem.startswith(_NO_CODE_MAPS))
    maps = {path: read_map(path) for path in paths}
    used = [(path, place) for path, rows in maps.items() for place, row in enumerate(rows) if row["source_code"] in delivered]
    if not used:
        return
    path, place = random.choice(used)
    rows = maps[path]
    row = rows[place]
    match random.randrange(3):
        case 0:
            row["status"] = "APPROVED" if row["status"] == "UNAPPROVED" else "UNAPPROVED"
        case 1:
            target = random.choice(rows)
            taken = {(r["source_code"], r["target_concept_id"]) for r in rows}
            if (row["source_code"], target["target_concept_id"]) not in taken:
                row |= {name: target[name] for name in ("target_concept_id", "target_vocabulary_id")}
        case _:
            if len(rows) > 1:
                rows.remove(row)
    write_map(path, rows)


def vocabulary_changes(world: World, _random: Random, _day: date) -> None:
    """Another release of the vocabulary: some codes have lost their standard concept, some hierarchies are shorter."""
    world.changed_vocabulary = not world.changed_vocabulary


def setting_changes(world: World, random: Random, _day: date) -> None:
    """A setting that concerns persons."""
    name, values = random.choice(list(SETTINGS.items()))
    world.settings[name] = random.choice([value for value in values if value != world.settings.get(name, values[0])])


def delivery_is_withdrawn(world: World, random: Random, day: date) -> None:
    """A delivery is taken back; not the first of a practice, without which there is nothing to read Type 1 codes with."""
    first = {sent.place: sent for sent in reversed(world.sent) if sent.place[0] == "gp"}
    sent = _any(random, [s for s in world.sent if s is not first.get(s.place) and s not in world.withdrawn])
    if sent:
        world.withdraw(sent, day)


def withdrawal_is_undone(world: World, random: Random, _day: date) -> None:
    """A delivery that was taken back counts again."""
    sent = _any(random, world.withdrawn)
    if sent:
        world.undo_withdrawal(sent)


def delivery_is_corrected(world: World, random: Random, day: date) -> None:
    """A delivery is taken back, and all that its provider has now comes in its folder instead."""
    sent = _any(random, world.sent)
    if sent:
        world.correct(sent, day, [row for row in world.of(sent.place) if row.is_held])


def delivery_is_repeated(world: World, random: Random, day: date) -> None:
    """The same files once more, a later day."""
    sent = _any(random, [sent for sent in world.sent if sent.day < day])
    if sent:
        mode, files = files_of(sent)
        world.write(sent.place, day, random.choice((mode, "delta")), files)


def provider_delivers(world: World, random: Random, day: date) -> None:
    """One provider sends what is new, or everything, or a reporting period once more; on this day or as of an earlier one."""
    place = _any(random, [p for p in world.places if any(row.pending for row in world.of(p))] or world.places)
    if place:
        _deliver(world, random, place, day - timedelta(days=random.choice((0, 0, 0, 0, 1, 2))))


def everybody_delivers(world: World, random: Random, day: date) -> None:
    """Each provider sends all that it has; of several, one may be late."""
    places = world.places
    late = random.choice(places) if len(places) > 1 and random.random() < 0.25 else None
    for place in places:
        if place != late:
            _deliver(world, random, place, day, random.choice(("full", "delta")))


def some_deliver(world: World, random: Random, day: date) -> None:
    """Most of the providers that have something new send it."""
    for place in world.places:
        if any(row.pending for row in world.of(place)) and random.random() < 0.85:
            _deliver(world, random, place, day)


def _deliver(world: World, random: Random, place: Place, day: date, mode: str = "") -> None:
    rows = [row for row in world.of(place) if row.is_held]
    periods = sorted({_period(row) for row in rows if _period(row)})
    chosen = mode or random.choice(("full", "delta", "delta", "period") if periods else ("full", "delta", "delta"))
    match chosen:
        case "full":
            sent = {row.entity for row in world.of(place) if not row.pending}
            world.deliver(place, day, "full", rows, entities=sent)
        case "period":
            wanted = random.sample(periods, random.randint(1, len(periods)))
            world.deliver(place, day, "period", [row for row in rows if _period(row) in wanted])
        case _:
            world.deliver(place, day, "delta", [row for row in rows if row.pending])


SETTINGS: Mapping[str, tuple[str, ...]] = {
    "person.unobserved": ("exclude", "keep"),
    "person.on_conflict": ("set_aside", "link"),
    "person.month_of_birth": ("false", "true"),
    "person.source_priority": (
        "[gp, acute, mental_health, community, social_care, ambulance]",
        "[social_care, ambulance, community, mental_health, acute, gp]",
    ),
    "person.death_priority": (
        "[acute, ambulance, gp, mental_health, community, social_care]",
        "[social_care, community, mental_health, gp, ambulance, acute]",
    ),
    "person.earliest_capture": ("{}", "{gp: 2024-01-01, acute: 2024-03-05, mental_health: 2024-04-15, community: 2024-06-01}"),
    "opt_outs.unverifiable": ("exclude", "include_with_approval"),
    "opt_outs.confidential": ("exclude", "include_with_approval"),
}
"""Settings that concern persons: the value with which a history begins, and others."""

_NO_CODE_MAPS = ("vocabularies", "synthea")

_SUBJECTS = (Identifier.NHS_NUMBER, Identifier.LOCAL_ID, Identifier.BIRTH_DATE)
"""Columns that events of their own change."""

BOUNDARIES = ("00:00:00", "23:59:59.999", "01:30:00", "12:00:00")


def _any(random: Random, found: list[Found]) -> Found | None:
    return random.choice(found) if found else None


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row.values.get(name, "") for name in row.spec.key)


def _period(row: Row) -> str:
    return row.values.get(row.spec.period or "", "")


def _is_flagged(row: Row) -> bool:
    flag = row.spec.deleted
    return flag is not None and row.values.get(flag.column, "").lower() in {"true", *flag.values}


def _changeable(row: Row) -> list[str]:
    """The columns that an event may change: not those that name the record, its version, its owner or its period."""
    spec = row.spec
    direct, via = spec.subject.direct, spec.subject.via
    fixed = {*spec.key, *spec.version, spec.period, *(direct.columns if direct else ()), *(via.columns if via else ())}
    fixed |= {flag.column for flag in (spec.deleted,) if flag}
    kept = [name for name, column in spec.columns.items() if column.identifier not in _SUBJECTS]
    return [name for name in kept if name not in fixed]


def _change(world: World, row: Row, random: Random) -> None:
    """Give one column another value, none, or now and then one that cannot be read.

    The value is that of another golden row; the id of a record is one that its provider has, so that records come to be shared,
    or to belong elsewhere.
    """
    known = donors(row.place[0], row.entity)
    columns = [name for name in _changeable(row) if any(donor.get(name) for donor in known)]
    if not columns:
        return
    column = random.choice(columns)
    if row.spec.columns[column].identifier is Identifier.RECORD_ID:
        known = tuple(other.values for other in world.of(row.place) if other.entity == row.entity)
    values = [donor.get(column, "") for donor in known]
    drawn = random.random()
    if drawn < 0.05:
        row.values[column] = "unreadable"
    elif drawn < 0.2 and not row.spec.columns[column].required:
        row.values[column] = ""
    else:
        row.values[column] = random.choice(sorted(set(values)))


def _next_version(row: Row, random: Random, day: date) -> None:
    """Number or moment of the version: most often newer, sometimes equal, sometimes older; moments are at the ends of days."""
    row.pending = True
    drawn = random.random()
    if not row.spec.version or drawn < 0.15:
        return
    column = row.spec.version[-1]
    before = row.values.get(column, "")
    if before.isdigit():
        row.values[column] = str(max(0, int(before) + (-1 if drawn < 0.25 else 1)))
    elif column != row.spec.period and row.spec.period is None:
        moved = day - timedelta(days=400 if drawn < 0.25 else random.randint(0, 1))
        row.values[column] = f"{moved.isoformat()} {random.choice(BOUNDARIES)}"


def _rows_naming_a_person(world: World, random: Random) -> list[Row]:
    """The held rows in which a provider states who one of its people is."""
    naming = [row for row in world.rows if row.is_held and row.spec.subject.direct]
    row = _any(random, naming)
    return [other for other in naming if (other.place, other.owner) == (row.place, row.owner)] if row else []


def _number_changes(world: World, random: Random, day: date, number: str) -> None:
    rows = _rows_naming_a_person(world, random)
    own = {case.local_id: case.nhs_number for case in world.cases}
    for row in rows if random.random() < 0.7 else rows[:1]:
        if row.spec.subject.direct and row.owner:
            row.values[row.spec.subject.direct.nhs_number] = own[row.owner] if number == "own" else number
            _next_version(row, random, day)


KINDS: Mapping[str, Happens] = {
    happens.__name__: happens
    for happens in (
        more_rows_come,
        row_is_corrected,
        entry_of_a_dictionary_changes,
        dictionary_has_a_new_edition,
        row_is_deleted,
        row_comes_back,
        end_changes,
        mark_changes,
        person_gets_the_number_of_another,
        person_loses_the_number,
        birth_date_changes,
        person_is_known_to_another_provider,
        type_one_is_recorded,
        choice_changes,
        local_map_changes,
        vocabulary_changes,
        setting_changes,
        delivery_is_withdrawn,
        withdrawal_is_undone,
        delivery_is_corrected,
        delivery_is_repeated,
        provider_delivers,
        everybody_delivers,
        some_deliver,
    )
}
"""Every kind of event by its name."""

WEIGHTS: Mapping[str, int] = {
    "more_rows_come": 4,
    "row_is_corrected": 5,
    "entry_of_a_dictionary_changes": 2,
    "dictionary_has_a_new_edition": 1,
    "row_is_deleted": 3,
    "row_comes_back": 2,
    "end_changes": 3,
    "mark_changes": 2,
    "person_gets_the_number_of_another": 3,
    "person_loses_the_number": 2,
    "birth_date_changes": 2,
    "person_is_known_to_another_provider": 2,
    "type_one_is_recorded": 2,
    "choice_changes": 3,
    "local_map_changes": 2,
    "vocabulary_changes": 1,
    "setting_changes": 2,
    "delivery_is_withdrawn": 2,
    "withdrawal_is_undone": 1,
    "delivery_is_corrected": 1,
    "delivery_is_repeated": 1,
    "provider_delivers": 1,
}
"""How often each kind is drawn; deliveries of what is new come at the end of a night besides."""


@dataclass(frozen=True)
class History:
    """A small world and what happens in it before each of its nights; the same seed gives the same history."""

    seed: int
    sources: tuple[str, ...]
    people: int
    nights: tuple[tuple[Event, ...], ...]

    def __str__(self) -> str:
        """All of it, to be run again: kinds and seeds of events, no values."""
        lines = [f"seed {self.seed}: {self.people} people of {', '.join(self.sources)}"]
        lines += [
            f"  night {n}: {', '.join(f'{e.kind}({e.seed})' for e in night) or 'quiet'}" for n, night in enumerate(self.nights)
        ]
        return "\n".join(lines)


def drawn_history(seed: int, sources: tuple[str, ...], nights: int, events: int) -> History:
    """The history of a seed. On its first night everybody delivers; of the later ones some are quiet."""
    random = Random(seed)
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())

    def night(place: int) -> tuple[Event, ...]:
        if place and nights > 2 and random.random() < 0.1:
            return ()
        drawn = random.choices(kinds, weights, k=random.randint(2, events)) if place else []
        return tuple(
            Event(kind, random.getrandbits(32)) for kind in (*drawn, "some_deliver" if place else "everybody_delivers")
        )

    people = random.randint(3, 8)
    return History(seed, sources, people, tuple(night(place) for place in range(nights)))
