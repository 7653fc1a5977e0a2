"""The map stage from end to end: silver tables in, OMOP tables out.

`build` is the way of the data, one step after the other. Each step yields what has to be stored, and reads what steps before
it have stored: the caller writes every output before it asks for the next, because an engine without a cache would otherwise
compute the same frame again and again.

1. `map_people`: what every source says about people; those with a year of birth are the people of the CDM.
2. `map_rows`: the rows of visits, details, deaths, registrations, staff and organisations, and the stem, which has one row
   per source event; with them the count of silver rows by rule and reason.
3. `resolve_codes`: the codes in use, what the vocabulary says about them, the routes of events, the codes nobody can map.
4. `build_persons_and_visits`: one record a person over all sources; spells, attendances and contacts with their ends.
5. `build_places`: the locations, care sites and staff that these refer to.
6. `build_people_tables`: persons, deaths, visits (and which led to which) and their details.
7. `build_events`: the stem into the table of each event's standard concept.
8. `build_relationships`: results and the specimens that they were found in.
9. `build_episodes`: for how long a service looked after a person, and the visits and events under it.
10. `build_periods`: when each person is observed.
11. `build_eras`: for how long each person had a condition or took an ingredient.
12. `describe`: the source of the database, the tables that stay empty, the ledger.

`adopt` does the same from step 3 on for what a changed vocabulary or local map concerns.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.columns.ids import COLLISIONS_SCHEMA, SHARED_IDS_SCHEMA, find_collisions, shared_ids, without_collisions
from pipelines.contracts.cdm import CODE_BUCKET, EVENT_TABLES, CdmTable, cdm_tables, delta_schema
from pipelines.contracts.zones import Zone
from pipelines.mapping.compile import COUNTS_SCHEMA, target_schema
from pipelines.mapping.spec import Rule, Target
from pipelines.omop.changes import (
    CHANGED_CODES_SCHEMA,
    Concerned,
    changed_codes,
    changed_targets,
    concerned,
    differences,
    of_changed,
    of_unchanged,
)
from pipelines.omop.codes import (
    CODE_MAP_SCHEMA,
    CODES_SCHEMA,
    ROUTES_SCHEMA,
    UNMAPPED_SCHEMA,
    coded_fields,
    codes_in_use,
    distinct_codes,
    first_meanings,
    routes,
    unmapped_codes,
)
from pipelines.omop.conform import empty_tables
from pipelines.omop.episodes import (
    EPISODE_KEY,
    EPISODES_SCHEMA,
    episode,
    episode_event,
    episode_ids,
    episodes,
    links_of,
)
from pipelines.omop.eras import ERA_KEY, ERA_TABLES, ERAS_SCHEMA, DrugVocabulary, era_ids, era_table, eras, eras_of
from pipelines.omop.events import CONCEPT_FIELDS, EVENT_KEY, EventInputs, event_ids, event_table, numbered_events
from pipelines.omop.ledger import MAP_LEDGER_SCHEMA, WRITTEN_SCHEMA, code_ledger, map_ledger, written_rows
from pipelines.omop.periods import PERIOD_KEY, PERIODS_SCHEMA, observation_period, period_ids, periods, registrations_outside
from pipelines.omop.persons import PERSONS_SCHEMA, death, person, persons, without_year_of_birth
from pipelines.omop.places import (
    PLACE_KEY,
    PLACES_SCHEMA,
    care_site,
    described_sites,
    location,
    place_keys,
    provider,
    provider_index,
)
from pipelines.omop.relationships import fact_relationship
from pipelines.omop.source import CdmSource, cdm_source, metadata
from pipelines.omop.stem import KNOWN_PERSONS_SCHEMA, SilverSource, counts_of, known_persons, rows_of, stem_schema
from pipelines.omop.visits import (
    VISIT_KEY,
    VISITS_SCHEMA,
    details_without_visit,
    inside_visits,
    visit_detail,
    visit_ids,
    visit_index,
    visit_occurrence,
    visits,
)

Read = Callable[[Zone, str], DataFrame]
"""How a step reads what was stored before: the zone and the name of the table."""

ROW_TABLES = {
    Target.PERSON: "person_rows",
    Target.DEATH: "death_rows",
    Target.VISIT: "visit_rows",
    Target.VISIT_DETAIL: "visit_detail_rows",
    Target.OBSERVATION_PERIOD: "registration_rows",
    Target.PROVIDER: "provider_rows",
    Target.CARE_SITE: "care_site_rows",
    Target.EPISODE: "episode_rows",
    Target.EVENT: "stem",
}
"""Where the mapped rows of each target are stored, in Zone.INTERMEDIATE."""


@dataclass(frozen=True)
class Output:
    """A frame to be stored under a name with its schema, as a whole or for some buckets only."""

    zone: Zone
    name: str
    frame: DataFrame
    schema: Mapping[str, str]
    partition_by: tuple[str, ...] = ()
    buckets: tuple[int, ...] | None = None


@dataclass(frozen=True)
class MapInputs:
    """What the map stage is given.

    `sources` hold contracts, mappings and silver tables. `resolve` gives the code map (CODE_MAP_SCHEMA) of the codes in use.
    `source_priority` decides between sources that describe one person or place. `extract_dates` is the newest extract of each
    source. Registrations at most `observation_gap_days` apart are one observation period.
    """

    sources: tuple[SilverSource, ...]
    resolve: Callable[[DataFrame], DataFrame]
    source_priority: tuple[str, ...]
    extract_dates: Mapping[str, date]
    described_as: CdmSource
    with_month_of_birth: bool = False
    observation_gap_days: int = 0
    cdm_version: str = "5.4"

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of all sources."""
        return tuple(rule for source in self.sources for rule in source.mapping.rules)

    def rules_for(self, target: Target) -> tuple[Rule, ...]:
        """The rules of all sources for one target."""
        return tuple(rule for rule in self.rules if rule.to is target)

    def table(self, name: str) -> CdmTable:
        """The contract of an OMOP table."""
        return cdm_tables(self.cdm_version)[name]


def build(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """Everything the map stage stores, in order. Write each output before taking the next."""
    yield from map_people(inputs, read)
    yield from map_rows(inputs, read)
    yield from resolve_codes(inputs, read)
    yield from build_persons_and_visits(inputs, read)
    yield from build_places(inputs, read)
    yield from build_people_tables(inputs, read)
    yield from build_events(inputs, read)
    yield from build_relationships(inputs, read)
    yield from build_episodes(inputs, read)
    yield from build_periods(inputs, read)
    yield from build_eras(inputs, read)
    yield from describe(inputs, read)


def adopt(inputs: MapInputs, read: Read, *, is_new_vocabulary: bool) -> Iterator[Output]:
    """What a new vocabulary or new local maps change of the stored result, which becomes what `build` would give.

    The mapped rows stand; so does every table and bucket without a code that means something else than before. Write each
    output before taking the next. `is_new_vocabulary` says that not only local maps are new.
    """
    yield from resolve_again(inputs, read)
    found = _found(inputs, read)
    yield _stem("unmapped_codes", _unmapped_again(inputs, read, found), UNMAPPED_SCHEMA)
    if found.targets - {Target.EPISODE}:
        yield from build_persons_and_visits(inputs, read)
        yield from build_places(inputs, read)
        yield from build_people_tables(inputs, read)
    if found.has_other_events:
        yield _stem("former_event_collisions", read(Zone.INTERMEDIATE, "event_collisions"), COLLISIONS_SCHEMA)
        yield from _event_collisions(read)
        former, now = (read(Zone.INTERMEDIATE, name) for name in ("former_event_collisions", "event_collisions"))
        if not differences(former, now, COLLISIONS_SCHEMA).isEmpty():
            found = replace(found, tables=frozenset(CONCEPT_FIELDS), buckets=None)
    yield from build_event_tables(inputs, read, found.tables, found.buckets)
    if found.moves_events:
        yield from build_relationships(inputs, read)
    if found.moves_events or is_new_vocabulary or Target.EPISODE in found.targets:
        yield from build_episodes(inputs, read)
    if is_new_vocabulary:
        yield from build_eras(inputs, read)
    elif found.tables & ERAS_FROM:
        changed, maps = read(Zone.INTERMEDIATE, "changed_codes"), _code_maps(read)
        yield from build_eras(inputs, read, changed_targets(changed, maps))
    yield from _descriptions(inputs, read)
    yield from _ledger(inputs, read)


def map_people(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """`person_rows` and `known_persons`."""
    # Nobody is known yet, and rows about people are kept for all: any frame will do.
    some_frame = next(iter(inputs.sources[0].tables.values()))
    yield _rows(Target.PERSON, rows_of(Target.PERSON, inputs.sources, some_frame))
    yield _stem("known_persons", known_persons(_read_rows(read, Target.PERSON)), KNOWN_PERSONS_SCHEMA)


def map_rows(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """The mapped rows of every other target, and `map_counts`."""
    known = read(Zone.INTERMEDIATE, "known_persons")
    for target in ROW_TABLES:
        if target is not Target.PERSON:
            yield _rows(target, rows_of(target, inputs.sources, known))
    yield _stem("map_counts", counts_of(inputs.sources, known), COUNTS_SCHEMA)


def resolve_codes(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """`codes`, `code_map`, `meanings`, `routes` and `unmapped_codes`."""
    rows = {target: _read_rows(read, target) for target in ROW_TABLES}
    yield _stem("codes", codes_in_use(rows, inputs.rules), CODES_SCHEMA)
    codes = read(Zone.INTERMEDIATE, "codes")
    yield from _meanings_of(inputs, read)
    code_map = read(Zone.INTERMEDIATE, "code_map")
    yield _stem("unmapped_codes", unmapped_codes(codes, code_map, rows, inputs.rules), UNMAPPED_SCHEMA)


def resolve_again(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """`code_map`, `meanings` and `routes` anew, with `former_code_map` and `changed_codes`."""
    yield _stem("former_code_map", read(Zone.INTERMEDIATE, "code_map"), CODE_MAP_SCHEMA)
    yield from _meanings_of(inputs, read)
    yield _stem("changed_codes", changed_codes(*_code_maps(read)), CHANGED_CODES_SCHEMA)


def _meanings_of(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """`code_map`, `meanings` and `routes`, of the codes in use."""
    codes = read(Zone.INTERMEDIATE, "codes")
    yield _stem("code_map", inputs.resolve(distinct_codes(codes)), CODE_MAP_SCHEMA)
    code_map = read(Zone.INTERMEDIATE, "code_map")
    yield _stem("meanings", first_meanings(code_map), CODE_MAP_SCHEMA)
    yield _stem("routes", routes(codes, code_map, inputs.rules), ROUTES_SCHEMA)


def _found(inputs: MapInputs, read: Read) -> Concerned:
    changed, codes, stem = (
        read(Zone.INTERMEDIATE, "changed_codes"),
        read(Zone.INTERMEDIATE, "codes"),
        _read_rows(read, Target.EVENT),
    )
    return concerned(changed, codes, _code_maps(read), stem, inputs.rules)


def _code_maps(read: Read) -> tuple[DataFrame, DataFrame]:
    return read(Zone.INTERMEDIATE, "former_code_map"), read(Zone.INTERMEDIATE, "code_map")


def _unmapped_again(inputs: MapInputs, read: Read, found: Concerned) -> DataFrame:
    """The stored work list, with what now is true of the codes that have changed."""
    changed, stored = read(Zone.INTERMEDIATE, "changed_codes"), read(Zone.INTERMEDIATE, "unmapped_codes")
    rows = {target: _read_rows(read, target) for target in ROW_TABLES}
    rows[Target.EVENT] = _in_buckets(rows[Target.EVENT], found.buckets)
    codes = of_changed(read(Zone.INTERMEDIATE, "codes"), changed)
    now = unmapped_codes(codes, read(Zone.INTERMEDIATE, "code_map"), rows, inputs.rules)
    return of_unchanged(stored, changed).unionByName(now)


def build_persons_and_visits(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """`persons`, `visits` and `visit_details`, with the collisions of visit ids."""
    meanings = read(Zone.INTERMEDIATE, "meanings")
    everybody = persons(_read_rows(read, Target.PERSON), meanings, inputs.source_priority)
    yield _stem("persons", everybody, PERSONS_SCHEMA)
    for target, name, kind in (
        (Target.VISIT, "visits", "visit_occurrence"),
        (Target.VISIT_DETAIL, "visit_details", "visit_detail"),
    ):
        rows = _read_rows(read, target)
        yield from _collisions(read, kind, visit_ids(rows, kind), "id", VISIT_KEY)
        collisions = read(Zone.INTERMEDIATE, f"{kind}_collisions")
        whole = visits(rows, inputs.rules_for(target), meanings, collisions, inputs.extract_dates, kind)
        yield _stem(name, whole, VISITS_SCHEMA)


def build_places(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """location, care_site and provider: those that a source describes or that persons, visits and staff refer to."""
    meanings, staff = read(Zone.INTERMEDIATE, "meanings"), _read_rows(read, Target.PROVIDER)
    everybody, own, details = (read(Zone.INTERMEDIATE, name) for name in ("persons", "visits", "visit_details"))
    sites = described_sites(_read_rows(read, Target.CARE_SITE), inputs.source_priority)
    keys = place_keys((everybody, sites), (everybody, own, details, staff, sites), staff)
    yield _stem("place_keys", keys, PLACES_SCHEMA)
    stored = read(Zone.INTERMEDIATE, "place_keys")
    yield from _collisions(read, "place", stored, "id", PLACE_KEY)
    places = without_collisions(stored, "id", PLACE_KEY, read(Zone.INTERMEDIATE, "place_collisions"))
    yield _omop(inputs, "location", location(places, inputs.table("location")))
    locations = read(Zone.OMOP, "location")
    yield _omop(inputs, "care_site", care_site(places, sites, meanings, locations, inputs.table("care_site")))
    care_sites = read(Zone.OMOP, "care_site")
    yield _omop(inputs, "provider", provider(places, staff, meanings, care_sites, inputs.table("provider")))


def build_people_tables(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """person, death, visit_occurrence and visit_detail."""
    care_sites, providers = read(Zone.OMOP, "care_site"), read(Zone.OMOP, "provider")
    everybody, locations = read(Zone.INTERMEDIATE, "persons"), read(Zone.OMOP, "location")
    table = inputs.table("person")
    yield _omop(inputs, "person", person(everybody, locations, care_sites, inputs.with_month_of_birth, table))
    deaths, meanings = _read_rows(read, Target.DEATH), read(Zone.INTERMEDIATE, "meanings")
    yield _omop(inputs, "death", death(deaths, meanings, inputs.source_priority, inputs.table("death")))
    own, details = read(Zone.INTERMEDIATE, "visits"), read(Zone.INTERMEDIATE, "visit_details")
    table = inputs.table("visit_occurrence")
    yield _omop(inputs, "visit_occurrence", visit_occurrence(own, care_sites, providers, table))
    table = inputs.table("visit_detail")
    yield _omop(inputs, "visit_detail", visit_detail(details, own, care_sites, providers, table))


def build_events(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """The event tables, with the collisions of their ids."""
    yield from _event_collisions(read)
    yield from build_event_tables(inputs, read, frozenset(CONCEPT_FIELDS))


def build_event_tables(
    inputs: MapInputs, read: Read, tables: frozenset[str], buckets: tuple[int, ...] | None = None
) -> Iterator[Output]:
    """Some event tables, whole or for some buckets."""
    visits_stored, details = read(Zone.INTERMEDIATE, "visits"), read(Zone.INTERMEDIATE, "visit_details")
    given = EventInputs(
        stem=_in_buckets(_read_rows(read, Target.EVENT), buckets),
        routes=read(Zone.INTERMEDIATE, "routes"),
        meanings=read(Zone.INTERMEDIATE, "meanings"),
        visits=visit_index(visits_stored),
        visit_details=visit_index(inside_visits(details, visits_stored)),
        providers=provider_index(read(Zone.OMOP, "provider")),
        collisions=read(Zone.INTERMEDIATE, "event_collisions"),
        coded=coded_fields(inputs.rules, Target.EVENT),
    )
    for name in CONCEPT_FIELDS:
        if name in tables:
            whole = _omop(inputs, name, event_table(inputs.table(name), given))
            yield replace(whole, partition_by=(CODE_BUCKET,), buckets=buckets)


def _event_collisions(read: Read) -> Iterator[Output]:
    ids = event_ids(_read_rows(read, Target.EVENT), read(Zone.INTERMEDIATE, "routes"))
    yield from _collisions(read, "event", ids, "_id", EVENT_KEY)


def _in_buckets(events: DataFrame, buckets: tuple[int, ...] | None) -> DataFrame:
    if buckets is None:
        return events
    return events.where(F.col(CODE_BUCKET).isin(*buckets) if buckets else F.lit(False))


def build_relationships(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """fact_relationship."""
    table = inputs.table("fact_relationship")
    yield _omop(inputs, table.name, fact_relationship(_carrying(read, "specimen_key"), _carrying(read, "key"), table))


def _carrying(read: Read, link: str) -> DataFrame:
    """The events that carry a key in column `link`, with their tables and ids."""
    carrying = _read_rows(read, Target.EVENT).where(F.col(link).isNotNull())
    return numbered_events(carrying, read(Zone.INTERMEDIATE, "routes"), read(Zone.INTERMEDIATE, "event_collisions"))


def build_episodes(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """`episodes`, episode and episode_event, with the collisions of episode ids."""
    rows = _read_rows(read, Target.EPISODE)
    yield from _collisions(read, "episode", episode_ids(rows), "id", EPISODE_KEY)
    whole = episodes(rows, read(Zone.INTERMEDIATE, "meanings"), read(Zone.INTERMEDIATE, "episode_collisions"))
    yield _stem("episodes", whole, EPISODES_SCHEMA)
    stored = read(Zone.INTERMEDIATE, "episodes")
    yield _omop(inputs, "episode", episode(stored, inputs.table("episode")))
    links = (
        links_of(read(Zone.INTERMEDIATE, "visits"), F.lit("visit_occurrence"), F.col("id")),
        links_of(_carrying(read, "episode_key"), F.col("_table"), F.col("_id")),
    )
    table = inputs.table("episode_event")
    yield _omop(inputs, table.name, episode_event(stored, links, read(Zone.VOCABULARY, "concept"), table))


def build_periods(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """`periods` and observation_period."""
    dated = ((_read_rows(read, Target.EVENT), "start_date"), (read(Zone.INTERMEDIATE, "visits"), "start_date"))
    registrations, born = _read_rows(read, Target.OBSERVATION_PERIOD), read(Zone.INTERMEDIATE, "persons")
    spans = periods(registrations, dated, born, inputs.extract_dates, inputs.observation_gap_days)
    yield _stem("periods", spans, PERIODS_SCHEMA)
    stored, table = read(Zone.INTERMEDIATE, "periods"), inputs.table("observation_period")
    yield from _collisions(read, "period", period_ids(stored), "id", PERIOD_KEY)
    yield _omop(inputs, table.name, observation_period(stored, read(Zone.INTERMEDIATE, "period_collisions"), table))


def build_eras(inputs: MapInputs, read: Read, concepts: DataFrame | None = None) -> Iterator[Output]:
    """`eras`, condition_era, drug_era and dose_era. With `concepts` the stored eras of all others stand."""
    conditions, drugs = read(Zone.OMOP, "condition_occurrence"), read(Zone.OMOP, "drug_exposure")
    vocabulary = DrugVocabulary(*[read(Zone.VOCABULARY, name) for name in ("concept", "concept_ancestor", "drug_strength")])
    if concepts is None:
        built = eras(conditions, drugs, vocabulary)
    else:
        about = eras_of(concepts, vocabulary)
        others = read(Zone.INTERMEDIATE, "eras").join(F.broadcast(about), on="concept_id", how="left_anti")
        built = others.select(*ERAS_SCHEMA).unionByName(eras(conditions, drugs, vocabulary, about))
    yield _stem("eras", built, ERAS_SCHEMA)
    stored = read(Zone.INTERMEDIATE, "eras")
    yield from _collisions(read, "era", era_ids(stored), "id", ERA_KEY)
    for name in ERA_TABLES:
        yield _omop(inputs, name, era_table(stored, read(Zone.INTERMEDIATE, "era_collisions"), inputs.table(name)))


def describe(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """cdm_source, metadata, the clinical tables that stay empty, and `map_ledger`."""
    known = read(Zone.INTERMEDIATE, "known_persons")
    yield from _descriptions(inputs, read)
    for name, frame in empty_tables(known.sparkSession, inputs.cdm_version, BUILT).items():
        yield _omop(inputs, name, frame)
    yield from _ledger(inputs, read)


ERAS_FROM = frozenset({"condition_occurrence", "drug_exposure"})
"""The tables that eras are concluded from."""


def _descriptions(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """cdm_source and metadata."""
    described, concepts = inputs.described_as, read(Zone.VOCABULARY, "concept")
    yield _omop(inputs, "cdm_source", cdm_source(described, concepts, inputs.table("cdm_source")))
    yield _omop(inputs, "metadata", metadata(concepts.sparkSession, described, inputs.table("metadata")))


BUILT = frozenset(
    {"cdm_source", "metadata", "location", "care_site", "provider", "person", "death", "observation_period"}
    | {"visit_occurrence", "visit_detail", "fact_relationship", "episode", "episode_event", *CONCEPT_FIELDS, *ERA_TABLES}
)
"""The tables that the map stage fills."""


def _ledger(inputs: MapInputs, read: Read) -> Iterator[Output]:
    """`map_left_out`, `map_written` and from them `map_ledger`."""
    born, registrations = read(Zone.INTERMEDIATE, "persons"), _read_rows(read, Target.OBSERVATION_PERIOD)
    later = [
        without_year_of_birth(_read_rows(read, Target.PERSON), read(Zone.INTERMEDIATE, "known_persons")),
        details_without_visit(_read_rows(read, Target.VISIT_DETAIL), _read_rows(read, Target.VISIT)),
        registrations_outside(registrations, born, inputs.extract_dates),
    ]
    yield _stem("map_left_out", union_all(later), COUNTS_SCHEMA)
    tables: dict[str, DataFrame] = {name: read(Zone.OMOP, name) for name in EVENT_TABLES if name in BUILT}
    tables = tables | {
        "person": born,
        "provider": _read_rows(read, Target.PROVIDER),
        "care_site": described_sites(_read_rows(read, Target.CARE_SITE), inputs.source_priority),
        "observation_period": read(Zone.INTERMEDIATE, "periods"),
    }
    yield _stem("map_written", written_rows(tables), WRITTEN_SCHEMA)
    counts, left_out, written = (read(Zone.INTERMEDIATE, name) for name in ("map_counts", "map_left_out", "map_written"))
    ways = read(Zone.INTERMEDIATE, "routes")
    mapped = map_ledger(counts, left_out, ways, written, inputs.rules)
    yield _stem("map_ledger", mapped.unionByName(code_ledger(ways)), MAP_LEDGER_SCHEMA)


def _collisions(read: Read, kind: str, ids: DataFrame, id_column: str, key: tuple[str, ...]) -> Iterator[Output]:
    """`<kind>_shared_ids`, nearly always empty, and then `<kind>_collisions`, the record of what was given instead."""
    yield _stem(f"{kind}_shared_ids", shared_ids(ids, id_column, key), SHARED_IDS_SCHEMA)
    shared = read(Zone.INTERMEDIATE, f"{kind}_shared_ids")
    yield _stem(f"{kind}_collisions", find_collisions(ids, id_column, key, shared), COLLISIONS_SCHEMA)


def _read_rows(read: Read, target: Target) -> DataFrame:
    return read(Zone.INTERMEDIATE, ROW_TABLES[target])


def _rows(target: Target, frame: DataFrame) -> Output:
    schema = stem_schema() if target is Target.EVENT else target_schema(target)
    return Output(Zone.INTERMEDIATE, ROW_TABLES[target], frame, schema)


def _stem(name: str, frame: DataFrame, schema: Mapping[str, str]) -> Output:
    return Output(Zone.INTERMEDIATE, name, frame, schema)


def _omop(inputs: MapInputs, name: str, frame: DataFrame) -> Output:
    return Output(Zone.OMOP, name, frame, delta_schema(inputs.table(name)))
