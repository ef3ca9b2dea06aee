"""Which address a client has behind proxies, and what counts as one."""

from __future__ import annotations

import pytest

from flowcraft import Settings
from flowcraft.adapters.forwarded import client_address
from flowcraft.core.addresses import limited_as
from flowcraft.origins import is_allowed, is_listed_host

LOCAL = ("127.0.0.1", "10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "trusted", "forwarded_for", "address"),
    [
        ("192.0.2.9:1", (), "1.1.1.1", "192.0.2.9:1"),
        ("192.0.2.9:1", LOCAL, "1.1.1.1", "192.0.2.9:1"),
        ("127.0.0.1:1", (), "1.1.1.1", "127.0.0.1:1"),
        ("127.0.0.1:1", LOCAL, None, "127.0.0.1:1"),
        ("127.0.0.1:1", LOCAL, "", "127.0.0.1"),
        ("127.0.0.1:1", LOCAL, "1.1.1.1", "1.1.1.1"),
        ("127.0.0.1:1", LOCAL, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        ("127.0.0.1:1", LOCAL, "6.6.6.6,1.1.1.1, 10.1.2.3", "1.1.1.1"),
        ("127.0.0.1:1", LOCAL, "127.0.0.1, 1.1.1.1", "1.1.1.1"),
        ("127.0.0.1:1", LOCAL, "10.0.0.7", "10.0.0.7"),
        ("127.0.0.1:1", LOCAL, "6.6.6.6, unknown", "127.0.0.1"),
        ("127.0.0.1:1", LOCAL, "6.6.6.6, nonsense, 10.0.0.7", "10.0.0.7"),
        ("127.0.0.1:1", LOCAL, "1.1.1.1:443", "1.1.1.1"),
        ("127.0.0.1:1", LOCAL, "[2001:db8::1]:443", "2001:db8::1"),
        ("127.0.0.1:1", LOCAL, "2001:db8::1", "2001:db8::1"),
        ("[::ffff:127.0.0.1]:1", LOCAL, "1.1.1.1", "1.1.1.1"),
        ("[fd00::2]:1", LOCAL, "1.1.1.1", "1.1.1.1"),
        ("127.0.0.1:1", LOCAL, "::ffff:1.1.1.1", "1.1.1.1"),
        ("127.0.0.1:1", LOCAL, ", ".join(["10.0.0.1"] * 5000), "10.0.0.1"),
        ("", LOCAL, "1.1.1.1", ""),
        ("", ("unix",), "1.1.1.1", "1.1.1.1"),
        ("127.0.0.1:1", ("unix",), "1.1.1.1", "127.0.0.1:1"),
    ],
)
def test_only_what_trusted_proxies_have_written_counts(
    peer: str, trusted: tuple[str, ...], forwarded_for: str | None, address: str
) -> None:
    headers = {} if forwarded_for is None else {"x-forwarded-for": forwarded_for}
    found = client_address(peer, headers, trusted)
    assert limited_as(found) == limited_as(address)
    assert found in {address, peer}


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("for=1.1.1.1", "1.1.1.1"),
        ('for="[2001:db8::1]:99";proto=https;by=10.0.0.1', "2001:db8::1"),
        ("for=6.6.6.6, for=1.1.1.1;by=10.0.0.1", "1.1.1.1"),
        ("proto=https;FOR=1.1.1.1", "1.1.1.1"),
        ("for=6.6.6.6, for=_hidden", "127.0.0.1:1"),
        ("for=6.6.6.6, for=unknown", "127.0.0.1:1"),
        ("proto=https", "127.0.0.1:1"),
        ('for="6.6.6.6', "127.0.0.1:1"),
    ],
)
def test_forwarded_is_read_as_its_rfc_defines_it(forwarded: str, address: str) -> None:
    assert client_address("127.0.0.1:1", {"forwarded": forwarded}, LOCAL) == address


def test_a_header_that_the_proxy_does_not_write_cannot_choose_the_address() -> None:
    both = {"x-forwarded-for": "1.1.1.1", "forwarded": "for=6.6.6.6"}
    assert client_address("127.0.0.1:1", both, LOCAL) == "127.0.0.1:1"
    alike = {"x-forwarded-for": "1.1.1.1", "forwarded": "for=1.1.1.1"}
    assert client_address("127.0.0.1:1", alike, LOCAL) == "1.1.1.1"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("192.0.2.1:5", "192.0.2.1:6"),
        ("[2001:db8::1]:5", "2001:db8:0:0:ffff::2"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::2"),
    ],
)
def test_addresses_that_count_as_one(one: str, other: str) -> None:
    assert limited_as(one) == limited_as(other) != ""


def test_addresses_that_count_apart_and_unknown_ones() -> None:
    assert len({limited_as(one) for one in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1")}) == 4
    assert {limited_as(one) for one in ("", "a test", "unix", "999.1.1.1", "1")} == {""}


@pytest.mark.parametrize("wrong", ["", "localhost", "10.0.0.0/99", "10.0.0", "*", "999.1.1.1"])
def test_a_proxy_that_is_no_address_is_refused_at_start(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"trusted_proxies"):
        Settings(trusted_proxies=(wrong,))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.example.com", True),
        ("https://a.b.example.com", True),
        ("https://A.Example.com", True),
        ("https://a.example.com:443", True),
        ("https://example.com", False),
        ("https://.example.com", False),
        ("https://evilexample.com", False),
        ("https://a.example.com.evil.com", False),
        ("https://a.example.com:8443", False),
        ("http://a.example.com", False),
        ("https://evil.com/.example.com", False),
        ("https://evil.com#.example.com", False),
        ("https://a.example.com@evil.com", False),
        ("https://*.example.com", False),
        ("null", False),
        ("https://a.dev.example.org:8443", True),
        ("https://a.dev.example.org", False),
    ],
)
def test_a_pattern_is_every_host_below_a_domain_and_no_other(origin: str, allowed: bool) -> None:
    listed = ("https://*.example.com", "https://*.dev.example.org:8443")
    assert is_allowed(origin, "server", listed) is allowed


@pytest.mark.parametrize(
    ("host", "listed"),
    [
        ("app.example.com", True),
        ("APP.example.com:8400", True),
        ("app.example.com.", True),
        ("x.apps.example.com", True),
        ("apps.example.com", False),
        ("evil.com", False),
        ("app.example.com.evil.com", False),
        ("", False),
        ("[::1]:8400", True),
        ("127.0.0.1:8400", False),
    ],
)
def test_hosts_are_listed_by_name_or_below_a_domain(host: str, listed: bool) -> None:
    assert is_listed_host(host, ("app.example.com", "*.apps.example.com", "[::1]")) is listed
