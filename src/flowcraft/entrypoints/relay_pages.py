"""Relay pages: `/healthz`, `/readyz` and `/metrics` of a relay, for probes and Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import get_args

import msgspec

from flowcraft.adapters import http
from flowcraft.adapters.http import HttpAnswer
from flowcraft.adapters.nats.messages import LogAsk, PresenceAsk
from flowcraft.entrypoints.relaying import RelayReport, RelayServer

REQUEST_SECONDS = 5.0
QUESTIONS = (*get_args(LogAsk), *get_args(PresenceAsk))
"""The kinds of questions, each of which has a series of its own from the start."""


class RelayPages:
    """A server of plain HTTP for a port that is private: it answers one request a connection."""

    def __init__(self, relay: RelayServer) -> None:
        self._relay = relay

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Listen.

        Raises:
            OSError: the port is taken, or may not be used.
        """
        return await asyncio.start_server(self._serve, host, port, limit=8192)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A head that is too long or too slow, or a client that is gone, ends its own connection only.
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                status, kind, content = self._page(head.split(b" ", 2)[1] if head.count(b" ") > 1 else b"")
                writer.write(http.response(status, content, kind))
                await writer.drain()
        writer.close()

    def _page(self, path: bytes) -> HttpAnswer:
        match path.partition(b"?")[0]:
            case b"/healthz":
                return 200, "text/plain", "ok\n"
            case b"/readyz":
                report = self._relay.report()
                return (
                    (200 if report.ready else 503),
                    "application/json",
                    f"{msgspec.json.encode(report).decode()}\n",
                )
            case b"/metrics":
                return 200, "text/plain; version=0.0.4", metrics_of(self._relay.report())
            case _:
                return 404, "text/plain", "no page here; see /healthz, /readyz and /metrics\n"


def metrics_of(report: RelayReport) -> str:
    """Return the page for Prometheus."""
    lag = "NaN" if report.seconds_since_read is None else f"{report.seconds_since_read:.3f}"
    stream = "NaN" if report.stream is None else int(report.stream)
    rows: tuple[tuple[str, str, str, Mapping[str, object]], ...] = (
        ("leading", "gauge", "1 while this relay publishes", {"": int(report.state == "leading")}),
        ("edges", "gauge", "Edges that have sent a nonce lately", {"": report.edges}),
        ("lag_seconds", "gauge", "Time since the last read of the log", {"": lag}),
        ("published_batches_total", "counter", "Batches published in this term", {"": report.published}),
        ("stream", "gauge", "1 while JetStream keeps what is published; NaN without a stream", {"": stream}),
        (
            "answers_total",
            "counter",
            "Questions of edges answered in this term",
            {f'{{ask="{ask}"}}': report.answered.get(ask, 0) for ask in QUESTIONS},
        ),
    )
    return "".join(
        f"# HELP flowcraft_relay_{name} {text}\n# TYPE flowcraft_relay_{name} {kind}\n"
        + "".join([f"flowcraft_relay_{name}{labels} {value}\n" for labels, value in values.items()])
        for name, kind, text, values in rows
    )
