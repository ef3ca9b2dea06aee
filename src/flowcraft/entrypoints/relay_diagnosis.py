"""Relay diagnosis: check NATS, the relays there, and what this user may do, for `flowcraft doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from flowcraft.adapters.nats.address import LogAddress, StreamOptions
from flowcraft.adapters.nats.bridge import newest_number
from flowcraft.adapters.nats.connection import Arrival, NatsConnection
from flowcraft.adapters.nats.messages import ANY_BEAT, Ask, Beat, MessageInvalid, Subjects, decode
from flowcraft.adapters.nats.questions import Questions
from flowcraft.adapters.nats.stream import find_stream, misfits
from flowcraft.entrypoints.diagnosis import DiagnosisLine
from flowcraft.errors import RealtimeError

LISTEN_SECONDS = 1.2
"""Two beats of a relay, and a little."""
ANSWER_SECONDS = 5.0


@dataclass(slots=True)
class _Relays:
    """The relays that beat, by database, and how many edges each has."""

    found: dict[Subjects, dict[str, int]] = field(default_factory=dict[Subjects, dict[str, int]])

    def take(self, arrival: Arrival) -> None:
        with suppress(MessageInvalid):
            beat = decode(arrival.data, Beat)
            self.found.setdefault(Subjects.parse(arrival.subject), {})[beat.relay] = len(beat.echo)


async def diagnose_relays(url: str, database: tuple[int, int] | None) -> list[DiagnosisLine]:
    """Check the address of NATS as an edge uses it; `database` is the one that `--dsn` names, if it does."""
    try:
        address = LogAddress.parse(url)
        async with NatsConnection.open(address, "flowcraft doctor") as connection:
            reached = f"{address} is reached; it accepts messages of {connection.max_payload:,} bytes"
            found, subjects = await _diagnose(connection, address, database)
    except RealtimeError as error:
        return [DiagnosisLine("nats", "wrong", str(error))]
    lines = [DiagnosisLine("nats", "ok", reached), *found]
    if address.stream is not None and subjects is not None:
        lines.append(await _stream(address, address.stream, subjects))
    return lines


async def _diagnose(
    connection: NatsConnection, address: LogAddress, database: tuple[int, int] | None
) -> tuple[list[DiagnosisLine], Subjects | None]:
    """Return what is found, and the subjects of the one database whose relays were found."""
    relays = _Relays()
    await connection.subscribe(address.subjects.beat if address.subjects else ANY_BEAT, relays.take)
    with suppress(TimeoutError):
        async with asyncio.timeout(LISTEN_SECONDS):
            await connection.lost.wait()
    lines = list(_judge(relays, address, database))
    if len(relays.found) != 1:
        return lines, None
    (subjects,) = relays.found
    return [*lines, await _permissions(connection, subjects)], subjects


def _judge(relays: _Relays, address: LogAddress, database: tuple[int, int] | None) -> Iterator[DiagnosisLine]:
    if not relays.found:
        yield DiagnosisLine("relays", "wrong", f"none publishes at {address}; start one: flowcraft relay")
    if len(relays.found) > 1:
        names = ", ".join(sorted(map(str, relays.found)))
        yield DiagnosisLine(
            "relays", "wrong", f"they publish {names}; add the one to follow to FLOWCRAFT_LOG_URL, after a /"
        )
    for subjects, found in relays.found.items():
        edges = max(found.values())
        if len(found) > 1:
            yield DiagnosisLine(
                "relays", "note", f"{len(found)} publish {subjects} at once; one of them should stand by"
            )
        else:
            yield DiagnosisLine("relays", "ok", f"one publishes {subjects} for {edges} edges")
        if database is not None and database != (subjects.system, subjects.database):
            theirs = Subjects(*database)
            yield DiagnosisLine("relays", "wrong", f"{subjects} is not the database of --dsn, {theirs}")


async def _permissions(connection: NatsConnection, subjects: Subjects) -> DiagnosisLine:
    """Subscribe and ask as an edge does."""
    try:
        for subject in (subjects.live, subjects.ephemeral):
            await connection.subscribe(subject, lambda _: None)
        questions = Questions(connection, subjects, lambda _: False)
        await questions.listen()
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await questions.ask(Ask(ask="position"))
    except TimeoutError:
        text = connection.trouble if connection.lost.is_set() else "the relay does not answer"
        return DiagnosisLine("edge", "wrong", text)
    except RealtimeError as error:
        return DiagnosisLine("edge", "wrong", str(error))
    if answer.error is not None:
        return DiagnosisLine("edge", "wrong", f"the relay cannot read the log: {answer.error.text}")
    return DiagnosisLine("edge", "ok", "this user may do what an edge does, and the relay answers")


async def _stream(address: LogAddress, options: StreamOptions, subjects: Subjects) -> DiagnosisLine:
    """Check the stream, and read from it as an edge does."""
    name = options.name
    try:
        async with NatsConnection.open(address, "flowcraft doctor") as connection:
            newest = await newest_number(connection, name, subjects)
        if newest is None:
            text = f"{name} cannot be read; does it exist, and may this user ask $JS.API.DIRECT.GET.{name}.>?"
            return DiagnosisLine("stream", "wrong", text)
        # On a connection of its own: an edge's user may not look, and NATS answers that with silence.
        async with NatsConnection.open(address, "flowcraft doctor") as connection:
            info = await find_stream(connection, name)
    except TimeoutError:
        return DiagnosisLine("stream", "ok", f"{name} can be read; its limits were not checked: no answer")
    except RealtimeError as error:
        return DiagnosisLine("stream", "wrong", str(error))
    problems = [] if info is None else list(misfits(info.config, subjects.live))
    if problems:
        return DiagnosisLine("stream", "wrong", f"{name} does not fit: {problems[0]}")
    return DiagnosisLine("stream", "ok", f"{name} can be read, up to number {newest}")
