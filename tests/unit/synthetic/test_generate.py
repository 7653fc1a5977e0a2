import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from pipelines.contracts.source import SourceContract, load_contracts
from pipelines.errors import ConfigError
from pipelines.ingest.checking import verify
from pipelines.ingest.folders import find_deliveries
from pipelines.ingest.landing import Delivery
from pipelines.ingest.opening import content_of
from pipelines.ingest.parse import parse_file
from pipelines.synthetic.generate import FIRST_NIGHT, MAPPINGS_DIR, SOURCES, build_source, generate
from pipelines.synthetic.population import Story, World
from pipelines.synthetic.world import build_world

PEOPLE, SEED, NIGHTS = 150, 11, 2

Parsed = tuple[str, str, int, int, pa.Table]
"""Source, entity, night, announced rows and parsed rows of a delivered file."""


@dataclass(frozen=True)
class Extracts:
    out: Path
    world: World
    contracts: dict[str, SourceContract]
    deliveries: list[Delivery]
    clean: dict[str, dict[str, pa.Table]]

    def truth(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.out / "truth" / f"{name}.csv", dtype=str, keep_default_na=False)

    def planted(self, trap: str) -> int:
        planted = self.truth("planted")
        return int(planted.loc[planted["trap"] == trap, "count"].astype(int).sum())


@pytest.fixture(scope="module")
def extracts(tmp_path_factory: pytest.TempPathFactory) -> Extracts:
    out = tmp_path_factory.mktemp("generated")
    generate(PEOPLE, SEED, NIGHTS, out)
    contracts = load_contracts(MAPPINGS_DIR, SOURCES)
    world = build_world(PEOPLE, SEED, NIGHTS, FIRST_NIGHT)
    clean = {source: build_source(source, world).tables for source in SOURCES}
    return Extracts(
        out,
        world,
        contracts,
        find_deliveries(out / "landing", contracts, FIRST_NIGHT + timedelta(days=NIGHTS)).deliveries,
        clean,
    )


@pytest.fixture(scope="module")
def parsed(extracts: Extracts) -> list[Parsed]:
    """Every delivered file, as ingest reads it."""
    layouts = verify(extracts.deliveries, extracts.contracts).layouts
    found = []
    for delivery in extracts.deliveries:
        night = (delivery.extract_date - FIRST_NIGHT).days
        for file in delivery.files:
            assert file.rows is not None
            columns = list(extracts.contracts[delivery.source].entities[file.entity].columns)
            batches = parse_file(file.path, delivery.provider, file.file_id, columns, layouts[file.file_id])
            found.append((delivery.source, file.entity, night, file.rows, pa.Table.from_batches(list(batches))))
    return found


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()


def test_two_runs_are_equal_byte_by_byte(extracts: Extracts, tmp_path: Path) -> None:
    generate(PEOPLE, SEED, NIGHTS, tmp_path)
    assert list(digests(tmp_path)) == list(digests(extracts.out))


def test_another_seed_gives_other_extracts(extracts: Extracts, tmp_path: Path) -> None:
    generate(PEOPLE, SEED + 1, NIGHTS, tmp_path, sources=["social_care"])
    assert (tmp_path / "truth" / "people.csv").read_bytes() != (extracts.out / "truth" / "people.csv").read_bytes()


def test_folders_that_are_there_are_replaced_on_request_only(extracts: Extracts) -> None:
    with pytest.raises(ConfigError, match="already there"):
        generate(PEOPLE, SEED, NIGHTS, extracts.out)


def test_progress_is_reported_to_the_end(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    generate(40, 1, 1, tmp_path, lambda *step: steps.append(step), first_night=date(2025, 3, 1))
    assert [done for _, done, _ in steps] == list(range(1, len(SOURCES) + 3))
    assert steps[-1] == ("truth", len(SOURCES) + 2, len(SOURCES) + 2)
    assert (tmp_path / "landing" / "gp" / "Y99001" / "20250301" / "manifest.json").is_file()


def test_every_source_has_a_full_first_night_and_a_later_one(extracts: Extracts) -> None:
    for source in SOURCES:
        modes = {(delivery.extract_date, delivery.mode) for delivery in extracts.deliveries if delivery.source == source}
        assert (FIRST_NIGHT, "full") in modes
        assert any(day > FIRST_NIGHT and mode == "delta" for day, mode in modes)
    again = [
        delivery for delivery in extracts.deliveries if delivery.provider == "Y99002" and delivery.extract_date > FIRST_NIGHT
    ]
    assert [delivery.mode for delivery in again] == ["full"]


def test_every_file_is_read_by_ingest_and_has_the_announced_records(parsed: list[Parsed]) -> None:
    assert all(table.num_rows == rows for _, _, _, rows, table in parsed)


def test_every_column_of_a_contract_is_delivered_or_known_to_be_absent(parsed: list[Parsed], extracts: Extracts) -> None:
    layouts = verify(extracts.deliveries, extracts.contracts).layouts
    assert all(layout.undeclared == 0 for layout in layouts.values())


@pytest.mark.parametrize("reason", ["too_few_fields", "too_many_fields", "unclosed_quote"])
def test_malformed_lines_are_as_many_as_stated(parsed: list[Parsed], extracts: Extracts, reason: str) -> None:
    reasons = [value for _, _, _, _, table in parsed for value in table["_reason"].to_pylist() if value]
    assert reasons.count(f"malformed:{reason}") == extracts.planted(reason) > 0


def test_at_least_a_hundred_rows_a_person_and_all_entities_have_some(parsed: list[Parsed], extracts: Extracts) -> None:
    assert sum(rows for *_, rows, _ in parsed) >= 100 * PEOPLE
    delivered = {(source, entity) for source, entity, *_ in parsed}
    assert delivered == {
        (source, name) for source, tables in extracts.clean.items() for name, table in tables.items() if table.num_rows
    }


def test_the_rows_of_story_people_are_delivered_as_they_were_made(parsed: list[Parsed], extracts: Extracts) -> None:
    for source in SOURCES:
        for name, table in extracts.clean[source].items():
            persons = table["_person"].to_numpy()
            in_story = (persons >= 0) & (extracts.world.population.story[persons] != Story.ORDINARY)
            columns = [column for column in extracts.contracts[source].entities[name].columns if column in table.column_names]
            clean = table.filter(pa.array(in_story)).select(columns).to_pylist()
            delivered = {
                tuple(row[column] or None for column in columns)
                for of_source, entity, _, _, rows in parsed
                if (of_source, entity) == (source, name)
                for row in rows.select(columns).to_pylist()
            }
            assert {tuple(row[column] or None for column in columns) for row in clean} <= delivered, f"{source}.{name}"


def test_every_source_has_rows_of_stories(extracts: Extracts) -> None:
    stories = extracts.truth("stories")
    assert len(stories[["person", "source"]].drop_duplicates()) >= 40
    assert (stories.groupby("source")["person"].nunique().reindex(SOURCES) >= 8).all()
    in_story = extracts.world.population.story[stories["person"].astype(int)]
    assert (in_story != Story.ORDINARY).all()


def test_every_way_to_write_a_file_is_there(extracts: Extracts) -> None:
    for trap in ("cp1252", "byte_order_mark", "crlf", "pipe_delimiter", "gzip", "zip", "header_case", "resubmitted"):
        assert extracts.planted(f"file:{trap}") > 0
    written = [b"".join(content_of(file.path)) for delivery in extracts.deliveries for file in delivery.files]
    assert any(content.startswith(b"\xef\xbb\xbf") for content in written)
    assert any(b"\r\n" in content for content in written)


def test_most_traps_are_planted_even_for_few_people(extracts: Extracts) -> None:
    planted = set(extracts.truth("planted")["trap"])
    assert planted >= {
        *("number_missing", "number_invalid", "number_placeholder", "number_status_04", "number_spaced"),
        *("number_missing_on_row", "unknown_code", "other_date_form", "default_date", "future_date"),
        *("duplicate_line", "superseded_in_delivery", "late_arrival", "late_correction"),
        *("deleted_by_flag", "deleted_by_absence", "quoted_newline"),
        *("opt_out_national", "opt_out_taken_back", "never_submitted", "opt_out_local"),
        *("objection_upheld", "objection_refused"),
    }


def numbers_of(extracts: Extracts, night: str, name: str) -> list[str]:
    text = (extracts.out / "landing" / "optouts" / "national" / night / name).read_text(encoding="utf-8")
    assert all(line.endswith(",") for line in text.splitlines())
    return [line.rstrip(",") for line in text.splitlines()]


@pytest.mark.parametrize(("night", "status"), [("20260105", "status_first"), ("20260106", "status_last")])
def test_the_national_answer_allows_exactly_those_who_have_not_opted_out(extracts: Extracts, night: str, status: str) -> None:
    people = extracts.truth("people")
    request, response = (numbers_of(extracts, night, name) for name in ("request.dat", "response.dat"))
    assert set(response) < set(request)
    allowed = people["nhs_number"].isin(response)
    assert not allowed[people[status] == "national"].any()
    assert allowed[people[status] == "kept"].all()
    assert 0.9 < len(response) / len(request) < 1


def test_someone_opts_out_and_someone_comes_back(extracts: Extracts) -> None:
    first, second = (set(numbers_of(extracts, night, "response.dat")) for night in ("20260105", "20260106"))
    assert first - second
    assert second - first


def test_the_lists_have_true_manifests(extracts: Extracts) -> None:
    manifests = sorted((extracts.out / "landing" / "optouts").glob("*/*/manifest.json"))
    assert {path.parent.name for path in manifests} == {"20260105", "20260106"}
    for path in manifests:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        assert (manifest["kind"], manifest["as_at"].replace("-", "")) == (path.parent.parent.name, path.parent.name)
        for file in manifest["files"]:
            raw = (path.parent / file["name"]).read_bytes()
            assert hashlib.sha256(raw).hexdigest() == file["sha256"]
            assert raw.count(b"\n") - (0 if file["name"].endswith(".dat") else 1) == file["rows"]


def test_objections_name_a_number_or_a_provider_with_its_own_identifier(extracts: Extracts) -> None:
    path = extracts.out / "landing" / "optouts" / "objection" / "20260106" / "objections.csv"
    objections = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert set(objections["decision"]) == {"upheld", "refused"}
    assert ((objections["nhs_number"] != "") ^ ((objections["provider"] != "") & (objections["local_id"] != ""))).all()


def test_people_of_the_truth_are_the_people_of_the_world(extracts: Extracts) -> None:
    people = extracts.truth("people")
    assert people["nhs_number"].tolist() == extracts.world.population.nhs_number.tolist()
    assert (people.loc[people["story"] != "", ["status_first", "status_last"]] == "kept").all(axis=None)
    assert set(people["status_last"]) >= {"kept", "national", "local", "objection", "unverifiable", "test_patient"}
    assert (people["gp"] == "out").sum() == (extracts.world.population.type1 == "dissent").sum()
