"""Open files: raise the soft limit, since each client is an open file."""

from __future__ import annotations

SPARE_FILES = 200
"""Open files of a process beside its clients."""


def allow_files(wanted: int) -> int:
    """Raise the limit of open files for this process and its children; return the limit now in force."""
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
