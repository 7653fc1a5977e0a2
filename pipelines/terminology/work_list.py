"""The work list of codes without a standard concept, and what approving targets for them brings."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.zones import Zone
from pipelines.progress import Field
from pipelines.quality.suppression import SMALLEST_SHOWN
from pipelines.settings import Settings
from pipelines.storage.tables import TableStore
from pipelines.terminology.descriptions import descriptions, forms_of, read_code_tables
from pipelines.terminology.usage import Code, Use, shown, uses
from pipelines.terminology.vocabulary import MAPS_FOLDER
from vocab.candidates import (
    Candidate,
    Description,
    best_candidates,
    similar_names,
    standard_names,
    stem_frequencies,
)
from vocab.errors import VocabularyError
from vocab.local_maps import ApprovedTarget, read_local_maps, with_targets
from vocab.usagi import Approval, Approvals, UsagiCode

_MONTH = "%Y-%m"
_LINES_NAMED = 20


@dataclass(frozen=True)
class WorkItem:
    """A code of a source without a standard concept. `is_known`: the vocabulary has it but maps it to nothing."""

    vocabulary: str
    code: str
    source: str
    description: str
    is_known: bool
    use: Use
    first_seen: date | None
    last_seen: date | None
    candidates: tuple[Candidate, ...]

    def as_row(self, candidates: int | None = None) -> dict[str, Field]:
        """The item as people may see it: small numbers hidden, dates by month, at most so many candidates."""
        return {
            "vocabulary": self.vocabulary,
            "code": self.code,
            "description": self.description,
            "source": self.source,
            "known": self.is_known,
            "rows": shown(self.use.rows),
            "people": shown(self.use.people),
            "first_seen": self.first_seen.strftime(_MONTH) if self.first_seen else None,
            "last_seen": self.last_seen.strftime(_MONTH) if self.last_seen else None,
            "suggested": "; ".join(f"{one.concept_id} {one.name} ({one.score:g})" for one in self.candidates[:candidates]),
        }


@dataclass(frozen=True)
class Gain:
    """What an approved target brings: the rows and people whose code then has a standard concept."""

    target: ApprovedTarget
    target_name: str
    target_domain: str
    use: Use

    def as_row(self) -> dict[str, Field]:
        """The gain as people may see it."""
        return {
            "vocabulary": self.target.vocabulary,
            "code": self.target.code,
            "description": self.target.description,
            "target_concept_id": self.target.target_concept_id,
            "target": self.target_name,
            "domain": self.target_domain,
            "rows_gained": shown(self.use.rows),
            "people": shown(self.use.people),
        }


@dataclass(frozen=True)
class Review:
    """The approved targets of a Usagi file that may be applied, and how many were left out for which reason."""

    gains: tuple[Gain, ...]
    left_out: dict[str, int]


def work_list(store: TableStore, settings: Settings, suggestions: int) -> tuple[WorkItem, ...]:
    """The codes of the last map without a standard concept, those with most rows first.

    Each has at most `suggestions` candidates by name. Raises OmopPipelineError where nothing was mapped yet.
    """
    listed = store.read(Zone.INTERMEDIATE, "unmapped_codes").groupBy("vocabulary", "code", "source")
    grouped = listed.agg(
        F.min("field").alias("field"),
        F.max(F.col("is_known").cast("int")).alias("is_known"),
        F.min("first_seen").alias("first_seen"),
        F.max("last_seen").alias("last_seen"),
    )
    rows = grouped.toArrow().to_pylist()
    codes = sorted({(row["vocabulary"], row["code"]) for row in rows})
    used = uses(store, codes, by_source=True)
    maps = read_local_maps(settings.mappings_dir / MAPS_FOLDER)
    texts = descriptions(store, codes, maps, read_code_tables(settings.mappings_dir))
    fields = {(row["vocabulary"], row["code"]): row["field"] for row in rows}
    candidates = _candidates(store, texts, fields, suggestions)
    items = [
        WorkItem(
            vocabulary=row["vocabulary"],
            code=row["code"],
            source=row["source"],
            description=texts.get((row["vocabulary"], row["code"]), ""),
            is_known=bool(row["is_known"]),
            use=used.get((row["vocabulary"], row["code"], row["source"]), Use()),
            first_seen=row["first_seen"],
            last_seen=row["last_seen"],
            candidates=candidates.get((row["vocabulary"], row["code"]), ()),
        )
        for row in rows
    ]
    return tuple(sorted(items, key=lambda one: (-one.use.rows, one.vocabulary, one.code, one.source)))


def _candidates(
    store: TableStore, texts: dict[Code, str], fields: dict[Code, str], most: int
) -> dict[Code, tuple[Candidate, ...]]:
    if not texts or most == 0:
        return {}
    codes = sorted(texts)
    asked = [Description(key, texts[code], fields[code]) for key, code in enumerate(codes)]
    names = standard_names(*(store.read(Zone.VOCABULARY, name) for name in ("concept", "concept_synonym")))
    return {codes[key]: found for key, found in candidates_for(asked, names, most).items()}


def candidates_for(asked: Sequence[Description], names: DataFrame, most: int) -> dict[int, tuple[Candidate, ...]]:
    """At most `most` candidates by the key of each description, out of `standard_names`."""
    frequencies = {row["stem"]: row["names"] for row in stem_frequencies(names, asked).toArrow().to_pylist()}
    return best_candidates(asked, similar_names(names, asked, frequencies).toArrow().to_pylist(), most)


def for_usagi(items: Iterable[WorkItem]) -> list[UsagiCode]:
    """The work list by code, whatever the source. Frequencies from 1 to 7 are written as 7: the file may leave the room."""
    by_code: dict[Code, list[WorkItem]] = defaultdict(list)
    for one in items:
        by_code[one.vocabulary, one.code].append(one)
    codes = []
    for (vocabulary, code), some in by_code.items():
        rows = sum(one.use.rows for one in some)
        frequency = max(rows, SMALLEST_SHOWN - 1) if rows else 0
        sources = tuple(sorted(one.source for one in some))
        codes.append(UsagiCode(vocabulary, code, some[0].description, sources, frequency, some[0].candidates))
    return sorted(codes, key=lambda one: (-one.frequency, one.vocabulary, one.code))


def review(store: TableStore, settings: Settings, approvals: Approvals) -> Review:
    """What the approved rows of a Usagi file bring, by code and target, before any of it is applied.

    Codes that a local map has already are left out: whoever changes their meaning edits its file. Raises VocabularyError
    where a target is not a valid standard concept of the loaded vocabulary.
    """
    folder = settings.mappings_dir / MAPS_FOLDER
    mapped = [(one.source_vocabulary_id, one.source_code) for one in read_local_maps(folder)]
    asked = [(one.vocabulary, one.code) for one in approvals.rows]
    forms = forms_of(store, [*mapped, *asked])
    taken = {(vocabulary, forms.get((vocabulary, code), code)) for vocabulary, code in mapped}
    left_out = Counter(approvals.left_out)
    chosen: list[Approval] = []
    for one in approvals.rows:
        if (one.vocabulary, forms.get((one.vocabulary, one.code), one.code)) in taken:
            left_out["a local map has the code already, approved or not"] += 1
        else:
            chosen.append(one)
    concepts = _standard_concepts(store, chosen)
    in_form = {one: (one.vocabulary, forms.get((one.vocabulary, one.code), one.code)) for one in chosen}
    open_codes = _open_codes(store)
    used = uses(store, sorted({code for code in in_form.values() if code in open_codes}))
    gains = []
    for one in chosen:
        name, domain, vocabulary = concepts[one.target_concept_id]
        target = ApprovedTarget(one.vocabulary, one.code, one.description, one.target_concept_id, vocabulary, _reference(one))
        gains.append(Gain(target, name, domain, used.get(in_form[one], Use())))
    return Review(tuple(sorted(gains, key=lambda one: (-one.use.rows, one.target.vocabulary, one.target.code))), dict(left_out))


def apply(settings: Settings, gains: Sequence[Gain]) -> dict[str, int]:
    """Write the reviewed targets into the map files, all or none; the rows added to each file.

    Raises VocabularyError where the files would be wrong with them.
    """
    return with_targets(settings.mappings_dir / MAPS_FOLDER, [one.target for one in gains])


def _open_codes(store: TableStore) -> set[Code]:
    rows = store.read(Zone.INTERMEDIATE, "unmapped_codes").select("vocabulary", "code").distinct().toArrow().to_pylist()
    return {(row["vocabulary"], row["code"]) for row in rows}


def _standard_concepts(store: TableStore, chosen: Sequence[Approval]) -> dict[int, tuple[str, str, str]]:
    """Name, domain and vocabulary of each target; 0 means that the code is known to mean nothing."""
    wanted = sorted({one.target_concept_id for one in chosen if one.target_concept_id})
    nothing = {0: ("nothing, on purpose", "", "None")}
    if not wanted:
        return nothing
    asked = store.session.createDataFrame([(one,) for one in wanted], "concept_id bigint")
    usable = (F.col("standard_concept") == "S") & F.col("invalid_reason").isNull()
    concepts = store.read(Zone.VOCABULARY, "concept").where(usable)
    found = concepts.join(F.broadcast(asked), on="concept_id", how="left_semi")
    rows = found.select("concept_id", "concept_name", "domain_id", "vocabulary_id").toArrow().to_pylist()
    known = {row["concept_id"]: (row["concept_name"], row["domain_id"], row["vocabulary_id"]) for row in rows}
    lines = [str(one.line) for one in chosen if one.target_concept_id and one.target_concept_id not in known]
    if lines:
        where = ", ".join(lines[:_LINES_NAMED]) + (", ..." if len(lines) > _LINES_NAMED else "")
        raise VocabularyError(
            f"{len(lines)} approved targets are not valid standard concepts of the loaded vocabulary (line {where}); "
            "choose others in Usagi, or load the vocabulary that its index was built from"
        )
    return nothing | known


def _reference(one: Approval) -> str:
    who = f" by {one.approved_by}" if one.approved_by else ""
    when = f" on {one.approved_on}" if one.approved_on else ""
    return f"Usagi: approved{who}{when}"
