"""The accept_queue: where new connections wait, so that a crowd of them holds up nobody who is in already."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping

from flowcraft.adapters.handshake import RETRY_SECONDS, Admitted, Refused, admit
from flowcraft.ports import NodePort

AT_ONCE = 16
"""Handshakes of about 0.4 ms each between two turns of everything else."""


class AcceptQueue:
    """Lets in so many at a turn of the event loop, in the order in which they came. One for each server.

    An event loop takes all that is ready before it goes on; when thousands come back at once, that would be
    seconds of handshakes before the next event leaves.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._turn: asyncio.Handle | None = None

    def wait(self, let_in: Callable[[], None]) -> None:
        """Have `let_in` called when its turn has come."""
        self._waiting.append(let_in)
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._open)

    def _open(self) -> None:
        self._turn = None
        try:
            for _ in range(min(AT_ONCE, len(self._waiting))):
                self._waiting.popleft()()
        finally:
            if self._waiting:
                self._turn = asyncio.get_running_loop().call_soon(self._open)


def judge(query: str, headers: Mapping[str, str], node: NodePort) -> Admitted | Refused:
    """Judge a request that wants to become a connection; names of headers in lower case."""
    judged = admit(query, origin=headers.get("origin"), host=headers.get("host"), settings=node.settings)
    if isinstance(judged, Admitted) and not node.accepting:
        node.counts.refused += 1
        seconds = random.randint(*RETRY_SECONDS)  # noqa: S311  # no secret
        return Refused(503, "not ready; try again", {"Retry-After": str(seconds)})
    return judged
