"""Carrier ports: the interfaces between the runtime and what carries connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from flowcraft.core.bundles import Framing
from flowcraft.core.counts import Counts
from flowcraft.settings import Settings
from flowcraft.viewers import Handshake


class Connection(Protocol):
    """One client's connection in a carrier.

    The carrier keeps at most one chunk; the gateway's outbox keeps the rest. No method blocks, or raises for
    a client that is gone: `GatewayPort.closed` reports that.
    """

    @property
    def framing(self) -> Framing:
        """The function that turns messages into the bytes for `try_send`."""
        ...

    @property
    def address(self) -> str:
        """The client's address, for log lines: `host:port`, or empty if it is unknown."""
        ...

    def try_send(self, data: bytes) -> int:
        """Send whole messages; return how many bytes wait in the carrier now, 0 if all have been sent.

        After a result above 0 `try_send` must not be called again before `GatewayPort.writable`.
        """
        ...

    @property
    def is_direct(self) -> bool:
        """Whether bytes go to the socket itself, not through an ASGI server."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait in the carrier."""
        ...

    def ping(self) -> None:
        """Send a ping; if the client does not answer in time, `GatewayPort.unresponsive` is called."""
        ...

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        """Close with a code after all bytes sent and `rest`, at the latest a second later; idempotent."""
        ...


class Entrance(msgspec.Struct, frozen=True):
    """The request that opened a connection, and how a carrier answers it.

    `decided` is called once the request is neither refused nor undecided, perhaps before `connect` returns;
    a carrier that has not answered the request does so then, or when the connection is closed.
    """

    handshake: Callable[[], Handshake]
    credential: Literal["header", "content", "absent", "later"]
    """Where the request has its token; `later`: a message may have it."""
    decided: Callable[[], None] = lambda: None


class GatewayPort(Protocol):
    """Takes what a carrier reports of an accepted connection."""

    @property
    def message_bytes(self) -> int:
        """The longest message that the client may send now: 16 KiB at most before a required token."""
        ...

    def received(self, message: str) -> None:
        """Process a message of the client."""
        ...

    def writable(self) -> None:
        """Send more: no bytes wait in the carrier."""
        ...

    def unresponsive(self) -> None:
        """Close the connection: its client did not answer a ping in time."""
        ...

    def closed(self) -> None:
        """End: the connection is gone; idempotent."""
        ...


class NodePort(Protocol):
    """Takes new connections from carriers."""

    @property
    def settings(self) -> Settings:
        """The limits in force."""
        ...

    @property
    def accepting(self) -> bool:
        """Whether new connections are accepted: the log can be read, and the node is not full or draining."""
        ...

    @property
    def counts(self) -> Counts:
        """The node's counters; a carrier counts refused requests."""
        ...

    def has_place_for(self, address: str) -> bool:
        """Return whether one more client of an address is accepted."""
        ...

    def begin_drain(self, within: float | None = None) -> None:
        """Begin to drain the clients, because the ASGI server is stopping; idempotent.

        The drain takes `drain_seconds`, or `within` if that is shorter.
        """
        ...

    def connect(
        self,
        connection: Connection,
        channels: Sequence[str] = (),
        since: str | None = None,
        entrance: Entrance | None = None,
    ) -> GatewayPort:
        """Connect a client whose request was admitted, with the subscriptions of its URL.

        With an `entrance` its request may authenticate it.

        Raises:
            LogUnavailable: the node is not `accepting`; the client should try again.
        """
        ...
