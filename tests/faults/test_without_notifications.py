"""A proxy that loses notifications passes everything else as it is."""

from __future__ import annotations

import struct

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from faults.postgres_proxy import WithoutNotifications, address_of, through
from faults.proxy import FaultProxy
from tests.support.postgres import Ear


async def test_notifications_are_lost_and_all_else_passes(database: str) -> None:
    without = WithoutNotifications(active=False)
    ear = Ear()
    async with FaultProxy.open(address_of(database), transform_down=without) as proxy:
        connection = await asyncpg.connect(through(database, proxy))
        await connection.add_listener("bell", ear)
        for active, text in ((False, "one"), (True, "two"), (False, "three")):
            without.active = active
            await connection.execute("select pg_notify('bell', $1)", text)
            assert await connection.fetchval("select repeat('x', 100000)") == "x" * 100_000
        assert (ear.heard, without.dropped) == (["one", "three"], 1)
        await connection.close()


messages = st.lists(st.tuples(st.sampled_from(b"AZDTCASN"), st.binary(max_size=40)), max_size=12)


@given(st.sampled_from([b"", b"N", b"NN"]), messages, st.lists(st.integers(1, 30), max_size=60))
def test_the_framing_stays_right_whatever_the_pieces(
    answer: bytes, sent: list[tuple[int, bytes]], sizes: list[int]
) -> None:
    framed = [
        (kind, struct.pack("!BI", kind, len(body) + 4) + body) for kind, body in [(ord("R"), b""), *sent]
    ]
    stream = answer + b"".join(message for _, message in framed)
    take = WithoutNotifications()()
    passed = b""
    for size in sizes:
        passed += take(stream[:size])
        stream = stream[size:]
    passed += take(stream)
    assert passed == answer + b"".join(message for kind, message in framed if kind != ord("A"))


@given(st.binary(max_size=60), st.integers(0, 60))
def test_an_encrypted_stream_passes_untouched(secret: bytes, cut: int) -> None:
    take = WithoutNotifications()()
    assert take(b"S") + take(secret[:cut]) + take(secret[cut:]) == b"S" + secret
