"""Payloads: what a browser parses is what a service broadcast, whatever is in it (I15)."""

from __future__ import annotations

import json
import random

import msgspec

from faults.app import Document, Tree, document_update
from faults.node_host import NodeHost
from faults.outcomes import Outcome, judged, scenario
from faults.stage import Stage
from flowcraft.adapters.postgres.service import PostgresRealtimeService

LARGEST_EXACT = 2**53
ROOM = 262_144
ALPHABET = (
    "a",
    "é",
    "🚀",
    "👩‍👩‍👧",
    "\u2028",
    "\u2029",
    "\ufeff",
    "\x7f",
    '"',
    "\\",
    "/",
    "\n",
    "\t",
    "</script>",
    "\u202e",
    "\ud7ff",
    "\U0010ffff",
)


@scenario("I15")
async def payloads_arrive_as_they_were_broadcast(stage: Stage) -> list[Outcome]:
    """Empty to 256 KiB, emoji, separators, large numbers, deep values: compared after JavaScript's parse."""
    await stage.serve()
    documents = list(_documents(stage.chance))
    service = PostgresRealtimeService(stage.dsn)
    try:
        async with NodeHost.open() as host:
            await host.open_client("reader", stage.address)
            echo = await host.follow_texts("reader", "document_update")
            for document in documents:
                await service.broadcast(document_update, document)
            await host.settled("reader", await stage.commit_marker())
            texts = [json.loads(text) for text in echo.texts]
    finally:
        await service.close()
    sent = [json.loads(msgspec.json.encode(document)) for document in documents]
    wrong = sum(a != b for a, b in zip(sent, texts, strict=False)) + abs(len(sent) - len(texts))
    largest = max(len(msgspec.json.encode(document)) for document in documents)
    return [
        judged(
            "I15",
            {"equal": wrong == 0, "up to 256 KiB": largest > 0.99 * ROOM},
            {"payloads": len(documents), "different": wrong, "largest_bytes": largest},
        )
    ]


def _documents(chance: random.Random) -> list[Document]:
    texts = ["", *ALPHABET, "".join(ALPHABET), "x" * (ROOM - 1024), "🚀" * 60_000]
    texts += ["".join(chance.choices(ALPHABET, k=chance.randint(1, 200))) for _ in range(80)]
    numbers = [0, -1, LARGEST_EXACT, LARGEST_EXACT - 1, -LARGEST_EXACT]
    large = [0, LARGEST_EXACT + 1, 2**63 - 1, -(2**63), LARGEST_EXACT - 1]
    return [
        Document(
            row="document",
            version=number,
            text=text,
            number=numbers[number % len(numbers)],
            large=str(large[number % len(large)]),
            nested=_tree(number % 30),
        )
        for number, text in enumerate(texts)
    ]


def _tree(depth: int) -> Tree | None:
    tree = None
    for level in range(depth):
        tree = Tree(name=f"{level} 🌳", below=tree)
    return tree
