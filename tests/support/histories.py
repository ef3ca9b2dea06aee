"""Histories: what a reader was given, judged by what the database holds in the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Verdict:
    """How many versions of rows never came, came again, or came after a later one."""

    lost: int
    doubled: int
    inverted: int


PERFECT = Verdict(0, 0, 0)


def judge(
    versions: Iterable[tuple[int, int]], end: Mapping[int, int], begin: Mapping[int, int] | None = None
) -> Verdict:
    """Compare the (row, version) pairs in the order they came with the versions that must have come.

    Each change counts its row's version up by one, so that after `begin` all up to `end` must come, in order.
    """
    came: dict[int, list[int]] = defaultdict(list)
    for row, version in versions:
        came[row].append(version)
    first = begin or {}
    expected = {row: set(range(first.get(row, 0) + 1, last + 1)) for row, last in end.items()}
    return Verdict(
        lost=sum(len(wanted - set(came[row])) for row, wanted in expected.items()),
        doubled=sum(
            n - 1 if version in expected.get(row, ()) else n
            for row, list_ in came.items()
            for version, n in Counter(list_).items()
        ),
        inverted=sum(b < a for list_ in came.values() for a, b in pairwise(list_)),
    )
