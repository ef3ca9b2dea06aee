"""The accept_queue: a crowd is let in by so many at a turn, in its order, and a stumble stops nobody."""

from __future__ import annotations

import asyncio

import pytest

from flowcraft.adapters.accept_queue import AT_ONCE, AcceptQueue


async def test_between_two_turns_everything_else_has_its_own() -> None:
    accept_queue, order = AcceptQueue(), list[str]()
    for number in range(2 * AT_ONCE + 1):
        accept_queue.wait(lambda number=number: order.append(str(number)))  # type: ignore[misc]
    loop = asyncio.get_running_loop()
    for _ in range(3):
        loop.call_soon(order.append, "other")
        await asyncio.sleep(0)
    people = [name for name in order if name != "other"]
    assert people == [str(number) for number in range(2 * AT_ONCE + 1)]
    assert order.index("other") == AT_ONCE


async def test_one_that_stumbles_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    accept_queue, came = AcceptQueue(), list[int]()

    def stumble() -> None:
        raise ValueError("no luck")

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: came.append(-1))
    for number in range(AT_ONCE):
        accept_queue.wait(lambda number=number: came.append(number))  # type: ignore[misc]
    accept_queue.wait(stumble)
    for number in range(AT_ONCE):
        accept_queue.wait(lambda number=number: came.append(number))  # type: ignore[misc]
    for _ in range(5):
        await asyncio.sleep(0)
    assert came.count(-1) == 1
    assert sorted(came) == [-1, *sorted(2 * [*range(AT_ONCE)])]
