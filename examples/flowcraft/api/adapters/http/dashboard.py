"""The route for the dashboard."""

from __future__ import annotations

from fastapi import APIRouter

from examples.flowcraft.api.adapters.http.answers import Json, answers
from examples.flowcraft.api.adapters.http.services import The
from examples.flowcraft.api.core.domain.events import DashboardUpdate
from examples.flowcraft.api.core.ports import State

router = APIRouter(prefix="/api/dashboard", tags=["dashboard"])


@router.get("", responses=answers(State[list[DashboardUpdate]]))
async def dashboard_history(the: The) -> Json:
    """Return the last measurements, the oldest first, and the cursor of that moment."""
    return Json(await the.dashboard.history())
