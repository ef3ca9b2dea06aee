"""EphemeralNotifications: events that a NOTIFY itself carries, checked before they are delivered.

Every role of the database can send any NOTIFY. So none of these events may pass for a committed one: durable
channels are refused, and a payload that does not fit the declared type is counted, not delivered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import msgspec

from flowcraft.channels import Channels, Declaration, Notify
from flowcraft.records import Ephemeral

logger = logging.getLogger(__name__)

EPHEMERAL_TOPIC = "flowcraft_ephemeral"


class _EphemeralNotification(msgspec.Struct, frozen=True):
    channel: str
    payload: msgspec.Raw


_decode = msgspec.json.Decoder(_EphemeralNotification).decode
_decode_object = msgspec.json.Decoder(dict[str, object]).decode


class EphemeralNotifications:
    """Turns notifications into ephemeral events. `rejected` counts those that it did not deliver."""

    def __init__(self, channels: Channels, deliver: Callable[[Ephemeral], None]) -> None:
        self.rejected = 0
        self._channels = channels
        self._deliver = deliver
        self._sources = dict(_sources(channels))

    @property
    def topics(self) -> list[str]:
        """The names to LISTEN to."""
        return [EPHEMERAL_TOPIC, *self._sources]

    def accept(self, topic: str, payload: str) -> None:
        """Deliver the events of one notification, or count it as rejected."""
        try:
            for event in list(self._events(topic, payload)):
                self._deliver(event)
        except Exception as error:  # noqa: BLE001  # counted; any role may send anything
            self.rejected += 1
            # At 1, 2, 4, 8 … rejected ones: a flood does not fill the log file. The payload is never logged.
            if self.rejected & (self.rejected - 1) == 0:
                reason = type(error).__name__
                logger.warning("notification on %s rejected (%s), %d so far", topic, reason, self.rejected)

    def _events(self, topic: str, payload: str) -> Iterator[Ephemeral]:
        if topic == EPHEMERAL_TOPIC:
            broadcast = _decode(payload)
            yield self._checked(broadcast.channel, bytes(broadcast.payload).decode())
        for declaration in self._sources.get(topic, ()):
            yield self._checked(_channel_of(declaration, payload), payload)

    def _checked(self, channel: str, payload: str) -> Ephemeral:
        declaration, _ = self._channels.resolve(channel)
        if declaration.durable:
            raise ValueError(f"channel {declaration.name} is durable; its events come from the log only")
        return Ephemeral(channel, declaration.payload.check(payload))


def _sources(channels: Channels) -> Iterator[tuple[str, list[Declaration]]]:
    by_topic: dict[str, list[Declaration]] = {}
    for declaration in channels:
        for source in declaration.sources:
            if isinstance(source, Notify):
                by_topic.setdefault(source.name, []).append(declaration)
    yield from by_topic.items()


def _channel_of(declaration: Declaration, payload: str) -> str:
    parameter = declaration.parameter
    if parameter is None:
        return declaration.name
    value = _decode_object(payload).get(parameter.name)
    return f"{declaration.prefix}.{parameter.parse(str(value))}"
