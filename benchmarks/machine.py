"""Where a benchmark ran: printed with its figures, and written beside them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CENTRIFUGO = ROOT / "build" / "centrifugo"
"""Built where there is Go."""
RESULTS = ROOT / "benchmarks" / "results"


def options(name: str, description: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=description)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; results are medians")
    parser.add_argument("--json", type=Path, help="write all figures")
    return parser


def where() -> dict[str, Any]:
    """The commit and the machine."""
    return {
        "commit": commit(),
        "machine": f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
    }


WRITTEN = (":(exclude)benchmarks/results", ":(exclude)docs")
"""What a run writes itself: the next of the same run is still of the commit."""


def commit() -> str:
    """The commit; `-dirty` if the work tree differs from it, in more than the results of this run."""
    found = _git("rev-parse", "--short", "HEAD").stdout.strip()
    is_dirty = _git("diff", "--quiet", "HEAD", "--", ".", *WRITTEN).returncode
    return (found + "-dirty" * bool(is_dirty)) if found else "unknown"


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def write(path: Path, figures: dict[str, Any]) -> None:
    """Write the figures of a run, with where they were measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(where() | figures, indent=2) + "\n", "utf-8")


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"
