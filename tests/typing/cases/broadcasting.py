"""A channel takes its own events only, whatever the route they come by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import pydantic

from flowcraft.channels import Channels
from flowcraft.declared_channels import Channel, ChannelFamily
from flowcraft.events import Event
from flowcraft.ports import RealtimeService


class RunUpdate(Event):
    run_id: UUID


class StepCompleted(Event):
    step: int


class LateStepCompleted(StepCompleted):
    delay: float


class Moved(pydantic.BaseModel):
    street: str


@dataclass
class Typing:
    user: str


channels = Channels()
run_update = channels.declare("run_update", RunUpdate)
system = channels.declare("system", RunUpdate | StepCompleted)
run = channels.declare("runs.{run_id}", RunUpdate | StepCompleted, params={"run_id": UUID})
job = channels.declare("jobs.{job_id}", StepCompleted, params={"job_id": int})
moved_update = channels.declare("moved_update", Moved)
typing_update = channels.declare("typing_update", Typing, durable=False)


async def right(service: RealtimeService, run_id: UUID, update: RunUpdate, step: StepCompleted) -> None:
    await service.broadcast(run_update, update)
    await service.broadcast(run_update, RunUpdate(run_id=run_id), via=object())
    await service.broadcast(system, update)
    await service.broadcast(system, step)
    await service.broadcast(run(run_id), update)
    await service.broadcast(run(run_id), step)
    await service.broadcast(job(7), StepCompleted(step=1))
    await service.broadcast(moved_update, Moved(street=""))
    await service.broadcast(typing_update, Typing("ada"))


async def wrong(service: RealtimeService, run_id: UUID, update: RunUpdate, step: StepCompleted) -> None:
    await service.broadcast(run_update, step)  # type: ignore[misc]
    await service.broadcast(run_update, Moved(street=""))  # type: ignore[misc]
    await service.broadcast(run_update, {"run_id": run_id})  # type: ignore[misc]
    await service.broadcast(run_update, None)  # type: ignore[misc]
    await service.broadcast(run_update, RunUpdate)  # type: ignore[misc]
    await service.broadcast(system, Typing("ada"))  # type: ignore[misc]
    await service.broadcast(run(run_id), Moved(street=""))  # type: ignore[misc]
    await service.broadcast(job(7), update)  # type: ignore[misc]
    await service.broadcast(moved_update, Typing("ada"))  # type: ignore[misc]
    await service.broadcast(typing_update, update)  # type: ignore[misc]
    await service.broadcast(run, update)  # type: ignore[arg-type]
    await service.broadcast("run_update", update)  # type: ignore[arg-type]
    await service.broadcast(run_update, update, object())  # type: ignore[call-arg]
    service.broadcast(run_update, update)  # type: ignore[unused-coroutine]


async def any_event(service: RealtimeService, channel: Channel[RunUpdate | StepCompleted]) -> None:
    await service.broadcast(channel, StepCompleted(step=1))


async def invariance(service: RealtimeService, many: Sequence[Channel[StepCompleted]]) -> None:
    await any_event(service, system)
    await any_event(service, run_update)  # type: ignore[arg-type]
    wider: Channel[object] = run_update  # type: ignore[assignment]
    narrower: Channel[RunUpdate] = system  # type: ignore[assignment]
    below: Channel[LateStepCompleted] = many[0]  # type: ignore[assignment]
    family: ChannelFamily[UUID, RunUpdate] = run  # type: ignore[assignment]
    print(wider, narrower, below, family)


def families(run_id: UUID) -> None:
    run(run_id)
    job(7)
    run("7")  # type: ignore[arg-type]
    run(7)  # type: ignore[arg-type]
    job("7")  # type: ignore[arg-type]
    job(run_id)  # type: ignore[arg-type]
    job()  # type: ignore[call-arg]
    job(7, 8)  # type: ignore[call-arg]
    run_update(7)  # type: ignore[operator]
