import gzip
import zipfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from pipelines.measuring.no_logic_limit import measure_limit
from pipelines.measuring.revisions import Checkout, Usage
from pipelines.measuring.turns import TimedRun, Turns, in_turn, nights_from, ratio_rows, run_rows

RUNS = [
    TimedRun("old", 1, 1, 10.0, 1.0),
    TimedRun("old", 1, 2, 6.0, 1.5),
    TimedRun("this", 1, 1, 5.0, 2.0),
    TimedRun("this", 1, 2, 3.0, 1.0),
    TimedRun("old", 2, 1, 12.0, 1.0),
    TimedRun("old", 2, 2, 8.0, 1.0),
    TimedRun("this", 2, 1, 9.0, 1.0),
    TimedRun("this", 2, 2, 1.0, 1.0),
]


def test_the_limit_reads_every_form_of_delivery(tmp_path: Path) -> None:
    landing = tmp_path / "landing" / "gp"
    landing.mkdir(parents=True)
    (landing / "plain.csv").write_text('a,b\n1,"x,\ny"\n2,z\n')
    (landing / "piped.dat").write_text("a|b\n1|x\n")
    (landing / "windows.csv").write_bytes("a,b\n1,\x80 Zo\xeb\n".encode("latin-1"))
    (landing / "packed.csv.gz").write_bytes(gzip.compress(b"a,b\n1,x\n2,y\n"))
    with zipfile.ZipFile(landing / "packed.csv.zip", "w") as archive:
        archive.writestr("packed.csv", "a,b\n1,x\n")
    (landing / "broken.csv").write_text('a,b\n1,x\n"2,y\n3,z\n')
    (landing / "manifest.json").write_text("{}")
    limit = measure_limit(tmp_path / "landing", tmp_path / "scratch")
    assert (limit.files, limit.rows) == (6, 2 + 1 + 1 + 2 + 1 + 3)
    assert limit.seconds > 0
    assert not list((tmp_path / "scratch").iterdir())


def test_ratios_are_of_the_least_and_the_median_seconds() -> None:
    rows = {row[""]: (row["other"], row["this"], row["ratio"]) for row in ratio_rows(RUNS, "old", "this", limit_seconds=2.0)}
    assert rows["night 1: least seconds"] == (10.0, 5.0, 0.5)
    assert rows["night 1: median seconds"] == (11.0, 7.0, 0.64)
    assert rows["all nights: least seconds"] == (16.0, 8.0, 0.5)
    assert rows["all nights: peak GiB"] == (1.5, 2.0, 1.33)
    assert rows["all nights: times the limit"] == (8.0, 4.0, 0.5)
    assert len(run_rows(RUNS)) == len(RUNS)


def test_revisions_take_turns_on_new_lakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def run(checkout: Checkout, arguments: Sequence[str], log: Path) -> Usage:
        lake = log.with_suffix("")
        assert (lake / "landing" / "a.csv").exists()
        assert f"storage.landing={lake / 'landing'}" in arguments
        commands.append((checkout.folder.name, lake.name, *arguments[2:5]))
        return Usage(1.0, 0.5)

    monkeypatch.setattr(Checkout, "run", run)
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "a.csv").write_text("a\n")
    revisions = {name: Checkout(tmp_path / name, tmp_path) for name in ("old", "this")}
    runs = in_turn(revisions, Turns(tmp_path, nights_from(date(2026, 1, 5), 2), 2), tmp_path / "turns", lambda label: None)
    expected = [("old", 1, 1), ("old", 1, 2), ("this", 1, 1), ("this", 1, 2)]
    assert [(run.revision, run.turn, run.night) for run in runs[:4]] == expected
    assert [run.revision for run in runs[4:]] == ["old", "old", "this", "this"]
    assert commands[:3] == [
        ("old", "old-1", "vocab", "load", "--env"),
        ("old", "old-1", "run", "--date", "2026-01-05"),
        ("old", "old-1", "run", "--date", "2026-01-06"),
    ]
    assert not (tmp_path / "turns" / "old-1").exists()
