"""EphemeralNotifications: events that a NOTIFY itself carries, checked before they are delivered.

Every role of the database can send any NOTIFY, and read those of others. So an event of
`flowcraft.broadcast_ephemeral` has a check value, whose key only that function and the server's role can
read, and a number, by which none is delivered a second time. A `Notify` source is another program's NOTIFY,
which any role can send. None of both may pass for a committed event: durable channels are refused, and a
payload that does not fit the declared type is counted, not delivered.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from flowcraft.channels import Channels
from flowcraft.declarations import Declaration, Notify
from flowcraft.records import Ephemeral

logger = logging.getLogger(__name__)

EPHEMERAL_TOPIC = "flowcraft_ephemeral"


class _EphemeralNotification(msgspec.Struct, frozen=True):
    channel: str
    payload: msgspec.Raw
    n: int = 0


_CHECK = '"check":"'


@dataclass(frozen=True, slots=True, repr=False)
class EphemeralKey:
    """The key of the check values, as `flowcraft.ephemeral_key` returns it."""

    inner: bytes
    outer: bytes

    def is_check_of(self, check: str, message: bytes) -> bool:
        """Return whether this is the check value of a message."""
        wanted = hashlib.sha256(self.outer + hashlib.sha256(self.inner + message).digest()).hexdigest()[:32]
        return hmac.compare_digest(check.encode(), wanted.encode())


class EphemeralNumbers:
    """The numbers of the events that were delivered: each counts once.

    An event that commits after one whose number is greater by a multiple of `span` is dropped.
    """

    span = 16_384  # 128 KiB

    def __init__(self, newest: int) -> None:
        self._taken = array("q", [newest]) * self.span

    def take(self, number: int) -> bool:
        """Take a number; return whether it was not taken before, nor drawn before the first."""
        place = number % self.span
        is_new = self._taken[place] < number
        if is_new:
            self._taken[place] = number
        return is_new


_decode = msgspec.json.Decoder(_EphemeralNotification).decode
_decode_object = msgspec.json.Decoder(dict[str, object]).decode


class EphemeralNotifications:
    """Turns notifications into ephemeral events. `rejected` counts those that it did not deliver."""

    def __init__(self, channels: Channels, deliver: Callable[[Ephemeral], None]) -> None:
        self.rejected = 0
        self._key: EphemeralKey | None = None
        self._is_checked = True
        self._numbers = EphemeralNumbers(0)
        self._channels = channels
        self._deliver = deliver
        self._sources = dict(_sources(channels))

    @property
    def topics(self) -> list[str]:
        """The names to LISTEN to."""
        return [EPHEMERAL_TOPIC, *self._sources]

    def trust(self, key: EphemeralKey | None, newest: int, *, begin: bool) -> None:
        """Deliver the events whose check value this key makes.

        To `begin`, and with another key, only those with a number after the newest are delivered.
        """
        if begin or key != self._key:
            self._numbers = EphemeralNumbers(newest)
        self._key, self._is_checked = key, True

    def trust_all(self) -> None:
        """Deliver events without a check value: the log is from before there was one."""
        self._is_checked = False

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
            broadcast = self._proven(payload)
            yield self._checked(broadcast.channel, bytes(broadcast.payload).decode(), broadcast.n)
        for declaration in self._sources.get(topic, ()):
            yield self._checked(_channel_of(declaration, payload), payload)

    def _proven(self, text: str) -> _EphemeralNotification:
        before, _, check = text.rpartition(_CHECK)
        if self._is_checked:
            if self._key is None:
                raise PermissionError("the key of ephemeral events is not known")
            if not self._key.is_check_of(check.removesuffix('"}'), before.removesuffix(",").encode()):
                raise PermissionError("its check value is not of flowcraft.broadcast_ephemeral")
        broadcast = _decode(text)
        if self._is_checked and not self._numbers.take(broadcast.n):
            raise PermissionError(
                f"number {broadcast.n} was delivered before, or drawn before this server began"
            )
        return broadcast

    def _checked(self, channel: str, payload: str, number: int = 0) -> Ephemeral:
        declaration, _ = self._channels.resolve(channel)
        if declaration.durable:
            raise ValueError(f"channel {declaration.name} is durable; its events come from the log only")
        return Ephemeral(channel, declaration.payload.check(payload), number)


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
