"""Values that must not leak: the identifiers of everyone in the deliveries, and the key."""

import base64
import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from pipelines.contracts.source import Identifier, load_contracts
from pipelines.governance.keys import derive, hmac_pads
from pipelines.run_inputs import PURPOSES
from pipelines.settings import PACKAGED_MAPPINGS_DIR, SOURCES
from pipelines.synthetic.demo_key import DEMO_KEY
from tests.e2e.scanner import PREFIX, Needles
from tests.e2e.world import DemoWorld
from vocab.load import DEMO_DIR, LOCAL_DIR
from vocab.local_maps import read_local_maps

CONTRACTS = load_contracts(PACKAGED_MAPPINGS_DIR, SOURCES)

PEOPLE_COLUMNS = (
    "nhs_number",
    "given_name",
    "surname",
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
"""Columns of people.csv that identify a person. A birth date alone is a common date and is not searched for."""

NOT_LOOKED_FOR = (None, Identifier.BIRTH_DATE)

SHORTEST = 4
COMMON = 5
"""A free text that so many records have is of no single person."""

PART_OF_A_FILE_NAME = re.compile("[0-9a-fA-F]{4}")
"""Texts that could be part of the random names of Parquet files."""


def delivered_identifiers(world: DemoWorld) -> Needles:
    """Every identifier of every generated person and of every delivered record, read from bronze, by column.

    Names of hospitals and of concepts are public, even if somebody types one as a free text; and a free text that many records
    have is of nobody: `1 tablet once a day`.
    """
    values: dict[str, set[str]] = defaultdict(set)
    for person in world.truth("people"):
        for column in PEOPLE_COLUMNS:
            values[f"people.{column}"].add(person[column])
        values["people.postcode"].add(person["postcode"].replace(" ", ""))
    delivered = {table for _, table in world.tables("bronze")}
    public = names_of_concepts()
    for source, contract in CONTRACTS.items():
        for name, entity in contract.entities.items():
            identifying = [column for column, spec in entity.columns.items() if spec.identifier not in NOT_LOOKED_FOR]
            if identifying and f"{source}_{name}" in delivered:
                rows = world.rows("bronze", f"{source}_{name}", identifying)
                for column in identifying:
                    found = rows[column].dropna().str.strip()
                    if entity.columns[column].identifier is Identifier.FREE_TEXT:
                        found = found[(found.groupby(found).transform("size") < COMMON) & ~found.str.lower().isin(public)]
                    values[f"{source}.{name}.{column}"] |= set(found)
    organisations = " ".join(world.rows("bronze", "acute_organisation", ["org_name"])["org_name"])
    return needles_of({kind: {value for value in found if value not in organisations} for kind, found in values.items()})


def names_of_concepts() -> set[str]:
    """The names that the demonstration vocabulary, the concepts and the local maps of this project have, in lower case."""
    names = {row.source_code_description.lower() for row in read_local_maps(PACKAGED_MAPPINGS_DIR / "concepts")}
    files = ((DEMO_DIR, "CONCEPT", "concept_name"), (DEMO_DIR, "CONCEPT_SYNONYM", "concept_synonym_name"))
    for folder, file, column in (*files, (LOCAL_DIR, "CONCEPT", "concept_name")):
        with (folder / f"{file}.csv").open(encoding="utf-8", newline="") as lines:
            names |= {row[column].lower() for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)}
    return names


def needles_of(values: dict[str, set[str]]) -> Needles:
    """Long values without blanks are searched for anywhere; short values, names and addresses as whole words.

    Placeholders such as 0000000000 belong to no person and occur in file names of transaction logs.
    """
    anywhere: dict[str, set[str]] = defaultdict(set)
    words: dict[str, set[str]] = defaultdict(set)
    for kind, found in values.items():
        for value in found:
            if len(set(value)) == 1:
                continue
            if len(value) >= PREFIX and re.fullmatch("[0-9A-Za-z{}-]*[0-9][0-9A-Za-z{}-]*", value):
                anywhere[kind].add(value)
            elif len(value) >= SHORTEST and not PART_OF_A_FILE_NAME.fullmatch(value):
                words[kind].add(value)
    return Needles({k: frozenset(v) for k, v in anywhere.items()}, {k: frozenset(v) for k, v in words.items()})


@cache
def secrets() -> tuple[tuple[str, bytes], ...]:
    """Every form of the key that is looked for."""
    return tuple(_forms_of_keys())


def _forms_of_keys() -> Iterator[tuple[str, bytes]]:
    """The key, what is derived from it and the pads, as bytes and in the usual text encodings of bytes."""
    keys = {"key": DEMO_KEY} | {purpose: derive(DEMO_KEY, purpose) for purpose in PURPOSES}
    for name, key in keys.items():
        for part, secret in zip(("", " inner pad", " outer pad"), (key.material, *hmac_pads(key)), strict=True):
            secret = secret[: len(key.material)]
            yield name + part, secret
            yield f"{name}{part} in hexadecimal", secret.hex().encode()
            yield f"{name}{part} in base64", base64.b64encode(secret).rstrip(b"=")[:-1]


def secrets_in(content: bytes) -> set[str]:
    """The forms of the key that occur."""
    lowered = content.lower()
    return {name for name, secret in secrets() if secret in content or (name.endswith("hexadecimal") and secret in lowered)}
