"""Errors: one class for each thing a caller may want to catch, with the code that clients see."""

from __future__ import annotations

from typing import ClassVar, Literal


class RealtimeError(Exception):
    """Base of every error that is not a programmer's mistake."""

    code: ClassVar[str] = "internal"


class DeclarationError(TypeError):
    """A channel, an event or a source is declared wrongly; the text has what to write instead."""


class PayloadInvalid(RealtimeError, ValueError):
    """An event does not fit its type; nothing was stored."""

    code = "payload_invalid"

    def __init__(self, event_type: str, reason: str) -> None:
        super().__init__(f"{event_type} does not fit its type: {reason}")
        self.event_type = event_type
        self.reason = reason


class ChannelNameInvalid(RealtimeError, ValueError):
    """A channel name outside the grammar."""

    code = "bad_channel"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"channel name {name[:64]!r} is not of the form <entity>_update, <entity>.<id>, system or "
            "dashboard (lower case, digits and _ before the dot; letters, digits, _ and - after it)"
        )
        self.name = name


class ChannelUnknown(RealtimeError, LookupError):
    """No declared channel has this name. Clients see the same as for a channel they may not watch."""

    code = "forbidden"

    def __init__(self, name: str, suggestion: str | None = None) -> None:
        hint = f"; did you mean {suggestion!r}?" if suggestion else "; see `flowcraft channel list`"
        super().__init__(f"channel {name[:64]!r} is not declared{hint}")
        self.name = name
        self.suggestion = suggestion


class TokenInvalid(RealtimeError):
    """A token that proves nothing: malformed, forged, or for another audience. One text for all."""

    code = "invalid_token"

    def __init__(self) -> None:
        super().__init__("the token is not valid")


class TokenExpired(TokenInvalid):
    """A token that was good once; the client fetches another and comes back."""

    code = "invalid_token"


class BadRequest(RealtimeError, ValueError):
    """A client's frame that does not follow the protocol."""

    code = "bad_request"


class LimitExceeded(RealtimeError):
    """A client asked for more than the settings allow."""

    code = "limit_exceeded"


class CursorUnusable(RealtimeError):
    """What lies after a cursor cannot be replayed; the client must reload its state.

    `reason` is that of the `reset` frame.
    """

    reason: ClassVar[Literal["malformed", "expired", "rewound", "other_database", "unreadable"]]

    def __init__(self, cursor: str, explanation: str) -> None:
        super().__init__(f"cursor {cursor[:64]} {explanation}; reload the state and subscribe again")
        self.cursor = cursor


class CursorMalformed(CursorUnusable):
    """A text that is not a cursor."""

    reason = "malformed"

    def __init__(self, cursor: str) -> None:
        super().__init__(repr(cursor[:64]), "is not a cursor")


class CursorExpired(CursorUnusable):
    """The log no longer reaches back that far, or there is too much to replay.

    `floor` is the oldest transaction that the log still keeps; None where there is too much.
    """

    reason = "expired"

    def __init__(self, cursor: str, floor: int | None = None) -> None:
        explanation = (
            "has too much after it to be replayed" if floor is None else "is older than the log keeps"
        )
        super().__init__(cursor, explanation)
        self.floor = floor


class CursorRewound(CursorUnusable):
    """The cursor names commits that this database does not have (a crash or fail-over lost them)."""

    reason = "rewound"

    def __init__(self, cursor: str) -> None:
        super().__init__(cursor, "names commits that the database does not have")


class CursorOfOtherDatabase(CursorUnusable):
    """The cursor was issued by another database."""

    reason = "other_database"

    def __init__(self, cursor: str) -> None:
        super().__init__(cursor, "was issued by another database")


class CursorUnreadable(CursorUnusable):
    """What lies after the cursor cannot be read, although the log can be; the server's log has the cause."""

    reason = "unreadable"

    def __init__(self, cursor: str) -> None:
        super().__init__(cursor, "has something after it that cannot be read")


class SchemaNotOwned(RealtimeError):
    """The schema `flowcraft` has objects that the migrating role does not own; nothing was changed.

    The text names each object with its owner, and the SQL that removes it or makes it the migrating role's.
    """

    code = "schema_not_owned"


class SchemaDiffers(RealtimeError):
    """Another version migrated the schema `flowcraft`, and this one cannot take it over; nothing was changed.

    The text names each migration, table or function that differs, and what to do.
    """

    code = "schema_differs"


class LogUnavailable(RealtimeError):
    """The database cannot be read now: down, a standby, or without the schema `flowcraft`."""

    code = "log_unavailable"


class LogTimeout(LogUnavailable):
    """The database did not answer in time: it is gone, or what was asked for takes too long."""

    code = "log_unavailable"
