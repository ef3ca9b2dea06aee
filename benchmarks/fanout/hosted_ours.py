"""Ours as an application for any ASGI server; Daphne takes no factory."""

from __future__ import annotations

from benchmarks.fanout.hosted import ours

app = ours()
