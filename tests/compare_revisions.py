"""Compare what two revisions publish: the demo and all golden patients, row for row, ids up to a renaming.

    python -m tests.compare_revisions --against REVISION
    python -m tests.compare_revisions --against-checkout FOLDER

Exit code 1 when any table differs. Only counts and names of columns are shown, never values.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from pipelines.measuring.revisions import Checkout, checkout_in, checkout_of, link_extracts, this_checkout
from tests.compare_releases import EXCLUDED, Comparison, Releases, compare

BUILD_GOLDEN = """
import sys
from pathlib import Path
from pipelines.engine import open_session
from pipelines.engine_settings import EngineKind, EngineSettings
from tests.golden.lakehouse import build
with open_session(EngineSettings(kind=EngineKind.SAIL, memory_gib=1, parallelism=2)) as session:
    build(session, Path(sys.argv[1]))
"""
"""Run in each checkout: all golden patients to Delta tables below a folder."""


def run_demo(old: Checkout, new: Checkout, folder: Path, people: int, nights: int) -> tuple[Path, Path]:
    """Run the demo in both checkouts on the same extracts and with the same key; the published files."""
    size = ("--people", str(people), "--nights", str(nights))
    for name, checkout in (("old", old), ("new", new)):
        if name == "new":
            link_extracts(folder / "old", folder / "new")
        checkout.run(("-m", "jobs.cli", "demo", *size, "--out", str(folder / name)), folder / f"{name}.log")
    return folder / "old" / "cdm.duckdb", folder / "new" / "cdm.duckdb"


def run_golden(old: Checkout, new: Checkout, folder: Path) -> tuple[Path, Path]:
    """Build all golden patients in both checkouts; the folders of their Delta tables."""
    for name, checkout in (("old", old), ("new", new)):
        checkout.run(("-c", BUILD_GOLDEN, str(folder / name)), folder / f"{name}.log")
    return folder / "old", folder / "new"


@contextmanager
def releases_in_files(old: Path, new: Path) -> Iterator[Releases]:
    """Two published DuckDB files."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{old}' AS old (READ_ONLY)")
        connection.execute(f"ATTACH '{new}' AS new (READ_ONLY)")
        yield Releases(connection)


@contextmanager
def releases_in_deltas(old: Path, new: Path) -> Iterator[Releases]:
    """The published columns of the OMOP tables of two lakes."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, folder in (("old", old), ("new", new)):
            connection.execute(f"CREATE SCHEMA {name}")
            for path in sorted(log.parent for log in folder.rglob("omop/*/_delta_log")):
                _load_delta(connection, f"{name}.{path.name}", path)
        yield Releases(connection)


def _load_delta(connection: duckdb.DuckDBPyConnection, target: str, path: Path) -> None:
    rows = DeltaTable(str(path)).to_pyarrow_dataset()
    published = [f'"{name}"' for name in rows.schema.names if not name.startswith("_")]
    connection.from_arrow(rows).project(", ".join(published)).create(target)


def shown(title: str, compared: Sequence[Comparison]) -> str:
    """The comparison as text, a line for each table that has rows or differs; look at low distances first."""
    lines = [title, f"  {'table':24}{'rows old':>12}{'rows new':>12}  equal    distance  columns that differ"]
    listed = [table for table in compared if table.rows_old or table.rows_new or table.equal == "no"]
    lines += [
        f"  {table.table:24}{table.rows_old:>12,}{table.rows_new:>12,}  {table.equal:9}{_difference(table)}".rstrip()
        for table in listed
    ]
    if len(listed) < len(compared):
        lines.append(f"  {len(compared) - len(listed)} more tables are empty in both")
    return "\n".join(lines)


def _difference(table: Comparison) -> str:
    return f"{table.distance:>8}  {', '.join(table.columns)}" if table.equal == "no" else ""


def compare_revisions(old: Checkout, new: Checkout, folder: Path, people: int, nights: int) -> bool:
    """Show the comparison of the demo and of the golden patients; whether all tables are equal up to ids."""
    say("not compared: " + "; ".join(f"{what} ({why})" for what, why in EXCLUDED.items()))
    with releases_in_files(*run_demo(old, new, folder / "demo", people, nights)) as releases:
        demo = compare(releases)
    say(shown(f"demo, {people:,} people, {nights} nights", demo))
    with releases_in_deltas(*run_golden(old, new, folder / "golden")) as releases:
        golden = compare(releases)
    say(shown("golden patients", golden))
    are_there = bool(demo) and bool(golden)
    return are_there and all(table.equal != "no" for table in (*demo, *golden))


def say(text: str) -> None:
    """Write a result to standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def _scratch(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="nhs-omop-compare-") as made:
            yield Path(made)
    else:
        folder.mkdir(parents=True)
        yield folder.resolve()


@contextmanager
def _other_checkout(revision: str | None, folder: Path | None) -> Iterator[Checkout]:
    if folder is not None:
        yield checkout_in(folder)
    else:
        with checkout_of(revision or "HEAD") as checkout:
            yield checkout


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare as the arguments say; the exit code."""
    parser = argparse.ArgumentParser(
        prog="compare_revisions", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    other = parser.add_mutually_exclusive_group(required=True)
    other.add_argument("--against", metavar="REVISION", help="a revision that git knows")
    other.add_argument("--against-checkout", metavar="FOLDER", type=Path, help="a checkout with an environment of its own")
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--nights", type=int, default=2)
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="make everything in this new folder and leave it there")
    chosen = parser.parse_args(arguments)
    with _scratch(chosen.keep) as folder, _other_checkout(chosen.against, chosen.against_checkout) as old:
        equal = compare_revisions(old, this_checkout(), folder, chosen.people, chosen.nights)
    say("equal" if equal else "different")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
