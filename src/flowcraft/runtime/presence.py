"""Presence: have the viewers of one node be members of the channels on which they are present."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import cast
from uuid import uuid4

import msgspec

from flowcraft.channels import Channels
from flowcraft.core.attendance import Attendance, Leases, SessionId
from flowcraft.declarations import MEMBER_KEY, Declaration
from flowcraft.errors import PayloadInvalid
from flowcraft.ports import Clock, MemberStore
from flowcraft.runtime.decisions import outcome_of
from flowcraft.runtime.isolation import Isolation
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer

logger = logging.getLogger(__name__)

COLLECT_SECONDS = 0.05
"""What joins and leaves within this time is written in one statement."""
BEAT_SECONDS = 5.0
COUNT_SECONDS = 1.0
"""After a change, this long, a count that was not due with it is sent."""
LEASE_SECONDS = 15.0
"""A node whose beat stood still for this long has ended, and so have its members."""
MOST_SILENT_SECONDS = 1.5 * BEAT_SECONDS
"""A node that did not read the beats for this long begins to watch them again."""
MEMBER_BYTES = 4096
"""The most bytes of a member's JSON: each change of it goes to every page."""
KEY_BYTES = 256
"""The most bytes of its key's JSON: an index has no room for much more, and one member must not fail all."""


class Presence:
    """Keeps the members of one node: asks who a viewer is, and writes who has come and who has left.

    Its node has a name of its own in the store, and a beat. Of every other node it reads the beat, and
    removes those that have ended; a node that was removed although it lives writes its members again.
    """

    def __init__(
        self,
        store: MemberStore | None,
        channels: Channels,
        *,
        supervisor: Supervisor,
        settings: Settings,
        isolation: Isolation,
        clock: Clock,
    ) -> None:
        """Write nothing yet."""
        self._store = store
        self._channels = channels
        self._supervisor = supervisor
        self._isolation = isolation
        self._clock = clock
        self._seconds = settings.guard_timeout_seconds
        self._node = str(uuid4())
        self._attendance = Attendance(grace_seconds=settings.presence_grace_seconds)
        self._leases = Leases(lease_seconds=LEASE_SECONDS, gap_seconds=MOST_SILENT_SECONDS)
        self._asked: dict[SessionId, dict[str, object]] = {}
        """For each channel that a session has joined, what identifies this time."""
        self._changed = asyncio.Event()
        self._beat_at = float("-inf")
        self._count_at = float("inf")
        self._is_in_doubt = False

    @property
    def is_declared(self) -> bool:
        """Whether a channel has presence, and a store has members."""
        return self._store is not None and any(d.members is not None for d in self._channels)

    def __len__(self) -> int:
        """Return the number of members that this node has, those that are about to leave too."""
        return len(self._attendance)

    def join(self, session: SessionId, viewer: Viewer | None, names: Sequence[str]) -> None:
        """Have a viewer be present on channels of members; it is asked about in a task."""
        if viewer is None or self._store is None:
            return
        for name in names:
            declaration = self._channels.resolve(name)[0].members_of
            if declaration is not None:
                ticket = self._asked.setdefault(session, {})[name] = object()
                asking = self._ask(session, name, ticket, viewer, declaration)
                self._supervisor.spawn(asking, "present")

    def leave(self, session: SessionId, names: Sequence[str]) -> None:
        """End the presence of a session on some channels, with the grace."""
        for name in names:
            self._asked.get(session, {}).pop(name, None)
            self._attendance.leave(session, name, self._clock.monotonic())
        self._changed.set()

    def disconnect(self, session: SessionId) -> None:
        """End the presence of a session, with the grace."""
        if self._asked.pop(session, None) is not None:
            self._attendance.end(session, self._clock.monotonic())
            self._changed.set()

    def freeze(self) -> None:
        """Leave the members to the lease: this node is about to end, and their pages come back elsewhere."""
        self._attendance.freeze()

    async def run(self) -> None:
        """Beat, and write what has changed, until cancelled.

        Raises:
            LogUnavailable: the database cannot be written now; run it again.
        """
        assert self._store is not None
        try:
            while True:
                await self._wait()
                if self._clock.monotonic() >= self._beat_at:
                    await self._beat(self._store)
                await self._write(self._store)
        except BaseException:
            self._beat_at, self._is_in_doubt = float("-inf"), True
            raise

    async def _wait(self) -> None:
        """Wait for the next beat, or until there was something to write for long enough to collect it."""
        now = self._clock.monotonic()
        until = min(self._beat_at, self._count_at, self._attendance.due_at() or float("inf"))
        if until > now:
            with suppress(TimeoutError):
                async with asyncio.timeout(until - now):
                    await self._changed.wait()
        self._changed.clear()
        if self._attendance.due_at() == float("-inf"):
            await asyncio.sleep(COLLECT_SECONDS)

    async def _beat(self, store: MemberStore) -> None:
        beats = dict(await store.beat(self._node))
        now = self._clock.monotonic()
        self._beat_at = now + BEAT_SECONDS
        if beats.pop(self._node) == 1 or self._is_in_doubt:
            self._attendance.doubt(now)
            self._is_in_doubt = False
        ended = self._leases.read(beats, now)
        if ended:
            removed = await store.forget(ended)
            self._count_at = now + COUNT_SECONDS
            logger.info("presence: %d nodes have ended, and their members left", len(removed))

    async def _write(self, store: MemberStore) -> None:
        now = self._clock.monotonic()
        changes, whole = self._attendance.changes(now), self._attendance.is_whole
        if not changes and not whole and now < self._count_at:
            return
        self._count_at = now + COUNT_SECONDS if changes else float("inf")
        if await store.attend(self._node, changes, whole=whole):
            self._attendance.wrote(changes)
            self._isolation.counts.member_writes += len(changes)
        else:
            self._attendance.doubt(self._clock.monotonic())
            self._beat_at = float("-inf")

    async def _ask(
        self, session: SessionId, name: str, ticket: object, viewer: Viewer, declaration: Declaration
    ) -> None:
        async def ask() -> None:
            async with asyncio.timeout(self._seconds):
                member = await _who(declaration, viewer)
            if self._asked.get(session, {}).get(name) is not ticket:
                return
            now = self._clock.monotonic()
            if member is None:
                self._attendance.leave(session, name, now)
            else:
                self._attendance.join(session, name, *_encoded(declaration, member), now)
            self._changed.set()

        failed = await outcome_of(ask)
        if failed is not None:
            self._isolation.report("presence", f"who is shown on {name}", failed)


async def _who(declaration: Declaration, viewer: Viewer) -> object:
    assert declaration.present is not None
    answer = declaration.present(viewer)
    return await cast(Awaitable[object], answer) if inspect.isawaitable(answer) else answer


def _encoded(declaration: Declaration, member: object) -> tuple[str, str]:
    """Return the key of a member and the member, both as JSON.

    Raises:
        TypeError: it is not of the declared type.
        PayloadInvalid: it does not fit its type, or is too large.
    """
    assert declaration.members is not None
    payload = declaration.members.payload
    info = payload.encode(member)
    if len(info.encode()) > MEMBER_BYTES:
        raise PayloadInvalid(str(payload), f"a member has at most {MEMBER_BYTES} bytes of JSON")
    key = msgspec.json.encode(msgspec.json.decode(info)[MEMBER_KEY])
    if len(key) > KEY_BYTES:
        raise PayloadInvalid(str(payload), f"its {MEMBER_KEY} has at most {KEY_BYTES} bytes of JSON")
    return _escaped(key.decode()), _escaped(info)


def _escaped(encoded: str) -> str:
    """Return JSON in ASCII: a database may have an encoding without some letter of a name.

    All members of a statement would fail with it. Only texts have other letters.
    """
    return (
        encoded
        if encoded.isascii()
        else "".join([c if c.isascii() else json.dumps(c)[1:-1] for c in encoded])
    )
