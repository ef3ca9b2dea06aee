"""Rates: token buckets for what one client may send."""

from __future__ import annotations

import msgspec

from flowcraft.settings import Settings

_MOST_BYTES_AT_ONCE = 4 * 1024 * 1024
FEWEST_NAMES = 256
"""A request may have so many names, whatever the settings are."""
_TOKENS_PER_SECOND, _TOKENS_AT_ONCE = 1.0, 16
"""Each token costs a signature check, and questions to the guards of all subscriptions."""


class Bucket(msgspec.Struct, gc=False):  # each client has one or more: made in a tenth of a class's time
    """Lets `rate` units a second pass, and `burst` at once after a pause. Times are monotonic, in seconds."""

    rate: float
    burst: float
    taken: float = 0.0
    """Units that are missing from a full bucket."""
    at: float = 0.0
    """When some were taken out the last time."""

    def take(self, units: float, now: float) -> bool:
        """Take units out; return False, and take none, if fewer are left."""
        taken = self.taken
        if taken > 0:
            taken = max(0.0, taken - self.rate * max(0.0, now - self.at))
        self.at = now
        is_enough = taken + units <= self.burst
        self.taken = taken + units if is_enough else taken
        return is_enough


class ClientRates(msgspec.Struct, gc=False):
    """The buckets of one client, made at their first use: many clients send nothing, or only a token."""

    _settings: Settings
    _bytes: Bucket | None = None
    _messages: Bucket | None = None
    _tokens: Bucket | None = None
    _joins: Bucket | None = None

    def excess_of_bytes(self, size: int, now: float) -> str | None:
        """Count the bytes of one message; return which rate it exceeds, None if none."""
        if self._bytes is None:
            longest = 64 * self._settings.message_bytes
            self._bytes = Bucket(self._settings.received_bytes_per_second, max(_MOST_BYTES_AT_ONCE, longest))
        if self._bytes.take(size, now):
            return None
        return f"at most {self._settings.received_bytes_per_second:g} bytes a second"

    def excess_of_messages(self, now: float, *, is_auth: bool) -> str | None:
        """Count one frame; return which rate it exceeds, None if none."""
        if is_auth:
            if self._tokens is None:
                self._tokens = Bucket(_TOKENS_PER_SECOND, _TOKENS_AT_ONCE)
            return None if self._tokens.take(1, now) else f"at most {_TOKENS_PER_SECOND:g} token a second"
        if self._messages is None:
            self._messages = Bucket(self._settings.messages_per_second, self._settings.messages_at_once)
        if self._messages.take(1, now):
            return None
        return f"at most {self._settings.messages_per_second:g} messages a second"

    def excess_of_joins(self, names: int, now: float) -> str | None:
        """Count subscriptions to so many channels; return which rate they exceed, None if none."""
        if self._joins is None:
            self._joins = Bucket(self._settings.joins_per_second, names_per_message(self._settings))
        if self._joins.take(names, now):
            return None
        return f"at most {self._settings.joins_per_second:g} subscriptions a second"


def names_per_message(settings: Settings) -> int:
    """Return the most names of one request: twice the subscriptions that a connection may have."""
    return max(FEWEST_NAMES, 2 * settings.channels_per_connection)
