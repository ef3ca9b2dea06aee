"""Origins: which texts are one, which are the same, and which hosts they are at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft.origins import Origin, is_allowed, is_authority, is_listed, parse_origin


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://app.example.com", Origin("https", "app.example.com", "")),
        ("HTTPS://App.Example.com:443", Origin("https", "app.example.com", "")),
        ("http://app.example.com:80", Origin("http", "app.example.com", "")),
        ("http://app.example.com:443", Origin("http", "app.example.com", "443")),
        ("http://localhost:05173", Origin("http", "localhost", "5173")),
        ("http://[0:0:0:0:0:0:0:1]:8080", Origin("http", "[::1]", "8080")),
        ("capacitor://localhost", Origin("capacitor", "localhost", "")),
        ("file://", Origin("file", "", "")),
    ],
)
def test_an_origin_has_one_spelling(text: str, origin: Origin) -> None:
    assert parse_origin(text) == origin
    assert parse_origin(str(origin)) == origin


@pytest.mark.parametrize(
    "text", ["null", "", "*", "app.example.com", "https:/a", "https://a/", "https://a b", "1://a"]
)
def test_other_texts_are_none(text: str) -> None:
    assert parse_origin(text) is None


@pytest.mark.parametrize("listed", [(), ("https://b.example",)])
def test_any_origin_that_is_one_is_allowed_but_listed_only_by_its_name(listed: tuple[str, ...]) -> None:
    for origin in ("https://a.example", "https://b.example", "null", "file://"):
        assert is_allowed(origin, None, listed, any_origin=True)
    for text in ("a.example", "*", "", "https://a.example/", "https://a.example, https://a.example"):
        assert not is_allowed(text, None, listed, any_origin=True)
    assert not is_listed("https://a.example", listed)
    assert not is_listed("*", ("https://*.example",))
    assert is_listed("HTTPS://A.example:443", ("https://a.example",))
    assert is_listed("null", ("null",))


def test_without_a_list_the_own_host_is_allowed_and_with_one_it_is_not() -> None:
    assert is_allowed("https://a.example", "a.example:443", ())
    assert not is_allowed("https://a.example", None, ())
    assert not is_allowed("https://a.example", "a.example", ("https://b.example",))


@given(st.text(), st.text())
def test_every_text_is_allowed_or_not(origin: str, host: str) -> None:
    assert is_allowed(origin, host, ()) in (True, False)
    assert is_listed(origin, ("https://a.example",)) in (True, False)
    assert is_authority(host) in (True, False)
