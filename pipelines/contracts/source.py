"""Contracts of delivered files: one YAML file per source under `mappings/<source>/contract.yaml`.

A contract declares which files deliver an entity, the name of each column, which columns identify a person, which columns
are the key of a row, and how a row is linked to a person.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from pydantic import Field, model_validator

from pipelines.contracts.delivery_forms import DeliveryForm
from pipelines.contracts.model_files import faulty, read_model
from pipelines.contracts.models import Frozen
from pipelines.contracts.shapes import Shape, pattern_of
from pipelines.errors import ContractError

WITHHELD = "_withheld"

LOAD = "_load_id"
"""The column of bronze and silver with the load that brought a row."""

SILVER_COLUMNS = ("row_key", "person_id", "provider_code", "_flags", WITHHELD, LOAD, "_file")
"""Columns that every silver table starts or ends with; a contract may not use these names.

`_flags` names, comma separated, the columns whose delivered value is unreadable and null in silver. Nothing is derived from
them: mapping rules count such a row under `unreadable:<column>` where the column decides, and the ledger counts the values.
`_withheld` names in the same way the kept texts that were not taken over: they hold an identifier, or do not have the shape of
their column. Silver does not say which line a row was: lines that are missing between others would tell how many rows of a
delivery are left out, and which. `curation.versions_<source>`, in the restricted root, knows the line of a row key.
"""

LINE = ("_file", "_line")
"""What names a delivered row, in bronze and in the tables of curate."""

SUBJECT_COLUMNS = {"year_of_birth": "bigint", "month_of_birth": "bigint", "postcode_area": "string"}
"""The columns that replace birth date and postcode in silver, for entities that have them."""


class ColumnType(StrEnum):
    """How a delivered text is converted to a silver value."""

    TEXT = "text"
    CODE = "code"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIME = "time"
    INTEGER = "integer"
    DECIMAL = "decimal"
    RESULT = "result"
    """A number as a laboratory writes it, perhaps with `<` or `>`, or a short text; it stays text, which expressions read."""
    BOOLEAN = "boolean"
    PRESENCE = "presence"
    """Whether there is any text. Silver has that alone: the text may be what somebody typed of a person."""
    DIRECTIONS = "directions"
    """How a medicine is to be taken, as somebody typed it. Silver has it in a closed form (`pipelines/columns/directions.py`);
    any other text is left out, as free text is, and is not unreadable."""

    @property
    def spark(self) -> str:
        """The Spark SQL type of the silver column."""
        return {
            "date": "date",
            "timestamp": "timestamp",
            "integer": "bigint",
            "decimal": "double",
            "boolean": "boolean",
            "presence": "boolean",
        }.get(self.value, "string")


_TEXTS = (ColumnType.TEXT, ColumnType.CODE, ColumnType.RESULT)
"""The types whose silver value is the delivered text itself."""

_CLOSED = (Shape.LISTED, Shape.LIST, Shape.SHORT_CODE)
"""The shapes of the values of closed lists."""

_SORTED = (ColumnType.INTEGER, ColumnType.CODE, ColumnType.DATE, ColumnType.TIMESTAMP)
"""The types that versions are compared by; of a code its number."""


class Identifier(StrEnum):
    """Why a column identifies a person. Curate drops identifier columns; they never reach silver."""

    NHS_NUMBER = "nhs_number"
    LOCAL_ID = "local_id"
    RECORD_ID = "record_id"
    STAFF_ID = "staff_id"
    NAME = "name"
    BIRTH_DATE = "birth_date"
    POSTCODE = "postcode"
    ADDRESS = "address"
    CONTACT = "contact"
    FREE_TEXT = "free_text"


class KeyWhere(Frozen):
    """Rows in which a column is part of the key: those with one of `values` in `column`, compared as values of lists are."""

    column: str
    values: tuple[str, ...]


class Column(Frozen):
    """One delivered column.

    `width` is that of the number of a code: `4` and `04` are one code where it is 2. With `excel_serial` a date may also be
    the number that a spreadsheet keeps for it. `shape` is what the values of a kept text may look like; `values` lists those
    that it may have besides, ignoring case. Every column that silver keeps as delivered text has a shape. `same` gives for
    words of a list, as another release of it has them, those that mean the same, and for a code with a `width` the one that has
    replaced it: in a key they are one. With `key_where` the
    column is part of a key in some rows only. `units` are the spellings of the one unit that the numbers of a column have by
    definition: it may stand behind them, and no other may. `unknown` lists codes that name nobody or nothing, such as the
    number of an episode that is not known: in a key they are missing, so that no reference finds their row.
    """

    header: str | None = None
    aliases: tuple[str, ...] = ()
    type: ColumnType = ColumnType.TEXT
    required: bool = False
    identifier: Identifier | None = None
    width: int | None = Field(default=None, ge=1, le=12)
    excel_serial: bool = False
    shape: Shape | None = None
    values: tuple[str, ...] = ()
    same: dict[str, str] = Field(default_factory=dict)
    key_where: KeyWhere | None = None
    unknown: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    item: str = ""

    @model_validator(mode="after")
    def forms_fit_the_type(self) -> "Column":
        """Refuse a form of values that the type does not have."""
        if self.width is not None and self.type is not ColumnType.CODE:
            raise ValueError("width: only a code has one")
        if self.units and self.type not in (ColumnType.INTEGER, ColumnType.DECIMAL):
            raise ValueError("units: only a number has one behind it")
        if self.excel_serial and self.type is not ColumnType.DATE:
            raise ValueError("excel_serial: only a date can be one")
        if self.shape is not None and not self.is_kept_text:
            raise ValueError("shape: only a text, code or result that is no identifier has one")
        if bool(self.values) and self.shape is None:
            raise ValueError("values: they go with a shape")
        if self.same and self.width is None and self.shape not in (Shape.LIST, Shape.LISTED):
            raise ValueError("same: only the words of a list, and codes with a width, have others that mean the same")
        if self.shape is Shape.LISTED and not self.values:
            raise ValueError("values: a listed column lists them")
        return self

    @property
    def is_kept_text(self) -> bool:
        """Whether silver keeps the delivered text, and not what was read from it."""
        return self.identifier is None and self.type in _TEXTS

    @property
    def has_closed_list(self) -> bool:
        """Whether its values are of a short list, national or of the system: they can be counted, and name nobody."""
        return self.identifier is None and (self.type is ColumnType.BOOLEAN or self.shape in _CLOSED)

    @property
    def pattern(self) -> str | None:
        """The regular expression that the whole of a kept text matches; None where no shape is declared."""
        return None if self.shape is None else pattern_of(self.shape, self.values)


class Flag(Frozen):
    """A column that says something of the whole row, such as that it is deleted.

    `values` set the flag, `cleared` say that it is not set; they are compared trimmed, ignoring case, in the width of the
    column. If `cleared` lists any, a row with another value is unreadable. A column of truth values lists neither; it sets the
    flag where it is true or, if it says the opposite (`negated`), where it is false.
    """

    column: str
    values: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    negated: bool = False


class Direct(Frozen):
    """The row itself has the person's NHS number or local identifier.

    `sex` is compared, as the birth date is, between the rows that name one person: the sex that a record has of the person.
    `gender` is what the person declares (PERSON STATED GENDER CODE), which need not be the sex on record and may change: it is
    compared within a provider only. Neither is a gender identity. Where they are `restated`, each reporting period says anew
    what is known of the person, on every row: of a local identifier with its number only what the newest period says is
    compared. Without periods it is the newest version of any record of the person, and only where the number is valid:
    identifiers are given to others.
    """

    nhs_number: str
    local_id: str
    nhs_number_status: str | None = None
    sex: str | None = None
    gender: str | None = None
    restated: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that says who the person is."""
        return tuple(name for name in (self.nhs_number, self.local_id, self.nhs_number_status, self.sex, self.gender) if name)


class Via(Frozen):
    """The row belongs to the person of its parent row. `columns` are the parent's key, in the order of that key.

    The rows that are `whole` are a repeating group of their parent: whoever sends the parent again sends all of them again.
    """

    entity: str
    columns: tuple[str, ...]
    whole: bool = False


class Shared(Frozen):
    """The row has no person of its own; it is kept while a kept row of `entity` refers to it.

    `columns` of this entity equal the columns `theirs` of `entity`.
    """

    entity: str
    columns: tuple[str, ...]
    theirs: tuple[str, ...]


class Subject(Frozen):
    """How a row is linked to a person. None of the three means reference data (code tables, organisations, staff)."""

    direct: Direct | None = None
    via: Via | None = None
    shared: Shared | None = None

    @model_validator(mode="after")
    def at_most_one(self) -> "Subject":
        """Refuse a subject that is declared in two ways."""
        if sum(part is not None for part in (self.direct, self.via, self.shared)) > 1:
            raise ValueError("give one of direct, via or shared")
        return self

    @property
    def is_one_person(self) -> bool:
        """Whether each row belongs to one person."""
        return self.direct is not None or self.via is not None


class Reference(Frozen):
    """A link to a row of another entity of the same source, kept in silver as that row's `row_key`.

    Rows whose other row is missing are counted, unless it is `optional`: a look-up for what only some rows have.
    """

    entity: str
    columns: tuple[str, ...]
    optional: bool = False


class OnePer(Frozen):
    """What an entity has one current record of, under whatever keys it was sent.

    `columns` are the key of `entity`, in the order of that key. Where one of them is empty nobody can say, unless it
    `may_be_empty`; so it is where an NHS number among them is not valid. A record without the date `ended` was sent unfinished:
    one that has it is newer, whatever their versions say.
    """

    entity: str
    columns: tuple[str, ...]
    may_be_empty: tuple[str, ...] = ()
    ended: str | None = None

    @property
    def used(self) -> tuple[str, ...]:
        """Every column that decides which record is current."""
        return (*self.columns, *((self.ended,) if self.ended else ()))


class Entity(Frozen):
    """One delivered table.

    `files` are name patterns (`*`), matched ignoring case. An entity without patterns is never delivered; other rows only refer
    to it (a hospital spell, known from its episodes). `key` is unique within a provider. `version` lists the columns that
    decide which of two rows with the same key is newer, the most significant first. They are compared as numbers or moments;
    one that is missing or unreadable is the oldest. If all are equal, the day of delivery decides, then file and line.
    `one_per` names what a provider may send again under another key: of such records, too, the newest alone is current.
    `period` is the column that names the reporting period of a row (a month, the last day of a quarter): a delivery
    with the mode `period` replaces the rows of the periods that it has. A period is `period_months` long. Parts of a key may be
    empty if their column is not `required`. `withhold` lists columns that identify a person in some rows only (the answer to a
    question about the address): curate drops the value where the flag is set. `test` lists flags of rows that were made for
    training or testing; each is enough. `confidential` lists flags of what the source marks as confidential or sensitive: the
    person of a row that names one, otherwise the row. They are left out, unless settings say otherwise. `agreement` names the
    row that says whether an organisation still shares the records of a person: while that is marked as `confidential`, nothing
    of the row and of what belongs to it is used.
    """

    grain: str
    files: tuple[str, ...]
    key: tuple[str, ...]
    version: tuple[str, ...] = ()
    one_per: OnePer | None = None
    period: str | None = None
    period_months: int = Field(default=1, ge=1)
    deleted: Flag | None = None
    test: tuple[Flag, ...] = ()
    confidential: tuple[Flag, ...] = ()
    agreement: Reference | None = None
    withhold: dict[str, Flag] = Field(default_factory=dict)
    subject: Subject = Subject()
    references: dict[str, Reference] = Field(default_factory=dict)
    columns: dict[str, Column]

    @cached_property
    def silver_columns(self) -> dict[str, str]:
        """Name and Spark type of the columns of the silver table, in order."""
        columns = {"row_key": "string", "person_id": "bigint", "provider_code": "string"}
        columns |= dict.fromkeys(self.references, "string")
        kinds = {column.identifier for column in self.columns.values()}
        if Identifier.BIRTH_DATE in kinds:
            columns |= {"year_of_birth": "bigint", "month_of_birth": "bigint"}
        if Identifier.POSTCODE in kinds:
            columns |= {"postcode_area": "string"}
        columns |= {name: column.type.spark for name, column in self.kept.items()}
        return columns | {"_flags": "string", WITHHELD: "string", LOAD: "string", "_file": "string"}

    @property
    def links(self) -> dict[str, "Reference | Via | OnePer"]:
        """What has the columns of the key of another entity, by where it is declared."""
        links: dict[str, Reference | Via | OnePer] = {f"references.{name}": link for name, link in self.references.items()}
        declared = {"subject.via": self.subject.via, "one_per": self.one_per, "agreement": self.agreement}
        return links | {part: link for part, link in declared.items() if link}

    @property
    def flags(self) -> tuple[Flag, ...]:
        """What decides about a whole row."""
        return (*((self.deleted,) if self.deleted else ()), *self.test, *self.confidential)

    @cached_property
    def kept(self) -> dict[str, Column]:
        """The delivered columns that silver keeps under their name: neither identifiers nor marks, which curate follows."""
        marks = {flag.column for flag in self.confidential}
        return {name: column for name, column in self.columns.items() if column.identifier is None and name not in marks}

    @property
    def kept_texts(self) -> tuple[str, ...]:
        """The delivered columns that silver keeps as text."""
        return tuple(name for name, column in self.kept.items() if column.is_kept_text)

    @property
    def used_columns(self) -> frozenset[str]:
        """The columns that curate needs: keys, versions, flags, identifiers of the person, and links to other rows."""
        used = {
            *self.key,
            *self.version,
            *((self.period,) if self.period else ()),
            *(name for name, column in self.columns.items() if column.required),
        }
        used |= {flag.column for flag in self.flags}
        used |= {name for withheld, flag in self.withhold.items() for name in (withheld, flag.column)}
        used |= {name for reference in self.references.values() for name in reference.columns}
        direct, via, shared = self.subject.direct, self.subject.via, self.subject.shared
        if direct:
            used |= {direct.nhs_number, direct.local_id} | ({direct.nhs_number_status} if direct.nhs_number_status else set())
        used |= {*(via.columns if via else ()), *(shared.columns if shared else ())}
        used |= set(self.agreement.columns) if self.agreement else set()
        used |= set(self.one_per.used) if self.one_per else set()
        kept = (Identifier.BIRTH_DATE, Identifier.POSTCODE)
        return frozenset(used | {name for name, column in self.columns.items() if column.identifier in kept})

    def identified_by(self, kind: Identifier) -> str | None:
        """The first column with a kind of identifier; None if there is none."""
        return next((name for name, column in self.columns.items() if column.identifier is kind), None)


class Ignored(StrEnum):
    """A difference in spelling that does not tell two local ids of a source apart."""

    CASE = "case"
    BLANKS = "blanks"
    LEADING_ZEROS = "leading_zeros"
    PUNCTUATION = "punctuation"
    """Everything but letters and digits, blanks included."""


class LocalIds(Frozen):
    """How the local ids of a source are compared with those that people write on opt-out lists.

    Only such entries are compared so: two ids of a delivery are the same person's only where they are equal. An id is unique
    within one value of the column `within` (the organisation of a record); without it, within the provider.
    """

    ignore: tuple[Ignored, ...] = (Ignored.CASE, Ignored.BLANKS)
    within: str | None = None


class Submissions(Frozen):
    """The columns by which rows of a reporting period name the submission that they are of: whose it is, and its number.

    A later submission of a period replaces the one before it, and has the greater number.
    """

    of: str
    number: str


class SourceContract(Frozen):
    """The contract of one source: all its entities by name, and how those deliver who send no manifest.

    `passed_over` are patterns of the names of files that come with deliveries and of which nothing is loaded. `row_by_row` are
    providers who send changed rows alone, also of what comes `whole` with its parent: there its absence takes back no row.
    `submissions` says of which submission a row with a period is: of several in one delivery the last counts.
    """

    source: str
    title: str
    local_ids: LocalIds = LocalIds()
    submissions: Submissions | None = None
    deliveries: tuple[DeliveryForm, ...] = ()
    passed_over: tuple[str, ...] = ()
    row_by_row: tuple[str, ...] = ()
    entities: dict[str, Entity]

    @model_validator(mode="after")
    def names_exist(self) -> "SourceContract":
        """Refuse names of columns or entities that do not exist; the error lists all of them."""
        faults = [fault for name, entity in self.entities.items() for fault in self._faults(name, entity)]
        faults += [*self._form_faults(), *self._submission_faults()]
        direct = {name: entity.subject.direct for name, entity in self.entities.items()}
        restated = [name for name, subject in direct.items() if subject and subject.restated]
        if len({(bool(self.entities[name].period), self.entities[name].version) for name in restated}) > 1:
            faults.append(f"subject.direct.restated: {', '.join(restated)} have other versions, so that no row is the newest")
        of_nobody = [name for name, entity in self.entities.items() if entity.agreement and not entity.subject.direct]
        faults += [f"{name}.agreement: its rows do not name their person" for name in of_nobody]
        nested = [name for name, parent in self.whole.items() if parent in self.whole]
        faults += [f"{name}.subject.via.whole: its parent comes whole with another one" for name in nested]
        if self.row_by_row and not self.whole:
            faults.append("row_by_row: nothing comes whole with its parent")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @cached_property
    def whole(self) -> dict[str, str]:
        """The entities of which a parent comes with all rows or none, with the entity of the parent."""
        links = {name: entity.subject.via for name, entity in self.entities.items()}
        return {name: via.entity for name, via in links.items() if via and via.whole}

    @cached_property
    def agreements(self) -> frozenset[str]:
        """The entities that say whether records are still shared."""
        return frozenset(entity.agreement.entity for entity in self.entities.values() if entity.agreement)

    def form_of(self, provider: str) -> DeliveryForm | None:
        """How a provider delivers when there is no manifest; None if it always has to send one."""
        for_others = next((form for form in self.deliveries if not form.providers), None)
        return next((form for form in self.deliveries if provider in form.providers), for_others)

    def _form_faults(self) -> list[str]:
        named = [provider for form in self.deliveries for provider in form.providers or ("all others",)]
        twice = sorted({provider for provider in named if named.count(provider) > 1})
        faults = [f"deliveries: two forms for {provider}" for provider in twice]
        delivered = {name for name, entity in self.entities.items() if entity.files}
        for position, form in enumerate(self.deliveries):
            unknown = [name for name in form.needs if name not in delivered]
            faults += [f"deliveries.{position}.needs: no entity {name} with files" for name in unknown]
            if form.mode == "period" and not any(entity.period for entity in self.entities.values()):
                faults.append(f"deliveries.{position}.mode: period, but no entity has a period")
        return faults

    def _submission_faults(self) -> list[str]:
        if self.submissions is None:
            return []
        of, number = self.submissions.of, self.submissions.number
        with_periods = {name: entity for name, entity in self.entities.items() if entity.period}
        faults = [f"{name}.submissions: no column {of}" for name, entity in with_periods.items() if of not in entity.columns]
        return faults + [
            f"{name}.version: its last column is not {number}, the number of the submission"
            for name, entity in with_periods.items()
            if entity.version[-1:] != (number,)
        ]

    def _faults(self, name: str, entity: Entity) -> list[str]:
        used: list[tuple[str, tuple[str, ...]]] = [("key", entity.key), ("version", entity.version)]
        used += [("period", (entity.period,))] if entity.period else []
        used += [("deleted", (entity.deleted.column,))] if entity.deleted else []
        used += [("test", (flag.column,)) for flag in entity.test]
        used += [("confidential", (flag.column,)) for flag in entity.confidential]
        used += [("one_per", (*entity.one_per.used, *entity.one_per.may_be_empty))] if entity.one_per else []
        used += [("withhold", (withheld, flag.column)) for withheld, flag in entity.withhold.items()]
        parts = {column: entity.columns[column].key_where for column in entity.key if column in entity.columns}
        used += [(f"{column}.key_where", (where.column,)) for column, where in parts.items() if where]
        kinds = {column: entity.columns[column].type for _, columns in used for column in columns if column in entity.columns}
        subject = entity.subject
        if subject.direct:
            used.append(("subject.direct", subject.direct.columns))
            used += [("local_ids.within", (self.local_ids.within,))] if self.local_ids.within else []
        links = entity.links
        used += [(part, link.columns) for part, link in links.items() if part != "one_per"]
        if subject.shared:
            used.append(("subject.shared", subject.shared.columns))
        faults = [
            f"{name}.{part}: no column {column}" for part, columns in used for column in columns if column not in entity.columns
        ]
        faults += [
            f"{name}.version: {column} is {kinds[column]}; expected integer, code (of digits), date or timestamp"
            for column in entity.version
            if kinds.get(column, ColumnType.DATE) not in _SORTED
        ]
        faults += [f"{name}: flag {fault}" for fault in _flag_faults(entity)]
        for part, link in links.items():
            parent = self.entities.get(link.entity)
            if parent is None:
                faults.append(f"{name}.{part}: no entity {link.entity}")
            elif len(parent.key) != len(link.columns):
                faults.append(f"{name}.{part}: {link.entity} has a key of {len(parent.key)} columns")
        if subject.direct and subject.direct.restated and not (entity.period or entity.version):
            faults.append(f"{name}.subject.direct.restated: its rows have neither a period nor a version")
        if entity.confidential and not (subject.direct or subject.via or name in self.agreements):
            faults.append(f"{name}.confidential: its rows do not belong to one person")
        if subject.shared:
            shared_entity = self.entities.get(subject.shared.entity)
            missing = [c for c in subject.shared.theirs if shared_entity is None or c not in shared_entity.columns]
            faults += [f"{name}.subject.shared: {subject.shared.entity} has no column {column}" for column in missing]
        reserved = {*SILVER_COLUMNS, *LINE, *SUBJECT_COLUMNS}
        faults += [f"{name}.{column}: the name is reserved" for column in entity.columns if column in reserved]
        kept_keys = [column for column in entity.key if column in entity.columns and not entity.columns[column].identifier]
        if subject != Subject() and set(kept_keys) == set(entity.key):
            faults.append(f"{name}.key: no column of the key is marked as an identifier")
        return faults


def normalise_header(header: str) -> str:
    """A header in the form that is compared: lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", header.casefold())


def load_contract(path: Path) -> SourceContract:
    """Read one contract.

    Raises ContractError, which lists every fault of the file with its field and what was expected. A text column that silver
    keeps has a shape: without one anything that somebody typed could be published.
    """
    where = f"{path.parent.name}/{path.name}"
    contract = read_model(path, SourceContract, where)
    shapeless = [
        f"entities.{name}.columns.{column}: no shape; a kept text has one of {', '.join(Shape)}, or is an identifier"
        for name, entity in contract.entities.items()
        for column, delivered in entity.columns.items()
        if delivered.is_kept_text and delivered.shape is None
    ]
    if shapeless:
        raise faulty(where, shapeless)
    return contract


def sources_in(mappings_dir: Path) -> list[str]:
    """Every source that has a contract in a mappings folder, in alphabetical order."""
    return sorted(path.parent.name for path in mappings_dir.glob("*/contract.yaml"))


def load_contracts(mappings_dir: Path, sources: tuple[str, ...] = ()) -> dict[str, SourceContract]:
    """The contracts of every source folder, or of the named sources, by source name in alphabetical order.

    Raises ContractError if a named source has no contract or a contract has faults.
    """
    paths = sorted(mappings_dir.glob("*/contract.yaml"))
    contracts = {path.parent.name: load_contract(path) for path in paths if not sources or path.parent.name in sources}
    missing = [source for source in sources if source not in contracts]
    if missing:
        raise ContractError(f"no contract for {', '.join(missing)}: expected <source>/contract.yaml in {mappings_dir}")
    return contracts


def _flag_faults(entity: Entity) -> Iterator[str]:
    for flag in (*entity.flags, *entity.withhold.values()):
        column = entity.columns.get(flag.column)
        if column and (column.type is ColumnType.BOOLEAN) == bool(flag.values):
            yield f"{flag.column}: list values, unless the column is of truth values"
        if flag.negated and (flag.values or flag == entity.deleted):
            yield f"{flag.column}: negated: only truth values have an opposite, and what deletes a record says so"
