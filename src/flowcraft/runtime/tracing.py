"""Tracing: report the delivery of events that have a trace to the tracer of the application."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from flowcraft.channels import Channels
from flowcraft.core.hub_effects import Deliver, Effect
from flowcraft.ports import Tracer
from flowcraft.records import Batch, Kind
from flowcraft.runtime.isolation import Isolation


class Tracing:
    """Reports each event once per node, with how many recipients it had."""

    def __init__(self, tracer: Tracer, channels: Channels, isolation: Isolation) -> None:
        self._tracer = tracer
        self._channels = channels
        self._isolation = isolation
        self._recipients: Counter[int] = Counter()

    def read(self, effects: Iterable[Effect]) -> None:
        """Note the recipients of the events of a batch."""
        self._recipients.clear()
        for effect in effects:
            if isinstance(effect, Deliver):
                self._recipients.update({record.id: len(effect.to) for record in effect.records})

    def written(self, batch: Batch, seconds: float) -> None:
        """Report the events of the batch that was read last; it has been written to all recipients."""
        for record in batch.records:
            recipients = self._recipients[record.id]
            if record.kind is Kind.EVENT and record.trace and recipients:
                with self._isolation.guard("telemetry", f"tracing event {record.id} on {record.channel}"):
                    family = self._channels.resolve(record.channel)[0].name
                    self._tracer.delivered(record, family, recipients, seconds)
