"""Attacks: bytes, frames, messages and requests of no client of ours, beside clients that work (I20)."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from faults.outcomes import Outcome, judged, scenario
from faults.stage import Stage, quantile

HANDSHAKE = (
    b"GET /realtime HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
REQUESTS = (
    HANDSHAKE,
    b"GET /realtime/events?channel=lanes.0 HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
    b'POST /realtime/events HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{"a":',
    b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n",
)
PARTS: tuple[object, ...] = (
    None,
    True,
    -1,
    2**63,
    1e308,
    "",
    "\ud800",
    "lanes.0",
    "x" * 300,
    [],
    {},
    ["lanes.0", 7],
    [["lanes.0"]],
    {"subscribe": []},
    "1/1.0/" + "9" * 40 + ":",
)
MEMBERS = ("subscribe", "unsubscribe", "auth", "settle", "since", "ref", "hello", "channel", "")
TEXTS = (
    b"{",
    b"[]",
    b"null",
    b"NaN",
    b'{"subscribe":["lanes.0"],"subscribe":["lanes.1"]}',
    b"[" * 5000,
    b'"',
)
CLIENTS_AT_ONCE = 24
SLOW_CLIENTS = 40
PAUSE_SECONDS = 0.05
LONGEST_SECONDS = 0.25


class Attacker:
    """Connects again and again, each time with something else; `done` counts by kind."""

    def __init__(self, port: int, seed: str) -> None:
        self.done: Counter[str] = Counter()
        self._port = port
        self._chance = random.Random(seed)

    async def run(self, until: float) -> None:
        """Attack until then."""
        kinds = (self._bytes, self._requests, self._frames, self._messages, self._resets)
        while time.monotonic() < until:
            kind = self._chance.choice(kinds)
            with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                async with asyncio.timeout(2):
                    await self._with_connection(kind)
            self.done[kind.__name__.strip("_")] += 1
            # The probes are in this process too, whose turns count as delay.
            await asyncio.sleep(PAUSE_SECONDS)

    async def crawl(self, until: float) -> None:
        """Send a handshake, or a frame, one byte at a time."""
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            data = HANDSHAKE + frame(1, json.dumps({"subscribe": ["lanes.0"]}).encode())
            for byte in data[self._chance.randrange(len(data)) :]:
                if time.monotonic() > until or reader.at_eof() or writer.is_closing():
                    break
                writer.write(bytes([byte]))
                await asyncio.sleep(0.1)
            writer.close()
        self.done["slow"] += 1

    async def _with_connection(
        self, attack: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await attack(reader, writer)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await reader.read(2**16)
        finally:
            writer.transport.abort()

    async def _bytes(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._chance.randbytes(self._chance.choice((1, 10, 1000, 20_000))))

    async def _requests(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = bytearray(self._chance.choice(REQUESTS))
        for _n in range(self._chance.randrange(1, 6)):
            request[self._chance.randrange(len(request))] = self._chance.randrange(256)
        writer.write(
            bytes(request[: self._chance.choice((len(request), self._chance.randrange(len(request))))])
        )

    async def _frames(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open(reader, writer)
        for _n in range(self._chance.randrange(1, 8)):
            data = self._chance.randbytes(self._chance.choice((0, 5, 126, 200, 70_000)))
            made = bytearray(frame(self._chance.choice((0, 1, 2, 3, 8, 9, 10, 15)), data))
            if self._chance.random() < 0.5:
                made[0] = self._chance.randrange(256)
            if self._chance.random() < 0.2:
                made[1] = self._chance.randrange(256)
            writer.write(bytes(made[: self._chance.choice((len(made), len(made) // 2))]))
        with suppress(ConnectionError):
            await writer.drain()

    async def _messages(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open(reader, writer)
        for _n in range(self._chance.randrange(1, 20)):
            writer.write(frame(1, self._message()))
        with suppress(ConnectionError):
            await writer.drain()

    async def _resets(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HANDSHAKE[: self._chance.choice((0, 40, len(HANDSHAKE)))])
        own: socket.socket = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def _open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")

    def _message(self) -> bytes:
        if self._chance.random() < 0.3:
            return self._chance.choice(TEXTS)
        members = self._chance.sample(MEMBERS, self._chance.randrange(1, 4))
        return json.dumps({member: self._chance.choice(PARTS) for member in members}).encode()


def frame(opcode: int, data: bytes) -> bytes:
    """Return a masked frame, with a mask of zeros."""
    size = len(data)
    length = struct.pack("!B", 0x80 | size) if size < 126 else struct.pack("!BH", 0xFE, size & 0xFFFF)
    return bytes([0x80 | opcode]) + length + bytes(4) + data


@scenario("I20")
async def clients_send_what_no_client_sends(stage: Stage) -> list[Outcome]:
    """Random bytes, requests, frames and messages, slow senders and resets, beside subscribers."""
    server = await stage.serve()
    pid = server.pid
    await stage.probe_all(stage.size.lanes)
    writers = stage.writers(rate=100, count=2)
    attackers = [Attacker(server.port, f"{stage.seed} {n}") for n in range(CLIENTS_AT_ONCE + SLOW_CLIENTS)]
    async with writers.writing(only_events=True):
        began = time.monotonic()
        until = began + stage.size.fault_seconds + 1
        async with asyncio.TaskGroup() as tasks:
            for n, attacker in enumerate(attackers):
                tasks.create_task(attacker.run(until) if n < CLIENTS_AT_ONCE else attacker.crawl(until))
        ended = time.monotonic()
    drained = await stage.drain()
    verdict = await stage.verdict()
    health = await server.health()
    log = server.log.read_text("utf-8", "replace")
    done = sum((attacker.done for attacker in attackers), Counter[str]())
    p99 = quantile(stage.latencies(writers, began, ended), 0.99)
    return [
        judged(
            "I20",
            {
                "the process lives": server.pid == pid and bool(health["ready"]),
                "no exception was unhandled": "Traceback" not in log
                and not any(health["counts"]["failures"].values()),
                "others lost nothing": drained and verdict.ok,
                "every kind was tried": len(done) == 6 and min(done.values()) > 0,
            },
            {**done, "deliveries": verdict.deliveries, "lost": verdict.lost, "p99_ms": 1000 * p99},
            times={f"others within {LONGEST_SECONDS:g} s": p99 <= LONGEST_SECONDS},
        )
    ]
