"""Fan-out to sockets, in C and in Python: the same bytes to each, and what needs another way is returned."""

from __future__ import annotations

import gc
import os
import random
import socket
import sys
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from flowcraft import fan_out
from flowcraft.core.bundles import Framing

IMPLEMENTATIONS: dict[str, tuple[Any, Any]] = {"Python": (fan_out.PythonTarget, fan_out.python_send_all)}
if fan_out.IMPLEMENTATION == "C":
    in_c = import_module("flowcraft._fan_out")
    IMPLEMENTATIONS["C"] = in_c.Target, in_c.send_all

SEEDS = int(os.environ.get("FAN_OUT_SEEDS", "60"))
"""How many random situations are tried; `make fuzz` tries many more, with sanitizers."""
HELLO = b"hello" * 20
WRONG: list[tuple[object, ...]] = [
    (),
    ({}, ()),
    ([], (), {}, 1),
    ({}, [], {}, 1),
    ({1: object()}, (1,), {}, 1),
    ({}, (), {}, "1"),
    ({}, ([],), {}, 1),
]


def plain(messages: object) -> bytes:
    raise NotImplementedError


def other(messages: object) -> bytes:
    raise NotImplementedError


class Framed(dict[Framing, bytes]):
    """The bytes by framing, and what happens before those of `other` are made."""

    def __init__(self, on_other: Callable[[], object] = lambda: None) -> None:
        super().__init__({plain: HELLO})
        self._on_other = on_other

    def __missing__(self, framing: Framing) -> bytes:
        self._on_other()
        made = self[framing] = b"other"
        return made


class Sockets:
    """Targets on socket pairs, by session, and what the other ends receive."""

    def __init__(self, implementation: tuple[Any, Any]) -> None:
        self.kind, self.send_all = implementation
        self.targets: dict[int, Any] = {}
        self.pairs: dict[int, tuple[socket.socket, socket.socket]] = {}

    def add(self, session: int, framing: Framing = plain) -> Any:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.pairs[session] = near, far
        target = self.targets[session] = self.kind()
        target.fd, target.framing = near.fileno(), framing
        return target

    def fill(self, session: int, leave: int = 0) -> int:
        """Fill a socket's buffer, and read some of it again; return how much is left."""
        near, far = self.pairs[session]
        total = 0
        try:
            while True:
                total += near.send(b"x" * 1000)
        except BlockingIOError:
            pass
        return total - len(far.recv(leave)) if leave else total

    def received(self, session: int) -> bytes:
        found = bytearray()
        try:
            while data := self.pairs[session][1].recv(65_536):
                found += data
        except BlockingIOError:
            pass
        return bytes(found)

    def close(self) -> None:
        for pair in self.pairs.values():
            for end in pair:
                end.close()


@pytest.fixture(params=IMPLEMENTATIONS)
def sockets(request: pytest.FixtureRequest) -> Iterator[Sockets]:
    made = Sockets(IMPLEMENTATIONS[request.param])
    yield made
    made.close()


def test_a_build_for_this_platform_has_the_one_in_c() -> None:
    """Where the C source was compiled it is used; `FLOWCRAFT_FAN_OUT=python` is for these tests."""
    built = any(Path(fan_out.__file__).parent.glob("_fan_out.*.so"))
    wanted = os.environ.get("FLOWCRAFT_FAN_OUT") != "python"
    assert (fan_out.IMPLEMENTATION == "C") == (built and wanted)


def test_each_receives_the_bytes_of_its_framing_and_has_its_events_counted(sockets: Sockets) -> None:
    for session in range(6):
        sockets.add(session, other if session % 2 else plain)
    assert sockets.send_all(sockets.targets, (0, 1, 2, 3, 4, 77), Framed(), 3) == []
    assert [sockets.received(n) for n in range(6)] == [HELLO, b"other", HELLO, b"other", HELLO, b""]
    assert [target.sent for target in sockets.targets.values()] == [3, 3, 3, 3, 3, 0]


def test_what_cannot_be_sent_at_once_is_returned_with_what_was_taken(sockets: Sockets) -> None:
    for session in range(6):
        sockets.add(session)
    sockets.targets[0].fd = -1
    sockets.targets[1].held = True
    full = sockets.fill(2)
    sockets.pairs[3][1].close()  # EPIPE, and no signal
    assert sockets.send_all(sockets.targets, (0, 1, 2, 3, 4), Framed(), 1) == [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert (sockets.received(0), sockets.received(1), len(sockets.received(2))) == (b"", b"", full)
    assert [target.sent for target in sockets.targets.values()] == [0, 0, 0, 0, 1, 0]


def test_of_a_part_that_was_taken_the_rest_is_left(sockets: Sockets) -> None:
    target = sockets.add(0)
    near, far = sockets.pairs[0]
    port = socket.socket()
    port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    port.bind(("127.0.0.1", 0))
    port.listen()
    near.close()
    far.close()
    near = socket.create_connection(port.getsockname())
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    near.setblocking(False)
    far, _ = port.accept()
    port.close()
    far.setblocking(False)
    sockets.pairs[0], target.fd = (near, far), near.fileno()
    long = bytes(range(256)) * 4096
    ((session, taken),) = sockets.send_all(sockets.targets, (0,), {plain: long}, 1)
    assert session == 0
    assert 0 < taken < len(long)
    assert target.sent == 0


def test_a_framing_that_fails_concerns_only_those_who_have_it(sockets: Sockets) -> None:
    def fail() -> None:
        raise ValueError

    for session in range(4):
        sockets.add(session, other if session % 2 else plain)
    assert sockets.send_all(sockets.targets, (0, 1, 2, 3), Framed(fail), 1) == [(1, 0), (3, 0)]
    assert [sockets.received(n) for n in range(4)] == [HELLO, b"", HELLO, b""]


def test_a_number_that_is_used_again_during_a_fan_out_receives_nothing_of_it(sockets: Sockets) -> None:
    """A framing runs Python, in which a connection ends and another gets its descriptor's number."""
    for session in range(3):
        sockets.add(session, other if session == 1 else plain)

    def end_and_begin() -> None:
        for session in (1, 2):
            near, _ = sockets.pairs[session]
            ended, number = sockets.targets.pop(session), near.fileno()
            ended.fd = -1  # before the close, as every carrier does it
            near.close()
            del ended
            sockets.add(session + 10)
            assert sockets.targets[session + 10].fd == number
        gc.collect()

    sockets.send_all(sockets.targets, (0, 1, 2), Framed(end_and_begin), 1)
    assert sockets.received(0) == HELLO
    assert sockets.received(11) == sockets.received(12) == b""


def test_it_keeps_nothing(sockets: Sockets) -> None:
    target = sockets.add(0)
    sockets.add(1, other)
    framed = Framed()
    to = (0, 1, 99)
    things = (target, framed, to, sockets.targets, plain, HELLO)
    before = list(map(sys.getrefcount, things))
    for _ in range(100):
        sockets.send_all(sockets.targets, to, framed, 1)
        sockets.targets[0].held = not sockets.targets[0].held
        sockets.received(0)
        sockets.received(1)
    assert list(map(sys.getrefcount, things)) == before


def test_a_target_in_a_cycle_is_freed(sockets: Sockets) -> None:
    class Held(sockets.kind):  # type: ignore[name-defined, misc]
        """As a carrier is one, with its own attributes."""

        def __init__(self, number: int) -> None:
            self.number, self.myself = number, self

    held = Held(5)
    assert (held.number, held.fd, held.held, held.sent) == (5, -1, False, 0)
    gone = weakref.ref(held)
    held.framing = partial(plain, held)
    del held
    gc.collect()
    assert gone() is None


@pytest.mark.skipif("C" not in IMPLEMENTATIONS, reason="the C version is not built")
def test_both_do_the_same_whatever_happens() -> None:
    for seed in range(SEEDS):
        results: list[object] = []
        for implementation in IMPLEMENTATIONS.values():
            chance = random.Random(seed)
            sockets = Sockets(implementation)
            for session in range(12):
                target = sockets.add(session, chance.choice([plain, other]))
                match chance.randrange(6):
                    case 0:
                        target.fd = -1
                    case 1:
                        target.held = True
                    case 2:
                        sockets.fill(session)
                    case 3:
                        sockets.pairs[session][1].close()
                    case _:
                        pass
            to = tuple(chance.choices(range(14), k=30))
            rest = sockets.send_all(sockets.targets, to, Framed(), 2)
            open_ones = [n for n, (_, far) in sockets.pairs.items() if far.fileno() >= 0]
            results.append(
                (rest, [sockets.received(n) for n in open_ones], [t.sent for t in sockets.targets.values()])
            )
            sockets.close()
        assert results[0] == results[1], seed


@pytest.mark.skipif("C" not in IMPLEMENTATIONS, reason="the C version is not built")
@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_arguments_are_an_error_and_no_crash(arguments: tuple[object, ...]) -> None:
    with pytest.raises((TypeError, OverflowError)):
        IMPLEMENTATIONS["C"][1](*arguments)
