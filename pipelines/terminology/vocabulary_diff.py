"""What another vocabulary release would change, over the codes that the mapped rows hold."""

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.zones import Zone
from pipelines.progress import Field, OnProgress
from pipelines.quality.suppression import HIDDEN
from pipelines.settings import Settings
from pipelines.storage.tables import TableStore
from pipelines.terminology.descriptions import descriptions, read_code_tables
from pipelines.terminology.usage import Use, codes_used, shown, uses
from pipelines.terminology.vocabulary import MAPS_FOLDER
from vocab.athena import TABLES, check_download, read_table, unpacked
from vocab.changes import Change, Code, Kind, Meaning, changes, meanings
from vocab.concept_map import MAPS_TO, MAPS_TO_VALUE, REPLACED_BY, resolve_codes
from vocab.errors import VocabularyError
from vocab.load import LOCAL_DIR
from vocab.local_maps import LocalMap, approved_maps, read_local_maps

LOADED = "loaded"
"""Stands for the vocabulary that is loaded, in the place of a download."""

_RESOLVED_BY = {
    "concept": (
        "concept_id",
        "concept_name",
        "domain_id",
        "vocabulary_id",
        "standard_concept",
        "concept_code",
        "invalid_reason",
    ),
    "concept_relationship": ("concept_id_1", "concept_id_2", "relationship_id", "invalid_reason"),
}
"""The columns that resolving codes needs."""


@dataclass(frozen=True)
class CodeChange:
    """A changed code with what it means in words and the rows and people that hold it."""

    change: Change
    description: str
    names: dict[int, str]
    use: Use

    def as_row(self) -> dict[str, Field]:
        """The change as people may see it: small numbers hidden."""
        domains = [", ".join(sorted(meaning.domains)) for meaning in (self.change.old, self.change.new)]
        return {
            "change": str(self.change.kind),
            "vocabulary": self.change.vocabulary,
            "code": self.change.code,
            "description": self.description,
            "old": self._told(self.change.old),
            "new": self._told(self.change.new),
            "domains": " -> ".join(domains) if self.change.moves else "",
            "rows": shown(self.use.rows),
            "people": shown(self.use.people),
        }

    def _told(self, meaning: Meaning) -> str:
        targets = sorted(meaning.targets, key=lambda one: (one[0], one[1] or 0))
        return "; ".join(" = ".join(self._named(part) for part in one if part is not None) for one in targets)

    def _named(self, concept_id: int) -> str:
        return f"{concept_id} {self.names.get(concept_id, '')}".rstrip()


@dataclass(frozen=True)
class Difference:
    """All changes between two releases, over so many codes in use."""

    old_release: str
    new_release: str
    codes: int
    changes: tuple[CodeChange, ...]

    def summary(self) -> list[dict[str, Field]]:
        """Codes and rows by kind of change; people are not added up, since one may be in several codes.

        A sum of rows from which a hidden number would follow is hidden too.
        """
        by_kind: dict[Kind, list[CodeChange]] = defaultdict(list)
        for one in self.changes:
            by_kind[one.change.kind].append(one)
        return [
            {
                "change": str(kind),
                "codes": len(by_kind[kind]),
                "rows": _shown_sum([one.use.rows for one in by_kind[kind]]),
                "codes_to_other_tables": sum(one.change.moves for one in by_kind[kind]),
            }
            for kind in Kind
        ]


def _shown_sum(counts: Sequence[int]) -> int | str:
    hidden = sum(one for one in counts if shown(one) == HIDDEN)
    return HIDDEN if shown(hidden) == HIDDEN else sum(counts)


@dataclass(frozen=True)
class _Side:
    """One of the two vocabularies: its release, and CONCEPT and CONCEPT_RELATIONSHIP as far as codes need them."""

    release: str
    concepts: DataFrame
    relationships: DataFrame


def difference(
    store: TableStore, settings: Settings, releases: tuple[str, str], loaded: str, on_progress: OnProgress
) -> Difference:
    """What the second of two vocabularies changes, with the local maps of the settings in both.

    Each is an Athena download, folder or zip, or `loaded`, whose release is given. Nothing is changed. Raises
    VocabularyError where a download is none, and OmopPipelineError where nothing was mapped yet.
    """
    codes = codes_used(store)
    maps = read_local_maps(settings.mappings_dir / MAPS_FOLDER)
    found: list[dict[Code, Meaning]] = []
    named: dict[int, str] = {}
    labels = []
    # Below a root that every engine can open.
    with tempfile.TemporaryDirectory(prefix="nhs-omop-diff-", dir=settings.storage.deidentified) as scratch:
        sides = []
        for place, name in enumerate(releases):
            side = _side(store, name, loaded, Path(scratch) / str(place))
            sides.append(side)
            labels.append(side.release)
            on_progress(f"read {side.release}")
            found.append(_meanings(store, codes, side, maps))
            on_progress(f"resolved with {side.release}")
        all_changes = changes(*found)
        for side in sides:
            named |= _names(store, side, all_changes)
    touched = [(one.vocabulary, one.code) for one in all_changes]
    used = uses(store, touched)
    texts = descriptions(store, touched, maps, read_code_tables(settings.mappings_dir))
    on_progress("counted rows and people")
    told = [
        CodeChange(one, texts.get((one.vocabulary, one.code), ""), named, used.get((one.vocabulary, one.code), Use()))
        for one in all_changes
    ]
    order = list(Kind)
    ordered = sorted(
        told, key=lambda one: (order.index(one.change.kind), -one.use.rows, one.change.vocabulary, one.change.code)
    )
    return Difference(labels[0], labels[1], codes.count(), tuple(ordered))


def _side(store: TableStore, name: str, loaded: str, scratch: Path) -> _Side:
    if name == LOADED:
        frames = [store.read(Zone.VOCABULARY, table).select(*columns) for table, columns in _RESOLVED_BY.items()]
        return _Side(loaded, *frames)
    download = Path(name)
    if not download.exists():
        raise VocabularyError(f"{name}: no such folder or zip; give an Athena download, or the word {LOADED}")
    with unpacked(download) as folder:
        release = check_download(folder).release
        frames = [_staged(TableStore(store.session, scratch, scratch), folder, table) for table in _RESOLVED_BY]
    return _Side(release, *frames)


def _staged(scratch: TableStore, folder: Path, table: str) -> DataFrame:
    """A table of a download, cut to what resolving needs, as a table that is read several times at little cost."""
    stem = table.upper()
    rows = read_table(scratch.session, folder, stem).unionByName(read_table(scratch.session, LOCAL_DIR, stem))
    if table == "concept_relationship":
        rows = rows.where(F.col("relationship_id").isin(MAPS_TO, MAPS_TO_VALUE, REPLACED_BY))
    scratch.overwrite(rows, Zone.VOCABULARY, table, {name: TABLES[stem][name] for name in _RESOLVED_BY[table]})
    return scratch.read(Zone.VOCABULARY, table)


def _meanings(store: TableStore, codes: DataFrame, side: _Side, maps: Sequence[LocalMap]) -> dict[Code, Meaning]:
    asked = codes.select(F.col("vocabulary").alias("source_vocabulary_id"), F.col("code").alias("source_code"))
    resolved = resolve_codes(asked, side.concepts, side.relationships, approved_maps(store.session, maps))
    return meanings(resolved.where(F.col("target_concept_id") > 0).toArrow().to_pylist())


def _names(store: TableStore, side: _Side, found: Sequence[Change]) -> dict[int, str]:
    wanted = {part for one in found for meaning in (one.old, one.new) for pair in meaning.targets for part in pair if part}
    if not wanted:
        return {}
    asked = store.session.createDataFrame([(one,) for one in sorted(wanted)], "concept_id bigint")
    named = side.concepts.join(F.broadcast(asked), on="concept_id", how="left_semi").select("concept_id", "concept_name")
    return {row["concept_id"]: row["concept_name"] for row in named.toArrow().to_pylist()}
