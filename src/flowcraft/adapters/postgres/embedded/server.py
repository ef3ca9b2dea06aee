"""The embedded server: it starts in half a second and ends with its owner."""

from __future__ import annotations

import atexit
import os
import secrets
import signal
import socket
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, final
from urllib.parse import quote

from flowcraft.adapters.postgres.embedded.binaries import find_binaries
from flowcraft.adapters.postgres.embedded.data_directory import (
    SUPERUSER,
    ServerFailed,
    await_end,
    await_unused,
    forget_shared_memory,
    initialise,
    major_of,
    processes_in,
    signal_all,
)
from flowcraft.adapters.postgres.embedded.identity import identity_for
from flowcraft.adapters.postgres.embedded.postmaster import Postmaster
from flowcraft.adapters.postgres.embedded.simple_query import Row, simple_query
from flowcraft.adapters.postgres.embedded.temporary import TemporaryFolder, in_memory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from flowcraft.adapters.postgres.embedded.binaries import Binaries
    from flowcraft.adapters.postgres.embedded.identity import Identity

DEFAULT_PORT = 5432
LONGEST_SOCKET_PATH_BYTES = 103  # of macOS; Linux has 107
START_SECONDS = 60.0  # recovery after a crash reads up to `max_wal_size` of WAL
STOP_SECONDS = 20.0
PREDECESSOR_SECONDS = 5.0  # a server whose owner was killed has SIGQUIT, and ends without a checkpoint
HOW = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
STRATEGY_SINCE = 15
# With these settings a crash of the server still loses no data: the operating system keeps the pages.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}
SMALL = {"min_wal_size": "32MB", "max_wal_size": "256MB"}
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


@final
class EmbeddedPostgres:
    """A PostgreSQL server that belongs to this process.

    The server ends when this process ends, on Linux also by SIGKILL. It listens on a Unix socket that only
    the present user can reach, where it asks for no password; on the loopback interface only if a port is
    given, and then with a password. The methods block: in asyncio, call them in a thread. The thread may end
    before the server.
    """

    def __init__(
        self,
        directory: Path,
        binaries: Binaries,
        settings: Mapping[str, str],
        port: int | None,
        temporary: list[TemporaryFolder],
    ) -> None:
        """Prepare a server; call `start` to have one that runs."""
        self.directory = directory
        self.binaries = binaries
        self.port = port
        self._settings = settings
        self._temporary = temporary
        self._sockets = self._socket_folder()
        self._password = secrets.token_urlsafe(12)
        self._postmaster: Postmaster | None = None
        self._owner = os.getpid()
        atexit.register(self.close)

    @classmethod
    def start(
        cls,
        directory: Path | None = None,
        *,
        binaries: Binaries | None = None,
        settings: Mapping[str, str] = NO_SETTINGS,
        durable: bool = False,
        port: int | None = None,
    ) -> Self:
        """Start a server in a new or an existing data directory; without one, in a temporary one.

        An existing directory is served by the version that made it. Unless `durable`, a crash of the machine
        (not one of the server) may ruin the data, and a temporary directory lies in memory if there is room.
        Port 0 stands for any free one.

        Raises:
            BinariesNotFound: no suitable PostgreSQL is installed.
            DataDirectoryInUse: another server works in that directory.
            ServerFailed: the server does not start; the text has the end of its log.
        """
        binaries = binaries or find_binaries(prefer=major_of(directory) if directory else None)
        folders = [] if directory else [TemporaryFolder(None if durable else in_memory())]
        place = directory.absolute() if directory else folders[0].path / "data"
        defaults = {**({} if durable else NOT_DURABLE), **({} if directory else SMALL)}
        server = cls(place, binaries, {**defaults, **settings}, _free_port() if port == 0 else port, folders)
        try:
            server.restart()
        except BaseException:
            server.close()
            raise
        return server

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server if it runs, and start it again on the same data, port and socket.

        Raises:
            DataDirectoryInUse: another server works in the directory.
            ServerFailed: the server does not start; the text has the end of its log.
        """
        self.stop(mode)
        identity = identity_for(self.directory)
        self._let_in(identity)
        await_unused(self.directory, PREDECESSOR_SECONDS)
        found = major_of(self.directory)
        if found is None:
            initialise(self.directory, self.binaries, identity)
        elif found != self.binaries.major:
            raise ServerFailed(
                f"{self.directory} was made by PostgreSQL {found}, which {self.binaries} cannot serve"
            )
        self._postmaster = Postmaster(self._command(), self.directory, identity)
        self._postmaster.await_ready(START_SECONDS)
        if self.port is not None and not self._stands_by():
            self.execute(f"alter role {SUPERUSER} password '{self._password}'")

    def _stands_by(self) -> bool:
        # A standby takes no commands; its passwords are those of its primary.
        return (self.directory / "standby.signal").exists()

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server: `fast` ends sessions and writes everything down, `immediate` needs recovery.

        A server that does not stop in 20 s is stopped immediately, and failing that it is killed.
        """
        postmaster, self._postmaster = self._postmaster, None
        if postmaster is None:
            return
        if not (postmaster.end(HOW[mode], STOP_SECONDS) or postmaster.end(signal.SIGQUIT, STOP_SECONDS)):
            self._kill(postmaster)

    def kill(self) -> None:
        """Kill the server and all its processes at once, as if by a power cut that spares the system's cache.

        `restart()`, or `start` in the same directory, recovers.
        """
        postmaster, self._postmaster = self._postmaster, None
        if postmaster is not None:
            self._kill(postmaster)

    def _kill(self, postmaster: Postmaster) -> None:
        backends = processes_in(self.directory)
        postmaster.end(signal.SIGKILL, STOP_SECONDS)
        signal_all(backends, signal.SIGKILL)
        await_end(backends, STOP_SECONDS)
        forget_shared_memory(self.directory)

    def close(self) -> None:
        """Stop the server and remove what is temporary; the end of this process does the same."""
        if os.getpid() != self._owner:
            return  # a fork: the server belongs to the parent process
        atexit.unregister(self.close)
        data_is_temporary = any(folder.path in self.directory.parents for folder in self._temporary)
        self.stop("immediate" if data_is_temporary else "fast")
        while self._temporary:
            self._temporary.pop().remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def dsn(self) -> str:
        """The superuser's address by the Unix socket, for psql, psycopg and asyncpg alike."""
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        """The superuser's address of one database, by the Unix socket."""
        port = "" if self.port is None else f"&port={self.port}"
        return f"postgresql://{SUPERUSER}@/{quote(database)}?host={quote(str(self._sockets))}{port}"

    @property
    def tcp_dsn(self) -> str | None:
        """The superuser's address on the loopback interface, with its password; None without a port."""
        if self.port is None:
            return None
        return f"postgresql://{SUPERUSER}:{self._password}@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int | None:
        """The process id of the running server."""
        running = self._postmaster is not None and self._postmaster.running
        return self._postmaster.pid if self._postmaster is not None and running else None

    def log_tail(self) -> str:
        """Return the end of what the running server has logged."""
        return self._postmaster.log_tail() if self._postmaster else ""

    def create_database(self, name: str, template: str = "template1") -> str:
        """Make a database, a copy of the template, and return its address.

        Raises:
            QueryFailed: there is one of that name, or a session is connected to the template.
        """
        # Copying files needs checkpoints, which are cheap without fsync: 12 ms instead of 22 for wal_log.
        strategy = "strategy file_copy" if self.binaries.major >= STRATEGY_SINCE else ""
        self.execute(f"create database {_quoted(name)} template {_quoted(template)} {strategy}")
        return self.dsn_of(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, and end the sessions that are connected to it."""
        self.execute(f"drop database if exists {_quoted(name)} with (force)")

    def execute(self, sql: str, database: str = "postgres") -> list[Row]:
        """Run one SQL command as superuser, outside any transaction, and return its rows as text.

        Raises:
            QueryFailed: the server refused it.
            OSError: the server does not run.
        """
        path = self._sockets / f".s.PGSQL.{self.port or DEFAULT_PORT}"
        return simple_query(path, SUPERUSER, database, sql)

    def _socket_folder(self) -> Path:
        if _fits_a_socket(self.directory):
            return self.directory
        folder = TemporaryFolder()
        if not _fits_a_socket(folder.path):
            folder.remove()
            folder = TemporaryFolder(Path("/tmp"))  # noqa: S108  # made with a random name and mode 0700
        self._temporary.append(folder)
        return folder.path

    def _let_in(self, identity: Identity) -> None:
        """Let the server's user pass through the temporary folders, and put its socket into one."""
        if identity.kind == "user":
            for folder in self._temporary:
                if folder.path == self._sockets:
                    os.chown(folder.path, identity.uid, identity.gid)
                else:
                    folder.path.chmod(0o711)

    def _command(self) -> list[str | Path]:
        settings = {
            "listen_addresses": "" if self.port is None else "127.0.0.1",
            "port": str(self.port or DEFAULT_PORT),
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
            # Not in /dev/shm, where a killed server would leave it behind and containers have little room.
            "dynamic_shared_memory_type": "mmap",
            **self._settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [self.binaries.directory / "postgres", "-D", self.directory, *options]


def _fits_a_socket(folder: Path) -> bool:
    # A comma separates folders, for the server as for libpq.
    path = os.fsencode(folder / ".s.PGSQL.65535")
    return len(path) <= LONGEST_SOCKET_PATH_BYTES and not set(b',"') & set(path)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
