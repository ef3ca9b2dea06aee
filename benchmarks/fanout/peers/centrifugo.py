"""Centrifugo, from its Go module; this small process on another core publishes over its HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import time

from benchmarks.fanout.control import MESSAGE_BYTES, message, obey, ports
from benchmarks.machine import CENTRIFUGO

CHANNEL = "bench_update"
WRAPPING = len('{"push":{"channel":"bench_update","pub":{"data":}}}')
READY_SECONDS = 20.0
SETTINGS = {
    "CENTRIFUGO_CLIENT_INSECURE": "true",
    "CENTRIFUGO_HTTP_API_INSECURE": "true",
    "CENTRIFUGO_HTTP_SERVER_ADDRESS": "127.0.0.1",
    "CENTRIFUGO_LOG_LEVEL": "error",
}


def payload(number: int) -> dict[str, object]:
    """An event that leaves as the same 200 bytes as everybody's."""
    whole: dict[str, object] = json.loads(message(number))["payload"]
    return whole | {"pad": "x" * (MESSAGE_BYTES - WRAPPING - len(f'{{"row":7,"version":{number},"pad":""}}'))}


class Api:
    """Centrifugo's HTTP API, over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)

    def publish(self, count: int) -> None:
        """Publish so many events at once."""
        commands = [{"publish": {"channel": CHANNEL, "data": payload(n)}} for n in range(count)]
        body = json.dumps({"commands": commands}, separators=(",", ":"))
        self._connection.request("POST", "/api/batch", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200 or b'"error"' in body:
            raise SystemExit(f"centrifugo: {answer.status} {body[:200]!r}")


def until_listening(port: int) -> None:
    """Wait until it takes requests."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            Api(port).publish(1)
            return
        time.sleep(0.05)
    raise SystemExit("centrifugo does not listen")


async def main() -> None:
    """Serve until the orders end."""
    port, control = ports()
    settings = os.environ | SETTINGS | {"CENTRIFUGO_HTTP_SERVER_PORT": str(port)}
    server = await asyncio.create_subprocess_exec(
        str(CENTRIFUGO), env=settings, stdout=asyncio.subprocess.DEVNULL
    )
    with contextlib.suppress(OSError):  # with one core there is no other
        os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - os.sched_getaffinity(0))
    try:
        until_listening(port)
        api = Api(port)
        await obey(control, api.publish, watched=server.pid)
    finally:
        server.kill()
        await server.wait()


if __name__ == "__main__":
    asyncio.run(main())
