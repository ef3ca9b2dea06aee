"""An application for `uvicorn tests.support.on_uvicorn:app`: ours behind middleware, on a log in memory.

`GET /emit` commits 40 events of 200 KB: more than kernels hide.
"""

from __future__ import annotations

import json
import os

from flowcraft.adapters.asgi import Receive, Scope, Send, answer_http
from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.settings import Settings
from tests.support.carriers import Started, wrapping

EVENTS = 40
started = Started(Settings(drain_seconds=float(os.environ["DRAIN_SECONDS"]), outbox_bytes=64 * 1024 * 1024))


async def emit(scope: Scope, receive: Receive, send: Send) -> None:
    """Commit them, whatever is asked for; it knows no lifespan."""
    assert scope["type"] == "http"
    for n in range(EVENTS):
        started.log.broadcast("ping_update", json.dumps({"n": n, "pad": "x" * 200_000}))
    await answer_http(send, 200, "committed\n")


app = wrapping(RealtimeApp(started, emit, "/live"))
