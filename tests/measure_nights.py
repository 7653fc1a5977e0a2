"""Measure nights in which few people change: the time of each against a full load, what the lakehouse grows by, and `verify`.

    python -m tests.measure_nights --people 20000 --nights 30 --out FOLDER

Extracts are generated with a small share of rows that come late, are corrected or deleted each night, beside what happens to
the people from day to day. No provider delivers everything every night, no file is sent again, and providers that submit by
month or quarter do so on the first night only. Times are those of `nhs-omop run` as a process. Writes one line a night:
seconds, processor seconds, share of the full load, people touched, the most memory of a process so far, bytes of all tables.
Last comes what `verify --all` says; it raises if a table differs.
"""

import argparse
import json
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from pipelines.contracts.source import load_contracts
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.synthetic import delivery, traps
from pipelines.synthetic.demo_key import demo_key_file
from pipelines.synthetic.generate import FIRST_NIGHT, generate

LATER = ("late_arrival", "late_correction", "deleted")


def generated(out: Path, people: int, nights: int, share: float) -> None:
    """Write the extracts of quiet nights."""
    traps.REVISION_SHARES.update(dict.fromkeys(LATER, share))
    delivery.FULL_PROVIDERS.clear()
    delivery.resubmit = lambda *_: []
    generate(people, 1, nights, out)
    contracts = load_contracts(PACKAGED_MAPPINGS_DIR)
    for source, contract in contracts.items():
        if any(entity.period for entity in contract.entities.values()):
            for delivery_folder in out.glob(f"landing/{source}/*/*"):
                if delivery_folder.name != f"{FIRST_NIGHT:%Y%m%d}":
                    shutil.rmtree(delivery_folder)


def command(out: Path, *arguments: str) -> tuple[float, str]:
    """Run a command on the lakehouse below a folder; its seconds and what it printed. Raises where it fails."""
    places = {"landing": out / "landing", "restricted": out / "restricted", "deidentified": out / "deidentified"}
    chosen = [part for name, path in places.items() for part in ("--set", f"storage.{name}={path}")]
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *arguments, "--env", "demo", *chosen, "--set", f"key.path={out / 'demo.key'}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - begun, done.stdout + done.stderr


def processor_seconds() -> float:
    """What the commands that have ended have used of processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def size_of(out: Path) -> int:
    """The bytes of everything below both roots."""
    roots = (out / "restricted", out / "deidentified")
    return sum(path.stat().st_size for root in roots for path in root.rglob("*") if path.is_file())


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--share", type=float, default=0.00002)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    out: Path = chosen.out
    if not (out / "landing").exists():
        generated(out, chosen.people, chosen.nights, chosen.share)
    (out / "restricted").mkdir(mode=0o700, exist_ok=True)
    if not (out / "demo.key").exists():
        demo_key_file(out / "demo.key")
    command(out, "vocab", "load")
    full = 0.0
    for night in range(chosen.nights):
        used = processor_seconds()
        seconds, _ = command(out, "run", "--date", f"{FIRST_NIGHT + timedelta(night):%Y-%m-%d}")
        used = processor_seconds() - used
        _, listed = command(out, "runs", "--last", "1", "--json")
        full = full or seconds
        touched = re.search(r'"touched": ?(\d+)', listed)
        line = {
            "night": night,
            "seconds": round(seconds, 1),
            "cpu": round(used, 1),
            "of_full": round(seconds / full, 3),
            "touched": int(touched[1]) if touched else None,
            "peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10,
            "mib": round(size_of(out) / 2**20),
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    sys.stdout.write(command(out, "verify", "--all")[1])


if __name__ == "__main__":
    main()
