"""Viewers: who is on the other end of a connection, as proven by a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Viewer:
    """A person or program that proved its identity. `expires_at` is in seconds since the epoch."""

    subject: str
    claims: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)
    expires_at: float | None = None
