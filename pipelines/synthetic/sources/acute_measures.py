"""Laboratory results and bedside observations of the acute extract, by far its largest tables."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.synthetic import places
from pipelines.synthetic.population import World
from pipelines.synthetic.sources.acute_emergency import Attendances
from pipelines.synthetic.sources.acute_inpatient import STAMP, WARDS
from pipelines.synthetic.sources.acute_outpatient import Appointments
from pipelines.synthetic.sources.acute_patient import identity_columns
from pipelines.synthetic.sources.acute_spells import Spells
from pipelines.synthetic.sources.children import children_of, is_in_story, joined
from pipelines.synthetic.sources.rows import assemble, same
from pipelines.synthetic.text import date_text, numbered, spread

PANELS = {
    "full blood count": ("HB", "WBC", "PLT", "RBC", "HCT", "MCV", "MCH", "NEUT", "LYMPH", "EOS"),
    "renal profile": ("NA", "K", "CREA", "UREA", "EGFR"),
    "liver profile": ("ALB", "ALT", "ALP", "BILI", "GGT"),
    "c-reactive protein": ("CRP",),
    "troponin": ("TROPT",),
    "lactate": ("LACT",),
    "diabetes": ("HBA1C", "GLU"),
    "lipids": ("CHOL", "HDL", "LDL", "TRIG"),
}
ADMISSION_PANELS = ("full blood count", "renal profile", "c-reactive protein")
KIND_PANELS = {"mi": "troponin", "sepsis": "lactate", "last_days": "liver profile"}
HOURS_BETWEEN_TESTS = 48
MOST_TESTS = 4
EMERGENCY_TEST_SHARE = 0.45
OUTPATIENT_TEST_SHARE = 0.2

WHOLE_BLOOD = (*PANELS["full blood count"], "HBA1C")
GLYCOLYSIS_STOPPED = ("GLU", "LACT")
SPECIMENS = ("Serum", "EDTA blood", "Fluoride plasma")
"""Kinds of sample: counts and HbA1c need whole blood, glucose needs a preservative, other tests serum."""

BELOW_RANGE = {"CRP": 5.0, "TROPT": 3.0, "BILI": 3.0, "FERR": 5.0}
ABOVE_RANGE = {"EGFR": 90.0, "BNP": 3000.0}
"""Limits outside of which a laboratory reports <limit or >limit."""

NO_NUMBER = ("See comment", "Haemolysed", "*")
NO_NUMBER_SHARE = 0.004
CODED_SCHEMES = ("LOCAL", "LOINC", "SNOMED CT")
SCHEME_SHARES = {"RZ1": (1.0, 0.0, 0.0), "RZ2": (0.5, 0.3, 0.2)}
"""How the laboratory of each trust codes its tests."""

STATUSES = ("final", "corrected", "cancelled")
STATUS_SHARES = (0.975, 0.02, 0.005)

HOURS_BETWEEN_SETS = 8
MOST_SETS = 8
EMERGENCY_SET_SHARE = 0.6
VITALS = {
    "respiration": "86290005", "saturation": "103228002", "systolic": "271649006", "diastolic": "271650006",
    "pulse": "78564009", "temperature": "386725007", "news2": "1104051000000101",
}  # fmt: skip
SYSTOLIC, DIASTOLIC = list(VITALS).index("systolic"), list(VITALS).index("diastolic")
BLOOD_PRESSURE = "75367002"
CHARTS_PAIRS = "RZ2"
"""The trust whose charting system writes a blood pressure as one text under one code, such as 142/88."""

SEVERITY = {"sepsis": 1.6, "copd": 1.2, "last_days": 2.0, "stroke": 0.6, "mi": 0.5}
NO_TIME = np.datetime64("NaT", "s")


def decimal_text(values: np.ndarray, decimals: np.ndarray) -> pa.Array:
    """Numbers with 0 to 2 decimals each, through a table of the texts that occur; null for NaN."""
    missing = np.isnan(values)
    scaled = np.round(np.where(missing, 0, values) * 10.0**decimals).astype(np.int64)
    keys, inverse = np.unique(scaled * 4 + decimals, return_inverse=True)
    texts = [f"{key // 4 / 10 ** (key % 4):.{key % 4}f}" for key in keys.tolist()]
    return spread(texts, np.where(missing, -1, inverse))


@dataclass(frozen=True)
class Encounters:
    """Occasions of measurement: the person, the spell or attendance, the time, the severity, the reason."""

    person: np.ndarray
    identifier: np.ndarray
    at: np.ndarray
    severity: np.ndarray
    kind: np.ndarray

    def __len__(self) -> int:
        """The number of occasions."""
        return len(self.person)


def _repeated(world: World, spells: Spells, hours: int, most: int) -> Encounters:
    length = (spells.until(world) - spells.start).astype(np.int64) // 3600
    spell, position = children_of(np.clip(1 + length // hours, 1, most))
    return Encounters(
        person=spells.person[spell],
        identifier=spells.number[spell],
        at=spells.start[spell] + (position * hours * 3600 + 1200).astype("timedelta64[s]"),
        severity=np.array([SEVERITY.get(kind, 0.0) for kind in spells.kind])[spell] / (1 + position * 0.5),
        kind=spells.kind[spell],
    )


def _at_arrival(attendances: Attendances, row: np.ndarray) -> Encounters:
    kind = attendances.kind[row]
    severity = np.array([SEVERITY.get(name, 0.0) for name in kind])
    at = attendances.arrival[row] + np.timedelta64(1200, "s")
    return Encounters(attendances.person[row], attendances.identifier[row], at, severity, kind)


def _all(parts: list[Encounters]) -> Encounters:
    return Encounters(
        person=np.concatenate([part.person for part in parts]),
        identifier=np.concatenate([part.identifier for part in parts]),
        at=np.concatenate([part.at for part in parts]),
        severity=np.concatenate([part.severity for part in parts]),
        kind=np.concatenate([part.kind for part in parts]),
    )


def draw_requests(world: World, spells: Spells, attendances: Attendances, appointments: Appointments) -> Encounters:
    """Occasions on which blood was taken."""
    rng = world.rng("acute.requests")
    in_story = is_in_story(world, attendances.person)
    emergency = np.flatnonzero(in_story | (rng.random(len(in_story)) < EMERGENCY_TEST_SHARE))
    clinic = np.flatnonzero(appointments.was_seen & (rng.random(len(appointments.person)) < OUTPATIENT_TEST_SHARE))
    identifiers = np.char.add("OA", np.char.mod("%08d", (clinic + 1)))
    seen = Encounters(
        appointments.person[clinic],
        identifiers,
        appointments.at[clinic] + np.timedelta64(1200, "s"),
        np.zeros(len(clinic)),
        np.full(len(clinic), "clinic"),
    )
    stays = _repeated(world, spells, HOURS_BETWEEN_TESTS, MOST_TESTS)
    return _all([stays, _at_arrival(attendances, emergency), seen])


def result_table(world: World, requests: Encounters) -> pa.Table:
    """One row per result of the tests that each request asks for."""
    rng = world.rng("acute.results")
    tests = world.catalogue.measurements
    tests = tests[tests["local_code"] != ""].reset_index(drop=True)
    position = {code: row for row, code in enumerate(tests["local_code"])}
    panels = list(PANELS)
    members = np.concatenate([[position[code] for code in PANELS[panel]] for panel in panels])
    of_panel = np.repeat(np.arange(len(panels)), [len(PANELS[panel]) for panel in panels])
    request, panel = _panels_of(rng, requests, panels)
    row, member = joined(panel, of_panel)
    request, test = request[row], members[member]

    person, at = requests.person[request], requests.at[request]
    in_story = is_in_story(world, person)
    value = rng.normal(tests["mean"].to_numpy()[test], tests["sd"].to_numpy()[test])
    inflamed = np.isin(tests["local_code"].to_numpy(dtype="U")[test], ("CRP", "WBC", "NEUT", "LACT"))
    value = np.maximum(value * np.where(inflamed, 1 + requests.severity[request], 1.0), 0.0)
    scheme = _schemes(world, rng, tests, test, person)
    codes = tests["local_code"].to_list() + tests["loinc"].to_list() + tests["snomed"].to_list()
    sd = tests["sd"].to_numpy()[test]
    low, high = tests["low"].to_numpy()[test], tests["high"].to_numpy()[test]
    status = np.where(in_story, 0, rng.choice(len(STATUSES), len(test), p=STATUS_SHARES))
    flag = np.where(value < low, 1, np.where(value > high, 2, 0))
    reported = at + np.timedelta64(4 * 3600, "s")
    columns = {
        **identity_columns(world, person),
        "encounter_id": spread(requests.identifier, request),
        "order_id": numbered("RQ", 1 + request, 9),
        "result_id": numbered("RS", np.arange(1, len(test) + 1), 10),
        "test_code": spread(codes, scheme * len(tests) + test),
        "test_code_scheme": spread(list(CODED_SCHEMES), scheme),
        "test_name": spread(tests["name"].to_list(), test),
        "specimen_type": spread(list(SPECIMENS), _specimens(tests)[test]),
        "collected_datetime": date_text(at, "dd/MM/yyyy HH:mm"),
        "reported_datetime": date_text(reported, "dd/MM/yyyy HH:mm"),
        "result_value": _reported(rng, tests["local_code"].to_numpy(dtype="U")[test], value, sd, in_story),
        "result_units": spread(tests["unit"].to_list(), test),
        "reference_low": decimal_text(tests["low"].to_numpy(), np.full(len(tests), 2)).take(pa.array(test)),
        "reference_high": decimal_text(tests["high"].to_numpy(), np.full(len(tests), 2)).take(pa.array(test)),
        "abnormal_flag": spread(["", "L", "H"], flag),
        "result_status": spread(list(STATUSES), status),
        "record_last_updated": date_text(reported, STAMP),
    }
    return assemble(columns, spread(world.population.acute_trust, person), world.night_of(at), person)


def _panels_of(rng: np.random.Generator, requests: Encounters, panels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The panels of each request: those of every admission or attendance, those of its kind, one or two in a clinic."""
    is_clinic = requests.kind == "clinic"
    acute = np.flatnonzero(~is_clinic)
    parts = [(acute, panels.index(name)) for name in ADMISSION_PANELS]
    parts += [(np.flatnonzero(requests.kind == kind), panels.index(name)) for kind, name in KIND_PANELS.items()]
    for name, share in (("renal profile", 0.5), ("diabetes", 0.3), ("lipids", 0.3), ("liver profile", 0.3)):
        parts.append((np.flatnonzero(is_clinic & (rng.random(len(requests)) < share)), panels.index(name)))
    request = np.concatenate([rows for rows, _ in parts])
    panel = np.concatenate([np.full(len(rows), number) for rows, number in parts])
    order = np.argsort(request, kind="stable")
    return request[order], panel[order]


def _specimens(tests: pd.DataFrame) -> np.ndarray:
    """Position in SPECIMENS of the sample that each test needs."""
    return np.select([tests["local_code"].isin(WHOLE_BLOOD), tests["local_code"].isin(GLYCOLYSIS_STOPPED)], [1, 2], 0)


def _schemes(world: World, rng: np.random.Generator, tests: pd.DataFrame, test: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Position in CODED_SCHEMES of each result; local where the test lacks the code of the drawn scheme."""
    trust = np.searchsorted(np.array(places.ACUTE_TRUSTS), world.population.acute_trust[person])
    limits = np.cumsum([SCHEME_SHARES[name] for name in places.ACUTE_TRUSTS], axis=1)
    scheme = (rng.random(len(test))[:, None] >= limits[trust]).sum(axis=1)
    scheme = np.minimum(scheme, len(CODED_SCHEMES) - 1)
    lacks = np.array([(tests[name] == "").to_numpy() for name in ("local_code", "loinc", "snomed")])
    return np.where(lacks[scheme, test] | is_in_story(world, person), 0, scheme)


def _reported(rng: np.random.Generator, code: np.ndarray, value: np.ndarray, sd: np.ndarray, in_story: np.ndarray) -> pa.Array:
    """Results as text: <limit and >limit beyond what the method measures, sometimes a remark and no number."""
    decimals = np.select([sd >= 10, sd >= 1], [0, 1], 2)
    numbers = decimal_text(value, decimals)
    forms = [f"<{limit:g}" for limit in BELOW_RANGE.values()] + [f">{limit:g}" for limit in ABOVE_RANGE.values()]
    instead = np.full(len(value), -1)
    for position, (test, limit) in enumerate(BELOW_RANGE.items()):
        instead[(code == test) & (value < limit)] = position
    for position, (test, limit) in enumerate(ABOVE_RANGE.items(), start=len(BELOW_RANGE)):
        instead[(code == test) & (value > limit)] = position
    remarked = ~in_story & (rng.random(len(value)) < NO_NUMBER_SHARE)
    instead = np.where(remarked, len(forms) + rng.integers(0, len(NO_NUMBER), len(value)), instead)
    return pc.coalesce(spread([*forms, *NO_NUMBER], instead), numbers)


def draw_observation_sets(world: World, spells: Spells, attendances: Attendances) -> Encounters:
    """Rounds of observations: every few hours of a stay, and once in the emergency department."""
    rng = world.rng("acute.observation_sets")
    in_story = is_in_story(world, attendances.person)
    observed = np.flatnonzero(in_story | (rng.random(len(in_story)) < EMERGENCY_SET_SHARE))
    return _all([_repeated(world, spells, HOURS_BETWEEN_SETS, MOST_SETS), _at_arrival(attendances, observed)])


def observation_table(world: World, sets: Encounters) -> pa.Table:
    """One row per observation; the NEWS2 total is computed from the values of its set.

    A set that is charted in pairs has one row for both blood pressures.
    """
    rng = world.rng("acute.observations")
    measurements = world.catalogue.measurements
    ill, count = sets.severity, len(sets)
    values = np.empty((count, len(VITALS)))
    values[:, 0] = np.clip(np.round(rng.normal(16 + 3 * ill, 2.5)), 8, 40)
    values[:, 1] = np.clip(np.round(rng.normal(97 - 1.5 * ill, 1.5)), 78, 100)
    values[:, 2] = np.clip(np.round(rng.normal(131 - 8 * ill, 15)), 70, 210)
    values[:, 3] = np.round(values[:, 2] * rng.normal(0.59, 0.04, count))
    values[:, 4] = np.clip(np.round(rng.normal(77 + 10 * ill, 11)), 40, 160)
    values[:, 5] = np.clip(np.round(rng.normal(36.8 + 0.4 * ill, 0.4), 1), 34, 41)
    values[:, 6] = news2_total(values)
    decimals = np.array([0, 0, 0, 0, 0, 1, 0])
    in_pairs = (world.population.acute_trust[sets.person] == CHARTS_PAIRS) & ~is_in_story(world, sets.person)
    kind = np.tile(np.arange(len(VITALS)), count)
    row = np.repeat(np.arange(count), len(VITALS))
    number = np.flatnonzero(~(in_pairs[row] & (kind == DIASTOLIC)))
    kind, row = kind[number], row[number]
    is_pair = in_pairs[row] & (kind == SYSTOLIC)
    what = np.where(is_pair, len(VITALS), kind)
    person, at = sets.person[row], sets.at[row]
    by_code = measurements[measurements["snomed"] != ""].drop_duplicates("snomed").set_index("snomed")
    named = by_code.loc[list(VITALS.values())]
    single = decimal_text(np.where(is_pair, np.nan, values[row, kind]), decimals[kind])
    text = pc.coalesce(single, _pair_text(values[row, SYSTOLIC], values[row, DIASTOLIC]))
    columns = {
        "observation_id": numbered("OB", 1 + number, 10),
        **identity_columns(world, person),
        "encounter_id": spread(sets.identifier, row),
        "ward_code": spread(list(WARDS), person % len(WARDS)),
        "observation_datetime": date_text(at, STAMP),
        "observation_code": spread([*VITALS.values(), BLOOD_PRESSURE], what),
        "code_scheme": same("SNOMED CT", len(row)),
        "observation_name": spread([*named["name"], "Blood pressure"], what),
        "value_text": text,
        "value_number": single,
        "unit": spread(named["unit"].to_list(), kind),
        "clinician_id": numbered("N", 1 + row % 200, 5),
        "record_last_updated": date_text(at, STAMP),
    }
    return assemble(columns, spread(world.population.acute_trust, person), world.night_of(at), person)


def _pair_text(systolic: np.ndarray, diastolic: np.ndarray) -> pa.Array:
    """Both pressures as one text, through a table of the texts that occur."""
    keys, inverse = np.unique((systolic * 1000 + diastolic).astype(np.int64), return_inverse=True)
    return spread([f"{key // 1000}/{key % 1000}" for key in keys.tolist()], inverse)


def news2_total(values: np.ndarray) -> np.ndarray:
    """The National Early Warning Score 2 of rows of VITALS, for alert patients breathing air, oxygen scale 1."""
    respiration, saturation, systolic, _, pulse, temperature = values[:, :6].T
    total: np.ndarray = (
        _banded(respiration, (9, 12, 21, 25), (3, 1, 0, 2, 3))
        + _banded(saturation, (92, 94, 96), (3, 2, 1, 0))
        + _banded(systolic, (91, 101, 111, 220), (3, 2, 1, 0, 3))
        + _banded(pulse, (41, 51, 91, 111, 131), (3, 1, 0, 1, 2, 3))
        + _banded(temperature, (35.1, 36.1, 38.1, 39.1), (3, 1, 0, 1, 2))
    )
    return total.astype(float)


def _banded(values: np.ndarray, from_: tuple[float, ...], points: tuple[int, ...]) -> np.ndarray:
    """Points of the band of each value; a band includes its lower limit."""
    return np.array(points)[np.searchsorted(np.array(from_), values, side="right")]
