"""Rights: they end with the token, the key, the row and by a call, and none is guessed (I13, I14)."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import asyncpg

from faults.outcomes import Figure, Outcome, judged, scenario
from faults.stage import Stage
from faults.tokens import Login
from faults.watcher import Watcher

TEAM = 7
TOKEN_SECONDS = 2.0
LONGEST_AFTER_SECONDS = 1.0
"""Nothing is received that was committed later than this after the end of a right."""
WRITE = "select flowcraft.broadcast($1, $2::text::json)"
ADD = "insert into members (person, team) select unnest($1::text[]), $2"


@dataclass(slots=True)
class Written:
    """What was written on a channel: when each version's transaction began, and was answered."""

    began: dict[int, float] = field(default_factory=dict[int, float])
    committed: dict[int, float] = field(default_factory=dict[int, float])


@asynccontextmanager
async def writing(stage: Stage, *channels: str, rate: float = 50.0) -> AsyncIterator[Written]:
    """Write an event on each of some channels again and again, while the block runs."""
    written = Written()
    over = asyncio.Event()

    async def write() -> None:
        async with stage.connection() as connection:
            for version in itertools.count(1):
                if over.is_set():
                    return
                written.began[version] = time.monotonic()
                async with connection.transaction():
                    for channel in channels:
                        payload = json.dumps({"row": channel, "version": version, "pad": ""})
                        await connection.execute(WRITE, channel, payload)
                written.committed[version] = time.monotonic()
                with suppress(TimeoutError):
                    async with asyncio.timeout(1 / rate):
                        await over.wait()

    task = asyncio.create_task(write())
    try:
        yield written
    finally:
        over.set()
        await task


def late(watcher: Watcher, written: Written, ended: float, allowed: float = 0.0) -> int:
    """Count the events that a watcher received although they were begun after its right had ended."""
    return sum(written.began.get(seen.version, 0.0) > ended + allowed for seen in watcher.seen)


@scenario("I13")
async def rights_end(stage: Stage) -> list[Outcome]:
    """Tokens of two seconds, members removed, keys rotated, and servers whose clocks are an hour off."""
    people = [f"person {n}" for n in range(12)]
    async with Login.open("a") as login, stage.connection() as connection:
        await connection.execute(ADD, people, TEAM)
        server = await stage.serve(jwks=login.url)
        async with writing(stage, f"teams.{TEAM}") as written:
            expired = await _tokens_expire(login, server.address, written)
            removed = await _members_leave(login, server.address, written, connection, people)
            rotated = await _keys_rotate(login, server.address, written)
            clocks = [await _clock_is_off(stage, login, hours * 3600.0) for hours in (1, -1)]
    conditions = {
        "no event after a token's end": expired["late"] == 0,
        "connections end with their tokens": expired["closed"] == expired["clients"],
        "a renewed token goes on without a gap": expired["gaps"] == 0 and expired["renewals"] > 0,
        "no event after a right was withdrawn": removed["late"] == 0,
        "members are notified, and stay out": removed["refused"] == removed["clients"],
        "no event after a key's end": rotated["late"] == 0,
        "a key that is gone proves nothing": rotated["refused"] == 1,
        "a new key is taken": rotated["taken"] == 1,
        "a clock that is off opens nothing": clocks == [0, 0],
    }
    figures: dict[str, Figure] = {
        "expired": expired["clients"],
        "renewals": expired["renewals"],
        "withdrawn": removed["clients"],
        "late": expired["late"] + removed["late"] + rotated["late"],
        "events": len(written.committed),
    }
    return [judged("I13", conditions, figures)]


async def _tokens_expire(login: Login, address: str, written: Written) -> dict[str, int]:
    """Eight clients whose tokens end, beside one that renews in band."""
    channel = f"teams.{TEAM}"
    async with AsyncExitStack() as stack:
        watchers: list[tuple[Watcher, float]] = []
        for n in range(8):
            token = login.token(f"person {n}", kid="a", seconds=TOKEN_SECONDS)
            ends = time.monotonic() + TOKEN_SECONDS
            watcher = await stack.enter_async_context(Watcher.open(address, token))
            watcher.subscribe([channel])
            watchers.append((watcher, ends))
        first = login.token("person 9", kid="a", seconds=TOKEN_SECONDS)
        patient = await stack.enter_async_context(Watcher.open(address, first))
        patient.subscribe([channel])
        renewals = 5
        for _ in range(renewals):
            await asyncio.sleep(TOKEN_SECONDS * 0.5)
            patient.send({"auth": login.token("person 9", kid="a", seconds=TOKEN_SECONDS)})
        received = [seen.version for seen in patient.seen]
        gaps = sum(b - a != 1 for a, b in itertools.pairwise(received))
        return {
            "clients": len(watchers),
            "late": sum(late(watcher, written, ends, LONGEST_AFTER_SECONDS) for watcher, ends in watchers),
            "closed": sum(watcher.code == 4401 and len(watcher.seen) > 0 for watcher, _ in watchers),
            "renewals": renewals if not patient.is_closed else 0,
            "gaps": gaps if received else 1,
        }


async def _members_leave(
    login: Login,
    address: str,
    written: Written,
    connection: asyncpg.Connection[asyncpg.Record],
    people: Sequence[str],
) -> dict[str, int]:
    """One member after the other is removed, by the table and by a call; then they ask again."""
    channel = f"teams.{TEAM}"
    lates = refused = 0
    async with AsyncExitStack() as stack:
        watchers: list[Watcher] = []
        for person in people:
            watcher = await stack.enter_async_context(Watcher.open(address, login.token(person, kid="a")))
            watcher.subscribe([channel])
            await watcher.answered(channel)
            watchers.append(watcher)
        ended: list[float] = []
        for n, person in enumerate(people):
            async with connection.transaction():
                await connection.execute("delete from members where person = $1", person)
                if n % 2:
                    await connection.execute("select flowcraft.revoke($1, $2)", person, channel)
            ended.append(time.monotonic())
            await asyncio.sleep(0.05)
        for watcher, at in zip(watchers, ended, strict=True):
            await watcher.until(lambda watcher=watcher: watcher.refused)  # type: ignore[misc]
            watcher.refused.clear()
            watcher.subscribe([channel])
            refused += not await watcher.answered(channel)
            lates += late(watcher, written, at)
    return {"clients": len(people), "late": lates, "refused": refused}


async def _keys_rotate(login: Login, address: str, written: Written) -> dict[str, int]:
    """The key set drops a key, which signs on in other hands."""
    login.rotate_in("b")
    async with Watcher.open(address, login.token("stranger", kid="a", seconds=TOKEN_SECONDS)) as old:
        old.subscribe(["tenants.none"])
        await old.until(lambda: old.expires_in is not None)
        login.rotate_out("a")
        dropped, fetched = time.monotonic(), login.fetched
        async with Watcher.open(address, login.token("person 0", kid="b")) as new:
            taken = await new.until(lambda: new.expires_in is not None)
        # The set is kept for a second; the next token after that has it fetched.
        await asyncio.sleep(1.1)
        async with Watcher.open(address, login.token("person 0", kid="a")) as stolen:
            stolen.subscribe([f"teams.{TEAM}"])
            await stolen.until(lambda: stolen.is_closed)
            refused = stolen.code in {4401, 4500} and login.fetched > fetched
            after = late(stolen, written, dropped)
        await old.until(lambda: old.is_closed, 2 * TOKEN_SECONDS)
    return {"taken": int(taken), "refused": int(refused), "late": after + (not old.is_closed)}


async def _clock_is_off(stage: Stage, login: Login, seconds: float) -> int:
    """Return how many events a token of two seconds opens at a server whose clock is off."""
    server = await stage.serve(jwks=login.url, damage={"clock_offset_seconds": seconds})
    token = login.token("a tenant", kid="b", seconds=TOKEN_SECONDS, claims={"tenant": "off"})
    async with writing(stage, "tenants.off"), Watcher.open(server.address, token) as watcher:
        watcher.subscribe(["tenants.off"])
        await watcher.until(lambda: watcher.is_closed)
        seen = len(watcher.seen) + (watcher.code != 4401)
    await server.kill()
    stage.web.upstreams = stage.web.upstreams[:1]
    return seen


@scenario("I14")
async def tenants_guess(stage: Stage) -> list[Outcome]:
    """Fifty tenants: each reads its own channel, and tries those of all others in every way."""
    names = [f"tenant_{n}" for n in range(50)]
    channels = [f"tenants.{name}" for name in names]
    guesses = [
        "tenants.unknown",
        "tenants.TENANT_1",
        "tenant.tenant_1",
        "tenants_update",
        "secrets.1",
        "teams.7",
    ]
    async with Login.open("a") as login, AsyncExitStack() as stack:
        server = await stage.serve(jwks=login.url)
        start = str(await stage.cursor())
        async with writing(stage, *channels, rate=20):
            watchers: dict[str, Watcher] = {}
            for n, name in enumerate(names):
                token = login.token(f"viewer {n}", kid="a", claims={"tenant": name})
                watchers[name] = await stack.enter_async_context(Watcher.open(server.address, token))
            for name, watcher in watchers.items():
                watcher.subscribe([f"tenants.{name}"])
                watcher.subscribe(channels)
                watcher.subscribe([c for c in channels if c != f"tenants.{name}"], start)
                watcher.subscribe([c for c in guesses if name not in c], start)
            answers = [
                await _answers(watchers[names[0]], c, n)
                for n, c in enumerate((channels[1], "tenants.unknown", "secrets.1"), 1)
            ]
            forged = [
                await _try(server.address, token, channels, start)
                for name in names[:3]
                for token in login.forged(f"viewer of {name}", kid="a")
            ]
            anonymous = await _try(server.address, None, channels, start)
            complete = [await w.until(lambda w=w: len(w.seen) > 20, 20) for w in watchers.values()]  # type: ignore[misc]
    crossed = sum(s.channel != f"tenants.{name}" for name, watcher in watchers.items() for s in watcher.seen)
    return [
        judged(
            "I14",
            {
                "everyone has its own": all(complete),
                "nothing crossed": crossed == 0,
                "forbidden and unknown are answered alike": len(set(answers)) == 1,
                "a forged token opens nothing": not any(seen for seen, _ in forged),
                "a forged token closes": all(code in {4401, 4500} for _, code in forged),
                "without a token nothing": anonymous[0] == 0,
            },
            {
                "tenants": len(names),
                "deliveries": sum(len(watcher.seen) for watcher in watchers.values()),
                "crossed": crossed,
                "forged": len(forged),
            },
        )
    ]


async def _answers(watcher: Watcher, channel: str, ref: int) -> str:
    """Return the error that answers a subscription, without the name in it."""
    watcher.send({"subscribe": [channel], "ref": ref})

    def answered() -> list[dict[str, object]]:
        errors = [frame["error"] for frame in watcher.frames if "error" in frame]
        return [error for error in errors if error.get("ref") == ref]

    await watcher.until(answered)
    (error,) = answered()
    return json.dumps({**error, "ref": 0}).replace(channel, "…")


async def _try(
    address: str, token: str | None, channels: Sequence[str], since: str
) -> tuple[int, int | None]:
    """Subscribe with a token; return what was received, and the close code."""
    url = f"{address}?" + "&".join(f"channel={channel}" for channel in channels[:5])
    async with Watcher.open(url, token) as watcher:
        watcher.subscribe(channels, since)
        await watcher.until(lambda: watcher.is_closed, 2.0 if token is None else 10.0)
        return len(watcher.seen), watcher.code
