"""Xids: the ids of transactions, and sets of them as ranges."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import pairwise
from typing import final

LARGEST_XID = 2**63 - 1
"""The largest bigint, as which our SQL functions take ids. xid8 is unsigned and has twice as many."""
_XID = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@final
class Xids(AbstractSet[int]):
    """A set of transaction ids as ranges: a reader may be 10^6 transactions behind, all of them in a row."""

    __slots__ = ("ranges",)

    def __init__(self, ranges: tuple[tuple[int, int], ...] = ()) -> None:
        """Take ranges, each with its first and last id; they ascend and do not touch."""
        self.ranges = ranges

    @classmethod
    def of(cls, ids: Iterable[int]) -> Xids:
        """Return the set of some ids."""
        return ids if isinstance(ids, Xids) else cls._joined([(xid, xid) for xid in ids])

    @classmethod
    def parse(cls, text: str) -> Xids:
        """Read `752-760,765`."""
        parts = [part.partition("-") for part in text.split(",")] if text else []
        return cls(tuple([(int(first), int(last or first)) for first, _, last in parts]))

    @classmethod
    def _joined(cls, ranges: Iterable[tuple[int, int]]) -> Xids:
        joined: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
            else:
                joined.append((first, last))
        return cls(tuple(joined))

    def __str__(self) -> str:
        return ",".join([f"{first}-{last}" if first < last else str(first) for first, last in self.ranges])

    def __repr__(self) -> str:
        return f"Xids({str(self)!r})"

    def __contains__(self, xid: object) -> bool:
        if not isinstance(xid, int):
            return False
        at = bisect_right(self.ranges, xid, key=_first)
        return at > 0 and xid <= self.ranges[at - 1][1]

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Xids):
            return self.ranges == other.ranges
        return isinstance(other, AbstractSet) and set(self) == other

    def __hash__(self) -> int:
        return hash(self.ranges)

    def below(self, xid: int) -> Xids:
        """Return the ids that are smaller than `xid`."""
        if not self.ranges or self.ranges[-1][1] < xid:
            return self
        return Xids(tuple([(first, min(last, xid - 1)) for first, last in self.ranges if first < xid]))

    def union(self, other: Xids) -> Xids:
        """Return the ids of both."""
        return self._joined((*self.ranges, *other.ranges)) if self.ranges and other.ranges else self or other

    def is_within(self, other: Xids) -> bool:
        """Return whether another set has all of these ids."""
        return all(last <= other._end_of(first) for first, last in self.ranges)

    def is_possible(self) -> bool:
        """Return whether the ranges ascend, do not touch, and begin above 0."""
        ends = [xid for range_ in self.ranges for xid in range_]
        orderly = all(first <= last for first, last in self.ranges)
        apart = all(last + 1 < first for (_, last), (first, _) in pairwise(self.ranges))
        return orderly and apart and (not ends or ends[0] >= 1)

    def _end_of(self, xid: int) -> int:
        """Return the last id of the range that has an id, 0 if none has it."""
        at = bisect_right(self.ranges, xid, key=_first)
        return self.ranges[at - 1][1] if at > 0 and xid <= self.ranges[at - 1][1] else 0


NO_XIDS = Xids()


def parse_xid(text: str) -> int | None:
    """Parse a transaction id in decimal without leading zeros; None if the text is anything else."""
    xid = int(text) if _XID.fullmatch(text) else None
    return None if xid is None or xid > LARGEST_XID else xid


def _first(range_: tuple[int, int]) -> int:
    return range_[0]
