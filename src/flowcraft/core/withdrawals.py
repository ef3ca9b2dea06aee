"""Withdrawals: records that end rights to channels, in commit order."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

RESERVED = "*"
"""The channel of withdrawals; it is outside the grammar, so no client can subscribe to it."""


class _Content(msgspec.Struct):
    viewer: str | None = None
    channel: str | None = None
    ask: bool = False


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Ends subscriptions of a viewer, or has their guards asked again.

    Without `viewer` it concerns every viewer, without `channel` every channel; `teams.*` is a whole family.
    """

    viewer: str | None
    channel: str | None
    ask: bool
    """Whether guards are asked again, and decide; otherwise the subscriptions end."""

    @classmethod
    def parse(cls, payload: str) -> Withdrawal:
        """Parse the payload of a record. One that is malformed has every guard asked again."""
        try:
            content = msgspec.json.decode(payload, type=_Content)
        except msgspec.DecodeError:
            return EVERYTHING
        return cls(content.viewer, content.channel, content.ask)

    def concerns(self, channel: str) -> bool:
        """Return whether a channel is among those of this withdrawal."""
        mine = self.channel
        return mine is None or mine == channel or (mine.endswith(".*") and channel.startswith(mine[:-1]))


EVERYTHING = Withdrawal(None, None, ask=True)
"""After a jump in the log, which may have had any withdrawal."""


def encode_withdrawal(withdrawal: Withdrawal) -> str:
    """Return the payload of the record."""
    content = _Content(withdrawal.viewer, withdrawal.channel, withdrawal.ask)
    return msgspec.json.encode(content).decode()
