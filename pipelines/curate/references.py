"""Rows of silver that refer to a row which is not there: a code, an organisation, a consultation.

Such a row is kept, and loses what the other row would say of it. So it is counted, by provider and reference.
"""

from collections.abc import Iterable, Mapping

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.curate.entities import EntityOf
from pipelines.curate.versions import valid_rows
from vocab.schemas import ddl_of

REFERENCE_SCHEMA = dict.fromkeys(("source", "entity", "provider", "reference"), "string") | dict.fromkeys(
    ("rows", "orphans"), "bigint"
)
"""One row per source, entity, provider and reference: the rows that refer to another row, and those that find none."""


def counted_references(entity: EntityOf) -> list[str]:
    """The references of an entity that may miss their row.

    Not those to a table that is never delivered or that the contract calls optional, and not the one by which the row finds
    its person: without that row it is quarantined.
    """
    subject = entity.spec.subject.via
    owner = (subject.entity, subject.columns) if subject else None
    return [
        name
        for name, link in entity.spec.references.items()
        if entity.contract.entities[link.entity].files and not link.optional and (link.entity, link.columns) != owner
    ]


def reference_counts(
    session: SparkSession, entities: Iterable[EntityOf], silver: Mapping[str, DataFrame], versions: Mapping[str, DataFrame]
) -> DataFrame:
    """How many rows refer to another row, and how many find none (REFERENCE_SCHEMA).

    The `entities` have references that are counted. `silver` has their tables by name, `versions` those of their sources
    (VERSION_SCHEMA). All references are looked up together, so that little has to be planned. The keys are not hashed: Sail
    0.7.2 fails to hash a stored column of which all rows have one value.
    """
    named: list[tuple[int, str, str, str]] = []
    used, targets = [], dict[str, set[str]]()
    for entity in entities:
        references = counted_references(entity)
        keys = F.array(*references)
        position = F.lit(len(named)).alias("first")
        provider = F.col("provider_code").alias("provider")
        used.append(silver[entity.table].select(position, provider, F.posexplode(keys).alias("n", "key")))
        named += [(len(named) + n, entity.source, entity.name, name) for n, name in enumerate(references)]
        targets.setdefault(entity.source, set()).update(entity.spec.references[name].entity for name in references)
    there = union_all(
        [
            valid_rows(versions[source], *sorted(names)).select(F.col("row_key").alias("key"), F.lit(1).alias("found"))
            for source, names in targets.items()
        ]
    )
    stated = union_all(used).where(F.col("key").isNotNull())
    referring = stated.select((F.col("first") + F.col("n")).alias("position"), "provider", "key")
    # In this order, because Sail cannot tell how many rows an array gives and keeps in memory what is named first.
    counted = (
        there.join(referring, on="key", how="right")
        .groupBy("position", "provider")
        .agg(F.count(F.lit(1)).alias("rows"), F.count("found").alias("found"))
    )
    names = session.createDataFrame(
        named, ddl_of({"position": "int"} | dict.fromkeys(("source", "entity", "reference"), "string"))
    )
    described = counted.join(F.broadcast(names), on="position", how="inner")
    return described.withColumn("orphans", F.col("rows") - F.col("found")).select(*REFERENCE_SCHEMA)
