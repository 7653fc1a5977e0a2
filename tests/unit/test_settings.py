import re
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.contracts.source import load_contracts
from pipelines.contracts.type_one import load_type_one_codes
from pipelines.engine_settings import EngineKind
from pipelines.errors import ConfigError, OptOutInvalidError
from pipelines.secrets import FileSecret
from pipelines.settings import PACKAGED_CONF_DIR, PACKAGED_MAPPINGS_DIR, Environment, LeftOut, Settings, load_settings

ENVIRONMENTS = sorted(path.stem for path in PACKAGED_CONF_DIR.glob("*.yaml") if path.stem != "base")


def conf_dir(tmp_path: Path, base: str, env: str) -> Path:
    (tmp_path / "base.yaml").write_text(base, encoding="utf-8")
    (tmp_path / "here.yaml").write_text(env, encoding="utf-8")
    return tmp_path


COMPLETE = """
environment: test
storage: {landing: a, restricted: b, deidentified: c}
key: {kind: env, name: SOME_KEY}
"""


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_packaged_environment_is_valid(env: str) -> None:
    assert load_settings(env).environment in Environment


def test_what_the_packaged_base_says_is_what_holds_without_it(tmp_path: Path) -> None:
    base = (PACKAGED_CONF_DIR / "base.yaml").read_text(encoding="utf-8")
    with_base, without = (load_settings("here", conf_dir(tmp_path, text, COMPLETE)) for text in (base, "{}"))
    assert with_base == without


def test_environments_for_each_way_to_run_are_packaged() -> None:
    assert {"demo", "spark", "test", "production", "databricks"} <= set(ENVIRONMENTS)


def test_environment_lies_over_base_key_by_key(tmp_path: Path) -> None:
    folder = conf_dir(tmp_path, "engine: {kind: spark, memory_gib: 3}\n", COMPLETE + "engine: {memory_gib: 5}\n")
    engine = load_settings("here", folder).engine
    assert (engine.kind, engine.memory_gib) == (EngineKind.SPARK, 5)


def test_override_lies_over_both(tmp_path: Path) -> None:
    folder = conf_dir(tmp_path, "engine: {memory_gib: 3}\n", COMPLETE)
    settings = load_settings("here", folder, ["engine.memory_gib=6", "run.sources=[gp]", "cdm_version='5.5'"])
    assert (settings.engine.memory_gib, settings.run.sources, settings.cdm_version) == (6, ("gp",), "5.5")


@pytest.mark.parametrize("written", ["5.5", "'5.5'", '"5.5"'])
def test_the_version_of_the_cdm_may_be_written_as_a_number(tmp_path: Path, written: str) -> None:
    folder = conf_dir(tmp_path, "{}", COMPLETE)
    as_text = load_settings("here", folder, ["cdm_version='5.5'"])
    assert load_settings("here", folder, [f"cdm_version={written}"]) == as_text
    with pytest.raises(ConfigError, match=r"cdm_version: Input should be '5\.4' or '5\.5'"):
        load_settings("here", folder, ["cdm_version=5.6"])
    assert load_settings("here", conf_dir(tmp_path, f"cdm_version: {written}\n", COMPLETE)) == as_text


def test_secret_reference_of_another_kind_replaces_the_whole_reference(tmp_path: Path) -> None:
    folder = conf_dir(tmp_path, "key: {kind: file, path: /k}\n", COMPLETE)
    assert load_settings("here", folder).key.model_dump() == {"kind": "env", "name": "SOME_KEY"}


def test_a_section_that_stands_twice_is_refused(tmp_path: Path) -> None:
    env = COMPLETE + "opt_outs: {max_age_days: 7}\nopt_outs: {warn_at_days: 5}\n"
    with pytest.raises(
        ConfigError, match=r"here\.yaml: not valid YAML at line 6: the key opt_outs stands twice, first at line 5"
    ):
        load_settings("here", conf_dir(tmp_path, "{}", env))


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    env = "environment: prod\nstorage: {landing: a, restricted: b}\nengine: {kind: flink}\nspeed: high\nkey: {kind: paper}\n"
    with pytest.raises(ConfigError) as caught:
        load_settings("here", conf_dir(tmp_path, "{}", env))
    message = str(caught.value)
    assert all(place in message for place in ("environment:", "storage.deidentified:", "engine.kind:", "speed:", "key:"))


def test_faults_do_not_repeat_values(tmp_path: Path) -> None:
    env = COMPLETE.replace("SOME_KEY", "[s3cr3t]") + "engine: {memory_gib: s3cr3t}\n"
    with pytest.raises(ConfigError) as caught:
        load_settings("here", conf_dir(tmp_path, "{}", env))
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "storage",
    [
        "{landing: x, restricted: x/r, deidentified: x/r/d}",
        "{landing: x, restricted: r, deidentified: x/d}",
        "{landing: d/x, restricted: r, deidentified: d}",
        "{landing: x, restricted: r, deidentified: r}",
    ],
)
def test_roots_inside_each_other_are_refused(storage: str, tmp_path: Path) -> None:
    env = COMPLETE.replace("{landing: a, restricted: b, deidentified: c}", storage)
    with pytest.raises(ConfigError, match="inside each other"):
        load_settings("here", conf_dir(tmp_path, "{}", env))


@pytest.mark.parametrize("restricted", ["x", "x/r", "y/../x/r", "./x/"])
def test_a_restricted_root_where_deliveries_arrive_is_refused(restricted: str, tmp_path: Path) -> None:
    env = COMPLETE.replace("landing: a, restricted: b", f"landing: x, restricted: {restricted}")
    with pytest.raises(
        ConfigError, match="storage: Value error, restricted may not be inside landing, where those who deliver"
    ):
        load_settings("here", conf_dir(tmp_path, "{}", env))


def test_deliveries_may_arrive_below_the_restricted_root(tmp_path: Path) -> None:
    env = COMPLETE.replace("landing: a, restricted: b", "landing: b/in, restricted: b")
    assert load_settings("here", conf_dir(tmp_path, "{}", env)).storage.landing == Path("b/in").absolute()


@pytest.mark.parametrize(("identifiable", "deidentified"), [("sde", "sde"), ("sde-dev", "SDE-dev"), ("Sde", "sde")])
def test_one_catalog_for_all_zones_is_refused_in_production(identifiable: str, deidentified: str, tmp_path: Path) -> None:
    catalog = f"storage.catalog={{identifiable: {identifiable}, deidentified: {deidentified}}}"
    folder = conf_dir(tmp_path, "{}", COMPLETE)
    with pytest.raises(ConfigError, match=r"storage\.catalog: identifiable and deidentified are one catalog"):
        load_settings("here", folder, [catalog, "environment=production"])
    assert load_settings("here", folder, [catalog]).storage.catalog
    load_settings(
        "here", folder, ["storage.catalog={identifiable: sde_identifiable, deidentified: sde}", "environment=production"]
    )


@pytest.mark.parametrize(
    ("landing", "restricted", "deidentified"),
    [
        ("l", "x/../d/r", "d"),  # `x` is not there: no system call would find this way
        ("l", "link/r", "d"),
        ("l", "link", "d"),
        ("link/l", "r", "d"),
        ("l", "d", "link"),
        ("l", "d/r", "link"),
    ],
)
def test_roots_that_lead_into_each_other_are_refused(landing: str, restricted: str, deidentified: str, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "d")
    places = {"landing": landing, "restricted": restricted, "deidentified": deidentified}
    storage = ", ".join(f"{name}: {tmp_path}/{place}" for name, place in places.items())
    env = COMPLETE.replace("landing: a, restricted: b, deidentified: c", storage)
    with pytest.raises(ConfigError, match="inside each other"):
        load_settings("here", conf_dir(tmp_path, "{}", env))


@pytest.mark.parametrize("place", ["c/x", "b/../c/x", "c"])
def test_scratch_and_key_below_the_deidentified_root_are_refused(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = COMPLETE.replace("kind: env, name: SOME_KEY", f"kind: file, path: {place}")
    with pytest.raises(ConfigError, match=r"engine\.scratch_dir, key\.path: may not be inside storage\.deidentified"):
        load_settings("here", conf_dir(tmp_path, "{}", f"{env}engine: {{scratch_dir: {tmp_path}/{place}}}"))


def test_roots_and_key_may_be_links_that_lead_apart(tmp_path: Path) -> None:
    for folder in ("disk1", "disk2"):
        (tmp_path / folder).mkdir()
    (tmp_path / "r").symlink_to(tmp_path / "disk1")
    (tmp_path / "d").symlink_to(tmp_path / "disk2")
    env = f"""
environment: test
storage: {{landing: {tmp_path}/l, restricted: {tmp_path}/r, deidentified: {tmp_path}/d}}
engine: {{scratch_dir: {tmp_path}/r/scratch}}
key: {{kind: file, path: {tmp_path}/r/here.key}}
"""
    assert load_settings("here", conf_dir(tmp_path, "{}", env)).storage.restricted == tmp_path / "r"


def test_neighbours_with_one_prefix_are_apart(tmp_path: Path) -> None:
    env = COMPLETE.replace("restricted: b, deidentified: c", "restricted: /s/data, deidentified: /s/data-open")
    assert load_settings("here", conf_dir(tmp_path, "{}", env)).storage.deidentified == Path("/s/data-open")


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("restricted: 'r s', deidentified: d", "storage.restricted: a space: "),
        ("restricted: r, deidentified: 'd/50%/x#y'", "storage.deidentified: '#', '%': "),
        ("restricted: 'r?', deidentified: 'd*'", "storage.restricted: '?'; storage.deidentified: '*': "),
        ("restricted: 'r[1]', deidentified: 'd{1}'", "storage.restricted: '[', ']'; storage.deidentified: '{', '}': "),
        ("restricted: 'r\"', deidentified: 'd`'", "storage.restricted: '\"'; storage.deidentified: '`': "),
        ("restricted: r~, deidentified: 'd\\'", "storage.restricted: '~'; storage.deidentified: '\\\\': "),
        ("restricted: 'r|<>^', deidentified: d", "storage.restricted: '<', '>', '^', '|': "),
        ("restricted: café, deidentified: 日", "storage.restricted: 'é'; storage.deidentified: '日': "),
    ],
)
def test_a_path_that_the_embedded_engine_writes_otherwise_is_refused(storage: str, said: str, tmp_path: Path) -> None:
    env = COMPLETE.replace("restricted: b, deidentified: c", storage)
    with pytest.raises(ConfigError) as caught:
        load_settings("here", conf_dir(tmp_path, "{}", env))
    assert f"{said}the embedded engine would write tables to another folder" in str(caught.value)
    load_settings("here", tmp_path, ["engine.kind=spark"])
    load_settings("here", tmp_path, ["storage.catalog={identifiable: a, deidentified: b}"])


def test_a_path_that_the_embedded_engine_keeps_is_taken(tmp_path: Path) -> None:
    env = COMPLETE.replace("landing: a, restricted: b", 'landing: "a b", restricted: "/r/-_.!$+&\':;,=@()"')
    storage = load_settings("here", conf_dir(tmp_path, "{}", env)).storage
    assert (storage.landing.name, storage.restricted) == ("a b", Path("/r/-_.!$+&':;,=@()"))


def test_relative_places_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = conf_dir(tmp_path, "{}", COMPLETE)
    monkeypatch.chdir(tmp_path)
    assert load_settings("here", folder).storage.landing == tmp_path / "a"


@pytest.mark.parametrize("setting", ["expectations_dir", "mappings_dir"])
def test_a_folder_that_is_named_has_to_be_there(setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = conf_dir(tmp_path, "{}", COMPLETE)
    monkeypatch.chdir(tmp_path)
    assert load_settings("here", folder).expectations_dir == tmp_path / "quality" / "expectations"
    (tmp_path / "made").mkdir()
    for there in ("made", "./made/", f"{tmp_path}/made"):
        assert getattr(load_settings("here", folder, [f"{setting}={there}"]), setting) == tmp_path / "made"
    for missing in ("maed", f"{tmp_path}/maed", "made/made", "here.yaml", "quality/expectations"):
        with pytest.raises(ConfigError, match=rf"  {setting}: .*there is no folder {tmp_path}.* that can be read"):
            load_settings("here", folder, [f"{setting}={missing}"])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=f"there is no folder {tmp_path}/elsewhere/made"):
        load_settings("here", folder, [f"{setting}=made"])


@pytest.mark.parametrize(
    ("setting", "place"),
    [("restricted: b", "s3://bucket/b"), ("deidentified: c", "s3://bucket/c")],
)
def test_uri_is_refused_as_a_place_of_tables(setting: str, place: str, tmp_path: Path) -> None:
    env = COMPLETE.replace(setting, f"{setting.partition(':')[0]}: {place}")
    with pytest.raises(ConfigError, match="not a URI"):
        load_settings("here", conf_dir(tmp_path, "{}", env))


_FILE = "{{kind: file, path: '{}'}}"
_PATHS = {
    "engine.scratch_dir": "engine.scratch_dir={}",
    "engine.jars_dir": "engine.jars_dir={}",
    "key.file.path": f"key={_FILE}",
    "engine.url.file.path": f"engine.url={_FILE}",
    "publish.password.file.path": f"publish.password={_FILE}",
    "lineage.transport.file.path": f"lineage.transport={_FILE}",
    "lineage.transport.http.token.file.path": f"lineage.transport={{{{kind: http, url: 'http://h', token: {_FILE}}}}}",
    "vocabulary.athena_dir": "vocabulary.athena_dir={}",
    "mappings_dir": "mappings_dir={}",
    "expectations_dir": "expectations_dir={}",
}


@pytest.mark.parametrize("setting", _PATHS)
def test_a_uri_is_refused_where_a_path_of_this_machine_is_meant(setting: str, tmp_path: Path) -> None:
    folder = conf_dir(tmp_path, "{}", COMPLETE)
    for uri in ("s3://bucket/x", "s3:/bucket/x", "abfss://c@a.dfs.core.windows.net/x", "file:///srv/x", "dbfs:/x"):
        with pytest.raises(ConfigError, match=rf"1 fault\n  {re.escape(setting)}: .*not a URI$"):
            load_settings("here", folder, [_PATHS[setting].format(uri)])


def test_relative_paths_of_the_engine_and_of_secrets_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = conf_dir(tmp_path, "{}", COMPLETE)
    monkeypatch.chdir(tmp_path)
    given = ["engine={scratch_dir: s, jars_dir: j}", "key={kind: file, path: k/x.key}"]
    settings = load_settings("here", folder, given)
    assert (settings.engine.scratch_dir, settings.engine.jars_dir) == (tmp_path / "s", tmp_path / "j")
    assert settings.key == FileSecret(kind="file", path=tmp_path / "k/x.key")


def test_documents_may_be_in_an_object_store_where_tables_have_names(tmp_path: Path) -> None:
    catalog = "catalog: {identifiable: a, deidentified: b}"
    env = COMPLETE.replace("deidentified: c", f"deidentified: s3://bucket/c, {catalog}")
    assert str(load_settings("here", conf_dir(tmp_path, "{}", env)).storage.deidentified) == "s3://bucket/c"
    said = r"storage\.restricted: .*not a URI: it has the lock.*with storage\.catalog storage\.deidentified"
    with pytest.raises(ConfigError, match=said):
        load_settings("here", conf_dir(tmp_path, "{}", env.replace("restricted: b", "restricted: s3://bucket/b")))


def test_a_landing_folder_around_the_documents_of_a_bucket_is_refused(tmp_path: Path) -> None:
    catalog = "catalog: {identifiable: a, deidentified: b}"
    env = COMPLETE.replace("landing: a", "landing: s3://bucket/c").replace(
        "deidentified: c", f"deidentified: s3a://bucket/c/d, {catalog}"
    )
    with pytest.raises(ConfigError, match="inside each other"):
        load_settings("here", conf_dir(tmp_path, "{}", env))


@pytest.mark.parametrize("place", ["s3://extracts/landing", "s3a://extracts/landing/"])
def test_deliveries_may_be_in_an_object_store(place: str, tmp_path: Path) -> None:
    folder = conf_dir(tmp_path, "{}", COMPLETE.replace("landing: a", f"landing: {place}"))
    assert str(load_settings("here", folder).storage.landing) == "s3://extracts/landing"


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("{max_age_days: 22}", "max_age_days"),
        ("{max_age_days: 10}", "warn_at_days is greater"),
        ("{unverifiable: include_with_approval}", "unverifiable: .*reference of the approval"),
        ("{confidential: include_with_approval}", "confidential: .*reference of the approval"),
        ("{confidential: include_with_approval, approval: ' '}", "opt_outs.approval: .*no letter"),
        ("{national_share: {least: 0.3, most: 0.2}}", "least is greater"),
    ],
)
def test_loose_opt_out_policy_is_refused(policy: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_settings("here", conf_dir(tmp_path, "{}", COMPLETE + f"opt_outs: {policy}\n"))


_FREE_TEXTS = {
    "opt_outs.approval": "opt_outs={{unverifiable: include_with_approval, approval: {}}}",
    "engine.shared_network": "engine.shared_network={}",
    "cdm_holder": "cdm_holder={}",
    "lineage.namespace": "lineage.namespace={}",
    "gates.waivers.0.reason": "gates.waivers=[{{check: unique, reason: {}, owner: Data quality, until: 2026-12-31}}]",
    "gates.waivers.0.owner": "gates.waivers=[{{check: unique, reason: Ticket, owner: {}, until: 2026-12-31}}]",
}


@pytest.mark.parametrize("place", _FREE_TEXTS)
def test_a_reason_or_an_owner_has_letters_and_names_nobody(place: str, tmp_path: Path) -> None:
    folder = conf_dir(tmp_path, "{}", COMPLETE)
    of_somebody = (
        "patient 999 000 0018 asked",
        "9990000018",
        "asked by 07700 900123",
        "for QQ 12 34 56 C",
        "lives at LS1 4DY",
        "ask a.b@example.org",
    )
    for text in ("", "  ", "\\t\\n  \\t  \\t ", "\\u00a0\\u200b", "-", "... ... ...", "2026-01-31 / 12"):
        with pytest.raises(ConfigError, match=rf"  {re.escape(place)}: .*has no letter: say it in words"):
            load_settings("here", folder, [_FREE_TEXTS[place].format(f'"{text}"')])
    for text in of_somebody:
        with pytest.raises(ConfigError, match=rf"  {re.escape(place)}: .*name nobody in it") as caught:
            load_settings("here", folder, [_FREE_TEXTS[place].format(f'"{text}"')])
        assert text not in str(caught.value)
    for text in ("CAG 21/0123 of 2026-01-31", "Ticket 4711, by the data quality lead"):
        settings = load_settings("here", folder, [_FREE_TEXTS[place].format(f'" {text}\\n"')])
        assert f"'{text}'" in repr(settings)


def test_blanks_do_not_make_a_short_reason_long(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"engine\.shared_network: .*a reason of at least 10 characters"):
        load_settings("here", conf_dir(tmp_path, "{}", COMPLETE), ["engine.shared_network='   a         b   '"])


def test_people_who_cannot_be_checked_are_excluded_by_default() -> None:
    assert load_settings("production").opt_outs.unverifiable is LeftOut.EXCLUDE
    assert load_settings("production").opt_outs.confidential is LeftOut.EXCLUDE


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (
            "[gpp]",
            "1 fault\n  settings: Value error, run.sources: there is no gpp (did you mean gp?) in the mappings; sources",
        ),
        ("[gp, mental-health]", "there is no mental-health (did you mean mental_health?) in the mappings"),
        (
            "[radar]",
            "no radar in the mappings; sources there: acute, ambulance, community, gp, mental_health, social_care, synthea",
        ),
    ],
)
def test_source_that_there_is_not_is_refused_with_the_nearest(sources: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings("here", conf_dir(tmp_path, "{}", COMPLETE), [f"run.sources={sources}"])
    assert said in str(caught.value)


def test_source_of_own_mappings_is_taken(tmp_path: Path) -> None:
    (tmp_path / "mappings/radar").mkdir(parents=True)
    (tmp_path / "mappings/radar/contract.yaml").touch()
    overrides = ["run.sources=[radar]", f"mappings_dir={tmp_path / 'mappings'}"]
    assert load_settings("here", conf_dir(tmp_path, "{}", COMPLETE), overrides).run.sources == ("radar",)


def test_source_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="each once"):
        load_settings("here", conf_dir(tmp_path, "{}", COMPLETE), ["run.sources=[gp, gp]"])


@pytest.mark.parametrize(
    ("required", "ages"),
    [
        ("[gp, acute]", {"gp": None, "acute": None}),
        ("{gp: 3, acute: null}", {"gp": 3, "acute": None}),
        ("[]", {}),
        ("[{gp: 3}]", {"gp": 3}),
        ("[{gp: 3}, acute, {community: null}]", {"gp": 3, "acute": None, "community": None}),
    ],
)
def test_required_sources_are_a_list_or_have_ages(required: str, ages: dict[str, int | None]) -> None:
    assert load_settings("test", overrides=[f"run.required={required}"]).run.required == ages


@pytest.mark.parametrize(
    ("required", "fault"),
    [
        ("[gpp]", "gpp not among the sources that are loaded"),
        ("[GP]", "GP not among the sources that are loaded"),
        ("{gp: -1}", "greater than or equal to 0"),
        ("{gp: soon}", "valid integer"),
        ("gp", r"run\.required: .*expected a list of sources, written like \[gp, acute\], or ages by source, like {gp: 3"),
        ("3", r"run\.required: .*expected a list of sources"),
        ("null", r"run\.required: .*expected a list of sources"),
        ("[[gp]]", r"run\.required: .*expected a list of sources"),
        ("[gp, null]", r"run\.required: .*expected a list of sources"),
        ("[gp, 3]", r"run\.required: .*expected a list of sources"),
        ("[gp, gp]", r"run\.required: .*name each source once"),
        ("[gp, {gp: 3}]", r"run\.required: .*name each source once"),
        ("[{gp: [3]}]", r"run\.required\.gp: .*valid integer"),
        ("[{[gp]: 3}]", r"--set run\.required"),
    ],
)
def test_required_sources_that_cannot_be_are_refused(required: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        load_settings("test", overrides=[f"run.required={required}"])


def test_unknown_environment_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"environments in .*: here$"):
        load_settings("elsewhere", conf_dir(tmp_path, "{}", COMPLETE))


def test_missing_folder_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--conf-dir"):
        load_settings("here", tmp_path / "nothing")


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", ""])
def test_file_without_sections_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"here\.yaml"):
        load_settings("here", conf_dir(tmp_path, "{}", text))


@pytest.mark.parametrize("override", ["engine", "=1", "engine.kind=["])
def test_override_of_another_form_is_refused(override: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--set"):
        load_settings("here", conf_dir(tmp_path, "{}", COMPLETE), [override])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "person.earliest_capture={gp: 2010-02-30}",
            "--set person.earliest_capture: .*: expected a day or a time",
        ),
        ("run.sources=\udcff", "--set run.sources: .*: a letter that is not UTF-8"),
        ("engine.memory_gib=.inf", "engine.memory_gib: Input should be less than or equal to 100000"),
        ("engine.memory_gib=1.0e+30", "engine.memory_gib: Input should be less than or equal to 100000"),
        ("engine.memory_gib=.nan", "engine.memory_gib: Input should be less than or equal to 100000"),
        ("engine.parallelism=99999999999999999999", "engine.parallelism: Input should be less than or equal to 10000"),
        ("upkeep.keep_days=1000000", "upkeep.keep_days: Input should be less than or equal to 36500"),
        ("upkeep.keep_failing_days=1000000", "upkeep.keep_failing_days: Input should be less than or equal to 36500"),
        ("run.required={gp: 1000000}", "run.required.gp: Input should be less than or equal to 36500"),
        ("run.sources=", r"run.sources: expected a list, written like \[gp, acute\]$"),
        ("run.sources=gp, acute", r"run.sources: expected a list, written like \[gp, acute\]$"),
        ("person.source_priority=gp", r"person.source_priority: expected a list, written like \[gp, acute\]$"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_is_expected(override: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        load_settings("here", conf_dir(tmp_path, "{}", COMPLETE), [override])


@pytest.mark.parametrize("name", ["z_former", "z_unfinished", "_former", "pg_cdm", "pg_"])
def test_a_schema_that_another_publication_drops_or_postgresql_keeps_is_refused(name: str, tmp_path: Path) -> None:
    folder = conf_dir(tmp_path, "{}", COMPLETE)
    with pytest.raises(
        ConfigError, match=r"publish\.cdm_schema: .*neither begins with pg_ nor ends with _former or _unfinished"
    ):
        load_settings("here", folder, [f"publish.cdm_schema={name}"])


@pytest.mark.parametrize("name", ["former", "cdm_formerly", "unfinished_cdm", "pgcdm", "cdm_pg_"])
def test_a_schema_of_any_other_name_is_taken(name: str, tmp_path: Path) -> None:
    folder = conf_dir(tmp_path, "{}", COMPLETE)
    assert load_settings("here", folder, [f"publish.cdm_schema={name}"]).publish.cdm_schema == name


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("gates.limits=[{check: unique}]", "  gates.limits.0: Value error, expected allowed, severity or both"),
        ("gates.limits=[{check: unique, allowed: 0}, {check: unique, allowed: 2}]", "  gates.limits.1.allowed: Input should"),
        ("gates.limits={check: unique}", "  gates.limits: expected a list, written like [{check: unique, allowed: 0.1}]"),
        ("gates.waivers={check: unique}", "  gates.waivers: expected a list, written like [{check: unique, reason: ..."),
        ("publish.readers=researchers", "  publish.readers: expected a list, written like [analysts, statisticians]"),
        ("run.sources=gp", "  run.sources: expected a list, written like [gp, acute]"),
        ("storage.landing=s3:/bucket/x", "  storage.landing: Value error, expected a path, or a URI with two slashes after"),
        (
            "storage.deidentified=s3:/bucket/x",
            "  storage.deidentified: Value error, expected a path, or a URI with two slashes",
        ),
    ],
)
def test_a_fault_is_said_of_what_somebody_has_written(override: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings("here", conf_dir(tmp_path, "{}", COMPLETE), [override])
    assert said in str(caught.value)


def test_a_list_of_type_1_codes_that_is_none_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("a text\n", encoding="utf-8")
    with pytest.raises(OptOutInvalidError, match=r"list\.yaml cannot be read: expected sections at the top level$"):
        load_type_one_codes(path, load_contracts(PACKAGED_MAPPINGS_DIR, ("gp",))["gp"])


def test_settings_are_frozen(settings: Settings) -> None:
    with pytest.raises(ValidationError):
        settings.cdm_version = "5.5"  # type: ignore[misc]


def test_fingerprint_follows_what_decides_the_result_only(settings: Settings, tmp_path: Path) -> None:
    here = {"storage.landing": "/x", "engine.kind": "spark", "key": "{kind: env, name: OTHER}", "mappings_dir": tmp_path}
    elsewhere = load_settings("test", overrides=[f"{name}={value}" for name, value in here.items()])
    assert elsewhere.fingerprint == settings.fingerprint


@pytest.mark.parametrize(
    ("override", "is_same"),
    [
        ("run.required=[gp]", True),
        ("run.most_touched=0.5", True),
        ("run.sources=[gp]", False),
        ("opt_outs.max_age_days=20", True),
        ("opt_outs.warn_at_days=7", True),
        ("opt_outs.national_share={least: 0, most: 0.5}", True),
        ("opt_outs.max_shrinkage=0.5", True),
        ("opt_outs.confidential=include_with_approval", False),
        ("opt_outs.type1_codes=opt_outs/others.yaml", False),
        ("vocabulary.version=v5.0 30-AUG-24 (demo)", True),
        ("upkeep.keep_days=1", True),
        ("person.month_of_birth=true", False),
        ("cdm_holder=Somewhere else", False),
    ],
)
def test_a_setting_that_stops_a_run_or_changes_its_cost_makes_no_other_release(override: str, *, is_same: bool) -> None:
    approved = ["opt_outs.approval=DARS-NIC-1"]
    fingerprints = {load_settings("test", overrides=[*approved, *more]).fingerprint for more in ([], [override])}
    assert (len(fingerprints) == 1) is is_same


def test_the_earliest_capture_is_by_source_or_provider(tmp_path: Path) -> None:
    for source in ("gp", "hospice"):
        (tmp_path / "mappings" / source).mkdir(parents=True)
        (tmp_path / "mappings" / source / "contract.yaml").touch()
    folder = conf_dir(tmp_path, f"mappings_dir: {tmp_path / 'mappings'}\nrun: {{sources: [gp, hospice]}}\n", COMPLETE)
    given = ["person.earliest_capture.acute=2010-04-01", "person.earliest_capture.hospice/H1=2015-04-01"]
    person = load_settings("here", folder, given).person
    assert person.earliest_capture == {"acute": date(2010, 4, 1), "hospice/H1": date(2015, 4, 1)}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("gates.change.max_age_days={acut: 3}", "gates.change.max_age_days: there is no source acut (did you mean acute?)"),
        ("gates.change.max_age_days={acut/RXN: 3}", "gates.change.max_age_days: there is no source acut (did you mean acute?)"),
        ("gates.change.max_age_days={acute/: 3}", "gates.change.max_age_days.acute/.[key]: Value error, expected a source ("),
        ("gates.change.max_age_days={acute/*: 3}", "gates.change.max_age_days.acute/*.[key]: Value error, expected a source ("),
        ("gates.change.max_age_days={'*/RXN': 3}", "gates.change.max_age_days.*/RXN.[key]: Value error, expected a source ("),
        ("gates.change.max_age_days={'': 3}", "gates.change.max_age_days..[key]: Value error, expected a source ("),
        ("person.source_priority=[gp, acut]", "person.source_priority: there is no source acut (did you mean acute?)"),
        ("person.source_priority=[gp, gp]", "person.source_priority: Value error, name each source once"),
        ("person.death_priority=[acut]", "person.death_priority: there is no source acut (did you mean acute?)"),
        ("person.death_priority=[gp, Acute]", "person.death_priority: there is no source Acute (did you mean acute?)"),
        ("person.death_priority=[gp, acute, gp]", "person.death_priority: Value error, name each source once"),
        (
            "person.earliest_capture={acute/: 2010-01-01}",
            "person.earliest_capture.acute/.[key]: Value error, expected a source",
        ),
        ("person.earliest_capture={acute/R/x: 2010-01-01}", "person.earliest_capture.acute/R/x.[key]: Value error, expected"),
        (
            "person.earliest_capture={acut/RXN: 2010-01-01}",
            "person.earliest_capture: there is no source acut (did you mean acute",
        ),
        ("person.earliest_capture={'*': 2010-01-01}", "person.earliest_capture: there is no source *"),
    ],
)
def test_what_is_said_of_a_source_or_provider_that_cannot_be_is_refused(override: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings("here", conf_dir(tmp_path, "{}", COMPLETE), [override])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "gates.change.max_age_days={'*': 62, acute: 3, acute/RXN: 4, 'acute/a b-c': 5}",
        "person.source_priority=[acute, synthea]",
        "person.death_priority=[gp]",
        "person.earliest_capture={acute: 2010-01-01, acute/RXN: 2010-01-01}",
    ],
)
def test_what_is_said_of_a_source_or_provider_that_can_be_is_taken(override: str, tmp_path: Path) -> None:
    load_settings("here", conf_dir(tmp_path, "{}", COMPLETE), [override])


def test_an_earliest_capture_of_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"earliest_capture: there is no source hospice$"):
        load_settings("here", conf_dir(tmp_path, "{}", COMPLETE), ["person.earliest_capture.hospice/H1=2015-04-01"])
