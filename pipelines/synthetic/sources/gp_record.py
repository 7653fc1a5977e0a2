"""Draws the records of practices as arrays: registrations, consultations, coded entries and prescriptions."""

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import pandas as pd

from pipelines.synthetic.population import Story, World
from pipelines.synthetic.sources.gp_dictionary import ETHNIC_LETTERS, ClinicalCodes

DAY = np.timedelta64(1, "D")
YEAR_DAYS = 365.25
ADULT_YEARS = 18

CONSULTATION_SOURCES = {
    "GP Surgery": 0.54,
    "Telephone consultation": 0.20,
    "Home Visit": 0.05,
    "Online consultation": 0.05,
    "Administration note": 0.06,
    "Letter from outpatients": 0.06,
    "Text message to patient": 0.04,
}
CLINICAL_SOURCES = 4
"""Number of sources at the start of the list that are contacts with the patient; the others are paperwork."""

SYSTOLIC, DIASTOLIC, PULSE, TEMPERATURE = "271649006", "271650006", "78564009", "386725007"
WEIGHT, BODY_MASS_INDEX, HBA1C = "27113001", "60621009", "43396009"
BLOOD_TESTS = (
    "70901006",
    "1022651000000100",
    "55235003",
    "1018251000000107",
    "88810008",
    "359986008",
    "121868005",
    "14740000",
    HBA1C,
)
BLOOD_TEST_SHARE = 0.28
TEST_OF_PANEL_SHARE = 0.6
DIABETIC_HBA1C = 17.0
"""Difference of the HbA1c of people with diabetes from that of others."""
INFLUENZA, PNEUMOCOCCAL, MMR, HEPATITIS_B = "86198006", "12866006", "38598009", "16584000"
CHILDHOOD = ((HEPATITIS_B, 56), (PNEUMOCOCCAL, 84), (PNEUMOCOCCAL, 112), (MMR, 390))
"""Childhood immunisations and the day of life they are due."""

ISSUE_MONTHS_DAYS = 540
ISSUE_GAP_DAYS = 28
ACUTE_SHARE = 0.11
WITHOUT_AUTHORISATION_SHARE = 0.03


@dataclass(frozen=True)
class Rows:
    """Arrays of equal length that are sliced and concatenated together."""

    def __len__(self) -> int:
        """The number of rows."""
        return len(getattr(self, fields(self)[0].name))


SomeRows = TypeVar("SomeRows", bound=Rows)


@dataclass(frozen=True)
class Consultations(Rows):
    """One consultation per entry; `source` is a position in CONSULTATION_SOURCES, `minute` the minute of the day."""

    person: np.ndarray
    day: np.ndarray
    minute: np.ndarray
    source: np.ndarray


@dataclass(frozen=True)
class Entries(Rows):
    """One coded entry per row: `code` is a position in the code table, `consultation` a position in the consultations or -1.

    `kind` is a position in ENTRY_KINDS, `value` is NaN if there is none.
    """

    person: np.ndarray
    day: np.ndarray
    code: np.ndarray
    consultation: np.ndarray
    value: np.ndarray
    kind: np.ndarray


ENTRY_KINDS = ("Observation", "Value", "Problem", "Immunisation", "Allergy", "Family history", "Referral")


@dataclass(frozen=True)
class Authorisations(Rows):
    """One drug record per row; `drug` is a position in the drug code table, `problem` a position in the entries or -1."""

    person: np.ndarray
    day: np.ndarray
    drug: np.ndarray
    repeat: np.ndarray
    problem: np.ndarray


@dataclass(frozen=True)
class Issues(Rows):
    """One issue per row; `authorisation` and `consultation` are positions in their arrays or -1."""

    person: np.ndarray
    day: np.ndarray
    drug: np.ndarray
    authorisation: np.ndarray
    consultation: np.ndarray


def draw_consultations(world: World) -> Consultations:
    """Consultations of the detailed history, more of them with age; every story person has one at the surgery."""
    rng = world.rng("gp.consultations")
    start, end = observed_days(world)
    span = np.maximum((end - start).astype(np.int64), 0)
    ages = (world.last_day - world.population.birth_date).astype(np.int64) / YEAR_DAYS
    person = np.repeat(np.arange(world.n), rng.poisson((1.8 + ages / 26) * span / YEAR_DAYS))
    story = np.flatnonzero((world.population.story != Story.ORDINARY) & (span > 0))
    person = np.concatenate([story, person]).astype(np.int32)
    day = start[person] + (rng.random(len(person)) * span[person]).astype(np.int64)
    shares = np.array(list(CONSULTATION_SOURCES.values()))
    source = rng.choice(len(shares), len(person), p=shares / shares.sum())
    source[: len(story)] = 0
    return Consultations(person, day, rng.integers(8 * 60 + 30, 18 * 60, len(person)), source.astype(np.int8))


def observed_days(world: World) -> tuple[np.ndarray, np.ndarray]:
    """First and last day on which something of a person may be recorded; the last is the day before death."""
    people = world.population
    start = np.maximum(people.birth_date + 14, world.first_day)
    return start, np.where(np.isnat(people.death_date), world.last_day, people.death_date - DAY)


def draw_entries(world: World, codes: ClinicalCodes, consultations: Consultations) -> Entries:
    """All coded entries: problems first, so that a problem's position is also its position here."""
    parts = [
        draw_problems(world, codes),
        *draw_measurements(world, codes, consultations),
        *draw_findings(world, codes, consultations),
        draw_immunisations(world, codes),
        draw_family_history(world, codes),
        draw_ethnicity(world, codes),
        *draw_type_1(world, codes),
    ]
    columns = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Entries)}
    return Entries(**columns)


def entries_of(
    person: np.ndarray,
    day: np.ndarray,
    code: np.ndarray,
    kind: str = "Observation",
    consultation: np.ndarray | None = None,
    value: np.ndarray | None = None,
) -> Entries:
    """Entries of one kind."""
    count = len(person)
    return Entries(
        person.astype(np.int32),
        day.astype("datetime64[D]"),
        np.broadcast_to(code, count).astype(np.int32),
        np.full(count, -1, dtype=np.int32) if consultation is None else consultation.astype(np.int32),
        np.full(count, np.nan) if value is None else value,
        np.full(count, ENTRY_KINDS.index(kind), dtype=np.int8),
    )


def draw_problems(world: World, codes: ClinicalCodes) -> Entries:
    """The onset of every condition held; a few have a Read code only, as in records before SNOMED CT."""
    rng = world.rng("gp.problems")
    people = world.population
    snomed = world.catalogue.conditions["snomed"].to_numpy()[people.onset_condition]
    code = codes.coded("condition", snomed)
    read = world.catalogue.conditions["read"].to_numpy()[people.onset_condition]
    legacy = codes.rows[codes.rows["group"] == "legacy"]
    of_term = pd.Series(legacy.index, index=legacy["term"])
    terms = world.catalogue.conditions["name"].to_numpy()[people.onset_condition]
    old = (rng.random(len(code)) < 0.15) & (read != "") & (people.story[people.onset_person] == Story.ORDINARY)
    code[old] = of_term.reindex(terms[old]).to_numpy(dtype=np.int64)
    kept = code >= 0
    return entries_of(people.onset_person[kept], people.onset_date[kept], code[kept], "Problem")


def draw_measurements(world: World, codes: ClinicalCodes, consultations: Consultations) -> list[Entries]:
    """Vital signs and blood tests at consultations; people with diabetes have more and higher HbA1c."""
    rng = world.rng("gp.measurements")
    adult = is_adult(world, consultations)
    clinical = consultations.source < CLINICAL_SOURCES
    diabetic = np.zeros(world.n, dtype=bool)
    diabetic[world.has("Type 2 diabetes mellitus")[0]] = True
    of_diabetic = diabetic[consultations.person]
    story = world.population.story[consultations.person] == Story.DIABETES
    chance = rng.random(len(consultations))
    pressure = clinical & adult & (chance < 0.55)
    size = clinical & adult & (rng.random(len(consultations)) < 0.22)
    bloods = clinical & adult & (rng.random(len(consultations)) < BLOOD_TEST_SHARE)
    taken: dict[str, np.ndarray] = {
        SYSTOLIC: pressure,
        DIASTOLIC: pressure,
        PULSE: clinical & (rng.random(len(consultations)) < 0.2),
        TEMPERATURE: clinical & (rng.random(len(consultations)) < 0.12),
        WEIGHT: size,
        BODY_MASS_INDEX: size,
    }
    for test in BLOOD_TESTS:
        taken[test] = bloods & (rng.random(len(consultations)) < TEST_OF_PANEL_SHARE)
    taken[HBA1C] |= (of_diabetic & clinical & (rng.random(len(consultations)) < 0.45)) | (story & clinical)
    means = world.catalogue.measurements.drop_duplicates("snomed").set_index("snomed")
    parts = []
    for snomed, flags in taken.items():
        at = np.flatnonzero(flags)
        code = codes.coded("value", np.array([snomed]))
        value = rng.normal(means.at[snomed, "mean"], means.at[snomed, "sd"], len(at))
        if snomed == HBA1C:
            value += DIABETIC_HBA1C * of_diabetic[at]
        value = np.maximum(value, means.at[snomed, "mean"] / 5)
        parts.append(entries_of(consultations.person[at], consultations.day[at], code, "Value", at, value))
    return parts


def draw_findings(world: World, codes: ClinicalCodes, consultations: Consultations) -> list[Entries]:
    """Complaints, smoking, procedures, local templates, referrals and paperwork at consultations."""
    rng = world.rng("gp.findings")
    clinical = consultations.source < CLINICAL_SOURCES
    adult = is_adult(world, consultations)
    shares = [
        (("finding", "complaint"), clinical, 0.6, "Observation"),
        (("smoking",), clinical & adult, 0.18, "Observation"),
        (("procedure",), clinical & adult, 0.16, "Observation"),
        (("local",), clinical & adult, 0.08, "Observation"),
        (("local_unmapped",), clinical & adult, 0.004, "Observation"),
        (("social",), clinical & adult, 0.05, "Observation"),
        (("read_only",), clinical & adult, 0.02, "Observation"),
        (("allergy",), clinical, 0.02, "Allergy"),
        (("administrative",), np.ones(len(clinical), dtype=bool), 0.12, "Observation"),
        (("procedure",), clinical & adult, 0.05, "Referral"),
    ]
    parts = []
    for groups, among, share, kind in shares:
        at = np.flatnonzero(among & (rng.random(len(among)) < share))
        code = rng.choice(codes.positions(*groups), len(at))
        parts.append(entries_of(consultations.person[at], consultations.day[at], code, kind, at))
    return parts


def is_adult(world: World, consultations: Consultations) -> np.ndarray:
    """Whether the patient of a consultation was an adult."""
    lived = consultations.day - world.population.birth_date[consultations.person]
    adult: np.ndarray = lived.astype(np.int64) >= ADULT_YEARS * YEAR_DAYS
    return adult


def draw_immunisations(world: World, codes: ClinicalCodes) -> Entries:
    """Influenza in October for people of 65 and over, childhood immunisations on their day of life; story children have all."""
    rng = world.rng("gp.immunisations")
    people = world.population
    first, last = observed_days(world)
    drawn: list[tuple[np.ndarray, np.ndarray, str]] = []
    first_year = int(str(world.first_day)[:4])
    for year in range(first_year, first_year + 4):
        old_enough = people.birth_date < np.datetime64(f"{year - 65}-10-01")
        person = np.flatnonzero(old_enough & (rng.random(world.n) < 0.7))
        drawn.append((person, np.datetime64(f"{year}-10-01") + rng.integers(0, 60, len(person)), INFLUENZA))
    for snomed, day_of_life in CHILDHOOD:
        person = np.flatnonzero((rng.random(world.n) < 0.9) | (people.story == Story.IMMUNISATIONS))
        drawn.append((person, people.birth_date[person] + day_of_life, snomed))
    person = np.concatenate([part[0] for part in drawn])
    day = np.concatenate([part[1] for part in drawn])
    given = np.concatenate([np.full(len(part[0]), part[2]) for part in drawn])
    earliest = np.where(people.story[person] == Story.IMMUNISATIONS, people.birth_date[person], first[person])
    kept = (day >= earliest) & (day <= last[person])
    return entries_of(person[kept], day[kept], codes.coded("immunisation", given[kept]), "Immunisation")


def draw_family_history(world: World, codes: ClinicalCodes) -> Entries:
    """Illnesses of relatives of a sixth of the adults: the code is that of the illness; only the category differs."""
    rng = world.rng("gp.family_history")
    _, last = observed_days(world)
    grown = (last - world.population.birth_date).astype(np.int64) > (ADULT_YEARS + 5) * YEAR_DAYS
    person = np.flatnonzero(grown & (rng.random(world.n) < 0.16) & (world.population.story == Story.ORDINARY))
    return entries_of(
        person, _recent(rng, last[person]), rng.choice(codes.positions("family_history"), len(person)), "Family history"
    )


def draw_ethnicity(world: World, codes: ClinicalCodes) -> Entries:
    """The ethnic category, recorded for nine in ten."""
    rng = world.rng("gp.ethnicity")
    _, last = observed_days(world)
    recordable = (last - world.population.birth_date).astype(np.int64) > 0
    person = np.flatnonzero((rng.random(world.n) < 0.9) & recordable)
    letter = pd.Series(codes.positions("ethnicity"), index=list(ETHNIC_LETTERS)).reindex(world.population.ethnicity[person])
    day = np.maximum(world.population.birth_date[person] + 1, _recent(rng, last[person]))
    return entries_of(person, day, letter.to_numpy(dtype=np.int64))


def draw_type_1(world: World, codes: ClinicalCodes) -> list[Entries]:
    """Type 1 dissents, the withdrawals that follow some, and a code that differs from the dissent code in case only."""
    rng = world.rng("gp.type1")
    people = world.population
    _, last = observed_days(world)
    asked = np.flatnonzero((people.type1 != "") & (last > people.birth_date + 60))
    dissent_day = np.maximum(people.birth_date[asked] + 1, last[asked] - rng.integers(200, 900, len(asked)))
    withdrawn = people.type1[asked] == "withdrawn"
    withdrawal_day = np.minimum(last[asked], dissent_day + rng.integers(20, 190, len(asked)))
    like = np.flatnonzero((people.type1 == "") & (rng.random(world.n) < 0.01) & (people.story == Story.ORDINARY))
    like_day = np.maximum(people.birth_date[like] + 1, _recent(rng, last[like]))
    return [
        entries_of(asked, dissent_day, rng.choice(codes.positions("type1_dissent"), len(asked))),
        entries_of(asked[withdrawn], withdrawal_day[withdrawn], codes.positions("type1_withdrawn")),
        entries_of(like, like_day, codes.positions("type1_look_alike")),
    ]


def _recent(rng: np.random.Generator, last: np.ndarray) -> np.ndarray:
    return last - rng.integers(1, 1000, len(last))


def draw_prescriptions(
    world: World, codes: ClinicalCodes, drugs: pd.DataFrame, consultations: Consultations, entries: Entries
) -> tuple[Authorisations, Issues]:
    """Repeat medicines of the conditions held, issued every four weeks of the last year and a half, and acute ones."""
    rng = world.rng("gp.prescriptions")
    _, last = observed_days(world)
    problems = np.flatnonzero(entries.kind == ENTRY_KINDS.index("Problem"))
    names = codes.rows["term"].to_numpy()
    repeats = _repeat_authorisations(rng, problems, entries, names, drugs)
    window = np.maximum(repeats.day, last[repeats.person] - ISSUE_MONTHS_DAYS)
    number = np.maximum((last[repeats.person] - window).astype(np.int64) // ISSUE_GAP_DAYS, 0)
    authorisation = np.repeat(np.arange(len(repeats)), number)
    turn = np.arange(len(authorisation)) - np.repeat(np.cumsum(number) - number, number)
    repeated = Issues(
        repeats.person[authorisation],
        window[authorisation] + turn * ISSUE_GAP_DAYS + rng.integers(0, 5, len(authorisation)),
        repeats.drug[authorisation],
        authorisation,
        np.full(len(authorisation), -1, dtype=np.int64),
    )
    acute = np.flatnonzero((consultations.source < CLINICAL_SOURCES) & (rng.random(len(consultations)) < ACUTE_SHARE))
    choice = rng.choice(np.flatnonzero(drugs["group"].isin(["acute", "local"])), len(acute))
    vaccine = rng.random(len(acute)) < WITHOUT_AUTHORISATION_SHARE
    choice[vaccine] = rng.choice(np.flatnonzero(drugs["group"] == "vaccine"), vaccine.sum())
    authorised = ~vaccine
    once = Authorisations(
        consultations.person[acute][authorised],
        consultations.day[acute][authorised],
        choice[authorised],
        np.zeros(authorised.sum(), dtype=bool),
        np.full(authorised.sum(), -1, dtype=np.int64),
    )
    single = Issues(
        consultations.person[acute],
        consultations.day[acute],
        choice,
        np.where(authorised, len(repeats) + np.cumsum(authorised) - 1, -1),
        acute,
    )
    return _joined(repeats, once), _joined(repeated, single)


def _repeat_authorisations(
    rng: np.random.Generator, problems: np.ndarray, entries: Entries, names: np.ndarray, drugs: pd.DataFrame
) -> Authorisations:
    """One random medicine of the catalogue for each condition that has any."""
    choices = drugs[drugs["group"] == "repeat"].reset_index().groupby("for_condition")["index"].agg(list)
    condition = pd.Series(names[entries.code[problems]])
    count = condition.map(choices.apply(len)).fillna(0).to_numpy(dtype=np.int64)
    treated = np.flatnonzero(count > 0)
    flat = np.concatenate(choices.to_list())
    first = pd.Series(np.cumsum(choices.apply(len)) - choices.apply(len), index=choices.index)
    offset = condition.iloc[treated].map(first).to_numpy(dtype=np.int64)
    drug = flat[offset + (rng.random(len(treated)) * count[treated]).astype(np.int64)]
    problem = problems[treated]
    return Authorisations(entries.person[problem], entries.day[problem], drug, np.ones(len(problem), dtype=bool), problem)


def _joined(first: SomeRows, second: SomeRows) -> SomeRows:
    return type(first)(
        **{field.name: np.concatenate([getattr(first, field.name), getattr(second, field.name)]) for field in fields(first)}
    )
