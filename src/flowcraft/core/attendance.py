"""Attendance: the members that one node has through its sessions, and what of them is to be written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

SessionId: TypeAlias = int


class Seat(NamedTuple):
    """A member of a channel, by the JSON of its key."""

    channel: str
    key: str


class Change(NamedTuple):
    """A member as a node has it now; `info` is its JSON, None once it has left."""

    channel: str
    key: str
    info: str | None


@dataclass(slots=True)
class _Member:
    info: str
    sessions: dict[SessionId, None] = field(default_factory=dict[SessionId, None])
    leaves_at: float | None = None
    """When it has left, if no session comes back until then."""


class Attendance:
    """The members of one node, and which of them the database does not have as they are.

    A member stays for the grace after its last session: a page that is reloaded comes back before. Time is
    an argument, monotonic, in seconds.
    """

    def __init__(self, *, grace_seconds: float) -> None:
        self._grace = grace_seconds
        self._members: dict[Seat, _Member] = {}
        self._seats: dict[SessionId, dict[str, str]] = {}
        """The key of each session's member by channel."""
        self._written: dict[Seat, str] = {}
        self._unwritten: dict[Seat, None] = {}
        self._leaving: dict[Seat, None] = {}
        """The members without a session, those first that leave first."""
        self._is_whole = True
        """Whether everything is to be written again, in the place of whatever this node has written."""
        self._is_frozen = False

    def __len__(self) -> int:
        return len(self._members)

    def join(self, session: SessionId, channel: str, key: str, info: str, now: float) -> None:
        """Have a session be present as a member; as another than before, if it was present already."""
        if self._seats.get(session, {}).get(channel, key) != key:
            self.leave(session, channel, now)
        self._seats.setdefault(session, {})[channel] = key
        seat = Seat(channel, key)
        member = self._members.setdefault(seat, _Member(info))
        member.sessions[session] = None
        member.info, member.leaves_at = info, None
        self._leaving.pop(seat, None)
        self._note(seat)

    def leave(self, session: SessionId, channel: str, now: float) -> None:
        """End the presence of a session on a channel; a no-op if there is none, or after `freeze`."""
        key = self._seats.get(session, {}).get(channel)
        if key is None or self._is_frozen:
            return
        del self._seats[session][channel]
        if not self._seats[session]:
            del self._seats[session]
        seat = Seat(channel, key)
        member = self._members[seat]
        del member.sessions[session]
        if not member.sessions:
            member.leaves_at = now + self._grace
            self._leaving[seat] = None

    def end(self, session: SessionId, now: float) -> None:
        """End the presence of a session everywhere."""
        for channel in tuple(self._seats.get(session, ())):
            self.leave(session, channel, now)

    def freeze(self) -> None:
        """Let no member leave any more: its page comes back on another node, or its lease ends."""
        self._is_frozen = True

    def doubt(self, now: float) -> None:
        """Have everything written again: what the database has of this node is not known.

        Pages that were gone meanwhile could not come back: they have the grace once more.
        """
        self._is_whole = True
        self._written.clear()
        self._unwritten.clear()
        for seat in self._leaving:
            self._members[seat].leaves_at = now + self._grace

    @property
    def is_whole(self) -> bool:
        """Whether the next changes are all members, and take the place of all that this node has written."""
        return self._is_whole

    def due_at(self) -> float | None:
        """Return when there is something to write; None if no time is known."""
        if self._is_whole or self._unwritten:
            return float("-inf")
        first = next(iter(self._leaving), None)
        return None if first is None or self._is_frozen else self._members[first].leaves_at

    def changes(self, now: float) -> list[Change]:
        """Return what is to be written now; call `wrote` once it is, or `doubt` if that is not known."""
        for seat in self._gone(now):
            del self._leaving[seat], self._members[seat]
            self._note(seat)
        seats: Iterable[Seat] = self._members if self._is_whole else self._unwritten
        return [Change(*seat, self._info(seat)) for seat in seats]

    def wrote(self, changes: Sequence[Change]) -> None:
        """Take note that changes are committed."""
        self._is_whole = False
        for channel, key, info in changes:
            seat = Seat(channel, key)
            if info is None:
                self._written.pop(seat, None)
            else:
                self._written[seat] = info
            self._note(seat)

    def _gone(self, now: float) -> list[Seat]:
        gone: list[Seat] = []
        for seat in self._leaving:
            leaves_at = self._members[seat].leaves_at
            if self._is_frozen or leaves_at is None or leaves_at > now:
                break
            gone.append(seat)
        return gone

    def _info(self, seat: Seat) -> str | None:
        member = self._members.get(seat)
        return None if member is None else member.info

    def _note(self, seat: Seat) -> None:
        """Remember a member that the database does not have as it is, or forget it if it has."""
        if self._info(seat) == self._written.get(seat):
            self._unwritten.pop(seat, None)
        else:
            self._unwritten[seat] = None


class Leases:
    """Which nodes have ended: those whose beat did not change for a lease, by the clock of this reader.

    A beat is a counter, so no clock of another machine counts. A reader that did not read for a while has
    not seen the beats of that time: it begins again, and finds no node ended before it has read for a whole
    lease.
    """

    def __init__(self, *, lease_seconds: float, gap_seconds: float) -> None:
        self._lease = lease_seconds
        self._gap = gap_seconds
        self._seen: dict[str, tuple[int, float]] = {}
        self._read_at = float("-inf")

    def read(self, beats: Mapping[str, int], now: float) -> dict[str, int]:
        """Take the beats of all other nodes; return those that have ended, with their last beat."""
        if now - self._read_at > self._gap:
            self._seen.clear()
        self._read_at = now
        for node in self._seen.keys() - beats.keys():
            del self._seen[node]
        for node, beat in beats.items():
            if node not in self._seen or self._seen[node][0] != beat:
                self._seen[node] = beat, now
        return {node: beat for node, (beat, since) in self._seen.items() if now - since >= self._lease}
