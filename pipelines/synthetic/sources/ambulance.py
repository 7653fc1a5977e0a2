"""The ambulance extract: calls, patients, observations, medicines and procedures.

Specific traps: several vehicles and a pseudo-vehicle per call, two patients at one incident, impressions and dispatch codes
of local lists, medicines without a code, deaths on scene.
"""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.synthetic.population import SourceData, Story, Truth, World
from pipelines.synthetic.sources.rows import assemble, known, number_text, same, yes_no
from pipelines.synthetic.text import date_text, numbered, pick, replaced, spread

FORM = "dd/MM/yyyy HH:mm:ss"
NOT_YET = np.datetime64("NaT", "s")
ARREST_SHARE = 0.15
"""Share of deaths outside the stories that an ambulance crew attended."""
SECOND_PATIENT_SHARE = 0.01
SECOND_VEHICLE_SHARE, DAILY_LOG_SHARE = 0.25, 0.03
LOCAL_IMPRESSION_SHARE, NO_COMPLAINT_SHARE, PATHWAYS_SHARE = 0.4, 0.1, 0.15
SUBSEQUENT_SHARE, UNCODED_DRUG_SHARE = 0.6, 0.05
OBSERVED = ("271649006", "271650006", "78564009", "86290005", "103228002", "386725007", "1104051000000101")
OBSERVED_AGAIN = OBSERVED[:5]


@dataclass(frozen=True)
class CallKind:
    """The record of a kind of call.

    `impression` is SNOMED CT, `local` the code of the trust's local list; `shift` is the difference of each of OBSERVED from
    its usual value. `drugs` and `procedures` have shares; a drug is identified by the beginning of its name.
    """

    ampds: str
    pathways: str
    card: str
    complaint: str
    category: str
    impression: str
    local: str
    shift: tuple[float, ...]
    drugs: tuple[tuple[str, str, float], ...] = ()
    procedures: tuple[tuple[str, float], ...] = ()


ECG, OXYGEN, INFUSION, RESUSCITATION, DEFIBRILLATION = "29303009", "57485005", "14152002", "89666000", "429500007"
KINDS = {
    "fall": CallKind(
        "17D03", "Dx0127", "Falls", "1912002", "C3", "1912002", "10", (4, 0, 6, 1, -0.5, -0.2, 0),
        (("Paracetamol", "Oral", 0.4), ("Morphine", "Intravenous", 0.3)),
        ((ECG, 0.3), (INFUSION, 0.1)),
    ),
    "stroke": CallKind(
        "28C01", "Dx0118", "Stroke", "230690007", "C2", "230690007", "40", (30, 10, 5, 2, -1, 0, 2),
        (),
        ((ECG, 0.8), (OXYGEN, 0.2)),
    ),
    "mi": CallKind(
        "10D04", "Dx0111", "Chest pain", "29857009", "C2", "57054005", "21", (12, 5, 15, 3, -2, 0, 3),
        (("Aspirin", "Oral", 0.9), ("Glyceryl trinitrate", "Sublingual", 0.7), ("Morphine", "Intravenous", 0.5)),
        ((ECG, 1.0), (OXYGEN, 0.3)),
    ),
    "copd": CallKind(
        "06D01", "Dx0112", "Breathing problems", "267036007", "C2", "13645005", "31", (5, 0, 20, 9, -7, 0.4, 5),
        (("Salbutamol", "Nebulised", 0.8),),
        ((OXYGEN, 0.9), (ECG, 0.4)),
    ),
    "sepsis": CallKind(
        "26D01", "Dx0114", "Sick person", "386661006", "C2", "91302008", "50", (-22, -12, 32, 8, -3, 1.9, 6),
        (("Sodium chloride", "Intravenous", 0.8), ("Paracetamol", "Oral", 0.3)),
        ((INFUSION, 0.9), (OXYGEN, 0.4)),
    ),
    "mh_crisis": CallKind(
        "25D01", "Dx0120", "Psychiatric problem", "197480006", "C3", "197480006", "60", (8, 4, 18, 2, 0, 0, 1),
    ),
    "arrest": CallKind(
        "09E01", "Dx010", "Cardiac arrest", "410429000", "C1", "410429000", "99", (-60, -40, -40, -10, -30, -1, 12),
        (("Adrenaline", "Intraosseous", 0.8),),
        ((RESUSCITATION, 0.9), (DEFIBRILLATION, 0.4)),
    ),
}  # fmt: skip
NAMES = list(KINDS)


@dataclass(frozen=True)
class Contacts:
    """One patient seen by a crew; `own` is true for the first patient of a call. Times are NaT if a step did not happen."""

    person: np.ndarray
    kind: np.ndarray
    call_id: np.ndarray
    epcr_id: np.ndarray
    call_at: np.ndarray
    scene_at: np.ndarray
    arrive_at: np.ndarray
    own: np.ndarray

    def __len__(self) -> int:
        """The number of contacts."""
        return len(self.person)

    @property
    def died(self) -> np.ndarray:
        """Whether the patient died on scene."""
        died: np.ndarray = self.kind == NAMES.index("arrest")
        return died

    @property
    def handover_at(self) -> np.ndarray:
        """When the patient was handed over at the destination."""
        return self.arrive_at + 22 * 60

    @property
    def clear_at(self) -> np.ndarray:
        """When the crew became available."""
        return np.where(np.isnat(self.arrive_at), self.scene_at + 70 * 60, self.arrive_at + 38 * 60)

    def of_kind(self, attribute: str) -> pa.Array:
        """A text of the kind of call, per contact."""
        return spread([str(getattr(kind, attribute)) for kind in KINDS.values()], self.kind)

    def take(self, at: np.ndarray) -> "Contacts":
        """Some of the contacts."""
        return Contacts(**{field.name: getattr(self, field.name)[at] for field in fields(self)})


def build(world: World) -> SourceData:
    """All tables of the ambulance extract and the rows that must be in the published CDM."""
    contacts = draw_contacts(world)
    observations = observation_table(world, contacts)
    tables = {
        "incident": incident_table(world, contacts.take(np.flatnonzero(contacts.own))),
        "response": response_table(world, contacts.take(np.flatnonzero(contacts.own))),
        "patient_contact": contact_table(world, contacts),
        "observation": observations,
        "medication": medication_table(world, contacts),
        "intervention": intervention_table(world, contacts),
    }
    return SourceData(tables, truth_of(world, contacts))


def draw_contacts(world: World) -> Contacts:
    """The calls of the timeline, cardiac arrests on the day of death, and a second patient at a few incidents."""
    rng = world.rng("ambulance.contacts")
    timeline, people = world.timeline, world.population
    at = np.flatnonzero(~np.isnat(timeline.scene_at))
    called = Contacts(
        timeline.person[at],
        np.array([NAMES.index(kind) for kind in timeline.kind[at]], dtype=np.int64),
        timeline.call_id[at],
        timeline.epcr_id[at],
        timeline.call_at[at],
        timeline.scene_at[at],
        timeline.arrive_at[at],
        np.ones(len(at), dtype=bool),
    )
    recent = (people.death_date > world.first_day) & (people.death_date <= world.last_day)
    dead = np.flatnonzero(recent & (people.story == Story.ORDINARY) & (rng.random(world.n) < ARREST_SHARE))
    call_at = people.death_date[dead].astype("datetime64[s]") + rng.integers(0, 22 * 3600, len(dead))
    number = np.char.mod("%08d", np.arange(len(dead)))
    arrests = Contacts(
        dead,
        np.full(len(dead), NAMES.index("arrest")),
        np.char.add("CA", number),
        np.char.add("EA", number),
        call_at,
        call_at + rng.integers(300, 1200, len(dead)),
        np.full(len(dead), NOT_YET),
        np.ones(len(dead), dtype=bool),
    )
    first = np.flatnonzero((people.story[called.person] == Story.ORDINARY) & (rng.random(len(called)) < SECOND_PATIENT_SHARE))
    companion = rng.permutation(world.n)[: len(first)]
    alive = ~(people.death_date[companion] <= called.call_at[first].astype("datetime64[D]"))
    born = people.birth_date[companion] < called.call_at[first].astype("datetime64[D]")
    fit = alive & born & (people.story[companion] == Story.ORDINARY) & (companion != called.person[first])
    first_patient = called.take(first[fit])
    seconds = Contacts(
        companion[fit],
        np.full(int(fit.sum()), NAMES.index("fall")),
        first_patient.call_id,
        replaced(first_patient.epcr_id, "EP", "ES"),
        first_patient.call_at,
        first_patient.scene_at,
        np.full(int(fit.sum()), NOT_YET),
        np.zeros(int(fit.sum()), dtype=bool),
    )
    parts = [called, arrests, seconds]
    return Contacts(**{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Contacts)})


def table_of(world: World, contacts: Contacts, columns: dict[str, pa.Array | None]) -> pa.Table:
    """A table with one row per contact."""
    columns = columns | {"last_updated": date_text(contacts.clear_at + 3600, FORM)}
    provider = spread(world.population.ambulance_trust, contacts.person)
    return assemble(columns, provider, world.night_of(contacts.call_at), contacts.person)


def incident_table(world: World, contacts: Contacts) -> pa.Table:
    """One row per call."""
    rng = world.rng("ambulance.incidents")
    count = len(contacts)
    ordinary = world.population.story[contacts.person] == Story.ORDINARY
    pathways = ordinary & (rng.random(count) < PATHWAYS_SHARE)
    uncoded = ordinary & (rng.random(count) < NO_COMPLAINT_SHARE)
    kinds = list(KINDS.values())
    codes = [kind.ampds for kind in kinds] + [kind.pathways for kind in kinds]
    conveyed = ~np.isnat(contacts.arrive_at)
    columns: dict[str, pa.Array | None] = {
        "call_id": known(contacts.call_id),
        "incident_number": known(replaced(contacts.call_id, "C", "N")),
        "call_date": date_text(contacts.call_at, "dd/MM/yyyy"),
        "call_origin": pick(rng, ["999", "111", "HCP"], count, [85, 12, 3]),
        "call_connect_ts": date_text(contacts.call_at, FORM),
        "clock_start_ts": date_text(contacts.call_at + 45, FORM),
        "dispatch_code_ts": date_text(contacts.call_at + 95, FORM),
        "dispatch_system": spread(["AMPDS", "PATHWAYS"], pathways.astype(np.int64)),
        "dispatch_code": spread(codes, contacts.kind + len(kinds) * pathways),
        "chief_complaint_code": spread([kind.complaint for kind in kinds], np.where(uncoded, -1, contacts.kind)),
        "chief_complaint": contacts.of_kind("card"),
        "response_category": contacts.of_kind("category"),
        "treatment_type": spread(["S&T", "S&C"], conveyed.astype(np.int64)),
        "stop_code": None,
        "incident_postcode": spread(world.population.postcode, contacts.person),
        "pickup_location_type": pick(rng, ["Home", "Public place", "Care home"], count, [75, 15, 10]),
        "aqi_flag": same("Y", count),
        "caller_telephone": spread(world.population.phone, contacts.person),
    }
    return table_of(world, contacts, columns)


def response_table(world: World, contacts: Contacts) -> pa.Table:
    """The vehicle of every call, a second one of some, and the pseudo-vehicle of a control room's daily log."""
    rng = world.rng("ambulance.responses")
    second = np.flatnonzero(rng.random(len(contacts)) < SECOND_VEHICLE_SHARE)
    logged = np.flatnonzero(rng.random(len(contacts)) < DAILY_LOG_SHARE)
    at = np.concatenate([np.arange(len(contacts)), second, logged])
    vehicle = np.repeat([0, 1, 2], [len(contacts), len(second), len(logged)])
    sent = contacts.take(at)
    main = vehicle == 0
    arrive_at = np.where(main, sent.arrive_at, NOT_YET)
    destination = spread(world.population.acute_trust, np.where(np.isnat(arrive_at), -1, sent.person))
    columns: dict[str, pa.Array | None] = {
        "call_id": known(sent.call_id),
        "response_id": spread(["R1", "R2", "LOG"], vehicle),
        "resource_type": spread(["Double crewed ambulance", "Rapid response vehicle", "Daily Log"], vehicle),
        "callsign": numbered("A", rng.integers(100, 999, len(at)), 3),
        "allocated_ts": date_text(sent.call_at + 120, FORM),
        "mobile_ts": date_text(sent.call_at + 180, FORM),
        "at_scene_ts": date_text(np.where(main, sent.scene_at, sent.scene_at + 240), FORM),
        "left_scene_ts": date_text(arrive_at - 14 * 60, FORM),
        "at_destination_ts": date_text(arrive_at, FORM),
        "handover_ts": date_text(np.where(main, sent.handover_at, NOT_YET), FORM),
        "clear_ts": date_text(sent.clear_at, FORM),
        "conveyed_flag": yes_no(~np.isnat(arrive_at), "N", "Y"),
        "destination_ods": destination,
        "destination_text": spread(["General Hospital"], np.where(np.isnat(arrive_at), -1, 0)),
    }
    return table_of(world, sent, columns)


def contact_table(world: World, contacts: Contacts) -> pa.Table:
    """The head of every patient care record."""
    rng = world.rng("ambulance.patient_contacts")
    people, person, count = world.population, contacts.person, len(contacts)
    ordinary = people.story[person] == Story.ORDINARY
    local = ordinary & (rng.random(count) < LOCAL_IMPRESSION_SHARE)
    kinds = list(KINDS.values())
    conveyed = ~np.isnat(contacts.arrive_at)
    outcome = np.where(contacts.died, 2, np.where(conveyed, 0, 1))
    age = (contacts.call_at.astype("datetime64[D]") - people.birth_date[person]).astype(np.int64) / 365.25
    columns: dict[str, pa.Array | None] = {
        "epcr_id": known(contacts.epcr_id),
        "call_id": known(contacts.call_id),
        "incident_number": known(replaced(contacts.call_id, "C", "N")),
        "response_id": same("R1", count),
        "nhs_number": spread(people.nhs_number, person),
        "local_patient_id": spread(people.ambulance_id, person),
        "forename": spread(people.given_name, person),
        "surname": spread(people.surname, person),
        "sex": spread(["M", "F"], people.sex[person].astype(np.int64) - 1),
        "date_of_birth": date_text(people.birth_date[person], "dd/MM/yyyy"),
        "age_years": number_text(np.floor(age), 0),
        "ethnicity": spread(people.ethnicity, person),
        "home_postcode": spread(people.postcode, person),
        "gp_ods": spread(people.gp_practice, person),
        "incident_ts": date_text(contacts.call_at, FORM),
        "impression_code": spread(
            [kind.impression for kind in kinds] + [kind.local for kind in kinds], contacts.kind + len(kinds) * local
        ),
        "impression_system": spread(["SNOMED", "LOCAL"], local.astype(np.int64)),
        "outcome": spread(["Conveyed", "Not conveyed", "Died on scene"], outcome),
        "non_conveyance_reason": spread(["Treated at scene"], np.where(outcome == 1, 0, -1)),
        "died_on_scene": yes_no(contacts.died, "N", "Y"),
        "life_extinct_ts": date_text(np.where(contacts.died, contacts.scene_at + 35 * 60, NOT_YET), FORM),
        "handover_notes": spread(["Seen at home, handed over to the nurse in charge"], np.where(conveyed, 0, -1)),
        "test_record": yes_no(people.test_patient[person], "N", "Y"),
    }
    return table_of(world, contacts, columns)


def observation_table(world: World, contacts: Contacts) -> pa.Table:
    """A first set of observations of every patient, and a second of some, shifted by what is wrong with the patient."""
    rng = world.rng("ambulance.observations")
    measurements = world.catalogue.measurements.drop_duplicates("snomed").set_index("snomed").loc[list(OBSERVED)]
    again = np.flatnonzero(rng.random(len(contacts)) < SUBSEQUENT_SHARE)
    at = np.concatenate([np.repeat(np.arange(len(contacts)), len(OBSERVED)), np.repeat(again, len(OBSERVED_AGAIN))])
    what = np.concatenate(
        [np.tile(np.arange(len(OBSERVED)), len(contacts)), np.tile(np.arange(len(OBSERVED_AGAIN)), len(again))]
    )
    repeated = np.arange(len(at)) >= len(contacts) * len(OBSERVED)
    seen = contacts.take(at)
    shift = np.array([kind.shift for kind in KINDS.values()])[seen.kind, what]
    value = rng.normal(measurements["mean"].to_numpy()[what], measurements["sd"].to_numpy()[what]) + shift
    value = np.maximum(value, 0)
    oxygen = OBSERVED.index("103228002")
    value = np.where(what == oxygen, np.minimum(value, 100), value)
    temperature = what == OBSERVED.index("386725007")
    value = np.where(temperature, np.round(value, 1), np.round(value))
    columns: dict[str, pa.Array | None] = {
        "epcr_id": known(contacts.epcr_id).take(pa.array(at)),
        "sequence_number": number_text((what + 1 + repeated * len(OBSERVED)).astype(float), 0),
        "observation_ts": date_text(seen.scene_at + 420 + repeated * 1500, FORM),
        "observation_code": spread(list(OBSERVED), what),
        "code_system": same("SNOMED", len(at)),
        "observation_name": spread(measurements["name"].to_numpy(), what),
        "value_number": number_text(value, 1),
        "value_text": None,
        "unit": spread(measurements["unit"].to_numpy(), what),
        "sequence_type": spread(["Primary", "Subsequent"], repeated.astype(np.int64)),
    }
    return table_of(world, seen, columns)


def medication_table(world: World, contacts: Contacts) -> pa.Table:
    """Medicines given by the crew."""
    rng = world.rng("ambulance.medications")
    choices = [(number, *drug) for number, kind in enumerate(KINDS.values()) for drug in kind.drugs]
    given = _drawn(rng, world, contacts, np.array([c[0] for c in choices]), np.array([c[3] for c in choices]))
    at, choice = given["at"].to_numpy(), given["choice"].to_numpy()
    drugs = world.catalogue.drugs
    row = np.array([int(np.flatnonzero(drugs["name"].str.startswith(name))[0]) for _, name, _, _ in choices])[choice]
    seen = contacts.take(at)
    ordinary = world.population.story[seen.person] == Story.ORDINARY
    uncoded = ordinary & (rng.random(len(at)) < UNCODED_DRUG_SHARE)
    columns: dict[str, pa.Array | None] = {
        "epcr_id": known(seen.epcr_id),
        "sequence_number": number_text(given["sequence"].to_numpy(dtype=float), 0),
        "administered_ts": date_text(seen.scene_at + 900, FORM),
        "drug_code": spread(drugs["dmd"].to_numpy(), np.where(uncoded, -1, row)),
        "code_system": spread(["DMD", "LOCAL"], uncoded.astype(np.int64)),
        "drug_name": spread(drugs["name"].to_numpy(), row),
        "dose": number_text(drugs["dose"].astype(float).to_numpy()[row]),
        "dose_unit": spread(drugs["dose_unit"].to_numpy(), row),
        "route": spread([route for _, _, route, _ in choices], choice),
        "given_by": numbered("P", rng.integers(10_000, 99_999, len(at)), 6),
    }
    return table_of(world, seen, columns)


def intervention_table(world: World, contacts: Contacts) -> pa.Table:
    """Procedures carried out by the crew."""
    rng = world.rng("ambulance.interventions")
    choices = [(number, *done) for number, kind in enumerate(KINDS.values()) for done in kind.procedures]
    done = _drawn(rng, world, contacts, np.array([c[0] for c in choices]), np.array([c[2] for c in choices]))
    at, choice = done["at"].to_numpy(), done["choice"].to_numpy()
    names = world.catalogue.procedures.drop_duplicates("snomed").set_index("snomed")["name"]
    seen = contacts.take(at)
    columns: dict[str, pa.Array | None] = {
        "epcr_id": known(seen.epcr_id),
        "sequence_number": number_text(done["sequence"].to_numpy(dtype=float), 0),
        "intervention_ts": date_text(seen.scene_at + 600, FORM),
        "intervention_code": spread([code for _, code, _ in choices], choice),
        "code_system": same("SNOMED", len(at)),
        "intervention_name": spread([str(names[code]) for _, code, _ in choices], choice),
        "site": None,
        "success_flag": same("Y", len(at)),
    }
    return table_of(world, seen, columns)


def _drawn(rng: np.random.Generator, world: World, contacts: Contacts, kind: np.ndarray, share: np.ndarray) -> pd.DataFrame:
    """Contact, choice and sequence number of items drawn by their share; story people have all items of their kind."""
    in_story = world.population.story[contacts.person] != Story.ORDINARY
    likely = np.maximum(share[None, :], in_story[:, None])
    happens = (contacts.kind[:, None] == kind[None, :]) & (rng.random((len(contacts), len(kind))) < likely)
    at, choice = np.nonzero(happens)
    chosen = pd.DataFrame({"at": at, "choice": choice})
    return chosen.assign(sequence=chosen.groupby("at").cumcount() + 1)


def truth_of(world: World, contacts: Contacts) -> list[Truth]:
    """The visit of every story person, the impression, one observation and the first medicine or procedure."""
    truth = []
    for at in np.flatnonzero(world.population.story[contacts.person] != Story.ORDINARY):
        person = int(contacts.person[at])
        story = Story(world.population.story[person]).name.lower()
        kind = KINDS[NAMES[contacts.kind[at]]]
        called, seen = contacts.call_at[at].astype("datetime64[D]").item(), contacts.scene_at[at] + 420
        found = [("visit_occurrence", "Conveyed", called), ("measurement", OBSERVED[0], seen.astype("datetime64[D]").item())]
        if kind in (KINDS["mi"], KINDS["copd"]):
            found.append(("condition_occurrence", kind.impression, called))
        truth += [Truth(story, person, "ambulance", table, code, day) for table, code, day in found]
    return truth
