"""A guard takes the viewer, for a family also the parameter in its type; it answers yes or no, or will."""

from __future__ import annotations

from uuid import UUID

from flowcraft.channels import Channels
from flowcraft.events import Event
from flowcraft.viewers import Viewer


class RunUpdate(Event):
    run_id: UUID


channels = Channels()
run_update = channels.declare("run_update", RunUpdate)
run = channels.declare("runs.{run_id}", RunUpdate, params={"run_id": UUID})
job = channels.declare("jobs.{job_id}", RunUpdate, params={"job_id": int})


@run_update.guard
def may_see(viewer: Viewer) -> bool:
    return viewer.subject == "ada"


@run.guard
async def may_watch(viewer: Viewer, run_id: UUID) -> bool:
    return viewer.subject == str(run_id)


@job.guard
def may_watch_job(viewer: object, job_id: int, extra: str = "") -> bool:
    return bool(viewer) and job_id > len(extra)


async def called(viewer: Viewer, run_id: UUID) -> bool:
    return may_see(viewer) and await may_watch(viewer, run_id) and may_watch_job(viewer, 7)


def no_viewer() -> bool:
    return True


def no_answer(viewer: Viewer) -> str:
    return viewer.subject


async def no_answer_later(viewer: Viewer) -> str:
    return viewer.subject


def other_parameter(viewer: Viewer, run_id: int) -> bool:
    return run_id == 7 and bool(viewer)


run_update.guard(no_viewer)  # type: ignore[arg-type]
run_update.guard(no_answer)  # type: ignore[type-var]
run_update.guard(no_answer_later)  # type: ignore[type-var]
run_update.guard(may_watch)  # type: ignore[arg-type]
run.guard(may_see)  # type: ignore[arg-type]
run.guard(other_parameter)  # type: ignore[arg-type]
job.guard(may_watch)  # type: ignore[arg-type]
job.guard(other_parameter)
