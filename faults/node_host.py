"""The Node host: real TypeScript clients in a process of their own, driven and overheard line by line."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from faults.histories import Began, History, Received, WasReset
from faults.writers import TRANSIENT
from flowcraft.cursors import Cursor

ROOT = Path(__file__).parents[1]
COMMAND = ("node", "--experimental-websocket", "faults/node/run.mjs")
LONGEST_LINE = 2**24
ENDING_SECONDS = 10.0

Rows: TypeAlias = Mapping[str, int]
Fresh: TypeAlias = Callable[[], Awaitable[Cursor]]
Load: TypeAlias = Callable[[], Awaitable[tuple[Rows, Cursor]]]
Line: TypeAlias = dict[str, Any]


class HostError(Exception):
    """The host has ended, or a client in it could not do what was asked of it."""


@dataclass(frozen=True, slots=True)
class Raced:
    """What became of subscriptions that raced with their end; `late` is what was called after it."""

    rounds: int
    late: int
    calls: int


@dataclass(frozen=True, slots=True)
class Shown:
    """What a channel state shows."""

    data: Rows | None
    fresh: bool


@dataclass(slots=True, eq=False)
class Following:
    """One subscription in the host, and what its handler received."""

    name: str
    history: History
    texts: list[str] = field(default_factory=list[str])
    live: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, eq=False)
class HostState:
    """A channel state in the host, and everything that it has shown."""

    name: str
    load: Load
    shown: list[Shown] = field(default_factory=list[Shown])


class NodeHost:
    """Clients by name, each with subscriptions and channel states. `errors` is what they reported."""

    def __init__(self, process: asyncio.subprocess.Process, fresh: Fresh | None) -> None:
        self.errors: list[str] = []
        self._process = process
        self._fresh = fresh
        self._clients: set[str] = set()
        self._names = itertools.count(1)
        self._followings: dict[str, Following] = {}
        self._states: dict[str, HostState] = {}
        self._answers: dict[str, asyncio.Future[Line]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, *, fresh: Fresh | None = None) -> AsyncIterator[NodeHost]:
        """Start a host; after a reset its subscriptions begin again at the position that `fresh` returns."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *COMMAND, cwd=ROOT, stdin=pipe, stdout=pipe, limit=LONGEST_LINE
        )
        host = cls(process, fresh)
        reader = asyncio.create_task(host._read())
        try:
            yield host
        finally:
            await host._end()
            await reader
            await asyncio.gather(*host._answering)

    async def open_client(self, name: str, url: str, *, linger_ms: int | None = None) -> None:
        """Make a client; it connects with its first subscription."""
        self._clients.add(name)
        await self._send({"open": name, "url": url, "linger": linger_ms})

    async def follow(self, client: str, channel: str, since: Cursor) -> History:
        """Subscribe after a cursor; the history is what the handler receives from there."""
        following = await self._follow(client, channel, since, echo=False)
        return following.history

    async def follow_texts(self, client: str, channel: str) -> Following:
        """Subscribe from wherever the server is, and wait until that is so; `texts` are the payloads."""
        following = await self._follow(client, channel, None, echo=True)
        await following.live.wait()
        return following

    async def drain(self, xid: int, seconds: float = 15.0) -> bool:
        """Wait until every client has received all up to a transaction; whether they did in time."""
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(self.settled(client, xid) for client in self._clients))
        except TimeoutError:
            return False
        return True

    async def settled(self, client: str, xid: int) -> None:
        """Wait until a client knows that it has received all that was committed up to a transaction.

        Raises:
            HostError: the client has stopped.
        """
        answer = await self._ask({"settle": str(xid), "client": client}, "id")
        if "error" in answer:
            raise HostError(answer["error"])

    async def race(self, client: str, channel: str, *, rounds: int, seed: int) -> Raced:
        """Let subscriptions race with their end."""
        answer = await self._ask(
            {"client": client, "channel": channel, "rounds": rounds, "seed": seed}, "race"
        )
        return Raced(answer["rounds"], answer["late"], answer["calls"])

    async def state(self, client: str, channel: str, load: Load) -> HostState:
        """Make a channel state; it asks `load` for rows with their cursor whenever it needs them."""
        state = HostState(self._name(), load)
        self._states[state.name] = state
        await self._send({"state": state.name, "client": client, "channel": channel})
        return state

    async def read(self, state: HostState) -> Shown:
        """What a state shows now."""
        answer = await self._ask({"read": state.name}, "id")
        return Shown(answer["data"], answer["fresh"])

    async def drop(self, state: HostState) -> None:
        """End a state."""
        del self._states[state.name]
        await self._send({"drop": state.name})

    async def _follow(self, client: str, channel: str, since: Cursor | None, *, echo: bool) -> Following:
        name = self._name()
        following = Following(name, History(client, channel, [Began(since)] if since else []))
        self._followings[name] = following
        command = {"follow": name, "client": client, "channel": channel, "echo": echo}
        await self._send({**command, "since": str(since) if since else None})
        return following

    def _name(self) -> str:
        return str(next(self._names))

    async def _ask(self, command: Line, key: str) -> Line:
        """Send a command under a name of its own, and wait for the answer to it."""
        name = self._name()
        self._answers[name] = asyncio.get_running_loop().create_future()
        await self._send({**command, key: name})
        return await self._answers[name]

    async def _send(self, command: Line) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            await self._process.stdin.drain()
        except ConnectionError as error:
            raise HostError("the host has ended") from error

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._take(json.loads(line))
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(HostError("the host has ended"))

    def _take(self, line: Line) -> None:
        match line:
            case {"settled": name} | {"raced": name} | {"answer": name}:
                self._answers.pop(name).set_result(line)
            case {"load": name} | {"shown": name}:
                if name in self._states:
                    self._take_of_state(self._states[name], line)
            case {"error": error}:
                self.errors.append(error)
            case _:
                self._take_of_following(line)

    def _take_of_following(self, line: Line) -> None:
        match line:
            case {"received": name, "row": row, "version": version, "at": at}:
                self._followings[name].history.marks.append(Received(row, version, at))
            case {"echo": name, "text": text}:
                self._followings[name].texts.append(text)
            case {"fresh": name}:
                self._followings[name].live.set()
            case {"reset": name, "reason": reason}:
                self._followings[name].history.marks.append(WasReset(reason))
            case {"cursor": name}:
                self._answer(self._begin_again(self._followings[name]))
            case _:
                raise AssertionError(f"unexpected line from the host: {line}")

    def _take_of_state(self, state: HostState, line: Line) -> None:
        if "load" in line:
            self._answer(self._load(state, line["call"]))
        else:
            state.shown.append(Shown(line["data"], line["fresh"]))

    def _answer(self, answer: Coroutine[Any, Any, None]) -> None:
        self._answering.add(asyncio.create_task(answer))

    async def _begin_again(self, following: Following) -> None:
        assert self._fresh is not None, (
            f"{following.history} was reset, and no function returns a new position"
        )
        cursor = await self._fresh()
        following.history.marks.append(Began(cursor))
        await self._send({"began": following.name, "since": str(cursor)})

    async def _load(self, state: HostState, call: int) -> None:
        try:
            data, cursor = await state.load()
        except TRANSIENT as error:
            await self._send({"loaded": call, "error": str(error)})
        else:
            await self._send({"loaded": call, "data": dict(data), "cursor": str(cursor)})

    async def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(ENDING_SECONDS):
                await self._process.wait()
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
