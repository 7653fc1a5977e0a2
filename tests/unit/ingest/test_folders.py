"""Every entry of the landing folder is a delivery, waits, is refused with its reason, or is named as ignored."""

from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts.delivered_names import WITHHELD_NAME
from pipelines.contracts.source import SourceContract
from pipelines.ingest.folders import Landed, find_deliveries, landed_in
from pipelines.ingest.landing import is_junk
from tests.builders.landing import deliver
from tests.unit.ingest.test_landing import CONTRACT, ROWS

DAY = date(2026, 1, 7)


def found(landing: Path) -> Landed:
    """Everything in the landing folder."""
    return find_deliveries(landing, {"gp": CONTRACT}, DAY, ["acute", "gp"])


def refused(landing: Path) -> dict[str, str]:
    """The fault of each entry that is refused, by its name."""
    return {str(entry.place): "; ".join(entry.faults) for entry in found(landing).set_aside}


def test_deliveries_are_in_the_order_of_their_days(tmp_path: Path) -> None:
    for provider, day in (("B", "20260106"), ("A", "20260107"), ("A", "20260105")):
        deliver(tmp_path, CONTRACT, provider, day, ROWS)
    landed = found(tmp_path)
    assert [delivery.name for delivery in landed.deliveries] == ["gp/A/20260105", "gp/B/20260106", "gp/A/20260107"]
    assert (landed.set_aside, landed.waiting, landed.ignored) == ([], [], [])


@pytest.mark.parametrize(
    "name",
    [
        "20260105_resub",
        "latest",
        "20261399",
        "2026-01-05",
        "20260105 ",
        "20260105.part",
        "2026010",
        "copy of 20260105",
        "20260105 (2)",
        "05012026x",
        "tmp",
    ],
)
def test_a_folder_that_is_no_day_is_refused_by_name(tmp_path: Path, name: str) -> None:
    deliver(tmp_path, CONTRACT, "A", "20260105", ROWS).rename(tmp_path / "gp" / "A" / name)
    landed = found(tmp_path)
    assert landed.deliveries == []
    assert refused(tmp_path) == {f"gp/A/{name}": "the name of the folder is not a day written yyyymmdd"}
    assert "rename the folder" in landed.set_aside[0].message


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("9990000018 <script>", WITHHELD_NAME),
        ("999 000 0018", WITHHELD_NAME),
        ("\x1b[31mRED\x07", "?[31mRED?"),
        ("x" * 101, "x" * 100 + "..."),
    ],
)
def test_a_provider_that_reports_cannot_name_is_refused(tmp_path: Path, name: str, named: str) -> None:
    """Every table of its rows would have its name, and what is published of them."""
    deliver(tmp_path, CONTRACT, name, "20260105", ROWS)
    landed = found(tmp_path)
    assert landed.deliveries == []
    assert list(refused(tmp_path)) == [f"gp/{named}/20260105"]
    assert "cannot be shown in reports" in landed.set_aside[0].message
    assert name not in landed.set_aside[0].message


@pytest.mark.parametrize("name", ["=cmd|'x'!A1", "+44", "-RXN", "@SUM(1)", " =1+1", "'RXN", "%"])
def test_a_provider_that_begins_with_a_sign_is_refused(tmp_path: Path, name: str) -> None:
    """Spreadsheets take it for a formula, wherever analysts write the providers of a release to."""
    deliver(tmp_path, CONTRACT, name, "20260105", ROWS)
    assert found(tmp_path).deliveries == []
    assert list(refused(tmp_path)) == [f"gp/{name}/20260105"]


@pytest.mark.parametrize(
    ("folders", "loaded", "form", "written"),
    [
        (["p81001"], [], [], {}),
        (["P81001", "P81002", "P8100", "P810011"], ["P81002"], ["P81001"], {}),
        (["P81001", "p81001"], [], [], {"p81001": "P81001"}),
        (["p81001"], ["P81001"], [], {"p81001": "P81001"}),
        (["P81001"], ["p81001"], ["P81001"], {"P81001": "p81001"}),
        (["P81001", "p81001"], ["P81001", "p81001"], [], {}),
        (["p81001", "P81001 "], [], ["P81001"], {"p81001": "P81001", "P81001 ": "P81001"}),
        ([" P81001", "P81001"], [], [], {" P81001": "P81001"}),
        (["RXN", "rxN", "rxn"], ["RXM"], [], {"rxN": "RXN", "rxn": "RXN"}),
        (["zo\u00eb", "zoe\u0308"], [], [], {"zo\u00eb": "zoe\u0308"}),
    ],
)
def test_a_provider_has_one_name(
    tmp_path: Path, folders: list[str], loaded: list[str], form: list[str], written: dict[str, str]
) -> None:
    """A second one, of other case or blanks, would have all its records twice."""
    forms = [{"providers": form, "mode": "full", "complete": ["line_end"]}] if form else []
    contract = SourceContract.model_validate(CONTRACT.model_dump(mode="json") | {"deliveries": forms})
    for provider in folders:
        deliver(tmp_path, CONTRACT, provider, "20260105", ROWS)
    known = [*(("gp", provider) for provider in loaded), *(("acute", provider.swapcase()) for provider in folders)]
    landed = find_deliveries(tmp_path, {"gp": contract}, DAY, loaded=known)
    assert {delivery.provider for delivery in landed.deliveries} == {*folders} - written.keys()
    assert {entry.provider: (entry.folder, entry.faults, entry.next_step) for entry in landed.set_aside} == {
        provider: (
            "20260105",
            (f"its provider is written {name}; under two names its records would count twice",),
            f"move it to gp/{name}, with that name in its manifest",
        )
        for provider, name in written.items()
    }
    for provider in folders:
        alone = landed_in(tmp_path / "gp" / provider / "20260105", contract, DAY, known)
        assert [entry.provider for entry in alone.set_aside] == ([provider] if provider in written else [])


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("GP", "no such source; its name is written gp"),
        ("Gp", "no such source; its name is written gp"),
        ("gp ", "no such source; its name is written gp"),
        ("g_p", "no such source; its name is written gp"),
        ("gpp", "no such source; there are gp"),
        ("Acute", "no such source; there are gp"),
        ("20260105", "no such source; there are gp"),
        ("opt-outs", "no such source; there are gp"),
    ],
)
def test_an_unknown_source_is_refused_by_name(tmp_path: Path, name: str, fault: str) -> None:
    deliver(tmp_path, CONTRACT, "A", "20260105", ROWS)
    (tmp_path / "gp").rename(tmp_path / name)
    assert found(tmp_path).deliveries == []
    assert refused(tmp_path) == {name: fault}


def test_opt_out_lists_and_sources_that_are_not_loaded_are_left_alone(tmp_path: Path) -> None:
    for name in ("optouts", "acute"):
        (tmp_path / name / "RXN" / "latest").mkdir(parents=True)
    assert found(tmp_path) == Landed()


def test_days_after_the_run_date_wait_and_are_not_looked_into(tmp_path: Path) -> None:
    deliver(tmp_path, CONTRACT, "A", "20260107", ROWS)
    (tmp_path / "gp" / "A" / "20260108").mkdir()
    (deliver(tmp_path, CONTRACT, "A", "20991231", ROWS) / "manifest.json").write_text("{")
    landed = found(tmp_path)
    assert [delivery.name for delivery in landed.deliveries] == ["gp/A/20260107"]
    assert [str(place) for place in landed.waiting] == ["gp/A/20260108", "gp/A/20991231"]
    assert landed.set_aside == []


def test_hidden_folders_and_stray_files_are_named_and_not_loaded(tmp_path: Path) -> None:
    folder = deliver(tmp_path, CONTRACT, "A", "20260105", ROWS)
    folder.rename(folder.with_name(".20260105.part"))
    deliver(tmp_path, CONTRACT, ".B", "20260105", ROWS)
    (tmp_path / "gp" / "notes.txt").write_text("x")
    (tmp_path / "gp" / "A" / "patient.csv").write_text("x")
    (tmp_path / "README").write_text("x")
    landed = found(tmp_path)
    assert (landed.deliveries, landed.set_aside) == ([], [])
    assert sorted(landed.ignored) == [
        "README (a file outside a delivery)",
        "gp/.B (hidden: an unfinished transfer)",
        "gp/A/.20260105.part (hidden: an unfinished transfer)",
        "gp/A/patient.csv (a file outside a delivery)",
        "gp/notes.txt (a file outside a delivery)",
    ]


@pytest.mark.parametrize("place", ["gp", "gp/A", "gp/A/20260105"])
def test_a_symbolic_link_is_refused(tmp_path: Path, place: str) -> None:
    landing, elsewhere = tmp_path / "landing", tmp_path / "elsewhere"
    deliver(landing, CONTRACT, "A", "20260105", ROWS)
    (landing / place).rename(elsewhere)
    (landing / place).symlink_to(elsewhere)
    assert found(landing).deliveries == []
    said = "a symbolic link; only what lies in the landing folder itself is read"
    assert refused(landing) == {place: said}
    alone = landed_in(landing / "gp" / "A" / "20260105", CONTRACT, DAY)
    assert (alone.deliveries, [(str(entry.place), entry.faults) for entry in alone.set_aside]) == ([], [(place, (said,))])


def test_a_link_to_nothing_and_a_folder_without_a_manifest_are_refused(tmp_path: Path) -> None:
    (tmp_path / "gp" / "A" / "20260105").mkdir(parents=True)
    (tmp_path / "gp" / "A" / "20260106").symlink_to(tmp_path / "nowhere")
    assert refused(tmp_path) == {
        "gp/A/20260105": "no manifest.json",
        "gp/A/20260106": "a symbolic link; only what lies in the landing folder itself is read",
    }


JUNK = (".DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini", "Desktop.ini", "~$letter.docx", "__MACOSX", "._x_patient.csv",
        ".~lock.x.csv#", "lost+found", "$RECYCLE.BIN", "System Volume Information", ".Trashes", "@eaDir")  # fmt: skip


@pytest.mark.parametrize("name", JUNK)
def test_junk_is_named_and_ignored_wherever_it_is(tmp_path: Path, name: str) -> None:
    deliver(tmp_path, CONTRACT, "A", "20260105", ROWS)
    for folder in (tmp_path, tmp_path / "gp", tmp_path / "gp" / "A"):
        (folder / name).write_text("x")
    landed = found(tmp_path)
    assert [delivery.name for delivery in landed.deliveries] == ["gp/A/20260105"]
    assert landed.set_aside == []
    assert sorted(landed.ignored) == sorted([name, f"gp/{name}", f"gp/A/{name}"])


@pytest.mark.parametrize(
    "name", ["patient.csv", "manifest.json", "20260105", "gp", "desktop.csv", "~patient.csv", "thumbs.csv"]
)
def test_data_is_no_junk(name: str) -> None:
    assert not is_junk(name)


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="/\x00", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_every_folder_of_any_name_is_accounted_for(name: str) -> None:
    """A folder of any name beside a good delivery is in exactly one of the four lists, and the good delivery is found."""
    if name in (".", "..") or len(name.encode()) > 200:
        return
    with TemporaryDirectory() as landing:
        deliver(Path(landing), CONTRACT, "A", "20260105", ROWS)
        (Path(landing) / "gp" / "A" / name).mkdir(exist_ok=True)
        landed = found(Path(landing))
        names = [delivery.name for delivery in landed.deliveries]
        assert "gp/A/20260105" in names
        entries = len(names) + len(landed.set_aside) + len(landed.waiting) + len(landed.ignored)
        assert entries == (1 if name == "20260105" else 2)
