"""Refusals: answer the names of one request that are refused, with one frame for each code."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flowcraft.core import frames
from flowcraft.errors import BadRequest, ChannelNameInvalid, LimitExceeded, RealtimeError

_ECHOED = 64
"""Characters of a refused name that are sent back: the length of the longest part of a valid one."""
_ROWS = 'rows; subscribe without "rows"'
_MEMBERS = 'members; subscribe without "present", or to <entity>_members of a channel with presence'
_HINTS = 3
"""The most hints in one answer."""


class Forbidden(RealtimeError):
    """Channels are unknown or not allowed; the client cannot learn which of the two."""

    code = "forbidden"

    def __init__(self, name: str | None = None, hint: str = "") -> None:
        what = "these channels are" if name is None else f"channel {name!r} is"
        which = "them" if name is None else "it"
        super().__init__(f"{what} not declared, or you may not subscribe to {which}{hint}")
        self.hint = hint


class _NamesInvalid(RealtimeError):
    code = "bad_channel"

    def __init__(self) -> None:
        super().__init__(
            "these names are not of the form <entity>_update, <entity>.<id>, system or dashboard"
        )


class Refusals(msgspec.Struct):
    """The refused names of one request, in its order.

    A client may name thousands of channels in one message: one answer for each would cost the server many
    times what the message costs the client.
    """

    _ref: int | None
    _forbidden: dict[str, Forbidden] = {}
    _invalid: dict[str, ChannelNameInvalid] = {}
    _unfit: dict[str, BadRequest] = {}
    _lacking: dict[str, None] = {}
    """What these have none of."""

    def forbid(self, name: str, hint: str = "") -> None:
        """Refuse a channel that is unknown or not allowed."""
        # In full: it follows the grammar, which bounds its length, and the client knows it by its whole name.
        self._forbidden[name] = Forbidden(name[:_ECHOED], hint)

    def invalid(self, name: str, error: ChannelNameInvalid) -> None:
        """Refuse a name outside the grammar."""
        self._invalid[name[:_ECHOED]] = error

    def has_no_rows(self, name: str) -> None:
        """Refuse the rows of a channel that has none."""
        self._has_no(_ROWS, name)

    def has_no_members(self, name: str) -> None:
        """Refuse presence on a channel that has no members."""
        self._has_no(_MEMBERS, name)

    def limit(self, names: tuple[str, ...], error: LimitExceeded) -> bytes:
        """Return the frame for names that are one too many."""
        (frame,) = self._frame(dict.fromkeys(names, error), error)
        return frame

    def frames(self) -> list[bytes]:
        """Return the frames: at most one for each code."""
        if not (self._forbidden or self._invalid or self._unfit):
            return []
        hints = "".join([error.hint for error in self._forbidden.values()][:_HINTS])
        return [
            *self._frame(self._forbidden, Forbidden(None, hints)),
            *self._frame(self._invalid, _NamesInvalid()),
            *self._frame(self._unfit, BadRequest(f"these channels have no {', or no '.join(self._lacking)}")),
        ]

    def _has_no(self, what: str, name: str) -> None:
        self._unfit[name] = BadRequest(f"channel {name!r} has no {what}")
        self._lacking[what] = None

    def _frame(self, errors: Mapping[str, RealtimeError], together: RealtimeError) -> list[bytes]:
        names = tuple(errors)
        if len(names) == 1:
            return [frames.error(errors[names[0]], channel=names[0], ref=self._ref)]
        return [frames.error(together, channels=names, ref=self._ref)] if names else []
