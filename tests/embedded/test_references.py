"""Rows that refer to a row which is not there: kept, counted by provider and reference, and gated by share."""

from datetime import date

from pipelines.contracts.ledger import Disposition, check_balance
from pipelines.contracts.source import SourceContract, load_contracts
from pipelines.curate.entities import EntityOf
from pipelines.curate.references import counted_references
from pipelines.run_context import RunContext
from pipelines.run_ledger import reference_ledger
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.synthetic.nhs_numbers import valid_numbers
from tests.builders.landing import Row, deliver, opt_out_lists
from tests.builders.runs import RUN_ID, ingested_and_curated
from tests.embedded.test_curate import ANNA, BEN, CODES, GP, consultation, observation, patient

DAY = date(2026, 1, 5)
KEYS = {"organisation_guid": "ORG", "processing_id": "1"}
ORGANISATION = KEYS | {"organisation_name": "Practice"}
STAFF = KEYS | {"user_in_role_guid": "DOC"}

Counts = dict[tuple[str, str, str], tuple[int, int]]


def counted(run: RunContext) -> Counts:
    """Rows that refer and rows that find nothing, by entity, provider and reference."""
    ingested_and_curated(run)
    ledger = reference_ledger(run, RUN_ID)
    check_balance(ledger)
    rows = {(row.entity, row.provider, row.reason, row.disposition): row.rows for row in ledger}
    return {
        (entity, provider, name): (n, rows[entity, provider, f"orphan:{name}", Disposition.ORPHAN])
        for (entity, provider, name, outcome), n in rows.items()
        if outcome is Disposition.REFERRED
    }


def practice(**changed: list[Row] | None) -> dict[str, list[Row]]:
    """The tables of a practice in which every reference finds its row; `changed` replaces some, None leaves one out."""
    whole: dict[str, list[Row] | None] = {
        "organisation": [ORGANISATION],
        "user_in_role": [STAFF],
        "patient": [patient("A", ANNA, usual_gp_user_in_role_guid="DOC")],
        "clinical_code": list(CODES),
        "consultation": [consultation("C1", "A", clinician_user_in_role_guid="DOC", consultation_source_code_id="3")],
        "observation": [observation("O1", "A", "3", "2025-03-04") | {"consultation_guid": "C1"}],
    }
    return {entity: rows for entity, rows in (whole | changed).items() if rows is not None}


def test_every_reference_of_a_whole_delivery_is_found(run: RunContext) -> None:
    deliver(run.settings.storage.landing, GP, "P81001", "20260105", practice())
    opt_out_lists(run.settings.storage.landing, "20260105", [ANNA], local=[BEN])
    assert counted(run) == {
        ("consultation", "P81001", "clinician_key"): (1, 0),
        ("consultation", "P81001", "code_key"): (1, 0),
        ("consultation", "P81001", "organisation_key"): (1, 0),
        ("observation", "P81001", "code_key"): (1, 0),
        ("observation", "P81001", "consultation_key"): (1, 0),
        ("observation", "P81001", "organisation_key"): (1, 0),
        ("patient", "P81001", "organisation_key"): (1, 0),
        ("patient", "P81001", "usual_gp_key"): (1, 0),
        ("user_in_role", "P81001", "organisation_key"): (1, 0),
    }


DRUG = KEYS | {"drug_record_guid": "D1", "patient_guid": "A", "code_id": "9", "effective_date": "2025-03-04"}
NO_STAFF = {("consultation", "clinician_key"): 1, ("patient", "usual_gp_key"): 1}


def entry(**values: str) -> list[Row]:
    """The coded entry of the practice with other values."""
    return [observation("O1", "A", "3", "2025-03-04") | values]


MISSING: list[tuple[dict[str, list[Row] | None], dict[tuple[str, str], int]]] = [
    ({"organisation": None}, {(e, "organisation_key"): 1 for e in ("consultation", "observation", "patient", "user_in_role")}),
    ({"user_in_role": None}, NO_STAFF),
    ({"user_in_role": [STAFF | {"user_in_role_guid": "OTHER"}]}, NO_STAFF),
    ({"clinical_code": [*CODES[:2]], "observation": entry(code_id="")}, {("consultation", "code_key"): 1}),
    ({"clinical_code": [*CODES[:2]]}, {}),  # the entry may be a dissent: its person is left out
    ({"consultation": None, "observation": entry(consultation_guid="C1")}, {("observation", "consultation_key"): 1}),
    (
        {"consultation": [consultation("C1", "A", deleted="TRUE")], "observation": entry(consultation_guid="C1")},
        {("observation", "consultation_key"): 1},
    ),
    ({"observation": entry(consultation_guid="C2")}, {("observation", "consultation_key"): 1}),
    ({"drug_record": [DRUG]}, {("drug_record", "code_key"): 1}),
    ({"observation": entry(problem_guid="P")}, {("observation", "problem_key"): 1}),
    ({"observation": entry(parent_observation_guid="P")}, {("observation", "parent_key"): 1}),
    ({"observation": entry(parent_observation_guid="O1")}, {}),
    ({"observation": entry(code_id="")}, {}),
]


def test_a_missing_row_is_counted_by_reference(run: RunContext) -> None:
    """Each case is a practice with a patient of its own."""
    landing, numbers = run.settings.storage.landing, [str(number) for number in valid_numbers()[100 : 100 + len(MISSING)]]
    expected: dict[tuple[str, str, str], int] = {}
    for place, ((changed, orphans), number) in enumerate(zip(MISSING, numbers, strict=True), 1):
        mine: list[Row] = [patient("A", number, usual_gp_user_in_role_guid="DOC")]
        deliver(landing, GP, f"P810{place:02}", "20260105", practice(patient=mine, **changed))
        expected |= {(entity, f"P810{place:02}", name): n for (entity, name), n in orphans.items()}
    opt_out_lists(landing, "20260105", numbers, local=[BEN])
    found = counted(run)
    assert {which: n for which, (_, n) in found.items() if n} == expected
    assert {provider for _, provider, _ in found} == {f"P810{place:02}" for place in range(1, len(MISSING) + 1)}


def test_each_provider_needs_rows_of_its_own(run: RunContext) -> None:
    landing = run.settings.storage.landing
    deliver(landing, GP, "P81001", "20260105", practice())
    others = practice(patient=[patient("B", BEN), patient("Z", BEN)], organisation=None, user_in_role=None)
    deliver(landing, GP, "P81002", "20260105", others | {"consultation": [consultation("C1", "B")], "observation": []})
    opt_out_lists(landing, "20260105", [ANNA, BEN], local=[])
    found = counted(run)
    assert {place: n for place, (_, n) in found.items() if n} == {
        ("patient", "P81002", "organisation_key"): 2,
        ("consultation", "P81002", "organisation_key"): 1,
    }


def test_people_who_are_left_out_refer_to_nothing(run: RunContext) -> None:
    """Their rows are not in silver; rows of others that point to them are found, since they were delivered."""
    deliver(run.settings.storage.landing, GP, "P81001", "20260105", practice(organisation=None))
    opt_out_lists(run.settings.storage.landing, "20260105", [ANNA], local=[ANNA])
    assert counted(run) == {("user_in_role", "P81001", "organisation_key"): (1, 1)}


def contracts() -> dict[str, SourceContract]:
    return load_contracts(PACKAGED_MAPPINGS_DIR)


def test_the_references_that_are_not_counted_are_these() -> None:
    """Look-ups for some rows only or of a row itself, tables without a file, and the way to the person, whose loss quarantines
    the row."""
    left = {
        f"{source}.{name}.{reference}"
        for source, contract in contracts().items()
        for name, entity in contract.entities.items()
        for reference, link in entity.references.items()
        if reference not in counted_references(EntityOf(contract, name))
        and contract.entities[link.entity].files
        and not (entity.subject.via and (link.entity, link.columns) == (entity.subject.via.entity, entity.subject.via.columns))
    }
    assert left == {
        "gp.observation.own_problem_key",
        "gp.observation.own_referral_key",
        "acute.apc_procedure.operator_key",
        "acute.clinician.staff_key",
        "acute.op_procedure.operator_key",
    }
