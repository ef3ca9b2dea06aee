"""Chunks: what is accepted means the same to h11, in any pieces; the rest has its status."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowcraft.adapters.chunks import CHUNKS
from flowcraft.adapters.handshake import Refused
from tests.http.test_http import MOST_CONTENT, by_h11, head, read

sizes = st.one_of(st.integers(0, 12).map(lambda size: b"%x" % size), st.binary(max_size=3))
chunk = st.tuples(
    sizes, st.sampled_from([b"\r\n", b";a\r\n", b" \r\n", b"\n"]), st.binary(max_size=12), st.just(b"\r\n")
)
good_chunk = st.binary(min_size=1, max_size=40).map(lambda data: (b"%x\r\n" % len(data), data, b"\r\n"))
ends = st.sampled_from([b"0\r\n\r\n", b"00\r\na: b\r\n\r\n", b"0\r\na\r\n\r\n", b"", b"0\n\n"])
chunked_contents = st.tuples(
    st.lists(st.one_of(good_chunk, good_chunk, chunk).map(b"".join), max_size=5).map(b"".join), ends
).map(b"".join)
IN_CHUNKS = head("transfer-encoding: chunked")


@given(chunked_contents)
@example(b"5\r\n12345\r\n0\r\n\r\n")
def test_chunks_that_are_accepted_mean_the_same_to_h11(arrived: bytes) -> None:
    found, judged = read(IN_CHUNKS + arrived), by_h11(IN_CHUNKS + arrived)
    if isinstance(found, tuple):
        assert judged is not None
        assert found[1] == judged[-1]
    if judged is None:
        assert not isinstance(found, tuple)


@given(chunked_contents, st.data())
def test_a_content_in_chunks_depends_on_no_packet(arrived: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(arrived)), max_size=8)))
    pieces = [arrived[a:b] for a, b in pairwise([0, *cuts, len(arrived)])]
    assert read(IN_CHUNKS, *pieces) == read(IN_CHUNKS + arrived)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"x\r\n", 400),
        (b"-1\r\n\r\n", 400),
        (b"+1\r\na\r\n", 400),
        (b"0x1\r\na\r\n", 400),
        (b"\r\n", 400),
        (b"1\na\r\n", 400),
        (b"1\r\nab\r\n", 400),
        (b"1;a\0\r\n", 400),
        (b"1" * 17 + b"\r\n", 400),
        (b"1;" + b"a" * 300, 400),
        (b"0\r\na : b\r\n", 400),
        (b"0\r\n" + b"a: b\r\n" * 17, 400),
        (b"0\r\na: " + b"b" * 300, 400),
        (b"%x\r\n" % (MOST_CONTENT + 1), 413),
        (b"f" * 16 + b"\r\n", 413),
        (b"1\r\na\r\n" * (MOST_CONTENT + 1), 413),
    ],
)
def test_a_malformed_or_long_content_is_refused(content: bytes, status: int) -> None:
    refused = read(IN_CHUNKS + content)
    assert isinstance(refused, Refused)
    assert refused.status == status


def test_a_content_has_a_bounded_number_of_chunks() -> None:
    refused = read(IN_CHUNKS + b"1\r\na\r\n" * (CHUNKS + 1), most_content=2 * CHUNKS)
    assert isinstance(refused, Refused)
    assert (refused.status, str(CHUNKS) in refused.reason) == (413, True)


def test_a_content_of_the_longest_length_is_accepted() -> None:
    found = read(IN_CHUNKS + b"%X ;a=b\r\n%b\r\n0\r\na: b\r\n\r\n" % (MOST_CONTENT, b"x" * MOST_CONTENT))
    assert isinstance(found, tuple)
    assert found[1] == b"x" * MOST_CONTENT
