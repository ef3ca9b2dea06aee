"""The Autobahn cases against our carriers: https://github.com/crossbario/autobahn-testsuite.

Those on compression (12, 13) are left out, as it is not offered.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faults.programs import free_port

SECONDS = 200
CASES = 240
WELL = {"OK", "NON-STRICT", "INFORMATIONAL"}
"""Not strict: bad UTF-8 is noticed at the end of a message, not at its first bad byte; and uvicorn, whose
libraries read several frames at once, answers no message that stands before a bad frame."""
BINARY = {
    *(f"1.2.{n}" for n in range(1, 9)),
    *(f"9.{group}.{n}" for group in (2, 6, 8) for n in range(1, 7)),
    *(f"9.4.{n}" for n in range(1, 10)),
}
"""Binary messages: this protocol has none, they are answered by 1003."""
EMPTY = {"1.1.1", "6.1.1", "6.1.2"}
"""Empty messages arrive; the echo sends none through ASGI messages, and no message of ours is empty."""
CLOSED_IN_A_MESSAGE = {"7.1.5"}
"""A close between two fragments: uvicorn on websockets-sansio ends the connection without a close frame."""
FAILED = {
    "dedicated": BINARY,
    "direct:websockets-sansio": BINARY | CLOSED_IN_A_MESSAGE,
    "direct:wsproto": BINARY,
    "direct:websockets": BINARY,
    "messages:websockets-sansio": BINARY | EMPTY | CLOSED_IN_A_MESSAGE,
    "messages:wsproto": BINARY | EMPTY,
    "messages:websockets": BINARY | EMPTY,
}
LARGE = {"dedicated", "direct:websockets-sansio", "direct:wsproto"}
"""Where messages of megabytes (9) run too: elsewhere their many fragments exceed the time of a case."""


@contextmanager
def echo(carrier: str) -> Iterator[int]:
    port = free_port()
    chosen = [] if carrier == "dedicated" else [carrier]
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.carriers.echo", str(port), *chosen],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == "ready\n"
            yield port
        finally:
            server.kill()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("carrier", FAILED)
def test_every_case_passes_but_those_that_are_explained(tmp_path: Path, carrier: str) -> None:
    command = [str(Path(sys.executable).with_name("kosoku")), "--outdir", str(tmp_path), "--parallelism", "4"]
    cases = ("12.*", "13.*") if carrier in LARGE else ("9.*", "12.*", "13.*")
    left_out = [argument for case in cases for argument in ("--exclude", case)]
    with echo(carrier) as port:
        subprocess.run(
            [*command, *left_out, f"ws://127.0.0.1:{port}"], check=False, capture_output=True, timeout=SECONDS
        )
    found = [json.loads(path.read_text("utf-8")) for path in tmp_path.glob("*_case_*.json")]
    ran = {case["id"] for case in found}
    assert len(ran) >= CASES
    assert {case["id"] for case in found if case["behavior"] not in WELL} == FAILED[carrier] & ran
