"""The files of mappings/concepts, and the faults that are refused."""

from collections import defaultdict
from pathlib import Path

import pytest

from pipelines.contracts.source import load_contracts
from pipelines.mapping.spec import load_mappings
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.synthetic.sources.social_care_values import ETHNICITIES
from vocab.errors import VocabularyError
from vocab.load import DEMO_DIR, LOCAL_DIR
from vocab.local_maps import (
    APPROVED,
    COLUMNS,
    ApprovedTarget,
    TargetFault,
    declared_vocabularies,
    local_vocabulary_rows,
    read_local_maps,
    with_targets,
    without_faulty,
)
from vocab.local_vocabularies import VOCABULARIES_FILE, VOCABULARY_COLUMNS

FOLDER = Path(__file__).parents[3] / "mappings" / "concepts"
HEADER = ",".join(COLUMNS)
GOOD = "11,0,NHS Admission Method,Elective,9201,Visit,1970-01-01,2099-12-31,,APPROVED,NHS Data Dictionary"


def write(folder: Path, *rows: str, header: str = HEADER) -> Path:
    (folder / "one.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


def test_every_row_of_the_project_is_valid_and_approved() -> None:
    maps = read_local_maps(FOLDER)
    assert len(maps) > 1_000
    assert {row.status for row in maps} == {APPROVED}


def test_a_file_holds_one_vocabulary() -> None:
    vocabularies = defaultdict(set)
    for row in read_local_maps(FOLDER):
        vocabularies[row.file].add(row.source_vocabulary_id)
    assert [file for file, names in vocabularies.items() if len(names) != 1] == []


def test_local_maps_never_lead_to_concepts_of_the_demonstration_alone() -> None:
    local = {int(line.split("\t")[0]) for line in (LOCAL_DIR / "CONCEPT.csv").read_text(encoding="utf-8").splitlines()[1:]}
    own = {row.target_concept_id for row in read_local_maps(FOLDER) if row.target_concept_id >= 2_000_000_000}
    assert own <= local


def test_a_local_concept_is_standard_or_replaced_by_another() -> None:
    concepts = [line.split("\t") for line in (LOCAL_DIR / "CONCEPT.csv").read_text(encoding="utf-8").splitlines()[1:]]
    edges = {
        (int(start), kind): int(end)
        for start, end, kind, *_ in (
            line.split("\t") for line in (LOCAL_DIR / "CONCEPT_RELATIONSHIP.csv").read_text(encoding="utf-8").splitlines()[1:]
        )
        if int(start) >= 2_000_000_000
    }
    targets = {row.target_concept_id for row in read_local_maps(FOLDER)}
    own = {int(cells[0]): (cells[5], cells[9]) for cells in concepts if cells[3] == "NHS OMOP"}
    assert sum(flags == ("", "U") for flags in own.values()) == 44
    for concept_id, flags in own.items():
        replacing = edges.get((concept_id, "Concept replaced by"), concept_id)
        # Telehealth has another standard concept in newer vocabularies: its map follows the replaced one.
        mapped = edges.get((concept_id, "Maps to"), replacing)
        if flags == ("S", ""):
            assert mapped == concept_id
        else:
            assert flags == ("", "U")
            assert concept_id not in targets
            assert replacing == mapped < 2_000_000_000


def test_ethnic_categories_mean_the_same_whoever_sends_them() -> None:
    """By the letter of the national list: its race, source concept and group, and those of the words of adult social care."""
    maps: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for row in read_local_maps(FOLDER):
        maps[row.source_vocabulary_id][row.source_code] = (row.target_concept_id, row.source_concept_id)
    letters, words, groups = (maps[name] for name in ("NHS Ethnic Category", "NHS CLD Ethnicity", "NHS Ethnic Group"))
    none = (0, 0)
    assert set("ABCDEFGHJKLMNPRSZ") <= set(letters) <= {*ETHNICITIES, "99"}
    for letter, text in ETHNICITIES.items():
        for spelling in (text, text.replace(": ", " - ")):
            assert words[spelling] == letters[letter]
            assert groups.get(spelling, none) == groups.get(letter, none)
    # No race of OMOP holds them, so they have an observation.
    assert {letter for letter in ETHNICITIES if letters[letter][0] == 0} == {*groups} & {*ETHNICITIES} | {"Z"}
    assert {letter for letter in "ABCDEFGHJKLMNPR" if letters[letter][1] == 0} == set()


def test_targets_name_their_vocabulary() -> None:
    vocabulary = {}
    for folder in (DEMO_DIR, LOCAL_DIR):
        for line in (folder / "CONCEPT.csv").read_text(encoding="utf-8").splitlines()[1:]:
            values = line.split("\t")
            vocabulary[int(values[0])] = values[3]
    wrong = [row for row in read_local_maps(FOLDER) if vocabulary.get(row.target_concept_id) != row.target_vocabulary_id]
    assert wrong == []


@pytest.mark.parametrize(
    ("vocabulary", "codes"),
    [
        ("NHS Gender", {"0", "1", "2", "9", "X", "M", "F", "I", "U", "Male", "Female"}),
        (
            "NHS Admission Method",
            {"11", "12", "13", "21", "22", "23", "24", "25", "2A", "2B", "2C", "2D", "28", "31", "32", "81", "82", "83"},
        ),
        ("NHS MHA Legal Status", {f"{n:02d}" for n in (*range(1, 11), *range(12, 21), 31, 32, 35, 36, 37, 38, 98, 99)}),
        ("NHS Discharge Method", {str(n) for n in range(1, 10)}),
        (
            "NHS Treatment Function",
            {str(n) for n in (*range(211, 224), 230, *range(240, 243), *range(250, 265), 270, 280, 290, 291)}
            | {str(n) for n in (*range(300, 312), *range(313, 332), 333, 335, *range(340, 349), *range(501, 506))}
            | {str(n) for n in (*range(650, 664), 670, 673, 675, 677, *range(710, 714), 715, *range(720, 728), 730)},
        ),
        ("NHS Employment Status", {f"{n:02d}" for n in range(1, 9)} | {"ZZ"}),
        ("NHS MHSDS Accommodation Type", {f"{n:02d}" for n in range(1, 22)} | {"98"}),
        ("NHS CLD Event Type", {"Request", "Assessment", "Service", "Review"}),
        ("AMPDS", {f"{n:02d}" for n in range(1, 37)}),
    ],
)
def test_national_lists_are_complete(vocabulary: str, codes: set[str]) -> None:
    assert codes <= {row.source_code for row in read_local_maps(FOLDER) if row.source_vocabulary_id == vocabulary}


HOMELESS = 4139934

MEANINGS: dict[str, dict[str, tuple[str, int]]] = {
    "NHS MHSDS Accommodation Type": {
        "12": ("Rough sleeper", HOMELESS),
        "15": ("Staying with friends or family as a short term guest", 2000000121),
        "16": ("Bed and breakfast accommodation to prevent or relieve homelessness", HOMELESS),
        "17": ("Sleeping in a night shelter", HOMELESS),
        "18": ("Hostel to prevent or relieve homelessness", HOMELESS),
        "19": ("Temporary housing to prevent or relieve homelessness", HOMELESS),
        "20": ("Admitted patient setting", 2000000122),
        "21": ("Criminal justice setting", 2000000125),
        "98": ("Other", 0),
    },
    "NHS Admission Method": {
        "25": ("Emergency: mental health crisis team", 4079617),
        "2C": ("Baby born at home as intended", 581476),
        "2D": ("Emergency: other", 4079617),
        "84": ("From the admission panel of a high security psychiatric hospital", 8971),
        "89": ("From the waiting list of a high security psychiatric hospital", 8971),
    },
    "NHS Admission Source": {
        "37": ("Court", 0),
        "38": ("Police station", 0),
        "39": ("Penal establishment, court or police station", 0),
        "40": ("Penal establishment", 38003619),
        "42": ("Police station", 0),
        "65": ("Local authority residential accommodation", 38004307),
        "66": ("Local authority foster care", 38004205),
        "69": ("Local authority home or care", 0),
        "89": ("Non-NHS institution", 0),
    },
    "NHS Discharge Destination": {
        "38": ("Penal establishment or police station", 0),
        "69": ("Local authority home or care", 0),
        "89": ("Organisation responsible for forced repatriation", 0),
    },
    "NHS Consultation Mechanism": {
        "03": ("Telemedicine", 5083),
        "06": ("Short message service", 5083),
        "07": ("Online triage", 5083),
        "08": ("Online instant messaging", 5083),
        "09": ("Text message, asynchronous", 5083),
    },
    "NHS Treatment Function": {
        "200": ("Aviation and space medicine service", 3657577),
        "214": ("Paediatric trauma and orthopaedics", 38003909),
        "223": ("Paediatric epilepsy", 45756772),
        "230": ("Paediatric clinical pharmacology service", 3657590),
        "240": ("Paediatric palliative medicine service", 3657592),
        "250": ("Paediatric hepatology service", 3657593),
        "251": ("Paediatric gastroenterology", 38004455),
        "252": ("Paediatric endocrinology", 45756809),
        "255": ("Paediatric clinical immunology and allergy", 38004448),
        "259": ("Paediatric nephrology", 45756813),
        "263": ("Paediatric diabetes service", 44808044),
        "264": ("Paediatric cystic fibrosis service", 44808040),
        "270": ("Paediatric emergency medicine", 45756808),
        "280": ("Paediatric interventional radiology", 38004511),
        "302": ("Endocrinology", 38004485),
        "313": ("Clinical immunology and allergy", 38004448),
        "316": ("Clinical immunology", 44777719),
        "333": ("Rare disease service", 3657597),
        "335": ("Inherited metabolic medicine service", 3657571),
        "343": ("Adult cystic fibrosis service", 44811436),
        "344": ("Complex specialised rehabilitation", 38004468),
        "461": ("Ophthalmic and vision science", 38003705),
        "503": ("Gynaecological oncology", 38004513),
        "659": ("Drama therapy", 44804147),
        "661": ("Music therapy", 38004070),
        "670": ("Urological physiology service", 3657569),
        "673": ("Vascular physiology", 2000000011),
        "675": ("Cardiac physiology", 2000000011),
        "677": ("Gastrointestinal physiology service", 3657572),
        "811": ("Interventional radiology", 38004511),
    },
    "NHS MHSDS Referral Reason": {
        "01": ("(Suspected) first episode psychosis", 2000000701),
        "07": ("Phobias", 442077),
        "08": ("Organic brain disorder", 432586),
        "09": ("Drug and alcohol difficulties", 2000000702),
        "10": ("Unexplained physical symptoms", 2000000703),
        "12": ("Eating disorders", 439002),
        "13": ("Perinatal mental health issues", 2000000704),
        "16": ("Conduct disorders", 432586),
        "18": ("In crisis", 2000000705),
        "19": ("Relationship difficulties", 2000000706),
        "20": ("Gender discomfort issues", 2000000707),
        "21": ("Attachment difficulties", 2000000708),
        "22": ("Self-care issues", 2000000709),
        "23": ("Adjustment to health issues", 2000000710),
        "24": ("Neurodevelopmental conditions, excluding autism", 2000000711),
        "25": ("Suspected autism", 2000000712),
        "26": ("Diagnosed autism", 439776),
        "27": ("Preconception perinatal mental health concern", 2000000713),
        "28": ("Gambling disorder", 432586),
        "29": ("Community perinatal mental health partner assessment", 2000000714),
        "30": ("Behaviours that challenge due to a learning disability", 2000000715),
        "31": ("Employment support", 2000000716),
    },
    "NHS Route": {
        "caudal": ("caudal", 4220455),
        "enteral feed": ("enteral", 4167540),
        "gastrostomy": ("gastrostomy", 4132254),
        "jejunostomy": ("jejunostomy", 4133177),
        "intraurethral": ("urethral", 4233974),
        "nasogastric": ("nasogastric", 4132711),
        "subconjunctival": ("subconjunctival", 4163770),
        "endotracheal": ("transtracheal", 0),
        "per rectum": ("rectal", 4290759),
        "rectal": ("rectal", 4290759),
        "orally": ("oral", 4132161),
        "nebuliser": ("respiratory tract", 40486069),
    },
    "NHS Main Specialty": {
        "302": ("Endocrinology and diabetes", 38004485),
        "312": ("Clinical cytogenetics and molecular genetics", 45756760),
        "313": ("Clinical immunology", 44777719),
        "500": ("Obstetrics and gynaecology", 38004461),
    },
}
"""What codes mean by public sources, and their targets, of the national lists in which some were wrong or missing."""


@pytest.mark.parametrize("vocabulary", MEANINGS)
def test_codes_of_national_lists_mean_what_public_sources_say(vocabulary: str) -> None:
    rows = [row for row in read_local_maps(FOLDER) if row.source_vocabulary_id == vocabulary]
    assert len({row.source_code for row in rows}) == len(rows)
    found = {row.source_code: (row.source_code_description, row.target_concept_id) for row in rows}
    assert {code: found.get(code) for code in MEANINGS[vocabulary]} == MEANINGS[vocabulary]
    assert [row.source_code for row in rows if "to be confirmed" in row.reference] == []


def test_only_combined_vaccines_have_several_targets() -> None:
    targets = defaultdict(set)
    for row in read_local_maps(FOLDER):
        targets[(row.source_vocabulary_id, " ".join(row.source_code.lower().split()))].add(row.target_concept_id)
    assert {vocabulary for (vocabulary, _), found in targets.items() if len(found) > 1} == {"NHS CSDS Immunisation"}


def test_codes_for_not_known_map_to_nothing() -> None:
    targets = {(row.source_vocabulary_id, row.source_code): row.target_concept_id for row in read_local_maps(FOLDER)}
    for key in [("NHS Gender", "X"), ("NHS Gender", "9"), ("NHS Admission Method", "99"), ("NHS MHA Legal Status", "98")]:
        assert targets[key] == 0


def test_rows_are_read_as_written(tmp_path: Path) -> None:
    (row,) = read_local_maps(write(tmp_path, GOOD))
    assert (row.file, row.line, row.source_vocabulary_id, row.source_code) == ("one.csv", 2, "NHS Admission Method", "11")
    assert (row.source_concept_id, row.target_concept_id, row.target_vocabulary_id) == (0, 9201, "Visit")


def test_invalidated_rows_are_left_out(tmp_path: Path) -> None:
    assert read_local_maps(write(tmp_path, GOOD.replace(",,APPROVED", ",D,APPROVED"))) == ()


def test_one_code_may_have_several_targets(tmp_path: Path) -> None:
    assert len(read_local_maps(write(tmp_path, GOOD, GOOD.replace("9201", "9203")))) == 2


def test_every_fault_is_named_by_file_and_line(tmp_path: Path) -> None:
    rows = [
        GOOD.replace("11,0", ",0"),
        GOOD.replace("9201", "inpatient"),
        GOOD.replace("1970-01-01", "01/01/1970"),
        GOOD.replace("APPROVED", "MAYBE"),
        GOOD.replace("NHS Data Dictionary", ""),
        GOOD,
        GOOD,
        GOOD.replace(",,APPROVED", ",V,APPROVED"),
        GOOD.replace("9201", "9" * 10_000),
        GOOD.replace("9201", "2147483648"),
        GOOD.replace("NHS Data Dictionary", "-"),
    ]
    with pytest.raises(VocabularyError) as error:
        read_local_maps(write(tmp_path, *rows))
    message = str(error.value)
    for fault in (
        "one.csv line 2: source_code is empty",
        "one.csv line 4: valid_start_date is not a date like 1970-01-01",
        "one.csv line 5: status is none of APPROVED, UNAPPROVED",
        "one.csv line 6: reference is empty",
        "one.csv line 8: repeats an earlier row",
        "one.csv line 9: invalid_reason is none of empty, D, U",
        "one.csv line 12: reference has no letter: say it in words",
        "one.csv line 3: target_concept_id is not a concept id (and 2 more)",
    ):
        assert fault in message
    assert "MAYBE" not in message


def test_a_fault_of_many_rows_is_reported_once(tmp_path: Path) -> None:
    rows = [GOOD.replace("11,0", f"{n},0").replace("APPROVED", "YES") for n in range(9)]
    with pytest.raises(VocabularyError, match=r"one.csv line 2: status is none of APPROVED, UNAPPROVED \(and 8 more\)$"):
        read_local_maps(write(tmp_path, *rows))


def test_a_file_without_a_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match="lacks columns status, reference"):
        read_local_maps(write(tmp_path, header=HEADER.replace(",status,reference", "")))


def faulty(*lines: int) -> list[TargetFault]:
    return [TargetFault("one.csv", line, "NHS Admission Method", "target is not in the vocabulary", 9201) for line in lines]


def test_faulty_targets_of_a_vocabulary_in_use_are_refused_with_file_count_and_line(tmp_path: Path) -> None:
    maps = read_local_maps(write(tmp_path, GOOD, GOOD.replace("11,0", "12,0")))
    with pytest.raises(VocabularyError, match=r"one.csv line 2: target is not in the vocabulary \(and 1 more\)"):
        without_faulty(maps, faulty(2, 3), {"NHS Admission Method"})
    assert without_faulty(maps, [], {"NHS Admission Method"}) == maps


@pytest.mark.parametrize(
    ("target", "step"),
    [
        (9201, "load the right vocabulary"),
        (2_000_000_601, "load the vocabulary again, which adds the local concepts that are new: nhs-omop vocab load"),
    ],
)
def test_of_a_local_concept_that_is_new_the_next_step_is_another(tmp_path: Path, target: int, step: str) -> None:
    fault = TargetFault("one.csv", 2, "NHS Admission Method", "target is not in the vocabulary", target)
    with pytest.raises(VocabularyError) as error:
        without_faulty(read_local_maps(write(tmp_path, GOOD)), [fault], {"NHS Admission Method"})
    assert str(error.value).endswith(f"Correct the targets or {step}")


def test_faulty_targets_of_a_vocabulary_not_in_use_are_left_out_alone(tmp_path: Path) -> None:
    maps = read_local_maps(write(tmp_path, GOOD, GOOD.replace("11,0", "12,0")))
    assert [row.source_code for row in without_faulty(maps, faulty(2), {"NHS Gender"})] == ["12"]


LONG = GOOD.replace("NHS Admission Method", "NHS Admission Method of spells")
DECLARED = "NHS Admission Method of spells,NHS Admission Spells,Admission methods,NHS Data Dictionary"


def declare(folder: Path, *rows: str, header: str = ",".join(VOCABULARY_COLUMNS)) -> None:
    (folder / VOCABULARIES_FILE).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def test_every_vocabulary_of_the_project_has_an_id_that_the_cdm_allows() -> None:
    maps = read_local_maps(FOLDER)
    short = {row.source_vocabulary_id: row.cdm_vocabulary_id for row in maps}
    assert max(map(len, short.values())) <= 20
    assert len(set(short.values())) == len(short)
    assert short["NHS CLD Accommodation Status"] == "NHS CLD Accomm"
    assert short["NHS Gender"] == "NHS Gender"


def test_every_vocabulary_that_is_no_part_of_athena_is_declared_and_used() -> None:
    maps = read_local_maps(FOLDER)
    mappings = load_mappings(PACKAGED_MAPPINGS_DIR, load_contracts(PACKAGED_MAPPINGS_DIR)).values()
    with_concepts = frozenset[str]().union(*(mapping.vocabularies for mapping in mappings))
    declared = declared_vocabularies(FOLDER).keys()
    assert {row.source_vocabulary_id for row in maps} - declared == {"SNOMED", "NHS Ethnic Category"}
    assert declared - with_concepts == set()


def test_a_long_vocabulary_id_without_a_short_one_is_refused(tmp_path: Path) -> None:
    expected = "one.csv line 2: source_vocabulary_id is longer than 20 characters and has no short id in vocabularies.csv"
    with pytest.raises(VocabularyError, match=expected):
        read_local_maps(write(tmp_path, LONG))


def test_a_declared_vocabulary_keeps_its_name_and_has_a_short_id(tmp_path: Path) -> None:
    declare(tmp_path, DECLARED)
    (row,) = read_local_maps(write(tmp_path, LONG))
    assert (row.source_vocabulary_id, row.cdm_vocabulary_id) == ("NHS Admission Method of spells", "NHS Admission Spells")


def test_faults_of_declarations_are_named_by_line(tmp_path: Path) -> None:
    declare(
        tmp_path,
        DECLARED,
        "Other," + DECLARED.split(",", 1)[1],
        "Third,,A name,",
        "Fourth,A short id of 23 chars,Name,Reference",
    )
    with pytest.raises(VocabularyError) as error:
        read_local_maps(write(tmp_path, GOOD))
    message = str(error.value)
    for fault in (
        "vocabularies.csv line 3: repeats a vocabulary_id or cdm_vocabulary_id of an earlier row",
        "vocabularies.csv line 4: cdm_vocabulary_id is empty",
        "vocabularies.csv line 4: vocabulary_reference is empty",
        "vocabularies.csv line 5: cdm_vocabulary_id is longer than 20 characters",
    ):
        assert fault in message


def test_declarations_without_a_column_are_refused(tmp_path: Path) -> None:
    declare(tmp_path, header="vocabulary_id,cdm_vocabulary_id,vocabulary_name")
    with pytest.raises(VocabularyError, match=r"vocabularies.csv line 1: lacks columns vocabulary_reference"):
        read_local_maps(write(tmp_path, GOOD))


def test_an_undeclared_vocabulary_gets_a_row_of_its_own(tmp_path: Path) -> None:
    declare(tmp_path, DECLARED)
    rows = local_vocabulary_rows(tmp_path, read_local_maps(write(tmp_path, GOOD)))
    assert [(row["vocabulary_id"], row["vocabulary_name"], row["vocabulary_concept_id"]) for row in rows] == [
        ("NHS Admission Method", "NHS Admission Method", 0),
        ("NHS Admission Spells", "Admission methods", 0),
    ]


def target(vocabulary: str, code: str, concept: int) -> ApprovedTarget:
    return ApprovedTarget(vocabulary, code, f"about {code}", concept, "SNOMED", "Usagi: approved")


def test_approved_targets_go_into_the_file_of_their_vocabulary_or_a_new_one(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    before = (tmp_path / "one.csv").read_bytes()
    added = with_targets(
        tmp_path, [target("NHS Admission Method", "12", 1), target("dm+d", "1,1", 2), target("dm+d", "1,1", 3)]
    )
    assert added == {"one.csv": 1, "dm_d.csv": 2}
    assert (tmp_path / "one.csv").read_bytes().startswith(before)
    found = {(row.file, row.source_code, row.target_concept_id, row.status) for row in read_local_maps(tmp_path)}
    assert found == {
        ("one.csv", "11", 9201, APPROVED),
        ("one.csv", "12", 1, APPROVED),
        ("dm_d.csv", "1,1", 2, APPROVED),
        ("dm_d.csv", "1,1", 3, APPROVED),
    }


def test_a_file_without_an_end_of_line_and_with_other_columns_first_is_continued(tmp_path: Path) -> None:
    names, values = HEADER.split(","), GOOD.split(",")
    (tmp_path / "one.csv").write_text(",".join(names[::-1]) + "\n" + ",".join(values[::-1]), encoding="utf-8")
    with_targets(tmp_path, [target("NHS Admission Method", "12", 1)])
    assert [(row.source_code, row.target_concept_id) for row in read_local_maps(tmp_path)] == [("11", 9201), ("12", 1)]


def test_targets_that_would_spoil_a_file_change_none(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(VocabularyError, match=r"one.csv line 4: repeats an earlier row"):
        with_targets(tmp_path, [target("A new list", "1", 1), *[target("NHS Admission Method", "12", 1)] * 2])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
