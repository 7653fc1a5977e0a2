"""What the page of a run says: its parts, in the order in which people read them, and what needs somebody.

Numbers are hidden here as the edition asks, so that tables and pictures show the same.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from pipelines.contracts.cdm import ROUTED_TABLES
from pipelines.contracts.derived import EVENT_EVIDENCE
from pipelines.contracts.ledger import Disposition, LedgerRow, Stage
from pipelines.contracts.zones import Zone
from pipelines.quality.figures import Figure, coding, row_figures
from pipelines.quality.gates import GateResult, Verdict
from pipelines.quality.suppression import HIDDEN, SMALLEST_SHOWN, TOTAL, rounded, suppressed, suppressed_breakdowns
from pipelines.release.model import Release
from pipelines.release.report.checks import outcomes
from pipelines.release.report.counting import MONTHS_SHOWN, ReleaseCounts, months_until
from pipelines.release.report.page import (
    Block,
    Folded,
    KeyFigure,
    MonthCharts,
    Notice,
    Page,
    Part,
    heading,
    words,
)
from pipelines.release.report.pictures import NARROW, WIDE, Flow, FlowFigure, Link, Node, flow_picture, month_chart
from pipelines.release.report.sections import Cell, Edition, Section, Topic
from pipelines.run_log import RunRecord, RunState

CODES_SHOWN: Final = 20
"""Codes without a standard concept that the page lists, those with most rows first."""


@dataclass(frozen=True, slots=True)
class OpenCode:
    """A code of a source without a standard concept, with its name where the vocabulary has one."""

    source: str
    vocabulary: str
    code: str
    name: str
    is_known: bool
    rows: int


@dataclass(frozen=True, slots=True)
class Material:
    """All that a page is made from. `deliveries` are rows as `nhs-omop deliveries` shows them.

    `release` and `counts` are None where the run made no release, `former` where there is none before it. `open_codes` is None
    where what is stored belongs to a later run.
    """

    run: str
    edition: Edition
    record: RunRecord | None
    release: Release | None
    former: Release | None
    former_ledger: Sequence[LedgerRow]
    ledger: Sequence[LedgerRow]
    gates: Sequence[GateResult]
    sections: Sequence[Section]
    deliveries: Sequence[Mapping[str, Cell]]
    counts: ReleaseCounts | None
    open_codes: Sequence[OpenCode] | None
    run_date: date
    written_on: date
    warn_lists_at_days: int

    def of_topic(self, topic: Topic) -> list[Section]:
        """The tables that every form of the report has, of one topic."""
        return [section for section in self.sections if section.topic is topic]


def page_of(material: Material) -> Page:
    """The page of a run."""
    release = material.release
    parts = [
        _arrivals(material),
        _rows(material),
        _opt_outs(material),
        _codes(material),
        _gates(material),
        *_people_and_months(material),
        *_change(material),
        _run(material),
    ]
    return Page(
        title=f"Release {release.release_id}" if release else f"Run {material.run}",
        edition=material.edition,
        verdict=_verdict(material),
        facts=_facts(material),
        figures=_figures(material),
        notices=_notices(material),
        parts=parts,
    )


def _facts(material: Material) -> dict[str, Cell]:
    release = material.release
    facts: dict[str, Cell] = {"run": material.run, "run_date": material.run_date.isoformat()}
    if release is not None:
        facts |= {
            "cdm": f"OMOP {release.cdm_version}",
            "vocabulary": release.vocabulary_version,
            "code": " ".join(filter(None, (release.code.version, release.code.commit))),
            "release_before": material.former.release_id if material.former else "none",
        }
    return facts | {"report_written": material.written_on.isoformat()}


_LET_THROUGH: Final = {Verdict.WARNED: "warned", Verdict.WAIVED: "failed under a waiver"}
"""What does not stop a release although it did not pass."""


def _verdict(material: Material) -> Notice:
    numbers = outcomes(material.gates)
    failed = numbers[Verdict.FAILED]
    if failed:
        return Notice("bad", f"Not released: {_number_of(failed, 'check')} failed. The release before stays.", "gates")
    if material.release is None:
        return Notice(*_without_release(material.record), "run")
    passed = f"{numbers[Verdict.PASSED]:,} of {len(material.gates):,} checks passed"
    noted = [f"{numbers[name]:,} {text}" for name, text in _LET_THROUGH.items() if numbers[name]]
    if noted:
        return Notice("warn", f"Released. {passed}; {' and '.join(noted)}.", "gates")
    return Notice("good", f"Released. {passed}.", "gates")


def _without_release(record: RunRecord | None) -> tuple[str, str]:
    """Kind and text of the verdict on a run that has no release and no failed check."""
    match record.end if record else None:
        case RunState.UNCHANGED if record:
            return "good", f"Nothing had changed: release {record.release_id} stays."
        case RunState.MADE if record:
            return "warn", f"Not released: the run was to make {' '.join(record.selected)} only. The release before stays."
        case RunState.RELEASED if record:
            return "warn", f"Released as {record.release_id}, which has been removed since."
    return "bad", "Not released: the run did not come to its end. The release before stays."


def _number_of(number: int, thing: str, things: str = "") -> str:
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def _figures(material: Material) -> list[KeyFigure]:
    delivered = next((row for row in reversed(_flow(material))), {})
    numbers = outcomes(material.gates)
    figures = [
        KeyFigure("Rows delivered", _text(delivered.get(Disposition.DELIVERED, 0)), "in all files that count"),
        KeyFigure("Rows in use", _text(delivered.get(Disposition.CURRENT, 0)), "the newest valid version of each record"),
        KeyFigure("Mapped", _mapped(material.ledger, material.edition), "of coded rows have a standard concept"),
        KeyFigure("Checks passed", f"{numbers[Verdict.PASSED]:,}", f"of {len(material.gates):,} made before the release"),
    ]
    if material.release is not None:
        people, newest = material.release.pin("omop", "person").rows, material.release.extracts
        figures.insert(0, KeyFigure("People", _text(material.edition.shown(people)), "in the release"))
        if newest:
            figures.append(
                KeyFigure(
                    "Newest extract",
                    max(e.extract_date for e in newest).isoformat(),
                    f"of {_number_of(len(newest), 'provider')}",
                )
            )
    return figures


def _text(number: Cell) -> str:
    return f"{number:,}" if isinstance(number, int) else str(number)


def _mapped(ledger: Sequence[LedgerRow], edition: Edition) -> str:
    """The share of coded rows that have a standard concept, as exactly as the table of coded rows has it."""
    rows = coding(ledger, edition.smallest_shown)
    return str(rows[-1]["mapped"]) if rows else ""


def _notices(material: Material) -> list[Notice]:
    """What somebody should look at, the worst first."""
    numbers = outcomes(material.gates)
    notices = []
    if numbers[Verdict.FAILED]:
        notices.append(
            Notice("bad", f"{_number_of(numbers[Verdict.FAILED], 'check')} failed, so nothing was released", "gates")
        )
    elif material.release is None and _without_release(material.record)[0] == "bad":
        notices.append(Notice("bad", "The run ended before its release", "run"))
    set_aside = sum(row["state"] == "set aside" for row in material.deliveries)
    if set_aside:
        notices.append(Notice("bad", f"{_number_of(set_aside, 'delivery', 'deliveries')} set aside", "arrivals"))
    for row in _lists(material):
        if isinstance(row["age_days"], int) and row["age_days"] >= material.warn_lists_at_days:
            notices.append(Notice("warn", f"The {row['list']} opt-out list was {row['age_days']} days old", "opt-outs"))
    if numbers[Verdict.WAIVED]:
        notices.append(Notice("warn", f"{_number_of(numbers[Verdict.WAIVED], 'check')} failed under a waiver", "gates"))
    if numbers[Verdict.WARNED]:
        notices.append(Notice("warn", f"{_number_of(numbers[Verdict.WARNED], 'check')} warned", "gates"))
    missing = [row for row in _newest(material) if not row["newest_extract"]]
    if missing:
        notices.append(Notice("warn", f"Nothing of {_number_of(len(missing), 'provider')} is loaded", "arrivals"))
    if material.open_codes:
        notices.append(Notice("warn", f"{_number_of(len(material.open_codes), 'code')} without a standard concept", "codes"))
    return notices


def _newest(material: Material) -> list[dict[str, Cell]]:
    """One row per provider: its newest extract that is loaded, how old it was on the day of the run, what came of it."""
    loaded = [row for row in material.deliveries if row["state"] == "loaded" and str(row["since"]) <= f"{material.run_date}"]
    former = {(e.source, e.provider): e.extract_date.isoformat() for e in material.former.extracts} if material.former else {}
    places = {(str(row["source"]), str(row["provider"])): 0 for row in material.deliveries}
    rows_of: dict[tuple[str, str], int] = places | former.fromkeys(former, 0)
    days: dict[tuple[str, str], str] = {}
    number: dict[tuple[str, str], int] = defaultdict(int)
    for row in loaded:
        place = str(row["source"]), str(row["provider"])
        days[place] = max(days.get(place, ""), str(row["extract_date"]))
        number[place] += 1
        rows_of[place] += row["rows"] if isinstance(row["rows"], int) else 0
    return [
        {
            "source": place[0],
            "provider": place[1],
            "newest_extract": days.get(place, ""),
            "age_days": (material.run_date - date.fromisoformat(days[place])).days if days.get(place) else None,
            "since_the_release_before": _arrived(days.get(place, ""), former.get(place, "")) if material.former else "",
            "deliveries": number[place],
            # Together they are a number of the flow, which may hide it.
            **({"rows": rows_of[place]} if material.edition is Edition.FULL else {}),
        }
        for place in sorted(rows_of)
    ]


def _arrived(newest: str, before: str) -> str:
    if not newest:
        return "nothing loaded"
    return "new extract" if newest > before else "nothing new"


def _arrivals(material: Material) -> Part:
    not_loaded = [row for row in material.deliveries if row["state"] != "loaded"]
    columns = ["source", "provider", "folder", "state", "since"]
    note = f"As it was on {material.written_on}, when this page was written."
    if material.edition is Edition.FULL:
        columns += ["reason", "next_step"]
    else:
        note += " The full edition has the reasons and the next steps; they may quote small numbers."
    return Part(
        "arrivals",
        "What arrived, and what did not",
        "Every provider with its newest extract that is loaded. Its age is that on the day of the run.",
        (
            Section("Newest extract of each provider", _newest(material)),
            Section(
                "Deliveries that are not loaded",
                [{name: row[name] for name in columns} for row in not_loaded],
                note=note if not_loaded else "",
                empty=f"None on {material.written_on}, when this page was written.",
            ),
            *material.of_topic(Topic.DELIVERIES),
        ),
    )


_OUTCOMES: Final = {
    Disposition.CURRENT: "in use: it is in silver, and what is mapped",
    Disposition.SUPERSEDED: "a newer version of the same record came",
    Disposition.DELETED_AT_SOURCE: "the provider has deleted it",
    Disposition.DUPLICATE: "the same version came before",
    Disposition.QUARANTINED: "it could not be used; the reasons are below",
    Disposition.OPTED_OUT: "its person has opted out, or may have",
    Disposition.TEST_PATIENT: "it is not about a person",
}


def _flow(material: Material) -> list[Figure]:
    return row_figures(material.ledger, material.edition.smallest_shown).flow


def _written(material: Material) -> dict[str, int | str]:
    """Rows by OMOP table that rules have written, most first. Their sum is that of `omop_rows` of the silver rows."""
    rows: dict[str, int] = defaultdict(int)
    for row in material.ledger:
        if row.disposition is Disposition.WRITTEN:
            rows[row.reason] += row.rows
    order = sorted((name for name in rows if rows[name]), key=lambda name: (-rows[name], name))
    return {name: rounded(rows[name], material.edition.smallest_shown) for name in order}


def _rows(material: Material) -> Part:
    figures = _flow(material)
    if not figures:
        return Part("rows", "What became of the rows", "The run has no ledger of rows.", ())
    written, taken = _written(material), _taken(material)
    tables: list[Mapping[str, Cell]] = [{"table": name, "rows": rows} for name, rows in written.items()]
    in_use: list[Mapping[str, Cell]] = [
        {"rows_in_use": _TAKEN[name][0], "rows": taken[name]} for name in _TAKEN if name in taken
    ]
    means: list[Mapping[str, Cell]] = [{"outcome": str(name), "meaning": text} for name, text in _OUTCOMES.items()]
    return Part(
        "rows",
        "What became of the rows",
        "Every delivered row has exactly one outcome. Rows in use are mapped to the tables of OMOP: one row may become several "
        "there, and several may become one.",
        (
            flow_figure(figures, taken, written, in_tens=material.edition is Edition.SUPPRESSED),
            Folded(
                "The numbers of the picture",
                (
                    Section("Delivered rows by source and outcome", figures),
                    *((Section("Rows in use, mapped or not", in_use),) if in_use else ()),
                    Section("Rows written by mapping rules, by OMOP table", tables, bars=("rows",)),
                    Section("What the outcomes mean", means),
                ),
            ),
            Folded("Rows that were left out, set aside or are doubtful", tuple(_without_flow(material.of_topic(Topic.ROWS)))),
        ),
    )


def _without_flow(sections: Sequence[Section]) -> list[Section]:
    """The tables of rows, but for the flow that the picture shows."""
    return [section for section in sections if Disposition.DELIVERED not in next(iter(section.rows), {})]


def _taken(material: Material) -> dict[str, int | str]:
    """Rows in use that rules have mapped, and those that no rule took; empty for a ledger that does not count them."""
    rows: dict[str, int] = defaultdict(int)
    for row in material.ledger:
        if row.stage is Stage.TAKE and row.disposition in _TAKEN:
            rows[row.disposition] += row.rows
    return {name: rounded(number, material.edition.smallest_shown) for name, number in rows.items()}


_TAKEN: Final = {Disposition.MAPPED: ("Mapped", "kept"), Disposition.UNTAKEN: ("Taken by no rule", "left")}
"""What becomes of rows in use, with the name and the colour of each."""


def flow_figure(
    figures: Sequence[Figure], taken: Mapping[str, int | str], written: Mapping[str, int | str], *, in_tens: bool = False
) -> FlowFigure:
    """The picture of the rows: from each source to the outcomes, of those in use to mapped or not, and on to OMOP tables."""
    *sources, total = figures
    outcomes = [name for name in _OUTCOMES if total[name]]
    first = [
        Node(f"source {row['source']}", heading(str(row["source"])), _rows_in(row, "delivered"), "source") for row in sources
    ]
    second = [Node(name, _named(name), _rows_in(total, name), _KINDS.get(name, "other")) for name in outcomes]
    third = [Node(f"taken {name}", *_TAKEN[name][:1], taken[name], _TAKEN[name][1]) for name in _TAKEN if taken.get(name)]
    last = [Node(f"table {name}", words(name), rows, "table") for name, rows in written.items()]
    links = [Link(f"source {row['source']}", name, _rows_in(row, name)) for row in sources for name in outcomes if row[name]]
    links += [Link(Disposition.CURRENT, node.name, node.rows) for node in third]
    before_tables = "taken mapped" if third else Disposition.CURRENT
    links += [Link(before_tables, node.name, node.rows) for node in last]
    steps = [("Delivered", first), ("Outcome", second), ("Mapping", third), ("OMOP tables", last)]
    flow = Flow(
        headings=tuple(title for title, nodes in steps if nodes),
        columns=tuple(tuple(nodes) for _, nodes in steps if nodes),
        links=tuple(link for link in links if {link.start, link.end} <= {n.name for _, nodes in steps for n in nodes}),
    )
    parts = [f"{_named(name).lower()} {_text(total[name])}" for name in outcomes]
    note = "Heights are numbers of rows." + (" Numbers after those of the outcomes are in tens." if in_tens else "")
    if any(isinstance(link.rows, str) for link in flow.links):
        note += " Dashed lines are hidden numbers: their width says nothing."
    return FlowFigure(
        f"Of {_text(total['delivered'])} delivered rows: {', '.join(parts)}. The numbers are in the tables below.",
        note,
        (flow_picture(flow, WIDE), flow_picture(flow.part(0, 2), NARROW), flow_picture(flow.part(1), NARROW)),
    )


_KINDS: Final = {Disposition.CURRENT: "kept", Disposition.OPTED_OUT: "left", Disposition.QUARANTINED: "left"}
"""Outcomes that the picture colours."""


def _named(outcome: Disposition) -> str:
    return "In use" if outcome is Disposition.CURRENT else heading(outcome)


def _rows_in(row: Figure, name: str) -> int | str:
    value = row[name]
    return value if isinstance(value, str) else int(value)


def _lists(material: Material) -> list[dict[str, Cell]]:
    if material.release is None:
        return []
    return [
        {"list": kind, "as_at": day.isoformat(), "age_days": (material.run_date - day).days}
        for kind, day in sorted(material.release.opt_outs.items())
    ]


def _opt_outs(material: Material) -> Part:
    kept_back = ("source", Disposition.OPTED_OUT, Disposition.TEST_PATIENT)
    return Part(
        "opt-outs",
        "Opt-outs",
        "Rows of people who have opted out, or may have, are not in the release.",
        (
            Section("Opt-out lists that the release applies", _lists(material), empty="The run made no release."),
            Section("Rows kept back, by source", [{name: row[name] for name in kept_back} for row in _flow(material)]),
            *material.of_topic(Topic.OPT_OUTS),
        ),
    )


def _codes(material: Material) -> Part:
    return Part(
        "codes",
        "How much is mapped",
        "A coded row is mapped when its code has a standard concept. The others keep their code under concept 0.",
        (*material.of_topic(Topic.CODES), _work_list(material)),
    )


def _work_list(material: Material) -> Section:
    title = "Codes without a standard concept, those with most rows first"
    if material.open_codes is None:
        return Section(title, [], empty="A later run has made the list anew; its report has it.")
    listed = [code for code in material.open_codes if code.rows >= material.edition.smallest_shown]
    shown = _rows_of_codes(material.open_codes, material.edition, coding(material.ledger, material.edition.smallest_shown))
    rare = len(material.open_codes) - len(listed)
    more = max(0, len(listed) - CODES_SHOWN)
    notes = []
    if more:
        notes.append(f"{more:,} more are in the work list: nhs-omop vocab unmapped.")
    if rare:
        notes.append(
            f"{_number_of(rare, 'code')} with fewer than {SMALLEST_SHOWN} rows: left out, as they may tell of one person."
        )
    rows: list[Mapping[str, Cell]] = [
        {
            "code": code.code,
            "vocabulary": code.vocabulary,
            "name": code.name,
            "source": code.source,
            "in_vocabulary": code.is_known,
            "rows": shown[code],
        }
        for code in listed[:CODES_SHOWN]
    ]
    return Section(title, rows, note=" ".join(notes), bars=("rows",))


def _rows_of_codes(codes: Sequence[OpenCode], edition: Edition, coded: Sequence[Figure]) -> dict[OpenCode, int | str]:
    """The rows of each code. Those of a source add up to numbers of `coded`, and neither may tell what the other hides."""
    hidden = {
        (row["source"], outcome is Disposition.KNOWN_UNMAPPED)
        for row in coded
        for outcome in (Disposition.KNOWN_UNMAPPED, Disposition.UNKNOWN)
        if row[outcome] == HIDDEN
    }
    groups: dict[tuple[str, bool], dict[OpenCode, int]] = defaultdict(dict)
    for code in codes:
        groups[code.source, code.is_known][code] = code.rows
    shown: dict[OpenCode, int | str] = {}
    for place, group in groups.items():
        _, (rows,) = suppressed_breakdowns(sum(group.values()), [group], edition.smallest_shown, hides_total=place in hidden)
        shown |= rows
    return shown


def _gates(material: Material) -> Part:
    return Part(
        "gates",
        "The checks before the release",
        "A failed check stops a release. One that warned, or failed under a waiver, does not.",
        tuple(material.of_topic(Topic.GATES)),
    )


def _people_and_months(material: Material) -> list[Part]:
    if material.counts is None:
        return []
    smallest = material.edition.smallest_shown
    counts = material.counts
    bands = suppressed(counts.people, smallest) if counts.people else {}
    sexes = list(dict.fromkeys(sex for row in bands.values() for sex in row))
    months = months_until(material.run_date)
    sources = sorted({source for table in counts.rows.values() for cells in table.values() for source in cells})
    charts = []
    for table, rows in counts.rows.items():
        shown = suppressed(
            {month: {source: cells.get(source, 0) for source in sources} for month, cells in rows.items()}, smallest
        )
        chart = month_chart(table, {month: shown[month] for month in months}, months, sources)
        numbers = Section(
            f"{heading(table)} by month and source", [{"month": month, **cells} for month, cells in shown.items()]
        )
        charts.append((chart, numbers))
    return [
        Part(
            "people",
            "People by year of birth and sex",
            "People in the release, by five years of birth.",
            (
                Section(
                    "People",
                    [{"born": band, **cells} for band, cells in bands.items()],
                    bars=tuple(sex for sex in sexes if sex != TOTAL),
                    empty="There are no people in the release.",
                ),
            ),
        ),
        Part(
            "months",
            "Rows by month, source and table",
            f"Rows in the tables of events and visits by the month in which they begin, for the last {MONTHS_SHOWN} months up "
            "to the run. The number above each chart is its tallest month. A low month may be a missing or late delivery.",
            (MonthCharts(tuple(sources), tuple(charts)),),
        ),
    ]


def _change(material: Material) -> list[Part]:
    release, former = material.release, material.former
    if release is None:
        return []
    if former is None:
        intro, blocks = "There is no release before this one.", ()
        return [Part("change", "Change against the release before", intro, blocks)]
    differ: list[Mapping[str, Cell]] = [
        {"what": what, "before": before, "now": now}
        for what, before, now in (
            ("CDM", former.cdm_version, release.cdm_version),
            ("vocabulary", former.vocabulary_version, release.vocabulary_version),
            ("code", former.code.version, release.code.version),
            ("configuration", former.configuration[:12], release.configuration[:12]),
            (
                "coded rows mapped",
                _mapped(material.former_ledger, material.edition),
                _mapped(material.ledger, material.edition),
            ),
        )
    ]
    return [
        Part(
            "change",
            "Change against the release before",
            f"Against release {former.release_id} of {former.run_date}.",
            (
                Section("Rows by table", _changes(former, release, material.edition)),
                Section("What the releases were made with", differ),
            ),
        )
    ]


def _changes(former: Release, release: Release, edition: Edition) -> list[dict[str, Cell]]:
    """Rows by table before and now. A change by a small number is hidden together with the number before.

    Where few people have come or gone every change is: it may be of their rows only, and say how much there is of somebody.
    `event_evidence` has a row for each row of the event tables, so what is hidden of one of these is hidden of it too.
    """
    before, now = (
        {table.name: table.rows for table in each_release.tables if table.zone == Zone.OMOP}
        for each_release in (former, release)
    )
    numbers = {name: (before.get(name, 0), now.get(name, 0)) for name in {*before, *now}}
    small = range(1, edition.smallest_shown)
    few_now = {name for name, (_, has) in numbers.items() if has in small}
    few_changes = {name for name, (was, has) in numbers.items() if {was, has, abs(has - was)} & set(small)}
    if "person" in few_changes:
        few_changes |= {name for name, (was, has) in numbers.items() if was != has}
    for few in (few_now, few_changes):
        if few.intersection(ROUTED_TABLES):
            few.add(EVENT_EVIDENCE.name)
    rows: list[dict[str, Cell]] = []
    for name in sorted(numbers, key=lambda name: (name != "person", name)):
        was, has = numbers[name]
        if not was and not has:
            continue
        change, share = (f"{has - was:+,}", f"{(has - was) / was:+.1%}" if was else "new") if has != was else ("0", "")
        hides = name in few_changes
        rows.append(
            {
                "table": name,
                "before": HIDDEN if hides else was,
                "now": HIDDEN if name in few_now else has,
                "change": HIDDEN if hides else change,
                "change_in_%": HIDDEN if hides else share,
            }
        )
    return rows


def _run(material: Material) -> Part:
    record = material.record
    if record is None:
        return Part("run", "The run", "The list of runs no longer has this run.", ())
    facts: dict[str, Cell] = {
        "began": f"{record.started:%Y-%m-%d %H:%M} UTC",
        "took": f"{record.seconds:,.0f} seconds" if record.seconds is not None else "it has no end",
        "new_deliveries": record.new_deliveries,
        "deliveries_set_aside": record.set_aside,
        "most_memory": f"{record.peak_gib:,.1f} GiB" if record.peak_gib is not None else "",
    }
    if record.tables is not None:
        facts["tables_made_whole"] = record.tables.whole
        facts["tables_made_for_some_people"] = record.tables.for_touched
        facts["tables_current_already"] = record.tables.current
    if record.failure is not None:
        facts |= {"ended_with": record.failure.error, "exit_code": record.failure.exit_code}
        facts["next_step"] = record.failure.next_step
    stages: list[Mapping[str, Cell]] = [
        {"stage": time.step, "seconds": round(time.seconds, 1), "most_memory_gib": round(time.peak_gib, 1)}
        for time in record.stages
    ]
    blocks: tuple[Block, ...] = (
        Section("Time by stage", stages, bars=("seconds",), empty="No stage has ended."),
        Section("Facts of the run", [{"what": heading(name), "value": value} for name, value in facts.items()]),
    )
    return Part("run", "The run", "How long each stage took.", blocks)
