"""The handshake: which pages may connect, and what a URL may say."""

from __future__ import annotations

import pytest

from flowcraft.adapters.handshake import Admitted, Refused, admit
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
        ("https://anybody.example", "here", Settings(allowed_origins=("*",)), True),
    ],
)
def test_only_listed_pages_or_those_of_the_host_may_connect(
    origin: str | None, host: str | None, settings: Settings, allowed: bool
) -> None:
    judged = admit("", origin=origin, host=host, settings=settings)
    assert judged == NOTHING_ASKED if allowed else isinstance(judged, Refused) and judged.status == 403


def test_a_url_names_channels_and_a_cursor() -> None:
    query = "channel=run_update&channel=runs.42&since=1%2F1.0%2F700:"
    assert admit(query, origin=None, host=None, settings=ANYWHERE) == Admitted(
        ("run_update", "runs.42"), "1/1.0/700:"
    )


@pytest.mark.parametrize("name", ["token", "access_token", "auth", "jwt"])
def test_a_token_does_not_belong_into_a_url(name: str) -> None:
    judged = admit(f"channel=run_update&{name}=abc", origin=None, host=None, settings=ANYWHERE)
    assert isinstance(judged, Refused)
    assert (judged.status, "abc" in judged.reason) == (400, False)
