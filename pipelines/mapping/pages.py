"""The page of a source: what is delivered and how each rule turns it into OMOP, in Markdown, from the files that do it."""

from collections.abc import Iterable, Sequence

from pipelines.contracts.source import Entity, SourceContract, Subject
from pipelines.mapping.spec import Code, Condition, FieldRule, Mapping, Rule, Target, VocabularyBy


def page_of(contract: SourceContract, mapping: Mapping) -> str:
    """The page of one source; the same files give the same page."""
    parts = [
        f"# {contract.title}",
        f"Written by `make docs` from `mappings/{contract.source}/`; change those files, not this one.",
        "## Rules",
        *[_rule(rule, contract.entities[rule.from_]) for rule in mapping.rules],
        "## Delivered files",
        *[_entity(name, entity) for name, entity in contract.entities.items()],
    ]
    return "\n\n".join(parts) + "\n"


def index_of(contracts: Iterable[SourceContract], mappings: dict[str, Mapping]) -> str:
    """The list of all sources."""
    rows = [
        (f"[{contract.title}]({contract.source}.md)", str(len(contract.entities)), str(len(mappings[contract.source].rules)))
        for contract in contracts
    ]
    return "# Mappings\n\n" + _table(("source", "delivered entities", "rules"), rows) + "\n"


def _rule(rule: Rule, entity: Entity) -> str:
    parts = [f"### {rule.name}", f"`{rule.from_}` ({entity.grain}) to **{_target(rule)}**."]
    if rule.note:
        parts.append(rule.note)
    details = [f"`{alias}` is the row of `{lookup.entity}` at `{lookup.on}`" for alias, lookup in rule.lookups.items()]
    details += [_condition(condition) for condition in rule.where]
    if rule.group:
        details.append("rows with one key become one")
    if details:
        parts.append("\n".join(f"- {detail}" for detail in details))
    rows = [(f"`{field}`", _how(how), _meaning(how, entity)) for field, how in rule.fields.items()]
    return "\n\n".join([*parts, _table(("field", "from", "what it is"), rows)])


def _target(rule: Rule) -> str:
    if rule.to is Target.EVENT:
        return f"the table of the concept's domain; {rule.domain} while there is no standard concept"
    return rule.to.value


def _condition(condition: Condition) -> str:
    column = _expression(condition) if condition.column is None else f"`{condition.column}`"
    if condition.not_in is not None:
        return f"not where {column} is {_alternatives(condition.not_in)}: these count as `{condition.reason}`"
    if condition.in_ is not None:
        test = f"only where {column} is {_alternatives(condition.in_)}"
    else:
        test = f"only where {column} is {'present' if condition.present else 'empty'}"
    return f"{test}: the rest count as `{condition.reason}`"


def _alternatives(values: Sequence[str]) -> str:
    return " or ".join(f"`{value}`" for value in values)


def _how(how: FieldRule) -> str:
    if how.copy_ is not None:
        return f"`{how.copy_}`"
    if how.concept is not None:
        return ", else ".join(_code(code) for code in how.concept)
    return f"constant `{how.constant}`" if how.expression is None else _expression(how)


def _expression(how: FieldRule | Condition) -> str:
    arguments = [f"`{column}`" for column in how.args.values()]
    return f"{how.expression}({', '.join(arguments + [f'{name}=`{value}`' for name, value in how.options.items()])})"


def _code(code: Code) -> str:
    value = f"`{code.column}`" if code.column else f"the code `{code.code}`"
    fitting = f" where it matches `{code.pattern}`" if code.pattern else ""
    if isinstance(code.vocabulary, VocabularyBy):
        schemes = ", ".join(f"{scheme}: {name}" for scheme, name in code.vocabulary.values.items())
        return f"{value}{fitting} in the vocabulary that `{code.vocabulary.column}` names ({schemes})"
    return f"{value}{fitting} in {code.vocabulary}"


def _meaning(how: FieldRule, entity: Entity) -> str:
    """The data items of the columns that the field is made of, and the note of the rule."""
    items = [entity.columns[column].item for column in how.columns if column in entity.columns]
    return "; ".join(dict.fromkeys(text for text in (*items, how.note) if text))


def _entity(name: str, entity: Entity) -> str:
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
    return "\n\n".join([*facts, _table(("column", "header", "type", "data item"), rows)])


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
