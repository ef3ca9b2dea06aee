"""Settings: each value works, or is an error that shows what to write."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft.origins import is_allowed, is_listed, parse_origin
from flowcraft.settings import SettingInvalid, Settings

NUMBERS = {field.name: field.type for field in msgspec.structs.fields(Settings) if field.type in (int, float)}
FLAGS = [field.name for field in msgspec.structs.fields(Settings) if field.type is bool]


def settings_of(**values: Any) -> Settings:
    """Settings of values that a type checker would refuse."""
    return Settings(**values)


def outcome_of(**values: Any) -> Settings | str:
    """The settings, or the message of the error."""
    try:
        return settings_of(**values)
    except SettingInvalid as error:
        return str(error)


def error_of(**values: Any) -> str:
    outcome = outcome_of(**values)
    assert isinstance(outcome, str), outcome
    return outcome


# Origins


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com",
        "http://localhost:5173",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "http://app.example.com:443",
        "https://xn--bcher-kva.example",
        "https://my_app.example.com",
        "https://app.example.com.",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnop",
        "file://",
        "null",
    ],
)
def test_an_origin_as_browsers_send_it_is_listed(origin: str) -> None:
    assert is_allowed(origin, None, Settings(allowed_origins=(origin,)).allowed_origins)


@pytest.mark.parametrize(
    ("written", "better"),
    [
        ("https://app.example.com/", "https://app.example.com"),
        ("https://app.example.com/live?a#b", "https://app.example.com"),
        ("https://app.example.com#b", "https://app.example.com"),
        ("HTTPS://app.example.com", "https://app.example.com"),
        ("https://App.Example.com", "https://app.example.com"),
        ("app.example.com", "https://app.example.com"),
        ("app.example.com:8443/live", "https://app.example.com:8443"),
        ("//app.example.com", "https://app.example.com"),
        ("localhost:5173", "http://localhost:5173"),
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("[::1]:3000", "http://[::1]:3000"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80", "http://app.example.com"),
        ("https://app.example.com:", "https://app.example.com"),
        ("https://ada:secret@app.example.com", "https://app.example.com"),
        ("wss://app.example.com/realtime", "https://app.example.com"),
        ("ws://localhost:8400", "http://localhost:8400"),
        (" https://app.example.com\n", "https://app.example.com"),
        ("https://b\xfccher.example", "https://xn--bcher-kva.example"),
        ("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]"),
        ("file:///home", "file://"),
    ],
)
def test_another_spelling_is_an_error_with_the_right_one(written: str, better: str) -> None:
    message = error_of(allowed_origins=(written,))
    assert message == f"allowed_origins: {written!r} is not an origin as browsers send it; write {better!r}"
    assert Settings(allowed_origins=(better,)).allowed_origins == (better,)


NO_ORIGINS = [
    "", " ", "https", "https://", "http:app.example.com", "https//app.example.com", "https://a b", "http://::1",
    "http://a:99999", "http://a:b", "https://a.example,https://b.example", "https://a.example https://b.example",
    "\0", "https://[", "https://.", "https://a..b",
]  # fmt: skip


@pytest.mark.parametrize("written", NO_ORIGINS)
def test_what_is_no_origin_is_an_error_with_an_example(written: str) -> None:
    assert error_of(allowed_origins=("https://b.example", written)) == (
        f"allowed_origins: {written!r} is not an origin; "
        "write a scheme and a host, such as 'https://app.example.com'"
    )


@pytest.mark.parametrize(
    "written",
    [
        "*",
        "*.example.com",
        "https://*",
        "**",
        "https://app.*",
        "*:80",
        "app://*",
        "null*",
        "https://a.*.example",
    ],
)
def test_a_wildcard_in_an_origin_is_an_error(written: str) -> None:
    assert error_of(allowed_origins=(written,)) == (
        f"allowed_origins: {written!r} has a wildcard; list each origin, write 'https://*.example.com' for "
        "the hosts below a domain, or set any_origin=True where every page may connect"
    )


def test_a_bare_text_is_an_error_with_the_tuple() -> None:
    assert error_of(allowed_origins="https://app.example.org") == (
        "allowed_origins is a tuple, got 'https://app.example.org'; "
        "write allowed_origins=('https://app.example.org',)"
    )
    assert "('https://app.example.com',)" in error_of(allowed_origins="app")
    assert "('https://app.example.com',)" in error_of(allowed_origins=b"https://app.example.com")


@pytest.mark.parametrize(
    "value", [None, 1, True, (1,), (None,), ("https://a.example", b"b"), (("https://a.example",),)]
)
def test_origins_of_another_type_are_an_error(value: object) -> None:
    assert error_of(allowed_origins=value).startswith("allowed_origins")


def test_a_list_is_as_good_as_a_tuple() -> None:
    origins = ("https://a.example", "https://b.example")
    assert settings_of(allowed_origins=list(origins)) == Settings(allowed_origins=origins)
    assert hash(settings_of(allowed_origins=list(origins))) == hash(Settings(allowed_origins=origins))


near_origins = st.tuples(
    st.sampled_from(["https://", "http://", "HTTPS://", "ws://", "capacitor://", "", "//", "https:"]),
    st.sampled_from(
        ["app.example.com", "App", "localhost", "[::1]", "127.0.0.1", "b\xfccher.de", "a@b", "*", "*.a", ""]
    ),
    st.sampled_from(["", ":443", ":80", ":8080", ":", ":0", ":99999", ":a"]),
    st.sampled_from(["", "/", "/a", "?b", "#c", " ", ",https://b.example"]),
).map("".join)


@given(st.one_of(near_origins, st.text()))
def test_every_text_is_an_origin_or_an_error_with_one(text: str) -> None:
    outcome = outcome_of(allowed_origins=(text,))
    if isinstance(outcome, Settings):
        assert text == "null" or str(parse_origin(text)) == text
        assert is_listed(text.replace("://*.", "://a."), outcome.allowed_origins)
    elif "has a wildcard" not in outcome:
        better = re.search(r"(?:write|such as) '([^']+)'$", outcome)
        assert better is not None, outcome
        Settings(allowed_origins=(better[1],))


# Numbers and flags


@dataclass
class Number:
    """A number of another library."""

    value: int


WRONG = (0, -1, -0.5, math.nan, math.inf, -math.inf, 10**400, 1e300, 5e-324)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_out_of_its_range_is_an_error_with_the_range(name: str) -> None:
    for value in WRONG:
        if isinstance(value, int) or NUMBERS[name] is float:
            assert error_of(**{name: value}).startswith(f"{name} must be from ")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_value_that_is_no_number_is_an_error(name: str) -> None:
    for value in ("5", b"5", None, True, False, (5,), 5j, Number(5)):
        assert error_of(**{name: value}).startswith(f"{name} is a ")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_count_is_a_whole_number_and_a_time_may_be_one(name: str) -> None:
    if NUMBERS[name] is int:
        assert error_of(**{name: 4096.5}) == f"{name} is a whole number, got 4096.5"
    else:
        assert getattr(settings_of(**{name: 5}), name) == 5


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", [0, 1, "yes", "", None])
def test_a_flag_is_true_or_false(name: str, value: object) -> None:
    assert error_of(**{name: value}) == f"{name} is True or False, got {value!r}"


@given(st.sampled_from(sorted(NUMBERS)), st.one_of(st.integers(), st.floats()))
def test_every_number_works_or_is_an_error(name: str, value: float) -> None:
    outcome = outcome_of(**{name: value})
    if isinstance(outcome, Settings):
        assert 0 < getattr(outcome, name) < math.inf
    else:
        assert outcome.startswith(name)


def test_the_error_is_of_both_kinds_that_a_caller_may_expect() -> None:
    with pytest.raises(ValueError, match="connections"):
        settings_of(connections=0)
    with pytest.raises(TypeError, match="connections"):
        settings_of(connections="many")


def test_settings_from_json_are_checked_too() -> None:
    with pytest.raises(msgspec.ValidationError, match="heartbeat_seconds must be from"):
        msgspec.convert({"heartbeat_seconds": 0}, Settings)
    with pytest.raises(msgspec.ValidationError, match=r"write 'https://a\.example'"):
        msgspec.json.decode(b'{"allowed_origins":["https://a.example/"]}', type=Settings)
