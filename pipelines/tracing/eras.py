"""What eras are made of: the rows of one person and one thing that begin in them, chosen as `pipelines/omop/eras.py` does."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from pipelines.contracts.evidence import PRELIMINARY_DIAGNOSIS
from pipelines.omop.eras import HOUR_CONCEPT_ID, MAX_DAILY_DOSE
from pipelines.tracing.lake import Between, Lake, Record
from pipelines.tracing.origins import Origins, through


def condition_era(lake: Lake, row: Record, limit: int) -> Origins:
    """The conditions that a condition era is made of."""
    where: Record = {
        "person_id": row["person_id"],
        "condition_concept_id": row["condition_concept_id"],
        "condition_start_date": Between(row["condition_era_start_date"], row["condition_era_end_date"]),
    }
    columns = ("condition_start_date", "condition_occurrence_id", "condition_status_concept_id")
    found = lake.released("condition_occurrence", where, columns)
    kept = [condition for condition in found if condition["condition_status_concept_id"] != PRELIMINARY_DIAGNOSIS]
    keys = [("condition_occurrence", condition["condition_occurrence_id"]) for condition in kept]
    return through(lake, keys, limit, "the conditions of the person and concept in it, unless they are only suspected")


_EXPOSURE: Final = ("drug_exposure_start_date", "drug_exposure_id", "drug_concept_id", "quantity", "days_supply")


def _exposures(lake: Lake, row: Record, table: str) -> list[Record]:
    """The drug exposures of the person that begin in a drug or dose era and whose drug has its ingredient."""
    drugs = lake.released("concept_ancestor", {"ancestor_concept_id": row["drug_concept_id"]}, ("descendant_concept_id",))
    where: Record = {
        "person_id": row["person_id"],
        "drug_concept_id": {drug["descendant_concept_id"] for drug in drugs},
        "drug_exposure_start_date": Between(row[f"{table}_start_date"], row[f"{table}_end_date"]),
    }
    return lake.released("drug_exposure", where, _EXPOSURE)


def drug_era(lake: Lake, row: Record, limit: int) -> Origins:
    """The drug exposures that a drug era is made of."""
    keys = [("drug_exposure", exposure["drug_exposure_id"]) for exposure in _exposures(lake, row, "drug_era")]
    return through(lake, keys, limit, "the exposures of the person in it to drugs with the ingredient")


def dose_era(lake: Lake, row: Record, limit: int) -> Origins:
    """The drug exposures that a dose era is made of."""
    strengths = lake.released("drug_strength", {"ingredient_concept_id": row["drug_concept_id"], "invalid_reason": None})
    by_drug: dict[int, list[Record]] = defaultdict(list)
    for strength in strengths:
        by_drug[strength["drug_concept_id"]].append(strength)
    dose = row["unit_concept_id"], round(row["dose_value"] * 1_000_000)
    keys = [
        ("drug_exposure", exposure["drug_exposure_id"])
        for exposure in _exposures(lake, row, "dose_era")
        if dose in daily_doses(exposure, by_drug[exposure["drug_concept_id"]])
    ]
    return through(lake, keys, limit, "the exposures of the person in it whose daily dose of the ingredient is its dose")


def daily_doses(exposure: Record, strengths: Iterable[Record]) -> Iterator[tuple[int, int]]:
    """Unit and daily dose, in millionths of the unit, of a drug exposure by rows of DRUG_STRENGTH; see `dose_spans`."""
    quantity, days = exposure["quantity"] or 0, exposure["days_supply"] or 0
    for strength in strengths if quantity > 0 and days > 0 else ():
        part = "amount" if strength["amount_value"] is not None else "numerator"
        is_concentration = strength["denominator_value"] is None and strength["denominator_unit_concept_id"] not in (
            None,
            HOUR_CONCEPT_ID,
        )
        value, unit = strength[f"{part}_value"], strength[f"{part}_unit_concept_id"]
        if value is None or unit is None or (part == "numerator" and not is_concentration):
            continue
        dose = value * quantity / days
        if 0 < dose < MAX_DAILY_DOSE:
            yield unit, int(dose * 1_000_000 + 0.5)
