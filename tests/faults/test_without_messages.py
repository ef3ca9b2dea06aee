"""Lost messages: what the fault proxy takes out of a broker's stream, whatever pieces it arrives in."""

from __future__ import annotations

import pytest

from faults.nats_proxy import WithoutMessages

STREAM = b"".join(
    [
        b'INFO {"version":"2.10"}\r\n',
        b"MSG a.live 1 5\r\nfirst\r\n",
        b"MSG a.beat 2 4\r\nbeat\r\n",
        b"PING\r\n",
        b"MSG a.live 1 reply.to 8\r\nMSG\r\nb\r\n\r\n",
        b"HMSG a.live 1 12 17\r\nNATS/1.0\r\n\r\nthird\r\n",
        b"MSG a.live 1 0\r\n\r\n",
        b"-ERR 'x'\r\n",
    ]
)
SECOND = b"MSG a.live 1 reply.to 8\r\nMSG\r\nb\r\n\r\n"
FOURTH = b"MSG a.live 1 0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 1_000])
def test_every_second_message_of_a_subject_is_lost_and_nothing_else(size: int) -> None:
    without = WithoutMessages(".live", every=2)
    take = without()
    passed = b"".join([take(STREAM[at : at + size]) for at in range(0, len(STREAM), size)])
    assert passed == STREAM.replace(SECOND, b"").replace(FOURTH, b"")
    assert (without.seen, without.dropped) == (4, 2)


def test_without_a_rate_everything_passes() -> None:
    without = WithoutMessages(".live")
    assert without()(STREAM) == STREAM
    assert without.dropped == 0
