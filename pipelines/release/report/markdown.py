"""Formats the report of a run as a Markdown page. The figures must already be safe to show."""

from collections.abc import Mapping, Sequence
from html import escape

from pipelines.progress import printable
from pipelines.release.report.sections import Cell, Section


def markdown(title: str, facts: Mapping[str, Cell], sections: Sequence[Section]) -> str:
    """The page: the facts as a list, followed by every section as a table."""
    parts = [f"# {title}", "\n".join(f"- {name}: {_shown(value)}" for name, value in facts.items())]
    for section in sections:
        parts.append(f"## {section.title}")
        if section.note:
            parts.append(section.note)
        parts.append(_table(section.rows) if section.rows else section.empty)
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Mapping[str, Cell]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    numeric = {name for name in columns if any(isinstance(row.get(name), int | float) for row in rows)}
    lines = [
        _line([name.replace("_", " ") for name in columns]),
        _line(["---:" if name in numeric else "---" for name in columns]),
        *(_line([_shown(row.get(name)) for name in columns]) for row in rows),
    ]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _shown(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:,}"
    return escape(printable(value), quote=False).replace("|", "\\|").replace("\n", " ") if value != "*" else "\\*"
