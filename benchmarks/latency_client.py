"""A plain WebSocket client that prints when each event arrived, in milliseconds since the epoch."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from websockets.asyncio.client import connect


async def main(address: str, rounds: int) -> None:
    """Receive so many events."""
    received: list[float] = []
    async with connect(f"{address}?channel=item_update") as client:
        async for message in client:
            now = time.time() * 1000
            frame = str(message)
            if frame.startswith('{"subscribed"'):
                print("ready", flush=True)
            elif frame.startswith('{"channel"'):
                received.append(now)
            if len(received) == rounds:
                break
    print(json.dumps(received), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
