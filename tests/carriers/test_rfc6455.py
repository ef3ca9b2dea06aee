"""The WebSocket protocol: the examples of the RFC, and what it says that a server does about the rest."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from flowcraft.adapters import rfc6455
from flowcraft.adapters.handshake import Refused
from flowcraft.adapters.rfc6455 import CloseFrame, FrameReader, Message, Ping, Pong, ProtocolError
from flowcraft.adapters.sockets import frame

ASKED = {
    "host": "server.example.com",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
}


def asked(**changed: str | None) -> dict[str, str]:
    headers = ASKED | {name.replace("_", "-"): value for name, value in changed.items()}
    return {name: value for name, value in headers.items() if value is not None}


# The handshake


def test_the_example_of_section_1_3() -> None:
    assert rfc6455.upgrade(asked()) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"connection": "keep-alive, Upgrade"},
        {"connection": "keep-alive,upgrade"},
        {"upgrade": "WebSocket"},
        {"sec_websocket_extensions": "permessage-deflate; client_max_window_bits"},
        {"sec_websocket_protocol": "chat, superchat"},
    ],
)
def test_what_browsers_and_proxies_send_is_accepted_without_extensions(changed: dict[str, str]) -> None:
    assert rfc6455.upgrade(asked(**changed)) == rfc6455.upgrade(asked())


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"upgrade": None}, 426),
        ({"upgrade": "h2c"}, 426),
        ({"connection": "keep-alive"}, 426),
        ({"sec_websocket_version": "8"}, 426),
        ({"sec_websocket_version": "13, 13"}, 426),
        ({"sec_websocket_version": None}, 426),
        ({"sec_websocket_key": None}, 400),
        ({"sec_websocket_key": "c2hvcnQ="}, 400),
        ({"sec_websocket_key": "not base64 at all!!!!!!!"}, 400),
        ({"sec_websocket_key": "caf\xe9"}, 400),
    ],
)
def test_a_request_that_asks_for_something_else_is_refused(
    changed: dict[str, str | None], status: int
) -> None:
    refused = rfc6455.upgrade(asked(**changed))
    assert isinstance(refused, Refused)
    expected = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"} if status == 426 else {}
    assert (refused.status, refused.headers) == (status, expected)


# Frames


def read(*parts: bytes, max_bytes: int = 65_536) -> list[rfc6455.Received]:
    reader = FrameReader(max_bytes, 16)
    return [received for part in parts for received in reader.feed(part)]


def masked(opcode: Opcode, payload: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=True)


def test_the_masked_example_of_section_5_7() -> None:
    hello = bytes([0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
    assert read(hello) == [Message("Hello")]


texts = st.one_of(st.text(max_size=200), st.integers(120, 130).map("x".__mul__), st.just("ü" * 20_000))


@given(st.data(), st.lists(st.tuples(texts, st.integers(1, 4)), max_size=5))
def test_messages_arrive_whole_whatever_their_frames_and_the_pieces_they_come_in(
    data: st.DataObject, messages: list[tuple[str, int]]
) -> None:
    stream = b""
    expected: list[rfc6455.Received] = []
    for text, pieces in messages:
        payload = text.encode()
        cuts = sorted(data.draw(st.integers(0, len(payload))) for _ in range(pieces - 1))
        bounds = [0, *cuts, len(payload)]
        for n, (begin, end) in enumerate(pairwise(bounds)):
            opcode = Opcode.CONT if n else Opcode.TEXT
            stream += masked(opcode, payload[begin:end], fin=n == pieces - 1)
            if n < pieces - 1:
                stream += masked(Opcode.PING, b"%d" % n)
                expected.append(Ping(b"%d" % n))
        expected.append(Message(text))
    stream += masked(Opcode.PONG, b"") + masked(Opcode.CLOSE, b"\x03\xe8bye")
    expected += [Pong(), CloseFrame(1000)]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    bounds = [0, *cuts, len(stream)]
    reader = FrameReader(65_536, 16)
    found = [r for a, b in pairwise(bounds) for r in reader.feed(stream[a:b])]
    assert found == expected
    assert reader.is_between_messages


def test_byte_by_byte() -> None:
    stream = masked(Opcode.TEXT, b"x" * 300) + masked(Opcode.TEXT, b"y" * 70_000)
    assert read(*(bytes([byte]) for byte in stream), max_bytes=70_000) == [
        Message("x" * 300),
        Message("y" * 70_000),
    ]


@pytest.mark.parametrize(
    ("stream", "code", "reason"),
    [
        (Frame(Opcode.TEXT, b"x").serialize(mask=False), 1002, "unmasked frame from a client"),
        (b"\xc1\x80\0\0\0\0", 1002, "unexpected reserved bits 100"),
        (b"\x83\x80\0\0\0\0", 1002, "unknown opcode 0x3"),
        (b"\x8b\x80\0\0\0\0", 1002, "unknown opcode 0xb"),
        (b"\x09\x80\0\0\0\0", 1002, "fragmented control frame"),
        (b"\x89\xfe\x00\x7e\0\0\0\0", 1002, "control frame too long: at most 125 bytes"),
        (masked(Opcode.BINARY, b"x"), 1003, "unsupported data: expected text"),
        (masked(Opcode.CONT, b"x"), 1002, "unexpected continuation frame"),
        (
            masked(Opcode.TEXT, b"x", fin=False) + masked(Opcode.TEXT, b"y"),
            1002,
            "expected a continuation frame",
        ),
        (masked(Opcode.TEXT, b"\xff"), 1007, "invalid payload data: not UTF-8"),
        (
            masked(Opcode.TEXT, "ü".encode()[:1], fin=False) + masked(Opcode.CONT, b"x"),
            1007,
            "invalid payload data: not UTF-8",
        ),
        (masked(Opcode.TEXT, b"\xed\xa0\x80"), 1007, "invalid payload data: not UTF-8"),
        (b"\x81\xff" + (65_537).to_bytes(8, "big"), 1009, "message too big: at most 65536 bytes"),
        (b"\x81\xff" + b"\xff" * 8, 1009, "message too big: at most 65536 bytes"),
        (
            masked(Opcode.TEXT, b"x" * 65_000, fin=False) + masked(Opcode.CONT, b"y" * 537),
            1009,
            "message too big: at most 65536 bytes",
        ),
        (
            masked(Opcode.TEXT, b"x", fin=False) + 16 * masked(Opcode.CONT, b"x", fin=False),
            1009,
            "message too big: at most 16 fragments",
        ),
        (masked(Opcode.CLOSE, b"\x03"), 1002, "close frame too short: expected a code of 2 bytes"),
        (masked(Opcode.CLOSE, (999).to_bytes(2, "big")), 1002, "invalid close code 999"),
        (masked(Opcode.CLOSE, (1005).to_bytes(2, "big")), 1002, "invalid close code 1005"),
        (masked(Opcode.CLOSE, (5000).to_bytes(2, "big")), 1002, "invalid close code 5000"),
        (masked(Opcode.CLOSE, b"\x03\xe8\xff"), 1007, "invalid payload data: not UTF-8"),
    ],
)
def test_a_violation_of_the_protocol_has_its_close_code_and_reason(
    stream: bytes, code: int, reason: str
) -> None:
    with pytest.raises(ProtocolError) as broken:
        read(stream)
    assert (broken.value.code, str(broken.value)) == (code, reason)


def test_a_frame_that_is_too_long_is_refused_before_it_has_come() -> None:
    reader = FrameReader(1000, 16)
    with pytest.raises(ProtocolError, match="message too big: at most 1000 bytes"):
        list(reader.feed(b"\x81\xfe\x03\xe9\0\0\0\0"))


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe8bye", b"\x0f\xa0"])
def test_a_close_frame_is_read_as_its_code(payload: bytes) -> None:
    code = int.from_bytes(payload[:2], "big") if payload else 1005
    assert read(masked(Opcode.CLOSE, payload)) == [CloseFrame(code)]


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_frames_that_leave_are_those_of_the_library(length: int) -> None:
    payload = b"x" * length
    assert frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
    assert Frame(Opcode.PING, b"").serialize(mask=False) == rfc6455.PING


def test_a_close_that_leaves_fits_its_frame() -> None:
    closing = rfc6455.close(4408, "ü" * 100)
    assert closing == Frame(Opcode.CLOSE, b"\x11\x38" + ("ü" * 61).encode()).serialize(mask=False)
    assert rfc6455.close(1005) == b"\x88\x00"
