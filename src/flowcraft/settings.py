"""Settings: every limit and interval, with its default and its unit."""

from __future__ import annotations

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How one server behaves. Build a changed copy with `Settings(heartbeat_seconds=5)`.

    Raises:
        ValueError: a value that cannot work.
    """

    heartbeat_seconds: float = 25.0
    """A connection receives a commit point at least this often."""
    pong_timeout_seconds: float = 8.0
    """A peer that answers no ping for this long is closed (4409)."""
    auth_timeout_seconds: float = 5.0
    """Where a token is required, the first message must bring it within this time (4501)."""
    safety_poll_seconds: float = 0.75
    """The log is read at least this often: a lost notification delays an event by no more."""
    outbox_bytes: int = 1024 * 1024
    """Bytes that wait for one client before it is closed to resume later (4408)."""
    outbox_seconds: float = 15.0
    """A client that has not taken what was written to it this long ago is closed too (4408)."""
    message_bytes: int = 64 * 1024
    """The longest message a client may send; where a token is required, 16 KiB until it has come."""
    message_fragments: int = 16
    """Frames in which a message may come."""
    compress: bool = False
    """Compress messages of 512 bytes and more for clients that can read it, once for all of them (RFC 7692).

    It saves traffic and costs processor time. Not for payloads in which a secret stands beside what an
    attacker may choose (BREACH). On another ASGI server than ours, that server decides.
    """
    channels_per_connection: int = 128
    """Subscriptions of one connection."""
    settles_per_connection: int = 64
    """Transactions one connection may wait for at a time."""
    retention_seconds: float = 86_400.0
    """Events are kept at least this long; older cursors are answered with `reset` (`expired`)."""
    replay_events: int = 100_000
    """A replay longer than this is answered with `reset` (`expired`)."""
    replay_bytes: int = 32 * 1024 * 1024
    """So is one with more bytes of payload: what is read is in memory until those who asked have it."""
    backlog_events: int = 200_000
    """A server that is further behind goes on from the end of the log and resets its clients (`expired`)."""
    recent_events: int = 20_000
    """Events kept in memory for clients that come back soon."""
    recent_bytes: int = 16 * 1024 * 1024
    """Bytes of payload kept in memory for them."""
    recent_seconds: float = 300.0
    """How long they are kept."""
    drain_seconds: float = 5.0
    """On shutdown, clients are sent away over this time."""
    connections: int = 20_000
    """Clients at a time; more are refused with HTTP 503, to try again."""
    listen_backlog: int = 4096
    """Connections the kernel queues while they wait to be accepted."""
    allowed_origins: tuple[str, ...] = ()
    """Pages that may connect, such as `https://app.example.com`; without any, those of the server's host."""
    development: bool = False
    """Answer a channel that is not declared with the name that was probably meant."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value: object = getattr(self, name)
            if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
