"""The accept queue: waiting handshakes run in order, a few at a turn, and one that raises stops no other."""

from __future__ import annotations

import asyncio

import pytest

from flowcraft.adapters.request_socket import HANDSHAKES_PER_TURN, AcceptQueue


async def test_everything_else_has_its_turn_between_two_groups_of_handshakes() -> None:
    accept_queue, order = AcceptQueue(), list[str]()
    for number in range(2 * HANDSHAKES_PER_TURN + 1):
        accept_queue.put(lambda number=number: order.append(str(number)))  # type: ignore[misc]
    loop = asyncio.get_running_loop()
    for _ in range(3):
        loop.call_soon(order.append, "other")
        await asyncio.sleep(0)
    handshakes = [name for name in order if name != "other"]
    assert handshakes == [str(number) for number in range(2 * HANDSHAKES_PER_TURN + 1)]
    assert order.index("other") == HANDSHAKES_PER_TURN


async def test_a_handshake_that_raises_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    accept_queue, came = AcceptQueue(), list[int]()

    def fail() -> None:
        raise ValueError("no luck")

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: came.append(-1))
    for number in range(HANDSHAKES_PER_TURN):
        accept_queue.put(lambda number=number: came.append(number))  # type: ignore[misc]
    accept_queue.put(fail)
    for number in range(HANDSHAKES_PER_TURN):
        accept_queue.put(lambda number=number: came.append(number))  # type: ignore[misc]
    for _ in range(5):
        await asyncio.sleep(0)
    assert came.count(-1) == 1
    assert sorted(came) == [-1, *sorted(2 * [*range(HANDSHAKES_PER_TURN)])]
