"""The code tables of the GP extract; other modules refer to codes by position in the table."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.synthetic.population import Catalogue
from pipelines.synthetic.sources.rows import known

ETHNIC_LETTERS = "ABCDEFGHJKLMNPRSZ"

SPECIAL_CODES = pd.DataFrame(
    [
        (
            "type1_dissent",
            "Dissent from secondary use of GP patient identifiable data",
            "9Nu0.",
            "827241000000103",
            "Administration",
        ),
        ("type1_dissent", "Dissent from secondary use of GP patient identifiable data", "9Nu0", "", "Administration"),
        ("type1_withdrawn", "Dissent withdrawn for secondary use of GP data", "9Nu1.", "827261000000102", "Administration"),
        ("type1_look_alike", "Nutrition advice leaflet given", "9nu0.", "", "Administration"),
        ("administrative", "Letter encounter from patient", "9N31.", "", "Administration"),
        ("administrative", "Medication requested", "8B3H.", "", "Administration"),
        ("administrative", "Patient registration data verified", "9R71.", "", "Registration"),
        ("local", "Smoking cessation advice given (practice template)", "EMISNQSM1", "", "Procedure code"),
        ("local", "Frailty review completed", "EMISNQFR2", "", "Procedure code"),
        ("local", "Care plan agreed", "EMISNQCP3", "", "Procedure code"),
        ("local", "NHS Health Check completed", "EMISNQHC4", "", "Procedure code"),
        ("local", "Home visit requested", "ESCTHV105", "", "Symptoms and Findings"),
        ("local_unmapped", "Practice template entry", "EMISNQXX9", "", "Symptoms and Findings"),
    ],
    columns=["group", "term", "read", "snomed", "category"],
)
"""Codes outside the catalogue: opt-out codes with a look-alike that differs in case only, and EMIS-local codes."""


@dataclass(frozen=True)
class ClinicalCodes:
    """The clinical code table: one row per code; `group` is the use of the code in the generator."""

    rows: pd.DataFrame

    def positions(self, *groups: str) -> np.ndarray:
        """Positions of the codes of some groups."""
        return np.flatnonzero(self.rows["group"].isin(groups).to_numpy())

    def coded(self, group: str, snomed: np.ndarray) -> np.ndarray:
        """Positions of SNOMED CT codes within a group; -1 if the group has no such code."""
        of_group = self.rows[self.rows["group"] == group].drop_duplicates("snomed")
        positions = pd.Series(of_group.index, index=of_group["snomed"])
        found: np.ndarray = positions.reindex(snomed).fillna(-1).to_numpy(dtype=np.int64)
        return found


def clinical_codes(catalogue: Catalogue) -> ClinicalCodes:
    """All clinical codes of the extract.

    Conditions and findings are SNOMED CT codes with their Read code, if any; the group `legacy` has the Read codes only.
    """
    conditions = _of_catalogue(catalogue.conditions[catalogue.conditions["snomed"] != ""], "condition", "Conditions")
    legacy = conditions[(conditions["read"] != "")].assign(group="legacy", snomed="")
    # EMIS leaves out the dots at the end of a Read code and may add the number of a synonym.
    number = np.arange(len(legacy))
    trimmed = legacy["read"].str.rstrip(".")
    legacy = legacy.assign(
        read=np.where(number % 3 == 0, trimmed, np.where(number % 3 == 1, legacy["read"] + "-1", legacy["read"]))
    )
    family = conditions.head(20).assign(group="family_history", category="Family history", read="")
    family = family.assign(term="FH: " + family["term"])
    observations = catalogue.observations[_of_gp(catalogue.observations)]
    findings = _of_catalogue(observations, "", "Symptoms and Findings").assign(
        group=observations["kind"].where(observations["snomed"] != "", "read_only")
    )
    findings["category"] = findings["group"].map({"allergy": "Allergy and adverse reactions"}).fillna(findings["category"])
    measurements = catalogue.measurements[_of_gp(catalogue.measurements) & (catalogue.measurements["snomed"] != "")]
    values = _of_catalogue(measurements, "value", "Investigations")
    immunisations = _of_catalogue(
        catalogue.immunisations[catalogue.immunisations["snomed"] != ""], "immunisation", "Immunisations"
    )
    done = catalogue.procedures[_of_gp(catalogue.procedures) & (catalogue.procedures["snomed"] != "")]
    procedures = _of_catalogue(done, "procedure", "Procedure code")
    ethnic = pd.DataFrame(
        {"group": "ethnicity", "term": "Ethnic category", "category": "Ethnicity", "national": list(ETHNIC_LETTERS)}
    )
    parts = [conditions, legacy, family, findings, values, immunisations, procedures, ethnic, SPECIAL_CODES]
    return ClinicalCodes(pd.concat(parts, ignore_index=True).fillna(""))


def clinical_code_columns(codes: ClinicalCodes) -> dict[str, pa.Array | None]:
    """The columns of the clinical code table; local codes have the long ids of the EMIS namespace."""
    rows = codes.rows
    number = np.arange(len(rows))
    local = rows["group"].isin(["local", "local_unmapped"]).to_numpy()
    standard_id = pd.Series(number * 12 + 250_010).astype(str)
    local_id = "17775" + pd.Series(number).astype(str).str.zfill(3) + "1000006110"
    return {
        "code_id": known(np.where(local, local_id, standard_id)),
        "term": known(rows["term"].to_numpy()),
        "read_term_id": known(rows["read"].to_numpy()),
        "snomed_ct_concept_id": known(rows["snomed"].to_numpy()),
        "snomed_ct_description_id": None,
        "national_code": known(rows["national"].to_numpy()),
        "national_code_category": known(np.where(rows["national"] != "", "Ethnic Category", "")),
        "national_description": None,
        "emis_code_category_description": known(rows["category"].to_numpy()),
        "parent_code_id": None,
    }


def drug_codes(catalogue: Catalogue) -> pd.DataFrame:
    """Products that may be prescribed: the drugs of the catalogue, vaccines given from stock, and one local product."""
    drugs = catalogue.drugs.assign(group=np.where(catalogue.drugs["for_condition"] != "", "repeat", "acute"))
    injected = catalogue.drugs["route"].isin(["intravenous", "intramuscular", "subcutaneous"])
    drugs.loc[injected & (drugs["group"] == "acute"), "group"] = "hospital"
    stock = catalogue.immunisations[(catalogue.immunisations["snomed"] == "") & (catalogue.immunisations["dmd"] != "")]
    vaccines = stock[["name", "dmd"]].assign(group="vaccine", quantity=1.0, unit="dose", days=np.nan)
    local = pd.DataFrame(
        {"name": ["Emollient of the practice formulary"], "dmd": [""], "group": ["local"], "quantity": [1.0], "unit": ["tub"]}
    )
    parts = pd.concat([drugs, vaccines, local], ignore_index=True)
    texts = ["name", "dmd", "for_condition", "unit", "route"]
    return parts.assign(**{name: parts[name].fillna("") for name in texts})


def drug_code_columns(drugs: pd.DataFrame) -> dict[str, pa.Array | None]:
    """The columns of the drug code table."""
    return {
        "code_id": known((np.arange(len(drugs)) * 7 + 3_100_033).astype("U10")),
        "term": known(drugs["name"].to_numpy()),
        "dmd_product_code_id": known(drugs["dmd"].to_numpy()),
        "bnf_chapter_ref": None,
    }


def _of_gp(table: pd.DataFrame) -> pd.Series:
    return table["setting"].str.split("|").apply(lambda settings: "gp" in settings)


def _of_catalogue(table: pd.DataFrame, group: str, category: str) -> pd.DataFrame:
    reads = table.get("read", "")
    return pd.DataFrame(
        {"group": group, "term": table["name"], "read": reads, "snomed": table["snomed"], "category": category, "national": ""}
    )
