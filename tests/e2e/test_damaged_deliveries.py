"""A run over deliveries whose files were damaged on the way: no line is lost, nothing ends unexpectedly."""

import hashlib
import json
import shutil
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from pipelines.contracts.source import Entity, load_contracts
from pipelines.errors import DeliveryError, QualityGateError
from pipelines.ingest.landing import entity_of
from pipelines.ingest.opening import content_of
from pipelines.ingest.parse import layout_of, parse_file, read_head
from pipelines.ingest.text import lines_of
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.synthetic.generate import SOURCES
from tests.builders.damage import damaged_file
from tests.e2e.test_fail_closed import called
from tests.e2e.world import LAST_NIGHT, DemoWorld

NEXT = LAST_NIGHT + timedelta(days=1)
CONTRACTS = load_contracts(PACKAGED_MAPPINGS_DIR, SOURCES)


@pytest.fixture
def copy(world: DemoWorld, tmp_path: Path) -> DemoWorld:
    """A copy of the lakehouse after its last night, to be changed."""
    return world.copied_to(tmp_path / "demo")


def records(path: Path, entity: Entity) -> tuple[tuple[str | None, ...], int, int]:
    """The columns of a file, its records and those that are malformed. Raises DeliveryError if it cannot be read."""
    layout = layout_of(read_head(path), entity)[0]
    if layout is None:
        raise DeliveryError("no header")
    batches = list(parse_file(path, "", "", (), layout))
    rows = sum(batch.num_rows for batch in batches)
    return layout.columns, rows, rows - sum(batch.column("_reason").null_count for batch in batches)


def damage(path: Path, entity: Entity, random: Random) -> tuple[Path, int, int]:
    """Damage a file so that it can still be read; where it is then, its records and those that are malformed."""
    text = b"".join(lines_of(content_of(path), path.name)).decode()
    columns, _, _ = records(path, entity)
    path.unlink()
    while True:
        ending, content = damaged_file(text, random)
        changed = path.with_name(path.name.partition(".")[0] + ending)
        changed.write_bytes(content)
        try:
            found, rows, malformed = records(changed, entity)
            if found == columns:
                return changed, rows, malformed
        except DeliveryError:
            pass
        changed.unlink()


CURATED = ("--select=silver", "--select=quarantine", "--select=row_outcomes")


@pytest.mark.parametrize("selected", [CURATED, pytest.param((), marks=pytest.mark.deep)], ids=["curated", "a whole run"])
def test_every_line_of_damaged_deliveries_is_accounted_for(
    copy: DemoWorld, capfd: pytest.CaptureFixture[str], selected: tuple[str, ...]
) -> None:
    expected = {}
    random = Random(3)
    for source, contract in CONTRACTS.items():
        for delivery in sorted((copy.folder / "landing" / source).glob(f"*/{LAST_NIGHT:%Y%m%d}")):
            folder = delivery.with_name(f"{NEXT:%Y%m%d}")
            shutil.copytree(delivery, folder)
            manifest = json.loads((folder / "manifest.json").read_text())
            for file in manifest["files"]:
                entity = entity_of(file["name"], contract)
                assert entity is not None
                path, rows, malformed = damage(folder / file["name"], contract.entities[entity], random)
                file |= {"name": path.name, "rows": rows, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
                expected[source, folder.parent.name, path.name] = (rows, malformed)
            manifest["extract_date"] = NEXT.isoformat()
            (folder / "manifest.json").write_text(json.dumps(manifest))
    # A damaged delivery may differ from the last one by more than is usual; what is asked here is where its lines went.
    limits = ("fewest_records=1000000", "lost_column=warn", "empty_full=warn")
    allowed = [f"--set=deliveries.{limit}" for limit in limits]
    done = called(capfd, copy, "run", "--date", NEXT.isoformat(), *selected, *allowed)
    assert done.returncode in (0, *([] if selected else [QualityGateError.exit_code])), done.stderr
    assert "Traceback" not in done.stderr
    register = copy.rows("curation", "register")
    new = register[register["folder"] == f"{NEXT:%Y%m%d}"]
    taken = {(row.source, row.provider, row.file_name): (row.rows, row.malformed) for row in new.itertuples()}
    assert taken == expected
    assert sum(malformed for _, malformed in expected.values()) > 20
    outcomes = copy.rows("ledger", "row_outcomes")["rows"].sum()
    repeated = register.loc[register["same_as"] != register["file_id"], "rows"].sum()
    assert outcomes + repeated == register["rows"].sum()
    if not selected:
        ledger = copy.rows("ledger", "rows")
        of_run = ledger[(ledger["run_id"] == ledger["run_id"].max()) & (ledger["stage"] == "curate")]
        assert of_run.loc[of_run["disposition"] == "delivered", "rows"].sum() == register["rows"].sum()
        assert of_run.loc[of_run["disposition"] != "delivered", "rows"].sum() == register["rows"].sum()
