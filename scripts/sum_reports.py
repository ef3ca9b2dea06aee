"""Add up JUnit reports: what failed, a line each, and one line: how many passed, failed and were skipped."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

MOST_CHARACTERS = 400
"""Of what is said of a test that failed."""


@dataclass(frozen=True)
class Totals:
    """What reports count."""

    passed: int
    failed: int
    skipped: int
    unstable: int = 0
    """Those of the passed that failed at first."""

    def __str__(self) -> str:
        unstable = f", {self.unstable} unstable" if self.unstable else ""
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped{unstable}"

    @property
    def status(self) -> int:
        """The exit status: where no test ran, none passed."""
        return 1 if self.failed or not self.passed else 0


def sum_up(paths: Iterable[Path], failed_besides: int = 0, unstable: int = 0) -> Totals:
    """Add up reports, and failures that stand in none of them; `unstable` ones passed in the end."""
    total, failed, skipped = 0, 0, 0
    for path in paths:
        for suite in ET.fromstring(path.read_bytes()).iter("testsuite"):
            total += int(suite.get("tests", "0"))
            failed += int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
            skipped += int(suite.get("skipped", "0"))
    return Totals(total - failed - skipped + unstable, failed - unstable + failed_besides, skipped, unstable)


def failures(paths: Iterable[Path], word: str = "FAILED") -> list[str]:
    """Return a line for each test that failed: where a log is cut, its end is what is left."""
    return [
        f"{word} {case.get('classname')} {case.get('name')}: {_in_short(found)}"
        for path in paths
        for case in ET.fromstring(path.read_bytes()).iter("testcase")
        for found in case
        if found.tag in {"failure", "error"}
    ]


def _in_short(found: ET.Element) -> str:
    words = " ".join(f"{found.get('message', '')} {found.text or ''}".split())
    return words if len(words) <= MOST_CHARACTERS else f"{words[:MOST_CHARACTERS]}..."


def main(paths: list[str]) -> int:
    totals = sum_up(map(Path, paths))
    print(*failures(map(Path, paths)), totals, sep="\n")
    return totals.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
