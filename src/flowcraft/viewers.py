"""Viewers: the identity of a client, as its token proves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Viewer:
    """An authenticated person or program. `expires_at` is in seconds since the epoch."""

    subject: str
    claims: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)
    expires_at: float | None = None
