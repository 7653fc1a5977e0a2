"""The page of a source: what is delivered and how each rule turns it into OMOP, in Markdown, from the files that do it."""

import inspect
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass

from pipelines.contracts.derived import EVENT_EVIDENCE
from pipelines.contracts.evidence import Evidence
from pipelines.contracts.source import Entity, SourceContract, Subject
from pipelines.mapping.expressions import EXPRESSIONS
from pipelines.mapping.omop_fields import omop_fields, omop_table
from pipelines.mapping.spec import Code, Condition, FieldRule, Lookup, Mapping, Rule, Target, VocabularyBy

CDM_PAGE = "https://ohdsi.github.io/CommonDataModel/cdm54.html"

_ADDED = {
    "row_key": "the row itself",
    "provider_code": "the provider that delivered the row",
    "year_of_birth": "year of the date of birth",
    "month_of_birth": "month of the date of birth",
    "postcode_area": "letters that the postcode begins with",
}
"""Descriptions of the columns that curate adds."""

_LEGEND = (
    "An arrow is one rule, by its name, or several. A dashed arrow goes to the table of the declared domain: the domain of the "
    "standard concept sends a row to another event table where it is another. A line that ends in a circle is a lookup."
)


@dataclass(frozen=True)
class CodeList:
    """The local map of a vocabulary: file, number of approved codes, how many of them map to no concept, references.

    `is_ours`: the vocabulary is declared in this project, so Athena does not have it.
    """

    vocabulary: str
    file: str
    is_ours: bool
    codes: int
    meaning_nothing: int
    references: tuple[str, ...]


def page_of(contract: SourceContract, mapping: Mapping, code_lists: MappingOf[str, CodeList] | None = None) -> str:
    """The page of one source; equal files give an equal page. `code_lists` are the local maps by vocabulary."""
    lists = code_lists or {}
    unread = mapping.unread_columns(contract)
    parts = [
        f"# {contract.title}",
        f"Written by `make docs` from `mappings/{contract.source}/`; change those files, not this one.",
        *_picture(contract, mapping),
        "## Rules",
        *[_rule(rule, contract, lists) for rule in mapping.rules],
        "## Vocabularies",
        *_vocabularies(mapping, lists),
        "## Delivered files",
        *[_entity(name, entity, unread[name]) for name, entity in contract.entities.items()],
    ]
    return "\n\n".join(parts) + "\n"


def index_of(contracts: Iterable[SourceContract], mappings: dict[str, Mapping]) -> str:
    """The list of all sources, and what the expressions of the mapping language do."""
    rows = [
        (f"[{contract.title}]({contract.source}.md)", str(len(contract.entities)), str(len(mappings[contract.source].rules)))
        for contract in contracts
    ]
    expressions = [
        (f"`{name}`", " ".join((inspect.getdoc(function) or "").split())) for name, function in sorted(EXPRESSIONS.items())
    ]
    parts = [
        "# Mappings",
        _table(("source", "delivered entities", "rules"), rows),
        "## Expressions",
        _table(("expression", "gives"), expressions),
    ]
    return "\n\n".join(parts) + "\n"


def _picture(contract: SourceContract, mapping: Mapping) -> list[str]:
    """A flowchart: delivered entities, the rules as arrows, OMOP tables; and the entities that no rule reads."""
    ways: dict[tuple[str, str, bool], list[str]] = {}
    for rule in mapping.rules:
        ways.setdefault((rule.from_, omop_table(rule), rule.to is Target.EVENT), []).append(rule.name)
    lookups = Counter((lookup.entity, rule.from_) for rule in mapping.rules for lookup in rule.lookups.values())
    read = {entity for entity, _, _ in ways} | {entity for pair in lookups for entity in pair}
    tables = dict.fromkeys(sorted(table for _, table, _ in ways))
    lines = ["flowchart LR", "  subgraph delivered"]
    lines += [f'    e_{name}["{name}"]' for name in contract.entities if name in read]
    lines += ["  end", '  subgraph omop["OMOP CDM"]', *[f'    t_{table}[("{table}")]' for table in tables], "  end"]
    lines += [f"  e_{joined} --o e_{entity}" for joined, entity in sorted(lookups) if joined != entity]
    for (entity, table, is_event), names in ways.items():
        label = names[0] if len(names) == 1 else f"{len(names)} rules"
        lines.append(f'  e_{entity} {"-.->" if is_event else "-->"}|"{label}"| t_{table}')
    kept = _unread([name for name in contract.entities if name not in read])
    return ["## Picture", "```mermaid\n" + "\n".join(lines) + "\n```", _LEGEND, *kept]


def _unread(names: Sequence[str]) -> list[str]:
    return [f"Kept in silver, read by no rule: {', '.join(f'`{name}`' for name in names)}."] if names else []


def _rule(rule: Rule, contract: SourceContract, lists: MappingOf[str, CodeList]) -> str:
    grain = contract.entities[rule.from_].grain
    parts = [f"### {rule.name}", f"[`{rule.from_}`](#{rule.from_}) ({grain}) to {_target(rule)}."]
    if rule.note:
        parts.append(rule.note)
    details = [
        f"`{alias}` is {_found(lookup)}"
        + "".join(f", unless its `{column}` is {_alternatives(values)}" for column, values in lookup.without.items())
        for alias, lookup in rule.lookups.items()
    ]
    details += [_condition(condition) for condition in rule.where]
    if rule.group:
        details.append("rows with one key become one")
    if rule.value_of is not None:
        domains = " or ".join(rule.value_of.unless)
        details.append(
            f"a concept of another domain than {domains} is the value of `{rule.value_of.concept}` ({rule.value_of.note})"
        )
    details += _evidence(rule)
    if details:
        parts.append("\n".join(f"- {detail}" for detail in details))
    rows = [
        (f"`{field}`", _how(how, lists), _omop(rule, field), _meaning(how, rule, contract))
        for field, how in rule.fields.items()
    ]
    return "\n\n".join([*parts, _table(("field", "from", "OMOP field", "what it is"), rows)])


def _found(lookup: Lookup) -> str:
    entity = f"[`{lookup.entity}`](#{lookup.entity})"
    if not lookup.is_by_reference:
        return f"the row of {entity} at `{lookup.on}`"
    empty = " and ".join(f"`{column}`" for column in lookup.empty_first)
    chosen = f"one without {empty}, else the one" if empty else "the one"
    return f"the row of {entity} whose `{lookup.by}` is `{lookup.on}`, {chosen} with the least row key of several"


def _target(rule: Rule) -> str:
    table = omop_table(rule)
    link = f"[{table}]({CDM_PAGE}#{table})"
    if rule.to is Target.EVENT:
        return f"**the table of the concept's domain**; {link} while there is no standard concept"
    return f"**{link}**"


def _omop(rule: Rule, field: str) -> str:
    if field in EVENT_EVIDENCE.schema:
        return f"`{EVENT_EVIDENCE.name}.{field}`"
    names = omop_fields(rule, field)
    if names:
        return ", ".join(f"`{name}`" for name in names)
    return "in tables that have it" if rule.to is Target.EVENT else ""


def _condition(condition: Condition) -> str:
    column = _expression(condition) if condition.column is None else f"`{condition.column}`"
    if condition.not_in is not None:
        return f"not where {column} is {_alternatives(condition.not_in)}: these count as `{condition.reason}`"
    if condition.in_ is not None:
        test = f"only where {column} is {_alternatives(condition.in_)}"
    else:
        test = f"only where {column} is {'present' if condition.present else 'empty'}"
    return f"{test}: the rest count as `{condition.reason}`"


def _evidence(rule: Rule) -> list[str]:
    """The grade of evidence of the events of a rule, or how it is decided."""
    grades = []
    for candidate in rule.grades:
        if isinstance(candidate, Evidence):
            grades.append(f"`{candidate}`")
            continue
        for grade in dict.fromkeys(candidate.values.values()):
            listed = [value for value, of in candidate.values.items() if of is grade]
            grades.append(f"`{grade}` where `{candidate.column}` is {_alternatives(listed)}")
        if candidate.present is not None:
            state = "any other value" if candidate.values else "present"
            grades.append(f"`{candidate.present}` where `{candidate.column}` is {state}")
    return [f"evidence: {', else '.join(grades)}"] if grades else []


def _alternatives(values: Sequence[str]) -> str:
    return " or ".join(f"`{value}`" if value else "empty" for value in values)


def _how(how: FieldRule, lists: MappingOf[str, CodeList]) -> str:
    if how.copy_ is not None:
        return f"`{how.copy_}`"
    if how.concept is not None:
        return ", else ".join(_code(code, lists) for code in how.concept)
    if how.expression is not None:
        return _expression(how)
    made_of = ", else ".join(_code(code, lists) for code in how.of or ())
    return f"constant `{how.constant}`" + (f", source concept: {made_of}" if made_of else "")


def _expression(how: FieldRule | Condition) -> str:
    arguments = [f"`{column}`" for column in how.args.values()] + [f"{name}=`{value}`" for name, value in how.options.items()]
    return f"[{how.expression}](README.md#expressions)({', '.join(arguments)})"


def _code(code: Code, lists: MappingOf[str, CodeList]) -> str:
    value = f"`{code.column}`" if code.column else f"the code `{code.code}`"
    value = f"[{code.part_of}](README.md#expressions)({value})" if code.part_of else value
    fitting = f" where it matches `{code.pattern}`" if code.pattern else ""
    if isinstance(code.vocabulary, VocabularyBy):
        schemes = ", ".join(f"{scheme}: {name}" for scheme, name in code.vocabulary.values.items())
        return f"{value}{fitting} in the vocabulary that `{code.vocabulary.column}` names ({schemes})"
    listed = lists.get(code.vocabulary)
    return f"{value}{fitting} in {_link(listed) if listed else code.vocabulary}"


def _link(listed: CodeList) -> str:
    return f"[{listed.vocabulary}](../../mappings/concepts/{listed.file})" if listed.file else listed.vocabulary


def _meaning(how: FieldRule, rule: Rule, contract: SourceContract) -> str:
    """The data items of the columns that the field reads, and the note of the rule."""
    entities = {"": rule.from_} | {alias: lookup.entity for alias, lookup in rule.lookups.items()}
    items = []
    for name in how.columns:
        alias, _, column = name.rpartition(".")
        items.append(_item(column, contract.entities[entities[alias]]))
    return "; ".join(dict.fromkeys(text for text in (*items, how.note) if text))


def _item(column: str, entity: Entity) -> str:
    if column in entity.columns:
        return entity.columns[column].item
    reference = entity.references.get(column)
    return f"the row of `{reference.entity}`" if reference else _ADDED.get(column, "")


def _vocabularies(mapping: Mapping, lists: MappingOf[str, CodeList]) -> list[str]:
    """The vocabularies of the codes of the source, and their local maps."""
    rows = []
    for vocabulary in sorted(mapping.vocabularies):
        listed = lists.get(vocabulary)
        if listed is None:
            rows.append((vocabulary, "Athena", "", ""))
            continue
        count = (
            f"{listed.codes}, of which {listed.meaning_nothing} mean nothing" if listed.meaning_nothing else str(listed.codes)
        )
        where = _link(listed) if listed.file else "no map yet"
        where += "" if listed.is_ours else ", Athena"
        rows.append((vocabulary, where, count, "; ".join(listed.references)))
    text = "A local map comes before Athena. A code in neither keeps its source value, has concept 0 and is in the work list."
    return [text, _table(("vocabulary", "looked up in", "codes", "according to"), rows)]


def _entity(name: str, entity: Entity, unread: Sequence[str]) -> str:
    """The columns of an entity, and those of which nothing in OMOP is made."""
    facts = [
        f"### {name}",
        f"One row: {entity.grain}. Files: {', '.join(f'`{pattern}`' for pattern in entity.files)}. "
        f"Key within a provider: {', '.join(f'`{column}`' for column in entity.key)}. {_subject(entity.subject)}",
    ]
    rows = [
        (
            f"`{column}`",
            f"`{spec.header}`" if spec.header else "",
            f"identifier: {spec.identifier.replace('_', ' ')}" if spec.identifier else spec.type.value,
            spec.item,
        )
        for column, spec in entity.columns.items()
    ]
    return "\n\n".join([*facts, _table(("column", "header", "type", "data item"), rows), *_unread(unread)])


def _subject(subject: Subject) -> str:
    if subject.direct:
        return f"Person: by `{subject.direct.nhs_number}` or else `{subject.direct.local_id}`."
    if subject.via:
        return f"Person: that of its `{subject.via.entity}`."
    if subject.shared:
        return f"No person of its own; kept while a kept `{subject.shared.entity}` refers to it."
    return "Reference data, of no person."


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)
