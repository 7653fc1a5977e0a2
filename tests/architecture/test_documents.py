"""Documents match the code."""

import re
from functools import cache
from importlib import import_module
from pathlib import Path

import typer

import pipelines.errors
from jobs.cli import COMMANDS
from jobs.mapping_docs import pages_of
from jobs.table_docs import pages_of as pages_of_tables
from pipelines.errors import USER_ERRORS, page_of
from pipelines.settings import PACKAGED_MAPPINGS_DIR, Settings

PROJECT = Path(__file__).resolve().parents[2]
PAGES = (*sorted(PROJECT.glob("docs/**/*.md")), PROJECT / "README.md", PROJECT / "DEVELOPERS.md")


def test_every_exit_code_is_documented() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)`", (PROJECT / "docs" / "exit-codes.md").read_text(encoding="utf-8"), re.MULTILINE)
    classes = [kind for kind in vars(pipelines.errors).values() if isinstance(kind, type) and issubclass(kind, USER_ERRORS)]
    assert sorted((int(code), name) for code, name in rows) == sorted((kind.exit_code, kind.__name__) for kind in classes)


def test_every_error_has_its_place_on_the_page() -> None:
    classes = [kind for kind in vars(pipelines.errors).values() if isinstance(kind, type) and issubclass(kind, USER_ERRORS)]
    for error in [*(kind("message") for kind in classes), ValueError("message")]:
        page, _, anchor = page_of(error).partition("#")
        assert (PROJECT / page).read_text(encoding="utf-8").count(f'<a id="{anchor}">') == 1, anchor


def test_every_exit_code_has_one_cause() -> None:
    classes = {kind for kind in vars(pipelines.errors).values() if isinstance(kind, type) and issubclass(kind, USER_ERRORS)}
    codes = [kind.exit_code for kind in classes if "exit_code" in vars(kind)]
    assert len(set(codes)) == len(codes)


def test_every_setting_is_documented() -> None:
    text = (PROJECT / "docs" / "configuration.md").read_text(encoding="utf-8")
    described = {name.split(".")[0] for name in re.findall(r"^\| `([a-z0-9_.]+)` \|", text, re.MULTILINE)}
    assert described == set(Settings.model_fields)
    for section, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", {})
        missing = [name for name in inner if f"| `{section}.{name}` |" not in text]
        assert not missing, section


def test_makefile_runs_only_commands_there_are() -> None:
    used = set(re.findall(r"nhs-omop ([a-z][a-z-]+)", (PROJECT / "Makefile").read_text(encoding="utf-8")))
    assert used <= set(COMMANDS)


def test_every_part_of_the_pipelines_is_on_the_page_of_the_architecture() -> None:
    page = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    parts = {path.name for path in (PROJECT / "pipelines").glob("[a-z]*") if path.suffix != ".yaml"}
    assert {"runner.py", "curate"} <= parts
    assert {part for part in parts if not re.search(rf"`(pipelines/)?{part}/?`", page)} == set()


def test_commands_that_messages_and_pages_name_are_there() -> None:
    """A command, and after one that has subcommands a word that is one of these, or none."""
    places = [*PAGES, *(path for folder in ("jobs", "pipelines", "vocab") for path in (PROJECT / folder).rglob("*.py"))]
    made = {name: typer.main.get_command(import_module(command.module).app) for name, command in COMMANDS.items()}
    commands = {name: set(getattr(command, "commands", ())) for name, command in made.items()}
    no_commands = {"from", "key derivation", "local", "pseudonymisation-key", "release", "takes", "that", "version"}
    unknown = set()
    for place in places:
        for name, word in re.findall(r"nhs-omop ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?", place.read_text(encoding="utf-8")):
            if name not in commands:
                unknown.add(name)
            elif word and commands[name] and word not in commands[name]:
                unknown.add(f"{name} {word}")
    assert unknown == no_commands


def test_options_that_pages_give_to_commands_are_theirs() -> None:
    options: dict[str, set[str]] = {}
    for name, command in COMMANDS.items():
        made = typer.main.get_command(import_module(command.module).app)
        for word, command_or_part in {"": made, **getattr(made, "commands", {})}.items():
            options[f"{name} {word}".strip()] = {"--help"} | {text for given in command_or_part.params for text in given.opts}
    given = set()
    for place in PAGES:
        text = place.read_text(encoding="utf-8").replace("\\\n", " ")
        for name, word, rest in re.findall(r"nhs-omop ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?([^`#\n]*)", text):
            of = f"{name} {word}" if f"{name} {word}" in options else name
            given |= {(of, option) for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", rest)}
    assert ("run", "--select") in given
    assert {(of, option) for of, option in given if option not in options.get(of, {option})} == set()


def test_links_of_pages_lead_somewhere() -> None:
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))]
    own = [(page, *link.partition("#")[::2]) for page, link in links if ":" not in link]
    assert len(own) > 200
    broken = []
    for page, path, anchor in own:
        to = page.parent / path if path else page
        if not to.exists() or (anchor and anchor not in anchors_of(to)):
            broken.append(f"{page.relative_to(PROJECT)}: {path}#{anchor}")
    assert broken == []


@cache
def anchors_of(page: Path) -> set[str]:
    """Where links to a page can lead: its headings as GitHub names them, and the places that it names itself."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    named = {re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-") for heading in plain}
    return named | set(re.findall(r'<a id="([^"]+)">', text))


def test_pages_of_the_tables_are_up_to_date() -> None:
    written = {name: (PROJECT / "docs" / name).read_text(encoding="utf-8") for name in ("tables.md", "graph.md")}
    assert pages_of_tables(PACKAGED_MAPPINGS_DIR) == written, "run: make docs"


def test_pages_of_the_mappings_are_up_to_date() -> None:
    folder = PROJECT / "docs" / "mappings"
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    assert written == pages_of(PACKAGED_MAPPINGS_DIR), "run: make docs"
