"""Writes the truth about a generation: who is kept, which rows must appear, which faults were planted."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.synthetic.opt_outs import OptOuts, status_on
from pipelines.synthetic.population import Story, Truth, World
from pipelines.synthetic.traps import Planted

README = """# The truth about these extracts

Nobody in them exists. NHS numbers are of the test range 999 000 0000 to 999 999 9999.

| file | one row is |
|---|---|
| people.csv | one person: every identifier they have, and what becomes of their rows |
| stories.csv | one row that must be found in the published CDM |
| planted.csv | how often one fault was planted in one table of one source |
| number_faults.csv | one person whose NHS number one source does not have right |

people.csv: `status_first` and `status_last` are `kept` or the reason why the person is left out on the first and the last
night: test_patient, objection, local, unverifiable (no NHS number at all), national. `gp` is `out` for a Type 1 opt-out,
which takes GP rows only. `story` is empty for ordinary people; story people are never opted out and have no fault planted.

number_faults.csv: a person with number_missing, number_invalid, number_placeholder or number_status_04 cannot be linked by
number in that source; number_spaced is right once spaces and dashes are taken away.

planted.csv: `file:` faults count files, all others rows. Rows of a provider that sends everything again have their faults
again on every night; they are counted once. number_status_04 is counted only where a table has a status column.
"""

IDENTITY = (
    "nhs_number",
    "given_name",
    "surname",
    "birth_date",
    "address",
    "postcode",
    "phone",
    "gp_guid",
    "gp_guid2",
    "acute_mrn",
    "mh_id",
    "community_id",
    "ambulance_id",
    "council_id",
)


def write_truth(
    world: World,
    opt_outs: OptOuts,
    truths: Iterable[Truth],
    planted: Iterable[Planted],
    number_faults: Mapping[str, np.ndarray],
    folder: Path,
) -> None:
    """Write the truth folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(README, encoding="utf-8")
    people_table(world, opt_outs).to_csv(folder / "people.csv", index=False)
    stories = pd.DataFrame(truths, columns=list(Truth.__dataclass_fields__))
    stories["concept_id"] = stories["concept_id"].astype("Int64")
    stories.to_csv(folder / "stories.csv", index=False)
    counts: Counter[tuple[str, str, str]] = Counter()
    for found in planted:
        counts[found.trap, found.source, found.entity] += found.count
    rows = [Planted(*key, count) for key, count in sorted(counts.items())]
    pd.DataFrame(rows).to_csv(folder / "planted.csv", index=False)
    faults = [
        pd.DataFrame({"person": np.flatnonzero(kinds != ""), "source": source, "fault": kinds[kinds != ""]})
        for source, kinds in number_faults.items()
    ]
    pd.concat(faults).to_csv(folder / "number_faults.csv", index=False)


def people_table(world: World, opt_outs: OptOuts) -> pd.DataFrame:
    """One row per person: story, identifiers, status."""
    population = world.population
    names = np.array([kind.name.lower() if kind else "" for kind in Story])
    table = pd.DataFrame({"person": np.arange(world.n), "story": names[population.story]})
    for name in IDENTITY:
        table[name] = getattr(population, name)
    table["death_date"] = population.death_date
    table["status_first"] = status_on(world, opt_outs, 0)
    table["status_last"] = status_on(world, opt_outs, world.nights - 1)
    table["gp"] = np.where(population.type1 == "dissent", "out", "in")
    return table
