"""Telemetry: time each batch from the log to the sockets, and report deliveries to a tracer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from flowcraft.channels import Channels
from flowcraft.core.hub import Deliver, Effect
from flowcraft.core.report import CommitDelay, Counts
from flowcraft.ports import Clock, Tracer
from flowcraft.records import Batch, Kind, Record
from flowcraft.runtime.isolation import Isolation


class Telemetry:
    """The measurements of one node, made once for each read: recipients cost nothing here.

    The delay of a batch ends when the kernel, or the outbox of a slow client, has the messages of its last
    recipient. All events of a batch count with the delay of the oldest; events without a subscriber on this
    node do not count.
    """

    def __init__(
        self,
        channels: Channels,
        counts: Counts,
        clock: Clock,
        tracer: Tracer | None,
        isolation: Isolation,
    ) -> None:
        self._channels = channels
        self._isolation = isolation
        self._counts = counts
        self._clock = clock
        self._tracer = tracer
        self._commit_delay = CommitDelay()
        self._began = 0.0
        self._writing: Batch | None = None
        self._waited = 0.0
        self._subscribed = 0
        self._recipients: Counter[int] = Counter()

    def reading(self) -> None:
        """Note that a read of the log begins."""
        self._began = self._clock.monotonic()

    def begun(self, start: Batch) -> None:
        """Start from a position that does not continue the last one."""
        self._commit_delay.begin(start)

    def read(self, batch: Batch, subscribed: int, effects: Iterable[Effect]) -> None:
        """Note a batch, how many of its events have subscribers here, and the hub's effects."""
        self._counts.reads += 1
        self._counts.events += len(batch.records)
        self._waited = self._commit_delay.of(batch)
        self._writing, self._subscribed = (batch, subscribed) if subscribed else (None, 0)
        self._recipients.clear()
        if self._tracer is not None and any(record.trace for record in batch.records):
            for effect in effects:
                if isinstance(effect, Deliver):
                    self._recipients.update({record.id: len(effect.to) for record in effect.records})

    def written(self) -> None:
        """Note that the batch has been written to all recipients."""
        batch, self._writing = self._writing, None
        if batch is None:
            return
        seconds = self._clock.monotonic() - self._began
        self._counts.commit_delay.observe(self._waited + seconds, self._subscribed)
        if self._recipients:
            self._report(batch.records, seconds)

    def _report(self, records: Iterable[Record], seconds: float) -> None:
        for record in records:
            recipients = self._recipients[record.id]
            if record.kind is Kind.EVENT and record.trace and recipients and self._tracer is not None:
                with self._isolation.guard("telemetry", f"tracing event {record.id} on {record.channel}"):
                    family = self._channels.resolve(record.channel)[0].name
                    self._tracer.delivered(record, family, recipients, seconds)
