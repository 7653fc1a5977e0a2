"""Gates without a run: the walk-through of docs/gates.md, the written forms; what anybody would call wrong is not released."""

import gzip
import hashlib
import json
import re
import shutil
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from jobs import gate
from jobs.command import start
from pipelines.errors import QualityGateError
from pipelines.nightly import nightly
from pipelines.release.published import gates_of, release_folder, runs_of
from pipelines.settings import PACKAGED_CONF_DIR, load_settings
from tests.conftest import PROJECT
from tests.e2e.test_runs import options
from tests.e2e.world import LAST_NIGHT, DemoWorld

NEXT_NIGHT = LAST_NIGHT + timedelta(days=1)
FAILS = re.compile(r"^  (\S+ on \S+)", re.MULTILINE)


def judged(world: DemoWorld, *arguments: str) -> int:
    """The exit code of `gate`."""
    try:
        start(gate.app, [*arguments, *options(world.settings)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_walk_through_does_what_it_says(
    world: DemoWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every file and command of the section is written and run as it is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "quality").mkdir(parents=True)
    for name in ("base.yaml", "demo.yaml"):
        shutil.copy(PACKAGED_CONF_DIR / name, tmp_path / "conf")
    section = (PROJECT / "docs" / "gates.md").read_text(encoding="utf-8").partition("## Walk-through")[2]
    failed: list[set[str]] = []
    for kind, block in re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL):
        if kind == "yaml":
            (tmp_path / block.partition("\n")[0].removeprefix("# ")).write_text(block, encoding="utf-8")
            continue
        for line in block.splitlines():
            command, _, code = line.partition("  # exit code ")
            assert judged(world, *command.split()[2:]) == int(code), line
            failed.append(set(FAILS.findall(capsys.readouterr().err)))
    strict, of_one, waived, ended = failed
    everywhere, practice = "run.gp_issue_record.drug_record_key", "run.gp_issue_record@Y99004.drug_record_key"
    assert {f"orphan_share on {everywhere}", f"orphan_share on {practice}"} < strict
    assert of_one == strict - {f"orphan_share on {practice}"}
    assert (waived, ended) == (set(), of_one)


def test_a_release_is_judged_again_and_written_for_other_programs(world: DemoWorld, tmp_path: Path) -> None:
    release = world.outcomes[-1].release_id
    strict = ["--set", "gates.limits=[{check: mapped_share on run.gp, allowed: 0}]"]
    assert judged(world, "--release", release, "--format", "json", "--out", str(tmp_path / "gates.json")) == 0
    assert judged(world, "--release", release, *strict, "--format", "junit", "--out", str(tmp_path / "gates.xml")) == 21
    written = json.loads((tmp_path / "gates.json").read_text())
    assert (written["run"], written["failed"], written["checks"]) == ("20260106-00002", 0, len(written["results"]))
    root = ET.parse(tmp_path / "gates.xml").getroot()
    assert [case.get("classname") for case in root.iter("testcase") if case.find("failure") is not None] == ["run.gp"]
    assert judged(world, "--full", "--out", str(tmp_path / "full.txt")) == 0
    rights = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("gates.json", "full.txt")}
    assert rights == {"gates.json": 0o644, "full.txt": 0o600}
    assert judged(world, "--release", "20000101-00000000") == 22
    assert judged(world, "--run", "20000101-00001") == 22
    assert judged(world, "--full", "--out", str(world.folder / "deidentified" / "gates.txt")) == 10
    assert judged(world, "--out", str(world.folder / "restricted" / "demo.key")) == 10
    assert judged(world, "--set", "gates.limits=[{check: mapped_share on run.gpp, allowed: 0}]") == 10


def emptied(world: DemoWorld) -> None:
    """Full extracts of every practice with the header of each clinical file and no record, the manifest in keeping."""
    for first in sorted((world.folder / "landing/gp").glob("*/20260105")):
        folder = shutil.copytree(first, first.with_name(f"{NEXT_NIGHT:%Y%m%d}"))
        manifest = json.loads((folder / "manifest.json").read_text())
        for file in manifest["files"]:
            path = folder / file["name"]
            if "_CareRecord_" in file["name"] or "_Prescribing_" in file["name"]:
                is_packed, content = path.suffix == ".gz", path.read_bytes()
                header = (gzip.decompress(content) if is_packed else content).splitlines(keepends=True)[0]
                path.write_bytes(gzip.compress(header, mtime=0) if is_packed else header)
                file |= {"rows": 0, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        (folder / "manifest.json").write_text(json.dumps(manifest | {"extract_date": NEXT_NIGHT.isoformat()}))


@pytest.mark.deep
def test_a_full_extract_without_records_is_not_released_whatever_deliveries_let_in(
    world: DemoWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = world.copied_to(tmp_path / "demo")
    emptied(copy)
    ignored = "deliveries={empty_full: ignore, max_shrinkage: 1, max_more_empty: 1, lost_column: ignore}"
    places = [word for word in options(copy.settings) if word.startswith("--set=")]
    settings = load_settings("demo", overrides=[ignored, *[word.removeprefix("--set=") for word in places]])
    with pytest.raises(QualityGateError) as refused:
        nightly(settings, NEXT_NIGHT)
    failed = set(FAILS.findall(str(refused.value)))
    assert {"rows_lost on run.gp:", "rows_lost on omop.drug_exposure:", "rows_lost on omop.measurement:"} <= failed
    assert release_folder(settings).current() == world.outcomes[-1].release_id
    results = {str(result.check): result for result in gates_of(settings, runs_of(settings)[-1])}
    lost = results["rows_lost on run.gp"]
    assert lost.violations > 0.9 * lost.rows
    assert judged(copy) == 21
    accepted = "gates.waivers=[{check: '*_lost', reason: practices closed, owner: a test, until: 2026-01-07}]"
    assert judged(copy, f"--set={accepted}", "--date", "2026-01-07") == 0
    capsys.readouterr()
