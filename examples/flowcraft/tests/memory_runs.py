"""Runs in memory: the port of the runs for tests of the services, on the log in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from msgspec.structs import replace

from examples.flowcraft.api.core.domain.events import (
    FlowUpdate,
    Initiator,
    LogLevel,
    LogLine,
    RunUpdate,
    StepUpdate,
)
from examples.flowcraft.api.core.ports import Audit, RunDetail, RunVersion, State
from flowcraft.adapters.memory import MemoryLog, MemoryTransaction

NOW = datetime(2026, 11, 22, 20, 13, tzinfo=UTC)


@dataclass
class Tables:
    flows: dict[str, FlowUpdate] = field(default_factory=dict[str, FlowUpdate])
    runs: dict[UUID, RunUpdate] = field(default_factory=dict[UUID, RunUpdate])
    steps: dict[UUID, list[StepUpdate]] = field(default_factory=dict[UUID, list[StepUpdate]])
    log: dict[UUID, list[LogLine]] = field(default_factory=dict[UUID, list[LogLine]])
    leases: dict[UUID, str] = field(default_factory=dict[UUID, str])


class MemoryRunTransaction:
    def __init__(self, tables: Tables, transaction: MemoryTransaction) -> None:
        self._tables = tables
        self._transaction = transaction

    @property
    def connection(self) -> object:
        return self._transaction

    async def xid(self) -> str:
        return str(self._transaction.xid)

    async def flow(self, flow_id: str) -> FlowUpdate | None:
        return self._tables.flows.get(flow_id)

    async def insert(self, flow: FlowUpdate, triggered_by: Initiator) -> UUID:
        run_id = uuid4()
        self._tables.runs[run_id] = RunUpdate(
            run_id=run_id,
            number=len(self._tables.runs) + 1,
            flow_id=flow.flow_id,
            flow_name=flow.name,
            status="queued",
            progress=0,
            attempt=1,
            current_step=None,
            cancel_requested=False,
            triggered_by=triggered_by,
            error=None,
            created_at=NOW,
            started_at=None,
            finished_at=None,
            retry_at=None,
            version=1,
        )
        self._tables.steps[run_id] = [
            a_step(run_id, position, name) for position, name in enumerate(flow.steps, start=1)
        ]
        return run_id

    async def lock(self, run_id: UUID) -> RunUpdate | None:
        return self._tables.runs.get(run_id)

    async def steps(self, run_id: UUID) -> list[StepUpdate]:
        return list(self._tables.steps[run_id])

    async def save(self, run: RunUpdate) -> None:
        self._tables.runs[run.run_id] = replace(run, version=run.version + 1)

    async def save_step(self, step: StepUpdate) -> None:
        self._tables.steps[step.run_id][step.position - 1] = replace(step, version=step.version + 1)

    async def add_line(self, run_id: UUID, text: str, level: LogLevel, position: int | None) -> LogLine:
        lines = self._tables.log.setdefault(run_id, [])
        line = LogLine(
            run_id=run_id, number=len(lines) + 1, at=NOW, level=level, position=position, text=text
        )
        lines.append(line)
        return line

    async def claim(self, worker: str, lease_seconds: float) -> RunUpdate | None:
        for run in self._tables.runs.values():
            if run.status in {"queued", "running"} and run.run_id not in self._tables.leases:
                self._tables.leases[run.run_id] = worker
                return run
        return None

    async def renew(self, run_id: UUID, worker: str, lease_seconds: float) -> bool:
        return self._tables.leases.get(run_id) == worker

    async def leave(self, run_id: UUID) -> None:
        self._tables.leases.pop(run_id, None)


class MemoryRuns:
    """Its transactions work on a copy, and commit together with one of the log."""

    def __init__(self, log: MemoryLog, *flows: FlowUpdate) -> None:
        self._log = log
        self.tables = Tables(flows={flow.flow_id: flow for flow in flows})

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryRunTransaction]:
        copy, transaction = deepcopy(self.tables), self._log.begin()
        try:
            yield MemoryRunTransaction(copy, transaction)
        except BaseException:
            transaction.rollback()
            raise
        transaction.commit()
        self.tables = copy

    async def detail(self, run_id: UUID) -> State[RunDetail] | None:
        run = self.tables.runs.get(run_id)
        if run is None:
            return None
        detail = RunDetail(run, self.tables.log.get(run_id, []))
        return State(detail, str(self._log.position_now().cursor))

    async def active(self) -> int:
        return sum(run.status in {"queued", "running"} for run in self.tables.runs.values())

    async def audit(self) -> Audit:
        versions = [RunVersion(run.run_id, run.number, run.version) for run in self.tables.runs.values()]
        return Audit(versions, str(self._log.snapshot().xmax))

    async def prune(self, keep: int) -> None:
        raise NotImplementedError


def a_step(run_id: UUID, position: int, name: str) -> StepUpdate:
    return StepUpdate(
        run_id=run_id,
        position=position,
        name=name,
        status="pending",
        progress=0,
        attempt=0,
        max_attempts=3,
        error=None,
        started_at=None,
        finished_at=None,
        version=1,
    )
