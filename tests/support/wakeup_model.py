"""A model of PostgreSQL that is small enough to try every order in which writers and readers can act."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, assert_never

from flowcraft.core.wakeup import (
    DrawMark,
    Leader,
    NotifyOthers,
    Read,
    Releasing,
    State,
    Step,
    TryLock,
    Unlock,
    Wait,
    WakeupMachine,
)
from flowcraft.cursors import Snapshot

SAFETY_SECONDS = 1.0
Mark = Literal["new id", "xmax"]


@dataclass
class Model:
    """The database: ids, running transactions, committed events, the locks, and who has been rung."""

    mark: Mark = "new id"
    next_xid: int = 100
    completed: int = 99
    running: set[int] = field(default_factory=set[int])
    committed: int = 0
    holder: int | None = None
    there: set[int] = field(default_factory=set[int])
    rung: set[int] = field(default_factory=set[int])

    def begin(self) -> int:
        xid, self.next_xid = self.next_xid, self.next_xid + 1
        self.running.add(xid)
        return xid

    def end(self, xid: int) -> None:
        self.running.remove(xid)
        self.completed = max(self.completed, xid)

    def snapshot(self) -> Snapshot:
        xmax = self.completed + 1
        return Snapshot(xmax, frozenset(xid for xid in self.running if xid < xmax))

    def key(self) -> object:
        sets = frozenset(self.running), frozenset(self.there), frozenset(self.rung)
        return self.next_xid, self.completed, self.committed, self.holder, *sets

    def ring(self, *, without: int | None = None) -> None:
        self.rung |= self.there - {without}

    def draw_mark(self) -> int:
        if self.mark == "xmax":
            return self.snapshot().xmax
        mark = self.begin()
        self.end(mark)
        return mark


@dataclass
class Writer:
    """Inserts an event, looks at the lock, commits: three moments, and anything may happen between them."""

    name: str
    done: int = 0
    xid: int = 0
    rings: bool = False

    def can_act(self, model: Model) -> bool:
        return self.done < 3

    def act(self, model: Model) -> str:
        self.done += 1
        if self.done == 1:
            self.xid = model.begin()
            return f"{self.name} inserts"
        if self.done == 2:
            self.rings = model.holder is None and bool(model.there)
            return f"{self.name} {'has to' if self.rings else 'need not'} ring"
        model.end(self.xid)
        model.committed += 1
        if self.rings:
            model.ring()
        return f"{self.name} commits"

    def key(self) -> object:
        return self.done, self.xid, self.rings


@dataclass
class Reader:
    """A relay with its machine. Its clock makes leaps, so that it lets go at the first quiet read."""

    number: int
    machine: WakeupMachine
    step: Step = field(default_factory=Read)
    read: int = 0
    leap: float = 1.0
    now: float = 0.0

    def can_act(self, model: Model) -> bool:
        return not self.sleeps() or self.number in model.rung or self.number not in model.there

    def sleeps(self) -> bool:
        return isinstance(self.step, Wait) and self.step.seconds >= SAFETY_SECONDS

    def act(self, model: Model) -> str:
        if self.number not in model.there:
            model.there.add(self.number)
            return f"reader {self.number} arrives"
        match self.step:
            case Wait():
                model.rung.discard(self.number)
                self.step = Read()
                return f"reader {self.number} gets up"
            case Read():
                return self._read(model)
            case TryLock():
                taken = model.holder is None
                model.holder = self.number if taken else model.holder
                self.step = self.machine.lock_tried(taken=taken, now=self.now)
            case Unlock():
                model.holder = None
                self.step = self.machine.unlocked()
            case DrawMark():
                self.step = self.machine.marked(model.draw_mark())
            case NotifyOthers():
                model.ring(without=self.number)
                self.step = self.machine.notified(self.now)
            case _ as never:
                assert_never(never)
        return f"reader {self.number}: {self.machine.state}, next {self.step}"

    def _read(self, model: Model) -> str:
        # A ring that came before this moment announces what is read now.
        model.rung.discard(self.number)
        found, self.read = model.committed - self.read, model.committed
        self.now += self.leap
        self.step = self.machine.observe(model.snapshot(), found, waited=self.leap, now=self.now)
        return f"reader {self.number} reads {found}, next {self.step}"

    def key(self) -> object:
        return self.read, self.step, self.machine.state, self.machine.__dict__["_unnotified"]


Actor: TypeAlias = Writer | Reader
World: TypeAlias = tuple[Model, list[Writer], list[Reader]]


def world(writers: int, states: list[State | None], mark: Mark = "new id") -> World:
    """Return a database, writers that have yet to begin, and readers in these states; `None` arrives."""
    model = Model(mark)
    readers = [Reader(n, WakeupMachine(safety_seconds=SAFETY_SECONDS)) for n in range(len(states))]
    for reader, state in zip(readers, states, strict=True):
        if state is None:
            continue
        model.there.add(reader.number)
        reader.machine.state = state
        if isinstance(state, Leader):
            model.holder = reader.number
    return model, [Writer(f"writer {n}") for n in range(writers)], readers


def every_end(start: World) -> Iterator[tuple[World, list[str]]]:
    """Yield each state in which nobody can act any more, with one way that leads there."""
    seen: set[object] = set()
    stack: list[tuple[World, list[str]]] = [(start, [])]
    while stack:
        (model, writers, readers), path = stack.pop()
        able = [n for n, actor in enumerate(actors(writers, readers)) if actor.can_act(model)]
        if not able:
            yield (model, writers, readers), path
        for n in able:
            later = _copied((model, writers, readers))
            told = actors(later[1], later[2])[n].act(later[0])
            key = (later[0].key(), *(actor.key() for actor in actors(later[1], later[2])))
            if key not in seen:
                seen.add(key)
                stack.append((later, [*path, told]))


def actors(writers: list[Writer], readers: list[Reader]) -> list[Actor]:
    """Return everybody who can act."""
    return [*writers, *readers]


def lost(end: World) -> bool:
    """Tell whether somebody sleeps who has not read everything: only the safety poll would help."""
    model, _, readers = end
    return any(reader.read < model.committed for reader in readers)


def _copied(world: World) -> World:
    model, writers, readers = world
    return (
        replace(model, running=set(model.running), there=set(model.there), rung=set(model.rung)),
        [copy(writer) for writer in writers],
        [replace(reader, machine=copy(reader.machine)) for reader in readers],
    )


FRESH = Releasing(None)
