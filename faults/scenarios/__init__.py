"""Scenarios: each inflicts faults, heals them, and judges the invariants it names."""

from __future__ import annotations

from importlib import import_module

MODULES = (
    "loss",
    "order",
    "resume",
    "recovery",
    "deploy",
    "slow",
    "writers",
    "servers",
    "churn",
    "payloads",
    "items",
    "rows",
    "presence",
    "rights",
    "withdrawals",
    "attacks",
    "edges",
)


def load() -> None:
    """Import every module of scenarios, which registers them in the order in which they run."""
    for name in MODULES:
        import_module(f"faults.scenarios.{name}")
