"""An ASGI application on uvicorn, for as long as orders come: ours and those of several peers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn

from benchmarks.fanout.control import Go, obey, ports


async def serve(app: Callable[..., Any], go: Go, ws: type[asyncio.Protocol] | str = "auto") -> None:
    """Serve until the orders end; `ws` is uvicorn's."""
    port, control = ports()
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="critical", backlog=4096, ws=ws, ws_ping_interval=None
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # it has no event for this
        await asyncio.sleep(0.01)
    await obey(control, go)
    server.should_exit = server.force_exit = True
    await serving
