"""Live sessions: which sessions receive the batches of which channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from flowcraft.core.hub_effects import SessionId
from flowcraft.records import family_of

_K = TypeVar("_K")
_V = TypeVar("_V")


class LiveSessions:
    """The live subscriptions, by session and by channel."""

    # Dicts with None as value are ordered sets: the order of fan-out must not depend on hashing, which for
    # strings differs from process to process.

    def __init__(self) -> None:
        self.channels: dict[SessionId, dict[str, None]] = {}
        """The channels of each session; a session that is connected has an entry."""
        self.sessions: dict[str, dict[SessionId, None]] = {}
        """The sessions of each channel that has any."""
        self.families: dict[str, dict[str, None]] = {}
        """The channels that have sessions, by the reserved channel of their family."""
        self._subscribers: Counter[str] = Counter()

    def family_count(self, prefix: str) -> int:
        """Return how many subscriptions the channels of a prefix have."""
        return self._subscribers[prefix]

    def begin(self, session: SessionId, channels: Iterable[str]) -> None:
        """Make a session live on channels; a no-op for those on which it is."""
        own = self.channels[session]
        for channel in channels:
            if channel not in own:
                self._subscribers[_prefix(channel)] += 1
                own[channel] = None
            sessions = self.sessions.get(channel)
            if sessions is None:
                sessions = self.sessions[channel] = {}
                self.families.setdefault(family_of(channel) or channel, {})[channel] = None
            sessions[session] = None

    def end(self, session: SessionId, channel: str) -> None:
        """End a subscription; a no-op for one that is not live."""
        own = self.channels.get(session, {})
        if channel not in own:
            return
        del own[channel]
        self._subscribers[_prefix(channel)] -= 1
        discard(self.sessions, channel, session)
        if channel not in self.sessions:
            discard(self.families, family_of(channel) or channel, channel)

    def end_all(self, session: SessionId) -> dict[str, None]:
        """End every subscription of a session; return its channels."""
        channels = dict(self.channels.get(session, {}))
        for channel in channels:
            self.end(session, channel)
        return channels


def discard(index: dict[_K, dict[_V, None]], key: _K, entry: _V) -> None:
    """Remove an entry of an index, and its key with the last one."""
    entries = index.get(key)
    if entries is not None:
        entries.pop(entry, None)
        if not entries:
            del index[key]


def _prefix(channel: str) -> str:
    return channel.partition(".")[0]
