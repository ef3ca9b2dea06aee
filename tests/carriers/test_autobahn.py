"""The Autobahn cases against the dedicated carrier: https://github.com/crossbario/autobahn-testsuite.

Those on compression (12, 13) are left out, as it is not offered, and the large ones (9) for their time:
`kosoku -x '12.*' -x '13.*'` on `python -m tests.carriers.echo` runs all others.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.stage import free_port

SECONDS = 120
CASES = 230
WELL = {"OK", "NON-STRICT", "INFORMATIONAL"}
"""Not strict: bad UTF-8 is noticed at the end of a message, not at its first bad byte."""
REFUSED = {f"1.2.{n}" for n in range(1, 9)}
"""Binary messages: this protocol has none, they are answered by 1003."""


@contextmanager
def echo() -> Iterator[int]:
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.carriers.echo", str(port)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == "ready\n"
            yield port
        finally:
            server.kill()


def test_every_case_passes_but_those_of_binary_messages(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("kosoku")), "--outdir", str(tmp_path), "--parallelism", "4"]
    left_out = [argument for case in ("9.*", "12.*", "13.*") for argument in ("--exclude", case)]
    with echo() as port:
        subprocess.run(
            [*command, *left_out, f"ws://127.0.0.1:{port}"], check=False, capture_output=True, timeout=SECONDS
        )
    found = [json.loads(path.read_text("utf-8")) for path in tmp_path.glob("*_case_*.json")]
    assert len(found) >= CASES
    assert {case["id"] for case in found if case["behavior"] not in WELL} == REFUSED
