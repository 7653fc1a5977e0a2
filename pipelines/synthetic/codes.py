"""The catalogue of codes that synthetic sources draw from."""

from dataclasses import fields
from pathlib import Path

import pandas as pd

from pipelines.synthetic.population import Catalogue

CATALOGUE_DIR = Path(__file__).parent / "catalogue"
NUMBERS = ("prevalence", "min_age", "max_age", "mean", "sd", "low", "high", "quantity", "days")


def load_catalogue() -> Catalogue:
    """The catalogue of the package; codes are texts, so that leading zeros are kept."""
    return Catalogue(**{field.name: _load_table(CATALOGUE_DIR / f"{field.name}.csv") for field in fields(Catalogue)})


def _load_table(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in set(NUMBERS) & set(table.columns):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    return table
