"""Counts: what a node did since it started, for its health page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Carriers count here what they did to connections."""

    slow_closes: int = 0
    dead_closes: int = 0
    refused: int = 0
