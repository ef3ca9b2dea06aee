"""Open files: raise the limit of the process, because each client takes one file descriptor."""

from __future__ import annotations

SPARE_FILES = 200
"""File descriptors beside the clients': listening sockets, database connections, pipes, imported files."""


def allow_files(wanted: int) -> int:
    """Let this process and its children open so many files; return how many they may open now."""
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
