"""A server that admits the pages of one origin, PAGE_ORIGIN, on the database of the browser tests.

`listed:realtime` is for `flowcraft serve`, `listed:app` for uvicorn.
"""

from __future__ import annotations

import os

from flowcraft import Channels, Event, JwtAuthorizer, Realtime, Settings, Viewer
from tests.e2e.app import ItemUpdate


class Note(Event):
    """A note for one person."""

    text: str


channels = Channels()
item_update = channels.declare("item_update", ItemUpdate)
private = channels.declare("private.{person}", Note, params={"person": str})


@private.guard
async def is_oneself(viewer: Viewer, person: str) -> bool:
    """Admit the person whose notes they are."""
    return viewer.subject == person


realtime = Realtime(
    channels,
    dsn=os.environ["DATABASE_URL"],
    settings=Settings(allowed_origins=(os.environ["PAGE_ORIGIN"],), heartbeat_seconds=2, drain_seconds=0.5),
    authorizer=JwtAuthorizer(os.environ["JWT_SECRET"], required=False),
)
app = realtime.asgi()
