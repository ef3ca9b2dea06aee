"""Following: do what the snippets of one page say, in their order, in a folder and a database of its own."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import asyncpg
import yaml

from flowcraft import Channels, migrate
from flowcraft.codegen.typescript import generate_typescript
from tests.docs import sample
from tests.docs.blocks import Block
from tests.docs.processes import HERE, ROOT, Answering, Shell, SnippetFailed

REASONS: Mapping[str, str] = {
    "browser": "a person does it in a browser",
    "docker": "it needs a container engine",
    "elsewhere": "the test named after it runs it: `skip elsewhere tests/e2e/readme.test.ts`",
    "endless": "it runs until somebody stops it",
    "kubernetes": "it needs a cluster",
    "make": "it is one of the repository's own commands, which the build server runs",
    "network": "it needs a registry, or a service that is not here",
    "signature": "it shows a signature, which is written from the code",
    "other": "it is in another product's language, shown for comparison",
}
"""Why a snippet may be left out."""
_NEED_DATABASE = frozenset({"python", "sql", "sh", "console"})
_NAMES = {
    "bash": "sh",
    "javascript": "js",
    "mjs": "js",
    "py": "python",
    "shell": "sh",
    "typescript": "ts",
    "yml": "yaml",
}
_SERVER = re.compile(r"^(?:\w+=\S* )*(?:flowcraft serve|uvicorn|python -m uvicorn) ")
_PORT = re.compile(r" --port[ =](\d+)")
_WORKERS = re.compile(r" --workers[ =]\d+")  # two show as much as four
_DATABASE = re.compile(r"postgres(?:ql)?://(?:[^\s\"'@]*@)?localhost[^\s\"']*")
_DEFAULT_PORTS = {"flowcraft": 8400, "uvicorn": 8000}


class ReferenceClient:
    """Does what a page says. `folder` is new; `dsn` is an empty database; `compiler` checks TypeScript."""

    def __init__(self, folder: Path, dsn: str, compiler: Answering) -> None:
        self._folder = folder
        self._dsn = dsn
        self._compiler = compiler
        self._shell = Shell(folder, dsn)
        self._interpreter: Answering | None = None
        self._prepared = False
        self._ports: dict[str, int] = {}
        self._typescript: list[tuple[Block, Path]] = []
        self._kinds: dict[str, Callable[[Block], object]] = {
            "python": self._python,
            "sql": self._sql,
            "sh": self._sh,
            "console": self._console,
            "ts": self._keep_typescript,
            "tsx": self._keep_typescript,
            "js": self._javascript,
            "json": lambda block: self._parse(block, json.loads),
            "yaml": lambda block: self._parse(block, lambda text: list(yaml.safe_load_all(text))),
            "toml": lambda block: self._parse(block, tomllib.loads),
            "text": self._keep,
        }

    def follow(self, block: Block) -> None:
        """Do what a block says.

        Raises:
            SnippetFailed: it does not work, or nobody knows how to try.
        """
        kind = _NAMES.get(block.kind, block.kind)
        if block.skip is not None:
            _check_skipped(block, kind)
            return
        if kind not in self._kinds:
            raise SnippetFailed(
                f"nobody knows how to run {block.kind!r}; say why not: <!-- snippet: skip REASON -->"
            )
        if kind in _NEED_DATABASE and not self._prepared:
            asyncio.run(migrate(self._dsn, Channels()))
            self._prepared = True
        if block.fails is None or kind in {"ts", "tsx"}:
            self._kinds[kind](block)
        else:
            _check_failure(block, lambda: self._kinds[kind](block))

    def finish(self) -> None:
        """Check the TypeScript of the page, which sees what its commands have generated.

        Raises:
            SnippetFailed: it does not compile under `strict`.
        """
        if not self._typescript:
            return
        generated = self._generated()
        right = [path for block, path in self._typescript if block.fails is None]
        self._compile([*generated, *right])
        for block, path in self._typescript:
            if block.fails is not None:
                _check_failure(block, partial(self._compile, [*generated, path]))

    def close(self) -> None:
        """End what the page has started."""
        self._shell.close()
        if self._interpreter is not None:
            self._interpreter.close()

    def _python(self, block: Block) -> None:
        if block.title:
            path = self._keep(block)
            if path.name.startswith("test_"):
                self._shell.run(f"python -m pytest -q -p no:cacheprovider {block.title}\n")
                return
            self._ask({"module": block.title.removesuffix(".py").replace("/", ".")})
        else:
            # Empty lines, so that an error names the line of the page.
            text = "\n" * block.line + self._here(block.text)
            self._ask({"name": "before", "text": self._here(block.before)})
            self._ask({"name": "snippet", "text": text})

    def _ask(self, request: Mapping[str, object]) -> str | None:
        if self._interpreter is None:
            command = [sys.executable, str(HERE / "interpreter.py")]
            self._interpreter = Answering(command, self._folder, self._shell.environment)
        answer: dict[str, str | None] = self._interpreter.ask(request)
        if error := answer.get("error"):
            raise SnippetFailed(error)
        return answer["answer"]

    def _sql(self, block: Block) -> None:
        self._keep(block)
        try:
            for text in filter(str.strip, (block.before, block.text)):
                asyncio.run(_execute(self._dsn, text))
        except asyncpg.PostgresError as error:
            raise SnippetFailed(f"{block.text}{error}") from None

    def _sh(self, block: Block) -> None:
        self._keep(block)
        script = self._here(block.before + block.text)
        if block.until is not None:
            self._shell.run_until(script, block.until.strip('"'))
            return
        waiting = ""
        for command in re.split(r"(?<!\\)\n", script):
            if _SERVER.match(command):
                self._run(waiting)
                waiting = ""
                self._serve(command)
            else:
                waiting += f"{command}\n"
        self._run(waiting)

    def _run(self, script: str) -> None:
        if script.strip():
            self._shell.run(script)

    def _serve(self, command: str) -> None:
        said = _PORT.search(command)
        port = said[1] if said else str(_DEFAULT_PORTS["flowcraft" if "flowcraft" in command else "uvicorn"])
        command = _WORKERS.sub(" --workers 2", _PORT.sub("", command)).rstrip(" &")
        self._ports[port] = self._shell.serve(f"exec {command} --port 0")

    def _console(self, block: Block) -> None:
        if block.until is not None:
            self._sh(replace(block, text=block.text.removeprefix("$ ")))
            return
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            said = self._shell.run(self._here(command) + "\n")
            pattern = re.escape(expected.strip()).replace("…", r"[\s\S]*?")
            if not re.fullmatch(pattern, said.strip()):
                raise SnippetFailed(f"$ {command}\nsaid\n{said}\nand not\n{expected}")

    def _keep(self, block: Block) -> Path:
        """Put a block into the file that it names, at the end if that is there."""
        path = self._folder / block.title
        if block.title:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(self._here(block.text))
        return path

    def _keep_typescript(self, block: Block) -> None:
        path = self._folder / (block.title or f"line-{block.line}.tsx")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.before + block.text, "utf-8")
        self._typescript.append((block, path))

    def _javascript(self, block: Block) -> None:
        path = self._keep(replace(block, title=block.title or f"line-{block.line}.mjs"))
        self._shell.run(f"node --check '{path}'\n")

    def _generated(self) -> list[Path]:
        made = [path for path in self._folder.rglob("*.gen.ts") if "node_modules" not in path.parts]
        if made:
            return made
        text = None if self._interpreter is None else self._ask({})
        path = self._folder / "realtime.gen.ts"
        path.write_text(text or generate_typescript(sample.channels), "utf-8")
        (self._folder / "channels.gen.ts").write_text('export * from "./realtime.gen";\n', "utf-8")
        return [path]

    def _compile(self, paths: list[Path]) -> None:
        request = {"folder": str(self._folder), "names": [str(path) for path in dict.fromkeys(paths)]}
        if complaints := self._compiler.ask(request):
            raise SnippetFailed(complaints)

    def _parse(self, block: Block, parse: Callable[[str], object]) -> None:
        self._keep(block)
        try:
            parse(block.text)
        except (ValueError, yaml.YAMLError) as error:
            raise SnippetFailed(f"{block.text}{error}") from None

    def _here(self, text: str) -> str:
        """Put the page's own database and servers where the page names some on localhost."""
        text = _DATABASE.sub(lambda _: self._dsn, text)
        for port, real in self._ports.items():
            text = re.sub(rf"\b(?:localhost|127\.0\.0\.1):{port}\b", f"127.0.0.1:{real}", text)
        return text


async def _execute(dsn: str, text: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(text)
    finally:
        await connection.close()


def _check_failure(block: Block, run: Callable[[], object]) -> None:
    expected = (block.fails or "").strip('"')
    try:
        run()
    except SnippetFailed as failed:
        if expected in str(failed):
            return
        raise SnippetFailed(f"it fails, but not with {expected!r}: {failed}") from None
    raise SnippetFailed(f"it should fail with {expected!r}, and works")


def _check_skipped(block: Block, kind: str) -> None:
    """What is not run is at least looked at."""
    reason, _, detail = (block.skip or "").partition(" ")
    if reason not in REASONS:
        raise SnippetFailed(f"{reason!r} is no reason to skip; these are: {', '.join(REASONS)}")
    if reason == "elsewhere" and not (ROOT / detail.split()[0].rstrip(":")).is_file():
        raise SnippetFailed(f"there is no {detail}, which should run it")
    if reason != "other" and kind == "python":
        ast.parse(block.text)
