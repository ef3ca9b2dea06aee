"""The interpreter: a process that runs the Python of one page, block after block, in one namespace.

It reads a request a line from standard input, and answers each with a line on the descriptor it was given;
what the blocks print is left to its standard output.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import json
import os
import sys
import traceback
from types import CodeType, ModuleType
from typing import Any

PAGE = "page"


def execute(runner: asyncio.Runner, namespace: dict[str, Any], name: str, text: str) -> None:
    """Run a block; `await` may stand outside of functions."""
    code = compile(text, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        runner.run(_awaited(code, namespace))
    else:
        exec(code, namespace)


async def _awaited(code: CodeType, namespace: dict[str, Any]) -> None:
    await eval(code, namespace)


def take_module(namespace: dict[str, Any], name: str) -> None:
    """Import a file of the page, anew if it was imported before, and take its names."""
    sys.modules.pop(name, None)
    importlib.invalidate_caches()
    module = importlib.import_module(name)
    namespace.update({key: value for key, value in vars(module).items() if not key.startswith("__")})


def typescript(namespace: dict[str, Any]) -> str | None:
    """Return the types of the channels that the page declared, if it did."""
    from flowcraft import Channels, Realtime
    from flowcraft.codegen.typescript import generate_typescript

    for value in reversed(list(namespace.values())):
        channels = value.channels if isinstance(value, Realtime) else value
        if isinstance(channels, Channels) and len(channels):
            return generate_typescript(channels)
    return None


def main(answers: int) -> None:
    """Answer requests until there are no more."""
    page = sys.modules[PAGE] = ModuleType(PAGE)
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    with asyncio.Runner() as runner, os.fdopen(answers, "w") as out:
        for line in sys.stdin:
            request = json.loads(line)
            answer: str | None = None
            try:
                match request:
                    case {"module": name}:
                        take_module(vars(page), name)
                    case {"text": text, "name": name}:
                        execute(runner, vars(page), name, text)
                    case _:
                        answer = typescript(vars(page))
            except BaseException:  # noqa: BLE001  # what a block raises, SystemExit too, is the answer
                out.write(json.dumps({"error": traceback.format_exc()}) + "\n")
            else:
                out.write(json.dumps({"answer": answer}) + "\n")
            out.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
