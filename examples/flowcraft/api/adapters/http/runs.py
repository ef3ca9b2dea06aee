"""Routes for runs."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from examples.flowcraft.api.adapters.http.answers import Json, answers
from examples.flowcraft.api.adapters.http.services import The
from examples.flowcraft.api.core.ports import Audit, RunDetail, State
from examples.flowcraft.api.core.services.runs import Triggered

router = APIRouter(prefix="/api", tags=["runs"])


@router.post("/flows/{flow_id}/runs", status_code=201, responses=answers(Triggered, 201))
async def trigger_run(the: The, flow_id: str) -> Json:
    """Trigger a flow."""
    return Json(await the.runs.trigger(flow_id), 201)


@router.get("/runs/{run_id}", responses=answers(State[RunDetail]))
async def run_detail(the: The, run_id: UUID) -> Json:
    """Return a run with its log and the cursor of that moment."""
    return Json(await the.runs.detail(run_id))


@router.post("/runs/{run_id}/cancel")
async def cancel_run(the: The, run_id: UUID) -> Json:
    """Cancel a run."""
    return Json({"xid": await the.runs.cancel(run_id)})


@router.post("/runs/{run_id}/retry")
async def retry_run(the: The, run_id: UUID) -> Json:
    """Retry a run that failed or was cancelled."""
    return Json({"xid": await the.runs.retry(run_id)})


@router.get("/audit", responses=answers(Audit))
async def audit(the: The) -> Json:
    """Return the versions of the newest runs, so that a page can check whether it has seen them all."""
    return Json(await the.runs.audit())
