"""Write the documentation of every mapping, from the mapping files themselves."""

import logging
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer

from jobs.command import JsonLines, MappingsDir, new_app, start
from pipelines.contracts.source import load_contracts
from pipelines.mapping.pages import CodeList, index_of, page_of
from pipelines.mapping.spec import load_mappings
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.terminology.vocabulary import MAPS_FOLDER
from vocab.local_maps import APPROVED, LocalMap, declared_vocabularies, read_local_maps

log = logging.getLogger(__name__)

app = new_app()


@app.command()
def mapping_docs(
    out: Annotated[Path, typer.Option("--out", help="Folder of the pages.")] = Path("docs/mappings"),
    mappings_dir: MappingsDir = None,
    json_lines: JsonLines = False,
) -> None:
    """Write the documentation of every mapping, from the mapping files themselves."""
    pages = pages_of(mappings_dir or PACKAGED_MAPPINGS_DIR)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (out / name).write_text(text, encoding="utf-8")
    log.info("wrote the pages of the mappings", extra={"pages": len(pages), "folder": str(out)})


def pages_of(mappings_dir: Path) -> dict[str, str]:
    """The text of each page by its file name."""
    contracts = load_contracts(mappings_dir)
    mappings = load_mappings(mappings_dir, contracts)
    lists = code_lists_of(mappings_dir / MAPS_FOLDER)
    pages = {f"{name}.md": page_of(contract, mappings[name], lists) for name, contract in contracts.items()}
    return pages | {"README.md": index_of(contracts.values(), mappings)}


def code_lists_of(folder: Path) -> dict[str, CodeList]:
    """The approved local maps of a folder by vocabulary; one that is declared and has no map yet is there without a file."""
    ours = declared_vocabularies(folder)
    empty = {name: CodeList(name, "", is_ours=True, codes=0, meaning_nothing=0, references=()) for name in ours}
    by_vocabulary: dict[str, list[LocalMap]] = defaultdict(list)
    for row in read_local_maps(folder):
        if row.status == APPROVED:
            by_vocabulary[row.source_vocabulary_id].append(row)
    return empty | {
        name: CodeList(
            vocabulary=name,
            file=maps[0].file,
            is_ours=name in ours,
            codes=len({row.source_code for row in maps}),
            meaning_nothing=len({row.source_code for row in maps if row.target_concept_id == 0}),
            references=tuple(dict.fromkeys(row.reference for row in maps)),
        )
        for name, maps in by_vocabulary.items()
    }


if __name__ == "__main__":
    start(app)
