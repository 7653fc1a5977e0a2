"""The work list of codes without a standard concept, and the effect of approving targets for them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.zones import Zone
from pipelines.progress import Field
from pipelines.quality.suppression import SMALLEST_SHOWN, shown
from pipelines.settings import Settings
from pipelines.storage.tables import TableStore
from pipelines.terminology.descriptions import descriptions, forms_of, read_code_tables
from pipelines.terminology.usage import Code, Use, uses
from pipelines.terminology.vocabulary import MAPS_FOLDER
from vocab.candidates import (
    Candidate,
    Description,
    best_candidates,
    similar_names,
    standard_names,
    stem_frequencies,
)
from vocab.concepts import is_valid_standard
from vocab.errors import VocabularyError
from vocab.local_maps import ApprovedTarget, read_local_maps, with_targets
from vocab.usagi import Approval, Approvals, UsagiCode

_MONTH = "%Y-%m"
_LINES_NAMED = 20


@dataclass(frozen=True)
class WorkItem:
    """A code of a source without a standard concept. `is_known`: the vocabulary contains it but does not map it."""

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
        """The item for display: small numbers hidden, dates by month, at most `candidates` candidates."""
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
            "suggested": "; ".join(f"{item.concept_id} {item.name} ({item.score:g})" for item in self.candidates[:candidates]),
        }


@dataclass(frozen=True)
class Gain:
    """The effect of an approved target: the rows and people whose code then has a standard concept."""

    target: ApprovedTarget
    target_name: str
    target_domain: str
    use: Use

    def as_row(self) -> dict[str, Field]:
        """The gain for display: small numbers are hidden."""
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
    """The approved targets of a Usagi file that may be applied, and the number of rows left out by reason."""

    gains: tuple[Gain, ...]
    left_out: dict[str, int]


def work_list(store: TableStore, settings: Settings, suggestions: int) -> tuple[WorkItem, ...]:
    """The codes of the last mapping run without a standard concept, those with most rows first.

    Each has at most `suggestions` candidates with similar names. Raises OmopPipelineError if nothing was mapped yet.
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
    return tuple(sorted(items, key=lambda item: (-item.use.rows, item.vocabulary, item.code, item.source)))


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
    """At most `most` candidates by the key of each description; `names` are those of `standard_names`."""
    frequencies = {row["stem"]: row["names"] for row in stem_frequencies(names, asked).toArrow().to_pylist()}
    return best_candidates(asked, similar_names(names, asked, frequencies).toArrow().to_pylist(), most)


def for_usagi(items: Iterable[WorkItem]) -> list[UsagiCode]:
    """The work list by code, sources combined.

    Frequencies from 1 to 7 are written as 7, because the file may leave the secure environment.
    """
    by_code: dict[Code, list[WorkItem]] = defaultdict(list)
    for item in items:
        by_code[item.vocabulary, item.code].append(item)
    codes = []
    for (vocabulary, code), same_code in by_code.items():
        rows = sum(item.use.rows for item in same_code)
        frequency = max(rows, SMALLEST_SHOWN - 1) if rows else 0
        sources = tuple(sorted(item.source for item in same_code))
        codes.append(UsagiCode(vocabulary, code, same_code[0].description, sources, frequency, same_code[0].candidates))
    return sorted(codes, key=lambda code: (-code.frequency, code.vocabulary, code.code))


def review(store: TableStore, settings: Settings, approvals: Approvals) -> Review:
    """The effect of the approved rows of a Usagi file, by code and target; nothing is applied.

    Codes that a local map already contains are left out: to change those, edit the file of the map. Raises VocabularyError
    if a target is not a valid standard concept of the loaded vocabulary.
    """
    folder = settings.mappings_dir / MAPS_FOLDER
    mapped = [(row.source_vocabulary_id, row.source_code) for row in read_local_maps(folder)]
    asked = [(approval.vocabulary, approval.code) for approval in approvals.rows]
    forms = forms_of(store, [*mapped, *asked])
    taken = {(vocabulary, forms.get((vocabulary, code), code)) for vocabulary, code in mapped}
    left_out = Counter(approvals.left_out)
    chosen: list[Approval] = []
    for approval in approvals.rows:
        if _normalised(approval, forms) in taken:
            left_out["a local map has the code already, approved or not"] += 1
        else:
            chosen.append(approval)
    concepts = _standard_concepts(store, chosen)
    normalised = {approval: _normalised(approval, forms) for approval in chosen}
    open_codes = _open_codes(store)
    used = uses(store, sorted({code for code in normalised.values() if code in open_codes}))
    gains = []
    for approval in chosen:
        name, domain, vocabulary = concepts[approval.target_concept_id]
        target = ApprovedTarget(
            vocabulary=approval.vocabulary,
            code=approval.code,
            description=approval.description,
            target_concept_id=approval.target_concept_id,
            target_vocabulary=vocabulary,
            reference=_reference(approval),
        )
        gains.append(Gain(target, name, domain, used.get(normalised[approval], Use())))
    ordered = sorted(gains, key=lambda gain: (-gain.use.rows, gain.target.vocabulary, gain.target.code))
    return Review(tuple(ordered), dict(left_out))


def _normalised(approval: Approval, forms: dict[Code, str]) -> Code:
    """The code of an approval as its vocabulary writes it."""
    return approval.vocabulary, forms.get((approval.vocabulary, approval.code), approval.code)


def apply(settings: Settings, gains: Sequence[Gain]) -> dict[str, int]:
    """Write the reviewed targets into the map files, all or none. Gives the number of rows added by file name.

    Raises VocabularyError if the files would be wrong with them.
    """
    return with_targets(settings.mappings_dir / MAPS_FOLDER, [gain.target for gain in gains])


def _open_codes(store: TableStore) -> set[Code]:
    rows = store.read(Zone.INTERMEDIATE, "unmapped_codes").select("vocabulary", "code").distinct().toArrow().to_pylist()
    return {(row["vocabulary"], row["code"]) for row in rows}


def _standard_concepts(store: TableStore, chosen: Sequence[Approval]) -> dict[int, tuple[str, str, str]]:
    """Name, domain and vocabulary by concept id of the targets; 0 maps a code to no concept on purpose."""
    wanted = sorted({approval.target_concept_id for approval in chosen if approval.target_concept_id})
    nothing = {0: ("nothing, on purpose", "", "None")}
    if not wanted:
        return nothing
    asked = store.session.createDataFrame([(concept_id,) for concept_id in wanted], "concept_id bigint")
    concepts = store.read(Zone.VOCABULARY, "concept").where(is_valid_standard())
    found = concepts.join(F.broadcast(asked), on="concept_id", how="left_semi")
    rows = found.select("concept_id", "concept_name", "domain_id", "vocabulary_id").toArrow().to_pylist()
    known = {row["concept_id"]: (row["concept_name"], row["domain_id"], row["vocabulary_id"]) for row in rows}
    usable = nothing | known
    lines = [str(approval.line) for approval in chosen if approval.target_concept_id not in usable]
    if lines:
        where = ", ".join(lines[:_LINES_NAMED]) + (", ..." if len(lines) > _LINES_NAMED else "")
        raise VocabularyError(
            f"{len(lines)} approved targets are not valid standard concepts of the loaded vocabulary (line {where}); "
            "choose others in Usagi, or load the vocabulary that its index was built from"
        )
    return usable


def _reference(approval: Approval) -> str:
    who = f" by {approval.approved_by}" if approval.approved_by else ""
    when = f" on {approval.approved_on}" if approval.approved_on else ""
    return f"Usagi: approved{who}{when}"
