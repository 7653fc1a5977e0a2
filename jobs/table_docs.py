"""Write the data dictionary and the graph of all tables, from their declarations."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from jobs.command import JsonLines, MappingsDir, new_app, start
from pipelines.contracts.source import load_contracts
from pipelines.contracts.type_one import load_type_one_codes
from pipelines.dictionary import dictionary_page, every_table, graph_page
from pipelines.mapping.plausibility import load_plausibility
from pipelines.mapping.spec import load_mappings
from pipelines.run_inputs import TYPE_ONE_SOURCE
from pipelines.settings import PACKAGED_MAPPINGS_DIR, OptOutSettings

log = logging.getLogger(__name__)

app = new_app()


@app.command()
def table_docs(
    out: Annotated[Path, typer.Option("--out", help="Folder of the pages.")] = Path("docs"),
    mappings_dir: MappingsDir = None,
    json_lines: JsonLines = False,
) -> None:
    """Write the data dictionary and the graph of all tables, from their declarations."""
    pages = pages_of(mappings_dir or PACKAGED_MAPPINGS_DIR)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (out / name).write_text(text, encoding="utf-8")
    log.info("wrote the pages of the tables", extra={"pages": len(pages), "folder": str(out)})


def pages_of(mappings_dir: Path) -> dict[str, str]:
    """The text of each page by its file name."""
    contracts = load_contracts(mappings_dir)
    type_one = load_type_one_codes(mappings_dir / OptOutSettings().type1_codes, contracts[TYPE_ONE_SOURCE])
    tables = every_table(contracts, load_mappings(mappings_dir, contracts), type_one, load_plausibility(mappings_dir))
    return {"tables.md": dictionary_page(tables), "graph.md": graph_page(tables, contracts)}


if __name__ == "__main__":
    start(app)
