"""However a file was damaged, it is read, read with malformed lines, or refused by name; no line of it is lost."""

from collections import Counter
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest

from pipelines.contracts.source import Entity
from pipelines.errors import DeliveryError
from pipelines.ingest.opening import content_of
from pipelines.ingest.parse import Layout, layout_of, parse_file, read_head
from pipelines.ingest.text import lines_of
from tests.builders.damage import damaged_file

COLUMNS = ("record_id", "name", "note", "last")
ENTITY = Entity.model_validate(
    {
        "grain": "a row",
        "files": ["x*"],
        "key": ["record_id"],
        "columns": {name: {"required": True} for name in COLUMNS} | {"record_id": {"identifier": "record_id"}},
    }
)


def text(random: Random) -> str:
    """A file as it should be, with texts over several lines and quotes in odd places."""
    notes = ("", "none", '"over\ntwo lines"', '"a ""quoted"" word"', 'scar of 5" left', '"said "no" twice"', "Zoë", '"a,b"')
    rows = [f"{number},Zoe,{random.choice(notes)},{number}" for number in range(random.randrange(1, 40))]
    return "\n".join([",".join(COLUMNS), *rows, ""])


def outcome(path: Path) -> str:
    """What becomes of a file; asserts that each of its lines is accounted for."""
    try:
        layout, faults = layout_of(read_head(path), ENTITY)
        if layout is None or faults:
            return "refused"
        columns = [name or f"undeclared {place}" for place, name in enumerate(layout.columns)]
        layout = Layout(layout.delimiter, tuple(columns), 0)
        batches = list(parse_file(path, "P", "f", columns, layout))
        _, *lines = b"".join(lines_of(content_of(path), "x")).decode(errors="replace").split("\n")[:-1]
    except DeliveryError as error:
        assert str(error).startswith("gp/P81001/20260105/x")
        return "refused"
    rows = pa.Table.from_batches(batches).to_pylist() if batches else []
    next_line = 2
    for row in rows:
        assert all(not line.strip() for line in lines[next_line - 2 : row["_line"] - 2])
        values = [row["_raw"]] if row["_reason"] else [row[name] for name in columns]
        next_line = row["_line"] + 1 + sum(value.count("\n") for value in values)
    assert all(not line.strip() for line in lines[next_line - 2 :])
    return "loaded" if not any(row["_reason"] for row in rows) else "loaded with malformed lines"


@pytest.mark.parametrize("seed", range(10))
def test_a_damaged_file_is_read_or_refused_and_every_line_is_accounted_for(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    outcomes: Counter[str] = Counter()
    for _ in range(100):
        ending, content = damaged_file(text(random), random)
        path = tmp_path / "gp" / "P81001" / "20260105" / f"x{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        outcomes[outcome(path)] += 1
    assert outcomes.total() == 100
    assert min(outcomes["loaded"], outcomes["loaded with malformed lines"], outcomes["refused"]) > 5
