"""Add up JUnit reports into one line: how many tests passed, failed and were skipped."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET


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


def main(paths: list[str]) -> int:
    totals = sum_up(map(Path, paths))
    print(totals)
    return totals.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
