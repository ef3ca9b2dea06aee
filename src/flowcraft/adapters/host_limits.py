"""Host limits: the longest message that an ASGI server accepts, set for each of our WebSockets.

Servers accept 16 MiB and more, compressed too, before an application can ask for a token. No interface sets
this for one WebSocket, so every use of their internals is checked.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

logger = logging.getLogger(__name__)

_TIMES = 2
"""The server refuses messages this many times as long as ours may be; shorter ones get our answer."""


def uvicorn_flags(message_bytes: int) -> tuple[str, ...]:
    """Return the options of uvicorn that suit messages of at most so many bytes."""
    return ("--ws-max-size", str(message_bytes), "--ws-per-message-deflate", "false")


class HostLimits:
    """Sets the limit of each WebSocket, and warns once where the server's own are wide."""

    def __init__(self) -> None:
        self._has_warned = False

    def set(self, send: object, message_bytes: int) -> None:
        """Limit the messages of a WebSocket before its handshake is answered."""
        for owner in _owners(send):
            with suppress(AttributeError, TypeError):
                self._set(owner, message_bytes)

    def _set(self, owner: Any, message_bytes: int) -> None:  # noqa: ANN401  # of any server, in many versions
        limit = _TIMES * message_bytes
        config = getattr(owner, "config", None)
        accepted = getattr(config, "ws_max_size", None)
        deflates = getattr(config, "ws_per_message_deflate", None)
        if isinstance(accepted, int) and isinstance(deflates, bool):
            self._warn(accepted, deflates, message_bytes)
            _limit_uvicorn(owner, limit)
        elif _is_number(getattr(getattr(owner, "buffer", None), "max_length", None)):  # Hypercorn
            owner.buffer.max_length = min(owner.buffer.max_length, limit)
        elif _is_number(getattr(owner, "maxMessagePayloadSize", None)):  # Daphne
            _limit_daphne(owner, limit)

    def _warn(self, accepted: int, deflates: bool, message_bytes: int) -> None:
        if self._has_warned or (accepted <= _TIMES * message_bytes and not deflates):
            return
        self._has_warned = True
        compressed = ", compressed ones too" if deflates else ""
        logger.warning(
            "uvicorn accepts messages of %d bytes%s, before a token; "
            "%d bytes are enough here: start it with %s",
            *(accepted, compressed, message_bytes, " ".join(uvicorn_flags(message_bytes))),
        )


def _limit_uvicorn(protocol: Any, limit: int) -> None:  # noqa: ANN401
    """Limit one of uvicorn's protocols: on websockets' state machine, on its legacy class, on wsproto."""
    machine = getattr(protocol, "conn", protocol)
    for owner, name in (
        (machine, "max_message_size"),
        (machine, "max_size"),
        (getattr(protocol, "buffer", None), "max_length"),
    ):
        current: Any = getattr(owner, name, None)
        if owner is not None and _is_number(current):
            setattr(owner, name, min(current, limit))
    if type(machine).__module__.startswith("wsproto"):
        # wsproto inflates what has arrived before uvicorn counts it. It is configured when we accept.
        protocol.config = copy.copy(protocol.config)
        protocol.config.ws_per_message_deflate = False


def _limit_daphne(protocol: Any, limit: int) -> None:  # noqa: ANN401
    """Limit what a protocol of Autobahn receives; its own limit (0: none) is for what it sends as well."""
    set_before: int = protocol.maxMessagePayloadSize
    send_message: Callable[..., object] = protocol.sendMessage

    def send_of_any_size(*arguments: object, **named: object) -> object:
        protocol.maxMessagePayloadSize = set_before
        try:
            return send_message(*arguments, **named)
        finally:
            protocol.maxMessagePayloadSize = min(set_before or limit, limit)

    protocol.sendMessage = send_of_any_size
    protocol.maxMessagePayloadSize = min(set_before or limit, limit)


def _owners(send: object) -> Iterator[Any]:
    """Yield what may be the server's protocol or stream: owners of `send`, of the task, and of its `send`."""
    task = asyncio.current_task()
    frame = None if task is None else getattr(task.get_coro(), "cr_frame", None)
    local: dict[str, Any] = {} if frame is None else frame.f_locals
    for found in (send, local.get("send")):
        yield getattr(found, "__self__", None)
        if isinstance(found, functools.partial):
            yield from found.args
    yield local.get("self")


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


host_limits = HostLimits()
"""Those of this process."""
