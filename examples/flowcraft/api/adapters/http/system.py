"""Routes for announcements."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, StringConstraints

from examples.flowcraft.api.adapters.http.answers import Json, answers
from examples.flowcraft.api.adapters.http.services import The
from examples.flowcraft.api.core.domain.events import Urgency
from examples.flowcraft.api.core.services.announcements import Announced

router = APIRouter(prefix="/api/system", tags=["system"])


class NewAnnouncement(BaseModel):
    """The text of an announcement."""

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
    level: Urgency = "info"


@router.post("", status_code=201, responses=answers(Announced, 201))
async def announce(the: The, new: NewAnnouncement) -> Json:
    """Announce to every open page."""
    return Json(await the.announcements.announce(new.text, new.level), 201)
