"""Scraping: what Prometheus would read of a server, as values by name and labels."""

from __future__ import annotations

import asyncio
import os
import urllib.request
from collections.abc import Mapping
from typing import TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from flowcraft.entrypoints.pages import ADMIN_TOKEN

Labels: TypeAlias = frozenset[tuple[str, str]]


class Scrape:
    """One answer."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.values: dict[tuple[str, Labels], float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        """The one value with these labels."""
        return self.values[f"flowcraft_{name}", frozenset(labels.items())]

    def by(self, label: str, name: str, **labels: str) -> Mapping[str, float]:
        """The values with these labels, by one more."""
        given = frozenset(labels.items())
        return {
            dict(found)[label]: value
            for (sample, found), value in self.values.items()
            if sample == f"flowcraft_{name}" and found >= given and label in dict(found)
        }

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.values}


os.environ[ADMIN_TOKEN] = "the token of the tests"  # for this process, and the servers that it starts


async def scrape(address: str) -> Scrape:
    """Ask the server of a WebSocket's address, as an administrator."""
    page = f"http{address.removeprefix('ws').removesuffix('/realtime')}/metrics"
    return Scrape(await asyncio.to_thread(_read, page))


def _read(page: str) -> str:
    request = urllib.request.Request(page, headers={"Authorization": f"Bearer {os.environ[ADMIN_TOKEN]}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
    return text
