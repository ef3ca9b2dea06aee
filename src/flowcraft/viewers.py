"""Viewers: the identity of a client, as its token proves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Viewer:
    """An authenticated person or program.

    `expires_at` is when the token expires, in seconds since the epoch; None if it does not. The connection
    ends then; if that is past already, because clocks differ, `leeway_seconds` later.
    """

    subject: str
    claims: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)
    expires_at: float | None = None
    leeway_seconds: float = 0.0
