"""Finds the OMOP table that a rule fills, and the OMOP fields of a field of the mapping language, for documentation.

Patterns give candidate names; the candidates that the published model of the table has are used.
"""

from pipelines.contracts.cdm import DOMAIN_TABLES
from pipelines.contracts.derived import published_tables
from pipelines.mapping.spec import EXPECTED_DAYS, MOMENTS, Rule, Target

CDM_VERSION = "5.4"

_TABLES = {Target.VISIT: "visit_occurrence"}

_PREFIXES = {
    "condition_occurrence": "condition",
    "drug_exposure": "drug",
    "procedure_occurrence": "procedure",
    "device_exposure": "device",
    "visit_occurrence": "visit",
    "observation_period": "period",
}
"""The prefix of a table's own fields, if it is not the name of the table."""

_CONCEPT = ("{0}_concept_id", "{0}_source_value", "{0}_source_concept_id")

_PATTERNS = {
    "concept": tuple(name.format("{prefix}") for name in _CONCEPT),
    "status": tuple(name.format("condition_status") for name in _CONCEPT),
    "value": ("value_as_concept_id",),
    "object": ("episode_object_concept_id",),
    "modifier": tuple(name.format(prefix) for prefix in ("modifier", "qualifier") for name in _CONCEPT),
    "source_value": ("{prefix}_source_value",),
    "care_site_code": ("care_site_source_value", "care_site_id"),
    "postcode_area": ("location_id",),
    "type_concept_id": ("{prefix}_type_concept_id",),
    "visit_key": ("visit_occurrence_id",),
    "visit_detail_key": ("visit_detail_id",),
    "provider_key": ("provider_id",),
    "preceding_key": ("preceding_{table}_id",),
    "open_until": ("{prefix}_end_date", "episode_end_date"),
    **dict.fromkeys(MOMENTS, ("milestone", "milestone_datetime")),
    **dict.fromkeys(EXPECTED_DAYS, ("milestone", "milestone_date")),
}
"""Patterns for fields whose OMOP field has another name."""

_ELSE = {"value_as_string": "value_source_value"}
"""The OMOP field to use if the table has no field of that name: a measurement has no text value."""

_DATED = ("{prefix}_{field}", "{table}_{field}", "{prefix}_{ending}", "{table}_{ending}")
"""Tables that have one day only name it without `start`: `measurement_date`."""


def omop_table(rule: Rule) -> str:
    """The table that a rule fills; for events the table of the declared domain, which takes rows without a standard concept."""
    if rule.to is Target.EVENT:
        return DOMAIN_TABLES[rule.domain or ""]
    return _TABLES.get(rule.to, rule.to.value)


def omop_fields(rule: Rule, field: str) -> tuple[str, ...]:
    """The fields of the rule's table that a field fills; none if the field only orders, groups or links rows."""
    table = omop_table(rule)
    names: tuple[str, ...] = _PATTERNS.get(field, (field, *(name.format(field) for name in _CONCEPT)))
    if field.startswith("start_"):
        names += _DATED
    elif field.startswith("end_"):
        names += _DATED[:2]
    known = {column.name for column in published_tables(CDM_VERSION)[table].columns}
    values = {"prefix": _PREFIXES.get(table, table), "table": table, "field": field, "ending": field.partition("_")[2]}
    found = [name for name in dict.fromkeys(name.format(**values) for name in names) if name in known]
    if field == "concept" and "source_value" in rule.fields:
        found.remove(f"{values['prefix']}_source_value")
    instead = _ELSE.get(field)
    return tuple(found or ([instead] if instead in known else []))
