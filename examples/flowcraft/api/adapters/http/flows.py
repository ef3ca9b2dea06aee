"""Routes for flows."""

from __future__ import annotations

from fastapi import APIRouter

from examples.flowcraft.api.adapters.http.answers import Json, answers
from examples.flowcraft.api.adapters.http.services import The
from examples.flowcraft.api.core.domain.events import FlowUpdate
from examples.flowcraft.api.core.ports import State

router = APIRouter(prefix="/api/flows", tags=["flows"])


@router.get("", responses=answers(State[list[FlowUpdate]]))
async def all_flows(the: The) -> Json:
    """Return the flows and the cursor of that moment."""
    return Json(await the.flows.all())


@router.post("/{flow_id}/pause")
async def pause_flow(the: The, flow_id: str) -> Json:
    """Let a flow take no new runs."""
    return Json({"xid": await the.flows.set_paused(flow_id, paused=True)})


@router.post("/{flow_id}/resume")
async def resume_flow(the: The, flow_id: str) -> Json:
    """Let a flow take new runs again."""
    return Json({"xid": await the.flows.set_paused(flow_id, paused=False)})
