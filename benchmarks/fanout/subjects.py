"""Subjects: the servers that are compared, each a program that takes two ports."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fanout.control import MESSAGE_BYTES
from benchmarks.fanout.table import FLOOR, FLOOR_JOINED, OURS
from benchmarks.machine import CENTRIFUGO, ROOT

HERE = Path(__file__).parent
BUILD = ROOT / "build" / "bench"
OUR_PATH = "/realtime?channel=bench_update"


@dataclass(frozen=True, slots=True)
class Subject:
    """A server: the command that starts it, and the messages that a client sends to it."""

    name: str
    command: tuple[str, ...]
    path: str = "/"
    hellos: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    """Arguments after the two ports."""
    needs: Callable[[], str | None] = lambda: None
    """What is missing to run it, if anything."""
    pinned: bool = True
    """Whether it has one core, and the load client the other."""


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"benchmarks.fanout.{module}")


def _modules(*names: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        absent = [name for name in names if importlib.util.find_spec(name) is None]
        return f"Python package {', '.join(absent)}" if absent else None

    return missing


def _node(package: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        if shutil.which("node") is None:
            return "node"
        return None if (HERE / "node_modules" / package).exists() else f"npm package {package}"

    return missing


def _centrifugo() -> str | None:
    return None if CENTRIFUGO.exists() else "Centrifugo, for which Go is needed,"


SUBJECTS = (
    Subject(FLOOR, (str(BUILD / "floor"),), extra=("0", str(MESSAGE_BYTES))),
    Subject(FLOOR_JOINED, (str(BUILD / "floor"),), extra=("1", str(MESSAGE_BYTES))),
    Subject(OURS, _python("ours.dedicated"), OUR_PATH),
    Subject("FlowCraft over ASGI", _python("ours.in_uvicorn"), OUR_PATH, extra=("direct",)),
    Subject("FlowCraft by ASGI messages", _python("ours.in_uvicorn"), OUR_PATH, extra=("messages",)),
    Subject("websockets broadcast", _python("peers.websockets_broadcast")),
    Subject("Starlette loop", _python("peers.starlette_loop"), needs=_modules("starlette", "uvicorn")),
    Subject("picows", _python("peers.picows_raw"), needs=_modules("picows")),
    Subject("Node ws", ("node", str(HERE / "peers" / "ws.mjs")), needs=_node("ws")),
    Subject(
        "Socket.IO",
        ("node", str(HERE / "peers" / "socketio.mjs")),
        "/socket.io/?EIO=4&transport=websocket",
        ("40",),
        needs=_node("socket.io"),
    ),
    Subject(
        "python-socketio",
        _python("peers.python_socketio"),
        "/socket.io/?EIO=4&transport=websocket",
        ("40",),
        needs=_modules("socketio"),
    ),
    Subject("Django Channels", _python("peers.django_channels"), needs=_modules("channels", "uvicorn")),
    Subject(
        "Centrifugo",
        _python("peers.centrifugo"),
        "/connection/websocket",
        ('{"id":1,"connect":{}}', '{"id":2,"subscribe":{"channel":"bench_update"}}'),
        needs=_centrifugo,
    ),
)
WORKERS = tuple(
    Subject(f"{count} workers", _python("ours.workers"), OUR_PATH, extra=(str(count),), pinned=False)
    for count in (1, 2)
)
