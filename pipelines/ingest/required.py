"""The sources without which nothing may be released."""

import re
from collections.abc import Iterable, Mapping
from datetime import date

from pipelines.errors import RequiredSourceError
from pipelines.ingest.folders import SetAside
from pipelines.ingest.landing import day_of
from pipelines.ingest.register import Registered


def require_sources(
    required: Mapping[str, int | None], register: Iterable[Registered], set_aside: Iterable[SetAside], run_date: date
) -> None:
    """Check that every required source is there, and new enough where `required` gives the greatest age in days.

    A source is not there while nothing of it has been loaded, or its newest deliveries are set aside and nothing else of
    that day has been loaded. Of a folder with a wrong name the day at its start counts. Raises RequiredSourceError, which
    names every such source.
    """
    loaded: dict[str, date] = {}
    newest: dict[str, str] = {}
    for file in register:
        loaded[file.source] = max(loaded.get(file.source, file.extract_date), file.extract_date)
        newest[file.source] = max(newest.get(file.source, ""), file.folder)
    refused: dict[str, str] = {}
    for entry in set_aside:
        day = _day_at_start(entry.folder)
        if day <= f"{run_date:%Y%m%d}":
            refused[entry.source] = max(refused.get(entry.source, ""), day)
    faults = []
    for source, most in required.items():
        if source not in loaded:
            faults.append(f"{source}: no delivery of it has been loaded")
        elif refused.get(source, "") > newest[source]:
            faults.append(f"{source}: its newest delivery, of {refused[source]}, is set aside")
        elif most is not None and (run_date - loaded[source]).days > most:
            age = (run_date - loaded[source]).days
            faults.append(f"{source}: its newest extract is {age} days old, at most {most} are allowed")
    if faults:
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise RequiredSourceError(
            f"nothing is released without the sources that run.required names:\n{lines}\n"
            "nhs-omop deliveries lists what came and what is wrong with it; have the source delivered, then run again"
        )


def _day_at_start(folder: str) -> str:
    """The day (yyyymmdd) with which the name of a folder begins, as in `20260105_resub` or `2026-01-05`; empty without one."""
    found = re.match(r"([0-9]{4})([-_. ]?)([0-9]{2})\2([0-9]{2})(?![0-9])", folder.strip())
    day = f"{found[1]}{found[3]}{found[4]}" if found else ""
    return day if day_of(day) else ""
