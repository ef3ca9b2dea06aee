"""`python -m tests.e2e.on_uvicorn module:app port`: uvicorn, which prints a line once it listens."""

from __future__ import annotations

import asyncio
import sys

import uvicorn


class Announced(uvicorn.Server):
    """Prints that it listens: uvicorn's own line depends on the configuration of logs."""

    async def startup(self, *args: object, **kwargs: object) -> None:
        """Start, then print."""
        await super().startup(*args, **kwargs)  # type: ignore[arg-type]
        print("listening", flush=True)


if __name__ == "__main__":
    config = uvicorn.Config(sys.argv[1], port=int(sys.argv[2]), log_level="error")
    asyncio.run(Announced(config).serve())
