"""`flowcraft serve` on a system whose event loops handle no signals, as on Windows."""

from __future__ import annotations

import asyncio
import signal

import pytest

from flowcraft.entrypoints import serve


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_where_the_loop_handles_none(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the loops of Windows have: they inherit these two.
    for name in ("add_signal_handler", "remove_signal_handler"):
        monkeypatch.setattr(asyncio.SelectorEventLoop, name, getattr(asyncio.AbstractEventLoop, name))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    async def until_stopped() -> None:
        stopped = serve.stop_signal()
        asyncio.get_running_loop().call_later(0.05, signal.raise_signal, number)
        await asyncio.wait_for(stopped.wait(), 10)

    try:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(until_stopped())
    finally:
        for restored, handler in handlers.items():
            signal.signal(restored, handler)
