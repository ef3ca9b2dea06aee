"""Open files: each client is one, and a process is allowed few of them until it asks for more."""

from __future__ import annotations

SPARE_FILES = 200
"""What a process opens beside its clients."""


def allow_files(wanted: int) -> int:
    """Let this process, and those that it starts, open so many files; return how many they may open."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return max(soft, wanted)
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
