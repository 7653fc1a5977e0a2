"""Electronic prescribing of the acute extract: inpatient orders and their doses."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.synthetic.population import World
from pipelines.synthetic.sources.acute_inpatient import STAMP
from pipelines.synthetic.sources.acute_patient import identity_columns, site_codes
from pipelines.synthetic.sources.acute_spells import Spells
from pipelines.synthetic.sources.children import children_of, conditions_held, is_in_story, joined
from pipelines.synthetic.sources.rows import assemble, known, number_text, same, yes_no
from pipelines.synthetic.text import date_text, numbered, spread

EVERYBODY: tuple[str, ...] = ("Paracetamol 500mg tablets",)
BEDBOUND: tuple[str, ...] = ("Enoxaparin sodium 40mg/0.4ml solution for injection pre-filled syringes",)
FOR_KIND = {
    "sepsis": ("Gentamicin 80mg/2ml solution for injection vials", "Sodium chloride 0.9% infusion 500ml bags"),
    "fall": ("Morphine 10mg/1ml solution for injection ampoules",),
    "elective_hip": ("Ondansetron 4mg/2ml solution for injection ampoules",),
    "copd": ("Prednisolone 5mg tablets", "Doxycycline 100mg capsules"),
    "mi": ("Aspirin 75mg dispersible tablets", "Atorvastatin 80mg tablets"),
    "last_days": ("Morphine 10mg/1ml solution for injection ampoules",),
}
MOST_REGULAR = 3
MOST_DOSES = 12
DOSES_PER_DAY = 2
FREQUENCY_TEXTS = ("twice a day", "BD", "12 hourly", "as per ward protocol")
CODE_MISSING_SHARE = 0.06
NOT_GIVEN_SHARE = 0.06
UPDATED_SHARE = 0.05
NO_TIME = np.datetime64("NaT", "s")


@dataclass(frozen=True)
class Orders:
    """Medication orders: spell and row of `catalogue.drugs` by order."""

    spell: np.ndarray
    drug: np.ndarray
    has_code: np.ndarray

    def identifiers(self) -> pa.Array:
        """The prescribed item identifier of each order."""
        return numbered("RX", np.arange(1, len(self.spell) + 1), 10)


def draw_orders(world: World, spells: Spells) -> Orders:
    """Standard medicines, medicines for the reason of the stay, and regular medicines for conditions held."""
    rng = world.rng("acute.orders")
    drugs = world.catalogue.drugs
    position = {name: row for row, name in enumerate(drugs["name"])}
    overnight = np.flatnonzero(~spells.is_day_case)
    every = np.arange(len(spells))
    wanted = [(every, EVERYBODY), (overnight, BEDBOUND)]
    wanted += [(np.flatnonzero(spells.kind == kind), names) for kind, names in FOR_KIND.items()]
    given = [(rows, position[name]) for rows, names in wanted for name in names]
    spell = np.concatenate([rows for rows, _ in given])
    drug = np.concatenate([np.full(len(rows), row) for rows, row in given])

    parent, condition = conditions_held(world, spells.person, spells.start, "acute", MOST_REGULAR)
    names = world.catalogue.conditions["name"].to_numpy(dtype="U")
    treats = np.argsort(drugs["for_condition"].to_numpy(dtype="U"), kind="stable")
    held, choice = joined(names[condition], drugs["for_condition"].to_numpy(dtype="U")[treats])
    regular, regular_drug = parent[held], treats[choice]
    taken = rng.random(len(regular)) < 0.5
    spell, drug = np.concatenate([spell, regular[taken]]), np.concatenate([drug, regular_drug[taken]])

    _, first = np.unique(spell * len(drugs) + drug, return_index=True)
    spell, drug = spell[first], drug[first]
    in_story = is_in_story(world, spells.person[spell])
    return Orders(spell, drug, in_story | (rng.random(len(spell)) >= CODE_MISSING_SHARE))


def _drug_columns(world: World, orders: Orders, order: np.ndarray) -> dict[str, pa.Array | None]:
    drugs = world.catalogue.drugs
    drug = orders.drug[order]
    return {
        "medication_name": spread(drugs["name"].to_list(), drug),
        "dmd_code": spread(drugs["dmd"].to_list(), np.where(orders.has_code[order], drug, -1)),
        "route_code": None,
        "dose_quantity": number_text(drugs["dose"].astype(float).to_numpy(), 1).take(pa.array(drug)),
        "dose_unit": spread(drugs["dose_unit"].to_list(), drug),
    }


def prescription_table(world: World, spells: Spells, orders: Orders) -> pa.Table:
    """One row per order, and a later row for the few orders that were changed within the same extract."""
    rng = world.rng("acute.prescriptions")
    count = len(orders.spell)
    finished = ~np.isnat(spells.end[orders.spell])
    started = spells.start[orders.spell] + np.timedelta64(3600, "s")
    updated = np.flatnonzero(finished & ~is_in_story(world, spells.person[orders.spell]) & (rng.random(count) < UPDATED_SHARE))
    order = np.concatenate([updated, np.arange(count)])
    is_final = np.repeat([False, True], [len(updated), count])
    spell = orders.spell[order]
    person = spells.person[spell]
    end = np.where(is_final, spells.end[spell], NO_TIME)
    written = np.where(np.isnat(end), started[order], end)
    drugs = world.catalogue.drugs
    columns = {
        "prescribed_item_identifier": orders.identifiers().take(pa.array(order)),
        "site_code": site_codes(world, person),
        **identity_columns(world, person),
        "hospital_provider_spell_identifier": known(spells.number).take(pa.array(spell)),
        "authorised_datetime": date_text(started[order], STAMP),
        "start_datetime": date_text(started[order], STAMP),
        "end_datetime": date_text(end, STAMP),
        **_drug_columns(world, orders, order),
        "route_desc": spread(drugs["route"].to_list(), orders.drug[order]),
        **_frequency_columns(order),
        "setting": same("inpatient", len(order)),
        "status": spread(["active", "completed"], (~np.isnat(end)).astype(int)),
        "last_updated": date_text(written, STAMP),
    }
    night = world.night_of(np.where(is_final, written, started[order]))
    return assemble(columns, spread(world.population.acute_trust, person), night, person)


def _frequency_columns(order: np.ndarray) -> dict[str, pa.Array | None]:
    """How often an order is due: `DOSES_PER_DAY`, in the words of some orders and in the codes of others."""
    form = order % (len(FREQUENCY_TEXTS) + 1)
    code = np.where(form == len(FREQUENCY_TEXTS), 0, -1)
    return {
        "frequency_text": spread(list(FREQUENCY_TEXTS), np.where(code < 0, form, -1)),
        "repeat_count": spread([str(DOSES_PER_DAY)], code),
        "repeat_period": spread(["1"], code),
        "repeat_period_unit": spread(["d"], code),
        "as_needed": spread(["false"], code),
    }


def administration_table(world: World, spells: Spells, orders: Orders) -> pa.Table:
    """The doses due under each order until discharge, at most `MOST_DOSES`; some not given, with the reason."""
    rng = world.rng("acute.administrations")
    until = spells.until(world)[orders.spell]
    started = spells.start[orders.spell] + np.timedelta64(3600, "s")
    hours = (until - started).astype(np.int64) // 3600
    counts = np.clip(hours * DOSES_PER_DAY // 24, 1, MOST_DOSES)
    order, position = children_of(counts)
    person = spells.person[orders.spell[order]]
    due = started[order] + (position * (24 // DOSES_PER_DAY) * 3600).astype("timedelta64[s]")
    in_story = is_in_story(world, person)
    not_given = ~in_story & (rng.random(len(order)) < NOT_GIVEN_SHARE)
    given = due + rng.integers(0, 1800, len(order)).astype("timedelta64[s]")
    reasons = ["patient refused", "nil by mouth", "drug not available", "patient off ward"]
    columns = {
        "medication_admin_identifier": numbered("MA", np.arange(1, len(order) + 1), 10),
        "prescribed_item_identifier": orders.identifiers().take(pa.array(order)),
        "site_code": site_codes(world, person),
        **identity_columns(world, person),
        "due_datetime": date_text(due, STAMP),
        "given_datetime": date_text(np.where(not_given, NO_TIME, given), STAMP),
        "not_given_flag": yes_no(not_given, "false", "true"),
        "not_given_reason": spread(reasons, np.where(not_given, rng.integers(0, len(reasons), len(order)), -1)),
        **_drug_columns(world, orders, order),
        "last_updated": date_text(given, STAMP),
    }
    return assemble(columns, spread(world.population.acute_trust, person), world.night_of(due), person)
