"""Fan-out: many are written to in turns, and nobody is told anything out of order."""

from __future__ import annotations

import asyncio
import random

import pytest

from flowcraft.core.answers import Part
from flowcraft.core.bundles import Bundle
from flowcraft.fan_out import Target
from flowcraft.runtime.delivery import SLICE, FanOut
from flowcraft.runtime.sender import Sender
from flowcraft.runtime.supervisor import Supervisor

pytestmark = pytest.mark.asyncio


class Inbox(Sender):
    """A recipient that keeps what it was written."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.target = Target()

    def write(self, part: Part, taken: int = 0) -> None:
        assert isinstance(part, Bundle)
        assert not taken
        self.texts += [message.decode() for message in part.messages]

    def fail(self, error: BaseException) -> None:
        raise AssertionError(error)

    def closed(self) -> None:
        """Nothing is kept of it."""


def crowd(count: int) -> tuple[dict[int, Inbox], FanOut]:
    inboxes = {number: Inbox() for number in range(count)}
    fan_out = FanOut(inboxes, Supervisor())
    for number, inbox in inboxes.items():
        fan_out.add(number, inbox)
    return inboxes, fan_out


def text(what: str) -> Bundle:
    return Bundle([what.encode()])


async def test_a_few_hundred_are_written_to_at_once() -> None:
    inboxes, fan_out = crowd(SLICE)
    fan_out.write(text("a"), tuple(inboxes))
    assert all(inbox.texts == ["a"] for inbox in inboxes.values())
    await fan_out.until_idle()


async def test_more_are_written_to_in_turns() -> None:
    inboxes, fan_out = crowd(4 * SLICE)
    fan_out.write(text("a"), tuple(inboxes))
    told = [SLICE]
    while told[-1] < len(inboxes):
        await asyncio.sleep(0)
        told.append(sum(len(inbox.texts) for inbox in inboxes.values()))
    assert sorted(set(told)) == [SLICE, 2 * SLICE, 3 * SLICE, 4 * SLICE]
    await fan_out.until_idle()


async def test_what_comes_meanwhile_waits_for_its_turn_whoever_it_is_for() -> None:
    inboxes, fan_out = crowd(2 * SLICE)
    fan_out.write(text("a"), tuple(inboxes))
    fan_out.write(text("b"), (0,))
    fan_out.write(text("c"), (2 * SLICE - 1,))
    assert inboxes[0].texts == ["a"]
    await fan_out.until_idle()
    assert (inboxes[0].texts, inboxes[2 * SLICE - 1].texts) == (["a", "b"], ["a", "c"])


async def test_everybody_hears_everything_in_the_order_of_writing() -> None:
    inboxes, fan_out = crowd(3 * SLICE)
    chance = random.Random(1)
    expected: dict[int, list[str]] = {number: [] for number in inboxes}
    for n in range(60):
        to = tuple(chance.sample(range(len(inboxes)), chance.choice([1, 5, SLICE, len(inboxes)])))
        fan_out.write(text(str(n)), to)
        for number in to:
            expected[number].append(str(n))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
    await fan_out.until_idle()
    assert {number: inbox.texts for number, inbox in inboxes.items()} == expected


async def test_who_has_left_is_passed_over() -> None:
    inboxes, fan_out = crowd(2 * SLICE)
    everybody = tuple(inboxes)
    fan_out.write(text("a"), everybody)
    gone = inboxes.pop(2 * SLICE - 1)
    await fan_out.until_idle()
    assert gone.texts == []
    assert all(inbox.texts == ["a"] for inbox in inboxes.values())
