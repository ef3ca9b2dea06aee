"""TypeScript sources: the facts of a web folder, read by the project's own TypeScript under Node."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, cast

import msgspec

from flowcraft.checking.facts import WebFacts

PACKAGE = "@flowcraft/realtime"
_SKIPPED = frozenset({"node_modules", "dist", "build", "__pycache__", "site-packages"})
_PATIENCE_SECONDS = 120


def find_web_folders(folder: Path) -> list[Path]:
    """Return the folders below whose `package.json` depends on the client."""
    found: list[Path] = []
    for at, names, contents in os.walk(folder):
        names[:] = sorted(name for name in names if name not in _SKIPPED and not name.startswith("."))
        if "package.json" in contents and _depends(Path(at) / "package.json"):
            found.append(Path(at))
    return found


def is_javascript(web: Path) -> bool:
    """Return whether the components of a web folder are JavaScript, and TypeScript is not set up there."""
    package = web / "package.json"
    required = package.is_file() and '"typescript"' in package.read_text("utf-8", "replace")
    if required or any(web.glob("tsconfig*.json")):
        return False
    return any("node_modules" not in path.parts for path in web.glob("src/**/*.jsx"))


def read_typescript(web: Path) -> WebFacts:
    """Return the facts of a web folder. Paths are relative to the current folder where possible."""
    node = shutil.which("node")
    if node is None:
        return WebFacts("node is not on the PATH; install Node 20 or later", str(web))
    with as_file(files("flowcraft.checking") / "typescript_reader.mjs") as script:
        try:
            done = subprocess.run(  # noqa: S603  # our own script
                [node, str(script), str(web)],
                capture_output=True,
                timeout=_PATIENCE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return WebFacts(f"reading took more than {_PATIENCE_SECONDS} s", str(web))
    if done.returncode != 0:
        return WebFacts(f"the reader failed: {_error_text(done.stderr)}", str(web))
    return msgspec.convert(_placed(msgspec.json.decode(done.stdout), web), WebFacts)


def _placed(value: object, web: Path) -> Any:  # noqa: ANN401  # JSON
    """Return the JSON with every path relative to the current folder."""
    if isinstance(value, list):
        return [_placed(inner, web) for inner in cast(list[object], value)]
    if not isinstance(value, dict):
        return value
    known = {key: _placed(inner, web) for key, inner in cast(dict[str, object], value).items()}
    if "error" in known:
        known["folder"] = str(web)
    if isinstance(known.get("path"), str):
        known["path"] = str(web / cast(str, known["path"]))
    return known


def _depends(file: Path) -> bool:
    try:
        found: object = msgspec.json.decode(file.read_bytes())
    except (OSError, msgspec.DecodeError):
        return False
    if not isinstance(found, dict):
        return False
    groups = [cast(dict[str, object], found).get(key) for key in ("dependencies", "devDependencies")]
    return any(isinstance(group, dict) and PACKAGE in group for group in groups)


def _error_text(stderr: bytes) -> str:
    lines = [line for line in stderr.decode(errors="replace").splitlines() if "Error" in line]
    return (lines or ["no error text"])[0][:300]
