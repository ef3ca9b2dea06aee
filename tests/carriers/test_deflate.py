"""Compression: what is agreed on, what leaves, and what a client may send."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from flowcraft.adapters import deflate
from flowcraft.adapters.rfc6455 import FrameReader, Message, ProtocolError
from flowcraft.adapters.sockets import deflated_text_frames, text_frames
from flowcraft.core.bundles import Bundle

SHORT = b"{}"
LONG = b'{"channel":"run_update","payload":"%b"}' % (b"abc " * deflate.FROM_BYTES)


@pytest.mark.parametrize(
    ("extensions", "offered"),
    [
        ("permessage-deflate; client_max_window_bits", True),  # browsers
        ("permessage-deflate", True),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", True),
        ("x-webkit-deflate-frame, permessage-deflate; client_max_window_bits=10", True),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", True),
        ('permessage-deflate; server_max_window_bits="15"', True),
        ("", False),
        ("x-webkit-deflate-frame", False),
        ("permessage-deflate; server_max_window_bits=10", False),
        ("permessage-deflate; client_max_window_bits=7", False),
        ("permessage-deflate; unheard_of", False),
        ("permessage-deflate; server_no_context_takeover=1", False),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", False),
    ],
)
def test_an_offer_is_taken_if_it_can_be_kept(extensions: str, offered: bool) -> None:
    assert deflate.is_offered(extensions) is offered


def as_a_client() -> PerMessageDeflate:
    """The library's side of what `AGREED` says."""
    return PerMessageDeflate(True, True, 15, 15)


def test_a_long_message_leaves_compressed_as_the_library_reads_it() -> None:
    bundle = Bundle((SHORT, LONG))
    assert len(bundle.framed[deflated_text_frames]) < len(bundle.framed[text_frames]) / 10
    short, rest = bundle.framed[deflated_text_frames][:4], bundle.framed[deflated_text_frames][4:]
    assert short == b"\x81\x02{}"
    assert (rest[0], rest[1] & 0x7F) == (0xC1, len(rest) - 2)
    frame = Frame(Opcode.TEXT, rest[2:], rsv1=True)
    assert as_a_client().decode(frame).data == LONG


def test_a_bundle_of_short_messages_is_the_same_bytes_for_everybody() -> None:
    bundle = Bundle((SHORT, SHORT))
    assert bundle.framed[deflated_text_frames] == bundle.framed[text_frames]


def masked(opcode: Opcode, payload: bytes, *, fin: bool = True, reserved: int = 0) -> bytes:
    """A client's frame; the library sets reserved bits for its own extensions only."""
    first, *rest = Frame(opcode, payload, fin).serialize(mask=True)
    return bytes([first | reserved, *rest])


def deflated(text: str, *, fragments: int = 1) -> bytes:
    """Frames of one message, compressed as a client does it."""
    payload = bytes(as_a_client().encode(Frame(Opcode.TEXT, text.encode())).data)
    step = max(1, -(-len(payload) // fragments))
    cuts = [payload[n : n + step] for n in range(0, len(payload), step)] or [b""]
    first, *others = [(cut, n == len(cuts) - 1) for n, cut in enumerate(cuts)]
    stream = masked(Opcode.TEXT, first[0], fin=first[1], reserved=0x40)
    return stream + b"".join(masked(Opcode.CONT, cut, fin=fin) for cut, fin in others)


@given(st.text(max_size=3000), st.integers(1, 5), st.text(max_size=20))
def test_what_a_client_compresses_is_read_beside_what_it_does_not(text: str, cuts: int, plain: str) -> None:
    reader = FrameReader(65_536, 16, deflates=True)
    stream = deflated(text, fragments=cuts) + masked(Opcode.TEXT, plain.encode())
    assert list(reader.feed(stream)) == [Message(text), Message(plain)]
    assert reader.is_between_messages


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (deflated("x" * 1001), 1009),
        (masked(Opcode.TEXT, b"\xff\xff\xff", reserved=0x40), 1007),
        (masked(Opcode.PING, b"", reserved=0x40), 1002),
        (masked(Opcode.TEXT, b"", reserved=0x20), 1002),
        (masked(Opcode.TEXT, b"", fin=False) + masked(Opcode.CONT, b"", reserved=0x40), 1002),
    ],
)
def test_what_is_wrong_with_it_is_told_its_close_code(stream: bytes, code: int) -> None:
    with pytest.raises(ProtocolError) as broken:
        list(FrameReader(1000, 16, deflates=True).feed(stream))
    assert broken.value.code == code


def test_a_bomb_is_not_inflated() -> None:
    bomb = zlib.compressobj(9, wbits=-15)
    payload = bomb.compress(bytes(50_000_000)) + bomb.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(deflate.TooLong):
        deflate.inflate(payload[:-4], 65_536)
