"""The OpenLineage events of a run: of the run itself, of every table that it made, and of its gates.

Jobs and datasets are named by zone and table only, so that no path and no identifier is in an event. This module is imported
only where lineage is switched on, because it imports the library.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    InputDatasetFacet,
    JobFacet,
    OutputDatasetFacet,
    RunFacet,
    data_quality_assertions_dataset,
    dataset_version_dataset,
    documentation_dataset,
    error_message_run,
    job_type_job,
    nominal_time_run,
    output_statistics_output_dataset,
    parent_run,
    processing_engine_run,
    schema_dataset,
)
from openlineage.client.uuid import generate_static_uuid

from pipelines import __version__
from pipelines.contracts.ledger import LEDGER_TABLE
from pipelines.contracts.tables import Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.quality.gates import GateResult
from pipelines.quality.suppression import SMALLEST_SHOWN

PRODUCER: Final = f"urn:nhs-omop:{__version__}"
"""Who says so: OpenLineage asks for a URI, and a name needs no address."""

RUN_JOB: Final = "nightly"
GATES_JOB: Final = "gates"


@dataclass(frozen=True)
class MadeTable:
    """A table that a run wrote: when, which version came of it, and the rows that the table then has, if that is known."""

    table: Table
    begun: datetime
    ended: datetime
    version: int
    rows: int | None


@dataclass(frozen=True)
class RunOfEvents:
    """The run that events are of, and the namespace of its jobs and datasets."""

    namespace: str
    run_id: str
    run_date: date
    started: datetime

    def began(self) -> RunEvent:
        """The run has begun."""
        return self._of_run(RunState.START, self.started, {})

    def completed(self, at: datetime) -> RunEvent:
        """The run has come to its end: it released something, or there was nothing to release."""
        return self._of_run(RunState.COMPLETE, at, {})

    def stopped(self, at: datetime) -> RunEvent:
        """Somebody stopped the run."""
        return self._of_run(RunState.ABORT, at, {})

    def failed(self, at: datetime, error: Exception, exit_code: int) -> RunEvent:
        """The run failed. Only the class of the error is given: a message may name files."""
        facet = error_message_run.ErrorMessageRunFacet(
            message=f"{type(error).__name__}, exit code {exit_code}", programmingLanguage="Python", producer=PRODUCER
        )
        return self._of_run(RunState.FAIL, at, {"errorMessage": facet})

    def of_table(self, made: MadeTable) -> Iterator[RunEvent]:
        """A table was made: its beginning and its end, with the inputs that its declaration names."""
        name = str(made.table.name)
        inputs = [InputDataset(self.namespace, str(read)) for read in made.table.inputs]
        output = OutputDataset(self.namespace, name, facets=_facets_of(made), outputFacets=_statistics(made.rows))
        yield self._of_part(name, "TABLE", RunState.START, made.begun, inputs, [OutputDataset(self.namespace, name)])
        yield self._of_part(name, "TABLE", RunState.COMPLETE, made.ended, inputs, [output])

    def of_gates(self, results: Iterable[GateResult], vocabulary: Collection[str], at: datetime) -> Iterator[RunEvent]:
        """The gates were judged: every table that they looked at with what was asserted of it, and no number.

        `vocabulary` are the tables of the CDM that lie in the zone of vocabularies. What is checked of a run as a whole is
        asserted of its ledger.
        """
        by_table: dict[TableName, list[data_quality_assertions_dataset.Assertion]] = defaultdict(list)
        for result in results:
            table = _checked(result, vocabulary)
            by_table[table].append(_assertion(result, table))
        inputs = [
            InputDataset(self.namespace, str(table), inputFacets={"dataQualityAssertions": _assertions(found)})
            for table, found in sorted(by_table.items())
        ]
        yield self._of_part(GATES_JOB, "CHECKS", RunState.START, at, [], [])
        yield self._of_part(GATES_JOB, "CHECKS", RunState.COMPLETE, at, inputs, [])

    def _of_run(self, state: RunState, at: datetime, facets: Mapping[str, RunFacet]) -> RunEvent:
        day = datetime.combine(self.run_date, time(), UTC)
        nominal = nominal_time_run.NominalTimeRunFacet(nominalStartTime=_text(day), producer=PRODUCER)
        return RunEvent(
            eventTime=_text(at),
            eventType=state,
            run=Run(self._uuid(RUN_JOB), facets={"nominalTime": nominal, "processing_engine": _ENGINE, **facets}),
            job=self._job(RUN_JOB, "RUN"),
            producer=PRODUCER,
        )

    def _of_part(
        self, name: str, kind: str, state: RunState, at: datetime, inputs: list[InputDataset], outputs: list[OutputDataset]
    ) -> RunEvent:
        parent = parent_run.ParentRunFacet(
            run=parent_run.Run(self._uuid(RUN_JOB)), job=parent_run.Job(self.namespace, RUN_JOB), producer=PRODUCER
        )
        return RunEvent(
            eventTime=_text(at),
            eventType=state,
            run=Run(self._uuid(name), facets={"parent": parent, "processing_engine": _ENGINE}),
            job=self._job(name, kind),
            inputs=inputs,
            outputs=outputs,
            producer=PRODUCER,
        )

    def _job(self, name: str, kind: str) -> Job:
        facet: JobFacet = job_type_job.JobTypeJobFacet(
            processingType="BATCH", integration="NHS_OMOP", jobType=kind, producer=PRODUCER
        )
        return Job(self.namespace, name, facets={"jobType": facet})

    def _uuid(self, job: str) -> str:
        """The id of a job in this run: the same for all events of it."""
        return str(generate_static_uuid(self.started, f"{self.namespace}/{self.run_id}/{job}".encode()))


_ENGINE: Final = processing_engine_run.ProcessingEngineRunFacet(version=__version__, name="nhs-omop", producer=PRODUCER)


def _text(at: datetime) -> str:
    return at.isoformat()


def _facets_of(made: MadeTable) -> dict[str, DatasetFacet]:
    fields = [
        schema_dataset.SchemaDatasetFacetFields(name=name, type=kind, ordinal_position=place)
        for place, (name, kind) in enumerate(made.table.schema.items(), start=1)
    ]
    return {
        "schema": schema_dataset.SchemaDatasetFacet(fields=fields, producer=PRODUCER),
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=str(made.version), producer=PRODUCER),
        "documentation": documentation_dataset.DocumentationDatasetFacet(description=made.table.grain, producer=PRODUCER),
    }


def _statistics(rows: int | None) -> dict[str, OutputDatasetFacet]:
    """The rows of a table, rounded; numbers so small that they may point at people are left out."""
    if rows is None or 0 < rows < SMALLEST_SHOWN:
        return {}
    facet = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=_rounded(rows), producer=PRODUCER)
    return {"outputStatistics": facet}


def _rounded(rows: int) -> int:
    """To two digits, and at least to 5: exact numbers of two nights would say what the rows of one person between them are."""
    step = max(5, int(10 ** (len(str(rows)) - 2)))
    return (rows + step // 2) // step * step


def _checked(result: GateResult, vocabulary: Collection[str]) -> TableName:
    """The table that a check is of."""
    zone, name = str(result.check.zone), result.check.table
    if zone == Zone.OMOP and name in vocabulary:
        return TableName(Zone.VOCABULARY, name)
    is_of_table = zone in {known.value for known in Zone}
    return TableName(Zone(zone), name) if is_of_table else TableName(Zone.LEDGER, LEDGER_TABLE)


def _assertions(found: list[data_quality_assertions_dataset.Assertion]) -> InputDatasetFacet:
    return data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(assertions=found, producer=PRODUCER)


def _assertion(result: GateResult, table: TableName) -> data_quality_assertions_dataset.Assertion:
    """A gate as an assertion. `name` says of a check of the run as a whole what it is about."""
    check = result.check
    return data_quality_assertions_dataset.Assertion(
        assertion=str(check.rule),
        success=result.passed,
        column=check.column or None,
        severity=str(check.severity),
        name=f"{check.rule} on {check.table}" if check.table != table.name else None,
    )
