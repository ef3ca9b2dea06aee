"""Routes for flows."""

from __future__ import annotations

from fastapi import APIRouter

from examples.flowcraft.api.adapters.http.answers import Json
from examples.flowcraft.api.adapters.http.services import The

router = APIRouter(prefix="/api/flows", tags=["flows"])


@router.post("/{flow_id}/pause")
async def pause_flow(the: The, flow_id: str) -> Json:
    """Let a flow take no new runs."""
    return Json({"xid": await the.flows.set_paused(flow_id, paused=True)})


@router.post("/{flow_id}/resume")
async def resume_flow(the: The, flow_id: str) -> Json:
    """Let a flow take new runs again."""
    return Json({"xid": await the.flows.set_paused(flow_id, paused=False)})
