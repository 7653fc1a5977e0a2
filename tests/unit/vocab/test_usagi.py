"""Files for Usagi and from it."""

import csv
import os
from pathlib import Path

import pytest

from vocab.candidates import Candidate
from vocab.errors import VocabularyError
from vocab.usagi import USAGI_COLUMNS, UsagiCode, read_usagi, write_usagi

ASTHMA = Candidate(317009, "Asthma", "Condition", "SNOMED", 87.5)
WHEEZE = Candidate(314754, "Wheezing", "Condition", "SNOMED", 60.0)
CODE = UsagiCode("EMIS Local", "emisnqxx9", 'Wheezy, "tight" chest', ("acute", "gp"), 1234, (ASTHMA, WHEEZE))


def rewritten(path: Path, **changes: str) -> Path:
    """The file as Usagi would save it after somebody changed fields of every row."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row | changes for row in csv.DictReader(file)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, USAGI_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "list.csv"
    assert write_usagi(path, [CODE]) == 1
    return path


def test_the_likest_candidate_is_an_unchecked_target(saved: Path) -> None:
    with saved.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert tuple(row) == USAGI_COLUMNS
    assert (row["sourceCode"], row["sourceName"], row["sourceFrequency"]) == ("emisnqxx9", 'Wheezy, "tight" chest', "1234")
    assert (row["conceptId"], row["conceptName"], row["matchScore"]) == ("317009", "Asthma", "0.88")
    assert (row["mappingStatus"], row["sourceAutoAssignedConceptIds"]) == ("UNCHECKED", "317009;314754")
    assert (row["ADD_INFO:vocabulary"], row["ADD_INFO:source"]) == ("EMIS Local", "acute;gp")


def test_the_file_is_for_its_owner_only(saved: Path) -> None:
    """Also one that was there, and was open."""
    for mode in (0o600, 0o666):
        saved.chmod(mode)
        write_usagi(saved, [CODE])
        assert saved.stat().st_mode & 0o777 == 0o600
    saved.unlink()
    before = os.umask(0)
    try:
        write_usagi(saved, [CODE])
    finally:
        os.umask(before)
    assert saved.stat().st_mode & 0o777 == 0o600


def test_a_code_without_candidates_goes_to_concept_0(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    write_usagi(path, [UsagiCode("ICD10", "X99", "", ("acute",), 0, ())])
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["sourceName"], row["conceptId"], row["conceptName"]) == ("X99", "0", "Unmapped")


def test_unapproved_rows_are_left_out(saved: Path) -> None:
    found = read_usagi(saved)
    assert (found.rows, found.left_out) == ((), {"not approved": 1})


def test_an_approved_target_is_read_with_who_and_when(saved: Path) -> None:
    (approval,) = read_usagi(
        rewritten(saved, mappingStatus="APPROVED", statusSetBy="A. Coder", statusSetOn="1767225600000")
    ).rows
    assert (approval.vocabulary, approval.code, approval.description) == ("EMIS Local", "emisnqxx9", 'Wheezy, "tight" chest')
    assert (approval.target_concept_id, approval.approved_by, approval.approved_on, approval.line) == (
        317009,
        "A. Coder",
        "2026-01-01",
        2,
    )


@pytest.mark.parametrize("kind", ["MAPS_TO_VALUE", "MAPS_TO_UNIT"])
def test_values_and_units_are_left_out(saved: Path, kind: str) -> None:
    found = read_usagi(rewritten(saved, mappingStatus="APPROVED", mappingType=kind))
    assert (found.rows, found.left_out) == ((), {"other than MAPS_TO: a local map has targets only": 1})


def test_a_row_without_a_vocabulary_takes_the_given_one_or_is_refused(saved: Path) -> None:
    rewritten(saved, mappingStatus="APPROVED", **{"ADD_INFO:vocabulary": ""})
    assert [approval.vocabulary for approval in read_usagi(saved, "NHS Unit").rows] == ["NHS Unit"]
    with pytest.raises(VocabularyError, match=r"line 2: no vocabulary in ADD_INFO:vocabulary; give it with --vocabulary"):
        read_usagi(saved)


def test_a_target_that_is_no_number_is_refused_without_its_value(saved: Path) -> None:
    with pytest.raises(VocabularyError, match="line 2: sourceCode is empty or conceptId is not a concept id") as error:
        read_usagi(rewritten(saved, mappingStatus="APPROVED", conceptId="asthma"))
    assert "asthma" not in str(error.value)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("sourceCode,conceptId\n1,2\n", encoding="utf-8")
    with pytest.raises(VocabularyError, match="lacks columns sourceName, mappingStatus"):
        read_usagi(path)
    with pytest.raises(VocabularyError, match="cannot be read as a CSV file"):
        read_usagi(tmp_path / "none.csv")
