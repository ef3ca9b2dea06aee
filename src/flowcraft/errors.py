"""Errors: one class for each error that a caller may want to catch, with the code that clients receive."""

from __future__ import annotations

from typing import ClassVar, Literal


class RealtimeError(Exception):
    """Base of every error that is not a programmer's mistake."""

    code: ClassVar[str] = "internal"


class DeclarationError(TypeError):
    """A channel, an event or a source is declared wrongly; the text names the correct declaration."""


class PayloadInvalid(RealtimeError, ValueError):
    """An event does not fit its declared type; nothing was stored."""

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
    """No declared channel has this name. Clients receive the same code as when a guard refuses."""

    code = "forbidden"

    def __init__(self, name: str, suggestion: str | None = None) -> None:
        hint = f"; did you mean {suggestion!r}?" if suggestion else "; see `flowcraft channel list`"
        super().__init__(f"channel {name[:64]!r} is not declared{hint}")
        self.name = name
        self.suggestion = suggestion


class TokenInvalid(RealtimeError):
    """A token that is malformed, forged, or for another audience.

    The text, which clients receive, is the same for all. `reason` is for the server's log.
    """

    code = "invalid_token"

    def __init__(self, reason: str = "the authorizer gave no reason") -> None:
        super().__init__("the token is not valid")
        self.reason = reason


class TokenExpired(TokenInvalid):
    """A token that has expired; the client fetches a new one and reconnects."""

    code = "invalid_token"


class TokenNotUsableYet(TokenInvalid):
    """A token that may be valid later: not yet valid, of an unknown key, or its keys cannot be fetched now.

    The client fetches a token and reconnects.
    """

    code = "invalid_token"


class BadRequest(RealtimeError, ValueError):
    """A client's frame that does not follow the protocol."""

    code = "bad_request"


class LimitExceeded(RealtimeError):
    """A client asked for more than the settings allow."""

    code = "limit_exceeded"


class RowsLimitExceeded(LimitExceeded):
    """The rows of a channel are more than the settings allow.

    `limit` is the name of the setting, `value` its value; `advice` ends the message.
    """

    def __init__(
        self, channel: str, limit: Literal["rows_per_channel", "rows_bytes"], value: int, advice: str
    ) -> None:
        what = "rows" if limit == "rows_per_channel" else "bytes of rows"
        super().__init__(f"{channel} has more than {value} {what}{advice}")
        self.limit: Literal["rows_per_channel", "rows_bytes"] = limit
        self.value = value
        self.advice = advice


class RowsUnreadable(RealtimeError):
    """The rows of a channel cannot be read now. `reason` is for the server's log."""

    code = "rows_unreadable"

    def __init__(self, channel: str, reason: str = "") -> None:
        super().__init__(f"the rows of {channel} cannot be read now; ask again later")
        self.reason = reason


class RowsUnsupported(RealtimeError):
    """A channel of rows is declared on a backend that has no tables."""

    code = "rows_unsupported"

    def __init__(self, backend: str, channel: str) -> None:
        super().__init__(
            f"{backend} has no tables, whose rows {channel} needs; serve it from PostgresBackend"
        )


class PresenceUnsupported(RealtimeError):
    """A channel with presence is declared on a backend that stores no members."""

    code = "presence_unsupported"

    def __init__(self, backend: str, channel: str) -> None:
        super().__init__(
            f"{backend} stores no members, which presence on {channel} needs; serve it from PostgresBackend"
        )


class CursorUnusable(RealtimeError):
    """The records after a cursor cannot be replayed; the client must reload its state.

    `reason` is the reason in the `reset` frame.
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
    """The log no longer reaches back to the cursor, or a replay would exceed its limit.

    `floor` is the oldest transaction that the log still keeps; None if a replay would exceed its limit.
    """

    reason = "expired"

    def __init__(self, cursor: str, floor: int | None = None) -> None:
        explanation = (
            "has too much after it to be replayed" if floor is None else "is older than the log keeps"
        )
        super().__init__(cursor, explanation)
        self.floor = floor


class CursorRewound(CursorUnusable):
    """The cursor names commits that this database does not have: a crash or failover lost them.

    `lost` are the marks of a cursor of which that is known (`Cursor.marks`), if the log has others too.
    """

    reason = "rewound"

    def __init__(self, cursor: str, lost: frozenset[tuple[int, int]] = frozenset()) -> None:
        super().__init__(cursor, "names commits that the database does not have")
        self.lost = lost


class CursorOfOtherDatabase(CursorUnusable):
    """The cursor was issued by another database."""

    reason = "other_database"

    def __init__(self, cursor: str) -> None:
        super().__init__(cursor, "was issued by another database")


class CursorUnreadable(CursorUnusable):
    """A record after the cursor cannot be read, although the log can; the server logs the cause."""

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
    """The log cannot be read now: the database is down, a standby, or without the schema `flowcraft`."""

    code = "log_unavailable"


class LogTimeout(LogUnavailable):
    """The database did not respond in time: the connection is lost, or the statement takes too long."""

    code = "log_unavailable"
