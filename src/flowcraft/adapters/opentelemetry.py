"""OpenTelemetry: continue the trace of a broadcast in the server that delivers its event."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flowcraft._version import __version__

if TYPE_CHECKING:
    from flowcraft.ports import Tracer
    from flowcraft.records import Record


def find_tracer() -> Tracer | None:
    """Return a tracer if OpenTelemetry is installed; the application configures what becomes of its spans."""
    try:
        return OpenTelemetryTracer()
    except ImportError:
        return None


class OpenTelemetryTracer:
    """A `flowcraft.ports.Tracer` on the application's tracer provider.

    A delivery is a span of kind CONSUMER: one for each record and server process, whatever the number of
    recipients. The span belongs to the trace of the broadcast, links to its span, and holds no payload.

    Raises:
        ImportError: opentelemetry-api is not installed.
    """

    def __init__(self) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._nowhere = Context()
        self._propagator = TraceContextTextMapPropagator()
        self._tracer = trace.get_tracer("flowcraft", __version__)

    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        if self._trace.get_current_span().get_span_context().trace_flags.sampled:
            self._propagator.inject(carrier)
        return carrier.get("traceparent")

    def delivered(self, record: Record, family: str, recipients: int, seconds: float) -> None:
        context = self._propagator.extract({"traceparent": record.trace or ""}, self._nowhere)
        publisher = self._trace.get_current_span(context).get_span_context()
        if not publisher.is_valid:  # the column is free text: any client of the database can write it
            return
        ended = time.time_ns()
        span = self._tracer.start_span(
            f"deliver {family}",
            context,
            self._trace.SpanKind.CONSUMER,
            links=[self._trace.Link(publisher)],
            start_time=ended - int(seconds * 1e9),
            attributes={
                "messaging.system": "flowcraft",
                "messaging.operation.type": "process",
                "messaging.operation.name": "deliver",
                "messaging.destination.name": record.channel,
                "messaging.destination.template": family,
                "messaging.message.id": str(record.id),
                "flowcraft.transaction": str(record.xid),
                "flowcraft.recipients": recipients,
            },
        )
        span.end(ended)
