"""An API process: `DATABASE_URL=postgresql://… PORT=8000 python -m examples.flowcraft.api`."""

from __future__ import annotations

import asyncio
import os

from examples.flowcraft.api.main import create_app
from examples.flowcraft.api.serve import bind, serving
from examples.flowcraft.api.stop import until_stopped


async def serve(dsn: str, port: int) -> None:
    """Serve until cancelled."""
    async with serving(create_app(dsn), bind(port)):
        await asyncio.Event().wait()


asyncio.run(until_stopped(serve(os.environ["DATABASE_URL"], int(os.environ.get("PORT", "8000")))))
