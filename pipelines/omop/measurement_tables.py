"""The tables of analytes: what the vocabulary has of them, and measurements in one unit per analyte."""

from functools import partial

from pyspark.sql import DataFrame

from pipelines.contracts.tables import BelongsTo, Inputs, Table
from pipelines.omop.analytes import (
    ANALYTE_CONCEPTS_SCHEMA,
    CONCEPTS_BY_UNIT_SCHEMA,
    analyte_concepts,
    concepts_by_unit,
    measurement_harmonised,
)
from pipelines.omop.declared import CONCEPT, CONCEPTS_BY_UNIT, MapInputs, canonical, intermediate, omop_name, omop_table


def measurement_tables(inputs: MapInputs) -> list[Table]:
    """What the vocabulary has of the analytes, and measurements in one unit per analyte."""
    analytes, measurements, of_analytes = inputs.analytes, omop_name("measurement"), intermediate("analyte_concepts")

    def make_harmonised(made: Inputs) -> DataFrame:
        table = inputs.table("measurement_harmonised")
        return measurement_harmonised(made.read(*measurements), made.read(*of_analytes), analytes, table)

    of_vocabulary = partial(Table, belongs_to=BelongsTo.CODE, inputs=(CONCEPT,), keeps_equal=True)
    by_unit = of_vocabulary(
        name=CONCEPTS_BY_UNIT,
        grain="one row per concept of an analyte and unit in which a measurement has another concept of it",
        schema=CONCEPTS_BY_UNIT_SCHEMA,
        make=lambda made: concepts_by_unit(made.session, made.read(*CONCEPT), analytes),
        parameters=canonical(analytes.by_unit),
    )
    if not inputs.with_measurement_harmonised:
        return [by_unit]
    return [
        by_unit,
        of_vocabulary(
            name=of_analytes,
            grain="one row per concept that means an analyte",
            schema=ANALYTE_CONCEPTS_SCHEMA,
            make=lambda made: analyte_concepts(made.session, made.read(*CONCEPT), analytes),
            parameters=canonical(analytes.parameters()),
        ),
        omop_table(
            inputs,
            "measurement_harmonised",
            "one row per measurement of a declared analyte, its number in the unit of the analyte",
            (measurements, of_analytes),
            make_harmonised,
            narrows=(measurements,),
            parameters=canonical(analytes.parameters()),
        ),
    ]
