"""The members of channels in memory, with the guarantees of those in PostgreSQL."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowcraft.core.attendance import Change, Seat
from flowcraft.declarations import MEMBER_KEY
from flowcraft.records import Kind
from flowcraft.settings import MEMBERS_LISTED

if TYPE_CHECKING:
    from flowcraft.adapters.memory import MemoryLog

_COUNT_SECONDS = 0.9
"""The least time between two counts of a channel, as in PostgreSQL."""


@dataclass(slots=True)
class MemoryCount:
    """A channel whose members are counted: how many, and what subscribers were sent last, and when."""

    listed: int
    members: int
    sent: int
    sent_at: float


@dataclass(slots=True)
class MemoryAttendance:
    """The beats of the nodes, and for each member its JSON by node, the last one last."""

    beats: dict[str, int] = field(default_factory=dict[str, int])
    members: dict[Seat, dict[str, str]] = field(default_factory=dict[Seat, dict[str, str]])
    counts: dict[str, MemoryCount] = field(default_factory=dict[str, MemoryCount])

    def shown(self, channel: str) -> tuple[tuple[str, ...], int]:
        """Return the members of a channel; where they are counted, none, and their number."""
        if channel in self.counts:
            return (), self.counts[channel].members
        return tuple(
            [[*infos.values()][-1] for seat, infos in self.members.items() if seat.channel == channel]
        ), 0


class MemoryMembers:
    """The members of channels in memory, one for all processes that the log stands for.

    A channel with more than `listed` members has a count in the place of their list.
    """

    def __init__(self, log: MemoryLog, *, listed: int = MEMBERS_LISTED) -> None:
        self._log = log
        self._listed = listed
        self._stored = log.attendance

    async def beat(self, node: str) -> Mapping[str, int]:
        beats = self._stored.beats
        beats[node] = beats.get(node, 0) + 1
        return dict(beats)

    async def attend(self, node: str, changes: Sequence[Change], *, whole: bool) -> bool:
        if node not in self._stored.beats:
            return False
        given = {Seat(channel, key): info for channel, key, info in changes}
        if whole:
            given |= {seat: None for seat in self._seats_of({node}) if seat not in given}
        before = {seat: self._shown(seat) for seat in given}
        for seat, info in given.items():
            infos = self._stored.members.setdefault(seat, {})
            if infos.get(node) != info:
                infos.pop(node, None)
                if info is not None:
                    infos[node] = info
        self._write(before)
        return True

    async def forget(self, beats: Mapping[str, int]) -> Sequence[str]:
        ended = {node for node, beat in beats.items() if self._stored.beats.get(node) == beat}
        before = {seat: self._shown(seat) for seat in self._seats_of(ended)}
        for node in ended:
            del self._stored.beats[node]
        for seat in before:
            infos = self._stored.members[seat]
            for node in ended & infos.keys():
                del infos[node]
        self._write(before)
        return sorted(ended)

    def _seats_of(self, nodes: set[str]) -> list[Seat]:
        return [seat for seat, infos in self._stored.members.items() if nodes & infos.keys()]

    def _shown(self, seat: Seat) -> str | None:
        return next(reversed(self._stored.members.get(seat, {}).values()), None)

    def _write(self, before: Mapping[Seat, str | None]) -> None:
        changed = {seat: self._shown(seat) for seat, info in before.items() if self._shown(seat) != info}
        for seat in before:
            if not self._stored.members[seat]:
                del self._stored.members[seat]
        resets = self._count({seat: before[seat] for seat in changed})
        due = self._due()
        if not changed and not due:
            return
        transaction = self._log.begin()
        for channel in resets:
            transaction.broadcast(channel, json.dumps({"reason": "redeclared"}), Kind.RESET)
        for channel, count in due.items():
            transaction.broadcast(channel, json.dumps({"count": count}), Kind.COUNT)
        for (channel, key), info in changed.items():
            if channel in resets or channel in self._stored.counts:
                continue
            if info is None:
                transaction.broadcast(channel, json.dumps({MEMBER_KEY: json.loads(key)}), Kind.GONE)
            else:
                transaction.broadcast(channel, info)
        transaction.commit()

    def _count(self, changed: Mapping[Seat, str | None]) -> set[str]:
        """Count again the channels of these members; return those whose list begins or ends."""
        counts, resets = self._stored.counts, set[str]()
        for channel in {seat.channel for seat in changed}:
            members = sum([seat.channel == channel for seat in self._stored.members])
            counted = counts.get(channel)
            if counted is None:
                if members > self._listed:
                    counts[channel] = MemoryCount(self._listed, members, members, time.monotonic())
                    resets.add(channel)
            elif members * 5 <= counted.listed * 4:
                del counts[channel]
                resets.add(channel)
            else:
                counted.members = members
        return resets

    def _due(self) -> dict[str, int]:
        """Return the counts to be sent now."""
        due, now = dict[str, int](), time.monotonic()
        for channel, count in self._stored.counts.items():
            if count.members != count.sent and now - count.sent_at > _COUNT_SECONDS:
                count.sent, count.sent_at = count.members, now
                due[channel] = count.members
        return due
