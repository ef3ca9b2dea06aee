"""The Starlette loop as an application for any ASGI server."""

from __future__ import annotations

from benchmarks.fanout.hosted import loop

app = loop()
