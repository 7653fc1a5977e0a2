"""The opt-out lists of every night, and the status of each person that follows from them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.synthetic.delivery import day_of, write_json
from pipelines.synthetic.nhs_numbers import draw_nhs_numbers
from pipelines.synthetic.population import Story, World
from pipelines.synthetic.traps import Planted

CHANGED_SHARE = 0.1
"""Share of people opted out who decided on a night after the first."""
NEVER_SUBMITTED_SHARE = 0.001
"""Share of people whose number was never sent to the national check, so that the response does not allow their data."""
STRANGERS = 5
"""Numbers on the local list that belong to no generated person."""
LONGEST_DECIDED_DAYS = 1500


@dataclass(frozen=True)
class OptOuts:
    """From which night on each person is on each list (`nights` means never), in the order of persons.

    `back_from` is the night from which one person has withdrawn the national opt-out. `refused` objections have no effect.
    """

    national_from: np.ndarray
    back_from: np.ndarray
    local_from: np.ndarray
    objection_from: np.ndarray
    refused: np.ndarray
    submitted: np.ndarray

    def national(self, night: int) -> np.ndarray:
        """Which people have a number but are not in the national allow-list of a night."""
        out = (self.national_from <= night) & ~(self.back_from <= night)
        missing: np.ndarray = out | ~self.submitted
        return missing


def draw_opt_outs(world: World) -> OptOuts:
    """Draw when people opted out: most before the first night, some on a later one."""
    rng = world.rng("opt_outs")
    population, nights = world.population, world.nights

    def since(out: np.ndarray) -> np.ndarray:
        night = np.where(out, 0, nights)
        persons = rng.permutation(np.flatnonzero(out))
        changed = persons[: max(1, round(CHANGED_SHARE * len(persons)))] if nights > 1 and len(persons) > 1 else persons[:0]
        night[changed] = rng.integers(1, nights, len(changed)) if nights > 1 else 0
        return night

    national_from = since(population.national_opt_out)
    back_from = np.full(world.n, nights)
    early = np.flatnonzero(national_from == 0)
    if nights > 1 and len(early) > 1:
        back_from[early[0]] = 1
    ordinary = (population.story == Story.ORDINARY) & (population.nhs_number != "")
    may_be_missed = rng.permutation(np.flatnonzero(ordinary & ~population.national_opt_out))
    submitted = population.nhs_number != ""
    submitted[may_be_missed[: max(1, round(NEVER_SUBMITTED_SHARE * world.n))]] = False
    refused = np.zeros(world.n, dtype=bool)
    refused[rng.permutation(np.flatnonzero(ordinary & ~population.objection))[: max(1, world.n // 1000)]] = True
    return OptOuts(national_from, back_from, since(population.local_opt_out), since(population.objection), refused, submitted)


def status_on(world: World, opt_outs: OptOuts, night: int) -> np.ndarray:
    """The status of each person's rows on a night: `kept`, or the first reason to leave them out.

    Type 1 opt-outs are not considered, because they remove GP rows only.
    """
    population = world.population
    reasons = {
        "test_patient": population.test_patient,
        "objection": opt_outs.objection_from <= night,
        "local": opt_outs.local_from <= night,
        "unverifiable": population.nhs_number == "",
        "national": opt_outs.national(night),
    }
    return np.select(list(reasons.values()), list(reasons), default="kept")


def write_opt_outs(world: World, opt_outs: OptOuts, landing: Path) -> list[Planted]:
    """Write the lists of every night."""
    for night in range(world.nights):
        _write_national(world, opt_outs, night, landing)
        _write_local(world, opt_outs, night, landing)
        _write_objections(world, opt_outs, night, landing)
    submitted = opt_outs.submitted
    last = world.nights - 1
    return [
        Planted("opt_out_national", "optouts", "national", int((submitted & opt_outs.national(last)).sum())),
        Planted("opt_out_taken_back", "optouts", "national", int((opt_outs.back_from <= last).sum())),
        Planted("never_submitted", "optouts", "national", int((~submitted & (world.population.nhs_number != "")).sum())),
        Planted("opt_out_local", "optouts", "local", int((opt_outs.local_from <= last).sum())),
        Planted("objection_upheld", "optouts", "objection", int((opt_outs.objection_from <= last).sum())),
        Planted("objection_refused", "optouts", "objection", int(opt_outs.refused.sum())),
    ]


def _write_national(world: World, opt_outs: OptOuts, night: int, landing: Path) -> None:
    numbers = world.population.nhs_number
    request = np.sort(numbers[opt_outs.submitted])
    response = np.sort(numbers[opt_outs.submitted & ~opt_outs.national(night)])
    files = {"request.dat": _number_lines(request), "response.dat": _number_lines(response)}
    rows = {"request.dat": len(request), "response.dat": len(response)}
    _write_list(world, "national", night, landing, files, rows, nobody=len(request) == len(response))


def _number_lines(numbers: np.ndarray) -> str:
    return "".join(f"{number},\n" for number in numbers)


def _write_local(world: World, opt_outs: OptOuts, night: int, landing: Path) -> None:
    rng = world.rng("opt_outs.local")
    population = world.population
    pool = draw_nhs_numbers(rng, world.n + STRANGERS)
    strangers = pool[~np.isin(pool, population.nhs_number)][:STRANGERS]
    persons = np.flatnonzero((opt_outs.local_from <= night) & (population.nhs_number != ""))
    lines = ["nhs_number,opted_out_on"]
    for at, (number, since) in enumerate(
        [(population.nhs_number[person], int(opt_outs.local_from[person])) for person in persons]
        + [(number, 0) for number in strangers]
    ):
        gap = ("", " ", "-")[at % 3]
        lines.append(f"{number[:3]}{gap}{number[3:6]}{gap}{number[6:]},{_decided_on(world, since, at)}")
    content = {"local.csv": "\n".join(lines) + "\n"}
    _write_list(world, "local", night, landing, content, {"local.csv": len(lines) - 1}, nobody=len(lines) == 1)


def _write_objections(world: World, opt_outs: OptOuts, night: int, landing: Path) -> None:
    population = world.population
    lines = ["nhs_number,provider,local_id,decision,decided_on"]
    decisions = {"upheld": np.flatnonzero(opt_outs.objection_from <= night), "refused": np.flatnonzero(opt_outs.refused)}
    for decision, persons in decisions.items():
        for at, person in enumerate(persons):
            since = int(opt_outs.objection_from[person]) if decision == "upheld" else 0
            day = _decided_on(world, since, at)
            number = population.nhs_number[person]
            if number and at % 2 == 0:
                lines.append(f"{number},,,{decision},{day}")
            else:
                lines.append(f",{population.gp_practice[person]},{population.gp_guid[person]},{decision},{day}")
    content = {"objections.csv": "\n".join(lines) + "\n"}
    _write_list(world, "objection", night, landing, content, {"objections.csv": len(lines) - 1}, nobody=len(lines) == 1)


def _decided_on(world: World, since: int, at: int) -> str:
    """The day of each decision: the day before the first night that has it, or a day in earlier years if all nights do."""
    first = np.datetime64(world.first_night, "D")
    return str(first + since - 1 if since else first - 1 - (at * 37) % LONGEST_DECIDED_DAYS)


def _write_list(
    world: World, kind: str, night: int, landing: Path, contents: dict[str, str], rows: dict[str, int], *, nobody: bool
) -> None:
    """Write the files of a list with their manifest; `nobody` states that the list leaves out nobody."""
    day = day_of(world, night)
    folder = landing / "optouts" / kind / day.strftime("%Y%m%d")
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, content in contents.items():
        raw = content.encode("utf-8")
        (folder / name).write_bytes(raw)
        files.append({"name": name, "rows": rows[name], "sha256": hashlib.sha256(raw).hexdigest()})
    manifest: dict[str, object] = {"kind": kind, "as_at": day.isoformat(), "files": files}
    if nobody:
        manifest["none_stated_by"] = "generated extracts"
    write_json(folder / "manifest.json", manifest)
