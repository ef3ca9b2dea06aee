"""The HTTP parser: what it accepts h11 accepts with the same meaning, and its answer depends on no packet."""

from __future__ import annotations

from itertools import pairwise
from typing import SupportsIndex

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowcraft.adapters import http
from flowcraft.adapters.handshake import Refused
from flowcraft.adapters.http import Request, RequestReader, Target, parse_target

MOST_CONTENT = 1000


def read(*pieces: bytes, most_content: int = MOST_CONTENT) -> tuple[Request, bytes] | Refused | None:
    """What becomes of a request that arrives in these pieces."""
    reader = RequestReader(most_content)
    for piece in pieces:
        reader.feed(piece)
        request = reader.request or reader.read_head()
        content = reader.read_content(request) if isinstance(request, Request) else request
        if isinstance(content, Refused):
            return content
        if isinstance(request, Request) and content is not None:
            return request, content
    return None


def status_of(data: bytes) -> int:
    refused = read(data)
    assert isinstance(refused, Refused), refused
    return refused.status


def test_a_request_is_its_method_target_fields_and_content() -> None:
    arrived = (
        b"POST /realtime/events?channel=a&since=%2F HTTP/1.1\r\n"
        b"Host: here:8000\r\nA: 1\r\na:\t2 \r\nContent-Length: 0004\r\nEmpty:\r\n\r\n{}\n\nGET"
    )
    assert read(arrived) == (
        Request(
            "POST",
            Target("/realtime/events?channel=a&since=%2F", "/realtime/events", "channel=a&since=%2F"),
            {"host": "here:8000", "a": "1, 2", "content-length": "0004", "empty": ""},
            4,
        ),
        b"{}\n\n",
    )


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("/", Target("/", "/", "")),
        ("/a?b?c", Target("/a?b?c", "/a", "b?c")),
        ("//here/realtime", Target("//here/realtime", "//here/realtime", "")),
        ("//[", Target("//[", "//[", "")),
        ("http://here", Target("http://here", "/", "", "here")),
        ("HTTPS://[::1]:80/a?b", Target("HTTPS://[::1]:80/a?b", "/a", "b", "[::1]:80")),
        ("http://here?b", Target("http://here?b", "/", "b", "here")),
    ],
)
def test_a_target_is_a_path_or_an_address(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "realtime",
        "http://",
        "http:///a",
        "http://[",
        "http://a@b/",
        "ftp://a/",
        "/a#b",
        "here:443",
        "?a",
    ],
)
def test_any_other_target_is_refused(text: str) -> None:
    refused = parse_target(text)
    assert isinstance(refused, Refused)
    assert refused.status == 400


def test_the_authority_of_a_target_takes_the_place_of_host() -> None:
    found = read(b"GET http://there/a HTTP/1.1\r\nHost: here\r\n\r\n")
    assert isinstance(found, tuple)
    assert found[0].headers == {"host": "there"}
    assert status_of(b"GET http://there/a HTTP/1.1\r\n\r\n") == 400


def head(*fields: str, line: str = "POST / HTTP/1.1", host: str = "Host: here") -> bytes:
    return "\r\n".join([line, host, *fields, "", ""]).encode("latin-1")


LONG = http.HEAD_BYTES
REFUSED: dict[str, tuple[bytes, int]] = {
    "no request line": (b"\r\n\r\n\r\n", 400),
    "two empty lines first": (b"\r\n\r\n" + head(line="GET / HTTP/1.1"), 400),
    "no version": (head(line="GET /"), 400),
    "two spaces": (head(line="GET  / HTTP/1.1"), 400),
    "a space in the target": (head(line="GET /a b HTTP/1.1"), 400),
    "a method that is no token": (head(line="G@T / HTTP/1.1"), 400),
    "a version with one digit": (head(line="GET / HTTP/1"), 400),
    "http in lower case": (head(line="GET / http/1.1"), 400),
    "an older version": (head(line="GET / HTTP/0.9"), 505),
    "a version between": (head(line="GET / HTTP/1.2"), 505),
    "a newer version": (head(line="GET / HTTP/2.0"), 505),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "NUL in a value": (head("a: \0", line="GET / HTTP/1.1"), 400),
    "NUL in a name": (head("a\0: b", line="GET / HTTP/1.1"), 400),
    "NUL in the target": (head(line="GET /\0 HTTP/1.1"), 400),
    "DEL": (head("a: \x7f", line="GET / HTTP/1.1"), 400),
    "a name outside of ASCII": (head("caf\xe9: a", line="GET / HTTP/1.1"), 400),
    "a target outside of ASCII": (head(line="GET /\xe9 HTTP/1.1"), 400),
    "a bare CR in a value": (head("a: b\rc: d", line="GET / HTTP/1.1"), 400),
    "two CR": (b"GET / HTTP/1.1\r\nHost: here\r\r\n\r\n", 400),
    "a bare LF between fields": (b"GET / HTTP/1.1\r\nHost: here\nA: b\r\n\r\n", 400),
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: here\n\n", 400),
    "a folded line": (head("a: b", " c", line="GET / HTTP/1.1"), 400),
    "a space before the colon": (head("a : b", line="GET / HTTP/1.1"), 400),
    "a space before a name": (head(" a: b", line="GET / HTTP/1.1"), 400),
    "no name": (head(": b", line="GET / HTTP/1.1"), 400),
    "no colon": (head("ab", line="GET / HTTP/1.1"), 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (head("host: here", line="GET / HTTP/1.1"), 400),
    "a Host that is none": (head(line="GET / HTTP/1.1", host="Host: ["), 400),
    "a Host with a path": (head(line="GET / HTTP/1.1", host="Host: here/there"), 400),
    "a Host with a user": (head(line="GET / HTTP/1.1", host="Host: me@here"), 400),
    "a long target": (head(line=f"GET /{'a' * http.TARGET_BYTES} HTTP/1.1"), 414),
    "a target that does not end": (b"GET /" + b"a" * LONG, 414),
    "a target that does not end in one packet": (b"GET /" + b"a" * 200_000, 414),
    "a long head": (head(f"a: {'b' * LONG}", line="GET / HTTP/1.1"), 431),
    "a long head in one packet": (head(f"a: {'b' * 200_000}", line="GET / HTTP/1.1"), 431),
    "a head that does not end": (head(line="GET / HTTP/1.1")[:-2] + b"a: b\r\n" * 10_000, 431),
    "many fields": (head(*["a: b"] * http.FIELDS, line="GET / HTTP/1.1"), 431),
    "chunks in HTTP/1.0": (head("transfer-encoding: chunked", line="POST / HTTP/1.0"), 400),
    "another coding": (head("transfer-encoding: gzip, chunked"), 501),
    "two codings": (head("transfer-encoding: chunked", "transfer-encoding: chunked"), 501),
    "an empty coding": (head("transfer-encoding:"), 501),
    "a coding and a length": (head("transfer-encoding: chunked", "content-length: 4"), 400),
    "an unknown coding and a length": (head("transfer-encoding: identity", "content-length: 4"), 400),
    "two lengths": (head("content-length: 4", "content-length: 5"), 400),
    "a list of lengths": (head("content-length: 4, 5"), 400),
    "a length and nothing": (head("content-length: 4,"), 400),
    "one length in two ways": (head("content-length: 4, 04"), 400),
    "more than the most": (head(f"content-length: {MOST_CONTENT + 1}"), 413),
    "more than the most after zeros": (head("content-length: 00000000009999999999"), 413),
    "twenty digits": (head(f"content-length: {'9' * 20}"), 413),
    "more than twenty digits": (head(f"content-length: {'0' * 21}"), 400),
    "ten thousand digits": (head(f"content-length: {'9' * 10_000}"), 400),
} | {
    f"the length {length!r}": (head(f"content-length: {length}"), 400)
    for length in ("+5", "-1", "", "5 5", "5,", "0x5", "5_0", "1e2", "5.0", "5;", "five", "(5)")
}


@pytest.mark.parametrize(("arrived", "status"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_request_is_refused_with_its_status(arrived: bytes, status: int) -> None:
    assert status_of(arrived) == status


@pytest.mark.parametrize(
    "digits",
    [
        "\N{ARABIC-INDIC DIGIT FIVE}",
        "\N{SUPERSCRIPT TWO}",
        "\N{FULLWIDTH DIGIT FIVE}",
        "",
        " ",
        "5\n",
        "+5",
        "9" * 21,
    ],
)
def test_a_length_is_at_most_twenty_ascii_digits(digits: str) -> None:
    assert http.parse_content_length(digits) is None
    assert http.parse_content_length("0005") == 5


@pytest.mark.parametrize(("excess", "accepted"), [(-1, True), (0, True), (1, False)])
def test_a_head_may_have_as_many_bytes_as_the_limit_says(excess: int, accepted: bool) -> None:
    shortest = head("a: ", line="GET / HTTP/1.1")
    arrived = head("a: " + "b" * (http.HEAD_BYTES + excess + 4 - len(shortest)), line="GET / HTTP/1.1")
    found = read(arrived)
    assert isinstance(found, tuple) if accepted else isinstance(found, Refused) and found.status == 431


@pytest.mark.parametrize("count", [1, http.FIELDS])
def test_a_head_may_have_as_many_fields_as_the_limit_says(count: int) -> None:
    assert isinstance(read(head(*["a: b"] * (count - 1), line="GET / HTTP/1.1")), tuple)


# Requests that are valid, nearly valid, and damaged ones of both

tokens = st.text("!#$%&'*+-.^_`|~aZ09", min_size=1, max_size=6)
names = st.one_of(
    st.sampled_from(["Host", "Content-Length", "Transfer-Encoding", "Connection", "A", "a"]), tokens
)
values = st.one_of(
    st.sampled_from(["here", "5", "0", "007", "5, 5", "+5", "chunked", "here:80", "[::1]", "[", ""]),
    st.text("\t !a,:é\x80ÿ\x01\x7f", max_size=6),
)
odd_fields = st.tuples(names, st.sampled_from([":", ": ", ":\t", " :", ""]), values).map("".join)
good_fields = st.sampled_from(
    ["A: b", "a:c", "Cookie: é", "Content-Length: 5", "Connection: close, a", "Expect: 100-continue"]
)
fields = st.one_of(good_fields, good_fields, good_fields, odd_fields)
good_lines = st.sampled_from(
    [
        "GET / HTTP/1.1",
        "POST /a?b HTTP/1.1",
        "OPTIONS http://h/a HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET / HTTP/1.0",
    ]
)
odd_lines = st.tuples(
    st.one_of(st.sampled_from(["GET", "POST", "OPTIONS"]), tokens),
    st.sampled_from([" ", " ", " ", "  ", "\t"]),
    st.one_of(
        st.sampled_from(["/", "*", "/a?b", "http://h/a", "//[", "http://[", "h:1"]),
        st.text("/?#[]a%é", min_size=1, max_size=6),
    ),
    st.sampled_from([" HTTP/1.1", " HTTP/1.1", " HTTP/1.1", " HTTP/1.0", " HTTP/9.9", ""]),
).map("".join)

request_lines = st.one_of(good_lines, good_lines, odd_lines)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    has_host = draw(st.sampled_from([True, True, True, True, False]))
    lines = draw(st.lists(fields, max_size=4)) + ["Host: here"] * has_host
    first = draw(request_lines)
    end = draw(st.sampled_from([*["\r\n"] * 8, "\n"]))
    whole = end.join([first, *lines, "", ""]).encode("latin-1") + draw(st.binary(max_size=8))
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(whole)))
        damage = draw(st.sampled_from([b"", b"\r", b"\n", b"\0", b" ", b":", b"\r\n", b"\xff", b"\t"]))
        whole = whole[:at] + damage + whole[at + draw(st.integers(0, 2)) :]
    return whole


def by_h11(arrived: bytes) -> tuple[str, str, str, dict[str, str], bytes | None] | None:
    """What h11 makes of it: method, target, version, headers joined as ours are, content if it is whole."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=10_000)
    connection.receive_data(arrived)
    try:
        event = connection.next_event()
        if not isinstance(event, h11.Request):
            return None
        content: bytes | None = b""
        while not isinstance(part := connection.next_event(), h11.EndOfMessage):
            if not isinstance(part, h11.Data):
                content = None
                break
            content = (content or b"") + part.data
    except h11.RemoteProtocolError:
        return None
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode(), raw_value.decode("latin-1")
        separator = "; " if name == "cookie" else ", "  # RFC 9113 §8.2.3
        headers[name] = f"{headers[name]}{separator}{value}" if name in headers else value
    return event.method.decode(), event.target.decode(), event.http_version.decode(), headers, content


def without_framing(headers: dict[str, str]) -> dict[str, str]:
    """Headers without those whose value h11 rewrites: `5, 5` to `5`, `Chunked` to `chunked`."""
    return {k: v for k, v in headers.items() if k not in ("content-length", "transfer-encoding")}


@given(requests())
@example(head("content-length: 0005", line="POST http://there/ HTTP/1.1") + b"12345")
@example(head("a: b", "A:\tc ", "content-length: 0", line="OPTIONS /a HTTP/1.1"))
@example(head("content-length: 3, 3", "content-length: 3", line="POST /a HTTP/1.0") + b"123")
@example(head("cookie: \xe9", "transfer-encoding: Chunked") + b"3;a=b\r\n123\r\n0\r\nb: c\r\n\r\n")
def test_what_is_accepted_means_the_same_to_h11(arrived: bytes) -> None:
    found = read(arrived + b"\0" * MOST_CONTENT)
    if isinstance(found, tuple):
        request, content = found
        judged = by_h11(arrived.removeprefix(b"\r\n") + b"\0" * MOST_CONTENT)
        assert judged is not None
        method, target, version, headers, expected = judged
        if request.target.authority is not None:
            headers["host"] = request.target.authority
        assert (request.method, request.target.text, request.version) == (method, target, version)
        assert without_framing(request.headers) == without_framing(headers)
        assert content == expected


@given(requests())
def test_what_h11_refuses_is_refused(arrived: bytes) -> None:
    judged = arrived.removeprefix(b"\r\n")
    if b"\r\n\r\n" in judged and by_h11(judged) is None:
        assert isinstance(read(arrived), Refused)


@given(st.one_of(requests(), st.sampled_from([arrived for arrived, _ in REFUSED.values()])), st.data())
def test_the_answer_depends_on_no_packet(arrived: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(arrived)), max_size=8)))
    pieces = [arrived[a:b] for a, b in pairwise([0, *cuts, len(arrived)])]
    assert read(*pieces) == read(arrived)


@given(requests())
def test_the_answer_is_the_same_byte_by_byte(arrived: bytes) -> None:
    assert read(*(bytes([byte]) for byte in arrived)) == read(arrived)


# Work


class Counting(bytearray):
    """Counts the bytes that are searched, copied out and moved."""

    def __init__(self) -> None:
        super().__init__()
        self.work = 0

    def find(  # type: ignore[override]
        self, sub: bytes, start: SupportsIndex | None = None, end: SupportsIndex | None = None
    ) -> int:
        begin = 0 if start is None else int(start)
        stop = len(self) if end is None else min(int(end), len(self))
        self.work += max(0, stop - begin)
        return super().find(sub, start, end)

    def __getitem__(self, key: SupportsIndex | slice) -> int | bytearray:  # type: ignore[override]
        found = super().__getitem__(key)
        self.work += len(found) if isinstance(found, bytearray) else 1
        return found

    def __delitem__(self, key: SupportsIndex | slice) -> None:
        self.work += len(self)
        super().__delitem__(key)


@pytest.mark.parametrize("piece", [1, 7, 16_384])
def test_the_work_for_a_request_is_linear_in_its_bytes(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = RequestReader(200_000)
    counting = Counting()
    monkeypatch.setattr(reader, "_arrived", counting)
    searches: list[int] = []

    class Search:
        def search(self, text: bytearray, begin: int, end: int) -> None:
            searches.append(end - begin)

    monkeypatch.setattr(http, "_ILLEGAL", Search())
    arrived = head("a: " + "b" * 15_000, "content-length: 200000") + b"x" * 200_000
    found = None
    for at in range(0, len(arrived), piece):
        reader.feed(arrived[at : at + piece])
        request = reader.request or reader.read_head()
        assert not isinstance(request, Refused)
        content = None if request is None else reader.read_content(request)
        assert not isinstance(content, Refused)
        found = content
    assert found == b"x" * 200_000
    assert counting.work + sum(searches) < 8 * len(arrived)


# Responses


def test_a_response_is_whole_and_has_the_headers_of_its_status() -> None:
    assert http.response(414, "näh", headers={"Retry-After": "3"}) == (
        b"HTTP/1.1 414 URI Too Long\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 4\r\n"
        b"Retry-After: 3\r\nConnection: close\r\n\r\nn\xc3\xa4h"
    )
    assert http.response(413, "").startswith(b"HTTP/1.1 413 Content Too Large\r\n")
    assert http.response(431, "").startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
