"""What another release would change for the codes in use, on the embedded engine."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipelines.contracts.zones import Zone
from pipelines.omop.codes import CODE_MAP_SCHEMA, CODES_SCHEMA
from pipelines.progress import ignore_progress
from pipelines.settings import Settings, storage_paths
from pipelines.storage.tables import TableStore
from pipelines.terminology.usage import Use
from pipelines.terminology.vocabulary import LoadedVocabulary, load
from pipelines.terminology.vocabulary_diff import LOADED, CodeChange, Difference, difference
from vocab.athena import TABLES, read_table
from vocab.changes import Change, CodeTargets, Kind
from vocab.concept_map import resolve_codes
from vocab.errors import VocabularyError
from vocab.load import DEMO_DIR, LOCAL_DIR
from vocab.local_maps import approved_maps

ASTHMA, HYPERTENSION, KNEE, UNMAPPED = ("ICD10", "J45.9"), ("ICD10", "I10"), ("OPCS4", "W40.1"), ("ICD10", "U06.0")
LOCAL_ONLY, UNTOUCHED = ("NHS Gender", "1"), ("SNOMED", "73761001")
CODES = {ASTHMA: 12, HYPERTENSION: 3, KNEE: 9, UNMAPPED: 8, LOCAL_ONLY: 20, UNTOUCHED: 10}


def put(store: TableStore, zone: Zone, name: str, schema: dict[str, str], rows: list[tuple[Any, ...]]) -> None:
    frame = store.session.createDataFrame(rows, ", ".join(f"{column} {kind}" for column, kind in schema.items()))
    store.overwrite(frame, zone, name, schema)


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A later release: asthma is an observation, hypertension has no map, the knee another one, U06.0 its first."""
    folder = Path(shutil.copytree(DEMO_DIR, tmp_path_factory.mktemp("newer") / "athena"))
    change(folder / "VOCABULARY.csv", {("None",): {3: "v5.0 28-FEB-26"}})
    change(folder / "CONCEPT.csv", {("317009",): {2: "Observation"}})
    ends = {("45591453", "320128", "Maps to"): {5: "D"}, ("44514796", "44514796", "Maps to"): {1: "4249893"}}
    change(folder / "CONCEPT_RELATIONSHIP.csv", ends)
    with (folder / "CONCEPT_RELATIONSHIP.csv").open("a", encoding="utf-8") as file:
        file.write("45756081\t37311061\tMaps to\t20200101\t20991231\t\n")
    return folder


def change(path: Path, rows: Mapping[Any, Mapping[int, str]]) -> None:
    """Set fields of the rows that begin with certain values; there must be such rows."""
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    for start, fields in rows.items():
        (found,) = [line for line in lines if tuple(line[: len(start)]) == start]
        for place, value in fields.items():
            found[place] = value
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def store(sail: SparkSession, settings: Settings) -> TableStore:
    """A lakehouse with the demonstration loaded, and people with each code of CODES."""
    store = TableStore(sail, storage_paths(settings))
    for stem in ("CONCEPT", "CONCEPT_RELATIONSHIP"):
        rows = read_table(sail, DEMO_DIR, stem).unionByName(read_table(sail, LOCAL_DIR, stem))
        store.overwrite(rows, Zone.VOCABULARY, stem.lower(), TABLES[stem])
    in_use = [("event", "acute", "e", "r", "concept", *code, None, 2 * people, None, None) for code, people in CODES.items()]
    put(store, Zone.INTERMEDIATE, "codes", CODES_SCHEMA, in_use)
    held = [("acute", person, *code, None) for code, people in CODES.items() for person in range(people) for _ in range(2)]
    schema = {"_source": "string", "person_id": "bigint", "concept_vocabulary": "string", "concept_code": "string"}
    schema |= {"_set_aside": "string"}
    put(store, Zone.INTERMEDIATE, "stem_acute", schema, held)
    codes = sail.createDataFrame(list(CODES), "source_vocabulary_id string, source_code string")
    concepts, relationships = (store.read(Zone.VOCABULARY, name) for name in ("concept", "concept_relationship"))
    code_map = resolve_codes(codes, concepts, relationships, approved_maps(sail, ()))
    store.overwrite(code_map, Zone.INTERMEDIATE, "code_map", CODE_MAP_SCHEMA)
    return store


THE_LOADED = LoadedVocabulary(release="the loaded release", vocabularies={}, digest="")


def compared(
    store: TableStore, settings: Settings, old: str, new: str, loaded: LoadedVocabulary | None = THE_LOADED
) -> Difference:
    return difference(store, settings, (old, new), loaded, ignore_progress)


def test_losses_gains_retargets_and_domain_moves_with_their_rows_and_people(
    store: TableStore, settings: Settings, newer: Path
) -> None:
    found = compared(store, settings, LOADED, str(newer))
    assert (found.old_release, found.new_release, found.codes) == ("the loaded release", "v5.0 28-FEB-26", 6)
    columns = ("change", "code", "old", "new", "domains", "rows", "people")
    assert [tuple(change.as_row()[name] for name in columns) for change in found.changes] == [
        ("loss", "I10", "320128 Essential hypertension", "", "", "*", "*"),
        ("gain", "U06.0", "", "37311061 COVID-19", "", 16, 8),
        (
            "retarget",
            "W40.1",
            "44514796 Primary total prosthetic replacement of knee joint using cement",
            "4249893 Colonoscopy",
            "",
            18,
            9,
        ),
        ("domain move", "J45.9", "317009 Asthma", "317009 Asthma", "Condition -> Observation", 24, 12),
    ]
    assert [(row["change"], row["codes"], row["codes_to_other_tables"]) for row in found.summary()] == [
        ("loss", 1, 0),
        ("gain", 1, 0),
        ("retarget", 1, 0),
        ("domain move", 1, 1),
    ]
    json.dumps([change.as_row() for change in found.changes])
    assert list(settings.storage.deidentified.glob("*nhs-omop-*")) == []


def test_a_sum_from_which_a_hidden_number_follows_is_hidden() -> None:
    def summed(*rows: int) -> Any:
        mapped, nothing = CodeTargets(frozenset({(1, None)}), frozenset({"Condition"})), CodeTargets(frozenset(), frozenset())
        lost = [CodeChange(Change("ICD10", str(n), Kind.LOSS, mapped, nothing), "", {}, Use(n, n)) for n in rows]
        return Difference("old", "new", 9, tuple(lost), ()).summary()[0]["rows"]

    assert (summed(), summed(8, 9), summed(8, 9, 7), summed(8, 3, 7), summed(2)) == (0, 17, "*", 18, "*")


def test_the_way_back_turns_gains_into_losses(store: TableStore, settings: Settings, newer: Path) -> None:
    found = compared(store, settings, str(newer), str(DEMO_DIR))
    assert [(str(change.change.kind), change.change.code) for change in found.changes] == [
        ("loss", "U06.0"),
        ("gain", "I10"),
        ("retarget", "W40.1"),
        ("domain move", "J45.9"),
    ]


def test_a_release_does_not_differ_from_itself(store: TableStore, settings: Settings) -> None:
    assert compared(store, settings, LOADED, str(DEMO_DIR)).changes == ()


def test_what_is_no_download_is_refused(store: TableStore, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match="no such folder or zip; give an Athena download, or the word loaded"):
        compared(store, settings, LOADED, str(tmp_path / "none"))


IMPRESSION, COMPONENT = "NHS Ambulance Impression", "NHS CLD Service Component"
STROKE, CHEST, SEPSIS, CRISIS = ((IMPRESSION, code) for code in ("40", "31", "50", "60"))
HOME_SUPPORT, MEALS = (COMPONENT, "home support"), (COMPONENT, "meals")


def test_local_maps_are_compared_as_a_load_and_a_run_use_them(store: TableStore, settings: Settings, tmp_path: Path) -> None:
    """Targets of local maps are replaced by one concept, by two, or by none, and a concept of this project has an equivalent.

    Only what a run would follow is another target; what does not fit, constants of the mappings and analytes too, is named.
    """
    folder = Path(shutil.copytree(DEMO_DIR, tmp_path / "athena"))
    gone = {5: "", 9: "U"}
    replaced = {
        ("381316",): gone,
        ("255573",): gone,
        ("132797",): gone,
        ("3019237",): gone,
        ("3027018",): gone,
        ("432586",): {2: "Observation"},
    }
    change(folder / "CONCEPT.csv", replaced)
    with (folder / "CONCEPT.csv").open("a", encoding="utf-8") as file:
        for concept_id, name, domain in (
            (9900001, "Stroke", "Condition"),
            (9900002, "Bronchitis", "Condition"),
            (9900003, "Emphysema", "Condition"),
            (9900004, "Adult social care service: Home support or domiciliary care", "Observation"),
        ):
            file.write(f"{concept_id}\t{name}\t{domain}\tSNOMED\tFinding\tS\t{concept_id}\t20200101\t20991231\t\n")
    relationships = folder / "CONCEPT_RELATIONSHIP.csv"
    kept = [line for line in relationships.read_text(encoding="utf-8").splitlines() if not line.startswith(GONE)]
    kept += [f"{old}\t{new}\tMaps to\t20200101\t20991231\t" for old, new in NOW]
    relationships.write_text("\n".join(kept) + "\n", encoding="utf-8")
    codes = (STROKE, CHEST, SEPSIS, CRISIS, HOME_SUPPORT, MEALS)
    in_use = [("event", "acute", "e", "r", "concept", *code, None, 9, None, None) for code in codes]
    put(store, Zone.INTERMEDIATE, "codes", CODES_SCHEMA, in_use)

    found = compared(store, settings, LOADED, str(folder))
    assert [(str(changed.change.kind), changed.change.code, changed.as_row()["new"]) for changed in found.changes] == [
        ("loss", "31", ""),
        ("loss", "50", ""),
        ("retarget", "40", "9900001 Stroke"),
        ("retarget", "home support", "9900004 Adult social care service: Home support or domiciliary care"),
        ("domain move", "60", "432586 Mental disorder"),
    ]
    problem = "target is not a valid standard concept"
    misfits = [tuple(misfit.as_row().values()) for misfit in found.unfit]
    assert ("nhs_ambulance_impression.csv line 10", 255573, problem) in misfits
    assert ("ambulance: ambulance_chief_complaint, concept", 3019237, "is not a valid standard concept") in misfits
    assert ("analytes.yaml: heart_rate", 3027018, "is not a valid standard measurement") in misfits
    assert {concept for _, concept, _ in misfits} == {255573, 132797, 3019237, 3027018}

    retired = {
        2_000_000_077: (2_000_000_078, "NHS OMOP")
    }  # as if the loaded vocabulary had retired it, with another equivalent
    with_retired = THE_LOADED.model_copy(update={"replaced": retired})
    back = compared(store, settings, str(folder), LOADED, with_retired)
    assert [(str(changed.change.kind), changed.change.code) for changed in back.changes] == [
        ("gain", "31"),
        ("gain", "50"),
        ("retarget", "40"),
        ("retarget", "home support"),
        ("domain move", "60"),
    ]
    assert back.unfit == ()

    loaded = load(settings, folder)
    assert (loaded.retired, loaded.unfit) == (1, found.unfit)


GONE = tuple(f"{concept_id}\t" for concept_id in (381316, 255573, 132797, 3019237, 3027018))
NOW = ((381316, 9900001), (255573, 9900002), (255573, 9900003))


def test_the_loaded_vocabulary_has_to_be_there(store: TableStore, settings: Settings) -> None:
    with pytest.raises(VocabularyError, match="no vocabulary is loaded; name two downloads"):
        compared(store, settings, LOADED, str(DEMO_DIR), None)
