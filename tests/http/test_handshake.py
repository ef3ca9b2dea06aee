"""The handshake: which pages may connect, and what a URL may say."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft.adapters.handshake import QUERY_BYTES, Admitted, Refused, check_request
from flowcraft.settings import Settings

ANYWHERE = Settings()
LISTED = Settings(allowed_origins=("https://app.example.com",))
NOTHING_ASKED = Admitted((), None)


@pytest.mark.parametrize(
    ("origin", "host", "settings", "allowed"),
    [
        (None, "api.example.com", LISTED, True),
        ("https://app.example.com", "api.example.com", LISTED, True),
        ("https://app.example.com.evil.example", "api.example.com", LISTED, False),
        ("http://app.example.com", "api.example.com", LISTED, False),
        ("https://app.example.com:8443", "api.example.com", LISTED, False),
        ("null", "api.example.com", LISTED, False),
        ("https://here:8000", "here:8000", ANYWHERE, True),
        ("https://HERE:8000", "here:8000", ANYWHERE, True),
        ("https://here", "here:8000", ANYWHERE, False),
        ("null", "here:8000", ANYWHERE, False),
        ("https://here:8000", None, ANYWHERE, False),
        ("https://anybody.example", "here", Settings(any_origin=True), True),
        ("null", "", ANYWHERE, False),
        ("file://", "", ANYWHERE, False),
        ("file://", "here", Settings(allowed_origins=("file://",)), True),
        ("https://here/", "here", ANYWHERE, False),
        ("https://here, https://here", "here", ANYWHERE, False),
        ("https://[::1]:80", "[::1]:80", ANYWHERE, True),
    ],
)
def test_only_listed_pages_or_those_of_the_host_may_connect(
    origin: str | None, host: str | None, settings: Settings, allowed: bool
) -> None:
    judged = check_request("", origin=origin, host=host, settings=settings)
    assert judged == NOTHING_ASKED if allowed else isinstance(judged, Refused) and judged.status == 403


def test_a_url_names_channels_and_a_cursor() -> None:
    query = "channel=run_update&channel=runs.42&since=1%2F1.0%2F700:"
    assert check_request(query, origin=None, host=None, settings=ANYWHERE) == Admitted(
        ("run_update", "runs.42"), "1/1.0/700:"
    )


@pytest.mark.parametrize("name", ["token", "access_token", "auth", "jwt"])
def test_a_token_does_not_belong_into_a_url(name: str) -> None:
    judged = check_request(f"channel=run_update&{name}=abc", origin=None, host=None, settings=ANYWHERE)
    assert isinstance(judged, Refused)
    assert (judged.status, "abc" in judged.reason) == (400, False)


@pytest.mark.parametrize("settings", [ANYWHERE, LISTED, Settings(any_origin=True)])
@pytest.mark.parametrize(
    "origin",
    [
        "",
        "http://[",
        "http://]",
        "http://[::1",
        "http://a\uff0fb",
        "//a",
        "a",
        "http://a@b",
        "http://a:b",
        "\xe9",
    ],
)
def test_an_origin_that_is_none_is_refused(origin: str, settings: Settings) -> None:
    judged = check_request("", origin=origin, host="a", settings=settings)
    assert isinstance(judged, Refused)
    assert judged.status == 403


@pytest.mark.parametrize("host", ["[", "]", "[::1", "a b", "a/b", "a@b", "a:b", "a:123456", "a, a", "\xe9"])
def test_a_malformed_host_is_not_the_host_of_a_page(host: str) -> None:
    """Both servers refuse it before, with 400: `test_requests_table.py`."""
    judged = check_request("", origin="http://a", host=host, settings=Settings())
    assert isinstance(judged, Refused)
    assert judged.status == 403


@given(st.text(), st.text(), st.text())
def test_every_request_is_admitted_or_refused(query: str, origin: str, host: str) -> None:
    assert isinstance(check_request(query, origin=origin, host=host, settings=ANYWHERE), Admitted | Refused)


def test_a_query_has_a_bound() -> None:
    longest = "channel=" + "a" * (QUERY_BYTES - 8)
    assert isinstance(check_request(longest, origin=None, host=None, settings=ANYWHERE), Admitted)
    refused = check_request(longest + "a", origin=None, host=None, settings=ANYWHERE)
    assert isinstance(refused, Refused)
    assert refused.status == 414


@given(st.one_of(st.text("ab&=+;%c3ä2", max_size=20), st.text()))
def test_a_query_is_read_as_forms_are(query: str) -> None:
    expected = parse_qs(query, keep_blank_values=True)
    judged = check_request(query, origin=None, host=None, settings=ANYWHERE)
    if isinstance(judged, Admitted):
        assert judged.channels == tuple(expected.get("channel", ()))
    query = f"channel={query}"
    assert check_request(query, origin=None, host=None, settings=ANYWHERE) == Admitted(
        tuple(parse_qs(query, keep_blank_values=True)["channel"]), None
    )
