"""Processes: what a page's commands run in, with a page's database, and nothing that outlives the page."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECONDS = 60.0
"""Nothing in a page takes so long."""
_ADDRESS = re.compile(r"\b(?:ws|http)s?://[^/\s]+:(\d+)")


class SnippetFailed(Exception):
    """A snippet did not do what the page says; the text is what it said instead."""


@contextmanager
def at_most(process: subprocess.Popen[Any], seconds: float = SECONDS) -> Iterator[None]:
    """Kill a process that takes longer, and those that it started."""
    watch = threading.Timer(seconds, strike, [process])
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def kill(process: subprocess.Popen[Any]) -> None:
    """End a process and those that it started, and wait for it."""
    strike(process)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def strike(process: subprocess.Popen[Any]) -> None:
    """End a process and those that it started; do not wait."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Shell:
    """Runs commands in the folder of a page."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self._folder = folder
        self._background: list[subprocess.Popen[str]] = []
        self._drains: list[threading.Thread] = []
        tools = folder / ".tools"
        tools.mkdir(parents=True)
        (tools / "psql").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "psql.py"}" "$@"\n')
        (tools / "psql").chmod(0o755)
        (folder / ".curlrc").write_text(f"silent\nshow-error\nmax-time = {SECONDS / 2:.0f}\n")
        path = [tools, Path(sys.executable).parent, ROOT / "node_modules/.bin", os.environ["PATH"]]
        self.environment: Mapping[str, str] = {
            **{key: value for key, value in os.environ.items() if not key.startswith("FLOWCRAFT_")},
            "PATH": os.pathsep.join(map(str, path)),
            "PYTHONPATH": os.pathsep.join(map(str, [folder, ROOT])),
            "DATABASE_URL": dsn,
            "HOME": str(folder),
            "NO_COLOR": "1",
        }

    def run(self, script: str) -> str:
        """Run a script; return what it said.

        Raises:
            SnippetFailed: one of its commands failed.
        """
        process = self._start(script)
        with at_most(process):
            said, _ = process.communicate()
        if process.returncode != 0:
            raise SnippetFailed(f"{script}exit status {process.returncode}\n{said}")
        return said

    def run_until(self, script: str, text: str) -> None:
        """Run a script until it has said a text, and interrupt it.

        Raises:
            SnippetFailed: it ended before.
        """
        process = self._start(script)
        assert process.stdout is not None
        said = ""
        try:
            with at_most(process):
                for line in process.stdout:
                    said += line
                    if text in line:
                        return
        finally:
            kill(process)
        raise SnippetFailed(f"{script}ended without {text!r}\n{said}")

    def serve(self, command: str) -> int:
        """Start a server that writes its address; return its port once it serves.

        Raises:
            SnippetFailed: it ended before.
        """
        process = self._start(command)
        self._background.append(process)
        assert process.stdout is not None
        said = ""
        with at_most(process):
            for line in process.stdout:
                said += line
                if found := _ADDRESS.search(line):
                    _until_ready(int(found[1]))
                    self._drains.append(threading.Thread(target=process.stdout.read))
                    self._drains[-1].start()
                    return int(found[1])
        raise SnippetFailed(f"{command}\nended\n{said}")

    def close(self) -> None:
        """End what still runs."""
        for process in self._background:
            strike(process)
        for drain in self._drains:
            drain.join()
        for process in self._background:
            kill(process)

    def _start(self, script: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self._folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def _until_ready(port: int) -> None:
    """Return once the server is ready, or if it has no page that tells."""
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=SECONDS).close()
        except urllib.error.HTTPError as error:
            if error.code == 503:
                continue
        return


class Answering:
    """A process that answers a line of JSON with a line of JSON."""

    def __init__(self, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        answers, give = os.pipe()
        self._said = (folder / ".said").open("w+")
        self._process = subprocess.Popen(
            [*command, str(give)],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[give],
            start_new_session=True,
        )
        os.close(give)
        self._answers: IO[str] = os.fdopen(answers)

    def ask(self, request: Mapping[str, object]) -> Any:
        """Return the answer.

        Raises:
            SnippetFailed: the process has ended, or took too long.
        """
        assert self._process.stdin is not None
        with at_most(self._process):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._answers.readline()
        if not line:
            self._said.seek(0)
            raise SnippetFailed(f"the interpreter ended\n{self._said.read()}")
        return json.loads(line)

    def close(self) -> None:
        """End it."""
        kill(self._process)
        self._answers.close()
        self._said.close()
