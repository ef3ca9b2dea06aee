"""ASGI servers from PyPI, in an environment of their own below `build/`, and how each is started."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "uvicorn", "fastapi[standard]", "hypercorn", "daphne", "granian", "gunicorn", "uvicorn-worker",
    "httptools", "wsproto", "uvloop", "websockets>=15", "h2", "httpx", "httpx-ws", "asgi-lifespan",
    "channels", "asyncpg", "msgspec", "PyJWT[crypto]", "click", "typing_extensions", "prometheus-client",
    "sqlalchemy[asyncio]", "litestar", "django", "psycopg[binary]",
)  # fmt: skip
HOSTS = {
    "uvicorn": "uvicorn --port {port}",
    "uvicorn with workers": "uvicorn --port {port} --workers 2",
    "uvicorn that reloads": "uvicorn --port {port} --reload --reload-dir tests/support",
    "gunicorn with uvicorn's worker": "gunicorn -b 127.0.0.1:{port} -k uvicorn_worker.UvicornWorker -w 2",
    "gunicorn with its own worker": "gunicorn -b 127.0.0.1:{port} -k asgi -w 1",
    "hypercorn": "hypercorn -b 127.0.0.1:{port}",
    "hypercorn with workers": "hypercorn -b 127.0.0.1:{port} -w 2",
    "hypercorn on uvloop": "hypercorn -b 127.0.0.1:{port} -k uvloop",
    "daphne": "daphne -b 127.0.0.1 -p {port}",
    "granian": "granian --interface asgi --host 127.0.0.1 --port {port}",
    "granian on asyncio": "granian --interface asgi --host 127.0.0.1 --port {port} --loop asyncio",
    "granian with workers": "granian --interface asgi --host 127.0.0.1 --port {port} --workers 2",
}


def hosts_environment() -> Path:
    """The folder with the commands; pip makes it once for each list of packages."""
    name = sha256(repr(PACKAGES).encode()).hexdigest()[:12]
    folder = ROOT / "build" / f"hosts-{name}"
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / f"hosts-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes of pytest may want it at once
        if not (folder / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            subprocess.run(
                [folder / "bin/python", "-m", "pip", "install", "-q", "--no-compile", *PACKAGES], check=True
            )
            (folder / "ready").touch()
    return folder / "bin"


def free_port() -> int:
    """A port of 127.0.0.1 that was free just now: not every server can be asked which it was given."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Hosted:
    """An application in a server that runs as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    async def until_listening(self) -> None:
        """Wait until it accepts connections: no server says so in the same way."""
        async with asyncio.timeout(40):
            while True:
                assert self.process.returncode is None, self.log
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return


@asynccontextmanager
async def hosted(command: str, app: str, folder: Path, **environment: str) -> AsyncIterator[Hosted]:
    """Start a command of the environment with an application; it is killed if it has not ended."""
    commands, port = await asyncio.to_thread(hosts_environment), free_port()
    program, *arguments = command.format(port=port).split()
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(str(commands / program), *arguments, *app.split()),
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": "src:.", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"} | environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        served = Hosted(process, port, folder / "log")
        await served.until_listening()
        yield served
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
